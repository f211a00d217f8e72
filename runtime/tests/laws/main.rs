//! The laws of apply and refresh, over random traffic, landed in any order and in any split of it: as of every
//! transaction's time each dimension and fact says what a fold of the changes in plain Rust says, lookups of
//! both kinds and chains of facts included; neighbours differ, so that no change leaves no version. And after
//! every run each stored mart equals its definition.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

mod arrivals;
mod attributes;
mod fold;
mod keys;
mod recorded;
mod shop;
mod writers;

// The generated warehouse looks for its migrations in the crate of that name.
extern crate self as migration;

#[path = "../../../tests/cases/generate/every_key/expected/migration/src/every_key/mod.rs"]
pub mod every_key;
#[path = "../../../tests/cases/generate/every_key/expected/generated/src/every_key/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod every_key_warehouse;
#[path = "../../../tests/cases/generate/writers_and_a_feed/expected/migration/src/writers_and_a_feed/mod.rs"]
pub mod writers_and_a_feed;
#[path = "../../../tests/cases/generate/writers_and_a_feed/expected/generated/src/writers_and_a_feed/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod writers_and_a_feed_warehouse;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{SilverKind, Storage, Unit, Warehouse};
use medallion_runtime::{apply, refresh};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use shop::{EMPTY, OBJECTS, warehouse};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

const TABLES: [&str; 4] = ["item", "rental", "payment", "customer"];

/// One change: of which table and key, what is done, the numbers that its values are made of, and how much
/// later than its transaction it lands, if it may.
type Draw = (usize, i64, u8, i64, i64, usize);
/// Transactions, and whether silver is applied after each; and whether changes may land late, and twice.
type Traffic = (Vec<(Vec<Draw>, bool)>, bool);
/// A change on its way: when it lands, the statement, and its image.
type Landing = (usize, String, Option<String>);

type Row = BTreeMap<String, Value>;
/// A table's rows by key.
type Rows = BTreeMap<i64, Row>;
/// What stood at the source after each transaction, by table.
type States = Vec<BTreeMap<&'static str, Rows>>;

