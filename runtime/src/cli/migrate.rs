//! `warehouse migrate`: sea-orm-migration's verbs.

use std::time::Duration;

use medallion_verbs::migrate::{Arguments, Down, Patient, Sure, Verb};

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::{Error, Result};
use crate::migrate::{self, Patience, Refused};
use crate::place::Place;

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    match &arguments.verb {
        Verb::Up(patient) => {
            let place = Place::find(warehouse)?;
            let refused = migrate::refused(warehouse, &place).await?;
            if !refused.is_empty() {
                super::answer(&told(&refused))?;
                return Ok(Outcome::Findings);
            }
            let say = &mut |line: &str| eprintln!("{line}");
            applied(&migrate::up_patiently(warehouse, &place, patience(patient), say).await?)?;
        }
        Verb::Down(Down { sure, patient }) => {
            confirm(sure, "migrate down")?;
            let place = Place::find(warehouse)?;
            let say = &mut |line: &str| eprintln!("{line}");
            match migrate::down_patiently(warehouse, &place, patience(patient), say).await? {
                Some(name) => super::answer(&format!("took back {name}\n"))?,
                None => super::answer("nothing to take back\n")?,
            }
        }
        Verb::Status => {
            let place = Place::find(warehouse)?;
            for state in migrate::states(warehouse, &place).await? {
                let word = if state.applied { "applied" } else { "pending" };
                super::answer(&format!("{word}  {}\n", state.name))?;
            }
        }
        Verb::Fresh(sure) => {
            confirm(sure, "migrate fresh")?;
            let place = Place::find(warehouse)?;
            applied(&migrate::fresh(warehouse, &place).await?)?;
        }
    }
    Ok(Outcome::Done)
}

fn applied(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return super::answer("nothing to apply: the database is up to date\n");
    }
    for name in names {
        super::answer(&format!("applied {name}\n"))?;
    }
    Ok(())
}

/// What is refused, with the lines to paste.
fn told(refused: &[Refused]) -> String {
    let mut text = String::new();
    let mut last = "";
    for Refused { migration, what } in refused {
        if migration != last {
            last = migration;
            text.push_str(&format!("{migration} is not applied: the spec does not allow what it risks\n"));
        }
        let (relation, hazard) = what.rsplit_once('.').unwrap_or((what, ""));
        text.push_str(&format!("  {relation}: {}\n", meaning(hazard)));
    }
    text.push_str("  = to allow it, write into the spec, generate, and build again:\n\n    [allow_hazard]\n");
    for Refused { what, .. } in refused {
        text.push_str(&format!("    \"{}\" = \"why\"\n", what.replace('\\', "\\\\").replace('"', "\\\"")));
    }
    text
}

fn meaning(hazard: &str) -> &'static str {
    match hazard {
        "rewrite" => "every row is written anew, while nobody can read or write the table",
        "scan" => "every row is read, while nobody can read or write the table",
        "index_build" => "every row is read, while nobody can write the table",
        _ => "values change, and taking the migration back does not bring back what they were",
    }
}

fn patience(asked: &Patient) -> Patience {
    Patience {
        lock: Duration::from_secs(asked.lock_timeout),
        whole: Duration::from_secs(asked.patience),
        statement: (asked.statement_timeout > 0).then(|| Duration::from_secs(asked.statement_timeout)),
    }
}

fn confirm(asked: &Sure, verb: &str) -> Result<()> {
    if asked.yes {
        return Ok(());
    }
    Err(Error::new(format!("`{verb}` drops the warehouse's rows, and its history with them"))
        .remedy(format!("if that is what you want: `medallion {verb} --yes`")))
}
