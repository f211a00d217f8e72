//! The decoder as a fuzzer reaches it: a batch of messages, whatever they are, read by landing tables that are always the
//! same. For that and nothing else.

use std::cell::Cell;

use super::decoder::{Care, Decoder};
use super::json::{Field, Shape};
use super::pgoutput::Message;
use super::position::{Epoch, Lsn, SourcePosition, State, SystemTime};
use super::preflight::Site;
use crate::descriptor::{Landing, Name};
use crate::error::{During as _, Result};
use crate::land::To;

/// Rows as they are sent to the server, all to one place.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// In COPY's binary format, without header and trailer.
    pub rows: Vec<u8>,
    /// How many columns each has.
    pub columns: i16,
    /// Which of them are binary `jsonb`.
    pub jsonb: &'static [i16],
    /// Which of them are `json`.
    pub json: &'static [i16],
    /// Whether the values' types write any text as JSON; of the others the server writes nothing that is none.
    pub is_any_text: bool,
}

/// What messages become, value by value in both ways of landing them.
pub fn decode(messages: &[&[u8]]) -> Result<Vec<Decoded>> {
    let landing = |name: &str, keys: &[&str]| {
        Landing::new(Name::new("bronze", name), Name::new("public", "item"), keys.iter().copied())
    };
    let landings = [landing("one", &["a"]), landing("two", &["b", "a"]), landing("none", &["c"])];
    let mut all = Vec::new();
    for care in [Care::Usual, Care::EachRow] {
        all.extend(decode_with(messages, &landings, care)?);
    }
    Ok(all)
}

fn decode_with(messages: &[&[u8]], landings: &[Landing], care: Care) -> Result<Vec<Decoded>> {
    let position = SourcePosition {
        state: State::Streaming,
        site: Site { system_identifier: String::new(), database: String::new(), timeline: 1 },
        landed_to: Lsn(16),
        epoch: Epoch::default(),
        last_lsn: Lsn(15),
        last_time: SystemTime(0),
        fence: None,
    };
    let mut decoder = Decoder::new(landings, &[], position, care);
    let is_any_text = Cell::new(true);
    for bytes in messages {
        match Message::read(bytes).during(|| "cannot read a message".to_owned())? {
            Message::Relation(relation) => decoder.describe(&relation, |type_id| {
                let shape = shape(type_id);
                is_any_text.set(is_any_text.get() && takes_any_text(&shape));
                Ok(shape)
            })?,
            message => {
                decoder.take(message)?;
            }
        }
    }
    let mut all = Vec::new();
    while let Some(to) = decoder.pending() {
        let rows = decoder.chunk(to).rows.bytes().to_vec();
        let (columns, jsonb, json): (i16, &[i16], &[i16]) = match to {
            To::Landing(_) => (5, &[2], &[]),
            To::Stage => (9, &[6], &[7]),
        };
        all.push(Decoded { rows, columns, jsonb, json, is_any_text: is_any_text.get() });
    }
    assert_eq!(decoder.buffered(), 0, "all that was counted has been taken away");
    decoder.finish()?;
    Ok(all)
}

fn shape(type_id: u32) -> Shape {
    match type_id % 16 {
        0..=5 => Shape::Text,
        6 => Shape::Gone,
        7 => Shape::Boolean,
        8 => Shape::Pairs,
        9 => Shape::Composite(vec![Field::new(b"x", Shape::Text), Field::new(b"y\"", Shape::Boolean)]),
        10 => Shape::Vector(Box::new(Shape::Text)),
        11 => Shape::Number,
        12 => Shape::Timestamp,
        13 => Shape::Json,
        14 => Shape::Array { delimiter: b',', element: Box::new(shape(type_id / 16)) },
        _ => Shape::Composite(vec![Field::new(b"x", shape(type_id / 16)), Field::new(b"y", Shape::Pairs)]),
    }
}

fn takes_any_text(shape: &Shape) -> bool {
    match shape {
        Shape::Boolean | Shape::Text | Shape::Pairs => true,
        Shape::Vector(element) => takes_any_text(element),
        Shape::Composite(fields) => fields.iter().all(|field| takes_any_text(&field.shape)),
        Shape::Number | Shape::Timestamp | Shape::Json | Shape::Array { .. } | Shape::Gone => false,
    }
}
