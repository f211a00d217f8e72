//! What made rows differ: versions of what the relation reads that began or ended between the two times and belong to
//! the row, and the changes that landed at that very moment. Each transaction has a system time of its own, so the
//! moment names it. Knows the temporary tables of `diff` and nothing of how an answer is told.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::{State, Subject, values};
use crate::apply::stored_versions;
use crate::descriptor::{ColumnFrom, Mart, Name, Refresh, Silver, SilverKind, Storage, Warehouse};
use crate::error::{During as _, Result};
use crate::{quote, statement};

/// A change that made a difference.
#[derive(Clone, Debug, Serialize)]
pub struct Cause {
    /// Where it stands: a landing table, or the journal of what was written past the feed.
    pub table: String,
    /// Its commit position, as PostgreSQL writes it; none in a journal.
    pub lsn: Option<String>,
    /// Its ordinal within the transaction, or the journal's number.
    pub seq: i64,
    /// Its system time.
    pub time: String,
    /// I, U, D or T.
    pub op: String,
    /// The row that was changed, by its key; none of a truncate.
    pub key: Option<State>,
    /// Whether it belongs to the very row, and not only to what is computed together with it.
    pub own: bool,
}

/// Causes by row, with how many there are.
pub type Causes = BTreeMap<i64, (Vec<Cause>, u64)>;

/// How near a change is to a row: it is the row's own.
const OWN: i32 = 0;
/// It belongs to what is computed together with the row.
const TOGETHER: i32 = 1;
/// Nothing tells which rows it belongs to.
const ANYBODY: i32 = 2;

/// Finds the causes of the rows in `shown`.
pub(super) async fn find(
    warehouse: &Warehouse,
    subject: &Subject<'_>,
    times: [&str; 2],
    limit: u32,
    connection: &mut PgConnection,
) -> Result<Causes> {
    statement::execute(
        connection,
        "CREATE TEMPORARY TABLE cause (m$row bigint, m$near integer, landing text, lsn bigint, seq bigint, \
         at timestamptz, op text, key jsonb) ON COMMIT DROP",
    )
    .await?;
    let mut read: Vec<(&Silver, Near)> = Vec::new();
    match subject {
        Subject::Silver(silver, _) => {
            let own = silver.key.iter().map(|key| (key.clone(), quote::identifier(key))).collect();
            read.push((silver, Near { unit: Vec::new(), own }));
        }
        Subject::Mart(mart) => {
            for silver in silver_behind(warehouse, mart) {
                read.push((silver, Near::of(mart, silver)));
            }
        }
    }
    for (number, (silver, near)) in read.iter().enumerate() {
        stage_events(number, silver, near, times, connection).await?;
        let rows = format!("pg_temp.event_{number}");
        trace(warehouse, silver, (&rows, times), &mut BTreeSet::new(), number, connection).await?;
    }
    collect(limit, connection).await
}

/// What the role may not read of where the causes of a difference stand.
pub(super) async fn unread(
    warehouse: &Warehouse,
    subject: &Subject<'_>,
    connection: &mut PgConnection,
) -> Result<Vec<Name>> {
    let mut silver = match subject {
        Subject::Silver(silver, _) => vec![*silver],
        Subject::Mart(mart) => silver_behind(warehouse, mart),
    };
    let mut done = 0;
    while let Some(one) = silver.get(done).copied() {
        done += 1;
        for lookup in &one.lookups {
            let is_new = !silver.iter().any(|known| known.table == lookup.relation);
            let looked = warehouse.silver.iter().find(|one| is_new && one.table == lookup.relation);
            silver.extend(looked);
        }
    }
    let read = silver.iter().flat_map(|one| {
        let beside = match &one.kind {
            SilverKind::Dimension { journal, .. } => journal.as_ref(),
            SilverKind::Fact { archive, .. } => Some(archive),
        };
        [Some(&one.table), Some(&one.feed), beside].into_iter().flatten()
    });
    let read: BTreeSet<&Name> = read.collect();
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        read.iter().map(|name| (name.schema.as_str(), name.table.as_str())).unzip();
    let rows = sqlx::query(
        "SELECT read.schema, read.name \
         FROM unnest(CAST($1 AS text[]), CAST($2 AS text[])) AS read (schema, name) \
         JOIN pg_namespace AS namespace ON namespace.nspname = read.schema \
         JOIN pg_class AS relation ON relation.relname = read.name AND relation.relnamespace = namespace.oid \
         WHERE NOT (has_schema_privilege(namespace.oid, 'USAGE') AND has_table_privilege(relation.oid, 'SELECT')) \
         ORDER BY 1, 2",
    )
    .bind(&schemas)
    .bind(&tables)
    .fetch_all(connection)
    .await
    .during(|| "cannot tell what the role may read".to_owned())?;
    Ok(rows.iter().map(|row| Name::new(row.get::<String, _>(0), row.get::<String, _>(1))).collect())
}

