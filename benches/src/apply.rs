//! The loader's set-based statements against ones written by hand that make the same rows: the apply of ten changes of
//! each key, and the repair of one key in ten of which four changes came late. Each runs by turns, and is rolled back.

use medallion_runtime::apply;
use medallion_runtime::descriptor::{
    Column, ColumnFrom, Name, Plugin, RemovedPartitions, Scripts, Silver, SilverKind, Source, Tracking,
    Warehouse,
};
use medallion_server::Server;
use sqlx::{Connection as _, PgConnection};

use crate::Error;
use crate::curve::count;
use crate::made::{execute, session};
use crate::record::{Goal, Line, Record, float};
use crate::scale::{Scale, Size};
use crate::stopwatch;

const OBJECTS: &str = "
    CREATE SCHEMA bench;
    CREATE SCHEMA medallion;
    CREATE FUNCTION medallion.backfill() RETURNS void LANGUAGE sql
        AS $$SELECT set_config('medallion.backfill', 'on', true)$$;
    CREATE FUNCTION medallion.analyze(relation regclass) RETURNS void LANGUAGE plpgsql
        AS $$BEGIN EXECUTE format('ANALYZE %s', relation); END$$;
    CREATE TABLE medallion.source_position (slot text PRIMARY KEY, last_lsn bigint, last_commit_ts timestamptz);
    CREATE TABLE medallion.watermark (
        relation text PRIMARY KEY, lsn bigint NOT NULL, system_time timestamptz NOT NULL,
        streamed_lsn bigint NOT NULL DEFAULT -1, streamed_time timestamptz NOT NULL DEFAULT '-infinity',
        journal_id bigint NOT NULL DEFAULT 0, journal_time timestamptz NOT NULL DEFAULT '-infinity',
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE medallion.horizon (time timestamptz, lsn bigint);
    CREATE TABLE medallion.late_change (relation text, lsn bigint, seq bigint, PRIMARY KEY (relation, lsn, seq));
    CREATE TABLE bench.customer_cdc (
        lsn bigint, op char(1), full_row jsonb, load_ts timestamptz DEFAULT now(), commit_ts timestamptz, seq bigint,
        PRIMARY KEY (lsn, seq)
    );
    CREATE TABLE bench.customer_hist (
        customer_id integer NOT NULL, store_id integer, name text, email text, active boolean, credit numeric,
        row_hash bytea NOT NULL, sys_start timestamptz NOT NULL, sys_end timestamptz NOT NULL DEFAULT 'infinity',
        PRIMARY KEY (customer_id, sys_start) WITH (deduplicate_items = off),
        CHECK (sys_start < sys_end)
    ) WITH (fillfactor = 85);
    CREATE UNIQUE INDEX ON bench.customer_hist (customer_id)
        WITH (deduplicate_items = off, fillfactor = 50) WHERE sys_end = 'infinity';
    CREATE INDEX ON bench.customer_hist USING brin (sys_start, sys_end);";

/// What migrations leave to do, as emit writes it.
const EVOLUTION: &str = include_str!("../../templates/generated/sql/warehouse/00_medallion/evolution.sql");

/// Ten changes of each key, each of another attribute.
const LANDED: &str = "
    INSERT INTO bench.customer_cdc (lsn, op, full_row, commit_ts, seq)
    SELECT 2 * change, CASE WHEN change <= {keys} THEN 'I' ELSE 'U' END,
        jsonb_build_object('customer_id', change * 7919 % {keys}, 'store_id', change % 7, 'name', 'name ' || change % 1000,
            'email', 'mail' || change || '@example.com', 'active', change % 3 > 0, 'credit', change % 100),
        timestamptz '2025-01-01 00:00:00+00' + 2 * change * interval '1 millisecond', 0
    FROM generate_series(1::bigint, 10 * {keys}) AS change;
    VACUUM ANALYZE bench.customer_cdc";

/// Four more changes of one key in ten, between those that have landed.
const LATE: &str = "
    INSERT INTO bench.customer_cdc (lsn, op, full_row, commit_ts, seq)
    SELECT 2 * landed + 1, 'U',
        jsonb_build_object('customer_id', landed * 7919 % {keys}, 'store_id', landed % 5, 'name', 'late ' || landed % 1000,
            'email', 'late' || landed || '@example.com', 'active', true, 'credit', landed % 10),
        timestamptz '2025-01-01 00:00:00+00' + (2 * landed + 1) * interval '1 millisecond', 0
    FROM generate_series(1::bigint, 10 * {keys}) AS landed
    WHERE landed * 7919 % {keys} < {keys} / 10 AND landed / {keys} IN (2, 4, 6, 8);
    INSERT INTO medallion.late_change SELECT 'bench.customer_cdc', lsn, seq FROM bench.customer_cdc WHERE lsn % 2 = 1;
    VACUUM ANALYZE bench.customer_cdc;
    ANALYZE medallion.late_change";

/// One statement from all changes to all versions.
const APPLY_BY_HAND: &str = "
    INSERT INTO bench.customer_hist
    SELECT customer_id, store_id, name, email, active, credit, row_hash, commit_ts,
        lead(commit_ts, 1, 'infinity') OVER (PARTITION BY customer_id ORDER BY commit_ts)
    FROM (
        SELECT *, lag(row_hash) OVER (PARTITION BY customer_id ORDER BY commit_ts) AS before
        FROM (
            SELECT one.*, commit_ts,
                sha256(convert_to(ROW(one.store_id, one.name, one.email, one.active, one.credit)::text, 'UTF8')) AS row_hash
            FROM bench.customer_cdc
            CROSS JOIN LATERAL jsonb_to_record(full_row)
                AS one (customer_id integer, store_id integer, name text, email text, active boolean, credit numeric)
            OFFSET 0
        ) AS hashed
    ) AS compared
    WHERE before IS DISTINCT FROM row_hash";

/// All versions of the keys that came late, from all of their changes.
const REPAIR_BY_HAND: &str = "
    CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
    SELECT DISTINCT (full_row ->> 'customer_id')::integer AS customer_id
    FROM bench.customer_cdc JOIN medallion.late_change USING (lsn, seq);
    ANALYZE touched;
    DELETE FROM bench.customer_hist AS version USING touched WHERE version.customer_id = touched.customer_id;
    INSERT INTO bench.customer_hist
    SELECT customer_id, store_id, name, email, active, credit, row_hash, commit_ts,
        lead(commit_ts, 1, 'infinity') OVER (PARTITION BY customer_id ORDER BY commit_ts)
    FROM (
        SELECT *, lag(row_hash) OVER (PARTITION BY customer_id ORDER BY commit_ts) AS before
        FROM (
            SELECT one.*, commit_ts,
                sha256(convert_to(ROW(one.store_id, one.name, one.email, one.active, one.credit)::text, 'UTF8')) AS row_hash
            FROM bench.customer_cdc
            JOIN touched ON touched.customer_id = (full_row ->> 'customer_id')::integer
            CROSS JOIN LATERAL jsonb_to_record(full_row)
                AS one (customer_id integer, store_id integer, name text, email text, active boolean, credit numeric)
            OFFSET 0
        ) AS hashed
    ) AS compared
    WHERE before IS DISTINCT FROM row_hash";

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let keys: u64 = scale.of(2_000, 20_000, 100_000);
    let server = Server::scratch()?;
    server.ensure_database("apply")?;
    let mut session = session(&server.url("apply")).await?;
    execute(OBJECTS, &mut session).await?;
    execute(EVOLUTION, &mut session).await?;
    each(&LANDED.replace("{keys}", &keys.to_string()), &mut session).await?;
    let warehouse = warehouse();
    let said = |keys: u64| count(float(keys));
    let mut record = Record::default();
    let what = format!("apply of {} changes of {} keys", said(10 * keys), said(keys));
    let line = compared(&what, 10 * keys, &warehouse, APPLY_BY_HAND, scale.runs, &mut session).await?;
    let goal = Goal::AtMostTimes(1.15);
    record.lines.extend(line.map(|line| if scale.size == Size::Small { line } else { line.goal(goal) }));
    let mut transaction = session.begin().await?;
    apply::apply(&warehouse, &mut transaction, |_| ()).await?;
    transaction.commit().await?;
    each(&LATE.replace("{keys}", &keys.to_string()), &mut session).await?;
    execute("VACUUM ANALYZE bench.customer_hist", &mut session).await?;
    let late = 4 * keys / 10;
    let what = format!("repair of {} keys after {} late changes", said(keys / 10), said(late));
    record.lines.extend(compared(&what, late, &warehouse, REPAIR_BY_HAND, scale.runs, &mut session).await?);
    Ok(record)
}

