//! How long changes take to land in bronze, beside merely counting them with the peek function on the same slot; and a
//! COPY of the same rows, ready in a file, into a table of the same kind, which nobody can do without. Single-row changes
//! of Pagila's rentals, a table of seven columns, written in transactions of several sizes.

use futures_util::StreamExt as _;
use medallion_runtime::capture::{self, Captured};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Name, Warehouse};
use medallion_runtime::place::Place;
use medallion_runtime::{migrate, script};
use medallion_server::Server;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use crate::Error;
use crate::curve::{count, duration};
use crate::made::{execute, session};
use crate::record::{Goal, Line, Record, Spread, float};
use crate::scale::{Scale, Size};
use crate::stopwatch;

const COLUMNS: &str = "lsn, op, full_row, commit_ts, seq";

/// A table like bronze's, which notes what lands past the loader as that one does.
const TWIN: &str = "
    DROP TABLE IF EXISTS public.twin;
    CREATE TABLE public.twin (LIKE cdc_bronze.br_rental_cdc INCLUDING ALL);
    CREATE TRIGGER note_late
        AFTER INSERT ON public.twin
        FOR EACH ROW
        WHEN (current_setting('medallion.landing', true) IS DISTINCT FROM 'on')
        EXECUTE FUNCTION medallion.note_late()";

/// What was measured of one size of transactions, in seconds.
#[derive(Default)]
struct Times {
    landed: Vec<f64>,
    counted: Vec<f64>,
    copied: Vec<f64>,
    log: Option<u64>,
}

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let changes: u64 = scale.of(10_000, 200_000, 1_000_000);
    let server = Server::scratch()?;
    let warehouse = warehouse::pagila::warehouse();
    let place = open(&server, &warehouse).await?;
    let mut source = connection::connect(Database::Source, &place.source).await?;
    let mut bronze = session(&place.warehouse).await?;
    let before = stopwatch::peak_memory();
    let sizes = [1, 1_000, changes];
    let mut times = sizes.map(|_| Times::default());
    // The first time warms.
    for run in 0..=scale.runs {
        for (size, times) in sizes.iter().zip(&mut times) {
            let last = highest(&mut bronze).await?;
            write(changes, *size, &mut source).await?;
            let running = stopwatch::start();
            peek(&warehouse, &mut source).await?;
            let counted = running.stop();
            let running = stopwatch::start_on(&mut bronze).await?;
            let captured = land(&warehouse, &place).await?;
            let landed = running.stop_on(&mut bronze).await?;
            if captured.rows() != changes {
                return Err(format!("{} of {changes} changes have landed", captured.rows()).into());
            }
            let copied = copy(last, &place, &mut bronze).await?;
            if run > 0 {
                times.landed.push(landed.seconds);
                times.counted.push(counted);
                times.copied.push(copied);
                times.log = landed.log;
            }
        }
    }
    let mut record = Record::default();
    let peak = stopwatch::peak_memory();
    for (size, times) in sizes.iter().zip(&times) {
        let together = if *size == 1 {
            "each a transaction".to_owned()
        } else {
            format!("{} a transaction", count(float(*size)))
        };
        let what = format!("{} changes, {together}", count(float(changes)));
        let line = Line::beside(&what, &times.landed, "counting them by peek", &times.counted);
        record.lines.extend(line.map(|line| {
            let line = line.rows(changes).peak_memory(peak).log(times.log.unwrap_or_default());
            if scale.size == Size::Small { line } else { line.goal(Goal::AtMostTimes(1.6)) }
        }));
        if let Some(copied) = Spread::of(times.copied.iter().copied()) {
            record.notes.push(format!(
                "{what}: `COPY` of the same rows into a table of the same kind, by itself, took {}.",
                duration(copied.median)
            ));
        }
    }
    record.notes.push(
        "The log is decoded by one process, and the rows are written by another; so two processors cannot do it in less than \
         half of what counting and copying take together."
            .to_owned(),
    );
    if let Some((before, peak)) = before.zip(peak) {
        record.notes.push(format!(
            "Our process had {} MB before, and {} MB at most.",
            before / 1_000_000,
            peak / 1_000_000
        ));
    }
    Ok(record)
}

