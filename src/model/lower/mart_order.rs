//! The order in which a mart's rows are read: columns of it, as ORDER BY would say. Knows no query.

use sqlparser::ast::{Expr, OrderBySort};

use super::mart::Draft;
use super::report::Report;
use super::{sql, type_name};
use crate::finding::{Code, Finding};
use crate::model::{Direction, MartColumn, MartOrder, Nulls};

pub(super) fn lower(
    draft: &Draft<'_>,
    grain: &[MartColumn],
    measures: &[MartColumn],
    report: &mut Report<'_>,
) -> Vec<MartOrder> {
    let Some(order) = &draft.spec.order else { return Vec::new() };
    let typed = || grain.iter().chain(measures);
    let declared = draft.grain().iter().filter_map(|column| column.name.as_ref());
    let measured = draft.spec.measures.iter().filter_map(|measure| measure.name.as_ref());
    let columns: Vec<&str> = declared.chain(measured).map(|name| name.value.as_str()).collect();
    let mut lowered = Vec::new();
    for written in order.iter() {
        let (by, places) = match sql::order_by(written) {
            Ok(parsed) => parsed,
            Err(broken) => {
                let place = report.within(written, broken.offset..broken.offset);
                let message = format!("this SQL cannot be read: {}", broken.message);
                report.push(Finding::new(Code::SqlSyntax, message, place));
                continue;
            }
        };
        let Expr::Identifier(ident) = &by.expr else {
            let place = report.at(&written.span);
            report.push(
                Finding::new(Code::UnfitExpression, "a mart is ordered by columns of its own", place)
                    .label("a column, perhaps with `DESC` and `NULLS FIRST`")
                    .help("make it a measure, and order by its name"),
            );
            continue;
        };
        let name = sql::meant(ident);
        if !columns.contains(&name.as_str()) {
            let place = report.within(written, places.range(ident.span));
            let message = format!("`{}` has no column `{name}` to order by", draft.name.value);
            let finding = Finding::new(Code::UnknownInMart, message, place)
                .label("neither of the grain nor a measure")
                .did_you_mean(&name, columns.iter().copied());
            report.push_absent(finding, draft.complete);
            continue;
        }
        if let Some(column) = typed().find(|column| column.name == name)
            && !type_name::is_ordered(&column.data_type)
        {
            let place = report.within(written, places.range(ident.span));
            let message = format!("a mart cannot be ordered by `{name}`");
            let is = format!("is {}, which has no order", type_name::said(&column.data_type));
            report.push(Finding::new(Code::UnfitType, message, place).label(is));
            continue;
        }
        let descending = by.options.sort == Some(OrderBySort::Desc);
        lowered.push(MartOrder {
            column: name,
            direction: if descending { Direction::Descending } else { Direction::Ascending },
            nulls: match by.options.nulls_first.unwrap_or(descending) {
                true => Nulls::First,
                false => Nulls::Last,
            },
        });
    }
    lowered
}
