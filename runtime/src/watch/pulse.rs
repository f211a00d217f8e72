//! How a watch is doing, in figures: counted where the work is done, read by whoever asks (the progress line, the
//! bookkeeping, Prometheus, the health check). Knows no connection.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::alert::{Known, Measured};
use crate::descriptor::Name;
use crate::error::{During as _, Result};

/// Without a sign of life for so long a watch is not well.
const WELL: Duration = Duration::from_secs(30);

type Seconds = Gauge<f64, AtomicU64>;
type Label = Vec<(&'static str, String)>;

/// What a watch has done and how it stands.
pub struct Pulse {
    registry: Registry,
    landed: Family<Label, Counter>,
    batches: Counter,
    rounds: Counter,
    changed: Family<Label, Counter>,
    retries: Family<Label, Counter>,
    behind: Gauge,
    landed_age: Seconds,
    published_age: Seconds,
    alerts: Family<Label, Gauge>,
    watched: Family<Label, Seconds>,
    most: Family<Label, Gauge>,
    state: Mutex<State>,
}

/// What is no figure.
#[derive(Clone, Debug)]
struct State {
    /// When bronze was last level with the source.
    landed: Option<Instant>,
    /// When what silver and gold show was last level with the source.
    published: Option<Instant>,
    /// The system time that they show.
    system_time: Option<String>,
    /// Why they do not move on.
    refused: Option<String>,
    /// What is waited for.
    waiting: Option<String>,
    begun: Instant,
}

impl Default for Pulse {
    fn default() -> Self {
        let mut pulse = Self {
            registry: Registry::with_prefix("medallion"),
            landed: Family::default(),
            batches: Counter::default(),
            rounds: Counter::default(),
            changed: Family::default(),
            retries: Family::default(),
            behind: Gauge::default(),
            landed_age: Seconds::default(),
            published_age: Seconds::default(),
            alerts: Family::default(),
            watched: Family::default(),
            most: Family::default(),
            state: Mutex::new(State {
                landed: None,
                published: None,
                system_time: None,
                refused: None,
                waiting: None,
                begun: Instant::now(),
            }),
        };
        let registry = &mut pulse.registry;
        registry.register("landed_rows", "Changes landed, by landing table", pulse.landed.clone());
        registry.register("landed_batches", "Batches landed", pulse.batches.clone());
        registry.register(
            "published_rounds",
            "Transactions that changed silver or gold",
            pulse.rounds.clone(),
        );
        registry.register("changed_rows", "Rows that changed in silver and gold", pulse.changed.clone());
        registry.register("retries", "What failed and was tried again, by step", pulse.retries.clone());
        registry.register("behind_bytes", "Log of the source that has not landed", pulse.behind.clone());
        let ages = "Seconds since it was level with the source: the lag, at most";
        registry.register("landed_age_seconds", format!("Bronze. {ages}"), pulse.landed_age.clone());
        registry.register(
            "published_age_seconds",
            format!("Silver and gold. {ages}"),
            pulse.published_age.clone(),
        );
        registry.register("alert", "Whether what the spec watches has gone too far", pulse.alerts.clone());
        registry.register("alert_value", "What the spec watches, as it is", pulse.watched.clone());
        registry.register("alert_threshold", "The most that is well", pulse.most.clone());
        pulse
    }
}

impl Pulse {
    /// A batch has landed.
    pub fn landed(&self, rows: &BTreeMap<Name, u64>) {
        self.batches.inc();
        for (table, rows) in rows {
            self.landed.get_or_create(&label("table", &table.to_string())).inc_by(*rows);
        }
    }

    /// The source was asked, and so much of its log has not landed; with nothing left, bronze is level.
    pub fn asked(&self, at: Instant, behind: u64) {
        self.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.with(|state| {
            state.waiting = None;
            if behind == 0 {
                state.landed = Some(at);
            }
        });
    }

    /// Silver and gold show what bronze had at this time.
    pub fn published(&self, level: Option<Instant>, system_time: Option<String>) {
        self.with(|state| {
            state.published = level.or(state.published);
            state.system_time = system_time.or(state.system_time.take());
            state.refused = None;
        });
    }

    /// A round has changed rows of these relations.
    pub fn changed(&self, relations: impl IntoIterator<Item = (String, u64)>) {
        self.rounds.inc();
        for (relation, rows) in relations {
            self.changed.get_or_create(&label("relation", &relation)).inc_by(rows);
        }
    }

    /// Silver and gold do not move on.
    pub fn refused(&self, why: &str) {
        self.retried("publish");
        self.with(|state| state.refused = Some(why.to_owned()));
    }

    /// Something is waited for.
    pub fn waiting(&self, what: &str) {
        self.with(|state| state.waiting = Some(what.to_owned()));
    }

    /// A step failed and is tried again.
    pub fn retried(&self, step: &str) {
        self.retries.get_or_create(&label("step", step)).inc();
    }

    /// What the spec watches was measured.
    pub fn measured(&self, all: &[Measured]) {
        for one in all {
            let label = label("alert", one.alert);
            self.alerts.get_or_create(&label).set(i64::from(one.exceeded));
            self.most.get_or_create(&label).set(i64::try_from(one.most).unwrap_or(i64::MAX));
            if let Some(value) = one.value {
                self.watched.get_or_create(&label).set(value);
            }
        }
    }

    /// What it knows of the source, for what the spec watches.
    pub fn known(&self) -> Known {
        let state = self.with(|state| state.clone());
        let lag = Some(state.published.unwrap_or(state.begun).elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a figure to compare with a threshold")]
        let backlog = Some(self.behind.get() as f64);
        Known { lag, backlog, bronze_unseen: false }
    }

    /// When bronze was last level with the source.
    pub fn level(&self) -> Option<Instant> {
        self.with(|state| state.landed)
    }

    /// How many batches have landed and rounds were published.
    pub fn counts(&self) -> (u64, u64) {
        (self.batches.get(), self.rounds.get())
    }

    /// How many rows have landed.
    pub fn rows(&self, landings: impl IntoIterator<Item = Name>) -> u64 {
        let of = |table: Name| {
            self.landed.get(&label("table", &table.to_string())).map_or(0, |counter| counter.get())
        };
        landings.into_iter().map(of).sum()
    }

    /// How far silver and gold are behind the source, at most.
    pub fn lag(&self) -> Option<Duration> {
        self.with(|state| state.published.map(|at| at.elapsed()))
    }

    /// The system time that silver and gold show.
    pub fn system_time(&self) -> Option<String> {
        self.with(|state| state.system_time.clone())
    }

    /// For the bookkeeping.
    pub fn metrics(&self, landings: impl IntoIterator<Item = Name>) -> serde_json::Value {
        let state = self.with(|state| state.clone());
        json!({
            "watch": true,
            "landed_rows": self.rows(landings),
            "batches": self.batches.get(),
            "rounds": self.rounds.get(),
            "behind_bytes": self.behind.get(),
            "lag_seconds": state.published.map(|at| at.elapsed().as_secs_f64()),
            "system_time": state.system_time,
            "refused": state.refused,
        })
    }

    /// For Prometheus.
    pub fn text(&self) -> Result<String> {
        let state = self.with(|state| state.clone());
        let age = |at: Option<Instant>| at.unwrap_or(state.begun).elapsed().as_secs_f64();
        self.landed_age.set(age(state.landed));
        self.published_age.set(age(state.published));
        let mut text = String::new();
        encode(&mut text, &self.registry).during(|| "cannot write the metrics".to_owned())?;
        Ok(text)
    }

    /// Whether all is well, and else why not.
    pub fn health(&self) -> Result<String, String> {
        let state = self.with(|state| state.clone());
        if let Some(why) = state.refused {
            return Err(format!("silver and gold do not move on: {why}"));
        }
        if let Some(what) = state.waiting {
            return Err(format!("waiting: {what}"));
        }
        for (what, at) in [("bronze", state.landed), ("silver and gold", state.published)] {
            let age = at.unwrap_or(state.begun).elapsed();
            if age > WELL {
                return Err(format!("{what} lags by {}s", age.as_secs()));
            }
        }
        Ok(format!("true as of {}", state.system_time.as_deref().unwrap_or("nothing yet")))
    }

    fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        // Nobody panics with the lock held; and if, the figures are still good.
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        read(&mut state)
    }
}

/// A label, as Prometheus reads it: the encoder writes a value as it is.
fn label(name: &'static str, value: &str) -> Label {
    vec![(name, value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_any_name() {
        let pulse = Pulse::default();
        let table = Name::new("bronze", "a\"} 1\nmedallion_forged{x=\"\\");
        pulse.landed(&BTreeMap::from([(table.clone(), 3)]));
        pulse.changed([(table.to_string(), 5)]);
        let text = pulse.text().expect("it can be written");
        let said: Vec<&str> = text.lines().filter(|line| line.contains("forged")).collect();
        let label = r#"bronze.a\"} 1\nmedallion_forged{x=\"\\"#;
        assert_eq!(
            said,
            [
                format!("medallion_landed_rows_total{{table=\"{label}\"}} 3"),
                format!("medallion_changed_rows_total{{relation=\"{label}\"}} 5"),
            ]
        );
        assert_eq!(pulse.rows([table]), 3);
    }
}
