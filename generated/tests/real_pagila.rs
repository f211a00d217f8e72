//! The real Pagila, loaded into the source's tables: the warehouse equals it, goes on to equal it whatever
//! happens to it, and answers every past state exactly. Says so, loudly, where the data is not at hand.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use medallion_runtime::descriptor::{SilverKind, Storage};
use medallion_server::Server;
use sqlx::PgConnection;

use crate::support::{Shop, State, asking, compare, figures, laws, state};

/// Names the folder of the data; `../shared/pagila` beside the checkout when absent.
const FOLDER_VARIABLE: &str = "MEDALLION_PAGILA";

/// The tables, parents first.
const TABLES: [&str; 15] = [
    "country",
    "city",
    "address",
    "language",
    "category",
    "actor",
    "film",
    "film_actor",
    "film_category",
    "store",
    "staff",
    "inventory",
    "customer",
    "rental",
    "payment",
];

/// One run after each change and one run after all of them come to the same, all along and in the end.
#[tokio::test]
async fn the_warehouse_equals_the_source_now_and_at_any_time() {
    let Some(folder) = folder() else { return };
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "real").await;
    load(&mut shop.source, &folder).await;
    state::record_stock(&mut shop.source).await;
    let mut late = shop.beside(server, "late").await;
    shop.migrate().await;
    late.migrate().await;
    shop.run().await;
    late.run().await;

    let first = State::keep(&mut shop.source, "past_0").await;
    figures::assert_now(&mut shop, &first, "as loaded").await;
    assert_counts(&mut shop).await;
    assert_nothing_new(&mut shop).await;

    let mut past = vec![("as loaded".to_owned(), first)];
    for (number, (name, sql)) in (1..).zip(changes()) {
        shop.change(sql).await;
        let state = State::keep(&mut shop.source, &format!("past_{number}")).await;
        let outcome = shop.run().await;
        assert!(!outcome.is_empty(), "{name}: nothing was found to do");
        figures::assert_now(&mut shop, &state, name).await;
        past.push((name.to_owned(), state));
    }
    laws::assert_hold(&mut shop, "run after each change").await;
    assert_nothing_new(&mut shop).await;

    late.run().await;
    let (name, last) = past.last().expect("there is one at least");
    figures::assert_now(&mut late, last, &format!("all at once, up to: {name}")).await;
    laws::assert_hold(&mut late, "all at once").await;
    assert_same_silver(&mut shop, &mut late).await;

    for (name, state) in &past {
        let time = shop.time_of(state.position).await;
        figures::assert_as_of(&mut shop, state, &time, name).await;
        asking::assert_agree(&mut shop, &time, name).await;
        asking::assert_joined(&mut shop, state, &time, name).await;
    }
    asking::assert_histories(&mut shop).await;
}

/// The folder of the data, if it is there.
fn folder() -> Option<PathBuf> {
    let asked = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let folder =
        asked.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pagila"));
    if folder.join("payment.csv.gz").exists() {
        return Some(folder);
    }
    assert!(asked.is_none(), "no Pagila in {}, which {FOLDER_VARIABLE} names", folder.display());
    let bar = "!".repeat(78);
    // Not by a macro: the test harness would keep it to itself.
    let _ = writeln!(
        std::io::stderr().lock(),
        "\n{bar}\n!!! NOT TESTED: the warehouse against the real Pagila, whose data is not at hand.\n\
         !!! Name the folder of its CSV files in {FOLDER_VARIABLE}.\n{bar}\n"
    );
    None
}

async fn load(source: &mut PgConnection, folder: &Path) {
    for table in TABLES {
        let path = folder.join(format!("{table}.csv.gz"));
        let mut rows = BufReader::new(GzDecoder::new(File::open(&path).unwrap()));
        let mut header = String::new();
        rows.read_line(&mut header).unwrap();
        let sql = format!("COPY {table} ({}) FROM STDIN WITH (FORMAT csv)", header.trim_end());
        let mut copy = source.copy_in_raw(&sql).await.unwrap();
        loop {
            let mut chunk = Vec::new();
            rows.by_ref().take(1 << 20).read_to_end(&mut chunk).unwrap();
            if chunk.is_empty() {
                break;
            }
            copy.send(chunk).await.unwrap();
        }
        copy.finish().await.unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    compare::execute(source, "ANALYZE").await;
}

/// What happens, a transaction each.
fn changes() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("real_pagila_changes.sql").split("\n--: ").skip(1).map(|change| {
        let (name, sql) = change.split_once('\n').expect("SQL follows the name");
        (name, sql.trim_end().trim_end_matches(';'))
    })
}

