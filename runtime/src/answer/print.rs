//! Answers in print, row by row: tables for people, CSV and JSON for programs. Holds at most as many rows as
//! a table needs to choose its widths. Knows no database.

use std::collections::BTreeSet;
use std::io::{self, Write};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width};
pub use medallion_verbs::query::Format;
use unicode_width::UnicodeWidthStr;

use crate::error::{Error, Result};

/// A line below the header and nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// How many rows of a table are held until they are printed.
const HELD: usize = 1_000;

/// A column that is narrower than this cannot be read.
const NARROW: usize = 8;

/// What a column holds, as far as it is shown differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// True or false.
    Boolean,
    /// JSON.
    Json,
    /// Anything else.
    Text,
}

/// A row's values in text; none is NULL.
pub type Values = Vec<Option<String>>;

/// Prints one answer.
pub struct Printer<W> {
    out: W,
    format: Format,
    /// How wide a table may be; without, as wide as it is.
    width: Option<u16>,
    columns: Vec<(String, Kind)>,
    held: Vec<Values>,
    rows: u64,
    /// How wide a table's columns are, once its first rows are printed.
    widths: Option<Vec<u16>>,
    /// Whether the reader has gone away (`| head`).
    gone: bool,
}

impl<W: Write> Printer<W> {
    /// Prints to a place.
    pub fn new(format: Format, width: Option<u16>, out: W) -> Self {
        let (columns, held) = (Vec::new(), Vec::new());
        Self { out, format, width, columns, held, rows: 0, widths: None, gone: false }
    }

    /// Begins with the columns' names and what they hold, of which nothing is printed before there is a row or none:
    /// the question may fail. JSON needs names that tell the columns apart.
    pub fn begin(&mut self, columns: Vec<(String, Kind)>) -> Result<()> {
        self.columns = columns;
        let mut names = BTreeSet::new();
        match self.format {
            Format::Table | Format::Csv => Ok(()),
            Format::Json => match self.columns.iter().find(|(name, _)| !names.insert(name)) {
                Some((twice, _)) => {
                    let what = format!("two columns are named `{twice}`, which JSON cannot tell apart");
                    Err(Error::new(what).remedy("name them with AS"))
                }
                None => Ok(()),
            },
        }
    }

    fn open(&mut self) -> Result<()> {
        match self.format {
            Format::Table => Ok(()),
            Format::Csv => {
                let header: Vec<String> = self.columns.iter().map(|(name, _)| csv_text(name)).collect();
                self.write(&format!("{}\n", header.join(",")))
            }
            Format::Json => self.write("["),
        }
    }

    /// The next row.
    pub fn row(&mut self, values: Values) -> Result<()> {
        if self.rows == 0 {
            self.open()?;
        }
        self.rows += 1;
        match self.format {
            Format::Table => {
                self.held.push(values);
                if self.held.len() >= HELD { self.print_held() } else { Ok(()) }
            }
            Format::Csv => {
                // NULL is nothing at all, an empty text is "", as COPY has it.
                let cells: Vec<String> =
                    values.iter().map(|value| value.as_deref().map_or_else(String::new, csv_text)).collect();
                self.write(&format!("{}\n", cells.join(",")))
            }
            Format::Json => {
                let object = json_object(&self.columns, &values);
                let separator = if self.rows == 1 { "" } else { "," };
                self.write(&format!("{separator}\n{object}"))
            }
        }
    }

    /// Ends the answer.
    pub fn end(&mut self) -> Result<()> {
        if self.rows == 0 {
            self.open()?;
        }
        match self.format {
            Format::Table => {
                if !self.held.is_empty() || self.widths.is_none() {
                    self.print_held()?;
                }
                let count = crate::progress::count(self.rows, "row");
                self.write(&format!(" ({count})\n"))?;
            }
            Format::Csv => {}
            Format::Json => self.write(if self.rows == 0 { "]\n" } else { "\n]\n" })?,
        }
        let flushed = self.out.flush();
        self.written(flushed)
    }

    /// Whether nobody reads on.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// How many rows there were.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows held: a line each, or where a line of the terminal does not take so many columns, a line a column.
    fn print_held(&mut self) -> Result<()> {
        if self.is_narrow() && !self.held.is_empty() { self.print_apart() } else { self.print_table() }
    }

    /// Whether the terminal is too narrow for the columns to be read beside each other.
    fn is_narrow(&self) -> bool {
        self.width.is_some_and(|width| usize::from(width) < self.columns.len() * NARROW)
    }

