//! The commands of evolution and what they print, in workspaces of their own: what is written, what is refused, what is
//! asked for, and the proof.

use std::fs;
use std::path::Path;
use std::process::Command;

use medallion::plan::lock::checksum;

use super::catalog::{psql, try_psql};
use super::changes::{EMAIL, Edit};
use super::{ROWS, change, database, edited, fresh, migration, root};

/// A workspace of its own that holds the shop, generated once.
pub fn generated() -> tempfile::TempDir {
    generated_with(&[])
}

/// The shop with edits.
pub fn generated_with(edits: &[Edit]) -> tempfile::TempDir {
    let folder = ungenerated();
    write_spec(folder.path(), edits);
    assert_eq!(said(folder.path(), &["generate"]).0, Some(0));
    folder
}

/// One that holds its spec.
fn ungenerated() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_spec(folder.path(), &[]);
    let sql = "best_days.sql";
    fs::copy(root().join("tests/evolution/shop").join(sql), folder.path().join("spec/shop").join(sql))
        .unwrap();
    folder
}

pub fn write_spec(folder: &Path, edits: &[Edit]) {
    fs::create_dir_all(folder.join("spec/shop")).unwrap();
    fs::write(folder.join("spec/shop/spec.toml"), edited(edits).spec.text()).unwrap();
}

/// The status, and all that the tool printed.
pub fn said(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    said_with(folder, arguments, &[])
}

/// The same in an environment.
pub fn said_with(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_medallion"))
        .current_dir(folder)
        .args(arguments)
        .env_remove("MEDALLION_SPEC")
        .env_remove("DATABASE_URL")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

pub fn migrations(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("migration/src/shop")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('m') && name != "mod.rs")
        .collect();
    names.sort();
    names
}

/// Everything that is printed, byte for byte; `MEDALLION_UPDATE=1` rewrites it for review.
pub fn expect(name: &str, found: &str) {
    let path = root().join("tests/evolution/expected").join(name);
    if std::env::var_os("MEDALLION_UPDATE").is_some_and(|value| value == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(&wanted, found);
    assert!(wanted == found, "{name}:\n{}", diff.unified_diff().context_radius(1));
}

#[test]
fn a_change_becomes_one_migration_and_no_change_none() {
    let folder = generated();
    let (status, text) = said(folder.path(), &["generate"]);
    assert!(status == Some(0) && text.contains(", 0 changed"), "{text}");
    write_spec(folder.path(), change("column added"));
    assert_eq!(said(folder.path(), &["generate", "--check"]).0, Some(1));
    assert_eq!(migrations(folder.path()), ["m000001_baseline"]);
    let (status, plan) = said(folder.path(), &["plan"]);
    assert_eq!(status, Some(0), "{plan}");
    expect("plan.txt", &plan);
    expect("plan.md", &said(folder.path(), &["plan", "--format", "markdown"]).1);
    let json = said(folder.path(), &["plan", "--format", "json"]).1;
    assert!(
        serde_json::from_str::<serde_json::Value>(&json).unwrap()[0]["statements"].as_array().unwrap().len()
            > 5
    );

    let (status, text) = said(folder.path(), &["generate"]);
    assert_eq!(status, Some(0), "{text}");
    let names = ["m000001_baseline", "m000002_dim_customer_hist_add_phone"];
    assert_eq!(migrations(folder.path()), names);
    let up = folder.path().join("migration/src/shop").join(names[1]).join("up.sql");
    expect("up.sql", &fs::read_to_string(&up).unwrap());
    expect("down.sql", &fs::read_to_string(up.with_file_name("down.sql")).unwrap());
    expect("mod.rs", &fs::read_to_string(folder.path().join("migration/src/shop/mod.rs")).unwrap());
    assert_eq!(said(folder.path(), &["generate", "--check"]).0, Some(0));
    let (_, text) = said(folder.path(), &["plan"]);
    assert_eq!(text, "shop: nothing to migrate\n");

    // The next one comes after it.
    let mut edits = change("column added").to_vec();
    edits.extend(change("column retyped"));
    write_spec(folder.path(), &edits);
    assert_eq!(said(folder.path(), &["generate"]).0, Some(0));
    assert_eq!(migrations(folder.path())[2], "m000003_dim_customer_hist_change_points");

    let rust = folder.path().join("migration/src/shop");
    let sources = migrations(folder.path()).into_iter().map(|name| rust.join(name).join("mod.rs"));
    let formatted = Command::new("rustfmt")
        .args(["--check", "--edition", "2024", "--config-path"])
        .arg(root())
        .args(sources.chain([rust.join("mod.rs")]))
        .output()
        .unwrap();
    assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stdout));

    // Without the lock file nothing says what they have left.
    let lock = folder.path().join("migration/src/shop/lock.toml");
    let kept = fs::read_to_string(&lock).unwrap();
    fs::remove_file(&lock).unwrap();
    let (status, text) = said(folder.path(), &["generate"]);
    assert_eq!(status, Some(2), "{text}");
    expect("a_missing_lock.txt", &text);
    assert_eq!(migrations(folder.path()).len(), 3);
    fs::write(&lock, kept).unwrap();

    // All of them become one when that is asked for.
    assert_eq!(said(folder.path(), &["generate", "--squash"]).0, Some(0));
    assert_eq!(migrations(folder.path()), ["m000001_baseline"]);
    assert_eq!(said(folder.path(), &["generate", "--check"]).0, Some(0));
}

