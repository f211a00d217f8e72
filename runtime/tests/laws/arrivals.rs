//! Feeds that arrive in any order: the cases on which the apply of change feeds is tried elsewhere, late
//! changes, deletes that come before their inserts, ties and replays, as cases of our own. Each has a key of
//! its own and a stretch of positions; a batch is landed, and applied.

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::{apply, verify};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::every_key_warehouse::warehouse;

pub const OBJECTS: &str = include_str!(
    "../../../tests/cases/generate/every_key/expected/migration/src/every_key/m000001_baseline/up.sql"
);

/// A change of the case's key: at which position, and what the key is from then on; nothing is gone.
type Change = (i64, Option<&'static str>);

struct Case {
    name: &'static str,
    /// What lands together, and is applied before the next lands.
    batches: &'static [&'static [Change]],
    /// `value[from,to)`, in order, after the last.
    versions: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "a new key is current from its change on",
        batches: &[&[(10, Some("a"))]],
        versions: "a[10,)",
    },
    Case {
        name: "each change of a batch is a version",
        batches: &[&[(10, Some("a")), (20, Some("b")), (30, Some("c"))]],
        versions: "a[10,20) b[20,30) c[30,)",
    },
    Case {
        name: "a key that comes and goes in a batch leaves what it was",
        batches: &[&[(10, Some("a")), (20, None)]],
        versions: "a[10,20)",
    },
    Case {
        name: "a key that comes, changes, goes and comes back in a batch has a gap",
        batches: &[&[(10, Some("a")), (20, Some("b")), (30, None), (40, Some("c"))]],
        versions: "a[10,20) b[20,30) c[40,)",
    },
    Case {
        name: "a value said again begins nothing",
        batches: &[&[(10, Some("a")), (20, Some("a"))], &[(30, Some("a"))]],
        versions: "a[10,)",
    },
    Case { name: "a key that never was can go", batches: &[&[(10, None)]], versions: "" },
    Case {
        name: "a change ends what was current",
        batches: &[&[(10, Some("a"))], &[(20, Some("b"))]],
        versions: "a[10,20) b[20,)",
    },
    Case {
        name: "a delete ends what was current",
        batches: &[&[(10, Some("a"))], &[(20, None)]],
        versions: "a[10,20)",
    },
    Case {
        name: "what has ended stays as it is",
        batches: &[&[(5, Some("a"))], &[(10, Some("b"))], &[(20, Some("c"))]],
        versions: "a[5,10) b[10,20) c[20,)",
    },
    Case {
        name: "older than all there is, it comes first",
        batches: &[&[(10, Some("a"))], &[(5, Some("b"))]],
        versions: "b[5,10) a[10,)",
    },
    Case {
        name: "older and the same, it reaches back",
        batches: &[&[(10, Some("a"))], &[(5, Some("a"))]],
        versions: "a[5,)",
    },
    Case {
        name: "a late change splits what has ended",
        batches: &[&[(10, Some("a")), (20, Some("c"))], &[(15, Some("b"))]],
        versions: "a[10,15) b[15,20) c[20,)",
    },
    Case {
        name: "a late change splits what is current",
        batches: &[&[(10, Some("a")), (20, Some("a"))], &[(15, Some("b"))]],
        versions: "a[10,15) b[15,20) a[20,)",
    },
    Case {
        name: "a late delete shortens what has ended",
        batches: &[&[(10, Some("a")), (30, Some("b"))], &[(20, None)]],
        versions: "a[10,20) b[30,)",
    },
    Case {
        name: "late changes of one batch split a version each",
        batches: &[
            &[(1, Some("a")), (5, Some("b")), (10, Some("c")), (20, Some("d"))],
            &[(15, Some("y")), (7, Some("x"))],
        ],
        versions: "a[1,5) b[5,7) x[7,10) c[10,15) y[15,20) d[20,)",
    },
    Case {
        name: "a delete may come before its insert",
        batches: &[&[(20, None)], &[(10, Some("a"))]],
        versions: "a[10,20)",
    },
    Case {
        name: "a delete that came first does not end what comes back",
        batches: &[&[(20, None)], &[(30, Some("a"))], &[(10, Some("b"))]],
        versions: "b[10,20) a[30,)",
    },
    Case {
        name: "a late change within a value that was said again ends it there",
        batches: &[
            &[(5, Some("a")), (10, Some("a")), (15, Some("a"))],
            &[(20, Some("c"))],
            &[(12, Some("b"))],
        ],
        versions: "a[5,12) b[12,15) a[15,20) c[20,)",
    },
    Case {
        name: "a late delete within a value that was said again leaves a gap",
        batches: &[&[(5, Some("a")), (10, Some("a")), (15, Some("a"))], &[(12, None)]],
        versions: "a[5,12) a[15,)",
    },
    Case {
        name: "what lay between two equals and is taken back by a later change was still so",
        batches: &[&[(10, Some("a"))], &[(30, Some("a"))], &[(20, Some("b"))], &[(25, Some("a"))]],
        versions: "a[10,20) b[20,25) a[25,)",
    },
    Case {
        name: "all of it backwards",
        batches: &[&[(50, None)], &[(40, Some("c"))], &[(30, None)], &[(20, Some("b"))], &[(10, Some("a"))]],
        versions: "a[10,20) b[20,30) c[40,50)",
    },
    Case {
        name: "the last of what one transaction says counts",
        batches: &[&[(10, Some("a")), (10, Some("b"))], &[(20, None), (20, Some("b"))]],
        versions: "b[10,)",
    },
    Case {
        name: "a key that goes and comes back otherwise in one transaction has no gap",
        batches: &[&[(10, Some("a"))], &[(20, None), (20, Some("b"))]],
        versions: "a[10,20) b[20,)",
    },
    Case {
        name: "a key that comes and goes in one transaction never was",
        batches: &[&[(10, Some("a")), (10, None)], &[(20, Some("c")), (20, Some("d")), (20, None)]],
        versions: "",
    },
    Case {
        name: "a late transaction that changes nothing in the end splits nothing",
        batches: &[&[(10, Some("a")), (30, Some("b"))], &[(20, Some("x")), (20, None), (20, Some("a"))]],
        versions: "a[10,30) b[30,)",
    },
];

