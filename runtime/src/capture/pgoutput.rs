//! Reads the messages of PostgreSQL's built-in output plugin (protocol version 1) out of bytes, in place.
//! Pure: no input or output, no catalog, no meaning. Any bytes give a message or an error, never a panic.

use super::position::Lsn;

/// A message of the plugin, borrowing the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction begins; its changes follow.
    Begin {
        /// Where its commit record starts.
        commit_lsn: Lsn,
        /// When it committed, in microseconds since 2000.
        commit_time: i64,
        /// Its id, without the epoch.
        xid: u32,
    },
    /// The transaction is complete.
    Commit {
        /// Where its commit record starts.
        commit_lsn: Lsn,
        /// Where its commit record ends.
        end_lsn: Lsn,
    },
    /// What a relation looks like from here on.
    Relation(Relation<'a>),
    /// A row came.
    Insert {
        /// The relation's id.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row changed.
    Update {
        /// The relation's id.
        relation: u32,
        /// What is known of the row before.
        old: Option<Old<'a>>,
        /// The row after.
        new: Tuple<'a>,
    },
    /// A row went.
    Delete {
        /// The relation's id.
        relation: u32,
        /// What is known of the row before.
        old: Old<'a>,
    },
    /// Relations were emptied.
    Truncate(Relations<'a>),
    /// Something that carries no change: an origin, a type's name, a logical message.
    Other,
}

/// A relation as the stream describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its id.
    pub id: u32,
    /// Its schema; empty for `pg_catalog`.
    pub schema: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    count: u16,
    columns: &'a [u8],
}

/// A column of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// Whether it is part of the replica identity.
    pub identity: bool,
    /// Its name.
    pub name: &'a [u8],
    /// The id of its type.
    pub type_id: u32,
}

/// What is known of a row before its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old<'a> {
    /// The columns of the replica identity; every other one reads as null.
    Key(Tuple<'a>),
    /// The whole row.
    Row(Tuple<'a>),
}

/// A row's values, in the order of the relation's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    count: u16,
    values: &'a [u8],
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// Stored out of line and not touched by the change, so not sent.
    Unchanged,
    /// Its text.
    Text(&'a [u8]),
}

/// The ids of relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relations<'a>(&'a [u8]);

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the message ends too early")]
    Short,
    /// They go on after the end.
    #[error("the message goes on after its end")]
    Long,
    /// No such kind of message.
    #[error("a message cannot be of kind {0:#04x}")]
    Kind(u8),
    /// No such kind of part within a message.
    #[error("a part of a message cannot be of kind {0:#04x}")]
    Part(u8),
    /// A number that is out of its range.
    #[error("a number in the message is out of range")]
    Number,
}

impl<'a> Message<'a> {
    /// Reads one message that fills the bytes.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let message = match reader.byte()? {
            b'B' => Self::Begin { commit_lsn: reader.lsn()?, commit_time: reader.i64()?, xid: reader.u32()? },
            b'C' => {
                reader.byte()?;
                let commit = Self::Commit { commit_lsn: reader.lsn()?, end_lsn: reader.lsn()? };
                reader.i64()?;
                commit
            }
            b'R' => Self::Relation(reader.relation()?),
            b'I' => {
                let relation = reader.u32()?;
                reader.expect(b'N')?;
                Self::Insert { relation, new: reader.tuple()? }
            }
            b'U' => reader.update()?,
            b'D' => {
                let relation = reader.u32()?;
                let old = match reader.byte()? {
                    b'K' => Old::Key(reader.tuple()?),
                    b'O' => Old::Row(reader.tuple()?),
                    other => return Err(Malformed::Part(other)),
                };
                Self::Delete { relation, old }
            }
            b'T' => {
                let count = usize::try_from(reader.u32()?).map_err(|_| Malformed::Number)?;
                reader.byte()?;
                let length = count.checked_mul(4).ok_or(Malformed::Number)?;
                Self::Truncate(Relations(reader.take(length)?))
            }
            b'O' | b'Y' | b'M' => return Ok(Self::Other),
            other => return Err(Malformed::Kind(other)),
        };
        if reader.0.is_empty() { Ok(message) } else { Err(Malformed::Long) }
    }
}

impl<'a> Relation<'a> {
    /// Its columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = Column<'a>> + use<'a> {
        let mut reader = Reader(self.columns);
        (0..self.count).map_while(move |_| reader.column().ok())
    }
}

impl<'a> Tuple<'a> {
    /// How many values it has.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Its values, in order.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut reader = Reader(self.values);
        (0..self.count).map_while(move |_| reader.value().ok())
    }
}