    /// Each row by itself, below its number.
    fn print_apart(&mut self) -> Result<()> {
        self.widths.get_or_insert_default();
        let names = self.columns.iter().map(|(name, _)| UnicodeWidthStr::width(name.as_str()));
        let width = names.max().unwrap_or_default();
        let first = self.rows - self.held.len() as u64 + 1;
        let mut text = String::new();
        for (number, row) in (first..).zip(std::mem::take(&mut self.held)) {
            text.push_str(&format!(" row {number}\n{}\n", "─".repeat(width + 2)));
            for ((name, _), value) in self.columns.iter().zip(&row) {
                let pad = " ".repeat(width - UnicodeWidthStr::width(name.as_str()));
                let line = format!(" {name}{pad}   {}", value.as_deref().unwrap_or(""));
                text.push_str(line.trim_end());
                text.push('\n');
            }
            text.push('\n');
        }
        self.write(&text)
    }

    /// The rows held, as a table: the first ones decide how wide the columns of all are, at least.
    fn print_table(&mut self) -> Result<()> {
        let mut table = Table::new();
        table.load_style(STYLE);
        if self.widths.is_none() {
            table.set_header(self.columns.iter().map(|(name, _)| name));
        }
        for row in self.held.drain(..) {
            table.add_row(row.iter().map(|value| value.as_deref().unwrap_or("")));
        }
        match self.width {
            Some(width) if !self.is_narrow() => {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            }
            _ => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        for (index, (_, kind)) in self.columns.iter().enumerate() {
            let Some(column) = table.column_mut(index) else { continue };
            if *kind == Kind::Number {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if let Some(width) = self.widths.as_ref().and_then(|widths| widths.get(index)) {
                let padded = width.saturating_add(column.padding_width());
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(padded)));
            }
        }
        if self.widths.is_none() {
            self.widths = Some(table.column_max_content_widths());
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        self.write(&lines.concat())
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let written = self.out.write_all(text.as_bytes());
        self.written(written)
    }

    fn written(&mut self, written: io::Result<()>) -> Result<()> {
        match written {
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            Err(cause) => Err(Error::new("cannot write the answer").because(cause)),
            Ok(()) => Ok(()),
        }
    }
}

fn csv_text(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) || text.is_empty() {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Written by hand: columns in the question's order, numbers with every digit that PostgreSQL shows.
fn json_object(columns: &[(String, Kind)], values: &[Option<String>]) -> String {
    let fields: Vec<String> = columns
        .iter()
        .zip(values)
        .map(|((name, kind), value)| {
            format!("    {}: {}", json_text(name), json_value(*kind, value.as_deref()))
        })
        .collect();
    format!("  {{\n{}\n  }}", fields.join(",\n"))
}

fn json_value(kind: Kind, value: Option<&str>) -> String {
    match (kind, value) {
        (_, None) => "null".to_owned(),
        (Kind::Boolean, Some(value)) => (value == "t").to_string(),
        (Kind::Number, Some(value)) if is_json_number(value) => value.to_owned(),
        (Kind::Json, Some(value)) => value.to_owned(),
        (_, Some(value)) => json_text(value),
    }
}

/// Whether a number as PostgreSQL shows it is one of JSON's: not `NaN`, `Infinity` or an amount of money.
fn is_json_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && text.ends_with(|last: char| last.is_ascii_digit())
        && text.chars().all(|one| one.is_ascii_digit() || matches!(one, '-' | '+' | '.' | 'e'))
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::{Format, Kind, Printer};

    fn print(
        format: Format,
        width: Option<u16>,
        columns: &[(&str, Kind)],
        rows: &[&[Option<&str>]],
    ) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(format, width, &mut out);
        printer.begin(columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()).unwrap();
        for row in rows {
            printer.row(row.iter().map(|value| value.map(str::to_owned)).collect()).unwrap();
        }
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_keeps_order_digits_and_kinds() {
        let columns = [("z", Kind::Number), ("a", Kind::Boolean), ("m", Kind::Text), ("j", Kind::Json)];
        let rows: [&[Option<&str>]; 2] = [
            &[Some("12345678901234567890.10"), Some("t"), Some("say \"7\""), Some("{\"a\": [1.50]}")],
            &[Some("NaN"), Some("f"), None, Some("null")],
        ];
        let expected = concat!(
            "[\n  {\n    \"z\": 12345678901234567890.10,\n    \"a\": true,\n    \"m\": \"say \\\"7\\\"\",\n",
            "    \"j\": {\"a\": [1.50]}\n  },\n",
            "  {\n    \"z\": \"NaN\",\n    \"a\": false,\n    \"m\": null,\n    \"j\": null\n  }\n]\n"
        );
        assert_eq!(print(Format::Json, None, &columns, &rows), expected);
    }

    #[test]
    fn json_refuses_two_columns_of_one_name() {
        let columns = vec![("a".to_owned(), Kind::Text), ("a".to_owned(), Kind::Text)];
        let error = Printer::new(Format::Json, None, Vec::new()).begin(columns).unwrap_err();
        assert!(error.to_string().contains("two columns are named `a`"), "{error}");
    }

    #[test]
    fn csv_tells_null_from_nothing_and_quotes_what_could_be_misread() {
        let columns = [("a", Kind::Text), ("b, c", Kind::Text)];
        let rows: [&[Option<&str>]; 2] = [&[None, Some("")], &[Some("one\r\ntwo"), Some("say \"7\"")]];
        let expected = "a,\"b, c\"\n,\"\"\n\"one\r\ntwo\",\"say \"\"7\"\"\"\n";
        assert_eq!(print(Format::Csv, None, &columns, &rows), expected);
    }

    #[test]
    fn an_empty_answer_has_its_header() {
        let columns = [("a", Kind::Text), ("b", Kind::Number)];
        assert_eq!(print(Format::Csv, None, &columns, &[]), "a,b\n");
        assert_eq!(print(Format::Json, None, &columns, &[]), "[]\n");
        assert_eq!(print(Format::Table, None, &columns, &[]), " a   b\n───────\n (0 rows)\n");
    }

    #[test]
    fn a_long_table_keeps_the_widths_that_its_first_rows_have_chosen() {
        let wide = "x".repeat(30);
        let row = |text: &str| vec![Some(text.to_owned()), Some("1".to_owned())];
        let mut out = Vec::new();
        let mut printer = Printer::new(Format::Table, None, &mut out);
        printer.begin(vec![("name".to_owned(), Kind::Text), ("n".to_owned(), Kind::Number)]).unwrap();
        printer.row(row(&wide)).unwrap();
        for _ in 0..2_500 {
            printer.row(row("short")).unwrap();
        }
        printer.end().unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + 2_501 + 1);
        let places: Vec<usize> = lines[2..2_503].iter().map(|line| line.rfind('1').unwrap()).collect();
        assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    }

