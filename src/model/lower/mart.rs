//! Marts: declared ones and written ones, in an order in which each comes after those that it reads.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Catalog;
use super::names::{self, Namespace};
use super::query::{self, Query};
use super::report::Report;
use super::scope::{ReadColumn, Readable, Scope};
use super::{declared, order, written};
use crate::finding::{Code, Finding, SourceText};
use crate::model::{Mart, Name, Nullability};
use crate::spec::{self, At, Files, Parsed};

/// A mart, and what is known of it before those that it reads are.
pub(super) struct Draft<'a> {
    pub spec: &'a spec::Mart,
    pub name: &'a At<String>,
    pub complete: bool,
    pub form: Form<'a>,
}

/// How a mart is defined.
pub(super) enum Form<'a> {
    /// By its sources, each with its alias.
    Declared(&'a BTreeMap<At<String>, At<String>>),
    /// As SQL.
    Written(Box<Query>, SourceText),
    /// In no way that could be read.
    Unknown,
}

impl Draft<'_> {
    /// Whether its rows are kept.
    pub fn stored(&self) -> bool {
        self.storage() != spec::Storage::View
    }

    pub fn storage(&self) -> spec::Storage {
        self.spec.storage.as_ref().map_or(spec::Storage::View, |storage| storage.value)
    }

    /// The grain, as far as it could be read.
    pub fn grain(&self) -> &[At<spec::GrainColumn>] {
        self.spec.grain.as_ref().map_or(&[], |grain| &grain.value)
    }
}

pub(super) fn lower(
    parsed: &Parsed<spec::Warehouse>,
    catalog: &Catalog<'_>,
    files: &Files,
    report: &mut Report<'_>,
) -> Vec<Mart> {
    let mut drafts = BTreeMap::new();
    for mart in &parsed.value.mart {
        let Some(name) = &mart.name else { continue };
        let complete = report.is_complete(&mart.span);
        let draft = Draft { spec: &mart.value, name, complete, form: form(mart, files, report) };
        check_columns(&draft, report);
        drafts.entry(name.value.clone()).or_insert(draft);
    }
    let mut scope = catalog.scope();
    for draft in drafts.values() {
        let readable = foreseen(draft, catalog);
        scope.readables.entry(draft.name.value.clone()).or_insert(readable);
    }
    let ordered = order::order(&needs(&drafts, &scope, catalog));
    for cycle in &ordered.cycles {
        report_cycle(cycle, &drafts, report);
    }
    let mut marts = Vec::new();
    for draft in ordered.names.iter().filter_map(|name| drafts.get(name)) {
        let mart = match &draft.form {
            Form::Declared(sources) => declared::lower(draft, sources, &scope, catalog, report),
            Form::Written(query, file) => written::lower(draft, query, file, &scope, catalog, report),
            Form::Unknown => continue,
        };
        learn(&mart, draft, &mut scope);
        marts.push(mart);
    }
    marts
}

fn form<'a>(mart: &'a At<spec::Mart>, files: &Files, report: &mut Report<'_>) -> Form<'a> {
    let name = mart.name.as_ref().map_or("", |name| name.value.as_str());
    match (&mart.from, &mart.sql) {
        (Some(sources), None) => Form::Declared(sources),
        (None, Some(file)) => match find(file, files, report) {
            Some(text) => match query::read(text, "a mart", report) {
                Some(query) => Form::Written(Box::new(query), text.clone()),
                None => Form::Unknown,
            },
            None => Form::Unknown,
        },
        (Some(sources), Some(file)) => {
            let place = report.at(&file.span);
            let also = report.at(&sources.span);
            let message = format!("`{name}` is both declared and written as SQL");
            report.push(
                Finding::new(Code::KeysDisagree, message, place)
                    .label("the query that defines it")
                    .also(also, "and what it is declared from")
                    .help("leave `from` or `sql` out"),
            );
            Form::Unknown
        }
        (None, None) => {
            if report.is_complete(&mart.span) {
                let place = report.at(&mart.span);
                let message = format!("nothing says what `{name}` is made of");
                report.push(
                    Finding::new(Code::MissingKey, message, place)
                        .label("neither `from` nor `sql`")
                        .help("declare what it reads: `from = { alias = \"relation\" }`")
                        .help("or write the query in a file beside the spec: `sql = \"file.sql\"`"),
                );
            }
            Form::Unknown
        }
    }
}

/// A file beside the spec.
pub(super) fn find<'f>(
    file: &At<String>,
    files: &'f Files,
    report: &mut Report<'_>,
) -> Option<&'f SourceText> {
    let found = files.sql.get(&file.value);
    if found.is_none() {
        let place = report.at(&file.span);
        let message = format!("there is no `{}` beside the spec", file.value);
        report.push(
            Finding::new(Code::MissingFile, message, place)
                .label("the name of a `.sql` file in the spec's folder")
                .did_you_mean(file, files.sql.keys().map(String::as_str)),
        );
    }
    found
}

