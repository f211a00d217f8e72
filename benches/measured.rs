//! How long a statement took: by the clock, and in seconds of the processor that serves it, which others on the
//! machine disturb less. Knows no statement.

use std::time::{Duration, Instant};

use sqlx::{Executor as _, PgConnection, Row as _};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    clock: Duration,
    /// In hundredths of a second, as far as the server's process can be seen.
    processor: Option<u64>,
}

/// What has begun and not ended yet.
pub struct Running {
    process: i32,
    started: Instant,
    processor: Option<u64>,
}

/// Starts the clock.
pub async fn start(connection: &mut PgConnection) -> Result<Running, sqlx::Error> {
    let process = connection.fetch_one("SELECT pg_backend_pid()").await?.get(0);
    Ok(Running { process, started: Instant::now(), processor: processor(process) })
}

impl Running {
    /// Stops it.
    pub fn stop(self) -> Measured {
        let clock = self.started.elapsed();
        let processor = self.processor.zip(processor(self.process)).map(|(before, after)| after - before);
        Measured { clock, processor }
    }
}

/// Says how two that ran by turns compare: medians, and the least, the middle and the most of their ratios.
pub fn compared(left: &[Measured], right: &[Measured]) -> String {
    let clock = |measured: &Measured| Some(measured.clock.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "hundredths of a second are few")]
    let processor = |measured: &Measured| Some(measured.processor? as f64 / 100.0);
    let by_clock = ratios(left, right, clock).unwrap_or_default();
    let by_processor = ratios(left, right, processor);
    let on_processor = by_processor.map(|said| format!("; on the processor {said}")).unwrap_or_default();
    format!("{by_clock}{on_processor}")
}

fn ratios(
    left: &[Measured],
    right: &[Measured],
    seconds: impl Fn(&Measured) -> Option<f64>,
) -> Option<String> {
    let all = |measured: &[Measured]| measured.iter().map(&seconds).collect::<Option<Vec<_>>>();
    let (left, right) = (all(left)?, all(right)?);
    let each = sorted(left.iter().zip(&right).map(|(left, right)| left / right).collect());
    Some(format!(
        "{:.2} s to {:.2} s, {:.2} times ({:.2} to {:.2})",
        middle(&sorted(left)),
        middle(&sorted(right)),
        middle(&each),
        each[0],
        each[each.len() - 1],
    ))
}

fn sorted(mut seconds: Vec<f64>) -> Vec<f64> {
    seconds.sort_by(f64::total_cmp);
    seconds
}

fn middle(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// What a process has used so far: the fourteenth and fifteenth field of its `stat`, where there is such a file.
fn processor(process: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}
