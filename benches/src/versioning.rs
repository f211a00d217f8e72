//! What versioning by triggers costs: an UPDATE of current rows of eight columns, without history, with a static row
//! trigger written by hand that copies the old row, with one that finds its columns in the catalog and puts its
//! statement together for each row (nearform's temporal_tables works so), and with the triggers that `generate` writes.
//! The tables are made anew each time.

use medallion_server::Server;
use sqlx::{Connection as _, PgConnection};

use crate::Error;
use crate::curve::count;
use crate::made::{execute, session};
use crate::record::{Goal, Line, Record, float};
use crate::scale::{Scale, Size};
use crate::stopwatch::{self, Measured};

/// What `generate` writes for a versioned dimension.
const GENERATED: &str = include_str!(
    "../../tests/cases/generate/system_versioning/expected/migration/src/system_versioning/m000001_baseline/up.sql"
);

const EMPTY: &str = "
    DROP SCHEMA IF EXISTS medallion, bronze, silver, gold, as_of, plain, trigger, dynamic CASCADE;
    DROP TABLE IF EXISTS input;
    CREATE TABLE input AS
    SELECT CASE number % 3 WHEN 0 THEN 'eu' WHEN 1 THEN 'us' ELSE 'as' END AS region, number AS customer_id,
        'name ' || number AS name, date '1970-01-01' + number % 10000 AS born, number % 100 / 4.0 AS credit,
        (40 + number % 60)::double precision AS weight, timestamptz '2025-01-01 00:00:00+00' AS seen,
        '{\"tier\": 1}'::json AS note
    FROM generate_series(1, {rows}) AS number;";

/// The eight columns.
const TABLE: &str =
    "(region text NOT NULL, customer_id integer NOT NULL, name text, born date, credit numeric,
    weight double precision, seen timestamptz, note json, PRIMARY KEY (region, customer_id)";

/// A way to keep history, with its table.
struct Way {
    name: &'static str,
    setup: String,
    table: &'static str,
    /// What ours is to reach beside it.
    goal: Option<Goal>,
}

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let rows: u64 = scale.of(5_000, 50_000, 200_000);
    let server = Server::scratch()?;
    server.ensure_database("versioning")?;
    let url = server.url("versioning");
    let (ways, ours) = (others(), ours());
    let mut times: Vec<Vec<f64>> = ways.iter().map(|_| Vec::new()).collect();
    let mut own: Vec<Measured> = Vec::new();
    // The first time warms.
    for run in 0..=scale.runs {
        for (way, times) in ways.iter().zip(&mut times) {
            let measured = update(way, rows, &url).await?;
            times.extend((run > 0).then_some(measured.seconds));
        }
        let measured = update(&ours, rows, &url).await?;
        own.extend((run > 0).then_some(measured));
    }
    let seconds: Vec<f64> = own.iter().map(|one| one.seconds).collect();
    let log = own.iter().filter_map(|one| one.log).min().unwrap_or_default();
    let what = format!("an update of {} current rows", count(float(rows)));
    let lines = ways.iter().zip(&times).filter_map(|(way, times)| {
        let line = Line::beside(&what, &seconds, way.name, times)?.rows(rows).log(log);
        Some(match way.goal {
            Some(goal) if scale.size != Size::Small => line.goal(goal),
            _ => line,
        })
    });
    Ok(Record { lines: lines.collect(), ..Record::default() })
}

