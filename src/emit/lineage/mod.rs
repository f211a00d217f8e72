//! Where each column's values come from, from the source's tables to the marts, and which columns decide which rows
//! there are. Exact, because the spec says it all: silver by its fields and lookups, marts by reading the very query
//! that defines them. Knows no page and no event, which show it.

mod composed;
mod query;
mod staging;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use super::sql;
use crate::model::{
    self, Change, ColumnFrom, Lookup, LookupTime, Made, Name, Part, Silver, SilverKind, Stretch, Tracking,
    Warehouse,
};

#[cfg(test)]
mod tests;

/// What a landed row says of its change besides the row itself.
const COMMITTED: &str = "commit_ts";

/// Where the columns of all relations come from. A relation comes after those that it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Tables of the source, landing tables, silver, joins over time, marts.
    pub relations: Vec<Relation>,
}

/// A relation, with where its columns come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Where it is stored; a table of the source as the source calls it.
    pub name: Name,
    /// Its layer.
    pub layer: Layer,
    /// Its columns; of a landing table, the fields of its rows that are read.
    pub columns: Vec<Column>,
    /// What decides which rows there are.
    pub rows: Origins,
    /// Whether all of it could be told.
    pub exact: bool,
}

/// The layer of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The OLTP database.
    Source,
    /// Landing tables.
    Bronze,
    /// Dimensions, facts, lookups, joins over time.
    Silver,
    /// Marts.
    Gold,
}

/// A column, with what its values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are made of, and what else decides them.
    pub from: Origins,
}

/// Columns that something comes from.
pub type Origins = BTreeSet<Origin>;

/// A column that something comes from, and in which way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The relation.
    pub relation: Name,
    /// The column; none where it is its rows that count, as in `count(*)`.
    pub column: Option<String>,
    /// In which way.
    pub how: How,
}

/// In which way something comes from a column. The words are OpenLineage's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It is the same value; casting it to the declared type counts as that.
    Identity,
    /// It is computed from the row's value.
    Transformation,
    /// It is computed from the values of many rows.
    Aggregation,
    /// Rows were joined by it.
    Join,
    /// Rows were grouped by it.
    GroupBy,
    /// Rows were left out by it.
    Filter,
    /// Rows were put into order by it, and cut.
    Sort,
    /// It says over which rows a window function looks.
    Window,
    /// It says which of several values counts.
    Conditional,
}

impl How {
    /// Whether the values themselves go in.
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Identity | Self::Transformation | Self::Aggregation)
    }

    /// OpenLineage's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Identity => "IDENTITY",
            Self::Transformation => "TRANSFORMATION",
            Self::Aggregation => "AGGREGATION",
            Self::Join => "JOIN",
            Self::GroupBy => "GROUP_BY",
            Self::Filter => "FILTER",
            Self::Sort => "SORT",
            Self::Window => "WINDOW",
            Self::Conditional => "CONDITIONAL",
        }
    }
}

/// Where everything in a warehouse comes from.
pub fn lineage(warehouse: &Warehouse) -> Lineage {
    let mut relations = sources(warehouse);
    relations.extend(landings(warehouse));
    relations.extend(warehouse.stagings.iter().map(staging::relation));
    let kept: Vec<Relation> = warehouse.silver.iter().map(|one| silver(one, warehouse)).collect();
    let mut known: BTreeMap<Name, query::Table> = BTreeMap::new();
    for calendar in &warehouse.calendars {
        let days = days(calendar);
        let columns: Vec<&str> = days.columns.iter().map(|column| column.name.as_str()).collect();
        known.insert(calendar.name.clone(), query::Table::stored(&calendar.name, &columns));
        relations.push(days);
    }
    for (one, relation) in warehouse.silver.iter().zip(&kept) {
        let columns: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        known.insert(one.name.clone(), query::Table::stored(&one.name, &columns));
        if let SilverKind::Dimension(dimension) = &one.kind {
            let shown: Vec<&str> = columns.iter().copied().filter(|name| *name != dimension.end).collect();
            known.insert(dimension.current_view.clone(), query::Table::stored(&one.name, &shown));
        }
    }
    relations.extend(kept);
    relations.extend(warehouse.temporal_joins.iter().map(|join| joined(join, warehouse)));
    for mart in &warehouse.marts {
        let columns: Vec<&str> =
            mart.grain.iter().chain(&mart.measures).map(|column| column.name.as_str()).collect();
        let told = query::read(&sql::present(mart, &warehouse.time_zone), &known);
        let columns_told = columns
            .iter()
            .map(|name| Column { name: (*name).to_owned(), from: strongest(told.column(name)) });
        relations.push(Relation {
            name: mart.name.clone(),
            layer: if mart.is_shown() { Layer::Silver } else { Layer::Gold },
            columns: columns_told.collect(),
            rows: told.rows.clone(),
            exact: told.exact,
        });
        known.insert(mart.name.clone(), query::Table::stored(&mart.name, &columns));
    }
    Lineage { relations }
}

