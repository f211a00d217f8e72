//! What `generate` writes: a folder a case, and the laws that hold for every spec. Needs no generated code.
//!
//! A case is a spec and the files expected of it; with `MEDALLION_UPDATE=1` they are written instead.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use medallion::cli::read;
use medallion::emit::{self, FileSet, Workspace};
use medallion::model::{self, Warehouse};
use medallion::output::{self, Difference, Error, Place};
use medallion::spec::Files;
use medallion_server::Server;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folders of the cases, and of every warehouse of the workspace.
fn specs() -> Vec<PathBuf> {
    ["tests/cases/generate", "spec"]
        .into_iter()
        .flat_map(|folder| read::warehouses(&root().join(folder)).unwrap())
        .collect()
}

fn cases() -> Vec<PathBuf> {
    read::warehouses(&root().join("tests/cases/generate")).unwrap()
}

fn lowered(files: &Files) -> Warehouse {
    model::load(files)
        .unwrap_or_else(|findings| panic!("{}", findings.human(medallion::finding::Colour::Plain)))
}

fn load(folder: &Path) -> Warehouse {
    lowered(&read::warehouse(folder).unwrap())
}

fn emitted(warehouse: &Warehouse) -> FileSet {
    let name = warehouse.name.clone();
    emit::emit(warehouse, &Workspace { warehouses: vec![name.clone()], default: Some(name) })
}

fn everything(root: &Path) -> Place {
    Place {
        root: root.to_owned(),
        folders: emit::FOLDERS.map(str::to_owned).to_vec(),
        whole: vec![emit::RUST_FOLDER.to_owned()],
    }
}

/// Every file below a folder, with its text.
fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            let text = fs::read_to_string(&path).unwrap();
            files.insert(path, text);
        }
    }
    files
}

#[test]
fn every_case_gives_what_is_expected() {
    let update = std::env::var_os("MEDALLION_UPDATE").is_some_and(|value| value == "1");
    for case in cases() {
        // What the lock file says, its own test holds.
        let files = emitted(&load(&case)).without(|path| path.ends_with("/lock.toml"));
        let place = everything(&case.join("expected"));
        if update {
            output::write(&files, &place).unwrap();
        }
        let differences = output::compare(&files, &place).unwrap();
        assert!(differences.is_empty(), "{}:\n{differences}", case.display());
    }
}

