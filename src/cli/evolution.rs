//! What the spec has to say before the next migration can be written, shown at its place in the spec, with the
//! lines to write.

use std::ops::Range;

use super::Error;
use crate::emit::Unable;
use crate::finding::{Code, Finding, Findings, Span};
use crate::model::{ARCHIVE, HISTORY, JOURNAL, Name, TOOL_SCHEMA};
use crate::plan::Hazard;
use crate::plan::decision::Undecided;
use crate::spec::{self, At, Files};

/// Why there is no next migration, where the spec is not what is wrong.
pub(super) fn unable(unable: Unable) -> Error {
    match unable {
        Unable::Impossible { table, why } => Error::new(
            format!("{table} cannot be migrated: {why}"),
            "declare a relation of another name beside it, or begin anew: `medallion generate --squash`, then \
             `medallion migrate fresh`",
        ),
        Unable::Changed { path, what } => Error::new(
            format!("`{path}` {what}, and a migration is written once"),
            "bring it back as it was, and change the spec: the change becomes a migration of its own",
        ),
        other => Error::new(other.to_string(), "report it, with the spec"),
    }
}

/// So many findings are those of a draft that is put right, rather than of one thing that changes.
const MANY: usize = 5;

/// What is said behind many findings, which one word may answer.
pub(super) fn anew<'f>(all: impl IntoIterator<Item = &'f Findings>) -> Option<&'static str> {
    let count: usize = all.into_iter().map(|findings| findings.list().len()).sum();
    (count >= MANY).then_some(
        "where no database has the warehouse yet, `medallion generate --squash` begins anew and asks none of this",
    )
}

/// So many names are shown that something may be called by now.
const LIKELY: usize = 3;

/// The findings, each at the relation that it is about, else at the warehouse's name.
pub(super) fn findings(undecided: &[Undecided], files: &Files) -> Findings {
    let spec = spec::parse(files).value;
    // A lookup is one thing in the spec, and two tables.
    let lookups_landing = |one: &&Undecided| {
        matches!(one, Undecided::Drop { relation, .. } | Undecided::Archive { relation }
            if relation.schema == TOOL_SCHEMA && relation.name.ends_with("_cdc"))
    };
    let told = undecided.iter().filter(|one| !lookups_landing(one));
    let list = told.map(|one| finding(one, &spec, files)).collect();
    Findings::new(list, files.texts())
}

/// What may have been meant, the likeliest of it where that is much.
fn nearest<'a>(perhaps: &'a [String], before: &str) -> Vec<&'a String> {
    let mut names: Vec<&String> = perhaps.iter().collect();
    if names.len() > LIKELY {
        names.sort_by_key(|name| strsim::damerau_levenshtein(name, before));
        names.truncate(LIKELY);
    }
    names
}

