//! A dimension by every kind of key goes the same way: landed, written to, asked as of every time, verified and
//! rebuilt. And values of a key that are equal but do not look alike are one key.

use medallion_runtime::place::Place;
use medallion_runtime::progress::{Progress, Step};
use medallion_runtime::rebuild;
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::arrivals::{open, run, verified};
use crate::every_key_warehouse::warehouse;

/// A dimension's name, its key's columns with their types, and two keys.
pub struct Kind {
    pub name: &'static str,
    pub key: &'static [(&'static str, &'static str)],
    keys: [&'static [&'static str]; 2],
}

const fn one(
    name: &'static str,
    column: &'static [(&'static str, &'static str)],
    keys: [&'static [&'static str]; 2],
) -> Kind {
    Kind { name, key: column, keys }
}

pub const KINDS: [Kind; 15] = [
    one("integer", &[("id", "integer")], [&["-2147483648"], &["2147483647"]]),
    one("bigint", &[("id", "bigint")], [&["9223372036854775806"], &["9223372036854775807"]]),
    one("numeric", &[("id", "numeric")], [&["123456789012345678901234567890.1"], &["NaN"]]),
    one("double", &[("id", "double precision")], [&["0.1"], &["-Infinity"]]),
    one("boolean", &[("id", "boolean")], [&["true"], &["false"]]),
    one("text", &[("id", "text")], [&["it's, \"a\" \\ {key}"], &[""]]),
    one("char", &[("id", "character(3)")], [&["a"], &["A"]]),
    one(
        "uuid",
        &[("id", "uuid")],
        [&["00000000-0000-0000-0000-000000000000"], &["ffffffff-ffff-ffff-ffff-ffffffffffff"]],
    ),
    one("date", &[("id", "date")], [&["infinity"], &["0044-03-15 BC"]]),
    one("timestamp", &[("id", "timestamp")], [&["2024-03-31 02:30:00.000001"], &["-infinity"]]),
    // The hour that comes twice where the warehouse is.
    one("timestamptz", &[("id", "timestamptz")], [&["2024-10-27 00:30:00+00"], &["2024-10-27 01:30:00+00"]]),
    one("interval", &[("id", "interval")], [&["1 mon"], &["31 days 00:00:00.000001"]]),
    one("mood", &[("id", "silver.mood")], [&["happy"], &["sad"]]),
    one(
        "several",
        &[("country", "text"), ("city", "text"), ("since", "date")],
        [&["de", "Halle", "2000-01-01"], &["de", "Halle", "infinity"]],
    ),
    // Names that the triggers' own words could be taken for.
    one(
        "odd",
        &[
            ("stamp", "text"),
            (r#""Version""#, "integer"),
            (r#""it's ""x""""#, "text"),
            ("old_rows", "boolean"),
            ("key", "date"),
        ],
        [&["now", "1", "'", "true", "2024-02-29"], &["now", "1", "\"", "true", "2024-02-29"]],
    ),
];

impl Kind {
    fn table(&self) -> String {
        format!("silver.by_{}_hist", self.name)
    }

    pub fn columns(&self) -> String {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// A key as values, in the order of its columns.
    pub fn values(&self, number: usize) -> Vec<String> {
        let values = self.key.iter().zip(self.keys[number - 1]);
        values.map(|((_, kind), value)| format!("'{}'::{kind}", value.replace('\'', "''"))).collect()
    }

    pub fn is(&self, number: usize) -> String {
        format!("({}) = ({})", self.columns(), self.values(number).join(", "))
    }

    /// Lands a change: its row is what the server makes of it.
    fn land(&self, lsn: i64, op: &str, number: usize, name: &str) -> String {
        let key: Vec<String> = self
            .key
            .iter()
            .zip(self.values(number))
            .map(|((name, _), value)| format!("{}, {value}", unquoted(name)))
            .collect();
        format!(
            "INSERT INTO bronze.br_by_{} (lsn, op, full_row, commit_ts, seq) VALUES ({lsn}, '{op}', \
             jsonb_build_object({}, 'name', '{name}', 'note', 'n'), \
             timestamptz '2025-01-01' + {lsn} * interval '1 second', 0);",
            self.name,
            key.join(", ")
        )
    }

    /// The versions: `key:name`, with `…` behind what is current and `|` where a gap follows.
    fn versions(&self) -> String {
        format!(
            "SELECT string_agg(number || ':' || name || CASE WHEN sys_end = 'infinity' THEN '…' \
             WHEN next IS DISTINCT FROM sys_end THEN '|' ELSE '' END, ' ' ORDER BY number, sys_start) \
             FROM (SELECT CASE WHEN {} THEN 1 WHEN {} THEN 2 END AS number, name, sys_start, sys_end, \
             lead(sys_start) OVER (PARTITION BY {} ORDER BY sys_start) AS next FROM {}) AS version",
            self.is(1),
            self.is(2),
            self.columns(),
            self.table()
        )
    }
}

/// The literal of a column's name.
fn unquoted(name: &str) -> String {
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    format!("'{}'", name.replace("\"\"", "\"").replace('\'', "''"))
}

async fn does(sql: &str, connection: &mut PgConnection) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
}

async fn ask(sql: &str, connection: &mut PgConnection) -> String {
    let sql = sql.to_owned();
    sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(sql.clone()))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{error}"))
        .unwrap_or_default()
}

struct Silent;

impl Progress for Silent {
    fn step(&mut self, _: &Step<'_>) {}
    fn note(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
}

#[tokio::test]
async fn every_kind_of_key_goes_the_same_way() {
    let mut connection = open("every_key").await;
    for kind in &KINDS {
        let feed = [kind.land(1, "I", 1, "a"), kind.land(2, "I", 2, "a"), kind.land(4, "U", 1, "b")].concat();
        does(&feed, &mut connection).await;
    }
    run(&mut connection).await.unwrap();
    for kind in &KINDS {
        assert_eq!(ask(&kind.versions(), &mut connection).await, "1:a 1:b… 2:a…", "{}", kind.name);
        written_to(kind, &mut connection).await;
    }
    // What is landed after that is earlier than what was written, and splits what had ended.
    for kind in &KINDS {
        does(&[kind.land(3, "U", 2, "late"), kind.land(5, "D", 1, "b")].concat(), &mut connection).await;
    }
    run(&mut connection).await.unwrap();
    for kind in &KINDS {
        let found = ask(&kind.versions(), &mut connection).await;
        assert_eq!(found, "1:a 1:b| 1:c 1:e| 2:a 2:late| 2:d| 2:e…", "{}", kind.name);
        asked(kind, &mut connection).await;
    }
    verified(&mut connection).await;
    let before = everything(&mut connection).await;
    let (url, built) = (Server::shared_scratch().unwrap().url("every_key"), warehouse());
    let place = Place { source: url.clone(), warehouse: url, bronze: None, embedded: None };
    let outcome = rebuild::rebuild(&built, &place, &[], &mut Silent).await.unwrap();
    assert!(outcome.differed.iter().all(|(_, rows)| *rows == 0), "{:?}", outcome.differed);
    assert_eq!(everything(&mut connection).await, before);
}

/// Each kind of statement, past the feed.
async fn written_to(kind: &Kind, connection: &mut PgConnection) {
    let (table, columns) = (kind.table(), kind.columns());
    let source = |rows: &[(usize, &str)]| {
        let rows: Vec<String> = rows
            .iter()
            .map(|(number, name)| format!("({}, '{name}')", kind.values(*number).join(", ")))
            .collect();
        format!("(VALUES {}) AS src ({columns}, name)", rows.join(", "))
    };
    let on: Vec<String> = kind.key.iter().map(|(name, _)| format!("tgt.{name} = src.{name}")).collect();
    let from_source: Vec<String> = kind.key.iter().map(|(name, _)| format!("src.{name}")).collect();
    let hash = format!("silver.by_{}_row_hash(src.name)", kind.name);
    does(&format!("UPDATE {table} SET name = 'c' WHERE {} AND sys_end = 'infinity'", kind.is(1)), connection)
        .await;
    does(&format!("DELETE FROM {table} WHERE {} AND sys_end = 'infinity'", kind.is(2)), connection).await;
    does(
        &format!(
            "MERGE INTO {table} AS tgt USING {} ON {} AND tgt.sys_end = 'infinity' \
             WHEN MATCHED AND {hash} <> tgt.row_hash THEN UPDATE SET name = src.name, row_hash = {hash} \
             WHEN NOT MATCHED THEN INSERT ({columns}, name, row_hash) VALUES ({}, src.name, {hash})",
            source(&[(1, "c"), (2, "d")]),
            on.join(" AND "),
            from_source.join(", ")
        ),
        connection,
    )
    .await;
    does(
        &format!(
            "INSERT INTO {table} ({columns}, name) VALUES ({}, 'e') \
             ON CONFLICT ({columns}) WHERE sys_end = 'infinity' DO UPDATE SET name = excluded.name",
            kind.values(1).join(", ")
        ),
        connection,
    )
    .await;
    does(&format!("DELETE FROM {table} WHERE {} AND sys_end = 'infinity'", kind.is(2)), connection).await;
    let set: Vec<String> =
        kind.key.iter().zip(kind.values(2)).map(|((name, _), value)| format!("{name} = {value}")).collect();
    does(
        &format!("UPDATE {table} SET {} WHERE {} AND sys_end = 'infinity'", set.join(", "), kind.is(1)),
        connection,
    )
    .await;
    let found = ask(&kind.versions(), connection).await;
    assert_eq!(found, "1:a 1:b 1:c 1:e| 2:a| 2:d| 2:e…", "{}", kind.name);
}

/// As of all times and of one key at each: what lies in the versions; and the history of one key.
async fn asked(kind: &Kind, connection: &mut PgConnection) {
    let (table, columns) = (kind.table(), kind.columns());
    let difference = |one: &str, other: &str| {
        format!("(({one}) EXCEPT ALL ({other})) UNION ALL (({other}) EXCEPT ALL ({one}))")
    };
    let times = format!("(SELECT DISTINCT sys_start AS t FROM {table}) AS moment");
    let there =
        format!("SELECT t, {columns}, name FROM {times}, {table} WHERE sys_start <= t AND t < sys_end");
    let by_time = format!("SELECT t, {columns}, name FROM {times}, silver.by_{}_as_of(t)", kind.name);
    let by_key: Vec<String> = [1, 2]
        .map(|number| {
            let key = kind.values(number).join(", ");
            format!("SELECT t, {columns}, name FROM {times}, silver.by_{}_as_of(t, {key})", kind.name)
        })
        .into();
    let history: Vec<String> = [1, 2]
        .map(|number| {
            format!("SELECT * FROM silver.by_{}_history({})", kind.name, kind.values(number).join(", "))
        })
        .into();
    for (one, other) in [
        (&there, &by_time),
        (&there, &by_key.join(" UNION ALL ")),
        (&format!("SELECT * FROM {table}"), &history.join(" UNION ALL ")),
    ] {
        let sql = format!("SELECT count(*)::text FROM ({}) AS d", difference(one, other));
        assert_eq!(ask(&sql, connection).await, "0", "{}: {sql}", kind.name);
    }
}

async fn everything(connection: &mut PgConnection) -> Vec<String> {
    let mut all = Vec::new();
    for kind in &KINDS {
        let sql = format!(
            "SELECT string_agg(version::text, ' ' ORDER BY version::text) FROM {} AS version",
            kind.table()
        );
        all.push(ask(&sql, connection).await);
    }
    all
}

/// A key that is written in another way, in the feed and past it, is the same key.
#[tokio::test]
async fn keys_that_are_equal_are_one_however_they_look() {
    let mut connection = open("equal_keys").await;
    let kinds = [
        one("numeric", &[("id", "numeric")], [&["1.0"], &["1.00"]]),
        one("double", &[("id", "double precision")], [&["-0"], &["0"]]),
        one("char", &[("id", "character(3)")], [&["a"], &["a  "]]),
        one(
            "timestamptz",
            &[("id", "timestamptz")],
            [&["2024-01-01 00:00:00+00"], &["2024-01-01 01:00:00+01"]],
        ),
        one("interval", &[("id", "interval")], [&["1 mon"], &["30 days"]]),
    ];
    for kind in &kinds {
        let feed = [kind.land(1, "I", 1, "a"), kind.land(2, "U", 2, "b"), kind.land(3, "D", 1, "b")].concat();
        does(&feed, &mut connection).await;
        does(&kind.land(4, "I", 2, "c"), &mut connection).await;
    }
    run(&mut connection).await.unwrap();
    for kind in &kinds {
        let found = ask(&kind.versions(), &mut connection).await;
        assert_eq!(found, "1:a 1:b| 1:c…", "{}", kind.name);
        let table = kind.table();
        for number in [1, 2] {
            let again = format!(
                "INSERT INTO {table} ({}, name) VALUES ({}, 'd')",
                kind.columns(),
                kind.values(number).join(", ")
            );
            let error = connection.execute(AssertSqlSafe(again)).await.unwrap_err();
            assert_eq!(error.as_database_error().unwrap().code().unwrap(), "23505", "{}", kind.name);
        }
        let set = format!(
            "UPDATE {table} SET id = {}, name = 'd' WHERE {} AND sys_end = 'infinity'",
            kind.values(1)[0],
            kind.is(2)
        );
        does(&set, &mut connection).await;
        // Only the look of the key changes: no version.
        does(&set.replace(&kind.values(1)[0], &kind.values(2)[0]), &mut connection).await;
    }
    run(&mut connection).await.unwrap();
    for kind in &kinds {
        let found = ask(&kind.versions(), &mut connection).await;
        assert_eq!(found, "1:a 1:b| 1:c 1:d…", "{}", kind.name);
    }
    verified(&mut connection).await;
}
