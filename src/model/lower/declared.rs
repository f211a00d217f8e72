//! Declared marts: sources grouped by the grain, each with its joins and measures; then what is made of the groups. Knows no
//! SQL beyond expressions.

use std::collections::BTreeMap;

use sqlparser::ast::Expr;

use super::catalog::Catalog;
use super::derived::{self, Derived};
use super::expression::{self, Checked, Parsed, Place, Purpose, Typed};
use super::identity::described;
use super::joined::{self, Joined};
use super::mart::Draft;
use super::report::Report;
use super::scope::{ReadColumn, Readable, Scope};
use super::{mart_order, names, readable, sql, sums, type_name, unit, volatile};
use crate::finding::{Code, Finding};
use crate::model::data_type::BuiltIn;
use crate::model::{
    DataType, Declared, Definition, Enum, GrainValue, Mart, MartColumn, MartSource, Name, Nullability, Reach,
};
use crate::spec::{self, At, BySource};

/// A source, and the relation behind it.
pub(super) struct Source<'a> {
    pub alias: &'a At<String>,
    pub relation: &'a Readable,
    pub joins: Vec<Joined<'a>>,
}

impl Source<'_> {
    /// What its expressions can name: itself, then what is joined to it.
    pub fn relations(&self) -> impl Iterator<Item = (&str, &Readable)> {
        let joined = self.joins.iter().map(|joined| (joined.alias.value.as_str(), &joined.relation));
        std::iter::once((self.alias.value.as_str(), self.relation)).chain(joined)
    }
}

pub(super) fn lower(
    draft: &Draft<'_>,
    written: &BTreeMap<At<String>, At<String>>,
    scope: &Scope,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> Mart {
    let mut sources = sources(draft, written, scope, report);
    let all_known = sources.len() == written.len();
    joined::lower(draft, &mut sources, scope, report);
    let (time_zone, gold) = (&catalog.time_zone, &catalog.schemas.gold);
    let enums = catalog.enums();
    let resolving = Resolving { draft, sources: &sources, all_known, time_zone, gold, enums };
    let mut lowered = sources.iter().map(|source| resolving.source_of(source)).collect::<Vec<_>>();

    let mut grain = Vec::new();
    for column in draft.grain() {
        let Some(name) = &column.name else { continue };
        let (typed, values) = resolving.grain(name, column, catalog, report);
        grain.push(mart_column(name, typed, column.description.as_ref()));
        for (source, value) in lowered.iter_mut().zip(values) {
            source.told &= value.as_ref().is_none_or(|value| value.told);
            source.grain.extend(value.map(|value| value.value));
        }
    }
    let mut measures = Vec::new();
    let mut grouped = Vec::new();
    let mut later = Vec::new();
    for measure in &draft.spec.measures {
        let Some(name) = &measure.name else { continue };
        let parsed = measure.expr.as_ref().and_then(|written| expression::parse(written, report));
        if let (Some(written), Some(parsed), None) = (&measure.expr, &parsed, &measure.of)
            && !parsed.is_aggregate()
        {
            let index = measures.len();
            later.push(Later { index, name, measure: &measure.value, written, tree: parsed.tree.clone() });
            measures.push(mart_column(name, None, measure.description.as_ref()));
            continue;
        }
        let (typed, taken) = resolving.measure(name, measure, parsed.as_ref(), catalog, report);
        let column = mart_column(name, typed, measure.description.as_ref());
        if let Some((index, expression)) = taken {
            lowered[index].measures.push((name.value.clone(), expression));
        }
        grouped.extend(parsed.map(|parsed| (column.clone(), parsed.tree)));
        measures.push(column);
    }
    resolving.filters(&mut lowered, report);
    resolving.check_clocks(report);
    let derived = resolving.derived(&grain, &mut measures, later, catalog, report);
    let grain_names = grain.iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
    let layers = derived::layers(&derived, report);
    let reach = match layers.is_empty() {
        true => Reach::Row,
        false => derived::reach(&derived, &grain_names),
    };
    let sums = resolving.sums(&lowered, &grouped);

    let reads =
        sources.iter().flat_map(|source| source.relations().map(|(_, relation)| relation.read.clone()));
    let mut reads = reads.collect::<Vec<_>>();
    reads.sort();
    reads.dedup();
    Mart {
        name: Name::new(&catalog.schemas.gold, &draft.name.value),
        description: described(draft.spec.description.as_ref()),
        order: mart_order::lower(draft, &grain, &measures, report),
        grain,
        measures,
        storage: unit::storage(draft, Vec::new()),
        definition: Definition::Declared(Declared { sources: lowered, derived: layers, reach, sums }),
        reads,
    }
}

/// Whether its rows hang on a clock or on chance.
pub(super) fn changes_by_itself(mart: &spec::Mart) -> bool {
    let measures = mart.measures.iter().filter_map(|measure| measure.expr.as_ref());
    let grain = mart.grain.iter().flat_map(|grain| grain.iter()).filter_map(|column| column.expr.as_ref());
    let by_source = grain.chain(&mart.filter).flat_map(|written| match &written.value {
        BySource::Only(text) => vec![text.as_str()],
        BySource::ByAlias(all) => all.values().map(|text| text.value.as_str()).collect(),
    });
    measures.map(|written| written.value.as_str()).chain(by_source).any(|text| {
        let Ok((tree, _)) = sql::expression(text) else { return false };
        let mut found = false;
        let _ = sqlparser::ast::visit_expressions(&tree, |expression| {
            found |= sql::clock(expression).is_some() || volatile::called(expression).is_some();
            std::ops::ControlFlow::<()>::Continue(())
        });
        found
    })
}

/// A measure that is made of others, which have to be known first.
struct Later<'a> {
    index: usize,
    name: &'a At<String>,
    measure: &'a spec::Measure,
    written: &'a At<String>,
    tree: Expr,
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
            Some(relation) => sources.push(Source { alias, relation, joins: Vec::new() }),
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

fn mart_column(name: &At<String>, typed: Option<Typed>, description: Option<&At<String>>) -> MartColumn {
    let (data_type, nullability) = typed.unwrap_or((type_name::placeholder(), Nullability::Nullable));
    MartColumn { name: name.value.clone(), data_type, nullability, description: described(description) }
}

/// A mart whose sources are known.
pub(super) struct Resolving<'r, 'a> {
    pub draft: &'r Draft<'r>,
    pub sources: &'r [Source<'a>],
    all_known: bool,
    pub time_zone: &'r str,
    gold: &'r str,
    enums: &'r [Enum],
}