/// Of several ways in which values of one column go in, the one that makes most of them.
fn strongest(origins: Origins) -> Origins {
    let stronger = |one: &Origin| {
        one.how.is_direct()
            && origins.iter().any(|other| {
                (&other.relation, &other.column) == (&one.relation, &one.column)
                    && other.how.is_direct()
                    && other.how > one.how
            })
    };
    origins.iter().filter(|one| !stronger(one)).cloned().collect()
}

/// The fields of each landing table's rows that somebody reads.
fn fields(warehouse: &Warehouse) -> BTreeMap<&Name, BTreeSet<&str>> {
    let mut fields: BTreeMap<&Name, BTreeSet<&str>> = BTreeMap::new();
    for landing in &warehouse.landings {
        fields.entry(&landing.name).or_default().extend(landing.key.iter().map(String::as_str));
    }
    let silver = warehouse.silver.iter().map(|one| (&one.feed, &one.columns, None));
    let staged = warehouse.stagings.iter().map(|one| (&one.feed, &one.columns, one.filter.as_ref()));
    for (feed, columns, filter) in silver.chain(staged) {
        let read = columns.iter().flat_map(|column| staging::fields(&column.from));
        let counted = filter.into_iter().flat_map(|filter| &filter.inputs);
        fields.entry(feed).or_default().extend(read.chain(counted.map(|input| input.field.as_str())));
    }
    fields
}

fn sources(warehouse: &Warehouse) -> Vec<Relation> {
    let fields = fields(warehouse);
    let mut tables: BTreeMap<&Name, BTreeSet<&str>> = BTreeMap::new();
    for landing in &warehouse.landings {
        tables.entry(&landing.source).or_default().extend(&fields[&landing.name]);
    }
    let relation = |(name, columns): (&Name, BTreeSet<&str>)| Relation {
        name: name.clone(),
        layer: Layer::Source,
        columns: columns
            .into_iter()
            .map(|column| Column { name: column.to_owned(), from: Origins::new() })
            .collect(),
        rows: Origins::new(),
        exact: true,
    };
    tables.into_iter().map(relation).collect()
}

fn landings(warehouse: &Warehouse) -> Vec<Relation> {
    let fields = fields(warehouse);
    let relation = |landing: &model::Landing| {
        let own = fields[&landing.name].iter().map(|field| Column {
            name: (*field).to_owned(),
            from: [origin(&landing.source, field, How::Identity)].into(),
        });
        let mut columns: Vec<Column> = own.collect();
        let fed = warehouse.silver.iter().filter(|silver| silver.feed == landing.name);
        let told = fed.flat_map(|silver| &silver.columns).filter_map(|column| match column.from {
            ColumnFrom::Change(change) => Some(told_by(change).0),
            _ => None,
        });
        let told: BTreeSet<&str> = told.collect();
        for name in std::iter::once(COMMITTED).chain(told) {
            if columns.iter().all(|column| column.name != name) {
                columns.push(Column { name: name.to_owned(), from: Origins::new() });
            }
        }
        Relation {
            name: landing.name.clone(),
            layer: Layer::Bronze,
            columns,
            rows: Origins::new(),
            exact: true,
        }
    };
    warehouse.landings.iter().map(relation).collect()
}

/// Days come from nowhere.
fn days(calendar: &model::Calendar) -> Relation {
    let columns = model::Calendar::columns().into_iter();
    let column = |(name, ..): (&str, _, _)| Column { name: name.to_owned(), from: Origins::new() };
    Relation {
        name: calendar.name.clone(),
        layer: Layer::Silver,
        columns: columns.map(column).collect(),
        rows: Origins::new(),
        exact: true,
    }
}

fn origin(relation: &Name, column: &str, how: How) -> Origin {
    Origin { relation: relation.clone(), column: Some(column.to_owned()), how }
}

