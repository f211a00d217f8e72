//! Questions to the warehouse and their answers: read only, as of any time, printed as a table, CSV or
//! JSON. Values are shown as PostgreSQL writes them.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, PgConnection, Row as _, SqlSafeStr as _,
    Statement as _, TypeInfo as _,
};
use sqlx::{Either, ValueRef as _};

use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::quote;

/// What to do with what is no question.
const READ: &str = "`query` only reads: ask with SELECT, one statement at a time";

/// A line below the header and nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A question's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The columns' names and what they hold.
    pub columns: Vec<(String, Kind)>,
    /// The rows, in text; none is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// What a column holds, as far as it is shown differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// True or false.
    Boolean,
    /// Anything else.
    Text,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// With a header line.
    Csv,
    /// An array of objects.
    Json,
}

/// Asks one question in a read-only transaction; the session stays read-only. With a time, unqualified names mean the relations as of
/// then.
pub async fn ask(
    warehouse: &Warehouse,
    connection: &mut PgConnection,
    sql: &str,
    as_of: Option<&str>,
) -> Result<Answer> {
    // The question could end the transaction that it is asked in.
    connection
        .execute("SET default_transaction_read_only = on")
        .await
        .during(|| "cannot make the session read-only".to_owned())?;
    let mut transaction = connection
        .begin_with("BEGIN READ ONLY")
        .await
        .during(|| "cannot begin a read-only transaction".to_owned())?;
    let mut path: Vec<&str> = Vec::new();
    if as_of.is_some() {
        path.push("as_of");
    }
    path.extend(&warehouse.schemas);
    path.push("public");
    let settings = format!("SET LOCAL search_path = {}", quote::list("", path));
    transaction.execute(AssertSqlSafe(settings)).await.during(|| "cannot set the search path".to_owned())?;
    if let Some(time) = as_of {
        sqlx::query("SELECT set_config('medallion.as_of', $1, true)")
            .bind(time)
            .execute(&mut *transaction)
            .await
            .during(|| format!("cannot ask as of `{time}`"))?;
        sqlx::query("SELECT medallion.as_of_time()")
            .execute(&mut *transaction)
            .await
            .map_err(|cause| no_time(time, cause))?;
    }
    let answer = fetch(&mut transaction, sql).await?;
    transaction.rollback().await.during(|| "cannot end the read-only transaction".to_owned())?;
    Ok(answer)
}

fn no_time(time: &str, cause: sqlx::Error) -> Error {
    let error = Error::new(format!("cannot ask as of `{time}`")).because(cause);
    match error.sqlstate().as_deref() {
        Some("22007") => Error::new(format!("`{time}` is not a time"))
            .remedy("write it as '2024-07-01' or '2024-07-01 12:00:00+00'"),
        _ => error,
    }
}

async fn fetch(connection: &mut PgConnection, sql: &str) -> Result<Answer> {
    use futures_util::TryStreamExt as _;

    let mut answer = Answer { columns: columns(connection, sql).await?, rows: Vec::new() };
    // The simple protocol: every value comes as text, as psql would show it.
    let mut stream = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(connection);
    while let Some(item) = stream.try_next().await.map_err(failed)? {
        let Either::Right(row) = item else { continue };
        let mut values = Vec::with_capacity(row.len());
        for index in 0..row.len() {
            let value = row.try_get_raw(index).map_err(failed)?;
            let text = if value.is_null() {
                None
            } else {
                Some(
                    value
                        .as_str()
                        .map_err(|cause| Error::new("a value is not text").because(cause))?
                        .to_owned(),
                )
            };
            values.push(text);
        }
        answer.rows.push(values);
    }
    Ok(answer)
}

/// The columns of the answer to come. What has none is no question; several are refused by the server.
async fn columns(connection: &mut PgConnection, sql: &str) -> Result<Vec<(String, Kind)>> {
    let prepared = connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await.map_err(failed)?;
    if prepared.columns().is_empty() {
        return Err(Error::new("that is no question: it answers nothing").remedy(READ));
    }
    let column =
        |column: &sqlx::postgres::PgColumn| (column.name().to_owned(), kind(column.type_info().name()));
    Ok(prepared.columns().iter().map(column).collect())
}

fn failed(cause: sqlx::Error) -> Error {
    let error = Error::new("the question failed").because(cause);
    match error.sqlstate().as_deref() {
        Some("25006") => Error::new("that would change something").remedy(READ),
        Some("42601") if error.to_string().contains("multiple commands") => {
            Error::new("these are several statements, and an answer has one").remedy("ask them one by one")
        }
        _ => error.remedy("correct the question: it may read whatever silver and gold hold"),
    }
}

fn kind(type_name: &str) -> Kind {
    match type_name {
        "INT2" | "INT4" | "INT8" | "NUMERIC" | "FLOAT4" | "FLOAT8" | "MONEY" | "OID" => Kind::Number,
        "BOOL" => Kind::Boolean,
        _ => Kind::Text,
    }
}

