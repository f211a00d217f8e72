//! `warehouse source`: is the source ready to be captured; make it so; go on with it after a gap; clean up.

use medallion_verbs::source::{Arguments, Format, Verb};
use sqlx::PgConnection;

use super::Outcome;
use crate::apart;
use crate::capture::prepare::{self, Plan};
use crate::capture::readiness::{self, Readiness, Severity};
use crate::capture::resnapshot::{self, Differences, Left, Resnapshot};
use crate::connection::{self, Database};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::progress::{Lines, Progress as _, count};
use crate::{capture, files, lock, migrate, quote, round};

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    if !warehouse.has_source() && !matches!(arguments.verb, Verb::Check { .. }) {
        return Err(Error::new(format!(
            "warehouse `{}` has no database as its source: files feed it",
            warehouse.name
        ))
        .remedy("`medallion source check` says which files are there"));
    }
    let place = Place::find(warehouse)?;
    match &arguments.verb {
        Verb::Check { format } => check(warehouse, &place, *format).await,
        Verb::Prepare { dry_run, role } => prepare(warehouse, &place, *dry_run, role.as_deref()).await,
        Verb::Resnapshot { dry_run, yes } => resnapshot(warehouse, &place, *dry_run, *yes).await,
        Verb::Drop { yes } => drop(warehouse, &place, *yes).await,
    }
}

async fn check(warehouse: &Warehouse, place: &Place, format: Format) -> Result<Outcome> {
    let mut target = target(warehouse, place).await;
    let mut readiness = match warehouse.has_source() {
        true => readiness::check(warehouse, &place.source, target.as_mut().ok()).await?,
        false => Readiness::default(),
    };
    if warehouse.has_feeds() {
        let storage = files::Storage::from_environment(warehouse.name)?;
        readiness.facts.extend(files::there(warehouse, &storage, target.as_mut().ok()).await?);
    }
    if let Err(error) = &target {
        readiness.facts.push(format!("not compared with silver: {}", error.what()));
    }
    let text = match format {
        Format::Human => human(&readiness),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(&serde_json::json!({
                "ready": readiness.is_ready(),
                "facts": readiness.facts,
                "findings": readiness.findings,
            }))
            .during(|| "cannot write JSON".to_owned())?;
            text.push('\n');
            text
        }
    };
    super::answer(&text)?;
    Ok(if readiness.is_ready() { Outcome::Done } else { Outcome::Findings })
}

/// The warehouse, where there is one to compare with; where bronze stands apart, what of it changes land in, which has
/// the same objects.
async fn target(warehouse: &Warehouse, place: &Place) -> Result<PgConnection> {
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await?;
    migrate::check(warehouse, &mut target).await?;
    Ok(apart::look(warehouse, place, &mut target).await?.unwrap_or(target))
}

/// The warehouse's session that keeps others from it, where bronze stands apart.
async fn alone(place: &Place) -> Result<PgConnection> {
    let mut whole = connection::connect(Database::Warehouse, &place.warehouse).await?;
    lock::take(&mut whole).await?;
    Ok(whole)
}

fn human(readiness: &Readiness) -> String {
    let mut text = String::new();
    for fact in &readiness.facts {
        text += &format!("ok     {fact}\n");
    }
    for finding in &readiness.findings {
        let word = match finding.severity {
            Severity::Stops => "STOPS",
            Severity::Warns => "warns",
        };
        text += &format!("{word}  {}\n       = {}\n", finding.what, finding.remedy);
    }
    let stops = readiness.findings.iter().filter(|finding| finding.severity == Severity::Stops).count();
    let warns = readiness.findings.len() - stops;
    text += &match stops {
        0 => format!("ready to be captured, {}\n", count(warns as u64, "warning")),
        _ => format!(
            "not ready: {}, {}; `medallion source prepare --dry-run` shows what it would do about them\n",
            count(stops as u64, "finding"),
            count(warns as u64, "warning")
        ),
    };
    text
}

async fn prepare(warehouse: &Warehouse, place: &Place, dry_run: bool, role: Option<&str>) -> Result<Outcome> {
    let mut source = prepare::connect(&place.source).await?;
    let mut target = target(warehouse, place).await;
    let plan = prepare::plan(warehouse, &mut source, target.as_mut().ok(), role).await?;
    let create = |slot: &str| {
        format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput')", quote::literal(slot))
    };
    super::answer(&sql(&plan, create, "the source is prepared: nothing to do\n"))?;
    if !dry_run {
        prepare::prepare(&plan, &mut source, target.as_mut().ok(), &mut Notes).await?;
    }
    for note in plan.notes.iter().filter(|_| !plan.is_empty()) {
        Lines.note(note);
    }
    Ok(Outcome::Done)
}

