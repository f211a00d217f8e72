//! What stands between the pipeline and its warehouse changes nothing of what lands: settings of the database, a pooler
//! that refuses options, a load balancer before a server that is away, a peer that has vanished.

use std::time::{Duration, Instant};

use medallion_runtime::connection::{self, Database, LIMITS, SESSION};
use medallion_server::Server;
use rustix::process::Signal;

use crate::support::gate::{Gate, Gatekeeper};
use crate::support::program::{Watching, command_on};
use crate::support::{Shop, compare};

/// A source and a warehouse whose sessions begin otherwise than ours are: they may not write, and are ended when they
/// have taken a second.
async fn odd(server: &Server, name: &str) -> Shop {
    let shop = Shop::open_as_is(server, name).await;
    shop.migrate().await;
    let mut owner = connection::connect(Database::Warehouse, &shop.place.warehouse).await.unwrap();
    let known = "SELECT name || CASE vartype WHEN 'bool' THEN ' = on' ELSE ' = 1000' END FROM pg_settings WHERE name = ANY ";
    let limits = compare::rows(&mut owner, &format!("{known} ('{{{}}}')", LIMITS.join(","))).await;
    let looks = [
        "IntervalStyle = iso_8601",
        "bytea_output = escape",
        "DateStyle = German",
        "extra_float_digits = -15",
    ];
    for database in ["source", "warehouse"] {
        for setting in looks.into_iter().chain(limits.iter().map(String::as_str)) {
            let sql = format!("ALTER DATABASE {name}_{database} SET {setting}");
            compare::execute(&mut owner, &sql).await;
        }
    }
    shop
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_is_the_same() {
    let server = Server::shared_scratch().unwrap();
    let shop = odd(server, "pinned").await;
    let gate = Gatekeeper::before(&shop.place.warehouse, Gate::Open).await;
    for url in [&shop.place.warehouse, &gate.url] {
        let mut session = connection::connect(Database::Warehouse, url).await.unwrap();
        for (name, value) in SESSION {
            // Over a socket what is said of TCP counts for nothing, and is shown so.
            if !name.starts_with("tcp_") {
                assert_eq!(
                    compare::value(&mut session, &format!("SELECT current_setting('{name}')")).await,
                    value,
                    "{name}"
                );
            }
            let source = format!("SELECT source FROM pg_settings WHERE name = '{name}'");
            assert_eq!(compare::value(&mut session, &source).await, "session", "{name}");
        }
        for name in LIMITS {
            let limit = format!("SELECT coalesce(current_setting('{name}', true), '0')");
            let limit = compare::value(&mut session, &limit).await;
            assert!(["0", "off"].contains(&limit.as_str()), "{name} is {limit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warehouse_behind_another_is_waited_for_and_left_when_it_is_silent() {
    let server = Server::scratch().unwrap();
    let mut shop = odd(&server, "behind").await;
    let gate = Gatekeeper::before(&shop.place.warehouse, Gate::Closed).await;
    let mut watching = Watching::begin(&mut command_on(&shop.place.source, &gate.url, &["watch"]));
    watching.says("waiting, and trying again: cannot connect to the warehouse").await;
    watching.says("closed before the server answered").await;

    gate.is(Gate::Open);
    shop.change("INSERT INTO language (name) VALUES ('Latin')").await;
    let seen = "SELECT count(*) = 1 FROM temporal_silver.lookup_language WHERE name LIKE 'Latin%'";
    watching.until(&shop.place.warehouse, seen).await;
    a_type_that_is_altered_is_followed(&mut shop, &watching).await;

    gate.is(Gate::Silent);
    watching.signal(Signal::TERM);
    watching.says("stopped: ").await;
    let (status, said, _) = watching.wait();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// Attributes have the names that the catalog gives them, before long.
async fn a_type_that_is_altered_is_followed(shop: &mut Shop, watching: &Watching) {
    compare::execute(&mut shop.source, "CREATE TYPE pair AS (a integer, b integer)").await;
    compare::execute(&mut shop.source, "ALTER TABLE language ADD pair pair").await;
    let started = Instant::now();
    for change in 0.. {
        shop.change(&format!("UPDATE language SET pair = ROW({change}, 0)")).await;
        let landed =
            format!("FROM medallion.lookup_language_cdc WHERE full_row -> 'pair' -> 'a' = '{change}'");
        watching.until(&shop.place.warehouse, &format!("SELECT count(*) > 0 {landed}")).await;
        let labels =
            format!("SELECT DISTINCT full_row -> 'pair' ? 'b', full_row -> 'pair' ? 'renamed' {landed}");
        match (change, compare::value(&mut shop.warehouse, &labels).await.as_str()) {
            (0, labels) => {
                assert_eq!(labels, "t\tf");
                compare::execute(&mut shop.source, "ALTER TYPE pair RENAME ATTRIBUTE b TO renamed").await;
            }
            (_, "f\tt") => return,
            (_, labels) => {
                assert!(started.elapsed() < Duration::from_secs(120), "still {labels}: {}", watching.said());
            }
        }
    }
}
