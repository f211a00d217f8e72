//! What a round is in OpenLineage's words (version 2-0-2): a run of the warehouse, and within it a run a relation that
//! changed, each begun and ended. Pure but for the names of runs, which are drawn.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Namespaces;
use crate::descriptor::{Name, Warehouse};

/// Who says so.
const PRODUCER: &str = concat!("urn:medallion:", env!("CARGO_PKG_VERSION"));
/// The version of the standard.
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
/// Where facets are defined.
const FACETS: &str = "https://openlineage.io/spec/facets";

/// Where the trace has files that feed landing tables, each under its path.
const FILES: &str = "files";

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Readers see it.
    Well,
    /// Nothing was published, and why.
    Badly(String),
}

/// What is told of a round.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it had ended.
    pub now: DateTime<Utc>,
    /// How.
    pub ended: Ended,
    /// What it changed, with how many rows.
    pub changed: &'a [(Name, u64)],
}

/// A relation as the descriptor has it: where it stands, its columns, what each comes from.
#[derive(Debug, Deserialize)]
struct Traced {
    layer: String,
    schema: String,
    name: String,
    columns: Vec<Column>,
    #[serde(default)]
    rows: Vec<Origin>,
}

/// A column: its name, its type, what it comes from.
#[derive(Debug, Deserialize)]
struct Column(String, String, Vec<Origin>);

/// What something comes from: a relation by its number, a column, and in which way.
#[derive(Debug, Deserialize)]
struct Origin(usize, String, String);

/// The events of a round, in their order.
pub fn events(warehouse: &Warehouse, namespaces: &Namespaces, said: &Said<'_>) -> Vec<Value> {
    let lineage: Vec<Traced> = serde_json::from_str(warehouse.lineage).unwrap_or_default();
    let numbers: BTreeMap<(&str, &str), usize> = (0..)
        .zip(&lineage)
        .filter(|(_, one)| one.layer != "source")
        .map(|(number, one)| ((one.schema.as_str(), one.name.as_str()), number))
        .collect();
    let feeds = warehouse.landings.iter().filter_map(|landing| landing.feed().map(|feed| feed.path.as_str()));
    let telling = Telling { namespaces, lineage: &lineage, feeds: feeds.collect(), said };
    let changed: Vec<(usize, u64)> = said
        .changed
        .iter()
        .filter_map(|(name, rows)| Some((*numbers.get(&(name.schema.as_str(), name.table.as_str()))?, *rows)))
        .collect();
    let whole = Uuid::new_v4();
    let mut events = vec![telling.of_whole("START", whole, warehouse.name)];
    for (number, rows) in changed {
        let run = Uuid::new_v4();
        events.push(telling.of_relation("START", run, (whole, warehouse.name), number, rows));
        events.push(telling.of_relation("COMPLETE", run, (whole, warehouse.name), number, rows));
    }
    let end = if said.ended == Ended::Well { "COMPLETE" } else { "FAIL" };
    events.push(telling.of_whole(end, whole, warehouse.name));
    events
}

struct Telling<'a> {
    namespaces: &'a Namespaces,
    lineage: &'a [Traced],
    /// The paths of the files that feed landing tables.
    feeds: BTreeSet<&'a str>,
    said: &'a Said<'a>,
}