fn finding(undecided: &Undecided, spec: &spec::Warehouse, files: &Files) -> Finding {
    match undecided {
        Undecided::Drop { relation, column, perhaps } => {
            let declared = declared(relation, spec);
            let name = declared.map_or_else(|| bare(relation), |name| name.value.clone());
            let what = column.as_ref().map_or_else(|| name.clone(), |column| format!("{name}.{column}"));
            let place = place(column.as_ref().and(declared), spec, files);
            let message = format!("`{what}` would go, with all that it holds");
            let mut finding = Finding::new(Code::UnallowedDrop, message, place)
                .label(match column {
                    Some(column) => format!("had a column `{column}` when the last migration was written"),
                    None => format!("had `{name}` when the last migration was written"),
                })
                .help(format!("to let it go, write under `[allow_drop]`: `{}`", why(&what)))
                .line("[allow_drop]", why(&what));
            if column.is_none() {
                let anew =
                    "where no database holds it yet, `medallion generate --squash` begins anew without it";
                finding = finding.help(anew);
            }
            let before = column.as_deref().map_or_else(|| bare(relation), str::to_owned);
            for now in nearest(perhaps, &before) {
                let now = now
                    .strip_suffix("_hist")
                    .filter(|_| before == bare(relation) && is_lookup(now, spec))
                    .unwrap_or(now);
                let line = format!("renamed_from = \"{}\"", escaped(&before));
                let place = if column.is_some() { format!("{name}.{now}") } else { now.to_owned() };
                finding = finding.help(format!("if it is `{now}` now, say there `{line}`")).line(place, line);
            }
            finding
        }
        Undecided::Journal { relation } => {
            let name = bare(relation);
            let place = place(declared(relation, spec), spec, files);
            let message = format!("what others have written into `{name}` would go, with its journal");
            let what = why(&format!("{name}.{JOURNAL}"));
            Finding::new(Code::UnallowedDrop, message, place)
                .label("was versioned when the last migration was written, whoever wrote it")
                .help(format!("to let it go, write under `[allow_drop]`: `{what}`"))
                .help("to keep it, say there `system_versioning = true`")
                .line("[allow_drop]", what)
                .line(name, "system_versioning = true")
        }
        Undecided::Archive { relation } => {
            let name = bare(relation);
            let place = place(declared(relation, spec), spec, files);
            let message = format!("what was pruned from `{name}` would go, with the archive that keeps it");
            let what = why(&format!("{name}.{ARCHIVE}"));
            Finding::new(Code::UnallowedDrop, message, place)
                .label(
                    "had an archive when the last migration was written, and nothing else has what is in it",
                )
                .help(format!("to let it go, write under `[allow_drop]`: `{what}`"))
                .help("to keep it, leave `then = \"archive\"` under `[retention]`")
                .line("[allow_drop]", what)
        }
        Undecided::Kind { relation, kinds: [before, now] } => {
            let name = bare(relation);
            let place = place(declared(relation, spec), spec, files);
            let message = format!(
                "`{name}` would become a {now}, and what it keeps of its past as a {before} would go"
            );
            let what = why(&format!("{name}.{HISTORY}"));
            Finding::new(Code::UnallowedDrop, message, place)
                .label(format!("was a {before} when the last migration was written"))
                .help(format!("to let that go, and begin anew from what has landed, write under `[allow_drop]`: `{what}`"))
                .help(format!("to keep it, leave it a {before}, and declare the {now} beside it under another name"))
                .line("[allow_drop]", what)
        }
        Undecided::History { relation, feeds: [before, now] } => {
            let name = bare(relation);
            let place = place(declared(relation, spec), spec, files);
            let message =
                format!("`{name}` would be computed anew from `{now}`: what only `{before}` knows would go");
            let what = why(&format!("{name}.{HISTORY}"));
            Finding::new(Code::UnallowedDrop, message, place)
                .label(format!("was fed by `{before}` when the last migration was written"))
                .help(format!("to let that go, write under `[allow_drop]`: `{what}`"))
                .help(format!(
                    "to keep it, leave it fed by `{before}`, which can be fed by snapshots, a watermark or a log, and be \
                     called otherwise by `renamed_from`"
                ))
                .line("[allow_drop]", what)
        }
        Undecided::Unfilled { relation, column } => {
            let place = place(declared(relation, spec), spec, files);
            let message = format!(
                "`{column}` is new in `{}`, and nothing says what it is in rows of before",
                bare(relation)
            );
            Finding::new(Code::UnfilledColumn, message, place)
                .label(format!("has a new column `{column}`, which takes no NULL or is looked up"))
                .help(
                    "to compute the history anew, as if it had always been there, say there `null = true, \
                     backfill = \"bronze\"`; once that has run it can stop taking NULL",
                )
                .help("to begin with NULL, say there `null = true`; that does for a field of the landed row")
                .line(format!("{}.{column}", bare(relation)), "null = true, backfill = \"bronze\"")
                .line(format!("{}.{column}", bare(relation)), "null = true")
        }
        Undecided::Narrowed { relation, column, from, types: [before, now], hazard } => {
            let name = bare(relation);
            let place = place(declared(relation, spec), spec, files);
            let message =
                format!("`{column}` of `{name}` would become narrower, and what it holds may not fit");
            let (what, wish) = match hazard {
                Hazard::Narrowing => {
                    ("does not take all of it", "to have a value that does not fit stop the migration")
                }
                _ => ("does not keep all of it", "to have values become others, for good"),
            };
            let allowed = why(&format!("{name}.{}", hazard.code()));
            Finding::new(Code::NarrowedColumn, message, place)
                .label(format!("had `{column}` as `{before}`, and `{now}` {what}"))
                .help(format!("{wish}, write under `[allow_hazard]`: `{allowed}`"))
                .help(format!(
                    "to keep what there is, add a column of that type beside it, `from = \"{}\", null = true, \
                     backfill = \"bronze\"`",
                    escaped(from)
                ))
                .line("[allow_hazard]", allowed)
        }
        Undecided::Field { relation, column, from } => {
            let place = place(declared(relation, spec), spec, files);
            let message = format!("`{column}` is renamed, and would be filled from elsewhere");
            let line = format!("from = \"{}\"", escaped(from));
            Finding::new(Code::UnmadeChange, message, place)
                .label("the next run would compute its past anew, from what bronze does not have under that name")
                .help(format!("say there `{line}`, as before"))
                .help("if another field is meant, rename first and migrate, then change `from`")
                .line(format!("{}.{column}", bare(relation)), line)
        }
    }
}

