//! One changed row of a large dimension: the loader's apply against `dbt snapshot`, at growing numbers of rows. What is
//! compared is the work in the database: of dbt the time that it tells of the snapshot itself, without its own start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr as _;

use medallion_runtime::apply;
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::staging::Staging;
use medallion_server::Server;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use crate::curve::{count, duration};
use crate::made::{begin_round, execute, made, session};
use crate::record::{Curve, Goal, Line, Record, Spread, float};
use crate::scale::Scale;
use crate::{Error, neighbours, stopwatch};

pub const SPEC: &str = r#"
[warehouse]
name = "bench"
time_zone = "UTC"

[schemas]
bronze = "bronze"
silver = "silver"
gold = "gold"

[source]
capture = "logical"

[[landing]]
name = "br_customer"
from = "customer"
key = ["customer_id"]

[[dimension]]
name = "dim_customer_hist"
from = "br_customer"
key = ["customer_id"]
current_view = "dim_customer"
columns = [
    { name = "customer_id", type = "integer" },
    { name = "store_id", type = "integer" },
    { name = "first_name", type = "text" },
    { name = "last_name", type = "text" },
    { name = "email", type = "text" },
    { name = "active", type = "boolean" },
]
"#;

/// The source's rows, in a schema beside; and what has landed of them.
const ROWS: &str = "
    CREATE SCHEMA shop;
    CREATE TABLE shop.customer (
        customer_id integer PRIMARY KEY, store_id integer, first_name text, last_name text, email text, active boolean,
        last_update timestamptz NOT NULL
    );
    INSERT INTO shop.customer
    SELECT id, id % 500, 'first ' || id % 5000, 'last ' || id % 50000, 'mail' || id || '@example.com', id % 9 > 0, '2025-01-01'
    FROM generate_series(1, {rows}) AS id;
    SELECT set_config('medallion.landing', 'on', false);
    INSERT INTO bronze.br_customer (lsn, op, full_row, commit_ts, seq)
    SELECT 1, 'I', to_jsonb(customer), '2025-01-01', customer_id FROM shop.customer";

/// One row changes at the source, and lands.
const CHANGE: &str = "
    UPDATE shop.customer SET email = 'run{run}@example.com', last_update = now() WHERE customer_id = 1 + {run} * 7919 % {rows};
    INSERT INTO bronze.br_customer (lsn, op, full_row, commit_ts, seq)
    SELECT {run} + 1, 'U', to_jsonb(customer), timestamptz '2025-01-02' + {run} * interval '1 second', 0
    FROM shop.customer WHERE customer_id = 1 + {run} * 7919 % {rows}";

/// The last of dbt's versions that comes from the package index alone.
const PACKAGES: [&str; 2] = ["dbt-core>=1.10,<1.11", "dbt-postgres>=1.9,<1.10"];

/// What was measured at a size, in seconds.
#[derive(Default)]
struct Times {
    ours: Vec<f64>,
    dbt: Vec<f64>,
    /// With its start and its reading of the project.
    command: Vec<f64>,
}

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let sizes: &[u64] = scale.of(&[10_000], &[100_000, 1_000_000], &[100_000, 1_000_000, 10_000_000]);
    let mut record = Record::default();
    let dbt = neighbours::environment("dbt", &PACKAGES, scale);
    if let Err(why) = &dbt {
        record.notes.push(format!("`dbt snapshot` was passed by: {why}."));
    }
    let mut ways = [("medallion".to_owned(), Vec::new()), ("dbt snapshot".to_owned(), Vec::new())];
    for &rows in sizes {
        let times = at(rows, scale.runs, dbt.as_deref().ok()).await?;
        let what = format!("1 of {} rows changed", count(float(rows)));
        let goal = Goal::TimesFaster(500.0);
        record.lines.extend(match times.dbt.as_slice() {
            [] => Line::alone(&what, &times.ours),
            // What dbt does grows with the rows: the goal is one of a large dimension.
            theirs => Line::beside(&what, &times.ours, "`dbt snapshot`", theirs)
                .map(|line| if rows >= 1_000_000 { line.goal(goal) } else { line }),
        });
        if let Some(command) = Spread::of(times.command.iter().copied()) {
            let took = duration(command.median);
            record.notes.push(format!(
                "With {} rows the command `dbt snapshot` took {took} in all.",
                count(float(rows))
            ));
        }
        for ((_, points), times) in ways.iter_mut().zip([&times.ours, &times.dbt]) {
            points.extend(Spread::of(times.iter().copied()).map(|spread| (float(rows), spread.median)));
        }
    }
    if sizes.len() > 1 {
        let ways = ways.into_iter().filter(|(_, points)| !points.is_empty()).collect();
        record.curves.push(Curve {
            name: "one_row".to_owned(),
            title: "One changed row of a dimension".to_owned(),
            x: "rows of the dimension".to_owned(),
            ways,
        });
    }
    Ok(record)
}

