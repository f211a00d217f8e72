//! `warehouse query`: a read-only question, as of any time.

use std::collections::BTreeSet;

use super::Outcome;
use crate::answer::{self, Format};
use crate::connection::{self, Database};
use crate::descriptor::Warehouse;
use crate::error::Result;
use crate::migrate;
use crate::place::Place;
use crate::progress::{Lines, Progress as _};

#[derive(clap::Args)]
pub struct Arguments {
    /// The question: names without a schema are the warehouse's silver and gold relations
    sql: String,

    /// Answer from the state at this time; without a zone, the warehouse's. Names with a schema are read
    /// as they are now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    as_of: Option<String>,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let place = Place::find(warehouse.name)?;
    let mut connection = connection::connect(Database::Warehouse, &place.warehouse).await?;
    migrate::check(warehouse, &mut connection).await?;
    if arguments.as_of.is_some() {
        for schema in read_as_of_now(warehouse, &arguments.sql) {
            Lines
                .warn(&format!("`{schema}.…` is read as of now: only names without a schema follow --as-of"));
        }
    }
    let answer = answer::ask(warehouse, &mut connection, &arguments.sql, arguments.as_of.as_deref()).await?;
    super::answer(&answer.render(arguments.format)?)?;
    Ok(Outcome::Done)
}

/// The warehouse's schemas that a question names, by its text alone.
fn read_as_of_now(warehouse: &Warehouse, sql: &str) -> BTreeSet<String> {
    let text = sql.to_lowercase();
    let landings = warehouse.landings.iter().map(|landing| landing.table.schema.as_str());
    let schemas = warehouse.schemas.iter().copied().chain(landings);
    schemas.map(str::to_owned).filter(|schema| names(&text, schema)).collect()
}

/// Whether a text has `schema.` or `"schema".` in it, as a word.
fn names(text: &str, schema: &str) -> bool {
    let of_a_word = |one: char| one.is_alphanumeric() || one == '_';
    text.match_indices(schema).any(|(place, _)| {
        let before = text[..place].chars().next_back();
        let after = text[place + schema.len()..].trim_start_matches('"').trim_start();
        !before.is_some_and(of_a_word) && after.starts_with('.')
    })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_schema_is_named_before_a_dot_only() {
        for text in ["select * from gold.sales", "select * from \"gold\".sales", "from gold . sales"] {
            assert!(names(text, "gold"), "{text}");
        }
        for text in ["select gold from sales", "from old_gold.sales", "from goldmine.sales"] {
            assert!(!names(text, "gold"), "{text}");
        }
    }
}
