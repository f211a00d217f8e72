//! A warehouse's files below `generated/src`, and those of the whole package that hold the warehouses.

use askama::Template;

use super::layout::{Expression, atom, call, owned, string, structure, tuple, vector};
use super::module::{self, Layer, Modules, as_versions};
use super::{data_test, landing, mart, module_name, silver};
use crate::emit::FileSet;
use crate::emit::sql::of_landed;
use crate::model::data_test::Rule;
use crate::model::{
    Alert, Deletes, DemoAction, DemoStep, Landing, Name, Plugin, RemovedPartitions, Scripts, Staging,
    Warehouse, Watched,
};

#[derive(Template)]
#[template(path = "generated/src/warehouse/mod.rs", escape = "none")]
struct WarehouseRs<'a> {
    mark: &'a str,
    doc: Vec<String>,
    spec_hash: &'a str,
    objects_hash: &'a str,
    body: String,
}

#[derive(Template)]
#[template(path = "generated/src/lib.rs", escape = "none")]
struct LibraryRs<'a> {
    mark: &'a str,
    modules: Vec<String>,
}

#[derive(Template)]
#[template(path = "generated/src/main.rs", escape = "none")]
struct BinaryRs<'a> {
    mark: &'a str,
    body: String,
}

/// The two hashes that keep a stale binary from a database.
pub(in crate::emit) struct Hashes {
    pub(in crate::emit) spec: String,
    pub(in crate::emit) objects: String,
}

/// Adds the files of one warehouse.
pub(in crate::emit) fn warehouse(warehouse: &Warehouse, hashes: &Hashes, mark: &str, files: &mut FileSet) {
    let folder = format!("generated/src/{}", module_name(&warehouse.name));
    for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
        let modules = Modules::seen_from(layer, warehouse);
        let enums = modules.enums();
        let folder = format!("{folder}/{}", layer.module());
        let entities = match layer {
            Layer::Bronze => warehouse
                .landings
                .iter()
                .map(|landing| landing::entity(landing, warehouse.is_bronze_apart))
                .collect(),
            Layer::Silver => {
                let stored = warehouse.silver.iter().flat_map(|one| silver::entities(one, &modules));
                let staged = warehouse.stagings.iter().map(silver::staged);
                let joined = warehouse.temporal_joins.iter().map(silver::joined);
                let days = warehouse.calendars.iter().map(silver::days);
                let shown = warehouse.marts.iter().filter(|one| one.is_shown());
                let shown = shown.map(|one| mart::entity(one, &modules, &warehouse.time_zone));
                stored.chain(staged).chain(days).chain(joined).chain(shown).collect::<Vec<_>>()
            }
            Layer::Gold => {
                let own = warehouse.marts.iter().filter(|one| !one.is_shown());
                own.map(|one| mart::entity(one, &modules, &warehouse.time_zone)).collect()
            }
        };
        for entity in entities {
            let path = format!("{folder}/{}.rs", modules.spelling(entity.name).snake);
            files.add(path, entity.write(&enums, mark));
        }
        files.add(format!("{folder}/mod.rs"), module::layer_module(layer, &modules, mark));
        files.add(format!("{folder}/prelude.rs"), module::prelude(layer, &modules, mark));
        if let Some(text) = module::enums_file(layer, &modules, mark) {
            files.add(format!("{folder}/{}.rs", module::ENUMS), text);
        }
    }
    files.add(format!("{folder}/lineage.rs"), super::lineage::file(warehouse, mark));
    files.add(format!("{folder}/mod.rs"), root(warehouse, hashes, mark));
}

/// The package's `lib.rs`.
pub(in crate::emit) fn library(warehouses: &[String], mark: &str) -> String {
    crate::emit::sql::render(&LibraryRs { mark, modules: module_identifiers(warehouses) })
}

/// The package's `main.rs`.
pub(in crate::emit) fn binary(warehouses: &[String], default: Option<&str>, mark: &str) -> String {
    let entries = warehouses.iter().map(|warehouse| {
        let module = raw(&module_name(warehouse));
        tuple(vec![atom(string(warehouse)), atom(format!("warehouse::{module}::warehouse"))])
    });
    let entries = Expression::List { open: "&[".to_owned(), items: entries.collect(), close: "]" };
    let body = call("cli::main", vec![entries, option(default)]);
    crate::emit::sql::render(&BinaryRs { mark, body: body.lay_out(4, 0, 0) })
}

