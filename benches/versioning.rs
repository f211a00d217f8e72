//! Measures what versioning by triggers costs: an UPDATE of 200,000 current rows of eight columns, without history,
//! with a static row trigger written by hand that copies the old row, with the triggers that `generate` writes, and,
//! where `NEARFORM_SQL` names a copy of nearform/temporal_tables' `versioning_function.sql`, with that one. They run
//! by turns on tables made anew, and the medians are compared. On a scratch server, or on a database of its own
//! that `BENCH_DATABASE_URL` names. `make bench-versioning` runs it.

mod measured;

use measured::Measured;
use medallion_runtime::connection::{self, Database};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// How often each is measured.
const RUNS: usize = 5;

/// What `generate` writes for a versioned dimension.
const GENERATED: &str = include_str!(
    "../tests/cases/generate/system_versioning/expected/migration/src/system_versioning/m000001_baseline/up.sql"
);

const EMPTY: &str = "
    DROP SCHEMA IF EXISTS medallion, bronze, silver, gold, as_of, plain, trigger, nearform CASCADE;
    DROP TABLE IF EXISTS input;
    CREATE TABLE input AS
    SELECT CASE number % 3 WHEN 0 THEN 'eu' WHEN 1 THEN 'us' ELSE 'as' END AS region, number AS customer_id,
        'name ' || number AS name, date '1970-01-01' + number % 10000 AS born, number % 100 / 4.0 AS credit,
        (40 + number % 60)::double precision AS weight, timestamptz '2025-01-01 00:00:00+00' AS seen,
        '{\"tier\": 1}'::json AS note
    FROM generate_series(1, 200000) AS number;";

/// The eight columns.
const TABLE: &str =
    "(region text NOT NULL, customer_id integer NOT NULL, name text, born date, credit numeric,
    weight double precision, seen timestamptz, note json, PRIMARY KEY (region, customer_id)";

/// A way to keep history, with its table.
struct Way {
    name: &'static str,
    setup: String,
    table: &'static str,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = if let Ok(url) = std::env::var("BENCH_DATABASE_URL") {
        url
    } else {
        let server = Server::shared_scratch()?;
        server.ensure_database("versioning_bench")?;
        server.url("versioning_bench")
    };
    let ways = ways()?;
    let mut times: Vec<Vec<Measured>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..RUNS {
        for (way, times) in ways.iter().zip(&mut times) {
            let mut connection = connection::connect(Database::Warehouse, &url).await?;
            times.push(measure(way, &mut connection).await?);
            connection.close().await?;
        }
    }
    let ours = &times[times.len() - 1];
    for (way, times) in ways.iter().zip(&times) {
        println!("{:<30} to medallion: {}", way.name, measured::compared(times, ours));
    }
    Ok(())
}

/// What is compared; the last is ours.
fn ways() -> Result<Vec<Way>, std::io::Error> {
    let mut ways = vec![
        Way {
            name: "no history",
            setup: format!(
                "CREATE SCHEMA plain;
                CREATE TABLE plain.customer {TABLE}) WITH (fillfactor = 85);
                INSERT INTO plain.customer SELECT * FROM input"
            ),
            table: "plain.customer",
        },
        Way {
            name: "a row trigger written by hand",
            setup: format!(
                "CREATE SCHEMA trigger;
                CREATE TABLE trigger.customer {TABLE}, sys_start timestamptz NOT NULL DEFAULT now());
                CREATE TABLE trigger.customer_history (LIKE trigger.customer, sys_end timestamptz NOT NULL);
                CREATE FUNCTION trigger.keep() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO trigger.customer_history VALUES (OLD.region, OLD.customer_id, OLD.name, OLD.born,
                        OLD.credit, OLD.weight, OLD.seen, OLD.note, OLD.sys_start, now());
                    NEW.sys_start := now();
                    RETURN NEW;
                END
                $$;
                INSERT INTO trigger.customer SELECT * FROM input;
                CREATE TRIGGER keep BEFORE UPDATE ON trigger.customer FOR EACH ROW EXECUTE FUNCTION trigger.keep()"
            ),
            table: "trigger.customer",
        },
    ];
    if let Ok(path) = std::env::var("NEARFORM_SQL") {
        let function = std::fs::read_to_string(path)?;
        ways.push(Way {
            name: "nearform/temporal_tables",
            setup: format!(
                "CREATE SCHEMA nearform; SET search_path = nearform, public; {function};
                CREATE TABLE nearform.customer {TABLE}, sys_period tstzrange NOT NULL DEFAULT tstzrange(now(), null));
                CREATE TABLE nearform.customer_history (LIKE nearform.customer);
                INSERT INTO nearform.customer SELECT * FROM public.input;
                CREATE TRIGGER versioning BEFORE INSERT OR UPDATE OR DELETE ON nearform.customer
                    FOR EACH ROW EXECUTE FUNCTION nearform.versioning('sys_period', 'nearform.customer_history', true)"
            ),
            table: "nearform.customer",
        });
    }
    ways.push(Way {
        name: "medallion",
        setup: format!(
            "{GENERATED};
            INSERT INTO silver.dim_customer_hist (region, customer_id, name, born, credit, weight, seen, note)
            SELECT * FROM public.input"
        ),
        table: "silver.dim_customer_hist",
    });
    Ok(ways)
}

/// Makes it anew, and updates every row once.
async fn measure(way: &Way, connection: &mut PgConnection) -> Result<Measured, sqlx::Error> {
    connection.execute(EMPTY).await?;
    connection.execute(AssertSqlSafe(way.setup.clone())).await?;
    connection.execute(AssertSqlSafe(format!("VACUUM ANALYZE {}", way.table))).await?;
    connection.execute("CHECKPOINT").await?;
    let update = format!("UPDATE {} SET credit = credit + 1", way.table);
    let running = measured::start(connection).await?;
    let updated = connection.execute(AssertSqlSafe(update)).await?.rows_affected();
    let measured = running.stop();
    assert_eq!(updated, 200_000, "{}", way.name);
    Ok(measured)
}