#[test]
fn without_migrations_the_plan_says_who_writes_the_first() {
    let folder = ungenerated();
    let first = "no migration yet: `medallion generate` writes the first, which makes all that the spec says";
    let (status, text) = said(folder.path(), &["plan"]);
    assert_eq!((status, text), (Some(0), format!("shop: {first}\n")));
    let (_, text) = said(folder.path(), &["plan", "--format", "markdown"]);
    assert_eq!(text, format!("**shop**: {first}\n"));
}

#[test]
fn a_migration_is_written_once() {
    let folder = generated();
    let up = folder.path().join("migration/src/shop/m000001_baseline/up.sql");
    let text = fs::read_to_string(&up).unwrap();
    // Remarks, white space and the ends of lines are nobody's business.
    fs::write(&up, text.replace("\n\n-- ", "\n\n\n--   more\n-- ").replace('\n', "\r\n")).unwrap();
    assert_eq!(said(folder.path(), &["generate", "--check"]).0, Some(0));
    fs::write(&up, text.replace("\"name\" text NOT NULL", "\"name\" text")).unwrap();
    let (status, said_of_it) = said(folder.path(), &["generate"]);
    assert_eq!(status, Some(2), "{said_of_it}");
    expect("a_changed_migration.txt", &said_of_it);
    fs::remove_file(&up).unwrap();
    let (status, said_of_it) = said(folder.path(), &["generate"]);
    assert_eq!(status, Some(2), "{said_of_it}");
    expect("a_missing_migration.txt", &said_of_it);
    fs::write(&up, text).unwrap();
    fs::write(folder.path().join("migration/src/shop/lock.toml"), "<<<<<<< ours\n").unwrap();
    let (status, said_of_it) = said(folder.path(), &["generate"]);
    assert_eq!(status, Some(2), "{said_of_it}");
    expect("a_damaged_lock.txt", &said_of_it);
}

