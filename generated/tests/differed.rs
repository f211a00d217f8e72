//! What `diff` says, whatever comes and goes at the source: on top of the rows of the one time it makes those of the
//! other, for every kind of relation; and what it says made the difference is in bronze, landed in between.

use std::collections::BTreeMap;

use medallion_runtime::diff::{self, Difference, Question, State};
use medallion_server::Server;

use crate::chaos::Dice;
use crate::support::program::command;
use crate::support::{Shop, compare};
use crate::tested::STOCK;

const RELATIONS: [&str; 8] = [
    "vw_monthly_revenue",
    "vw_top_titles",
    "vw_store_scorecard",
    "dim_customer",
    "dim_film",
    "lookup_inventory",
    "fact_rental",
    "fact_payment",
];

/// What somebody does at the source.
fn change(dice: &mut Dice) -> String {
    let key = dice.roll(20) + 1;
    match dice.roll(11) {
        0 => format!(
            "UPDATE payment SET payment_date = payment_date + interval '1 month' WHERE payment_id = {key}"
        ),
        1 => format!("UPDATE payment SET amount = amount + 1 WHERE payment_id = {key}"),
        2 => format!("DELETE FROM payment WHERE payment_id = {key}"),
        3 => {
            format!("UPDATE rental SET return_date = rental_date + interval '3 days' WHERE rental_id = {key}")
        }
        4 => format!("UPDATE customer SET first_name = 'First {key}' WHERE customer_id = {key}"),
        5 => "UPDATE address SET address = address || '!'".to_owned(),
        6 => "UPDATE film SET title = title || '!'".to_owned(),
        7 => "INSERT INTO inventory (film_id, store_id) VALUES (1, 1)".to_owned(),
        8 => format!(
            "INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)
            VALUES ({key}, 1, {key}, {key}, timestamptz '2025-01-01' + {key} * interval '3 days')"
        ),
        9 => format!(
            "DELETE FROM customer WHERE customer_id = {key} AND NOT EXISTS (SELECT FROM rental WHERE customer_id = {key})"
        ),
        _ => "UPDATE language SET name = name || '!'".to_owned(),
    }
}

async fn asked(shop: &Shop, relation: &str, from: &str, to: &str) -> Difference {
    let question = Question { relation, from, to, limit: 10_000 };
    diff::diff(&shop.descriptor, &shop.place, &question)
        .await
        .unwrap_or_else(|error| panic!("{relation} from {from} to {to}: {error}"))
}

/// The rows of a relation as of a time, by their keys.
async fn state(shop: &mut Shop, difference: &Difference, time: &str) -> BTreeMap<String, Texts> {
    compare::execute(&mut shop.warehouse, &format!("SET medallion.as_of = '{time}'")).await;
    let columns = difference.columns.join(", ");
    let sql = format!(
        "SELECT to_jsonb(one) FROM (SELECT {columns} FROM as_of.{}) AS one",
        difference.relation.table
    );
    let rows = compare::rows(&mut shop.warehouse, &sql).await;
    let rows = rows.iter().map(|row| texts(&serde_json::from_str::<State>(row).unwrap()));
    rows.map(|row| (key(difference, &row), row)).collect()
}

/// The values of a row, as they are written.
type Texts = BTreeMap<String, String>;

fn texts(state: &State) -> Texts {
    state.iter().map(|(column, value)| (column.clone(), value.get().to_owned())).collect()
}

fn key(difference: &Difference, row: &Texts) -> String {
    difference.key.iter().map(|column| format!("{} ", row[column])).collect()
}

#[tokio::test]
async fn on_top_of_the_one_time_it_makes_the_other() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "differed").await;
    shop.migrate().await;
    let mut times = vec!["1999-01-01".to_owned()];
    shop.change(STOCK).await;
    let mut dice = Dice(7);
    for _ in 0..5 {
        shop.run().await;
        times.push(shop.now().await);
        for _ in 0..4 {
            let sql = change(&mut dice);
            shop.change(&sql).await;
        }
    }
    let mut seen = diff::Counted::default();
    for (number, from) in times.iter().enumerate() {
        for to in &times[number..] {
            for relation in RELATIONS {
                let difference = asked(&shop, relation, from, to).await;
                let context = format!("{relation} from {from} to {to}");
                let mut made = state(&mut shop, &difference, from).await;
                for row in &difference.rows {
                    if let Some(before) = row.before.as_ref().map(texts) {
                        assert_eq!(made.remove(&key(&difference, &before)), Some(before), "{context}");
                    }
                    if let Some(after) = row.after.as_ref().map(texts) {
                        let was = made.insert(key(&difference, &after), after);
                        assert_eq!(was, None, "{context}");
                    }
                }
                assert_eq!(made, state(&mut shop, &difference, to).await, "{context}");
                seen.added += difference.counted.added;
                seen.gone += difference.counted.gone;
                seen.changed += difference.counted.changed;
                assert_caused(&mut shop, &difference, &context).await;
            }
        }
    }
    assert!(seen.added > 0 && seen.gone > 0 && seen.changed > 0, "{seen:?}");
}