async fn at(rows: u64, runs: usize, dbt: Option<&Path>) -> Result<Times, Error> {
    let server = Server::scratch()?;
    server.ensure_database("one_row")?;
    let url = server.url("one_row");
    let mut other = session(&url).await?;
    let warehouse = made(SPEC, &mut other).await?;
    execute(&ROWS.replace("{rows}", &rows.to_string()), &mut other).await?;
    let staging = Staging::default();
    let mut watching = session(&url).await?;
    apply(&warehouse, &staging, &mut watching).await?;
    execute("VACUUM ANALYZE", &mut other).await?;
    execute("CHECKPOINT", &mut other).await?;
    let project = match dbt {
        Some(programs) => Some(Project::new(programs, &url)?),
        None => None,
    };
    if let Some(project) = &project {
        project.snapshot()?;
    }
    let mut times = Times::default();
    // The first time plans and warms.
    for run in 0..=runs {
        let change = CHANGE.replace("{run}", &(run + 1).to_string()).replace("{rows}", &rows.to_string());
        execute(&change, &mut other).await?;
        let running = stopwatch::start();
        apply(&warehouse, &staging, &mut watching).await?;
        let ours = running.stop();
        let running = stopwatch::start();
        let theirs = project.as_ref().map(Project::snapshot).transpose()?;
        if run > 0 {
            times.ours.push(ours);
            times.command.extend(theirs.map(|_| running.stop()));
            times.dbt.extend(theirs);
        }
    }
    let wanted = u64::try_from(runs)? + 1;
    let wrong = format!(
        "DO $$ BEGIN IF (SELECT count(*) FROM silver.dim_customer_hist) <> {rows} + {wanted} \
         OR EXISTS (SELECT FROM silver.dim_customer JOIN shop.customer USING (customer_id) WHERE dim_customer.email <> customer.email) \
         THEN RAISE EXCEPTION 'the history is wrong'; END IF; END $$"
    );
    execute(&wrong, &mut other).await?;
    if project.is_some() {
        let wrong = wrong.replace("silver.dim_customer_hist", "snapshots.customer_snapshot");
        execute(&wrong, &mut other).await?;
    }
    Ok(times)
}

/// As `watch` does it.
async fn apply(warehouse: &Warehouse, staging: &Staging, session: &mut PgConnection) -> Result<(), Error> {
    let mut transaction = begin_round(session).await?;
    apply::apply_in(warehouse, &std::collections::BTreeSet::new(), staging, &mut transaction, |_| ()).await?;
    transaction.commit().await?;
    Ok(())
}

/// A project of dbt's with one snapshot, by the time of the last update: the cheapest of its ways.
struct Project {
    folder: TempDir,
    program: PathBuf,
}

const DBT_PROJECT: &str = "name: bench\nversion: '1.0'\nprofile: bench\nsnapshot-paths: [snapshots]\nflags:\n  send_anonymous_usage_stats: false\n";

const SNAPSHOT: &str = "{% snapshot customer_snapshot %}\n{{ config(target_schema='snapshots', unique_key='customer_id', strategy='timestamp', updated_at='last_update') }}\nselect * from shop.customer\n{% endsnapshot %}\n";

impl Project {
    fn new(programs: &Path, url: &str) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)?;
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("snapshots"))?;
        std::fs::write(folder.path().join("dbt_project.yml"), DBT_PROJECT)?;
        std::fs::write(folder.path().join("snapshots/customer.sql"), SNAPSHOT)?;
        let profile = format!(
            "bench:\n  target: here\n  outputs:\n    here:\n      type: postgres\n      host: '{host}'\n      port: {}\n      \
             user: {}\n      password: none\n      dbname: one_row\n      schema: public\n      threads: 1\n",
            options.get_port(),
            options.get_username(),
        );
        std::fs::write(folder.path().join("profiles.yml"), profile)?;
        Ok(Self { folder, program: programs.join("dbt") })
    }

    /// Runs it; how long the snapshot took in the database, in seconds.
    fn snapshot(&self) -> Result<f64, Error> {
        neighbours::run(
            Command::new(&self.program)
                .args(["snapshot", "--quiet", "--profiles-dir", "."])
                .current_dir(self.folder.path()),
        )?;
        let results = std::fs::read(self.folder.path().join("target/run_results.json"))?;
        let results: serde_json::Value = serde_json::from_slice(&results)?;
        let took = results.pointer("/results/0/execution_time").and_then(serde_json::Value::as_f64);
        took.ok_or_else(|| "dbt tells no time of its snapshot".into())
    }
}
