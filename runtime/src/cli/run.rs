//! `warehouse run`: the pipeline, once.

use std::time::Duration;

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::Result;
use crate::place::Place;
use crate::progress::Lines;

#[derive(clap::Args)]
pub struct Arguments {
    /// For how long to wait for a server that goes away meanwhile, or for room on its disk; 0 is not at all
    #[arg(long, value_name = "SECONDS", default_value_t = crate::run::PATIENCE.as_secs())]
    wait: u64,
}

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let place = Place::find(warehouse.name)?;
    let patience = Duration::from_secs(arguments.wait);
    let outcome = crate::run::run_patiently(warehouse, &place, patience, &mut Lines).await?;
    let time = outcome.system_time.as_deref().unwrap_or("nothing yet");
    super::answer(&format!("{} is true as of {time}\n", warehouse.name))?;
    Ok(if outcome.is_held() { Outcome::Findings } else { Outcome::Done })
}
