//! The SQL of retention: the function that folds what is older than the policy keeps, and the tables that take
//! it where it is archived. Knows the model only; how far it goes is the function's to tell.

use std::collections::BTreeSet;

use askama::Template;

use super::landing;
use super::lines::Lines;
use super::quote::{data_type, derived, identifier, identifiers, literal, relation, remark};
use super::script::{Script, comment, comment_column};
use super::versioning;
use crate::model::{
    ColumnFrom, Dimension, Landing, Name, Older, Retention, Silver, SilverKind, TOOL_SCHEMA, Unit, Warehouse,
    Writes,
};

const FOLDER: &str = "40_keeping";
const FUNCTION: &str = "\"medallion\".\"retain\"()";

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_keeping/whole.sql", escape = "none")]
struct WholeSql;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_keeping/retention.sql", escape = "none")]
struct RetentionSql {
    archives: Vec<ArchiveSql>,
    exempt: Vec<String>,
    time_zone: String,
    keep: String,
    landings: Vec<String>,
    journals: Vec<PruneSql>,
    landed: Vec<PruneSql>,
    ended: Vec<PruneSql>,
}

struct ArchiveSql {
    name_literal: String,
    archive_literal: String,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_keeping/pruned.sql", escape = "none")]
struct PrunedSql {
    archive: String,
    definitions: Lines,
}

struct PruneSql {
    of: Of,
    why: &'static str,
    label: String,
    statement: String,
}

/// What is pruned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Journals,
    Landed,
    Ended,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_keeping/landing.sql", escape = "none")]
struct LandingSql {
    name: String,
    label: String,
    key: String,
    /// Whether a relation may leave out what landed, for it cannot be computed.
    leaves_out: bool,
    archive: Option<String>,
    returned: Lines,
    gone: Lines,
    columns: Lines,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_keeping/journal.sql", escape = "none")]
struct JournalSql {
    name: String,
    feed: String,
    start: String,
    key: String,
    entry_key: Lines,
    entry_keys: String,
    change_key: Lines,
    positions: String,
    /// The relation's name, where it may leave out what landed, for it cannot be computed.
    leaves_out: Option<String>,
    archive: Option<String>,
    returned: Lines,
    gone: Lines,
    columns: Lines,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_keeping/closed.sql", escape = "none")]
struct ClosedSql {
    name: String,
    end: String,
    archive: Option<String>,
    returned: Lines,
    gone: Lines,
    columns: Lines,
}

/// A table that is pruned, the relation that it belongs to, and the columns that it has, each with its type.
struct Pruned<'a> {
    name: Name,
    of: &'a Name,
    columns: Vec<(String, String)>,
}

impl Pruned<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }
}

/// Every function, a caller before what it calls.
const FUNCTIONS: [(&str, &str); 6] = [
    ("\"medallion\".\"pruned\"()", "The tables that take what is pruned."),
    (
        "\"medallion\".\"fold_apart\"(timestamptz, bigint)",
        "Folds bronze where it stands by itself; for the loader.",
    ),
    (FUNCTION, "Folds what is older than the policy keeps; for the loader."),
    ("\"medallion\".\"fold_landed\"(bigint, timestamptz)", "Folds what landed up to a position and a time."),
    (
        "\"medallion\".\"last_landed\"(timestamptz)",
        "The last position at or before a time that has been applied.",
    ),
    ("\"medallion\".\"kept_since\"()", "From when on the policy keeps all."),
];

/// The script of retention. The tables that take what is pruned belong to the relations that it is pruned from, and
/// are renamed and altered with them.
pub(super) fn script(warehouse: &Warehouse, others: &mut [Script]) -> Script {
    let Retention::Since { count, unit, older } = warehouse.retention else {
        let whole = [
            FUNCTIONS[0],
            (FUNCTIONS[1].0, "Folds nothing: all of the past is kept."),
            (FUNCTION, "Folds nothing: all of the past is kept."),
        ];
        return own(super::render(&WholeSql), &whole);
    };
    let policy = Policy { warehouse, older, exempt: warehouse.kept_whole() };
    let mut archives = Vec::new();
    let prunes = policy.prunes(|table| {
        let archive = archive(&table.name);
        let title = remark(&format!("{}.{}", table.of.schema, table.of.name));
        if let Some(script) = others.iter_mut().find(|script| script.title == title) {
            let says = format!("What was pruned from `{}`.", table.name.name);
            let columns = table.columns.iter();
            let sql = PrunedSql {
                archive: relation(&archive),
                definitions: columns
                    .map(|(name, data_type)| format!("{} {data_type}", identifier(name)))
                    .collect(),
            };
            script.definition.push_str(&format!("\n\n{}", super::render(&sql).trim()));
            script.comments.push(comment("TABLE", &archive, &says));
            script.comments.push(comment_column(&archive, "pruned_at", "When."));
            script.drops.push(format!("DROP TABLE {};", relation(&archive)));
        }
        archives.push(ArchiveSql {
            name_literal: literal(&relation(&table.name)),
            archive_literal: literal(&relation(&archive)),
        });
    });
    let (journals, rest): (Vec<_>, Vec<_>) = prunes.into_iter().partition(|one| one.of == Of::Journals);
    let (landed, ended) = rest.into_iter().partition(|one| one.of == Of::Landed);
    let definition = RetentionSql {
        archives,
        exempt: policy.exempt.iter().map(|name| remark(&name.name)).collect(),
        time_zone: literal(&warehouse.time_zone),
        keep: literal(&format!("{count} {}", word(unit))),
        landings: warehouse.landings.iter().map(|landing| relation(&landing.name)).collect(),
        journals,
        landed,
        ended,
    };
    own(super::render(&definition), &FUNCTIONS)
}

