//! One `.sql` file: a relation with all that belongs to it, or an object of the tool's own. Its parts are
//! kept apart, for the migration runs them, a hash covers them, and a way back undoes them.

use sha2::{Digest as _, Sha256};

use super::quote::{identifier, literal, relation, remark};
use crate::model::Name;

/// A file of SQL.
pub(in crate::emit) struct Script {
    /// The folder below `generated/sql/<warehouse>/`.
    pub(in crate::emit) folder: &'static str,
    /// The object that gives the file its name.
    pub(in crate::emit) object: String,
    /// What a reader of the migration is told at its head.
    pub(in crate::emit) title: String,
    /// The statements that make the objects.
    pub(in crate::emit) definition: String,
    /// What is said about them, as COMMENT statements.
    pub(in crate::emit) comments: Vec<String>,
    /// The statements that drop the objects, in the order to run them.
    pub(in crate::emit) drops: Vec<String>,
}

impl Script {
    /// The script of a relation.
    pub(super) fn of_relation(folder: &'static str, name: &Name, definition: String) -> Self {
        Self {
            folder,
            object: name.name.clone(),
            title: remark(&format!("{}.{}", name.schema, name.name)),
            definition: definition.trim().to_owned(),
            comments: Vec::new(),
            drops: Vec::new(),
        }
    }

    /// The same with what is said about it.
    #[must_use]
    pub(super) fn commented(mut self, comments: Vec<String>) -> Self {
        self.comments = comments;
        self
    }

    /// The same with the way back.
    #[must_use]
    pub(super) fn dropped_by(mut self, drops: Vec<String>) -> Self {
        self.drops = drops;
        self
    }

    /// The statements and the comments.
    pub(in crate::emit) fn text(&self) -> String {
        let mut text = self.definition.clone();
        text.push('\n');
        if !self.comments.is_empty() {
            text.push('\n');
        }
        for comment in &self.comments {
            text.push_str(comment);
            text.push('\n');
        }
        text
    }
}

/// The hash of the objects that scripts make, whatever is remarked about them.
pub(in crate::emit) fn objects_hash(scripts: &[Script]) -> String {
    let mut hash = Sha256::new();
    for line in scripts.iter().flat_map(|script| script.definition.lines()) {
        if !line.trim_start().starts_with("--") && !line.trim().is_empty() {
            hash.update(line.as_bytes());
            hash.update(b"\n");
        }
    }
    hexadecimal(&hash.finalize())
}

/// Bytes as hexadecimal digits.
pub(in crate::emit) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A COMMENT on a relation, `kind` being TABLE, VIEW, and so on.
pub(super) fn comment(kind: &str, name: &Name, text: &str) -> String {
    format!("COMMENT ON {kind} {} IS {};", relation(name), literal(text))
}

/// A COMMENT on a column.
pub(super) fn comment_column(name: &Name, column: &str, text: &str) -> String {
    format!("COMMENT ON COLUMN {}.{} IS {};", relation(name), identifier(column), literal(text))
}

/// A COMMENT on a function, told from its namesakes by the types of its parameters.
pub(super) fn comment_function(name: &Name, parameters: &str, text: &str) -> String {
    format!("COMMENT ON FUNCTION {}({parameters}) IS {};", relation(name), literal(text))
}
