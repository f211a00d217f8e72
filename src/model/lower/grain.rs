//! The grain of a declared mart: for each of its columns a value in each source, a type, whether it can be NULL. Knows no
//! measure.

use super::catalog::Catalog;
use super::declared::Resolving;
use super::expression::{self, Checked, Purpose, Typed};
use super::report::Report;
use super::{derived, readable, type_name, unit};
use crate::finding::{Code, Finding};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, GrainValue, Nullability};
use crate::spec::{self, At, BySource};

/// The value of the grain's column in a source.
#[derive(Clone)]
pub(super) struct Value {
    pub value: GrainValue,
    typed: Option<Typed>,
    pub told: bool,
}

impl Resolving<'_, '_> {
    /// The type of a column of the grain, and its value in each source.
    pub fn grain(
        &self,
        name: &At<String>,
        column: &spec::GrainColumn,
        catalog: &Catalog<'_>,
        report: &mut Report<'_>,
    ) -> (Option<Typed>, Vec<Option<Value>>) {
        let mut values = vec![None; self.sources.len()];
        let mut mentioned = vec![false; self.sources.len()];
        match (&column.of, &column.expr) {
            (Some(of), None) => {
                for written in &of.0 {
                    self.grain_column(name, column, written, (&mut values, &mut mentioned), report);
                }
            }
            (None, Some(expression)) => {
                self.grain_expression(name, column, expression, (&mut values, &mut mentioned), report);
            }
            (Some(_), Some(expression)) => {
                let place = report.at(&expression.span);
                let message = format!("`{}` is both taken from a column and an expression", name.value);
                report
                    .push(Finding::new(Code::KeysDisagree, message, place).help("leave `of` or `expr` out"));
                return (None, values);
            }
            (None, None) => {
                if self.draft.complete {
                    let place = report.at(&name.span);
                    let message = format!("nothing says what `{}` is taken from", name.value);
                    report.push(
                        Finding::new(Code::MissingKey, message, place)
                            .label("no `of`")
                            .help("add `of = \"alias.column\"`, one for each source"),
                    );
                }
                return (None, values);
            }
        }
        if self.sources.len() > 1 && self.draft.complete {
            for (source, _) in self.sources.iter().zip(&mentioned).filter(|(_, mentioned)| !**mentioned) {
                let place = report.at(&name.span);
                let message = format!("`{}` is not taken from `{}`", name.value, source.alias.value);
                report.push(
                    Finding::new(Code::MissingKey, message, place)
                        .label("sources meet at the grain: each has every column of it")
                        .help(format!("add `{}.…` to `of`", source.alias.value)),
                );
            }
        }
        (self.grain_type(name, column, &values, catalog, report), values)
    }

    fn grain_column(
        &self,
        name: &At<String>,
        column: &spec::GrainColumn,
        written: &At<String>,
        (values, mentioned): (&mut [Option<Value>], &mut [bool]),
        report: &mut Report<'_>,
    ) {
        let Some((alias, _)) = written.split_once('.') else {
            let place = report.at(&written.span);
            let message = format!("`{}` does not say which source has it", written.value);
            let finding = Finding::new(Code::UnknownInMart, message, place).label("`alias.column`");
            let finding = match self.sources {
                [only] => finding.help(format!("write `{}.{}`", only.alias.value, written.value)),
                _ => finding,
            };
            report.push(finding);
            return;
        };
        let joined =
            self.sources.iter().position(|source| source.joins.iter().any(|one| one.alias.value == alias));
        let index = match joined {
            Some(index) => index,
            None => {
                let place = report.within(written, 0..alias.len());
                let Some(index) = self.source(alias, place, report) else { return };
                index
            }
        };
        let source = &self.sources[index];
        let Some((_, relation)) = source.relations().find(|(known, _)| *known == alias) else { return };
        mentioned[index] = true;
        if values[index].is_some() {
            let place = report.at(&written.span);
            let message = format!("`{}` is taken from `{}` twice", name.value, source.alias.value);
            report.push(Finding::new(Code::KeysDisagree, message, place).label("one column of each source"));
            return;
        }
        let cut = unit::cut(written, alias.len() + 1, relation, column.cut.as_ref(), report);
        values[index] = cut.map(|(cut, nullability)| {
            let data_type = match cut.cut {
                Some(_) => DataType::BuiltIn(BuiltIn::Date),
                None => cut.data_type.clone(),
            };
            Value {
                told: !readable::is_added(&cut.column),
                typed: Some((data_type, nullability)),
                value: GrainValue::Column(alias.to_owned(), cut),
            }
        });
    }

