//! `warehouse rebuild`: relations from bronze again.

use medallion_verbs::rebuild::Arguments;

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::Result;
use crate::place::Place;
use crate::progress::Lines;
use crate::rebuild;

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let relations = match arguments.selection.is_any() {
        true => rebuild::selected(warehouse, &arguments.selection)?.iter().map(ToString::to_string).collect(),
        false => arguments.relations.clone(),
    };
    let place = Place::find(warehouse)?;
    let outcome = rebuild::rebuild(warehouse, &place, &relations, &mut Lines).await?;
    if outcome.is_held() {
        return Ok(Outcome::Findings);
    }
    let differed: u64 = outcome.differed.iter().map(|(_, differed)| differed).sum();
    super::answer(&match differed {
        0 => "nothing differed\n".to_owned(),
        1 => "1 row differed and is as it should be\n".to_owned(),
        rows => format!("{rows} rows differed and are as they should be\n"),
    })?;
    Ok(Outcome::Done)
}
