//! Retention as generated, on a warehouse of its own: what is folded changes no state from the horizon on, goes
//! where the spec says, and nobody else takes anything away.

use medallion_runtime::connection::{self, Database};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

/// What `generate` writes for the case of that name; the tool's tests hold it to the templates.
const OBJECTS: &str = include_str!(
    "../../../tests/cases/generate/retention/expected/migration/src/retention/m000001_baseline/up.sql"
);

/// Half a year of random changes of twenty keys, writes past the feed among them, and what silver keeps.
const HISTORY: &str = "
    SELECT setseed(0.42);
    CREATE TABLE public.event AS
    SELECT
        n AS lsn,
        '2025-01-01 00:00+00'::timestamptz + n * interval '7 hours' AS time,
        (ARRAY['eu', 'us'])[1 + floor(random() * 2)] AS region,
        floor(random() * 10)::integer AS id,
        CASE
            WHEN n % 97 = 0 THEN 'T'
            WHEN n % 5 = 0 THEN 'J'
            WHEN random() < 0.2 THEN 'D'
            ELSE 'U'
        END AS op
    FROM generate_series(1, 620) AS n;

    INSERT INTO bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq)
    SELECT lsn, op, jsonb_build_object('region', region, 'customer_id', id, 'latest', 'at ' || lsn), time, 1
    FROM public.event
    WHERE op IN ('D', 'U');
    INSERT INTO bronze.br_customer_cdc (lsn, op, commit_ts, seq)
    SELECT lsn, op, time, 1
    FROM public.event
    WHERE op = 'T';
    INSERT INTO medallion.dim_customer_hist_journal (journal_op, region, customer_id, latest, sys_start)
    SELECT CASE WHEN lsn % 3 = 0 THEN 'D' ELSE 'U' END, region, id, 'by hand ' || lsn, time
    FROM public.event
    WHERE op = 'J'
    ORDER BY lsn;
    INSERT INTO bronze.br_sale_cdc (lsn, op, full_row, commit_ts, seq)
    SELECT lsn, 'U', jsonb_build_object('sale_id', id), time, 2
    FROM public.event;
    INSERT INTO medallion.lookup_item_cdc (lsn, op, full_row, commit_ts, seq)
    SELECT lsn, 'U', jsonb_build_object('item_id', id, 'title', 'at ' || lsn), time, 3
    FROM public.event;

    BEGIN;
    SELECT medallion.backfill();
    INSERT INTO silver.dim_customer_hist (region, customer_id, latest, row_hash, sys_start, sys_end)
    SELECT region, id, 'at ' || lsn, '', time, coalesce(lead(time) OVER (PARTITION BY region, id ORDER BY lsn), 'infinity')
    FROM public.event
    WHERE op = 'U';
    INSERT INTO medallion.lookup_item_hist (item_id, title, row_hash, sys_start, sys_end)
    SELECT id, 'at ' || lsn, '', time, coalesce(lead(time) OVER (PARTITION BY id ORDER BY lsn), 'infinity')
    FROM public.event;
    INSERT INTO medallion.fact_sale_history (sale_id, sold_at, item_id, sys_start, sys_end)
    SELECT id, time, id, time, until
    FROM (SELECT *, lead(time) OVER (PARTITION BY id ORDER BY lsn) AS until FROM public.event) AS event
    WHERE until IS NOT NULL;
    INSERT INTO medallion.watermark (relation, lsn, system_time)
    SELECT 'silver.dim_customer_hist', max(lsn), max(time) FROM public.event;
    COMMIT;
";

/// Tables that lose rows, and what was pruned from them.
const PRUNED: [(&str, &str); 5] = [
    ("bronze.br_customer_cdc", "lsn, op, full_row, commit_ts, seq"),
    ("bronze.br_sale_cdc", "lsn, op, full_row, commit_ts, seq"),
    ("medallion.dim_customer_hist_journal", "journal_id, journal_op, region, customer_id, latest, sys_start"),
    ("silver.dim_customer_hist", "region, customer_id, latest, sys_start, sys_end"),
    ("medallion.fact_sale_history", "sale_id, sold_at, sys_start, sys_end"),
];

/// A warehouse with the history, and a session of its owner's.
async fn warehouse(name: &str) -> (String, PgConnection) {
    let server = Server::shared_scratch().unwrap();
    let name = format!("keeping_{name}");
    server.ensure_database(&name).unwrap();
    let url = server.url(&name);
    let mut owner = connection::connect(Database::Warehouse, &url).await.unwrap();
    owner.execute(OBJECTS).await.unwrap();
    owner.execute(HISTORY).await.unwrap();
    (url, owner)
}

async fn rows(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    let sql = format!("SELECT ROW(answer.*)::text FROM ({sql}) AS answer ORDER BY 1");
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(connection).await;
    rows.unwrap_or_else(|error| panic!("{error}\nin\n{sql}")).iter().map(|row| row.get(0)).collect()
}

