//! Retention on a year of the sample, run by the loader's role: from the horizon on every state is what it was,
//! marts included, before it there is no answer, the warehouse holds by its own judgement, and life goes on.

use std::process::Output;

use medallion_runtime::connection::Database;
use medallion_runtime::script;

use crate::support::program::{self, command_on};
use crate::support::{Shop, State, compare, figures, laws, staff, state};

/// What the binary prints, the seconds apart: of a verification, and of a rebuild with what it says on the way.
const VERIFIED: &str = include_str!("printed/verify.txt");
const REBUILT: &str = include_str!("printed/rebuild.txt");
const BROKEN: &str = include_str!("printed/verify_broken.txt");
const MENDED: &str = include_str!("printed/rebuild_mended.txt");

#[tokio::test]
async fn from_the_horizon_on_the_past_is_what_it_was() {
    let (mut shop, _, reader) = staff::open("kept").await;
    compare::execute(&mut shop.source, "TRUNCATE language, category CASCADE").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    compare::execute(&mut shop.source, "ANALYZE").await;
    let outcome = shop.run().await;
    assert_eq!(outcome.retained, None, "ten years are kept");

    let horizon = keep_since(&mut shop, "2025-07-01 00:00+00").await;
    let size = "SELECT count(*) FROM cdc_bronze.br_customer_cdc";
    let before: u64 = compare::value(&mut shop.warehouse, size).await.parse().unwrap();
    let retained = shop.run().await.retained.expect("the horizon moves");
    assert_eq!(retained.horizon, horizon);
    let gone = retained.gone["cdc_bronze.br_customer_cdc"];
    assert!(gone > 1_000, "{retained:?}");
    let after: u64 = compare::value(&mut shop.warehouse, size).await.parse().unwrap();
    assert_eq!(before - gone, after);
    assert!(!retained.gone.contains_key("medallion.lookup_inventory_cdc"), "{retained:?}");
    assert_eq!(shop.run().await.retained, None, "once a day");

    laws::assert_hold(&mut shop, "folded").await;
    assert_unanswered_before(&shop, &reader, &horizon);
    assert_printed(&command(&shop, &["verify"]), 0, "verify.txt", VERIFIED);
    assert_printed(&command(&shop, &["rebuild"]), 0, "rebuild.txt", REBUILT);
    let damage = "BEGIN;
        SELECT medallion.backfill();
        UPDATE temporal_silver.dim_customer_hist SET last_name = 'TAMPERED' WHERE customer_id = 7 AND sys_end = 'infinity';
        DELETE FROM temporal_silver.dim_film_hist WHERE film_id = 9;
        COMMIT";
    compare::execute(&mut shop.warehouse, damage).await;
    assert_printed(&command(&shop, &["verify"]), 1, "verify_broken.txt", BROKEN);
    let mend = command(&shop, &["rebuild", "dim_customer", "dim_film_hist"]);
    assert_printed(&mend, 0, "rebuild_mended.txt", MENDED);
    assert_printed(&command(&shop, &["verify"]), 0, "verify.txt", VERIFIED);
    let times = [horizon.as_str(), "2025-07-03 12:00+00", "2025-09-15 03:14+00"];
    for (number, time) in (1..).zip(times) {
        let past = State::fold(&mut shop.source, &format!("folded_{number}"), time).await;
        figures::assert_as_of(&mut shop, &past, time, "the log, folded").await;
    }
    let whole = State::fold(&mut shop.source, "folded", "infinity").await;
    figures::assert_now(&mut shop, &whole, "the log, folded").await;

    // Rows older than the horizon change and go, as others do.
    state::record_stock_of_log(&mut shop.source).await;
    shop.change(
        "UPDATE customer SET last_name = last_name || '!' WHERE customer_id < 100;
        UPDATE inventory SET store_id = 1 + store_id % 7 WHERE inventory_id < 50;
        UPDATE rental SET staff_id = 1 WHERE rental_id < 200;
        DELETE FROM payment WHERE payment_id < 100",
    )
    .await;
    let state = State::keep(&mut shop.source, "later").await;
    assert!(!shop.run().await.is_empty());
    figures::assert_now(&mut shop, &state, "changes after it").await;
    laws::assert_hold(&mut shop, "changes after it").await;
    let time = "2025-10-01 00:00+00";
    let past = State::fold(&mut shop.source, "once_more", time).await;
    figures::assert_as_of(&mut shop, &past, time, "after further changes").await;
}

