//! Erasing a subject, by the binary and in the owner's name: nothing of it is left in any table of the database,
//! all else is what it was, and life goes on. Who may not, what is still there, and what fails on its way erases
//! nothing.

use std::collections::BTreeMap;
use std::process::Output;

use medallion_runtime::verify;
use sqlx::PgConnection;

use crate::support::program::{self, command_on};
use crate::support::{Shop, compare, laws, staff};

/// What is only known of the subject: of a customer who moved and married, and of an address.
pub const OF_CUSTOMER: [&str; 3] = ["Zebedina", "Quillfeather", "Umbleworth"];
const OF_ADDRESS: [&str; 2] = ["Hollowmere", "Wexcombe"];

/// Two stores' worth of a shop: customer 1 and address 3 are to be forgotten.
pub const STOCK: &str = "
    INSERT INTO country (country) VALUES ('Country');
    INSERT INTO city (city, country_id) VALUES ('City', 1);
    INSERT INTO address (address, district, city_id, phone)
    VALUES ('1 Road', 'North', 1, '1'), ('2 Road', 'South', 1, '2'), ('3 Hollowmere', 'Wexcombe', 1, '3');
    INSERT INTO store (manager_staff_id, address_id) VALUES (1, 1);
    INSERT INTO staff (first_name, last_name, address_id, store_id, username) VALUES ('Ann', 'Ott', 1, 1, 'ann');
    INSERT INTO film (title, language_id) VALUES ('Film', 1);
    INSERT INTO inventory (film_id, store_id) VALUES (1, 1), (1, 1);
    INSERT INTO customer (store_id, first_name, last_name, email, address_id)
    VALUES (1, 'Zebedina', 'Quillfeather', 'zebedina@quillfeather', 1), (1, 'Other', 'One', 'other@one', 3);
    INSERT INTO rental (rental_date, inventory_id, customer_id, staff_id)
    VALUES ('2025-03-01 10:00+00', 1, 1, 1), ('2025-03-02 10:00+00', 2, 2, 1);
    INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)
    VALUES (1, 1, 1, 3.5, '2025-03-01 10:00+00'), (2, 1, 2, 4.5, '2025-03-02 10:00+00');
";

/// Both move, one by one, and the first one's rows of the source go.
pub const LEAVE: &str = "
    DELETE FROM payment WHERE customer_id = 1;
    DELETE FROM rental WHERE customer_id = 1;
    DELETE FROM customer WHERE customer_id = 1;
    DELETE FROM address WHERE address_id = 3;
";

/// What retention would have put aside, and a change that could not land.
const ASIDE: &str = r#"
    CREATE TABLE medallion.old_landed (LIKE cdc_bronze.br_customer_cdc, pruned_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE medallion.old_versions (
        LIKE temporal_silver.dim_customer_hist, pruned_at timestamptz NOT NULL DEFAULT now()
    );
    INSERT INTO medallion.old_landed SELECT * FROM cdc_bronze.br_customer_cdc;
    INSERT INTO medallion.old_versions SELECT * FROM temporal_silver.dim_customer_hist;
    CREATE OR REPLACE FUNCTION medallion.pruned() RETURNS TABLE ("pruned_from" regclass, "archive" regclass)
    LANGUAGE sql STABLE AS $$
        VALUES
            ('cdc_bronze.br_customer_cdc'::regclass, 'medallion.old_landed'::regclass),
            ('temporal_silver.dim_customer_hist', 'medallion.old_versions')
    $$;
    INSERT INTO medallion.failed_row (run, test, relation, status, failures, full_row)
    VALUES (1, 'test', 'temporal_silver.dim_customer', 'failed', 1, '{"last_name": "Quillfeather"}');
    INSERT INTO medallion.quarantine (landing, lsn, seq, op, commit_ts, key, full_row, problem)
    VALUES
        ('cdc_bronze.br_customer_cdc', 1, 1, 'U', now(), '{"customer_id": 1}', 'Zebedina \u0000', 'no jsonb'),
        ('cdc_bronze.br_customer_cdc', 1, 2, 'U', now(), '{"customer_id": 2}', 'Other \u0000', 'no jsonb');
"#;

/// A shop that has run through all of this, in the loader's name; the owner's URL, and the reader's.
async fn open(name: &str) -> (Shop, String, String) {
    let (mut shop, loader, reader) = staff::open(name).await;
    let owner = loader.replace(&format!("{name}_load"), &format!("{name}_owner"));
    compare::execute(&mut shop.source, STOCK).await;
    shop.run().await;
    shop.change("UPDATE customer SET last_name = 'Umbleworth', address_id = 2 WHERE customer_id = 1").await;
    shop.run().await;
    shop.change("UPDATE customer SET address_id = 2 WHERE customer_id = 2").await;
    shop.run().await;
    (shop, owner, reader)
}

fn forget(shop: &Shop, url: &str, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> = std::iter::once("forget").chain(arguments.iter().copied()).collect();
    command_on(&shop.place.source, url, &arguments).output().unwrap()
}

#[track_caller]
fn assert_ended(output: &Output, code: i32, says: &str) {
    let stderr = program::stderr(output);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
}

/// Every table of the database that says a word, the server's own included.
pub async fn tables_that_say(session: &mut PgConnection, words: &[&str]) -> Vec<String> {
    let tables = compare::rows(
        session,
        "SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class WHERE relkind IN ('r', 'm') AND relpersistence <> 't'",
    )
    .await;
    let said: Vec<String> = words.iter().map(|word| format!("one::text ILIKE '%{word}%'")).collect();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("SELECT count(*) FROM {table} AS one WHERE {}", said.join(" OR "));
        if compare::value(session, &sql).await != "0" {
            found.push(table);
        }
    }
    found
}