/// What ours is compared with.
fn others() -> [Way; 3] {
    [
        Way {
            name: "no history",
            setup: format!(
                "CREATE SCHEMA plain;
                CREATE TABLE plain.customer {TABLE}) WITH (fillfactor = 85);
                INSERT INTO plain.customer SELECT * FROM input"
            ),
            table: "plain.customer",
            goal: Some(Goal::AtMostTimes(3.0)),
        },
        Way {
            name: "a static row trigger by hand",
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
            goal: None,
        },
        Way {
            name: "a dynamic row trigger, as nearform's",
            setup: format!(
                "CREATE SCHEMA dynamic;
                CREATE TABLE dynamic.customer {TABLE}, sys_period tstzrange NOT NULL DEFAULT tstzrange(now(), NULL));
                CREATE TABLE dynamic.customer_history (LIKE dynamic.customer);
                {DYNAMIC};
                INSERT INTO dynamic.customer SELECT * FROM public.input;
                CREATE TRIGGER versioning BEFORE INSERT OR UPDATE OR DELETE ON dynamic.customer
                    FOR EACH ROW EXECUTE FUNCTION dynamic.versioning('sys_period', 'dynamic.customer_history')"
            ),
            table: "dynamic.customer",
            goal: Some(Goal::TimesFaster(6.0)),
        },
    ]
}

/// One function for every table: for each row it looks up that the history is there, that the period is a range, and the
/// columns that both tables have, and puts the statement together.
const DYNAMIC: &str = "CREATE FUNCTION dynamic.versioning() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        period text := TG_ARGV[0];
        history regclass;
        shared text[];
        existing tstzrange;
        moment timestamptz := CURRENT_TIMESTAMP;
    BEGIN
        history := to_regclass(TG_ARGV[1]);
        IF history IS NULL THEN
            RAISE EXCEPTION 'there is no history table %', TG_ARGV[1];
        END IF;
        IF NOT EXISTS (
            SELECT FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
            WHERE attrelid = TG_RELID AND attname = period AND NOT attisdropped AND typname = 'tstzrange'
        ) THEN
            RAISE EXCEPTION 'column % is no period', period;
        END IF;
        IF TG_OP IN ('UPDATE', 'DELETE') THEN
            EXECUTE format('SELECT $1.%I', period) USING OLD INTO existing;
            IF existing IS NULL OR NOT upper_inf(existing) THEN
                RAISE EXCEPTION 'the period of a current row has to be open';
            END IF;
            SELECT array_agg(quote_ident(attname) ORDER BY attnum) INTO shared
            FROM pg_attribute AS own
            WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped AND attname <> period
                AND EXISTS (
                    SELECT FROM pg_attribute AS kept
                    WHERE kept.attrelid = history AND kept.attname = own.attname AND NOT kept.attisdropped
                );
            EXECUTE format('INSERT INTO %s (%s, %I) VALUES ($1.%s, tstzrange($2, $3))',
                history, array_to_string(shared, ', '), period, array_to_string(shared, ', $1.'))
                USING OLD, lower(existing), moment;
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        RETURN jsonb_populate_record(NEW, jsonb_build_object(period, tstzrange(moment, NULL)));
    END
    $$";

fn ours() -> Way {
    Way {
        name: "medallion",
        setup: format!(
            "{GENERATED};
            INSERT INTO silver.dim_customer_hist (region, customer_id, name, born, credit, weight, seen, note)
            SELECT * FROM public.input"
        ),
        table: "silver.dim_customer_hist",
        goal: None,
    }
}

/// Makes it anew, and updates every row once.
async fn update(way: &Way, rows: u64, url: &str) -> Result<Measured, Error> {
    let mut session: PgConnection = session(url).await?;
    execute(&EMPTY.replace("{rows}", &rows.to_string()), &mut session).await?;
    execute(&way.setup, &mut session).await?;
    execute(&format!("VACUUM ANALYZE {}", way.table), &mut session).await?;
    execute("CHECKPOINT", &mut session).await?;
    let running = stopwatch::start_on(&mut session).await?;
    let updated = execute(&format!("UPDATE {} SET credit = credit + 1", way.table), &mut session).await?;
    let measured = running.stop_on(&mut session).await?;
    session.close().await?;
    if updated == rows {
        Ok(measured)
    } else {
        Err(format!("{updated} rows were updated of {}", way.table).into())
    }
}