fn silver(silver: &Silver, warehouse: &Warehouse) -> Relation {
    let own = |name: &str| {
        let column = silver.columns.iter().find(|column| column.name == name);
        let column = column.filter(|column| !matches!(column.from, ColumnFrom::Lookup { .. }));
        column.map_or_else(Origins::new, |column| staging::own(silver, column, warehouse))
    };
    // What a value was looked up by: the row's own columns, and what they were compared with.
    let found_by = |lookup: &Lookup| {
        let mut origins = Origins::new();
        let at = match &lookup.at {
            LookupTime::SystemTime => None,
            LookupTime::OwnTime(column) => Some(column.as_str()),
        };
        let named = lookup.on.iter().map(|(own, _)| own.as_str()).chain(at);
        origins.extend(named.flat_map(own).map(|one| Origin { how: How::Join, ..one }));
        origins.extend(lookup.on.iter().map(|(_, there)| origin(&lookup.relation, there, How::Join)));
        origins
    };
    let from = |of: &model::Column| match &of.from {
        ColumnFrom::Field(_) | ColumnFrom::Computed(_) => staging::own(silver, of, warehouse),
        ColumnFrom::Lookup { lookup, column } => {
            let lookup = silver.lookups.iter().find(|one| one.alias == *lookup);
            let lookup = lookup.expect("a column is looked up by an alias that is there");
            let mut origins = found_by(lookup);
            origins.insert(origin(&lookup.relation, column, How::Identity));
            origins
        }
        ColumnFrom::Change(change) => {
            let (landed, how) = told_by(*change);
            [origin(&silver.feed, landed, how)].into()
        }
        // Of what its columns come from, below.
        ColumnFrom::Composed(_) => Origins::new(),
    };
    let from = |of: &model::Column| match &of.from {
        ColumnFrom::Composed(composed) => composed::origins(silver, composed, from),
        _ => from(of),
    };
    let mut columns: Vec<Column> = silver
        .columns
        .iter()
        .map(|column| Column { name: column.name.clone(), from: from(column) })
        .collect();
    let time: Origins = [origin(&silver.feed, COMMITTED, How::Transformation)].into();
    match &silver.kind {
        SilverKind::Fact(fact) => columns.push(Column { name: fact.snapshot.clone(), from: time }),
        SilverKind::Dimension(dimension) => {
            let tracked = silver
                .columns
                .iter()
                .filter(|column| column.tracking == Tracking::Tracked && !silver.key.contains(&column.name));
            let hashed = tracked.flat_map(from).map(|one| match one.how {
                How::Identity => Origin { how: How::Transformation, ..one },
                _ => one,
            });
            if let Some(surrogate) = &dimension.surrogate {
                let parts = match &surrogate.made {
                    Made::Identity => &[][..],
                    Made::Hash(parts) => parts,
                };
                let of = parts.iter().flat_map(|part| match part {
                    Part::Column(name, _) => own(name),
                    Part::Start => time.clone(),
                });
                let of = of.map(|one| Origin { how: How::Transformation, ..one });
                let surrogate = Column { name: surrogate.name.clone(), from: of.collect() };
                columns.insert(0, surrogate);
            }
            columns.push(Column { name: dimension.row_hash.clone(), from: hashed.collect() });
            columns.push(Column { name: dimension.start.clone(), from: time.clone() });
            columns.push(Column { name: dimension.end.clone(), from: time });
        }
    }
    let rows = staging::counted(&silver.feed, silver.filter.as_ref());
    Relation { name: silver.name.clone(), layer: Layer::Silver, columns, rows, exact: true }
}

/// The column of a landing table that tells something of a change.
fn told_by(change: Change) -> (&'static str, How) {
    match change {
        Change::Operation => ("op", How::Transformation),
        Change::Letter => ("op", How::Identity),
        Change::Time => (COMMITTED, How::Identity),
        Change::Position => ("lsn", How::Identity),
        Change::Landed => ("load_ts", How::Identity),
        Change::Batch => ("load_ts", How::Transformation),
        Change::BatchId => ("lsn", How::Transformation),
    }
}

fn joined(join: &model::TemporalJoin, warehouse: &Warehouse) -> Relation {
    let by = |lookup: &Lookup| {
        let own = lookup.on.iter().map(|(own, _)| origin(&join.base, own, How::Join));
        own.chain(lookup.on.iter().map(|(_, there)| origin(&lookup.relation, there, How::Join)))
            .collect::<Vec<_>>()
    };
    let from = |column: &ColumnFrom| match column {
        ColumnFrom::Field(field) => [origin(&join.base, field, How::Identity)].into(),
        ColumnFrom::Computed(_) | ColumnFrom::Composed(_) => {
            unreachable!("a join shows columns, and computes none")
        }
        ColumnFrom::Lookup { lookup, column } => {
            let lookup = join.joins.iter().find(|one| one.alias == *lookup);
            let lookup = lookup.expect("a column is of something that is joined");
            [origin(&lookup.relation, column, How::Identity)].into()
        }
        ColumnFrom::Change(_) => unreachable!("a join over time shows columns of relations"),
    };
    let mut columns: Vec<Column> = join
        .columns
        .iter()
        .map(|column| Column { name: column.name.clone(), from: from(&column.of) })
        .collect();
    if let Stretch::Period { start, end } = &join.stretch {
        // It begins with the last of the versions to begin, and ends with the first to end.
        let parts = || std::iter::once(&join.base).chain(join.joins.iter().map(|one| &one.relation));
        let periods = parts().filter_map(|name| {
            let silver = warehouse.silver.iter().find(|silver| silver.name == *name)?;
            let SilverKind::Dimension(dimension) = &silver.kind else { return None };
            Some([&dimension.start, &dimension.end].map(|column| origin(name, column, How::Transformation)))
        });
        let from: Origins = periods.flatten().collect();
        columns.extend([start, end].map(|name| Column { name: name.clone(), from: from.clone() }));
    }
    Relation {
        name: join.name.clone(),
        layer: Layer::Silver,
        columns,
        rows: join.joins.iter().flat_map(by).collect(),
        exact: true,
    }
}