fn own(definition: String, functions: &[(&str, &str)]) -> Script {
    let comment =
        |(function, says): &(&str, &str)| format!("COMMENT ON FUNCTION {function} IS {};", literal(says));
    let drops = functions.iter().map(|(function, _)| format!("DROP FUNCTION {function};")).collect();
    let comments = functions.iter().rev().map(comment).collect();
    Script {
        folder: FOLDER,
        object: "retention".to_owned(),
        title: format!("{TOOL_SCHEMA}: retention"),
        definition: definition.trim().to_owned(),
        comments,
        drops,
    }
}

struct Policy<'a> {
    warehouse: &'a Warehouse,
    older: Older,
    exempt: BTreeSet<&'a Name>,
}

impl Policy<'_> {
    /// Every table that is pruned, and how. Journals first: what came after a write past the feed tells whether
    /// it still counts, and goes next.
    fn prunes(&self, mut archived: impl FnMut(&Pruned<'_>)) -> Vec<PruneSql> {
        let silver = || self.warehouse.silver.iter().filter(|silver| !self.exempt.contains(&silver.name));
        let mut prunes = Vec::new();
        let mut add =
            |of, why, table: Pruned<'_>, statement: &dyn Fn(&Pruned<'_>, Option<String>) -> String| {
                let archive = (self.older == Older::Archived).then(|| {
                    archived(&table);
                    relation(&archive(&table.name))
                });
                let label = label(&table.name);
                let statement = statement(&table, archive).trim().to_owned();
                prunes.push(PruneSql { of, why, label, statement });
            };
        for silver in silver() {
            if let SilverKind::Dimension(dimension) = &silver.kind
                && dimension.writes == Writes::Versioned
            {
                let why =
                    "Of a key's writes past the feed the last one stays, unless a change came after it.";
                add(Of::Journals, why, journal_table(silver, dimension), &|table, archive| {
                    journal(silver, dimension, table, archive)
                });
            }
        }
        for landing in &self.warehouse.landings {
            let kept = |silver: &Silver| silver.feed == landing.name && self.exempt.contains(&silver.name);
            if self.warehouse.silver.iter().any(kept) {
                continue;
            }
            let columns =
                landing::COLUMNS.iter().zip(LANDED).map(|((name, _), data_type)| typed(name, data_type));
            let table = Pruned { name: landing.name.clone(), of: &landing.name, columns: columns.collect() };
            let why = "Of a key's changes the last one stays, unless the row was gone after it.";
            let leaves_out =
                self.warehouse.silver.iter().any(|one| one.feed == landing.name && one.staging.is_some());
            add(Of::Landed, why, table, &|table, archive| changes(landing, leaves_out, table, archive));
        }
        for silver in silver() {
            let (name, end, added) = match &silver.kind {
                SilverKind::Dimension(kind) => {
                    let period = [typed(&kind.start, "timestamptz"), typed(&kind.end, "timestamptz")];
                    (&silver.name, &kind.end, [typed(&kind.row_hash, "bytea")].into_iter().chain(period))
                }
                SilverKind::Fact(_) => continue,
            };
            let columns = surrogate(silver).into_iter().chain(columns(silver)).chain(added).collect();
            let table = Pruned { name: name.clone(), of: name, columns };
            add(Of::Ended, "Versions that ended by then go.", table, &|table, archive| {
                closed(table, end, archive)
            });
        }
        for silver in silver() {
            let SilverKind::Fact(fact) = &silver.kind else { continue };
            let period = [super::ARCHIVE_START, super::ARCHIVE_END].map(|name| typed(name, "timestamptz"));
            let columns = columns(silver).chain(period).collect();
            let table = Pruned { name: fact.archive.clone(), of: &silver.name, columns };
            add(Of::Ended, "States that ended by then go.", table, &|table, archive| {
                closed(table, super::ARCHIVE_END, archive)
            });
        }
        prunes
    }
}

