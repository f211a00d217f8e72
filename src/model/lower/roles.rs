//! The roles that a warehouse brings. Knows names only: what a role may do follows from what there is.

use super::names::{self, Namespace};
use super::report::Report;
use crate::finding::{Code, Finding};
use crate::model::Roles;
use crate::spec::{self, At};

/// Words that PostgreSQL takes for something else than a role of that name, quoted or not.
const WORDS: [(&str, &str); 2] = [("none", "no role"), ("public", "everybody")];

pub(super) fn lower(written: &spec::Roles, report: &mut Report<'_>) -> Roles {
    let mut taken = Namespace::default();
    for (word, meaning) in WORDS {
        taken.reserve(word, meaning);
    }
    let mut role = |name: &Option<At<String>>, what: &str| {
        let name = name.as_ref()?;
        if names::check(name, what, report) && can_be_made(name, report) {
            taken.declare(name, what, report);
        }
        Some(name.value.clone())
    };
    Roles {
        loader: role(&written.loader, "the loader's role"),
        reader: role(&written.reader, "the reader's role"),
    }
}

/// Whether PostgreSQL makes a role of that name, and our way of asking it to holds.
fn can_be_made(name: &At<String>, report: &mut Report<'_>) -> bool {
    let place = report.at(&name.span);
    if name.starts_with("pg_") {
        let message = format!("`{}` is one of PostgreSQL's own names", name.value);
        report.push(
            Finding::new(Code::ReservedName, message, place)
                .label("roles in `pg_` are its own")
                .help("choose another name"),
        );
        return false;
    }
    if name.contains('$') {
        let message = format!("`{}` cannot be a role's name", name.value);
        report.push(Finding::new(Code::InvalidName, message, place).label("holds `$`"));
        return false;
    }
    true
}
