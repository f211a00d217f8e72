//! Values between delimiters: each row as a JSON object of text, for CSV says of no value what it is.

use std::fs::File;
use std::io::{BufReader, Read as _, Take};

use ::csv::{ByteRecord, Reader, ReaderBuilder};

use super::{Fields, From, Record, Records, Row, Whole, malformed, rewind, string, unended, unread};
use crate::descriptor::{Changed, Csv};
use crate::error::{During as _, Error, Result};
use crate::progress::count;

/// A file whose last line has no end is whole if that line has as many values as there are fields.
pub fn whole(csv: &Csv, changed: Changed, file: &mut File, size: u64) -> Result<Whole> {
    let tail = unended(file, size)?;
    if changed == Changed::Grown {
        return Ok(Whole::To(size - tail.len() as u64));
    }
    if tail.is_empty() {
        return Ok(Whole::To(size));
    }
    let quotes = tail.iter().filter(|byte| **byte == csv.quote).count();
    let mut last = ByteRecord::new();
    let read = reader(csv, tail.as_slice()).read_byte_record(&mut last).is_ok_and(|read| read);
    let fields = names(csv, file)?;
    Ok(match fields {
        Some((fields, _)) if read && quotes % 2 == 0 && last.len() == fields.len() => Whole::To(size),
        _ => Whole::Cut("its last line does not end".to_owned()),
    })
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
