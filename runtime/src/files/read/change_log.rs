//! A batch of changes: `{"changes": [...], "batch_metadata": {...}}`, in either order. Says of itself how many changes it
//! has, and, if it likes, their checksum: whoever has not all of it knows so. Its rows are those of an array.

use std::fs::File;
use std::io::BufReader;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256};

use super::json_array::{Element, Elements};
use super::{Whole, rewind, unread};
use crate::error::{Error, Result};

/// The file, of whose changes no more is kept than how many they are. Another array would be taken for theirs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    batch_metadata: Metadata,
    changes: Count,
}

/// What it says of itself; more of it is not asked for.
#[derive(Deserialize)]
struct Metadata {
    batch_id: BatchId,
    change_count: u64,
    checksum: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BatchId {
    Text(String),
    Number(i64),
}

struct Object(Log);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Object;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object with `changes` and `batch_metadata`")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object, A::Error> {
                Log::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        deserializer.deserialize_map(Whole)
    }
}

struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Count;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an array of changes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut changes: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while changes.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(Counting)
    }
}

fn read(file: &mut File) -> Result<Result<Log, serde_json::Error>> {
    rewind(file, 0)?;
    // An array would be taken for the fields in their order.
    match serde_json::from_reader::<_, Object>(BufReader::new(&mut *file)).map(|Object(log)| log) {
        Err(error) if error.is_io() => Err(Error::new(unread()).because(error)),
        read => Ok(read),
    }
}

/// Looks whether all that it says it has is there.
pub fn whole(file: &mut File, size: u64) -> Result<Whole> {
    let cut = |why: String| Ok(Whole::Cut(why));
    let log = match read(file)? {
        Ok(log) => log,
        Err(error) if error.is_eof() => return cut("it ends before its batch does".to_owned()),
        Err(error) => return cut(format!("it is no batch of changes: {error}")),
    };
    let (said, found) = (log.batch_metadata.change_count, log.changes.0);
    if said != found {
        return cut(format!("its `change_count` is {said}, and it has {found}"));
    }
    if let Some(said) = log.batch_metadata.checksum {
        let found = checksum(file)?;
        if !said.eq_ignore_ascii_case(&found) {
            return cut(format!("its `checksum` is `{said}`, and that of its changes `{found}`"));
        }
    }
    Ok(Whole::To(size))
}

/// Which batch it is; it is whole.
pub fn batch_id(file: &mut File) -> Result<String> {
    let log = read(file)?.map_err(|error| Error::new(unread()).because(error))?;
    Ok(match log.batch_metadata.batch_id {
        BatchId::Text(text) => text.replace('\0', "\u{fffd}"),
        BatchId::Number(number) => number.to_string(),
    })
}

/// The checksum of the changes as they stand, each with the end of a line.
fn checksum(file: &mut File) -> Result<String> {
    rewind(file, 0)?;
    let mut elements = Elements::new(BufReader::new(&mut *file));
    let mut hash = Sha256::new();
    while let Some(Element::Text(text) | Element::Long(text)) = elements.next()? {
        hash.update(text.trim_ascii_end());
        hash.update(b"\n");
    }
    Ok(crate::files::hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn look(text: &str) -> Whole {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("it takes text");
        whole(&mut file, text.len() as u64).expect("it is read")
    }

    const BATCH: &str = r#"{"changes": [ {"id": 1, "of": [{"a": "]}"}]},{"id": 2} ],
        "batch_metadata": {"batch_id": "b", "change_count": 2, "tables": ["x"], "watermark": null}}"#;

    #[test]
    fn what_is_cut_or_counts_otherwise_is_known() {
        assert_eq!(look(BATCH), Whole::To(BATCH.len() as u64));
        for length in 0..BATCH.len() {
            assert!(matches!(look(&BATCH[..length]), Whole::Cut(_)), "{}", &BATCH[..length]);
        }
        for (from, to) in
            [("2, \"tables", "3, \"tables"), ("changes", "others"), ("\"batch_id\": \"b\", ", "")]
        {
            assert!(matches!(look(&BATCH.replace(from, to)), Whole::Cut(_)), "{to}");
        }
    }

    #[test]
    fn a_checksum_is_that_of_the_changes_as_they_stand() {
        let Whole::Cut(why) = look(&BATCH.replace("\"tables\": [\"x\"]", "\"checksum\": \"0\"")) else {
            unreachable!("it is another one")
        };
        let found = why.rsplit('`').nth(1).expect("it is told");
        let right = BATCH.replace("\"tables\": [\"x\"]", &format!("\"checksum\": \"{found}\""));
        assert_eq!(look(&right), Whole::To(right.len() as u64));
        assert!(matches!(look(&right.replace("\"id\": 2", "\"id\": 3")), Whole::Cut(_)));
    }

    #[test]
    fn it_may_say_first_what_it_is() {
        let first = r#"{"batch_metadata": {"batch_id": 7, "change_count": 1}, "changes": [{"id": 1}]}"#;
        assert_eq!(look(first), Whole::To(first.len() as u64));
    }
}
