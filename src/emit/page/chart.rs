//! Runs over time as bars: inline SVG, its places computed here. Knows runs and no relation.

use super::observed::Run;

/// So many runs are drawn.
const SHOWN: usize = 60;
/// The height of the drawing.
const HEIGHT: f64 = 120.0;
/// The width of a run.
const STEP: f64 = 10.0;

/// A drawing.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) most: String,
    pub(super) width: f64,
    pub(super) bars: Vec<Bar>,
    pub(super) first: String,
    pub(super) last: String,
}

/// A bar.
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) height: f64,
    pub(super) tone: &'static str,
    pub(super) said: String,
}

/// How long runs took, and what they and watches brought; nothing where there were none.
pub(super) fn of_runs(all: &[Run]) -> Vec<Chart> {
    let chart = |title, unit: &str, is_meant: &dyn Fn(&Run) -> bool, value: &dyn Fn(&Run) -> f64| {
        let runs: Vec<&Run> = all.iter().filter(|run| is_meant(run)).collect();
        let runs = &runs[runs.len().saturating_sub(SHOWN)..];
        let (first, last) = (runs.first()?, runs.last()?);
        let most = runs.iter().map(|run| value(run)).fold(0.0, f64::max);
        let bar = |(number, run): (u32, &&Run)| {
            let height = if most > 0.0 { (value(run) / most * HEIGHT).max(1.0) } else { 1.0 };
            let height = (height * 10.0).round() / 10.0;
            Bar {
                x: f64::from(number) * STEP,
                y: ((HEIGHT - height) * 10.0).round() / 10.0,
                height,
                tone: match run.status.as_str() {
                    "failed" => "bad",
                    _ if run.watch => "watch",
                    _ => "good",
                },
                said: format!(
                    "{}: {} {unit}, {}{}",
                    run.started,
                    figure(value(run)),
                    if run.watch { "watch, " } else { "" },
                    run.status
                ),
            }
        };
        Some(Chart {
            title,
            most: format!("{} {unit}", figure(most)),
            #[allow(clippy::cast_precision_loss, reason = "sixty at most")]
            width: runs.len().max(20) as f64 * STEP,
            bars: (0..).zip(runs).map(bar).collect(),
            first: first.started.clone(),
            last: last.started.clone(),
        })
    };
    #[allow(clippy::cast_precision_loss, reason = "a bar is as high as it can be drawn")]
    let rows = |rows: u64| rows as f64;
    let charts = [
        // A watch goes on for as long as it is let, which is no measure of work.
        chart("How long runs took", "s", &|run| !run.watch, &|run| run.seconds),
        chart("Changes landed", "rows", &|_| true, &|run| rows(run.landed)),
        chart("Rows written to silver and gold", "rows", &|_| true, &|run| rows(run.written)),
    ];
    charts.into_iter().flatten().collect()
}

/// A number for reading.
pub(super) fn figure(number: f64) -> String {
    if number.fract() == 0.0 || number >= 100.0 { grouped(number) } else { format!("{number:.2}") }
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
