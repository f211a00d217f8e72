//! Two branches of one repository that both change a warehouse: what is said before they are merged, and how the migration
//! of one comes to stand upon the other's. In real git repositories, which the tool only reads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What is replaced in the spec's text, by what.
type Edit = (&'static str, &'static str);

const ADD_PHONE: Edit = (
    "    { name = \"email\", type = \"text\", null = true },\n",
    "    { name = \"email\", type = \"text\", null = true },\n    { name = \"phone\", type = \"text\", null = true },\n",
);
const ADD_NOTE: Edit = (
    "    { name = \"amount\", type = \"numeric(10,2)\" },\n",
    "    { name = \"amount\", type = \"numeric(10,2)\" },\n    { name = \"note\", type = \"text\", null = true },\n",
);
const ADD_RANK: Edit = (
    "    { name = \"seen\", type",
    "    { name = \"rank\", type = \"integer\", null = true },\n    { name = \"seen\", type",
);
const RETYPE_POINTS: Edit = ("name = \"points\", type = \"integer\"", "name = \"points\", type = \"bigint\"");
const RETYPE_POINTS_OTHERWISE: Edit =
    ("name = \"points\", type = \"integer\"", "name = \"points\", type = \"numeric\"");
const RENAME_POINTS: Edit = (
    "name = \"points\", type = \"integer\"",
    "name = \"score\", from = \"points\", renamed_from = \"points\", type = \"integer\"",
);
const LOOK_UP: Edit = (
    "on = [\"store_id\"], at = \"sold_at\" }]",
    "on = [\"store_id\"], at = \"sold_at\" }, { name = \"other\", relation = \"lookup_store\", on = [\"customer_id\"], at = \"sold_at\" }]",
);
const DROP_CITY: [Edit; 3] = [
    ("    { name = \"city\", type = \"text\", null = true, from = \"shop.city\" },\n", ""),
    (
        "[[mart]]\nname = \"sales_by_city\"\nstorage = \"materialized_view\"\nfrom = { sale = \"fact_sale\" }\n\
         grain = [{ name = \"city\", of = \"sale.city\" }]\n\
         measures = [{ name = \"sold\", type = \"numeric(12,2)\", of = \"sale\", expr = \"sum(amount)\" }]\n\n",
        "",
    ),
    ("[types]", "[allow_drop]\n\"fact_sale.city\" = \"Nobody asks.\"\n\n[types]"),
];
const USE_CITY: Edit = (
    "    { name = \"sales\", of = \"sale\", expr = \"count(*)\" },\n",
    "    { name = \"sales\", of = \"sale\", expr = \"count(*)\" },\n    { name = \"cities\", of = \"sale\", expr = \"count(DISTINCT city)\" },\n",
);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A repository whose branch `main` has a warehouse with its first migration.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch=main"]);
    fs::create_dir_all(folder.path().join("spec/shop")).unwrap();
    fs::copy(root().join(".gitattributes"), folder.path().join(".gitattributes")).unwrap();
    for file in ["spec.toml", "best_days.sql"] {
        fs::copy(root().join("tests/evolution/shop").join(file), folder.path().join("spec/shop").join(file))
            .unwrap();
    }
    generate_and_commit(folder.path(), "begin");
    folder
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let (succeeded, said) = try_git(folder, arguments);
    assert!(succeeded, "git {arguments:?}: {said}");
    said
}

/// By nobody's settings but these.
fn try_git(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@shop.example", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_EDITOR", "true")])
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The status, and all that the tool printed.
fn said(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_medallion"))
        .current_dir(folder)
        .args(arguments)
        .env_remove("MEDALLION_SPEC")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn generate_and_commit(folder: &Path, message: &str) {
    let (status, text) = said(folder, &["generate"]);
    assert_eq!(status, Some(0), "{text}");
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", message]);
}

fn edit(folder: &Path, edits: &[Edit]) {
    let path = folder.join("spec/shop/spec.toml");
    let mut text = fs::read_to_string(&path).unwrap();
    for (before, after) in edits {
        assert!(text.contains(before), "nothing to replace: {before}");
        text = text.replacen(before, after, 1);
    }
    fs::write(path, text).unwrap();
}

/// A branch `feature` with one change, and `main` with another one after it.
fn branched(ours: &[Edit], theirs: &[Edit]) -> TempDir {
    let repository = repository();
    let folder = repository.path();
    git(folder, &["checkout", "--quiet", "-b", "feature"]);
    edit(folder, ours);
    generate_and_commit(folder, "ours");
    git(folder, &["checkout", "--quiet", "main"]);
    edit(folder, theirs);
    generate_and_commit(folder, "theirs");
    git(folder, &["checkout", "--quiet", "feature"]);
    repository
}

fn migrations(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("migration/src/shop")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("m0")).collect();
    names.sort();
    names
}