/// The proof that a pull request asks for, on scratch databases of its own.
#[test]
fn migrations_are_proved_on_scratch_databases() {
    let folder = generated();
    write_spec(folder.path(), change("column retyped"));
    let (status, text) = said(folder.path(), &["migrate", "verify"]);
    assert_eq!(status, Some(1), "{text}");
    expect("verify_ungenerated.txt", &text);
    assert_eq!(said(folder.path(), &["generate"]).0, Some(0));
    let (status, text) = said(folder.path(), &["migrate", "verify"]);
    assert_eq!(status, Some(0), "{text}");
    expect("verify.txt", &text);

    // Somebody has changed a migration, and its checksum with it.
    let place = folder.path().join("migration/src/shop");
    let path = place.join("m000002_dim_customer_hist_change_points/up.sql");
    let up = fs::read_to_string(&path).unwrap();
    let changed = up.replacen("TYPE bigint", "TYPE smallint", 1);
    assert_ne!(up, changed);
    fs::write(&path, &changed).unwrap();
    let lock = fs::read_to_string(place.join("lock.toml")).unwrap();
    fs::write(place.join("lock.toml"), lock.replace(&checksum(&up), &checksum(&changed))).unwrap();
    let (status, text) = said(folder.path(), &["migrate", "verify"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("-column silver.dim_customer_hist.points bigint"), "{text}");
    assert!(text.contains("+column silver.dim_customer_hist.points smallint"), "{text}");

    // Or has let it take rows away.
    let changed = format!("{up}\nDELETE FROM silver.fact_sale;\n");
    fs::write(&path, &changed).unwrap();
    fs::write(place.join("lock.toml"), lock.replace(&checksum(&up), &checksum(&changed))).unwrap();
    let (status, text) = said(folder.path(), &["migrate", "verify"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("`m000002_dim_customer_hist_change_points` loses rows of \"silver\".\"fact_sale\""),
        "{text}"
    );
}

/// A migration that rewrites a table runs where the spec says that it may; what was allowed once stays so.
#[test]
fn a_hazard_is_refused_until_the_spec_allows_it() {
    let folder = generated();
    let retyped = change("column retyped");
    write_spec(folder.path(), retyped);
    let database = database("planned");
    psql(&database, &migration(&fresh(&[]), 1, "up.sql"));
    psql(&database, ROWS);
    psql(&database, "ANALYZE");
    let size = "SELECT pg_total_relation_size('silver.dim_customer_hist')";
    assert!(psql(&database, size).trim().parse::<u64>().unwrap() > 0);
    let told = |format: &str| {
        let text = said_with(folder.path(), &["plan", "--format", format], &[("DATABASE_URL", &database)]);
        text.1.replace(&regular(&text.1), "<size>")
    };
    expect("plan_retyped.txt", &told("human"));
    expect("plan_retyped.md", &told("markdown"));
    let json: serde_json::Value = serde_json::from_str(&told("json")).unwrap();
    let step = json[0]["statements"].as_array().unwrap().iter().find(|step| step["hazards"][0] == "rewrite");
    let step = step.unwrap();
    assert_eq!(step["touches"]["rows"], 1);
    assert_eq!(step["locks"][0]["mode"], "ACCESS EXCLUSIVE");
    assert_eq!(step["locks"][0]["blocks"], "everybody");
    assert_eq!(json[0]["not_allowed"], serde_json::json!(["dim_customer_hist.rewrite"]));

    // A database that is not there takes nothing but the sizes away, and the password is nobody's business.
    let nowhere = [("DATABASE_URL", "postgresql://ann:secret@127.0.0.1:1/shop")];
    let (status, text) = said_with(folder.path(), &["plan"], &nowhere);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("the plan is without rows and bytes: ") && !text.contains("secret"), "{text}");
    assert!(text.contains("rewrite, ACCESS EXCLUSIVE\n"), "{text}");

    let (status, text) = said(folder.path(), &["generate"]);
    assert_eq!(status, Some(0), "{text}");
    expect("generate_refused.txt", &text);
    let refused = || {
        let text = fs::read_to_string(folder.path().join("migration/src/shop/mod.rs")).unwrap();
        let (_, list) = text.split_once("pub const REFUSED: &[(&str, &str)] = ").unwrap();
        list.split_once(';').unwrap().0.to_owned()
    };
    let migration = "m000002_dim_customer_hist_change_points";
    assert!(
        refused().contains(&format!("(\"{migration}\", \"dim_customer_hist.rewrite\")")),
        "{}",
        refused()
    );

    let allow = ("[types]", "[allow_hazard]\n\"dim_customer_hist.rewrite\" = \"At night.\"\n\n[types]");
    let mut allowed = retyped.to_vec();
    allowed.push(allow);
    write_spec(folder.path(), &allowed);
    let (status, text) = said(folder.path(), &["generate"]);
    assert!(status == Some(0) && !text.contains("refuses"), "{text}");
    assert!(refused() == "&[]", "{}", refused());
    write_spec(folder.path(), retyped);
    assert_eq!(said(folder.path(), &["generate"]).0, Some(0));
    assert!(refused() == "&[]", "what ran on account of it goes on running: {}", refused());
    assert_eq!(migrations(folder.path()).len(), 2);

    write_spec(
        folder.path(),
        &[("[types]", "[allow_hazard]\n\"dim_customer_hist.rewriting\" = \"?\"\n\n[types]")],
    );
    let (status, text) = said(folder.path(), &["check"]);
    assert_eq!(status, Some(1), "{text}");
    expect("no_hazard.txt", &text);
}

/// The bytes that a text tells, which are a server's own business.
fn regular(text: &str) -> String {
    let units = ["kB", "MB"];
    let mut words = text.split([' ', '\n']).zip(text.split([' ', '\n']).skip(1));
    let found = words.find(|(_, unit)| units.contains(&unit.trim_end_matches([',', ')'])));
    found.map_or_else(
        || "\u{0}".to_owned(),
        |(number, unit)| format!("{number} {}", unit.trim_end_matches([',', ')'])),
    )
}

/// A database that others have changed, and what it takes to bring it back.
#[test]
fn a_database_is_what_its_migrations_made_or_it_is_said_what_differs() {
    let folder = generated();
    let url = database("drifting");
    psql(&url, &migration(&fresh(&[]), 1, "up.sql"));
    let (status, text) = said_with(folder.path(), &["migrate", "verify"], &[("DATABASE_URL", &url)]);
    assert_eq!(status, Some(2), "{text}");
    expect("verify_unmigrated.txt", &text);
    psql(
        &url,
        "CREATE TABLE medallion.seaql_migrations (version varchar NOT NULL PRIMARY KEY, applied_at bigint NOT NULL);
        INSERT INTO medallion.seaql_migrations VALUES ('m000001_baseline', 0);
        -- What comes at run time, and what is others' own.
        SELECT medallion.make_partition('silver.fact_sale', 'fact_sale_202401', '2024-01-01', '2024-02-01');
        SELECT medallion.index_versions('bronze.br_sale_cdc', 'br_sale_cdc_versions', ARRAY['sale_id']);
        CREATE SCHEMA others;
        CREATE TABLE others.notes (note text);",
    );
    let verify = || said_with(folder.path(), &["migrate", "verify"], &[("DATABASE_URL", &url)]);
    let (status, text) = verify();
    assert_eq!(status, Some(0), "{text}");
    expect("verify_live.txt", &text);

    psql(
        &url,
        "ALTER TABLE silver.dim_customer_hist ADD COLUMN note text DEFAULT 'x' NOT NULL;
        ALTER TABLE medallion.pipeline_metadata ALTER COLUMN pipeline_name TYPE varchar;
        ALTER TABLE bronze.br_sale_cdc DISABLE TRIGGER refuse_change;
        ALTER TABLE bronze.br_sale_cdc ALTER COLUMN load_ts DROP DEFAULT;
        ALTER TABLE medallion.watermark DROP CONSTRAINT watermark_pkey;
        DROP FUNCTION silver.dim_customer_history(integer);
        CREATE OR REPLACE VIEW silver.lookup_store AS SELECT store_id, 'Bonn'::text AS city, sys_start FROM medallion.lookup_store_hist;
        COMMENT ON TABLE silver.fact_sale IS 'Mine.';
        GRANT SELECT ON silver.fact_sale TO PUBLIC;
        REVOKE SELECT ON gold.best_days FROM shop_reader;
        CREATE INDEX by_amount ON silver.fact_sale (amount);
        CREATE VIEW gold.mine AS SELECT day FROM gold.sales_by_day;
        COMMENT ON VIEW gold.mine IS 'Mine.';"
    );
    let (status, text) = verify();
    assert_eq!(status, Some(1), "{text}");
    // Versions spell views in their own ways.
    if psql(&url, "SHOW server_version_num").starts_with("15") {
        expect("drift.txt", &text);
    }
    let (_, sql) = text.split_once("to be read first:").unwrap();
    try_psql(&url, &sql.replace("-- What it holds goes with it: ", ""))
        .unwrap_or_else(|error| panic!("{error}{sql}"));
    let (status, text) = verify();
    assert_eq!(status, Some(0), "{text}");

    psql(&url, "INSERT INTO medallion.seaql_migrations VALUES ('m000002_elsewhere', 0)");
    let (status, text) = verify();
    assert!(
        status == Some(1) && text.contains("it has migration `m000002_elsewhere`, which is not here"),
        "{text}"
    );
}

/// What the spec has to say first, and writes nothing before.
#[test]
fn what_cannot_be_known_is_asked_for() {
    let folder = generated();
    let questions: &[(&str, &[Edit])] = &[
        ("a_dropped_column", &[(EMAIL, "")]),
        ("a_column_that_may_be_renamed", &[("name = \"email\", type", "name = \"mail\", type")]),
        ("a_relation_that_may_be_renamed", &[("name = \"dim_customer_hist\"", "name = \"dim_client_hist\"")]),
        (
            "a_dropped_lookup",
            &[
                ("name = \"lookup_store\"", "name = \"lookup_shop\""),
                ("relation = \"lookup_store\"", "relation = \"lookup_shop\""),
            ],
        ),
        ("a_dropped_journal", &[("system_versioning = true\n", "")]),
        (
            "a_fact_as_a_dimension",
            &[
                (
                    "[[fact]]\nname = \"fact_sale\"",
                    "[[dimension]]\nname = \"fact_sale\"\ncurrent_view = \"sale\"",
                ),
                ("partition = { by = \"sold_at\", every = \"month\" }\n", ""),
                (", at = \"sold_at\"", ""),
            ],
        ),
        (
            "another_landing_table",
            &[
                (
                    "[[landing]]\nname = \"br_sale_cdc\"",
                    "[[landing]]\nname = \"br_customer_batch\"\nfrom = \"customer\"\nkey = [\"customer_id\"]\nsnapshot = {}\n\n[[landing]]\nname = \"br_sale_cdc\"",
                ),
                ("from = \"br_customer_cdc\"\nkey", "from = \"br_customer_batch\"\nkey"),
            ],
        ),
        (
            "a_column_that_takes_no_null",
            &[(
                EMAIL,
                "    { name = \"email\", type = \"text\" },\n    { name = \"phone\", type = \"text\" },\n",
            )],
        ),
        (
            "a_column_that_takes_no_null",
            &[(
                EMAIL,
                "    { name = \"email\", type = \"text\", null = true },\n    { name = \"phone\", type = \"text\", backfill = \"bronze\" },\n",
            )],
        ),
        (
            "a_narrower_column",
            &[
                ("name = \"points\", type = \"integer\"", "name = \"points\", type = \"smallint\""),
                ("name = \"name\", type = \"text\"", "name = \"name\", type = \"varchar(9)\""),
                (
                    "name = \"amount\", type = \"numeric(10,2)\"",
                    "name = \"amount\", type = \"numeric(10,1)\"",
                ),
            ],
        ),
        (
            "a_renamed_column_of_another_field",
            &[("name = \"email\", type", "name = \"mail\", renamed_from = \"email\", type")],
        ),
    ];
    for (name, edits) in questions {
        write_spec(folder.path(), edits);
        let (status, text) = said(folder.path(), &["generate"]);
        assert_eq!(status, Some(1), "{name}: {text}");
        expect(&format!("{name}.txt"), &text);
        assert_eq!(migrations(folder.path()), ["m000001_baseline"], "{name}");
    }
    // For a program, with the lines to write; what writes nothing says the same.
    for verb in ["generate", "plan"] {
        write_spec(folder.path(), questions[1].1);
        let (status, text) = said(folder.path(), &[verb, "--format", "json"]);
        assert_eq!(status, Some(1), "{text}");
        expect("a_column_that_may_be_renamed.json", &text);
    }
}