/// Statements one by one, each for itself.
async fn each(sql: &str, session: &mut PgConnection) -> Result<(), Error> {
    for statement in sql.split(';') {
        execute(statement, session).await?;
    }
    Ok(())
}

/// Both by turns.
async fn compared(
    what: &str,
    changes: u64,
    warehouse: &Warehouse,
    by_hand: &str,
    runs: usize,
    session: &mut PgConnection,
) -> Result<Option<Line>, Error> {
    let (mut hand, mut ours) = (Vec::new(), Vec::new());
    let mut log = None;
    // The first time plans and warms.
    for run in 0..=runs {
        let mut transaction = session.begin().await?;
        let running = stopwatch::start();
        execute(by_hand, &mut transaction).await?;
        let theirs = running.stop();
        transaction.rollback().await?;
        execute("VACUUM bench.customer_hist", session).await?;
        let mut transaction = session.begin().await?;
        let running = stopwatch::start_on(&mut transaction).await?;
        apply::apply(warehouse, &mut transaction, |_| ()).await?;
        let own = running.stop_on(&mut transaction).await?;
        transaction.rollback().await?;
        execute("VACUUM bench.customer_hist", session).await?;
        if run > 0 {
            hand.push(theirs);
            ours.push(own.seconds);
            log = own.log;
        }
    }
    let line = Line::beside(what, &ours, "SQL by hand", &hand).map(|line| line.rows(changes));
    Ok(line.map(|line| log.map_or_else(|| line.clone(), |log| line.clone().log(log))))
}

