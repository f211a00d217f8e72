//! Values between delimiters: each row as a JSON object of text, for CSV says of no value what it is.

use std::fs::File;
use std::io::{BufReader, Read as _, Take};

use ::csv::{ByteRecord, Position, Reader, ReaderBuilder};

use super::{Fields, From, Record, Records, Row, Whole, malformed, rewind, string, unended, unread};
use crate::descriptor::{Changed, Csv};
use crate::error::{During as _, Error, Result};
use crate::progress::count;

/// A file whose last line has no end is whole if that line has as many values as there are fields. A line that ends within
/// quotes goes on.
pub fn whole(csv: &Csv, changed: Changed, file: &mut File, size: u64) -> Result<Whole> {
    let Some(last) = last(csv, file)? else { return Ok(Whole::To(size)) };
    let (is_closed, has_end) = (last.is_closed, unended(file, size)?.is_empty());
    if is_closed && has_end {
        return Ok(Whole::To(size));
    }
    if changed == Changed::Grown {
        return Ok(Whole::To(last.begins));
    }
    let fields = names(csv, file)?.map(|(names, _)| names.len());
    Ok(match is_closed && fields == Some(last.values) {
        true => Whole::To(size),
        false => Whole::Cut("its last line does not end".to_owned()),
    })
}

/// A file's last row.
struct Last {
    /// Where it begins.
    begins: u64,
    values: usize,
    /// Whether its quotes are in pairs, so that what stands behind it is another row.
    is_closed: bool,
}

fn last(csv: &Csv, file: &mut File) -> Result<Option<Last>> {
    rewind(file, 0)?;
    let mut rows = reader(csv, BufReader::new(&mut *file));
    let (mut row, mut begins, mut values) = (ByteRecord::new(), None, 0);
    while rows.read_byte_record(&mut row).during(unread)? {
        begins = row.position().map(Position::byte);
        values = row.len();
    }
    let Some(begins) = begins else { return Ok(None) };
    rewind(file, begins)?;
    let mut behind = reader(csv, BufReader::new(&mut *file).chain(&b"\n1\n"[..]));
    let mut rows = 0;
    while rows < 2 && behind.read_byte_record(&mut row).during(unread)? {
        rows += 1;
    }
    Ok(Some(Last { begins, values, is_closed: rows == 2 }))
}

fn reader<R: std::io::Read>(csv: &Csv, from: R) -> Reader<R> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(csv.delimiter)
        .quote(csv.quote)
        .from_reader(from)
}

/// The fields' names and where they end: those of the spec, else those of the first line.
fn names(csv: &Csv, file: &mut File) -> Result<Option<(Vec<String>, From)>> {
    if !csv.columns.is_empty() {
        return Ok(Some((csv.columns.clone(), From::default())));
    }
    rewind(file, 0)?;
    let mut reader = reader(csv, BufReader::new(&mut *file));
    let mut first = ByteRecord::new();
    if !reader.read_byte_record(&mut first).during(unread)? {
        return Ok(None);
    }
    let position = reader.position();
    let from = From { position: position.byte(), lines: position.line() - 1 };
    let names = first.iter().enumerate().map(|(at, name)| {
        let name = if at == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
        String::from_utf8_lossy(name).trim().to_owned()
    });
    Ok(Some((names.collect(), from)))
}

pub struct Rows {
    fields: Fields,
    names: Vec<String>,
    null: Vec<String>,
    delimiter: u8,
    reader: Reader<BufReader<Take<File>>>,
    from: From,
    /// The line and the place where the reader stands.
    next: From,
}

impl Rows {
    pub fn new(csv: &Csv, fields: Fields, mut file: File, from: From, to: u64) -> Result<Self> {
        let (names, start) = names(csv, &mut file)?.unwrap_or_default();
        if let Some(name) =
            names.iter().enumerate().find_map(|(at, name)| names[..at].contains(name).then_some(name))
        {
            return Err(Error::new(format!("its first line names the field `{name}` twice")));
        }
        let from = if from.position > start.position { from } else { start };
        rewind(&mut file, from.position)?;
        let rows = BufReader::new(file.take(to.saturating_sub(from.position)));
        let null = csv.null.clone();
        let reader = reader(csv, rows);
        Ok(Self { fields, names, null, delimiter: csv.delimiter, reader, from, next: from })
    }

    fn object(&self, values: &ByteRecord) -> Row {
        let text = || values.iter().collect::<Vec<_>>().join(&self.delimiter);
        if values.len() != self.names.len() {
            return malformed(&text(), {
                let (values, names) = (values.len() as u64, self.names.len() as u64);
                format!("{} for {}", count(values, "value"), count(names, "field"))
            });
        }
        let mut object = vec![b'{'];
        object.extend_from_slice(&self.fields.0);
        for (name, value) in self.names.iter().zip(values) {
            let Ok(value) = std::str::from_utf8(value) else {
                return malformed(&text(), format!("the value of `{name}` is not UTF-8"));
            };
            string(name, &mut object);
            object.push(b':');
            match self.null.iter().any(|null| null == value) {
                true => object.extend_from_slice(b"null"),
                false => string(value, &mut object),
            }
            object.push(b',');
        }
        object.pop();
        object.push(b'}');
        Row::Object(object)
    }
}

impl Records for Rows {
    fn next(&mut self) -> Result<Option<Record>> {
        let mut values = ByteRecord::new();
        loop {
            if !self.reader.read_byte_record(&mut values).during(unread)? {
                return Ok(None);
            }
            let at = self.reader.position();
            let begun =
                values.position().map_or(self.next.lines, |position| self.from.lines + position.line() - 1);
            self.next =
                From { position: self.from.position + at.byte(), lines: self.from.lines + at.line() - 1 };
            // A line of blanks is none.
            if values.len() == 1 && self.names.len() > 1 && values[0].iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let row = self.object(&values);
            // A row of several lines is known by the last of them: rows go on behind it.
            let line = self.next.lines.max(begun + 1);
            return Ok(Some(Record { line, end: self.next.position, row }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_whole_where_its_last_row_ends() {
        let csv = Csv { delimiter: b',', quote: b'"', columns: Vec::new(), null: Vec::new() };
        let cut = || Whole::Cut("its last line does not end".to_owned());
        let to = |end: &str| Whole::To(end.len() as u64);
        let rows = "id,name\n1,one\n";
        for (behind, once, grown) in [
            ("", to(rows), to(rows)),
            ("2,two\n", to(&format!("{rows}2,two\n")), to(&format!("{rows}2,two\n"))),
            ("2,two", to(&format!("{rows}2,two")), to(rows)),
            ("2", cut(), to(rows)),
            ("2,\"a line\n", cut(), to(rows)),
            ("2,\"a line\nand another", cut(), to(rows)),
            ("2,\"a line\nand another\"", to(&format!("{rows}2,\"a line\nand another\"")), to(rows)),
            ("2,5\" wide\n", to(&format!("{rows}2,5\" wide\n")), to(&format!("{rows}2,5\" wide\n"))),
        ] {
            let text = format!("{rows}{behind}");
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(text.as_bytes()).expect("it takes text");
            for (changed, wanted) in [(Changed::Refused, once), (Changed::Grown, grown)] {
                let whole = whole(&csv, changed, &mut file, text.len() as u64).expect("it is read");
                assert_eq!(whole, wanted, "{text:?} {changed:?}");
            }
        }
    }
}