/// Has the warehouse keep what is younger than about a time, and returns the horizon that this makes.
async fn keep_since(shop: &mut Shop, time: &str) -> String {
    // Whole days: rounded, it would be the day before in the afternoon.
    let days = format!("SELECT floor(extract(epoch FROM medallion.now() - '{time}') / 86400)::integer");
    let days = compare::value(&mut shop.warehouse, &days).await;
    let function = "pg_get_functiondef('medallion.kept_since()'::regprocedure)";
    let changed = format!("replace({function}, '''10 years''', '''{days} days''')");
    compare::execute(&mut shop.warehouse, &format!("DO $do$BEGIN EXECUTE {changed}; END$do$")).await;
    let horizon = format!("date_trunc('day', medallion.now() AT TIME ZONE 'UTC' - interval '{days} days')");
    compare::value(&mut shop.warehouse, &format!("SELECT ({horizon} AT TIME ZONE 'UTC')::text")).await
}

fn command(shop: &Shop, arguments: &[&str]) -> Output {
    // What is repaired by hand is the owner's or the loader's to repair.
    command_on(&shop.place.source, &shop.place.warehouse, arguments).output().unwrap()
}

/// Every way to ask about a time before the horizon is refused alike; at it and after it each is answered.
fn assert_unanswered_before(shop: &Shop, reader: &str, horizon: &str) {
    let just_before = "2025-06-28 12:00+00";
    let customer = |clause: &str| format!("SELECT count(*) FROM dim_customer_hist {clause}");
    let of_rows = |join: &str, time: &str| {
        format!(
            "SELECT count(*) FROM fact_rental AS r CROSS JOIN (SELECT CAST('{time}' AS timestamptz) AS at) AS moment
            {join} dim_customer FOR SYSTEM_TIME AS OF moment.at AS c USING (customer_id)"
        )
    };
    let period = |time: &str| {
        vec![
            customer(&format!("FOR SYSTEM_TIME AS OF '{time}'")),
            customer(&format!("FOR SYSTEM_TIME BETWEEN '{time}' AND 'infinity'")),
            customer(&format!("FOR SYSTEM_TIME FROM '{time}' TO 'infinity'")),
            format!("SELECT count(*) FROM dim_customer_as_of('{time}')"),
            format!("SELECT count(*) FROM dim_customer_as_of('{time}', 7)"),
            format!("SELECT count(*) FROM dim_customer_between('{time}', 'infinity')"),
            format!("SELECT count(*) FROM dim_customer_changes('{time}', 'infinity')"),
            format!("SELECT count(*) FROM lookup_store_as_of('{time}')"),
            format!("SELECT count(*) FROM fact_rental FOR SYSTEM_TIME AS OF '{time}'"),
            customer(&format!("FOR SYSTEM_TIME BETWEEN SYMMETRIC 'infinity' AND '{time}'")),
            of_rows("JOIN", time),
            of_rows("LEFT JOIN", time),
        ]
    };
    let mut refused: Vec<Vec<String>> =
        period(just_before).into_iter().map(|sql| vec!["query".to_owned(), sql]).collect();
    for relation in ["dim_customer", "dim_customer_hist", "fact_payment", "vw_store_scorecard", "lookup_film"]
    {
        let sql = format!("SELECT count(*) FROM {relation}");
        refused.push(["query", "--as-of", just_before, &sql].map(str::to_owned).to_vec());
    }
    for arguments in refused {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // The past is the reader's, and earlier states as such the loader's.
        let role = if arguments[1] == "--as-of" { reader } else { &shop.place.warehouse };
        let output = command_on(&shop.place.source, role, &arguments).output().unwrap();
        let said = program::stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(&format!("the past before `{horizon}` is not kept")), "{arguments:?}: {said}");
    }
    let mut answered = period(horizon);
    answered.push(customer("FOR SYSTEM_TIME ALL"));
    for sql in answered {
        let output = command(shop, &["query", &sql]);
        assert_eq!(output.status.code(), Some(0), "{sql}: {}", program::stderr(&output));
    }
}

/// What a command prints, against a file; with `MEDALLION_UPDATE=1` that is written instead.
#[track_caller]
fn assert_printed(output: &Output, status: i32, file: &str, expected: &str) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), program::stderr(output));
    assert_eq!(output.status.code(), Some(status), "{said}");
    let mut printed = String::new();
    for part in said.split_inclusive(['[', ' ']) {
        let (text, rest) = part.split_at(part.find("s]").unwrap_or(0));
        match text.parse::<f64>() {
            Ok(_) => printed.push('…'),
            Err(_) => printed.push_str(text),
        }
        printed.push_str(rest);
    }
    if std::env::var_os("MEDALLION_UPDATE").is_some_and(|value| value == "1") {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/printed").join(file);
        std::fs::write(path, &printed).unwrap();
        return;
    }
    assert_eq!(printed, expected, "{file}");
}
