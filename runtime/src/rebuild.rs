//! Rebuilds relations: each is recomputed as a whole from bronze and the journal, and what is stored is
//! brought to it by difference, in one transaction, so that readers, views and grants notice nothing. What has
//! landed and waits is applied on the way.

use std::collections::BTreeSet;
use std::time::Instant;

use sqlx::{Connection as _, PgConnection};

use crate::apply::{self, Applied, Evolved, misfit};
use crate::connection::{self, Database};
use crate::data_test::{self, Changed, Look, Tested};
use crate::descriptor::{Name, SilverKind, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::progress::{Progress, count};
use crate::round::Misfits;
use crate::select::{self, Selection};
use crate::{lock, migrate, quote, refresh, round, run, statement};

/// What a rebuild did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The versions, states and rows that were not as they should be, by relation.
    pub differed: Vec<(Name, u64)>,
    /// What was tested of it. Where a test failed, nothing was published.
    pub tested: Vec<Tested>,
}

impl Outcome {
    /// Whether a test keeps what was rebuilt from being published.
    pub fn is_held(&self) -> bool {
        self.tested.iter().any(|one| one.status.holds_back())
    }
}

/// Rebuilds the relations of these names; without any, all.
pub async fn rebuild(
    warehouse: &Warehouse,
    place: &Place,
    names: &[String],
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let whole = chosen(warehouse, names)?;
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await?;
    round::prepare_session(&mut target).await?;
    lock::take(&mut target).await?;
    migrate::check(warehouse, &mut target).await?;
    let error = match attempt(warehouse, &whole, Misfits::Forgotten, &mut target, progress).await {
        Err(error) if misfit::may_be(warehouse, &error) => error,
        outcome => return outcome,
    };
    let findings = misfit::set_aside(warehouse, &whole, &mut target).await?;
    if findings.is_empty() {
        return Err(error);
    }
    for finding in &findings {
        progress.warn(finding);
    }
    attempt(warehouse, &whole, Misfits::Kept, &mut target, progress).await
}

/// All or nothing. What changes are left out, for they cannot be computed, is tried once more or has just been found.
async fn attempt(
    warehouse: &Warehouse,
    whole: &BTreeSet<Name>,
    misfits: Misfits,
    target: &mut PgConnection,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let mut transaction =
        target.begin().await.during(|| "cannot begin a transaction on the warehouse".to_owned())?;
    apply::hold(warehouse, &mut transaction).await?;
    if misfits == Misfits::Forgotten {
        misfit::forget(warehouse, whole, &mut transaction).await?;
    }
    statement::execute(&mut transaction, "SET LOCAL work_mem = '64MB'").await?;
    let landed = data_test::landed_since(warehouse, &mut transaction).await?;
    let started = Instant::now();
    let mut lines: Vec<(Name, &str, u64, f64)> = Vec::new();
    let applied = apply::rebuild(warehouse, whole, &mut transaction, |one: &Applied| {
        let verb = if whole.contains(&one.relation) { "rebuilt" } else { "applied" };
        lines.push((one.relation.clone(), verb, one.differed, one.elapsed.as_secs_f64()));
    })
    .await?;
    let refreshed = refresh::rebuild(warehouse, &applied, whole, &mut transaction, |one| {
        let verb = if whole.contains(&one.mart) { "rebuilt" } else { "refreshed" };
        lines.push((one.mart.clone(), verb, one.rows, one.elapsed.as_secs_f64()));
    })
    .await?;
    Evolved::done(whole, &mut transaction).await?;
    let mut outcome = Outcome::default();
    let of = lines.len();
    for (number, (name, verb, differed, seconds)) in (1..).zip(lines) {
        let (noun, rows) = (noun(warehouse, &name), rows_of(warehouse, &name));
        let rows = statement::scalar(&mut transaction, &rows, &[]).await?;
        let all = count(u64::try_from(rows).unwrap_or_default(), noun);
        progress.note(&format!(
            "{number} of {of} OK {verb} {name} [{differed} of {all} differed in {seconds:.2}s]"
        ));
        outcome.differed.push((name, differed));
    }
    let changed = Changed::new(warehouse, &applied, &refreshed, landed).whole(warehouse, whole);
    outcome.tested = data_test::look(warehouse, &Look::Changed(&changed), &mut transaction, |_| ()).await?;
    run::tell_tests(&outcome.tested, progress);
    if outcome.is_held() {
        transaction.rollback().await.during(|| "cannot undo what a test refused".to_owned())?;
        data_test::keep_held(warehouse, "rebuild", &outcome.tested, target).await?;
        progress.note(data_test::WRONG);
        progress.note("not published: silver and gold are as they were");
        return Ok(outcome);
    }
    transaction.commit().await.during(|| "cannot commit what was rebuilt".to_owned())?;
    progress.note(&format!("published all of it together [{:.2}s]", started.elapsed().as_secs_f64()));
    Ok(outcome)
}

