//! What the binary says when it cannot work: one message with its remedy on standard error, status 2, nothing
//! half done, and never a password. The messages are the files in `refusals/`; `MEDALLION_UPDATE=1` rewrites
//! them.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::{env, fs};

use medallion_runtime::connection::{self, Database};
use medallion_server::Server;
use sqlx::PgConnection;

use crate::support::program::{self, command_on};
use crate::support::{Shop, compare};

/// In every URL that has one: must never come out.
const PASSWORD: &str = "correct-horse-battery";

/// A server of its own, for its settings and its slots change.
#[tokio::test]
async fn each_refusal_says_what_to_do_and_leaves_nothing_behind() {
    let server = Server::scratch().unwrap();
    let mut cases = Cases::open(&server).await;
    cases.settings().await;
    cases.addresses().await;
    cases.roles().await;
    cases.warehouses().await;
    cases.sources().await;
    cases.slots().await;
    cases.answers().await;
    cases.limits().await;
    cases.lock().await;
    cases.stopped();
    compare::assert_none("messages (MEDALLION_UPDATE=1 rewrites the files)", &cases.different);
}

struct Cases<'a> {
    server: &'a Server,
    shop: Shop,
    /// A session in a database that no case touches.
    control: PgConnection,
    different: Vec<String>,
}

impl<'a> Cases<'a> {
    async fn open(server: &'a Server) -> Self {
        let shop = Shop::open_as_is(server, "shop").await;
        shop.migrate().await;
        for name in ["empty_source", "empty_warehouse"] {
            server.ensure_database(name).unwrap();
        }
        let control = connection::connect(Database::Source, &server.url("postgres")).await.unwrap();
        Self { server, shop, control, different: Vec::new() }
    }

    /// The source's server writes too little to its log.
    async fn settings(&mut self) {
        compare::execute(&mut self.control, "ALTER SYSTEM SET wal_level = 'replica'").await;
        self.restart().await;
        self.refuses("wal_level", &["run"]).await;
        compare::execute(&mut self.control, "ALTER SYSTEM RESET wal_level").await;
        self.restart().await;
    }

    async fn addresses(&mut self) {
        let (source, warehouse) = (self.shop.place.source.clone(), self.shop.place.warehouse.clone());
        let malformed = format!("postgres//clerk:{PASSWORD}@localhost/warehouse");
        self.refuses_at("malformed_warehouse_url", &source, &malformed, &["run"]).await;
        for (case, verb) in [("another_scheme", "run"), ("another_scheme_of_status", "migrate status")] {
            let other = format!("mysql://clerk:{PASSWORD}@localhost/warehouse");
            let arguments: Vec<&str> = verb.split(' ').collect();
            self.refuses_at(case, &source, &other, &arguments).await;
        }
        let no_port = format!("postgresql://clerk:{PASSWORD}@localhost:many/source");
        self.refuses_at("malformed_source_url", &no_port, &warehouse, &["run"]).await;
        let nobody = format!("postgresql://clerk:{PASSWORD}@127.0.0.1:1/warehouse?sslmode=disable");
        self.refuses_at("nobody_listens", &source, &nobody, &["run"]).await;
        // The default patience is for a server that goes away, not for one that was never there.
        self.refuses_at("nobody_listens_at_the_source", &nobody, &warehouse, &["run"]).await;
        self.refuses_at("nobody_listens_to_status", &source, &nobody, &["migrate", "status"]).await;
        let absent = self.server.url("absent");
        self.refuses_at("no_warehouse_database", &source, &absent, &["run"]).await;
        self.refuses_at("no_source_database", &absent, &warehouse, &["run"]).await;
        self.refuses_at("migrate_without_database", &source, &absent, &["migrate", "up"]).await;
    }