/// All rows of the warehouse's tables.
async fn everything(session: &mut PgConnection) -> BTreeMap<String, Vec<String>> {
    let tables = compare::rows(
        session,
        "SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text IN
        ('cdc_bronze', 'temporal_silver', 'simple_gold', 'medallion')",
    )
    .await;
    let mut rows = BTreeMap::new();
    for table in tables {
        let found = compare::rows(session, &format!("SELECT * FROM {table}")).await;
        rows.insert(table, found);
    }
    rows
}

/// Silver is the fold of what is left of bronze, and marts are their definitions.
async fn assert_holds(shop: &mut Shop, context: &str) {
    laws::assert_hold(shop, context).await;
    let checks = verify::verify(&shop.descriptor, &shop.place, |_| {}).await.unwrap();
    assert!(checks.len() > 9 && checks.iter().all(|check| check.broken == 0), "{context}: {checks:#?}");
}

#[tokio::test]
async fn nothing_is_left_of_who_is_forgotten() {
    let (mut shop, owner, _) = open("forgotten").await;
    shop.change(LEAVE).await;
    shop.run().await;
    compare::execute(&mut shop.warehouse, ASIDE).await;
    compare::execute(&mut shop.warehouse, "ALTER TABLE medallion.old_landed OWNER TO forgotten_owner").await;
    compare::execute(&mut shop.warehouse, "ALTER TABLE medallion.old_versions OWNER TO forgotten_owner")
        .await;
    compare::execute(&mut shop.warehouse, "ANALYZE").await;
    let before = everything(&mut shop.warehouse).await;
    let found = tables_that_say(&mut shop.warehouse, &OF_CUSTOMER).await;
    for table in
        ["cdc_bronze.br_customer_cdc", "temporal_silver.dim_customer_hist", "pg_catalog.pg_statistic"]
    {
        assert!(found.iter().any(|one| one == table), "{table} is among {found:?}");
    }

    // To be told is not to be done.
    let told = forget(&shop, &owner, &["dim_customer", "1", "--dry-run"]);
    assert_ended(&told, 0, "");
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        "cdc_bronze.br_customer_cdc: 3 rows would go\n\
         medallion.failed_row: 1 row would go\n\
         medallion.old_landed: 3 rows would go\n\
         medallion.old_versions: 2 rows would go\n\
         medallion.quarantine: 1 row would go\n\
         temporal_silver.dim_customer_hist: 2 rows would go\n"
    );
    assert_eq!(everything(&mut shop.warehouse).await, before, "a dry run");

    let gone = forget(&shop, &owner, &["dim_customer", "customer_id=1"]);
    assert_ended(&gone, 0, "");
    let told = String::from_utf8_lossy(&told.stdout).replace("would go", "went");
    assert_eq!(String::from_utf8_lossy(&gone.stdout), told);
    assert_eq!(tables_that_say(&mut shop.warehouse, &OF_CUSTOMER).await, [""; 0]);
    let after = everything(&mut shop.warehouse).await;
    for (table, rows) in &before {
        let differs = match table.as_str() {
            "cdc_bronze.br_customer_cdc" => 3,
            "medallion.old_landed" => 3,
            "medallion.old_versions" | "temporal_silver.dim_customer_hist" => 2,
            "medallion.quarantine" | "medallion.failed_row" => 1,
            "medallion.erasure" => continue,
            _ => 0,
        };
        let left: Vec<&String> = rows.iter().filter(|row| after[table].contains(row)).collect();
        assert_eq!(rows.len() - left.len(), differs, "{table}");
        assert_eq!(left.len(), after[table].len(), "{table}");
    }
    // A rental that was the customer's says by which number, and no more.
    let rental = "SELECT DISTINCT customer_id FROM medallion.fact_rental_history";
    assert_eq!(compare::value(&mut shop.warehouse, rental).await, "1");
    let trace = "SELECT erased_by, relation, gone ->> 'cdc_bronze.br_customer_cdc',
            key_hash = encode(sha256(convert_to(salt || '[1]', 'UTF8')), 'hex')
        FROM medallion.erasure";
    assert_eq!(
        compare::rows(&mut shop.warehouse, trace).await,
        ["forgotten_owner\ttemporal_silver.dim_customer_hist\t3\tt"]
    );

    // What others copied goes from them, and only it.
    let gone = forget(&shop, &owner, &["lookup_address", "3"]);
    assert_ended(&gone, 0, "");
    assert_eq!(tables_that_say(&mut shop.warehouse, &OF_ADDRESS).await, [""; 0]);
    let versions = "SELECT customer_id, first_name, address_id, coalesce(address, '-')
        FROM temporal_silver.dim_customer_hist ORDER BY sys_start";
    assert_eq!(compare::copy(&mut shop.warehouse, versions).await, ["2\tOther\t3\t-", "2\tOther\t2\t2 Road"]);
    assert_holds(&mut shop, "forgotten").await;

    assert_ended(&forget(&shop, &owner, &["dim_customer", "1"]), 1, "nothing is known of such a key");

    // Runs go on, and one who comes by the same number is somebody else.
    shop.change(
        "INSERT INTO customer (customer_id, store_id, first_name, last_name, address_id)
        VALUES (1, 1, 'New', 'Face', 1);
        UPDATE payment SET amount = 5.5 WHERE customer_id = 2",
    )
    .await;
    shop.run().await;
    assert_holds(&mut shop, "after it").await;
    let versions = "SELECT first_name FROM temporal_silver.dim_customer_hist WHERE customer_id = 1";
    assert_eq!(compare::rows(&mut shop.warehouse, versions).await, ["New"]);
    assert_eq!(tables_that_say(&mut shop.warehouse, &OF_CUSTOMER).await, [""; 0]);
}

