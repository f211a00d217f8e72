//! The SQL of a landing table. All have the same columns, which `templates/` states; here are its names.

use askama::Template;

use super::feed;
use super::quote::{derived, identifier, relation};
use super::script::{Script, comment, comment_column};
use crate::model::Landing;

/// The columns that every landing table has, and what they hold.
pub(in crate::emit) const COLUMNS: [(&str, &str); 6] = [
    ("lsn", "The commit position of the source transaction; it only rises."),
    ("op", "I, U, D or T: an insert, update, delete or truncate."),
    ("full_row", "The whole row after the change; before it for D; null for T."),
    ("load_ts", "When the change landed."),
    ("commit_ts", "The system time of the source transaction."),
    ("seq", "The ordinal of the change within its transaction."),
];

#[derive(Template)]
#[template(path = "generated/sql/warehouse/10_bronze/landing.sql", escape = "none")]
struct LandingSql {
    table: String,
    primary_key: String,
    operations: String,
    row_unless_truncate: String,
}

pub(super) fn script(landing: &Landing) -> Script {
    let constraint = |suffix: &str| identifier(&derived(&landing.name.name, suffix));
    let definition = LandingSql {
        table: relation(&landing.name),
        primary_key: constraint("pkey"),
        operations: constraint("op_check"),
        row_unless_truncate: constraint("full_row_check"),
    };
    let mut sql = super::render(&definition);
    if let Some(index) = feed::index(landing) {
        sql = format!("{}\n\n{index}\n", sql.trim_end());
    }
    Script::of_relation("10_bronze", &landing.name, sql)
        .commented(comments(landing))
        .dropped_by(vec![format!("DROP TABLE {};", relation(&landing.name))])
}

fn comments(landing: &Landing) -> Vec<String> {
    let source = match landing.feed() {
        None => format!("Every change of {}.{}, as it came.", landing.source.schema, landing.source.name),
        Some(feed) => format!("Every row of the files {}, as it came.", feed.path),
    };
    let description = landing.description.as_deref().unwrap_or(&source);
    let table = comment("TABLE", &landing.name, description);
    let columns = COLUMNS.iter().map(|(column, text)| comment_column(&landing.name, column, text));
    std::iter::once(table).chain(columns).collect()
}
