//! Declared marts: sources grouped by the grain, each with its measures. Knows no SQL beyond expressions.

use std::collections::BTreeMap;

use super::catalog::Catalog;
use super::expression::{self, Checked, Place, Purpose, Typed};
use super::identity::described;
use super::mart::Draft;
use super::report::Report;
use super::scope::{Readable, Scope};
use super::{names, type_name, unit};
use crate::finding::{Code, Finding};
use crate::model::data_type::BuiltIn;
use crate::model::{
    CutColumn, DataType, Definition, Mart, MartColumn, MartSource, Name, Nullability, UnitColumn,
};
use crate::spec::{self, At, Filter};

/// A source, and the relation behind it.
struct Source<'a> {
    alias: &'a At<String>,
    relation: &'a Readable,
}

pub(super) fn lower(
    draft: &Draft<'_>,
    written: &BTreeMap<At<String>, At<String>>,
    scope: &Scope,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> Mart {
    let sources = sources(draft, written, scope, report);
    let all_known = sources.len() == written.len();
    let resolving = Resolving { draft, sources: &sources, all_known, time_zone: &catalog.time_zone };
    let mut lowered = sources
        .iter()
        .map(|source| MartSource {
            alias: source.alias.value.clone(),
            relation: source.relation.read.name.clone(),
            filter: None,
            grain: Vec::new(),
            measures: Vec::new(),
        })
        .collect::<Vec<_>>();

    let mut grain = Vec::new();
    let mut unit_columns = Vec::new();
    for column in draft.grain() {
        let Some(name) = &column.name else { continue };
        let (typed, cuts) = resolving.grain(name, column, catalog, report);
        grain.push(mart_column(name, typed, column.description.as_ref()));
        unit_columns.push(unit_column(name, &cuts, &sources));
        for (source, cut) in lowered.iter_mut().zip(cuts) {
            source.grain.extend(cut.map(|(cut, _)| cut));
        }
    }
    let mut measures = Vec::new();
    for measure in &draft.spec.measures {
        let Some(name) = &measure.name else { continue };
        let (typed, taken) = resolving.measure(name, measure, catalog, report);
        measures.push(mart_column(name, typed, measure.description.as_ref()));
        if let Some((index, expression)) = taken {
            lowered[index].measures.push((name.value.clone(), expression));
        }
    }
    resolving.filters(&mut lowered, report);
    resolving.check_clocks(report);

    let mut reads = sources.iter().map(|source| source.relation.read.clone()).collect::<Vec<_>>();
    reads.sort();
    reads.dedup();
    Mart {
        name: Name::new(&catalog.schemas.gold, &draft.name.value),
        description: described(draft.spec.description.as_ref()),
        grain,
        measures,
        storage: unit::storage(draft, unit_columns),
        definition: Definition::Declared(lowered),
        reads,
    }
}

/// The relations behind the aliases, as far as they are there.
fn sources<'a>(
    draft: &Draft<'_>,
    written: &'a BTreeMap<At<String>, At<String>>,
    scope: &'a Scope,
    report: &mut Report<'_>,
) -> Vec<Source<'a>> {
    if let (true, Some(from)) = (written.is_empty() && draft.complete, &draft.spec.from) {
        let place = report.at(&from.span);
        let message = format!("`{}` reads nothing", draft.name.value);
        report.push(Finding::new(Code::MissingKey, message, place).label("at least one relation, by alias"));
    }
    let mut sources = Vec::new();
    for (alias, name) in written {
        names::check(alias, "the alias", report);
        if alias.contains('.') {
            let place = report.at(&alias.span);
            let message = format!("`{}` cannot be an alias", alias.value);
            report.push(Finding::new(Code::InvalidName, message, place).label("a name without a dot"));
        }
        match scope.find(None, name) {
            Some(relation) => sources.push(Source { alias, relation }),
            None => {
                let place = report.at(&name.span);
                if let Some(finding) = scope.refused(name, place.clone()) {
                    report.push(finding);
                    continue;
                }
                let message = format!("there is no `{}` to read", name.value);
                let finding = Finding::new(Code::UnknownRelation, message, place)
                    .label("no fact, dimension, view, lookup or mart")
                    .did_you_mean(name, scope.names());
                report.push_absent(finding, scope.all_named);
            }
        }
    }
    sources
}

