//! Laws of evolution, on a real server: a warehouse that was migrated is the one that a fresh install makes; the
//! way back leads back; rows survive. Each change that a spec can make is an edit of one small spec.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "evolution/beside.rs"]
mod beside;
#[path = "evolution/catalog.rs"]
mod catalog;
#[path = "evolution/chained.rs"]
mod chained;
#[path = "evolution/changes.rs"]
mod changes;
#[path = "evolution/cleared.rs"]
mod cleared;
#[path = "evolution/commands.rs"]
mod commands;
#[path = "evolution/descriptor.rs"]
mod descriptor;
#[path = "evolution/drawn.rs"]
mod drawn;
#[path = "evolution/lived.rs"]
mod lived;
#[path = "evolution/measured.rs"]
mod measured;
#[path = "evolution/others.rs"]
mod others;
#[path = "evolution/source.rs"]
mod source;
#[path = "evolution/told.rs"]
mod told;

use std::path::Path;

use catalog::{catalog, copy, psql, try_psql};
use changes::{CHANGES, Edit};
use medallion::cli::read;
use medallion::emit::{self, Course, FileSet, Past, Unable, Workspace};
use medallion::finding::SourceText;
use medallion::model::{self, Warehouse};
use medallion::spec::Files;
use medallion_server::Server;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The spec with edits; each has to find what it replaces.
fn edited(edits: &[Edit]) -> Files {
    let mut files = read::warehouse(&root().join("tests/evolution/shop")).unwrap();
    let mut text = files.spec.text().to_owned();
    for (before, after) in edits {
        assert!(text.contains(before), "nothing to replace: {before}");
        text = text.replacen(before, after, 1);
    }
    files.spec = SourceText::new(files.spec.path(), text);
    files
}

fn lowered(files: &Files) -> Warehouse {
    model::load(files)
        .unwrap_or_else(|findings| panic!("{}", findings.human(medallion::finding::Colour::Plain)))
}

fn workspace() -> Workspace {
    Workspace { warehouses: vec!["shop".to_owned()], default: None }
}

fn fresh(edits: &[Edit]) -> FileSet {
    emit::emit(&lowered(&edited(edits)), &workspace())
}

/// What the files of a warehouse say about its migrations.
fn past(files: &FileSet) -> Past {
    Past::left_by(files, "shop").unwrap()
}

fn evolved(before: &FileSet, edits: &[Edit]) -> Result<FileSet, Unable> {
    emit::evolve(&lowered(&edited(edits)), &workspace(), &past(before))
}

/// The SQL of the last migration, or of the one with a number.
fn migration(files: &FileSet, number: usize, file: &str) -> String {
    let lock = past(files).lock;
    let name = &lock.migrations[number - 1].name;
    files.get(&format!("migration/src/shop/{name}/{file}")).unwrap().to_owned()
}

fn database(name: &str) -> String {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    let url = server.url(name);
    psql(&url, "CREATE SCHEMA IF NOT EXISTS medallion");
    url
}

/// Rows in every table that keeps some, so that what cannot hold over rows fails.
const ROWS: &str = "
    INSERT INTO bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq)
    VALUES (1, 'I', '{\"customer_id\": 1, \"name\": \"Ann\"}', '2024-01-01', 1);
    INSERT INTO bronze.br_sale_cdc (lsn, op, full_row, commit_ts, seq)
    VALUES (2, 'I', '{\"sale_id\": 1}', '2024-01-02', 1);
    INSERT INTO silver.dim_customer_hist (customer_id, name, email, mood, points)
    VALUES (1, 'Ann', 'a@b', 'fine', 7);
    INSERT INTO silver.fact_sale VALUES (1, '2024-01-02 10:00+00', 1, 1, 'Bonn', 120.50, '2024-01-02');
    INSERT INTO medallion.fact_sale_history
    VALUES (1, '2024-01-02 10:00+00', 1, 1, 'Bonn', 100.50, '2024-01-01', '2024-01-02');
    INSERT INTO medallion.watermark (relation, lsn, system_time)
    VALUES ('silver.dim_customer_hist', 1, '2024-01-01'), ('silver.fact_sale', 2, '2024-01-02');";

