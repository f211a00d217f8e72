//! What a caller may choose about an embedded server, and the environment variables that choose it.
//! Knows no file system and no process.

use std::{env, path::PathBuf};

/// Names the folder of the PostgreSQL programs to use, in place of the search.
pub const BINARIES_VARIABLE: &str = "MEDALLION_POSTGRES_BIN";

/// Names the folder that the server lives in, in place of `<checkout>/.medallion`.
pub const DIRECTORY_VARIABLE: &str = "MEDALLION_SERVER_DIR";

/// Names the folder that the socket's folder is made in, in place of `/tmp`.
pub const SOCKET_VARIABLE: &str = "MEDALLION_SOCKET_DIR";

/// How much a server does so that its data outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// What a commit said it wrote is there after a power cut.
    #[default]
    Durable,
    /// Survives the death of any process, but not that of the machine: for tests.
    Scratch,
}

/// What may be chosen about a server; [`Options::default`] chooses nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The folder of the PostgreSQL programs; searched for when absent.
    pub binaries: Option<PathBuf>,
    /// The folder that the server lives in; `<checkout>/.medallion` when absent.
    pub directory: Option<PathBuf>,
    /// The folder that the socket's folder is made in; `/tmp` when absent.
    pub socket_base: Option<PathBuf>,
    /// How much the server does so that its data outlive a power cut.
    pub durability: Durability,
}

impl Options {
    /// What the environment chooses; an empty variable chooses nothing.
    pub fn from_environment() -> Options {
        Options {
            binaries: folder(BINARIES_VARIABLE),
            directory: folder(DIRECTORY_VARIABLE),
            socket_base: folder(SOCKET_VARIABLE),
            durability: Durability::default(),
        }
    }
}

fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
