//! The laws of apply and refresh, over random traffic and random splits of it: as of every transaction's time each
//! dimension and fact says what a fold of the changes in plain Rust says, lookups of both kinds and chains
//! of facts included; neighbours differ, so that no change leaves no version. And after every run each
//! stored mart equals its definition.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{
    Column, ColumnFrom, Lookup, LookupTime, Mart, Name, Scripts, Silver, SilverKind, Source, Storage,
    Tracking, Unit, UnitColumn, Warehouse,
};
use medallion_runtime::{apply, refresh};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

const TABLES: [&str; 4] = ["item", "rental", "payment", "customer"];

/// One change: of which table and key, what is done, and the numbers that its values are made of.
type Draw = (usize, i64, u8, i64, i64);
/// Transactions, and whether silver is applied after each.
type Traffic = Vec<(Vec<Draw>, bool)>;

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
    let draw = (0..4_usize, 1..4_i64, 0..12_u8, 0..4_i64, -6..12_i64);
    let traffic = prop::collection::vec((prop::collection::vec(draw, 1..5), any::<bool>()), 1..14);
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
        apply_to(&warehouse, number, &mut connection).await.expect("the change is applied");
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

async fn check(traffic: &Traffic, connection: &mut PgConnection) -> Result<(), String> {
    connection.execute(EMPTY).await.map_err(|error| error.to_string())?;
    let states = play(traffic, connection).await?;
    let warehouse = warehouse();
    for (number, (_, apply_now)) in traffic.iter().enumerate() {
        if *apply_now || number + 1 == traffic.len() {
            apply_to(&warehouse, number, connection).await?;
        }
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

/// Lands the traffic, every change of it, and keeps what stands after each transaction.
async fn play(traffic: &Traffic, connection: &mut PgConnection) -> Result<States, String> {
    let mut now: BTreeMap<&'static str, Rows> = TABLES.map(|table| (table, Rows::new())).into();
    let mut states = Vec::new();
    for (number, (draws, _)) in traffic.iter().enumerate() {
        for (seq, (table, key, action, one, two)) in draws.iter().enumerate() {
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
                 VALUES ($1, $2, $3::jsonb, {}, $4)",
                time(number)
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(lsn(number))
                .bind(op)
                .bind(image.map(|image| serde_json::to_string(&image).expect("JSON")))
                .bind(i64::try_from(seq).expect("a small number"))
                .execute(&mut *connection)
                .await
                .map_err(|error| error.to_string())?;
        }
        states.push(now.clone());
    }
    Ok(states)
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

async fn apply_to(warehouse: &Warehouse, number: usize, connection: &mut PgConnection) -> Result<(), String> {
    let mut transaction = connection.begin().await.map_err(|error| error.to_string())?;
    let position = format!(
        "UPDATE medallion.source_position SET last_lsn = {}, last_commit_ts = {}",
        lsn(number),
        time(number)
    );
    transaction.execute(AssertSqlSafe(position)).await.map_err(|error| error.to_string())?;
    let applied =
        apply::apply(warehouse, &mut transaction, |_| ()).await.map_err(|error| error.to_string())?;
    refresh::refresh(warehouse, &applied, &mut transaction, |_| ())
        .await
        .map_err(|error| error.to_string())?;
    marts_equal_their_definitions(warehouse, &mut transaction).await?;
    transaction.commit().await.map_err(|error| error.to_string())
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
            "SELECT count(*) FROM ((TABLE {0} EXCEPT ALL TABLE {1}) UNION ALL (TABLE {1} EXCEPT ALL TABLE {0})) AS d",
            mart.table, definition
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

fn warehouse() -> Warehouse {
    let field = |name: &str, sql_type: &str| Column {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        from: ColumnFrom::Field(name.to_owned()),
        tracking: Tracking::Tracked,
    };
    let looked_up = |name: &str, lookup: &str| Column {
        from: ColumnFrom::Lookup { lookup: lookup.to_owned(), column: name.to_owned() },
        ..field(name, "bigint")
    };
    let lookup = |alias: &str, relation: &str, at: LookupTime| Lookup {
        alias: alias.to_owned(),
        relation: Name::new("t", relation),
        on: vec![(alias.to_owned(), "id".to_owned())],
        at,
    };
    let dimension = |name: &str| SilverKind::Dimension {
        current: Name::new("t", format!("{name}_current")),
        row_hash: "row_hash".to_owned(),
        start: "sys_start".to_owned(),
        end: "sys_end".to_owned(),
    };
    let fact = |name: &str, partition_by: &str| SilverKind::Fact {
        snapshot: "snapshot_ts".to_owned(),
        archive: Name::new("t", format!("{name}_history")),
        partition_by: partition_by.to_owned(),
        partition_every: Unit::Month,
    };
    let silver = |table: &str, feed: &str, columns, lookups, kind| Silver {
        table: Name::new("t", table),
        feed: Name::new("t", feed),
        key: vec!["id".to_owned()],
        columns,
        lookups,
        kind,
    };
    let own_time = LookupTime::OwnTime("at".to_owned());
    Warehouse {
        name: "t",
        spec_hash: "",
        objects_hash: "",
        time_zone: "UTC",
        schemas: vec!["t"],
        source: Source { publication: "t".to_owned(), slot: "t".to_owned(), recorded_log: None },
        landings: Vec::new(),
        silver: vec![
            silver(
                "item_hist",
                "item_cdc",
                vec![
                    field("id", "bigint"),
                    field("film", "bigint"),
                    field("store", "bigint"),
                    // Two columns of one field, each of its own type.
                    Column { name: "film_text".to_owned(), ..field("film", "text") },
                ],
                Vec::new(),
                dimension("item"),
            ),
            silver(
                "customer_hist",
                "customer_cdc",
                vec![
                    field("id", "bigint"),
                    field("name", "text"),
                    field("item", "bigint"),
                    looked_up("store", "item"),
                    Column { tracking: Tracking::Untracked, ..field("note", "bigint") },
                ],
                vec![lookup("item", "item_hist", LookupTime::SystemTime)],
                dimension("customer"),
            ),
            silver(
                "rental",
                "rental_cdc",
                vec![
                    field("id", "bigint"),
                    field("at", "timestamptz"),
                    field("item", "bigint"),
                    looked_up("film", "item"),
                    looked_up("store", "item"),
                ],
                vec![lookup("item", "item_hist", own_time)],
                fact("rental", "at"),
            ),
            silver(
                "payment",
                "payment_cdc",
                vec![
                    field("id", "bigint"),
                    field("rental", "bigint"),
                    field("amount", "bigint"),
                    looked_up("store", "rental"),
                    field("day", "date"),
                    field("price", "numeric"),
                ],
                vec![lookup("rental", "rental", LookupTime::SystemTime)],
                fact("payment", "day"),
            ),
        ],
        marts: marts(),
        migrations: Vec::new,
        scripts: Scripts::default(),
        demo: Vec::new(),
    }
}

/// By store and month, whose groups can be NULL and vanish; by month, ranked across stores; and by
/// customer, which a change of any kind recomputes.
fn marts() -> Vec<Mart> {
    let payment = Name::new("t", "payment");
    let month = || UnitColumn {
        column: "month".to_owned(),
        of: vec![(payment.clone(), "date_trunc('month', day::timestamp)::date".to_owned())],
    };
    // 1.0 and 1.00 are one price, whichever of them stands there.
    let price = UnitColumn { column: "price".to_owned(), of: vec![(payment.clone(), "price".to_owned())] };
    let store = UnitColumn { column: "store".to_owned(), of: vec![(payment.clone(), "store".to_owned())] };
    let mart = |name: &str, columns: &[&str], grain: usize, unit: Vec<UnitColumn>, reads: Vec<Name>| {
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        Mart {
            table: Name::new("t", name),
            grain: columns[..grain].to_vec(),
            columns,
            storage: Storage::Incremental { definition: Name::new("t", format!("{name}_definition")), unit },
            reads,
        }
    };
    vec![
        mart(
            "by_store",
            &["store", "month", "revenue", "payments"],
            2,
            vec![store, month()],
            vec![payment.clone()],
        ),
        mart("by_rank", &["store", "month", "place"], 2, vec![month()], vec![payment.clone()]),
        mart("by_price", &["price", "payments"], 1, vec![price], vec![payment.clone()]),
        mart("by_name", &["name", "customers"], 1, Vec::new(), vec![Name::new("t", "customer_hist")]),
    ]
}

const EMPTY: &str = "
    TRUNCATE t.by_store, t.by_rank, t.by_price, t.by_name,
        t.item_cdc, t.rental_cdc, t.payment_cdc, t.customer_cdc, t.item_hist, t.customer_hist,
        t.rental, t.rental_history, t.payment, t.payment_history, medallion.watermark;
";

const OBJECTS: &str = "
    CREATE SCHEMA t;
    CREATE SCHEMA medallion;
    CREATE FUNCTION medallion.backfill() RETURNS void LANGUAGE sql
        AS $$SELECT set_config('medallion.backfill', 'on', true)$$;
    CREATE FUNCTION medallion.analyze(relation regclass) RETURNS void LANGUAGE plpgsql
        AS $$BEGIN EXECUTE format('ANALYZE %s', relation); END$$;
    CREATE FUNCTION medallion.make_partition(fact regclass, partition name, \"from\" text, \"to\" text) RETURNS void
        LANGUAGE plpgsql
        AS $$BEGIN EXECUTE format('CREATE TABLE IF NOT EXISTS t.%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
            partition, fact, \"from\", \"to\"); END$$;
    CREATE TABLE medallion.source_position (slot text PRIMARY KEY, last_lsn bigint, last_commit_ts timestamptz);
    INSERT INTO medallion.source_position VALUES ('t', 0, NULL);
    CREATE TABLE medallion.watermark (
        relation text PRIMARY KEY, lsn bigint NOT NULL, system_time timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE t.item_cdc (
        lsn bigint, op char(1), full_row jsonb, load_ts timestamptz DEFAULT now(), commit_ts timestamptz, seq bigint,
        PRIMARY KEY (lsn, seq)
    );
    CREATE TABLE t.rental_cdc (LIKE t.item_cdc INCLUDING ALL);
    CREATE TABLE t.payment_cdc (LIKE t.item_cdc INCLUDING ALL);
    CREATE TABLE t.customer_cdc (LIKE t.item_cdc INCLUDING ALL);
    CREATE TABLE t.item_hist (
        id bigint, film bigint, store bigint, film_text text, CHECK (film_text = film::text),
        row_hash bytea NOT NULL, sys_start timestamptz, sys_end timestamptz,
        PRIMARY KEY (id, sys_start), CHECK (sys_start < sys_end)
    );
    CREATE UNIQUE INDEX ON t.item_hist (id) WHERE sys_end = 'infinity';
    CREATE TABLE t.customer_hist (
        id bigint, name text, item bigint, store bigint, note bigint,
        row_hash bytea NOT NULL, sys_start timestamptz, sys_end timestamptz,
        PRIMARY KEY (id, sys_start), CHECK (sys_start < sys_end)
    );
    CREATE UNIQUE INDEX ON t.customer_hist (id) WHERE sys_end = 'infinity';
    CREATE TABLE t.rental (
        id bigint, at timestamptz, item bigint, film bigint, store bigint, snapshot_ts timestamptz NOT NULL,
        PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE t.rental_default PARTITION OF t.rental DEFAULT;
    CREATE TABLE t.rental_history (
        id bigint, at timestamptz, item bigint, film bigint, store bigint, sys_start timestamptz, sys_end timestamptz,
        PRIMARY KEY (id, sys_start), CHECK (sys_start < sys_end)
    );
    CREATE TABLE t.payment (
        id bigint, rental bigint, amount bigint, store bigint, day date, price numeric,
        snapshot_ts timestamptz NOT NULL
    ) PARTITION BY RANGE (day);
    CREATE TABLE t.payment_default PARTITION OF t.payment DEFAULT;
    CREATE TABLE t.payment_history (
        id bigint, rental bigint, amount bigint, store bigint, day date, price numeric,
        sys_start timestamptz, sys_end timestamptz,
        PRIMARY KEY (id, sys_start), CHECK (sys_start < sys_end)
    );
    CREATE VIEW t.by_store_definition AS
    SELECT store, date_trunc('month', day::timestamp)::date AS month, sum(amount) AS revenue, count(*) AS payments
    FROM t.payment GROUP BY 1, 2;
    CREATE TABLE t.by_store AS TABLE t.by_store_definition;
    CREATE UNIQUE INDEX ON t.by_store (store, month) NULLS NOT DISTINCT;
    CREATE VIEW t.by_rank_definition AS
    SELECT store, date_trunc('month', day::timestamp)::date AS month,
        rank() OVER (PARTITION BY date_trunc('month', day::timestamp)::date ORDER BY sum(amount)) AS place
    FROM t.payment GROUP BY 1, 2;
    CREATE TABLE t.by_rank AS TABLE t.by_rank_definition;
    CREATE UNIQUE INDEX ON t.by_rank (store, month) NULLS NOT DISTINCT;
    CREATE VIEW t.by_price_definition AS
    SELECT price, count(*) AS payments FROM t.payment GROUP BY 1;
    CREATE TABLE t.by_price AS TABLE t.by_price_definition;
    CREATE UNIQUE INDEX ON t.by_price (price);
    CREATE VIEW t.by_name_definition AS
    SELECT name, count(*) AS customers FROM t.customer_hist WHERE sys_end = 'infinity' GROUP BY 1;
    CREATE TABLE t.by_name AS TABLE t.by_name_definition;
";
