//! Bronze in a database of its own: the laws are the same, whatever dies, the two databases' commits included.
//! The warehouse is Pagila's, of which nothing but where it lands is told otherwise.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use medallion_runtime::capture::{self, resnapshot};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Name;
use medallion_runtime::diff::{self, Question};
use medallion_runtime::forget::{self, Current, Extent, Subject};
use medallion_runtime::progress::Silent;
use medallion_runtime::watch::{self, Pace, Pulse, Stop};
use medallion_runtime::{apart, migrate, rebuild, run, script, survey, verify};
use medallion_server::Server;
use sea_orm_migration::prelude::*;
use sqlx::PgConnection;

use crate::chaos::Dice;
use crate::support::audit::{self, Landed};
use crate::support::{Shop, State, compare, figures, laws, state};

/// How often something dies.
const KILLS: u64 = 14;

/// A shop whose changes land on a server of their own, or beside the warehouse.
async fn open(server: &Server, bronze: &Server, name: &str) -> (Shop, PgConnection) {
    let mut shop = Shop::open(server, name).await;
    for landing in &mut shop.descriptor.landings {
        landing.is_apart = true;
    }
    let database = format!("{name}_bronze");
    bronze.ensure_database(&database).unwrap();
    shop.place.bronze = Some(bronze.url(&database));
    let session = connection::connect(Database::Bronze, &bronze.url(&database)).await.unwrap();
    (shop, session)
}

/// A few rows.
async fn stock(shop: &mut Shop) {
    let before =
        "INSERT INTO language (name) VALUES ('Language'); INSERT INTO category (name) VALUES ('Drama')";
    compare::execute(&mut shop.source, before).await;
    compare::execute(&mut shop.source, crate::forget::STOCK).await;
}

