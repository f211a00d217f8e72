//! What a run tells OpenLineage's listeners: what has changed and where its columns come from, or why it was refused; no
//! word where nothing has, and no password ever. Every event is as the standard's own schema says, where that can be had:
//! `MEDALLION_OPENLINEAGE` names the folder that `scripts/openlineage` prints.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use medallion_server::Server;
use serde_json::Value;

use crate::support::Shop;
use crate::support::program::{command, stderr};
use crate::tested::STOCK;

/// Runs the binary once; what it tells.
fn told(shop: &Shop, status: i32) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let output = command(shop, &["run"]).env("OPENLINEAGE_FILE", &file).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
    let text = fs::read_to_string(&file).unwrap_or_default();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    match std::env::var_os("MEDALLION_OPENLINEAGE") {
        Some(folder) => Standard(folder.into()).check(&events),
        None => eprintln!("NOT TESTED against OpenLineage's schema: MEDALLION_OPENLINEAGE does not name it"),
    }
    events
}

/// The standard's folder: `OpenLineage.json`, and `facets`.
#[derive(Clone)]
struct Standard(PathBuf);

impl Standard {
    fn read(&self, file: &str) -> std::io::Result<Value> {
        let folder = if file == "OpenLineage.json" { self.0.clone() } else { self.0.join("facets") };
        Ok(serde_json::from_slice(&fs::read(folder.join(file))?)?)
    }

    /// What a value breaks of a file's schema.
    fn broken(&self, file: &str, value: &Value) -> Vec<String> {
        let schema = self.read(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let validator = jsonschema::options()
            .with_retriever(self.clone())
            .should_validate_formats(true)
            .build(&schema)
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    fn check(&self, events: &[Value]) {
        // It refuses what is wrong.
        assert!(!self.broken("OpenLineage.json", &serde_json::json!({ "eventType": "START" })).is_empty());
        for event in events {
            let wrong = self.broken("OpenLineage.json", event);
            assert!(wrong.is_empty(), "{wrong:?} in {event:#}");
            let mut facets = Vec::new();
            collect_facets(event, &mut facets);
            assert!(!facets.is_empty(), "{event:#}");
            for (name, facet) in facets {
                let url = facet["_schemaURL"].as_str().unwrap();
                let file = url.rsplit('/').find(|part| part.contains(".json")).unwrap();
                let file = file.split('#').next().unwrap();
                let mut one = serde_json::Map::new();
                one.insert(name.clone(), facet.clone());
                let wrong = self.broken(file, &Value::Object(one));
                assert!(wrong.is_empty(), "{wrong:?} in the facet `{name}` of {event:#}");
            }
        }
    }
}

impl jsonschema::Retrieve for Standard {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let file = uri.path().as_str().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(self.read(&file)?)
    }
}

/// The facets within a value, by their names.
fn collect_facets(value: &Value, facets: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(all) => {
            for (key, value) in all {
                if let (true, Value::Object(named)) = (key.to_lowercase().ends_with("facets"), value) {
                    facets.extend(named.iter().map(|(name, facet)| (name.clone(), facet.clone())));
                }
                collect_facets(value, facets);
            }
        }
        Value::Array(all) => all.iter().for_each(|value| collect_facets(value, facets)),
        _ => {}
    }
}

/// The words of the events of each run, by its job's name.
fn runs(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        runs.entry(text("/job/name")).or_default().push(text("/eventType"));
    }
    runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_tell_what_they_published() {
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "told").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    let events = told(&shop, 0);
    let runs_told = runs(&events);
    for (job, words) in &runs_told {
        assert_eq!(words, &["START", "COMPLETE"], "{job}");
    }
    for relation in
        ["cdc_bronze.br_payment_cdc", "temporal_silver.fact_payment", "simple_gold.vw_monthly_revenue"]
    {
        assert!(runs_told.contains_key(&format!("pagila.{relation}")), "{relation}: {runs_told:?}");
    }
    let mart = events
        .iter()
        .find(|event| {
            event["job"]["name"] == "pagila.simple_gold.vw_monthly_revenue"
                && event["eventType"] == "COMPLETE"
        })
        .unwrap();
    let output = &mart["outputs"][0];
    assert!(output["outputFacets"]["outputStatistics"]["rowCount"].as_u64() > Some(0), "{output:#}");
    let from = &output["facets"]["columnLineage"]["fields"]["revenue"]["inputFields"];
    let from: Vec<&str> = from.as_array().unwrap().iter().filter_map(|one| one["field"].as_str()).collect();
    assert!(from.contains(&"amount"), "{from:?}");

    assert_eq!(told(&shop, 0), Vec::<Value>::new(), "nothing is new");

    // A test of the data refuses it: landed, not published.
    shop.change("UPDATE payment SET amount = -1 WHERE payment_id = 3").await;
    let held = told(&shop, 1);
    assert_eq!(runs(&held)["pagila"], ["START", "FAIL"]);
    let why = held.iter().find(|event| event["eventType"] == "FAIL").unwrap();
    let why = why["run"]["facets"]["errorMessage"]["message"].as_str().unwrap();
    assert!(why.contains("amount"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_told_holds_up_no_run() {
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "told_nobody").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    // A port that nobody listens at: it was given to us, and given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://teller:s3cret@127.0.0.1:{port}");
    let output = command(&shop, &["run"]).env("OPENLINEAGE_URL", &url).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("events of lineage are lost") && !said.contains("s3cret"), "{said}");
}
