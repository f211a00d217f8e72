//! Where a column comes from that is computed of its relation's other columns: from where those come, in the way in which
//! they go into the expression.

use std::collections::BTreeMap;

use super::{Origin, Origins, query, strongest};
use crate::emit::sql;
use crate::model::{Column, Composed, Silver};

/// The origins of a column, given those of the others.
pub(super) fn origins(silver: &Silver, composed: &Composed, from: impl Fn(&Column) -> Origins) -> Origins {
    let names: Vec<&str> = composed.of.iter().map(String::as_str).collect();
    let known = BTreeMap::from([(silver.name.clone(), query::Table::stored(&silver.name, &names))]);
    let asked = format!("SELECT {} AS \"made\" FROM {}", composed.sql, sql::relation(&silver.name));
    let mut origins = Origins::new();
    for one in query::read(&asked, &known).column("made") {
        let column = one.column.as_ref().and_then(|name| silver.columns.iter().find(|own| own.name == *name));
        let of_column = column.map_or_else(Origins::new, &from).into_iter();
        origins.extend(of_column.map(|of| match of.how.is_direct() {
            true => Origin { how: of.how.max(one.how), ..of },
            false => of,
        }));
    }
    strongest(origins)
}