/// Every law, and that nothing has landed in the warehouse.
async fn assert_sound(shop: &mut Shop, context: &str) {
    laws::assert_hold(shop, context).await;
    let checks = verify::verify(&shop.descriptor, &shop.place, |_| ()).await.unwrap();
    let broken: Vec<_> = checks.iter().filter(|one| one.broken > 0 || one.waits.is_some()).collect();
    assert!(broken.is_empty(), "{context}: {broken:?}");
    for landing in &shop.descriptor.landings {
        let here = format!("SELECT count(*) FROM ONLY {}", landing.table);
        assert_eq!(compare::value(&mut shop.warehouse, &here).await, "0", "{context}: {here}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_lands_once_on_another_server_and_counts_once_whatever_dies() {
    let (server, bronze) = (Server::scratch().unwrap(), Server::scratch().unwrap());
    let (mut shop, _) = open(&server, &bronze, "apart").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    state::record_stock_of_log(&mut shop.source).await;
    audit::begin(&mut shop.source).await;
    shop.migrate().await;
    let mut dice = Dice(11);
    let mut kept = Vec::new();
    let traffic = shop.descriptor.scripts.traffic.expect("Pagila brings traffic");
    for kill in 1..=KILLS {
        script::execute(Database::Source, &shop.place.source, "traffic.sql", traffic).await.unwrap();
        let what = kill_a_run(&mut shop, [&server, &bronze], &mut dice).await;
        if kill % 5 == 0 {
            shop.run().await;
            audit::assert_once(&mut shop, Landed::Everything, &format!("kill {kill}: {what}")).await;
            kept.push(State::keep(&mut shop.source, &format!("kept_{kill}")).await);
        }
    }
    shop.run().await;
    audit::assert_once(&mut shop, Landed::Everything, "in the end").await;
    let last = State::keep(&mut shop.source, "last").await;
    figures::assert_now(&mut shop, &last, "in the end").await;
    for state in &kept {
        let time = shop.time_of(state.position).await;
        figures::assert_as_of(&mut shop, state, &time, &state.schema).await;
    }
    assert_sound(&mut shop, "in the end").await;
    let rebuilt = rebuild::rebuild(&shop.descriptor, &shop.place, &[], &mut Silent).await.unwrap();
    assert!(rebuilt.differed.iter().all(|(_, rows)| *rows == 0), "{:?}", rebuilt.differed);
}

/// Starts a run and lets something die on its way.
async fn kill_a_run(shop: &mut Shop, servers: [&Server; 2], dice: &mut Dice) -> &'static str {
    let mut watches = Vec::new();
    for server in servers {
        let session = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
        watches.push(session);
    }
    for watch in &mut watches {
        compare::execute(watch, "SET application_name = 'test'").await;
    }
    let what = dice.roll(4);
    let looks = dice.roll(60);
    let terminate = |names: &str| {
        format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name IN ({names}) AND datname <> 'postgres' AND pid <> pg_backend_pid()"
        )
    };
    let dies = async {
        for _ in 0..looks {
            compare::value(&mut watches[0], "SELECT count(*) FROM pg_stat_activity").await;
        }
        match what {
            0 => "the loader",
            1 => {
                compare::value(&mut watches[1], &terminate("'medallion'")).await;
                "the sessions that land"
            }
            2 => {
                compare::value(&mut watches[1], &terminate("'postgres_fdw', 'medallion'")).await;
                "all sessions of bronze"
            }
            _ => {
                compare::value(&mut watches[0], &terminate("'medallion'")).await;
                "the sessions of source and warehouse"
            }
        }
    };
    let mut progress = Silent;
    let mut running =
        Box::pin(run::run_patiently(&shop.descriptor, &shop.place, Duration::from_secs(60), &mut progress));
    tokio::pin!(dies);
    let mut ended = false;
    let said = tokio::select! {
        said = &mut dies => said,
        _ = &mut running => { ended = true; "nothing, for it had ended" }
    };
    // What lost its sessions says so, or goes on.
    if what > 0 && !ended {
        let _ = (&mut running).await;
    }
    drop(running);
    // The shop's own sessions have the same name.
    shop.reconnect().await;
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dies_between_the_two_commits_is_finished() {
    let server = Server::scratch().unwrap();
    let (mut shop, mut bronze) = open(&server, &server, "between").await;
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    shop.change("UPDATE customer SET last_name = 'Umbleworth', address_id = 2 WHERE customer_id = 1").await;
    shop.run().await;
    shop.change("UPDATE customer SET address_id = 2 WHERE customer_id = 2").await;
    shop.change(crate::forget::LEAVE).await;
    shop.run().await;

    // A change lands late, and the one who takes its note dies when the note has gone.
    for (number, name) in [(1, "Once"), (2, "Twice")] {
        land_late(&mut bronze, number, name).await;
        if number == 2 {
            arm(&mut bronze, "medallion.late_change").await;
        }
        shop.run().await;
        shop.reconnect().await;
        let sql =
            format!("SELECT count(*) FROM temporal_silver.dim_customer_hist WHERE last_name = '{name}'");
        assert_eq!(compare::value(&mut shop.warehouse, &sql).await, "1", "{name}");
        assert_sound(&mut shop, name).await;
    }
    assert_fired(&mut bronze).await;

    // An erasure dies when bronze has lost the subject and silver has it still.
    arm(&mut bronze, "cdc_bronze.br_customer_cdc").await;
    let key = ["1".to_owned()];
    let subject = Subject::find(&shop.descriptor, "dim_customer", &key).unwrap();
    let erased = forget::forget(&shop.descriptor, &shop.place, &subject, Current::Refuse, Extent::Keep).await;
    assert!(erased.is_err(), "{erased:?}");
    assert_fired(&mut bronze).await;
    shop.reconnect().await;
    let landed = "SELECT count(*) FROM cdc_bronze.br_customer_cdc WHERE full_row ->> 'customer_id' = '1'";
    let stored = "SELECT count(*) FROM temporal_silver.dim_customer_hist WHERE customer_id = 1";
    assert_eq!(compare::value(&mut bronze, landed).await, "0");
    assert_ne!(compare::value(&mut shop.warehouse, stored).await, "0", "it died in between");

    shop.run().await;
    assert_eq!(compare::value(&mut shop.warehouse, stored).await, "0");
    assert_sound(&mut shop, "finished").await;
    for session in [&mut bronze, &mut shop.warehouse] {
        let sql = "SELECT string_agg(relation, ',') FROM medallion.erasure";
        assert_eq!(compare::value(session, sql).await, "temporal_silver.dim_customer_hist");
    }
    let said = "SELECT count(*) FROM medallion_bronze.forgetting";
    assert_eq!(compare::value(&mut shop.warehouse, said).await, "0");
    let said = crate::forget::tables_that_say(&mut bronze, &crate::forget::OF_CUSTOMER).await;
    assert!(said.is_empty(), "{said:?}");
    let said = crate::forget::tables_that_say(&mut shop.warehouse, &crate::forget::OF_CUSTOMER).await;
    assert!(said.is_empty(), "{said:?}");
}

/// Lands, by hand and below what has been applied, that customer 2 had another name for a while.
async fn land_late(bronze: &mut PgConnection, number: i64, name: &str) {
    let sql = format!(
        "INSERT INTO cdc_bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq)
        SELECT lsn, 'U', full_row || '{{\"last_name\": \"{name}\"}}', commit_ts + {number} * interval '1 microsecond', 1000 + {number}
        FROM cdc_bronze.br_customer_cdc
        WHERE full_row ->> 'customer_id' = '2'
        ORDER BY lsn LIMIT 1"
    );
    compare::execute(bronze, &sql).await;
}

/// Has whoever deletes rows of a table of bronze from the warehouse die while that is committed, once.
async fn arm(bronze: &mut PgConnection, table: &str) {
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS armed;
        CREATE TABLE IF NOT EXISTS armed.trap (fired boolean NOT NULL DEFAULT false);
        INSERT INTO armed.trap DEFAULT VALUES;
        CREATE OR REPLACE FUNCTION armed.kill() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE armed.trap SET fired = true WHERE NOT fired;
            IF FOUND THEN
                PERFORM pg_terminate_backend(pid, 30000) FROM pg_stat_activity
                WHERE datname = 'between_warehouse' AND application_name = 'medallion' AND state = 'active';
            END IF;
            RETURN NULL;
        END
        $$;
        DROP TRIGGER IF EXISTS armed ON {table};
        CREATE CONSTRAINT TRIGGER armed AFTER DELETE ON {table} DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION armed.kill()"
    );
    compare::execute(bronze, &sql).await;
}

