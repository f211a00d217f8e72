//! Holds bronze against the source's own account of its changes: each once, in commit order, whole
//! transactions. What the first snapshot saw is a first stretch of that account, and comes to the same rows.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{Shop, compare};

/// How much of the account has to have landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// A first stretch of it, of whole transactions.
    SoFar,
    /// All of it.
    Everything,
}

/// Starts the account.
pub async fn begin(source: &mut PgConnection) {
    compare::execute(source, include_str!("audit.sql")).await;
}

/// Fails unless bronze holds what the account says, up to somewhere or to its end. Nobody else may be landing.
pub async fn assert_once(shop: &mut Shop, landed: Landed, context: &str) {
    let key = key(shop);
    // Bronze first: the account goes on meanwhile, and what bronze has must be in it.
    let bronze = bronze(shop, &key).await;
    let account = format!(
        "SELECT audit.commit.number, relation, op, {key}, full_row
        FROM audit.change JOIN audit.commit USING (transaction)
        ORDER BY audit.commit.number, audit.change.number"
    );
    let account = transactions(compare::copy(&mut shop.source, &account).await);
    let log =
        format!("SELECT position, relation, op, {key}, full_row FROM change_log ORDER BY position, seq");
    let log = transactions(compare::copy(&mut shop.source, &log).await);

    let Some(seen) = seen_by_snapshot(&account, &bronze, landed) else { return };
    let streamed = &account[seen..];
    for (place, (found, expected)) in (1..).zip(bronze.stream.iter().zip(streamed)) {
        assert_eq!(found, expected, "{context}: transaction {place} after the snapshot");
    }
    let (found, expected) = (bronze.stream.len(), streamed.len());
    assert!(
        found == expected || (found < expected && landed == Landed::SoFar),
        "{context}: {found} transactions after the snapshot have landed, the source made {expected}"
    );
    let listed = |rows: BTreeMap<(&str, &str), &str>| -> Vec<String> {
        rows.into_iter().map(|((relation, key), row)| format!("{relation}\t{key}\t{row}")).collect()
    };
    let expected = listed(fold(log.iter().chain(&account[..seen])));
    let found = listed(fold(&bronze.past));
    let different = compare::difference("what the account comes to", &expected, &found);
    assert_eq!(different, None, "{context}: {seen} transactions before the snapshot");
}

/// The changes of one transaction: relation, operation, key and row of each.
type Transaction = Vec<[String; 4]>;

/// Bronze, in order.
struct Bronze {
    /// The recorded log and the snapshot, which landed in one.
    past: Vec<Transaction>,
    /// What followed.
    stream: Vec<Transaction>,
}

async fn bronze(shop: &mut Shop, key: &str) -> Bronze {
    let landings: Vec<String> = shop
        .descriptor
        .landings
        .iter()
        .map(|landing| {
            let (source, table) = (&landing.source.table, &landing.table);
            format!("SELECT '{source}' AS relation, lsn, seq, op, full_row FROM {table}")
        })
        .collect();
    let mut parts = Vec::new();
    // Commit records start at multiples of eight; the snapshot stands between two, above the recorded log.
    for compared in ["<=", ">"] {
        let sql = format!(
            "WITH bronze AS ({})
            SELECT lsn, relation, op, {key}, full_row
            FROM bronze
            WHERE lsn {compared} (
                SELECT greatest(max(recorded_position), min(bronze.lsn) FILTER (
                    WHERE bronze.lsn > recorded_position AND bronze.lsn % 8 = 7
                ))
                FROM bronze, medallion.source_position
            )
            ORDER BY lsn, seq, relation",
            landings.join(" UNION ALL ")
        );
        parts.push(transactions(compare::copy(&mut shop.warehouse, &sql).await));
    }
    let stream = parts.pop().expect("two were pushed");
    let past = parts.pop().expect("two were pushed");
    Bronze { past, stream }
}

/// How many transactions of the account came before the snapshot; none known where nothing has come since.
fn seen_by_snapshot(account: &[Transaction], bronze: &Bronze, landed: Landed) -> Option<usize> {
    match (bronze.stream.first(), landed) {
        (Some(first), _) => {
            let seen = account.iter().position(|transaction| transaction == first);
            assert!(seen.is_some(), "bronze has what the source never did: {first:?}");
            seen
        }
        (None, Landed::Everything) => Some(account.len()),
        (None, Landed::SoFar) => None,
    }
}

/// SQL for the key of a row, whatever its relation.
fn key(shop: &Shop) -> String {
    let cases: Vec<String> = shop
        .descriptor
        .landings
        .iter()
        .map(|landing| {
            let fields: Vec<String> =
                landing.key.iter().map(|column| format!("full_row -> '{column}'")).collect();
            format!("WHEN '{}' THEN jsonb_build_array({})", landing.source.table, fields.join(", "))
        })
        .collect();
    format!("CASE relation {} END", cases.join(" "))
}

/// Rows of transaction, relation, operation, key and row, a transaction after the other.
fn transactions(lines: Vec<String>) -> Vec<Transaction> {
    let mut transactions: Vec<Transaction> = Vec::new();
    let mut last = String::new();
    for line in lines {
        let mut fields = line.split('\t').map(str::to_owned);
        let transaction = fields.next().unwrap_or_default();
        let change: Vec<String> = fields.collect();
        let change = change.try_into().unwrap_or_else(|_| panic!("five fields in {line}"));
        if transaction != last || transactions.is_empty() {
            transactions.push(Vec::new());
            last = transaction;
        }
        transactions.last_mut().expect("one was pushed").push(change);
    }
    transactions
}

/// What changes come to: relation, key and row.
fn fold<'a>(
    transactions: impl IntoIterator<Item = &'a Transaction>,
) -> BTreeMap<(&'a str, &'a str), &'a str> {
    let mut rows = BTreeMap::new();
    for [relation, operation, key, row] in transactions.into_iter().flatten() {
        match operation.as_str() {
            "T" => rows.retain(|(other, _), _| other != relation),
            "D" => drop(rows.remove(&(relation.as_str(), key.as_str()))),
            _ => drop(rows.insert((relation.as_str(), key.as_str()), row.as_str())),
        }
    }
    rows
}
