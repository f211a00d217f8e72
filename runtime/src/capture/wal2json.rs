//! What wal2json (format 2) says, in the words of PostgreSQL's own plugin: its objects become that plugin's messages,
//! so that all behind them is the same. It names tables and columns and knows neither ids nor what was published:
//! these are the catalog's, as they are when a batch is read. Knows no landing table.
//!
//! Its limits: NaN and infinities of numbers come as null from releases before 2.6; a value that an update left alone
//! is left out, and so is a column that was not there yet; of a partition it names the partition.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use crate::descriptor::{Landing, Name};
use crate::error::{During as _, Error, Result};

/// A table that is captured, or a partition of one.
#[derive(Clone, Debug)]
struct Table {
    /// The id of the table that is captured.
    oid: u32,
    name: Name,
    is_partition: bool,
    columns: Vec<Column>,
}

/// A column that is published.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    type_id: u32,
    /// Whether a value of it can be stored out of line, and be left out where an update leaves it alone.
    is_long: bool,
}

/// Turns objects into messages.
#[derive(Debug, Default)]
pub struct Translator {
    tables: BTreeMap<(String, String), Arc<Table>>,
    /// Which of a table's columns it was last said to have.
    described: BTreeMap<u32, Vec<usize>>,
    /// The messages of an object, one after the other, each behind its length.
    out: Vec<u8>,
    commit_lsn: i64,
}

/// An object of the plugin.
#[derive(Debug, Deserialize)]
struct Object<'a> {
    action: &'a str,
    xid: Option<u32>,
    timestamp: Option<&'a str>,
    lsn: Option<&'a str>,
    nextlsn: Option<&'a str>,
    #[serde(borrow)]
    schema: Option<Cow<'a, str>>,
    #[serde(borrow)]
    table: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    columns: Vec<Value<'a>>,
    #[serde(borrow)]
    identity: Option<Vec<Value<'a>>>,
}

/// A column's value.
#[derive(Debug, Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// The type whose text the plugin cuts short.
const BYTEA: u32 = 17;

impl Translator {
    /// Learns the tables that are captured, as the catalog has them now.
    pub async fn learn(source: &mut PgConnection, landings: &[Landing], publication: &str) -> Result<Self> {
        let unasked = || "cannot ask the source for its columns".to_owned();
        let (schemas, tables): (Vec<&str>, Vec<&str>) = landings
            .iter()
            .map(|landing| (landing.source.schema.as_str(), landing.source.table.as_str()))
            .unzip();
        let rows = sqlx::query(
            "SELECT DISTINCT
                root.oid::bigint AS oid,
                asked.schema,
                asked.name,
                leaf_space.nspname::text AS leaf_schema,
                leaf.relname::text AS leaf_name,
                attribute.attnum,
                attribute.attname::text AS column,
                attribute.atttypid::bigint AS type_id,
                attribute.attlen = -1 AS is_long
            FROM unnest($1::text[], $2::text[]) AS asked (schema, name)
            JOIN pg_namespace AS space ON space.nspname = asked.schema
            JOIN pg_class AS root ON root.relnamespace = space.oid AND root.relname = asked.name
            CROSS JOIN LATERAL (
                SELECT root.oid AS oid
                UNION
                SELECT relid FROM pg_partition_tree(root.oid)
            ) AS part
            JOIN pg_class AS leaf ON leaf.oid = part.oid
            JOIN pg_namespace AS leaf_space ON leaf_space.oid = leaf.relnamespace
            JOIN pg_publication_tables AS published
                ON published.pubname = $3
                AND published.schemaname = asked.schema
                AND published.tablename = asked.name
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = root.oid
                AND attribute.attname = ANY (published.attnames)
                -- Before PostgreSQL 18 the view names generated columns, which the other plugin leaves out.
                AND (attribute.attgenerated = '' OR current_setting('server_version_num')::integer >= 180000)
            ORDER BY 1, 4, 5, 6",
        )
        .bind(schemas)
        .bind(tables)
        .bind(publication)
        .fetch_all(source)
        .await
        .during(unasked)?;
        let mut tables: BTreeMap<(String, String), Table> = BTreeMap::new();
        for row in &rows {
            let id = |column: &str| -> Result<u32> {
                let id: i64 = row.try_get(column).during(unasked)?;
                u32::try_from(id).during(unasked)
            };
            let text = |column: &str| row.try_get::<String, _>(column).during(unasked);
            let name = Name::new(text("schema")?, text("name")?);
            let leaf = (text("leaf_schema")?, text("leaf_name")?);
            let is_partition = (&name.schema, &name.table) != (&leaf.0, &leaf.1);
            let oid = id("oid")?;
            let table =
                tables.entry(leaf).or_insert_with(|| Table { oid, name, is_partition, columns: Vec::new() });
            table.columns.push(Column {
                name: text("column")?,
                type_id: id("type_id")?,
                is_long: row.try_get("is_long").during(unasked)?,
            });
        }
        let tables = tables.into_iter().map(|(name, table)| (name, Arc::new(table))).collect();
        Ok(Self { tables, ..Self::default() })
    }

