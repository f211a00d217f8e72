//! The fold of landed changes and journals in plain Rust: what every key was from when on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

/// Microseconds since 1970; infinity is the greatest.
pub type Time = i64;

/// A row's columns, as text; none is NULL.
pub type Row = BTreeMap<String, Option<String>>;

/// What is known of one relation: when, how it is ordered at one time, which key (none: all), and the row.
#[derive(Clone, Debug)]
struct Event {
    time: Time,
    written: bool,
    place: (i64, i64),
    key: Option<i64>,
    row: Option<Row>,
}

/// A key from one time on: its row, and whether what was looked up is given.
#[derive(Clone, Debug)]
struct State {
    since: Time,
    row: Option<Row>,
    given: bool,
}

/// A row and its period.
#[derive(Clone, Debug)]
struct Version {
    since: Time,
    until: Time,
    row: Row,
}

type Versions = BTreeMap<i64, Vec<Version>>;

/// Which versions a row reads.
type Reads<'r, 'a> = &'r dyn Fn(&Row) -> &'a [Version];

/// All that is known.
#[derive(Debug)]
pub struct Known {
    item: Vec<Event>,
    customer: Vec<Event>,
    sale: Vec<Event>,
}

const ITEM: [&str; 2] = ["item_id", "store"];
const CUSTOMER: [&str; 5] = ["customer_id", "name", "item_id", "store", "note"];
const SALE: [&str; 7] = ["sale_id", "sold_at", "item_id", "customer_id", "amount", "store", "name"];

