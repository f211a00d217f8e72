//! How the functions are answered: inlined, by the dimension's indexes, whatever has been asked.

use crate::support::Session;

/// Enough versions that the planner takes an index for what it is for.
const VERSIONS: &str = "
    INSERT INTO silver.owner_hist
    SELECT id, 'name', id, NULL, '', timestamptz '2024-01-01 00:00:00+00' + version * interval '1 hour',
        CASE version
            WHEN 19 THEN 'infinity'
            ELSE timestamptz '2024-01-01 00:00:00+00' + (version + 1) * interval '1 hour'
        END
    FROM generate_series(0, 19) AS version, generate_series(1, 2000) AS id;
    INSERT INTO silver.thing_hist SELECT id, 'a', NULL, NULL, NULL, NULL, NULL, '', sys_start, sys_end
    FROM silver.owner_hist;
    CREATE TABLE public.visit AS SELECT id, timestamptz '2024-01-01 05:30:00+00' AS at
    FROM generate_series(1, 50) AS id;
    VACUUM ANALYZE silver.owner_hist;
    VACUUM ANALYZE silver.thing_hist;
    ANALYZE public.visit;";

const THEN: &str = "timestamptz '2024-01-01 05:30:00+00'";

#[tokio::test]
async fn one_key_goes_by_the_primary_key() {
    let mut session = Session::alone("plans_of_a_key").await;
    for statement in VERSIONS.split_inclusive(';') {
        session.does(statement).await;
    }
    for question in [
        format!("SELECT * FROM silver.owner_as_of({THEN}) WHERE id = 7"),
        format!("SELECT * FROM silver.owner_as_of({THEN}, 7)"),
        format!("SELECT * FROM silver.owner_between({THEN}, 'infinity') WHERE id = 7"),
        "SELECT * FROM silver.owner_history(7)".to_owned(),
        format!("SELECT * FROM silver.owner_changes({THEN}, 'infinity') WHERE id = 7"),
        format!(
            "SELECT * FROM silver.owner_changes('-infinity', {THEN}) WHERE id = 7 AND \"column\" = 'name'"
        ),
        "SELECT * FROM as_of.owner WHERE id = 7".to_owned(),
        "SELECT visit.*, name FROM visit, silver.owner_as_of(visit.at, visit.id)".to_owned(),
        "SELECT * FROM silver.owner_at_home WHERE id = 7".to_owned(),
        "SELECT * FROM silver.visit_with_owner WHERE id = 7".to_owned(),
        "SELECT * FROM as_of.visit_with_owner WHERE id = 7".to_owned(),
        format!("SELECT * FROM silver.thing_as_of({THEN}) WHERE at = 7 AND \"from\" = 'a'"),
        format!("SELECT * FROM silver.thing_as_of({THEN}, 7, 'a')"),
        "SELECT * FROM silver.thing_history(7, 'a')".to_owned(),
        format!("SELECT * FROM silver.thing_changes({THEN}, 'infinity') WHERE at = 7 AND \"from\" = 'a'"),
    ] {
        let plan = session.plan(&question).await;
        assert!(plan.contains("_hist_pkey") && !plan.contains("Function Scan"), "{question}\n{plan}");
        assert!(
            !plan.contains("Seq Scan on owner_hist") && !plan.contains("Seq Scan on thing_hist"),
            "{question}\n{plan}"
        );
    }
    // The last version that had begun is found first, and no other is looked at.
    let plan = session.plan(&format!("SELECT * FROM silver.owner_as_of({THEN}, 7)")).await;
    assert!(plan.contains("Limit") && plan.contains("Index Scan Backward"), "{plan}");
    // Whether the past is kept is asked once, before anything is read.
    let plan = session.plan(&format!("SELECT * FROM silver.owner_as_of({THEN}) WHERE id = 7")).await;
    assert!(plan.starts_with("Result\n  One-Time Filter: since_horizon("), "{plan}");
}

#[tokio::test]
async fn all_keys_are_never_asked_of_a_function() {
    let mut session = Session::alone("plans_of_all").await;
    for statement in VERSIONS.split_inclusive(';') {
        session.does(statement).await;
    }
    session.does("SET enable_seqscan = off").await;
    for question in [
        format!("SELECT count(*) FROM silver.owner_as_of({THEN})"),
        format!("SELECT count(*) FROM silver.owner_between({THEN}, {THEN} + interval '1 hour')"),
        format!("SELECT count(*) FROM silver.owner_changes({THEN}, {THEN} + interval '1 hour')"),
        format!("SELECT count(*) FROM silver.site_as_of({THEN})"),
    ] {
        let plan = session.plan(&question).await;
        assert!(plan.contains("_hist") && !plan.contains("Function Scan"), "{question}\n{plan}");
    }
    let plan = session
        .plan("SELECT count(*) FROM silver.owner_changes('2024-01-01 05:30', '2024-01-01 05:40')")
        .await;
    assert_eq!(plan.matches("owner_hist_period_brin").count(), 2, "{plan}");
}