/// One dimension and its feed.
fn warehouse() -> Warehouse {
    let column = |name: &str, sql_type: &str| Column {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        from: ColumnFrom::Field(name.to_owned()),
        tracking: Tracking::Tracked,
        renamed: Vec::new(),
        counted: None,
    };
    Warehouse {
        name: "bench",
        spec_hash: "",
        objects_hash: "",
        time_zone: "UTC",
        schemas: vec!["bench"],
        source: Source {
            publication: "bench".to_owned(),
            slot: "bench".to_owned(),
            recorded_log: None,
            keep_log: None,
            plugin: Plugin::default(),
            removed_partitions: RemovedPartitions::default(),
            polling: None,
        },
        landings: Vec::new(),
        silver: vec![Silver {
            table: Name::new("bench", "customer_hist"),
            feed: Name::new("bench", "customer_cdc"),
            key: vec!["customer_id".to_owned()],
            columns: vec![
                column("customer_id", "integer"),
                column("store_id", "integer"),
                column("name", "text"),
                column("email", "text"),
                column("active", "boolean"),
                column("credit", "numeric"),
            ],
            lookups: Vec::new(),
            kind: SilverKind::Dimension {
                current: Name::new("bench", "customer"),
                row_hash: "row_hash".to_owned(),
                start: "sys_start".to_owned(),
                end: "sys_end".to_owned(),
                journal: None,
                closed: None,
                surrogate: None,
            },
        }],
        marts: Vec::new(),
        migrations: Vec::new,
        stagings: Vec::new(),
        calendars: Vec::new(),
        refused: &[],
        tags: Vec::new(),
        lineage: "[]",
        alerts: Vec::new(),
        scripts: Scripts::default(),
        tests: Vec::new(),
        demo: Vec::new(),
    }
}
