//! A JSON object a line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Take};

use super::{Fields, From, LONGEST, Record, Records, Whole, malformed, rewind, unended, unread};
use crate::descriptor::Changed;
use crate::error::{During as _, Result};

/// Of a file that grows, lines that have ended are there; of another, the last one may have no end.
pub fn whole(changed: Changed, file: &mut File, size: u64) -> Result<Whole> {
    let tail = unended(file, size)?;
    if changed == Changed::Grown {
        return Ok(Whole::To(size - tail.len() as u64));
    }
    let blank = tail.iter().all(u8::is_ascii_whitespace);
    if blank || serde_json::from_slice::<serde::de::IgnoredAny>(&tail).is_ok() {
        return Ok(Whole::To(size));
    }
    Ok(Whole::Cut("its last line does not end".to_owned()))
}

pub struct Lines {
    fields: Fields,
    reader: BufReader<Take<File>>,
    position: u64,
    line: u64,
}

impl Lines {
    pub fn new(fields: Fields, mut file: File, from: From, to: u64) -> Result<Self> {
        rewind(&mut file, from.position)?;
        let reader = BufReader::new(file.take(to.saturating_sub(from.position)));
        Ok(Self { fields, reader, position: from.position, line: from.lines })
    }
}

impl Records for Lines {
    fn next(&mut self) -> Result<Option<Record>> {
        loop {
            let mut text = Vec::new();
            let read = (&mut self.reader).take(LONGEST).read_until(b'\n', &mut text).during(unread)?;
            if read == 0 {
                return Ok(None);
            }
            let first = self.position == 0;
            self.position += read as u64;
            self.line += 1;
            let (line, is_long) = (self.line, read as u64 == LONGEST && text.last() != Some(&b'\n'));
            if is_long {
                self.position += skip_line(&mut self.reader)?;
            }
            let mut row = text.as_slice();
            if first {
                row = row.strip_prefix(b"\xef\xbb\xbf").unwrap_or(row);
            }
            if row.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let row = match is_long {
                true => malformed(row, "it is longer than 64 MB"),
                false => self.fields.row(row.trim_ascii_end()),
            };
            return Ok(Some(Record { line, end: self.position, row }));
        }
    }
}

/// Goes on behind the end of the line; gives how far that was.
fn skip_line(reader: &mut BufReader<Take<File>>) -> Result<u64> {
    reader.skip_until(b'\n').map(|skipped| skipped as u64).during(unread)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use super::super::Row;
    use super::*;

    fn read(text: &[u8], from: From) -> Vec<(u64, u64, Result<String, String>)> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text).expect("it takes text");
        let fields = BTreeMap::from([("date".to_owned(), "2026-01-02".to_owned())]);
        let mut lines = Lines::new(Fields::new(&fields), file, from, text.len() as u64).expect("lines");
        let mut all = Vec::new();
        while let Some(Record { line, end, row }) = lines.next().expect("a line") {
            all.push((
                line,
                end,
                match row {
                    Row::Object(text) => Ok(String::from_utf8(text).expect("text")),
                    Row::Malformed { why, .. } => Err(why),
                },
            ));
        }
        all
    }

    #[test]
    fn each_line_is_a_row_or_says_why_not() {
        let text = b"\xef\xbb\xbf{\"a\":1.50}\r\n\n{}\n[1]\n{\"a\":\n{\"a\":\"\xff\"}\n{\"b\":2}";
        let rows = read(text, From::default());
        let day = r#""date":"2026-01-02""#;
        assert_eq!(
            rows,
            [
                (1, 15, Ok(format!("{{{day},\"a\":1.50}}"))),
                (3, 19, Ok(format!("{{{day}}}"))),
                (4, 23, Err("it is no JSON object".to_owned())),
                (5, 29, Err("EOF while parsing a value at column 5".to_owned())),
                (6, 39, Err("it is not UTF-8".to_owned())),
                (7, 46, Ok(format!("{{{day},\"b\":2}}"))),
            ]
        );
        assert_eq!(read(text, From { position: 29, lines: 5 }), rows[4..]);
    }
}
