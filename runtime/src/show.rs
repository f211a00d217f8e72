//! What there is to know of one relation: what it reads and who reads it, how its rows come to be and are kept, the SQL
//! that defines it, what it cost of late, and how PostgreSQL would compute it. Only reads.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::connection::{self, Database};
use crate::descriptor::{
    Change, ColumnFrom, LookupTime, Mart, Name, Refresh, Silver, SilverKind, Storage, Tracking, Unit,
    Warehouse,
};
use crate::error::{During as _, Result};
use crate::place::Place;
use crate::select::{Graph, Kind};
use crate::{migrate, quote, statement};

/// So many of the last runs that did something to it are told.
const RUNS: i64 = 5;

/// A relation, explained.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: Kind,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it reads.
    pub reads: Vec<Name>,
    /// What reads it.
    pub read_by: Vec<Name>,
    /// How its rows come to be, in sentences.
    pub strategy: Vec<String>,
    /// Its columns and where they come from; of a mart the SQL says it.
    pub columns: Vec<(String, String)>,
    /// The query that defines it; what is landed and applied has none.
    pub sql: Option<String>,
    /// What the last runs did to it.
    pub costs: Vec<Cost>,
    /// How PostgreSQL would read it, or compute it from its definition.
    pub plan: Vec<String>,
}

/// What a run did to a relation.
#[derive(Clone, Debug)]
pub struct Cost {
    /// When the run began.
    pub began: String,
    /// Rows that came or went.
    pub rows: i64,
    /// How long it took.
    pub seconds: f64,
}

/// Whether the query is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// It is planned only.
    Only,
    /// It is run, and what it took is told.
    AndRun,
}

/// Explains a relation.
pub async fn show(warehouse: &Warehouse, place: &Place, name: &Name, planned: Planned) -> Result<Shown> {
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await?;
    migrate::check(warehouse, &mut target).await?;
    let failed = || "cannot ask in one transaction".to_owned();
    let mut transaction = target.begin().await.during(failed)?;
    statement::execute(&mut transaction, "SET TRANSACTION READ ONLY").await?;
    let shown = read(warehouse, name, planned, &mut transaction).await?;
    transaction.rollback().await.during(failed)?;
    Ok(shown)
}

async fn read(
    warehouse: &Warehouse,
    name: &Name,
    planned: Planned,
    connection: &mut PgConnection,
) -> Result<Shown> {
    let graph = Graph::of(warehouse);
    let node = graph.nodes.get(name).expect("only what was selected is shown");
    let mut shown = Shown {
        name: name.clone(),
        kind: node.kind,
        tags: node.tags.iter().map(|&tag| tag.to_owned()).collect(),
        reads: node.reads.iter().map(|&read| read.clone()).collect(),
        read_by: graph
            .nodes
            .iter()
            .filter(|(_, other)| other.reads.contains(&name))
            .map(|(other, _)| (*other).clone())
            .collect(),
        strategy: Vec::new(),
        columns: Vec::new(),
        sql: None,
        costs: costs(name, connection).await?,
        plan: Vec::new(),
    };
    let mut asked = name.clone();
    if let Some(landing) = warehouse.landings.iter().find(|one| one.table == *name) {
        let key = landing.key.join(", ");
        shown
            .strategy
            .push(format!("every change of `{}` as it came, by ({key}); append only", landing.source));
    } else if let Some(silver) = warehouse.silver.iter().find(|one| one.table == *name) {
        shown.strategy = of_silver(silver);
        shown.columns = columns(silver);
        if let SilverKind::Dimension { current, .. } = &silver.kind {
            asked = current.clone();
        }
    } else if let Some(mart) = warehouse.marts.iter().find(|one| one.table == *name) {
        shown.strategy = of_mart(mart);
        if let Storage::Incremental { definition, .. } = &mart.storage {
            asked = definition.clone();
        }
    } else {
        shown.strategy.push("one row a day; computed when it is asked".to_owned());
    }
    if matches!(node.kind, Kind::Mart | Kind::Calendar) {
        let sql = format!("SELECT pg_get_viewdef({}::regclass, true)", quote::literal(&quote::name(&asked)));
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *connection).await;
        let sql: String = row.during(|| format!("cannot read the definition of `{name}`"))?.get(0);
        shown.sql = Some(sql.trim().to_owned());
    }
    // What was computed once is read as a table, and the question is what computing it would be.
    let sql = match (&shown.sql, shown.kind) {
        (Some(sql), _) => sql.trim_end_matches(';').to_owned(),
        (None, _) => format!("SELECT * FROM {}", quote::name(&asked)),
    };
    let how = match planned {
        Planned::Only => "",
        Planned::AndRun => "(ANALYZE, BUFFERS) ",
    };
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN {how}{sql}"))).fetch_all(connection).await;
    let rows = rows.during(|| format!("cannot plan `{name}`"))?;
    shown.plan = rows.iter().map(|row| row.get(0)).collect();
    Ok(shown)
}