async fn assert_fired(bronze: &mut PgConnection) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while compare::value(bronze, "SELECT bool_and(fired) FROM armed.trap").await != "t" {
        assert!(Instant::now() < deadline, "nothing was deleted");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_asked_of_bronze_is_asked_over_there() {
    let server = Server::shared_scratch().unwrap();
    let (mut shop, mut bronze) = open(server, server, "asked").await;
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    // What a run asks: the changes since, how far bronze goes, and single changes by their positions.
    compare::execute(
        &mut shop.warehouse,
        "CREATE TEMPORARY TABLE late AS SELECT max(lsn) AS lsn, max(seq) AS seq FROM cdc_bronze.br_customer_cdc;
        ANALYZE late",
    )
    .await;
    compare::execute(
        &mut bronze,
        "INSERT INTO cdc_bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq)
        SELECT n, 'U', '{}', '2000-01-01', 1 FROM generate_series(-100000, -1) AS n;
        ANALYZE cdc_bronze.br_customer_cdc",
    )
    .await;
    for (asked, over_there) in [
        (
            "SELECT full_row FROM cdc_bronze.br_customer_cdc WHERE lsn > 7 AND lsn <= 9",
            &["((lsn > 7)) AND ((lsn <= 9))"][..],
        ),
        (
            "SELECT lsn FROM cdc_bronze.br_customer_cdc ORDER BY lsn DESC, seq DESC LIMIT 1",
            &["ORDER BY lsn DESC NULLS FIRST, seq DESC NULLS FIRST"],
        ),
        (
            "SELECT full_row FROM cdc_bronze.br_customer_cdc AS change WHERE (lsn, seq) IN (SELECT lsn, seq FROM late)",
            // Which side the parameter stands on is the server's version's.
            &["WHERE ", "$1::bigint", "$2::bigint"],
        ),
    ] {
        let sql = format!("EXPLAIN (VERBOSE, COSTS OFF) {asked}");
        let plan: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut shop.warehouse).await.unwrap();
        let remote: Vec<&String> = plan.iter().filter(|line| line.contains("Remote SQL")).collect();
        let is_asked = |said: &&str| remote[0].contains(*said);
        assert!(remote.len() == 1 && over_there.iter().all(is_asked), "{plan:#?}");
    }
    // Nobody lands here by mistake.
    let landed = "INSERT INTO cdc_bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq) VALUES (1, 'I', '{}', now(), 1)";
    let refused = sqlx::query(landed).execute(&mut shop.warehouse).await.unwrap_err().to_string();
    assert!(refused.contains("stands in another database"), "{refused}");
    // The guards stand where the rows do.
    compare::execute(&mut bronze, "ALTER TABLE cdc_bronze.br_customer_cdc DISABLE TRIGGER refuse_change")
        .await;
    let checks = verify::verify(&shop.descriptor, &shop.place, |_| ()).await.unwrap();
    let broken: BTreeSet<&str> =
        checks.iter().filter(|one| one.broken > 0).map(|one| one.relation.as_str()).collect();
    assert_eq!(broken, BTreeSet::from(["cdc_bronze.br_customer_cdc"]));
}