async fn value(connection: &mut PgConnection, sql: &str) -> String {
    rows(connection, sql).await.remove(0).trim_matches(['(', ')', '"']).to_owned()
}

/// The code with which a statement fails.
async fn fails(connection: &mut PgConnection, sql: &str) -> String {
    let error = connection.execute(AssertSqlSafe(sql.to_owned())).await.expect_err(sql);
    error.as_database_error().and_then(|error| error.code()).unwrap().into_owned()
}

/// What bronze and the journal say of all keys at a time.
async fn state(connection: &mut PgConnection, time: &str) -> Vec<String> {
    let emptied = format!(
        "SELECT coalesce(max(commit_ts), '-infinity') FROM bronze.br_customer_cdc \
         WHERE op = 'T' AND commit_ts <= '{time}'"
    );
    let state = format!(
        "SELECT region, id, latest FROM (
            SELECT DISTINCT ON (region, id) *
            FROM (
                SELECT full_row ->> 'region' AS region, (full_row ->> 'customer_id')::integer AS id,
                    full_row ->> 'latest' AS latest, op, commit_ts AS time, lsn AS place
                FROM bronze.br_customer_cdc
                WHERE op <> 'T'
                UNION ALL
                SELECT region, customer_id, latest, journal_op, sys_start, journal_id
                FROM medallion.dim_customer_hist_journal
            ) AS event
            WHERE time <= '{time}' AND time > ({emptied})
            ORDER BY region, id, time DESC, place DESC
        ) AS last
        WHERE op <> 'D'"
    );
    rows(connection, &state).await
}

/// What stands in every table that is pruned, by whether it was pruned.
async fn contents(connection: &mut PgConnection, of: fn(&str) -> String) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (table, columns) in PRUNED {
        all.push(rows(connection, &format!("SELECT {columns} FROM ({}) AS kept", of(table))).await);
    }
    all
}

/// The table of what was pruned from a table.
fn archive(table: &str) -> String {
    format!("medallion.{}_pruned", table.split_once('.').unwrap().1)
}

#[tokio::test]
async fn what_is_folded_changes_nothing_from_the_horizon_on() {
    let (_, mut owner) = warehouse("folded").await;
    let whole = contents(&mut owner, |table| format!("TABLE {table}")).await;
    let last = value(&mut owner, "SELECT max(time) FROM public.event").await;
    assert_eq!(last, "2025-06-30 20:00:00+00");
    // Two months before, cut to a day of Berlin's.
    let horizon = "2025-04-29 22:00:00+00";
    let times: Vec<String> = rows(
        &mut owner,
        &format!("SELECT t FROM generate_series('{horizon}', '{last}', interval '31 hours') AS t"),
    )
    .await
    .iter()
    .map(|time| time.trim_matches(['(', ')', '"']).to_owned())
    .collect();
    let mut before = Vec::new();
    for time in &times {
        before.push(state(&mut owner, time).await);
    }
    assert!(before.iter().all(|state| !state.is_empty()), "{before:?}");

    let gone = rows(&mut owner, "SELECT * FROM medallion.retain() WHERE pruned_rows > 50").await;
    assert_eq!(gone.len(), PRUNED.len(), "{gone:?}");
    assert_eq!(value(&mut owner, "SELECT \"time\" FROM medallion.horizon").await, horizon);
    let folded_to = value(&mut owner, "SELECT lsn FROM medallion.horizon").await;
    let expected = format!("SELECT max(lsn) FROM public.event WHERE time <= '{horizon}'");
    assert_eq!(folded_to, value(&mut owner, &expected).await);

    for (time, before) in times.iter().zip(&before) {
        assert_eq!(&state(&mut owner, time).await, before, "at {time}");
    }
    let base = format!(
        "SELECT max(count) FROM (SELECT count(*) FROM bronze.br_sale_cdc WHERE lsn <= {folded_to} GROUP BY full_row) AS key"
    );
    assert_eq!(value(&mut owner, &base).await, "1", "one base row a key");
    // Nothing is lost, and nothing is in two places.
    let both = contents(&mut owner, |table| {
        let columns = PRUNED.iter().find(|(name, _)| *name == table).unwrap().1;
        format!("SELECT {columns} FROM {table} UNION ALL SELECT {columns} FROM {}", archive(table))
    })
    .await;
    assert_eq!(both, whole);
    for (table, end) in [("silver.dim_customer_hist", "sys_end"), ("medallion.fact_sale_history", "sys_end")]
    {
        let older = format!("SELECT count(*) FROM {table} WHERE {end} <= '{horizon}'");
        assert_eq!(value(&mut owner, &older).await, "0", "{table}");
        let younger = format!("SELECT count(*) FROM {} WHERE {end} > '{horizon}'", archive(table));
        assert_eq!(value(&mut owner, &younger).await, "0", "{table}");
    }
    // What others look up at their own time is kept whole.
    for table in ["medallion.lookup_item_cdc", "medallion.lookup_item_hist"] {
        assert_eq!(value(&mut owner, &format!("SELECT count(*) FROM {table}")).await, "620", "{table}");
    }
}

