//! The enterprise twin of Pagila, batch by batch: the star says what the source says at each copy, and still does as of
//! then when later ones have come; keys stay with their versions; a batch of nothing lands nothing; its logic and its demo
//! are as they are told.

use std::collections::BTreeMap;

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{DemoAction, Warehouse};
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::unit_test::{self, Status};
use medallion_runtime::{migrate, rebuild, run, script, verify};
use medallion_server::Server;
use sqlx::PgConnection;

use crate::support::{compare, program};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/pagila_enterprise/tests");

/// What stands at the source, and how the star says the same.
const SAID: &[(&str, &str, &str)] = &[
    (
        "customers",
        "SELECT customer_id, customer.store_id, lower(email), address, city || ', ' || country, activebool
         FROM customer JOIN address USING (address_id) JOIN city USING (city_id) JOIN country USING (country_id)",
        "SELECT customer_id, store_id, email, address, location, is_active FROM dim_customer_current",
    ),
    (
        "films",
        "SELECT film_id, title, name, rental_rate, rental_duration FROM film JOIN language USING (language_id)",
        "SELECT film_id, title, language, rental_rate, rental_duration FROM dim_film WHERE is_current",
    ),
    (
        "stores",
        "SELECT store.store_id, first_name || ' ' || last_name, city FROM store JOIN staff ON staff_id = manager_staff_id
         JOIN address ON address.address_id = store.address_id JOIN city USING (city_id)",
        "SELECT store_id, manager, city FROM dim_store_current",
    ),
    (
        "rentals",
        "SELECT rental_id, rental_date, return_date, customer_id, inventory_id, staff_id,
            to_char(rental_date AT TIME ZONE 'UTC', 'YYYYMMDD')
         FROM rental",
        "SELECT rental_id, rental_date, return_date, customer_id, inventory_id, staff_id, rental_date_key::text
         FROM fact_rental JOIN dim_date ON date_key = rental_date_key",
    ),
    (
        "what rentals are about",
        "SELECT rental_id, film_id,
            CASE WHEN return_date IS NOT NULL
                THEN greatest(0, ceil(extract(epoch FROM return_date - rental_date) / 86400) - rental_duration)
            END
         FROM rental JOIN inventory USING (inventory_id) JOIN film USING (film_id)
         WHERE film_id <> 789",
        "SELECT rental_id, fact_rental.film_id, days_late
         FROM fact_rental JOIN dim_film USING (film_key) JOIN lookup_inventory USING (inventory_id)
         WHERE fact_rental.film_id <> 789",
    ),
    (
        "payments",
        "SELECT payment_id, payment_date, customer_id, rental_id, amount FROM payment",
        "SELECT payment_id, payment_date, customer_id, rental_id, amount FROM fact_payment",
    ),
    (
        "what customers are worth",
        "SELECT customer_id, count(*), count(return_date), max(rental_date), coalesce(max(paid), 0)
         FROM rental
         LEFT JOIN (SELECT customer_id, sum(amount) AS paid FROM payment GROUP BY 1) AS paid USING (customer_id)
         GROUP BY customer_id",
        "SELECT customer_id, rentals, rentals - copies_out, last_rental, revenue
         FROM customer_metrics JOIN customer_segments USING (customer_id, rentals, revenue)",
    ),
    (
        "copies",
        "SELECT film_id, store_id, count(*) FROM inventory GROUP BY 1, 2",
        "SELECT film_id, store_id, copies FROM inventory_turnover WHERE copies > 0",
    ),
];

/// What a question of the past shows: all that makes a version, and all that is counted of it.
const SHOWN: &[&str] = &[
    "SELECT customer_key, customer_id, store_id, full_name, location, is_active, valid_from, is_current FROM dim_customer",
    "SELECT film_key, film_id, price_tier, rental_rate, rental_duration, valid_from, is_current FROM dim_film",
    "SELECT store_key, store_id, manager, location, valid_from, is_current FROM dim_store",
    "SELECT staff_key, staff_id, full_name, is_active, valid_from, is_current FROM dim_staff",
    "SELECT * FROM fact_rental",
    "SELECT * FROM fact_payment",
    "SELECT * FROM customer_metrics",
    "SELECT * FROM customer_segments",
    "SELECT * FROM inventory_turnover",
];

