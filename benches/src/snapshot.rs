//! The landing of a snapshot against the same rows through a pipe: `COPY (SELECT to_jsonb(t) …) TO` of the source, bytes
//! handed on as they come, `COPY … FROM` into a table like bronze's.

use futures_util::StreamExt as _;
use medallion_runtime::capture;
use medallion_runtime::descriptor::{Name, Warehouse};
use medallion_runtime::place::Place;
use medallion_server::Server;
use sqlx::PgConnection;

use crate::Error;
use crate::curve::count;
use crate::made::{execute, made, session};
use crate::one_row::SPEC;
use crate::record::{Goal, Line, Record, float};
use crate::scale::{Scale, Size};
use crate::stopwatch::{self, Measured};

/// The source's table.
pub const TABLE: &str = "
    CREATE TABLE customer (
        customer_id integer PRIMARY KEY, store_id integer, first_name text, last_name text, email text, active boolean,
        last_update timestamptz NOT NULL
    )";

/// Its rows.
pub const ROWS: &str = "
    INSERT INTO customer
    SELECT id, id % 500, 'first ' || id % 5000, 'last ' || id % 50000, 'mail' || id || '@example.com', id % 9 > 0, '2025-01-01'
    FROM generate_series({first}, {last}) AS id";

const OUT: &str = "COPY (
        SELECT 1, 'I', to_jsonb(customer), timestamptz '2025-01-01', row_number() OVER () FROM customer
    ) TO STDOUT";

const IN: &str = "COPY piped (lsn, op, full_row, commit_ts, seq) FROM STDIN";

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let rows: u64 = scale.of(20_000, 1_000_000, 10_000_000);
    let server = Server::scratch()?;
    server.ensure_database("shop")?;
    let source = server.url("shop");
    let mut shop = session(&source).await?;
    execute(TABLE, &mut shop).await?;
    execute(&ROWS.replace("{first}", "1").replace("{last}", &rows.to_string()), &mut shop).await?;
    execute("VACUUM ANALYZE customer", &mut shop).await?;
    let (mut ours, mut piped) = (Vec::new(), Vec::new());
    let before = stopwatch::peak_memory();
    // The first time warms.
    for run in 0..=scale.runs {
        server.ensure_database("warehouse")?;
        let place = Place {
            source: source.clone(),
            warehouse: server.url("warehouse"),
            bronze: None,
            embedded: None,
        };
        let mut target = session(&place.warehouse).await?;
        let warehouse = made(SPEC, &mut target).await?;
        execute("CHECKPOINT", &mut target).await?;
        let landed = land(&warehouse, &place, rows, &mut target).await?;
        execute("CREATE TABLE piped (LIKE bronze.br_customer INCLUDING ALL)", &mut target).await?;
        execute("CHECKPOINT", &mut target).await?;
        let by_pipe = pipe(&mut shop, &mut target).await?;
        drop(target);
        server.drop_database("warehouse")?;
        execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; DROP PUBLICATION bench",
            &mut shop,
        )
        .await?;
        if run > 0 {
            ours.push(landed);
            piped.push(by_pipe);
        }
    }
    let seconds = |all: &[Measured]| all.iter().map(|one| one.seconds).collect::<Vec<_>>();
    let what = format!("a snapshot of {} rows", count(float(rows)));
    let line = Line::beside(&what, &seconds(&ours), "`COPY` through a pipe", &seconds(&piped)).map(|line| {
        let goal = Goal::AtMostTimes(1.2);
        let log = ours.iter().filter_map(|one| one.log).min();
        let line = line.rows(rows).peak_memory(stopwatch::peak_memory());
        let line = if scale.size == Size::Small { line } else { line.goal(goal) };
        log.map_or_else(|| line.clone(), |log| line.clone().log(log))
    });
    let grown = stopwatch::peak_memory().zip(before).map(|(now, before)| (now - before) >> 20);
    let notes = grown.map(|grown| format!("Our process grew by {grown} MiB while the snapshots landed."));
    Ok(Record { lines: line.into_iter().collect(), notes: notes.into_iter().collect(), ..Record::default() })
}

async fn land(
    warehouse: &Warehouse,
    place: &Place,
    rows: u64,
    target: &mut PgConnection,
) -> Result<Measured, Error> {
    let running = stopwatch::start_on(target).await?;
    let captured = capture::capture_at(warehouse, place, target, &mut Quiet).await?;
    let measured = running.stop_on(target).await?;
    if captured.rows() == rows {
        Ok(measured)
    } else {
        Err(format!("{} rows landed", captured.rows()).into())
    }
}

async fn pipe(source: &mut PgConnection, target: &mut PgConnection) -> Result<Measured, Error> {
    let running = stopwatch::start_on(target).await?;
    let mut copy = target.copy_in_raw(IN).await?;
    {
        let mut rows = source.copy_out_raw(OUT).await?;
        while let Some(bytes) = rows.next().await {
            copy.send(bytes?).await?;
        }
    }
    copy.finish().await?;
    Ok(running.stop_on(target).await?)
}

pub struct Quiet;

impl capture::Progress for Quiet {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}
}