    /// The messages that an object comes to; none where it is of a table that is not captured.
    pub fn translate(&mut self, object: &[u8]) -> Result<Messages<'_>> {
        let object: Object<'_> =
            serde_json::from_slice(object).during(|| "cannot read an object of wal2json".to_owned())?;
        self.out.clear();
        match object.action {
            "B" => self.begin(&object)?,
            "C" => self.commit(&object)?,
            "I" | "U" | "D" => self.change(&object)?,
            "T" => self.truncate(&object)?,
            _ => {}
        }
        Ok(Messages(&self.out))
    }

    fn begin(&mut self, object: &Object<'_>) -> Result<()> {
        self.commit_lsn = object.lsn.and_then(lsn).ok_or_else(malformed)?;
        let time = object.timestamp.and_then(microseconds).ok_or_else(malformed)?;
        let (commit_lsn, xid) = (self.commit_lsn, object.xid.ok_or_else(malformed)?);
        self.message(|out| {
            out.push(b'B');
            out.extend(commit_lsn.to_be_bytes());
            out.extend(time.to_be_bytes());
            out.extend(xid.to_be_bytes());
            Ok(())
        })
    }

    fn commit(&mut self, object: &Object<'_>) -> Result<()> {
        let end = object.nextlsn.and_then(lsn).ok_or_else(malformed)?;
        let commit_lsn = self.commit_lsn;
        self.message(|out| {
            out.extend(b"C\0");
            out.extend(commit_lsn.to_be_bytes());
            out.extend(end.to_be_bytes());
            out.extend(0_i64.to_be_bytes());
            Ok(())
        })
    }

    fn change(&mut self, object: &Object<'_>) -> Result<()> {
        let Some(table) = self.table(object) else { return Ok(()) };
        let known = self.described.get(&table.oid);
        let is_told = |at: usize, column: &Column| match object.action {
            "D" => known.is_none_or(|known| known.contains(&at)),
            "U" if column.is_long => {
                find(&object.columns, column).is_some() || known.is_none_or(|known| known.contains(&at))
            }
            _ => find(&object.columns, column).is_some(),
        };
        let told: Vec<usize> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(at, column)| is_told(*at, column))
            .map(|(at, _)| at)
            .collect();
        self.describe(&table, &told);
        let columns: Vec<&Column> = told.iter().filter_map(|at| table.columns.get(*at)).collect();
        self.message(|out| {
            out.extend(object.action.as_bytes());
            out.extend(table.oid.to_be_bytes());
            if let Some(old) = object.identity.as_deref().filter(|_| object.action != "I") {
                // Where all columns tell a row from others, all of the row before is there.
                let is_whole = columns.iter().all(|column| find(old, column).is_some());
                out.push(if is_whole { b'O' } else { b'K' });
                tuple(&columns, old, b'n', out)?;
            }
            if object.action != "D" {
                out.push(b'N');
                tuple(&columns, &object.columns, b'u', out)?;
            }
            Ok(())
        })
    }

    /// A table's own truncation only: that of one of its partitions is not told by the other plugin either.
    fn truncate(&mut self, object: &Object<'_>) -> Result<()> {
        let Some(table) = self.table(object).filter(|table| !table.is_partition) else { return Ok(()) };
        if !self.described.contains_key(&table.oid) {
            let all: Vec<usize> = (0..table.columns.len()).collect();
            self.describe(&table, &all);
        }
        self.message(|out| {
            out.push(b'T');
            out.extend(1_u32.to_be_bytes());
            out.push(0);
            out.extend(table.oid.to_be_bytes());
            Ok(())
        })
    }

    fn table(&self, object: &Object<'_>) -> Option<Arc<Table>> {
        let name = (object.schema.as_deref()?.to_owned(), object.table.as_deref()?.to_owned());
        self.tables.get(&name).cloned()
    }

    /// Says what a table looks like from here on, if it looked different before.
    fn describe(&mut self, table: &Table, told: &[usize]) {
        if self.described.get(&table.oid).is_some_and(|known| known == told) {
            return;
        }
        self.described.insert(table.oid, told.to_vec());
        let start = self.out.len();
        self.out.extend([0; 4]);
        let out = &mut self.out;
        out.push(b'R');
        out.extend(table.oid.to_be_bytes());
        for name in [&table.name.schema, &table.name.table] {
            out.extend(name.as_bytes());
            out.push(0);
        }
        out.push(b'd');
        out.extend(count(told.len()));
        for column in told.iter().filter_map(|at| table.columns.get(*at)) {
            out.push(0);
            out.extend(column.name.as_bytes());
            out.push(0);
            out.extend(column.type_id.to_be_bytes());
            out.extend((-1_i32).to_be_bytes());
        }
        self.measure(start);
    }

    fn message(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let start = self.out.len();
        self.out.extend([0; 4]);
        write(&mut self.out)?;
        self.measure(start);
        Ok(())
    }

    fn measure(&mut self, start: usize) {
        let length = u32::try_from(self.out.len() - start - 4).unwrap_or(u32::MAX);
        self.out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Messages, one after the other.
pub struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (message, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(message)
    }
}

