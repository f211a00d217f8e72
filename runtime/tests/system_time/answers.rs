//! Asking, on a real server: read only whatever is tried, within the time given, by roles that may do no more
//! than read; and times that are none are told.

use std::time::Duration;

use medallion_runtime::answer::{self, Format, Printer, Settings};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use super::law;

const OBJECTS: &str = include_str!(
    "../../../tests/cases/generate/system_versioning/expected/migration/src/system_versioning/m000001_baseline/up.sql"
);

/// An answer as CSV, without its header.
pub async fn csv(
    warehouse: &Warehouse,
    connection: &mut PgConnection,
    sql: &str,
    settings: &Settings,
) -> Result<String, String> {
    let mut out = Vec::new();
    let mut printer = Printer::new(Format::Csv, None, &mut out);
    answer::ask(warehouse, connection, sql, settings, &mut printer)
        .await
        .map_err(|error| format!("{sql}\n{error}"))?;
    let text = String::from_utf8(out).unwrap();
    Ok(text.split_once('\n').map_or(String::new(), |(_, rows)| rows.to_owned()))
}

pub async fn open(name: &str) -> (PgConnection, String) {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    let url = server.url(name);
    let mut connection = connection::connect(Database::Warehouse, &url).await.unwrap();
    connection.execute(OBJECTS).await.unwrap();
    connection
        .execute(
            "INSERT INTO silver.dim_customer_hist (region, customer_id, name) VALUES ('r', 1, 'one');
            CREATE SEQUENCE public.numbers; CREATE TABLE public.kept AS SELECT 1 AS one",
        )
        .await
        .unwrap();
    (connection, url)
}

async fn refused(connection: &mut PgConnection, sql: &str, settings: &Settings) -> String {
    match csv(&law::dimensions(), connection, sql, settings).await {
        Ok(rows) => panic!("{sql}\nanswers {rows}"),
        Err(error) => error.split_once('\n').unwrap().1.to_owned(),
    }
}

#[tokio::test]
async fn nothing_that_is_asked_changes_anything() {
    let (mut connection, url) = open("answers_read_only").await;
    let path = std::env::temp_dir().join(format!("medallion_answers_{}", std::process::id()));
    let program = format!("COPY (SELECT 1) TO PROGRAM 'touch {}'", path.display());
    let file = format!("COPY (SELECT 1) TO '{}'", path.display());
    for (sql, what) in [
        ("DELETE FROM public.kept RETURNING *", "that would change something"),
        (
            "WITH gone AS (DELETE FROM public.kept RETURNING *) SELECT * FROM gone",
            "that would change something",
        ),
        ("SELECT * FROM public.kept FOR UPDATE", "that would change something"),
        ("SELECT nextval('public.numbers')", "that would change something"),
        ("SELECT * INTO public.copied FROM public.kept", "that is no question"),
        ("EXPLAIN ANALYZE DELETE FROM public.kept", "that would change something"),
        ("SELECT set_config('transaction_read_only', 'off', false)", "the question failed"),
        ("SET transaction_read_only = off", "that is no question"),
        ("COMMIT", "that is no question"),
        ("BEGIN; DELETE FROM public.kept", "these are several statements"),
        ("COMMIT; DROP TABLE public.kept", "these are several statements"),
        ("CREATE TABLE public.made ()", "that is no question"),
        ("DO $$ BEGIN DELETE FROM public.kept; END $$", "that is no question"),
        ("LISTEN something", "that is no question"),
        (&program, "that is no question"),
        (&file, "that is no question"),
    ] {
        let said = refused(&mut connection, sql, &Settings::default()).await;
        assert!(said.starts_with(what), "{sql}\n{said}");
    }
    // What one question sets is gone with it.
    let settings = Settings::default();
    let warehouse = law::dimensions();
    let set = "SELECT set_config('default_transaction_read_only', 'off', false)";
    csv(&warehouse, &mut connection, set, &settings).await.unwrap();
    let said = refused(&mut connection, "DELETE FROM public.kept RETURNING *", &settings).await;
    assert!(said.starts_with("that would change something"), "{said}");
    assert!(!path.exists(), "no program has run");
    let mut other = connection::connect(Database::Warehouse, &url).await.unwrap();
    let state = "SELECT (SELECT count(*) FROM public.kept), (SELECT is_called FROM public.numbers), \
        to_regclass('public.copied') IS NULL AND to_regclass('public.made') IS NULL";
    let row = other.fetch_one(state).await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<bool, _>(1), row.get::<bool, _>(2)), (1, false, true));
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_cancelled_and_the_next_is_answered() {
    let (mut connection, _) = open("answers_timeout").await;
    let settings = Settings { timeout: Duration::from_millis(200), ..Settings::default() };
    let said = refused(&mut connection, "SELECT pg_sleep(60)", &settings).await;
    assert_eq!(
        said,
        "the question takes longer than 200ms, and was cancelled\n  \
         = ask for less, or give it more time: `--timeout 1h`; 0 sets no limit"
    );
    let count = "SELECT count(*) FROM dim_customer FOR SYSTEM_TIME ALL";
    assert_eq!(csv(&law::dimensions(), &mut connection, count, &settings).await.unwrap(), "1\n");
}