    #[test]
    fn a_table_wraps_on_a_terminal_and_nowhere_else() {
        let long = "lorem ipsum ".repeat(20);
        let columns = [("id", Kind::Number), ("text", Kind::Text)];
        let rows: [&[Option<&str>]; 1] = [&[Some("1"), Some(long.trim_end())]];
        let widest = |text: String| text.lines().map(|line| line.chars().count()).max();
        assert!(widest(print(Format::Table, Some(60), &columns, &rows)) <= Some(60));
        assert!(print(Format::Table, None, &columns, &rows).contains(long.trim_end()));
    }

    #[test]
    fn a_row_with_more_columns_than_the_terminal_takes_stands_by_itself() {
        let columns = [("id", Kind::Number), ("full_name", Kind::Text), ("town", Kind::Text)];
        let rows: [&[Option<&str>]; 2] =
            [&[Some("1"), Some("Noor Ruud"), None], &[Some("2"), Some("Ann"), Some("Split")]];
        let expected = concat!(
            " row 1\n───────────\n id          1\n full_name   Noor Ruud\n town\n\n",
            " row 2\n───────────\n id          2\n full_name   Ann\n town        Split\n\n",
            " (2 rows)\n",
        );
        assert_eq!(print(Format::Table, Some(20), &columns, &rows), expected);
        // Nothing to show is a header still, and elsewhere than on a terminal there is room.
        assert!(print(Format::Table, Some(20), &columns, &[]).contains("(0 rows)"));
        assert!(print(Format::Table, None, &columns, &rows).starts_with(" id   full_name   town\n"));
    }

    #[test]
    fn a_question_that_fails_before_its_first_row_leaves_nothing() {
        for format in [Format::Table, Format::Csv, Format::Json] {
            let mut out = Vec::new();
            let mut printer = Printer::new(format, None, &mut out);
            printer.begin(vec![("a".to_owned(), Kind::Text)]).unwrap();
            drop(printer);
            assert!(out.is_empty(), "{format:?}");
        }
    }

    /// A pipe whose reader has left.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_leaves_is_no_error() {
        let mut printer = Printer::new(Format::Csv, None, Closed);
        printer.begin(vec![("a".to_owned(), Kind::Text)]).unwrap();
        printer.end().unwrap();
        assert!(printer.is_gone());
    }
}