async fn assert_counts(shop: &mut Shop) {
    let counts = compare::value(
        &mut shop.warehouse,
        "SELECT
            (SELECT count(*) FROM temporal_silver.dim_customer),
            (SELECT count(*) FROM temporal_silver.dim_film),
            (SELECT count(*) FROM temporal_silver.fact_rental),
            (SELECT count(*) FROM temporal_silver.fact_payment)",
    )
    .await;
    assert_eq!(counts, "599\t1000\t16044\t16049");
}

/// A run without anything new says so and leaves everything as it was.
async fn assert_nothing_new(shop: &mut Shop) {
    let before = everything(shop).await;
    let outcome = shop.run().await;
    assert!(outcome.is_empty(), "{outcome:?}");
    assert!(everything(shop).await == before, "a run without anything new changed something");
}

/// Where every row of bronze, silver and gold stands, and who wrote it: any change would show.
async fn everything(shop: &mut Shop) -> Vec<Vec<String>> {
    let landings = shop.descriptor.landings.iter().map(|landing| &landing.table);
    let silver = shop.descriptor.silver.iter().map(|silver| &silver.table);
    let stored = |storage: &Storage| !matches!(storage, Storage::View);
    let marts = shop.descriptor.marts.iter().filter(|mart| stored(&mart.storage)).map(|mart| &mart.table);
    let tables: Vec<String> = landings.chain(silver).chain(marts).map(ToString::to_string).collect();
    let mut all = Vec::new();
    for table in tables {
        let sql = format!("SELECT tableoid, ctid, xmin FROM {table}");
        all.push(compare::rows(&mut shop.warehouse, &sql).await);
    }
    all
}

/// Two warehouses of one source have the same silver, history included, but for when each of them began.
async fn assert_same_silver(one: &mut Shop, other: &mut Shop) {
    let mut differences = Vec::new();
    let mut rows = Vec::new();
    for shop in [one, other] {
        let began =
            compare::value(&mut shop.warehouse, "SELECT min(commit_ts) FROM cdc_bronze.br_customer_cdc")
                .await;
        let time = |column: &str| format!("nullif({column}, '{began}')");
        let mut relations = Vec::new();
        for landing in &shop.descriptor.landings {
            relations.push((
                landing.table.to_string(),
                format!(
                    "SELECT lsn, seq, op, full_row, commit_ts FROM {} WHERE commit_ts > '{began}'",
                    landing.table
                ),
            ));
        }
        for silver in &shop.descriptor.silver {
            let columns: Vec<&str> = silver.columns.iter().map(|column| column.name.as_str()).collect();
            let columns = columns.join(", ");
            match &silver.kind {
                SilverKind::Dimension { row_hash, start, end, .. } => relations.push((
                    silver.table.to_string(),
                    format!("SELECT {columns}, {row_hash}, {}, {end} FROM {}", time(start), silver.table),
                )),
                SilverKind::Fact { snapshot, archive, .. } => {
                    relations.push((
                        silver.table.to_string(),
                        format!("SELECT {columns}, {} FROM {}", time(snapshot), silver.table),
                    ));
                    relations.push((
                        archive.to_string(),
                        format!("SELECT {columns}, {}, sys_end FROM {archive}", time("sys_start")),
                    ));
                }
            }
        }
        let mut all = Vec::new();
        for (name, sql) in relations {
            all.push((name, compare::rows(&mut shop.warehouse, &sql).await));
        }
        rows.push(all);
    }
    for ((name, one), (_, other)) in rows[0].iter().zip(&rows[1]) {
        differences.extend(compare::difference(name, one, other));
    }
    compare::assert_none("run after each change (-) and after all of them (+)", &differences);
}