/// Every difference has its causes, but for a view that follows the clock; and each is a change that landed in between.
async fn assert_caused(shop: &mut Shop, difference: &Difference, context: &str) {
    let mut causes = Vec::new();
    for row in &difference.rows {
        assert_eq!(row.caused_by, row.causes.len() as u64, "{context}");
        let follows_the_clock = difference.relation.table == "vw_store_scorecard";
        assert!(follows_the_clock || !row.causes.is_empty(), "{context}: nothing made {row:#?}");
        causes.extend(row.causes.iter().map(|cause| {
            assert!(cause.lsn.is_some(), "{context}: {cause:?}");
            format!("('{}', {}, '{}'::timestamptz, '{}')", cause.table, cause.seq, cause.time, cause.op)
        }));
    }
    causes.sort();
    causes.dedup();
    if causes.is_empty() {
        return;
    }
    let landed = shop
        .descriptor
        .landings
        .iter()
        .map(|landing| format!("SELECT '{0}' AS landing, seq, commit_ts, op FROM {0}", landing.table));
    let sql = format!(
        "SELECT count(*) FROM (VALUES {}) AS cause (landing, seq, at, op)
        JOIN ({}) AS landed ON landed.landing = cause.landing AND landed.seq = cause.seq
            AND landed.commit_ts = cause.at AND landed.op = cause.op
        WHERE at > '{}' AND at <= '{}'",
        causes.join(", "),
        landed.collect::<Vec<String>>().join(" UNION ALL "),
        difference.from,
        difference.to,
    );
    let found = compare::value(&mut shop.warehouse, &sql).await;
    assert_eq!(found, causes.len().to_string(), "{context}: {causes:#?}");
}

#[tokio::test]
async fn the_changes_that_made_a_group_otherwise_stand_under_it() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "differed_group").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    shop.run().await;
    let from = shop.now().await;
    shop.change("UPDATE payment SET amount = 3.50 WHERE payment_id = 1").await;
    shop.change("UPDATE payment SET payment_date = '2025-02-03' WHERE payment_id = 2").await;
    shop.change("UPDATE customer SET first_name = 'Else' WHERE customer_id = 3").await;
    shop.change("UPDATE address SET address = 'Elsewhere'").await;
    shop.run().await;

    let revenue = asked(&shop, "vw_monthly_revenue", &from, "infinity").await;
    let ops = |row: &diff::Row| -> Vec<String> {
        let op = |cause: &diff::Cause| {
            assert!(cause.own, "{cause:?}");
            format!("{} {} {}", cause.table, cause.op, cause.key.as_ref().unwrap()["payment_id"].get())
        };
        row.causes.iter().map(op).collect()
    };
    assert_eq!(revenue.counted, diff::Counted { added: 1, gone: 0, changed: 1 }, "{revenue:#?}");
    let [january, february] = revenue.rows.as_slice() else { panic!("{revenue:#?}") };
    let landing = "cdc_bronze.br_payment_cdc";
    assert_eq!(ops(january), [format!("{landing} U 1"), format!("{landing} D 2")]);
    assert_eq!(ops(february), [format!("{landing} I 2")]);

    // An address makes a version of who lives there.
    let customers = asked(&shop, "dim_customer_hist", &from, "infinity").await;
    assert_eq!(customers.counted.changed, 20, "{customers:#?}");
    let third =
        customers.rows.iter().find(|row| row.after.as_ref().unwrap()["customer_id"].get() == "3").unwrap();
    let tables: Vec<String> = third.causes.iter().map(|cause| cause.table.clone()).collect();
    assert_eq!(tables, ["cdc_bronze.br_customer_cdc", "medallion.lookup_address_cdc"]);

    let arguments = ["diff", "vw_monthly_revenue", "--from", &from, "--limit", "1"];
    let output = command(&shop, &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = [
        " to now: 1 row added, 1 row changed\n",
        "\n~ store_id = 1, month = 2025-01-01\n",
        "\n    revenue           210.00 → 210.50\n",
        "\n    payments          20 → 19\n",
        "\n    cdc_bronze.br_payment_cdc ",
        " U payment_date = 2025-01-02T00:00:00+00:00, payment_id = 1\n",
        "\n    … and 1 more change\n",
        "\n… and 1 more row: `--limit` tells more\n",
    ];
    for part in told {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let ahead = command(&shop, &["diff", "vw_monthly_revenue", "--from", "2999-01-01"]).output().unwrap();
    assert_eq!(ahead.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ahead.stderr).contains("`2999-01-01` is in the future"), "{ahead:?}");
    let none = command(&shop, &["diff", "vw_top_titels", "--from", &from]).output().unwrap();
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("did you mean `vw_top_titles`?"), "{none:?}");
}
