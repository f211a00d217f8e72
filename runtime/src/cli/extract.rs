//! `warehouse extract`: what has changed at a source that is polled, as files that another process reads.

use std::path::Path;
use std::time::Duration;

use medallion_verbs::extract::Arguments;

use super::Outcome;
use crate::capture;
use crate::capture::extract::{Extractor, To};
use crate::descriptor::{Name, Warehouse};
use crate::error::{Error, Result};
use crate::files::Storage;
use crate::place::Place;
use crate::progress::{Lines, Progress as _, count};
use crate::watch::Stop;

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let every = arguments.every.map(|seconds| {
        Duration::try_from_secs_f64(seconds).map_err(|_| {
            Error::new(format!("`{seconds}` is no time to wait")).remedy("give seconds, 0 or more")
        })
    });
    let every = every.transpose()?;
    let source = Place::find_source(warehouse)?;
    let stop = Stop::default();
    super::watch::listen(&stop)?;
    let to = to(&arguments.to, arguments.state.as_deref())?;
    let mut extractor = Extractor::begin(warehouse, &source, to).await?;
    let mut unheard = Unheard;
    loop {
        let extracted = tokio::select! {
            biased;
            () = stop.stopped() => return stopped(every),
            extracted = extractor.poll(&mut unheard) => extracted?,
        };
        for (table, written) in &extracted {
            let (changes, files) = (count(written.changes, "change"), count(written.files, "file"));
            let said = format!("{table}: {changes} in {files}");
            match every {
                Some(_) => Lines.note(&said),
                None => super::answer(&format!("{said}\n"))?,
            }
        }
        let Some(every) = every else {
            if extracted.is_empty() {
                super::answer("nothing new at the source\n")?;
            }
            return Ok(Outcome::Done);
        };
        tokio::select! {
            () = stop.stopped() => return stopped(Some(every)),
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// What is meant by the place and the directory.
fn to<'t>(place: &'t str, state: Option<&'t Path>) -> Result<To<'t>> {
    match (place.contains("://"), state) {
        (false, None) => Ok(To::Directory(Path::new(place))),
        (false, Some(_)) => Err(Error::new("a directory keeps what was written to it beside its files")
            .remedy("leave --state away: it is for buckets")),
        (true, None) => Err(Error::new("a bucket does not keep what was written to it")
            .remedy("name a directory of this machine that stays, with --state")),
        (true, Some(state)) => Ok(To::Bucket { bucket: Storage::bucket(place)?, state }),
    }
}

/// Who looks again and again is meant to be stopped.
fn stopped(every: Option<Duration>) -> Result<Outcome> {
    match every {
        Some(_) => Ok(Outcome::Done),
        None => Err(Error::new("interrupted")
            .remedy("whole batches are written and nothing else: extract again to go on")),
    }
}

/// What was written is told when a poll has come to its end.
struct Unheard;

impl capture::Progress for Unheard {
    fn landed(&mut self, _: &Name, _: u64) {}

    fn note(&mut self, _: &str) {}
}
