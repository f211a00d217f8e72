//! How long a change takes from the source's commit until it is seen in the warehouse, under `watch` and a steady stream
//! of changes: told for every row by the warehouse's own commit timestamps. Silver and the stored marts are published in
//! one transaction, so that one figure is that of both.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::place::Place;
use medallion_runtime::{migrate, script};
use medallion_server::Server;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};
use tempfile::NamedTempFile;

use crate::Error;
use crate::curve::count;
use crate::made::{execute, session};
use crate::record::{Goal, Line, Record, float};
use crate::scale::{Scale, Size};

/// The warehouses, which stand beside this program.
const PROGRAM: &str = "warehouse";

/// Sessions that write.
const WRITERS: u64 = 4;

/// Changes a second, and in a transaction.
const RATES: [(u64, u64); 2] = [(1_000, 1), (10_000, 10)];

/// What is looked at, and the column that has the source's commit.
const RELATIONS: [(&str, &str, &str); 2] = [
    ("in a dimension", "temporal_silver.dim_customer_hist", "sys_start"),
    ("in a fact and its marts", "temporal_silver.fact_payment", "snapshot_ts"),
];

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let seconds = scale.of(3, 10, 30);
    let mut record = Record::default();
    for (rate, together) in RATES {
        record.lines.extend(at(rate, together, seconds, scale.size).await?);
    }
    record.notes.push(
        "Source and warehouse are two servers of one machine, and who writes is there as well.".to_owned(),
    );
    Ok(record)
}

async fn at(rate: u64, together: u64, seconds: u64, size: Size) -> Result<Vec<Line>, Error> {
    let (shop, target) = (Server::scratch()?, Server::scratch()?);
    let place = open(&shop, &target).await?;
    let mut session = session(&place.warehouse).await?;
    let watch = Watch::start(&place)?;
    until("SELECT count(*) > 0 FROM temporal_silver.dim_customer", "true", &mut session).await?;
    let began = value("SELECT clock_timestamp()::text", &mut session).await?;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(place.source.clone(), writer, rate / WRITERS, together, seconds)))
        .collect();
    for writer in writers {
        writer.await?.map_err(|error| format!("who writes at the source has failed: {error}"))?;
    }
    let mut source = connection::connect(Database::Source, &place.source).await?;
    let payments = value("SELECT count(*)::text FROM payment", &mut source).await?;
    until("SELECT count(*)::text FROM temporal_silver.fact_payment", &payments, &mut session).await?;
    until("SELECT sum(payments)::text FROM simple_gold.vw_monthly_revenue", &payments, &mut session).await?;
    let mut lines = Vec::new();
    for (what, relation, time) in RELATIONS {
        let ages = percentiles(&mut session, relation, time, &began).await?;
        for (part, age) in [("half of them", ages[0]), ("99 of 100", ages[1])] {
            let what = format!("{} changes a second, {what}, {part}", count(float(rate)));
            let line = Line::alone(&what, &[age]);
            let is_held = part == "99 of 100" && size != Size::Small && !cfg!(debug_assertions);
            lines.extend(line.map(|line| if is_held { line.goal(Goal::Seconds(0.5)) } else { line }));
        }
    }
    watch.end()?;
    Ok(lines)
}

/// The sample's source and an empty warehouse that keeps the time of each commit.
async fn open(shop: &Server, target: &Server) -> Result<Place, Error> {
    shop.ensure_database("shop")?;
    target.ensure_database("warehouse")?;
    let place =
        Place { source: shop.url("shop"), warehouse: target.url("warehouse"), bronze: None, embedded: None };
    execute("ALTER SYSTEM SET track_commit_timestamp = on", &mut session(&place.warehouse).await?).await?;
    target.stop()?;
    target.start()?;
    let warehouse = warehouse::pagila::warehouse();
    for script in [warehouse.scripts.source, warehouse.scripts.sample].into_iter().flatten() {
        script::execute(Database::Source, &place.source, "script.sql", script).await?;
    }
    migrate::up(&warehouse, &place).await?;
    Ok(place)
}

