//! What columns can hold, as a database's catalog declares it, and whether one can hold all of another.
//! Says the same of the source and of the warehouse; knows no landing table and no spec, reads no row.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use crate::descriptor::Name;
use crate::error::{During as _, Result};

/// A column, as it is declared.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as a spec would write it.
    pub shown: String,
    /// The same without domains: what another column has to be to hold it.
    pub plain: String,
    /// Whether a row may have none.
    pub is_nullable: bool,
    /// Whether it holds lists of what it holds.
    pub is_array: bool,
    /// What it holds.
    pub holds: Holds,
}

/// What a value of a type can be, as far as one type can be too narrow for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Whole numbers of so many bytes.
    Integer(u32),
    /// Exact numbers; with a precision and a scale where they are bound.
    Numeric(Option<(i32, i32)>),
    /// Numbers of so many bytes with a floating point.
    Float(u32),
    /// Text; so many characters at most where it is bound.
    Text(Option<usize>),
    /// One of these labels.
    Labels(Vec<String>),
    /// Anything else: nothing is said of it.
    Other,
}

/// Why a column is too narrow for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TooNarrow {
    /// Its type has to be another one.
    Type,
    /// Its type lacks labels.
    Labels(Vec<String>),
}

impl Column {
    /// Why this column cannot hold all that the other can; nothing where it can, or where it is not known.
    pub fn too_narrow_for(&self, other: &Self) -> Option<TooNarrow> {
        if self.is_array != other.is_array {
            return None;
        }
        self.holds.too_narrow_for(&other.holds)
    }
}

impl Holds {
    fn too_narrow_for(&self, other: &Self) -> Option<TooNarrow> {
        let fits = match (other, self) {
            (Self::Integer(from), Self::Integer(to)) | (Self::Float(from), Self::Float(to)) => from <= to,
            (Self::Integer(from), Self::Numeric(Some((precision, scale)))) => {
                digits_to_write(*from) <= precision - scale
            }
            (Self::Numeric(Some((precision, scale))), Self::Integer(to)) => {
                *scale <= 0 && precision - scale < digits_to_write(*to)
            }
            (Self::Numeric(Some(from)), Self::Numeric(Some(to))) => {
                from.1 <= to.1 && from.0 - from.1 <= to.0 - to.1
            }
            (Self::Numeric(None), Self::Integer(_) | Self::Numeric(Some(_)))
            | (Self::Float(_), Self::Integer(_) | Self::Numeric(Some(_)))
            | (Self::Text(None), Self::Text(Some(_))) => false,
            (Self::Text(Some(from)), Self::Text(Some(to))) => from <= to,
            (Self::Labels(labels), Self::Text(Some(to))) => {
                labels.iter().all(|label| label.chars().count() <= *to)
            }
            (Self::Labels(from), Self::Labels(to)) => {
                let lacking: Vec<String> = from.iter().filter(|label| !to.contains(label)).cloned().collect();
                return (!lacking.is_empty()).then_some(TooNarrow::Labels(lacking));
            }
            _ => true,
        };
        (!fits).then_some(TooNarrow::Type)
    }

    fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        let labels: Vec<String> = row.try_get("labels")?;
        if !labels.is_empty() {
            return Ok(Self::Labels(labels));
        }
        let modifier: i32 = row.try_get("modifier")?;
        // Types with a length or a precision keep it in the modifier, four bytes further up.
        let bound = modifier - 4;
        Ok(match row.try_get::<String, _>("base")?.as_str() {
            "pg_catalog.int2" => Self::Integer(2),
            "pg_catalog.int4" => Self::Integer(4),
            "pg_catalog.int8" => Self::Integer(8),
            "pg_catalog.float4" => Self::Float(4),
            "pg_catalog.float8" => Self::Float(8),
            "pg_catalog.text" => Self::Text(None),
            "pg_catalog.varchar" | "pg_catalog.bpchar" => Self::Text(usize::try_from(bound).ok()),
            "pg_catalog.numeric" if bound < 0 => Self::Numeric(None),
            // The scale has eleven bits, the first of which is its sign.
            "pg_catalog.numeric" => Self::Numeric(Some((bound >> 16, ((bound & 2047) ^ 1024) - 1024))),
            _ => Self::Other,
        })
    }
}

/// The digits of the longest whole number of so many bytes.
fn digits_to_write(bytes: u32) -> i32 {
    match bytes {
        2 => 5,
        4 => 10,
        _ => 19,
    }
}

