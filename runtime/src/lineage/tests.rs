//! Events against what OpenLineage 2-0-2 and its facets ask for, and the ways out for them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Ended, Namespaces, Said, Sink, Target, event, place_of_files};
use crate::descriptor::{
    Changed, Feed, FeedFormat, Landing, Name, Plugin, RemovedPartitions, Scripts, Source, Warehouse,
};

const LINEAGE: &str = r#"[
    {"layer": "source", "schema": "public", "name": "sale", "columns": [["amount", "", []], ["store", "", []]], "rows": []},
    {"layer": "bronze", "schema": "b", "name": "br_sale", "columns": [["amount", "", [[0, "amount", "IDENTITY"]]], ["store", "", [[0, "store", "IDENTITY"]]]], "rows": []},
    {"layer": "gold", "schema": "g", "name": "by_store", "columns": [["store", "integer", [[1, "store", "IDENTITY"]]], ["revenue", "numeric(12, 2)", [[1, "amount", "AGGREGATION"], [1, "store", "FILTER"]]]], "rows": [[1, "store", "GROUP_BY"]]}
]"#;

fn shop() -> Warehouse {
    Warehouse {
        name: "shop",
        spec_hash: "",
        objects_hash: "",
        time_zone: "UTC",
        schemas: Vec::new(),
        source: Source {
            publication: String::new(),
            slot: String::new(),
            recorded_log: None,
            keep_log: None,
            plugin: Plugin::default(),
            removed_partitions: RemovedPartitions::default(),
            polling: None,
        },
        landings: Vec::new(),
        silver: Vec::new(),
        marts: Vec::new(),
        tests: Vec::new(),
        migrations: Vec::new,
        stagings: Vec::new(),
        calendars: Vec::new(),
        refused: &[],
        tags: Vec::new(),
        scripts: Scripts::default(),
        demo: Vec::new(),
        lineage: LINEAGE,
        alerts: Vec::new(),
    }
}

fn namespaces() -> Namespaces {
    Namespaces {
        jobs: "medallion".to_owned(),
        source: ("postgres://shop.example:5432".to_owned(), "shop".to_owned()),
        files: ("file".to_owned(), "/data/lake".to_owned()),
        warehouse: ("postgres://localhost:5433".to_owned(), "house".to_owned()),
    }
}

fn told(ended: Ended) -> Vec<Value> {
    let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let changed = match ended {
        Ended::Well => vec![(Name::new("b", "br_sale"), 7), (Name::new("g", "by_store"), 2)],
        Ended::Badly(_) => Vec::new(),
    };
    let (began, now) = (time("2025-07-01T06:00:00Z"), time("2025-07-01T06:00:02.5Z"));
    event::events(&shop(), &namespaces(), &Said { began, now, ended, changed: &changed })
}