impl Answer {
    /// The answer as text, with a final line end. JSON needs names that tell the columns apart.
    pub fn render(&self, format: Format) -> Result<String> {
        match format {
            Format::Table => Ok(self.table()),
            Format::Csv => Ok(self.csv()),
            Format::Json => self.json(),
        }
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(STYLE);
        table.set_header(self.columns.iter().map(|(name, _)| name));
        for row in &self.rows {
            table.add_row(row.iter().map(|value| value.as_deref().unwrap_or("")));
        }
        for (index, (_, kind)) in self.columns.iter().enumerate() {
            if let (Kind::Number, Some(column)) = (kind, table.column_mut(index)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let count = crate::progress::count(self.rows.len() as u64, "row");
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        format!("{}\n ({count})\n", lines.join("\n"))
    }

    fn csv(&self) -> String {
        let quoted = |text: &str| {
            if text.contains(['"', ',', '\n', '\r']) || text.is_empty() {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        let mut lines = vec![self.columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(",")];
        for row in &self.rows {
            // NULL is nothing at all, an empty text is "", as COPY has it.
            let cells: Vec<String> =
                row.iter().map(|value| value.as_deref().map_or_else(String::new, quoted)).collect();
            lines.push(cells.join(","));
        }
        lines.join("\n") + "\n"
    }

    /// Written by hand: columns in the question's order, numbers with every digit that PostgreSQL shows.
    fn json(&self) -> Result<String> {
        let mut names = BTreeSet::new();
        if let Some((twice, _)) = self.columns.iter().find(|(name, _)| !names.insert(name)) {
            return Err(Error::new(format!("two columns are named `{twice}`, which JSON cannot tell apart"))
                .remedy("name them with AS"));
        }
        let row = |row: &Vec<Option<String>>| {
            let fields: Vec<String> = self
                .columns
                .iter()
                .zip(row)
                .map(|((name, kind), value)| {
                    format!("    {}: {}", json_text(name), json_value(*kind, value.as_deref()))
                })
                .collect();
            format!("  {{\n{}\n  }}", fields.join(",\n"))
        };
        let rows: Vec<String> = self.rows.iter().map(row).collect();
        Ok(if rows.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", rows.join(",\n")) })
    }
}

fn json_value(kind: Kind, value: Option<&str>) -> String {
    match (kind, value) {
        (_, None) => "null".to_owned(),
        (Kind::Boolean, Some(value)) => (value == "t").to_string(),
        (Kind::Number, Some(value)) if is_json_number(value) => value.to_owned(),
        (_, Some(value)) => json_text(value),
    }
}

/// Whether a number as PostgreSQL shows it is one of JSON's: not `NaN`, `Infinity` or an amount of money.
fn is_json_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && text.ends_with(|last: char| last.is_ascii_digit())
        && text.chars().all(|one| one.is_ascii_digit() || matches!(one, '-' | '+' | '.' | 'e'))
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Answer, Format, Kind};

    fn answer(columns: &[(&str, Kind)], rows: &[&[Option<&str>]]) -> Answer {
        Answer {
            columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
            rows: rows.iter().map(|row| row.iter().map(|value| value.map(str::to_owned)).collect()).collect(),
        }
    }

    #[test]
    fn json_keeps_order_digits_and_kinds() {
        let answer = answer(
            &[("z", Kind::Number), ("a", Kind::Boolean), ("m", Kind::Text)],
            &[
                &[Some("12345678901234567890.10"), Some("t"), Some("say \"7\"")],
                &[Some("NaN"), Some("f"), None],
            ],
        );
        let expected = concat!(
            "[\n  {\n    \"z\": 12345678901234567890.10,\n    \"a\": true,\n    \"m\": \"say \\\"7\\\"\"\n  },\n",
            "  {\n    \"z\": \"NaN\",\n    \"a\": false,\n    \"m\": null\n  }\n]\n"
        );
        assert_eq!(answer.render(Format::Json).unwrap(), expected);
    }

    #[test]
    fn json_refuses_two_columns_of_one_name() {
        let error = answer(&[("a", Kind::Text), ("a", Kind::Text)], &[]).render(Format::Json).unwrap_err();
        assert!(error.to_string().contains("two columns are named `a`"), "{error}");
    }

    #[test]
    fn an_empty_answer_has_its_header() {
        let answer = answer(&[("a", Kind::Text), ("b", Kind::Number)], &[]);
        assert_eq!(answer.render(Format::Csv).unwrap(), "a,b\n");
        assert_eq!(answer.render(Format::Json).unwrap(), "[]\n");
        assert!(answer.render(Format::Table).unwrap().starts_with(" a"), "{answer:?}");
    }
}