/// What is printed, byte for byte; `MEDALLION_UPDATE=1` rewrites it for review.
fn expect(name: &str, found: &str) {
    let path = root().join("tests/evolution/expected").join(name);
    if std::env::var_os("MEDALLION_UPDATE").is_some_and(|value| value == "1") {
        fs::write(&path, found).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(&wanted, found);
    assert!(wanted == found, "{name}:\n{}", diff.unified_diff().context_radius(1));
}

#[test]
fn branches_that_change_different_things_go_together() {
    // Of different relations, and of one.
    for (name, ours) in [("two_branches_apart.txt", ADD_NOTE), ("two_branches_of_one_relation.txt", ADD_RANK)]
    {
        let repository = branched(&[ours], &[ADD_PHONE]);
        let (status, text) = said(repository.path(), &["check", "--base", "main"]);
        assert_eq!(status, Some(0), "{text}");
        expect(name, &text);
        let (status, text) = said(repository.path(), &["check", "--base", "main", "--format", "json"]);
        assert_eq!((status, text.as_str()), (Some(0), "[]\n"));
        // Seen from the other side it is the same.
        git(repository.path(), &["checkout", "--quiet", "main"]);
        assert_eq!(said(repository.path(), &["check", "--base", "feature"]).0, Some(0));
    }
    let repository = repository();
    let (status, text) = said(repository.path(), &["check", "--base", "HEAD"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.ends_with("shop: this branch has every migration of `HEAD`\n"), "{text}");
}

#[test]
fn branches_that_touch_the_same_are_told_where() {
    for (name, ours, theirs) in [
        ("two_branches_one_column.txt", &[RETYPE_POINTS][..], &[RETYPE_POINTS_OTHERWISE][..]),
        ("two_branches_a_rename.txt", &[RENAME_POINTS], &[RETYPE_POINTS]),
        ("two_branches_drop_there.txt", &[USE_CITY], &DROP_CITY),
        ("two_branches_drop_here.txt", &DROP_CITY, &[USE_CITY]),
    ] {
        let repository = branched(ours, theirs);
        let (status, text) = said(repository.path(), &["check", "--base", "main"]);
        assert_eq!(status, Some(1), "{name}: {text}");
        expect(name, &text);
        let (status, text) = said(repository.path(), &["check", "--base", "main", "--format", "json"]);
        let findings: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, findings[0]["code"].as_str()), (Some(1), Some("M0606")), "{text}");
    }
    // The same change on both is one change.
    let repository = branched(&[RETYPE_POINTS], &[RETYPE_POINTS]);
    assert_eq!(said(repository.path(), &["check", "--base", "main"]).0, Some(0));
}

/// The merge leaves conflicts in whatever was generated. The spec is made to say what both say; all else is generated.
#[test]
fn a_merge_is_resolved_by_generating() {
    let repository = branched(&[ADD_NOTE], &[ADD_PHONE]);
    let folder = repository.path();
    let theirs = git(folder, &["show", "main:migration/src/shop/m000002_dim_customer_hist_add_phone/up.sql"]);
    let (merged, text) = try_git(folder, &["merge", "--quiet", "main"]);
    assert!(!merged && text.contains("migration/src/shop/lock.toml"), "{text}");
    let (status, text) = said(folder, &["generate", "--rebase"]);
    assert_eq!(status, Some(0), "{text}");
    expect("rebased.txt", &text);
    finished(folder, &theirs);
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--no-edit"]);
    let (status, text) = said(folder, &["check", "--base", "main"]);
    assert!(status == Some(0) && text.contains("has every migration of `main`"), "{text}");
    // And once more: nothing is left to do.
    let (status, text) = said(folder, &["generate", "--rebase", "main"]);
    assert!(status == Some(0) && text.contains(", 0 changed"), "{text}");
}

