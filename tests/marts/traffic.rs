//! What happens to the shop, drawn: rows come, change and go; some land later than they happened.

use std::collections::BTreeMap;

use super::drawn::Draws;

/// The tables, where their changes land, and how many keys they have.
const TABLES: [(&str, &str, usize); 5] = [
    ("region", "bronze.br_region", 3),
    ("shop", "bronze.br_shop", 4),
    ("item", "medallion.lookup_item_cdc", 4),
    ("sale", "bronze.br_sale", 12),
    ("refund", "bronze.br_refund", 6),
];

/// A change as it lands.
#[derive(Clone)]
pub struct Change {
    /// Its transaction, from 1 on.
    pub transaction: usize,
    /// After which transaction it lands.
    lands: usize,
    /// The statement that lands it.
    pub sql: String,
}

/// The changes of so many transactions, in the order in which they land; and after which of them silver is applied.
pub fn draw(transactions: usize, draws: &mut Draws) -> (Vec<Change>, Vec<bool>) {
    let mut rows: BTreeMap<(usize, usize), String> = BTreeMap::new();
    let mut changes = Vec::new();
    let late = draws.rarely(3);
    for transaction in 1..=transactions {
        for seq in 0..=draws.below(6) {
            // Mostly the events: the others change seldom, and everything with them.
            let table = *draws.one(&[0, 1, 1, 2, 3, 3, 3, 3, 3, 4, 4]);
            let (name, landing, keys) = TABLES[table];
            let key = 1 + draws.below(keys);
            let (op, image) = match rows.get(&(table, key)) {
                Some(before) if draws.rarely(4) => {
                    let before = before.clone();
                    rows.remove(&(table, key));
                    ("D", before)
                }
                before => {
                    let op = if before.is_some() { "U" } else { "I" };
                    let image = row(name, key, draws);
                    rows.insert((table, key), image.clone());
                    (op, image)
                }
            };
            let sql = format!(
                "INSERT INTO {landing} (lsn, op, full_row, commit_ts, seq) \
                 VALUES ({transaction}0, '{op}', '{image}', {}, {seq});",
                time(transaction)
            );
            let lands = transaction + if late && draws.rarely(5) { 1 + draws.below(4) } else { 0 };
            changes.push(Change { transaction, lands, sql });
        }
    }
    changes.sort_by_key(|change| change.lands);
    let applied = (1..=transactions).map(|_| !draws.rarely(3)).collect();
    (changes, applied)
}

/// What lands after a transaction.
pub fn landing(changes: &[Change], transaction: usize) -> String {
    changes.iter().filter(|change| change.lands == transaction).map(|change| change.sql.as_str()).collect()
}

/// What lands after the last transaction.
pub fn last(changes: &[Change], transactions: usize) -> String {
    changes.iter().filter(|change| change.lands > transactions).map(|change| change.sql.as_str()).collect()
}

/// The time of a transaction.
pub fn time(transaction: usize) -> String {
    format!("(timestamptz '2025-06-01 00:00:00+00' + {transaction} * interval '1 second')")
}

fn row(table: &str, key: usize, draws: &mut Draws) -> String {
    let text = |draws: &mut Draws, of: &[&str]| {
        let value = *draws.one(of);
        if value.is_empty() { "null".to_owned() } else { format!("\"{value}\"") }
    };
    match table {
        "region" => {
            format!("{{\"region_id\": {key}, \"country\": {}}}", text(draws, &["DE", "FR", ""]))
        }
        "shop" => format!(
            "{{\"shop_id\": {key}, \"region_id\": {}, \"town\": {}}}",
            draws.one(&["1", "2", "3", "null"]),
            text(draws, &["Bonn", "Ulm", "Lyon", ""]),
        ),
        "item" => format!("{{\"item_id\": {key}, \"kind\": {}}}", text(draws, &["toy", "book", ""])),
        "sale" => format!(
            "{{\"sale_id\": {key}, \"sold_at\": \"{}\", \"shop_id\": {}, \"item_id\": {}, \"pieces\": {}, \
             \"amount\": {}, \"rebate\": {}, \"note\": {}}}",
            draws.one(&[
                "2025-05-31T21:30:00+00:00",
                "2025-05-31T22:30:00+00:00",
                "2025-06-01T00:00:04+00:00",
                "2025-07-14T12:00:00+00:00"
            ]),
            draws.one(&["1", "2", "3", "4", "null", "null"]),
            1 + draws.below(5),
            1 + draws.below(4),
            // What is not a number swallows a sum, and gives it back when it goes.
            if draws.rarely(30) { "\"NaN\"" } else { draws.one(&["1.50", "2.25", "7.10", "9", "-3.30"]) },
            draws.one(&["null", "null", "0.5", "1", "1.0"]),
            text(draws, &["a", "b", "A", ""]),
        ),
        _ => format!(
            "{{\"refund_id\": {key}, \"refunded_on\": \"{}\", \"sale_id\": {}, \"amount\": {}}}",
            draws.one(&["2025-06-02", "2025-06-20", "2025-08-01"]),
            1 + draws.below(13),
            draws.one(&["1.00", "2.50", "4.75"]),
        ),
    }
}