#[tokio::test]
async fn a_time_that_is_none_is_told() {
    let (mut connection, _) = open("answers_times").await;
    for (time, what) in [
        ("'yesteryear'", "`'yesteryear'::timestamptz` is not a time\n  = write it as"),
        ("'2024-02-30'", "`'2024-02-30'::timestamptz` is not a time"),
        ("nullif(1, 1)::text", "`(nullif(1, 1)::text)::timestamptz` is NULL, which is no time"),
        ("(SELECT NULL::timestamptz)", "`((SELECT NULL::timestamptz))::timestamptz` is NULL"),
    ] {
        let sql = format!("SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF {time}");
        let said = refused(&mut connection, &sql, &Settings::default()).await;
        assert!(said.starts_with(what), "{sql}\n{said}");
    }
}

/// A literal without a zone is in the warehouse's, not in the session's.
#[tokio::test]
async fn a_time_without_a_zone_is_in_the_warehouses() {
    let (mut connection, _) = open("answers_zone").await;
    let warehouse = law::facts();
    let sql = "SELECT '2024-07-01'::timestamptz = '2024-06-30 22:00:00+00', current_setting('TimeZone')";
    let settings = Settings::default();
    assert_eq!(csv(&warehouse, &mut connection, sql, &settings).await.unwrap(), "t,Europe/Berlin\n");
}

/// What one table says for itself counts for it, whatever the whole question is asked as of.
#[tokio::test]
async fn a_tables_own_time_goes_before_the_questions() {
    let (mut connection, _) = open("answers_both").await;
    let settings = Settings { as_of: Some("2000-01-01".to_owned()), ..Settings::default() };
    let sql = "SELECT (SELECT count(*) FROM dim_customer), \
        (SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF 'infinity')";
    let warehouse = law::dimensions();
    assert_eq!(csv(&warehouse, &mut connection, sql, &settings).await.unwrap(), "0,1\n");
}

#[tokio::test]
async fn what_asks_for_no_system_time_is_answered_as_the_server_answers() {
    let (mut connection, url) = open("answers_unchanged").await;
    let mut plain = connection::connect(Database::Warehouse, &url).await.unwrap();
    let warehouse = law::dimensions();
    for sql in super::UNCHANGED {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut plain).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}\n{error}")).len();
        let settings = Settings::default();
        let answer = csv(&warehouse, &mut connection, sql, &settings).await.unwrap();
        assert_eq!(answer.lines().count(), rows, "{sql}\n{answer}");
    }
}

/// Whatever form it has, a time from before the past that is kept is an error: a join would lose rows in silence.
#[tokio::test]
async fn before_the_past_that_is_kept_nothing_is_answered() {
    let (mut connection, _) = open("answers_horizon").await;
    connection
        .execute(
            "INSERT INTO medallion.horizon VALUES (true, '2024-06-01', 1);
            CREATE TABLE public.seen AS SELECT 'r' AS region, id, timestamptz '2024-01-01' AS at, id % 2 = 0 AS even
            FROM generate_series(1, 3) AS id",
        )
        .await
        .unwrap();
    let warehouse = law::dimensions();
    let settings = Settings::default();
    let of_rows = |period: &str| {
        ["JOIN", "LEFT JOIN"].map(|join| {
            format!(
                "SELECT count(*) FROM public.seen AS s {join} dim_customer FOR SYSTEM_TIME {period} AS c \
                 ON c.region = s.region AND c.customer_id = s.id"
            )
        })
    };
    let plain = |period: &str| format!("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME {period}");
    for (before, since) in [("'2024-01-01'", "'2024-06-01'"), ("s.at", "(s.at + interval '1 year')")] {
        for (period, is_refused) in [
            (format!("AS OF {before}"), true),
            (format!("AS OF {since}"), false),
            (format!("FROM {before} TO {since}"), true),
            (format!("FROM {since} TO 'infinity'"), false),
            (format!("BETWEEN {before} AND {since}"), true),
            (format!("BETWEEN {since} AND 'infinity'"), false),
            (format!("BETWEEN SYMMETRIC {before} AND {since}"), true),
            (format!("BETWEEN SYMMETRIC {since} AND {before}"), true),
            (format!("BETWEEN SYMMETRIC 'infinity' AND {since}"), false),
            (format!("CONTAINED IN ({before}, {since})"), true),
            (format!("CONTAINED IN ({since}, 'infinity')"), false),
        ] {
            let questions = if before == "s.at" { of_rows(&period).to_vec() } else { vec![plain(&period)] };
            for sql in questions {
                let answer = csv(&warehouse, &mut connection, &sql, &settings).await;
                let is_said = answer.as_ref().is_err_and(|said| said.contains("is not kept"));
                assert_eq!((answer.is_err(), is_said), (is_refused, is_refused), "{sql}\n{answer:?}");
            }
        }
    }
    let within = "AS OF (SELECT timestamptz '2024-01-01' FROM (SELECT 1 AS one) AS ones WHERE one = 1)";
    let said = refused(&mut connection, &plain(within), &settings).await;
    assert!(said.contains("is not kept"), "{said}");
}

