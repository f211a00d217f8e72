//! What a question that names nothing may have meant: a relation with a name like it, or the dimension where only its
//! current view was asked. Reads what PostgreSQL says, whose words differ by language: it goes by names alone.

use crate::descriptor::{SilverKind, Warehouse};
use crate::error::Error;

/// Names that differ by more letters than so many were hardly meant.
const NEAR: usize = 3;

/// The error, with the way out where the warehouse knows one.
pub(super) fn told(warehouse: &Warehouse, sql: &str, error: Error) -> Error {
    let said = error.to_string();
    let remedy = match error.sqlstate().as_deref() {
        Some("42P01") => quoted(&said).and_then(|name| {
            nearest(relations(warehouse), name).map(|near| format!("did you mean `{near}`?"))
        }),
        Some("42703") => ended(warehouse, sql, &said).map(|(column, dimension)| {
            format!("`{column}` is a column of a dimension's versions, by its own name: `{dimension}`")
        }),
        _ => None,
    };
    match remedy {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}

/// Whatever a question may name.
fn relations(warehouse: &Warehouse) -> impl Iterator<Item = &str> {
    let silver = warehouse.silver.iter().flat_map(|silver| {
        let current = match &silver.kind {
            SilverKind::Dimension { current, .. } => Some(current),
            SilverKind::Fact { .. } => None,
        };
        current.into_iter().chain([&silver.table])
    });
    let marts = warehouse.marts.iter().map(|mart| &mart.table);
    silver.chain(marts).filter(|name| name.schema != "medallion").map(|name| name.table.as_str())
}

/// What the server says is not there, without its schema.
fn quoted(said: &str) -> Option<&str> {
    let name = said.split('"').nth(1)?;
    name.rsplit('.').next()
}

fn nearest<'a>(known: impl Iterator<Item = &'a str>, said: &str) -> Option<&'a str> {
    let distances = known.map(|name| (strsim::damerau_levenshtein(name, said), name));
    // Who says a relation's very name is wrong about something else.
    distances.min().filter(|(distance, _)| (1..=NEAR).contains(distance)).map(|(_, name)| name)
}

/// The end of a period, which current views leave out, where that is what is not there; with the dimension that has it,
/// whose current view is asked.
fn ended<'w>(warehouse: &'w Warehouse, sql: &str, said: &str) -> Option<(&'w str, &'w str)> {
    warehouse.silver.iter().find_map(|silver| match &silver.kind {
        SilverKind::Dimension { current, end, .. }
            if has_word(said, end) && has_word(sql, &current.table) =>
        {
            Some((end.as_str(), silver.table.table.as_str()))
        }
        _ => None,
    })
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|one: char| !one.is_alphanumeric() && one != '_').any(|one| one == word)
}

#[cfg(test)]
mod tests {
    use super::{nearest, quoted};

    #[test]
    fn what_is_not_there_stands_in_quotes() {
        assert_eq!(quoted("relation \"dim_custmer\" does not exist"), Some("dim_custmer"));
        assert_eq!(quoted("« dim_custmer »"), None);
        assert_eq!(quoted("relation \"core.dim_custmer\" does not exist"), Some("dim_custmer"));
    }

    #[test]
    fn a_name_far_from_all_was_none_of_them() {
        let known = || ["dim_customer", "dim_film"].into_iter();
        assert_eq!(nearest(known(), "dim_custmer"), Some("dim_customer"));
        assert_eq!(nearest(known(), "pg_locks"), None);
        assert_eq!(nearest(known(), "dim_film"), None);
    }
}
