//! What lies outside of what can be answered: no time, a time before the horizon, a position that has not
//! landed or of which nothing is left.

use crate::support::Session;

const FIVE: &str = "2024-01-05 00:00:00+00";

/// One owner, changed each day from the first to the ninth.
async fn with_owner(name: &str) -> Session {
    let mut session = Session::alone(name).await;
    session
        .does(
            "INSERT INTO silver.owner_hist
            SELECT 1, 'day ' || day, NULL, NULL, '', timestamptz '2023-12-31 00:00:00+00' + day * interval '1 day',
                CASE day
                    WHEN 9 THEN 'infinity'
                    ELSE timestamptz '2024-01-01 00:00:00+00' + day * interval '1 day'
                END
            FROM generate_series(1, 9) AS day;
            SET timezone = 'UTC';",
        )
        .await;
    session
}

#[tokio::test]
async fn no_time_has_no_answer_and_infinity_is_now() {
    let mut session = with_owner("no_time").await;
    for question in [
        "silver.owner_as_of(NULL)",
        "silver.owner_as_of(NULL, 1)",
        "silver.owner_as_of('infinity', NULL)",
        "silver.owner_as_of('-infinity')",
        "silver.owner_between(NULL, 'infinity')",
        "silver.owner_between('-infinity', NULL)",
        "silver.owner_between(NULL, NULL)",
        "silver.owner_between('infinity', '-infinity')",
        "silver.owner_history(NULL)",
        "silver.owner_changes(NULL, 'infinity')",
        "silver.owner_changes('-infinity', NULL)",
        "silver.owner_changes('infinity', '-infinity')",
        "silver.owner_changes('infinity', 'infinity')",
        "silver.site_as_of(NULL)",
    ] {
        let rows = session.ask(&format!("SELECT * FROM {question}")).await;
        assert!(rows.is_empty(), "{question}: {rows:?}");
    }
    let now = Some("day 9".to_owned());
    for question in
        ["owner_as_of('infinity')", "owner_as_of('infinity', 1)", "owner_between('infinity', 'infinity')"]
    {
        assert_eq!(session.value(&format!("SELECT name FROM silver.{question}")).await, now, "{question}");
    }
    let count = session.value("SELECT count(*) FROM silver.owner_between('-infinity', 'infinity')").await;
    assert_eq!(count.as_deref(), Some("9"));
    let count = session.value("SELECT count(*) FROM silver.owner_changes('-infinity', 'infinity')").await;
    assert_eq!(count.as_deref(), Some("11"), "one insert of three columns, and eight updates");
}

#[tokio::test]
async fn before_the_horizon_is_an_error() {
    let mut session = with_owner("horizon").await;
    session.does(&format!("INSERT INTO medallion.horizon VALUES (true, '{FIVE}', 5)")).await;
    let before = [
        "SELECT * FROM silver.owner_as_of('2024-01-04 23:59:59.999999')",
        "SELECT * FROM silver.owner_as_of('-infinity')",
        "SELECT * FROM silver.owner_as_of('2024-01-04', 1)",
        "SELECT * FROM silver.owner_as_of('2024-01-04') WHERE id = 1",
        "SELECT * FROM silver.owner_as_of('2024-01-04') WHERE id = 2",
        "SELECT * FROM silver.owner_between('2024-01-04', 'infinity')",
        "SELECT * FROM silver.owner_changes('2024-01-04', 'infinity')",
        "SELECT * FROM silver.site_as_of('2024-01-04')",
        "SELECT * FROM (VALUES (timestamptz '2024-01-04')) AS one (t), silver.owner_as_of(t, 1)",
    ];
    for question in before {
        let (message, hint) = session.refused(question).await;
        assert!(
            message.starts_with(&format!("the past before `{FIVE}` is not kept, and `")),
            "{question}: {message}"
        );
        assert_eq!(hint, format!("ask about `{FIVE}` or a later time"), "{question}");
    }
    session.does("SET medallion.as_of = '2024-01-04'").await;
    for relation in ["owner", "owner_hist", "site", "fact_visit"] {
        let (message, _) = session.refused(&format!("SELECT * FROM as_of.{relation}")).await;
        // In the warehouse's zone, as the setting is read.
        let said = "the past before `2024-01-05 01:00:00+01` is not kept, and `2024-01-04 00:00:00+01` was asked about";
        assert_eq!(message, said, "{relation}");
    }

    session.does(&format!("SET medallion.as_of = '{FIVE}'")).await;
    let then = Some("day 5".to_owned());
    for question in [
        "as_of.owner".to_owned(),
        format!("silver.owner_as_of('{FIVE}')"),
        format!("silver.owner_as_of('{FIVE}', 1)"),
    ] {
        assert_eq!(session.value(&format!("SELECT name FROM {question}")).await, then, "{question}");
    }
    let days =
        session.ask(&format!("SELECT new FROM silver.owner_changes('{FIVE}', 'infinity') ORDER BY at")).await;
    assert_eq!(days.concat(), ["day 6", "day 7", "day 8", "day 9"].map(|day| Some(day.to_owned())));
    session.does("SET medallion.as_of = ''").await;
    assert_eq!(session.value("SELECT name FROM as_of.owner").await.as_deref(), Some("day 9"));
}

