//! Writes a value's text as the JSON that the source's own `to_jsonb` gives, by the shape of its type.
//! Pure: bytes in, bytes out; knows no catalog, no message and no table. Never panics on any bytes.

/// How a type's text becomes JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `t` and `f`.
    Boolean,
    /// A number, but NaN and infinities as strings.
    Number,
    /// `2023-01-01 10:00:00`, with or without a zone: a string in ISO 8601.
    Timestamp,
    /// JSON as it is.
    Json,
    /// A string.
    Text,
    /// `{1,2}`.
    Array {
        /// What stands between two elements.
        delimiter: u8,
        /// The elements' shape.
        element: Box<Shape>,
    },
    /// `1 2`: the old vectors of the catalog.
    Vector(Box<Shape>),
    /// `(1,"a b")`.
    Composite(Vec<Field>),
    /// `"key"=>"value"`.
    Pairs,
    /// A string, unless it looks like several values: its type is gone, and nobody tells of what they were.
    Gone,
}

/// An attribute of a composite type, or a column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, quoted as JSON, and the colon.
    pub label: Vec<u8>,
    /// Its type's shape.
    pub shape: Shape,
}

impl Field {
    /// A field by its name.
    pub fn new(name: &[u8], shape: Shape) -> Self {
        let mut label = Vec::with_capacity(name.len() + 3);
        string(name, &mut label);
        label.push(b':');
        Self { label, shape }
    }
}

/// The text is not what its type writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text of a value does not fit its type")]
pub struct Unreadable;

/// Appends a value.
pub fn write(shape: &Shape, text: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    match shape {
        Shape::Boolean => match text {
            b"t" => out.extend_from_slice(b"true"),
            b"f" => out.extend_from_slice(b"false"),
            _ => return Err(Unreadable),
        },
        Shape::Number => number(text, out),
        Shape::Timestamp => timestamp(text, out),
        Shape::Json => out.extend_from_slice(text),
        Shape::Text => string(text, out),
        Shape::Array { delimiter, element } => return array(text, *delimiter, element, out),
        Shape::Vector(element) => return vector(text, element, out),
        Shape::Composite(fields) => return composite(text, fields, out),
        Shape::Pairs => return pairs(text, out),
        Shape::Gone => match text.first() {
            Some(b'{' | b'(' | b'[') => return Err(Unreadable),
            _ => string(text, out),
        },
    }
    Ok(())
}

/// Appends a string.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte >= b' ' && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(DIGITS[usize::from(control >> 4)]);
                out.push(DIGITS[usize::from(control & 15)]);
            }
        }
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}

/// NaN, Infinity and -Infinity are the only numbers with an `n`.
fn number(text: &[u8], out: &mut Vec<u8>) {
    if text.iter().any(|byte| matches!(byte, b'n' | b'N')) {
        string(text, out);
    } else {
        out.extend_from_slice(text);
    }
}

/// `2023-01-01 10:00:00.5+00 BC` is `2023-01-01T10:00:00.5+00:00 BC`; infinities have no space.
fn timestamp(text: &[u8], out: &mut Vec<u8>) {
    let Some(space) = text.iter().position(|byte| *byte == b' ') else {
        return string(text, out);
    };
    let (date, time) = (&text[..space], &text[space + 1..]);
    let end = time.iter().position(|byte| *byte == b' ').unwrap_or(time.len());
    let (clock, era) = time.split_at(end);
    out.push(b'"');
    out.extend_from_slice(date);
    out.push(b'T');
    out.extend_from_slice(clock);
    if let Some(sign) = clock.iter().position(|byte| matches!(byte, b'+' | b'-'))
        && clock.len() - sign == 3
    {
        out.extend_from_slice(b":00");
    }
    out.extend_from_slice(era);
    out.push(b'"');
}