/// Where it is shown as it is now.
const NOW: &str = "star_silver, metrics_gold";

/// What happens in a day besides traffic: each dimension has something.
const DAY: &str = "
    BEGIN;
    UPDATE customer SET store_id = 1 + store_id % 7, last_name = 'NEWMAN' WHERE customer_id IN (7, 8);
    UPDATE city SET city = city || ' on Sea' WHERE city_id = 2;
    UPDATE film SET rental_rate = 4.49, rental_duration = 8 WHERE film_id = 789;
    UPDATE store SET manager_staff_id = 14 WHERE store_id = 5;
    UPDATE staff SET last_name = 'Newman' WHERE staff_id = 14;
    UPDATE rental SET return_date = rental_date + interval '9 days' WHERE return_date IS NULL;
    DELETE FROM payment WHERE payment_id % 3000 = 1;
    COMMIT";

#[tokio::test]
async fn each_batch_is_the_star_of_its_time() {
    let mut shop = Shop::open().await;
    shop.run().await;
    for (sql, count) in [
        ("SELECT count(*) FROM star_silver.dim_customer", "599"),
        ("SELECT count(*) FROM star_silver.dim_film WHERE is_current AND valid_to = '9999-12-31'", "1000"),
        ("SELECT count(*) FROM star_silver.fact_rental WHERE customer_key IS NULL OR staff_key IS NULL", "0"),
        (
            "SELECT count(*) FROM star_silver.dim_customer
             WHERE customer_key <> md5(customer_id || '-' || (valid_from AT TIME ZONE 'UTC') || '+00')",
            "0",
        ),
        ("SELECT count(DISTINCT segment) FROM metrics_gold.customer_segments", "6"),
    ] {
        assert_eq!(compare::value(&mut shop.target, sql).await, count, "{sql}");
    }

    let mut past = vec![shop.batch("the first batch").await];
    for step in warehouse::pagila_enterprise::warehouse().demo {
        match step.action {
            DemoAction::Source(sql) => compare::execute(&mut shop.source, sql).await,
            DemoAction::Run => {
                shop.run().await;
                past.push(shop.batch("a batch of the tour").await);
            }
            DemoAction::Query { sql, .. } => {
                shop.search(NOW).await;
                let answer = compare::rows(&mut shop.target, sql).await;
                assert!(answer.len() > 1, "{sql}\n{answer:#?}");
            }
            DemoAction::Nothing => {}
        }
    }
    let traffic = shop.descriptor.scripts.traffic.unwrap();
    for changes in [DAY, traffic] {
        compare::execute(&mut shop.source, &format!("SELECT setseed(0.5);\n{changes}")).await;
        shop.run().await;
        past.push(shop.batch("a batch of a day").await);
    }
    for (time, shown) in &past {
        shop.target_as_of(time).await;
        let now = shop.shown("as_of").await;
        shop.target_as_of("").await;
        let differ = shown.iter().filter_map(|(sql, rows)| compare::difference(sql, rows, &now[sql]));
        compare::assert_none(&format!("as of {time}"), &differ.collect::<Vec<_>>());
    }

    // A batch of nothing lands nothing, and what is computed anew is what stands, keys included.
    let (stood, landed) = (shop.shown(NOW).await, shop.landed().await);
    shop.run().await;
    assert_eq!(shop.landed().await, landed);
    let rebuilt = rebuild::rebuild(&shop.descriptor, &shop.place, &[], &mut Silent).await;
    let rebuilt = rebuilt.unwrap_or_else(|error| panic!("{error}"));
    assert!(rebuilt.differed.iter().all(|(_, differed)| *differed == 0), "{:?}", rebuilt.differed);
    assert!(shop.shown(NOW).await == stood, "what was computed anew is something else");
    let checks = verify::verify(&shop.descriptor, &shop.place, |_| ()).await;
    let checks = checks.unwrap_or_else(|error| panic!("{error}"));
    assert!(checks.iter().all(|check| check.broken == 0), "{checks:#?}");

    // Each version that a fact is of is there, with the batch that brought its last change.
    let lost = "SELECT count(*) FROM star_silver.fact_rental
        LEFT JOIN star_silver.dim_customer USING (customer_key) LEFT JOIN star_silver.dim_film USING (film_key)
        WHERE dim_customer.batch_id IS NULL OR (film_key IS NOT NULL AND dim_film.batch_id IS NULL)";
    assert_eq!(compare::value(&mut shop.target, lost).await, "0");
    let mut test = program::command_on(&shop.place.source, &shop.place.warehouse, &["test"]);
    let tested = test.env("MEDALLION_WAREHOUSE", "pagila_enterprise").output().unwrap();
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(tested.status.success(), "{said}{}", program::stderr(&tested));
}

