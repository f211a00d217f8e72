//! Reads on after errors of TOML's syntax. Such an error can swallow all that follows it, so the text is
//! taken apart into statements (a header; a key that starts its line, and the lines that continue it), each
//! broken one is told once and blanked out, and the rest is read as though it had not been written. Places
//! stay what they are.

use std::ops::Range;

use toml::de::DeTable;

/// What is wrong with a statement.
pub(super) struct Broken {
    pub message: String,
    pub range: Range<usize>,
}

/// The text without its broken statements, and what is wrong with those.
pub(super) fn recover(text: &str) -> (String, Vec<Broken>) {
    let mut kept = text.as_bytes().to_vec();
    let mut all_broken = Vec::new();
    let mut header_is_broken = false;
    for statement in statements(text) {
        let piece = &text[statement.range.clone()];
        let (_, errors) = DeTable::parse_recoverable(piece);
        let broken = errors.into_iter().next();
        if statement.is_header {
            header_is_broken = broken.is_some();
        }
        if broken.is_some() || header_is_broken {
            for byte in &mut kept[statement.range.clone()] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        if let Some(error) = broken {
            let start = statement.range.start;
            let range = error.span().unwrap_or(0..0);
            // What is missing at the end is missed where the last word ends.
            let end = piece.trim_end().len();
            let range = range.start.min(end)..range.end.min(end);
            all_broken.push(Broken {
                message: error.message().to_owned(),
                range: start + range.start..start + range.end,
            });
        }
    }
    // Whole characters were replaced by as many blanks as they had bytes.
    (String::from_utf8(kept).unwrap_or_default(), all_broken)
}

struct Statement {
    range: Range<usize>,
    is_header: bool,
}

fn statements(text: &str) -> Vec<Statement> {
    let mut statements = Vec::<Statement>::new();
    let mut offset = 0;
    let mut open = None;
    for line in text.split_inclusive('\n') {
        let range = offset..offset + line.len();
        offset = range.end;
        let is_header = line.starts_with('[') && !line.starts_with("[\"") && !line.contains('=');
        let starts = open.is_none() && (is_header || starts_with_key(line));
        match statements.last_mut() {
            Some(last) if !starts => last.range.end = range.end,
            _ => statements.push(Statement { range, is_header }),
        }
        open = still_open(line, open, &text[offset..]);
    }
    statements
}

/// Whether a line starts with a key at its very beginning, where the lines of lists and tables do not.
fn starts_with_key(line: &str) -> bool {
    let rest = line.trim_start_matches(|letter: char| letter.is_alphanumeric() || "_-.\"'".contains(letter));
    rest.len() < line.len() && rest.trim_start().starts_with('=')
}

/// The quotes of the string of several lines that is open behind a line. One that is never closed is not
/// taken for open: it would swallow the rest.
fn still_open(line: &str, mut open: Option<&'static str>, rest: &str) -> Option<&'static str> {
    let mut line = line;
    loop {
        match open {
            Some(quotes) => match line.find(quotes) {
                Some(index) => {
                    line = &line[index + quotes.len()..];
                    open = None;
                }
                None => return open,
            },
            None => {
                let index = line.find(['"', '\''])?;
                let found = ["\"\"\"", "'''"].into_iter().find(|quotes| line[index..].starts_with(quotes));
                let Some(quotes) = found else {
                    line = &line[index + 1..];
                    continue;
                };
                line = &line[index + quotes.len()..];
                if !line.contains(quotes) && !rest.contains(quotes) {
                    return None;
                }
                open = Some(quotes);
            }
        }
    }
}