/// The modules of warehouses, in the order that rustfmt keeps.
pub(super) fn module_identifiers(warehouses: &[String]) -> Vec<String> {
    let mut modules: Vec<String> = warehouses.iter().map(|warehouse| module_name(warehouse)).collect();
    modules.sort_by(|one, other| as_versions(one, other));
    modules.iter().map(|module| raw(module)).collect()
}

fn raw(module: &str) -> String {
    super::name::raw(module)
}

fn root(warehouse: &Warehouse, hashes: &Hashes, mark: &str) -> String {
    let described = warehouse.description.as_deref().unwrap_or("a medallion warehouse.");
    crate::emit::sql::render(&WarehouseRs {
        mark,
        doc: super::entity::doc(&format!("Warehouse `{}`: {described}", warehouse.name)),
        spec_hash: &hashes.spec,
        objects_hash: &hashes.objects,
        body: descriptor(warehouse).lay_out(4, 0, 0),
    })
}

fn descriptor(warehouse: &Warehouse) -> Expression {
    let mut schemas: Vec<&str> = Vec::new();
    for schema in [&warehouse.schemas.silver, &warehouse.schemas.gold] {
        if !schemas.contains(&schema.as_str()) {
            schemas.push(schema);
        }
    }
    let modules = Modules::seen_from(Layer::Bronze, warehouse);
    let entity = |layer: Layer, name, function: &str| {
        let module = modules.spelling(name).snake_identifier();
        atom(format!("{}::{module}::Entity::{function}()", layer.module()))
    };
    // Those that the source's changes feed come first: the runtime tells them by that.
    let (changes, others): (Vec<_>, Vec<_>) =
        warehouse.landings.iter().partition(|landing| landing.is_captured());
    let landings = changes.into_iter().chain(others);
    let landings = landings.map(|one| entity(Layer::Bronze, &one.name, "landing"));
    let stagings = warehouse.stagings.iter().filter(|one| is_looked_at_by_row(one, warehouse));
    let stagings = stagings.map(|one| staging(one, warehouse));
    let silver = warehouse.silver.iter().map(|one| entity(Layer::Silver, &one.name, "silver"));
    let marts = warehouse
        .marts
        .iter()
        .map(|one| entity(if one.is_shown() { Layer::Silver } else { Layer::Gold }, &one.name, "mart"));
    let tests = warehouse.tests.iter().map(|one| data_test::descriptor(one, &warehouse.time_zone));
    let migrator = format!("::migration::{}", raw(&module_name(&warehouse.name)));
    structure(
        "descriptor::Warehouse",
        vec![
            ("name", atom(string(&warehouse.name))),
            ("spec_hash", atom("SPEC_HASH")),
            ("objects_hash", atom("OBJECTS_HASH")),
            ("time_zone", atom(string(&warehouse.time_zone))),
            ("schemas", vector(schemas.into_iter().map(|schema| atom(string(schema))).collect())),
            ("source", source(warehouse)),
            ("landings", vector(landings.collect())),
            ("stagings", vector(stagings.collect())),
            ("silver", vector(silver.collect())),
            ("calendars", vector(warehouse.calendars.iter().map(|one| named(&one.name)).collect())),
            ("marts", vector(marts.collect())),
            ("tests", vector(tests.collect())),
            ("tags", vector(warehouse.tags.iter().map(tagged).collect())),
            ("migrations", atom(format!("{migrator}::migrations"))),
            ("refused", atom(format!("{migrator}::REFUSED"))),
            ("scripts", scripts(&warehouse.scripts, &warehouse.name)),
            ("demo", vector(warehouse.demo.iter().map(demo_step).collect())),
            ("lineage", atom("lineage::LINEAGE")),
            ("alerts", vector(warehouse.alerts.iter().map(alert).collect())),
        ],
    )
}

/// Whether a round looks at its rows, one by one: of what feeds nothing, nothing is published.
fn is_looked_at_by_row(staging: &Staging, warehouse: &Warehouse) -> bool {
    if warehouse.silver.iter().all(|silver| silver.feed != staging.feed) {
        return false;
    }
    let mut tests =
        warehouse.tests.iter().filter(|test| test.relation == staging.name && test.proof.is_none());
    tests.any(|test| matches!(test.rule, Rule::Each(_) | Rule::Relationship { .. }))
}

fn staging(staging: &Staging, warehouse: &Warehouse) -> Expression {
    structure(
        "descriptor::StagingView",
        vec![
            ("view", named(&staging.name)),
            ("landing", named(&staging.feed)),
            ("of_landed", atom(string(&of_landed(staging, warehouse)))),
        ],
    )
}

