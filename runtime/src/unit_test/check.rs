//! Holds a written test against the warehouse: relations and columns that are there, times and values that can be read,
//! rows that have their keys. What is wrong is shown where it stands; what is left can run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sqlx::{PgConnection, Row as _};

use super::compare::{self, Column, Texts};
use super::trace::{self, Change};
use super::written::{Place, Placed, Row, Rows, UnitTest, Written};
use crate::apply::stored_versions;
use crate::descriptor::{Mart, Name, Silver, SilverKind, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::{quote, statement};

/// The period's columns, in a test's words.
const FROM: &str = "from";
const TO: &str = "to";

/// So far may a name be off for the other one to be meant.
const NEAR: usize = 2;

/// A test that can run.
pub struct Ready {
    /// Rows of silver.
    pub given: Vec<Given>,
    /// Changes, in order.
    pub changes: Vec<Change>,
    pub expected: Vec<Expected>,
    pub now: Option<String>,
}

/// Rows to begin with.
pub struct Given {
    pub relation: Name,
    /// The statement, which is told them as JSON.
    pub sql: String,
    pub rows: String,
}

/// Rows to end with.
pub struct Expected {
    pub place: Place,
    /// The relation, as it is told.
    pub called: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Texts>,
    /// What reads those that are there.
    pub found: String,
    pub as_of: Option<String>,
}

/// A relation that a test can name.
#[derive(Clone, Copy)]
enum Known<'a> {
    Landing(usize),
    /// A dimension's history, or a fact.
    Silver(&'a Silver),
    /// A dimension's current view.
    Current(&'a Silver, &'a Name),
    Mart(&'a Mart),
}

impl<'a> Known<'a> {
    fn name(self, warehouse: &'a Warehouse) -> &'a Name {
        match self {
            Self::Landing(number) => &warehouse.landings[number].table,
            Self::Silver(silver) => &silver.table,
            Self::Current(_, current) => current,
            Self::Mart(mart) => &mart.table,
        }
    }
}

/// Every relation, with the layer that its name may begin with in place of the schema.
fn known(warehouse: &Warehouse) -> Vec<(&Name, &'static str, Known<'_>)> {
    let mut known: Vec<(&Name, &str, Known<'_>)> = Vec::new();
    for (number, landing) in warehouse.landings.iter().enumerate() {
        known.push((&landing.table, "bronze", Known::Landing(number)));
    }
    for silver in &warehouse.silver {
        known.push((&silver.table, "silver", Known::Silver(silver)));
        if let SilverKind::Dimension { current, .. } = &silver.kind {
            known.push((current, "silver", Known::Current(silver, current)));
        }
    }
    known.extend(warehouse.marts.iter().map(|mart| (&mart.table, "gold", Known::Mart(mart))));
    // A landing table is known by what it is of, too, unless something else has that name.
    for (number, landing) in warehouse.landings.iter().enumerate() {
        known.push((&landing.source, "source", Known::Landing(number)));
    }
    known
}

fn find<'a>(warehouse: &'a Warehouse, said: &Placed<String>) -> Result<Known<'a>> {
    let known = known(warehouse);
    let is_meant = |name: &Name, layer: &str| {
        let said = said.value.as_str();
        name.table == said
            || said.split_once('.').is_some_and(|(schema, table)| {
                table == name.table && (schema == name.schema || schema == layer)
            })
    };
    if let Some((_, _, found)) = known.iter().find(|(name, layer, _)| is_meant(name, layer)) {
        return Ok(*found);
    }
    let bare = said.value.rsplit('.').next().unwrap_or_default();
    let names = known.iter().map(|(name, ..)| name.table.as_str());
    let error = said.place.error(format!("the warehouse has no relation `{}`", said.value));
    Err(match nearest(bare, names) {
        Some(name) => error.remedy(format!("did you mean `{name}`?")),
        None => error.remedy("name a landing table, a dimension, a fact, a lookup or a mart of the spec"),
    })
}

fn nearest<'a>(said: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (strsim::levenshtein(name, said), name)).min()?;
    (near.0 <= said.len().div_ceil(3)).then_some(near.1)
}

/// Looks the names up that a test says.
pub fn names(warehouse: &Warehouse, test: &UnitTest) -> Result<()> {
    for rows in &test.given {
        if let Known::Mart(mart) = find(warehouse, &rows.relation)? {
            let error =
                rows.relation.place.error(format!("rows of the mart `{}` are given", mart.table.table));
            return Err(error.remedy("a mart is computed: give what it reads, and expect the mart's rows"));
        }
    }
    let later = test.as_of.iter().flat_map(|(_, relations)| relations);
    for rows in test.expect.iter().chain(later) {
        if let Known::Landing(_) = find(warehouse, &rows.relation)? {
            let error = rows.relation.place.error(format!("rows of `{}` are expected", rows.relation.value));
            return Err(error.remedy("a landing table has what is given: expect rows of silver or gold"));
        }
    }
    Ok(())
}

/// The stored relations that a test expects something of.
pub fn about(warehouse: &Warehouse, test: &UnitTest) -> Vec<Name> {
    let later = test.as_of.iter().flat_map(|(_, relations)| relations);
    let found = test.expect.iter().chain(later).filter_map(|rows| find(warehouse, &rows.relation).ok());
    let stored = found.map(|known| match known {
        Known::Current(silver, _) => silver.table.clone(),
        other => other.name(warehouse).clone(),
    });
    stored.collect()
}

/// The columns of relations.
pub struct Relations(BTreeMap<Name, Vec<Column>>);

impl Relations {
    /// Reads them.
    pub async fn read(warehouse: &Warehouse, desk: &mut PgConnection) -> Result<Self> {
        let known = known(warehouse);
        let schemas: BTreeSet<String> = known.iter().map(|(name, ..)| name.schema.clone()).collect();
        let schemas: Vec<String> = schemas.into_iter().collect();
        let rows = sqlx::query(
            "SELECT nspname::text, relname::text, attname::text, format_type(atttypid, atttypmod) \
             FROM pg_attribute \
             JOIN pg_class ON pg_class.oid = attrelid \
             JOIN pg_namespace ON pg_namespace.oid = relnamespace \
             WHERE nspname = ANY ($1) AND relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 AND NOT attisdropped \
             ORDER BY attrelid, attnum",
        )
        .bind(schemas)
        .fetch_all(desk)
        .await
        .during(|| "cannot read the relations' columns".to_owned())?;
        let mut relations: BTreeMap<Name, Vec<Column>> = BTreeMap::new();
        for row in rows {
            let name = Name::new(row.get::<String, _>(0), row.get::<String, _>(1));
            let column = Column { name: row.get(2), sql_type: row.get(3) };
            relations.entry(name).or_default().push(column);
        }
        Ok(Self(relations))
    }

    fn of(&self, name: &Name) -> &[Column] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The columns that rows name, the period's among them where `period` says so.
    fn named(&self, name: &Name, rows: &[Placed<Row>], period: &[&str]) -> Result<Vec<Column>> {
        let all = self.of(name);
        let mut named: Vec<Column> = Vec::new();
        for (column, _) in rows.iter().flat_map(|row| &row.value) {
            if named.iter().any(|one| one.name == column.value) {
                continue;
            }
            if let Some(found) = all.iter().find(|one| one.name == column.value) {
                named.push(found.clone());
            } else if period.contains(&column.value.as_str()) {
                named.push(Column { name: column.value.clone(), sql_type: TIME.to_owned() });
            } else {
                let error = column.place.error(format!("`{}` has no column `{}`", name.table, column.value));
                let names = all.iter().map(|one| one.name.as_str()).chain(period.iter().copied());
                let known: Vec<String> = all.iter().map(|one| format!("`{}`", one.name)).collect();
                return Err(match nearest(&column.value, names) {
                    Some(near) => error.remedy(format!("did you mean `{near}`?")),
                    None => error.remedy(format!("it has {}", known.join(", "))),
                });
            }
        }
        Ok(named)
    }

    fn has(&self, name: &Name, column: &str) -> bool {
        self.of(name).iter().any(|one| one.name == column)
    }
}

const TIME: &str = "timestamp with time zone";

/// Makes a test ready to run.
pub async fn ready(
    warehouse: &Warehouse,
    relations: &Relations,
    test: &UnitTest,
    desk: &mut PgConnection,
) -> Result<Ready> {
    let (mut given, mut changes) = (Vec::new(), Vec::new());
    for rows in &test.given {
        match find(warehouse, &rows.relation)? {
            Known::Landing(number) => {
                for row in &rows.rows {
                    changes.push(change(warehouse, number, row, desk).await?);
                }
            }
            Known::Silver(silver) | Known::Current(silver, _) => {
                given.extend(silver_rows(silver, relations, rows, desk).await?);
            }
            Known::Mart(_) => unreachable!("the names have been looked up"),
        }
    }
    trace::complete(warehouse, &mut changes);
    if let Some(now) = &test.now {
        let last = changes.last().map(|change| change.time);
        if last > Some(instant(&now.value, &now.place, desk).await?) {
            let error = now.place.error("`now` is before the last change");
            return Err(error.remedy("without `now` it is the time of the last change"));
        }
    }
    let mut expected = Vec::new();
    for rows in &test.expect {
        expected.push(expectation(warehouse, relations, rows, None, desk).await?);
    }
    for (time, all) in &test.as_of {
        instant(&time.value, &time.place, desk).await?;
        for rows in all {
            expected.push(expectation(warehouse, relations, rows, Some(&time.value), desk).await?);
        }
    }
    Ok(Ready { given, changes, expected, now: test.now.as_ref().map(|now| now.value.clone()) })
}

/// A time in microseconds since 1970.
async fn instant(text: &str, place: &Place, desk: &mut PgConnection) -> Result<i64> {
    let sql = "SELECT (extract(epoch FROM CAST(CAST($1 AS text) AS timestamptz)) * 1000000)::bigint";
    let row = sqlx::query(sql).bind(text).fetch_one(desk).await;
    let row = row.during(|| format!("`{text}` is not a time"));
    match row {
        Ok(row) => Ok(row.get(0)),
        Err(error) if error.is_of_connection() => Err(error),
        Err(_) => Err(place
            .error(format!("`{text}` is not a time"))
            .remedy("write it as \"2025-07-01\" or \"2025-07-01 12:00:00+00\"")),
    }
}

async fn change(
    warehouse: &Warehouse,
    number: usize,
    written: &Placed<Row>,
    desk: &mut PgConnection,
) -> Result<Change> {
    const KNOWN: &str = "a change says `at` when it happened, `row` which row, and if need be `op` (I, U, D or \
                         T) and `null`, columns that it empties";
    let (mut time, mut op, mut row) = (None, None, None);
    let mut null: Vec<String> = Vec::new();
    for (key, value) in &written.value {
        match (key.value.as_str(), &value.value) {
            ("at", Written::Value(Value::String(text))) => {
                time = Some(instant(text, &value.place, desk).await?);
            }
            ("op", Written::Value(Value::String(text))) if ["I", "U", "D", "T"].contains(&text.as_str()) => {
                op = text.chars().next();
            }
            ("row", Written::Row(columns)) => row = Some(columns),
            ("null", Written::Value(Value::Array(columns))) => {
                null = columns.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
            }
            ("at" | "op" | "row" | "null", _) => {
                return Err(value.place.error(format!("`{}` is something else", key.value)).remedy(KNOWN));
            }
            _ => return Err(key.place.error(format!("unknown key `{}`", key.value)).remedy(KNOWN)),
        }
    }
    let Some(time) = time else {
        return Err(written
            .place
            .error("the change does not say when")
            .remedy("write `at = \"2025-07-01\"`"));
    };
    let landing = &warehouse.landings[number];
    let mut full: Map<String, Value> = Map::new();
    if op != Some('T') {
        let Some(columns) = row else {
            return Err(written
                .place
                .error("the change does not say of which row")
                .remedy(format!("write `row = {{ {} = … }}`", landing.key.join(" = …, "))));
        };
        let has = |name: &str| columns.iter().any(|(column, _)| column.value == name);
        if let Some(missing) = landing.key.iter().find(|column| !has(column)) {
            let error = written.place.error(format!("the row has no `{missing}`"));
            return Err(error.remedy(format!("a row of `{}` is known by it", landing.source)));
        }
        let read: BTreeSet<&str> = read(warehouse, number);
        for (column, value) in columns {
            if !read.contains(column.value.as_str())
                && let Some(near) =
                    read.iter().find(|one| !has(one) && strsim::levenshtein(one, &column.value) <= NEAR)
            {
                let what = format!("nothing reads a `{}` of `{}`", column.value, landing.source);
                return Err(column.place.error(what).remedy(format!("did you mean `{near}`?")));
            }
            full.insert(column.value.clone(), value.value.json());
        }
        full.extend(null.into_iter().map(|column| (column, Value::Null)));
    }
    Ok(Change { landing: number, time, op, row: full, position: (0, 0) })
}

/// The fields of a landing table's rows that something reads.
fn read(warehouse: &Warehouse, number: usize) -> BTreeSet<&str> {
    let landing = &warehouse.landings[number];
    let fed = warehouse.silver.iter().filter(|silver| silver.feed == landing.table);
    let fields = fed.flat_map(|silver| &silver.columns).flat_map(|column| column.fields());
    fields.chain(landing.key.iter().map(String::as_str)).collect()
}

async fn silver_rows(
    silver: &Silver,
    relations: &Relations,
    rows: &Rows,
    desk: &mut PgConnection,
) -> Result<Vec<Given>> {
    let name = &silver.table;
    let period: Vec<&str> = [FROM, TO].into_iter().filter(|word| !relations.has(name, word)).collect();
    let columns = relations.named(name, &rows.rows, &period)?;
    let mut key: Vec<&str> = silver.key.iter().map(String::as_str).collect();
    if let SilverKind::Fact { partition_by, .. } = &silver.kind {
        key.push(partition_by);
    }
    for row in &rows.rows {
        if let Some(missing) = key.iter().find(|key| !row.value.iter().any(|(name, _)| name.value == **key)) {
            let error = row.place.error(format!("the row has no `{missing}`"));
            return Err(error.remedy(format!("no row of `{}` goes without", name.table)));
        }
    }
    let json = json(&rows.rows);
    texts(name, &columns, rows, &json, desk).await?;
    let is_period = |column: &&Column| period.contains(&column.name.as_str());
    let own: Vec<&Column> = columns.iter().filter(|column| !is_period(column)).collect();
    let mut typed = types(own.iter().copied());
    typed.push_str(&format!(", m$from {TIME}, m$to {TIME}"));
    let own: Vec<String> = own.into_iter().map(|column| column.name.clone()).collect();
    let list = quote::list("", &own);
    let rows_of = |table: &Name, start: &str, end: Option<&str>, which: &str| {
        let mut to = vec![list.clone()];
        let mut from = vec![list.clone()];
        if !own.iter().any(|column| column == start) {
            to.push(quote::identifier(start));
            from.push("coalesce(m$from, '-infinity')".to_owned());
        }
        if let Some(end) = end.filter(|end| !own.iter().any(|column| column == end)) {
            to.push(quote::identifier(end));
            from.push("coalesce(m$to, 'infinity')".to_owned());
        }
        format!(
            "INSERT INTO {} ({})\nSELECT {}\nFROM jsonb_to_recordset(CAST($1 AS jsonb)) AS given ({typed})\n{which}",
            quote::name(table),
            to.join(", "),
            from.join(", "),
        )
    };
    let renamed = |value: &Value| -> Value {
        let renamed = |name: &str| match name {
            FROM if period.contains(&FROM) => "m$from".to_owned(),
            TO if period.contains(&TO) => "m$to".to_owned(),
            other => other.to_owned(),
        };
        let object = value.as_object().into_iter().flatten();
        object.map(|(name, value)| (renamed(name), value.clone())).collect()
    };
    let json: Value = json.as_array().into_iter().flatten().map(renamed).collect();
    let given = |sql: String| Given { relation: name.clone(), sql, rows: json.to_string() };
    Ok(match &silver.kind {
        SilverKind::Dimension { start, end, .. } => vec![given(rows_of(name, start, Some(end), ""))],
        SilverKind::Fact { snapshot, archive, .. } => vec![
            given(rows_of(name, snapshot, None, "WHERE m$to IS NULL")),
            given(rows_of(archive, "sys_start", Some("sys_end"), "WHERE m$to IS NOT NULL")),
        ],
    })
}

fn types<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    let typed: Vec<String> =
        columns.map(|column| format!("{} {}", quote::identifier(&column.name), column.sql_type)).collect();
    typed.join(", ")
}

