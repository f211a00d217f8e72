//! Attributes of every type: what a writer's trigger takes for unchanged, the loader takes for unchanged, and
//! the other way round, whatever the session's settings; and each change is one to both.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::arrivals::{open, run, verified};

/// Values of the attributes `a1` to `a30`: two of each, the second unlike the first in what equality may miss.
const VALUES: [(&str, &str); 30] = [
    ("true", "false"),
    ("1", "-32768"),
    ("1", "2147483647"),
    ("1", "-9223372036854775808"),
    ("0.1", "NaN"),
    ("0.1", "-Infinity"),
    ("1.0", "1.00"),
    ("1.5", "-99999.999"),
    ("a", "A"),
    ("", " "),
    ("a", "a b"),
    ("2024-02-29", "infinity"),
    ("00:00", "24:00"),
    ("2024-03-31 02:30", "-infinity"),
    ("2024-10-27 00:30+00", "2024-10-27 01:30+00"),
    ("00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"),
    ("{\"a\": 1}", "[1]"),
    ("{\"a\": 1}", "{\"a\": 1.0}"),
    ("\\x", "\\x5c78"),
    ("1 mon", "30 days"),
    ("10.0.0.0/8", "::1"),
    ("ok", "happy"),
    ("{}", "{\"\",NULL,\"NULL\",\"a,b\"}"),
    ("{1,NULL}", "{NULL,1}"),
    ("{sad}", "{sad,sad}"),
    ("{infinity}", "{2024-02-29}"),
    ("{\"2024-10-27 00:30+00\"}", "{\"2024-10-27 01:30+00\"}"),
    ("{\"1 mon\"}", "{\"30 days\"}"),
    ("{0.1}", "{NaN}"),
    ("{\"\\\\x00\"}", "{\"\\\\x\"}"),
];

const SETTINGS: [&str; 8] = [
    "TimeZone = 'America/New_York'",
    "TimeZone = 'Europe/Berlin'",
    "DateStyle = 'SQL, DMY'",
    "DateStyle = 'German'",
    "IntervalStyle = 'sql_standard'",
    "IntervalStyle = 'iso_8601'",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
];

fn columns(prefix: &str) -> String {
    let columns: Vec<String> = (1..=VALUES.len()).map(|number| format!("{prefix}a{number}")).collect();
    columns.join(", ")
}

/// Lands the row as it stands in `source`, by a session set as a capture's is.
async fn land(lsn: usize, connection: &mut PgConnection) {
    connection
        .execute(AssertSqlSafe(format!(
            "SET TimeZone = 'UTC'; INSERT INTO bronze.br_attribute (lsn, op, full_row, commit_ts, seq) \
             SELECT {lsn}, 'U', to_jsonb(source), clock_timestamp(), 0 FROM source; RESET TimeZone"
        )))
        .await
        .unwrap();
    run(connection).await.unwrap();
}

/// Writes the row as it stands in `source`, past the feed.
async fn write(connection: &mut PgConnection) {
    let sql = format!(
        "UPDATE silver.attribute_hist SET ({}) = (SELECT {} FROM source) WHERE sys_end = 'infinity'",
        columns(""),
        columns("")
    );
    assert_eq!(connection.execute(AssertSqlSafe(sql)).await.unwrap().rows_affected(), 1);
}

async fn versions(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM silver.attribute_hist").fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn the_loader_and_a_writer_see_the_same_changes_of_every_type() {
    let mut connection = open("attributes").await;
    connection
        .execute(
            "CREATE TABLE source AS SELECT * FROM silver.attribute; ALTER TABLE source DROP COLUMN sys_start",
        )
        .await
        .unwrap();
    connection.execute("INSERT INTO source (id) VALUES (1)").await.unwrap();
    land(1, &mut connection).await;
    let mut expected = 1;
    // What is changed by the one is unchanged to the other: the loader first, then the writer, and so on.
    for (number, (first, second)) in (1..).zip(VALUES) {
        for (round, value) in [(0, Some(first)), (1, Some(second)), (2, None)] {
            let value = value.map_or("NULL".to_owned(), |value| format!("'{value}'"));
            connection
                .execute(AssertSqlSafe(format!("UPDATE source SET a{number} = {value}")))
                .await
                .unwrap();
            expected += 1;
            let lsn = number * 10 + round * 2;
            if round == 1 {
                write(&mut connection).await;
                assert_eq!(versions(&mut connection).await, expected, "a writer sets a{number} to {value}");
                land(lsn, &mut connection).await;
            } else {
                land(lsn, &mut connection).await;
                assert_eq!(versions(&mut connection).await, expected, "a{number} lands as {value}");
                write(&mut connection).await;
            }
            assert_eq!(versions(&mut connection).await, expected, "a{number} is {value} already");
        }
    }
    run(&mut connection).await.unwrap();
    verified(&mut connection).await;
}

#[tokio::test]
async fn no_setting_of_a_session_makes_a_value_another() {
    let mut connection = open("attributes_settings").await;
    connection
        .execute(
            "CREATE TABLE source AS SELECT * FROM silver.attribute; ALTER TABLE source DROP COLUMN sys_start",
        )
        .await
        .unwrap();
    let values: Vec<String> = VALUES.iter().map(|(_, value)| format!("'{value}'")).collect();
    let sql = format!("INSERT INTO source (id, {}) VALUES (1, {})", columns(""), values.join(", "));
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    land(1, &mut connection).await;
    for (number, setting) in (2..).zip(SETTINGS) {
        connection.execute(AssertSqlSafe(format!("SET {setting}"))).await.unwrap();
        write(&mut connection).await;
        let sql = format!(
            "SELECT count(*) FROM silver.attribute_hist WHERE row_hash = silver.attribute_row_hash({})",
            columns("")
        );
        let same: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        assert_eq!((versions(&mut connection).await, same), (1, 1), "{setting}");
        land(number, &mut connection).await;
        assert_eq!(versions(&mut connection).await, 1, "{setting}, and landed");
    }
    verified(&mut connection).await;
}
