//! Many rows at once, in the compiled binary: a snapshot of many, and one transaction that changes them all, take
//! no more of the loader's memory than few do; and `status` tells how many there are without counting them.

use std::fs;
use std::process::Child;
use std::time::Duration;

use medallion_runtime::survey;
use medallion_server::Server;

use crate::support::{Shop, compare, program};

/// As many as no run could hold in the memory that it may have.
const ROWS: u64 = 300_000;

/// The most that a run may have, in kB: it has a dozen MB with nothing to do, and 16 MB may be on their way.
const MOST: u64 = 52_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_snapshot_and_a_large_transaction_take_no_memory() {
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "large").await;
    let rows =
        format!("INSERT INTO language (name) SELECT 'language ' || n FROM generate_series(1, {ROWS}) AS n");
    shop.change(&rows).await;
    shop.migrate().await;
    let snapshot = peak_memory(&shop).await;
    shop.change("UPDATE language SET name = 'renamed ' || language_id").await;
    let transaction = peak_memory(&shop).await;

    let renamed = "SELECT count(*) FROM temporal_silver.lookup_language WHERE name LIKE 'renamed %'";
    assert_eq!(compare::value(&mut shop.warehouse, renamed).await, ROWS.to_string());
    let survey = survey::look(&shop.descriptor, &shop.place).await.unwrap();
    for relation in survey.relations.iter().filter(|relation| relation.estimated) {
        let count = format!("SELECT count(*) FROM {}", relation.name);
        let count: f64 = compare::value(&mut shop.warehouse, &count).await.parse().unwrap();
        let part = f64::from(u32::try_from(relation.rows).unwrap()) / count;
        assert!((0.8..1.25).contains(&part), "{}: {} of {count}", relation.name, relation.rows);
    }
    assert!(survey.relations.iter().any(|relation| relation.estimated));
    assert!(snapshot < MOST, "the snapshot took {snapshot} kB");
    assert!(transaction < MOST, "the transaction took {transaction} kB");
}

/// The most memory that a run takes, in kB.
async fn peak_memory(shop: &Shop) -> u64 {
    let mut run = program::command(shop, &["run"]).spawn().unwrap();
    let mut most = 0;
    while run.try_wait().unwrap().is_none() {
        most = most.max(memory(&run).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", program::stderr(&output));
    assert!(most > 0, "it was measured");
    most
}

/// The most that a process has had so far; none where it has just ended.
fn memory(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