/// The silver relations that a mart reads, by way of other marts too.
fn silver_behind<'a>(warehouse: &'a Warehouse, mart: &Mart) -> Vec<&'a Silver> {
    let mut names: Vec<&Name> = mart.reads.iter().collect();
    let mut done = 0;
    while let Some(name) = names.get(done).copied() {
        done += 1;
        if let Some(between) = warehouse.marts.iter().find(|one| one.table == *name) {
            let more: Vec<&Name> = between.reads.iter().filter(|one| !names.contains(one)).collect();
            names.extend(more);
        }
    }
    warehouse.silver.iter().filter(|silver| names.contains(&&silver.table)).collect()
}

/// Which versions of a relation belong to which rows: columns of the rows, and what they are in the versions.
struct Near {
    /// As the mart's unit of refresh has it.
    unit: Vec<(String, String)>,
    /// Columns of the grain that the relation has, too.
    own: Vec<(String, String)>,
}

impl Near {
    fn of(mart: &Mart, silver: &Silver) -> Self {
        let mut unit = Vec::new();
        let mut told: BTreeSet<&str> = BTreeSet::new();
        match &mart.storage {
            Storage::Incremental { refresh: Refresh::Units(columns), .. } => {
                for column in columns {
                    for (_, value) in column.of.iter().filter(|(relation, _)| *relation == silver.table) {
                        unit.push((column.column.clone(), value.clone()));
                        told.insert(&column.column);
                    }
                }
            }
            Storage::Incremental { refresh: Refresh::Groups(groups), .. } => {
                let mut sources = groups.sources.iter().filter(|source| source.stored == silver.table);
                // Of a relation that is grouped twice a row may belong to either group.
                if let (Some(source), None) = (sources.next(), sources.next()) {
                    for (column, value) in mart.grain.iter().zip(&source.grain) {
                        if source.own.contains(column) {
                            unit.push((column.clone(), as_source(value, &source.alias)));
                            told.insert(column);
                        }
                    }
                }
            }
            Storage::View | Storage::MaterializedView => {}
        }
        let has = |name: &str| silver.columns.iter().any(|column| column.name == name);
        let rest = mart.grain.iter().filter(|column| !told.contains(column.as_str()) && has(column));
        let own = rest.map(|column| (column.clone(), quote::identifier(column))).collect();
        Self { unit, own }
    }

    /// What is computed of each version, so that its columns are nobody else's.
    fn values(&self) -> String {
        let all = self.unit.iter().chain(&self.own).enumerate();
        all.map(|(number, (_, value))| format!(", {value} AS m$value_{number}")).collect()
    }

    /// How near a version is, as an expression; NULL where it does not belong to the row.
    fn sql(&self) -> String {
        let same = |start: usize, columns: &[(String, String)]| {
            let same = (start..).zip(columns).map(|(number, (column, _))| {
                format!("shown.{} IS NOT DISTINCT FROM version.m$value_{number}", quote::identifier(column))
            });
            same.collect::<Vec<String>>().join(" AND ")
        };
        let (unit, own) = (same(0, &self.unit), same(self.unit.len(), &self.own));
        match (self.unit.is_empty(), self.own.is_empty()) {
            (true, true) => ANYBODY.to_string(),
            (true, false) => format!("CASE WHEN {own} THEN {OWN} END"),
            (false, true) => format!("CASE WHEN {unit} THEN {OWN} END"),
            (false, false) => {
                format!("CASE WHEN {unit} THEN CASE WHEN {own} THEN {OWN} ELSE {TOGETHER} END END")
            }
        }
    }
}

/// An expression of a mart's source, over a version: what it calls the source is the version.
fn as_source(value: &str, alias: &str) -> String {
    format!("(SELECT {value} FROM (SELECT version.*) AS {})", quote::identifier(alias))
}

/// The versions that began or ended, of the rows that are shown.
async fn stage_events(
    number: usize,
    silver: &Silver,
    near: &Near,
    [from, to]: [&str; 2],
    connection: &mut PgConnection,
) -> Result<()> {
    let (from, to) = (quote::literal(from), quote::literal(to));
    let moment = |column: &str| {
        format!(
            "SELECT version.*, {column} AS m$at{values}\nFROM {} AS version\n\
             WHERE {column} > {from}::timestamptz AND {column} <= {to}::timestamptz",
            stored_versions(silver),
            values = near.values(),
        )
    };
    let sql = format!(
        "CREATE TEMPORARY TABLE event_{number} ON COMMIT DROP AS\n\
         SELECT *\nFROM (\n\
         SELECT version.*, shown.m$row, {near} AS m$near\n\
         FROM (\n{}\nUNION ALL\n{}\n) AS version\n\
         CROSS JOIN pg_temp.shown\n\
         ) AS event\n\
         WHERE m$near IS NOT NULL",
        moment("m$known_from"),
        moment("m$known_to"),
        near = near.sql(),
    );
    let rows = statement::execute(connection, &sql).await?;
    statement::analyze(connection, &format!("pg_temp.event_{number}"), rows).await
}