#[test]
fn silver_says_at_every_time_what_the_source_said() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = Server::shared_scratch().expect("a scratch server");
    server.ensure_database("apply").expect("a database");
    let url = server.url("apply");
    let connection = RefCell::new(runtime.block_on(async {
        let mut connection = connection::connect(Database::Warehouse, &url).await.expect("a connection");
        connection.execute(OBJECTS).await.expect("the objects");
        connection
    }));
    let draw = (0..4_usize, 1..4_i64, 0..12_u8, 0..4_i64, -6..12_i64, 0..9_usize);
    let traffic =
        (prop::collection::vec((prop::collection::vec(draw, 1..5), any::<bool>()), 1..14), any::<bool>());
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config)
        .run(&traffic, |traffic| {
            runtime.block_on(check(&traffic, &mut connection.borrow_mut())).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// In Havana the hour after midnight comes twice on 1 November 2026: the day begins with the first.
#[tokio::test]
async fn every_row_has_a_partition_of_its_day_where_clocks_go_back_at_midnight() {
    let server = Server::shared_scratch().expect("a scratch server");
    server.ensure_database("midnight").expect("a database");
    let mut connection =
        connection::connect(Database::Warehouse, &server.url("midnight")).await.expect("a connection");
    connection.execute(OBJECTS).await.expect("the objects");
    let mut warehouse = warehouse();
    warehouse.time_zone = "America/Havana";
    for silver in &mut warehouse.silver {
        if let SilverKind::Fact { partition_every, .. } = &mut silver.kind {
            *partition_every = Unit::Day;
        }
    }
    let times =
        ["2026-11-01T04:30:00Z", "2026-10-31T12:00:00Z", "2026-11-01T05:30:00Z", "9999-12-31T00:00:00Z"];
    for (number, at) in times.iter().enumerate() {
        let row = json!({ "id": number, "at": at, "item": 1 });
        let sql = format!(
            "INSERT INTO t.rental_cdc (lsn, op, full_row, commit_ts, seq) VALUES ({}, 'I', $1::jsonb, {}, 1)",
            lsn(number),
            time(number)
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(row.to_string())
            .execute(&mut connection)
            .await
            .expect("a change");
        apply_to(&warehouse, &mut connection).await.expect("the change is applied");
    }
    let row = sqlx::query(
        "SELECT count(*), count(*) FILTER (WHERE tableoid = 't.rental_2026_11_01'::regclass), \
         count(*) FILTER (WHERE tableoid = 't.rental_default'::regclass) FROM t.rental",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the rows");
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1), row.get::<i64, _>(2)), (4, 2, 1));
}

async fn check((traffic, out_of_order): &Traffic, connection: &mut PgConnection) -> Result<(), String> {
    connection.execute(EMPTY).await.map_err(|error| error.to_string())?;
    let (states, mut landings) = play(traffic);
    if *out_of_order {
        landings.sort_by_key(|(at, _, _)| *at);
    }
    let warehouse = warehouse();
    let mut landings = landings.into_iter();
    for (changes, apply_now) in traffic {
        for _ in 0..changes.len() {
            let (_, sql, image) = landings.next().expect("as many as there are changes");
            land(&sql, image.as_deref(), connection).await?;
            if *out_of_order {
                land(&sql, image.as_deref(), connection).await?;
            }
        }
        if !out_of_order {
            connection
                .execute("DELETE FROM medallion.late_change")
                .await
                .map_err(|error| error.to_string())?;
        }
        if *apply_now {
            apply_to(&warehouse, connection).await?;
        }
    }
    apply_to(&warehouse, connection).await?;
    let again = apply_to(&warehouse, connection).await?;
    if again > 0 {
        return Err(format!("nothing has landed, and {again} relations changed"));
    }
    for number in 0..traffic.len() {
        for relation in TABLES {
            let expected: BTreeSet<String> = expected(relation, &states, number).into_iter().collect();
            let found = found(relation, number, connection).await?;
            if expected != found {
                return Err(format!("{relation} as of {number}:\nexpected {expected:#?}\nfound {found:#?}"));
            }
        }
    }
    untracked_is_current(&states, connection).await?;
    neighbours_differ(connection).await
}

/// What stands after each transaction; and the changes, in order.
fn play(traffic: &[(Vec<Draw>, bool)]) -> (States, Vec<Landing>) {
    let mut now: BTreeMap<&'static str, Rows> = TABLES.map(|table| (table, Rows::new())).into();
    let mut states = Vec::new();
    let mut landings = Vec::new();
    for (number, (draws, _)) in traffic.iter().enumerate() {
        for (seq, (table, key, action, one, two, delay)) in draws.iter().enumerate() {
            let table = TABLES[*table];
            let rows = now.get_mut(table).expect("all tables are there");
            let (op, image) = match (action, rows.get(key).cloned()) {
                (0, _) => {
                    rows.clear();
                    ("T", None)
                }
                (1..=3, Some(before)) => {
                    rows.remove(key);
                    ("D", Some(before))
                }
                (_, before) => {
                    let row = row(table, *key, *one, *two);
                    rows.insert(*key, row.clone());
                    (if before.is_some() { "U" } else { "I" }, Some(row))
                }
            };
            let sql = format!(
                "INSERT INTO t.{table}_cdc (lsn, op, full_row, commit_ts, seq) \
                 VALUES ({}, '{op}', $1::jsonb, {}, {seq}) ON CONFLICT DO NOTHING",
                lsn(number),
                time(number)
            );
            let image = image.map(|image| serde_json::to_string(&image).expect("JSON"));
            landings.push((number + delay, sql, image));
        }
        states.push(now.clone());
    }
    (states, landings)
}

async fn land(sql: &str, image: Option<&str>, connection: &mut PgConnection) -> Result<(), String> {
    sqlx::query(AssertSqlSafe(sql))
        .bind(image)
        .execute(connection)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

fn row(table: &str, key: i64, one: i64, two: i64) -> Row {
    let row = match table {
        "item" => json!({ "id": key, "film": one, "store": two.rem_euclid(3) }),
        "rental" => json!({ "id": key, "at": format!("2025-01-01T00:00:{:02}+00:00", two + 6), "item": one }),
        "payment" => {
            json!({ "id": key, "rental": one, "amount": two, "day": format!("2025-0{}-07", two.rem_euclid(3) + 1),
            })
        }
        _ => {
            json!({ "id": key, "name": if two < 0 { Value::Null } else { json!("") }, "item": one, "note": two })
        }
    };
    serde_json::from_value(row).expect("an object")
}

/// Returns how many relations changed.
async fn apply_to(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<usize, String> {
    let mut transaction = connection.begin().await.map_err(|error| error.to_string())?;
    let applied =
        apply::apply(warehouse, &mut transaction, |_| ()).await.map_err(|error| error.to_string())?;
    refresh::refresh(warehouse, &applied, &mut transaction, |_| ())
        .await
        .map_err(|error| error.to_string())?;
    marts_equal_their_definitions(warehouse, &mut transaction).await?;
    transaction.commit().await.map_err(|error| error.to_string())?;
    Ok(applied.len())
}

fn lsn(number: usize) -> i64 {
    10 * (1 + i64::try_from(number).expect("a small number"))
}

/// The time of a transaction: six seconds after the earliest time that a rental may say.
fn time(number: usize) -> String {
    format!("TIMESTAMPTZ '2025-01-01 00:00:06+00' + {number} * interval '1 second'")
}

/// What a relation holds as of a transaction, as lines of text.
fn expected(relation: &str, states: &States, number: usize) -> Vec<String> {
    let rows = &states[number][relation];
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "∅".to_owned(),
        Some(Value::String(text)) => format!("'{text}'"),
        Some(value) => value.to_string(),
    };
    rows.values()
        .map(|row| {
            let id = text(row.get("id"));
            match relation {
                "item" => format!("{id} {} {}", text(row.get("film")), text(row.get("store"))),
                "rental" => {
                    let item = item_of_own_time(states, number, row);
                    let of_item = |column| text(item.as_ref().and_then(|item| item.get(column)));
                    format!("{id} {} {} {}", text(row.get("item")), of_item("film"), of_item("store"))
                }
                "payment" => {
                    let rental = row["rental"].as_i64().and_then(|key| states[number]["rental"].get(&key));
                    let item = rental.and_then(|rental| item_of_own_time(states, number, rental));
                    let of_item = |column| text(item.as_ref().and_then(|item| item.get(column)));
                    format!(
                        "{id} {} {} {}",
                        text(row.get("rental")),
                        text(row.get("amount")),
                        of_item("store")
                    )
                }
                _ => {
                    let item = row["item"].as_i64().and_then(|key| states[number]["item"].get(&key));
                    let store = text(item.and_then(|item| item.get("store")));
                    format!("{id} {} {} {store}", text(row.get("name")), text(row.get("item")))
                }
            }
        })
        .collect()
}

/// The version of a rental's item at the rental's own time, as far as it is known by then: the latest
/// that began by it, else the earliest.
fn item_of_own_time(states: &States, number: usize, rental: &Row) -> Option<Row> {
    let key = rental["item"].as_i64()?;
    let second: usize = rental["at"].as_str()?.get(17..19)?.parse().ok()?;
    let mut versions: Vec<(usize, &Row)> = Vec::new();
    for (at, state) in states.iter().enumerate().take(number + 1) {
        let before = at.checked_sub(1).and_then(|before| states[before]["item"].get(&key));
        if let Some(row) = state["item"].get(&key)
            && before != Some(row)
        {
            versions.push((at + 6, row));
        }
    }
    let chosen = versions.iter().rev().find(|(start, _)| *start <= second).or(versions.first());
    chosen.map(|(_, row)| (*row).clone())
}

async fn found(
    relation: &str,
    number: usize,
    connection: &mut PgConnection,
) -> Result<BTreeSet<String>, String> {
    let at = time(number);
    let (columns, from) = match relation {
        "item" => {
            ("id, film::text, store::text", format!("t.item_hist WHERE sys_start <= {at} AND sys_end > {at}"))
        }
        "rental" => ("id, item::text, film::text, store::text", as_of("rental", &at)),
        "payment" => ("id, rental::text, amount::text, store::text", as_of("payment", &at)),
        _ => (
            "id, quote_literal(name), item::text, store::text",
            format!("t.customer_hist WHERE sys_start <= {at} AND sys_end > {at}"),
        ),
    };
    let sql = format!(
        "SELECT (SELECT string_agg(coalesce(value, '∅'), ' ' ORDER BY place) \
         FROM unnest(ARRAY[{}]) WITH ORDINALITY AS part (value, place)) FROM {from}",
        columns.replace("id,", "id::text,")
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| error.to_string())?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn as_of(fact: &str, at: &str) -> String {
    format!(
        "(SELECT *, 'infinity'::timestamptz AS sys_end FROM t.{fact} UNION ALL SELECT * FROM t.{fact}_history) AS f \
         WHERE snapshot_ts <= {at} AND sys_end > {at}"
    )
}

async fn marts_equal_their_definitions(
    warehouse: &Warehouse,
    connection: &mut PgConnection,
) -> Result<(), String> {
    for mart in &warehouse.marts {
        let Storage::Incremental { definition, .. } = &mart.storage else { continue };
        let sql = format!(
            "SELECT count(*) FROM ((SELECT {2} FROM {0} EXCEPT ALL SELECT {2} FROM {1}) \
             UNION ALL (SELECT {2} FROM {1} EXCEPT ALL SELECT {2} FROM {0})) AS d",
            mart.table,
            definition,
            mart.columns.join(", ")
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| error.to_string())?;
        if row.get::<i64, _>(0) > 0 {
            return Err(format!("{} differs from its definition", mart.table));
        }
    }
    Ok(())
}

async fn untracked_is_current(states: &States, connection: &mut PgConnection) -> Result<(), String> {
    let rows = sqlx::query("SELECT id, note FROM t.customer_hist WHERE sys_end = 'infinity'")
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| error.to_string())?;
    let last = &states.last().expect("there is traffic")["customer"];
    for row in rows {
        let (id, note): (i64, i64) = (row.get(0), row.get(1));
        if last[&id]["note"] != json!(note) {
            return Err(format!("customer {id} has note {note}, not {}", last[&id]["note"]));
        }
    }
    Ok(())
}

async fn neighbours_differ(connection: &mut PgConnection) -> Result<(), String> {
    let row = sqlx::query(
        "SELECT count(*) FROM t.customer_hist AS one JOIN t.customer_hist AS next \
         ON one.id = next.id AND one.sys_end = next.sys_start AND one.row_hash = next.row_hash",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(|error| error.to_string())?;
    match row.get::<i64, _>(0) {
        0 => Ok(()),
        equal => Err(format!("{equal} versions follow an equal one")),
    }
}