/// What the last runs did to a relation, the latest first.
async fn costs(name: &Name, connection: &mut PgConnection) -> Result<Vec<Cost>> {
    let rows = sqlx::query(
        "SELECT start_time::text, (cost ->> 'rows')::bigint, (cost ->> 'seconds')::float8 \
         FROM medallion.pipeline_metadata \
         CROSS JOIN LATERAL (SELECT coalesce(performance_metrics -> 'applied' -> $1, \
         performance_metrics -> 'refreshed' -> $1) AS cost) AS told \
         WHERE jsonb_typeof(cost) = 'object' \
         ORDER BY id DESC LIMIT $2",
    )
    .bind(name.to_string())
    .bind(RUNS)
    .fetch_all(connection)
    .await
    .during(|| "cannot read what runs cost".to_owned())?;
    let cost = |row: &sqlx::postgres::PgRow| Cost {
        began: row.get(0),
        rows: row.get::<Option<i64>, _>(1).unwrap_or_default(),
        seconds: row.get::<Option<f64>, _>(2).unwrap_or_default(),
    };
    Ok(rows.iter().map(cost).collect())
}

fn of_silver(silver: &Silver) -> Vec<String> {
    let key = silver.key.join(", ");
    let mut strategy = match &silver.kind {
        SilverKind::Dimension { current, start, end, journal, .. } => {
            let mut strategy = vec![
                format!(
                    "every version of ({key}) from `{start}` until `{end}`; `{current}` has the current ones"
                ),
                "changed keys go on from their last version; where the past changed they are computed anew"
                    .to_owned(),
            ];
            if let Some(journal) = journal {
                strategy.push(format!("others may write to it: `{journal}` has what they wrote"));
            }
            strategy
        }
        SilverKind::Fact { archive, partition_by, partition_every, .. } => vec![
            format!("the latest state of ({key}); `{archive}` has the earlier ones"),
            format!("a partition each {} of `{partition_by}`, made as rows need it", unit(*partition_every)),
        ],
    };
    for lookup in &silver.lookups {
        let on: Vec<String> = lookup.on.iter().map(|(own, there)| format!("{own} = {there}")).collect();
        let time = match &lookup.at {
            LookupTime::SystemTime => "as it is at the same system time".to_owned(),
            LookupTime::OwnTime(column) => format!("as it was at `{column}`"),
        };
        strategy.push(format!("`{}` is `{}` by {}, {time}", lookup.alias, lookup.relation, on.join(", ")));
    }
    strategy
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Quarter => "quarter",
        Unit::Year => "year",
    }
}

fn columns(silver: &Silver) -> Vec<(String, String)> {
    let columns = silver.columns.iter().map(|column| {
        let from = match &column.from {
            ColumnFrom::Field(field) => field.clone(),
            ColumnFrom::Lookup { lookup, column } => format!("{lookup}.{column}"),
            ColumnFrom::Computed { sql, .. } | ColumnFrom::Composed { sql, .. } => sql.clone(),
            ColumnFrom::LookedUpHash { lookup, .. } => format!("a hash of {lookup}"),
            ColumnFrom::Change(change) => of_change(*change).to_owned(),
        };
        let tracked = match column.tracking {
            Tracking::Tracked => "",
            Tracking::Untracked => ", makes no version",
            Tracking::Opening => ", as the version began",
        };
        (column.name.clone(), format!("{} from {from}{tracked}", column.sql_type))
    });
    columns.collect()
}

fn of_change(change: Change) -> &'static str {
    match change {
        Change::Operation | Change::Letter => "the change: what it did",
        Change::Time => "the change: its time",
        Change::Position => "the change: its position",
        Change::Landed => "the change: when it landed",
        Change::Batch => "the change: the batch that it landed in",
        Change::BatchId => "the change: the batch that its file says",
    }
}

fn of_mart(mart: &Mart) -> Vec<String> {
    let grain = mart.grain.join(", ");
    let mut strategy = vec![format!("one row by ({grain})")];
    match &mart.storage {
        Storage::View => strategy.push("computed when it is asked".to_owned()),
        Storage::MaterializedView => {
            strategy.push("computed as a whole when something that it reads has changed".to_owned());
        }
        Storage::Incremental { refresh, .. } => {
            let told = |read: &&Name| match refresh {
                Refresh::Units(unit) => {
                    !unit.is_empty()
                        && unit.iter().all(|column| column.of.iter().any(|(name, _)| name == *read))
                }
                Refresh::Groups(groups) => groups.sources.iter().any(|source| {
                    let joined = source.joins.iter().any(|join| join.stored == **read);
                    source.told && (joined || source.stored == **read)
                }),
            };
            let by: Vec<&str> = match refresh {
                Refresh::Units(unit) => unit.iter().map(|column| column.column.as_str()).collect(),
                Refresh::Groups(_) => mart.grain.iter().map(String::as_str).collect(),
            };
            let all: Vec<String> = mart.reads.iter().filter(told).map(|read| format!("`{read}`")).collect();
            strategy.push(if all.is_empty() {
                "computed as a whole when something that it reads has changed; rows that differ are written"
                    .to_owned()
            } else {
                format!(
                    "a change of {} refreshes its ({}), before and after; any other computes the whole",
                    all.join(" or "),
                    by.join(", ")
                )
            });
        }
    }
    strategy
}