impl Telling<'_> {
    fn event(&self, kind: &str, run: Value, job: Value, inputs: Vec<Value>, outputs: Vec<Value>) -> Value {
        let time = if kind == "START" { self.said.began } else { self.said.now };
        json!({
            "eventType": kind,
            "eventTime": time.to_rfc3339_opts(SecondsFormat::Micros, true),
            "run": run,
            "job": job,
            "inputs": inputs,
            "outputs": outputs,
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
        })
    }

    fn of_whole(&self, kind: &str, run: Uuid, warehouse: &str) -> Value {
        let mut facets = Map::new();
        if let (Ended::Badly(why), "FAIL") = (&self.said.ended, kind) {
            let fields = json!({ "message": why, "programmingLanguage": "rust" });
            facets.insert("errorMessage".to_owned(), facet("1-0-1/ErrorMessageRunFacet", fields));
        }
        let run = json!({ "runId": run.to_string(), "facets": facets });
        self.event(kind, run, self.job(warehouse, "PIPELINE"), Vec::new(), Vec::new())
    }

    fn of_relation(
        &self,
        kind: &str,
        run: Uuid,
        (whole, warehouse): (Uuid, &str),
        number: usize,
        rows: u64,
    ) -> Value {
        let one = &self.lineage[number];
        let parent = facet(
            "1-0-1/ParentRunFacet",
            json!({
                "run": { "runId": whole.to_string() },
                "job": { "namespace": self.namespaces.jobs, "name": warehouse },
            }),
        );
        let run = json!({ "runId": run.to_string(), "facets": { "parent": parent } });
        let job = self.job(&format!("{warehouse}.{}.{}", one.schema, one.name), "RELATION");
        let mut read: Vec<usize> = one
            .columns
            .iter()
            .flat_map(|column| &column.2)
            .chain(&one.rows)
            .map(|origin| origin.0)
            .filter(|other| *other != number && *other < self.lineage.len())
            .collect();
        read.sort_unstable();
        read.dedup();
        let inputs = read.into_iter().map(|other| {
            let mut dataset = self.dataset(other);
            dataset["facets"] = json!({ "schema": self.schema(other) });
            dataset
        });
        let mut output = self.dataset(number);
        output["facets"] = json!({ "schema": self.schema(number), "columnLineage": self.columns(number) });
        if kind == "COMPLETE" {
            let statistics = facet("1-0-2/OutputStatisticsOutputDatasetFacet", json!({ "rowCount": rows }));
            output["outputFacets"] = json!({ "outputStatistics": statistics });
        }
        self.event(kind, run, job, inputs.collect(), vec![output])
    }

    fn job(&self, name: &str, kind: &str) -> Value {
        let kind = json!({ "processingType": "BATCH", "integration": "MEDALLION", "jobType": kind });
        let kind = facet("2-0-3/JobTypeJobFacet", kind);
        json!({ "namespace": self.namespaces.jobs, "name": name, "facets": { "jobType": kind } })
    }

    /// A relation as a dataset.
    fn dataset(&self, number: usize) -> Value {
        let one = &self.lineage[number];
        if one.layer == "source" && one.schema == FILES && self.feeds.contains(one.name.as_str()) {
            let (namespace, root) = &self.namespaces.files;
            let name = [root.as_str(), place_of(&one.name)].into_iter().filter(|part| !part.is_empty());
            return json!({ "namespace": namespace, "name": name.collect::<Vec<_>>().join("/") });
        }
        let (namespace, database) = match one.layer.as_str() {
            "source" => &self.namespaces.source,
            _ => &self.namespaces.warehouse,
        };
        json!({ "namespace": namespace, "name": format!("{database}.{}.{}", one.schema, one.name) })
    }

    fn schema(&self, number: usize) -> Value {
        let field = |column: &Column| match column.1.as_str() {
            "" => json!({ "name": column.0 }),
            data_type => json!({ "name": column.0, "type": data_type }),
        };
        let fields: Vec<Value> = self.lineage[number].columns.iter().map(field).collect();
        facet("1-1-1/SchemaDatasetFacet", json!({ "fields": fields }))
    }

    /// Where a relation's columns come from; and what decides its rows, which is of them all.
    fn columns(&self, number: usize) -> Value {
        let one = &self.lineage[number];
        let fields = one
            .columns
            .iter()
            .map(|column| (column.0.clone(), json!({ "inputFields": self.inputs(&column.2) })));
        let fields: Map<String, Value> = fields.collect();
        let mut facets = json!({ "fields": fields });
        let rows = self.inputs(&one.rows);
        if !rows.is_empty() {
            facets["dataset"] = Value::from(rows);
        }
        facet("1-2-0/ColumnLineageDatasetFacet", facets)
    }

    /// The columns that something comes from, each with all the ways.
    fn inputs(&self, origins: &[Origin]) -> Vec<Value> {
        let mut columns: BTreeMap<(usize, &str), Vec<Value>> = BTreeMap::new();
        for Origin(relation, column, how) in origins.iter().filter(|one| one.0 < self.lineage.len()) {
            let direct = ["IDENTITY", "TRANSFORMATION", "AGGREGATION"].contains(&how.as_str());
            let kind = if direct { "DIRECT" } else { "INDIRECT" };
            columns.entry((*relation, column)).or_default().push(json!({ "type": kind, "subtype": how }));
        }
        let input = |((relation, column), ways): ((usize, &str), Vec<Value>)| {
            let mut input = self.dataset(relation);
            input["field"] = json!(column);
            input["transformations"] = Value::from(ways);
            input
        };
        columns.into_iter().map(input).collect()
    }
}

/// The file that a path means, or the folder that holds all that it means.
fn place_of(path: &str) -> &str {
    match path.find('*') {
        None => path,
        Some(at) => path[..at].rfind('/').map_or("", |slash| &path[..slash]),
    }
}

/// A facet, with who says so and where it is defined.
fn facet(kind: &str, mut fields: Value) -> Value {
    let name = kind.rsplit('/').next().unwrap_or(kind);
    fields["_producer"] = json!(PRODUCER);
    fields["_schemaURL"] = json!(format!("{FACETS}/{kind}.json#/$defs/{name}"));
    fields
}
