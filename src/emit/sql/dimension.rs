//! The SQL of a dimension: every version of a row, its current view, and the ways to ask about the past.

use askama::Template;

use super::apart;
use super::asking;
use super::dress;
use super::lines::Lines;
use super::quote::{data_type, derived, identifier, identifiers, relation, remark};
use super::script::{Script, comment, comment_column, comment_function};
use super::versioning;
use crate::model::{
    Closed, Column, Dimension, Name, Nullability, Origin, Overlaps, Silver, TRAVEL_SCHEMA, Writes,
};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/20_silver/dimension.sql", escape = "none")]
struct DimensionSql {
    table: String,
    current_view: String,
    function: String,
    travel_view: String,
    travel_history: String,
    /// `"name" type NOT NULL`, without those of the period.
    definitions: Lines,
    names: Lines,
    /// The same, with a surrogate key that is not stored.
    shown: Lines,
    /// The index of one that is.
    surrogate: Option<(String, String)>,
    row_hash: String,
    start: String,
    end: String,
    key: String,
    primary_key: String,
    period_check: String,
    no_overlap: Option<NoOverlap>,
    current_index: String,
    period_index: Option<String>,
    lookups: Vec<LookupIndex>,
    versioning: Option<String>,
    asking: Option<String>,
    /// The tables, their indexes and triggers, where closed versions stand apart.
    apart: Option<String>,
}

/// The constraint by which the database refuses overlaps. A range of two columns serves every version of
/// PostgreSQL alike; `WITHOUT OVERLAPS`, new in 18, would take a column of its own for it.
struct NoOverlap {
    name: String,
    elements: Lines,
}

/// The index by which a changed lookup finds the rows that read it.
#[derive(Clone)]
pub(super) struct LookupIndex {
    pub(super) name: String,
    pub(super) columns: String,
    pub(super) alias: String,
}

pub(super) fn script(silver: &Silver, dimension: &Dimension) -> Script {
    let names = Names::of(silver, dimension);
    let constraint = |suffix: &str| identifier(&derived(&silver.name.name, suffix));
    // Reference data is small, and beside the point: it has what time travel needs.
    let declared = dimension.origin == Origin::Declared;
    let definition = DimensionSql {
        table: relation(&silver.name),
        current_view: relation(&dimension.current_view),
        function: relation(&names.function),
        travel_view: relation(&names.travel_view),
        travel_history: relation(&names.travel_history),
        definitions: dress::definition(dimension)
            .into_iter()
            .chain(silver.columns.iter().map(column_definition))
            .collect(),
        names: dress::names(silver, dimension).collect(),
        shown: dress::shown(silver, dimension).collect(),
        surrogate: dress::stored(dimension)
            .map(|surrogate| (constraint("surrogate_key"), identifier(&surrogate.name))),
        row_hash: identifier(&dimension.row_hash),
        start: identifier(&dimension.start),
        end: identifier(&dimension.end),
        key: identifiers(silver.key.iter().map(String::as_str)),
        primary_key: constraint("pkey"),
        period_check: constraint("period_check"),
        no_overlap: (dimension.overlaps == Overlaps::Refused)
            .then(|| no_overlap(silver, dimension, constraint("no_overlap"))),
        current_index: constraint("current_key"),
        period_index: declared.then(|| constraint("period_brin")),
        lookups: lookup_indexes(silver),
        versioning: (dimension.writes == Writes::Versioned && dimension.closed == Closed::Together)
            .then(|| versioning::definition(silver, dimension)),
        asking: declared.then(|| asking::definition(silver, dimension)),
        apart: (dimension.closed != Closed::Together).then(|| apart::definition(silver, dimension)),
    };
    let mut comments = comments(silver, dimension, &names);
    let mut drops = Vec::new();
    if dimension.closed != Closed::Together {
        comments.extend(apart::comments(silver));
    }
    if declared {
        comments.extend(asking::comments(silver, dimension));
        drops.extend(asking::drops(silver, dimension));
    }
    drops.extend([
        format!("DROP VIEW {};", relation(&names.travel_history)),
        format!("DROP VIEW {};", relation(&names.travel_view)),
        format!("DROP FUNCTION {}(timestamptz);", relation(&names.function)),
        format!("DROP VIEW {};", relation(&dimension.current_view)),
        format!("DROP TABLE {};", relation(&silver.name)),
    ]);
    if dimension.writes == Writes::Versioned {
        comments.extend(versioning::comments(silver, dimension));
        drops.extend(versioning::drops(silver, dimension));
    }
    Script::of_relation("20_silver", &silver.name, super::render(&definition))
        .commented(comments)
        .dropped_by(drops)
}

