//! Indexes that are built while others read and write: their migrations, as they are written, planned and proved.

use std::fs;
use std::process::Command;

use super::catalog::psql;
use super::changes::Edit;
use super::commands::{expect, generated, generated_with, migrations, said, write_spec};
use super::measured::{FILES, is_built_as_told};
use super::{change, database, root};

/// What is built beside others comes in a migration of its own, after the one that needs it.
#[test]
fn an_index_of_a_table_that_stands_is_built_beside_others() {
    let folder = generated();
    let edits = [change("dimension looks up"), change("fact looks up once more")].concat();
    write_spec(folder.path(), &edits);
    let (status, plan) = said(folder.path(), &["plan"]);
    assert_eq!(status, Some(0), "{plan}");
    let beside = plan.rfind("\nshop: ").expect("there are two migrations");
    expect("beside/plan.txt", &plan[beside + 1..]);
    let markdown = said(folder.path(), &["plan", "--format", "markdown"]).1;
    expect("beside/plan.md", &markdown[markdown.rfind("### `shop`").unwrap()..]);
    assert_eq!(said(folder.path(), &["generate"]).0, Some(0));
    let name = "m000003_dim_customer_hist_index_and_1_more";
    assert_eq!(migrations(folder.path())[2..], [name]);
    let place = folder.path().join("migration/src/shop");
    for file in ["up.sql", "down.sql", "mod.rs"] {
        expect(&format!("beside/{file}"), &fs::read_to_string(place.join(name).join(file)).unwrap());
    }
    let formatted = Command::new("rustfmt")
        .args(["--check", "--edition", "2024", "--config-path"])
        .args([root(), &place.join(name).join("mod.rs")])
        .output()
        .unwrap();
    assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stdout));
    let before = fs::read_to_string(place.join(&migrations(folder.path())[1]).join("up.sql")).unwrap();
    assert!(!before.contains("CREATE INDEX") && before.contains("From here on"), "{before}");
    assert_eq!(said(folder.path(), &["generate", "--check"]).0, Some(0));

    // One that becomes another goes and comes; one that nobody needs any more goes.
    let spec = folder.path().join("spec/shop/spec.toml");
    let text = fs::read_to_string(&spec).unwrap();
    let region = "    { name = \"region\", type = \"integer\", null = true, backfill = \"bronze\" },\n";
    let other = text.replacen("on = [\"points\"]", "on = [\"region\"]", 1).replacen(
        "    { name = \"mood\"",
        &format!("{region}    {{ name = \"mood\""),
        1,
    );
    for (file, text) in
        [("other", other.clone()), ("gone", other.replacen("[\"region\"]", "[\"customer_id\"]", 1))]
    {
        fs::write(&spec, text).unwrap();
        assert_eq!(said(folder.path(), &["generate"]).0, Some(0));
        let names = migrations(folder.path());
        let last = names.last().unwrap();
        assert!(last.ends_with("_dim_customer_hist_index"), "{names:?}");
        expect(&format!("beside/{file}.sql"), &fs::read_to_string(place.join(last).join("up.sql")).unwrap());
        let (status, text) = said(folder.path(), &["migrate", "verify"]);
        assert_eq!(status, Some(0), "{text}");
    }
    assert_eq!(said(folder.path(), &["generate", "--squash"]).0, Some(0));
    assert_eq!(migrations(folder.path()), ["m000001_baseline"]);
}