/// How far the cases lie apart.
const STRETCH: i64 = 100;

pub async fn open(name: &str) -> PgConnection {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    let mut connection = connection::connect(Database::Warehouse, &server.url(name)).await.unwrap();
    connection.execute(OBJECTS).await.unwrap();
    connection
}

/// Lands a change of a table whose key is `id`; what landed before is not landed again.
async fn land(number: i64, place: usize, change: &Change, connection: &mut PgConnection) {
    let (at, value) = change;
    let (op, name) = value.map_or(("D", "NULL".to_owned()), |value| ("U", format!("'{value}'")));
    let lsn = number * STRETCH + at;
    let sql = format!(
        "INSERT INTO bronze.br_by_integer (lsn, op, full_row, commit_ts, seq) VALUES \
         ({lsn}, '{op}', jsonb_build_object('id', {number}, 'name', {name}, 'note', '{lsn}.{place}'), {}, {place}) \
         ON CONFLICT DO NOTHING",
        time(lsn)
    );
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
}

fn time(lsn: i64) -> String {
    format!("(timestamptz '2025-01-01 00:00:00+00' + {lsn} * interval '1 second')")
}

/// Returns how many relations changed.
pub async fn run(connection: &mut PgConnection) -> Result<usize, String> {
    apply_to(&warehouse(), connection).await
}

