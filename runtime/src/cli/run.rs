//! `warehouse run`: the pipeline, once.

use std::collections::BTreeSet;
use std::time::Duration;

use medallion_verbs::run::Arguments;

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::progress::Lines;
use crate::rebuild;

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let whole = match (arguments.full_refresh, arguments.selection.is_any()) {
        (false, true) => {
            return Err(Error::new("a run takes in all that has landed, for silver and gold together")
                .remedy("with `--full-refresh` a selection says what is computed anew"));
        }
        (false, false) => BTreeSet::new(),
        (true, true) => rebuild::selected(warehouse, &arguments.selection)?,
        (true, false) => rebuild::everything(warehouse),
    };
    let place = Place::find(warehouse)?;
    let patience = Duration::from_secs(arguments.wait);
    let outcome = crate::run::run_anew(warehouse, &place, patience, &whole, &mut Lines).await?;
    let time = outcome.system_time.as_deref().unwrap_or("nothing yet");
    super::answer(&format!("{} is true as of {time}\n", warehouse.name))?;
    Ok(if outcome.is_held() { Outcome::Findings } else { Outcome::Done })
}
