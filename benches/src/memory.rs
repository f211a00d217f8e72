//! What the largest take of memory: one transaction of millions of rows, and the snapshot of a table twice as large. Both
//! land in this process, whose peak is told for each by itself.

use medallion_runtime::capture;
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::place::Place;
use medallion_server::Server;
use sqlx::PgConnection;

use crate::Error;
use crate::curve::count;
use crate::made::{execute, made, session};
use crate::one_row::SPEC;
use crate::record::{Goal, Line, Record, float};
use crate::scale::Scale;
use crate::snapshot::{Quiet, ROWS, TABLE};
use crate::stopwatch;

/// What our process may have, in bytes.
const GOAL: Goal = Goal::Memory(200_000_000);

/// Ends the capture, so that the next one begins with a snapshot.
const END: &str =
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; DROP PUBLICATION bench";

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let rows: u64 = scale.of(20_000, 500_000, 5_000_000);
    let server = Server::scratch()?;
    server.ensure_database("shop")?;
    let mut shop = session(&server.url("shop")).await?;
    execute(TABLE, &mut shop).await?;

    let (place, warehouse, mut target) = open(&server, "one").await?;
    capture::capture_at(&warehouse, &place, &mut target, &mut Quiet).await?;
    execute(&filled(1, rows), &mut shop).await?;
    let what = format!("one transaction of {} rows", count(float(rows)));
    let transaction = land(&what, rows, &warehouse, &place, &mut target).await?;
    execute(END, &mut shop).await?;

    execute(&filled(rows + 1, 2 * rows), &mut shop).await?;
    execute("VACUUM ANALYZE customer", &mut shop).await?;
    let (place, warehouse, mut target) = open(&server, "two").await?;
    let what = format!("a snapshot of {} rows", count(float(2 * rows)));
    let snapshot = land(&what, 2 * rows, &warehouse, &place, &mut target).await?;
    execute(END, &mut shop).await?;
    Ok(Record { lines: transaction.into_iter().chain(snapshot).collect(), ..Record::default() })
}

fn filled(first: u64, last: u64) -> String {
    ROWS.replace("{first}", &first.to_string()).replace("{last}", &last.to_string())
}

/// An empty warehouse.
async fn open(server: &Server, name: &str) -> Result<(Place, Warehouse, PgConnection), Error> {
    server.ensure_database(name)?;
    let place =
        Place { source: server.url("shop"), warehouse: server.url(name), bronze: None, embedded: None };
    let mut target = session(&place.warehouse).await?;
    let warehouse = made(SPEC, &mut target).await?;
    Ok((place, warehouse, target))
}

/// Lands what waits, once: a peak is no matter of luck.
async fn land(
    what: &str,
    rows: u64,
    warehouse: &Warehouse,
    place: &Place,
    target: &mut PgConnection,
) -> Result<Option<Line>, Error> {
    stopwatch::forget_peak_memory();
    let running = stopwatch::start();
    let captured = capture::capture_at(warehouse, place, target, &mut Quiet).await?;
    let seconds = running.stop();
    if captured.rows() != rows {
        return Err(format!("{} of {rows} rows have landed", captured.rows()).into());
    }
    let line = Line::alone(what, &[seconds]);
    Ok(line.map(|line| line.rows(rows).peak_memory(stopwatch::peak_memory()).goal(GOAL)))
}
