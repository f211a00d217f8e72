//! What can be a name in PostgreSQL, and which names meet. Knows no relation: only names, their places and
//! the namespaces that they stand in.

use std::collections::BTreeMap;
use std::ops::Range;

use super::report::Report;
use crate::finding::{Code, Finding};
use crate::spec::At;

/// The longest name that PostgreSQL keeps, in bytes.
pub(super) const LONGEST: usize = 63;

/// Whether a string can be a name at all; a finding where it cannot.
pub(super) fn check(name: &At<String>, what: &str, report: &mut Report<'_>) -> bool {
    let place = report.at(&name.span);
    if name.is_empty() {
        report.push(
            Finding::new(Code::InvalidName, format!("{what} has an empty name"), place)
                .label("a name has at least one character"),
        );
        return false;
    }
    if let Some(character) = name.chars().find(|character| character.is_control()) {
        let shown = character.escape_unicode();
        report.push(
            Finding::new(Code::InvalidName, format!("{what} has a control character in its name"), place)
                .label(format!("holds `{shown}`")),
        );
        return false;
    }
    if !check_tag(name, what, report) {
        return false;
    }
    if name.len() > LONGEST {
        report.push(
            Finding::new(Code::NameTooLong, format!("the name of {what} is too long"), place)
                .label(format!("{} bytes", name.len()))
                .help(format!("PostgreSQL keeps {LONGEST} bytes of a name")),
        );
        return false;
    }
    true
}

/// Whether a name can stand in a body between dollars.
pub(super) fn check_tag(name: &At<String>, what: &str, report: &mut Report<'_>) -> bool {
    let Some(tag) = tag(name) else { return true };
    report.push(
        Finding::new(
            Code::InvalidName,
            format!("{what} has a name that ends SQL bodies"),
            report.at(&name.span),
        )
        .label(format!("holds `{tag}`"))
        .help("leave one of the `$` out: two of them with nothing or a word between quote text"),
    );
    false
}

/// What would end a body between dollars, in which names stand as they are.
pub(super) fn tag(name: &str) -> Option<&str> {
    let dollars: Vec<usize> = name.match_indices('$').map(|(place, _)| place).collect();
    let between = dollars.windows(2).map(|two| (&name[two[0]..=two[1]], &name[two[0] + 1..two[1]]));
    let is_word = |text: &str| text.chars().all(|one| one.is_alphanumeric() || one == '_');
    between.into_iter().find(|(_, inner)| is_word(inner)).map(|(tag, _)| tag)
}

/// Whether the names that are derived from a name fit.
pub(super) fn check_derived(name: &At<String>, suffixes: &[(&str, &str)], report: &mut Report<'_>) {
    let longest = suffixes.iter().max_by_key(|(suffix, _)| suffix.len());
    let Some((suffix, what)) = longest.filter(|(suffix, _)| name.len() + suffix.len() > LONGEST) else {
        return;
    };
    if name.len() > LONGEST {
        return;
    }
    let place = report.at(&name.span);
    let most = LONGEST - suffix.len();
    report.push(
        Finding::new(Code::NameTooLong, format!("the name of {what} of `{}` is too long", name.value), place)
            .label(format!("{} bytes, and `{suffix}` follows", name.len()))
            .help(format!("PostgreSQL keeps {LONGEST} bytes of a name, so that {most} are left here")),
    );
}

/// Names that must differ from each other, in all cases of their letters.
#[derive(Default)]
pub(super) struct Namespace {
    taken: BTreeMap<String, Taken>,
    /// Partitioned tables, whose partitions are named after them as they come.
    partitioned: Vec<String>,
}

struct Taken {
    name: String,
    span: Option<Range<usize>>,
    what: String,
}

impl Namespace {
    /// Keeps a name from being given by a spec.
    pub(super) fn reserve(&mut self, name: &str, what: &str) {
        let taken = Taken { name: name.to_owned(), span: None, what: what.to_owned() };
        self.taken.insert(name.to_lowercase(), taken);
    }

    /// Keeps the names that a table's partitions will have.
    pub(super) fn keep_for_partitions(&mut self, table: &str) {
        self.partitioned.push(table.to_owned());
    }

    /// Looks for names that a partition may come to have: its table's, and a year.
    pub(super) fn check_partitions(&self, report: &mut Report<'_>) {
        for taken in self.taken.values() {
            let Some(span) = &taken.span else { continue };
            let of = self.partitioned.iter().find(|table| {
                let rest = taken.name.strip_prefix(table.as_str()).and_then(|rest| rest.strip_prefix('_'));
                rest.is_some_and(|rest| {
                    rest.len() >= 4 && rest.bytes().take(4).all(|byte| byte.is_ascii_digit())
                })
            });
            if let Some(table) = of {
                let place = report.at(span);
                let message = format!("`{}` is kept for a partition of `{table}`", taken.name);
                report.push(Finding::new(Code::ReservedName, message, place).help("choose another name"));
            }
        }
    }

    /// Gives a name that the spec says; a finding where it is taken.
    pub(super) fn declare(&mut self, name: &At<String>, what: &str, report: &mut Report<'_>) -> bool {
        self.give(&name.value, &name.span, what, what, report)
    }

    /// Gives a name that follows from another.
    pub(super) fn derive(
        &mut self,
        name: &str,
        from: &At<String>,
        what: &str,
        report: &mut Report<'_>,
    ) -> bool {
        let owner = format!("{what} of `{}`", from.value);
        self.give(name, &from.span, &owner, what, report)
    }

    fn give(
        &mut self,
        name: &str,
        span: &Range<usize>,
        owner: &str,
        what: &str,
        report: &mut Report<'_>,
    ) -> bool {
        let folded = name.to_lowercase();
        let Some(taken) = self.taken.get(&folded) else {
            let taken = Taken { name: name.to_owned(), span: Some(span.clone()), what: owner.to_owned() };
            self.taken.insert(folded, taken);
            return true;
        };
        let place = report.at(span);
        let finding = match &taken.span {
            None => Finding::new(Code::ReservedName, format!("`{name}` is {}", taken.what), place)
                .label(format!("taken; here it is {owner}"))
                .help("choose another name"),
            Some(first) if taken.name == name => {
                let message = format!("`{name}` is there twice");
                Finding::new(Code::DuplicateName, message, place)
                    .label(format!("here it is {what}"))
                    .also(report.at(first), format!("the first one, {}", taken.what))
            }
            Some(first) => {
                let message = format!("`{name}` and `{}` differ in case only", taken.name);
                Finding::new(Code::CaseCollision, message, place)
                    .label(format!("here it is {what}"))
                    .also(report.at(first), format!("the other one, {}", taken.what))
                    .help("unquoted, SQL takes them for the same name")
            }
        };
        report.push(finding);
        false
    }
}