#[test]
fn a_migrated_warehouse_is_a_fresh_one_and_the_way_back_leads_back() {
    let before = fresh(&[]);
    let url = database("unevolved");
    psql(&url, &migration(&before, 1, "up.sql"));
    psql(&url, ROWS);
    let old = catalog(&url);
    // Some by themselves, for whom they fail.
    let only = std::env::var("MEDALLION_CHANGE").unwrap_or_default();
    let wrong: Vec<String> = CHANGES
        .iter()
        .enumerate()
        .filter(|(_, (what, _))| what.contains(&only))
        .filter_map(|(number, (what, edits))| {
            let names = (number.to_string(), "unevolved");
            there_and_back((&names.0, names.1), &before, &old, edits)
                .err()
                .map(|error| format!("{what}: {error}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), CHANGES.len(), wrong.join("\n\n"));
}

/// What others have granted on a view that has to be made again is theirs, and stays; what the spec takes goes.
#[test]
fn what_others_have_granted_stays() {
    let before = fresh(&[]);
    let url = database("granted");
    psql(&url, &migration(&before, 1, "up.sql"));
    let role = "DO $$ BEGIN CREATE ROLE \"an 'other\"; EXCEPTION WHEN duplicate_object THEN NULL; END $$;";
    psql(&url, role);
    psql(
        &url,
        "GRANT SELECT ON silver.dim_customer, as_of.dim_customer_hist TO \"an 'other\";
         GRANT EXECUTE ON FUNCTION silver.dim_customer_as_of(timestamptz) TO \"an 'other\" WITH GRANT OPTION",
    );
    let granted = "SELECT relname || relacl::text FROM pg_class WHERE relacl::text LIKE '%other%'
        UNION ALL SELECT oid::regprocedure || proacl::text FROM pg_proc WHERE proacl::text LIKE '%other%'
        ORDER BY 1";
    let stood = psql(&url, granted);
    let readers = "SELECT count(*) FROM pg_class WHERE relacl::text LIKE '%shop_reader%'";
    assert!(stood.lines().count() == 3 && psql(&url, readers).trim() != "0", "{stood}");
    let mut edits = change("column added").to_vec();
    edits.extend(change("reader gone"));
    let after = evolved(&before, &edits).unwrap();
    psql(&url, &migration(&after, 2, "up.sql"));
    let spelled = |text: &str| {
        let readers = ["shop_reader=r/medallion", "shop_reader=X/medallion"];
        readers.iter().fold(text.to_owned(), |text, reader| {
            text.replace(&format!("{reader},"), "").replace(&format!(",{reader}"), "")
        })
    };
    assert_eq!(spelled(&psql(&url, granted)), spelled(&stood));
    assert_eq!(psql(&url, readers).trim(), "0");
    psql(&url, &migration(&after, 2, "down.sql"));
    assert_eq!(spelled(&psql(&url, granted)), spelled(&stood));
}

/// What others have said of what is made again, and granted on its columns, comes back where it has a place; what the
/// spec says holds.
#[test]
fn what_others_have_said_stays() {
    let before = fresh(&[]);
    let url = database("said");
    psql(&url, &migration(&before, 1, "up.sql"));
    psql(
        &url,
        "DO $$ BEGIN CREATE ROLE \"a 'reader\"; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT SELECT (name, email) ON silver.dim_customer TO \"a 'reader\" WITH GRANT OPTION;
         GRANT SELECT ON silver.dim_customer TO PUBLIC;
         GRANT SELECT (day) ON gold.sales_by_day TO PUBLIC;
         GRANT SELECT ON gold.sales_by_day TO \"a 'reader\";
         COMMENT ON VIEW gold.best_days IS 'It''s \"ours\".';
         COMMENT ON COLUMN silver.dim_customer.email IS 'Do not mail.';
         COMMENT ON COLUMN silver.dim_customer.name IS 'Not ours to say.';
         COMMENT ON TRIGGER zz_versioning_3_insert ON silver.dim_customer_hist IS 'Mind.';
         COMMENT ON COLUMN gold.sales_by_day.sales IS 'Receipts.';",
    );
    let said = "SELECT pg_describe_object(classoid, objoid, objsubid), description FROM pg_description
        WHERE description IN ('It''s \"ours\".', 'Do not mail.', 'Not ours to say.', 'Mind.', 'Receipts.')
        UNION ALL SELECT attrelid::regclass || '.' || attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid >= 16384
        UNION ALL SELECT relname, grantee || ' ' || privilege_type
        FROM pg_class, aclexplode(relacl) AS granted LEFT JOIN pg_roles ON pg_roles.oid = grantee
        WHERE grantee = 0 AND relnamespace::regnamespace::text IN ('silver', 'gold') OR rolname = 'a ''reader' ORDER BY 1, 2";
    let stood = psql(&url, said);
    assert_eq!(stood.lines().count(), 10, "{stood}");
    // Made again: views, a mart that becomes one, triggers.
    let mut edits = change("enum values reordered").to_vec();
    edits.extend(change("mart stored otherwise"));
    let after = evolved(&before, &edits).unwrap();
    psql(&url, &migration(&after, 2, "up.sql"));
    let stands = psql(&url, said).replace("column sales of view", "column sales of table");
    let without = |text: &str| -> String {
        text.lines()
            .filter(|line| !line.contains("Not ours to say."))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    assert_eq!(stands, without(&stood), "what the spec says of a column holds");
    psql(&url, &migration(&after, 2, "down.sql"));
    assert_eq!(psql(&url, said), without(&stood));
    // A column that goes takes along what hung on it.
    let after = evolved(&before, change("column dropped")).unwrap();
    psql(&url, &migration(&after, 2, "up.sql"));
    assert!(!psql(&url, said).contains("email"));
}

/// What a change is called, and the database in which it begins.
fn there_and_back(
    (called, from): (&str, &str),
    before: &FileSet,
    old: &str,
    edits: &[Edit],
) -> Result<(), String> {
    let after = evolved(before, edits).map_err(|error| format!("{error:?}"))?;
    if edits.is_empty() {
        return if after == *before {
            Ok(())
        } else {
            Err("a spec that has not changed changes files".to_owned())
        };
    }
    let count = past(&after).lock.migrations.len();
    if count < 2 {
        return Err("there is no migration".to_owned());
    }
    let server = Server::shared_scratch().unwrap();
    let (name, new_name) = (format!("evolved_{called}"), format!("fresh_{called}"));
    let new = database(&new_name);
    copy(&new, from, &name);
    let migrated = server.url(&name);
    let planned =
        emit::plan(&lowered(&edited(edits)), &past(before)).map_err(|error| format!("{error:?}"))?;
    let mut states = Vec::new();
    for (number, planned) in (2..=count).zip(&planned) {
        states.push(catalog(&migrated));
        let up = migration(&after, number, "up.sql");
        if planned.course == Course::ByItself {
            try_psql(&migrated, &up).map_err(|error| format!("{error}\n{up}"))?;
            continue;
        }
        let there = psql(&migrated, measured::THERE);
        let files = psql(&migrated, measured::FILES);
        let held = try_psql(&migrated, &format!("{up}\n{};{};", measured::HELD, measured::FILES));
        let held = held.map_err(|error| format!("{error}\n{up}"))?;
        measured::is_built_as_told(&planned.up, &files, &held).map_err(|error| format!("{error}\n{up}"))?;
        measured::is_told(&planned.up, &there, &held).map_err(|error| format!("{error}\n{up}"))?;
    }
    let up = migration(&after, 2, "up.sql");
    let squashed = emit::squash(&lowered(&edited(edits)), &workspace(), &past(before));
    psql(&new, &migration(&squashed, 1, "up.sql"));
    same(&catalog(&new), &catalog(&migrated), &up)?;
    if evolved(&after, edits).as_ref() != Ok(&after) {
        return Err("planning again plans more".to_owned());
    }
    assert_eq!(states[0], old);
    for (number, state) in states.iter().enumerate().map(|(at, state)| (at + 2, state)).rev() {
        let down = migration(&after, number, "down.sql");
        try_psql(&migrated, &down).map_err(|error| format!("back: {error}\n{down}"))?;
        same(state, &catalog(&migrated), &down).map_err(|error| format!("back: {error}"))?;
    }
    let kept = psql(
        &migrated,
        "SELECT (SELECT count(*) FROM bronze.br_customer_cdc), (SELECT count(*) FROM bronze.br_sale_cdc),
            (SELECT count(*) FROM silver.fact_sale), (SELECT count(*) FROM medallion.fact_sale_history)",
    );
    server.drop_database(&name).unwrap();
    server.drop_database(&new_name).unwrap();
    if kept.trim() == "1|1|1|1" { Ok(()) } else { Err(format!("rows: {kept}")) }
}

/// Whatever a spec holds, its objects can be told from each other, and nothing is planned for what has not changed.
#[test]
fn no_spec_asks_for_anything_twice() {
    for folder in ["tests/cases/generate", "spec"] {
        for case in read::warehouses(&root().join(folder)).unwrap() {
            let warehouse = lowered(&read::warehouse(&case).unwrap());
            let workspace = Workspace { warehouses: vec![warehouse.name.clone()], default: None };
            let files = emit::emit(&warehouse, &workspace);
            let past = Past::left_by(&files, &warehouse.name).unwrap();
            assert_eq!(emit::plan(&warehouse, &past), Ok(Vec::new()), "{}", case.display());
            assert_eq!(
                emit::evolve(&warehouse, &workspace, &past).as_ref(),
                Ok(&files),
                "{}",
                case.display()
            );
        }
    }
}

fn change(name: &str) -> &'static [Edit] {
    CHANGES.iter().find(|(what, _)| *what == name).unwrap().1
}

/// Draws the same each time, so that a change is to blame for what fails; others where `PROPTEST_CASES` asks for more.
fn runner(config: Config) -> TestRunner {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    }
}

/// Every step migrates a whole warehouse: a few chains each time, more where they are asked for.
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

fn same(wanted: &str, found: &str, sql: &str) -> Result<(), String> {
    if wanted == found {
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(wanted, found);
    Err(format!("{}\nafter\n{sql}", diff.unified_diff().context_radius(1).header("wanted", "there")))
}
