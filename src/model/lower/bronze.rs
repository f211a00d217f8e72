//! Whether bronze stands in a database of its own, and what cannot be had then. Knows no relation.

use super::report::Report;
use crate::finding::{Code, Finding};
use crate::spec::{self, BronzeDatabase};

pub(super) fn is_apart(spec: &spec::Warehouse, report: &mut Report<'_>) -> bool {
    let Some(database) = &spec.bronze.database else { return false };
    match database.value {
        BronzeDatabase::Apart => {}
    }
    if let Some(retention) = &spec.retention {
        let message = "retention would fold what landed in two databases at once";
        let other = report.at(&retention.span);
        report.push(
            Finding::new(Code::KeysDisagree, message, report.at(&database.span))
                .label("bronze stands in a database of its own")
                .also(other, "what is older is to go from there and from silver")
                .help("leave `database` out, or keep all of the past"),
        );
    }
    true
}
