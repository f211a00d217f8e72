//! A map of intervals against the database: random statements over several connections, in transactions
//! that commit, roll back and go back to savepoints; then every version and every as-of answer is compared.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::support::{Session, Warehouse};

const CONNECTIONS: usize = 3;
const NAMES: [Option<&str>; 4] = [None, Some(""), Some("a"), Some("A")];

/// A row's tracked value, and the untracked one.
type Row = (Option<&'static str>, i64);
type Rows = BTreeMap<i64, Row>;

/// A version: its tracked value and its period, the end none while it is current.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    name: Option<&'static str>,
    start: String,
    end: Option<String>,
}

/// What is committed: the current rows, every version by key, and how often a key was committed.
#[derive(Clone, Debug, Default)]
struct Committed {
    rows: Rows,
    versions: BTreeMap<i64, Vec<Version>>,
    changes: BTreeMap<i64, usize>,
}

/// An open transaction: what it saw at its start if that is all that it sees, what it made of the keys that it
/// touched, and the same as of its savepoints; and whether it may fail when it commits.
#[derive(Clone, Debug, Default)]
struct Transaction {
    serializable: bool,
    snapshot: Option<Committed>,
    written: BTreeMap<i64, Option<Row>>,
    savepoints: Vec<BTreeMap<i64, Option<Row>>>,
}

#[derive(Clone, Debug)]
enum Action {
    Begin(Isolation),
    Commit,
    Rollback,
    Savepoint,
    Back,
    Write { statement: Statement, guarded: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Clone, Debug)]
enum Statement {
    Insert(Vec<(i64, usize)>),
    Copy(Vec<(i64, usize)>),
    Upsert(i64, usize),
    Update(i64, usize),
    UpdateAllVersions(i64, usize),
    UpdateByName(usize, usize),
    UpdateEveryCurrent(usize),
    Touch(i64, i64),
    ChangeKey(i64, i64),
    ShiftKeys,
    Delete(i64),
    DeleteAllVersions(i64),
    DeleteEveryCurrent,
    Merge(Vec<(i64, usize)>),
    MergeByKeyAlone(Vec<(i64, usize)>),
    Truncate,
}

fn statement() -> impl Strategy<Value = Statement> {
    let key = || 1..4_i64;
    let name = || 0..NAMES.len();
    let some = || {
        prop::collection::btree_map(1..4_i64, 0..NAMES.len(), 1..4)
            .prop_map(|rows| rows.into_iter().collect::<Vec<_>>())
    };
    prop_oneof![
        4 => some().prop_map(Statement::Insert),
        2 => some().prop_map(Statement::Copy),
        3 => (key(), name()).prop_map(|(key, name)| Statement::Upsert(key, name)),
        4 => (key(), name()).prop_map(|(key, name)| Statement::Update(key, name)),
        3 => (key(), name()).prop_map(|(key, name)| Statement::UpdateAllVersions(key, name)),
        2 => (name(), name()).prop_map(|(from, to)| Statement::UpdateByName(from, to)),
        2 => name().prop_map(Statement::UpdateEveryCurrent),
        2 => (key(), 0..9_i64).prop_map(|(key, seen)| Statement::Touch(key, seen)),
        3 => (key(), key()).prop_map(|(from, to)| Statement::ChangeKey(from, to)),
        1 => Just(Statement::ShiftKeys),
        4 => key().prop_map(Statement::Delete),
        2 => key().prop_map(Statement::DeleteAllVersions),
        1 => Just(Statement::DeleteEveryCurrent),
        3 => some().prop_map(Statement::Merge),
        3 => some().prop_map(Statement::MergeByKeyAlone),
        1 => Just(Statement::Truncate),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => prop_oneof![
            2 => Just(Isolation::ReadCommitted),
            1 => Just(Isolation::RepeatableRead),
            1 => Just(Isolation::Serializable),
        ]
        .prop_map(Action::Begin),
        3 => Just(Action::Commit),
        1 => Just(Action::Rollback),
        1 => Just(Action::Savepoint),
        1 => Just(Action::Back),
        12 => (statement(), any::<bool>())
            .prop_map(|(statement, guarded)| Action::Write { statement, guarded }),
    ]
}