#[test]
fn what_is_committed_is_what_the_specs_say() {
    let output = medallion(root(), &["generate", "--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn generating_twice_changes_nothing() {
    for folder in specs() {
        assert_eq!(emitted(&load(&folder)), emitted(&load(&folder)));
    }
}

#[test]
fn the_order_of_the_tables_changes_nothing() {
    for folder in specs() {
        let files = read::warehouse(&folder).unwrap();
        let expected = emitted(&lowered(&files));
        for shuffled in shuffles(files.spec.text()) {
            let mut files = files.clone();
            files.spec = medallion::finding::SourceText::new(files.spec.path(), shuffled);
            assert_eq!(emitted(&lowered(&files)), expected, "{}", folder.display());
        }
    }
}

/// The text with its tables in other orders.
fn shuffles(text: &str) -> Vec<String> {
    let mut tables = vec![String::new()];
    for line in text.lines() {
        // A part of the table above it stays with it.
        if line.starts_with('[') && !line.starts_with("[dimension.") {
            tables.push(String::new());
        }
        let table = tables.last_mut().unwrap();
        table.push_str(line);
        table.push('\n');
    }
    let head = tables.remove(0);
    let half = tables.len() / 2;
    let reversed = tables.iter().rev().cloned().collect::<String>();
    let turned = tables[half..].iter().chain(&tables[..half]).cloned().collect::<String>();
    vec![format!("{head}{reversed}"), format!("{head}{turned}")]
}

#[test]
fn every_file_carries_the_mark_and_is_tidy() {
    for folder in specs() {
        for (path, text) in emitted(&load(&folder)).iter() {
            let first = text.lines().next().unwrap();
            assert!(first.contains(emit::MARK), "{path}");
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{path}");
            assert!(!text.contains("\n\n\n"), "{path} has two blank lines");
            let trailing = text.lines().find(|line| line.ends_with(' '));
            assert_eq!(trailing, None, "{path}");
        }
    }
}

#[test]
fn rust_is_as_rustfmt_would_have_it() {
    for case in cases() {
        let sources = tree(&case.join("expected")).into_keys();
        let sources: Vec<PathBuf> =
            sources.filter(|path| path.extension().is_some_and(|e| e == "rs")).collect();
        let output = Command::new("rustfmt")
            .args(["--check", "--edition", "2024", "--config-path"])
            .arg(root())
            .args(&sources)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn migrations_run_and_their_way_back_leaves_nothing() {
    let server = Server::shared_scratch().unwrap();
    for folder in specs() {
        let warehouse = load(&folder);
        let database = format!("migration_{}", warehouse.name);
        server.ensure_database(&database).unwrap();
        let url = server.url(&database);
        let files = emitted(&warehouse);
        let migration = |file: &str| {
            let path = format!("migration/src/{}/m000001_baseline/{file}", warehouse.name);
            files.get(&path).unwrap().to_owned()
        };
        let empty = catalog(&url);
        psql(&url, "CREATE SCHEMA IF NOT EXISTS medallion");
        psql(&url, &migration("up.sql"));
        let full = catalog(&url);
        assert_ne!(empty, full);
        psql(&url, &migration("down.sql"));
        assert_eq!(catalog(&url), format!("schema medallion\n{empty}"), "{}", warehouse.name);
        psql(&url, &migration("up.sql"));
        assert_eq!(catalog(&url), full, "{}", warehouse.name);
    }
}

#[test]
fn what_has_landed_stays_and_time_travels() {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database("travel").unwrap();
    let url = server.url("travel");
    let files = emitted(&load(&root().join("tests/cases/generate/facts_meet_at_a_grain")));
    psql(&url, files.get("migration/src/facts_meet_at_a_grain/m000001_baseline/up.sql").unwrap());
    psql(
        &url,
        r#"
        INSERT INTO bronze.br_order (lsn, op, full_row, commit_ts, seq) VALUES (1, 'I', '{}', now(), 1);
        INSERT INTO silver.fact_order VALUES (1, '2024-03-01 00:30+01', NULL, 30, true, '2024-03-05 00:00+00');
        INSERT INTO medallion.fact_order_history
        VALUES (1, '2024-03-01 00:30+01', NULL, 20, true, '2024-03-01 00:00+00', '2024-03-05 00:00+00');
        INSERT INTO medallion.watermark (relation, lsn, system_time)
        VALUES ('silver.fact_order', 1, '2024-03-05 00:00+00');
        "#,
    );
    for change in [
        "UPDATE bronze.br_order SET seq = 2",
        "DELETE FROM bronze.br_order",
        "TRUNCATE bronze.br_order",
        "SET session_replication_role = replica; DELETE FROM bronze.br_order",
    ] {
        let refused = try_psql(&url, change).unwrap_err();
        assert!(refused.contains("`bronze.br_order` is append only"), "{refused}");
    }
    let sold = |as_of: &str| {
        psql(
            &url,
            &format!("SET medallion.as_of = '{as_of}'; SELECT shop, day, sold FROM as_of.sales_by_day"),
        )
    };
    // Midnight is Berlin's: half past eleven in the evening of the 29th of February in UTC is March there.
    assert_eq!(sold(""), "|2024-03-01|30.00\n");
    assert_eq!(sold("infinity"), "|2024-03-01|30.00\n");
    assert_eq!(sold("2024-03-05 01:00"), "|2024-03-01|30.00\n", "a time without a zone is Berlin's");
    assert_eq!(sold("2024-03-05 00:59"), "|2024-03-01|20.00\n");
    assert_eq!(sold("2024-02-29"), "");
    let refused = try_psql(&url, "SET medallion.as_of = 'soon'; SELECT * FROM as_of.fact_order").unwrap_err();
    assert!(refused.contains("the setting `medallion.as_of` is not a time: `soon`"), "{refused}");
    assert_eq!(psql(&url, "SET timezone = 'UTC'; SELECT medallion.now()"), "2024-03-05 00:00:00+00\n");
    let then = "SET timezone = 'UTC'; SET medallion.as_of = '2024-03-02 01:00'; SELECT medallion.now()";
    assert_eq!(psql(&url, then), "2024-03-02 00:00:00+00\n");
}

#[test]
fn an_as_of_function_is_inlined() {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database("inlined").unwrap();
    let url = server.url("inlined");
    let files = emitted(&load(&root().join("tests/cases/generate/every_type")));
    psql(&url, files.get("migration/src/every_type/m000001_baseline/up.sql").unwrap());
    let plan = psql(&url, "EXPLAIN SELECT * FROM silver.thing_as_of('2024-01-01') WHERE id = 1");
    assert!(!plan.contains("Function Scan") && plan.contains("thing_hist"), "{plan}");
}

#[test]
fn a_reader_needs_the_grant_that_the_readme_names() {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database("granted").unwrap();
    let url = server.url("granted");
    let files = emitted(&load(&root().join("spec/pagila")));
    psql(&url, files.get("migration/src/pagila/m000001_baseline/up.sql").unwrap());
    let role = "IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'plain_reader')";
    psql(
        &url,
        &format!(
            "DO $$ BEGIN {role} THEN CREATE ROLE plain_reader; END IF; END $$;
            INSERT INTO medallion.watermark (relation, lsn, system_time)
            VALUES ('temporal_silver.fact_rental', 1, '2024-03-05 00:00+00');"
        ),
    );
    let reads = |sql: &str| try_psql(&url, &format!("SET ROLE plain_reader; {sql}"));
    assert!(reads("SELECT FROM simple_gold.vw_store_scorecard").is_err());

    psql(
        &url,
        "GRANT USAGE ON SCHEMA simple_gold TO plain_reader;
        GRANT SELECT ON simple_gold.vw_store_scorecard TO plain_reader;",
    );
    assert_eq!(reads("SELECT store_id FROM simple_gold.vw_store_scorecard"), Ok(String::new()));

    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let grant = page.lines().map(str::trim).find(|line| line.starts_with("GRANT pagila_reader TO clerk;"));
    psql(&url, &grant.expect("the page names it").replace("clerk", "plain_reader"));
    for sql in [
        "SELECT count(*) FROM temporal_silver.dim_film_as_of('2024-01-01')",
        "SELECT count(*) FROM temporal_silver.lookup_film",
        "SET medallion.as_of = '2024-01-01'; SELECT count(*) FROM as_of.vw_store_scorecard",
        "SET medallion.as_of = '2024-01-01'; SELECT count(*) FROM as_of.vw_top_titles",
        "SET medallion.as_of = '2024-01-01'; SELECT count(*) FROM as_of.fact_payment",
    ] {
        assert_eq!(reads(sql), Ok("0\n".to_owned()), "{sql}");
    }
    // What it has a right to call still tells it nothing but the time, and hears the session's setting.
    assert!(reads("SELECT FROM medallion.watermark").is_err());
    psql(&url, "GRANT USAGE ON SCHEMA medallion TO plain_reader");
    let now = "SET timezone = 'UTC'; SELECT medallion.now()";
    assert_eq!(reads(now), Ok("2024-03-05 00:00:00+00\n".to_owned()));
    let then = format!("SET medallion.as_of = '2024-01-01'; {now}");
    assert_eq!(reads(&then), Ok("2024-01-01 00:00:00+00\n".to_owned()));
    psql(&url, "REVOKE USAGE ON SCHEMA medallion FROM plain_reader");
}

fn psql(url: &str, sql: &str) -> String {
    try_psql(url, sql).unwrap_or_else(|error| panic!("{error}"))
}

fn try_psql(url: &str, sql: &str) -> Result<String, String> {
    // A warehouse's SQL is longer than an argument can be.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(sql.as_bytes()).unwrap();
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .args(["--dbname", url, "--single-transaction", "--file"])
        .arg(file.path())
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// What a database holds of anybody's.
fn catalog(url: &str) -> String {
    psql(
        url,
        "SELECT kind || ' ' || name FROM (
            SELECT 'schema' AS kind, nspname::text AS name FROM pg_namespace
            WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
            UNION ALL
            SELECT 'relation', oid::regclass::text FROM pg_class WHERE oid >= 16384
            UNION ALL
            SELECT 'type', oid::regtype::text FROM pg_type WHERE oid >= 16384
            UNION ALL
            SELECT 'function', oid::regprocedure::text FROM pg_proc WHERE oid >= 16384
        ) AS object
        WHERE name !~ '^pg_toast' AND name !~ 'pg_toast_'
        ORDER BY kind DESC, name",
    )
}

#[test]
fn comparing_finds_what_is_different_missing_or_orphaned() {
    let folder = tempfile::tempdir().unwrap();
    let place = everything(folder.path());
    let files = emitted(&load(&cases()[0]));
    assert_eq!(output::write(&files, &place).unwrap().changed, files.len());
    assert_eq!(output::write(&files, &place).unwrap(), output::Written::default());
    assert!(output::compare(&files, &place).unwrap().is_empty());

    let at = |path: &str| folder.path().join(path);
    let paths: Vec<&str> = files.iter().map(|(path, _)| path).collect();
    let (changed, missing) = (paths[0], paths[1]);
    fs::write(at(changed), format!("{}-- more\n", files.get(changed).unwrap())).unwrap();
    fs::remove_file(at(missing)).unwrap();
    let mark = files.get(changed).unwrap().lines().next().unwrap().to_owned();
    fs::create_dir_all(at("generated/sql/gone/deep")).unwrap();
    fs::write(at("generated/sql/gone/deep/table.sql"), mark).unwrap();

    let found = output::compare(&files, &place).unwrap();
    let found: Vec<(&str, &str)> = found
        .list()
        .iter()
        .map(|difference| match difference {
            Difference::Different { path, .. } => ("different", path.as_str()),
            Difference::Missing { path } => ("missing", path.as_str()),
            Difference::Orphaned { path } => ("orphaned", path.as_str()),
        })
        .collect();
    let orphan = "generated/sql/gone/deep/table.sql";
    assert_eq!(found, [("different", changed), ("missing", missing), ("orphaned", orphan)]);

    let written = output::write(&files, &place).unwrap();
    assert_eq!((written.changed, written.removed), (2, 1));
    assert!(!at("generated/sql/gone").exists(), "empty folders go with their files");
}

#[test]
fn what_is_not_the_tools_is_never_touched() {
    let folder = tempfile::tempdir().unwrap();
    let place = everything(folder.path());
    let files = emitted(&load(&cases()[0]));
    output::write(&files, &place).unwrap();
    let at = |path: &str| folder.path().join(path);

    // Beside what is generated: left alone.
    for path in ["generated/src/mine.rs", "migration/src/mine.sql", "generated/sql/notes.md"] {
        fs::write(at(path), "mine").unwrap();
    }
    output::write(&files, &place).unwrap();
    assert_eq!(fs::read_to_string(at("generated/src/mine.rs")).unwrap(), "mine");

    // In the way: named, and nothing is written.
    let path = files.iter().map(|(path, _)| path).find(|path| path.ends_with("up.sql")).unwrap();
    fs::write(at(path), "mine").unwrap();
    fs::remove_file(at("generated/src/lib.rs")).unwrap();
    let Err(Error::Foreign(named)) = output::write(&files, &place) else { panic!("it was not refused") };
    assert_eq!(named, path);
    assert_eq!(fs::read_to_string(at(path)).unwrap(), "mine");
    assert!(!at("generated/src/lib.rs").exists());

    // Generated Rust that lost its mark comes back.
    fs::remove_file(at(path)).unwrap();
    fs::write(at("generated/src/main.rs"), "broken").unwrap();
    output::write(&files, &place).unwrap();
    assert!(output::compare(&files, &place).unwrap().is_empty());
}

/// Runs the tool in a folder.
fn medallion(folder: &Path, arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_medallion"))
        .current_dir(folder)
        .args(arguments)
        .env_remove("MEDALLION_SPEC")
        .output()
        .unwrap()
}

/// A workspace of its own, with some of the cases as its warehouses.
fn workspace(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let from = root().join("tests/cases/generate").join(name);
        let to = folder.path().join("spec").join(name);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    folder
}

#[test]
fn generated_rust_may_be_broken_or_gone() {
    let folder = workspace(&["every_type"]);
    assert_eq!(medallion(folder.path(), &["generate"]).status.code(), Some(0));
    let before = tree(folder.path());
    for file in tree(&folder.path().join("generated/src")).into_keys() {
        fs::write(file, "this is no Rust").unwrap();
    }
    assert_eq!(medallion(folder.path(), &["generate", "--check"]).status.code(), Some(1));
    assert_eq!(medallion(folder.path(), &["generate"]).status.code(), Some(0));
    assert_eq!(tree(folder.path()), before);
    fs::remove_dir_all(folder.path().join("generated")).unwrap();
    assert_eq!(medallion(folder.path(), &["generate"]).status.code(), Some(0));
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_spec_with_findings_writes_nothing() {
    let folder = workspace(&["every_type", "keywords_as_names"]);
    let spec = folder.path().join("spec/every_type/spec.toml");
    let text = fs::read_to_string(&spec).unwrap();
    fs::write(&spec, text.replace("\"interval\"", "\"intervall\"")).unwrap();
    let output = medallion(folder.path(), &["generate"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("intervall"));
    assert!(!folder.path().join("generated").exists());
}

#[test]
fn one_warehouse_at_hand_leaves_the_others_alone() {
    let folder = workspace(&["every_type", "keywords_as_names"]);
    assert_eq!(medallion(folder.path(), &["generate"]).status.code(), Some(0));
    let other = folder.path().join("generated/sql/keywords_as_names/10_bronze/mod.sql");
    let changed = format!("{}-- changed\n", fs::read_to_string(&other).unwrap());
    fs::write(&other, &changed).unwrap();
    let output = medallion(folder.path(), &["generate", "--spec", "spec/every_type"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("spec/every_type: ") && said.contains(", 0 changed"), "{said}");
    assert_eq!(fs::read_to_string(&other).unwrap(), changed);
    let library = fs::read_to_string(folder.path().join("generated/src/lib.rs")).unwrap();
    assert!(library.contains("pub mod every_type;\npub mod keywords_as_names;"), "{library}");

    // All of them together own everything: a warehouse that is gone takes its files along.
    fs::remove_dir_all(folder.path().join("spec/keywords_as_names")).unwrap();
    assert_eq!(medallion(folder.path(), &["generate"]).status.code(), Some(0));
    assert!(!folder.path().join("generated/src/keywords_as_names").exists());
}

#[test]
fn imports_run_one_way() {
    // Each module may use those before it, and the findings that both `spec` and `model` make.
    let order = ["finding", "spec", "model", "plan", "emit", "output", "cli"];
    for (path, text) in tree(&root().join("src")) {
        let path = path.strip_prefix(root().join("src")).unwrap().to_owned();
        let first = path.iter().next().unwrap().to_str().unwrap();
        let Some(own) = order.iter().position(|module| *module == first) else { continue };
        for later in &order[own + 1..] {
            let uses = format!("crate::{later}");
            assert!(!text.contains(&uses), "{} uses `{uses}`", path.display());
        }
        assert!(own == order.len() - 1 || !text.contains("medallion_server"), "{}", path.display());
        assert!(!text.contains("medallion_runtime::") || first == "emit", "{}", path.display());
    }
}