/// Files tell times in any order: of a key that stays which was so last, and not which landed last.
#[tokio::test]
async fn what_was_told_late_does_not_take_the_place_of_what_was_so_after() {
    let (_, mut owner) = warehouse("told_late").await;
    owner
        .execute(
            "INSERT INTO bronze.br_sale_cdc (lsn, op, full_row, commit_ts, seq)
            VALUES (300, 'U', '{\"sale_id\": 77, \"amount\": 2}', '2025-02-01', 9),
                (301, 'U', '{\"sale_id\": 77, \"amount\": 1}', '2025-01-15', 9),
                (302, 'D', '{\"sale_id\": 78}', '2025-01-15', 9),
                (303, 'U', '{\"sale_id\": 78, \"amount\": 1}', '2025-01-14', 9)",
        )
        .await
        .unwrap();
    owner.execute("SELECT medallion.retain()").await.unwrap();
    let kept = "SELECT lsn FROM bronze.br_sale_cdc WHERE (full_row ->> 'sale_id')::integer > 70";
    assert_eq!(rows(&mut owner, kept).await, ["(300)"]);
}

#[tokio::test]
async fn the_horizon_moves_once_a_day_of_system_time() {
    let (_, mut owner) = warehouse("daily").await;
    let moved = "SELECT count(*) FROM medallion.retain()";
    assert_eq!(value(&mut owner, "SELECT count(*) FROM medallion.horizon").await, "0");
    assert_eq!(value(&mut owner, moved).await, "5");
    assert_eq!(value(&mut owner, moved).await, "0");
    for (later, expected) in [("1 hour", "0"), ("1 hour 59 minutes", "0"), ("2 hours", "5"), ("3 hours", "0")]
    {
        let set = format!(
            "UPDATE medallion.watermark SET system_time = '2025-06-30 20:00+00'::timestamptz + '{later}'::interval"
        );
        owner.execute(AssertSqlSafe(set)).await.unwrap();
        assert_eq!(value(&mut owner, moved).await, expected, "{later}");
    }
    // Late changes below the horizon are part of the base by the next time.
    owner
        .execute(
            "INSERT INTO bronze.br_sale_cdc (lsn, op, full_row, commit_ts, seq)
            SELECT 2, 'U', jsonb_build_object('sale_id', n), '2025-01-02', 10 + n FROM generate_series(0, 9) AS n;
            UPDATE medallion.watermark SET system_time = system_time + interval '1 day'",
        )
        .await
        .unwrap();
    assert_eq!(value(&mut owner, moved).await, "5");
    assert_eq!(value(&mut owner, "SELECT count(*) FROM bronze.br_sale_cdc WHERE lsn = 2").await, "0");
    // A clock that is set back moves nothing back.
    let horizon = "SELECT \"time\", lsn FROM medallion.horizon";
    let before = rows(&mut owner, horizon).await;
    owner.execute("UPDATE medallion.watermark SET system_time = '2025-04-01'").await.unwrap();
    assert_eq!(value(&mut owner, moved).await, "0");
    assert_eq!(rows(&mut owner, horizon).await, before);
}

#[tokio::test]
async fn before_the_first_change_there_is_no_horizon() {
    let (_, mut owner) = warehouse("young").await;
    owner.execute("UPDATE medallion.watermark SET system_time = '2025-02-28'").await.unwrap();
    assert_eq!(value(&mut owner, "SELECT count(*) FROM medallion.retain()").await, "0");
    assert_eq!(value(&mut owner, "SELECT count(*) FROM medallion.horizon").await, "0");
}

#[tokio::test]
async fn retention_is_undone_as_a_whole() {
    let (_, mut owner) = warehouse("undone").await;
    let whole = contents(&mut owner, |table| format!("TABLE {table}")).await;
    owner.execute("BEGIN; SELECT medallion.retain(); ROLLBACK").await.unwrap();
    assert_eq!(contents(&mut owner, |table| format!("TABLE {table}")).await, whole);
    // The way past append only closed with it.
    assert_eq!(fails(&mut owner, "DELETE FROM bronze.br_sale_cdc").await, "23001");
    owner.execute("BEGIN; SELECT medallion.retain()").await.unwrap();
    assert_eq!(fails(&mut owner, "DELETE FROM bronze.br_sale_cdc").await, "23001");
}

