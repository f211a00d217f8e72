//! Whether a source is ready is said with remedies that are remedies: pasted, they make it ready. What prepares
//! it does so once, for a role that can do no more than it must, and is taken back without a trace.

use medallion_runtime::capture::prepare::{self, Plan};
use medallion_runtime::capture::readiness::{self, Readiness, Severity};
use medallion_runtime::connection::{self, Database};

use crate::bench::{Bench, Quiet, run, value};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text, twice integer GENERATED ALWAYS AS (id * 2) STORED);
    CREATE TABLE sale (id integer PRIMARY KEY, note text) PARTITION BY RANGE (id);
    CREATE TABLE sale_low PARTITION OF sale FOR VALUES FROM (0) TO (1000);
    ALTER TABLE sale_low REPLICA IDENTITY NOTHING;
    INSERT INTO item (id, name) VALUES (1, 'a');
    INSERT INTO sale VALUES (1, 'b')";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"]), ("sale", &["id"])];

async fn check(bench: &mut Bench) -> Readiness {
    readiness::check(&bench.warehouse, &bench.source_url, Some(&mut bench.target))
        .await
        .expect("it can be asked")
}

fn stops(readiness: &Readiness) -> Vec<&str> {
    let stops = readiness.findings.iter().filter(|finding| finding.severity == Severity::Stops);
    stops.map(|finding| finding.what.as_str()).collect()
}

async fn plan(bench: &mut Bench, role: &str) -> Plan {
    prepare::plan(&bench.warehouse, &mut bench.source, Some(&mut bench.target), Some(role))
        .await
        .expect("it can be asked")
}

async fn prepare(bench: &mut Bench, plan: &Plan) {
    let done = prepare::prepare(plan, &mut bench.source, Some(&mut bench.target), &mut Quiet).await;
    done.expect("it can be asked");
}

