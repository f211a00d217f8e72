//! Lists as SQL shows them: one part a line, nothing aligned.

/// Parts with commas between them, for a template to set at an indent.
pub(super) struct Lines(Vec<String>);

impl Lines {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts, each in a line at the indent; the first stands where the template has it.
    pub(super) fn at(&self, indent: usize) -> String {
        self.0.join(&format!(",\n{}", " ".repeat(indent)))
    }
}

impl FromIterator<String> for Lines {
    fn from_iter<I: IntoIterator<Item = String>>(parts: I) -> Self {
        Self(parts.into_iter().collect())
    }
}
