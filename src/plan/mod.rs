//! What leads from one state of a warehouse to another: two catalogs of statements in, an ordered list of
//! statements with their hazards out. Goes by what the scripts say, not by how they came about: a better trigger
//! of a newer tool is a change like any other. Knows no template, no disk, no database.

pub mod beside;
pub mod branch;
pub mod decision;
pub mod difference;
pub mod effect;
mod enumeration;
pub mod fit;
mod gone;
pub mod hazard;
mod kept;
pub mod lock;
pub mod object;
mod privilege;
pub(crate) mod quote;
pub mod reading;
pub mod rename;
pub mod schema;
pub mod table;

pub use difference::{Difference, Step};
pub use effect::{Blocked, Lock};
pub use hazard::Hazard;
pub use object::{Catalog, Unreadable};
pub use rename::{Renamed, Renames};