pub async fn apply_to(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<usize, String> {
    let text = |error: medallion_runtime::error::Error| error.to_string();
    let mut transaction = connection.begin().await.unwrap();
    apply::hold(warehouse, &mut transaction).await.map_err(text)?;
    let applied = apply::apply(warehouse, &mut transaction, |_| ()).await.map_err(text)?;
    transaction.commit().await.unwrap();
    Ok(applied.len())
}

/// The versions of a case's key.
async fn versions(number: i64, connection: &mut PgConnection) -> String {
    let place =
        |column: &str| format!("(extract(epoch FROM {column} - {})::integer)::text", time(number * STRETCH));
    let sql = format!(
        "SELECT coalesce(string_agg(name || '[' || {} || ',' || \
         CASE WHEN sys_end = 'infinity' THEN '' ELSE {} END || ')', ' ' ORDER BY sys_start), '') \
         FROM silver.by_integer_hist WHERE id = {number}",
        place("sys_start"),
        // What does not end has no distance to anything.
        place("CASE WHEN sys_end = 'infinity' THEN sys_start ELSE sys_end END")
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.unwrap()
}

pub async fn verified(connection: &mut PgConnection) {
    let checks = verify::on(&warehouse(), connection, |_| ()).await.unwrap();
    let broken: Vec<_> = checks.iter().filter(|check| check.broken > 0 || check.waits.is_some()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test]
async fn changes_that_arrive_in_any_order_make_the_versions_that_they_say() {
    let mut connection = open("arrivals").await;
    for (number, case) in (1..).zip(CASES) {
        for (at, batch) in case.batches.iter().enumerate() {
            for (place, change) in batch.iter().enumerate() {
                land(number, place, change, &mut connection).await;
            }
            run(&mut connection).await.unwrap();
            // The same again, as after a crash, and with whatever came before.
            for (place, change) in case.batches[..=at].iter().flat_map(|batch| batch.iter().enumerate()) {
                land(number, place, change, &mut connection).await;
            }
            assert_eq!(run(&mut connection).await.unwrap(), 0, "{}: a replay changes something", case.name);
        }
        assert_eq!(versions(number, &mut connection).await, case.versions, "{}", case.name);
    }
    assert_eq!(run(&mut connection).await.unwrap(), 0, "nothing has landed");
    verified(&mut connection).await;
}

/// However the changes of all cases are cut into batches, and in whatever order they come.
#[tokio::test]
async fn the_cases_land_at_once_and_backwards_with_the_same_end() {
    for (name, backwards, at_once) in [
        ("arrivals_at_once", false, true),
        ("arrivals_backwards", true, true),
        ("arrivals_single", true, false),
    ] {
        let mut connection = open(name).await;
        let mut changes: Vec<(i64, usize, Change)> = Vec::new();
        for (number, case) in (1..).zip(CASES) {
            for batch in case.batches {
                changes.extend(batch.iter().enumerate().map(|(place, change)| (number, place, *change)));
            }
        }
        if backwards {
            changes.reverse();
        }
        for (number, place, change) in &changes {
            land(*number, *place, change, &mut connection).await;
            if !at_once {
                run(&mut connection).await.unwrap();
            }
        }
        run(&mut connection).await.unwrap();
        for (number, case) in (1..).zip(CASES) {
            assert_eq!(versions(number, &mut connection).await, case.versions, "{name}: {}", case.name);
        }
        verified(&mut connection).await;
    }
}

/// A truncate ends every key, and none that its transaction brings back.
#[tokio::test]
async fn a_table_that_is_emptied_and_loaded_again_has_changed_in_what_differs() {
    let mut connection = open("arrivals_reloaded").await;
    let rows = |lsn: i64, first: usize, rows: &[(i64, &str)]| {
        let rows: Vec<String> = rows
            .iter()
            .zip(first..)
            .map(|((id, name), seq)| {
                format!("({lsn}, 'I', '{{\"id\": {id}, \"name\": \"{name}\"}}', {}, {seq})", time(lsn))
            })
            .collect();
        format!(
            "INSERT INTO bronze.br_by_integer (lsn, op, full_row, commit_ts, seq) VALUES {};",
            rows.join(", ")
        )
    };
    let truncate = |lsn: i64| {
        format!(
            "INSERT INTO bronze.br_by_integer (lsn, op, commit_ts, seq) VALUES ({lsn}, 'T', {}, 0);",
            time(lsn)
        )
    };
    for batch in [
        rows(110, 0, &[(1, "a"), (2, "a"), (3, "a")]),
        truncate(120) + &rows(120, 1, &[(1, "a"), (2, "b")]),
        // Late, and of no effect on what came back within its transaction.
        truncate(115) + &rows(115, 1, &[(1, "a"), (2, "a"), (3, "a")]),
        truncate(130),
        rows(140, 0, &[(1, "a")]),
        truncate(125),
    ] {
        connection.execute(AssertSqlSafe(batch)).await.unwrap();
        run(&mut connection).await.unwrap();
    }
    let mut found = Vec::new();
    for id in 1..4 {
        let sql = format!(
            "SELECT string_agg(concat(name, extract(epoch FROM sys_start - {0})::integer, '-', \
             CASE WHEN sys_end < 'infinity' THEN extract(epoch FROM sys_end - {0})::integer END), ' ' \
             ORDER BY sys_start) FROM silver.by_integer_hist WHERE id = {id}",
            time(100)
        );
        found.push(
            sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap(),
        );
    }
    assert_eq!(found, ["a10-25 a40-", "a10-20 b20-25", "a10-20"]);
    verified(&mut connection).await;
}

#[tokio::test]
async fn what_has_no_place_in_the_order_does_not_land() {
    let mut connection = open("arrivals_placeless").await;
    for (column, values) in [
        ("lsn", "NULL, 'I', '{\"id\": 1}', now(), 0"),
        ("seq", "1, 'I', '{\"id\": 1}', now(), NULL"),
        ("commit_ts", "1, 'I', '{\"id\": 1}', NULL, 0"),
    ] {
        let sql =
            format!("INSERT INTO bronze.br_by_integer (lsn, op, full_row, commit_ts, seq) VALUES ({values})");
        let error = connection.execute(AssertSqlSafe(sql)).await.unwrap_err();
        let error = error.as_database_error().unwrap();
        assert_eq!(error.code().unwrap(), "23502", "{column}");
        assert!(error.message().contains(column), "{error}");
    }
    assert_eq!(run(&mut connection).await.unwrap(), 0);
}

#[tokio::test]
async fn a_row_without_its_key_stops_the_batch_and_leaves_nothing_of_it() {
    let mut connection = open("arrivals_keyless").await;
    land(1, 0, &(10, Some("a")), &mut connection).await;
    run(&mut connection).await.unwrap();
    connection
        .execute(
            "INSERT INTO bronze.br_by_integer (lsn, op, full_row, commit_ts, seq) VALUES \
             (500, 'U', '{\"id\": 1, \"name\": \"b\"}', '2026-01-01', 0), \
             (500, 'I', '{\"id\": null, \"name\": \"c\"}', '2026-01-01', 1)",
        )
        .await
        .unwrap();
    let error = run(&mut connection).await.unwrap_err();
    assert!(error.contains("by_integer_hist"), "{error}");
    assert_eq!(versions(1, &mut connection).await, "a[10,)");
}

/// Attributes that are not tracked follow on the current version; the others make versions of their own.
#[tokio::test]
async fn an_untracked_attribute_changes_in_place_and_a_tracked_one_does_not() {
    let mut connection = open("arrivals_untracked").await;
    let notes = "SELECT coalesce(string_agg(concat_ws(' ', name, note), ', ' ORDER BY sys_start), '') \
         FROM silver.by_integer_hist WHERE id = 1";
    for (batch, versions, last) in [
        (&[(10, Some("a")), (20, Some("a"))][..], "a[10,)", "a 120.1"),
        (&[(30, Some("a"))], "a[10,)", "a 130.0"),
        (&[(40, Some("b"))], "a[10,40) b[40,)", "a 130.0, b 140.0"),
        // Late, it is overtaken by what is newer.
        (&[(25, Some("a"))], "a[10,40) b[40,)", "a 130.0, b 140.0"),
        (&[(45, Some("b"))], "a[10,40) b[40,)", "a 130.0, b 145.0"),
    ] {
        for (place, change) in batch.iter().enumerate() {
            land(1, place, change, &mut connection).await;
        }
        run(&mut connection).await.unwrap();
        assert_eq!(self::versions(1, &mut connection).await, versions);
        let found: String = sqlx::query_scalar(notes).fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, last);
    }
    verified(&mut connection).await;
}

/// Rows that share a part of their key are not the same.
#[tokio::test]
async fn keys_of_several_columns_differ_in_any_of_them() {
    let mut connection = open("arrivals_several").await;
    connection
        .execute(
            "INSERT INTO bronze.br_by_several (lsn, op, full_row, commit_ts, seq) \
             SELECT lsn, 'I', jsonb_build_object('country', country, 'city', city, 'since', since, 'name', name), \
             '2025-01-01'::timestamptz + lsn * interval '1 second', 0 \
             FROM (VALUES (1, 'de', 'Halle', '2000-01-01', 'a'), (2, 'be', 'Halle', '2000-01-01', 'b'), \
             (3, 'de', 'Halle', 'infinity', 'c'), (4, 'de', 'Halle', '2000-01-01', 'd'), \
             (5, '', '', '-infinity', 'e'), (6, 'd', 'eHalle', '2000-01-01', 'f')) \
             AS row (lsn, country, city, since, name)",
        )
        .await
        .unwrap();
    run(&mut connection).await.unwrap();
    let sql = "SELECT string_agg(concat(country, '/', city, '/', since, '=', name), ' ' ORDER BY name) \
         FROM silver.by_several_hist";
    let found: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    assert_eq!(
        found,
        "de/Halle/2000-01-01=a be/Halle/2000-01-01=b de/Halle/infinity=c de/Halle/2000-01-01=d \
         //-infinity=e d/eHalle/2000-01-01=f"
    );
    verified(&mut connection).await;
}
