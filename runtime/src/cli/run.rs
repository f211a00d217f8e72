//! `warehouse run`: the pipeline, once.

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::Result;
use crate::place::Place;
use crate::progress::Lines;

#[derive(clap::Args)]
pub struct Arguments {}

pub async fn run(warehouse: &Warehouse, _: &Arguments) -> Result<Outcome> {
    let place = Place::find(warehouse.name)?;
    let outcome = crate::run::run(warehouse, &place, &mut Lines).await?;
    let time = outcome.system_time.as_deref().unwrap_or("nothing yet");
    super::answer(&format!("{} is true as of {time}\n", warehouse.name))?;
    Ok(Outcome::Done)
}