/// Holds an event to the standard: what it requires is there, of the type that it says; nothing is beside it.
fn conforms(event: &Value) {
    let only = |value: &Value, required: &[&str], optional: &[&str]| {
        let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
        for name in required {
            assert!(object.contains_key(*name), "`{name}` is missing: {value}");
        }
        for name in object.keys() {
            assert!(
                required.contains(&name.as_str()) || optional.contains(&name.as_str()),
                "`{name}` of {value}"
            );
        }
    };
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
    let is_uri = |text: &str| text.starts_with("https://") || text.starts_with("urn:");
    let uri = |value: &Value| assert!(is_uri(&text(value)), "{value}");
    let uuid = |value: &Value| assert!(uuid::Uuid::parse_str(&text(value)).is_ok(), "{value}");
    let facets = |value: &Value| {
        for (name, facet) in value.as_object().into_iter().flatten() {
            uri(&facet["_producer"]);
            let schema = text(&facet["_schemaURL"]);
            let kind = schema.rsplit('/').next().unwrap().to_lowercase();
            assert!(kind.starts_with(&name.to_lowercase()), "{name} is defined at {schema}");
            assert!(schema.starts_with("https://openlineage.io/spec/facets/"), "{schema}");
        }
    };
    let required = ["eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"];
    only(event, &required, &[]);
    assert!(["START", "COMPLETE", "FAIL"].contains(&text(&event["eventType"]).as_str()));
    text(&event["eventTime"]).parse::<DateTime<Utc>>().unwrap();
    uri(&event["producer"]);
    assert_eq!(event["schemaURL"], "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent");
    only(&event["run"], &["runId"], &["facets"]);
    uuid(&event["run"]["runId"]);
    facets(&event["run"]["facets"]);
    if let Some(parent) = event["run"]["facets"].get("parent") {
        only(parent, &["run", "job", "_producer", "_schemaURL"], &[]);
        uuid(&parent["run"]["runId"]);
        only(&parent["job"], &["namespace", "name"], &[]);
    }
    if let Some(error) = event["run"]["facets"].get("errorMessage") {
        only(error, &["message", "programmingLanguage", "_producer", "_schemaURL"], &["stackTrace"]);
    }
    only(&event["job"], &["namespace", "name"], &["facets"]);
    facets(&event["job"]["facets"]);
    for (dataset, own) in [("inputs", "inputFacets"), ("outputs", "outputFacets")] {
        for dataset in event[dataset].as_array().unwrap() {
            only(dataset, &["namespace", "name"], &["facets", own]);
            facets(&dataset["facets"]);
            facets(&dataset[own]);
            for field in dataset["facets"]["schema"]["fields"].as_array().unwrap() {
                only(field, &["name"], &["type", "description", "fields"]);
            }
            let columns = &dataset["facets"]["columnLineage"];
            let fields = columns["fields"].as_object();
            for field in fields.into_iter().flat_map(|fields| fields.values()) {
                only(field, &["inputFields"], &[]);
            }
            let of_fields =
                fields.into_iter().flatten().filter_map(|(_, field)| field["inputFields"].as_array());
            for input in of_fields.chain(columns["dataset"].as_array()).flatten() {
                only(input, &["namespace", "name", "field"], &["transformations"]);
                for way in input["transformations"].as_array().unwrap() {
                    only(way, &["type"], &["subtype", "description", "masking"]);
                    assert!(["DIRECT", "INDIRECT"].contains(&text(&way["type"]).as_str()));
                }
            }
        }
    }
}

#[test]
fn events_conform_and_each_run_ends() {
    for ended in [Ended::Well, Ended::Badly("3 rows break `amount_is_positive`".to_owned())] {
        let events = told(ended.clone());
        events.iter().for_each(conforms);
        let mut runs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for event in &events {
            let kinds = runs.entry(event["run"]["runId"].as_str().unwrap()).or_default();
            kinds.push(event["eventType"].as_str().unwrap());
        }
        let end = if ended == Ended::Well { "COMPLETE" } else { "FAIL" };
        assert!(runs.values().all(|kinds| *kinds == ["START", end]), "{runs:?}");
        assert_eq!(runs.len(), if ended == Ended::Well { 3 } else { 1 });
    }
}

#[test]
fn columns_are_traced() {
    let events = told(Ended::Well);
    let mart = events.iter().rfind(|event| event["job"]["name"] == "shop.g.by_store").unwrap();
    assert_eq!(mart["outputs"][0]["name"], "house.g.by_store");
    assert_eq!(mart["inputs"][0]["name"], "house.b.br_sale");
    let columns = &mart["outputs"][0]["facets"]["columnLineage"];
    let revenue = &columns["fields"]["revenue"]["inputFields"];
    assert_eq!(revenue[0]["field"], "amount");
    assert_eq!(revenue[0]["transformations"][0]["subtype"], "AGGREGATION");
    assert_eq!(revenue[1]["transformations"][0]["type"], "INDIRECT");
    assert_eq!(columns["dataset"][0]["transformations"][0]["subtype"], "GROUP_BY");
    let landing = events.iter().find(|event| event["job"]["name"] == "shop.b.br_sale").unwrap();
    assert_eq!(landing["inputs"][0]["namespace"], "postgres://shop.example:5432");
}

