//! Findings for a person: message, place, the line with the place underlined, remedies.

use std::collections::BTreeMap;
use std::sync::Arc;

use unicode_width::UnicodeWidthChar;

use super::{Finding, Label, SourceText};

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// For a terminal.
    Ansi,
    /// For a pipe or a file.
    Plain,
}

/// How much of a line is shown, in columns of a terminal.
const WIDEST: usize = 100;
/// How much of it stands before the place, where the line has to be cut.
const LEAD: usize = 40;
/// What a tab becomes.
const TAB: &str = "    ";

const RED: &str = "1;31";
const BLUE: &str = "1;34";
const GREEN: &str = "1;32";
const BOLD: &str = "1";

/// All findings, with an empty line between two.
pub(super) fn render(list: &[Finding], texts: &BTreeMap<Arc<str>, SourceText>, colour: Colour) -> String {
    list.iter().map(|finding| one(finding, texts, colour)).collect::<Vec<_>>().join("\n")
}

fn one(finding: &Finding, texts: &BTreeMap<Arc<str>, SourceText>, colour: Colour) -> String {
    let paint = |style: &str, text: &str| match colour {
        Colour::Ansi if !text.is_empty() => format!("\u{1b}[{style}m{text}\u{1b}[0m"),
        _ => text.to_owned(),
    };
    let labels = std::iter::once(&finding.primary).chain(&finding.secondary);
    let digits = labels.clone().map(|label| line_number(label, texts).len()).max().unwrap_or(1);
    // The numbers are right-aligned in at least two columns, so that the gutter seldom jumps.
    let gutter = digits.max(2);

    let mut out = String::new();
    let head = paint(RED, &format!("error[{}]", finding.code.number()));
    out.push_str(&format!(
        "{head}{}\n",
        paint(BOLD, &format!(": {}", shortened(&printable(&finding.message))))
    ));
    for (index, label) in labels.enumerate() {
        let (corner, mark, style) = if index == 0 { ("┌─", '^', RED) } else { ("├─", '-', BLUE) };
        let place = place(label, texts);
        out.push_str(&format!("{:gutter$} {} {}\n", "", paint(BLUE, corner), printable(&place)));
        let Some(excerpt) = Excerpt::of(label, texts) else { continue };
        let number = format!("{:>gutter$}│", line_number(label, texts));
        out.push_str(format!("{} {}", paint(BLUE, &number), excerpt.line).trim_end());
        let marks = mark.to_string().repeat(excerpt.width);
        let marked = format!("{marks} {}", printable(&label.text));
        let bar = paint(BLUE, "│");
        let indent = " ".repeat(excerpt.indent);
        out.push_str(&format!("\n{:gutter$}{bar} {indent}{}\n", "", paint(style, marked.trim_end())));
    }
    for remedy in &finding.remedies {
        let equals = paint(BLUE, "=");
        out.push_str(&format!("{:gutter$} {equals} {}\n", "", paint(GREEN, &printable(remedy))));
    }
    out
}

fn place(label: &Label, texts: &BTreeMap<Arc<str>, SourceText>) -> String {
    match texts.get(&label.span.path) {
        Some(text) => {
            let position = text.position(label.span.start);
            format!("{}:{}:{}", label.span.path, position.line, position.column)
        }
        None => label.span.path.to_string(),
    }
}

fn line_number(label: &Label, texts: &BTreeMap<Arc<str>, SourceText>) -> String {
    texts.get(&label.span.path).map_or(String::new(), |text| text.position(label.span.start).line.to_string())
}

/// A line as it is shown, and where the place lies in what is shown, in columns of a terminal.
struct Excerpt {
    line: String,
    indent: usize,
    width: usize,
}

impl Excerpt {
    fn of(label: &Label, texts: &BTreeMap<Arc<str>, SourceText>) -> Option<Self> {
        let text = texts.get(&label.span.path)?;
        let (line_start, line) = text.line_around(label.span.start);
        let start = (text.boundary(label.span.start) - line_start).min(line.len());
        let end = text.boundary(label.span.end).saturating_sub(line_start).clamp(start, line.len());

        let (before, marked, after) = (&line[..start], &line[start..end], &line[end..]);
        let (before, marked, after) = (shown(before), shown(marked), shown(after));
        let fits = before.width + marked.width + after.width <= WIDEST;
        let before = if fits || before.width <= LEAD { before } else { before.last(LEAD) };
        let marked =
            if before.width + marked.width > WIDEST { marked.first(WIDEST - before.width) } else { marked };
        let room = WIDEST.saturating_sub(before.width + marked.width);
        let after = match after.width > room {
            true if room == 0 => shown(""),
            true => after.first(room),
            false => after,
        };
        Some(Self {
            indent: before.width,
            width: marked.width.max(1),
            line: format!("{}{}{}", before.text, marked.text, after.text),
        })
    }
}

/// Text whose width on a terminal is known.
struct Shown {
    text: String,
    width: usize,
}

impl Shown {
    fn first(self, width: usize) -> Self {
        let kept = take(self.text.chars(), width.saturating_sub(1));
        Self { width: kept.1 + 1, text: format!("{}…", kept.0) }
    }

    fn last(self, width: usize) -> Self {
        let kept = take(self.text.chars().rev(), width.saturating_sub(1));
        Self { width: kept.1 + 1, text: format!("…{}", kept.0.chars().rev().collect::<String>()) }
    }
}

fn take(characters: impl Iterator<Item = char>, width: usize) -> (String, usize) {
    let mut used = 0;
    let text = characters
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used <= width
        })
        .collect::<String>();
    let width = text.chars().map(|character| character.width().unwrap_or(0)).sum();
    (text, width)
}

fn shown(text: &str) -> Shown {
    // No more is looked at than can be shown: lines may be very long.
    let most = 4 * WIDEST;
    let text = match text.char_indices().nth(most) {
        // Both ends matter: the start of what follows the place, the end of what precedes it.
        Some(_) => {
            let head = text.chars().take(most / 2).collect::<String>();
            let mut tail = text.chars().rev().take(most / 2).collect::<Vec<_>>();
            tail.reverse();
            printable(&format!("{head}{}", tail.into_iter().collect::<String>()))
        }
        None => printable(text),
    };
    let width = text.chars().map(|character| character.width().unwrap_or(0)).sum();
    Shown { text, width }
}

/// A message that names what nobody would read to its end, without the middle of it.
fn shortened(message: &str) -> String {
    let length = message.chars().count();
    if length <= 4 * WIDEST {
        return message.to_owned();
    }
    let head = message.chars().take(2 * WIDEST).collect::<String>();
    let tail = message.chars().skip(length - WIDEST).collect::<String>();
    format!("{head}…{tail}")
}

/// Text that does nothing to a terminal.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push_str(TAB),
            '\u{feff}' => {}
            // Changes of the writing direction would let a line show what does not stand in it.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}
