//! The order in which a mart's rows are read: columns of it, as ORDER BY would say. Knows no query.

use sqlparser::ast::{Expr, OrderBySort};

use super::mart::Draft;
use super::report::Report;
use super::sql;
use crate::finding::{Code, Finding};
use crate::model::{Direction, MartOrder, Nulls};

pub(super) fn lower(draft: &Draft<'_>, report: &mut Report<'_>) -> Vec<MartOrder> {
    let Some(order) = &draft.spec.order else { return Vec::new() };
    let grain = draft.grain().iter().filter_map(|column| column.name.as_ref());
    let measures = draft.spec.measures.iter().filter_map(|measure| measure.name.as_ref());
    let columns: Vec<&str> = grain.chain(measures).map(|name| name.value.as_str()).collect();
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