#[tokio::test]
async fn another_arrangement_than_the_spec_s_is_refused() {
    let server = Server::shared_scratch().unwrap();
    let (mut shop, bronze) = open(server, server, "arranged").await;
    drop(bronze);
    let refused = |error: medallion_runtime::error::Error, says: &str| {
        assert!(error.to_string().contains(says), "{error}");
    };
    let apart = shop.place.bronze.clone();
    shop.place.bronze = Some(shop.place.warehouse.clone());
    refused(migrate::up(&shop.descriptor, &shop.place).await.unwrap_err(), "name one database");
    shop.place.bronze = None;
    refused(migrate::up(&shop.descriptor, &shop.place).await.unwrap_err(), "BRONZE_DATABASE_URL");
    shop.place.bronze = apart;
    shop.migrate().await;
    // What was made twice is made once more.
    shop.migrate().await;
    let mut within = warehouse::pagila::warehouse();
    within.source.slot.clone_from(&shop.descriptor.source.slot);
    refused(migrate::check(&within, &mut shop.warehouse).await.unwrap_err(), "the spec does not say so");
    apart::attach::detach(&mut shop.warehouse).await.unwrap();
    let error = run::run(&shop.descriptor, &shop.place, &mut Silent).await.unwrap_err();
    refused(error, "is not attached");
    shop.migrate().await;
    shop.run().await;
    migrate::fresh(&shop.descriptor, &shop.place).await.unwrap();
    migrate::down(&shop.descriptor, &shop.place).await.unwrap();
    // In one database, and then apart: what has landed there would be seen beside what lands elsewhere.
    shop.place.bronze = None;
    migrate::up(&within, &shop.place).await.unwrap();
    run::run(&within, &shop.place, &mut Silent).await.unwrap();
    stock(&mut shop).await;
    run::run(&within, &shop.place, &mut Silent).await.unwrap();
    shop.place.bronze = Some(server.url("arranged_bronze"));
    let error = migrate::up(&shop.descriptor, &shop.place).await.unwrap_err();
    refused(error, "has rows in the warehouse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lands_in_a_copy_that_the_warehouse_does_not_read() {
    let server = Server::shared_scratch().unwrap();
    let (mut shop, bronze) = open(server, server, "copied").await;
    drop(bronze);
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    shop.reconnect().await;
    let mut admin = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
    compare::execute(&mut admin, "CREATE DATABASE copied_bronze_again TEMPLATE copied_bronze").await;
    let attached = shop.place.bronze.replace(server.url("copied_bronze_again"));
    let mut copy = connection::connect(Database::Bronze, &server.url("copied_bronze_again")).await.unwrap();
    shop.change("UPDATE customer SET last_name = 'Umbleworth' WHERE customer_id = 1").await;
    let landed =
        "SELECT (SELECT count(*) FROM cdc_bronze.br_customer_cdc), * FROM medallion.source_position AS at";
    let landed = format!("SELECT told::text FROM ({landed}) AS told");
    let before = compare::value(&mut copy, &landed).await;
    let (warehouse, place) = (&shop.descriptor, &shop.place);
    let key = ["2".to_owned()];
    let subject = Subject::find(warehouse, "dim_customer", &key).unwrap();
    let (stop, pulse) = (Stop::default(), Pulse::default());
    for refused in [
        run::run(warehouse, place, &mut Silent).await.map(drop),
        watch::watch(warehouse, place, Pace::default(), &stop, &pulse, &mut Silent).await.map(drop),
        forget::forget(warehouse, place, &subject, Current::Refuse, Extent::Keep).await.map(drop),
        verify::verify(warehouse, place, |_| ()).await.map(drop),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("attached to another bronze database"), "{error}");
    }
    assert_eq!(compare::value(&mut copy, &landed).await, before);
    // Attached, it is the one; and the other is no more.
    shop.migrate().await;
    shop.run().await;
    assert_sound(&mut shop, "the copy").await;
    shop.place.bronze = attached;
    let error = run::run(&shop.descriptor, &shop.place, &mut Silent).await.unwrap_err().to_string();
    assert!(error.contains("attached to another bronze database"), "{error}");
}