impl Resolving<'_, '_> {
    fn source_of(&self, source: &Source<'_>) -> MartSource {
        // Groups are told by the rows before and after a change, and a history has more rows than these.
        let told = |relation: &Readable| {
            let mut all = self.sources.iter().flat_map(|source| source.relations());
            !all.any(|(_, other)| other.history && other.read.stored == relation.read.stored)
        };
        MartSource {
            alias: source.alias.value.clone(),
            relation: source.relation.read.name.clone(),
            joins: source.joins.iter().map(Joined::lower).collect(),
            filter: None,
            grain: Vec::new(),
            measures: Vec::new(),
            told: !self.reads_marts() && source.relations().all(|(_, relation)| told(relation)),
        }
    }

    /// Whether it reads a mart, which may bring the same facts in by another way.
    fn reads_marts(&self) -> bool {
        let mut all = self.sources.iter().flat_map(|source| source.relations());
        all.any(|(_, relation)| relation.read.name.schema == self.gold)
    }

    /// SQL with the source that each is of.
    pub fn by_source(
        &self,
        written: &At<BySource>,
        what: &str,
        report: &mut Report<'_>,
    ) -> Vec<(usize, At<String>)> {
        match &written.value {
            BySource::Only(text) => {
                if self.sources.len() == 1 {
                    return vec![(0, At::new(text.clone(), written.span.clone()))];
                }
                if self.all_known {
                    let place = report.at(&written.span);
                    let message = format!("{what} of several sources says which one it is of");
                    let help = match what {
                        "a filter" => "write `filter = { alias = \"…\" }`",
                        _ => "write `expr = { alias = \"…\" }`, one for each source",
                    };
                    report.push(Finding::new(Code::KeysDisagree, message, place).help(help));
                }
                Vec::new()
            }
            BySource::ByAlias(all) => all
                .iter()
                .filter_map(|(alias, written)| {
                    Some((self.source(alias, report.at(&alias.span), report)?, written.clone()))
                })
                .collect(),
        }
    }

    /// The type of a measure, and the source that it is taken from with its expression.
    fn measure(
        &self,
        name: &At<String>,
        measure: &spec::Measure,
        parsed: Option<&Parsed>,
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
        let checked = match parsed {
            Some(parsed) => {
                expression::check_parsed(expression, parsed, Purpose::Measure, &self.place(index), report)
            }
            None => Checked::Refused,
        };
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
        let complete = self.sources[index].relations().all(|(_, relation)| relation.complete);
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
        (data_type.map(|data_type| (data_type, nullability)), Some((index, expression::text(expression))))
    }