/// A time as PostgreSQL reads it.
pub fn moment(time: Time) -> String {
    let (seconds, rest) = (time.div_euclid(1_000_000), time.rem_euclid(1_000_000));
    let text = chrono::DateTime::from_timestamp(seconds, u32::try_from(rest * 1_000).unwrap()).unwrap();
    text.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// The system time of a source transaction: now, some milliseconds ahead, and later than the one before.
pub async fn later(lsn: i64, ahead: i64, connection: &mut PgConnection) -> Result<Time, String> {
    let sql = "CREATE TEMPORARY TABLE IF NOT EXISTS source_clock (time bigint)";
    sqlx::raw_sql(sql).execute(&mut *connection).await.map_err(|error| error.to_string())?;
    if lsn == 1 {
        sqlx::raw_sql("DELETE FROM source_clock; INSERT INTO source_clock VALUES (0)")
            .execute(&mut *connection)
            .await
            .map_err(|error| error.to_string())?;
    }
    let sql = format!(
        "UPDATE source_clock SET time = \
         greatest(time + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + {ahead} * 1000) \
         RETURNING time"
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.map_err(|error| error.to_string())
}

impl Known {
    /// Reads bronze and the journals, each in its schema.
    pub async fn read(bronze: &str, journals: &str, connection: &mut PgConnection) -> Result<Self, String> {
        let changes = |table: &str| format!("{bronze}.br_{table}_cdc");
        let journal = |table: &str| format!("{journals}.dim_{table}_hist_journal");
        Ok(Self {
            item: events("item", &changes("item"), Some((&journal("item"), &ITEM)), connection).await?,
            customer: events(
                "customer",
                &changes("customer"),
                Some((&journal("customer"), &CUSTOMER)),
                connection,
            )
            .await?,
            sale: events("sale", &changes("sale"), None, connection).await?,
        })
    }

    /// What each relation holds.
    pub fn fold(&self) -> Vec<(&'static str, BTreeSet<String>)> {
        let items = versions(states(&self.item), "item_id", &ITEM[1..]);
        let customers = map(states(&self.customer), |states| {
            look_up(states, &[&|row| item_of(row, &items)], &|row, at, _| {
                let store = valid(item_of(row, &items), at).and_then(|item| item["store"].clone());
                row.insert("store".to_owned(), store);
            })
        });
        let customers = versions(customers, "customer_id", &["name", "item_id", "store"]);
        let sales = map(states(&self.sale), |states| {
            let customer = |row: &Row| of_key(row, "customer_id", &customers);
            look_up(states, &[&|row| item_of(row, &items), &customer], &|row, at, _| {
                let item = of_own_time(item_of(row, &items), sold_at(row), at);
                row.insert("store".to_owned(), item.and_then(|item| item["store"].clone()));
                let name = valid(customer(row), at).and_then(|customer| customer["name"].clone());
                row.insert("name".to_owned(), name);
            })
        });
        let sales = versions(sales, "sale_id", &SALE[1..]);
        vec![
            ("item", lines(&items, &ITEM)),
            ("customer", lines(&customers, &CUSTOMER)),
            ("sale", lines(&sales, &SALE)),
        ]
    }
}

fn map(states: BTreeMap<i64, Vec<State>>, f: impl Fn(Vec<State>) -> Vec<State>) -> BTreeMap<i64, Vec<State>> {
    states.into_iter().map(|(key, states)| (key, f(states))).collect()
}

async fn events(
    table: &str,
    changes: &str,
    journal: Option<(&str, &[&str])>,
    connection: &mut PgConnection,
) -> Result<Vec<Event>, String> {
    let mut sql = format!(
        "SELECT (extract(epoch FROM commit_ts) * 1000000)::bigint, lsn, seq, op::text, full_row::text, false \
         FROM {changes}"
    );
    if let Some((journal, columns)) = journal {
        sql += &format!(
            " UNION ALL SELECT (extract(epoch FROM sys_start) * 1000000)::bigint, journal_id, 0, \
             journal_op::text, to_jsonb(entry)::text, true \
             FROM (SELECT journal_id, journal_op, sys_start, {} FROM {journal}) AS entry",
            columns.join(", ")
        );
    }
    let rows =
        sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.map_err(|error| error.to_string())?;
    let mut events: Vec<Event> = rows
        .iter()
        .map(|row| {
            let image: Option<Row> = row.get::<Option<String>, _>(4).map(|text| {
                let image: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
                image.into_iter().map(|(name, value)| (name, as_text(&value))).collect()
            });
            let key = image.as_ref().map(|image| number(image, &format!("{table}_id")).unwrap());
            let gone = ["D", "T"].contains(&row.get::<&str, _>(3));
            Event {
                time: row.get(0),
                written: row.get(5),
                place: (row.get(1), row.get(2)),
                key,
                row: image.filter(|_| !gone),
            }
        })
        .collect();
    events.sort_by_key(|event| (event.time, event.written, event.place));
    Ok(events)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn number(row: &Row, column: &str) -> Option<i64> {
    row.get(column)?.as_ref()?.parse().ok()
}

/// The last state of each key at each time.
fn states(events: &[Event]) -> BTreeMap<i64, Vec<State>> {
    let keys: BTreeSet<i64> = events.iter().filter_map(|event| event.key).collect();
    keys.into_iter()
        .map(|key| {
            let mut states: Vec<State> = Vec::new();
            for event in events.iter().filter(|event| event.key.is_none_or(|one| one == key)) {
                states.retain(|state| state.since != event.time);
                states.push(State { since: event.time, row: event.row.clone(), given: event.written });
            }
            (key, states)
        })
        .collect()
}

/// Cuts states where one of the versions that they read begins or ends, and fills in what these say.
fn look_up<'a>(
    states: Vec<State>,
    reads: &[Reads<'_, 'a>],
    fill: &dyn Fn(&mut Row, Time, bool),
) -> Vec<State> {
    let mut cut = Vec::new();
    for (number, state) in states.iter().enumerate() {
        let until = states.get(number + 1).map_or(Time::MAX, |next| next.since);
        let Some(row) = &state.row else {
            cut.push(state.clone());
            continue;
        };
        let bounds =
            reads.iter().flat_map(|read| read(row)).flat_map(|version| [version.since, version.until]);
        let mut times: BTreeSet<Time> = bounds.filter(|at| *at > state.since && *at < until).collect();
        times.insert(state.since);
        for at in times {
            let mut row = row.clone();
            if !(state.given && at == state.since) {
                fill(&mut row, at, state.given);
            }
            cut.push(State { since: at, row: Some(row), given: false });
        }
    }
    cut
}

fn of_key<'a>(row: &Row, column: &str, versions: &'a Versions) -> &'a [Version] {
    number(row, column).and_then(|key| versions.get(&key)).map_or(&[], Vec::as_slice)
}