/// Where names would be those of the present, nothing is answered.
#[tokio::test]
async fn who_may_not_read_the_past_is_not_told_the_present() {
    let (mut connection, url) = open("answers_present").await;
    connection
        .execute(
            "DO $$ BEGIN CREATE ROLE answers_present LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
            GRANT USAGE ON SCHEMA silver, gold, medallion TO answers_present;
            GRANT SELECT ON ALL TABLES IN SCHEMA silver, gold TO answers_present",
        )
        .await
        .unwrap();
    let url = format!("{url}&user=answers_present");
    let mut session = connection::connect(Database::Warehouse, &url).await.unwrap();
    let sql = "SELECT count(*) FROM dim_customer";
    let settings = Settings { as_of: Some("2000-01-01".to_owned()), ..Settings::default() };
    let said = refused(&mut session, sql, &settings).await;
    assert!(said.starts_with("the role `answers_present` may not read the past"), "{said}");
    let now = csv(&law::dimensions(), &mut session, sql, &Settings::default()).await;
    assert_eq!(now.unwrap(), "1\n");
    let (_, remedy) = said.split_once("have the owner run `").unwrap();
    let grants = remedy.split_once('`').unwrap().0.to_owned();
    connection.execute("SET default_transaction_read_only = off").await.unwrap();
    connection.execute(AssertSqlSafe(grants)).await.unwrap();
    assert_eq!(csv(&law::dimensions(), &mut session, sql, &settings).await.unwrap(), "0\n");
}

/// Each word that PostgreSQL takes as a table's name in a question, it takes behind a clause too.
#[tokio::test]
async fn whatever_is_an_alias_is_one_behind_a_clause() {
    let (mut connection, _) = open("answers_aliases").await;
    let words = connection.fetch_all("SELECT word FROM pg_get_keywords() WHERE catcode IN ('U', 'C')");
    let mut words: Vec<String> = words.await.unwrap().iter().map(|row| row.get(0)).collect();
    let others = ["asof", "format", "settings", "global", "pivot", "semi", "anti", "qualify", "prewhere"];
    words.extend(others.map(str::to_owned));
    assert!(words.len() > 300, "{words:?}");
    let (warehouse, settings) = (law::dimensions(), Settings::default());
    for word in words {
        for period in ["ALL", "AS OF ('infinity')", "CONTAINED IN ('-infinity', 'infinity')"] {
            let sql =
                format!("SELECT \"{word}\".customer_id FROM dim_customer FOR SYSTEM_TIME {period} {word}");
            assert_eq!(csv(&warehouse, &mut connection, &sql, &settings).await.unwrap(), "1\n", "{sql}");
        }
    }
}

/// Who may read silver and `as_of` and nothing else may ask, as of any time.
#[tokio::test]
async fn a_reader_needs_no_more_than_to_read() {
    let (mut connection, url) = open("answers_reader").await;
    connection
        .execute(
            "DO $$ BEGIN CREATE ROLE answers_reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
            GRANT USAGE ON SCHEMA silver, gold, as_of TO answers_reader;
            GRANT SELECT ON ALL TABLES IN SCHEMA silver, gold, as_of TO answers_reader",
        )
        .await
        .unwrap();
    let url = format!("{url}&user=answers_reader");
    let mut reader = connection::connect(Database::Warehouse, &url).await.unwrap();
    let warehouse = law::dimensions();
    let sql = "SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF '2000-01-01'";
    let now = "SELECT count(*) FROM dim_customer";
    for (sql, as_of, rows) in [(sql, None, "0\n"), (now, None, "1\n"), (now, Some("2000-01-01"), "0\n")] {
        let settings = Settings { as_of: as_of.map(str::to_owned), ..Settings::default() };
        assert_eq!(csv(&warehouse, &mut reader, sql, &settings).await.unwrap(), rows, "{sql}");
    }
}
