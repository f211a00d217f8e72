//! Orders of a source whose log nobody may read, from its first poll on: each state that a poll has seen is a version,
//! under the names that people know; and what is read, landed or computed twice changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{DemoAction, Warehouse};
use medallion_runtime::diff::{self, Question};
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::unit_test::{self, Status};
use medallion_runtime::{migrate, rebuild, run, script, verify};
use medallion_server::Server;
use rustix::process::Signal;
use sqlx::PgConnection;

use crate::support::compare;
use crate::support::program::{self, Watching, stderr};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/orders/tests");

/// What stands, and all that has landed.
const STANDING: &str = "SELECT 'version ' || one::text FROM history.dim_orders_hist AS one
    UNION ALL SELECT 'change ' || one::text FROM raw.br_orders AS one
    UNION ALL SELECT 'status ' || one::text FROM reports.orders_by_status AS one
    UNION ALL SELECT 'day ' || one::text FROM reports.daily_sales AS one
    ORDER BY 1";

#[tokio::test]
async fn the_states_that_polls_have_seen_are_the_history_once() {
    let server = Server::shared_scratch().unwrap();
    let descriptor = warehouse::orders::warehouse();
    let place = place(server, "polled_orders", &descriptor).await;
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
    migrate::up(&descriptor, &place).await.unwrap_or_else(|error| panic!("{error}"));
    run(&descriptor, &place).await;
    source(&place, first_change(&descriptor)).await;
    run(&descriptor, &place).await;

    let history = "SELECT concat_ws(' | ', order_key, customer_id, product_id, quantity, unit_price, order_status,
            to_char(valid_from AT TIME ZONE 'UTC', 'MM-DD HH24:MI'),
            coalesce(to_char(valid_to AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), 'NULL'), is_current, cdc_operation,
            cdc_timestamp = valid_from, created_at <= updated_at)
        FROM history.dim_orders_history ORDER BY order_key, valid_from";
    let expected = [
        "1 | 101 | 201 | 2 | 29.99 | confirmed | 02-01 09:10 | NULL | t | UPDATE | t | t",
        "1 | 101 | 201 | 2 | 29.99 | placed | 02-01 09:00 | 02-01 09:10 | f | INSERT | t | t",
        "2 | 102 | 202 | 1 | 49.50 | placed | 02-01 09:15 | NULL | t | INSERT | t | t",
        "3 | 101 | 203 | 3 | 12.00 | placed | 02-01 09:30 | NULL | t | INSERT | t | t",
    ];
    assert_eq!(compare::rows(&mut target, history).await, expected);
    let batches = "SELECT string_agg(DISTINCT batch_id || ' ' || versions, ', ') FROM (
            SELECT rank() OVER (ORDER BY batch_id)::text AS batch_id, count(*) OVER (PARTITION BY batch_id) AS versions
            FROM history.dim_orders_history
        ) AS batch";
    assert_eq!(compare::value(&mut target, batches).await, "1 1, 2 3", "a poll's changes are one batch");

    // Whatever is read or computed once more.
    let stood = compare::rows(&mut target, STANDING).await;
    assert_eq!(stood.len(), 4 + 4 + 2 + 3, "{stood:#?}");
    run(&descriptor, &place).await;
    compare::execute(&mut target, "UPDATE medallion.captured_table SET watermark = NULL").await;
    run(&descriptor, &place).await;
    compare::execute(
        &mut target,
        "INSERT INTO medallion.late_change (relation, lsn, seq) SELECT 'raw.br_orders', lsn, seq FROM raw.br_orders",
    )
    .await;
    run(&descriptor, &place).await;
    let rebuilt = rebuild::rebuild(&descriptor, &place, &[], &mut Silent).await;
    let rebuilt = rebuilt.unwrap_or_else(|error| panic!("{error}"));
    assert!(rebuilt.differed.iter().all(|(_, differed)| *differed == 0), "{:?}", rebuilt.differed);
    assert_eq!(compare::rows(&mut target, STANDING).await, stood);
    let checks = verify::verify(&descriptor, &place, |_| ()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(checks.iter().all(|check| check.broken == 0), "{checks:#?}");

    // What is gone is found, and its last version ends.
    source(&place, "DELETE FROM orders WHERE id = 3").await;
    compare::execute(&mut target, "UPDATE medallion.captured_table SET compared_at = NULL").await;
    run(&descriptor, &place).await;
    let gone = "SELECT count(*) FROM history.dim_orders_history WHERE order_key = 3 AND NOT is_current AND valid_to > valid_from";
    assert_eq!(compare::value(&mut target, gone).await, "1");

    // What comes later may be of before: of positions and times each rises by itself.
    for (order, minutes) in [(7, 20), (8, 40)] {
        let late = format!(
            "INSERT INTO orders
            SELECT {order}, 101, 201, 1, 2.00, 2.00, 'placed', at, at, at FROM (SELECT now() - interval '{minutes} min') AS of (at)"
        );
        source(&place, &late).await;
        run(&descriptor, &place).await;
    }
    let from = compare::value(&mut target, "SELECT now() - interval '50 min'").await;
    let to = compare::value(&mut target, "SELECT now() - interval '30 min'").await;
    for relation in ["dim_orders_hist", "orders_by_status"] {
        let question = Question { relation, from: &from, to: &to, limit: 10 };
        let difference = diff::diff(&descriptor, &place, &question).await;
        let difference = difference.unwrap_or_else(|error| panic!("{relation}: {error}"));
        let [row] = difference.rows.as_slice() else { panic!("{relation}: {difference:#?}") };
        let keys: Vec<&str> =
            row.causes.iter().map(|cause| cause.key.as_ref().unwrap()["id"].get()).collect();
        assert_eq!(keys, ["8"], "{relation}: {row:#?}");
    }
}

