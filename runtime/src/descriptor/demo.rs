//! What the runtime is told of the sample: SQL for its source, and the steps of the guided tour.

/// SQL for the source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scripts {
    /// The source's schema.
    pub source: Option<&'static str>,
    /// Its sample rows.
    pub sample: Option<&'static str>,
    /// One round of changes.
    pub traffic: Option<&'static str>,
}

/// A step of the guided tour.
#[derive(Clone, Copy, Debug)]
pub struct DemoStep {
    /// What the reader is told.
    pub say: &'static str,
    /// What is done.
    pub action: DemoAction,
}

/// What a step of the tour does.
#[derive(Clone, Copy, Debug)]
pub enum DemoAction {
    /// Nothing but saying.
    Nothing,
    /// Asks the warehouse and prints the answer.
    Query {
        /// The question, over unqualified names.
        sql: &'static str,
        /// The time that it is asked as of; now without.
        as_of: Option<&'static str>,
    },
    /// Changes the source.
    Source(&'static str),
    /// Runs the pipeline.
    Run,
}