#[tokio::test]
async fn what_is_refused_or_fails_erases_nothing() {
    let (mut shop, owner, reader) = open("unforgotten").await;
    let loader = shop.place.warehouse.clone();
    let before = everything(&mut shop.warehouse).await;

    assert_ended(&forget(&shop, &owner, &["dim_customer", "1"]), 1, "delete it there and run first");
    for url in [&loader, &reader] {
        assert_ended(
            &forget(&shop, url, &["dim_customer", "1", "--even-if-current"]),
            2,
            "only the owner of the warehouse erases from it\n  = connect as unforgotten_owner",
        );
    }
    for (arguments, says) in [
        (
            &["dim_customer", "1); DROP TABLE medallion.watermark; --"][..],
            "its columns are customer_id integer",
        ),
        (&["dim_customer", "customer_id=0 OR true"], "its columns are customer_id integer"),
        (&["dim_customer\"; DROP TABLE medallion.watermark; --", "1"], "there is no relation"),
        (&["dim_customer", "store_id=1"], "its columns are customer_id integer"),
        (&["fact_payment", "1"], "(payment_id, payment_date)"),
        (&["fact_payment", "payment_id=1", "rental_id=1"], "its columns are payment_id integer"),
    ] {
        let refused = forget(&shop, &owner, arguments);
        assert_ended(&refused, 2, says);
        assert!(
            !program::stderr(&refused).contains("DROP TABLE") || arguments[1] == "1",
            "no value is repeated"
        );
    }

    // Killed as late as can be, all of it being done.
    for fails in ["PERFORM pg_terminate_backend(pg_backend_pid())", "RAISE EXCEPTION 'no'"] {
        let hook = format!(
            "CREATE OR REPLACE FUNCTION medallion.fail() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN {fails}; RETURN NEW; END$$;
            CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON medallion.erasure
            FOR EACH ROW EXECUTE FUNCTION medallion.fail()"
        );
        compare::execute(&mut shop.warehouse, &hook).await;
        assert_ended(
            &forget(&shop, &owner, &["dim_customer", "1", "--even-if-current"]),
            2,
            "medallion.erasure",
        );
        assert_eq!(everything(&mut shop.warehouse).await, before, "{fails}");
    }
    compare::execute(&mut shop.warehouse, "DROP FUNCTION medallion.fail() CASCADE").await;

    // A key of several columns, and one who is at the source still.
    let payment = ["fact_payment", "payment_date=2025-03-01 10:00+00", "payment_id=1", "--even-if-current"];
    assert_ended(&forget(&shop, &owner, &payment), 0, "");
    let payments = "SELECT payment_id FROM temporal_silver.fact_payment";
    assert_eq!(compare::rows(&mut shop.warehouse, payments).await, ["2"]);
    let revenue = "SELECT revenue FROM simple_gold.vw_monthly_revenue";
    assert_eq!(compare::rows(&mut shop.warehouse, revenue).await, ["4.50"]);
    assert_ended(&forget(&shop, &owner, &["dim_customer", "1", "--even-if-current"]), 0, "");
    assert_eq!(tables_that_say(&mut shop.warehouse, &OF_CUSTOMER).await, [""; 0]);
    assert_holds(&mut shop, "erased all the same").await;
    shop.change("UPDATE customer SET email = 'back@again' WHERE customer_id = 1").await;
    shop.run().await;
    let back = "SELECT email FROM temporal_silver.dim_customer";
    assert_eq!(compare::rows(&mut shop.warehouse, back).await, ["back@again", "other@one"]);
    assert_holds(&mut shop, "back again").await;
}
