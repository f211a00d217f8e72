//! Why a change cannot be written as a row, and what its reader is told. Knows no message and no buffer.

use super::super::RESNAPSHOT;
use super::super::position::Lsn;
use crate::descriptor::Name;
use crate::error::Error;
use crate::quote;

/// Why a row has no JSON.
pub enum Unwritable {
    /// A value's text does not fit its type.
    Unreadable(usize),
    /// A value was not sent, nor was the old one.
    Untold,
    /// A column of the key was not sent.
    Keyless(usize),
    /// Not as many values as columns.
    Misfit,
}

impl Unwritable {
    /// Refuses the transaction that changes a row of a table with these columns.
    pub fn refuse(&self, name: &Name, columns: &[String], lsn: Lsn) -> Error {
        let column = |at: &usize| columns.get(*at).map_or("?", String::as_str);
        match self {
            Self::Unreadable(at) => Error::new(format!(
                "the transaction at {lsn} changes `{name}.{}` to a value that its type in the catalog does not \
                 explain",
                column(at)
            ))
            .remedy(format!("the type was altered since: {RESNAPSHOT}")),
            Self::Keyless(at) => Error::new(format!(
                "the transaction at {lsn} changes a row of `{name}` and does not tell its `{}`, which is of the key",
                column(at)
            ))
            .remedy(format!("ALTER TABLE {} REPLICA IDENTITY FULL; then {RESNAPSHOT}", quote::name(name))),
            Self::Untold => Error::new(format!(
                "the transaction at {lsn} changes a row of `{name}` that is not told"
            )),
            Self::Misfit => Error::new(format!(
                "the transaction at {lsn} changes a row of `{name}` that has other columns than announced"
            )),
        }
    }
}