    async fn roles(&mut self) {
        let file = compare::value(&mut self.control, "SELECT current_setting('hba_file')").await;
        let rules = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("local all clerk scram-sha-256\n{rules}")).unwrap();
        compare::execute(
            &mut self.control,
            &format!(
                "CREATE ROLE clerk LOGIN PASSWORD '{PASSWORD}';
                CREATE ROLE reader LOGIN;
                CREATE ROLE writer LOGIN;
                SELECT pg_reload_conf()"
            ),
        )
        .await;
        compare::execute(
            &mut self.shop.warehouse,
            "GRANT USAGE ON SCHEMA medallion, cdc_bronze, temporal_silver, simple_gold TO reader;
            GRANT SELECT ON ALL TABLES IN SCHEMA medallion, cdc_bronze, temporal_silver, simple_gold TO reader",
        )
        .await;
        let (source, warehouse) = (self.shop.place.source.clone(), self.shop.place.warehouse.clone());
        let wrong = as_role(&warehouse, &format!("clerk&password={PASSWORD}-wrong"));
        self.refuses_at("wrong_warehouse_password", &source, &wrong, &["run"]).await;
        let wrong = as_role(&source, &format!("clerk&password={PASSWORD}-wrong"));
        self.refuses_at("wrong_source_password", &wrong, &warehouse, &["run"]).await;
        self.refuses_at("read_only_role", &source, &as_role(&warehouse, "reader"), &["run"]).await;
        let unread = as_role(&warehouse, "writer");
        self.refuses_at("status_of_unreadable_warehouse", &source, &unread, &["migrate", "status"]).await;
        let empty = as_role(&self.server.url("empty_warehouse"), "reader");
        self.refuses_at("migrate_as_read_only_role", &source, &empty, &["migrate", "up"]).await;
        self.refuses_at("role_without_replication", &as_role(&source, "writer"), &warehouse, &["run"]).await;
        compare::execute(&mut self.control, "ALTER ROLE writer REPLICATION").await;
        self.refuses_at("role_that_reads_nothing", &as_role(&source, "writer"), &warehouse, &["run"]).await;
        compare::execute(&mut self.shop.source, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO writer")
            .await;
        self.refuses_at("role_that_owns_nothing", &as_role(&source, "writer"), &warehouse, &["run"]).await;
    }

    async fn warehouses(&mut self) {
        let source = self.shop.place.source.clone();
        let empty = self.server.url("empty_warehouse");
        self.refuses_at("not_migrated", &source, &empty, &["run"]).await;
        self.refuses_at("not_migrated_query", &source, &empty, &["query", "SELECT 1"]).await;
        self.refuses("another_spec", &["run", "--expect-spec", "0123456789abcdef"]).await;
        self.refuses("no_such_warehouse", &["run", "--warehouse", "sakila"]).await;
        for (case, column) in [("another_warehouse", "name"), ("other_objects", "objects_hash")] {
            let was = compare::value(
                &mut self.shop.warehouse,
                &format!("SELECT {column} FROM medallion.warehouse"),
            )
            .await;
            let set = |value: &str| format!("UPDATE medallion.warehouse SET {column} = '{value}'");
            compare::execute(&mut self.shop.warehouse, &set("sakila")).await;
            self.refuses(case, &["run"]).await;
            if column == "name" {
                self.refuses("another_warehouse_migrate", &["migrate", "up"]).await;
            }
            compare::execute(&mut self.shop.warehouse, &set(&was)).await;
        }
        self.refuses("migrate_fresh_unsure", &["migrate", "fresh"]).await;
        let mut other = connection::connect(Database::Warehouse, &empty).await.unwrap();
        compare::execute(
            &mut other,
            "CREATE SCHEMA simple_gold; CREATE TABLE simple_gold.precious AS SELECT 1 AS one",
        )
        .await;
        self.refuses_at("migrate_fresh_of_others", &source, &empty, &["migrate", "fresh", "--yes"]).await;
        assert_eq!(compare::value(&mut other, "SELECT one FROM simple_gold.precious").await, "1");
        self.refuses("query_that_writes", &["query", "DELETE FROM temporal_silver.fact_rental"]).await;
        let ended = "COMMIT; CREATE TABLE public.left_behind ()";
        self.refuses("query_of_several_statements", &["query", ended]).await;
        self.refuses("query_that_copies", &["query", "COPY (SELECT 1) TO STDOUT"]).await;
        let returning = "DELETE FROM temporal_silver.fact_rental RETURNING *";
        self.refuses("query_that_writes_and_answers", &["query", returning]).await;
        let doubled = "SELECT 1 AS one, 2 AS one";
        self.refuses("query_of_doubled_names", &["query", "--format", "json", doubled]).await;
        self.refuses("simulate_backwards", &["simulate", "--pause", "-1"]).await;
        self.refuses("query_that_is_wrong", &["query", "SELECT no_such_column FROM dim_customer"]).await;
        self.refuses("query_that_takes_too_long", &["query", "--timeout", "100ms", "SELECT pg_sleep(60)"])
            .await;
        self.refuses("query_without_a_unit", &["query", "--timeout", "30", "SELECT 1"]).await;
        self.refuses("query_of_nothing", &["query"]).await;
        let mart = "SELECT * FROM vw_monthly_revenue FOR SYSTEM_TIME AS OF '2025-07-01'";
        self.refuses("query_of_a_marts_system_time", &["query", mart]).await;
        let landing = "SELECT * FROM cdc_bronze.br_rental_cdc FOR SYSTEM_TIME ALL";
        self.refuses("query_of_what_has_no_versions", &["query", landing]).await;
        self.refuses("query_as_of_no_time", &["query", "--as-of", "yesteryear", "SELECT 1"]).await;
    }