fn no_overlap(silver: &Silver, dimension: &Dimension, name: String) -> NoOverlap {
    let (start, end) = (identifier(&dimension.start), identifier(&dimension.end));
    let key = silver.key.iter().map(|column| format!("{} WITH =", identifier(column)));
    NoOverlap { name, elements: key.chain([format!("tstzrange({start}, {end}) WITH &&")]).collect() }
}

/// The functions by which it is asked about the past, each with the types of its parameters.
pub(super) fn functions(silver: &Silver, dimension: &Dimension) -> Vec<String> {
    let plain = format!("{}(timestamptz)", relation(&Names::of(silver, dimension).function));
    let asking = (dimension.origin == Origin::Declared).then(|| asking::functions(silver, dimension));
    std::iter::once(plain).chain(asking.into_iter().flatten()).collect()
}

struct Names {
    function: Name,
    travel_view: Name,
    travel_history: Name,
}

impl Names {
    fn of(silver: &Silver, dimension: &Dimension) -> Self {
        let view = &dimension.current_view;
        Self {
            function: Name::new(&view.schema, derived(&view.name, "as_of")),
            travel_view: Name::new(TRAVEL_SCHEMA, &view.name),
            travel_history: Name::new(TRAVEL_SCHEMA, &silver.name.name),
        }
    }
}

/// `"name" type NOT NULL`.
pub(super) fn column_definition(column: &Column) -> String {
    nullable_column(&column.name, &data_type(&column.data_type), column.nullability)
}

/// `"name" type NOT NULL`.
pub(super) fn nullable_column(name: &str, data_type: &str, nullability: Nullability) -> String {
    let constraint = match nullability {
        Nullability::Nullable => "",
        Nullability::NotNull => " NOT NULL",
    };
    format!("{} {data_type}{constraint}", identifier(name))
}

/// One index for each set of looked-up columns that no key begins with.
pub(super) fn lookup_indexes(silver: &Silver) -> Vec<LookupIndex> {
    let mut seen: Vec<Vec<&str>> = Vec::new();
    let mut indexes = Vec::new();
    for lookup in &silver.lookups {
        let columns: Vec<&str> = lookup.on.iter().map(|(own, _)| own.as_str()).collect();
        let key_begins_so = columns.len() <= silver.key.len()
            && columns.iter().zip(&silver.key).all(|(column, key)| *column == key.as_str());
        if key_begins_so || seen.contains(&columns) {
            continue;
        }
        indexes.push(LookupIndex {
            name: identifier(&derived(&silver.name.name, &format!("{}_idx", lookup.alias))),
            columns: identifiers(columns.iter().copied()),
            alias: remark(&lookup.alias),
        });
        seen.push(columns);
    }
    indexes
}

fn comments(silver: &Silver, dimension: &Dimension, names: &Names) -> Vec<String> {
    let (table, view) = (&silver.name, &dimension.current_view);
    let (of_table, of_view) = descriptions(silver, dimension);
    let described: Vec<_> = silver
        .columns
        .iter()
        .filter_map(|column| column.description.as_deref().map(|text| (&column.name, text)))
        .collect();
    let mut comments = vec![comment("TABLE", table, &of_table)];
    comments.extend(described.iter().map(|(column, text)| comment_column(table, column, text)));
    comments.extend(dress::comments(table, dimension));
    comments.push(comment_column(
        table,
        &dimension.row_hash,
        "The hash of the attributes that make a version.",
    ));
    comments.push(comment_column(table, &dimension.start, "Since when the row was so, in system time."));
    let end = "Until when the row was so; infinity in the current version.";
    comments.push(comment_column(table, &dimension.end, end));
    comments.push(comment("VIEW", view, &of_view));
    comments.extend(described.iter().map(|(column, text)| comment_column(view, column, text)));
    comments.push(comment_column(view, &dimension.start, "Since when the row is so, in system time."));
    let then = format!("`{}` as it was at a time; infinity means now.", view.name);
    comments.push(comment_function(&names.function, "timestamptz", &then));
    let travel = format!("`{}` as of the setting `medallion.as_of`.", view.name);
    comments.push(comment("VIEW", &names.travel_view, &travel));
    let travel = format!("The versions of `{}` known as of the setting `medallion.as_of`.", table.name);
    comments.push(comment("VIEW", &names.travel_history, &travel));
    comments
}

/// What is said of the table and of the current view: a dimension's description is about its versions, a
/// lookup's about what it shows.
pub(in crate::emit) fn descriptions(silver: &Silver, dimension: &Dimension) -> (String, String) {
    let versions = format!("Every version of `{}`.", dimension.current_view.name);
    let current = format!("The current versions of `{}`.", silver.name.name);
    match (dimension.origin, &silver.description) {
        (_, None) => (versions, current),
        (Origin::Declared, Some(description)) => (description.clone(), current),
        (Origin::Lookup, Some(description)) => (versions, description.clone()),
    }
}
