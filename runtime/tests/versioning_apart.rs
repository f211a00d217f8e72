//! Versioning by triggers where closed versions stand in tables of their own: the same rules, cases and model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

#[path = "versioning/gate.rs"]
mod gate;
#[path = "versioning/merge.rs"]
mod merge;
#[path = "versioning/model.rs"]
mod model;
#[path = "versioning/neighbours.rs"]
mod neighbours;
#[path = "versioning/rules.rs"]
mod rules;
#[path = "versioning/support.rs"]
mod support;

use support::Session;

/// A table of the dimension can be named as well: the one of current versions is as good as the whole, and those of
/// the closed ones are left as they are.
#[tokio::test]
async fn partitions_are_written_like_the_whole_or_not_at_all() {
    let mut session = Session::alone("partitions").await;
    session
        .does("INSERT INTO silver.dim_customer_hist_current (region, customer_id, name) VALUES ('eu', 1, 'a'), ('eu', 2, 'b')")
        .await;
    session.does("UPDATE silver.dim_customer_hist_current SET name = 'c' WHERE customer_id = 1").await;
    session.does("DELETE FROM silver.dim_customer_hist_current WHERE customer_id = 2").await;
    assert_eq!(session.versions().await, "1:a 1:c… 2:b|");
    assert_eq!(
        session.ask("SELECT string_agg(journal_op, '' ORDER BY journal_id) FROM medallion.dim_customer_hist_journal").await,
        ["IIUD"]
    );
    for sql in [
        "INSERT INTO silver.dim_customer_hist_closed (region, customer_id, name, sys_end) VALUES ('eu', 3, 'x', now())",
        "INSERT INTO silver.dim_customer_hist (region, customer_id, name, sys_end) VALUES ('eu', 3, 'x', now())",
        "UPDATE silver.dim_customer_hist SET sys_end = now() WHERE customer_id = 1 AND sys_end = 'infinity'",
    ] {
        assert_eq!(session.fails(sql).await, "428C9", "{sql}");
    }
    for sql in [
        "UPDATE silver.dim_customer_hist_closed SET name = 'x'",
        "DELETE FROM silver.dim_customer_hist_closed",
        "DELETE FROM silver.dim_customer_hist_closed_default",
    ] {
        assert_eq!(session.does(sql).await, 0, "{sql}");
    }
    for table in ["", "_current", "_closed", "_closed_default"] {
        assert_eq!(session.fails(&format!("TRUNCATE silver.dim_customer_hist{table}")).await, "23001");
    }
    assert_eq!(session.versions().await, "1:a 1:c… 2:b|");
    let place = "SELECT DISTINCT tableoid::regclass FROM silver.dim_customer_hist ORDER BY 1";
    assert_eq!(
        session.ask(place).await,
        ["silver.dim_customer_hist_current", "silver.dim_customer_hist_closed_default"]
    );
    // A partition of that time cannot be made any more, and need not: the loader goes on with what there is.
    session
        .does(
            "SELECT medallion.make_partition('silver.dim_customer_hist_closed', 'dim_customer_hist_closed_2020', '2020-01-01', '2021-01-01');
            SELECT medallion.make_partition('silver.dim_customer_hist_closed', 'dim_customer_hist_closed_2021', '2021-01-01', '2100-01-01')",
        )
        .await;
    let partitions = "SELECT relid FROM pg_partition_tree('silver.dim_customer_hist_closed') WHERE isleaf ORDER BY relid::text";
    assert_eq!(
        session.ask(partitions).await,
        ["silver.dim_customer_hist_closed_2020", "silver.dim_customer_hist_closed_default"]
    );
    assert_eq!(session.fails("TRUNCATE silver.dim_customer_hist_closed_2020").await, "23001");
    // Guards are switched wherever they stand.
    for (state, fires) in [("off", "D"), ("on", "A")] {
        session
            .does(&format!("SELECT medallion.switch_guards('silver.dim_customer_hist', '{state}', 'a test')"))
            .await;
        let found = "SELECT DISTINCT fires FROM medallion.guards('silver.dim_customer_hist'::regclass)";
        assert_eq!(session.ask(found).await, [fires]);
    }
    let switched =
        "SELECT string_agg(guards || ' for ' || why, ', ' ORDER BY switch_id) FROM medallion.guard_switch";
    assert_eq!(session.ask(switched).await, ["off for a test, on for a test"]);
}

/// What `generate` writes for the case of that name; the tool's tests hold it to the templates.
const OBJECTS: &str = include_str!(
    "../../tests/cases/generate/versioned_apart/expected/migration/src/versioned_apart/m000001_baseline/up.sql"
);
const LAYOUT: support::Layout = support::Layout::Apart;
