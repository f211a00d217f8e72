//! `warehouse simulate`: rounds of the warehouse's `traffic.sql` on its source.

use std::time::Duration;

use super::Outcome;
use crate::connection::Database;
use crate::descriptor::Warehouse;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::progress::count;
use crate::script;

#[derive(clap::Args)]
pub struct Arguments {
    /// How many rounds of traffic
    #[arg(long, default_value_t = 1)]
    rounds: u64,

    /// How long to pause between two rounds, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, allow_hyphen_values = true)]
    pause: f64,
}

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let Some(traffic) = warehouse.scripts.traffic else {
        return Err(Error::new(format!("warehouse `{}` has no traffic of its own", warehouse.name))
            .remedy(format!("write one round of changes to spec/{}/traffic.sql", warehouse.name)));
    };
    let pause = Duration::try_from_secs_f64(arguments.pause).map_err(|_| {
        Error::new(format!("`{}` is no pause", arguments.pause)).remedy("give seconds, 0 or more")
    })?;
    let place = Place::find(warehouse.name)?;
    for round in 0..arguments.rounds {
        if round > 0 {
            tokio::time::sleep(pause).await;
        }
        script::execute(Database::Source, &place.source, "traffic.sql", traffic).await?;
    }
    super::answer(&format!("{} of traffic on the source\n", count(arguments.rounds, "round")))?;
    Ok(Outcome::Done)
}
