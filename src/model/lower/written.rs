//! Marts that are written as SQL: their relations found and left open, their columns as declared.

use super::bound::{Bound, Reader};
use super::catalog::Catalog;
use super::identity::described;
use super::mart::Draft;
use super::query::Query;
use super::report::Report;
use super::scope::{Readable, Scope};
use super::{mart_order, type_name, unit};
use crate::finding::{Code, Finding, SourceText};
use crate::model::data_type::BuiltIn;
use crate::model::{CutColumn, DataType, Definition, Mart, MartColumn, Name, Nullability, UnitColumn};
use crate::spec::{self, At};

pub(super) fn lower(
    draft: &Draft<'_>,
    query: &Query,
    file: &SourceText,
    scope: &Scope,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> Mart {
    let bound = Bound { reader: Reader::Mart { stored: draft.stored() }, query, file, scope, catalog };
    let reading = Reading { draft, query, file, bound, catalog };
    let reads = reading.bound.check(report);
    reading.check_outputs(report);
    reading.check_words(report);

    let (grain, mut unit_columns) = reading.grain(report);
    if reads.iter().any(|read| read.stored.schema == catalog.schemas.gold) {
        // A mart that is read may bring the same facts in by another way than `of` says.
        unit_columns.clear();
    }
    let measures = draft.spec.measures.iter().filter_map(|measure| {
        let name = measure.name.as_ref()?;
        Some(reading.column(
            name,
            (measure.data_type.as_ref(), measure.null.as_ref()),
            measure.description.as_ref(),
            report,
        ))
    });
    let measures: Vec<MartColumn> = measures.collect();
    Mart {
        name: Name::new(&catalog.schemas.gold, &draft.name.value),
        description: described(draft.spec.description.as_ref()),
        order: mart_order::lower(draft, &grain, &measures, report),
        grain,
        measures,
        storage: unit::storage(draft, unit_columns),
        definition: Definition::Sql(reading.bound.pieces()),
        reads: reads.into_iter().collect(),
    }
}

struct Reading<'r> {
    draft: &'r Draft<'r>,
    query: &'r Query,
    file: &'r SourceText,
    bound: Bound<'r>,
    catalog: &'r Catalog<'r>,
}

impl<'r> Reading<'r> {
    /// The query has to give what the spec declares.
    fn check_outputs(&self, report: &mut Report<'_>) {
        let Some(outputs) = &self.query.outputs else { return };
        let grain = self.draft.grain().iter().filter_map(|column| Some((column.name.as_ref()?, "group by")));
        let measures = self.draft.spec.measures.iter();
        let measures = measures.filter_map(|measure| Some((measure.name.as_ref()?, "measure")));
        for (name, purpose) in grain.chain(measures) {
            if outputs.contains(&name.value) {
                continue;
            }
            let place = report.at(&name.span);
            let path = self.file.path();
            let message =
                format!("the query of `{}` gives no `{}` to {purpose}", self.draft.name.value, name.value);
            report.push(
                Finding::new(Code::UnknownInMart, message, place)
                    .label(format!("not a column of what `{path}` selects"))
                    .did_you_mean(name, outputs.iter().map(String::as_str)),
            );
        }
    }

    /// Words that only declared marts have.
    fn check_words(&self, report: &mut Report<'_>) {
        let spec = self.draft.spec;
        let filter = spec.filter.iter().map(|filter| ("filter", &filter.span));
        let measures = spec.measures.iter();
        let taken = measures.clone().flat_map(|measure| measure.of.iter().map(|of| ("of", &of.span)));
        let expressions = measures.flat_map(|measure| measure.expr.iter().map(|expr| ("expr", &expr.span)));
        let joins = spec.joins.iter().map(|joined| ("joins", &joined.span));
        let grain = self.draft.grain().iter();
        let grain = grain.flat_map(|column| column.expr.iter().map(|expr| ("expr", &expr.span)));
        for (word, span) in filter.chain(joins).chain(grain).chain(taken).chain(expressions) {
            let place = report.at(span);
            let message = format!("`{}` is written as SQL, and takes no `{word}`", self.draft.name.value);
            report.push(Finding::new(Code::KeysDisagree, message, place).label("say it in the query"));
        }
    }

    fn grain(&self, report: &mut Report<'_>) -> (Vec<MartColumn>, Vec<UnitColumn>) {
        let mut columns = Vec::new();
        let mut unit_columns = Vec::new();
        for written in self.draft.grain() {
            let Some(name) = &written.name else { continue };
            let column = self.column(
                name,
                (written.data_type.as_ref(), written.null.as_ref()),
                written.description.as_ref(),
                report,
            );
            if !type_name::is_ordered(&column.data_type)
                && let Some(data_type) = &written.data_type
            {
                let place = report.at(&data_type.span);
                let message = format!("`{}` cannot be in a grain", name.value);
                let is = format!("{} has no order", type_name::said(&column.data_type));
                report.push(Finding::new(Code::UnfitType, message, place).label(is));
            }
            unit_columns.extend(self.unit_column(name, written, &column, report));
            columns.push(column);
        }
        (columns, unit_columns)
    }

