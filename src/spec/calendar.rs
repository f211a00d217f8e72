//! A calendar as it was written: the days that there are.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, DataTest};

/// A calendar: one row a day, in the silver schema, for marts to join and facts to refer to. Its columns are `date_key`
/// (the day as a number, 20240229), `date_day`, `year`, `quarter`, `month`, `week_of_year` (ISO 8601), `month_name`,
/// `day_name`, `is_weekend` and `is_weekday`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// Its name, in the silver schema; usually `dim_date`.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The first day: `2023-01-01`.
    #[schemars(required)]
    pub from: Option<At<String>>,
    /// How many years it goes on; another number is one migration.
    #[schemars(required)]
    pub years: Option<At<u32>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// What its rows are held to.
    #[serde(default)]
    pub tests: Vec<At<DataTest>>,
}