#[tokio::test]
async fn the_logic_of_the_star_is_as_it_is_told() {
    let url = Server::shared_scratch().unwrap().url("template1");
    let descriptor = warehouse::pagila_enterprise::warehouse();
    let tested = unit_test::run(&descriptor, &[TESTS.into()], Some(&url), &|_| true, |_, _, _| ()).await;
    let tested = tested.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(tested.len(), 7);
    let wrong: Vec<_> = tested.iter().filter(|one| one.status != Status::Passed).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The source and the warehouse.
struct Shop {
    descriptor: Warehouse,
    place: Place,
    source: PgConnection,
    target: PgConnection,
}

impl Shop {
    async fn open() -> Self {
        let server = Server::shared_scratch().unwrap();
        let descriptor = warehouse::pagila_enterprise::warehouse();
        for name in ["enterprise_source", "enterprise_warehouse"] {
            server.ensure_database(name).unwrap();
        }
        let place = Place {
            source: server.url("enterprise_source"),
            warehouse: server.url("enterprise_warehouse"),
            bronze: None,
            embedded: None,
        };
        let scripts = descriptor.scripts;
        for (name, sql) in [("source.sql", scripts.source), ("sample.sql", scripts.sample)] {
            script::execute(Database::Source, &place.source, name, sql.unwrap()).await.unwrap();
        }
        migrate::up(&descriptor, &place).await.unwrap_or_else(|error| panic!("{error}"));
        let source = connection::connect(Database::Source, &place.source).await.unwrap();
        let target = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
        Self { descriptor, place, source, target }
    }

    async fn run(&self) {
        run::run(&self.descriptor, &self.place, &mut Silent).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// What is shown after a batch, once it was held against the source; and the batch's time.
    async fn batch(&mut self, when: &str) -> (String, BTreeMap<&'static str, Vec<String>>) {
        self.agrees(when).await;
        let time = compare::value(&mut self.target, "SELECT medallion.now()").await;
        (time, self.shown(NOW).await)
    }

    async fn agrees(&mut self, when: &str) {
        let mut differences = Vec::new();
        self.search(NOW).await;
        for (what, source, star) in SAID {
            let expected = compare::rows(&mut self.source, source).await;
            let found = compare::rows(&mut self.target, star).await;
            differences.extend(compare::difference(what, &expected, &found));
        }
        compare::assert_none(when, &differences);
    }

    /// What is shown in some schemas.
    async fn shown(&mut self, schemas: &str) -> BTreeMap<&'static str, Vec<String>> {
        self.search(schemas).await;
        let mut shown = BTreeMap::new();
        for sql in SHOWN {
            shown.insert(*sql, compare::rows(&mut self.target, sql).await);
        }
        shown
    }

    async fn search(&mut self, schemas: &str) {
        compare::execute(&mut self.target, &format!("SET search_path = {schemas}")).await;
    }

    async fn target_as_of(&mut self, time: &str) {
        compare::execute(&mut self.target, &format!("SET medallion.as_of = '{time}'")).await;
    }

    /// How much has landed, of each table.
    async fn landed(&mut self) -> Vec<String> {
        let tables = self.descriptor.landings.iter().map(|landing| landing.table.to_string());
        let counts = tables.map(|table| format!("SELECT '{table}', count(*) FROM {table}"));
        let sql = counts.collect::<Vec<_>>().join("\nUNION ALL\n");
        compare::rows(&mut self.target, &sql).await
    }
}