/// What comes after the baseline.
struct Till;

impl MigrationName for Till {
    fn name(&self) -> &str {
        "m000002_till"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Till {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("CREATE TABLE public.till ()").await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP TABLE public.till").await.map(drop)
    }
}

#[tokio::test]
async fn the_last_migration_is_taken_back_where_it_is() {
    let server = Server::shared_scratch().unwrap();
    let (mut shop, mut bronze) = open(server, server, "uneven").await;
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    shop.descriptor.migrations = || {
        let mut all = (warehouse::pagila::warehouse().migrations)();
        all.push(Box::new(Till));
        all
    };
    let stored = "SELECT count(*) FROM temporal_silver.dim_customer_hist";
    let before = compare::value(&mut shop.warehouse, stored).await;
    let tills = "SELECT coalesce(to_regclass('public.till')::text, 'none')";
    // The one that fails in the warehouse has gone well in bronze; the one that is taken back there fails in bronze.
    compare::execute(&mut shop.warehouse, "CREATE TABLE public.till ()").await;
    migrate::up(&shop.descriptor, &shop.place).await.unwrap_err();
    compare::execute(&mut shop.warehouse, "DROP TABLE public.till").await;
    for number in 1..=2 {
        if number == 2 {
            shop.migrate().await;
            compare::execute(&mut bronze, "CREATE VIEW public.tills AS SELECT FROM public.till").await;
            migrate::down(&shop.descriptor, &shop.place).await.unwrap_err();
            compare::execute(&mut bronze, "DROP VIEW public.tills").await;
        }
        assert_eq!(compare::value(&mut bronze, tills).await, "till");
        assert_eq!(compare::value(&mut shop.warehouse, tills).await, "none");
        let taken = migrate::down(&shop.descriptor, &shop.place).await.unwrap();
        assert_eq!(taken.as_deref(), Some("m000002_till"), "{number}");
        assert_eq!(compare::value(&mut bronze, tills).await, "none");
        assert_eq!(compare::value(&mut shop.warehouse, stored).await, before);
    }
    shop.migrate().await;
    shop.run().await;
    assert_sound(&mut shop, "even").await;
}

#[tokio::test]
async fn what_stands_in_the_warehouse_is_told_where_bronze_is_out_of_reach() {
    let server = Server::shared_scratch().unwrap();
    let (mut shop, bronze) = open(server, server, "unseen").await;
    drop(bronze);
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    let whole = survey::look(&shop.descriptor, &shop.place).await.unwrap();
    assert!(whole.bronze_unseen.is_none() && whole.landed.is_some());
    let mut admin = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
    for (sql, says) in [
        (
            "DROP DATABASE unseen_bronze WITH (FORCE)",
            "create the database, or correct the name in BRONZE_DATABASE_URL",
        ),
        ("CREATE DATABASE unseen_bronze", "run `medallion migrate up`"),
    ] {
        compare::execute(&mut admin, sql).await;
        let seen = survey::look(&shop.descriptor, &shop.place).await.unwrap();
        let why = seen.bronze_unseen.unwrap_or_default();
        assert!(why.contains(says), "{why}");
        // All but what stands there is told.
        assert!(seen.landed.is_none() && seen.slot.is_some_and(|slot| slot.exists) && seen.runs.len() == 1);
        let told = |all: &[survey::Relation]| -> Vec<(String, i64)> {
            let here = all.iter().filter(|one| one.layer != "bronze");
            here.map(|one| (one.name.clone(), one.rows)).collect()
        };
        assert_eq!(told(&seen.relations), told(&whole.relations));
        assert!(seen.relations.iter().all(|one| one.layer != "bronze"));
    }
    // Whoever reads it through the warehouse says where to look.
    compare::execute(&mut admin, "DROP DATABASE unseen_bronze WITH (FORCE)").await;
    let question = Question { relation: "dim_customer", from: "2000-01-01", to: "2001-01-01", limit: 1 };
    for failed in [
        rebuild::rebuild(&shop.descriptor, &shop.place, &[], &mut Silent).await.map(drop),
        diff::diff(&shop.descriptor, &shop.place, &question).await.map(drop),
    ] {
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("check host, port and login in BRONZE_DATABASE_URL"), "{error}");
    }
}

