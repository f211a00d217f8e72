//! `warehouse migrate`: sea-orm-migration's verbs.

use clap::Subcommand;

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::{Error, Result};
use crate::migrate;
use crate::place::Place;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Apply the migrations that the database lacks
    Up,
    /// Take back the last migration: what it made is dropped, rows included
    Down(Sure),
    /// Say which migrations the database has
    Status,
    /// Drop the whole warehouse and migrate anew; `run` then loads it from its source again
    Fresh(Sure),
}

#[derive(clap::Args)]
struct Sure {
    /// Yes, drop the rows
    #[arg(long)]
    yes: bool,
}

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    match &arguments.verb {
        Verb::Up => {
            let place = Place::find(warehouse.name)?;
            applied(&migrate::up(warehouse, &place).await?)?;
        }
        Verb::Down(sure) => {
            sure.confirm("migrate down")?;
            let place = Place::find(warehouse.name)?;
            match migrate::down(warehouse, &place).await? {
                Some(name) => super::answer(&format!("took back {name}\n"))?,
                None => super::answer("nothing to take back\n")?,
            }
        }
        Verb::Status => {
            let place = Place::find(warehouse.name)?;
            for state in migrate::states(warehouse, &place).await? {
                let word = if state.applied { "applied" } else { "pending" };
                super::answer(&format!("{word}  {}\n", state.name))?;
            }
        }
        Verb::Fresh(sure) => {
            sure.confirm("migrate fresh")?;
            let place = Place::find(warehouse.name)?;
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

impl Sure {
    fn confirm(&self, verb: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        Err(Error::new(format!("`{verb}` drops the warehouse's rows, and its history with them"))
            .remedy(format!("if that is what you want: `medallion {verb} --yes`")))
    }
}