/// The source's own account of every state that an order was in.
const ACCOUNT: &str = "
    CREATE TABLE account (id integer NOT NULL, at timestamptz NOT NULL, state jsonb NOT NULL, PRIMARY KEY (id, at));

    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO account VALUES (NEW.id, NEW.last_updated, to_jsonb(NEW));
        RETURN NULL;
    END
    $$;

    CREATE TRIGGER note AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note();";

/// What is there, in one sum, by the names of a relation and its key.
const STATE: &str =
    "SELECT md5(string_agg(concat_ws('|', {key}, customer_id, product_id, quantity, unit_price, total_amount,
        order_status, order_date AT TIME ZONE 'UTC'), ',' ORDER BY {key}))
    FROM {relation}";

/// Polls that may pass between a state and the one that lands it: one that had asked for the time before it was there,
/// one that came before its commit, and another one for good measure.
const POLLS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_polls_can_see_of_traffic_is_the_history() {
    let server = Server::shared_scratch().unwrap();
    let descriptor = warehouse::orders::warehouse();
    let place = place(server, "simulated_orders", &descriptor).await;
    source(&place, ACCOUNT).await;
    source(&place, "INSERT INTO account SELECT id, last_updated, to_jsonb(orders) FROM orders").await;
    let mut source = connection::connect(Database::Source, &place.source).await.unwrap();
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
    migrate::up(&descriptor, &place).await.unwrap_or_else(|error| panic!("{error}"));

    let verb = |arguments: &[&str]| {
        let mut command = program::command_on(&place.source, &place.warehouse, arguments);
        command.env("MEDALLION_WAREHOUSE", "orders");
        command
    };
    let watching = Watching::begin(&mut verb(&["watch", "--metrics", "0"]));
    let begun = "SELECT count(*) = 1 FROM history.dim_orders";
    watching.until(&place.warehouse, begun).await;
    let simulated =
        verb(&["simulate", "--rate", "6", "--for", "60", "--rounds", "30", "--seed", "11"]).output().unwrap();
    assert!(simulated.status.success(), "{}", stderr(&simulated));

    let state = |key: &str, relation: &str| STATE.replace("{key}", key).replace("{relation}", relation);
    let there = compare::value(&mut source, &state("id", "orders")).await;
    let followed = format!("SELECT ({}) = '{there}'", state("order_key", "history.dim_orders"));
    watching.until(&place.warehouse, &followed).await;
    watching.signal(Signal::TERM);
    let (status, said, _) = watching.wait();
    assert_eq!(status.code(), Some(0), "{said}");

    // Of each state: the order, when it began, when the next one did.
    let states = "SELECT id, at, coalesce(lead(at) OVER (PARTITION BY id ORDER BY at), 'infinity'), state ->> 'order_status',
            state ->> 'quantity', state ->> 'total_amount'
        FROM account";
    let history = "SELECT order_key, valid_from, created_at, order_status, quantity, total_amount FROM history.dim_orders_history";
    let states = by_state(&compare::rows(&mut source, states).await);
    let history = by_state(&compare::rows(&mut target, history).await);
    assert!(states.len() > 150 && history.len() > 120, "{} states, {} seen", states.len(), history.len());
    let polls = "SELECT DISTINCT load_ts FROM raw.br_orders";
    let polls = compare::rows(&mut target, polls).await;
    let between =
        |from: &str, to: &str| polls.iter().filter(|poll| from < poll.as_str() && poll.as_str() < to).count();
    for (state, (since, landed)) in &history {
        assert!(states.contains_key(state), "no order was ever so: {state:?}");
        assert!(
            between(since, landed) <= POLLS,
            "polls have passed {state:?} over until {landed}: {polls:?}"
        );
    }
    for (state, (since, until)) in states.iter().filter(|(state, _)| !history.contains_key(*state)) {
        assert!(
            between(since, until) <= POLLS,
            "no poll has seen {state:?}, which was so until {until}: {polls:?}"
        );
    }
    for arguments in [["verify"], ["test"]] {
        let done = verb(&arguments).output().unwrap();
        assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), stderr(&done));
    }
}