/// The relations that can be computed anew and that a selection means.
pub fn selected(warehouse: &Warehouse, selection: &Selection) -> Result<BTreeSet<Name>> {
    let stored = everything(warehouse);
    let meant: BTreeSet<Name> =
        select::relations(warehouse, selection)?.intersection(&stored).cloned().collect();
    if meant.is_empty() {
        return Err(Error::new("nothing that is selected could be rebuilt").remedy(
            "select dimensions, facts, lookups or stored marts: landing tables are what these come from",
        ));
    }
    Ok(meant)
}

/// Every relation that can be computed anew.
pub fn everything(warehouse: &Warehouse) -> BTreeSet<Name> {
    let marts = warehouse.marts.iter().filter(|mart| mart.storage.is_kept());
    let silver = warehouse.silver.iter().map(|silver| &silver.table);
    silver.chain(marts.map(|mart| &mart.table)).cloned().collect()
}

/// The relations of the names: with their schemas or without, a dimension also by its view.
fn chosen(warehouse: &Warehouse, names: &[String]) -> Result<BTreeSet<Name>> {
    let marts = warehouse.marts.iter().filter(|mart| mart.storage.is_kept());
    let mut known: Vec<(&Name, &Name)> = marts.map(|mart| (&mart.table, &mart.table)).collect();
    for silver in &warehouse.silver {
        known.push((&silver.table, &silver.table));
        if let SilverKind::Dimension { current, .. } = &silver.kind {
            known.push((current, &silver.table));
        }
    }
    if names.is_empty() {
        return Ok(everything(warehouse));
    }
    names
        .iter()
        .map(|asked| {
            let is_meant = |name: &Name| name.table == *asked || name.to_string() == *asked;
            let found = known.iter().find(|(name, _)| is_meant(name));
            found.map(|(_, table)| (*table).clone()).ok_or_else(|| unknown(asked, &known))
        })
        .collect()
}

fn unknown(asked: &str, known: &[(&Name, &Name)]) -> Error {
    let bare = asked.rsplit('.').next().unwrap_or(asked);
    let nearest = known.iter().min_by_key(|(name, _)| strsim::levenshtein(&name.table, bare));
    let error = Error::new(format!("the warehouse stores no relation `{asked}` that could be rebuilt"));
    match nearest {
        Some((name, _)) => error.remedy(format!("did you mean `{}`?", name.table)),
        None => error,
    }
}

fn noun(warehouse: &Warehouse, name: &Name) -> &'static str {
    match warehouse.silver.iter().find(|silver| silver.table == *name).map(|silver| &silver.kind) {
        Some(SilverKind::Dimension { .. }) => "version",
        Some(SilverKind::Fact { .. }) => "state",
        None => "row",
    }
}

fn rows_of(warehouse: &Warehouse, name: &Name) -> String {
    let table = quote::name(name);
    match warehouse.silver.iter().find(|silver| silver.table == *name).map(|silver| &silver.kind) {
        Some(SilverKind::Fact { archive, .. }) => {
            format!("SELECT (SELECT count(*) FROM {table}) + (SELECT count(*) FROM {})", quote::name(archive))
        }
        _ => format!("SELECT count(*) FROM {table}"),
    }
}