    fn grain_expression(
        &self,
        name: &At<String>,
        column: &spec::GrainColumn,
        expression: &At<BySource>,
        (values, mentioned): (&mut [Option<Value>], &mut [bool]),
        report: &mut Report<'_>,
    ) {
        if let Some(cut) = &column.cut {
            let place = report.at(&cut.span);
            let message = format!("`{}` is an expression, and `cut` is of a column", name.value);
            report.push(Finding::new(Code::KeysDisagree, message, place).help(format!(
                "cut it in the expression: `date_trunc('{}', … AT TIME ZONE '{}')::date`",
                unit::word(cut.value),
                self.time_zone
            )));
        }
        for (index, written) in self.by_source(expression, "an expression", report) {
            mentioned[index] = true;
            let Some(parsed) = expression::parse(&written, report) else { continue };
            let place = self.place(index);
            let checked = expression::check_parsed(&written, &parsed, Purpose::Grain, &place, report);
            let typed = match checked {
                Checked::Typed(typed) => Some(typed),
                Checked::Refused => continue,
                Checked::Count | Checked::Untyped => None,
            };
            if typed.is_none() && column.data_type.is_none() {
                let place = report.at(&name.span);
                let message = format!("`{}` has no `type`, and none can be told", name.value);
                report.push(
                    Finding::new(Code::UntypedMeasure, message, place)
                        .help("add one, such as `type = \"text\"`"),
                );
            }
            let told = !derived::named(&parsed.tree).iter().any(|name| readable::is_added(name));
            values[index] =
                Some(Value { value: GrainValue::Expression(expression::text(&written)), typed, told });
        }
    }

    fn grain_type(
        &self,
        name: &At<String>,
        column: &spec::GrainColumn,
        values: &[Option<Value>],
        catalog: &Catalog<'_>,
        report: &mut Report<'_>,
    ) -> Option<Typed> {
        let own = column
            .data_type
            .as_ref()
            .and_then(|written| Some((written, catalog.data_type(written, report)?)));
        let said = column.null.as_ref().map(|null| match null.value {
            true => Nullability::Nullable,
            false => Nullability::NotNull,
        });
        let known = values.iter().flatten();
        let mut nullability = Nullability::NotNull;
        let mut first: Option<DataType> = None;
        for value in known {
            let untold = matches!(&value.value, GrainValue::Expression(_)) && value.typed.is_none();
            let Some((data_type, null)) = &value.typed else {
                // Of an expression nobody knows, unless the spec says so.
                if untold && said != Some(Nullability::NotNull) {
                    nullability = Nullability::Nullable;
                }
                continue;
            };
            if *null == Nullability::Nullable {
                nullability = Nullability::Nullable;
            }
            let Some(first) = &first else {
                first = Some(data_type.clone());
                continue;
            };
            if !type_name::alike(first, data_type) {
                let place = report.at(&name.span);
                let message = format!(
                    "`{}` is {} in one source and {} in another",
                    name.value,
                    type_name::said(first),
                    type_name::said(data_type),
                );
                report.push(Finding::new(Code::UnfitType, message, place).label("the types have to agree"));
            }
        }
        if let (Some((written, own)), Some(told)) = (&own, &first)
            && !type_name::alike(own, told)
        {
            let place = report.at(&written.span);
            let message = format!("`{}` is {}", name.value, type_name::said(told));
            report.push(Finding::new(Code::UnfitType, message, place).help("leave `type` out"));
        }
        if let Some((written, own)) = &own
            && first.is_none()
            && !type_name::is_ordered(own)
        {
            let place = report.at(&written.span);
            let message = format!("`{}` cannot be in a grain", name.value);
            let is = format!("{} has no order", type_name::said(own));
            report.push(Finding::new(Code::UnfitType, message, place).label(is));
        }
        let data_type = own.map(|(_, own)| own).or(first)?;
        Some((data_type, nullability))
    }
}
