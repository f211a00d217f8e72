//! Measures the loader's set-based statements against ones written by hand that make the same rows, in one run:
//! the apply of 1,000,000 changes of 100,000 keys, and the repair of 10,000 keys of which 40,000 changes came
//! late. Each runs some times by turns, is rolled back, and they are compared. On a scratch server, or on
//! a database of its own that `BENCH_DATABASE_URL` names. `make bench-set-based` runs it.

mod measured;

use medallion_runtime::apply;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{
    Column, ColumnFrom, Name, Plugin, RemovedPartitions, Scripts, Silver, SilverKind, Source, Tracking,
    Warehouse,
};
use medallion_server::Server;
use sqlx::{Connection as _, Executor as _, PgConnection};

/// How often each is measured.
const RUNS: usize = 5;

const OBJECTS: &str = "
    DROP SCHEMA IF EXISTS bench CASCADE;
    DROP SCHEMA IF EXISTS medallion CASCADE;
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
const EVOLUTION: &str = include_str!("../templates/generated/sql/warehouse/00_medallion/evolution.sql");

/// Ten changes of each key, each of another attribute.
const LANDED: &str = "
    INSERT INTO bench.customer_cdc (lsn, op, full_row, commit_ts, seq)
    SELECT 2 * change, CASE WHEN change <= 100000 THEN 'I' ELSE 'U' END,
        jsonb_build_object('customer_id', change * 7919 % 100000, 'store_id', change % 7, 'name', 'name ' || change % 1000,
            'email', 'mail' || change || '@example.com', 'active', change % 3 > 0, 'credit', change % 100),
        timestamptz '2025-01-01 00:00:00+00' + 2 * change * interval '1 millisecond', 0
    FROM generate_series(1::bigint, 1000000) AS change;
    VACUUM ANALYZE bench.customer_cdc";

/// Four more changes of one key in ten, between those that have landed.
const LATE: &str = "
    INSERT INTO bench.customer_cdc (lsn, op, full_row, commit_ts, seq)
    SELECT 2 * landed + 1, 'U',
        jsonb_build_object('customer_id', landed * 7919 % 100000, 'store_id', landed % 5, 'name', 'late ' || landed % 1000,
            'email', 'late' || landed || '@example.com', 'active', true, 'credit', landed % 10),
        timestamptz '2025-01-01 00:00:00+00' + (2 * landed + 1) * interval '1 millisecond', 0
    FROM generate_series(1::bigint, 1000000) AS landed
    WHERE landed * 7919 % 100000 < 10000 AND landed / 100000 IN (2, 4, 6, 8);
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = if let Ok(url) = std::env::var("BENCH_DATABASE_URL") {
        url
    } else {
        let server = Server::shared_scratch()?;
        server.ensure_database("set_based")?;
        server.url("set_based")
    };
    let mut connection = connection::connect(Database::Warehouse, &url).await?;
    connection.execute(OBJECTS).await?;
    connection.execute(EVOLUTION).await?;
    run_each(LANDED, &mut connection).await?;
    let warehouse = warehouse();
    compare("apply of 1,000,000 changes of 100,000 keys", &warehouse, APPLY_BY_HAND, &mut connection).await?;
    let mut transaction = connection.begin().await?;
    apply::apply(&warehouse, &mut transaction, |_| ()).await?;
    transaction.commit().await?;
    run_each(LATE, &mut connection).await?;
    connection.execute("VACUUM ANALYZE bench.customer_hist").await?;
    compare("repair of 10,000 keys after 40,000 late changes", &warehouse, REPAIR_BY_HAND, &mut connection)
        .await
}

/// Statements one by one, each for itself.
async fn run_each(sql: &'static str, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for statement in sql.split(';') {
        connection.execute(statement).await?;
    }
    Ok(())
}

/// Runs both by turns, and says how long they took.
async fn compare(
    what: &str,
    warehouse: &Warehouse,
    by_hand: &'static str,
    connection: &mut PgConnection,
) -> Result<(), Box<dyn std::error::Error>> {
    let (mut hand, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut transaction = connection.begin().await?;
        let running = measured::start(&mut transaction).await?;
        transaction.execute(by_hand).await?;
        hand.push(running.stop());
        transaction.rollback().await?;
        connection.execute("VACUUM bench.customer_hist").await?;
        let mut transaction = connection.begin().await?;
        let running = measured::start(&mut transaction).await?;
        apply::apply(warehouse, &mut transaction, |_| ()).await?;
        ours.push(running.stop());
        transaction.rollback().await?;
        connection.execute("VACUUM bench.customer_hist").await?;
    }
    println!("{what}: medallion to by hand {}", measured::compared(&ours, &hand));
    Ok(())
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
            },
        }],
        marts: Vec::new(),
        migrations: Vec::new,
        refused: &[],
        tags: Vec::new(),
        lineage: "[]",
        alerts: Vec::new(),
        scripts: Scripts::default(),
        tests: Vec::new(),
        demo: Vec::new(),
    }
}
