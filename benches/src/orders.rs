//! How long changed orders take from a source to `dim_orders_history`: by polling, as `spec/orders` has it, and by log, as
//! the same warehouse has it where it may read one, each a whole run with its marts and tests; and beside them a loop in
//! Python that takes one row after the other, as tutorials have it, with a commit a row and with a commit a thousand rows.
//! A server for the source and one for the warehouses. The loop gets the first rows of each round only, and the time that
//! it would take for all of them is what is compared.

use std::path::Path;
use std::process::Command;

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::{migrate, run, script};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::curve::count;
use crate::made::{execute, session};
use crate::record::{Curve, Goal, Line, Record, Spread, float};
use crate::scale::Scale;
use crate::{Error, neighbours, stopwatch};

/// How many rows the loop gets a round.
const OF_THE_LOOP: u64 = 5_000;
/// After how many rows the loops commit.
const COMMITS: [u64; 2] = [1, 1_000];

const PACKAGES: [&str; 1] = ["psycopg[binary]>=3.2,<4"];
const LOOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/row_by_row/load.py");
const HISTORY: &str = include_str!("../row_by_row/history.sql");

/// Orders as they come, in the source's columns.
const ORDERS: &str = "
    SELECT id, 1 + id * 7 % 400, 1 + id * 13 % 40, 1 + id % 5, 9.99, (1 + id % 5) * 9.99, 'placed', came, came, came
    FROM generate_series(1, {rows}) AS id
    CROSS JOIN (VALUES (timestamptz '2026-01-01 00:00+00')) AS at (came)";

/// Each order moves on, in no order of theirs.
const CHANGES: &str = "
    DO $$
    DECLARE
        one integer;
    BEGIN
        FOR one IN SELECT id FROM orders ORDER BY md5(id::text || '{round}') LOOP
            UPDATE orders
            SET
                order_status = (ARRAY['confirmed', 'shipped', 'delivered', 'cancelled'])[1 + (id + {round}) % 4],
                last_updated = clock_timestamp()
            WHERE id = one;
            COMMIT;
        END LOOP;
    END
    $$";

/// What stands at the source, or as current versions.
const STANDING: &str = "
    SELECT md5(string_agg(concat_ws('|', {key}, customer_id, product_id, quantity, unit_price, total_amount, order_status), ','
        ORDER BY {key}))
    FROM {relation}";

/// A way from the source to a history.
struct Way {
    name: &'static str,
    descriptor: Warehouse,
    place: Place,
    seconds: Vec<f64>,
    log: Option<u64>,
}

/// A loop, and how long it would have taken for all rows in each round.
struct Loop {
    database: String,
    commit_every: u64,
    seconds: Vec<f64>,
}

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let sizes: &[u64] = scale.of(&[1_000], &[1_000, 20_000], &[1_000, 10_000, 100_000]);
    let mut record = Record::default();
    let python =
        neighbours::environment("row_by_row", &PACKAGES, scale).map(|programs| programs.join("python"));
    if let Err(why) = &python {
        record.notes.push(format!("The loop in Python was passed by: {why}."));
    }
    let mut curve: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for &rows in sizes {
        let (ways, loops) = at(rows, scale.runs, python.as_deref().ok()).await?;
        for way in &ways {
            record.lines.extend(lines(way, &loops, rows));
        }
        let ours = ways.iter().map(|way| (format!("medallion, {}", way.name), &way.seconds));
        let theirs = loops.iter().map(|one| (one.named(), &one.seconds));
        for (name, seconds) in ours.chain(theirs) {
            let place = curve.iter().position(|(one, _)| *one == name).unwrap_or_else(|| {
                curve.push((name, Vec::new()));
                curve.len() - 1
            });
            curve[place]
                .1
                .extend(Spread::of(seconds.iter().copied()).map(|spread| (float(rows), spread.median)));
        }
    }
    record.notes.push(format!(
        "Each order is changed by a transaction of its own. The loop got {} of the changes at most; its time is what it would \
         take for all of them.",
        count(float(OF_THE_LOOP))
    ));
    if sizes.len() > 1 {
        let title = "Changed orders, from the source to their history".to_owned();
        let (name, x) = ("orders".to_owned(), "changed orders".to_owned());
        record.curves.push(Curve { name, title, x, ways: curve });
    }
    Ok(record)
}

/// What a way took, beside each loop; or alone.
fn lines(way: &Way, loops: &[Loop], rows: u64) -> Vec<Line> {
    let what = format!("{} changed orders, {}", count(float(rows)), way.name);
    let more =
        |line: Line| line.rows(rows).peak_memory(stopwatch::peak_memory()).log(way.log.unwrap_or_default());
    let alone = Line::alone(&what, &way.seconds).map(more);
    // What they may take is said of many.
    let is_held = rows >= 100_000;
    let alone = alone.map(|line| if is_held { line.goal(Goal::Seconds(3.0)) } else { line });
    let beside = loops.iter().filter_map(|one| {
        let line = Line::beside(&what, &way.seconds, &one.named(), &one.seconds)?;
        Some(if is_held && one.commit_every == 1 { line.goal(Goal::TimesFaster(30.0)) } else { line })
    });
    alone.into_iter().chain(beside).collect()
}

