//! A text with its path, and where in it an offset lies. Any bytes make one: what is no UTF-8 is shown as
//! such and remembered. Reads no file.

use std::sync::Arc;

/// A text that findings point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    path: Arc<str>,
    text: Arc<str>,
    /// Where each line starts.
    lines: Arc<[usize]>,
    broken_at: Option<usize>,
}

/// A place for a person: the line and the character in it, both from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl SourceText {
    /// Takes a file's bytes, under the path that messages shall show.
    pub fn new(path: impl Into<Arc<str>>, bytes: impl Into<Vec<u8>>) -> Self {
        let (text, broken_at) = match String::from_utf8(bytes.into()) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(at))
            }
        };
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(offset, _)| offset + 1)).collect();
        Self { path: path.into(), text: text.into(), lines, broken_at }
    }

    /// The path, as messages show it.
    pub fn path(&self) -> Arc<str> {
        Arc::clone(&self.path)
    }

    /// The text; what was no UTF-8 is replaced.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the first byte stands that is no UTF-8.
    pub fn broken_at(&self) -> Option<usize> {
        self.broken_at
    }

    /// Where an offset lies.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.boundary(offset);
        let line = self.lines.partition_point(|start| *start <= offset);
        let before = &self.text[self.lines[line - 1]..offset];
        let column = before.chars().filter(|character| *character != '\u{feff}').count() + 1;
        Position { line, column }
    }

    /// The line around an offset, without its end, and where it starts.
    pub fn line_around(&self, offset: usize) -> (usize, &str) {
        let offset = self.boundary(offset);
        let start = self.lines[self.lines.partition_point(|start| *start <= offset) - 1];
        let end = self.text[offset..].find('\n').map_or(self.text.len(), |newline| offset + newline);
        let line = &self.text[start..end];
        (start, line.strip_suffix('\r').unwrap_or(line))
    }

    /// The nearest offset at or before the given one at which a character starts.
    pub fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}