#[test]
fn a_rebase_is_resolved_by_generating() {
    let repository = branched(&[ADD_RANK], &[ADD_PHONE]);
    let folder = repository.path();
    let theirs = git(folder, &["show", "main:migration/src/shop/m000002_dim_customer_hist_add_phone/up.sql"]);
    let (rebased, text) = try_git(folder, &["rebase", "main"]);
    assert!(!rebased && text.contains("migration/src/shop/lock.toml"), "{text}");
    let (status, text) = said(folder, &["generate", "--rebase", "main"]);
    assert_eq!(status, Some(0), "{text}");
    let lock = fs::read_to_string(folder.join("migration/src/shop/lock.toml")).unwrap();
    assert!(lock.contains("m000003_dim_customer_hist_add_rank"));
    finished(folder, &theirs);
    git(folder, &["add", "--all"]);
    git(folder, &["rebase", "--continue"]);
    assert_eq!(git(folder, &["status", "--porcelain"]), "");
    assert_eq!(said(folder, &["generate", "--check"]).0, Some(0));
}

/// Each branch with as many migrations as it has commits, one of which builds an index beside others: theirs stay as they
/// are, all of ours are made anew on top.
#[test]
fn branches_of_several_migrations_are_resolved_by_generating() {
    let one: &[&[Edit]] = &[&[ADD_NOTE]];
    let two: &[&[Edit]] = &[&[ADD_NOTE], &[LOOK_UP]];
    let theirs: &[&[Edit]] = &[&[ADD_PHONE], &[RENAME_POINTS]];
    for (name, ours, theirs, count) in [
        ("rebased_two_of_ours.txt", two, &theirs[..1], 4),
        ("rebased_two_of_theirs.txt", one, theirs, 4),
        ("rebased_two_and_two.txt", two, theirs, 5),
    ] {
        let repository = repository();
        let folder = repository.path();
        for (branch, commits) in [("feature", ours), ("main", theirs)] {
            if branch == "feature" {
                git(folder, &["checkout", "--quiet", "-b", "feature"]);
            } else {
                git(folder, &["checkout", "--quiet", "main"]);
            }
            for edits in commits {
                edit(folder, edits);
                generate_and_commit(folder, branch);
            }
        }
        let up = |migration: &str| {
            fs::read_to_string(folder.join("migration/src/shop").join(migration).join("up.sql")).unwrap()
        };
        let on_main: Vec<(String, String)> =
            migrations(folder).into_iter().map(|name| (up(&name), name)).collect();
        git(folder, &["checkout", "--quiet", "feature"]);
        assert_eq!(said(folder, &["check", "--base", "main"]).0, Some(0), "{name}");
        let (merged, text) = try_git(folder, &["merge", "--quiet", "main"]);
        assert!(!merged && text.contains("migration/src/shop/lock.toml"), "{text}");
        let spec = fs::read_to_string(folder.join("spec/shop/spec.toml")).unwrap();
        assert!(!spec.contains("<<<<<<<"), "{name}: {spec}");
        let (status, text) = said(folder, &["generate", "--rebase"]);
        assert_eq!(status, Some(0), "{text}");
        expect(name, &text);
        let names = migrations(folder);
        assert_eq!(names.len(), count, "{name}: {names:?}");
        for ((before, was), now) in on_main.iter().zip(&names) {
            assert_eq!((before, was), (&up(now), now), "{name}");
        }
        for (number, migration) in names.iter().enumerate() {
            assert!(migration.starts_with(&format!("m{:06}_", number + 1)), "{name}: {names:?}");
        }
        for arguments in [&["generate", "--check"][..], &["migrate", "verify"]] {
            let (status, text) = said(folder, arguments);
            assert_eq!(status, Some(0), "{name}: {text}");
        }
        git(folder, &["add", "--all"]);
        git(folder, &["commit", "--quiet", "--no-edit"]);
        let (status, text) = said(folder, &["generate", "--rebase", "main"]);
        assert!(status == Some(0) && text.contains(", 0 changed"), "{text}");
    }
}

