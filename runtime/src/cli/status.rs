//! `warehouse status`: how slot, landing, silver and the last runs stand.

use medallion_verbs::source::Format;
use medallion_verbs::status::Arguments;

use super::Outcome;
use crate::alert::Measured;
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::place::Place;
use crate::progress::count;
use crate::survey::{self, Run, Slot, Survey};

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let place = Place::find(warehouse)?;
    let survey = survey::look(warehouse, &place).await?;
    let text = match arguments.format {
        Format::Human => human(&survey),
        Format::Json => {
            serde_json::to_string_pretty(&survey).during(|| "cannot write JSON".to_owned())? + "\n"
        }
    };
    super::answer(&text)?;
    let is_well = survey.alerts.iter().all(|alert| !alert.exceeded);
    Ok(if is_well { Outcome::Done } else { Outcome::Findings })
}

fn human(survey: &Survey) -> String {
    let mut text = format!("warehouse `{}`\n", survey.warehouse);
    if let Some(why) = &survey.unready {
        text += &format!("  {why}\n");
    }
    for polled in &survey.polled {
        text += &match (&polled.watermark, polled.behind_seconds) {
            (Some(watermark), Some(behind)) => {
                format!("polled: `{}` up to {watermark}, {:.1}s ago\n", polled.landing, behind.max(0.0))
            }
            _ => format!("polled: `{}` not yet\n", polled.landing),
        };
    }
    for copied in &survey.copied {
        text += &match (&copied.taken, copied.age_seconds) {
            (Some(taken), Some(age)) => {
                format!("snapshot: `{}` of {taken}, {:.1}s ago\n", copied.landing, age.max(0.0))
            }
            _ => format!("snapshot: `{}` not yet\n", copied.landing),
        };
    }
    for feed in &survey.files {
        let files = count(u64::try_from(feed.files).unwrap_or(0), "file");
        let rows = count(u64::try_from(feed.rows).unwrap_or(0), "row");
        let aside = if feed.quarantined > 0 {
            let lines = count(u64::try_from(feed.quarantined).unwrap_or(0), "line");
            format!(", {lines} in quarantine")
        } else {
            String::new()
        };
        text += &match &feed.moved {
            Some(moved) => {
                format!("files: `{}` has {rows} of {files}{aside}, the last at {moved}\n", feed.landing)
            }
            None => format!("files: `{}` has none yet\n", feed.landing),
        };
    }
    if let Some(why) = &survey.bronze_unseen {
        text += &format!("bronze: out of reach\n  {}\n", why.replace('\n', "\n  "));
    }
    match (&survey.slot, &survey.unseen) {
        (Some(slot), _) => text += &of_slot(slot),
        (None, None) => {}
        (None, Some(why)) => {
            let why = why.replace('\n', "\n  ");
            text += &format!("source: out of reach\n  {why}\n");
        }
    }
    if let Some(why) = &survey.refused {
        text += &format!("  no run goes on from there: {}\n", why.replace('\n', "\n  "));
    }
    match &survey.landed {
        Some(landed) => {
            let time = landed.system_time.as_deref().unwrap_or("nothing yet");
            text += &match survey.reads_log {
                true => format!(
                    "landed: up to {time} (position {}, {}, moved at {})\n",
                    landed.position, landed.state, landed.moved
                ),
                // There is no position where no log is read.
                false => format!("landed: up to {time} (moved at {})\n", landed.moved),
            };
        }
        None if survey.tells_of_bronze() && survey.has_source => {
            text += "landed: nothing yet; `medallion run` begins\n"
        }
        None => {}
    }
    let width = survey.relations.iter().map(|relation| relation.name.len()).max().unwrap_or(0);
    for relation in &survey.relations {
        let about = if relation.estimated { "about " } else { "" };
        let rows = format!("{about}{}", count(u64::try_from(relation.rows).unwrap_or(0), "row"));
        let mark = match (&relation.system_time, relation.behind_seconds) {
            (Some(time), Some(behind)) if behind > 0.0 => {
                format!("  true as of {time}, {behind:.1}s behind what has landed")
            }
            (Some(time), _) => format!("  true as of {time}"),
            (None, _) => String::new(),
        };
        text += &format!("{:6}  {:width$}  {rows}{mark}\n", relation.layer, relation.name);
    }
    for run in &survey.runs {
        text += &of_run(run);
    }
    for Measured { alert, value, most, exceeded } in &survey.alerts {
        let value = value.map_or_else(|| "not known".to_owned(), |value| format!("{value:.0}"));
        text += &match exceeded {
            true => format!("ALERT  {alert} is {value}, and {most} at most is well\n"),
            false => format!("ok     {alert} is {value}, {most} at most\n"),
        };
    }
    text
}

fn of_slot(slot: &Slot) -> String {
    let name = &slot.name;
    if !slot.exists {
        return format!("source: slot `{name}` is not there\n");
    }
    let reader = if slot.active { "being read" } else { "idle" };
    let status = slot.wal_status.as_deref().unwrap_or("lost");
    let lag = format!(
        "{} and {:.1}s behind",
        bytes(slot.lag_bytes.unwrap_or_default()),
        slot.lag_seconds.unwrap_or_default()
    );
    let retained = bytes(slot.retained_bytes.unwrap_or_default());
    let safe = slot.safe_bytes.map(|safe| format!(", {} until it is lost", bytes(safe))).unwrap_or_default();
    format!("source: slot `{name}` ({reader}, {status}) is {lag}; {retained} of log retained{safe}\n")
}

fn of_run(run: &Run) -> String {
    let kind = if run.metrics.get("watch").is_some() { "watch" } else { "run" };
    let said = run.metrics.get("error").or(run.metrics.get("refused")).and_then(|error| error.as_str());
    let why = said.map(|said| format!(": {}", said.lines().next().unwrap_or_default())).unwrap_or_default();
    format!("{kind:5}  {}  {} after {:.1}s{why}\n", run.started, run.status, run.seconds)
}

/// Bytes as people read them.
fn bytes(number: i64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mut value = number.max(0) as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_read_at_a_glance() {
        for (number, read) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 kB"), (5 << 30, "5.0 GB"), (-1, "0 B")]
        {
            assert_eq!(bytes(number), read);
        }
    }
}