/// Nobody writes this by accident.
const PASSWORD: &str = "hunter2-apart-x7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_lands_there_by_a_login_of_its_own_and_no_log_has_a_password() {
    let (server, bronze) = (Server::scratch().unwrap(), Server::scratch().unwrap());
    let (mut shop, mut there) = open(&server, &bronze, "logins").await;
    stock(&mut shop).await;
    compare::execute(&mut shop.warehouse, "ALTER SYSTEM SET log_statement = 'all'").await;
    server.stop().unwrap();
    server.start().unwrap();
    shop.reconnect().await;
    compare::execute(
        &mut shop.warehouse,
        "CREATE EXTENSION postgres_fdw;
        CREATE ROLE keeps LOGIN CREATEROLE;
        GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO keeps;
        ALTER DATABASE logins_warehouse OWNER TO keeps",
    )
    .await;
    compare::execute(
        &mut there,
        &format!(
            "CREATE ROLE keeps LOGIN CREATEROLE PASSWORD '{PASSWORD}';
            CREATE ROLE lands LOGIN PASSWORD '{PASSWORD}';
            ALTER DATABASE logins_bronze OWNER TO keeps"
        ),
    )
    .await;
    // Neither database leaves anything to PUBLIC.
    let hardened = "ALTER DEFAULT PRIVILEGES FOR ROLE keeps REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
        ALTER DEFAULT PRIVILEGES FOR ROLE keeps REVOKE USAGE ON TYPES FROM PUBLIC";
    compare::execute(&mut shop.warehouse, hardened).await;
    compare::execute(&mut shop.warehouse, "REVOKE ALL ON DATABASE logins_warehouse FROM PUBLIC").await;
    compare::execute(&mut there, hardened).await;
    compare::execute(&mut there, "REVOKE ALL ON DATABASE logins_bronze FROM PUBLIC").await;
    compare::execute(
        &mut there,
        "COPY (SELECT line FROM unnest(ARRAY['local all keeps,lands scram-sha-256', 'local all all trust']) AS line)
        TO PROGRAM 'umask 077; cat > pg_hba.conf'",
    )
    .await;
    compare::execute(&mut there, "SELECT pg_reload_conf()").await;
    let whole = shop.place.clone();
    let at = |url: &str, role: &str| url.replace("user=medallion", &format!("user={role}"));
    let with_password =
        |role: &str| Some(format!("{}&password={PASSWORD}", at(&bronze.url("logins_bronze"), role)));
    shop.place.warehouse = at(&whole.warehouse, "keeps");
    shop.place.bronze = with_password("keeps");
    shop.migrate().await;
    // One who may not log in is told so, and no word of the password.
    shop.place.bronze = Some(format!("{}x", with_password("keeps").unwrap()));
    let error = migrate::up(&shop.descriptor, &shop.place).await.unwrap_err().to_string();
    assert!(error.contains("BRONZE_DATABASE_URL") && !error.contains(PASSWORD), "{error}");

    let admitted = "GRANT pagila_loader TO lands; GRANT CONNECT ON DATABASE";
    let sql = format!("CREATE ROLE lands LOGIN; {admitted} logins_warehouse TO lands");
    compare::execute(&mut shop.warehouse, &sql).await;
    compare::execute(&mut there, &format!("{admitted} logins_bronze TO lands")).await;
    shop.place.warehouse = at(&whole.warehouse, "lands");
    shop.place.bronze = with_password("lands");
    shop.run().await;
    shop.change("UPDATE customer SET last_name = 'Umbleworth' WHERE customer_id = 1").await;
    shop.run().await;
    for name in ["Once", "Twice"] {
        land_late(&mut there, if name == "Once" { 1 } else { 2 }, name).await;
        shop.run().await;
    }
    // As if the warehouse had been restored: it takes note of that.
    compare::execute(&mut there, "UPDATE medallion.watermark SET lsn = lsn + 1").await;
    shop.run().await;
    let names = "SELECT string_agg(last_name, ' ' ORDER BY sys_start)
        FROM temporal_silver.dim_customer_hist WHERE customer_id = 2";
    assert_eq!(compare::value(&mut shop.warehouse, names).await, "One Once Twice");
    shop.place = whole;
    assert_sound(&mut shop, "by its loader").await;
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(log.contains("CREATE EXTENSION postgres_fdw"), "everything is logged");
    assert!(!log.contains(PASSWORD), "the log has the password");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_lands_in_one_and_publishes_in_the_other_and_makes_way() {
    let server = Server::scratch().unwrap();
    let (mut shop, _) = open(&server, &server, "watches").await;
    stock(&mut shop).await;
    shop.migrate().await;
    let (stop, pulse) = (Stop::default(), Pulse::default());
    let (watched, place) = (&shop.descriptor, &shop.place);
    let mut progress = Silent;
    let watching = watch::watch(watched, place, Pace::default(), &stop, &pulse, &mut progress);
    let follows = async {
        let mut source = connection::connect(Database::Source, &place.source).await.unwrap();
        let mut asked = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
        for name in ["First", "Second", "Third"] {
            compare::execute(&mut source, &format!("UPDATE customer SET last_name = '{name}'")).await;
            let seen =
                format!("SELECT count(*) FROM temporal_silver.dim_customer WHERE last_name = '{name}'");
            let deadline = Instant::now() + Duration::from_secs(60);
            while compare::value(&mut asked, &seen).await != "2" {
                assert!(Instant::now() < deadline, "{name} is not seen");
                tokio::task::yield_now().await;
            }
            run::run(watched, place, &mut Silent).await.unwrap();
        }
        stop.stop();
    };
    let (watched, ()) = tokio::join!(watching, follows);
    watched.unwrap();
    assert_sound(&mut shop, "watched").await;
}