/// The columns of tables, in order; a table that is not there has none.
pub async fn read(
    connection: &mut PgConnection,
    names: &BTreeSet<&Name>,
    database: &str,
) -> Result<BTreeMap<Name, Vec<Column>>> {
    let unasked = || format!("cannot ask {database} for the types of columns");
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        names.iter().map(|name| (name.schema.as_str(), name.table.as_str())).unzip();
    let rows = sqlx::query(
        "WITH RECURSIVE unwrapped AS (
            SELECT
                asked.schema,
                asked.name,
                attribute.attnum,
                attribute.atttypid AS type,
                attribute.atttypmod AS modifier,
                FALSE AS is_array,
                0 AS depth
            FROM unnest($1::text[], $2::text[]) AS asked (schema, name)
            JOIN pg_namespace AS space ON space.nspname = asked.schema
            JOIN pg_class AS relation
                ON relation.relnamespace = space.oid AND relation.relname = asked.name
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
            UNION ALL
            SELECT
                outer_type.schema,
                outer_type.name,
                outer_type.attnum,
                CASE WHEN type.typtype = 'd' THEN type.typbasetype ELSE type.typelem END,
                CASE WHEN type.typtype = 'd' THEN type.typtypmod ELSE outer_type.modifier END,
                outer_type.is_array OR type.typtype <> 'd',
                outer_type.depth + 1
            FROM unwrapped AS outer_type
            JOIN pg_type AS type ON type.oid = outer_type.type
            WHERE type.typtype = 'd' OR type.typcategory = 'A' AND type.typelem <> 0
        ),
        innermost AS (
            SELECT DISTINCT ON (schema, name, attnum) *
            FROM unwrapped
            ORDER BY schema, name, attnum, depth DESC
        )
        SELECT
            innermost.schema,
            innermost.name,
            attribute.attname::text AS column,
            format_type(attribute.atttypid, attribute.atttypmod) AS shown,
            format_type(innermost.type, innermost.modifier) AS plain,
            NOT (attribute.attnotnull OR declared.typnotnull) AS is_nullable,
            innermost.is_array,
            space.nspname || '.' || type.typname AS base,
            innermost.modifier,
            ARRAY (
                SELECT enumlabel::text
                FROM pg_enum
                WHERE enumtypid = innermost.type
                ORDER BY enumsortorder
            ) AS labels
        FROM innermost
        JOIN pg_namespace AS table_space ON table_space.nspname = innermost.schema
        JOIN pg_class AS relation
            ON relation.relnamespace = table_space.oid AND relation.relname = innermost.name
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation.oid AND attribute.attnum = innermost.attnum
        JOIN pg_type AS declared ON declared.oid = attribute.atttypid
        JOIN pg_type AS type ON type.oid = innermost.type
        JOIN pg_namespace AS space ON space.oid = type.typnamespace
        ORDER BY innermost.schema, innermost.name, innermost.attnum",
    )
    .bind(schemas)
    .bind(tables)
    .fetch_all(connection)
    .await
    .during(unasked)?;

    let mut columns: BTreeMap<Name, Vec<Column>> = BTreeMap::new();
    for row in &rows {
        let (table, column) = column(row).during(unasked)?;
        columns.entry(table).or_default().push(column);
    }
    Ok(columns)
}

fn column(row: &PgRow) -> Result<(Name, Column), sqlx::Error> {
    let table = Name::new(row.try_get::<String, _>("schema")?, row.try_get::<String, _>("name")?);
    let is_array = row.try_get("is_array")?;
    let mut plain = as_in_a_spec(row.try_get("plain")?);
    if is_array {
        plain.push_str("[]");
    }
    let column = Column {
        name: row.try_get("column")?,
        shown: as_in_a_spec(row.try_get("shown")?),
        plain,
        is_nullable: row.try_get("is_nullable")?,
        is_array,
        holds: Holds::of(row)?,
    };
    Ok((table, column))
}

/// PostgreSQL spells the two types of bound text out.
fn as_in_a_spec(shown: &str) -> String {
    shown.replace("character varying", "varchar").replace("character(", "char(")
}

#[cfg(test)]
mod tests {
    use super::{Holds, TooNarrow};

    #[test]
    fn a_type_holds_another_or_is_too_narrow() {
        use Holds::{Float, Integer, Labels, Numeric, Other, Text};
        let labels = |labels: &[&str]| Labels(labels.iter().map(|label| (*label).to_owned()).collect());
        let cases = [
            (Integer(4), Integer(4), true),
            (Integer(8), Integer(4), false),
            (Integer(4), Numeric(None), true),
            (Integer(4), Numeric(Some((12, 2))), true),
            (Integer(4), Numeric(Some((10, 2))), false),
            (Numeric(Some((9, 0))), Integer(4), true),
            (Numeric(Some((10, 0))), Integer(4), false),
            (Numeric(Some((18, 0))), Integer(8), true),
            (Numeric(Some((4, 2))), Integer(8), false),
            (Numeric(None), Integer(8), false),
            (Numeric(Some((4, 2))), Numeric(Some((4, 2))), true),
            (Numeric(Some((4, 2))), Numeric(Some((5, 2))), true),
            (Numeric(Some((5, 2))), Numeric(Some((4, 2))), false),
            (Numeric(Some((5, 2))), Numeric(Some((5, 1))), false),
            (Numeric(Some((5, 2))), Numeric(Some((6, 4))), false),
            (Numeric(Some((3, -2))), Numeric(Some((5, 0))), true),
            (Numeric(None), Numeric(None), true),
            (Numeric(None), Numeric(Some((30, 10))), false),
            (Numeric(Some((5, 2))), Float(8), true),
            (Float(4), Float(8), true),
            (Float(8), Float(4), false),
            (Float(4), Numeric(None), true),
            (Float(4), Numeric(Some((9, 2))), false),
            (Text(None), Text(None), true),
            (Text(Some(20)), Text(None), true),
            (Text(Some(20)), Text(Some(20)), true),
            (Text(Some(21)), Text(Some(20)), false),
            (Text(None), Text(Some(20)), false),
            (Text(None), labels(&["a"]), true),
            (labels(&["ä"]), Text(Some(1)), true),
            (labels(&["ab"]), Text(Some(1)), false),
            (labels(&["a"]), labels(&["b", "a"]), true),
            (Text(None), Integer(4), true),
            (Other, Integer(4), true),
            (Integer(8), Other, true),
        ];
        for (from, to, fits) in cases {
            assert_eq!(to.too_narrow_for(&from).is_none(), fits, "{from:?} into {to:?}");
        }
        let lacking = labels(&["a", "c"]).too_narrow_for(&labels(&["a", "b", "c", "d"]));
        assert_eq!(lacking, Some(TooNarrow::Labels(vec!["b".to_owned(), "d".to_owned()])));
    }
}
