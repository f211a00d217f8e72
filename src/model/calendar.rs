//! Calendars: which days there are, and what is said of each. Knows no SQL.

use serde::Serialize;

use super::data_type::BuiltIn;
use super::{DataType, Name};

/// A relation with one row a day, computed and not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Calendar {
    /// Its name.
    pub name: Name,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// The first day, as ISO 8601 has it.
    pub first: String,
    /// How many years it goes on.
    pub years: u32,
}

impl Calendar {
    /// The column that identifies a day.
    pub const KEY: &'static str = "date_key";

    /// Its columns, in their order, with what is said of each; none takes NULL.
    pub fn columns() -> [(&'static str, DataType, &'static str); 10] {
        let integer = || DataType::BuiltIn(BuiltIn::Integer);
        let text = || DataType::BuiltIn(BuiltIn::Text);
        let boolean = || DataType::BuiltIn(BuiltIn::Boolean);
        [
            (Self::KEY, integer(), "The day as a number: year, month and day, 20240229."),
            ("date_day", DataType::BuiltIn(BuiltIn::Date), "The day."),
            ("year", integer(), "Its year."),
            ("quarter", integer(), "Its quarter, 1 to 4."),
            ("month", integer(), "Its month, 1 to 12."),
            (
                "week_of_year",
                integer(),
                "Its week as ISO 8601 counts, 1 to 53: the first one has a Thursday.",
            ),
            ("month_name", text(), "Its month in English."),
            ("day_name", text(), "Its day of the week in English."),
            ("is_weekend", boolean(), "Whether it is a Saturday or a Sunday."),
            ("is_weekday", boolean(), "Whether it is neither."),
        ]
    }
}
