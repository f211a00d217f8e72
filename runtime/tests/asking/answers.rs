//! Every answer about any history, at and between all times, infinities included: as plain Rust has it.

use std::cell::RefCell;

use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::model::{ATTRIBUTES, BEGINNING, FOREVER, History, Row, history};
use crate::support::Session;

/// The times by their numbers.
const TIMES: &str = "
    CREATE FUNCTION public.t(number bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
    AS $$ SELECT CASE number
        WHEN -1 THEN '-infinity'
        WHEN 9 THEN 'infinity'
        ELSE timestamptz '2024-01-01 00:00:00+00' + number * interval '1 microsecond'
    END $$;
    CREATE TABLE public.moment AS SELECT number, t(number) AS t FROM generate_series(-1::bigint, 9) AS number;";

const COLUMNS: &str = r#""at", "from", "key", "old", "new", "it's", "op""#;

#[test]
fn every_answer_is_that_of_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let session = RefCell::new(runtime.block_on(async {
        let mut session = Session::alone("answers").await;
        session.does(TIMES).await;
        session
    }));
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&history(), |history| {
            runtime.block_on(check(&history, &mut session.borrow_mut())).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn check(history: &History, session: &mut Session) -> Result<(), String> {
    session.does(&history.inserts()).await;
    let numbered = |column: &str| format!("(SELECT number FROM moment WHERE t = {column})");
    let (start, end) = (numbered("sys_start"), numbered("sys_end"));

    let by_time =
        format!("SELECT moment.number, {COLUMNS}, {start} FROM moment, silver.thing_as_of(moment.t)");
    let by_key = format!(
        "SELECT moment.number, answer.* FROM moment, (VALUES (1, 'a'), (1, 'b'), (2, 'a')) AS one (x, y), \
         LATERAL (SELECT {COLUMNS}, {start} FROM silver.thing_as_of(moment.t, x, y)) AS answer"
    );
    let expected = at_all_times(|then| history.as_of(then));
    equal("as of", &expected, &sorted(session.ask(&by_time).await))?;
    equal("as of, by key", &expected, &sorted(session.ask(&by_key).await))?;

    let stretches = "FROM moment AS one, moment AS other";
    let between = format!(
        "SELECT one.number, other.number, {COLUMNS}, {start}, {end} {stretches}, \
         silver.thing_between(one.t, other.t)"
    );
    let expected = between_all_times(|from, to| history.between(from, to));
    equal("between", &expected, &sorted(session.ask(&between).await))?;

    let changes = format!(
        "SELECT one.number, other.number, at, \"from\", {}, op, \"column\", old, new {stretches}, \
         LATERAL (SELECT * FROM silver.thing_changes(one.t, other.t)) AS answer",
        numbered("answer.at_"),
    );
    let expected = between_all_times(|from, to| history.changes(from, to));
    equal("changes", &expected, &sorted(session.ask(&changes).await))?;

    for (at, from) in [(1, "a"), (1, "b"), (2, "a"), (3, "a")] {
        let asked = format!("SELECT {COLUMNS}, {start}, {end} FROM silver.thing_history({at}, '{from}')");
        let key = [Some(at.to_string()), Some(from.to_owned())];
        let mut expected = history.between(BEGINNING, FOREVER);
        expected.retain(|row| row[..2] == key);
        equal("history", &expected, &session.ask(&asked).await)?;
    }
    folding_changes_gives_the_state(session).await
}

/// Changes after one time on top of the state of that time are the state of the other.
async fn folding_changes_gives_the_state(session: &mut Session) -> Result<(), String> {
    let values: Vec<String> = ATTRIBUTES
        .iter()
        .map(|name| {
            let (name, said) = (format!("\"{name}\""), name.replace('\'', "''"));
            format!(
                "CASE WHEN last.columns ? '{said}' THEN last.columns ->> '{said}' ELSE state.{name}::text END"
            )
        })
        .collect();
    let then: Vec<String> = ATTRIBUTES.iter().map(|name| format!("\"{name}\"::text")).collect();
    // The last word on each column of a key, from one time to the other. Inserts and deletes tell all columns:
    // where one word is a delete, all are.
    let folded = format!(
        "SELECT one.number, other.number, answer.*
        FROM moment AS one
        JOIN moment AS other ON one.number <= other.number
        CROSS JOIN LATERAL (
            SELECT COALESCE(state.at, last.at), COALESCE(state.\"from\", last.\"from\"), {}
            FROM silver.thing_as_of(one.t) AS state
            FULL JOIN (
                SELECT at, \"from\", jsonb_object_agg(\"column\", new) AS columns, min(op) AS op
                FROM (
                    SELECT DISTINCT ON (at, \"from\", \"column\") *
                    FROM silver.thing_changes(one.t, other.t)
                    ORDER BY at, \"from\", \"column\", at_ DESC
                ) AS word
                GROUP BY at, \"from\"
            ) AS last ON last.at = state.at AND last.\"from\" = state.\"from\"
            WHERE last.op IS DISTINCT FROM 'delete'
        ) AS answer",
        values.join(", ")
    );
    let state = format!(
        "SELECT one.number, other.number, at, \"from\", {}
        FROM moment AS one
        JOIN moment AS other ON one.number <= other.number
        CROSS JOIN LATERAL silver.thing_as_of(other.t)",
        then.join(", ")
    );
    equal("folded", &sorted(session.ask(&state).await), &sorted(session.ask(&folded).await))
}

fn at_all_times(answer: impl Fn(i64) -> Vec<Row>) -> Vec<Row> {
    let times = BEGINNING..=FOREVER;
    sorted(times.flat_map(|then| prefixed(&[then], answer(then))).collect())
}

fn between_all_times(answer: impl Fn(i64, i64) -> Vec<Row>) -> Vec<Row> {
    let mut rows = Vec::new();
    for from in BEGINNING..=FOREVER {
        for to in BEGINNING..=FOREVER {
            rows.extend(prefixed(&[from, to], answer(from, to)));
        }
    }
    sorted(rows)
}

fn prefixed(numbers: &[i64], rows: Vec<Row>) -> Vec<Row> {
    let prefix: Row = numbers.iter().map(|number| Some(number.to_string())).collect();
    rows.into_iter().map(|row| [prefix.clone(), row].concat()).collect()
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort();
    rows
}

fn equal(what: &str, expected: &[Row], found: &[Row]) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let only = |some: &[Row], others: &[Row]| {
        some.iter().filter(|row| !others.contains(row)).cloned().collect::<Vec<_>>()
    };
    Err(format!(
        "{what}: {} rows expected, {} found\nmissing {:?}\ntoo many {:?}",
        expected.len(),
        found.len(),
        only(expected, found),
        only(found, expected)
    ))
}