fn json(rows: &[Placed<Row>]) -> Value {
    let object = |row: &Placed<Row>| -> Value {
        row.value.iter().map(|(name, value)| (name.value.clone(), value.value.json())).collect()
    };
    rows.iter().map(object).collect()
}

/// The rows as PostgreSQL reads them. A value that it does not take is shown where it stands.
async fn texts(
    name: &Name,
    columns: &[Column],
    rows: &Rows,
    json: &Value,
    desk: &mut PgConnection,
) -> Result<Vec<Texts>> {
    let source = |columns: &[Column]| {
        let typed = types(columns.iter());
        compare::select(columns, &format!("jsonb_to_recordset(CAST($1 AS jsonb)) AS given ({typed})"))
    };
    if columns.is_empty() {
        return Ok(vec![Texts::new(); rows.rows.len()]);
    }
    let cause = match compare::rows(&source(columns), Some(json), desk).await {
        Ok(texts) => return Ok(texts),
        Err(cause) => cause,
    };
    for (column, value) in rows.rows.iter().flat_map(|row| &row.value) {
        let Some(found) = columns.iter().find(|one| one.name == column.value) else { continue };
        let one: Map<String, Value> = Map::from_iter([(column.value.clone(), value.value.json())]);
        let one = Value::Array(vec![one.into()]);
        if let Err(cause) = compare::rows(&source(std::slice::from_ref(found)), Some(&one), desk).await {
            let what = format!("`{}.{}` is {}", name.table, column.value, found.sql_type);
            return Err(value.place.error(what).because(cause));
        }
    }
    Err(Error::new(format!("cannot read rows of `{name}`")).because(cause))
}