/// The sample's source, captured up to now.
async fn open(server: &Server, warehouse: &Warehouse) -> Result<Place, Error> {
    server.ensure_database("shop")?;
    server.ensure_database("warehouse")?;
    let place = Place {
        source: server.url("shop"),
        warehouse: server.url("warehouse"),
        bronze: None,
        embedded: None,
    };
    for script in [warehouse.scripts.source, warehouse.scripts.sample].into_iter().flatten() {
        script::execute(Database::Source, &place.source, "script.sql", script).await?;
    }
    migrate::up(warehouse, &place).await?;
    land(warehouse, &place).await?;
    Ok(place)
}

/// An insert and an update, over and over.
async fn write(changes: u64, together: u64, source: &mut PgConnection) -> Result<(), Error> {
    let sql = format!(
        "DO $$
        DECLARE
            first bigint := (SELECT max(rental_id) FROM rental);
        BEGIN
            FOR change IN 1 .. {changes} LOOP
                IF change % 2 = 1 THEN
                    INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id)
                    VALUES (first + change, clock_timestamp(), 1 + change % 2000, 1 + change % 400, 1);
                ELSE
                    UPDATE rental SET return_date = clock_timestamp() WHERE rental_id = first + change - 1;
                END IF;
                IF change % {together} = 0 THEN
                    COMMIT;
                END IF;
            END LOOP;
        END
        $$"
    );
    execute(&sql, source).await?;
    Ok(())
}

/// Counts the messages of everything that waits.
async fn peek(warehouse: &Warehouse, source: &mut PgConnection) -> Result<(), Error> {
    let sql = format!(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes(
            '{}', NULL, NULL, 'proto_version', '1', 'publication_names', '{}'
        )",
        warehouse.source.slot, warehouse.source.publication
    );
    execute(&sql, source).await?;
    Ok(())
}

async fn land(warehouse: &Warehouse, place: &Place) -> Result<Captured, Error> {
    let mut target = session(&place.warehouse).await?;
    Ok(capture::capture_at(warehouse, place, &mut target, &mut Quiet).await?)
}

/// The position of the last rental in bronze.
async fn highest(bronze: &mut PgConnection) -> Result<i64, Error> {
    let row = bronze.fetch_one("SELECT coalesce(max(lsn), 0) FROM cdc_bronze.br_rental_cdc").await?;
    Ok(row.try_get(0)?)
}

/// Takes what landed above a position out as it is sent, and measures how long it takes to go in again.
async fn copy(last: i64, place: &Place, bronze: &mut PgConnection) -> Result<f64, Error> {
    let out = format!(
        "COPY (SELECT {COLUMNS} FROM cdc_bronze.br_rental_cdc WHERE lsn > {last} ORDER BY lsn, seq) TO STDOUT (FORMAT binary)"
    );
    let mut file = tempfile::tempfile()?;
    {
        let mut rows = bronze.copy_out_raw(&out).await?;
        while let Some(row) = rows.next().await {
            std::io::Write::write_all(&mut file, &row?)?;
        }
    }
    std::io::Seek::rewind(&mut file)?;
    execute(TWIN, bronze).await?;
    let mut target = session(&place.warehouse).await?;
    let running = stopwatch::start();
    let mut transaction = target.begin().await?;
    execute("SELECT set_config('medallion.landing', 'on', true)", &mut transaction).await?;
    let statement = format!("COPY public.twin ({COLUMNS}) FROM STDIN (FORMAT binary)");
    let mut copy = transaction.copy_in_raw(&statement).await?;
    let mut buffer = vec![0; 512 << 10];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            break;
        }
        copy.send(&buffer[..read]).await?;
    }
    copy.finish().await?;
    transaction.commit().await?;
    Ok(running.stop())
}

struct Quiet;

impl capture::Progress for Quiet {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}
}
