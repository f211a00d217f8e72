//! Two databases on a scratch server, a warehouse described over them, and the questions that every test
//! asks: does bronze fold to the source's rows, and is each audited change in it once and in order?

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use medallion_runtime::capture::resnapshot::{self, Resnapshot};
use medallion_runtime::capture::{self, Captured, Point, Progress};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Landing, Name, Plugin, RemovedPartitions, Scripts, Source, Warehouse};
use medallion_runtime::error::{Error, Result};
use medallion_runtime::place::Place;
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

/// What emit writes into a warehouse, as far as capture needs it.
const BOOKKEEPING: &str = "
    CREATE SCHEMA bronze;
    CREATE SCHEMA medallion;
    CREATE TABLE medallion.watermark (relation text PRIMARY KEY, lsn bigint, system_time timestamptz);
    CREATE TABLE medallion.late_change (
        relation text,
        lsn bigint,
        seq bigint,
        PRIMARY KEY (relation, lsn, seq)
    );";

/// The rest of it, as emit writes it.
const KEPT: [&str; 6] = [
    include_str!("../../../templates/generated/sql/warehouse/00_medallion/erasure.sql"),
    include_str!("../../../templates/generated/sql/warehouse/00_medallion/source_position.sql"),
    include_str!("../../../templates/generated/sql/warehouse/00_medallion/captured_table.sql"),
    include_str!("../../../templates/generated/sql/warehouse/00_medallion/quarantine.sql"),
    include_str!("../../../templates/generated/sql/warehouse/00_medallion/failed_row.sql"),
    include_str!("../../../templates/generated/sql/warehouse/00_medallion/index_versions.sql"),
];

/// When rows were so that land late: before all else.
const LATE: &str = "2000-01-01 00:00:00+00";

/// Keeps every change of the tables it is put on, in the order of each transaction.
const AUDIT: &str = "
    CREATE TABLE audit (
        id bigserial PRIMARY KEY,
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        relation text NOT NULL,
        op text NOT NULL,
        full_row jsonb
    );
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            INSERT INTO audit (relation, op) VALUES (TG_ARGV[0], 'T');
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO audit (relation, op, full_row) VALUES (TG_ARGV[0], 'D', to_jsonb(OLD.*));
        ELSIF TG_OP = 'UPDATE' AND to_jsonb(OLD.*) -> TG_ARGV[1] <> to_jsonb(NEW.*) -> TG_ARGV[1] THEN
            INSERT INTO audit (relation, op, full_row) VALUES
                (TG_ARGV[0], 'D', to_jsonb(OLD.*)),
                (TG_ARGV[0], 'I', to_jsonb(NEW.*));
        ELSE
            INSERT INTO audit (relation, op, full_row)
            VALUES (TG_ARGV[0], substr(TG_OP, 1, 1), to_jsonb(NEW.*));
        END IF;
        RETURN NULL;
    END
    $$;";

pub struct Bench {
    pub warehouse: Warehouse,
    pub source_url: String,
    pub target_url: String,
    pub source: PgConnection,
    pub target: PgConnection,
}

impl Bench {
    /// Databases of a test's own: `sql` makes the source's tables, `tables` are those captured with their
    /// keys.
    pub async fn new(name: &str, sql: &str, tables: &[(&str, &[&str])]) -> Self {
        let server = Server::shared_scratch().expect("a scratch server");
        Self::on(server, server, name, sql, tables).await
    }

    pub async fn on(
        server: &Server,
        source_server: &Server,
        name: &str,
        sql: &str,
        tables: &[(&str, &[&str])],
    ) -> Self {
        let (source, target) = (format!("{name}_source"), format!("{name}_warehouse"));
        source_server.ensure_database(&source).expect("a source");
        let source_url = source_server.url(&source);
        let mut source = connection::connect(Database::Source, &source_url).await.expect("the source");
        run(&mut source, sql).await;
        run(&mut source, AUDIT).await;
        Self::over(server, source_url, source, &target, name, tables).await
    }

    /// A second warehouse that captures the same source, by a slot of its own.
    pub async fn beside(&self, name: &str, tables: &[(&str, &[&str])]) -> Self {
        let server = Server::shared_scratch().expect("a scratch server");
        let source = connection::connect(Database::Source, &self.source_url).await.expect("the source");
        Self::over(server, self.source_url.clone(), source, &format!("{name}_warehouse"), name, tables).await
    }