/// A row's values; `absent` stands for those that are not there.
fn tuple(columns: &[&Column], values: &[Value<'_>], absent: u8, out: &mut Vec<u8>) -> Result<()> {
    out.extend(count(columns.len()));
    for column in columns {
        match find(values, column) {
            None => out.push(absent),
            Some(value) => write_value(column, value, out)?,
        }
    }
    Ok(())
}

/// A value as the other plugin sends it: its text.
fn write_value(column: &Column, value: &RawValue, out: &mut Vec<u8>) -> Result<()> {
    let json = value.get();
    let text: Cow<'_, str> = match json.as_bytes().first() {
        Some(b'n') => {
            out.push(b'n');
            return Ok(());
        }
        Some(b't') => "t".into(),
        Some(b'f') => "f".into(),
        Some(b'"') => {
            let text: Text<'_> =
                serde_json::from_str(json).during(|| "cannot read a value of wal2json".to_owned())?;
            text.0
        }
        _ => json.into(),
    };
    let cut: &[u8] = if column.type_id == BYTEA { b"\\x" } else { b"" };
    out.push(b't');
    out.extend(u32::try_from(cut.len() + text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(cut);
    out.extend(text.as_bytes());
    Ok(())
}

/// A string, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn find<'v>(values: &[Value<'v>], column: &Column) -> Option<&'v RawValue> {
    values.iter().find(|value| value.name == column.name).map(|value| value.value)
}

fn count(columns: usize) -> [u8; 2] {
    u16::try_from(columns).unwrap_or(u16::MAX).to_be_bytes()
}

fn malformed() -> Error {
    Error::new("an object of wal2json lacks its transaction, time or position")
}

/// Reads `16/B374D848`.
fn lsn(text: &str) -> Option<i64> {
    let (high, low) = text.split_once('/')?;
    let (high, low) = (i64::from_str_radix(high, 16).ok()?, i64::from_str_radix(low, 16).ok()?);
    Some(high << 32 | low)
}

/// Reads `2023-01-02 03:04:05.6+00`, in microseconds since 2000. The session's zone is UTC.
fn microseconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix("+00")?.split_once(' ')?;
    // Nothing is so large that what follows could overflow.
    let number = |part: &str| part.parse::<u16>().ok().map(i64::from);
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=6).contains(digits))?;
    let fraction = i64::from(fraction.parse::<u32>().ok()?) * 10_i64.pow(6 - digits);
    // The year begins with March, so that a leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1;
    /// From the first of March of the year 0 to the first day of 2000.
    const TO_2000: i64 = 730_425;
    Some(((days - TO_2000) * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_2000() {
        assert_eq!(microseconds("2000-01-01 00:00:00+00"), Some(0));
        assert_eq!(microseconds("2000-03-01 00:00:01.5+00"), Some(60 * 86_400_000_000 + 1_500_000));
        assert_eq!(microseconds("1999-12-31 23:59:59.999999+00"), Some(-1));
        assert_eq!(microseconds("2026-11-21 18:15:15.000001+00"), Some(848_600_115_000_001));
        for text in [
            "",
            "2000-01-01",
            "2000-01-01 00:00:00+01",
            "2000-01-01 00:00:00.1234567+00",
            "9223372036854775807-01-01 00:00:00+00",
        ] {
            assert_eq!(microseconds(text), None, "{text}");
        }
    }

    #[test]
    fn positions_are_read_as_postgresql_writes_them() {
        assert_eq!(lsn("16/B374D848"), Some(0x16_b374_d848));
        assert_eq!(lsn("16B374D848"), None);
    }
}
