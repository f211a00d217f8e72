//! Any messages of a source become rows or an error, and rows that are sent can be told apart.

use medallion_runtime::capture::fuzzed::{Decoded, decode};

/// Messages, each behind its length: a byte, or two where the first says 255.
pub fn pgoutput(bytes: &[u8]) {
    let Ok(decoded) = decode(&messages(bytes)) else { return };
    for rows in &decoded {
        are_rows(rows);
    }
}

fn messages(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((first, mut rest)) = bytes.split_first() {
        let mut length = usize::from(*first);
        if *first == u8::MAX
            && let Some((second, more)) = rest.split_first()
        {
            (length, rest) = (length + usize::from(*second), more);
        }
        let (message, rest) = rest.split_at(length.min(rest.len()));
        messages.push(message);
        bytes = rest;
    }
    messages
}

/// What is sent to the server by COPY is read as the server reads it, field by field.
fn are_rows(decoded: &Decoded) {
    let mut rest = decoded.rows.as_slice();
    while !rest.is_empty() {
        let count = i16::from_be_bytes(*take(&mut rest));
        assert_eq!(count, decoded.columns, "a row has all of its columns");
        for column in 0..count {
            let length = i32::from_be_bytes(*take(&mut rest));
            let Ok(length) = usize::try_from(length) else {
                assert_eq!(length, -1, "no value is NULL in another way");
                continue;
            };
            let Some((value, after)) = rest.split_at_checked(length) else {
                panic!("a value is longer than what is there");
            };
            rest = after;
            if decoded.jsonb.contains(&column) {
                assert_eq!(value.first(), Some(&1), "a binary jsonb has a version");
                is_json(decoded, &value[1..]);
            } else if decoded.json.contains(&column) {
                is_json(decoded, value);
            }
        }
    }
}

/// Where the types write any text as JSON, it is an object. What is no UTF-8 the server refuses.
fn is_json(decoded: &Decoded, value: &[u8]) {
    let Ok(text) = std::str::from_utf8(value) else { return };
    if decoded.is_any_text {
        let read = serde_json::from_str::<serde_json::Value>(text);
        assert!(read.as_ref().is_ok_and(serde_json::Value::is_object), "{text}: {read:?}");
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> &'a [u8; N] {
    let Some((first, after)) = rest.split_first_chunk() else { panic!("a row ends too early") };
    *rest = after;
    first
}