fn array(text: &[u8], delimiter: u8, element: &Shape, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    // Bounds come first where they are not the usual ones; JSON has none.
    let mut rest = match text.first() {
        Some(b'[') => {
            let equals = text.iter().position(|byte| *byte == b'=').ok_or(Unreadable)?;
            &text[equals + 1..]
        }
        _ => text,
    };
    let mut unquoted = Vec::new();
    let mut depth = 0_usize;
    while let Some((first, after)) = rest.split_first() {
        match *first {
            b'{' => {
                depth += 1;
                out.push(b'[');
                rest = after;
            }
            b'}' => {
                depth = depth.checked_sub(1).ok_or(Unreadable)?;
                out.push(b']');
                rest = after;
            }
            byte if byte == delimiter => {
                out.push(b',');
                rest = after;
            }
            b'"' => {
                rest = quoted(after, Doubled::No, &mut unquoted)?;
                write(element, &unquoted, out)?;
            }
            _ => {
                let end =
                    rest.iter().position(|byte| *byte == delimiter || *byte == b'}').ok_or(Unreadable)?;
                let (value, after) = rest.split_at(end);
                if value == b"NULL" {
                    out.extend_from_slice(b"null");
                } else {
                    write(element, value, out)?;
                }
                rest = after;
            }
        }
        if depth == 0 && !rest.is_empty() {
            return Err(Unreadable);
        }
    }
    if depth == 0 && !text.is_empty() { Ok(()) } else { Err(Unreadable) }
}

fn vector(text: &[u8], element: &Shape, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    out.push(b'[');
    for (at, value) in text.split(|byte| *byte == b' ').filter(|value| !value.is_empty()).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(element, value, out)?;
    }
    out.push(b']');
    Ok(())
}

fn composite(text: &[u8], fields: &[Field], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let mut rest = text.strip_prefix(b"(").ok_or(Unreadable)?;
    let mut value = Vec::new();
    out.push(b'{');
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(b",").ok_or(Unreadable)?;
            out.push(b',');
        }
        out.extend_from_slice(&field.label);
        match rest.first() {
            Some(b',' | b')') | None => out.extend_from_slice(b"null"),
            Some(b'"') => {
                rest = quoted(&rest[1..], Doubled::Yes, &mut value)?;
                write(&field.shape, &value, out)?;
            }
            Some(_) => {
                let end = rest.iter().position(|byte| matches!(byte, b',' | b')')).ok_or(Unreadable)?;
                let (plain, after) = rest.split_at(end);
                write(&field.shape, plain, out)?;
                rest = after;
            }
        }
    }
    out.push(b'}');
    if rest == b")" { Ok(()) } else { Err(Unreadable) }
}

fn pairs(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let mut rest = text;
    let mut part = Vec::new();
    out.push(b'{');
    while !rest.is_empty() {
        rest = quoted(rest.strip_prefix(b"\"").ok_or(Unreadable)?, Doubled::No, &mut part)?;
        string(&part, out);
        out.push(b':');
        rest = rest.strip_prefix(b"=>").ok_or(Unreadable)?;
        if let Some(after) = rest.strip_prefix(b"NULL") {
            out.extend_from_slice(b"null");
            rest = after;
        } else {
            rest = quoted(rest.strip_prefix(b"\"").ok_or(Unreadable)?, Doubled::No, &mut part)?;
            string(&part, out);
        }
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(b", ").ok_or(Unreadable)?;
        out.push(b',');
    }
    out.push(b'}');
    Ok(())
}

/// Whether a doubled quote stands for one quote.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubled {
    Yes,
    No,
}

