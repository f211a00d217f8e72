//! The SQL of what every warehouse has: schemas, enumerated types, the tool's own tables and functions.

use askama::Template;

use super::feed;
use super::lines::Lines;
use super::quote::{identifier, literal, relation};
use super::script::Script;
use crate::model::{Enum, Overlaps, SilverKind, TOOL_SCHEMA, TRAVEL_SCHEMA, Warehouse};

const FOLDER: &str = "00_medallion";

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/schemas.sql", escape = "none")]
struct SchemasSql {
    schemas: Vec<String>,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/types.sql", escape = "none")]
struct TypesSql {
    enums: Vec<EnumSql>,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/btree_gist.sql", escape = "none")]
struct BtreeGistSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/roles.sql", escape = "none")]
struct RolesSql {
    roles: Vec<RoleSql>,
}

struct RoleSql {
    name: String,
    literal: String,
}

struct EnumSql {
    name: String,
    values: Lines,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/warehouse.sql", escape = "none")]
struct WarehouseSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/pipeline_metadata.sql", escape = "none")]
struct PipelineMetadataSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/source_position.sql", escape = "none")]
struct SourcePositionSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/captured_table.sql", escape = "none")]
struct CapturedTableSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/quarantine.sql", escape = "none")]
struct QuarantineSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/failed_row.sql", escape = "none")]
struct FailedRowSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/index_versions.sql", escape = "none")]
struct IndexVersionsSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/watermark.sql", escape = "none")]
struct WatermarkSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/erasure.sql", escape = "none")]
struct ErasureSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/horizon.sql", escape = "none")]
struct HorizonSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/since_horizon.sql", escape = "none")]
struct SinceHorizonSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/as_of_time.sql", escape = "none")]
struct AsOfTimeSql {
    time_zone: String,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/time_of.sql", escape = "none")]
struct TimeOfSql {
    /// The time of the last transaction in each landing table.
    last: Vec<String>,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/now.sql", escape = "none")]
struct NowSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/refuse_change.sql", escape = "none")]
struct RefuseChangeSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/loading.sql", escape = "none")]
struct LoadingSql {
    silver: String,
    silver_literal: String,
    gold: String,
    analyzed: String,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/versioning.sql", escape = "none")]
struct VersioningSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/late_change.sql", escape = "none")]
struct LateChangeSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/evolution.sql", escape = "none")]
struct EvolutionSql;

pub(super) fn scripts(warehouse: &Warehouse) -> Vec<Script> {
    let mut scripts = vec![schemas(warehouse)];
    if !warehouse.enums.is_empty() {
        scripts.push(types(&warehouse.enums));
    }
    if refuses_overlaps(warehouse) {
        scripts.push(btree_gist());
    }
    if feed::has_any(warehouse) {
        scripts.push(table("landed_file", &feed::LandedFileSql::of(warehouse)));
    }
    scripts.extend([
        table("warehouse", &WarehouseSql),
        table("pipeline_metadata", &PipelineMetadataSql),
        table("source_position", &SourcePositionSql),
        table("captured_table", &CapturedTableSql),
        table("quarantine", &QuarantineSql),
        table("failed_row", &FailedRowSql),
        table("watermark", &WatermarkSql),
        table("horizon", &HorizonSql),
        table("erasure", &ErasureSql),
        late_change(),
        evolution(),
        function("since_horizon(timestamptz)", &SinceHorizonSql),
        function("as_of_time()", &AsOfTimeSql { time_zone: literal(&warehouse.time_zone) }),
        function("now()", &NowSql),
        refuse_change(),
        versioning(),
        loading(warehouse),
        own("index_versions", super::render(&IndexVersionsSql)).dropped_by(vec![
            "DROP FUNCTION \"medallion\".\"index_versions\"(regclass, name, text[]);".to_owned(),
        ]),
    ]);
    let roles = [&warehouse.roles.loader, &warehouse.roles.reader];
    let roles: Vec<&str> = roles.into_iter().flatten().map(String::as_str).collect();
    if !roles.is_empty() {
        scripts.push(self::roles(&roles));
    }
    scripts
}

/// What tells the time of a position, by the landing tables. It comes after them.
pub(super) fn time_of(warehouse: &Warehouse) -> Script {
    let last = warehouse.landings.iter().map(|landing| {
        let table = relation(&landing.name);
        format!("(SELECT \"commit_ts\" FROM {table} WHERE \"lsn\" <= $1 ORDER BY \"lsn\" DESC LIMIT 1)")
    });
    let drops = ["text", "pg_lsn", "bigint"];
    own("time_of", super::render(&TimeOfSql { last: last.collect() })).dropped_by(
        drops.map(|position| format!("DROP FUNCTION \"medallion\".\"time_of\"({position});")).to_vec(),
    )
}

/// The tool's own schema stays when the others go, for the table of applied migrations stands in it.
fn schemas(warehouse: &Warehouse) -> Script {
    let layers = &warehouse.schemas;
    let mut schemas = Vec::new();
    for schema in [TOOL_SCHEMA, &layers.bronze, &layers.silver, &layers.gold, TRAVEL_SCHEMA] {
        if !schemas.contains(&schema) {
            schemas.push(schema);
        }
    }
    let says = [
        (TOOL_SCHEMA, "What medallion keeps for itself: bookkeeping, reference data, archives."),
        (TRAVEL_SCHEMA, "Silver and gold as of the setting `medallion.as_of`."),
    ];
    let comments = says
        .iter()
        .map(|(schema, text)| format!("COMMENT ON SCHEMA {} IS {};", identifier(schema), literal(text)));
    let drops = schemas.iter().rev().filter(|schema| **schema != TOOL_SCHEMA);
    let drops = drops.map(|schema| format!("DROP SCHEMA {};", identifier(schema)));
    let unsaid = format!("COMMENT ON SCHEMA {} IS NULL;", identifier(TOOL_SCHEMA));
    let quoted = schemas.iter().map(|schema| identifier(schema)).collect();
    own("schemas", super::render(&SchemasSql { schemas: quoted }))
        .commented(comments.collect())
        .dropped_by(drops.chain([unsaid]).collect())
}

/// The extension goes if it came with the warehouse.
fn btree_gist() -> Script {
    let drop = [
        "DO $$",
        "BEGIN",
        "    IF EXISTS (",
        "        SELECT",
        "        FROM pg_extension",
        "        WHERE extname = 'btree_gist'",
        "        AND extnamespace = '\"medallion\"'::regnamespace",
        "    ) THEN",
        "        DROP EXTENSION \"btree_gist\";",
        "    END IF;",
        "END",
        "$$;",
    ];
    own("btree_gist", super::render(&BtreeGistSql)).dropped_by(vec![drop.join("\n")])
}

/// Whether some dimension asks for the extension that an exclusion constraint takes.
fn refuses_overlaps(warehouse: &Warehouse) -> bool {
    warehouse.silver.iter().any(|silver| match &silver.kind {
        SilverKind::Dimension(dimension) => dimension.overlaps == Overlaps::Refused,
        SilverKind::Fact(_) => false,
    })
}

fn types(enums: &[Enum]) -> Script {
    let written = enums.iter().map(|kind| EnumSql {
        name: relation(&kind.name),
        values: kind.values.iter().map(|value| literal(value)).collect(),
    });
    let drops = enums.iter().rev().map(|kind| format!("DROP TYPE {};", relation(&kind.name)));
    own("types", super::render(&TypesSql { enums: written.collect() })).dropped_by(drops.collect())
}

/// The roles themselves, which no way back drops: others may use them.
fn roles(names: &[&str]) -> Script {
    let roles = names.iter().map(|name| RoleSql { name: identifier(name), literal: literal(name) });
    own("roles", super::render(&RolesSql { roles: roles.collect() }))
}

/// What the loader and every versioned dimension call.
fn versioning() -> Script {
    let drops = [
        "FUNCTION \"medallion\".\"refuse_truncate\"()",
        "FUNCTION \"medallion\".\"refuse_closed\"(regclass, text)",
        "FUNCTION \"medallion\".\"go_by_index\"()",
        "FUNCTION \"medallion\".\"shifted\"(regclass, timestamptz)",
        "FUNCTION \"medallion\".\"refuse_unseen\"(regclass, timestamptz)",
        "FUNCTION \"medallion\".\"refuse_other\"()",
        "FUNCTION \"medallion\".\"refuse_conflict\"(regclass)",
        "FUNCTION \"medallion\".\"refuse_period\"(regclass)",
        "FUNCTION \"medallion\".\"mark_ending\"(timestamptz)",
        "SEQUENCE \"medallion\".\"latest_ending\"",
        "FUNCTION \"medallion\".\"met\"(oid, text)",
        "FUNCTION \"medallion\".\"notice\"(oid, text, text)",
        "FUNCTION \"medallion\".\"whole\"(oid)",
        "TABLE \"medallion\".\"noticed\"",
        "FUNCTION \"medallion\".\"is_given\"(bytea, bytea, bytea, timestamptz, timestamptz, timestamptz, timestamptz)",
        "FUNCTION \"medallion\".\"is_other\"(timestamptz, xid)",
        "FUNCTION \"medallion\".\"wrote\"(xid)",
        "FUNCTION \"medallion\".\"stamp\"()",
        "FUNCTION \"medallion\".\"settling\"()",
        "FUNCTION \"medallion\".\"backfilling\"()",
        "FUNCTION \"medallion\".\"backfill\"()",
    ];
    let mut drops: Vec<String> = drops.iter().map(|object| format!("DROP {object};")).collect();
    drops.push("REVOKE USAGE ON SCHEMA \"medallion\" FROM PUBLIC;".to_owned());
    own("versioning", super::render(&VersioningSql)).dropped_by(drops)
}

/// What keeps landing tables append only, and the way past it.
fn refuse_change() -> Script {
    let drops = ["refuse_change", "pruning", "prune"];
    own("refuse_change", super::render(&RefuseChangeSql))
        .dropped_by(drops.iter().map(|name| format!("DROP FUNCTION \"medallion\".\"{name}\"();")).collect())
}

/// What the loader calls, and what keeps it from more.
fn loading(warehouse: &Warehouse) -> Script {
    let layers = &warehouse.schemas;
    let schema = |name: &str| literal(&identifier(name));
    let analyzed = [layers.silver.as_str(), &layers.gold, TOOL_SCHEMA];
    let analyzed: Vec<String> =
        analyzed.iter().map(|name| format!("{}::regnamespace", schema(name))).collect();
    let drops = [
        "\"keep_history\"()",
        "\"refresh\"(regclass)",
        "\"analyze\"(regclass)",
        "\"make_partition\"(regclass, name, text, text)",
    ];
    own(
        "loading",
        super::render(&LoadingSql {
            silver: schema(&layers.silver),
            silver_literal: literal(&layers.silver),
            gold: schema(&layers.gold),
            analyzed: analyzed.join(", "),
        }),
    )
    .dropped_by(drops.iter().map(|name| format!("DROP FUNCTION \"medallion\".{name};")).collect())
}

/// What others than the loader land is noted, by a trigger on every landing table.
fn late_change() -> Script {
    let drops = ["DROP FUNCTION \"medallion\".\"note_late\"();", "DROP TABLE \"medallion\".\"late_change\";"];
    own("late_change", super::render(&LateChangeSql)).dropped_by(drops.map(str::to_owned).to_vec())
}

/// What migrations leave for the runs that follow.
fn evolution() -> Script {
    let drops = ["DROP TABLE \"medallion\".\"column_since\";", "DROP TABLE \"medallion\".\"recompute\";"];
    own("evolution", super::render(&EvolutionSql)).dropped_by(drops.map(str::to_owned).to_vec())
}

pub(super) fn table(name: &str, template: &impl Template) -> Script {
    let drop = format!("DROP TABLE {}.{};", identifier(TOOL_SCHEMA), identifier(name));
    own(name, super::render(template)).dropped_by(vec![drop])
}

/// A function by its name and the types of its parameters.
fn function(signature: &str, template: &impl Template) -> Script {
    let (name, parameters) = signature.split_once('(').expect("a signature has parentheses");
    let drop = format!("DROP FUNCTION {}.{}({parameters};", identifier(TOOL_SCHEMA), identifier(name));
    own(name, super::render(template)).dropped_by(vec![drop])
}

/// A script of the tool's own objects; its template ends with the comments.
fn own(object: &str, text: String) -> Script {
    let (comments, definition): (Vec<&str>, Vec<&str>) =
        text.trim().lines().partition(|line| line.starts_with("COMMENT ON "));
    Script {
        folder: FOLDER,
        object: object.to_owned(),
        title: format!("{TOOL_SCHEMA}: {object}"),
        definition: definition.join("\n").trim().to_owned(),
        comments: comments.into_iter().map(str::to_owned).collect(),
        drops: Vec::new(),
    }
}
