//! `warehouse verify`: the laws on the warehouse at hand, a line a check.

use medallion_verbs::verify::{Arguments, Format};

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::place::Place;
use crate::progress::count;
use crate::select;
use crate::verify::{self, Check};

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let place = Place::find(warehouse)?;
    let selected = match arguments.selection.is_any() {
        true => Some(select::relations(warehouse, &arguments.selection)?),
        false => None,
    };
    let mut unprinted = Ok(());
    let checks = verify::verify_of(warehouse, selected.as_ref(), &place, |check| {
        if let (Format::Human, Ok(())) = (arguments.format, &unprinted) {
            unprinted = super::answer(&line(check));
        }
    })
    .await?;
    unprinted?;
    let broken = checks.iter().filter(|check| check.broken > 0).count();
    super::answer(&match arguments.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&checks).during(|| "cannot write JSON".to_owned())?;
            format!("{text}\n")
        }
        Format::Human if broken == 0 => format!("{} hold\n", count(checks.len() as u64, "check")),
        Format::Human => {
            format!("{broken} of {} do not hold\n", count(checks.len() as u64, "check"))
        }
    })?;
    Ok(if broken == 0 { Outcome::Done } else { Outcome::Findings })
}

fn line(check: &Check) -> String {
    let Check { relation, law, broken, findings, waits, remedy, elapsed } = check;
    let seconds = elapsed.as_secs_f64();
    let mut text = match broken {
        0 => format!("OK {relation} {law} [{seconds:.2}s]\n"),
        rows => format!("FAIL {relation} {law}: {} broken [{seconds:.2}s]\n", count(*rows, "row")),
    };
    for finding in findings {
        text += &format!("  {finding}\n");
    }
    if *broken > findings.len() as u64 {
        text += "  …\n";
    }
    for note in [waits.as_deref(), *remedy].into_iter().flatten() {
        text += &format!("  = {note}\n");
    }
    text
}
