//! What must hold of any input whatsoever: each target takes bytes and panics where it does not. `scripts/fuzz`
//! searches for such bytes; what it has found lies in `corpus/`, which a test plays again. Knows no file.

mod pgoutput;
mod question;
#[cfg(feature = "spec")]
mod spec;

pub use pgoutput::pgoutput;
pub use question::question;
#[cfg(feature = "spec")]
pub use spec::spec;
