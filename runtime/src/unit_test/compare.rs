//! What was expected and what was found: rows as PostgreSQL writes them, side by side as a diff.

use serde_json::Value;
use similar::{Algorithm, ChangeTag, TextDiff};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use unicode_width::UnicodeWidthStr as _;

/// A row's values, as texts.
pub type Texts = Vec<Option<String>>;

/// A column that is compared.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// Its type, as SQL.
    pub sql_type: String,
}

/// How two lists of rows differ.
pub struct Difference {
    /// The rows, those that were expected and not found marked by a minus, the others by a plus.
    pub lines: Vec<String>,
    /// How many are marked.
    pub differing: u64,
}

/// Types that have no order.
const UNORDERED: [&str; 5] = ["json", "xml", "point", "box", "line"];

/// What reads a relation's rows, or those of a FROM, as texts, in order.
pub fn select(columns: &[Column], from: &str) -> String {
    let name = |column: &Column| crate::quote::identifier(&column.name);
    let texts: Vec<String> = columns
        .iter()
        .map(|column| match column.sql_type.as_str() {
            // 1.0 and 1.00 are one value, where the column does not say how many digits it has.
            "numeric" => format!("trim_scale({})::text", name(column)),
            _ => format!("{}::text", name(column)),
        })
        .collect();
    let order: Vec<String> = columns
        .iter()
        .filter(|column| !UNORDERED.contains(&column.sql_type.as_str()))
        .map(name)
        .chain(["1".to_owned()])
        .collect();
    format!("SELECT ARRAY[{}]\nFROM {from}\nORDER BY {}", texts.join(", "), order.join(", "))
}

/// Reads rows; `given` is bound, as JSON.
pub async fn rows(
    sql: &str,
    given: Option<&Value>,
    connection: &mut PgConnection,
) -> Result<Vec<Texts>, sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
    if let Some(given) = given {
        query = query.bind(given.to_string());
    }
    query.fetch_all(connection).await?.iter().map(|row| row.try_get(0)).collect()
}

/// How what was found differs; nothing where it does not. Rows are in order.
pub fn difference(columns: &[Column], expected: &[Texts], found: &[Texts]) -> Option<Difference> {
    let sorted = |rows: &[Texts]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    if sorted(expected) == sorted(found) {
        return None;
    }
    let header: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let shown = |value: &Option<String>| match value {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "''".to_owned(),
        Some(text) => text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""),
    };
    let cells = |rows: &[Texts]| -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(shown).collect()).collect()
    };
    let (expected, found) = (cells(expected), cells(found));
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let all = [&header].into_iter().chain(&expected).chain(&found);
            all.map(|row| row[column].width()).max().unwrap_or_default()
        })
        .collect();
    let line = |row: &Vec<String>| {
        let padded = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width()))));
        padded.collect::<Vec<String>>().join(" | ").trim_end().to_owned()
    };
    let text = |rows: &[Vec<String>]| rows.iter().map(|row| line(row) + "\n").collect::<String>();
    let (expected, found) = (text(&expected), text(&found));
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).diff_lines(&expected, &found);
    let mut lines = vec![format!("    {}", line(&header))];
    let mut differing = 0;
    for change in diff.iter_all_changes() {
        let mark = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        differing += u64::from(mark != ' ');
        lines.push(format!("  {mark} {}", change.value().trim_end_matches('\n')));
    }
    Some(Difference { lines, differing })
}