/// The warehouses' program.
pub fn program() -> Result<PathBuf, Error> {
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    if program.exists() {
        return Ok(program);
    }
    let at = program.display();
    Err(format!("{at} is not there\n  = build the whole workspace: `make bench` does").into())
}

/// `watch`, in a process of its own, which ends with this.
struct Watch {
    child: Child,
    /// What it says, told where it fails.
    said: NamedTempFile,
}

impl Watch {
    fn start(place: &Place) -> Result<Self, Error> {
        let said = NamedTempFile::new()?;
        let child = Command::new(program()?)
            .args(["--warehouse", "pagila", "watch"])
            .env("SOURCE_DATABASE_URL", &place.source)
            .env("DATABASE_URL", &place.warehouse)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.reopen()?)
            .spawn()?;
        Ok(Self { child, said })
    }

    fn end(mut self) -> Result<(), Error> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let ended = self.child.wait()?;
        let said = std::fs::read_to_string(self.said.path())?;
        if ended.success() { Ok(()) } else { Err(format!("`watch` ended with {ended}: {said}").into()) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Transactions at a steady pace: something goes out, it is paid, a customer moves on.
async fn write(url: String, writer: u64, rate: u64, together: u64, seconds: u64) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let mut session: PgConnection =
        connection::connect(Database::Source, &url).await.map_err(|error| said(&error))?;
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 * together / rate));
    for change in 0..rate * seconds / together {
        ticks.tick().await;
        let first = 1_000_000 * (writer + 1) + change * together;
        // A customer is another one's each time, so that no two sessions wait for each other.
        let customers = format!("1 + (number * {WRITERS} + {writer}) % 400");
        let numbers = format!("FROM generate_series({first}::bigint, {}) AS number", first + together - 1);
        let sql = match change % 4 {
            0 => format!(
                "INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id)
                SELECT number, now(), 1 + number % 2000, {customers}, 1 {numbers}"
            ),
            1 => format!(
                "UPDATE customer SET email = number || '@post.example'
                FROM (SELECT number {numbers}) AS numbers WHERE customer_id = {customers}"
            ),
            _ => format!(
                "INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
                SELECT number, {customers}, 1, {}, 4.99, now() {numbers}",
                1 + change % 100
            ),
        };
        session.execute(AssertSqlSafe(sql)).await.map_err(|error| said(&error))?;
    }
    Ok(())
}

/// Asks until the answer is this one.
async fn until(sql: &str, wanted: &str, session: &mut PgConnection) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let found = value(&format!("SELECT ({sql})::text"), session).await?;
        if found == wanted {
            return Ok(());
        }
        if began.elapsed() > Duration::from_mins(5) {
            return Err(format!("after five minutes it is {found} and not {wanted}: {sql}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn value(sql: &str, session: &mut PgConnection) -> Result<String, Error> {
    let row = session.fetch_one(AssertSqlSafe(sql.to_owned())).await?;
    Ok(row.try_get::<Option<String>, _>(0)?.unwrap_or_default())
}

/// From the source's commit to the warehouse's, in seconds: of half of the rows, and of 99 in 100. Who ended a version has
/// written it last, so that of dimensions only current ones tell.
async fn percentiles(
    session: &mut PgConnection,
    relation: &str,
    time: &str,
    began: &str,
) -> Result<Vec<f64>, Error> {
    let current = if time == "sys_start" { " AND sys_end = 'infinity'" } else { "" };
    let sql = format!(
        "SELECT percentile_disc('{{0.5, 0.99}}'::float8[]) WITHIN GROUP (ORDER BY age)
        FROM (
            SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - {time})::float8 AS age
            FROM {relation}
            WHERE {time} > '{began}'{current}
        ) AS rows"
    );
    Ok(session.fetch_one(AssertSqlSafe(sql)).await?.try_get(0)?)
}