/// A type that changes while rows stay as they are: an index of columns alone stays too, and any other would be built anew
/// while nobody reads. So it is built beside them, but for the one that keeps a key unique, of which the plan says so.
#[test]
fn an_index_that_a_type_would_have_built_anew_is_built_beside_others() {
    const SHORT: [Edit; 5] = [
        (
            "key = [\"customer_id\"]\nsystem",
            "key = [\"customer_id\"]\nlookups = [{ name = \"shop\", relation = \"lookup_store\", on = [\"points\"] }]\nsystem",
        ),
        (
            "{ name = \"customer_id\", type = \"integer\" }",
            "{ name = \"customer_id\", type = \"varchar(9)\" }",
        ),
        ("name = \"points\", type = \"integer\"", "name = \"points\", type = \"varchar(9)\""),
        ("{ name = \"store_id\", type = \"integer\" }", "{ name = \"store_id\", type = \"varchar(9)\" }"),
        ("{ name = \"store_id\", type = \"integer\" }", "{ name = \"store_id\", type = \"varchar(9)\" }"),
    ];
    let long: [Edit; 1] =
        [("name = \"points\", type = \"varchar(9)\"", "name = \"points\", type = \"varchar(20)\"")];
    let key: Edit =
        ("name = \"customer_id\", type = \"varchar(9)\"", "name = \"customer_id\", type = \"varchar(20)\"");
    let folder = generated_with(&SHORT);
    let url = database("index_beside");
    let place = folder.path().join("migration/src/shop");
    let up = |name: &str| fs::read_to_string(place.join(name).join("up.sql")).unwrap();
    psql(&url, &up("m000001_baseline"));
    psql(&url, "INSERT INTO silver.dim_customer_hist (customer_id, name, points) VALUES ('1', 'Ann', '7')");
    write_spec(folder.path(), &[&SHORT[..], &long].concat());
    let plan = said(folder.path(), &["plan"]).1;
    assert!(!plan.contains("index build") && !plan.contains("rewrite"), "{plan}");
    assert_eq!(said(folder.path(), &["generate"]).0, Some(0));
    let names = migrations(folder.path());
    assert!(names[2].ends_with("_dim_customer_hist_index"), "{names:?}");
    expect("beside/retyped.sql", &up(&names[2]));
    let files = |url: &str| psql(url, FILES);
    let before = files(&url);
    psql(&url, &up(&names[1]));
    assert_eq!(is_built_as_told(&[], &before, &files(&url)), Ok(()));
    psql(&url, &up(&names[2]));
    let (status, text) = said(folder.path(), &["migrate", "verify"]);
    assert_eq!(status, Some(0), "{text}");

    // The key's own.
    write_spec(folder.path(), &[&SHORT[..], &long, &[key]].concat());
    let (_, plan) = said(folder.path(), &["plan"]);
    assert!(plan.contains("\"dim_customer_hist.index_build\" = \"why\""), "{plan}");
    expect("beside/key.txt", &plan);
    assert_eq!(said(folder.path(), &["generate"]).0, Some(0));
    let before = files(&url);
    psql(&url, &up(&migrations(folder.path())[3]));
    assert!(is_built_as_told(&[], &before, &files(&url)).unwrap_err().contains("dim_customer_hist"));
    let (status, text) = said(folder.path(), &["migrate", "verify"]);
    assert_eq!(status, Some(0), "{text}");
}

/// A mart over a fact that stands finds the rows of a group by an index, which nobody has to wait for, nor to allow.
#[test]
fn a_stored_mart_over_a_fact_that_stands_asks_for_nothing() {
    let folder = generated();
    write_spec(folder.path(), change("stored marts added"));
    let (status, plan) = said(folder.path(), &["plan"]);
    assert_eq!(status, Some(0), "{plan}");
    let (status, text) = said(folder.path(), &["generate"]);
    assert!(status == Some(0) && !text.contains("allow_hazard"), "{text}");
    let names = migrations(folder.path());
    assert_eq!(names.len(), 3, "{names:?}");
    let place = folder.path().join("migration/src/shop");
    let up = |name: &str| fs::read_to_string(place.join(name).join("up.sql")).unwrap();
    assert!(!up(&names[1]).contains("ON \"silver\".\"fact_sale\""), "{}", up(&names[1]));
    expect("beside/mart.sql", &up(&names[2]));
    let refused = fs::read_to_string(place.join("mod.rs")).unwrap();
    assert!(refused.contains("pub const REFUSED: &[(&str, &str)] = &[];"), "{refused}");
    let (status, text) = said(folder.path(), &["migrate", "verify"]);
    assert_eq!(status, Some(0), "{text}");
}
