//! The SQL of the roles that a spec asks for: what the loader and the reader may do, and nothing more. Names
//! every relation, so that a review sees all that a role may do on one page.

use askama::Template;

use super::lines::Lines;
use super::quote::{identifier, literal, relation, remark};
use super::script::Script;
use super::{dimension, feed, mart, versioning};
use crate::model::{Dimension, Fact, Name, Silver, SilverKind, Storage, TOOL_SCHEMA, TRAVEL_SCHEMA};
use crate::model::{Warehouse, Writes};
use crate::plan::Catalog;

const FOLDER: &str = "40_roles";

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_roles/role.sql", escape = "none")]
struct RoleSql {
    purpose: &'static str,
    role: String,
    role_literal: String,
    schemas: Lines,
    grants: Vec<GrantSql>,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_roles/everybody.sql", escape = "none")]
struct EverybodySql {
    functions: Lines,
}

struct GrantSql {
    why: &'static str,
    privileges: &'static str,
    /// ` FUNCTION`; of tables nothing.
    kind: &'static str,
    objects: Lines,
}

impl GrantSql {
    /// The same on another kind of object than tables.
    fn of(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

/// What answers for a time, in views and in questions.
const TIMES: [&str; 6] = [
    "as_of_time\"()",
    "now\"()",
    "since_horizon\"(timestamptz)",
    "time_of\"(bigint)",
    "time_of\"(pg_lsn)",
    "time_of\"(text)",
];

/// What the triggers of versioned dimensions call as the writer.
const VERSIONING: [&str; 9] = [
    "settling\"()",
    "stamp\"()",
    "wrote\"(xid)",
    "is_other\"(timestamptz, xid)",
    "is_given\"(bytea, bytea, bytea, timestamptz, timestamptz, timestamptz, timestamptz)",
    "notice\"(oid, text, text)",
    "refuse_period\"(regclass)",
    "refuse_conflict\"(regclass)",
    "whole\"(oid)",
];

/// What takes more than the loader may, done as the owner.
const LOADING: [&str; 7] = [
    "backfill\"()",
    "make_partition\"(regclass, name, text, text)",
    "index_versions\"(regclass, name, text[])",
    "analyze\"(regclass)",
    "refresh\"(regclass)",
    "retain\"()",
    "fold_apart\"(timestamptz, bigint)",
];

/// What everybody may not do, and may, as the other scripts say beside each object: said once more, for a restore may
/// have lost it there.
pub(super) fn everybody(scripts: &[Script]) -> Script {
    let closing = scripts.iter().filter(|script| script.definition.contains("FROM PUBLIC"));
    let closing = closing.map(|script| (script.title.as_str(), script.definition.as_str()));
    let read = Catalog::read(closing).expect("the tool reads what it has written");
    let closed = read.grants.into_iter().filter(|(_, grant)| !grant.given && grant.role == "PUBLIC");
    let definition =
        super::render(&EverybodySql { functions: closed.map(|(_, grant)| grant.object).collect() });
    Script {
        folder: FOLDER,
        object: "everybody".to_owned(),
        title: format!("{TOOL_SCHEMA}: everybody"),
        definition: definition.trim().to_owned(),
        comments: Vec::new(),
        // It goes with the functions.
        drops: Vec::new(),
    }
}

/// The scripts of the roles that there are.
pub(super) fn scripts(warehouse: &Warehouse) -> Vec<Script> {
    let loader = warehouse.roles.loader.as_deref().map(|role| loader(warehouse, role));
    let reader = warehouse.roles.reader.as_deref().map(|role| reader(warehouse, role));
    loader.into_iter().chain(reader).collect()
}

fn loader(warehouse: &Warehouse, role: &str) -> Script {
    let layers = &warehouse.schemas;
    let names = |names: &[&str]| names.iter().map(|name| tool(name)).collect::<Vec<_>>();
    let versioned = || dimensions(warehouse).filter(|(_, kind)| kind.writes == Writes::Versioned);
    let stored =
        |wanted: fn(&Storage) -> bool| warehouse.marts.iter().filter(move |one| wanted(&one.storage));
    let tables = || stored(Storage::is_table);
    let refreshed = stored(|storage| storage.is_kept() && !storage.is_table());
    let grants = vec![
        grant(
            "What has landed is added to, and never changed.",
            "SELECT, INSERT",
            warehouse.landings.iter().map(|landing| relation(&landing.name)).collect(),
        ),
        grant("What cannot land is kept aside.", "SELECT, INSERT", vec![tool("quarantine")]),
        grant(
            "Versions begin and end. Those that have ended stay as they are, but for repair: triggers see to it.",
            "SELECT, INSERT, UPDATE, DELETE",
            dimensions(warehouse).map(|(silver, _)| relation(&silver.name)).collect(),
        ),
        grant(
            "What others write to dimensions counts as well.",
            "SELECT",
            versioned().map(|(silver, _)| relation(&versioning::journal(silver))).collect(),
        ),
        grant(
            "The latest states of events are replaced, and the earlier ones kept, which stay likewise.",
            "SELECT, INSERT, UPDATE, DELETE",
            facts(warehouse)
                .flat_map(|(silver, fact)| [relation(&silver.name), relation(&fact.archive)])
                .collect(),
        ),
        grant(
            "Marts are brought up to what they are defined to be.",
            "SELECT, INSERT, UPDATE, DELETE",
            tables().map(|one| relation(&one.name)).collect(),
        ),
        grant(
            "Their definitions, and those that a function refreshes.",
            "SELECT",
            tables()
                .flat_map(|one| {
                    let groups = mart::has_groups(one).then(|| mart::groups_view(one));
                    std::iter::once(mart::definition_view(one)).chain(groups)
                })
                .map(|view| relation(&view))
                .chain(refreshed.map(|one| relation(&one.name)))
                .collect(),
        ),
        grant(
            "The bookkeeping of a run.",
            "SELECT, INSERT, UPDATE",
            names(&["pipeline_metadata", "source_position", "captured_table", "watermark"]),
        ),
        grant(
            "Which files have landed.",
            "SELECT, INSERT, UPDATE",
            if feed::has_any(warehouse) { names(&["landed_file"]) } else { Vec::new() },
        ),
        grant(
            "What others landed is noted until it is applied.",
            "SELECT, INSERT, DELETE",
            names(&["late_change"]),
        ),
        grant(
            "Tests look at what is current, and at what is never stored.",
            "SELECT",
            dimensions(warehouse)
                .map(|(_, kind)| relation(&kind.current_view))
                .chain(warehouse.stagings.iter().map(|one| relation(&one.name)))
                .chain(warehouse.calendars.iter().map(|one| relation(&one.name)))
                .chain(stored(|storage| !storage.is_kept()).map(|one| relation(&one.name)))
                .collect(),
        ),
        grant(
            "What tests found wrong is kept, until they find something else.",
            "SELECT, INSERT, DELETE",
            names(&["failed_row"]),
        ),
        grant(
            "What the warehouse is, and no longer is.",
            "SELECT",
            names(&["column_since", "erasure", "guard_switch", "horizon", "warehouse"]),
        ),
        grant(
            "What cannot be computed is left out.",
            "SELECT, INSERT, DELETE",
            warehouse.stagings.first().map(|_| tool("misfit")).into_iter().collect(),
        ),
        grant("What it writes, as of any time.", "SELECT", travelling(warehouse)),
        grant("What a migration has left to do.", "SELECT, DELETE", names(&["recompute"])),
        grant(
            "What takes more than that is a function of the owner's.",
            "EXECUTE",
            tool_functions(&LOADING).collect(),
        )
        .of(" FUNCTION"),
        grant(
            "Triggers fire as the writer, who may call what they call.",
            "EXECUTE",
            tool_functions(&["backfilling\"()"])
                .chain(versioned().next().into_iter().flat_map(|_| tool_functions(&VERSIONING)))
                .chain(versioned().map(|(silver, kind)| versioning::hash_signature(silver, kind)))
                .collect(),
        )
        .of(" FUNCTION"),
        times(),
        past(warehouse),
        types(warehouse),
    ];
    let schemas = [TOOL_SCHEMA, &layers.bronze, &layers.silver, &layers.gold, TRAVEL_SCHEMA];
    script(role, "loader", "The loader runs the pipeline", &schemas, grants)
}

fn reader(warehouse: &Warehouse, role: &str) -> Script {
    let layers = &warehouse.schemas;
    let own = dimensions(warehouse).filter(|(silver, _)| silver.name.schema != TOOL_SCHEMA);
    let reference = dimensions(warehouse).filter(|(silver, _)| silver.name.schema == TOOL_SCHEMA);
    let views = dimensions(warehouse).map(|(_, kind)| relation(&kind.current_view));
    let grants = vec![
        grant(
            "Silver: every version, what is current, and the latest states of events.",
            "SELECT",
            own.map(|(silver, _)| relation(&silver.name))
                .chain(views)
                .chain(facts(warehouse).map(|(silver, _)| relation(&silver.name)))
                .collect(),
        ),
        grant(
            "The history behind reference data, which its functions read in the reader's name.",
            "SELECT",
            reference.map(|(silver, _)| relation(&silver.name)).collect(),
        ),
        grant(
            "What has landed, typed and cleaned.",
            "SELECT",
            warehouse.stagings.iter().map(|one| relation(&one.name)).collect(),
        ),
        grant("Calendars.", "SELECT", warehouse.calendars.iter().map(|one| relation(&one.name)).collect()),
        grant(
            "What is joined over time.",
            "SELECT",
            warehouse.temporal_joins.iter().map(|one| relation(&one.name)).collect(),
        ),
        grant("Gold.", "SELECT", warehouse.marts.iter().map(|one| relation(&one.name)).collect()),
        grant("All of it as of any time.", "SELECT", travelling(warehouse)),
        grant("Which warehouse it is, and from when on.", "SELECT", vec![tool("horizon"), tool("warehouse")]),
        times(),
        past(warehouse),
        types(warehouse),
    ];
    let schemas = [TOOL_SCHEMA, &layers.silver, &layers.gold, TRAVEL_SCHEMA];
    script(role, "reader", "The reader asks", &schemas, grants)
}

/// A function that a view calls is called by whoever reads the view.
fn times() -> GrantSql {
    grant("What views and questions ask for a time.", "EXECUTE", tool_functions(&TIMES).collect())
        .of(" FUNCTION")
}

fn past(warehouse: &Warehouse) -> GrantSql {
    let functions = dimensions(warehouse).flat_map(|(silver, kind)| dimension::functions(silver, kind));
    grant("What answers about the past of a dimension.", "EXECUTE", functions.collect()).of(" FUNCTION")
}

fn types(warehouse: &Warehouse) -> GrantSql {
    let types = warehouse.enums.iter().map(|kind| relation(&kind.name));
    grant("Of whose values temporary tables are made.", "USAGE", types.collect()).of(" TYPE")
}

/// What schema `as_of` shows.
fn travelling(warehouse: &Warehouse) -> Vec<String> {
    let dimensions =
        dimensions(warehouse).flat_map(|(silver, kind)| [&kind.current_view.name, &silver.name.name]);
    let names = dimensions
        .chain(facts(warehouse).map(|(silver, _)| &silver.name.name))
        .chain(warehouse.stagings.iter().map(|one| &one.name.name))
        .chain(warehouse.calendars.iter().map(|one| &one.name.name))
        .chain(warehouse.temporal_joins.iter().map(|one| &one.name.name))
        .chain(warehouse.marts.iter().map(|one| &one.name.name));
    names.map(|name| relation(&Name::new(TRAVEL_SCHEMA, name))).collect()
}

fn script(
    role: &str,
    object: &str,
    purpose: &'static str,
    schemas: &[&str],
    mut grants: Vec<GrantSql>,
) -> Script {
    grants.retain(|grant| !grant.objects.is_empty());
    let definition = super::render(&RoleSql {
        purpose,
        role: identifier(role),
        role_literal: literal(role),
        schemas: schemas.iter().map(|schema| identifier(schema)).collect(),
        grants,
    });
    Script {
        folder: FOLDER,
        object: object.to_owned(),
        title: remark(&format!("{object}: {role}")),
        definition: definition.trim().to_owned(),
        comments: Vec::new(),
        // What else was granted goes with the objects.
        drops: vec![
            format!(
                "DO $$\nBEGIN\n    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM %I', \
                 current_database(), {});\nEND\n$$;",
                literal(role)
            ),
            format!("REVOKE ALL ON SCHEMA {} FROM {};", identifier(TOOL_SCHEMA), identifier(role)),
        ],
    }
}

fn grant(why: &'static str, privileges: &'static str, objects: Vec<String>) -> GrantSql {
    GrantSql { why, privileges, kind: "", objects: objects.into_iter().collect() }
}

fn dimensions(warehouse: &Warehouse) -> impl Iterator<Item = (&Silver, &Dimension)> {
    warehouse.silver.iter().filter_map(|silver| match &silver.kind {
        SilverKind::Dimension(dimension) => Some((silver, dimension)),
        SilverKind::Fact(_) => None,
    })
}

fn facts(warehouse: &Warehouse) -> impl Iterator<Item = (&Silver, &Fact)> {
    warehouse.silver.iter().filter_map(|silver| match &silver.kind {
        SilverKind::Fact(fact) => Some((silver, fact)),
        SilverKind::Dimension(_) => None,
    })
}

/// Functions of the tool's, by what follows the opening quote of their names.
fn tool_functions(functions: &[&str]) -> impl Iterator<Item = String> {
    functions.iter().map(|function| format!("{}.\"{function}", identifier(TOOL_SCHEMA)))
}

fn tool(name: &str) -> String {
    relation(&Name::new(TOOL_SCHEMA, name))
}