/// All that preparing a source changes.
async fn traces(bench: &mut Bench) -> String {
    bench
        .source_value(
            "SELECT concat_ws(' ',
                (SELECT string_agg(relname || relreplident::text || coalesce(relacl, acldefault('r', relowner))::text, ',' ORDER BY relname)
                FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')),
                (SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'),
                (SELECT string_agg(pubname, ',') FROM pg_publication),
                (SELECT string_agg(slot_name, ',') FROM pg_replication_slots WHERE database = current_database()),
                (SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'ready\\_%'))",
        )
        .await
}

#[tokio::test]
async fn pasted_remedies_make_a_source_ready() {
    let mut bench = Bench::new("remedied", TABLES, CAPTURED).await;
    bench
        .on_source(
            "CREATE ROLE remedied_loader LOGIN;
            REVOKE EXECUTE ON FUNCTION pg_replication_slot_advance(name, pg_lsn) FROM PUBLIC;
            ALTER TABLE item ENABLE ROW LEVEL SECURITY;
            CREATE PUBLICATION bench WITH (publish = 'insert')",
        )
        .await;
    bench.source_url = bench.source_url.replace("user=medallion", "user=remedied_loader");
    let found = check(&mut bench).await;
    // From 18 on a publication can carry generated columns, and has to: else their tables take no update.
    let carries_generated = bench.source_version().await >= 18;
    let mut stopped = stops(&found);
    if carries_generated {
        let generated = "publication `bench` leaves out generated columns, which stops updates";
        assert!(stopped.contains(&generated), "{stopped:?}");
        stopped.retain(|what| *what != generated);
    }
    assert_eq!(
        stopped,
        [
            "the role `remedied_loader` may not replicate",
            "`public.item` cannot be read",
            "`public.sale` cannot be read",
            "`public.sale_low` writes nothing of old rows to the log, so that it takes no update or delete once it is published",
            "publication `bench` leaves out some kinds of changes",
            "publication `bench` publishes partitions and not their table",
            "publication `bench` lacks `public.item`",
            "publication `bench` lacks `public.sale`",
            "`public.item` publishes no column `id`, which is of the key of `bronze.item`",
            "`public.sale` publishes no column `id`, which is of the key of `bronze.sale`",
            "the role `remedied_loader` may not call `pg_replication_slot_advance(name,pg_lsn)`",
            "row security hides rows of `public.item` from the role `remedied_loader`",
        ]
    );
    for finding in &found.findings {
        if finding.severity == Severity::Stops && finding.remedy.contains(';') {
            bench.on_source(&finding.remedy).await;
        }
    }
    let found = check(&mut bench).await;
    assert!(found.is_ready(), "{found:?}");
    let warned: Vec<&str> = found.findings.iter().map(|finding| finding.what.as_str()).collect();
    let left_out = warned.iter().any(|what| what.contains("generated columns of `public.item`"));
    assert_ne!(left_out, carries_generated, "{warned:?}");
    assert!(
        warned.iter().any(|what| what.contains("large values that it does not change (`name`)")),
        "{warned:?}"
    );
    bench.capture().await;
    bench.on_source("UPDATE item SET name = 'c'").await;
    bench.capture().await;
    assert!(check(&mut bench).await.is_ready());
}

#[tokio::test]
async fn what_prepare_makes_is_enough_and_is_taken_back() {
    let mut bench = Bench::new("prepared", TABLES, CAPTURED).await;
    let before = traces(&mut bench).await;
    let first = plan(&mut bench, "ready_loader").await;
    let (comment, first_statements) = first.together.split_last().expect("there is something to do");
    let generated = match bench.source_version().await {
        18.. => ", publish_generated_columns = stored",
        _ => "",
    };
    assert_eq!(
        first_statements,
        [
            "CREATE ROLE \"ready_loader\" LOGIN REPLICATION",
            "GRANT SELECT ON \"public\".\"item\", \"public\".\"sale\" TO \"ready_loader\"",
            "ALTER TABLE \"public\".\"sale_low\" REPLICA IDENTITY FULL",
            &format!(
                "CREATE PUBLICATION \"bench\" FOR TABLE ONLY \"public\".\"item\", \"public\".\"sale\" \
                WITH (publish_via_partition_root = true{generated})"
            ),
        ]
    );
    assert!(comment.starts_with("COMMENT ON PUBLICATION \"bench\" IS "), "{comment}");
    assert_eq!(first.slots, ["bench_prepared"]);
    assert_eq!(traces(&mut bench).await, before, "a plan changes nothing");

    prepare(&mut bench, &first).await;
    let again = plan(&mut bench, "ready_loader").await;
    assert!(again.is_empty(), "{again:?}");

    let owner = std::mem::take(&mut bench.source_url);
    bench.source_url = owner.replace("user=medallion", "user=ready_loader");
    let found = check(&mut bench).await;
    assert!(found.is_ready(), "{found:?}");
    bench.capture().await;
    bench.on_source("UPDATE item SET name = 'c'; DELETE FROM sale").await;
    bench.capture().await;
    let held: i64 = bench.target_value("SELECT count(*) FROM bronze.sale WHERE op = 'D'").await;
    assert_eq!(held, 1);

    let drop = prepare::plan_drop(&bench.warehouse, &mut bench.source).await.expect("a plan");
    prepare::drop(&drop, &mut bench.source).await.expect("it can be asked");
    let after = traces(&mut bench).await;
    // A grant that was taken back leaves the owner's own, which stood unsaid before.
    let bare = |traces: &str| traces.replace("{medallion=arwdDxt/medallion}", "");
    assert_eq!(bare(&after), bare(&before));
    let nothing = prepare::plan_drop(&bench.warehouse, &mut bench.source).await.expect("a plan");
    assert!(nothing.is_empty(), "{nothing:?}");
}

#[tokio::test]
async fn a_slot_in_use_is_not_dropped() {
    let mut bench = Bench::new("used", TABLES, CAPTURED).await;
    // Whoever creates a slot uses it until it has started, which a transaction that writes keeps it from.
    bench.on_source("BEGIN; INSERT INTO item (id) VALUES (2)").await;
    let mut creator = connection::connect(Database::Source, &bench.source_url).await.expect("a session");
    let creating = tokio::spawn(async move {
        run(&mut creator, "SELECT pg_create_logical_replication_slot('bench_used', 'pgoutput')").await;
    });
    let mut other = connection::connect(Database::Source, &bench.source_url).await.expect("a session");
    let used = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'bench_used' AND active)";
    while !value::<bool>(&mut other, used).await {
        tokio::task::yield_now().await;
    }
    let error = prepare::plan_drop(&bench.warehouse, &mut other).await.expect_err("refused").to_string();
    assert!(error.contains("`bench_used` is in use") && error.contains("stop the loader"), "{error}");

    bench.on_source("COMMIT").await;
    creating.await.expect("created");
    let drop = prepare::plan_drop(&bench.warehouse, &mut other).await.expect("a plan");
    assert_eq!(drop.slots, ["bench_used"]);
}
