//! Learns from the source's catalog how `to_jsonb` treats its types: domains, arrays, composites and casts
//! followed to their end. Knows the catalog; knows no row.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::json::{Field, Shape};
use crate::error::{During as _, Error, Result};

/// The types met so far.
#[derive(Debug, Default)]
pub struct SourceTypes {
    known: BTreeMap<u32, Type>,
    /// As they were, of which it is to be asked again: some may be gone by then.
    before: BTreeMap<u32, Type>,
}

/// What the catalog says of a type.
#[derive(Debug)]
enum Type {
    Domain { base: u32 },
    Array { delimiter: u8, element: u32 },
    Vector { element: u32 },
    Composite { attributes: Vec<(String, u32)> },
    Pairs,
    Uncastable { name: String },
    Plain,
    Gone,
}

/// The built-in types that are not strings.
fn built_in(type_id: u32) -> Option<Shape> {
    match type_id {
        16 => Some(Shape::Boolean),
        20 | 21 | 23 | 700 | 701 | 1700 => Some(Shape::Number),
        114 | 3802 => Some(Shape::Json),
        1114 | 1184 => Some(Shape::Timestamp),
        18 | 19 | 25 | 1042 | 1043 | 1082 | 2950 => Some(Shape::Text),
        _ => None,
    }
}

/// The vectors of the catalog are arrays that print like none.
const VECTORS: [u32; 2] = [22, 30];

/// Types below are PostgreSQL's own, of which `to_jsonb` asks no cast.
const FIRST_NORMAL_ID: u32 = 16_384;

impl SourceTypes {
    /// Whether a type among these is yet to be learnt.
    pub fn lacks(&self, type_ids: &[u32]) -> bool {
        !self.unknown(type_ids.iter().copied()).is_empty()
    }

    /// They may have been altered: all are learnt anew, but for those that are gone.
    pub fn doubt(&mut self) {
        self.before.append(&mut self.known);
    }

    /// Learns these types and all that they are made of.
    pub async fn learn(&mut self, source: &mut PgConnection, type_ids: &[u32]) -> Result<()> {
        let mut wanted = self.unknown(type_ids.iter().copied());
        while !wanted.is_empty() {
            let rows = sqlx::query(
                "SELECT
                    type.oid::bigint AS id,
                    type.typname::text AS name,
                    type.typtype::text AS kind,
                    type.typbasetype::bigint AS base,
                    CASE WHEN type.typsubscript = 'array_subscript_handler'::regproc
                        THEN type.typelem::bigint
                    END AS element,
                    coalesce(element.typdelim::text, ',') AS delimiter,
                    jsonb_cast.castfunc::regproc::text AS cast_by,
                    (
                        SELECT array_agg(attname::text ORDER BY attnum)
                        FROM pg_attribute
                        WHERE attrelid = type.typrelid AND attnum > 0 AND NOT attisdropped
                    ) AS attributes,
                    (
                        SELECT array_agg(atttypid::bigint ORDER BY attnum)
                        FROM pg_attribute
                        WHERE attrelid = type.typrelid AND attnum > 0 AND NOT attisdropped
                    ) AS attribute_types
                FROM pg_type AS type
                LEFT JOIN pg_type AS element ON element.oid = type.typelem
                LEFT JOIN pg_cast AS jsonb_cast
                    ON jsonb_cast.castsource = type.oid
                    AND jsonb_cast.casttarget = 'json'::regtype
                    AND jsonb_cast.castmethod = 'f'
                WHERE type.oid = ANY ($1::bigint[]::oid[])",
            )
            .bind(wanted.iter().map(|id| i64::from(*id)).collect::<Vec<i64>>())
            .fetch_all(&mut *source)
            .await
            .during(unasked)?;

            // A type that is gone from the catalog is what it was.
            for id in &wanted {
                let gone = if *id < FIRST_NORMAL_ID { Type::Plain } else { Type::Gone };
                let kind = self.before.remove(id).unwrap_or(gone);
                self.known.insert(*id, kind);
            }
            for row in &rows {
                let id = id(row.try_get("id").during(unasked)?)?;
                self.known.insert(id, read(id, row)?);
            }
            let parts: Vec<u32> =
                wanted.iter().filter_map(|id| self.known.get(id)).flat_map(Type::parts).collect();
            wanted = self.unknown(parts);
        }
        Ok(())
    }