/// What landed at the moments of a relation's events: in its own feed, in its journal, and in what it looks up.
async fn trace(
    warehouse: &Warehouse,
    silver: &Silver,
    (events, times): (&str, [&str; 2]),
    seen: &mut BTreeSet<Name>,
    number: usize,
    connection: &mut PgConnection,
) -> Result<()> {
    if !seen.insert(silver.table.clone()) {
        return Ok(());
    }
    land(warehouse, silver, events, times, connection).await?;
    for (place, lookup) in silver.lookups.iter().enumerate() {
        let Some(looked) = warehouse.silver.iter().find(|one| one.table == lookup.relation) else { continue };
        let (own, there): (Vec<&String>, Vec<&String>) =
            lookup.on.iter().map(|(own, there)| (own, there)).unzip();
        let table = format!("event_{number}_{}_{place}", seen.len());
        let sql = format!(
            "CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS\n\
             SELECT DISTINCT ON (event.m$row, event.m$near, event.m$at, {there_list}) looked.*, event.m$at, event.m$row, event.m$near\n\
             FROM {events} AS event\n\
             JOIN {versions} AS looked\n\
             ON {same} AND event.m$at IN (looked.m$known_from, looked.m$known_to)",
            there_list = quote::list("looked.", &there),
            versions = stored_versions(looked),
            same = statement::equal("event.", "looked.", &own, &there),
        );
        let rows = statement::execute(connection, &sql).await?;
        let table = format!("pg_temp.{table}");
        if rows > 0 {
            statement::analyze(connection, &table, rows).await?;
            Box::pin(trace(warehouse, looked, (&table, times), seen, number, connection)).await?;
        }
    }
    seen.remove(&silver.table);
    Ok(())
}

/// Where in a feed the changes between two times stand, as a condition: of the source's log positions and times rise
/// together, and the key finds positions. Elsewhere a poll, a file or a batch may tell of what was long ago, and nothing
/// but each row says when that was.
async fn between(
    warehouse: &Warehouse,
    feed: &Name,
    [from, to]: [&str; 2],
    connection: &mut PgConnection,
) -> Result<String> {
    let is_of_log = warehouse.reads_log() && warehouse.captured().iter().any(|one| one.table == *feed);
    if is_of_log
        && let Some(first) = after(feed, from, connection).await?
        && let Some(last) = after(feed, to, connection).await?
    {
        return Ok(format!("landed.lsn >= {first} AND landed.lsn < {last}"));
    }
    let [from, to] = [from, to].map(quote::literal);
    Ok(format!("landed.commit_ts > {from}::timestamptz AND landed.commit_ts <= {to}::timestamptz"))
}

/// The position from which on what has landed is later than a time, found by halves. Nothing where nothing has landed.
async fn after(feed: &Name, time: &str, connection: &mut PgConnection) -> Result<Option<i64>> {
    let sql = format!(
        "WITH RECURSIVE search AS (\n\
         SELECT min(lsn) AS first, max(lsn) + 1 AS last\nFROM {feed}\n\
         UNION ALL\n\
         SELECT CASE WHEN landed.later THEN search.first ELSE middle.lsn + 1 END,\n\
         CASE WHEN landed.later THEN middle.lsn ELSE search.last END\n\
         FROM search\n\
         CROSS JOIN LATERAL (SELECT search.first + (search.last - search.first) / 2) AS middle (lsn)\n\
         CROSS JOIN LATERAL (\n\
         SELECT landed.commit_ts > {time}::timestamptz AS later\nFROM {feed} AS landed\n\
         WHERE landed.lsn >= middle.lsn\nORDER BY landed.lsn, landed.seq\nLIMIT 1\n\
         ) AS landed\n\
         WHERE search.first < search.last\n\
         )\n\
         SELECT first FROM search WHERE first = last",
        feed = quote::name(feed),
        time = quote::literal(time),
    );
    let row = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_optional(connection).await;
    Ok(row.during(|| format!("cannot find a time in `{feed}`"))?.map(|row| row.get(0)))
}