/// A relation as the spec calls it.
pub(super) fn bare(relation: &Name) -> String {
    if relation.schema == TOOL_SCHEMA {
        let name = relation.name.strip_suffix("_hist").or_else(|| relation.name.strip_suffix("_cdc"));
        return name.unwrap_or(&relation.name).to_owned();
    }
    relation.name.clone()
}

/// Where the spec gives a relation its name.
pub(super) fn declared<'s>(relation: &Name, spec: &'s spec::Warehouse) -> Option<&'s At<String>> {
    let name = bare(relation);
    let names = spec.landing.iter().map(|one| one.name.as_ref());
    let names = names.chain(spec.lookup.iter().map(|one| one.name.as_ref()));
    let names = names.chain(spec.dimension.iter().map(|one| one.name.as_ref()));
    let mut names = names.chain(spec.fact.iter().map(|one| one.name.as_ref()));
    names.find_map(|one| one.filter(|one| one.value == name))
}

fn is_lookup(table: &str, spec: &spec::Warehouse) -> bool {
    spec.lookup
        .iter()
        .any(|one| one.name.as_ref().is_some_and(|name| table.strip_suffix("_hist") == Some(&name.value)))
}

/// That place, else the warehouse's name.
pub(super) fn place(at: Option<&At<String>>, spec: &spec::Warehouse, files: &Files) -> Span {
    let name = || spec.warehouse.as_ref()?.name.as_ref();
    let span: Range<usize> = at.or_else(name).map_or(0..0, |name| name.span.clone());
    Span::new(files.spec.path(), span)
}

/// The line that allows something.
fn why(what: &str) -> String {
    format!("\"{}\" = \"why\"", escaped(what))
}

/// Text within a TOML string.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::{Code, Finding, Findings, Span, anew, nearest};

    #[test]
    fn beginning_anew_is_the_way_out_of_a_draft_that_is_put_right() {
        let gone = |count: usize| {
            let one = |number| {
                Finding::new(Code::UnallowedDrop, format!("{number}"), Span::new("spec.toml".into(), 0..0))
            };
            Findings::new((0..count).map(one).collect(), [])
        };
        assert_eq!(anew(&[gone(4)]), None);
        assert!(anew(&[gone(2), gone(3)]).is_some());
    }

    #[test]
    fn of_many_names_the_likeliest_are_shown() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let few = names(&["fact_z", "dim_y_hist", "lookup_x"]);
        assert_eq!(nearest(&few, "dim_x_hist"), few.iter().collect::<Vec<_>>());
        let many = names(&["fact_z", "dim_client_hist", "br_x", "dim_customers_hist", "dim_customer_old"]);
        assert_eq!(
            nearest(&many, "dim_customer_hist"),
            ["dim_customers_hist", "dim_customer_old", "dim_client_hist"]
        );
    }
}
