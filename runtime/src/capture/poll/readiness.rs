//! Is a source ready to be polled, or copied? What keeps it from that, and what a poll cannot see there. Changes nothing.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::super::preflight::{Problem, Problems};
use super::super::readiness::Readiness;
use super::super::{connect, copies, fit};
use super::table::{self, Table};
use crate::descriptor::{Deletes, Warehouse};
use crate::error::{During as _, Result};
use crate::quote;

/// Looks at a source whose log is not read; at the warehouse too, where there is one.
pub async fn check(
    warehouse: &Warehouse,
    source_url: &str,
    mut target: Option<&mut PgConnection>,
) -> Result<Readiness> {
    let mut source = connect(source_url).await?;
    let mut readiness = Readiness::default();
    let mut problems = Problems::default();
    let copied = target.as_deref_mut();
    copies::check(warehouse, &mut source, copied, &mut problems, &mut readiness).await?;
    let tables = table::look(&mut source, warehouse, &mut problems).await?;
    if let (true, Some(target)) = (tables.len() == warehouse.captured().len(), target) {
        let captured: Vec<_> = tables.iter().map(Table::as_captured).collect();
        let fit = fit::look(&mut source, target, warehouse, warehouse.captured(), &captured).await?;
        for misfit in fit.misfits {
            problems.add(misfit.what, misfit.remedy);
        }
        for warning in fit.warnings {
            let (what, remedy) = warning.rsplit_once("; ").unwrap_or((&warning, "see to it"));
            readiness.warns(what, remedy);
        }
    }
    for Problem { what, remedy } in problems.into_list() {
        readiness.stops(what, remedy);
    }
    facts(&mut source, warehouse, &mut readiness).await?;
    if let Some(finding) = super::left_behind(&mut source, &warehouse.source.slot).await? {
        let (what, remedy) = finding.split_once("; ").unwrap_or((&finding, "see to it"));
        readiness.warns(what, remedy);
    }
    for table in &tables {
        limits(table, warehouse, &mut readiness);
    }
    Ok(readiness.sorted())
}

async fn facts(source: &mut PgConnection, warehouse: &Warehouse, readiness: &mut Readiness) -> Result<()> {
    let unasked = || "cannot ask the source for its settings".to_owned();
    let row =
        sqlx::query("SELECT current_setting('server_version'), current_database()::text, current_user::text")
            .fetch_one(source)
            .await
            .during(unasked)?;
    let text = |at: usize| row.try_get::<String, _>(at).during(unasked);
    readiness.facts.push(format!("PostgreSQL {}, database `{}`, role `{}`", text(0)?, text(1)?, text(2)?));
    let Some(polling) = &warehouse.source.polling else { return Ok(()) };
    readiness.facts.push(format!(
        "captured by watermark: `watch` asks every {} s, and each time for the last {} s again",
        polling.every.as_secs(),
        polling.look_back.as_secs()
    ));
    Ok(())
}

/// What is missed, and what is dear.
fn limits(table: &Table, warehouse: &Warehouse, readiness: &mut Readiness) {
    let name = &table.name;
    let (quoted, column) = (quote::name(name), quote::identifier(&table.watermark.column));
    if table.deletes == Deletes::Ignored {
        readiness.warns(
            format!("deletes of `{name}` are not seen: the warehouse keeps each row as it was last"),
            "mark rows as deleted instead, or write `deletes = \"compare\"`",
        );
    }
    if table.is_nullable {
        readiness.warns(
            format!("rows of `{name}` without a `{}` are never read", table.watermark.column),
            format!("ALTER TABLE {quoted} ALTER {column} SET NOT NULL;"),
        );
    }
    if !table.is_indexed {
        readiness.warns(
            format!(
                "no index of `{name}` begins with `{}`: each poll reads the whole table",
                table.watermark.column
            ),
            format!(
                "CREATE INDEX CONCURRENTLY ON {quoted} ({});",
                std::iter::once(column.clone())
                    .chain(table.key.iter().map(|one| quote::identifier(&one.name)))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        );
    }
    if table.watermark.zone.is_some() && warehouse.time_zone != "UTC" {
        readiness.warns(
            format!(
                "`{name}.{}` says no time zone: where clocks in {} are set back, an hour comes twice, and changes in \
                 it can be missed",
                table.watermark.column, warehouse.time_zone
            ),
            format!("ALTER TABLE {quoted} ALTER {column} TYPE timestamptz;"),
        );
    }
}
