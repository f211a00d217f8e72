//! What the binary says of a source and a warehouse to whoever runs them: `status` and `source check|prepare|drop`,
//! at every stage, and when one of the two is out of reach. The messages are the files in `operate/`;
//! `MEDALLION_UPDATE=1` rewrites them.

use std::path::Path;
use std::process::Output;
use std::{env, fs};

use medallion_runtime::connection::Database;
use medallion_runtime::script;
use medallion_server::Server;

use crate::support::program::{self, command_on};
use crate::support::{Shop, compare};

#[tokio::test]
async fn each_stage_is_told() {
    // A server of its own: the binary's slot has one name, and slots of others would count.
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "operated").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    let mut different = Vec::new();

    different.extend(compared("status_not_migrated", &ask(&shop, &["status"], 0)));
    different.extend(compared("check_not_migrated", &ask(&shop, &["source", "check"], 0)));
    shop.migrate().await;
    different.extend(compared("status_nothing_yet", &ask(&shop, &["status"], 0)));

    let identity = |identity| format!("ALTER TABLE film REPLICA IDENTITY {identity}");
    compare::execute(&mut shop.source, &identity("NOTHING")).await;
    different.extend(compared("check_of_an_identity", &ask(&shop, &["source", "check"], 1)));
    let found: serde_json::Value =
        serde_json::from_str(&ask(&shop, &["source", "check", "--format", "json"], 1)).unwrap();
    assert_eq!(found["ready"], false, "{found}");
    assert_eq!(found["findings"][0]["severity"], "stops", "{found}");
    different
        .extend(compared("prepare", &ask(&shop, &["source", "prepare", "--dry-run", "--role", "loader"], 0)));
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(compare::value(&mut shop.source, slots).await, "0", "a dry run makes nothing");
    compare::execute(&mut shop.source, &identity("FULL")).await;

    shop.run().await;
    let status: serde_json::Value =
        serde_json::from_str(&ask(&shop, &["status", "--format", "json"], 0)).unwrap();
    assert_eq!(status["slot"]["exists"], true, "{status}");
    assert!(status["slot"]["retained_bytes"].as_i64().unwrap() > 0, "{status}");
    assert_eq!(status["runs"][0]["status"], "succeeded", "{status}");
    for relation in status["relations"].as_array().unwrap() {
        let name = relation["name"].as_str().unwrap();
        let count = compare::value(&mut shop.warehouse, &format!("SELECT count(*) FROM {name}")).await;
        if relation["estimated"] == false {
            assert_eq!(relation["rows"].to_string(), count, "{name}");
        }
    }
    let told = ask(&shop, &["status"], 0);
    assert!(told.contains("source: slot `medallion_pagila` (idle, reserved) is "), "{told}");
    assert!(told.contains("\nlanded: up to 20") && told.contains("\nrun    20"), "{told}");

    let absent = server.url("absent");
    let unseen = command_on(&absent, &shop.place.warehouse, &["status"]).output().unwrap();
    assert_eq!(unseen.status.code(), Some(0), "{unseen:?}");
    assert!(
        stdout(&unseen).contains("source: out of reach\n  cannot connect to the source at "),
        "{unseen:?}"
    );
    let nowhere = command_on(&shop.place.source, &absent, &["status"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");

    let unsure = program::command(&shop, &["source", "drop"]).output().unwrap();
    assert_eq!(unsure.status.code(), Some(2), "{unsure:?}");
    // What a run would refuse is told, and what it would not is not.
    assert!(!told.contains("no run goes on"), "{told}");
    compare::execute(&mut shop.source, "INSERT INTO language (name) VALUES ('Latin')").await;
    let ahead = "SELECT pg_replication_slot_advance('medallion_pagila', pg_current_wal_flush_lsn())";
    compare::execute(&mut shop.source, ahead).await;
    refuses(&shop, "replication slot `medallion_pagila` is confirmed to ");
    let elsewhere = Server::scratch().unwrap();
    let other = command_on(&elsewhere.url("postgres"), &shop.place.warehouse, &["status"]).output().unwrap();
    assert!(stdout(&other).contains("it is another server (system "), "{other:?}");

    different.extend(compared("drop", &ask(&shop, &["source", "drop", "--yes"], 0)));
    assert_eq!(compare::value(&mut shop.source, slots).await, "0");
    let gone = ask(&shop, &["status"], 0);
    assert!(
        gone.contains("no run goes on from there: replication slot `medallion_pagila` is gone"),
        "{gone}"
    );
    assert_eq!(ask(&shop, &["source", "drop", "--yes"], 0), "nothing to drop\n");
    compare::assert_none("messages (MEDALLION_UPDATE=1 rewrites the files)", &different);
}

/// The role that `prepare` makes can do what a capture asks, recorded log and all, and goes without a trace.
#[tokio::test]
async fn what_prepare_gives_a_role_is_enough() {
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "enough").await;
    shop.migrate().await;
    ask(&shop, &["source", "prepare", "--role", "ready_loader"], 0);
    let owner = shop.place.source.clone();
    shop.place.source = owner.replace("user=medallion", "user=ready_loader");
    ask(&shop, &["source", "check"], 0);

    compare::execute(&mut shop.source, "REVOKE SELECT ON change_log FROM ready_loader").await;
    let found = ask(&shop, &["source", "check"], 1);
    assert!(found.contains("`public.change_log`, the recorded log, cannot be read"), "{found}");
    let remedy = "GRANT SELECT ON \"public\".\"change_log\" TO \"ready_loader\";";
    assert!(found.contains(remedy), "{found}");
    compare::execute(&mut shop.source, remedy).await;
    ask(&shop, &["run"], 0);
    compare::execute(&mut shop.source, "INSERT INTO language (name) VALUES ('Latin')").await;
    compare::execute(&mut shop.source, "REVOKE SELECT ON change_log FROM ready_loader").await;
    ask(&shop, &["source", "check"], 0);
    ask(&shop, &["run"], 0);
    let landed = "SELECT count(*) FROM medallion.lookup_language_cdc WHERE full_row ->> 'name' LIKE 'Latin%'";
    assert_eq!(compare::value(&mut shop.warehouse, landed).await, "1");

    shop.place.source = owner;
    ask(&shop, &["source", "drop", "--yes"], 0);
    let left = "SELECT count(*) FROM pg_roles WHERE rolname = 'ready_loader'";
    assert_eq!(compare::value(&mut shop.source, left).await, "0");
}

/// Both say the same: `status` what a run would refuse, and a run that refuses it.
fn refuses(shop: &Shop, why: &str) {
    let told = ask(shop, &["status"], 0);
    assert!(told.contains(&format!("no run goes on from there: {why}")), "{told}");
    let refused = program::command(shop, &["run"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(program::stderr(&refused).contains(why), "{refused:?}");
}

fn ask(shop: &Shop, arguments: &[&str], status: i32) -> String {
    let output = program::command(shop, arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    stdout(&output)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How an answer differs from its file.
fn compared(case: &str, said: &str) -> Option<String> {
    // The release is the machine's.
    let said: String = program::as_before_18(said)
        .lines()
        .map(|line| match line.split_once("PostgreSQL ") {
            Some((before, after)) if line.starts_with("ok ") => {
                let (_, after) = after.split_once(',').unwrap_or_default();
                format!("{before}PostgreSQL …,{after}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/operate/{case}.txt"));
    if env::var_os("MEDALLION_UPDATE").is_some_and(|value| value == "1") {
        fs::write(&path, &said).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    (said != expected).then(|| format!("{case}: expected\n{expected}found\n{said}"))
}