fn changes(landing: &Landing, leaves_out: bool, table: &Pruned<'_>, archive: Option<String>) -> String {
    let key = landing.key.iter().map(|field| format!("change.\"full_row\" -> {}", literal(field)));
    super::render(&LandingSql {
        name: relation(&table.name),
        label: label(&table.name),
        key: key.collect::<Vec<_>>().join(", "),
        leaves_out,
        archive,
        returned: of("change", table),
        gone: of("gone", table),
        columns: table.names().map(identifier).collect(),
    })
}

fn journal(silver: &Silver, dimension: &Dimension, table: &Pruned<'_>, archive: Option<String>) -> String {
    let key = || silver.key.iter().map(String::as_str);
    let entry_key = || key().map(|name| format!("entry.{}", identifier(name)));
    let positions: Vec<String> = (1..=silver.key.len()).map(|number| number.to_string()).collect();
    super::render(&JournalSql {
        name: relation(&table.name),
        feed: relation(&silver.feed),
        start: identifier(&dimension.start),
        key: identifiers(key()),
        entry_key: entry_key().collect(),
        entry_keys: entry_key().collect::<Vec<_>>().join(", "),
        change_key: key().map(|name| landed(silver, name)).collect(),
        positions: positions.join(", "),
        leaves_out: silver.staging.is_some().then(|| label(&silver.name)),
        archive,
        returned: of("entry", table),
        gone: of("gone", table),
        columns: table.names().map(identifier).collect(),
    })
}

fn closed(table: &Pruned<'_>, end: &str, archive: Option<String>) -> String {
    super::render(&ClosedSql {
        name: relation(&table.name),
        end: identifier(end),
        archive,
        returned: of("closed", table),
        gone: of("gone", table),
        columns: table.names().map(identifier).collect(),
    })
}

/// A column's value in a landed row, which a key's columns have all of them.
fn landed(silver: &Silver, name: &str) -> String {
    let column = silver.columns.iter().find(|column| column.name == name).expect("a key's columns are there");
    let field = match &column.from {
        ColumnFrom::Field(field) => field.as_str(),
        ColumnFrom::Lookup { .. }
        | ColumnFrom::Computed(_)
        | ColumnFrom::Composed(_)
        | ColumnFrom::Change(_) => name,
    };
    format!(
        "(change.\"full_row\" ->> {})::{} AS {}",
        literal(field),
        data_type(&column.data_type),
        identifier(name)
    )
}

fn journal_table<'a>(silver: &'a Silver, dimension: &Dimension) -> Pruned<'a> {
    let own = [
        ("journal_id", "bigint"),
        ("journal_op", "char(1)"),
        ("journal_by", "text"),
        ("journal_xid", "xid8"),
    ];
    let own = own.map(|(name, data_type)| typed(name, data_type));
    let columns = own.into_iter().chain(columns(silver)).chain([typed(&dimension.start, "timestamptz")]);
    Pruned { name: versioning::journal(silver), of: &silver.name, columns: columns.collect() }
}

/// The types of a landing table's columns.
const LANDED: [&str; 6] = ["bigint", "char(1)", "jsonb", "timestamptz", "timestamptz", "bigint"];

fn typed(name: &str, data_type: &str) -> (String, String) {
    (name.to_owned(), data_type.to_owned())
}

fn surrogate(silver: &Silver) -> Option<(String, String)> {
    let SilverKind::Dimension(dimension) = &silver.kind else { return None };
    super::dress::stored(dimension).map(|surrogate| typed(&surrogate.name, "bigint"))
}

fn columns(silver: &Silver) -> impl Iterator<Item = (String, String)> {
    silver.columns.iter().map(|column| (column.name.clone(), data_type(&column.data_type)))
}

fn of(alias: &str, table: &Pruned<'_>) -> Lines {
    table.names().map(|name| format!("{alias}.{}", identifier(name))).collect()
}

/// A table's name as the tool's tables say it.
fn label(name: &Name) -> String {
    literal(&format!("{}.{}", name.schema, name.name))
}

/// The table that takes what is pruned from a table.
fn archive(name: &Name) -> Name {
    Name::new(TOOL_SCHEMA, derived(&name.name, "pruned"))
}

fn word(unit: Unit) -> &'static str {
    match unit {
        Unit::Day => "days",
        Unit::Week => "weeks",
        Unit::Month => "months",
        Unit::Quarter => "quarters",
        Unit::Year => "years",
    }
}