    async fn over(
        server: &Server,
        source_url: String,
        source: PgConnection,
        target: &str,
        name: &str,
        tables: &[(&str, &[&str])],
    ) -> Self {
        server.ensure_database(target).expect("a warehouse");
        let target_url = server.url(target);
        let mut target = connection::connect(Database::Warehouse, &target_url).await.expect("the warehouse");
        run(&mut target, BOOKKEEPING).await;
        for script in KEPT {
            run(&mut target, script).await;
        }
        let mut landings = Vec::new();
        for (table, key) in tables {
            run(
                &mut target,
                &format!(
                    "CREATE TABLE bronze.\"{table}\" (lsn bigint, op char(1), full_row jsonb,
                    load_ts timestamptz DEFAULT now(), commit_ts timestamptz, seq bigint, PRIMARY KEY (lsn, seq))"
                ),
            )
            .await;
            landings.push(Landing::new(
                Name::new("bronze", *table),
                Name::new("public", *table),
                key.iter().copied(),
            ));
        }
        let warehouse = Warehouse {
            name: "bench",
            spec_hash: "",
            objects_hash: "",
            time_zone: "UTC",
            schemas: vec![],
            source: Source {
                publication: "bench".to_owned(),
                slot: format!("bench_{name}"),
                recorded_log: None,
                keep_log: None,
                plugin: Plugin::default(),
                removed_partitions: RemovedPartitions::default(),
                polling: None,
            },
            landings,
            silver: vec![],
            marts: vec![],
            migrations: Vec::new,
            stagings: Vec::new(),
            calendars: Vec::new(),
            refused: &[],
            tags: Vec::new(),
            lineage: "[]",
            alerts: Vec::new(),
            scripts: Scripts::default(),
            tests: vec![],
            demo: vec![],
        };
        Self { warehouse, source_url, target_url, source, target }
    }

    /// Writes every further change of a table with a key of one column into `audit`.
    pub async fn audit(&mut self, table: &str, key: &str) {
        self.on_source(&format!(
            "CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON \"{table}\"
                FOR EACH ROW EXECUTE FUNCTION audit('{table}', '{key}');
            CREATE TRIGGER audit_truncate AFTER TRUNCATE ON \"{table}\"
                FOR EACH STATEMENT EXECUTE FUNCTION audit('{table}', '{key}')"
        ))
        .await;
    }

    pub async fn on_source(&mut self, sql: &str) {
        run(&mut self.source, sql).await;
    }

    pub async fn on_target(&mut self, sql: &str) {
        run(&mut self.target, sql).await;
    }

    /// Where both databases are.
    pub fn place(&self) -> Place {
        Place {
            source: self.source_url.clone(),
            warehouse: self.target_url.clone(),
            bronze: None,
            embedded: None,
        }
    }

    pub async fn try_capture(&mut self) -> Result<Captured> {
        self.capture_with(&mut Quiet).await
    }

    pub async fn capture(&mut self) -> Captured {
        self.try_capture().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// On a connection of its own, which is closed whatever happens, as a killed process's would be.
    pub async fn capture_with(&mut self, progress: &mut dyn Progress) -> Result<Captured> {
        capture(&self.warehouse, &self.source_url, &self.target_url, progress).await
    }

    /// The same; what is read ahead lands in two sessions.
    pub async fn capture_by_two(&mut self, progress: &mut dyn Progress) -> Result<Captured> {
        let mut target = connection::connect(Database::Warehouse, &self.target_url).await?;
        capture::capture_at(&self.warehouse, &self.place(), &mut target, progress).await
    }

    /// Lands what differs, and goes on from there.
    pub async fn try_resnapshot(&mut self, progress: &mut dyn Progress) -> Result<Resnapshot> {
        let mut target = connection::connect(Database::Warehouse, &self.target_url).await?;
        resnapshot::resnapshot(&self.warehouse, &self.source_url, &mut target, progress).await
    }

    pub async fn resnapshot(&mut self) -> Resnapshot {
        self.try_resnapshot(&mut Quiet).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn rehearse(&mut self) -> Resnapshot {
        self.try_rehearse().await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn try_rehearse(&mut self) -> Result<Resnapshot> {
        let mut target = connection::connect(Database::Warehouse, &self.target_url).await?;
        resnapshot::rehearse(&self.warehouse, &self.source_url, &mut target, &mut Quiet).await
    }

    /// Captures until a point is reached, and stops there.
    pub async fn capture_until(&mut self, point: Point) {
        let error = self.capture_with(&mut Stop(point)).await.expect_err("it stops");
        assert!(error.to_string().contains("stopped"), "{error}");
    }

    pub async fn error(&mut self) -> String {
        self.try_capture().await.expect_err("refused").to_string()
    }

    pub async fn target_value<T>(&mut self, sql: &str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        value(&mut self.target, sql).await
    }

    pub async fn source_value<T>(&mut self, sql: &str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        value(&mut self.source, sql).await
    }

    /// The major version of the source's server.
    pub async fn source_version(&mut self) -> i32 {
        self.source_value("SELECT current_setting('server_version_num')::integer / 10000").await
    }

    /// Every table's latest landed state equals its rows at the source, byte for byte.
    pub async fn assert_fold(&mut self) {
        for landing in self.warehouse.landings.clone() {
            let table = &landing.source.table;
            let keys: Vec<String> =
                landing.key.iter().map(|column| format!("full_row -> '{column}'")).collect();
            let keys = keys.join(", ");
            let folded: Vec<String> = value(
                &mut self.target,
                &format!(
                    "SELECT coalesce(array_agg(full_row::text ORDER BY full_row::text COLLATE \"C\"), '{{}}')
                    FROM (
                        SELECT DISTINCT ON ({keys}) op, full_row
                        FROM bronze.\"{table}\" AS landed
                        WHERE op <> 'T' AND NOT EXISTS (
                            SELECT
                            FROM bronze.\"{table}\" AS emptied
                            WHERE emptied.op = 'T'
                            AND (emptied.commit_ts, emptied.lsn, emptied.seq) > (landed.commit_ts, landed.lsn, landed.seq)
                        )
                        ORDER BY {keys}, commit_ts DESC, lsn DESC, seq DESC
                    ) AS latest
                    WHERE op <> 'D'"
                ),
            )
            .await;
            let rows: Vec<String> = value(
                &mut self.source,
                &format!(
                    "SELECT coalesce(array_agg(t ORDER BY t COLLATE \"C\"), '{{}}')
                    FROM (
                        SELECT (to_jsonb(x.*) - ARRAY (
                            SELECT attname::text
                            FROM pg_attribute
                            WHERE attrelid = '\"{table}\"'::regclass
                            AND attgenerated <> ''
                            AND (
                                current_setting('server_version_num')::integer < 180000
                                OR attname <> ALL (
                                    SELECT unnest(attnames) FROM pg_publication_tables WHERE tablename = '{table}'
                                )
                            )
                        ))::text AS t
                        FROM \"{table}\" AS x
                    ) AS rows"
                ),
            )
            .await;
            assert_eq!(folded, rows, "{table}");
        }
    }

    /// Every audited transaction is in bronze once, its changes in order; the tables were empty when capture
    /// began.
    pub async fn assert_once(&mut self) {
        let audited: Vec<String> = value(
            &mut self.source,
            "SELECT coalesce(array_agg(changes ORDER BY changes COLLATE \"C\"), '{}')
            FROM (
                SELECT string_agg(concat_ws(' ', relation, op, full_row::text), e'\\n' ORDER BY id) AS changes
                FROM audit
                GROUP BY xid
            ) AS transactions",
        )
        .await;
        let all = self.all_landed();
        let landed: Vec<String> = value(
            &mut self.target,
            &format!(
                "SELECT coalesce(array_agg(changes ORDER BY changes COLLATE \"C\"), '{{}}')
                FROM (
                    SELECT string_agg(concat_ws(' ', relation, op, full_row::text), e'\\n' ORDER BY seq) AS changes
                    FROM ({all}) AS landed
                    GROUP BY lsn
                ) AS transactions"
            ),
        )
        .await;
        assert_eq!(landed.len(), audited.len(), "as many transactions");
        for (landed, audited) in landed.iter().zip(&audited) {
            assert_eq!(landed, audited);
        }
        self.assert_times().await;
    }

    /// One system time a transaction, strictly rising with the position.
    pub async fn assert_times(&mut self) {
        let all = self.all_landed();
        let wrong: i64 = value(
            &mut self.target,
            &format!(
                "SELECT count(*)
                FROM (
                    SELECT
                        min(commit_ts) <> max(commit_ts) AS differ,
                        min(commit_ts) <= lag(max(commit_ts)) OVER (ORDER BY lsn) AS fall
                    FROM ({all}) AS landed
                    GROUP BY lsn
                ) AS transactions
                WHERE differ OR fall"
            ),
        )
        .await;
        assert_eq!(wrong, 0, "system times rise");
    }

    /// Somebody lands what a row was before all that is known of it, above all that has landed.
    pub async fn land_late(&mut self, table: &str, id: i64, changed: &str) {
        self.on_target(&format!(
            "INSERT INTO bronze.\"{table}\" (lsn, op, full_row, commit_ts, seq)
            SELECT (SELECT max(lsn) + 1 FROM bronze.\"{table}\"), 'U', full_row || '{changed}', '{LATE}', 1
            FROM bronze.\"{table}\"
            WHERE full_row ->> 'id' = '{id}'
            ORDER BY commit_ts
            LIMIT 1"
        ))
        .await;
    }

    /// All landed rows, with their table's name.
    pub fn all_landed(&self) -> String {
        let tables: Vec<String> = self
            .warehouse
            .landings
            .iter()
            .map(|landing| {
                let table = &landing.source.table;
                format!(
                    "SELECT '{table}' AS relation, lsn, seq, op, full_row, commit_ts FROM bronze.\"{table}\"
                    WHERE commit_ts <> '{LATE}'"
                )
            })
            .collect();
        tables.join(" UNION ALL ")
    }
}

/// Captures on connections of its own.
pub async fn capture(
    warehouse: &Warehouse,
    source_url: &str,
    target_url: &str,
    progress: &mut dyn Progress,
) -> Result<Captured> {
    let mut target = connection::connect(Database::Warehouse, target_url).await?;
    capture::capture(warehouse, source_url, &mut target, progress).await
}

pub async fn run(connection: &mut PgConnection, sql: &str) {
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub async fn value<T>(connection: &mut PgConnection, sql: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Says nothing, stops nowhere.
pub struct Quiet;

impl Progress for Quiet {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}
}

/// Stops at a point.
pub struct Stop(pub Point);

impl Progress for Stop {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}

    fn reached(&mut self, point: Point) -> Result<()> {
        if point == self.0 { Err(Error::new("stopped")) } else { Ok(()) }
    }
}

/// Does something at each point.
pub struct At<F: FnMut(Point) + Send>(pub F);

impl<F: FnMut(Point) + Send> Progress for At<F> {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}

    fn reached(&mut self, point: Point) -> Result<()> {
        (self.0)(point);
        Ok(())
    }
}

/// A session in a thread of its own: does what it is told, while a capture waits for it.
pub struct Writer {
    orders: Option<Sender<String>>,
    done: Mutex<Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn new(url: &str) -> Self {
        let (orders, taken) = channel::<String>();
        let (say, done) = channel();
        let url = url.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut connection = connection::connect(Database::Source, &url).await.expect("a connection");
                while let Ok(sql) = taken.recv() {
                    run(&mut connection, &sql).await;
                    say.send(()).expect("somebody waits");
                }
            });
        });
        Self { orders: Some(orders), done: Mutex::new(done), thread: Some(thread) }
    }

    /// Does it, and comes back when it is done.
    pub fn run(&self, sql: &str) {
        self.begin(sql).wait();
    }

    /// Begins it, and comes back at once.
    pub fn begin(&self, sql: &str) -> Begun<'_> {
        self.orders.as_ref().expect("not dropped").send(sql.to_owned()).expect("the writer lives");
        Begun(self)
    }
}

/// What a writer is at.
#[must_use]
pub struct Begun<'a>(&'a Writer);

impl Begun<'_> {
    pub fn wait(self) {
        self.0.done.lock().expect("one at a time").recv().expect("done");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
