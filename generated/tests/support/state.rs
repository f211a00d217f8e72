//! What the source looked like at a moment, kept aside in a schema of its own that nobody captures, with
//! the stock as the test has recorded it.

use sqlx::PgConnection;

use super::compare;

/// The captured tables.
pub const TABLES: [&str; 11] = [
    "address",
    "category",
    "customer",
    "film",
    "film_category",
    "inventory",
    "language",
    "payment",
    "rental",
    "staff",
    "store",
];

/// Starts the record of the stock, from what is there.
pub async fn record_stock(source: &mut PgConnection) {
    compare::execute(source, include_str!("stock.sql")).await;
}

/// Starts the record of the stock from what the recorded log says of it.
pub async fn record_stock_of_log(source: &mut PgConnection) {
    record_stock(source).await;
    let sql = format!(
        "TRUNCATE record.stock;
        INSERT INTO record.stock (inventory_id, film_id, store_id, known_from, known_until)
        SELECT inventory_id, film_id, store_id, known_from, known_until FROM ({}) AS stock WHERE op <> 'D'",
        logged_stock("infinity")
    );
    compare::execute(source, &sql).await;
}

/// A state of the source, kept.
pub struct State {
    /// Where it is kept.
    pub schema: String,
    /// All that had committed lies below.
    pub position: i64,
}

impl State {
    /// Keeps the present. Nobody else may be writing.
    pub async fn keep(source: &mut PgConnection, name: &str) -> Self {
        let position = compare::value(source, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").await;
        let mut sql = begin(name);
        for table in TABLES {
            sql.push_str(&format!("CREATE UNLOGGED TABLE {table} AS SELECT * FROM public.{table};\n"));
        }
        sql.push_str("CREATE UNLOGGED TABLE stock AS SELECT * FROM record.stock;\n");
        end(&mut sql);
        compare::execute(source, &sql).await;
        Self { schema: name.to_owned(), position: position.parse().unwrap() }
    }

    /// Folds the recorded log up to a time: the last change of each key since its table was last truncated.
    pub async fn fold(source: &mut PgConnection, name: &str, time: &str) -> Self {
        let mut sql = begin(name);
        for (table, key) in TABLES.into_iter().zip(KEYS) {
            sql.push_str(&format!(
                "CREATE UNLOGGED TABLE {table} AS
                SELECT (jsonb_populate_record(NULL::public.{table}, full_row)).*
                FROM (
                    SELECT DISTINCT ON ({key}) op, full_row
                    FROM public.change_log
                    WHERE relation = '{table}'
                    AND op <> 'T'
                    AND committed_at <= '{time}'
                    AND (position, seq) > (
                        SELECT coalesce(max(position), -1), 0
                        FROM public.change_log
                        WHERE relation = '{table}' AND op = 'T' AND committed_at <= '{time}'
                    )
                    ORDER BY {key}, position DESC, seq DESC
                ) AS last
                WHERE op <> 'D';\n"
            ));
        }
        sql.push_str(&format!(
            "CREATE UNLOGGED TABLE stock AS
            SELECT inventory_id, film_id, store_id, known_from, known_until FROM ({}) AS stock WHERE op <> 'D';\n",
            logged_stock(time)
        ));
        end(&mut sql);
        compare::execute(source, &sql).await;
        Self { schema: name.to_owned(), position: 0 }
    }
}

/// The keys of the captured tables, in the recorded log.
const KEYS: [&str; 11] = [
    "full_row -> 'address_id'",
    "full_row -> 'category_id'",
    "full_row -> 'customer_id'",
    "full_row -> 'film_id'",
    "full_row -> 'film_id', full_row -> 'category_id'",
    "full_row -> 'inventory_id'",
    "full_row -> 'language_id'",
    "full_row -> 'payment_id', full_row -> 'payment_date'",
    "full_row -> 'rental_id'",
    "full_row -> 'staff_id'",
    "full_row -> 'store_id'",
];

/// Where each copy stood, as the recorded log has it up to a time; with op D, that it was nowhere.
fn logged_stock(time: &str) -> String {
    format!(
        "SELECT
            (full_row ->> 'inventory_id')::integer AS inventory_id,
            (full_row ->> 'film_id')::integer AS film_id,
            (full_row ->> 'store_id')::integer AS store_id,
            committed_at AS known_from,
            coalesce(lead(committed_at) OVER standing, 'infinity') AS known_until,
            op
        FROM (
            SELECT DISTINCT ON (full_row -> 'inventory_id', position) *
            FROM public.change_log
            WHERE relation = 'inventory' AND committed_at <= '{time}'
            ORDER BY full_row -> 'inventory_id', position, seq DESC
        ) AS change
        WINDOW standing AS (PARTITION BY full_row -> 'inventory_id' ORDER BY position)"
    )
}

fn begin(schema: &str) -> String {
    format!("BEGIN;\nCREATE SCHEMA {schema};\nSET LOCAL search_path = {schema}, public;\n")
}

fn end(sql: &mut String) {
    sql.push_str(concat!(
        "ANALYZE stock;\nCREATE UNLOGGED TABLE rented AS\n",
        include_str!("../figures/fact_rental.sql"),
        ";\nANALYZE rented;\nCREATE UNLOGGED TABLE paid AS\n",
        include_str!("../figures/fact_payment.sql"),
        ";\nANALYZE paid;\nCOMMIT",
    ));
}
