//! The shop as a star: fed from tables and files, its lines say what the source says, of the customers of then; what comes
//! late completes them; corrections count; and a day's lines cost a fraction of computing all of it anew. A view of what
//! has landed is tested by what has landed since.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::script;
use medallion_server::{Scratch, Server};
use sqlx::PgConnection;

use crate::support::{compare, program};

/// The databases.
const SOURCE: &str = "star_source";
const WAREHOUSE: &str = "star_warehouse";

/// What a line says, computed straight on the source.
const LINES_OF_SOURCE: &str = "
    SELECT md5(string_agg(concat_ws('|', order_item_id, order_id, customer_id, product_id, quantity, unit_price, discount,
        quantity * unit_price - discount, order_total, to_char(order_date AT TIME ZONE 'UTC', 'YYYYMMDD'), status), ','
        ORDER BY order_item_id))
    FROM order_items
    JOIN orders USING (order_id)";

/// The same of the star.
const LINES_OF_STAR: &str = "
    SELECT md5(string_agg(concat_ws('|', order_item_id, order_id, customer_id, product_id, quantity, price, discount,
        line_total, order_total, date_key, order_status), ',' ORDER BY order_item_id))
    FROM silver.fact_orders
    JOIN silver.dim_date USING (date_key)";

/// The segment that the customer of each line was in when it was ordered, as the shop wrote it down.
const SEGMENTS_OF_SOURCE: &str = "
    SELECT md5(string_agg(order_item_id || '|' || segment, ',' ORDER BY order_item_id))
    FROM (
        SELECT DISTINCT ON (order_item_id) order_item_id, full_row ->> 'segment' AS segment
        FROM order_items
        JOIN orders USING (order_id)
        JOIN change_log ON (full_row ->> 'customer_id')::integer = customer_id
        ORDER BY order_item_id, committed_at <= order_date DESC, abs(EXTRACT(epoch FROM committed_at - order_date))
    ) AS of_then";

/// The same of the star, by the key that each line has.
const SEGMENTS_OF_STAR: &str = "
    SELECT md5(string_agg(order_item_id || '|' || customer_segment, ',' ORDER BY order_item_id))
    FROM silver.fact_orders
    JOIN silver.dim_customers USING (customer_key)";

/// What customers are worth, computed straight on the source.
const WORTH_OF_SOURCE: &str = "
    SELECT md5(string_agg(concat_ws('|', customer_id, orders, revenue, round(revenue / orders, 2), last - first,
        DATE '2026-01-01' - last), ',' ORDER BY customer_id))
    FROM (
        SELECT
            customer_id,
            count(DISTINCT order_id) AS orders,
            sum(quantity * unit_price - discount) AS revenue,
            min((order_date AT TIME ZONE 'UTC')::date) AS first,
            max((order_date AT TIME ZONE 'UTC')::date) AS last
        FROM order_items
        JOIN orders USING (order_id)
        WHERE status <> 'cancelled'
        GROUP BY customer_id
    ) AS worth";

/// The same as the mart has it.
const WORTH_OF_STAR: &str = "
    SELECT md5(string_agg(concat_ws('|', customer_id, orders, revenue, average_order_value, lifetime_days,
        recency_days), ',' ORDER BY customer_id))
    FROM gold.customer_lifetime_value";

/// A day's orders: 3,000 lines.
const DAY: &str = "
    BEGIN;
    INSERT INTO orders
    SELECT 30000 + id, 1 + id % 1000, '2025-12-31 12:00:00+00', 'placed', 30 FROM generate_series(1, 1000) AS id;
    INSERT INTO order_items
    SELECT 90000 + id, 30001 + (id - 1) / 3, 1 + id % 20, 1, 10, 0, '2025-12-31 12:00:00+00'
    FROM generate_series(1, 3000) AS id;
    COMMIT";