    async fn sources(&mut self) {
        let warehouse = self.shop.place.warehouse.clone();
        let empty = self.server.url("empty_source");
        self.refuses_at("no_source_tables", &empty, &warehouse, &["run"]).await;
        for (case, change, back) in [
            (
                "a_missing_source_table",
                "ALTER TABLE inventory RENAME TO stock",
                "ALTER TABLE stock RENAME TO inventory",
            ),
            (
                "a_missing_key_column",
                "ALTER TABLE staff RENAME staff_id TO id",
                "ALTER TABLE staff RENAME id TO staff_id",
            ),
            (
                "replica_identity",
                "ALTER TABLE customer REPLICA IDENTITY NOTHING; ALTER TABLE payment_2022_01 REPLICA IDENTITY NOTHING",
                "ALTER TABLE customer REPLICA IDENTITY FULL; ALTER TABLE payment_2022_01 REPLICA IDENTITY FULL",
            ),
        ] {
            compare::execute(&mut self.shop.source, change).await;
            self.refuses(case, &["run"]).await;
            compare::execute(&mut self.shop.source, back).await;
        }
    }

    /// The source forgets what has not landed.
    async fn slots(&mut self) {
        compare::execute(
            &mut self.shop.source,
            "SELECT pg_create_logical_replication_slot('medallion_pagila', 'pgoutput')",
        )
        .await;
        self.refuses("a_slot_of_somebody_else", &["run"]).await;
        compare::execute(&mut self.shop.source, "SELECT pg_drop_replication_slot('medallion_pagila')").await;

        self.shop.run().await;
        compare::execute(&mut self.shop.source, "INSERT INTO language (name) VALUES ('Latin')").await;
        compare::execute(
            &mut self.shop.source,
            "SELECT pg_replication_slot_advance('medallion_pagila', pg_current_wal_insert_lsn())",
        )
        .await;
        self.refuses("a_gap", &["run"]).await;
        let other = self.server.url("empty_source");
        let warehouse = self.shop.place.warehouse.clone();
        self.refuses_at("another_source", &other, &warehouse, &["run"]).await;
        let absent = self.server.url("absent");
        let down = ["migrate", "down", "--yes"];
        self.refuses_at("migrate_down_without_source", &absent, &warehouse, &down).await;
        let mut reader = connection::connect(Database::Warehouse, &warehouse).await.unwrap();
        compare::execute(&mut reader, "BEGIN; LOCK TABLE simple_gold.vw_top_titles IN ACCESS SHARE MODE")
            .await;
        let soon = ["migrate", "down", "--yes", "--lock-timeout", "1", "--patience", "0"];
        self.refuses("migrate_down_in_use", &soon).await;
        drop(reader);
        self.take_the_way_out().await;
        compare::execute(&mut self.shop.source, "SELECT pg_drop_replication_slot('medallion_pagila')").await;
        self.refuses("a_lost_slot", &["run"]).await;
        self.take_the_way_out().await;
        compare::execute(&mut self.shop.source, "DROP PUBLICATION medallion_pagila").await;
        self.refuses("a_lost_publication", &["run"]).await;
        self.take_the_way_out().await;
    }

