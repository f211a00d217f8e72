//! One HTML page that explains a warehouse: lineage to the column, relations with their SQL and tests, and what a
//! database or a file of results says of its last runs. Complete in itself: no library, no request, and everything of
//! the spec escaped. Pure: what was observed is handed in. Knows no database and no clock.

mod chart;
mod layout;
mod observed;
mod relation;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use observed::{Fresh, Observed, Run, TestResult};

use self::relation::Relation;
pub(super) use self::relation::{Column, all as relations, rule};
use super::lineage::{self, Layer, Lineage};
use crate::model::Warehouse;

const STYLE: &str = include_str!("../../../templates/page/style.css");
const SCRIPT: &str = include_str!("../../../templates/page/script.js");

#[derive(Template)]
#[template(path = "page/page.html")]
struct PageHtml<'a> {
    warehouse: &'a Warehouse,
    policy: String,
    style: &'a str,
    script: &'a str,
    data: String,
    tiles: Vec<Tile>,
    relations: Vec<Relation>,
    layers: Vec<LayerList>,
    runs: Vec<&'a Run>,
    charts: Vec<chart::Chart>,
    landed: Option<&'a str>,
    attention: Vec<(usize, String, &'a TestResult)>,
    edges: usize,
}

/// A figure at the top.
struct Tile {
    figure: String,
    what: &'static str,
    tone: &'static str,
    time: bool,
}

/// The relations of a layer, by their numbers.
struct LayerList {
    title: &'static str,
    what: &'static str,
    relations: Vec<usize>,
}

/// The page.
pub fn page(warehouse: &Warehouse, observed: &Observed) -> String {
    let lineage = lineage::lineage(warehouse);
    let relations = relation::all(warehouse, &lineage, observed);
    let (data, edges) = graph(&lineage, &relations);
    let layers = layers(&relations);
    let attention = relations
        .iter()
        .flat_map(|one| one.tests.iter().map(|test| (one.number, test)))
        .filter_map(|(number, test)| {
            let result = observed.tests.get(&test.name)?;
            (result.status != "pass").then(|| (number, test.name.clone(), result))
        })
        .collect();
    let page = PageHtml {
        warehouse,
        policy: policy(),
        style: STYLE,
        script: SCRIPT,
        data,
        tiles: tiles(warehouse, observed),
        layers,
        runs: observed.runs.iter().rev().take(10).collect(),
        charts: chart::of_runs(&observed.runs),
        landed: observed.landed.as_deref(),
        attention,
        relations,
        edges,
    };
    let mut text = super::sql::render(&page);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// What the page may do: show its own style and run its own script, and nothing else.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn tiles(warehouse: &Warehouse, observed: &Observed) -> Vec<Tile> {
    let tile = |figure: String, what| Tile { figure, what, tone: "", time: false };
    let counted = |count: usize, one, many| tile(count.to_string(), if count == 1 { one } else { many });
    let marts = warehouse.marts.iter().filter(|mart| !mart.is_shown()).count();
    let shown = warehouse.marts.len() - marts;
    let views = warehouse.stagings.len() + warehouse.calendars.len() + warehouse.temporal_joins.len() + shown;
    let silver = warehouse.silver.len() + views;
    let mut tiles = vec![
        counted(warehouse.landings.len(), "landing table", "landing tables"),
        counted(silver, "silver relation", "silver relations"),
        counted(marts, "mart", "marts"),
    ];
    let ended = |status: &str| observed.tests.values().filter(|one| one.status == status).count();
    if observed.tests.is_empty() {
        tiles.push(counted(warehouse.tests.len(), "test of the data", "tests of the data"));
    } else {
        let bad = ended("fail") + ended("error");
        let (figure, what, tone) = match (bad, ended("warn")) {
            (0, 0) => (ended("pass"), "tests passed", "good"),
            (0, warned) => (warned, "tests warned", "warn"),
            (bad, _) => (bad, "tests failed", "bad"),
        };
        tiles.push(Tile { tone, ..tile(figure.to_string(), what) });
    }
    if let Some(run) = observed.runs.last() {
        let tone = match run.status.as_str() {
            "failed" => "bad",
            "succeeded" => "good",
            _ => "",
        };
        tiles.push(Tile { tone, ..tile(run.status.clone(), "last run") });
    }
    if let Some(time) = &observed.landed {
        tiles.push(Tile { time: true, ..tile(time.clone(), "landed up to") });
    }
    tiles
}

fn layers(relations: &[Relation]) -> Vec<LayerList> {
    let of = |title, what, layer| LayerList {
        title,
        what,
        relations: relations.iter().filter(|one| one.layer == layer).map(|one| one.number).collect(),
    };
    vec![
        of("Gold", "marts: measures by grain", Layer::Gold),
        of("Silver", "every version, every event", Layer::Silver),
        of("Bronze", "every change as it came", Layer::Bronze),
        of("Source", "the database that changes come from", Layer::Source),
    ]
}

/// What the script draws: relations with their places, columns with their origins, by number. Also how many
/// columns come from others.
fn graph(lineage: &Lineage, relations: &[Relation]) -> (String, usize) {
    let number = |name: &crate::model::Name| lineage.relations.iter().position(|one| one.name == *name);
    let places = layout::places(lineage);
    let mut edges = 0;
    let mut origins = |from: &lineage::Origins| -> Vec<Value> {
        let told = from.iter().filter_map(|one| {
            let relation = number(&one.relation)?;
            let columns = &lineage.relations[relation].columns;
            let column = match &one.column {
                Some(column) => {
                    i64::try_from(columns.iter().position(|known| known.name == *column)?).ok()?
                }
                None => -1,
            };
            Some(json!([relation, column, one.how as u8]))
        });
        let told: Vec<Value> = told.collect();
        edges += told.len();
        told
    };
    let nodes: Vec<Value> = lineage
        .relations
        .iter()
        .zip(relations)
        .zip(places)
        .map(|((one, relation), place)| {
            let columns = one.columns.iter().zip(&relation.columns);
            let columns: Vec<Value> = columns
                .map(|(column, shown)| {
                    let said = shown.description.as_deref().unwrap_or_default();
                    json!([column.name, origins(&column.from), shown.data_type, said])
                })
                .collect();
            json!({
                "name": relation.title,
                "path": relation.path,
                "layer": one.layer as u8,
                "kind": relation.kind,
                "said": relation.description.as_deref().unwrap_or_default(),
                "tone": relation.tone,
                "rank": place.rank,
                "y": place.y,
                "columns": columns,
                "rows": origins(&one.rows),
            })
        })
        .collect();
    // Within a script element nothing may look like a tag.
    let text = Value::from(nodes).to_string();
    (text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"), edges)
}