/// The landed changes of a relation's keys at its events' moments.
async fn land(
    warehouse: &Warehouse,
    silver: &Silver,
    events: &str,
    times: [&str; 2],
    connection: &mut PgConnection,
) -> Result<()> {
    let between = between(warehouse, &silver.feed, times, connection).await?;
    let key: Vec<(&str, &str, &str)> = silver
        .columns
        .iter()
        .filter(|column| silver.key.contains(&column.name))
        .filter_map(|column| match &column.from {
            ColumnFrom::Field(field) => {
                Some((column.name.as_str(), field.as_str(), column.sql_type.as_str()))
            }
            ColumnFrom::Lookup { .. }
            | ColumnFrom::LookedUpHash { .. }
            | ColumnFrom::Computed { .. }
            | ColumnFrom::Composed { .. }
            | ColumnFrom::Change(_) => None,
        })
        .collect();
    let same: Vec<String> = key
        .iter()
        .map(|(name, field, sql_type)| {
            format!(
                "(landed.full_row ->> {})::{sql_type} = event.{}",
                quote::literal(field),
                quote::identifier(name)
            )
        })
        .collect();
    let fields: Vec<String> = key
        .iter()
        .map(|(_, field, _)| format!("{0}, landed.full_row -> {0}", quote::literal(field)))
        .collect();
    let sql = format!(
        "INSERT INTO pg_temp.cause\n\
         SELECT event.m$row, event.m$near, {feed_name}, landed.lsn, landed.seq, landed.commit_ts, landed.op,\n\
         CASE WHEN landed.op <> 'T' THEN jsonb_build_object({fields}) END\n\
         FROM {events} AS event\n\
         JOIN {feed} AS landed\n\
         ON landed.commit_ts = event.m$at AND {between}\n\
         AND CASE WHEN landed.op = 'T' THEN true ELSE {same} END",
        feed_name = quote::literal(&silver.feed.to_string()),
        fields = fields.join(", "),
        feed = quote::name(&silver.feed),
        same = same.join(" AND "),
    );
    statement::execute(connection, &sql).await?;
    journalled(silver, events, connection).await
}

/// What was written past the feed at its events' moments.
async fn journalled(silver: &Silver, events: &str, connection: &mut PgConnection) -> Result<()> {
    if let SilverKind::Dimension { start, journal: Some(journal), .. } = &silver.kind {
        let keys: Vec<&str> = silver.key.iter().map(String::as_str).collect();
        let fields: Vec<String> = keys
            .iter()
            .map(|key| format!("{}, journal.{}", quote::literal(key), quote::identifier(key)))
            .collect();
        let sql = format!(
            "INSERT INTO pg_temp.cause\n\
             SELECT event.m$row, event.m$near, {name}, NULL, journal.journal_id, journal.{start},\n\
             journal.journal_op, jsonb_build_object({fields})\n\
             FROM {events} AS event\n\
             JOIN {journal} AS journal\n\
             ON journal.{start} = event.m$at AND {same}",
            name = quote::literal(&journal.to_string()),
            start = quote::identifier(start),
            fields = fields.join(", "),
            journal = quote::name(journal),
            same = statement::equal("event.", "journal.", &keys, &keys),
        );
        statement::execute(connection, &sql).await?;
    }
    Ok(())
}

/// The nearest causes of each row, and how many there are.
async fn collect(limit: u32, connection: &mut PgConnection) -> Result<Causes> {
    let sql = format!(
        "SELECT m$row, landing, ('0/0'::pg_lsn + lsn)::text, seq, at::text, op, key::text, near, in_all\n\
         FROM (\n\
         SELECT *,\n\
         row_number() OVER (PARTITION BY m$row ORDER BY near, at, lsn, seq, landing) AS place,\n\
         count(*) OVER (PARTITION BY m$row) AS in_all\n\
         FROM (\n\
         SELECT m$row, landing, lsn, seq, at, op, key, min(m$near) AS near\n\
         FROM pg_temp.cause\n\
         GROUP BY m$row, landing, lsn, seq, at, op, key\n\
         ) AS once\n\
         ) AS placed\n\
         WHERE place <= {limit}\n\
         ORDER BY m$row, place"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_all(connection)
        .await
        .during(|| "cannot read what made the difference".to_owned())?;
    let mut causes = Causes::new();
    for row in rows {
        let (of_row, in_all) = causes.entry(row.get(0)).or_default();
        *in_all = u64::try_from(row.get::<i64, _>(8)).unwrap_or_default();
        of_row.push(Cause {
            table: row.get(1),
            lsn: row.get(2),
            seq: row.get(3),
            time: row.get(4),
            op: row.get(5),
            key: values(row.get(6))?,
            own: row.get::<i32, _>(7) == OWN,
        });
    }
    Ok(causes)
}