    /// Measures that are made of the mart's other columns.
    fn derived<'d>(
        &self,
        grain: &[MartColumn],
        measures: &mut [MartColumn],
        later: Vec<Later<'d>>,
        catalog: &Catalog<'_>,
        report: &mut Report<'_>,
    ) -> Vec<Derived<'d>> {
        let mut all = Vec::new();
        // One that is made of another comes to know its type once that is known.
        let mut waiting = later;
        while !waiting.is_empty() {
            let names: Vec<String> = waiting.iter().map(|one| one.name.value.clone()).collect();
            let ready = waiting.iter().position(|one| {
                let named = derived::named(&one.tree);
                !names.iter().any(|name| named.contains(name))
            });
            let Later { index, name, measure, written, tree } = waiting.remove(ready.unwrap_or_default());
            let columns = grain.iter().chain(&*measures).map(|column| ReadColumn {
                name: column.name.clone(),
                data_type: Some(column.data_type.clone()),
                nullability: column.nullability,
            });
            let own = Name::new(&catalog.schemas.gold, &self.draft.name.value);
            let relation = Readable::stored(own, columns.collect(), self.draft.complete);
            let place = Place {
                relations: vec![(&self.draft.name.value, &relation)],
                stored: self.draft.stored(),
                time_zone: self.time_zone,
                grain: grain.iter().map(|column| column.name.as_str()).collect(),
                enums: self.enums,
            };
            let checked = expression::check(written, Purpose::Derived, &place, report);
            let said = measure.data_type.as_ref().and_then(|written| catalog.data_type(written, report));
            if matches!(checked, Checked::Untyped) && measure.data_type.is_none() {
                let place = report.at(&name.span);
                let message = format!("`{}` has no `type`, and none can be told", name.value);
                report.push(
                    Finding::new(Code::UntypedMeasure, message, place)
                        .help("add one, such as `type = \"numeric(12, 2)\"`"),
                );
            }
            let told = match checked {
                Checked::Typed(typed) => Some(typed),
                _ => None,
            };
            let null = match (&measure.null, &told) {
                (Some(null), _) if null.value => Nullability::Nullable,
                (None, Some((_, nullability))) => *nullability,
                _ => Nullability::NotNull,
            };
            measures[index].nullability = null;
            if let Some(data_type) = said.or(told.map(|(data_type, _)| data_type)) {
                measures[index].data_type = data_type;
            }
            all.push(Derived { name, text: expression::text(written), tree });
        }
        all
    }

    /// How a change is added, where all measures are sums of one fact.
    fn sums(&self, lowered: &[MartSource], grouped: &[(MartColumn, Expr)]) -> Option<crate::model::Sums> {
        let ([source], [lowered]) = (self.sources, lowered) else { return None };
        let all = lowered.measures.len() == grouped.len();
        let stored = self.draft.storage() == spec::Storage::Incremental;
        // A change says nothing of the columns that medallion adds.
        let told = lowered.told
            && !grouped.iter().map(|(_, tree)| tree).any(names_added)
            && lowered
                .filter
                .as_ref()
                .is_none_or(|filter| sql::expression(filter).is_ok_and(|(tree, _)| !names_added(&tree)));
        if !(all && stored && told && source.relation.fact) {
            return None;
        }
        // As the index on a fact has it: of its columns alone.
        let own =
            |value: &GrainValue| matches!(value, GrainValue::Column(alias, _) if *alias == lowered.alias);
        let found = lowered.joins.is_empty() && !lowered.grain.is_empty() && lowered.grain.iter().all(own);
        let groups = if found { sums::Groups::Found } else { sums::Groups::Searched };
        sums::of(grouped, &self.place(0), groups)
    }

    fn filters(&self, lowered: &mut [MartSource], report: &mut Report<'_>) {
        let Some(filter) = &self.draft.spec.filter else { return };
        for (index, written) in self.by_source(filter, "a filter", report) {
            expression::check(&written, Purpose::Filter, &self.place(index), report);
            lowered[index].filter = Some(written.value);
        }
    }

    /// A kept mart must not read a view that looks at a clock.
    fn check_clocks(&self, report: &mut Report<'_>) {
        let all = self.sources.iter().flat_map(|source| {
            let joined = source.joins.iter().map(|joined| (joined.alias, &joined.relation));
            std::iter::once((source.alias, source.relation)).chain(joined)
        });
        for (alias, relation) in all.filter(|(_, relation)| relation.clock) {
            if self.draft.stored() {
                let place = report.at(&alias.span);
                let name = &relation.read.name.name;
                report.push(
                    Finding::new(Code::ClockInMart, format!("`{name}` changes by itself"), place)
                        .label("the rows that are kept would change by themselves")
                        .help("make it `storage = \"view\"`"),
                );
            }
        }
    }

    pub fn place(&self, index: usize) -> Place<'_> {
        Place {
            relations: self.sources[index].relations().collect(),
            stored: self.draft.stored(),
            time_zone: self.time_zone,
            grain: Vec::new(),
            enums: self.enums,
        }
    }

    pub fn source(&self, alias: &str, place: crate::finding::Span, report: &mut Report<'_>) -> Option<usize> {
        let index = self.sources.iter().position(|source| source.alias.value == alias);
        let declared = self
            .draft
            .spec
            .from
            .as_ref()
            .is_some_and(|from| from.keys().any(|declared| declared.value == alias));
        // What is joined under that name has been told of.
        let mut joined = self.draft.spec.joins.iter().filter_map(|one| one.name.as_ref());
        let joined = joined.any(|joined| joined.value == alias);
        if index.is_none() && !declared && !joined {
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

fn names_added(tree: &Expr) -> bool {
    derived::named(tree).iter().any(|name| readable::is_added(name))
}