#[test]
fn any_statements_of_several_connections_leave_the_versions_of_a_map_of_intervals() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sessions = RefCell::new(runtime.block_on(async {
        let warehouse = Warehouse::new("model").await;
        let mut sessions = Vec::new();
        for _ in 0..=CONNECTIONS {
            let mut session = warehouse.connect().await;
            session.does("SET lock_timeout = '15ms'").await;
            sessions.push(session);
        }
        sessions
    }));
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let actions = prop::collection::vec((0..CONNECTIONS, action()), 4..40);
    let outcome = TestRunner::new(config).run(&actions, |actions| {
        runtime.block_on(check(&actions, &mut sessions.borrow_mut())).map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, actions)) = &outcome {
        let lines: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
        panic!("{reason}\n{}", lines.join("\n"));
    }
    outcome.unwrap();
}

async fn check(actions: &[(usize, Action)], sessions: &mut [Session]) -> Result<(), String> {
    for session in sessions.iter_mut() {
        session.does("ROLLBACK").await;
    }
    let judge = &mut sessions[CONNECTIONS];
    judge
        .does(
            "BEGIN; SELECT medallion.backfill(); DELETE FROM silver.dim_customer_hist; \
             DELETE FROM medallion.dim_customer_hist_journal; COMMIT",
        )
        .await;
    let mut committed = Committed::default();
    let mut open: BTreeMap<usize, Transaction> = BTreeMap::new();
    for (number, action) in actions {
        let session = &mut sessions[*number];
        match action {
            Action::Begin(isolation) => {
                if !open.contains_key(number) {
                    open.insert(*number, begin(*isolation, &committed, session).await);
                }
            }
            Action::Commit => {
                if let Some(transaction) = open.remove(number) {
                    commit(transaction, &mut committed, session).await?;
                }
            }
            Action::Rollback => {
                if open.remove(number).is_some() {
                    session.does("ROLLBACK").await;
                }
            }
            Action::Savepoint => {
                if let Some(transaction) = open.get_mut(number) {
                    session.does("SAVEPOINT own").await;
                    transaction.savepoints.push(transaction.written.clone());
                }
            }
            Action::Back => {
                if let Some(transaction) = open.get_mut(number)
                    && let Some(written) = transaction.savepoints.pop()
                {
                    session.does("ROLLBACK TO own; RELEASE own").await;
                    transaction.written = written;
                }
            }
            Action::Write { statement, guarded } => {
                if let Some(transaction) = open.get_mut(number) {
                    if !write(statement, *guarded, transaction, &committed, session).await? {
                        session.does("ROLLBACK").await;
                        open.remove(number);
                    }
                } else {
                    let mut transaction = begin(Isolation::ReadCommitted, &committed, session).await;
                    if write(statement, *guarded, &mut transaction, &committed, session).await? {
                        commit(transaction, &mut committed, session).await?;
                    } else {
                        session.does("ROLLBACK").await;
                    }
                }
            }
        }
    }
    for session in sessions.iter_mut() {
        session.does("ROLLBACK").await;
    }
    compare(&committed, &mut sessions[CONNECTIONS]).await
}