    /// How a type's text becomes JSON.
    pub fn shape(&self, type_id: u32) -> Result<Shape> {
        if let Some(shape) = built_in(type_id) {
            return Ok(shape);
        }
        Ok(match self.known.get(&type_id) {
            None | Some(Type::Plain) => Shape::Text,
            Some(Type::Gone) => Shape::Gone,
            Some(Type::Pairs) => Shape::Pairs,
            Some(Type::Domain { base }) => self.shape(*base)?,
            Some(Type::Vector { element }) => Shape::Vector(Box::new(self.shape(*element)?)),
            Some(Type::Array { delimiter, element }) => {
                Shape::Array { delimiter: *delimiter, element: Box::new(self.shape(*element)?) }
            }
            Some(Type::Composite { attributes }) => {
                let mut fields = Vec::with_capacity(attributes.len());
                for (name, attribute_type) in attributes {
                    fields.push(Field::new(name.as_bytes(), self.shape(*attribute_type)?));
                }
                Shape::Composite(fields)
            }
            Some(Type::Uncastable { name }) => {
                return Err(Error::new(format!(
                    "values of type `{name}` become JSON by a cast of their own, which the stream cannot follow"
                ))
                .remedy("leave the column out of the publication, or drop the cast to json"));
            }
        })
    }

    fn unknown(&self, type_ids: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut unknown: Vec<u32> = type_ids
            .into_iter()
            .filter(|id| built_in(*id).is_none() && !self.known.contains_key(id))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }
}

impl Type {
    /// The types that it is made of.
    fn parts(&self) -> Vec<u32> {
        match self {
            Self::Domain { base } => vec![*base],
            Self::Array { element, .. } | Self::Vector { element } => vec![*element],
            Self::Composite { attributes } => attributes.iter().map(|(_, id)| *id).collect(),
            Self::Pairs | Self::Uncastable { .. } | Self::Plain | Self::Gone => Vec::new(),
        }
    }
}

/// In the order in which `to_jsonb` asks: domain, array, composite, cast, string.
fn read(type_id: u32, row: &sqlx::postgres::PgRow) -> Result<Type> {
    let kind: String = row.try_get("kind").during(unasked)?;
    let element: Option<i64> = row.try_get("element").during(unasked)?;
    if kind == "d" {
        return Ok(Type::Domain { base: id(row.try_get("base").during(unasked)?)? });
    }
    if let Some(element) = element.filter(|element| *element != 0) {
        let element = id(element)?;
        if VECTORS.contains(&type_id) {
            return Ok(Type::Vector { element });
        }
        let delimiter: String = row.try_get("delimiter").during(unasked)?;
        return Ok(Type::Array { delimiter: delimiter.bytes().next().unwrap_or(b','), element });
    }
    if kind == "c" {
        let names: Option<Vec<String>> = row.try_get("attributes").during(unasked)?;
        let types: Option<Vec<i64>> = row.try_get("attribute_types").during(unasked)?;
        let types = types.unwrap_or_default().into_iter().map(id).collect::<Result<Vec<u32>>>()?;
        return Ok(Type::Composite {
            attributes: names.unwrap_or_default().into_iter().zip(types).collect(),
        });
    }
    let name: String = row.try_get("name").during(unasked)?;
    let cast_by: Option<String> = row.try_get("cast_by").during(unasked)?;
    Ok(match cast_by {
        Some(function) if type_id >= FIRST_NORMAL_ID => {
            if function.ends_with("hstore_to_json") {
                Type::Pairs
            } else {
                Type::Uncastable { name }
            }
        }
        _ => Type::Plain,
    })
}

fn id(number: i64) -> Result<u32> {
    u32::try_from(number).during(unasked)
}

fn unasked() -> String {
    "cannot ask the source for its types".to_owned()
}