fn item_of<'a>(row: &Row, items: &'a Versions) -> &'a [Version] {
    of_key(row, "item_id", items)
}

fn valid(versions: &[Version], at: Time) -> Option<&Row> {
    versions.iter().find(|version| version.since <= at && at < version.until).map(|version| &version.row)
}

/// Of the versions that are known by then, the latest that began by the own time, else the earliest.
fn of_own_time(versions: &[Version], own: Time, at: Time) -> Option<&Row> {
    let known = || versions.iter().filter(|version| version.since <= at);
    known().rfind(|version| version.since <= own).or(known().next()).map(|version| &version.row)
}

fn sold_at(row: &Row) -> Time {
    let text = row["sold_at"].as_ref().unwrap();
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

/// Equal neighbours are one version, with the last values of what is not tracked.
fn versions(states: BTreeMap<i64, Vec<State>>, key: &str, tracked: &[&str]) -> Versions {
    let image = |row: &Option<Row>| {
        row.as_ref()
            .map(|row| tracked.iter().map(|name| row.get(*name).cloned().flatten()).collect::<Vec<_>>())
    };
    let mut all = Versions::new();
    for (number, states) in states {
        let mut joined: Vec<State> = Vec::new();
        for state in states {
            match joined.last_mut() {
                Some(last) if image(&last.row) == image(&state.row) => last.row = state.row,
                _ => joined.push(state),
            }
        }
        let mut versions = Vec::new();
        for (place, state) in joined.iter().enumerate() {
            let until = joined.get(place + 1).map_or(Time::MAX, |next| next.since);
            if let Some(row) = &state.row {
                let mut row = row.clone();
                row.insert(key.to_owned(), Some(number.to_string()));
                versions.push(Version { since: state.since, until, row });
            }
        }
        all.insert(number, versions);
    }
    all
}

fn lines(versions: &Versions, columns: &[&str]) -> BTreeSet<String> {
    versions
        .values()
        .flatten()
        .map(|version| {
            let values: Vec<String> = columns
                .iter()
                .map(|name| match (version.row.get(*name).cloned().flatten(), *name) {
                    // What is updated in place is true of what is current.
                    (_, "note") if version.until < Time::MAX => "-".to_owned(),
                    (None, _) => "∅".to_owned(),
                    (Some(_), "sold_at") => sold_at(&version.row).to_string(),
                    (Some(text), _) => text,
                })
                .collect();
            format!("{} [{}, {})", values.join(" "), version.since, version.until)
        })
        .collect()
}

/// What a relation holds, as the same lines.
pub async fn stored(relation: &str, connection: &mut PgConnection) -> Result<BTreeSet<String>, String> {
    let time = |column: &str| {
        format!(
            "CASE WHEN {column} = 'infinity' THEN {} ELSE (extract(epoch FROM {column}) * 1000000)::bigint END",
            Time::MAX
        )
    };
    let (columns, from): (&[&str], &str) = match relation {
        "item" => (&ITEM, "silver.dim_item_hist"),
        "customer" => (&CUSTOMER, "silver.dim_customer_hist"),
        _ => (
            &SALE,
            "(SELECT *, snapshot_ts AS sys_start, 'infinity'::timestamptz AS sys_end FROM silver.fact_sale \
             UNION ALL SELECT sale_id, sold_at, item_id, customer_id, amount, store, name, NULL, sys_start, sys_end \
             FROM medallion.fact_sale_history) AS sale",
        ),
    };
    let values: Vec<String> = columns
        .iter()
        .map(|name| match *name {
            "sold_at" => format!("({})::text", time("sold_at")),
            "note" => "CASE WHEN sys_end = 'infinity' THEN coalesce(note::text, '∅') ELSE '-' END".to_owned(),
            name => format!("coalesce({name}::text, '∅')"),
        })
        .collect();
    let sql = format!(
        "SELECT concat_ws(' ', {}) || ' [' || {} || ', ' || {} || ')' FROM {from}",
        values.join(", "),
        time("sys_start"),
        time("sys_end")
    );
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(|error| error.to_string())?;
    let count = rows.len();
    let lines: BTreeSet<String> = rows.into_iter().collect();
    if lines.len() != count {
        return Err(format!("{relation} has a version twice"));
    }
    Ok(lines)
}
