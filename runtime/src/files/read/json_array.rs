//! One JSON array of objects, or an object that holds one: what programs answer. Taken apart as it is read, for it may
//! be large.

use std::fs::File;
use std::io::{BufRead, BufReader};

use super::{Fields, LONGEST, Record, Records, Whole, malformed, rewind, unread};
use crate::error::{During as _, Result};

/// Looks whether the array is there, and ends.
pub fn whole(file: &mut File, size: u64) -> Result<Whole> {
    rewind(file, 0)?;
    let mut elements = Elements::new(BufReader::new(&mut *file));
    while let Some(element) = elements.next()? {
        drop(element);
    }
    Ok(match elements.at {
        At::End => Whole::To(size),
        At::Wrong(what) => Whole::Cut(what.to_owned()),
        At::Before | At::Within => Whole::Cut("it ends before its array does".to_owned()),
    })
}

/// Where in a file its elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Before,
    Within,
    End,
    /// It is none of its kind.
    Wrong(&'static str),
}

/// The elements of the array, as text.
pub struct Elements<R> {
    reader: R,
    at: At,
    /// Whether the array stands in an object.
    held: bool,
}

/// An element's text, or as much of it as is kept of one that is too long.
pub enum Element {
    Text(Vec<u8>),
    Long(Vec<u8>),
}

impl<R: BufRead> Elements<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, at: At::Before, held: false }
    }

    /// The next element; none where the array ends, or the file.
    pub fn next(&mut self) -> Result<Option<Element>> {
        if self.at == At::Before {
            self.at = self.begin()?;
        }
        if self.at != At::Within {
            return Ok(None);
        }
        loop {
            match self.peek()? {
                None => return Ok(None),
                Some(b']') => {
                    self.reader.consume(1);
                    self.at = self.end()?;
                    return Ok(None);
                }
                Some(byte) if byte == b',' || byte.is_ascii_whitespace() => self.reader.consume(1),
                Some(_) => return self.element(),
            }
        }
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        self.reader.fill_buf().map(|bytes| bytes.first().copied()).during(unread)
    }

    fn bump(&mut self) -> Result<Option<u8>> {
        let byte = self.peek()?;
        self.reader.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// Goes to where the elements are.
    fn begin(&mut self) -> Result<At> {
        let mut depth = Depth::default();
        while let Some(byte) = self.bump()? {
            if depth.levels == 0 && !matches!(byte, b'[' | b'{' | b'\xef' | b'\xbb' | b'\xbf') {
                if byte.is_ascii_whitespace() {
                    continue;
                }
                return Ok(At::Wrong("it is no JSON array, and no object that holds one"));
            }
            let was_in_text = depth.in_text;
            depth.take(byte);
            if byte == b'[' && !was_in_text && depth.levels <= 2 {
                self.held = depth.levels == 2;
                return Ok(At::Within);
            }
            if byte == b'}' && depth.levels == 0 {
                return Ok(At::Wrong("it is an object that holds no array"));
            }
        }
        Ok(At::Before)
    }

    /// Goes to the end of the file behind the array.
    fn end(&mut self) -> Result<At> {
        let mut depth = Depth { levels: i64::from(self.held), ..Depth::default() };
        while let Some(byte) = self.bump()? {
            if depth.levels == 0 && !byte.is_ascii_whitespace() {
                return Ok(At::Wrong("something stands behind its array"));
            }
            let was_in_text = depth.in_text;
            depth.take(byte);
            if byte == b'[' && !was_in_text && depth.levels == 2 {
                return Ok(At::Wrong("it holds two arrays, and nothing says which one is meant"));
            }
        }
        Ok(if depth.levels == 0 { At::End } else { At::Within })
    }

    fn element(&mut self) -> Result<Option<Element>> {
        let mut depth = Depth::default();
        let mut text = Vec::new();
        let mut is_long = false;
        while let Some(byte) = self.peek()? {
            if depth.levels == 0 && !depth.in_text && matches!(byte, b',' | b']') {
                return Ok(Some(if is_long { Element::Long(text) } else { Element::Text(text) }));
            }
            self.reader.consume(1);
            depth.take(byte);
            match (text.len() as u64) < LONGEST {
                true => text.push(byte),
                false => is_long = true,
            }
        }
        Ok(None)
    }
}

/// How deep a byte of JSON stands.
#[derive(Default)]
struct Depth {
    levels: i64,
    in_text: bool,
    escaped: bool,
}

impl Depth {
    fn take(&mut self, byte: u8) {
        match (self.in_text, self.escaped, byte) {
            (true, true, _) => self.escaped = false,
            (true, false, b'\\') => self.escaped = true,
            (_, _, b'"') => self.in_text = !self.in_text,
            (false, _, b'[' | b'{') => self.levels += 1,
            (false, _, b']' | b'}') => self.levels -= 1,
            _ => {}
        }
    }
}

pub struct Rows {
    fields: Fields,
    elements: Elements<BufReader<File>>,
    /// So many have been read before.
    skipped: u64,
    row: u64,
}

impl Rows {
    pub fn new(fields: Fields, elements: Elements<BufReader<File>>, skipped: u64) -> Self {
        Self { fields, elements, skipped, row: 0 }
    }
}

impl Records for Rows {
    fn next(&mut self) -> Result<Option<Record>> {
        while let Some(element) = self.elements.next()? {
            self.row += 1;
            if self.row <= self.skipped {
                continue;
            }
            let row = match element {
                Element::Text(text) => self.fields.row(&text),
                Element::Long(text) => malformed(&text, "it is longer than 64 MB"),
            };
            return Ok(Some(Record { line: self.row, end: 0, row }));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, At) {
        let mut elements = Elements::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(Element::Text(text)) = elements.next().expect("memory reads") {
            all.push(String::from_utf8(text).expect("text").trim().to_owned());
        }
        (all, elements.at)
    }

    #[test]
    fn an_array_is_taken_apart() {
        let (rows, at) = read(" [ {\"a\": [1, {\"b\": \"]},\\\"\"}]} , 2,\"x,]\",[] ]\n");
        assert_eq!(rows, ["{\"a\": [1, {\"b\": \"]},\\\"\"}]}", "2", "\"x,]\"", "[]"]);
        assert_eq!(at, At::End);
        assert_eq!(read("[]"), (vec![], At::End));
    }

    #[test]
    fn an_object_may_hold_it() {
        let (rows, at) =
            read(r#"{"total": 2, "of": {"x": [0]}, "products": [{"a": 1}, {"a": 2}], "skip": 0}"#);
        assert_eq!(rows, [r#"{"a": 1}"#, r#"{"a": 2}"#]);
        assert_eq!(at, At::End);
        assert!(matches!(read(r#"{"a": [1], "b": [2]}"#).1, At::Wrong(_)));
        assert!(matches!(read(r#"{"a": {"b": [2]}}"#).1, At::Wrong(_)));
    }

    #[test]
    fn what_is_cut_is_known() {
        let whole = r#"{"n": 1, "rows": [{"a": "x"}, {"a": 2}], "m": {}}"#;
        for length in 0..whole.len() {
            assert_ne!(read(&whole[..length]).1, At::End, "{}", &whole[..length]);
        }
        assert!(matches!(read("1").1, At::Wrong(_)));
        assert!(matches!(read("[1] 2").1, At::Wrong(_)));
    }
}
