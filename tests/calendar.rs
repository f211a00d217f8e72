//! The law of calendars, on a real server: there is a row for each day and for no other, which says of the day what
//! PostgreSQL says of it; another number of years is one migration, after which the marts that join it are computed anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::Path;
use std::process::Command;

use medallion_server::Server;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

const SPEC: &str = include_str!("cases/generate/calendar/spec.toml");
const QUIET_DAYS: &str = include_str!("cases/generate/calendar/quiet_days.sql");

/// Days that the view and its definition by other means do not have in common.
const DIFFERENT: &str = "
    WITH wanted AS (
        SELECT
            date_part('year', day)::integer * 10000 + date_part('month', day)::integer * 100
                + date_part('day', day)::integer AS date_key,
            day::date AS date_day,
            date_part('year', day)::integer AS year,
            (date_part('month', day)::integer + 2) / 3 AS quarter,
            date_part('month', day)::integer AS month,
            to_char(day, 'IW')::integer AS week_of_year,
            (ARRAY['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October',
                'November', 'December'])[date_part('month', day)::integer] AS month_name,
            (ARRAY['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'])
                [date_part('dow', day)::integer + 1] AS day_name,
            date_part('dow', day) IN (0, 6) AS is_weekend,
            date_part('dow', day) NOT IN (0, 6) AS is_weekday
        FROM generate_series('{first}'::timestamp, '{first}'::timestamp + '{years} years'::interval - '1 day'::interval,
            '1 day') AS day
    )
    SELECT count(*) FROM (
        (TABLE wanted EXCEPT ALL TABLE {view}) UNION ALL (TABLE {view} EXCEPT ALL TABLE wanted)
    ) AS different";

#[test]
fn there_is_a_row_for_each_day() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for (number, (first, years)) in
            [("2023-01-01", 4), ("2024-02-29", 1), ("1999-12-31", 3), ("2020-07-15", 30)]
                .into_iter()
                .enumerate()
        {
            let folder = workspace(first, years);
            let mut connection = database(&format!("days_{number}")).await;
            execute(&migrations(folder.path()).concat(), &mut connection).await;
            // In whatever zone and tongue one asks.
            execute("SET TimeZone = 'Pacific/Apia'", &mut connection).await;
            for view in ["silver.dim_date", "as_of.dim_date"] {
                let sql = DIFFERENT
                    .replace("{first}", first)
                    .replace("{years}", &years.to_string())
                    .replace("{view}", view);
                assert_eq!(count(&sql, &mut connection).await, 0, "{view} of {years} years from {first} on");
            }
            end(connection, &format!("days_{number}")).await;
        }
    });
}

#[test]
fn another_year_is_one_migration_and_marts_follow() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let folder = workspace("2023-01-01", 3);
        let mut connection = database("days_more").await;
        execute(&migrations(folder.path()).concat(), &mut connection).await;
        execute("DELETE FROM medallion.recompute", &mut connection).await;
        assert_eq!(count("SELECT count(*) FROM silver.dim_date", &mut connection).await, 1096);

        write(folder.path(), "2023-01-01", 4);
        assert!(medallion(folder.path(), "generate"), "a calendar goes on for another year");
        let all = migrations(folder.path());
        assert_eq!(all.len(), 2, "one migration is written");
        execute(&all[1], &mut connection).await;
        assert_eq!(count("SELECT count(*) FROM silver.dim_date", &mut connection).await, 1461);
        let left = "SELECT count(*) FROM medallion.recompute WHERE relation = 'gold.visits_by_day_of_week'";
        assert_eq!(count(left, &mut connection).await, 1, "the mart that joins days is computed anew");
        assert_eq!(count("SELECT count(*) FROM medallion.recompute", &mut connection).await, 1);
        end(connection, "days_more").await;
    });
}

/// A workspace with the calendar, generated.
fn workspace(first: &str, years: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), first, years);
    assert!(medallion(folder.path(), "generate"), "the spec generates");
    folder
}

fn write(folder: &Path, first: &str, years: u32) {
    let spec = folder.join("spec/calendar");
    fs::create_dir_all(&spec).unwrap();
    let text = SPEC.replacen("2023-01-01", first, 1).replacen("years = 4", &format!("years = {years}"), 1);
    fs::write(spec.join("spec.toml"), text).unwrap();
    fs::write(spec.join("quiet_days.sql"), QUIET_DAYS).unwrap();
}

fn medallion(folder: &Path, verb: &str) -> bool {
    let output = Command::new(env!("CARGO_BIN_EXE_medallion"))
        .current_dir(folder)
        .arg(verb)
        .env_remove("MEDALLION_SPEC")
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

/// What each migration does, first to last.
fn migrations(folder: &Path) -> Vec<String> {
    let folder = folder.join("migration/src/calendar");
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut ups: Vec<_> = entries.map(|path| path.join("up.sql")).filter(|path| path.exists()).collect();
    ups.sort();
    let mut texts: Vec<String> = ups.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts[0].insert_str(0, "CREATE SCHEMA IF NOT EXISTS medallion;\n");
    texts
}

async fn database(name: &str) -> PgConnection {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    PgConnection::connect(&server.url(name)).await.unwrap()
}

async fn end(connection: PgConnection, name: &str) {
    connection.close().await.unwrap();
    let mut connection =
        PgConnection::connect(&Server::shared_scratch().unwrap().url("postgres")).await.unwrap();
    execute(&format!("DROP DATABASE {name}"), &mut connection).await;
}

async fn execute(sql: &str, connection: &mut PgConnection) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}

async fn count(sql: &str, connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.unwrap()
}
