//! The embedded PostgreSQL: one private server a checkout, started on demand, reachable by unix socket only,
//! and scratch servers for tests. Synchronous, and nothing but the standard library, signals and a hash.
//!
//! Must not know: warehouses, specs, migrations, what is kept in the databases; async runtimes; SQL drivers.
//!
//! The way of a start, a module each: `installation` finds the programs, `account` says who runs them,
//! `place` says where the server lives, `cluster` makes and configures its data, `postmaster` knows which `process`es
//! are its, `socket` guards the folder that it is reached through, `failure` reads why it failed, `client` talks to
//! it, `server` ties them together, `scratch` throws one away. `elsewhere` asks a database that is none of ours.

mod account;
mod client;
mod cluster;
mod elsewhere;
mod error;
mod failure;
mod installation;
mod options;
mod place;
mod postmaster;
mod process;
mod scratch;
mod server;
mod socket;

pub use elsewhere::{CUT_SHORT, ask, is_cut_short};
pub use error::Error;
pub use options::{BINARIES_VARIABLE, DIRECTORY_VARIABLE, Durability, Options, SOCKET_VARIABLE};
pub use scratch::Scratch;
pub use server::{Server, Status};

/// The database role that owns every embedded server, a superuser.
pub const USER: &str = "medallion";

/// The oldest major version of PostgreSQL that will do.
pub const OLDEST_MAJOR_VERSION: u32 = 15;