/// Commit by commit onto theirs: after each, what ours have changed so far stands on top of them.
#[test]
fn a_rebase_of_several_commits_is_resolved_by_generating() {
    let repository = repository();
    let folder = repository.path();
    git(folder, &["checkout", "--quiet", "-b", "feature"]);
    for edits in [&[ADD_NOTE], &[LOOK_UP]] {
        edit(folder, edits);
        generate_and_commit(folder, "ours");
    }
    git(folder, &["checkout", "--quiet", "main"]);
    for edits in [&[ADD_PHONE], &[RETYPE_POINTS]] {
        edit(folder, edits);
        generate_and_commit(folder, "theirs");
    }
    git(folder, &["checkout", "--quiet", "feature"]);
    assert!(!try_git(folder, &["rebase", "main"]).0);
    for _ in 0..2 {
        let (status, text) = said(folder, &["generate", "--rebase", "main"]);
        assert_eq!(status, Some(0), "{text}");
        git(folder, &["add", "--all"]);
        try_git(folder, &["rebase", "--continue"]);
    }
    assert_eq!(git(folder, &["status", "--porcelain"]), "");
    let names = migrations(folder);
    let ours = ["m000004_fact_sale_add_note_and_1_more", "m000005_fact_sale_index"];
    assert_eq!(names[3..], ours, "{names:?}");
    for arguments in [&["generate", "--check"][..], &["migrate", "verify"]] {
        let (status, text) = said(folder, arguments);
        assert_eq!(status, Some(0), "{text}");
    }
}

/// Theirs stands as it was, ours comes after it, and together they are what the spec says.
fn finished(folder: &Path, theirs: &str) {
    let names = migrations(folder);
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[1], "m000002_dim_customer_hist_add_phone");
    assert!(names[2].starts_with("m000003_") && names[2].contains("_add_"), "{names:?}");
    let up =
        |name: &str| fs::read_to_string(folder.join("migration/src/shop").join(name).join("up.sql")).unwrap();
    assert_eq!(up(&names[1]), theirs);
    assert!(!up(&names[2]).contains("ADD COLUMN \"phone\""));
    let (status, text) = said(folder, &["generate", "--check"]);
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = said(folder, &["migrate", "verify"]);
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn nothing_is_built_on_what_is_not_merged() {
    let repository = branched(&[ADD_NOTE], &[ADD_PHONE]);
    let folder = repository.path();
    let before = migrations(folder);
    let refused = |arguments: &[&str], what: &str| {
        let (status, text) = said(folder, arguments);
        assert!(status == Some(2) && text.contains(what), "{arguments:?}: {text}");
    };
    refused(&["generate", "--rebase", "main"], "merge it first: `git merge main`");
    refused(&["generate", "--rebase"], "nothing is being merged");
    refused(&["check", "--base", "nowhere"], "git knows no commit `nowhere`");
    // A name is a name, whatever it looks like.
    for name in ["$(touch pwned)", "main; touch pwned", "HEAD:spec", "`touch pwned`"] {
        refused(&["check", "--base", name], "git knows no commit");
    }
    refused(&["check", "--base=--output=pwned"], "git knows no commit `--output=pwned`");
    assert!(!folder.join("pwned").exists());
    assert_eq!(migrations(folder), before);
    assert_eq!(git(folder, &["status", "--porcelain"]), "");

    // Branches without a commit in common, as a shallow copy has them.
    git(folder, &["checkout", "--quiet", "--orphan", "alone"]);
    git(folder, &["commit", "--quiet", "--message", "alone"]);
    refused(&["check", "--base", "main"], "no commit in common");

    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(outside.path().join("spec/shop")).unwrap();
    for file in ["spec.toml", "best_days.sql"] {
        fs::copy(folder.join("spec/shop").join(file), outside.path().join("spec/shop").join(file)).unwrap();
    }
    let (status, text) = said(outside.path(), &["check", "--base", "main"]);
    assert!(status == Some(2) && text.contains("is in no git repository"), "{text}");
}
