//! Indexes that are built while others read and write: their migrations, as they are written, planned and proved.

use std::fs;
use std::process::Command;

use super::{change, expect, generated, migrations, root, said, write_spec};

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
