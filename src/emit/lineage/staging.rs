//! Where the columns of staging views come from, and what of that relations take that are fed from one. Knows landed
//! rows by their fields.

use std::collections::BTreeMap;

use super::{How, Layer, Origin, Origins, origin, query};
use crate::emit::sql;
use crate::model::{Column, ColumnFrom, Computed, Name, Silver, Staging, Warehouse};

/// A staging view.
pub(super) fn relation(staging: &Staging) -> super::Relation {
    let columns = staging.columns.iter().map(|column| super::Column {
        name: column.name.clone(),
        from: match &column.from {
            ColumnFrom::Field(field) => [origin(&staging.feed, field, How::Identity)].into(),
            ColumnFrom::Computed(computed) => made_of(&staging.feed, computed),
            ColumnFrom::Lookup { .. } | ColumnFrom::Composed(_) | ColumnFrom::Change(_) => Origins::new(),
        },
    });
    super::Relation {
        name: staging.name.clone(),
        layer: Layer::Silver,
        columns: columns.collect(),
        rows: counted(&staging.feed, staging.filter.as_ref()),
        exact: true,
    }
}

/// The fields of a landed row that a column reads.
pub(super) fn fields(from: &ColumnFrom) -> Vec<&str> {
    match from {
        ColumnFrom::Field(field) => vec![field],
        ColumnFrom::Computed(computed) => computed.inputs.iter().map(|input| input.field.as_str()).collect(),
        ColumnFrom::Lookup { .. } | ColumnFrom::Composed(_) | ColumnFrom::Change(_) => Vec::new(),
    }
}

/// What decides which landed rows count.
pub(super) fn counted(feed: &Name, filter: Option<&Computed>) -> Origins {
    let fields = filter.into_iter().flat_map(|filter| &filter.inputs);
    fields.map(|input| origin(feed, &input.field, How::Filter)).collect()
}

/// What a column's value comes from that is a relation's own: of the staging view that feeds it, else of the landed
/// row.
pub(super) fn own(silver: &Silver, column: &Column, warehouse: &Warehouse) -> Origins {
    let staging = silver.staging.as_ref();
    let staging = staging.and_then(|name| warehouse.stagings.iter().find(|one| one.name == *name));
    if let Some(staging) = staging {
        let alike = || staging.columns.iter().filter(|there| there.from == column.from);
        let taken = alike().find(|there| there.name == column.name).or_else(|| alike().next());
        if let Some(taken) = taken {
            return [origin(&staging.name, &taken.name, How::Identity)].into();
        }
    }
    match &column.from {
        ColumnFrom::Field(field) => [origin(&silver.feed, field, How::Identity)].into(),
        ColumnFrom::Computed(computed) => made_of(&silver.feed, computed),
        ColumnFrom::Lookup { .. } | ColumnFrom::Composed(_) | ColumnFrom::Change(_) => Origins::new(),
    }
}

/// The fields that go into an expression, each in its way.
fn made_of(feed: &Name, computed: &Computed) -> Origins {
    let names: Vec<&str> = computed.inputs.iter().map(|input| input.name.as_str()).collect();
    let known = BTreeMap::from([(feed.clone(), query::Table::stored(feed, &names))]);
    let asked = format!("SELECT {} AS \"made\" FROM {}", computed.sql, sql::relation(feed));
    let told = query::read(&asked, &known);
    let of_field = |one: Origin| {
        let input =
            one.column.as_ref().and_then(|name| computed.inputs.iter().find(|input| input.name == *name));
        Origin { column: input.map(|input| input.field.clone()), ..one }
    };
    super::strongest(told.column("made").into_iter().map(of_field).collect())
}
