//! A first draft of a spec from a live database: it says what the tables are, it is a spec, it generates, and the
//! warehouse that comes of it takes every row that the tables hold.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use medallion::cli::read;
use medallion::model::{self, ColumnFrom, SilverKind, Warehouse};
use medallion_server::Server;

/// Names the folder of Pagila's rows; `../shared/pagila` beside the checkout when absent.
const FOLDER_VARIABLE: &str = "MEDALLION_PAGILA";

/// Pagila's tables, parents first.
const TABLES: [&str; 15] = [
    "country",
    "city",
    "address",
    "language",
    "category",
    "actor",
    "film",
    "film_actor",
    "film_category",
    "store",
    "staff",
    "inventory",
    "customer",
    "rental",
    "payment",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A database of its own with these tables; its URL.
fn database(name: &str, sql: &str) -> String {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    script(name, sql);
    server.url(name)
}

fn script(database: &str, sql: &str) -> String {
    Server::shared_scratch().unwrap().script(database, sql).unwrap().unwrap_or_else(|error| panic!("{error}"))
}

/// The status, what the tool answered, and what it said.
fn import(folder: &Path, source: Option<&str>, arguments: &[&str]) -> (Option<i32>, String, String) {
    tool(folder, source, &[&["import"], arguments].concat())
}

fn tool(folder: &Path, source: Option<&str>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medallion"));
    command.current_dir(folder).args(arguments);
    command.env_remove("MEDALLION_SPEC").env_remove("SOURCE_DATABASE_URL");
    if let Some(source) = source {
        command.env("SOURCE_DATABASE_URL", source);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What is printed, byte for byte; `MEDALLION_UPDATE=1` rewrites it for review.
fn expect(name: &str, found: &str) {
    let path = root().join("tests/import").join(name);
    if std::env::var_os("MEDALLION_UPDATE").is_some_and(|value| value == "1") {
        fs::write(&path, found).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(&wanted, found);
    assert!(wanted == found, "{name}:\n{}", diff.unified_diff().context_radius(1));
}

/// Imports into a workspace of its own, checks and generates; the warehouse, and the SQL that makes it.
fn imported(source: &str, name: &str) -> (tempfile::TempDir, Warehouse, String) {
    let folder = tempfile::tempdir().unwrap();
    let spec = format!("spec/{name}/spec.toml");
    let (status, _, said) = import(folder.path(), Some(source), &["--output", &spec]);
    assert_eq!(status, Some(0), "{said}");
    for verb in ["check", "generate"] {
        let (status, answer, said) = tool(folder.path(), None, &[verb]);
        assert_eq!(status, Some(0), "{verb}: {answer}{said}");
    }
    let warehouse = model::load(&read::warehouse(&folder.path().join("spec").join(name)).unwrap()).unwrap();
    let up = folder.path().join("migration/src").join(name).join("m000001_baseline/up.sql");
    let up = fs::read_to_string(up).unwrap();
    (folder, warehouse, up)
}

#[test]
fn odd_tables_become_a_spec_that_generates() {
    let source = database("odd", include_str!("import/odd.sql"));
    let (folder, _, up) = imported(&source, "odd_one");
    let spec = fs::read_to_string(folder.path().join("spec/odd_one/spec.toml")).unwrap();
    expect("odd.toml", &spec);
    // Beside the source, so that one database says whether it is SQL.
    script("odd", &format!("CREATE SCHEMA medallion; {up}"));

    // The same tables give the same text, and a file is written over only where that is asked for.
    let path = "spec/odd_one/spec.toml";
    let (status, _, said) = import(folder.path(), Some(&source), &["--output", path]);
    assert_eq!(status, Some(2));
    assert!(
        said.contains("is there already\n  = name another file, or write over it with `--force`"),
        "{said}"
    );
    fs::write(folder.path().join(path), "mine").unwrap();
    let (status, _, said) =
        import(folder.path(), Some(&source), &["--output", path, "--schema", "[!bgms]*", "--force"]);
    assert_eq!(status, Some(0), "{said}");
    let again = fs::read_to_string(folder.path().join(path)).unwrap();
    assert!(again.contains("name = \"odd_one\"") && again.contains("Sales Dept"), "{again}");
}

#[test]
fn tables_are_chosen_by_name_or_pattern() {
    let source = database("chosen", "CREATE SCHEMA shop; CREATE SCHEMA other;
        CREATE TABLE shop.order_line (id integer PRIMARY KEY); CREATE TABLE shop.orders (id integer PRIMARY KEY);
        CREATE TABLE shop.customer (id integer PRIMARY KEY); CREATE TABLE other.orders (id integer PRIMARY KEY);");
    let folder = tempfile::tempdir().unwrap();
    let landed = |arguments: &[&str]| {
        let (status, text, said) = import(folder.path(), Some(&source), arguments);
        assert_eq!(status, Some(0), "{said}");
        let from =
            text.split("[[landing]]").skip(1).filter_map(|one| one.split("from = ").nth(1)?.lines().next());
        (text.contains("schema = \"shop\""), from.map(str::to_owned).collect::<Vec<_>>().join(" "))
    };
    let all = "\"other.orders\" \"shop.customer\" \"shop.order_line\" \"shop.orders\"";
    assert_eq!(landed(&[]), (false, all.to_owned()));
    assert_eq!(
        landed(&["--schema", "shop", "--table", "order*"]),
        (true, "\"order_line\" \"orders\"".to_owned())
    );
    assert_eq!(
        landed(&["--table", "orders", "--table", "shop.cust?mer"]),
        (false, "\"other.orders\" \"shop.customer\" \"shop.orders\"".to_owned())
    );
    let (_, text, said) = import(folder.path(), Some(&source), &["--schema", "other"]);
    assert!(text.contains("name = \"chosen\""), "{text}");
    assert_eq!(said, "1 landing table, 1 dimension, 0 facts\n");
    let (status, text, said) = import(folder.path(), Some(&source), &["--table", "nothing"]);
    assert_eq!((status, text.as_str()), (Some(2), ""));
    assert!(said.contains("none of the 4 tables of database `chosen` is asked for"), "{said}");
    let (status, text, said) = import(folder.path(), Some(&source), &["--name", "Not One"]);
    assert_eq!((status, text.as_str()), (Some(2), ""));
    assert!(said.contains("`Not One` cannot be a warehouse's name"), "{said}");
}

#[test]
fn a_source_out_of_reach_is_told_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let (status, _, said) = import(folder.path(), None, &[]);
    assert_eq!(status, Some(2));
    assert!(said.contains("no source is named\n  = name it: SOURCE_DATABASE_URL="), "{said}");
    for url in [
        "postgresql://ann:s3cret@127.0.0.1:1/shop",
        "postgresql://127.0.0.1:1/shop?user=a&password=s3cret",
        "s3cret",
    ] {
        let (status, _, said) = import(folder.path(), Some(url), &[]);
        assert_eq!(status, Some(2), "{said}");
        assert!(
            said.starts_with("error: cannot read the source's tables: ") && !said.contains("s3cret"),
            "{said}"
        );
    }
}

/// Every row of the real thing goes into the warehouse's tables, each value by the way that the loader takes.
#[test]
fn the_real_pagila_fits_its_draft() {
    let Some(data) = pagila() else { return };
    let shop = fs::read_to_string(root().join("spec/pagila/source.sql")).unwrap();
    let url = database("real", &shop);
    let mut load = String::new();
    for table in TABLES {
        let path = data.join(format!("{table}.csv.gz"));
        let header = Command::new("gzip").arg("-dc").arg(&path).output().unwrap().stdout;
        let header = String::from_utf8(header).unwrap().lines().next().unwrap().to_owned();
        let unpack = format!("gzip -dc \"{}\"", path.display());
        let _ = writeln!(load, "\\copy {table} ({header}) FROM PROGRAM '{unpack}' WITH (FORMAT csv, HEADER)");
    }
    script("real", &load);

    let (folder, warehouse, up) = imported(&url, "shop");
    expect("pagila.toml", &fs::read_to_string(folder.path().join("spec/shop/spec.toml")).unwrap());
    script("real", &format!("CREATE SCHEMA medallion; {up}"));
    let mut rows = 0_usize;
    for silver in &warehouse.silver {
        let source = &warehouse.landings.iter().find(|landing| landing.name == silver.feed).unwrap().source;
        let (table, source) = (format!("\"{}\".\"{}\"", silver.name.schema, silver.name.name), &source.name);
        let mut columns: Vec<String> = Vec::new();
        for column in &silver.columns {
            assert_eq!(column.from, ColumnFrom::Field(column.name.clone()));
            columns.push(format!("\"{}\"", column.name));
        }
        let (more, now) = match &silver.kind {
            SilverKind::Dimension(_) => (", row_hash, sys_start", ", '', now()"),
            SilverKind::Fact(_) => (", snapshot_ts", ", now()"),
        };
        let list = columns.join(", ");
        let values = columns.iter().map(|column| format!("made.{column}")).collect::<Vec<_>>().join(", ");
        let counted = script(
            "real",
            &format!(
                "INSERT INTO {table} ({list}{more}) SELECT {values}{now} FROM \"{source}\" AS row,
                    jsonb_populate_record(NULL::{table}, to_jsonb(row)) AS made;
                SELECT (SELECT count(*) FROM {table}), (SELECT count(*) FROM \"{source}\");"
            ),
        );
        let (there, wanted) = counted.trim().split_once('|').unwrap();
        assert_eq!(there, wanted, "{table}");
        rows += there.parse::<usize>().unwrap();
    }
    assert!(
        warehouse.silver.len() == 16 && rows > 40_000,
        "{} relations, {rows} rows",
        warehouse.silver.len()
    );
}

/// The folder of the data, if it is there.
fn pagila() -> Option<PathBuf> {
    let asked = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let folder = asked.clone().unwrap_or_else(|| root().join("../shared/pagila"));
    if folder.join("payment.csv.gz").exists() {
        return Some(folder);
    }
    assert!(asked.is_none(), "no Pagila in {}, which {FOLDER_VARIABLE} names", folder.display());
    let bar = "!".repeat(78);
    // Not by a macro: the test harness would keep it to itself.
    let _ = writeln!(
        std::io::stderr().lock(),
        "\n{bar}\n!!! NOT TESTED: the draft of a spec against the real Pagila, whose data is not at hand.\n\
         !!! Name the folder of its CSV files in {FOLDER_VARIABLE}.\n{bar}\n"
    );
    None
}