async fn begin(isolation: Isolation, committed: &Committed, session: &mut Session) -> Transaction {
    let level = match isolation {
        Isolation::ReadCommitted => {
            session.does("BEGIN").await;
            return Transaction::default();
        }
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    };
    // The first question takes the snapshot.
    session.does(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1")).await;
    Transaction {
        serializable: isolation == Isolation::Serializable,
        snapshot: Some(committed.clone()),
        ..Transaction::default()
    }
}

/// Runs a statement and does the same to the model. Returns whether the transaction goes on.
async fn write(
    statement: &Statement,
    guarded: bool,
    transaction: &mut Transaction,
    committed: &Committed,
    session: &mut Session,
) -> Result<bool, String> {
    let seen = transaction.snapshot.as_ref().unwrap_or(committed);
    let expected = expected(statement, transaction, seen);
    if guarded {
        session.does("SAVEPOINT guard").await;
    }
    let answer = session.run(&sql(statement)).await;
    match (&answer, expected) {
        (Ok(_), Some(written)) => {
            if let Some(snapshot) = &transaction.snapshot {
                let stale = written.keys().find(|key| {
                    !transaction.written.contains_key(key)
                        && snapshot.changes.get(key) != committed.changes.get(key)
                        && committed.rows.contains_key(key)
                });
                if let Some(key) = stale {
                    return Err(format!("{statement:?} wrote key {key} over what it did not see"));
                }
            }
            transaction.written.extend(written);
            if guarded {
                session.does("RELEASE guard").await;
            }
            Ok(true)
        }
        (Ok(rows), None) => Err(format!("{statement:?} must fail and wrote {rows} rows")),
        (Err((code, message)), expected) => {
            // A conflict with another transaction, a lock that it holds, or rows that meet on their way.
            let meets = transaction.snapshot.is_some() || matches!(statement, Statement::ShiftKeys);
            let excused = ["40001", "55P03", "40P01"].contains(&code.as_str()) || code == "23505" && meets;
            if expected.is_some() && !excused {
                return Err(format!("{statement:?} fails: {code} {message}"));
            }
            if guarded {
                session.does("ROLLBACK TO guard; RELEASE guard").await;
            }
            Ok(guarded)
        }
    }
}

/// What a statement makes of the keys that it touches; none when it must fail.
fn expected(
    statement: &Statement,
    transaction: &Transaction,
    seen: &Committed,
) -> Option<BTreeMap<i64, Option<Row>>> {
    let mut rows = seen.rows.clone();
    for (key, row) in &transaction.written {
        match row {
            Some(row) => rows.insert(*key, *row),
            None => rows.remove(key),
        };
    }
    // The closed versions' names, this transaction's included.
    let mut closed: BTreeMap<i64, BTreeSet<Option<&str>>> = BTreeMap::new();
    for (key, versions) in &seen.versions {
        let names = versions.iter().filter(|version| version.end.is_some()).map(|version| version.name);
        closed.entry(*key).or_default().extend(names);
        let current = seen.rows.get(key);
        if let (Some(before), Some(after)) = (current, transaction.written.get(key))
            && after.map(|row| row.0) != Some(before.0)
        {
            closed.entry(*key).or_default().insert(before.0);
        }
    }
    let has_closed = |key: &i64| closed.get(key).is_some_and(|names| !names.is_empty());
    let named = |key: &i64, name: usize| (*key, Some((NAMES[name], rows.get(key).map_or(0, |row| row.1))));
    let fresh = |key: &i64, name: usize| (*key, Some((NAMES[name], 0)));
    let mut written = BTreeMap::new();
    match statement {
        Statement::Insert(new) | Statement::Copy(new) => {
            if new.iter().any(|(key, _)| rows.contains_key(key)) {
                return None;
            }
            written.extend(new.iter().map(|(key, name)| fresh(key, *name)));
        }
        Statement::Upsert(key, name) => written.extend([named(key, *name)]),
        Statement::Update(key, name) => {
            written.extend(rows.contains_key(key).then(|| named(key, *name)));
        }
        Statement::UpdateAllVersions(key, name) => {
            if !rows.contains_key(key) && has_closed(key) {
                return None;
            }
            written.extend(rows.contains_key(key).then(|| named(key, *name)));
        }
        Statement::UpdateByName(from, to) => {
            let reached = |key: &i64| rows.get(key).is_some_and(|row| row.0 == NAMES[*from]);
            if closed.iter().any(|(key, names)| names.contains(&NAMES[*from]) && !reached(key)) {
                return None;
            }
            written.extend(rows.keys().filter(|key| reached(key)).map(|key| named(key, *to)));
        }
        Statement::UpdateEveryCurrent(name) => written.extend(rows.keys().map(|key| named(key, *name))),
        Statement::Touch(key, seen) => {
            written.extend(rows.get(key).map(|row| (*key, Some((row.0, *seen)))));
        }
        Statement::ChangeKey(from, to) => {
            if let Some(row) = rows.get(from) {
                if from != to && rows.contains_key(to) {
                    return None;
                }
                written.extend([(*from, None), (*to, Some(*row))]);
            }
        }
        Statement::ShiftKeys => {
            written.extend(rows.keys().map(|key| (*key, None)));
            written.extend(rows.iter().map(|(key, row)| (key + 10, Some(*row))));
        }
        Statement::Delete(key) => written.extend(rows.contains_key(key).then_some((*key, None))),
        Statement::DeleteAllVersions(key) => {
            if !rows.contains_key(key) && has_closed(key) {
                return None;
            }
            written.extend(rows.contains_key(key).then_some((*key, None)));
        }
        Statement::DeleteEveryCurrent => written.extend(rows.keys().map(|key| (*key, None))),
        // The name '' stands for a deletion.
        Statement::Merge(source) => {
            written.extend(source.iter().filter_map(|(key, name)| {
                match (rows.contains_key(key), NAMES[*name]) {
                    (true, Some("")) => Some((*key, None)),
                    (true, new) => (rows[key].0 != new).then(|| named(key, *name)),
                    (false, Some("")) => None,
                    (false, _) => Some(fresh(key, *name)),
                }
            }));
        }
        Statement::MergeByKeyAlone(source) => {
            if source.iter().any(|(key, _)| !rows.contains_key(key) && has_closed(key)) {
                return None;
            }
            written.extend(source.iter().map(|(key, name)| named(key, *name)));
        }
        Statement::Truncate => return None,
    }
    Some(written)
}

fn sql(statement: &Statement) -> String {
    let table = "silver.dim_customer_hist";
    let name = |name: &usize| NAMES[*name].map_or("NULL".to_owned(), |name| format!("'{name}'"));
    let values = |rows: &[(i64, usize)]| {
        let rows = rows.iter().map(|(key, value)| format!("('eu', {key}, {}, to_timestamp(0))", name(value)));
        rows.collect::<Vec<_>>().join(", ")
    };
    let into = format!("INSERT INTO {table} (region, customer_id, name, seen)");
    match statement {
        Statement::Insert(rows) => format!("{into} VALUES {}", values(rows)),
        // The file is a program's output.
        Statement::Copy(rows) => {
            let lines = rows.iter().map(|(key, name)| {
                let name = NAMES[*name].unwrap_or("\\\\N");
                format!("eu\\t{key}\\t{name}\\t1970-01-01 00:00:00+00\\n")
            });
            format!(
                "COPY {table} (region, customer_id, name, seen) FROM PROGRAM $$printf '{}'$$",
                lines.collect::<String>()
            )
        }
        Statement::Upsert(key, value) => format!(
            "{into} VALUES {} ON CONFLICT (region, customer_id) WHERE sys_end = 'infinity' \
             DO UPDATE SET name = excluded.name, row_hash = excluded.row_hash, sys_start = excluded.sys_start",
            values(&[(*key, *value)])
        ),
        Statement::Update(key, value) => format!(
            "UPDATE {table} SET name = {} WHERE customer_id = {key} AND sys_end = 'infinity'",
            name(value)
        ),
        Statement::UpdateAllVersions(key, value) => {
            format!("UPDATE {table} SET name = {} WHERE customer_id = {key}", name(value))
        }
        Statement::UpdateByName(from, to) => {
            format!("UPDATE {table} SET name = {} WHERE name IS NOT DISTINCT FROM {}", name(to), name(from))
        }
        Statement::UpdateEveryCurrent(value) => {
            format!("UPDATE {table} SET name = {} WHERE sys_end = 'infinity'", name(value))
        }
        Statement::Touch(key, seen) => format!(
            "UPDATE {table} SET seen = to_timestamp({seen}) WHERE customer_id = {key} AND sys_end = 'infinity'"
        ),
        Statement::ChangeKey(from, to) => format!(
            "UPDATE {table} SET customer_id = {to} WHERE customer_id = {from} AND sys_end = 'infinity'"
        ),
        Statement::ShiftKeys => {
            format!("UPDATE {table} SET customer_id = customer_id + 10 WHERE sys_end = 'infinity'")
        }
        Statement::Delete(key) => {
            format!("DELETE FROM {table} WHERE customer_id = {key} AND sys_end = 'infinity'")
        }
        Statement::DeleteAllVersions(key) => format!("DELETE FROM {table} WHERE customer_id = {key}"),
        Statement::DeleteEveryCurrent => format!("DELETE FROM {table} WHERE sys_end = 'infinity'"),
        Statement::Merge(rows) => format!(
            "MERGE INTO {table} AS tgt USING (VALUES {}) AS src (region, customer_id, name, seen) \
             ON tgt.region = src.region AND tgt.customer_id = src.customer_id AND tgt.sys_end = 'infinity' \
             WHEN MATCHED AND src.name = '' THEN DELETE \
             WHEN MATCHED AND tgt.row_hash <> {HASH} THEN UPDATE SET name = src.name, row_hash = {HASH} \
             WHEN NOT MATCHED AND src.name IS DISTINCT FROM '' THEN INSERT (region, customer_id, name, seen) \
             VALUES (src.region, src.customer_id, src.name, src.seen)",
            values(rows)
        ),
        Statement::MergeByKeyAlone(rows) => format!(
            "MERGE INTO {table} AS tgt USING (VALUES {}) AS src (region, customer_id, name, seen) \
             ON tgt.region = src.region AND tgt.customer_id = src.customer_id \
             WHEN MATCHED THEN UPDATE SET name = src.name \
             WHEN NOT MATCHED THEN INSERT (region, customer_id, name, seen) \
             VALUES (src.region, src.customer_id, src.name, src.seen)",
            values(rows)
        ),
        Statement::Truncate => format!("TRUNCATE {table}"),
    }
}

const HASH: &str = "silver.dim_customer_row_hash(src.name, NULL, NULL, NULL, NULL)";

/// Commits, and does to the intervals what the transaction's rows say, at the time that it took.
async fn commit(
    transaction: Transaction,
    committed: &mut Committed,
    session: &mut Session,
) -> Result<(), String> {
    let stamp = session
        .ask("SELECT to_timestamp(nullif(current_setting('medallion.stamp', true), '')::double precision)")
        .await
        .remove(0);
    if let Err((code, message)) = session.run("COMMIT").await {
        if transaction.serializable && code == "40001" {
            session.does("ROLLBACK").await;
            return Ok(());
        }
        return Err(format!("cannot commit: {code} {message}"));
    }
    for (key, after) in transaction.written {
        let before = committed.rows.get(&key).copied();
        *committed.changes.entry(key).or_default() += 1;
        match after {
            Some(row) => committed.rows.insert(key, row),
            None => committed.rows.remove(&key),
        };
        if before.map(|row| row.0) == after.map(|row| row.0) {
            continue;
        }
        let versions = committed.versions.entry(key).or_default();
        if let Some(last) = versions.last_mut() {
            let latest = last.end.as_ref().unwrap_or(&last.start);
            let in_order = if before.is_some() { latest < &stamp } else { latest <= &stamp };
            if !in_order {
                return Err(format!("key {key}: {stamp} comes after {latest}"));
            }
            last.end.get_or_insert_with(|| stamp.clone());
        }
        if let Some(row) = after {
            // What a key was until this very time goes on.
            match versions.last_mut() {
                Some(last) if last.end.as_ref() == Some(&stamp) && last.name == row.0 && before.is_none() => {
                    last.end = None;
                }
                _ => versions.push(Version { name: row.0, start: stamp.clone(), end: None }),
            }
        }
    }
    Ok(())
}

async fn compare(committed: &Committed, judge: &mut Session) -> Result<(), String> {
    let line = |key: &i64, version: &Version| {
        let name = version.name.map_or("∅".to_owned(), |name| format!("'{name}'"));
        format!("{key} {name} {} {}", version.start, version.end.as_deref().unwrap_or("infinity"))
    };
    let expected: BTreeSet<String> = committed
        .versions
        .iter()
        .flat_map(|(key, versions)| versions.iter().map(move |version| line(key, version)))
        .collect();
    let found: BTreeSet<String> = judge
        .ask(
            "SELECT concat_ws(' ', customer_id, coalesce(quote_literal(name), '∅'), sys_start, sys_end) \
             FROM silver.dim_customer_hist",
        )
        .await
        .into_iter()
        .collect();
    if expected != found {
        return Err(format!("expected {expected:#?}\nfound {found:#?}"));
    }
    let stamps: BTreeSet<&String> = committed
        .versions
        .values()
        .flatten()
        .flat_map(|v| [Some(&v.start), v.end.as_ref()])
        .flatten()
        .collect();
    for stamp in stamps {
        let expected: BTreeSet<String> = committed
            .versions
            .iter()
            .flat_map(|(key, versions)| {
                let valid = versions.iter().filter(|version| {
                    &version.start <= stamp && version.end.as_ref().is_none_or(|end| end > stamp)
                });
                valid.map(move |version| format!("{key} {}", version.name.unwrap_or("∅")))
            })
            .collect();
        let question = format!(
            "SELECT customer_id || ' ' || coalesce(name, '∅') FROM silver.dim_customer_as_of('{stamp}')"
        );
        let found: BTreeSet<String> = judge.ask(&question).await.into_iter().collect();
        if expected != found {
            return Err(format!("as of {stamp}: expected {expected:?}, found {found:?}"));
        }
    }
    let current: BTreeSet<String> = committed
        .rows
        .iter()
        .map(|(key, (name, seen))| format!("{key} {} {seen}", name.unwrap_or("∅")))
        .collect();
    let columns = "customer_id || ' ' || coalesce(name, '∅') || ' ' || extract(epoch FROM seen)::integer";
    let found = judge.ask(&format!("SELECT {columns} FROM silver.dim_customer")).await;
    if current != found.into_iter().collect() {
        return Err("untracked attributes differ".to_owned());
    }
    let journal = format!(
        "SELECT {columns} FROM (SELECT DISTINCT ON (customer_id) * \
         FROM medallion.dim_customer_hist_journal ORDER BY customer_id, sys_start DESC, journal_id DESC) AS latest \
         WHERE journal_op <> 'D'"
    );
    let journalled: BTreeSet<String> = judge.ask(&journal).await.into_iter().collect();
    if current != journalled {
        return Err(format!("the journal ends with {journalled:?}, and current is {current:?}"));
    }
    Ok(())
}