fn alert(alert: &Alert) -> Expression {
    let of = match alert.of {
        Watched::Lag => "Lag",
        Watched::Backlog => "Backlog",
        Watched::Unapplied => "Unapplied",
        Watched::Duplicates => "Duplicates",
        Watched::Quarantined => "Quarantined",
        Watched::Age => "Age",
    };
    let of = atom(format!("descriptor::Watched::{of}"));
    structure("descriptor::Alert", vec![("of", of), ("most", atom(alert.most.to_string()))])
}

fn named(name: &Name) -> Expression {
    call("descriptor::Name::new", vec![atom(string(&name.schema)), atom(string(&name.name))])
}

/// A relation's name, and the words to choose it by.
fn tagged((name, tags): (&String, &Vec<String>)) -> Expression {
    let tags: Vec<String> = tags.iter().map(|tag| string(tag)).collect();
    tuple(vec![atom(string(name)), atom(format!("&[{}]", tags.join(", ")))])
}

fn source(warehouse: &Warehouse) -> Expression {
    let source = &warehouse.source;
    let recorded_log =
        source.recorded_log.as_ref().map_or_else(|| atom("None"), |name| call("Some", vec![named(name)]));
    let keep_log = source.keep_log.map_or_else(
        || atom("None"),
        |seconds| {
            call("Some", vec![call("core::time::Duration::from_secs", vec![atom(seconds.to_string())])])
        },
    );
    let plugin = match source.plugin {
        Plugin::Pgoutput => "descriptor::Plugin::Pgoutput",
        Plugin::Wal2json => "descriptor::Plugin::Wal2json",
    };
    let removed_partitions = match source.removed_partitions {
        RemovedPartitions::Keep => "descriptor::RemovedPartitions::Keep",
        RemovedPartitions::Delete => "descriptor::RemovedPartitions::Delete",
    };
    structure(
        "descriptor::Source",
        vec![
            ("publication", owned(&source.publication)),
            ("slot", owned(&source.slot)),
            ("recorded_log", recorded_log),
            ("keep_log", keep_log),
            ("plugin", atom(plugin)),
            ("removed_partitions", atom(removed_partitions)),
            ("polling", polling(warehouse)),
        ],
    )
}

fn polling(warehouse: &Warehouse) -> Expression {
    let Some(polling) = &warehouse.source.polling else { return atom("None") };
    let seconds = |seconds: u64| call("core::time::Duration::from_secs", vec![atom(seconds.to_string())]);
    let watermarks = warehouse.landings.iter().filter_map(Landing::watermark).map(|one| {
        let deletes = match one.deletes {
            Deletes::Ignored => "descriptor::Deletes::Ignored",
            Deletes::Compared => "descriptor::Deletes::Compared",
        };
        let column = owned(&one.column);
        structure("descriptor::Watermark", vec![("column", column), ("deletes", atom(deletes))])
    });
    let polling = structure(
        "descriptor::Polling",
        vec![
            ("every", seconds(polling.every)),
            ("margin", seconds(polling.margin)),
            ("look_back", seconds(polling.look_back)),
            ("page", atom(polling.page.to_string())),
            ("compare_every", seconds(polling.compare_every)),
            ("watermarks", vector(watermarks.collect())),
        ],
    );
    call("Some", vec![polling])
}

fn scripts(scripts: &Scripts, warehouse: &str) -> Expression {
    let included = |script: &Option<String>, file: &str| match script {
        None => atom("None"),
        Some(_) => {
            let path = string(&format!("../../../spec/{warehouse}/{file}"));
            call("Some", vec![call("include_str!", vec![atom(path)])])
        }
    };
    structure(
        "descriptor::Scripts",
        vec![
            ("source", included(&scripts.source, "source.sql")),
            ("sample", included(&scripts.sample, "sample.sql")),
            ("traffic", included(&scripts.traffic, "traffic.sql")),
        ],
    )
}

fn demo_step(step: &DemoStep) -> Expression {
    let action = match &step.action {
        DemoAction::Nothing => atom("descriptor::DemoAction::Nothing"),
        DemoAction::Run => atom("descriptor::DemoAction::Run"),
        DemoAction::Source(sql) => call("descriptor::DemoAction::Source", vec![atom(string(sql))]),
        DemoAction::Query { sql, as_of } => structure(
            "descriptor::DemoAction::Query",
            vec![("sql", atom(string(sql))), ("as_of", option(as_of.as_deref()))],
        ),
    };
    structure("descriptor::DemoStep", vec![("say", atom(string(&step.say))), ("action", action)])
}

fn option(text: Option<&str>) -> Expression {
    text.map_or_else(|| atom("None"), |text| call("Some", vec![atom(string(text))]))
}