impl Relations<'_> {
    /// The ids, in the order in which the relations were named.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.0.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn update(&mut self) -> Result<Message<'a>, Malformed> {
        let relation = self.u32()?;
        let old = match self.byte()? {
            b'N' => return Ok(Message::Update { relation, old: None, new: self.tuple()? }),
            b'K' => Old::Key(self.tuple()?),
            b'O' => Old::Row(self.tuple()?),
            other => return Err(Malformed::Part(other)),
        };
        self.expect(b'N')?;
        Ok(Message::Update { relation, old: Some(old), new: self.tuple()? })
    }

    fn relation(&mut self) -> Result<Relation<'a>, Malformed> {
        let id = self.u32()?;
        let schema = self.name()?;
        let name = self.name()?;
        self.byte()?;
        let count = self.u16()?;
        let columns = self.0;
        for _ in 0..count {
            self.column()?;
        }
        Ok(Relation { id, schema, name, count, columns: &columns[..columns.len() - self.0.len()] })
    }

    fn column(&mut self) -> Result<Column<'a>, Malformed> {
        let identity = self.byte()? & 1 == 1;
        let name = self.name()?;
        let type_id = self.u32()?;
        self.u32()?;
        Ok(Column { identity, name, type_id })
    }

    fn tuple(&mut self) -> Result<Tuple<'a>, Malformed> {
        let count = self.u16()?;
        let values = self.0;
        for _ in 0..count {
            self.value()?;
        }
        Ok(Tuple { count, values: &values[..values.len() - self.0.len()] })
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        match self.byte()? {
            b'n' => Ok(Value::Null),
            b'u' => Ok(Value::Unchanged),
            b't' => {
                let length = usize::try_from(self.u32()?).map_err(|_| Malformed::Number)?;
                Ok(Value::Text(self.take(length)?))
            }
            other => Err(Malformed::Part(other)),
        }
    }

    fn expect(&mut self, kind: u8) -> Result<(), Malformed> {
        match self.byte()? {
            found if found == kind => Ok(()),
            other => Err(Malformed::Part(other)),
        }
    }

    fn lsn(&mut self) -> Result<Lsn, Malformed> {
        let lsn = self.i64()?;
        if lsn < 0 { Err(Malformed::Number) } else { Ok(Lsn(lsn)) }
    }

    /// Text that ends with a zero byte.
    fn name(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::Short)?;
        let name = self.take(length)?;
        self.byte()?;
        Ok(name)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (first, rest) = self.0.split_at_checked(length).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert() -> Vec<u8> {
        let mut bytes = vec![b'I', 0, 0, 0x40, 1, b'N', 0, 3, b'n', b'u', b't'];
        bytes.extend([0, 0, 0, 2, b'h', b'i']);
        bytes
    }

    #[test]
    fn an_insert_has_its_values() {
        let bytes = insert();
        let Ok(Message::Insert { relation, new }) = Message::read(&bytes) else {
            panic!("no insert");
        };
        assert_eq!(relation, 0x4001);
        let values: Vec<Value<'_>> = new.values().collect();
        assert_eq!(values, [Value::Null, Value::Unchanged, Value::Text(b"hi")]);
    }

    #[test]
    fn a_relation_has_its_columns() {
        let mut bytes = vec![b'R', 0, 0, 0, 9];
        bytes.extend(b"public\0film\0f");
        bytes.extend([0, 2, 1]);
        bytes.extend(b"film_id\0");
        bytes.extend([0, 0, 0, 23, 255, 255, 255, 255, 0]);
        bytes.extend(b"title\0");
        bytes.extend([0, 0, 0, 25, 255, 255, 255, 255]);
        let Ok(Message::Relation(relation)) = Message::read(&bytes) else {
            panic!("no relation");
        };
        assert_eq!((relation.schema, relation.name), (&b"public"[..], &b"film"[..]));
        let columns: Vec<(bool, &[u8], u32)> =
            relation.columns().map(|column| (column.identity, column.name, column.type_id)).collect();
        assert_eq!(columns, [(true, &b"film_id"[..], 23), (false, &b"title"[..], 25)]);
    }

    #[test]
    fn what_is_cut_short_or_runs_on_is_refused() {
        let bytes = insert();
        for length in 0..bytes.len() {
            assert_eq!(Message::read(&bytes[..length]), Err(Malformed::Short), "{length}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Message::read(&longer), Err(Malformed::Long));
    }

    /// Any bytes: half of them made to look like a message at their start.
    #[test]
    fn any_bytes_are_a_message_or_an_error() {
        let kinds = b"BCRIUDTOYM";
        let parts = b"NKOntub";
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..200_000_usize {
            let length = (random() % 40) as usize;
            let mut bytes: Vec<u8> = (0..length).map(|_| (random() >> 32) as u8).collect();
            if let Some(first) = bytes.first_mut()
                && round % 2 == 0
            {
                *first = kinds[round / 2 % kinds.len()];
                for byte in bytes.iter_mut().skip(1) {
                    *byte = match random() % 4 {
                        0 => parts[(random() % 7) as usize],
                        1 => *byte,
                        _ => (random() % 3) as u8,
                    };
                }
            }
            match Message::read(&bytes) {
                Ok(Message::Insert { new, .. } | Message::Update { new, .. }) => {
                    assert_eq!(new.values().count(), new.count());
                }
                Ok(Message::Relation(relation)) => {
                    assert_eq!(relation.columns().count(), usize::from(relation.count));
                }
                Ok(Message::Truncate(relations)) => assert!(relations.ids().count() * 4 <= bytes.len()),
                _ => {}
            }
        }
    }
}