fn check_columns(draft: &Draft<'_>, report: &mut Report<'_>) {
    let mut space = Namespace::default();
    let owner = &draft.name.value;
    let grain = draft.grain().iter().map(|column| (&column.name, "a column of the grain"));
    let measures = draft.spec.measures.iter().map(|measure| (&measure.name, "a measure"));
    for (name, what) in grain.chain(measures) {
        if let Some(name) = name
            && names::check(name, "the column", report)
        {
            space.declare(name, what, report);
        }
    }
    if let Some(grain) = &draft.spec.grain
        && grain.is_empty()
        && draft.complete
    {
        let place = report.at(&grain.span);
        let message = format!("`{owner}` has an empty grain");
        report.push(
            Finding::new(Code::MissingKey, message, place).label("the columns that tell its rows apart"),
        );
    }
}

/// What can be told of a mart's columns before it is lowered: enough where it is read too early.
fn foreseen(draft: &Draft<'_>, catalog: &Catalog<'_>) -> Readable {
    let grain = draft.grain().iter().map(|column| &column.name);
    let names = grain.chain(draft.spec.measures.iter().map(|measure| &measure.name)).flatten();
    let columns = names.map(|name| ReadColumn {
        name: name.value.clone(),
        data_type: None,
        nullability: Nullability::Nullable,
    });
    let name = Name::new(&catalog.schemas.gold, &draft.name.value);
    let mut readable = Readable::stored(name, columns.collect(), draft.complete);
    readable.key =
        draft.grain().iter().filter_map(|column| Some(column.name.as_ref()?.value.clone())).collect();
    readable
}

/// Lets later marts read this one as it is.
fn learn(mart: &Mart, draft: &Draft<'_>, scope: &mut Scope) {
    let columns = mart.grain.iter().chain(&mart.measures).map(|column| ReadColumn {
        name: column.name.clone(),
        data_type: Some(column.data_type.clone()),
        nullability: column.nullability,
    });
    let mut readable = Readable::stored(mart.name.clone(), columns.collect(), draft.complete);
    readable.key = mart.grain.iter().map(|column| column.name.clone()).collect();
    let reads_clock =
        |read: &crate::model::Read| scope.find(None, &read.name.name).is_some_and(|readable| readable.clock);
    let own = match &draft.form {
        Form::Written(query, _) => !query.clocks.is_empty() || !query.volatile.is_empty(),
        Form::Declared(_) => declared::changes_by_itself(draft.spec),
        Form::Unknown => false,
    };
    readable.clock = !draft.stored() && (own || mart.reads.iter().any(reads_clock));
    if let Some(known) = scope.readables.get(&mart.name.name)
        && known.read.name == mart.name
    {
        scope.readables.insert(mart.name.name.clone(), readable);
    }
}

/// The names that each mart reads.
fn needs(
    drafts: &BTreeMap<String, Draft<'_>>,
    scope: &Scope,
    catalog: &Catalog<'_>,
) -> BTreeMap<String, BTreeSet<String>> {
    // A name that is a relation of silver is not meant for a mart of that name.
    let is_mart = |name: &str| {
        scope.find(None, name).is_some_and(|readable| readable.read.name.schema == catalog.schemas.gold)
    };
    let reads = |draft: &Draft<'_>| match &draft.form {
        Form::Declared(sources) => {
            let joined = draft.spec.joins.iter().filter_map(|joined| joined.relation.as_ref());
            sources.values().chain(joined).map(|name| name.value.clone()).collect::<BTreeSet<_>>()
        }
        Form::Written(query, _) => query.relations.iter().map(|mention| mention.name.clone()).collect(),
        Form::Unknown => BTreeSet::new(),
    };
    let needs = drafts.iter().map(|(name, draft)| {
        (name.clone(), reads(draft).into_iter().filter(|read| is_mart(read)).collect::<BTreeSet<_>>())
    });
    needs.collect()
}

fn report_cycle(cycle: &[String], drafts: &BTreeMap<String, Draft<'_>>, report: &mut Report<'_>) {
    let Some(first) = cycle.first().and_then(|name| drafts.get(name)) else { return };
    let message = match cycle {
        [only] => format!("`{only}` reads itself"),
        cycle => format!("marts read each other: {}", order::ring(cycle)),
    };
    let mut finding = Finding::new(Code::RelationCycle, message, report.at(&first.name.span));
    for draft in cycle.iter().skip(1).filter_map(|name| drafts.get(name)) {
        finding = finding.also(report.at(&draft.name.span), "");
    }
    report.push(match cycle {
        [_] => finding,
        _ => finding.help("one of them has to stand without the other"),
    });
}
