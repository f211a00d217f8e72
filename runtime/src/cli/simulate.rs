//! `warehouse simulate`: rounds of the warehouse's `traffic.sql` on its source, once or at a set rate.

use std::time::{Duration, Instant};

use medallion_verbs::simulate::Arguments;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{MissedTickBehavior, interval};

use super::Outcome;
use crate::connection::{self, Database};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::progress::{Lines, Progress as _, count};
use crate::script;
use crate::watch::Stop;

/// How often it is told how far it has come.
const TELLS_EVERY: Duration = Duration::from_secs(1);

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let Some(traffic) = warehouse.scripts.traffic else {
        return Err(Error::new(format!("warehouse `{}` has no traffic of its own", warehouse.name))
            .remedy(format!("write one round of changes to spec/{}/traffic.sql", warehouse.name)));
    };
    if !warehouse.has_source() {
        return Err(Error::new(format!(
            "warehouse `{}` has no source that traffic could go to",
            warehouse.name
        ))
        .remedy("write files where it finds them: `medallion source check` says where that is"));
    }
    let course = Course::of(arguments)?;
    let place = Place::find(warehouse)?;
    let mut source = connection::connect(Database::Source, &place.source).await?;
    if let Some(seed) = arguments.seed {
        sow(seed, &mut source).await?;
    }
    let stop = Stop::default();
    super::watch::listen(&stop)?;
    let started = Instant::now();
    let rounds = course.go(traffic, &mut source, &stop).await?;
    source.close().await.during(|| "cannot end the session of `traffic.sql`".to_owned())?;
    let rounds_text = count(rounds, "round");
    let elapsed = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = rounds as f64 / elapsed.max(0.001);
    super::answer(&match rounds {
        0 | 1 => format!("{rounds_text} of traffic on the source\n"),
        _ => format!("{rounds_text} of traffic on the source, {rate:.1} a second\n"),
    })?;
    Ok(Outcome::Done)
}

/// How rounds follow one another, and when they end.
struct Course {
    rounds: Option<u64>,
    lasts: Option<Duration>,
    pause: Duration,
    /// Between the beginnings of two rounds, where they come at a rate.
    every: Option<Duration>,
}

impl Course {
    fn of(arguments: &Arguments) -> Result<Self> {
        let seconds = |given: f64, what: &str| {
            Duration::try_from_secs_f64(given)
                .map_err(|_| Error::new(format!("`{given}` is no {what}")).remedy("give seconds, 0 or more"))
        };
        let every = match arguments.rate {
            None => None,
            Some(rate) => Some(
                Duration::try_from_secs_f64(1.0 / rate)
                    .ok()
                    .filter(|every| !every.is_zero() && rate > 0.0)
                    .ok_or_else(|| {
                    Error::new(format!("`{rate}` is no rate"))
                        .remedy("give rounds a second, above 0: 0.5 is one every other second")
                })?,
            ),
        };
        let lasts = arguments.lasts.map(|lasts| seconds(lasts, "time to go on for")).transpose()?;
        let goes_on = every.is_some() || lasts.is_some();
        let rounds = arguments.rounds.or((!goes_on).then_some(1));
        Ok(Self { rounds, lasts, pause: seconds(arguments.pause, "pause")?, every })
    }

    /// Round after round; gives how many there were.
    async fn go(&self, traffic: &str, source: &mut PgConnection, stop: &Stop) -> Result<u64> {
        let started = Instant::now();
        let (mut told, mut rounds) = (started, 0);
        let mut ticks = self.every.map(|every| {
            let mut ticks = interval(every);
            // Rounds that take longer than they may are caught up with.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            ticks
        });
        while self.rounds.is_none_or(|all| rounds < all) {
            let left = self.lasts.map(|lasts| lasts.saturating_sub(started.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let next = async {
                match &mut ticks {
                    Some(ticks) => drop(ticks.tick().await),
                    None if rounds > 0 => tokio::time::sleep(self.pause).await,
                    None => {}
                }
            };
            let end = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = next => {}
                () = end => break,
            }
            script::execute_on(source, "traffic.sql", traffic).await?;
            rounds += 1;
            if told.elapsed() >= TELLS_EVERY {
                told = Instant::now();
                let so_far = count(rounds, "round");
                Lines.state(&format!("{so_far} of traffic in {:.0}s", started.elapsed().as_secs_f64()));
            }
        }
        Ok(rounds)
    }
}

/// Has `random()` give the same again.
async fn sow(seed: u32, source: &mut PgConnection) -> Result<()> {
    sqlx::query("SELECT setseed($1)")
        .bind(f64::from(seed) / f64::from(u32::MAX))
        .execute(source)
        .await
        .map(drop)
        .during(|| "cannot set the seed of `random()`".to_owned())
}
