//! Who is meant: a relation as a user names it, and the values of its key, which stay text until the database
//! reads them as the columns' types.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::descriptor::{ColumnFrom, Silver, SilverKind, Warehouse};
use crate::error::{Error, Result};
use crate::quote;

/// A key of a relation.
pub struct Subject<'a> {
    /// The relation.
    pub silver: &'a Silver,
    /// Its place in the warehouse.
    pub number: usize,
    /// The key's values, in its order.
    values: Vec<String>,
}

impl std::fmt::Debug for Subject<'_> {
    /// Without the values.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a key of {}", self.silver.table)
    }
}

impl<'a> Subject<'a> {
    /// Finds the relation, and pairs the values with its key: given in its order, or as `column=value`.
    pub fn find(warehouse: &'a Warehouse, relation: &str, given: &[String]) -> Result<Self> {
        let mut found = warehouse.silver.iter().enumerate().filter(|(_, silver)| is_called(silver, relation));
        let Some((number, silver)) = found.next() else {
            let known: Vec<&str> = warehouse.silver.iter().map(|one| one.table.table.as_str()).collect();
            return Err(Error::new(format!("there is no relation `{relation}` to erase from"))
                .remedy(format!("it is one of: {}", known.join(", "))));
        };
        let values = paired(silver, given).or_else(|| in_order(silver, given)).ok_or_else(|| {
            let key = silver.key.join(", ");
            Error::new(format!("the key of `{}` is ({key})", silver.table))
                .remedy(format!("give a value for each, in this order, or as {}=…", silver.key[0]))
        })?;
        Ok(Self { silver, number, values })
    }

    /// The key's values.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// A key that was given before.
    pub fn again(warehouse: &'a Warehouse, relation: &str, values: Vec<String>) -> Option<Self> {
        let mut all = warehouse.silver.iter().enumerate();
        let (number, silver) = all.find(|(_, silver)| silver.table.to_string() == relation)?;
        Some(Self { silver, number, values })
    }

    /// Makes the table of the key, typed.
    pub async fn stage(&self, connection: &mut PgConnection) -> Result<()> {
        create(self.silver, self.number, connection).await?;
        let casts: Vec<String> = (1..)
            .zip(&self.silver.key)
            .map(|(place, column)| format!("CAST(${place}::text AS {})", sql_type(self.silver, column)))
            .collect();
        let sql = format!("INSERT INTO {} SELECT {}", table(self.number), casts.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for value in &self.values {
            query = query.bind(value);
        }
        match query.execute(connection).await {
            Ok(_) => Ok(()),
            Err(cause) => {
                let error = Error::new("cannot read the key").because(cause);
                // The server's words would repeat the value.
                Err(match error.sqlstate().as_deref() {
                    Some(state) if state.starts_with("22") => Error::new(format!(
                        "a value is none that the key of `{}` can have",
                        self.silver.table
                    ))
                    .remedy(self.types()),
                    _ => error,
                })
            }
        }
    }

    fn types(&self) -> String {
        let column = |name: &String| format!("{name} {}", sql_type(self.silver, name));
        let columns: Vec<String> = self.silver.key.iter().map(column).collect();
        format!("its columns are {}", columns.join(", "))
    }
}

fn is_called(silver: &Silver, name: &str) -> bool {
    let is = |other: &crate::descriptor::Name| other.table == name || other.to_string() == name;
    let view = match &silver.kind {
        SilverKind::Dimension { current, .. } => is(current),
        SilverKind::Fact { .. } => false,
    };
    is(&silver.table) || view || is(&silver.feed)
}

fn paired(silver: &Silver, given: &[String]) -> Option<Vec<String>> {
    let pairs: Vec<(&str, &str)> = given.iter().filter_map(|one| one.split_once('=')).collect();
    if pairs.len() != given.len() || given.len() != silver.key.len() {
        return None;
    }
    let value = |column: &String| {
        let (_, value) = pairs.iter().find(|(name, _)| name == column)?;
        Some((*value).to_owned())
    };
    silver.key.iter().map(value).collect()
}

fn in_order(silver: &Silver, given: &[String]) -> Option<Vec<String>> {
    (given.len() == silver.key.len()).then(|| given.to_vec())
}

/// The table of a relation's keys that are erased.
pub fn table(number: usize) -> String {
    format!("pg_temp.forgotten_{number}")
}

/// Makes such a table, empty.
pub async fn create(silver: &Silver, number: usize, connection: &mut PgConnection) -> Result<()> {
    let columns: Vec<String> = silver
        .key
        .iter()
        .map(|name| format!("{} {}", quote::identifier(name), sql_type(silver, name)))
        .collect();
    let sql = format!("CREATE TEMPORARY TABLE forgotten_{number} ({}) ON COMMIT DROP", columns.join(", "));
    crate::statement::execute(connection, &sql).await.map(drop)
}

/// A column's type.
pub fn sql_type<'a>(silver: &'a Silver, name: &str) -> &'a str {
    let column = silver.columns.iter().find(|column| column.name == name);
    column.map_or("text", |column| column.sql_type.as_str())
}

/// The field of the landed row that a column of the key takes.
pub fn field<'a>(silver: &'a Silver, name: &'a str) -> &'a str {
    match silver.columns.iter().find(|column| column.name == name).map(|column| &column.from) {
        Some(ColumnFrom::Field(field)) => field,
        Some(_) | None => name,
    }
}
