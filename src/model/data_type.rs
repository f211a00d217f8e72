//! PostgreSQL's types as the model knows them: enough to write DDL and an entity's field. Knows nothing
//! of Rust's types (that is `emit`'s) and nothing of how a spec spells them (that is `lower`'s).

use serde::Serialize;

use super::Name;

/// A column's type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum DataType {
    /// A type that PostgreSQL has.
    BuiltIn(BuiltIn),
    /// An enumerated type of the warehouse.
    Enum(Name),
    /// An array of a type that is no array itself.
    Array(Box<DataType>),
}

/// A built-in type, under PostgreSQL's own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum BuiltIn {
    /// `boolean`
    Boolean,
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
    /// `real`
    Real,
    /// `double precision`
    DoublePrecision,
    /// `numeric`, `numeric(precision, scale)`
    Numeric(Option<(u16, i16)>),
    /// `text`
    Text,
    /// `varchar`, `varchar(length)`
    Varchar(Option<u32>),
    /// `char(length)`
    Char(u32),
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    TimestampTz,
    /// `uuid`
    Uuid,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `bytea`
    Bytea,
    /// Any other type, by the name under which `pg_catalog` has it (`inet`, `interval`, `tsvector`):
    /// stored and compared as such, read by an entity as text.
    Other(String),
}
