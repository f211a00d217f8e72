//! What lets a column that may be NULL be part of an entity's key: SeaORM's keys take no `Option`. A mart's
//! grain needs it, where the row of no store is a row like any other. Knows no relation.

use sea_orm::sea_query::postgres_array::NotU8;
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{
    ActiveValue, ColIdx, DbErr, IntoActiveValue, QueryResult, TryFromU64, TryGetError, TryGetable, Value,
};

/// A value, or NULL, in a key.
///
/// SQL's `=` finds no NULL: to find such a row by its key, filter with `is_null()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrNull<T>(pub Option<T>);

impl<T> From<Option<T>> for OrNull<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T> From<T> for OrNull<T> {
    fn from(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: TryGetable> TryGetable for OrNull<T> {
    fn try_get_by<I: ColIdx>(result: &QueryResult, index: I) -> Result<Self, TryGetError> {
        Option::<T>::try_get_by(result, index).map(Self)
    }
}

impl<T: Into<Value> + Nullable> From<OrNull<T>> for Value {
    fn from(value: OrNull<T>) -> Self {
        value.0.map_or_else(T::null, T::into)
    }
}

impl<T: ValueType + Nullable> ValueType for OrNull<T> {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        <Option<T> as ValueType>::try_from(value).map(Self)
    }

    fn is_option() -> bool {
        true
    }

    fn type_name() -> String {
        T::type_name()
    }

    fn array_type() -> ArrayType {
        T::array_type()
    }

    fn column_type() -> ColumnType {
        T::column_type()
    }

    fn enum_type_name() -> Option<&'static str> {
        T::enum_type_name()
    }
}

impl<T: Nullable> Nullable for OrNull<T> {
    fn null() -> Value {
        T::null()
    }
}

impl<T: Into<Value> + Nullable> IntoActiveValue<Self> for OrNull<T> {
    fn into_active_value(self) -> ActiveValue<Self> {
        ActiveValue::Set(self)
    }
}

impl<T> TryFromU64 for OrNull<T> {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("OrNull"))
    }
}

impl<T> NotU8 for OrNull<T> {}
