//! What lets a date or timestamp be an entity's field: decoding from a row, and the value that is bound.
//! Knows the wire and SeaORM's traits; knows no calendar.

use sea_orm::sea_query::postgres_array::NotU8;
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{
    ActiveValue, ColIdx, DbErr, IntoActiveValue, QueryResult, RuntimeErr, TryFromU64, TryGetError,
    TryGetable, Value,
};
use sqlx::postgres::{PgValueFormat, PgValueRef};
use sqlx::{Row as _, ValueRef as _};

use super::{Date, Timestamp, TimestampTz};

macro_rules! field {
    ($name:ident, $field:ident, $number:ty, $sql:literal, $column:ident) => {
        impl $name {
            fn decode(value: PgValueRef<'_>) -> Result<Self, String> {
                let kind = value.type_info().to_string();
                match value.format() {
                    PgValueFormat::Binary if kind.eq_ignore_ascii_case($sql) => {
                        let bytes = value.as_bytes().map_err(|error| error.to_string())?;
                        let bytes =
                            bytes.try_into().map_err(|_| format!("a {kind} of {} bytes", bytes.len()))?;
                        Ok(Self { $field: <$number>::from_be_bytes(bytes) })
                    }
                    PgValueFormat::Binary if kind.eq_ignore_ascii_case("text") => parse(&value),
                    PgValueFormat::Binary => Err(format!("a {kind} where a {} was expected", $sql)),
                    PgValueFormat::Text => parse(&value),
                }
            }
        }

        impl TryGetable for $name {
            fn try_get_by<I: ColIdx>(result: &QueryResult, index: I) -> Result<Self, TryGetError> {
                let row = result.try_as_pg_row().ok_or_else(|| failure(index, "not a row of PostgreSQL"))?;
                let value = row.try_get_raw(index.as_sqlx_postgres_index());
                let value =
                    value.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(std::sync::Arc::new(error))))?;
                if value.is_null() {
                    return Err(TryGetError::Null(format!("{index:?}")));
                }
                Self::decode(value).map_err(|reason| failure(index, &reason))
            }
        }

        impl From<$name> for Value {
            fn from(value: $name) -> Self {
                Self::String(Some(value.to_string()))
            }
        }

        impl ValueType for $name {
            fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
                match value {
                    Value::String(Some(text)) => text.parse().map_err(|_| ValueTypeErr),
                    _ => Err(ValueTypeErr),
                }
            }

            fn type_name() -> String {
                stringify!($name).to_owned()
            }

            fn array_type() -> ArrayType {
                ArrayType::String
            }

            fn column_type() -> ColumnType {
                ColumnType::$column
            }
        }

        impl Nullable for $name {
            fn null() -> Value {
                Value::String(None)
            }
        }

        impl IntoActiveValue<$name> for $name {
            fn into_active_value(self) -> ActiveValue<$name> {
                ActiveValue::Set(self)
            }
        }

        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }

        impl NotU8 for $name {}
    };
}

field!(TimestampTz, micros, i64, "timestamptz", TimestampWithTimeZone);
field!(Timestamp, micros, i64, "timestamp", Timestamp);
field!(Date, days, i32, "date", Date);

fn parse<T: std::str::FromStr<Err = super::Error>>(value: &PgValueRef<'_>) -> Result<T, String> {
    let text = value.as_str().map_err(|error| error.to_string())?;
    text.parse().map_err(|error: super::Error| error.to_string())
}

fn failure<I: ColIdx>(index: I, reason: &str) -> TryGetError {
    DbErr::Type(format!("cannot read column {index:?}: {reason}")).into()
}
