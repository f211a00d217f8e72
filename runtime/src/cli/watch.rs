//! `warehouse watch`: the pipeline, continuously, until it is stopped.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use medallion_verbs::watch::Arguments;

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::progress::{Lines, Progress as _};
use crate::watch::{self, Pace, Pulse, Stop, serve};

/// How often a line on a terminal is written anew.
const ON_A_TERMINAL: Duration = Duration::from_millis(500);

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let mut pace = Pace {
        busy: watch::pause(arguments.poll_busy, "--poll-busy")?,
        idle: watch::pause(arguments.poll_idle.max(arguments.poll_busy), "--poll-idle")?,
        ..Pace::default()
    };
    if std::io::stderr().is_terminal() {
        pace.tell = ON_A_TERMINAL;
    }
    let place = Place::find(warehouse)?;
    let pulse = Arc::new(Pulse::default());
    if let Some(address) = &arguments.metrics {
        let bound = serve::start(serve::address(address)?, Arc::clone(&pulse)).await?;
        Lines.note(&format!("serving http://{bound}/metrics and http://{bound}/health"));
    }
    let stop = Stop::default();
    listen(&stop)?;
    let what = if warehouse.has_source() { "source" } else { "files" };
    Lines.note(&format!("watching: `{}` follows its {what} until this is stopped", warehouse.name));
    watch::watch(warehouse, &place, pace, &stop, &pulse, &mut Lines).await?;
    Lines.note("stopped: what has landed stays, and the next watch goes on from there");
    let time = pulse.system_time();
    super::answer(&format!(
        "{} is true as of {}\n",
        warehouse.name,
        time.as_deref().unwrap_or("nothing yet")
    ))?;
    Ok(Outcome::Done)
}

/// Stops at Ctrl-C and SIGTERM.
pub(super) fn listen(stop: &Stop) -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|cause| Error::new("cannot listen for signals").because(cause))?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        stop.stop();
    });
    Ok(())
}