async fn expectation(
    warehouse: &Warehouse,
    relations: &Relations,
    rows: &Rows,
    as_of: Option<&str>,
    desk: &mut PgConnection,
) -> Result<Expected> {
    let known = find(warehouse, &rows.relation)?;
    let name = known.name(warehouse);
    let stands = match as_of {
        Some(_) => Name::new("as_of", name.table.clone()),
        None => name.clone(),
    };
    let period = match (known, as_of) {
        (Known::Silver(Silver { kind: SilverKind::Dimension { start, end, .. }, .. }), _) => {
            Some((format!("{} AS", quote::identifier(start)), format!("{} AS", quote::identifier(end))))
        }
        (Known::Silver(_), None) => Some(("m$known_from AS".to_owned(), "m$known_to AS".to_owned())),
        _ => None,
    };
    let words: Vec<&str> = match period {
        Some(_) => [FROM, TO].into_iter().filter(|word| !relations.has(name, word)).collect(),
        None => Vec::new(),
    };
    let mut columns = relations.named(name, &rows.rows, &words)?;
    let is_traced = columns.iter().any(|column| words.contains(&column.name.as_str()));
    for word in words.iter().filter(|_| is_traced) {
        if !columns.iter().any(|column| column.name == *word) {
            columns.push(Column { name: (*word).to_owned(), sql_type: TIME.to_owned() });
        }
    }
    if rows.rows.is_empty() {
        columns = relations.of(name).to_vec();
    }
    if columns.is_empty() {
        return Err(rows.relation.place.error("the rows say nothing").remedy("name columns that they have"));
    }
    let mut json = json(&rows.rows);
    if is_traced && words.contains(&TO) {
        for row in json.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            row.entry(TO).or_insert_with(|| "infinity".into());
        }
    }
    let from = match (&period, known) {
        (Some((start, end)), Known::Silver(silver)) if is_traced => {
            let table = match silver.kind {
                SilverKind::Fact { .. } => stored_versions(silver),
                SilverKind::Dimension { .. } => quote::name(&stands),
            };
            let words = words.iter().map(|word| {
                let column = if *word == FROM { start } else { end };
                format!(", {column} {}", quote::identifier(word))
            });
            format!("(\nSELECT version.*{}\nFROM {table} AS version\n) AS found", words.collect::<String>())
        }
        _ => format!("{} AS found", quote::name(&stands)),
    };
    let found = compare::select(&columns, &from);
    // A table that lacks a column of what it is said to have is our mistake, and is told before anything runs.
    statement::execute(desk, &format!("SELECT FROM (\n{found}\n) AS asked LIMIT 0")).await?;
    let expected = texts(name, &columns, rows, &json, desk).await?;
    let called = match as_of {
        Some(time) => format!("{name} as of {time}"),
        None => name.to_string(),
    };
    Ok(Expected {
        place: rows.relation.place.clone(),
        called,
        columns,
        rows: expected,
        found,
        as_of: as_of.map(str::to_owned),
    })
}
