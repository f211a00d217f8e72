//! Measures what the table of effects says, on the server at hand: which lock a statement of each kind takes on the
//! table that it is about, whether the table's file becomes another one, whether its rows are read.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use medallion::cli::read;
use medallion::emit::{self, Workspace};
use medallion::plan::effect::{Action, Effect, Lock, actions};
use medallion::plan::fit::is_free;
use medallion::plan::{Catalog, Hazard, Step, hazard};

use super::catalog::{psql, try_psql};
use super::changes::CHANGES;
use super::{database, edited, fresh, lowered, past, root};

/// A table with whatever a statement can be about.
const LABORATORY: &str = "
    CREATE SCHEMA lab;
    CREATE TABLE lab.t (
        \"id\" integer PRIMARY KEY,
        \"a\" integer,
        \"b\" text DEFAULT 'x',
        \"i\" integer GENERATED ALWAYS AS IDENTITY,
        CONSTRAINT \"positive\" CHECK (\"a\" > 0),
        CONSTRAINT \"small\" CHECK (\"a\" < 1000)
    ) WITH (fillfactor = 90);
    INSERT INTO lab.t (id, a) SELECT number, number FROM generate_series(1, 100) AS number;
    ALTER TABLE lab.t ADD CONSTRAINT \"waiting\" CHECK (\"a\" < 2000) NOT VALID;
    CREATE INDEX \"t_a\" ON lab.t (\"a\");
    CREATE FUNCTION lab.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER \"g\" BEFORE INSERT ON lab.t FOR EACH ROW EXECUTE FUNCTION lab.f();
    CREATE TABLE lab.p (\"id\" integer) PARTITION BY RANGE (\"id\");
    CREATE TABLE lab.p_1 PARTITION OF lab.p FOR VALUES FROM (0) TO (10);
    CREATE TABLE lab.q (\"id\" integer);
    CREATE SCHEMA attic;
    CREATE ROLE laboratory_assistant;";

/// A statement of each kind. It is about `lab.t`, or about `lab.p` where partitions come into it.
const EXAMPLES: &[(Action, &str)] = &[
    (Action::AddColumn, "ALTER TABLE \"lab\".\"t\" ADD COLUMN \"c\" integer"),
    (Action::AddColumn, "ALTER TABLE \"lab\".\"t\" ADD COLUMN \"c\" integer NOT NULL DEFAULT 5"),
    (Action::AddColumn, "ALTER TABLE \"lab\".\"t\" ADD COLUMN \"c\" timestamptz NOT NULL DEFAULT now()"),
    (
        Action::AddColumnComputed,
        "ALTER TABLE \"lab\".\"t\" ADD COLUMN \"c\" bigint GENERATED ALWAYS AS IDENTITY",
    ),
    (
        Action::AddColumnComputed,
        "ALTER TABLE \"lab\".\"t\" ADD COLUMN \"c\" integer GENERATED ALWAYS AS (a + 1) STORED",
    ),
    (Action::AddColumnComputed, "ALTER TABLE \"lab\".\"t\" ADD COLUMN \"c\" float8 DEFAULT random()"),
    (Action::DropColumn, "ALTER TABLE \"lab\".\"t\" DROP COLUMN \"a\""),
    (Action::Retype, "ALTER TABLE \"lab\".\"t\" ALTER COLUMN \"a\" TYPE bigint USING \"a\"::bigint"),
    (Action::SetNotNull, "ALTER TABLE \"lab\".\"t\" ALTER COLUMN \"a\" SET NOT NULL"),
    (Action::DropNotNull, "ALTER TABLE \"lab\".\"t\" ALTER COLUMN \"a\" DROP NOT NULL"),
    (Action::SetDefault, "ALTER TABLE \"lab\".\"t\" ALTER COLUMN \"a\" SET DEFAULT 5"),
    (Action::DropDefault, "ALTER TABLE \"lab\".\"t\" ALTER COLUMN \"b\" DROP DEFAULT"),
    (Action::DropIdentity, "ALTER TABLE \"lab\".\"t\" ALTER COLUMN \"i\" DROP IDENTITY"),
    (Action::AddCheck, "ALTER TABLE \"lab\".\"t\" ADD CONSTRAINT \"c\" CHECK (\"a\" > -1)"),
    (Action::AddCheckNotValid, "ALTER TABLE \"lab\".\"t\" ADD CONSTRAINT \"c\" CHECK (\"a\" > -1) NOT VALID"),
    (Action::ValidateConstraint, "ALTER TABLE \"lab\".\"t\" VALIDATE CONSTRAINT \"waiting\""),
    (Action::AddKey, "ALTER TABLE \"lab\".\"t\" ADD CONSTRAINT \"c\" UNIQUE (\"a\")"),
    (
        Action::AddKey,
        "ALTER TABLE \"lab\".\"t\" DROP CONSTRAINT \"t_pkey\", ADD CONSTRAINT \"c\" PRIMARY KEY (\"id\")",
    ),
    (
        Action::AddExclusion,
        "ALTER TABLE \"lab\".\"t\" ADD CONSTRAINT \"c\" EXCLUDE USING gist (int4range(\"id\", \"id\" + 1) WITH &&)",
    ),
    (Action::DropConstraint, "ALTER TABLE \"lab\".\"t\" DROP CONSTRAINT \"small\""),
    (Action::RenameConstraint, "ALTER TABLE \"lab\".\"t\" RENAME CONSTRAINT \"small\" TO \"little\""),
    (Action::RenameColumn, "ALTER TABLE \"lab\".\"t\" RENAME COLUMN \"a\" TO \"z\""),
    (Action::RenameTable, "ALTER TABLE \"lab\".\"t\" RENAME TO \"s\""),
    (Action::SetSchema, "ALTER TABLE \"lab\".\"t\" SET SCHEMA \"attic\""),
    (Action::SetOptions, "ALTER TABLE \"lab\".\"t\" SET (fillfactor = 80)"),
    (Action::ResetOptions, "ALTER TABLE \"lab\".\"t\" RESET (fillfactor)"),
    (Action::EnableTrigger, "ALTER TABLE \"lab\".\"t\" ENABLE ALWAYS TRIGGER \"g\""),
    (Action::EnableTrigger, "ALTER TABLE ONLY \"lab\".\"t\" ENABLE TRIGGER \"g\""),
    (Action::DisableTrigger, "ALTER TABLE \"lab\".\"t\" DISABLE TRIGGER \"g\""),
    (
        Action::AttachPartition,
        "ALTER TABLE \"lab\".\"p\" ATTACH PARTITION \"lab\".\"q\" FOR VALUES FROM (10) TO (20)",
    ),
    (Action::DetachPartition, "ALTER TABLE \"lab\".\"p\" DETACH PARTITION \"lab\".\"p_1\""),
    (
        Action::CreatePartition,
        "CREATE TABLE \"lab\".\"p_2\" PARTITION OF \"lab\".\"p\" FOR VALUES FROM (10) TO (20)",
    ),
    (Action::CreateIndex, "CREATE INDEX \"t_b\" ON \"lab\".\"t\" (\"b\")"),
    (Action::CreateIndex, "CREATE UNIQUE INDEX \"t_b\" ON \"lab\".\"t\" (\"a\") WHERE \"a\" > 5"),
    (Action::DropIndex, "DROP INDEX \"lab\".\"t_a\""),
    (Action::RenameIndex, "ALTER INDEX \"lab\".\"t_a\" RENAME TO \"t_z\""),
    (
        Action::CreateTrigger,
        "CREATE TRIGGER \"h\" AFTER INSERT ON \"lab\".\"t\" FOR EACH ROW EXECUTE FUNCTION \"lab\".\"f\"()",
    ),
    (Action::DropTrigger, "DROP TRIGGER \"g\" ON \"lab\".\"t\""),
    (Action::DropRelation, "DROP TABLE \"lab\".\"t\""),
    (Action::CreateView, "CREATE VIEW \"lab\".\"v\" AS SELECT \"a\" FROM \"lab\".\"t\""),
    (
        Action::CreateMaterializedView,
        "CREATE MATERIALIZED VIEW \"lab\".\"v\" AS SELECT \"a\" FROM \"lab\".\"t\" WITH NO DATA",
    ),
    (Action::CreateFilledView, "CREATE MATERIALIZED VIEW \"lab\".\"v\" AS SELECT \"a\" FROM \"lab\".\"t\""),
    (
        Action::CreateFunction,
        "CREATE FUNCTION \"lab\".\"e\"() RETURNS SETOF integer LANGUAGE sql BEGIN ATOMIC SELECT \"a\" FROM \"lab\".\"t\"; END",
    ),
    (Action::CommentOnRelation, "COMMENT ON TABLE \"lab\".\"t\" IS 'said'"),
    (Action::CommentOnRelation, "COMMENT ON COLUMN \"lab\".\"t\".\"a\" IS 'said'"),
    (Action::Grant, "GRANT SELECT ON \"lab\".\"t\" TO \"laboratory_assistant\""),
    (Action::Grant, "REVOKE ALL ON \"lab\".\"t\" FROM \"laboratory_assistant\""),
    (Action::LockTable, "LOCK TABLE \"lab\".\"t\""),
    (Action::Insert, "INSERT INTO \"lab\".\"t\" (\"id\") VALUES (1000)"),
    (Action::Update, "UPDATE \"lab\".\"t\" SET \"b\" = 'y'"),
    (Action::Delete, "DELETE FROM \"lab\".\"t\" WHERE \"b\" = 'y'"),
    (Action::Truncate, "TRUNCATE TABLE \"lab\".\"t\""),
    (Action::NoTable, "COMMENT ON FUNCTION \"lab\".\"f\" IS 'said'"),
    (Action::NoTable, "CREATE TABLE \"lab\".\"n\" (\"a\" integer)"),
    (Action::NoTable, "CREATE TYPE \"lab\".\"n\" AS ENUM ('x')"),
    (Action::NoTable, "CREATE SEQUENCE \"lab\".\"n\""),
    (Action::NoTable, "CREATE SCHEMA \"n\""),
    (Action::NoTable, "DROP FUNCTION \"lab\".\"n\"()"),
];

/// Those that cannot run within a transaction: they are watched while they wait for a writer.
const OUTSIDE: &[(Action, &str)] = &[
    (Action::CreateIndexConcurrently, "CREATE INDEX CONCURRENTLY \"t_b\" ON \"lab\".\"t\" (\"b\")"),
    (Action::DropIndexConcurrently, "DROP INDEX CONCURRENTLY \"lab\".\"t_a\""),
];

#[test]
fn what_is_said_of_locks_rewrites_and_scans_is_measured() {
    let url = database("laboratory");
    psql(&url, LABORATORY);
    psql(&url, "CREATE FUNCTION lab.n() RETURNS integer LANGUAGE sql RETURN 1");
    let version: u32 =
        psql(&url, "SELECT current_setting('server_version_num')::integer / 10000").trim().parse().unwrap();
    let mut wrong = Vec::new();
    for (action, sql) in EXAMPLES {
        let parts = actions(&format!("{sql};")).unwrap_or_default();
        let table = if sql.contains("\"lab\".\"p\"") { "lab.p" } else { "lab.t" };
        let found = measured(&url, table, sql);
        if parts.last().map(|(part, _)| part) != Some(action) || found != action.effect_on(version) {
            wrong.push(format!("{action:?} as {parts:?}: {sql}\n    {found:?}"));
        }
    }
    for (action, sql) in OUTSIDE {
        let parts = actions(&format!("{sql};")).unwrap_or_default();
        let lock = while_it_waits(&url, sql);
        if parts[0].0 != *action || lock != action.effect_on(version).lock {
            wrong.push(format!("{action:?} as {parts:?}: {sql}\n    {lock:?}"));
        }
    }
    for action in Action::ALL {
        // In place is measured over types.
        let is_shown = |list: &[(Action, &str)]| list.iter().any(|(one, _)| *one == action);
        if !is_shown(EXAMPLES) && !is_shown(OUTSIDE) && action != Action::RetypeInPlace {
            wrong.push(format!("{action:?} has no example"));
        }
    }
    psql(&url, "DROP SCHEMA lab, attic CASCADE; DROP ROLE laboratory_assistant");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whatever a migration does is of a kind that is known, there and back; so is all that a first one does.
#[test]
fn every_statement_of_every_migration_is_known() {
    let mut unknown = Vec::new();
    for folder in ["tests/cases/generate", "spec", "tests/evolution"] {
        for case in read::warehouses(&root().join(folder)).unwrap() {
            let warehouse = lowered(&read::warehouse(&case).unwrap());
            let workspace = Workspace { warehouses: vec![warehouse.name.clone()], default: None };
            let files = emit::emit(&warehouse, &workspace);
            let sql = files.iter().filter(|(path, _)| path.ends_with("up.sql") || path.ends_with("down.sql"));
            unknown.extend(sql.filter(|(_, text)| actions(text).is_none()).map(|(path, _)| path.to_owned()));
        }
    }
    let before = past(&fresh(&[]));
    for (what, edits) in CHANGES {
        let planned = emit::plan(&lowered(&edited(edits)), &before).unwrap();
        let steps = planned.iter().flat_map(|planned| planned.up.iter().chain(&planned.down));
        let steps = steps.filter(|step| step.hazards.contains(&Hazard::Unknown));
        unknown.extend(steps.map(|step| format!("{what}: {}", step.sql)));
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

/// Every relation that is there: its number, its name, and that of the table whose partition it is.
pub const THERE: &str = "
    SELECT relation.oid, format('\"%s\".\"%s\"', schema.nspname, relation.relname), format('\"%s\".\"%s\"', (
        SELECT nspname FROM pg_namespace WHERE oid = root.relnamespace
    ), root.relname)
    FROM pg_class AS relation
    JOIN pg_namespace AS schema ON schema.oid = relation.relnamespace
    JOIN pg_class AS root ON root.oid = coalesce(pg_partition_root(relation.oid), relation.oid)
    WHERE relation.relkind IN ('r', 'p', 'v', 'm') AND schema.nspname !~ '^(pg_|information_schema)'";

/// What a transaction keeps others from, and what that is called by then.
pub const HELD: &str = "
    SELECT 'held', relation, mode, relation::regclass
    FROM pg_locks
    WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted AND mode IN (
        'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
    )";

/// Every index that is there, by its table's number and its name, with its file and its table. One that stays has
/// another number where a column of it has another type.
pub const FILES: &str = "
    SELECT 'file', indrelid::oid || ' ' || indexrelid::regclass, pg_relation_filenode(indexrelid),
        coalesce(pg_partition_root(indrelid), indrelid)::regclass
    FROM pg_index
    WHERE indexrelid >= 16384";

/// No index that was there is built anew but where the plan tells it, under its table's name of before or of now.
pub fn is_built_as_told(steps: &[Step], before: &str, after: &str) -> Result<(), String> {
    let lines = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("file|"));
        lines.map(|line| line.splitn(3, '|').map(str::to_owned).collect()).collect()
    };
    let builds =
        |step: &&Step| step.hazards.iter().any(|one| [Hazard::Rewrite, Hazard::IndexBuild].contains(one));
    let told: Vec<String> = steps.iter().filter(builds).map(|step| step.sql.replace('"', "")).collect();
    let before = lines(before);
    let untold: Vec<String> = lines(after)
        .into_iter()
        .filter(|one| before.iter().any(|there| there[0] == one[0] && there[1] != one[1]))
        .map(|one| one[2].replace('"', ""))
        .filter(|table| told.iter().all(|sql| !sql.contains(table)))
        .collect();
    if untold.is_empty() { Ok(()) } else { Err(format!("indexes are built that are not told: {untold:?}")) }
}

/// No relation that was there is locked more strongly than the plan tells, under its name of before or of now.
pub fn is_told(steps: &[Step], there: &str, held: &str) -> Result<(), String> {
    let told = |names: &[&str]| {
        let locks = steps.iter().flat_map(|step| &step.locks);
        let named =
            locks.filter(|(_, name)| names.iter().any(|one| one.replace('"', "") == name.replace('"', "")));
        named.map(|(lock, _)| lock.blocks()).max()
    };
    let mut untold = Vec::new();
    for line in held.lines().filter_map(|line| line.strip_prefix("held|")) {
        let [number, mode, now] = line.splitn(3, '|').collect::<Vec<_>>()[..] else { continue };
        let before =
            there.lines().find_map(|line| line.strip_prefix(number)?.strip_prefix('|')?.split_once('|'));
        let Some((before, whole)) = before else { continue };
        let (before, whole) = (&moved(steps, before), &moved(steps, whole));
        let lock = Lock::ALL.into_iter().find(|lock| lock.mode() == mode).unwrap();
        if told(&[before, whole, now]) < Some(lock.blocks()) {
            untold.push(format!("{before} ({now}) {mode}, told {:?}", told(&[before, whole, now])));
        }
    }
    if untold.is_empty() { Ok(()) } else { Err(format!("locks that are not told: {}", untold.join("; "))) }
}

/// A name when the schemas have been renamed.
fn moved(steps: &[Step], name: &str) -> String {
    let renames = steps.iter().filter_map(|step| step.sql.strip_prefix("ALTER SCHEMA ")?.strip_suffix(';'));
    let renames = renames.filter_map(|rest| rest.split_once(" RENAME TO "));
    renames.fold(name.to_owned(), |name, (before, now)| match name.strip_prefix(before) {
        Some(rest) if rest.starts_with('.') => format!("{now}{rest}"),
        _ => name,
    })
}

/// What is not known is said to be unknown, and taken to keep everybody away.
#[test]
fn what_is_unknown_is_taken_to_keep_everybody_away() {
    let catalog = Catalog::read([("silver.t", "CREATE TABLE \"silver\".\"t\" (\"a\" integer);")]).unwrap();
    let unknown = [
        "CLUSTER \"silver\".\"t\" USING \"t_a\";",
        "ALTER TABLE \"silver\".\"t\"\n    SET TABLESPACE \"attic\";",
        "DO $$ BEGIN EXECUTE 'DROP TABLE \"silver\".\"t\"'; END $$;",
    ];
    for sql in unknown {
        let mut steps = [Step::about("silver.t", sql)];
        hazard::assess(&mut steps, &catalog);
        assert_eq!(steps[0].hazards, [Hazard::Unknown], "{sql}");
        assert_eq!(steps[0].locks, [(Lock::AccessExclusive, "\"silver\".\"t\"".to_owned())], "{sql}");
    }
}

/// What a statement does to a table, in a transaction that is rolled back.
fn measured(url: &str, table: &str, sql: &str) -> Effect {
    let script = format!(
        "SELECT '{table}'::regclass::oid AS relation, coalesce(pg_relation_filenode('{table}'), 0) AS file \\gset\n\
         {sql};\n\
         SELECT
            (SELECT string_agg(mode, ' ') FROM pg_locks
                WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation = :relation),
            coalesce(pg_relation_filenode(:relation) <> :file, false),
            coalesce(pg_stat_get_xact_tuples_returned(:relation), 0) > 0;\n\
         ROLLBACK;"
    );
    let row = psql(url, &script);
    let parts: Vec<&str> = row.trim_end_matches('\n').split('|').collect();
    let [modes, rewrites, reads] = parts.as_slice() else { panic!("{sql}: {row}") };
    let modes: Vec<&str> = modes.split(' ').collect();
    Effect {
        lock: Lock::ALL.into_iter().rev().find(|lock| modes.contains(&lock.mode().as_str())),
        rewrites: *rewrites == "t",
        reads: *reads == "t",
    }
}

/// A session that is spoken to line by line.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn new(url: &str) -> Self {
        let mut child = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn say(&mut self, sql: &str) {
        writeln!(self.input, "{sql}").unwrap();
    }

    fn ask(&mut self, sql: &str) -> String {
        self.say(sql);
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn end(self) {
        drop(self.input);
        let mut child = self.child;
        child.wait().unwrap();
    }
}

/// The lock that a statement has on the table while a writer has not ended yet.
fn while_it_waits(url: &str, sql: &str) -> Option<Lock> {
    let mut writer = Session::new(url);
    writer.say("BEGIN; INSERT INTO lab.t (id) VALUES (5000);");
    assert_eq!(writer.ask("SELECT 'written';"), "written");
    let mut waiting = Session::new(url);
    let pid = waiting.ask("SELECT pg_backend_pid();");
    waiting.say(&format!("{sql};"));
    let until = Instant::now() + Duration::from_secs(60);
    let modes = loop {
        let modes = psql(
            url,
            &format!(
                "SELECT string_agg(mode, ' ') FROM pg_locks
                WHERE pid = {pid} AND locktype = 'relation' AND relation = 'lab.t'::regclass
                AND EXISTS (SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted)"
            ),
        );
        if !modes.trim().is_empty() {
            break modes;
        }
        assert!(Instant::now() < until, "it does not wait: {sql}");
    };
    writer.say("ROLLBACK;");
    writer.end();
    waiting.end();
    let modes: Vec<&str> = modes.split_whitespace().collect();
    Lock::ALL.into_iter().rev().find(|lock| modes.contains(&lock.mode().as_str()))
}

/// Types of every family, and an expression of each.
const TYPES: &[(&str, &str)] = &[
    ("smallint", "1"),
    ("integer", "1"),
    ("bigint", "1"),
    ("numeric", "1.5"),
    ("numeric(10,2)", "1.5"),
    ("numeric(12,2)", "1.5"),
    ("numeric(12,3)", "1.5"),
    ("real", "1.5"),
    ("double precision", "1.5"),
    ("text", "'1'"),
    ("varchar", "'1'"),
    ("varchar(5)", "'1'"),
    ("varchar(9)", "'1'"),
    ("char(5)", "'1'"),
    ("date", "'2024-01-01'"),
    ("timestamp", "'2024-01-01'"),
    ("timestamptz", "'2024-01-01'"),
    ("timestamp(3)", "'2024-01-01'"),
    ("time", "'10:00'"),
    ("interval", "'1 day'"),
    ("uuid", "'00000000-0000-0000-0000-000000000000'"),
    ("json", "'{}'"),
    ("jsonb", "'{}'"),
    ("text[]", "'{1}'"),
    ("varchar[]", "'{1}'"),
    ("integer[]", "'{1}'"),
];

/// Between any two types: the file stays where it is said to stay, and only there.
#[test]
fn which_types_follow_each_other_in_place_is_measured() {
    let url = database("retyped");
    let mut wrong = Vec::new();
    for (from, value) in TYPES {
        for (to, _) in TYPES.iter().filter(|(to, _)| to != from) {
            let by = medallion::plan::table::conversion("\"c\"", from, to);
            let script = format!(
                "SET TimeZone = 'UTC';\n\
                 CREATE TABLE \"t\" (\"c\" {from});\n\
                 INSERT INTO \"t\" VALUES ({value});\n\
                 SELECT pg_relation_filenode('t') AS file \\gset\n\
                 ALTER TABLE \"t\" ALTER COLUMN \"c\" TYPE {to} USING {by};\n\
                 SELECT pg_relation_filenode('t') <> :file;\n\
                 ROLLBACK;"
            );
            // What a value does not fit is refused, which is no question of files.
            let Ok(found) = try_psql(&url, &script) else { continue };
            if (found.trim() == "f") != is_free(from, to) {
                wrong.push(format!("{from} to {to}: rewritten {}", found.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