#[tokio::test]
async fn nobody_takes_from_bronze_but_by_the_policy() {
    let (url, mut owner) = warehouse("closed").await;
    owner
        .execute(
            "CREATE ROLE keeping_loader LOGIN IN ROLE retention_loader;
            CREATE ROLE keeping_meddler LOGIN;
            GRANT USAGE ON SCHEMA bronze, medallion TO keeping_meddler;
            GRANT ALL ON bronze.br_sale_cdc TO keeping_meddler",
        )
        .await
        .unwrap();
    let as_role = |role: &str| url.replace("user=medallion", &format!("user={role}"));
    let mut meddler = connection::connect(Database::Warehouse, &as_role("keeping_meddler")).await.unwrap();
    for setting in ["on", "true", "1", ""] {
        meddler.execute(AssertSqlSafe(format!("SET medallion.prune = '{setting}'"))).await.unwrap();
        for sql in [
            "DELETE FROM bronze.br_sale_cdc",
            "UPDATE bronze.br_sale_cdc SET full_row = '{}'",
            "TRUNCATE bronze.br_sale_cdc",
        ] {
            assert_eq!(fails(&mut meddler, sql).await, "23001", "{sql}");
        }
    }
    for sql in ["SELECT medallion.prune()", "SELECT medallion.retain()", "TABLE medallion.br_sale_cdc_pruned"]
    {
        assert_eq!(fails(&mut meddler, sql).await, "42501", "{sql}");
    }
    let mut loader = connection::connect(Database::Warehouse, &as_role("keeping_loader")).await.unwrap();
    for sql in [
        "SELECT medallion.prune()",
        "DELETE FROM bronze.br_sale_cdc",
        "DELETE FROM medallion.dim_customer_hist_journal",
        "TABLE medallion.br_sale_cdc_pruned",
        "UPDATE medallion.horizon SET \"time\" = now()",
    ] {
        assert_eq!(fails(&mut loader, sql).await, "42501", "{sql}");
    }
    assert_eq!(
        value(&mut loader, "SELECT count(*) FROM medallion.retain() WHERE pruned_rows > 50").await,
        "5"
    );
    // Not even the owner changes what landed, or empties it by mistake.
    owner.execute("BEGIN; SELECT medallion.prune()").await.unwrap();
    assert_eq!(fails(&mut owner, "UPDATE bronze.br_sale_cdc SET full_row = '{}'").await, "23001");
    owner.execute("ROLLBACK; BEGIN; SELECT medallion.prune()").await.unwrap();
    assert_eq!(fails(&mut owner, "TRUNCATE bronze.br_sale_cdc").await, "23001");
}

/// Triggers fire as the writer: what they call is granted to the loader by name, and retention as well.
#[tokio::test]
async fn a_loader_writes_versions_where_public_has_no_rights() {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database("keeping_hardened").unwrap();
    let url = server.url("keeping_hardened");
    let mut owner = connection::connect(Database::Warehouse, &url).await.unwrap();
    owner.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC").await.unwrap();
    owner.execute("ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC").await.unwrap();
    owner.execute(OBJECTS).await.unwrap();
    owner.execute("CREATE ROLE keeping_hardened LOGIN IN ROLE retention_loader").await.unwrap();
    let url = url.replace("user=medallion", "user=keeping_hardened");
    let mut loader = connection::connect(Database::Warehouse, &url).await.unwrap();
    for sql in [
        "INSERT INTO silver.dim_customer_hist (region, customer_id, latest) VALUES ('eu', 1, 'a'), ('eu', 2, 'a')",
        "UPDATE silver.dim_customer_hist SET latest = 'b' WHERE sys_end = 'infinity'",
        "UPDATE silver.dim_customer_hist SET customer_id = 3 WHERE customer_id = 2 AND sys_end = 'infinity'",
        "DELETE FROM silver.dim_customer_hist WHERE customer_id = 1 AND sys_end = 'infinity'",
        "SELECT medallion.retain()",
    ] {
        loader.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let versions = "SELECT customer_id, latest, sys_end = 'infinity' FROM silver.dim_customer_hist";
    assert_eq!(rows(&mut owner, versions).await, ["(1,a,f)", "(1,b,f)", "(2,a,f)", "(2,b,f)", "(3,b,t)"]);
    for sql in [
        "UPDATE silver.dim_customer_hist SET row_hash = '' WHERE sys_end = 'infinity'",
        "UPDATE silver.dim_customer_hist SET sys_start = '2000-01-01' WHERE sys_end = 'infinity'",
    ] {
        assert_eq!(fails(&mut loader, sql).await, "428C9", "{sql}");
    }
    let closed = "UPDATE silver.dim_customer_hist SET latest = 'c' WHERE customer_id = 1";
    assert_eq!(fails(&mut loader, closed).await, "23001");
}