    /// Takes the way out that the messages name, and it is one.
    async fn take_the_way_out(&mut self) {
        self.refuses("resnapshot_unsure", &["source", "resnapshot"]).await;
        for arguments in [&["source", "resnapshot", "--yes"][..], &["run"]] {
            let output = program::command(&self.shop, arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", program::stderr(&output));
        }
        let languages = "SELECT count(*) FROM temporal_silver.lookup_language";
        assert_eq!(compare::value(&mut self.shop.warehouse, languages).await, "1");
    }

    /// What is close to a refusal, and none.
    async fn answers(&mut self) {
        let place = self.shop.place.clone();
        let ask = |arguments: &[&str]| {
            let mut command = command_on(&place.source, &place.warehouse, arguments);
            let output = command.env("MEDALLION_WAREHOUSE", "").output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", program::stderr(&output));
            (String::from_utf8(output.stdout.clone()).unwrap(), program::stderr(&output))
        };
        let (status, _) = ask(&["migrate", "status"]);
        assert_eq!(status, "applied  m000001_baseline\n");
        let (empty, _) = ask(&["query", "--format", "csv", "SELECT 1 AS one, 2 AS two WHERE false"]);
        assert_eq!(empty, "one,two\n");
        let (json, _) = ask(&["query", "--format", "json", "SELECT 1.50 AS z, true AS a"]);
        assert_eq!(json, "[\n  {\n    \"z\": 1.50,\n    \"a\": true\n  }\n]\n");
        let count = "SELECT count(*) FROM lookup_language";
        let (past, said) = ask(&["query", "--format", "csv", "--as-of", "-infinity", count]);
        assert_eq!((past.as_str(), said.as_str()), ("count\n0\n", ""));
        let (_, said) =
            ask(&["query", "--as-of", "2025-07-01", "SELECT count(*) FROM temporal_silver.dim_film"]);
        assert!(said.starts_with("WARN `temporal_silver.…` is read as of now"), "{said}");
        let past = "SELECT count(*) FROM dim_film FOR SYSTEM_TIME AS OF '-infinity'";
        let (count, _) = ask(&["query", "--format", "csv", past]);
        assert_eq!(count, "count\n0\n");
        let (explained, _) = ask(&["query", "--explain", past]);
        assert!(explained.starts_with("SELECT count(*) FROM (\n    SELECT\n"), "{explained}");
        assert!(explained.ends_with(") AS \"dim_film\"\n"), "{explained}");
        self.piped(&place.source, &place.warehouse);
        self.reader(&place.warehouse).await;
    }

    /// A question on standard input.
    fn piped(&self, source: &str, warehouse: &str) {
        let mut command = command_on(source, warehouse, &["query", "--format", "csv"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"SELECT 1 AS one;\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "one\n1\n", "{}", program::stderr(&output));
    }

    /// A role with the README's grants and no other.
    async fn reader(&mut self, warehouse: &str) {
        compare::execute(
            &mut self.shop.warehouse,
            "CREATE ROLE asker LOGIN;
            GRANT USAGE ON SCHEMA temporal_silver, simple_gold, as_of TO asker;
            GRANT SELECT ON ALL TABLES IN SCHEMA temporal_silver, simple_gold, as_of TO asker",
        )
        .await;
        let url = as_role(warehouse, "asker");
        for arguments in [
            &["query", "--format", "csv", "SELECT count(*) >= 0 AS it FROM vw_store_scorecard"][..],
            &[
                "query",
                "--format",
                "csv",
                "--as-of",
                "2025-07-01",
                "SELECT count(*) >= 0 AS it FROM vw_top_titles",
            ],
            &["query", "--format", "csv", "SELECT count(*) >= 0 AS it FROM dim_customer FOR SYSTEM_TIME ALL"],
        ] {
            let output = command_on(&url, &url, arguments).output().unwrap();
            let said = program::stderr(&output);
            assert_eq!(String::from_utf8_lossy(&output.stdout), "it\nt\n", "{arguments:?}: {said}");
        }
        let lookup = "SELECT * FROM lookup_store FOR SYSTEM_TIME ALL";
        self.refuses_at("query_of_a_history_that_is_not_granted", &url, &url, &["query", lookup]).await;
    }

    /// A run takes the time that it needs, whatever its role or database allow their sessions.
    async fn limits(&mut self) {
        let limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
        for limit in limits {
            let set = format!("ALTER DATABASE shop_warehouse SET {limit} = '1h'");
            compare::execute(&mut self.control, &set).await;
        }
        let limited = limits.map(|limit| format!("current_setting('{limit}') <> '0'")).join(" OR ");
        compare::execute(
            &mut self.shop.warehouse,
            &format!(
                "CREATE FUNCTION public.refuse_limits() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN IF {limited} THEN RAISE EXCEPTION 'limited'; END IF; RETURN NULL; END $$;
                CREATE TRIGGER refuse_limits AFTER INSERT ON medallion.pipeline_metadata
                EXECUTE FUNCTION public.refuse_limits()"
            ),
        )
        .await;
        let output = program::command(&self.shop, &["run"]).output().unwrap();
        assert!(output.status.success(), "{}", program::stderr(&output));
    }

    /// Somebody else is at work, and stays.
    async fn lock(&mut self) {
        let mut other = connection::connect(Database::Warehouse, &self.shop.place.warehouse).await.unwrap();
        medallion_runtime::lock::take(&mut other).await.unwrap();
        self.refuses("another_run", &["run"]).await;
    }

    fn stopped(&mut self) {
        let folder = socket_folder(self.server);
        self.server.stop().unwrap();
        let output = program::command(&self.shop, &["run"]).output().unwrap();
        self.check("stopped_server", &folder, &output);
    }

    async fn refuses(&mut self, case: &str, arguments: &[&str]) {
        let place = self.shop.place.clone();
        self.refuses_at(case, &place.source, &place.warehouse, arguments).await;
    }

    async fn refuses_at(&mut self, case: &str, source: &str, warehouse: &str, arguments: &[&str]) {
        let before = self.traces().await;
        let output = command_on(source, warehouse, arguments).output().unwrap();
        let folder = socket_folder(self.server);
        self.check(case, &folder, &output);
        let after = self.traces().await;
        self.different.extend(compare::difference(&format!("{case} left something"), &before, &after));
    }

    fn check(&mut self, case: &str, folder: &str, output: &std::process::Output) {
        let said = program::stderr(output);
        let context = format!("{case}: {said}{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(2), "{context}");
        assert!(output.stdout.is_empty(), "{context}");
        assert!(!said.contains(PASSWORD), "{context}");
        let said = steady(&said.replace(folder, "<socket>"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/refusals/{case}.txt"));
        if env::var_os("MEDALLION_UPDATE").is_some_and(|value| value == "1") {
            fs::write(&path, &said).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if said != expected {
            self.different.push(format!("{case}: expected\n{expected}found\n{said}"));
        }
    }

    /// What a run would leave: slots, publications, and rows in bronze.
    async fn traces(&mut self) -> Vec<String> {
        let mut traces =
            compare::rows(&mut self.control, "SELECT 'slot', slot_name FROM pg_replication_slots").await;
        traces.extend(
            compare::rows(&mut self.shop.source, "SELECT 'publication', pubname FROM pg_publication").await,
        );
        for landing in &self.shop.descriptor.landings {
            let sql = format!("SELECT '{0}', count(*) FROM {0}", landing.table);
            traces.extend(compare::rows(&mut self.shop.warehouse, &sql).await);
        }
        traces.sort_unstable();
        traces
    }

    async fn restart(&mut self) {
        self.server.stop().unwrap();
        self.server.start().unwrap();
        self.shop.reconnect().await;
        self.control = connection::connect(Database::Source, &self.server.url("postgres")).await.unwrap();
    }
}

/// The URL with another role.
fn as_role(url: &str, role: &str) -> String {
    url.replace("user=medallion", &format!("user={role}"))
}

/// The folder of the server's socket, out of its URL.
fn socket_folder(server: &Server) -> String {
    let url = server.url("postgres");
    let (_, rest) = url.split_once("host=").unwrap();
    let (folder, _) = rest.split_once('&').unwrap();
    folder.replace("%2F", "/")
}

/// The message without what differs from one time to the next.
fn steady(said: &str) -> String {
    let mut said = program::as_before_18(said);
    for (before, characters) in [
        ("server process ", "0123456789"),
        ("since ", "0123456789-: UTC"),
        ("confirmed to ", "0123456789ABCDEF/"),
        ("changes up to ", "0123456789ABCDEF/"),
    ] {
        let mut from = 0;
        while let Some(start) = said[from..].find(before).map(|place| from + place + before.len()) {
            let length = said[start..].find(|character| !characters.contains(character)).unwrap_or(0);
            said.replace_range(start..start + length, "…");
            from = start;
        }
    }
    said
}