fn unit_column(
    name: &At<String>,
    cuts: &[Option<(CutColumn, Nullability)>],
    sources: &[Source<'_>],
) -> UnitColumn {
    let of = sources.iter().zip(cuts).filter_map(|(source, cut)| {
        let (cut, _) = cut.as_ref()?;
        // A unit is told by the rows before and after a change, and a history has more rows than these.
        let stored = &source.relation.read.stored;
        let versions =
            sources.iter().any(|other| other.relation.history && other.relation.read.stored == *stored);
        if versions {
            return None;
        }
        Some((source.relation.read.name.clone(), cut.clone()))
    });
    unit::column(name, of.collect())
}

fn mart_column(name: &At<String>, typed: Option<Typed>, description: Option<&At<String>>) -> MartColumn {
    let (data_type, nullability) = typed.unwrap_or((type_name::placeholder(), Nullability::Nullable));
    MartColumn { name: name.value.clone(), data_type, nullability, description: described(description) }
}

/// A mart whose sources are known.
struct Resolving<'r, 'a> {
    draft: &'r Draft<'r>,
    sources: &'r [Source<'a>],
    all_known: bool,
    time_zone: &'r str,
}

impl Resolving<'_, '_> {
    /// The type of a column of the grain, and where each source has it.
    fn grain(
        &self,
        name: &At<String>,
        column: &spec::GrainColumn,
        catalog: &Catalog<'_>,
        report: &mut Report<'_>,
    ) -> (Option<Typed>, Vec<Option<(CutColumn, Nullability)>>) {
        let mut cuts = vec![None; self.sources.len()];
        let Some(of) = &column.of else {
            if self.draft.complete {
                let place = report.at(&name.span);
                let message = format!("nothing says what `{}` is taken from", name.value);
                report.push(
                    Finding::new(Code::MissingKey, message, place)
                        .label("no `of`")
                        .help("add `of = \"alias.column\"`, one for each source"),
                );
            }
            return (None, cuts);
        };
        for written in &of.0 {
            let Some((alias, _)) = written.split_once('.') else {
                let place = report.at(&written.span);
                let message = format!("`{}` does not say which source has it", written.value);
                let finding = Finding::new(Code::UnknownInMart, message, place).label("`alias.column`");
                let finding = match self.sources {
                    [only] => finding.help(format!("write `{}.{}`", only.alias.value, written.value)),
                    _ => finding,
                };
                report.push(finding);
                continue;
            };
            let place = report.within(written, 0..alias.len());
            let Some(index) = self.source(alias, place, report) else { continue };
            let relation = self.sources[index].relation;
            if cuts[index].is_some() {
                let place = report.at(&written.span);
                let message = format!("`{}` is taken from `{alias}` twice", name.value);
                report.push(
                    Finding::new(Code::KeysDisagree, message, place).label("one column of each source"),
                );
                continue;
            }
            cuts[index] = unit::cut(written, alias.len() + 1, relation, column.cut.as_ref(), report);
        }
        let mentioned = |source: &Source<'_>| {
            of.0.iter().any(|of| of.split_once('.').is_some_and(|(alias, _)| alias == source.alias.value))
        };
        if self.sources.len() > 1 && self.draft.complete {
            for source in self.sources.iter().filter(|source| !mentioned(source)) {
                let place = report.at(&name.span);
                let message = format!("`{}` is not taken from `{}`", name.value, source.alias.value);
                report.push(
                    Finding::new(Code::MissingKey, message, place)
                        .label("sources meet at the grain: each has every column of it")
                        .help(format!("add `{}.…` to `of`", source.alias.value)),
                );
            }
        }
        (self.grain_type(name, column, &cuts, catalog, report), cuts)
    }

    fn grain_type(
        &self,
        name: &At<String>,
        column: &spec::GrainColumn,
        cuts: &[Option<(CutColumn, Nullability)>],
        catalog: &Catalog<'_>,
        report: &mut Report<'_>,
    ) -> Option<Typed> {
        let mut known = cuts.iter().flatten();
        let (first, mut nullability) = known.next().cloned()?;
        for (other, other_nullability) in known {
            if *other_nullability == Nullability::Nullable {
                nullability = Nullability::Nullable;
            }
            let cut = column.cut.is_some();
            if !(cut || type_name::alike(&first.data_type, &other.data_type)) {
                let place = report.at(&name.span);
                let message = format!(
                    "`{}` is {} in one source and {} in another",
                    name.value,
                    type_name::said(&first.data_type),
                    type_name::said(&other.data_type),
                );
                report.push(Finding::new(Code::UnfitType, message, place).label("the types have to agree"));
            }
        }
        let data_type = match &column.cut {
            Some(_) => DataType::BuiltIn(BuiltIn::Date),
            None => first.data_type,
        };
        let own = column.data_type.as_ref().and_then(|written| {
            let own = catalog.data_type(written, report)?;
            if !type_name::alike(&own, &data_type) {
                let place = report.at(&written.span);
                let message = format!("`{}` is {}", name.value, type_name::said(&data_type));
                report.push(Finding::new(Code::UnfitType, message, place).help("leave `type` out"));
            }
            Some(own)
        });
        Some((own.unwrap_or(data_type), nullability))
    }

    /// The type of a measure, and the source that it is taken from with its expression.
    fn measure(
        &self,
        name: &At<String>,
        measure: &spec::Measure,
        catalog: &Catalog<'_>,
        report: &mut Report<'_>,
    ) -> (Option<Typed>, Option<(usize, String)>) {
        let own = measure.data_type.as_ref().and_then(|written| catalog.data_type(written, report));
        let Some(expression) = &measure.expr else {
            if self.draft.complete {
                let place = report.at(&name.span);
                let message = format!("nothing says what `{}` is", name.value);
                report.push(
                    Finding::new(Code::MissingKey, message, place)
                        .label("no `expr`")
                        .help("add an aggregate: `expr = \"count(*)\"`"),
                );
            }
            return (None, None);
        };
        let index = match (&measure.of, self.sources) {
            (Some(of), _) => self.source(of, report.at(&of.span), report),
            (None, [_]) if self.all_known => Some(0),
            (None, _) => {
                if self.all_known && self.draft.complete && !self.sources.is_empty() {
                    let place = report.at(&name.span);
                    let message = format!("`{}` does not say which source it is taken from", name.value);
                    let aliases = self.sources.iter().map(|source| format!("`{}`", source.alias.value));
                    let aliases = aliases.collect::<Vec<_>>().join(", ");
                    report.push(
                        Finding::new(Code::MissingKey, message, place)
                            .label("no `of`")
                            .help(format!("`of` is one of {aliases}")),
                    );
                }
                None
            }
        };
        let Some(index) = index else { return (None, None) };
        let checked = expression::check(expression, Purpose::Measure, &self.place(index), report);
        let null = measure
            .null
            .as_ref()
            .map(|null| if null.value { Nullability::Nullable } else { Nullability::NotNull });
        let several = self.sources.len() > 1;
        let counts = matches!(checked, Checked::Count);
        if let (true, Some(Nullability::NotNull), Some(written)) = (several && !counts, null, &measure.null) {
            let place = report.at(&written.span);
            let message = format!("`{}` can be missing", name.value);
            report.push(
                Finding::new(Code::UnfitNull, message, place)
                    .label("where only another source has rows")
                    .help("leave `null` out"),
            );
        }
        let complete = self.sources[index].relation.complete;
        if matches!(checked, Checked::Untyped) && measure.data_type.is_none() && complete {
            let place = report.at(&name.span);
            let message = format!("`{}` has no `type`, and none can be told", name.value);
            report.push(
                Finding::new(Code::UntypedMeasure, message, place)
                    .help("add one, such as `type = \"numeric(12, 2)\"`"),
            );
        }
        let typed = match checked {
            Checked::Count => Some((DataType::BuiltIn(BuiltIn::BigInt), Nullability::NotNull)),
            Checked::Typed(typed) => Some(typed),
            Checked::Untyped | Checked::Refused => None,
        };
        let told = typed.as_ref().map(|(_, nullability)| *nullability);
        let nullability = match (several, counts) {
            // Where only another source has rows there is nothing to count, which is 0.
            (true, true) => Nullability::NotNull,
            (true, false) => Nullability::Nullable,
            (false, _) => null.or(told).unwrap_or(Nullability::NotNull),
        };
        let data_type = own.or(typed.map(|(data_type, _)| data_type));
        (data_type.map(|data_type| (data_type, nullability)), Some((index, expression.value.clone())))
    }

    fn filters(&self, lowered: &mut [MartSource], report: &mut Report<'_>) {
        let Some(filter) = &self.draft.spec.filter else { return };
        match &filter.value {
            Filter::Only(text) => {
                let [source] = lowered else {
                    if self.all_known {
                        let place = report.at(&filter.span);
                        let message = "a filter of several sources says which one it is of";
                        report.push(
                            Finding::new(Code::KeysDisagree, message, place)
                                .help("write `filter = { alias = \"…\" }`"),
                        );
                    }
                    return;
                };
                let written = At::new(text.clone(), filter.span.clone());
                expression::check(&written, Purpose::Filter, &self.place(0), report);
                source.filter = Some(text.clone());
            }
            Filter::ByAlias(filters) => {
                for (alias, written) in filters {
                    let Some(index) = self.source(alias, report.at(&alias.span), report) else { continue };
                    expression::check(written, Purpose::Filter, &self.place(index), report);
                    lowered[index].filter = Some(written.value.clone());
                }
            }
        }
    }

    /// A kept mart must not read a view that looks at a clock.
    fn check_clocks(&self, report: &mut Report<'_>) {
        for source in self.sources.iter().filter(|source| source.relation.clock) {
            if self.draft.stored() {
                let place = report.at(&source.alias.span);
                let name = &source.relation.read.name.name;
                report.push(
                    Finding::new(Code::ClockInMart, format!("`{name}` changes by itself"), place)
                        .label("the rows that are kept would change by themselves")
                        .help("make it `storage = \"view\"`"),
                );
            }
        }
    }

    fn place(&self, index: usize) -> Place<'_> {
        let source = &self.sources[index];
        Place {
            alias: source.alias,
            relation: source.relation,
            stored: self.draft.stored(),
            time_zone: self.time_zone,
        }
    }

    fn source(&self, alias: &str, place: crate::finding::Span, report: &mut Report<'_>) -> Option<usize> {
        let index = self.sources.iter().position(|source| source.alias.value == alias);
        let declared = self
            .draft
            .spec
            .from
            .as_ref()
            .is_some_and(|from| from.keys().any(|declared| declared.value == alias));
        if index.is_none() && !declared {
            let owner = &self.draft.name.value;
            let message = format!("`{owner}` reads nothing by the name of `{alias}`");
            let finding = Finding::new(Code::UnknownInMart, message, place)
                .label("not an alias of its `from`")
                .did_you_mean(alias, self.sources.iter().map(|source| source.alias.value.as_str()));
            report.push_absent(finding, self.draft.complete);
        }
        index
    }
}