#[tokio::test]
async fn a_star_says_what_its_sources_say() {
    let mut shop = Shop::open().await;
    for (sql, count) in [
        ("SELECT count(*) FROM silver.dim_customers", "1200"),
        (
            "SELECT count(*) FROM silver.dim_customers WHERE is_current AND expiration_date = '9999-12-31'",
            "1000",
        ),
        ("SELECT count(*) FROM silver.dim_products", "20"),
        ("SELECT count(*) FROM silver.fact_orders", "66000"),
        ("SELECT count(*) FROM silver.fact_orders WHERE customer_key IS NULL OR product_key IS NULL", "0"),
        ("SELECT count(*) FROM silver.stg_events", "400"),
        // As dbt's packages make them.
        ("SELECT count(*) FROM silver.fact_orders WHERE product_key <> md5(product_id::text)", "0"),
        (
            "SELECT count(*) FROM silver.dim_customers
            WHERE customer_key <> md5(customer_id || '-' || (effective_date AT TIME ZONE 'UTC') || '+00')",
            "0",
        ),
    ] {
        assert_eq!(compare::value(&mut shop.target, sql).await, count, "{sql}");
    }
    shop.agrees(SEGMENTS_OF_SOURCE, SEGMENTS_OF_STAR).await;
    shop.agrees_now().await;

    // A line, its order, and long after them the customer.
    shop.change("INSERT INTO order_items VALUES (70000, 25000, 20, 2, 249, 0, '2025-12-30 10:00:00+00')")
        .await;
    shop.run();
    let line = "SELECT concat_ws(' ', customer_key IS NULL, product_key IS NULL, date_key IS NULL)
        FROM silver.fact_orders WHERE order_item_id = 70000";
    assert_eq!(compare::value(&mut shop.target, line).await, "t f t");
    shop.change("INSERT INTO orders VALUES (25000, 2000, '2025-12-30 10:00:00+00', 'placed', 498)").await;
    shop.run();
    assert_eq!(compare::value(&mut shop.target, line).await, "t f f");
    shop.change("INSERT INTO customers VALUES (2000, 'new@example.com', 'Nu', 'Vo', 'new', '2025-12-30')")
        .await;
    shop.run();
    assert_eq!(compare::value(&mut shop.target, line).await, "f f f");
    shop.agrees_now().await;

    // A product that the catalogue did not have yet.
    shop.change("INSERT INTO order_items VALUES (70001, 25000, 21, 1, 5, 0, '2025-12-30 10:00:00+00')").await;
    shop.run();
    let product = "SELECT coalesce(product_key, 'none') = md5('21') FROM silver.fact_orders WHERE order_item_id = 70001";
    assert_eq!(compare::value(&mut shop.target, product).await, "f");
    let catalogue = fs::read_to_string(shop.files.path().join("products.json")).unwrap();
    let more = ",\n  {\"id\": 21, \"title\": \"Bulb\", \"category\": \"Home\", \"price\": \"5.00\", \"rating\": {}}\n]";
    let catalogue = catalogue.trim_end().strip_suffix("\n]").unwrap().to_owned() + more;
    shop.write("products.json", &catalogue);
    shop.run();
    assert_eq!(compare::value(&mut shop.target, product).await, "t");

    // What cannot be computed is left out by whatever computes it, and only that.
    let vague = catalogue.replace("\"rating\": {}", "\"rating\": {\"rate\": \"good\"}");
    shop.write("products.json", &vague);
    for verb in [&["run"][..], &["rebuild"], &["rebuild", "dim_products"]] {
        let left_out = shop.warehouse(verb);
        let said = program::stderr(&left_out);
        assert!(left_out.status.success(), "{verb:?}: {said}");
        assert!(said.contains("leaves out 1 change"), "{verb:?}: {said}");
        assert_eq!(compare::value(&mut shop.target, product).await, "t");
    }
    let rated = vague.replace("\"good\"", "4.5");
    shop.write("products.json", &rated);
    shop.run();
    let rating = "SELECT rating FROM silver.dim_products WHERE product_id = 21";
    assert_eq!(compare::value(&mut shop.target, rating).await, "4.5");

    // Corrections: of a line, of an order, and a line that goes.
    shop.change(
        "UPDATE order_items SET quantity = quantity + 1, discount = 0 WHERE order_item_id % 9000 = 7",
    )
    .await;
    shop.change("UPDATE orders SET status = 'cancelled' WHERE order_id % 4000 = 11").await;
    shop.change("UPDATE orders SET customer_id = 5 WHERE order_id = 77").await;
    shop.change("DELETE FROM order_items WHERE order_item_id = 4711").await;
    shop.run();
    shop.agrees_now().await;
    let verified = shop.warehouse(&["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    compare::execute(&mut shop.source, DAY).await;
    let day = shop.timed(&["run"]);
    shop.agrees_now().await;
    let whole = shop.timed(&["run", "--full-refresh"]);
    shop.agrees_now().await;
    println!("3,000 lines on 66,000: {day:.2?}; all of it anew: {whole:.2?}");
    assert!(day < whole, "a day's lines took {day:?}, and all of it {whole:?}");
}

/// How many rows of what has landed of orders have been read by going through all of them.
async fn read_through(shop: &mut Shop) -> i64 {
    compare::alone(&mut shop.target).await;
    let read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = 'bronze.br_orders'::regclass";
    compare::value(&mut shop.target, read).await.parse().unwrap()
}

#[tokio::test]
async fn what_has_landed_is_tested_by_what_has_landed_since() {
    let mut shop = Shop::open().await;
    let tested =
        "SELECT count(*) FROM medallion.failed_row WHERE test = 'accepted_values_stg_orders_order_status'";
    let before = read_through(&mut shop).await;
    shop.change("INSERT INTO orders VALUES (25000, 1, '2025-12-30 10:00:00+00', 'placed', 5)").await;
    shop.run();
    assert_eq!(read_through(&mut shop).await, before, "an order has come, and all of them are read");

    // What is wrong is refused, shown, and mended by what comes next.
    shop.change("UPDATE orders SET status = 'mislaid' WHERE order_id IN (25000, 77)").await;
    let refused = shop.warehouse(&["run"]);
    assert_eq!(refused.status.code(), Some(1), "{}", program::stderr(&refused));
    assert!(
        program::stderr(&refused).contains("`silver.stg_orders` failed: 2 rows"),
        "{}",
        program::stderr(&refused)
    );
    assert_eq!(compare::value(&mut shop.target, tested).await, "2");
    shop.change("UPDATE orders SET status = 'placed' WHERE order_id = 25000").await;
    assert_eq!(shop.warehouse(&["run"]).status.code(), Some(1));
    assert_eq!(compare::value(&mut shop.target, tested).await, "1");
    shop.change("DELETE FROM orders WHERE order_id = 77").await;
    shop.run();

    // What is wrong and was over when something else came before it shows nowhere.
    let late = "INSERT INTO bronze.br_orders (lsn, seq, op, full_row, commit_ts)
        SELECT lsn, 1000000, 'U', full_row || '{\"status\": \"mislaid\"}', commit_ts - interval '1 second'
        FROM bronze.br_orders
        WHERE full_row ->> 'order_id' = '25000'
        ORDER BY lsn DESC
        LIMIT 1";
    compare::execute(&mut shop.target, late).await;
    shop.run();
}

/// The source, the files and the warehouse.
struct Shop {
    server: Scratch,
    source: PgConnection,
    target: PgConnection,
    files: tempfile::TempDir,
}

impl Shop {
    /// A shop with all that it has sold. The slot is named after the warehouse, so that a server has one.
    async fn open() -> Self {
        let server = Server::scratch().unwrap();
        for name in [SOURCE, WAREHOUSE] {
            server.ensure_database(name).unwrap();
        }
        let scripts = warehouse::ecommerce::warehouse().scripts;
        let url = server.url(SOURCE);
        for (name, sql) in [("source.sql", scripts.source), ("sample.sql", scripts.sample)] {
            script::execute(Database::Source, &url, name, sql.expect("the shop brings its source"))
                .await
                .unwrap();
        }
        let files = tempfile::tempdir().unwrap();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/ecommerce/files"), files.path());
        let source = connection::connect(Database::Source, &url).await.unwrap();
        let target = connection::connect(Database::Warehouse, &server.url(WAREHOUSE)).await.unwrap();
        let shop = Self { server, source, target, files };
        shop.settle();
        assert!(shop.warehouse(&["migrate", "up"]).status.success());
        shop.run();
        shop
    }

    /// The binary, which finds the shop by its environment.
    fn warehouse(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_warehouse"))
            .args(arguments)
            .env("MEDALLION_WAREHOUSE", "ecommerce")
            .env("DATABASE_URL", self.server.url(WAREHOUSE))
            .env("SOURCE_DATABASE_URL", self.server.url(SOURCE))
            .env("FILES_URL", self.files.path())
            .output()
            .unwrap()
    }

    fn run(&self) {
        let output = self.warehouse(&["run"]);
        assert!(output.status.success(), "{}", program::stderr(&output));
    }

    fn timed(&self, arguments: &[&str]) -> Duration {
        let started = Instant::now();
        let output = self.warehouse(arguments);
        assert!(output.status.success(), "{}", program::stderr(&output));
        started.elapsed()
    }

    async fn change(&mut self, sql: &str) {
        compare::execute(&mut self.source, sql).await;
    }

    /// Writes a file that nobody is still writing.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.files.path().join(name), text).unwrap();
        self.settle();
    }

    /// Makes every file one that was written a while ago: those of just now are left alone.
    fn settle(&self) {
        let ago = std::time::SystemTime::now() - Duration::from_secs(60);
        for path in all(self.files.path()) {
            fs::File::options().append(true).open(path).unwrap().set_modified(ago).unwrap();
        }
    }

    async fn agrees(&mut self, source: &str, star: &str) {
        let wanted = compare::value(&mut self.source, source).await;
        assert_eq!(compare::value(&mut self.target, star).await, wanted, "{star}");
    }

    async fn agrees_now(&mut self) {
        self.agrees(LINES_OF_SOURCE, LINES_OF_STAR).await;
        self.agrees(WORTH_OF_SOURCE, WORTH_OF_STAR).await;
    }
}

fn all(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all(&path) } else { vec![path] }).collect()
}

fn copy(from: &Path, to: &Path) {
    for path in all(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}
