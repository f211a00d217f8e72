//! The SQL of calendars: a view that computes its days.

use askama::Template;

use super::lines::Lines;
use super::quote::{identifier, literal, relation};
use super::script::{Script, comment, comment_column};
use crate::model::{Calendar, Name, TRAVEL_SCHEMA};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/20_silver/calendar.sql", escape = "none")]
struct CalendarSql {
    name: String,
    travel_view: String,
    names: Lines,
    first: String,
    length: String,
}

pub(super) fn script(calendar: &Calendar) -> Script {
    let travel_view = Name::new(TRAVEL_SCHEMA, &calendar.name.name);
    let years = if calendar.years == 1 { "year" } else { "years" };
    let definition = CalendarSql {
        name: relation(&calendar.name),
        travel_view: relation(&travel_view),
        names: Calendar::columns().iter().map(|(name, ..)| identifier(name)).collect(),
        first: literal(&calendar.first),
        length: literal(&format!("{} {years}", calendar.years)),
    };
    let mut comments = vec![comment("VIEW", &calendar.name, &description(calendar))];
    comments
        .extend(Calendar::columns().iter().map(|(name, _, said)| comment_column(&calendar.name, name, said)));
    let travel = format!("`{}`, whatever `medallion.as_of` says.", calendar.name.name);
    comments.push(comment("VIEW", &travel_view, &travel));
    Script::of_relation("20_silver", &calendar.name, super::render(&definition))
        .commented(comments)
        .dropped_by(vec![
            format!("DROP VIEW {};", relation(&travel_view)),
            format!("DROP VIEW {};", relation(&calendar.name)),
        ])
}

/// What is said of the view.
pub(in crate::emit) fn description(calendar: &Calendar) -> String {
    calendar.description.clone().unwrap_or_else(|| "Days, one row each.".to_owned())
}