/// Keeps a database as it is, for which nobody may be in it.
async fn keep_copy(server: &Server, database: &str) {
    let mut control = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
    let leave = format!(
        "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    compare::value(&mut control, &leave).await;
    compare::execute(&mut control, &format!("CREATE DATABASE {database}_kept TEMPLATE {database}")).await;
}

/// Restores it.
async fn restore(server: &Server, database: &str) {
    let mut control = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
    compare::execute(&mut control, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
    compare::execute(&mut control, &format!("CREATE DATABASE {database} TEMPLATE {database}_kept")).await;
}

/// What a warehouse was applied to, and its bronze has lost.
const LOST: [&str; 2] = [
    "INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)
    VALUES (2, 1, 2, 777, '2025-03-02 11:00+00');
    UPDATE payment SET amount = amount + 1 WHERE payment_id = 1",
    "DELETE FROM payment WHERE amount = 777; UPDATE payment SET amount = amount - 1 WHERE payment_id = 1",
];

#[tokio::test]
async fn silver_is_what_an_older_bronze_says_when_its_gap_is_closed() {
    let server = Server::scratch().unwrap();
    let (mut shop, bronze) = open(&server, &server, "older").await;
    drop(bronze);
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    keep_copy(&server, "older_bronze").await;
    shop.change(LOST[0]).await;
    shop.run().await;
    restore(&server, "older_bronze").await;
    shop.reconnect().await;
    shop.change(LOST[1]).await;
    let refused = run::run(&shop.descriptor, &shop.place, &mut Silent).await.unwrap_err().to_string();
    assert!(refused.contains("resnapshot"), "{refused}");
    resnapshot(&mut shop).await;
    shop.run().await;
    assert_current(&mut shop).await;
    assert_sound(&mut shop, "an older bronze").await;
    // Once is enough.
    shop.run().await;
    let noted = "SELECT count(*) FROM medallion.recompute";
    assert_eq!(compare::value(&mut shop.warehouse, noted).await, "0");
}

struct Unheard;

impl capture::Progress for Unheard {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}
}

/// As the command does it.
async fn resnapshot(shop: &mut Shop) {
    let mut bronze = apart::open(&shop.descriptor, &shop.place, &mut shop.warehouse)
        .await
        .unwrap()
        .expect("it stands apart");
    apart::meet(&shop.descriptor, &mut shop.warehouse, &mut bronze).await.unwrap();
    resnapshot::resnapshot(&shop.descriptor, &shop.place.source, &mut bronze, &mut Unheard).await.unwrap();
}

#[tokio::test]
async fn silver_is_what_a_bronze_says_that_was_made_anew() {
    let server = Server::scratch().unwrap();
    let (mut shop, bronze) = open(&server, &server, "anew").await;
    drop(bronze);
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    shop.change(LOST[0]).await;
    shop.run().await;
    shop.change(LOST[1]).await;
    let mut control = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
    compare::execute(&mut control, "DROP DATABASE anew_bronze WITH (FORCE)").await;
    server.ensure_database("anew_bronze").unwrap();
    shop.reconnect().await;
    shop.migrate().await;
    let drop = format!("SELECT pg_drop_replication_slot('{}')", shop.descriptor.source.slot);
    compare::value(&mut shop.source, &drop).await;
    shop.run().await;
    assert_current(&mut shop).await;
    assert_sound(&mut shop, "a bronze made anew").await;
}

#[tokio::test]
async fn an_older_warehouse_takes_what_was_late_and_was_taken() {
    let server = Server::scratch().unwrap();
    let (mut shop, mut bronze) = open(&server, &server, "behind").await;
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    shop.change("UPDATE customer SET address_id = 2 WHERE customer_id = 2").await;
    shop.run().await;
    keep_copy(&server, "behind_warehouse").await;
    shop.reconnect().await;
    land_late(&mut bronze, 1, "Once").await;
    shop.run().await;
    // Its note goes with the run after that.
    shop.change(LOST[0]).await;
    shop.run().await;
    shop.change(LOST[1]).await;
    shop.run().await;
    restore(&server, "behind_warehouse").await;
    shop.reconnect().await;
    shop.run().await;
    let late = "SELECT count(*) FROM temporal_silver.dim_customer_hist WHERE last_name = 'Once'";
    assert_eq!(compare::value(&mut shop.warehouse, late).await, "1");
    assert_current(&mut shop).await;
    assert_sound(&mut shop, "an older warehouse").await;
}

async fn assert_current(shop: &mut Shop) {
    let amounts =
        |table: &str| format!("SELECT string_agg(amount::text, ' ' ORDER BY payment_id) FROM {table}");
    let as_the_source_has_it = compare::value(&mut shop.source, &amounts("payment")).await;
    let found = compare::value(&mut shop.warehouse, &amounts("temporal_silver.fact_payment")).await;
    assert_eq!(found, as_the_source_has_it);
}

#[tokio::test]
async fn a_trace_reaches_bronze_whatever_its_number() {
    let server = Server::scratch().unwrap();
    let (mut shop, mut bronze) = open(&server, &server, "traces").await;
    stock(&mut shop).await;
    shop.migrate().await;
    shop.run().await;
    shop.change("UPDATE customer SET address_id = 2 WHERE customer_id = 2").await;
    shop.change(crate::forget::LEAVE).await;
    shop.run().await;
    keep_copy(&server, "traces_warehouse").await;
    shop.reconnect().await;
    for (subject, key, traces) in [("dim_customer", "1", "1"), ("lookup_address", "3", "2")] {
        let key = [key.to_owned()];
        let subject = Subject::find(&shop.descriptor, subject, &key).unwrap();
        forget::forget(&shop.descriptor, &shop.place, &subject, Current::Refuse, Extent::Keep).await.unwrap();
        let salts = "SELECT count(DISTINCT salt) FROM medallion.erasure";
        assert_eq!(compare::value(&mut bronze, salts).await, traces);
        restore(&server, "traces_warehouse").await;
        shop.reconnect().await;
    }
}