async fn at(rows: u64, runs: usize, python: Option<&Path>) -> Result<([Way; 2], Vec<Loop>), Error> {
    let (from, to) = (Server::scratch()?, Server::scratch()?);
    from.ensure_database("shop")?;
    let mut source = session(&from.url("shop")).await?;
    let descriptor = warehouse::orders::warehouse();
    execute(descriptor.scripts.source.unwrap_or_default(), &mut source).await?;
    let orders = ORDERS.replace("{rows}", &rows.to_string());
    execute(&format!("INSERT INTO orders {orders}"), &mut source).await?;
    execute("VACUUM ANALYZE orders", &mut source).await?;
    let mut ways =
        [open("polled", descriptor, &from, &to).await?, open("by log", by_log(), &from, &to).await?];
    let mut loops = match python {
        Some(_) => loops(&to, &orders).await?,
        None => Vec::new(),
    };
    // The first round is for the caches.
    for round in 0..=runs {
        execute(&CHANGES.replace("{round}", &round.to_string()), &mut source).await?;
        for way in &mut ways {
            let measured = way.bring(&to, rows).await?;
            way.agrees(&mut source).await?;
            if round > 0 {
                way.seconds.push(measured.seconds);
                way.log = measured.log;
            }
        }
        for one in &mut loops {
            let program = python.map(Path::to_path_buf).unwrap_or_default();
            let seconds = one.bring(&program, &from, &to, rows)?;
            one.seconds.extend((round > 0).then_some(seconds));
        }
    }
    Ok((ways, loops))
}

/// The same warehouse, of a source whose log may be read.
fn by_log() -> Warehouse {
    let mut descriptor = warehouse::orders::warehouse();
    descriptor.source.polling = None;
    descriptor
}

/// A warehouse that has all that there is so far.
async fn open(name: &'static str, descriptor: Warehouse, from: &Server, to: &Server) -> Result<Way, Error> {
    let database = name.replace(' ', "_");
    to.ensure_database(&database)?;
    let place =
        Place { source: from.url("shop"), warehouse: to.url(&database), bronze: None, embedded: None };
    migrate::up(&descriptor, &place).await?;
    run::run(&descriptor, &place, &mut Silent).await?;
    Ok(Way { name, descriptor, place, seconds: Vec::new(), log: None })
}

impl Way {
    /// One run.
    async fn bring(&self, to: &Server, rows: u64) -> Result<stopwatch::Measured, Error> {
        let mut other = session(&to.url("postgres")).await?;
        let running = stopwatch::start_on(&mut other).await?;
        let outcome = run::run(&self.descriptor, &self.place, &mut Silent).await?;
        let measured = running.stop_on(&mut other).await?;
        let landed: u64 = outcome.landed.values().sum();
        if outcome.is_held() || landed != rows {
            return Err(
                format!("{}: {landed} of {rows} changes landed: {:?}", self.name, outcome.tested).into()
            );
        }
        Ok(measured)
    }

    /// Fails unless its current versions are what the source holds.
    async fn agrees(&self, source: &mut PgConnection) -> Result<(), Error> {
        let mut target = connection::connect(Database::Warehouse, &self.place.warehouse).await?;
        let standing =
            |key: &str, relation: &str| STANDING.replace("{key}", key).replace("{relation}", relation);
        let wanted = value(&standing("id", "orders"), source).await?;
        let current = standing("order_key", "history.dim_orders_history WHERE is_current");
        let found = value(&current, &mut target).await?;
        if found == wanted { Ok(()) } else { Err(format!("{}: the history is another", self.name).into()) }
    }
}

/// A history for each loop, with all orders as they came.
async fn loops(to: &Server, orders: &str) -> Result<Vec<Loop>, Error> {
    let mut loops = Vec::new();
    for commit_every in COMMITS {
        let database = format!("row_by_row_{commit_every}");
        to.ensure_database(&database)?;
        script::execute(Database::Warehouse, &to.url(&database), "history.sql", HISTORY).await?;
        let mut target = session(&to.url(&database)).await?;
        let loaded = format!(
            "INSERT INTO dim_orders_history (order_key, customer_id, product_id, quantity, unit_price, total_amount,
                order_status, order_date, valid_from, is_current, cdc_operation, cdc_timestamp, batch_id)
            SELECT id, customer, product, quantity, price, total, status, came, came, true, 'INSERT', came, 'first'
            FROM ({orders}) AS it (id, customer, product, quantity, price, total, status, came, updated, created)"
        );
        execute(&loaded, &mut target).await?;
        execute("VACUUM ANALYZE dim_orders_history", &mut target).await?;
        loops.push(Loop { database, commit_every, seconds: Vec::new() });
    }
    Ok(loops)
}

impl Loop {
    /// Lets it bring the first of what has changed; how long all of it would take, in seconds.
    fn bring(&self, python: &Path, from: &Server, to: &Server, rows: u64) -> Result<f64, Error> {
        let most = rows.min(OF_THE_LOOP);
        let said = neighbours::run(Command::new(python).arg(LOOP).args([
            from.url("shop"),
            to.url(&self.database),
            most.to_string(),
            self.commit_every.to_string(),
        ]))?;
        let (brought, seconds) =
            said.trim().split_once(' ').ok_or_else(|| format!("the loop says {said}"))?;
        if brought != most.to_string() {
            return Err(format!("the loop found {brought} rows of {most}").into());
        }
        Ok(seconds.parse::<f64>()? * float(rows) / float(most))
    }

    fn named(&self) -> String {
        match self.commit_every {
            1 => "row by row, a commit each".to_owned(),
            every => format!("row by row, a commit after {every}"),
        }
    }
}

async fn value(sql: &str, session: &mut PgConnection) -> Result<Option<String>, Error> {
    Ok(session.fetch_one(AssertSqlSafe(sql.to_owned())).await?.try_get(0)?)
}