async fn drop(warehouse: &Warehouse, place: &Place, yes: bool) -> Result<Outcome> {
    let mut source = prepare::connect(&place.source).await?;
    let plan = prepare::plan_drop(warehouse, &mut source).await?;
    if !yes && !plan.is_empty() {
        return Err(Error::new(
            "`source drop` lets go of the source: what commits from then on is not captured",
        )
        .remedy("if that is what you want: `medallion source drop --yes`"));
    }
    let drop = |slot: &str| format!("SELECT pg_drop_replication_slot({})", quote::literal(slot));
    super::answer(&sql(&plan, drop, "nothing to drop\n"))?;
    prepare::drop(&plan, &mut source).await?;
    for note in &plan.notes {
        Lines.note(note);
    }
    Ok(Outcome::Done)
}

async fn resnapshot(warehouse: &Warehouse, place: &Place, dry_run: bool, yes: bool) -> Result<Outcome> {
    if !dry_run && !yes {
        return Err(Error::new(
            "`source resnapshot` makes the slot anew, and lands what the source has and lacks by now",
        )
        .remedy("`medallion source resnapshot --dry-run` says what that is; `--yes` does it"));
    }
    let mut target = target(warehouse, place).await?;
    round::prepare_session(&mut target).await?;
    let done = if dry_run {
        resnapshot::rehearse(warehouse, &place.source, &mut target, &mut Notes).await?
    } else {
        // As a run: nobody else lands, applies or migrates meanwhile.
        let mut whole = match warehouse.is_bronze_apart() {
            true => Some(alone(place).await?),
            false => None,
        };
        lock::take(&mut target).await?;
        migrate::check_objects(warehouse, &mut target).await?;
        if let Some(whole) = &mut whole
            && apart::meet(warehouse, whole, &mut target).await?
        {
            Lines.note(
                "the next run computes silver and marts anew: the warehouse and its bronze are not of one time",
            );
        }
        resnapshot::resnapshot(warehouse, &place.source, &mut target, &mut Notes).await?
    };
    super::answer(&differences(&done, dry_run))?;
    for finding in &done.findings {
        Lines.warn(finding);
    }
    Lines.note(match dry_run {
        true => "nothing was changed: `medallion source resnapshot --yes` does it",
        false => "`medallion run` goes on from here",
    });
    Ok(Outcome::Done)
}

/// What a resnapshot does, a line a landing table that differs.
fn differences(done: &Resnapshot, dry_run: bool) -> String {
    let (system, database, timeline) = &done.site;
    let (drops, makes) = if dry_run { ("would drop", "would make") } else { ("dropped", "made") };
    let mut text = format!("source: database `{database}` of system {system}, timeline {timeline}\n");
    if let Some(left) = &done.left {
        text += &stays(left);
    }
    if let Some(slot) = &done.slot {
        if done.drops_slot {
            text += &format!("{drops} replication slot `{slot}`\n");
        }
        text += &format!("{makes} replication slot `{slot}`\n");
    }
    let mut equal = 0;
    for (landing, Differences { new, changed, gone }) in &done.differences {
        match new + changed + gone {
            0 => equal += 1,
            _ => text += &format!("{landing}: {new} new, {changed} changed, {gone} gone\n"),
        }
    }
    let as_is = count(equal, "landing table");
    match equal {
        0 => text,
        _ => text + &format!("{as_is} as the source has it\n"),
    }
}

/// What stays at the source that was followed before, and how to be rid of it.
fn stays(left: &Left) -> String {
    let Left { system_identifier, database, slots, publication } = left;
    let names: Vec<String> = slots.iter().map(|slot| format!("replication slot `{slot}`")).collect();
    let names = names.into_iter().chain([format!("publication `{publication}`")]).collect::<Vec<_>>();
    let drops =
        slots.iter().map(|slot| format!("SELECT pg_drop_replication_slot({});", quote::literal(slot)));
    let drops: Vec<String> =
        drops.chain([format!("DROP PUBLICATION {};", quote::identifier(publication))]).collect();
    let keeps = match slots.is_empty() {
        true => "",
        false => ", and it keeps its log until the slot is dropped",
    };
    format!(
        "left behind at database `{database}` of system {system_identifier}: {}{keeps}\n  to drop them: \
         `medallion source drop --yes` with SOURCE_DATABASE_URL naming that database; or there: {}\n",
        names.join(", "),
        drops.join(" ")
    )
}

/// What is done, as a script.
fn sql(plan: &Plan, slot: impl Fn(&str) -> String, nothing: &str) -> String {
    if plan.is_empty() {
        return nothing.to_owned();
    }
    let statements = plan.together.iter().cloned().chain(plan.slots.iter().map(|name| slot(name)));
    statements.map(|sql| format!("{sql};\n")).collect()
}

/// What a slot waits for, in the command's voice.
struct Notes;

impl capture::Progress for Notes {
    fn landed(&mut self, _: &Name, _: u64) {}

    fn note(&mut self, text: &str) {
        Lines.note(text);
    }
}
