//! What other tools got wrong, each case by its name. All of them are among the changes of the laws as well; here is
//! what becomes of the rows, and of a migration that cannot be.

use medallion::emit::FileSet;

use super::catalog::{catalog, psql, try_psql};
use super::changes::Edit;
use super::{ROWS, change, database, evolved, fresh, migration};

/// A warehouse that holds rows.
struct Populated {
    url: String,
    files: FileSet,
}

impl Populated {
    fn new(name: &str) -> Self {
        let files = fresh(&[]);
        let url = database(name);
        psql(&url, &migration(&files, 1, "up.sql"));
        psql(&url, ROWS);
        Self { url, files }
    }

    fn migrate(&self, edits: &[Edit]) -> Result<(), String> {
        let after = evolved(&self.files, edits).unwrap();
        try_psql(&self.url, &migration(&after, 2, "up.sql")).map(|_| ())
    }

    /// What the server says of it; and that nothing has happened.
    fn refused(&self, edits: &[Edit]) -> String {
        let stood = catalog(&self.url);
        let why = self.migrate(edits).unwrap_err();
        assert_eq!(catalog(&self.url), stood, "{why}");
        why
    }

    fn ask(&self, sql: &str) -> String {
        psql(&self.url, sql).trim().to_owned()
    }
}

#[test]
fn a_view_follows_a_column_whose_type_changes() {
    let shop = Populated::new("view_follows");
    shop.migrate(change("fact column retyped under a mart")).unwrap();
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attrelid::regclass::text)
        FROM pg_attribute WHERE attname = 'amount'
        AND attrelid IN ('silver.fact_sale'::regclass, 'as_of.fact_sale'::regclass)";
    assert_eq!(shop.ask(types), "numeric(12,3) numeric(12,3)");
    assert_eq!(shop.ask("SELECT amount FROM as_of.fact_sale"), "120.500");
}

#[test]
fn a_chain_of_views_a_mart_and_functions_is_made_again_and_nothing_of_others_goes() {
    let shop = Populated::new("chain_again");
    psql(
        &shop.url,
        "CREATE VIEW public.mine AS SELECT customer_id, points FROM silver.dim_customer_as_of('infinity')",
    );
    let why = shop.refused(change("column retyped"));
    assert!(why.contains("public.mine") || why.contains("view mine depends"), "{why}");
    psql(&shop.url, "DROP VIEW public.mine");
    shop.migrate(change("column retyped")).unwrap();
    let asked = "SELECT pg_typeof(points) || ' ' || points FROM";
    for relation in ["silver.dim_customer", "silver.dim_customer_as_of('infinity')", "as_of.dim_customer"] {
        assert_eq!(shop.ask(&format!("{asked} {relation}")), "bigint 7", "{relation}");
    }
    // A mart below a view below functions of time.
    let shop = Populated::new("mart_again");
    psql(&shop.url, "INSERT INTO gold.sales_by_day SELECT '2024-01-02', 120.5, 1");
    shop.migrate(change("mart stored otherwise")).unwrap();
    assert_eq!(shop.ask("SELECT day, sold FROM gold.best_days"), "2024-01-02|120.50");
}

#[test]
fn a_table_and_its_column_are_renamed_at_once() {
    let shop = Populated::new("both_renamed");
    shop.migrate(change("dimension and column renamed")).unwrap();
    assert_eq!(shop.ask("SELECT customer_id, mail, points FROM silver.dim_client_hist"), "1|a@b|7");
    assert_eq!(shop.ask("SELECT mail FROM medallion.dim_client_hist_journal"), "a@b");
}

#[test]
fn an_enum_value_that_is_used_cannot_go() {
    let shop = Populated::new("value_used");
    psql(&shop.url, "UPDATE silver.dim_customer_hist SET mood = 'sour' WHERE sys_end = 'infinity'");
    let why = shop.refused(change("enum value removed"));
    assert!(why.contains("invalid input value for enum") && why.contains("sour"), "{why}");
    let shop = Populated::new("value_unused");
    shop.migrate(change("enum value removed")).unwrap();
    assert_eq!(shop.ask("SELECT mood FROM silver.dim_customer"), "fine");
}

#[test]
fn a_populated_column_takes_no_null_any_more_where_it_holds_none() {
    let shop = Populated::new("not_null");
    psql(&shop.url, "INSERT INTO silver.dim_customer_hist (customer_id, name) VALUES (2, 'Ben')");
    let why = shop.refused(change("column not null"));
    assert!(why.contains("contains null values"), "{why}");
    let shop = Populated::new("no_null");
    shop.migrate(change("column not null")).unwrap();
    assert_eq!(shop.ask("SELECT points FROM silver.dim_customer"), "7");
}

#[test]
fn partitions_that_runs_have_made_go_along() {
    let shop = Populated::new("run_time_partitions");
    psql(
        &shop.url,
        "SELECT medallion.make_partition('silver.fact_sale', 'fact_sale_2024_02', '2024-02-01', '2024-03-01');
         INSERT INTO silver.fact_sale VALUES (2, '2024-02-03 10:00+00', 1, 1, 'Ulm', 3, '2024-02-03')",
    );
    let mut edits = change("fact renamed").to_vec();
    edits.extend(change("fact column added"));
    shop.migrate(&edits).unwrap();
    let rows = "SELECT tableoid::regclass, sale_id, till FROM silver.fact_sold ORDER BY sale_id";
    assert_eq!(shop.ask(rows), "silver.fact_sold_default|1|\nsilver.fact_sold_2024_02|2|");
}

#[test]
fn what_does_not_fit_is_refused_and_never_cut_off() {
    let shop = Populated::new("too_long");
    psql(&shop.url, "INSERT INTO silver.dim_customer_hist (customer_id, name) VALUES (2, 'Wilhelmina')");
    let why = shop.refused(change("column cut short"));
    assert!(why.contains("value too long"), "{why}");
    let shop = Populated::new("too_large");
    psql(
        &shop.url,
        "INSERT INTO silver.dim_customer_hist (customer_id, name, points) VALUES (2, 'B', 40000)",
    );
    let why = shop.refused(change("column narrowed"));
    assert!(why.contains("out of range"), "{why}");
}

#[test]
fn names_of_63_bytes_and_with_quotes_are_names() {
    const LONG: &str = "dimensión_of_customers_with_a_name_of_as_many_letters_as_fit__x";
    assert_eq!(LONG.len(), 64);
    let long: &'static str = String::leak(LONG.replace('ó', "o"));
    let renamed = |name: &str| {
        let after = format!(
            "name = {name}\nrenamed_from = \"dim_customer_hist\"\ncurrent_view = \"it's \\\"so\\\"\""
        );
        ("name = \"dim_customer_hist\"", &*String::leak(after))
    };
    let column = (
        "name = \"email\", type",
        "name = \"e-\\\"mail\\\" %I $\", from = \"email\", renamed_from = \"email\", type",
    );
    let shop = Populated::new("long_names");
    shop.migrate(&[renamed(&format!("\"{long}\"")), column]).unwrap();
    assert_eq!(shop.ask(&format!("SELECT \"e-\"\"mail\"\" %I $\" FROM silver.\"{long}\"")), "a@b");
    let shop = Populated::new("quoted_names");
    shop.migrate(&[renamed("\"Kundën \\\"alt\\\" %s_hist\""), column]).unwrap();
    assert_eq!(shop.ask("SELECT \"e-\"\"mail\"\" %I $\" FROM silver.\"it's \"\"so\"\"\""), "a@b");
}
