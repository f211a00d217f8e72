//! Takes events to a file or to an HTTP endpoint, on a thread of its own: few wait, what does not fit is dropped, and
//! where nobody takes them that is told once. Knows nothing of what is in an event.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// So many events wait at most.
const WAITING: usize = 4_096;
/// For how long one may take to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long nobody is asked again who did not take one.
const PAUSE: Duration = Duration::from_secs(30);
/// For how long the end of a program waits for those that are left.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where events go.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// Appended to a file, a line each.
    File(PathBuf),
    /// Posted, one by one.
    Http {
        /// Where to.
        url: String,
        /// What the endpoint is shown; never told.
        key: Option<String>,
    },
}

impl Target {
    /// Reads what OpenLineage's clients read; none where nothing is named, or events are switched off.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        if variable("OPENLINEAGE_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        if let Some(path) = variable("OPENLINEAGE_FILE") {
            return Ok(Some(Self::File(PathBuf::from(path))));
        }
        let Some(url) = variable("OPENLINEAGE_URL") else { return Ok(None) };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::new("`OPENLINEAGE_URL` is no HTTP address")
                .remedy("write it as `https://host:port`; a file is named by `OPENLINEAGE_FILE`"));
        }
        let endpoint = variable("OPENLINEAGE_ENDPOINT").unwrap_or_else(|| "api/v1/lineage".to_owned());
        let url = format!("{}/{}", url.trim_end_matches('/'), endpoint.trim_start_matches('/'));
        Ok(Some(Self::Http { url, key: variable("OPENLINEAGE_API_KEY") }))
    }
}

/// A way out for events.
pub struct Sink {
    events: Option<SyncSender<String>>,
    done: Mutex<Receiver<()>>,
}

impl Sink {
    /// Opens the way. What is wrong with it is told when the first event goes.
    pub fn open(target: Target) -> Self {
        let (events, waiting) = mpsc::sync_channel::<String>(WAITING);
        let (tell, done) = mpsc::channel();
        thread::spawn(move || {
            let mut told = false;
            let mut away: Option<Instant> = None;
            for event in waiting {
                if away.is_some_and(|since| since.elapsed() < PAUSE) {
                    continue;
                }
                away = None;
                if let Err(why) = take(&target, &event) {
                    away = Some(Instant::now());
                    if !told {
                        told = true;
                        warn(&why);
                    }
                }
            }
            let _ = tell.send(());
        });
        Self { events: Some(events), done: Mutex::new(done) }
    }

    /// Sends an event on its way, or drops it where too many wait.
    pub fn send(&self, event: String) {
        if let Some(events) = &self.events {
            let _ = events.try_send(event);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.events = None;
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(FAREWELL);
    }
}

fn take(target: &Target, event: &str) -> std::result::Result<(), String> {
    match target {
        Target::File(path) => {
            let mut file = OpenOptions::new().create(true).append(true).open(path);
            let written = file.as_mut().map_err(|cause| cause.to_string()).and_then(|file| {
                file.write_all(format!("{event}\n").as_bytes()).map_err(|cause| cause.to_string())
            });
            written.map_err(|cause| format!("`{}`: {cause}", path.display()))
        }
        Target::Http { url, key } => {
            let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().new_agent();
            let mut request = agent.post(url).header("content-type", "application/json");
            if let Some(key) = key {
                request = request.header("authorization", format!("Bearer {key}"));
            }
            // Its words could repeat the address, and with it a password.
            let said = request.send(event).map(drop);
            said.map_err(|cause| match cause {
                ureq::Error::StatusCode(code) => format!("the endpoint of OPENLINEAGE_URL says {code}"),
                ureq::Error::Timeout(_) => "the endpoint of OPENLINEAGE_URL takes too long".to_owned(),
                _ => "the endpoint of OPENLINEAGE_URL cannot be reached".to_owned(),
            })
        }
    }
}

fn warn(why: &str) {
    let _ = writeln!(std::io::stderr().lock(), "warning: events of lineage are lost: {why}");
}