/// Reads to the closing quote, after the opening one; a backslash takes the next byte as it is.
fn quoted<'a>(text: &'a [u8], doubled: Doubled, value: &mut Vec<u8>) -> Result<&'a [u8], Unreadable> {
    value.clear();
    let mut rest = text;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(Unreadable)?;
        value.extend_from_slice(&rest[..end]);
        let special = rest[end];
        rest = &rest[end + 1..];
        match rest.split_first() {
            Some((next, after)) if special == b'\\' => {
                value.push(*next);
                rest = after;
            }
            None if special == b'\\' => return Err(Unreadable),
            Some((b'"', after)) if doubled == Doubled::Yes => {
                value.push(b'"');
                rest = after;
            }
            _ => return Ok(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(shape: &Shape, text: &str) -> String {
        let mut out = Vec::new();
        write(shape, text.as_bytes(), &mut out).expect("readable");
        String::from_utf8(out).expect("text")
    }

    fn array_of(element: Shape) -> Shape {
        Shape::Array { delimiter: b',', element: Box::new(element) }
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(written(&Shape::Text, "a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\n\\u0001é\"");
    }

    #[test]
    fn numbers_stay_exact_and_others_are_strings() {
        assert_eq!(written(&Shape::Number, "12345678901234567890.10"), "12345678901234567890.10");
        assert_eq!(written(&Shape::Number, "-Infinity"), "\"-Infinity\"");
        assert_eq!(written(&Shape::Number, "NaN"), "\"NaN\"");
    }

    #[test]
    fn timestamps_are_iso_8601() {
        let cases = [
            ("2023-01-02 03:04:05.6", "\"2023-01-02T03:04:05.6\""),
            ("2023-01-02 03:04:05+00", "\"2023-01-02T03:04:05+00:00\""),
            ("0044-03-15 12:00:00+00 BC", "\"0044-03-15T12:00:00+00:00 BC\""),
            ("infinity", "\"infinity\""),
        ];
        for (text, json) in cases {
            assert_eq!(written(&Shape::Timestamp, text), json);
        }
    }

    #[test]
    fn arrays_keep_their_nesting_and_nulls() {
        assert_eq!(written(&array_of(Shape::Number), "{{1,2},{NULL,4}}"), "[[1,2],[null,4]]");
        assert_eq!(
            written(&array_of(Shape::Text), r#"{a,"b,c","NULL",NULL,"\"\\",""}"#),
            r#"["a","b,c","NULL",null,"\"\\",""]"#
        );
        assert_eq!(written(&array_of(Shape::Number), "[0:1]={7,8}"), "[7,8]");
        assert_eq!(written(&array_of(Shape::Text), "{}"), "[]");
    }

    #[test]
    fn composites_are_objects() {
        let shape = Shape::Composite(vec![
            Field::new(b"a", Shape::Number),
            Field::new(b"b", Shape::Text),
            Field::new(b"c", array_of(Shape::Boolean)),
        ]);
        assert_eq!(
            written(&shape, r#"(1,"x ""y"" \\","{t,f}")"#),
            r#"{"a":1,"b":"x \"y\" \\","c":[true,false]}"#
        );
        assert_eq!(written(&shape, r#"(,"",)"#), r#"{"a":null,"b":"","c":null}"#);
    }

    #[test]
    fn pairs_are_objects_of_strings() {
        assert_eq!(written(&Shape::Pairs, r#""a"=>"1", "b\""=>NULL"#), r#"{"a":"1","b\"":null}"#);
        assert_eq!(written(&Shape::Pairs, ""), "{}");
    }

    /// Any bytes give JSON or an error.
    #[test]
    fn no_bytes_make_it_panic() {
        let shapes = [
            array_of(Shape::Text),
            array_of(Shape::Composite(vec![Field::new(b"a", array_of(Shape::Boolean))])),
            Shape::Composite(vec![Field::new(b"a", Shape::Timestamp), Field::new(b"b", Shape::Pairs)]),
            Shape::Pairs,
            Shape::Vector(Box::new(Shape::Number)),
            Shape::Timestamp,
        ];
        let alphabet = b"{}()[]=\",\\ >NUL1at+-\n";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).expect("31 bits")
        };
        let mut out = Vec::new();
        for round in 0..100_000 {
            let text: Vec<u8> = (0..random() % 24).map(|_| alphabet[random() % alphabet.len()]).collect();
            out.clear();
            let _ = write(&shapes[round % shapes.len()], &text, &mut out);
        }
    }
}