#[test]
fn files_are_named_as_the_standard_has_it() {
    let feed = |path: &str| Feed {
        path: path.to_owned(),
        format: FeedFormat::JsonLines,
        changed: Changed::Reread,
        time: None,
        time_zone: None,
    };
    let landing = |table: &str, path: &str| {
        Landing::new(Name::new("b", table), Name::new("files", path), ["id"]).by_files(feed(path))
    };
    let warehouse = Warehouse {
        landings: vec![
            landing("br_click", "clicks/date=*/*.jsonl"),
            landing("br_all", "*.jsonl"),
            landing("br_product", "products.jsonl"),
        ],
        lineage: r#"[
            {"layer": "source", "schema": "files", "name": "clicks/date=*/*.jsonl", "columns": [["id", "", []]]},
            {"layer": "source", "schema": "files", "name": "*.jsonl", "columns": [["id", "", []]]},
            {"layer": "source", "schema": "files", "name": "products.jsonl", "columns": [["id", "", []]]},
            {"layer": "source", "schema": "files", "name": "a_table", "columns": [["id", "", []]]},
            {"layer": "gold", "schema": "g", "name": "all", "columns": [
                ["id", "", [[0, "id", "IDENTITY"], [1, "id", "IDENTITY"], [2, "id", "IDENTITY"], [3, "id", "IDENTITY"]]]
            ]}
        ]"#,
        ..shop()
    };
    for ((namespace, root), expected) in [
        (
            place_of_files("shop", Some("file:///data/lake/".to_owned())),
            ["file /data/lake/clicks", "file /data/lake", "file /data/lake/products.jsonl"],
        ),
        (
            place_of_files("shop", Some("s3://lake/raw?region=x".to_owned())),
            ["s3://lake raw/clicks", "s3://lake raw", "s3://lake raw/products.jsonl"],
        ),
        (
            place_of_files("shop", Some("s3://key:secret@lake".to_owned())),
            ["s3://lake clicks", "s3://lake ", "s3://lake products.jsonl"],
        ),
    ] {
        let namespaces = Namespaces { files: (namespace, root), ..namespaces() };
        let now = Utc::now();
        let changed = [(Name::new("g", "all"), 1)];
        let said = Said { began: now, now, ended: Ended::Well, changed: &changed };
        let events = event::events(&warehouse, &namespaces, &said);
        let inputs = events[1]["inputs"].as_array().unwrap().iter();
        let found: Vec<String> = inputs
            .map(|input| {
                format!("{} {}", input["namespace"].as_str().unwrap(), input["name"].as_str().unwrap())
            })
            .collect();
        assert_eq!(found[..3], expected);
        assert_eq!(found[3], "postgres://shop.example:5432 shop.files.a_table");
    }
    let (_, root) = place_of_files("shop", None);
    assert!(root.starts_with('/') && root.ends_with("/spec/shop/files"), "{root}");
}

#[test]
fn events_are_posted_with_the_key_and_never_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut one, _) = listener.accept().unwrap();
        let mut text = String::new();
        let mut part = [0; 4096];
        while !text.ends_with("{\"a\":1}") {
            let read = one.read(&mut part).unwrap();
            text += std::str::from_utf8(&part[..read]).unwrap();
        }
        one.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        text
    });
    let variables = BTreeMap::from([
        ("OPENLINEAGE_URL", format!("http://127.0.0.1:{port}/")),
        ("OPENLINEAGE_API_KEY", "secret".to_owned()),
    ]);
    let target = Target::read(&|name| variables.get(name).cloned()).unwrap().unwrap();
    Sink::open(target).send("{\"a\":1}".to_owned());
    let heard = heard.join().unwrap().to_lowercase();
    assert!(heard.starts_with("post /api/v1/lineage http/1.1\r\n"), "{heard}");
    assert!(heard.contains("authorization: bearer secret\r\n"), "{heard}");

    // Somebody who listens and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let begun = Instant::now();
    let sink = Sink::open(Target::Http { url, key: None });
    for _ in 0..10_000 {
        sink.send("{}".to_owned());
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "sending waits for nobody");
    drop(sink);
    assert!(begun.elapsed() < Duration::from_secs(20), "and neither does the end, for long");
}

#[test]
fn what_is_no_address_is_refused_and_what_is_off_is_off() {
    let read = |variables: &[(&str, &str)]| {
        Target::read(&|name| {
            variables.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
        })
    };
    assert!(read(&[]).unwrap().is_none());
    assert!(read(&[("OPENLINEAGE_URL", "http://a"), ("OPENLINEAGE_DISABLED", "True")]).unwrap().is_none());
    let error = read(&[("OPENLINEAGE_URL", "user:secret@host")]).err().unwrap();
    assert!(!error.to_string().contains("secret"), "{error}");
}
