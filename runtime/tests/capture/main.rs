//! Capture against real servers: what the source committed is in bronze once, in order, as the source's own
//! `to_jsonb` shows it, wherever it was stopped; and a gap is refused.

mod ahead;
mod begin;
#[cfg(test)]
mod bench;
mod changes;
mod drawn;
mod epochs;
mod fit;
mod held;
mod identities;
mod joining;
mod known;
mod limits;
mod plugins;
mod readiness;
mod refusals;
mod shapes;
mod switchover;