    fn unit_column(
        &self,
        name: &At<String>,
        written: &spec::GrainColumn,
        column: &MartColumn,
        report: &mut Report<'_>,
    ) -> Option<UnitColumn> {
        let Some(of) = &written.of else {
            if let Some(cut) = &written.cut {
                let place = report.at(&cut.span);
                let message = format!("`{}` is cut, and nothing says from what", name.value);
                report.push(
                    Finding::new(Code::KeysDisagree, message, place)
                        .help("add `of = [\"relation.column\"]`, or leave `cut` out"),
                );
            }
            return None;
        };
        if written.cut.is_some()
            && let Some(data_type) = &written.data_type
            && column.data_type != DataType::BuiltIn(BuiltIn::Date)
        {
            let place = report.at(&data_type.span);
            let message = format!("`{}` is cut, which makes it a date", name.value);
            report.push(Finding::new(Code::UnfitType, message, place).help("write `type = \"date\"`"));
        }
        let mut cuts = Vec::new();
        for place in &of.0 {
            let Some((relation, _)) = place.split_once('.') else {
                let span = report.at(&place.span);
                let message = format!("`{}` does not say which relation has it", place.value);
                report.push(Finding::new(Code::UnknownInMart, message, span).label("`relation.column`"));
                continue;
            };
            let Some(readable) = self.read(relation, place, report) else { continue };
            let cut = unit::cut(place, relation.len() + 1, readable, written.cut.as_ref(), report);
            if self.draft.storage() == spec::Storage::Incremental {
                self.check_versions(place, relation.len(), readable, report);
            }
            if let (Some((cut, _)), Some(data_type)) = (&cut, &written.data_type) {
                self.check_unit(name, data_type, column, (place, cut), report);
            }
            cuts.extend(cut.map(|(cut, _)| (readable.read.name.clone(), cut)));
        }
        Some(unit::column(name, cuts))
    }

    /// A unit is told by the rows before and after a change, and a history has more rows than these.
    fn check_versions(
        &self,
        written: &At<String>,
        length: usize,
        readable: &Readable,
        report: &mut Report<'_>,
    ) {
        let stored = &readable.read.stored;
        let mut read = self.query.relations.iter().filter_map(|mention| self.bound.find(mention));
        if read.any(|read| read.history && read.read.stored == *stored) {
            let place = report.within(written, 0..length);
            let message = format!("`{}` has the versions of a row", stored.name);
            report.push(
                Finding::new(Code::WrongRelation, message, place)
                    .label("one of them that changes touches the units of others")
                    .help("leave it out: a change of it refreshes the whole"),
            );
        }
    }

    /// The unit's value is compared with the grain's column.
    fn check_unit(
        &self,
        name: &At<String>,
        written: &At<String>,
        column: &MartColumn,
        (of, cut): (&At<String>, &CutColumn),
        report: &mut Report<'_>,
    ) {
        if cut.cut.is_some() || type_name::alike(&cut.data_type, &column.data_type) {
            return;
        }
        let place = report.at(&written.span);
        let (own, there) = (type_name::said(&column.data_type), type_name::said(&cut.data_type));
        let message = format!("`{}` is {own}, and `{}` is {there}", name.value, of.value);
        let finding = Finding::new(Code::UnfitType, message, place);
        let is_date = column.data_type == DataType::BuiltIn(BuiltIn::Date);
        report.push(if is_date && type_name::is_time(&cut.data_type) {
            finding.label("nothing says where days are cut").help("add `cut = \"day\"`")
        } else {
            finding
                .label("they are compared to find what has changed")
                .help(format!("write `type = \"{there}\"`"))
        });
    }

    /// A relation that the query reads; a finding where it does not.
    fn read(&self, relation: &str, written: &At<String>, report: &mut Report<'_>) -> Option<&'r Readable> {
        let read = self.query.relations.iter().find(|mention| mention.name == relation);
        if let Some(mention) = read {
            return self.bound.find(mention);
        }
        let place = report.within(written, 0..relation.len());
        let message = format!("the query of `{}` does not read `{relation}`", self.draft.name.value);
        let known = self.query.relations.iter().filter(|mention| self.bound.find(mention).is_some());
        let known = known.map(|mention| mention.name.as_str());
        report.push(
            Finding::new(Code::UnknownInMart, message, place)
                .label(format!("not read in `{}`", self.file.path()))
                .did_you_mean(relation, known),
        );
        None
    }

    fn column(
        &self,
        name: &At<String>,
        (written, null): (Option<&At<String>>, Option<&At<bool>>),
        description: Option<&At<String>>,
        report: &mut Report<'_>,
    ) -> MartColumn {
        let data_type = match written {
            Some(written) => self.catalog.data_type(written, report),
            None => {
                if self.draft.complete {
                    let place = report.at(&name.span);
                    let message = format!("`{}` has no `type`", name.value);
                    report.push(
                        Finding::new(Code::MissingKey, message, place)
                            .label("a mart that is written as SQL says the types of its columns")
                            .help("add one, such as `type = \"integer\"`"),
                    );
                }
                None
            }
        };
        let nullable = null.is_some_and(|null| null.value);
        MartColumn {
            name: name.value.clone(),
            data_type: data_type.unwrap_or_else(type_name::placeholder),
            nullability: if nullable { Nullability::Nullable } else { Nullability::NotNull },
            description: described(description),
        }
    }
}
