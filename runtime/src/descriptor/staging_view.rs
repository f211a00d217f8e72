//! What the runtime is told of a view of what has landed. Says nothing of what it is asked for.

use super::Name;

/// A view of what has landed: of each key the last change, read as the spec says.
#[derive(Clone, Debug)]
pub struct StagingView {
    /// The view.
    pub view: Name,
    /// The landing table behind it.
    pub landing: Name,
    /// The rows, SQL, that it would have if nothing had landed but what the relation [`LANDED`] holds.
    pub of_landed: &'static str,
}

/// What [`StagingView::of_landed`] reads: rows of the landing table, with all of its columns.
pub const LANDED: &str = "m$landed";
