//! What the end-to-end tests share: a shop with its warehouse on a scratch server, records of what the
//! source looked like, and comparisons that show what differs. Knows no particular test.

pub mod asking;
pub mod audit;
pub mod compare;
pub mod figures;
pub mod gate;
pub mod laws;
pub mod program;
pub mod shop;
pub mod staff;
pub mod state;

pub use shop::Shop;
pub use state::State;
