//! A source that is lost and found again, and one that moves: the binary goes on with what differs, the present is
//! the source's, and the past answers as it did.

use medallion_runtime::connection::{self, Database};
use medallion_runtime::script;
use medallion_server::Server;

use crate::support::program;
use crate::support::{Shop, State, compare, figures, laws, state};

#[tokio::test]
async fn the_past_stands_whatever_is_followed_next() {
    // A server of its own: the binary's slot has one name.
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "epochs").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    state::record_stock_of_log(&mut shop.source).await;
    shop.migrate().await;
    shop.run().await;
    let mut kept = vec![traffic(&mut shop, 1).await];
    shop.run().await;
    let time = shop.time_of(kept[0].position).await;
    let mut times = vec![time];

    // The slot goes, and traffic with it.
    compare::execute(&mut shop.source, "SELECT pg_drop_replication_slot('medallion_pagila')").await;
    kept.push(traffic(&mut shop, 2).await);
    let rehearsed = ask(&shop, &["source", "resnapshot", "--dry-run"]);
    let landed = ask(&shop, &["source", "resnapshot", "--yes"]);
    assert_eq!(landed, rehearsed.replace("would make", "made"), "it does what it said");
    assert!(
        landed.contains("cdc_bronze.br_rental_cdc: ") && landed.contains(" as the source has it"),
        "{landed}"
    );
    shop.run().await;
    figures::assert_now(&mut shop, &kept[1], "after a slot was lost").await;
    // What was missed has the snapshot's time.
    let time = shop.now().await;
    times.push(time);

    // The source moves to another database, where the slot does not follow.
    let Shop { source, .. } = shop;
    drop(source);
    let mut control = connection::connect(Database::Source, &server.url("postgres")).await.unwrap();
    compare::execute(&mut control, "SELECT pg_drop_replication_slot('medallion_pagila')").await;
    compare::execute(&mut control, "CREATE DATABASE epochs_moved TEMPLATE epochs_source").await;
    let place = medallion_runtime::place::Place { source: server.url("epochs_moved"), ..shop.place };
    let source = connection::connect(Database::Source, &place.source).await.unwrap();
    let mut shop = Shop { place, source, ..shop };
    kept.push(traffic(&mut shop, 3).await);
    let moved = ask(&shop, &["source", "resnapshot", "--yes"]);
    let left = "left behind at database `epochs_source` of system ";
    assert!(moved.contains(left) && moved.contains("DROP PUBLICATION \"medallion_pagila\";"), "{moved}");
    kept.push(traffic(&mut shop, 4).await);
    shop.run().await;
    figures::assert_now(&mut shop, &kept[3], "after the source has moved").await;
    let time = shop.time_of(kept[3].position).await;

    for (at, time) in times.iter().enumerate() {
        figures::assert_as_of(&mut shop, &kept[at], time, &format!("round {at}, before")).await;
    }
    figures::assert_as_of(&mut shop, &kept[3], &time, "since the move").await;
    laws::assert_hold(&mut shop, "after two resnapshots").await;
    ask(&shop, &["verify"]);
}

/// A round of traffic, and what the source then looks like.
async fn traffic(shop: &mut Shop, round: u32) -> State {
    let traffic = shop.descriptor.scripts.traffic.expect("Pagila brings traffic");
    compare::execute(&mut shop.source, &format!("SELECT setseed(0.{round})")).await;
    compare::execute(&mut shop.source, traffic).await;
    State::keep(&mut shop.source, &format!("round_{round}")).await
}

fn ask(shop: &Shop, arguments: &[&str]) -> String {
    let output = program::command(shop, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", program::stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}
