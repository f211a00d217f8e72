//! Changes of bronze as a unit test gives them: who happened when, what an update leaves as it was, and how they land.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::descriptor::{Landing, Warehouse};
use crate::error::{During as _, Result};
use crate::quote;

/// A change as it lands.
#[derive(Clone, Debug)]
pub struct Change {
    /// The landing table, by its place in the list.
    pub landing: usize,
    /// When it happened, in microseconds since 1970.
    pub time: i64,
    /// `I`, `U`, `D` or `T`; none where the rows before tell.
    pub op: Option<char>,
    /// What is said of the row.
    pub row: Map<String, Value>,
    /// Its position, and its place among the changes of that position.
    pub position: (usize, usize),
}

/// Puts changes in order and completes them: who changes a row says what is new, and bronze has all of it.
pub fn complete(warehouse: &Warehouse, changes: &mut [Change]) {
    changes.sort_by_key(|change| change.time);
    let mut known: BTreeMap<(usize, String), Map<String, Value>> = BTreeMap::new();
    let (mut position, mut place, mut last) = (0, 0, None);
    for change in changes {
        if last != Some(change.time) {
            (position, place, last) = (position + 1, 0, Some(change.time));
        }
        change.position = (position, place);
        place += 1;
        if change.op == Some('T') {
            known.retain(|(landing, _), _| *landing != change.landing);
            continue;
        }
        let key = (change.landing, key(&warehouse.landings[change.landing], &change.row));
        let before = known.remove(&key);
        let op = change.op.unwrap_or(if before.is_some() { 'U' } else { 'I' });
        change.op = Some(op);
        if let (Some(before), 'U' | 'D') = (before, op) {
            let said = std::mem::replace(&mut change.row, before);
            change.row.extend(said);
        }
        if op != 'D' {
            known.insert(key, change.row.clone());
        }
    }
}

fn key(landing: &Landing, row: &Map<String, Value>) -> String {
    let key: Vec<&Value> = landing.key.iter().map(|column| row.get(column).unwrap_or(&Value::Null)).collect();
    json!(key).to_string()
}

/// Lands changes, those of one time as one transaction of the source.
pub async fn land(warehouse: &Warehouse, changes: &[Change], connection: &mut PgConnection) -> Result<()> {
    for (number, landing) in warehouse.landings.iter().enumerate() {
        let rows: Vec<Value> = changes
            .iter()
            .filter(|change| change.landing == number)
            .map(|change| {
                let row = (change.op != Some('T')).then_some(&change.row);
                json!({ "lsn": change.position.0, "op": change.op, "full_row": row, "at": change.time,
                    "seq": change.position.1 })
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let sql = format!(
            "INSERT INTO {} (lsn, op, full_row, commit_ts, seq)\n\
             SELECT lsn, op, full_row, timestamptz 'epoch' + at * interval '1 microsecond', seq\n\
             FROM jsonb_to_recordset(CAST($1 AS jsonb))\n\
             AS change (lsn bigint, op text, full_row jsonb, at bigint, seq bigint)",
            quote::name(&landing.table)
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(Value::from(rows).to_string())
            .execute(&mut *connection)
            .await
            .during(|| format!("cannot land changes in `{}`", landing.table))?;
    }
    Ok(())
}
