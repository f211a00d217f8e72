//! What lands during a watch: the source's changes, and files, in turns on one session. Knows no silver.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;

use crate::capture::follow::{Follower, Round};
use crate::capture::{Captured, Progress};
use crate::descriptor::Warehouse;
use crate::error::Result;
use crate::files::{Feeder, Left, Portion, Storage};
use crate::place::Place;

/// How often it is looked which files there are.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Lands batch after batch.
pub struct Lander<'a> {
    source: Source<'a>,
    files: Option<Files<'a>>,
}

/// Where the session is.
enum Source<'a> {
    /// With what the source tells.
    Followed(Box<Follower<'a>>),
    /// There are files alone.
    None(&'a mut PgConnection),
}

struct Files<'a> {
    feeder: Feeder<'a>,
    progress: &'a mut dyn Progress,
    looked: Option<Instant>,
    /// Whether more of what was listed is to land.
    is_full: bool,
}

impl<'a> Lander<'a> {
    /// Begins, or goes on where the landing before has ended. Lands the past, the first time.
    pub async fn begin(
        warehouse: &'a Warehouse,
        place: &'a Place,
        target: &'a mut PgConnection,
        of_source: &'a mut dyn Progress,
        of_files: &'a mut dyn Progress,
    ) -> Result<Self> {
        let files = if warehouse.has_feeds() {
            let storage = Storage::from_environment(warehouse.name)?;
            let feeder = Feeder::new(warehouse, storage, Portion::default());
            Some(Files { feeder, progress: of_files, looked: None, is_full: false })
        } else {
            None
        };
        let source = if !warehouse.has_source() {
            Source::None(target)
        } else {
            Source::Followed(Box::new(Follower::begin(warehouse, place, target, of_source).await?))
        };
        Ok(Self { source, files })
    }

    /// Lands the next batch, and the next piece of a file. Not to be dropped on its way, but for good.
    pub async fn next(&mut self) -> Result<Round> {
        let mut round = match &mut self.source {
            Source::Followed(follower) => follower.next().await?,
            Source::None(_) => Round { captured: Captured::default(), is_full: false, behind: 0 },
        };
        let Some(files) = &mut self.files else { return Ok(round) };
        if !files.is_full && files.looked.is_some_and(|at| at.elapsed() < LOOKS_EVERY) {
            return Ok(round);
        }
        files.looked = Some(Instant::now());
        let target = match &mut self.source {
            Source::Followed(follower) => follower.target(),
            Source::None(target) => target,
        };
        let left = files.feeder.step(target, files.progress, &mut round.captured).await?;
        files.is_full = left == Left::Pieces;
        round.is_full |= files.is_full;
        Ok(round)
    }

    /// The warehouse's session, between two batches.
    pub fn target(&mut self) -> &mut PgConnection {
        match &mut self.source {
            Source::Followed(follower) => follower.target(),
            Source::None(target) => target,
        }
    }
}