/// States, each with its two times: fields of an order, a time, another one, and what was so.
fn by_state(lines: &[String]) -> BTreeMap<Vec<String>, (String, String)> {
    let mut states = BTreeMap::new();
    for line in lines {
        let mut state: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let other = state.remove(2);
        states.insert(state.clone(), (state[1].clone(), other));
    }
    states
}

#[tokio::test]
async fn the_logic_of_orders_is_as_it_is_told() {
    let url = Server::shared_scratch().unwrap().url("template1");
    let descriptor = warehouse::orders::warehouse();
    let tested = unit_test::run(&descriptor, &[TESTS.into()], Some(&url), &|_| true, |_, _, _| ()).await;
    let tested = tested.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(tested.len(), 3);
    let wrong: Vec<_> = tested.iter().filter(|one| one.status != Status::Passed).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The binary carries two warehouses, and one server holds both.
#[tokio::test]
async fn the_demo_of_orders_stands_beside_the_other_ones() {
    let checkout = tempfile::tempdir().unwrap();
    // Root's server runs as somebody else, who has to get in.
    fs::set_permissions(checkout.path(), Permissions::from_mode(0o755)).unwrap();
    let server = Server::of_checkout(checkout.path()).unwrap();
    let binary = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_warehouse"))
            .args(arguments)
            .current_dir(checkout.path())
            .env_remove("DATABASE_URL")
            .env_remove("SOURCE_DATABASE_URL")
            .env_remove("MEDALLION_WAREHOUSE")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let told = binary(&["--warehouse", "orders", "demo"]);
    assert!(told.status.success(), "{}", stderr(&told));
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(said.contains("confirmed   2026-02-01 09:10:00"), "{said}");
    assert!(said.contains("What to try next:"), "{said}");
    for verb in ["status", "test", "verify", "list"] {
        let done = binary(&["--warehouse", "orders", verb]);
        assert!(done.status.success(), "{verb}: {}{}", String::from_utf8_lossy(&done.stdout), stderr(&done));
    }
    let unknown = binary(&["--warehouse", "order", "status"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("orders"), "{}", stderr(&unknown));
    server.stop().unwrap();
}

/// A source with the sample, and a database for the warehouse.
async fn place(server: &Server, name: &str, descriptor: &Warehouse) -> Place {
    let [source, target] = ["source", "warehouse"].map(|what| format!("{name}_{what}"));
    server.ensure_database(&source).unwrap();
    server.ensure_database(&target).unwrap();
    let place =
        Place { source: server.url(&source), warehouse: server.url(&target), bronze: None, embedded: None };
    for (file, sql) in [
        ("source.sql", descriptor.scripts.source.unwrap()),
        ("sample.sql", descriptor.scripts.sample.unwrap()),
    ] {
        script::execute(Database::Source, &place.source, file, sql).await.unwrap();
    }
    place
}

/// What happens to the sample in the tour, before anything else.
fn first_change(descriptor: &Warehouse) -> &'static str {
    let changes = descriptor.demo.iter().filter_map(|step| match step.action {
        DemoAction::Source(sql) => Some(sql),
        _ => None,
    });
    changes.into_iter().next().unwrap()
}

async fn run(descriptor: &Warehouse, place: &Place) {
    run::run(descriptor, place, &mut Silent).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn source(place: &Place, sql: &str) {
    let mut source: PgConnection = connection::connect(Database::Source, &place.source).await.unwrap();
    compare::execute(&mut source, sql).await;
}
