//! `warehouse forget`: erases a subject, or says what would go.

use medallion_verbs::forget::Arguments;

use super::Outcome;
use crate::descriptor::{Deletes, Fed, Gone, Name, Warehouse};
use crate::error::Result;
use crate::forget::{self, Current, Extent, Subject};
use crate::place::Place;
use crate::progress::{Lines, Progress as _, count};

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let place = Place::find(warehouse)?;
    let subject = Subject::find(warehouse, &arguments.relation, &arguments.key)?;
    let current = if arguments.even_if_current { Current::Erase } else { Current::Refuse };
    let extent = match (arguments.dry_run, arguments.even_if_tests_fail) {
        (true, _) => Extent::Try,
        (false, true) => Extent::Insist,
        (false, false) => Extent::Keep,
    };
    let gone = match forget::forget(warehouse, &place, &subject, current, extent).await? {
        forget::Outcome::Forgotten(gone) => gone,
        forget::Outcome::StillThere => {
            Lines.warn(still_there(warehouse, &subject.silver.feed));
            return Ok(Outcome::Findings);
        }
        forget::Outcome::Held(refused) => {
            for finding in &refused {
                Lines.warn(finding);
            }
            Lines.warn("nothing was erased; --even-if-tests-fail erases it all the same");
            return Ok(Outcome::Findings);
        }
        forget::Outcome::Unknown => {
            Lines.warn("nothing is known of such a key");
            return Ok(Outcome::Findings);
        }
    };
    let verb = if arguments.dry_run { "would go" } else { "went" };
    let mut lines = String::new();
    for (table, rows) in &gone {
        lines.push_str(&format!("{table}: {} {verb}\n", count(*rows, "row")));
    }
    super::answer(&lines)?;
    Ok(Outcome::Done)
}

/// What to do about a row that is current, as far as is known: not every feed tells what is gone.
fn still_there(warehouse: &Warehouse, feed: &Name) -> &'static str {
    let fed = warehouse.landings.iter().enumerate().find(|(_, landing)| landing.table == *feed);
    let polled = |at: usize| warehouse.source.polling.as_ref()?.watermarks.get(at);
    let tells_deletes = match fed.map(|(at, landing)| (at, &landing.fed)) {
        Some((_, Fed::Files(_))) => {
            return "it is current, and files do not tell what is gone: take it out of them, or one that is read again \
                    brings it back; --even-if-current erases it";
        }
        Some((_, Fed::Snapshots(snapshots))) => snapshots.gone == Gone::Closed,
        Some((at, Fed::Changes)) => polled(at).is_none_or(|one| one.deletes == Deletes::Compared),
        None => true,
    };
    match tells_deletes {
        true => {
            "it is at the source still, as far as has been applied: delete it there and run first, or it comes back; \
             --even-if-current erases it all the same"
        }
        false => {
            "it is current, and its feed does not tell what is gone: delete it at the source, or it comes back; \
             --even-if-current erases it"
        }
    }
}