#[tokio::test]
async fn the_setting_is_a_time_in_the_warehouse_s_zone() {
    let mut session = with_owner("setting").await;
    let name = "SELECT string_agg(name, ',') FROM as_of.owner";
    // Half past midnight in Berlin is the day before in UTC, and the session is in UTC.
    for (setting, expected) in [
        ("2024-01-05 00:30", "day 4"),
        ("2024-01-05 01:00", "day 5"),
        ("2024-01-05 00:30+00", "day 5"),
        ("infinity", "day 9"),
        ("", "day 9"),
    ] {
        session.does(&format!("SET medallion.as_of = '{setting}'")).await;
        assert_eq!(session.value(name).await.as_deref(), Some(expected), "{setting}");
    }
    session.does("SET medallion.as_of = '-infinity'").await;
    assert_eq!(session.value(name).await, None);
    session.does("RESET medallion.as_of").await;
    assert_eq!(session.value(name).await.as_deref(), Some("day 9"));
    session.does("BEGIN; SET LOCAL medallion.as_of = '2024-01-05'; COMMIT").await;
    assert_eq!(session.value(name).await.as_deref(), Some("day 9"), "what was local has gone");
    session.does("SET medallion.as_of = 'soon'").await;
    let (message, _) = session.refused(name).await;
    assert_eq!(message, "the setting `medallion.as_of` is not a time: `soon`");
}

#[tokio::test]
async fn a_question_about_a_time_can_be_answered_in_parallel() {
    let mut session = with_owner("parallel").await;
    session
        .does(
            "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
            SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 2;
            SET medallion.as_of = '2024-01-05 01:00'",
        )
        .await;
    // The function is asked within the query, which has workers by then.
    let question = "SELECT count(*) FILTER (WHERE name = 'day 5') FROM as_of.owner";
    let plan = session.ask(&format!("EXPLAIN {question}")).await;
    assert!(format!("{plan:?}").contains("Gather"), "{plan:?}");
    assert_eq!(session.value(question).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_position_has_the_time_of_the_last_transaction_up_to_it() {
    let mut session = Session::alone("positions").await;
    let time = |position: &str| format!("SELECT medallion.time_of({position})");
    session.does("SET timezone = 'UTC'").await;
    assert_eq!(session.value(&time("0")).await.as_deref(), Some("-infinity"), "nothing has landed");
    session
        .does(
            "INSERT INTO bronze.br_thing (lsn, op, full_row, commit_ts, seq)
            VALUES (16, 'I', '{}', '2024-01-01 00:00+00', 1), (16, 'U', '{}', '2024-01-01 00:00+00', 2),
                (48, 'U', '{}', '2024-01-03 00:00+00', 1);
            INSERT INTO bronze.br_owner (lsn, op, full_row, commit_ts, seq)
            VALUES (32, 'T', NULL, '2024-01-02 00:00+00', 1);
            INSERT INTO medallion.source_position (slot, state, system_identifier, database, landed_to)
            VALUES ('one', 'streaming', '1', 'd', 64);",
        )
        .await;
    for (position, expected) in [
        ("15", "-infinity"),
        ("16", "2024-01-01 00:00:00+00"),
        ("'0/10'", "2024-01-01 00:00:00+00"),
        ("31", "2024-01-01 00:00:00+00"),
        ("'0/20'", "2024-01-02 00:00:00+00"),
        ("pg_lsn '0/2F'", "2024-01-02 00:00:00+00"),
        ("48", "2024-01-03 00:00:00+00"),
        ("64", "2024-01-03 00:00:00+00"),
    ] {
        assert_eq!(session.value(&time(position)).await.as_deref(), Some(expected), "{position}");
    }
    assert_eq!(session.value(&time("NULL::bigint")).await, None);
    let (message, hint) = session.refused(&time("'0/41'")).await;
    assert_eq!(
        (message.as_str(), hint.as_str()),
        ("the position `0/41` has not landed yet", "run the warehouse, then ask again")
    );
    let (message, _) = session.refused(&time("'FFFFFFFF/FFFFFFFF'")).await;
    assert_eq!(message, "the position `FFFFFFFF/FFFFFFFF` has not landed yet");

    // Another source is followed from 40 on, whose own positions are lower by 30.
    session
        .does("UPDATE medallion.source_position SET lsn_offset = 30, epoch_lsn = 40, landed_to = 34")
        .await;
    assert_eq!(session.value(&time("'0/12'")).await.as_deref(), Some("2024-01-03 00:00:00+00"));
    assert_eq!(
        session.value(&time("16")).await.as_deref(),
        Some("2024-01-01 00:00:00+00"),
        "as bronze has it"
    );
    let (message, hint) = session.refused(&time("'0/9'")).await;
    assert_eq!(message, "the position `0/9` lies before the source was followed from where it is now");
    assert_eq!(hint, "ask about a position as bronze has it in lsn, which is a number");
    let (message, _) = session.refused(&time("'0/23'")).await;
    assert_eq!(message, "the position `0/23` has not landed yet");

    session.does("INSERT INTO medallion.horizon VALUES (true, '2024-01-01 12:00+00', 20)").await;
    let (message, hint) = session.refused(&time("19")).await;
    assert_eq!(
        message,
        "the past before `2024-01-01 12:00:00+00` is not kept, and the position `0/13` lies there"
    );
    assert_eq!(hint, "ask about `0/14` or a later position");
    assert_eq!(
        session.value(&time("20")).await.as_deref(),
        Some("2024-01-01 12:00:00+00"),
        "nothing happened since"
    );
    assert_eq!(session.value(&time("32")).await.as_deref(), Some("2024-01-02 00:00:00+00"));
}
