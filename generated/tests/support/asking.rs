//! The other questions about a dimension's past, held against its answer as of a time, which the source has
//! been asked about; and a question that joins histories, held against the source itself.

use medallion_runtime::descriptor::SilverKind;

use super::{Shop, State, compare};

/// A dimension by what it is asked.
struct Dimension {
    table: String,
    /// What its functions are named after.
    functions: String,
    key: String,
    columns: Vec<String>,
    start: String,
    end: String,
}

/// Fails unless everything that a dimension can be asked agrees about a time: its versions from that time to
/// the same, its keys one by one, and all changes since the beginning, folded.
pub async fn assert_agree(shop: &mut Shop, time: &str, context: &str) {
    let mut differences = Vec::new();
    for dimension in dimensions(shop) {
        let Dimension { table, functions, key, columns, start, .. } = &dimension;
        let all = columns.join(", ");
        let texts: Vec<String> = columns.iter().map(|column| format!("{column}::text")).collect();
        let (as_of, texts) = (format!("{functions}_as_of('{time}')"), texts.join(", "));
        let last: Vec<String> = columns.iter().map(|column| dimension.last(column)).collect();
        for (asked, expected, found) in [
            (
                "between",
                format!("SELECT {all}, {start} FROM {as_of}"),
                format!("SELECT {all}, {start} FROM {functions}_between('{time}', '{time}')"),
            ),
            (
                "as of, by key",
                format!("SELECT {all}, {start} FROM {as_of}"),
                format!(
                    "SELECT {all}, {start} FROM (SELECT DISTINCT {key} AS sought FROM {table}) AS one,
                    {functions}_as_of('{time}', sought)"
                ),
            ),
            (
                "changes",
                format!("SELECT {texts} FROM {as_of}"),
                format!(
                    "SELECT {} FROM (
                        SELECT DISTINCT ON ({key}, \"column\") * FROM {functions}_changes('-infinity', '{time}')
                        ORDER BY {key}, \"column\", at DESC
                    ) AS change
                    GROUP BY {key}
                    HAVING min(op) <> 'delete'",
                    last.join(", ")
                ),
            ),
        ] {
            let expected = compare::rows(&mut shop.warehouse, &expected).await;
            let found = compare::rows(&mut shop.warehouse, &found).await;
            differences.extend(compare::difference(&format!("{functions}, {asked}"), &expected, &found));
        }
    }
    compare::assert_none(&format!("{context}, as of {time}"), &differences);
}

/// Fails unless a dimension's history is what its table holds, key by key and in order.
pub async fn assert_histories(shop: &mut Shop) {
    for dimension in dimensions(shop) {
        let Dimension { table, functions, key, columns, start, end } = &dimension;
        let all = columns.join(", ");
        let expected = format!("SELECT {all}, row_hash, {start}, {end} FROM {table} ORDER BY {key}, {start}");
        let found = format!(
            "SELECT history.* FROM (SELECT DISTINCT {key} AS sought FROM {table} ORDER BY 1) AS one,
            {functions}_history(sought) AS history"
        );
        let expected = compare::copy(&mut shop.warehouse, &expected).await;
        assert!(compare::copy(&mut shop.warehouse, &found).await == expected, "{functions}_history");
    }
}

/// Fails unless a customer, his rentals and what the store took that month stand together as they stood then.
pub async fn assert_joined(shop: &mut Shop, state: &State, time: &str, context: &str) {
    let joined = |customer: &str, rental: &str, revenue: &str| {
        format!(
            "SELECT rental_id, customer.last_name, customer.district, revenue.revenue
            FROM {rental} AS rental
            JOIN {customer} AS customer USING (customer_id)
            LEFT JOIN {revenue} AS revenue
                ON revenue.store_id = rental.store_id
                AND revenue.month = date_trunc('month', rental.rental_date AT TIME ZONE 'UTC')::date"
        )
    };
    let expected = joined(
        concat!("(", include_str!("../figures/dim_customer.sql"), ")"),
        "rented",
        concat!("(", include_str!("../figures/vw_monthly_revenue.sql"), ")"),
    );
    let found = joined("as_of.dim_customer", "as_of.fact_rental", "as_of.vw_monthly_revenue");
    compare::execute(&mut shop.source, &format!("SET search_path = {}, public", state.schema)).await;
    compare::execute(&mut shop.warehouse, &format!("SET medallion.as_of = '{time}'")).await;
    let expected = compare::rows(&mut shop.source, &expected).await;
    let found = compare::rows(&mut shop.warehouse, &found).await;
    compare::execute(&mut shop.source, "RESET search_path").await;
    compare::execute(&mut shop.warehouse, "RESET medallion.as_of").await;
    let differences: Vec<String> = compare::difference("joined", &expected, &found).into_iter().collect();
    compare::assert_none(&format!("{context}, as of {time}"), &differences);
}

fn dimensions(shop: &Shop) -> Vec<Dimension> {
    let mut dimensions = Vec::new();
    for silver in &shop.descriptor.silver {
        let SilverKind::Dimension { start, end, .. } = &silver.kind else { continue };
        let table = silver.table.to_string();
        // Lookups are asked as of a time only.
        if !table.contains("dim_") {
            continue;
        }
        dimensions.push(Dimension {
            functions: table.replace("_hist", "").replace('"', ""),
            table,
            key: silver.key.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            columns: silver.columns.iter().map(|column| column.name.to_string()).collect(),
            start: start.to_string(),
            end: end.to_string(),
        });
    }
    assert_eq!(dimensions.len(), 2);
    dimensions
}

impl Dimension {
    /// The last word of a key's changes on a column, as text.
    fn last(&self, column: &str) -> String {
        if column == self.key {
            return format!("{column}::text");
        }
        format!("max(new) FILTER (WHERE \"column\" = '{column}')")
    }
}
