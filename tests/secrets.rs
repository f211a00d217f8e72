//! No password of any URL, and no other secret of the environment, comes out of a verb of the tool: in what it prints or
//! writes, or in the list of processes, where everybody on a machine sees what `psql` is started with. Those of a
//! warehouse's own verbs: `generated/tests/secure.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Nobody writes this by accident.
const SECRET: &str = "hunter2-zq7xk9vw";

/// Tells what it was started with, and cannot connect.
const PSQL: &str = "#!/bin/sh
printf '%s\\n' \"$*\" >> \"$SEEN\"
printf 'password by the environment: %s\\n' \"${PGPASSWORD:+yes}\" >> \"$SEEN\"
echo 'psql: error: connection to server failed' >&2
exit 2
";

/// URLs as people write them, wrong ones too.
fn urls() -> Vec<String> {
    let urls = [
        "postgresql://keeper:SECRET@127.0.0.1:1/shop",
        "postgresql://127.0.0.1:1/shop?user=keeper&password=SECRET",
        "postgresql://keeper:a@SECRET@127.0.0.1:1/shop",
        "postgresql://keeper:1/SECRET@127.0.0.1:1/shop",
        "postgresql://keeper:1?SECRET@127.0.0.1:1/shop",
        "postgresql://keeper:1#SECRET@127.0.0.1:1/shop",
        "postgresql://keeper:SECRET@127.0.0.1:port/shop",
        "postgresql://keeper@127.0.0.1:1/shop?sslpassword=SECRET",
        "mysql://keeper:SECRET@127.0.0.1:1/shop",
        "keeper:SECRET@127.0.0.1",
    ];
    urls.into_iter().map(|url| url.replace("SECRET", SECRET)).collect()
}

fn tool(url: &str, folder: &Path, psql: Option<&Path>, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medallion"));
    command.args(arguments).args(["--spec", "spec/pagila"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    for variable in ["DATABASE_URL", "SOURCE_DATABASE_URL", "BRONZE_DATABASE_URL"] {
        command.env(variable, url);
    }
    for (variable, value) in [
        ("FILES_URL", "s3://an_id:SECRET@bucket/prefix"),
        ("AWS_ACCESS_KEY_ID", "SECRET"),
        ("AWS_SECRET_ACCESS_KEY", "SECRET"),
        ("OPENLINEAGE_URL", "http://keeper:SECRET@127.0.0.1:1"),
        ("OPENLINEAGE_API_KEY", "SECRET"),
    ] {
        command.env(variable, value.replace("SECRET", SECRET));
    }
    if let Some(psql) = psql {
        command.env("MEDALLION_POSTGRES_BIN", psql).env("SEEN", folder.join("seen"));
    }
    let output = command.output().unwrap();
    for shown in [&output.stdout, &output.stderr] {
        let shown = String::from_utf8_lossy(shown);
        assert!(!shown.contains(SECRET), "{arguments:?} shows the password of {url}: {shown}");
        // Nor what is left of it.
        assert!(!shown.contains(&SECRET[4..]), "{arguments:?} shows a piece of {url}: {shown}");
    }
}

#[test]
fn no_verb_of_the_tool_shows_or_writes_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = folder.path().join("bin");
    fs::create_dir(&binaries).unwrap();
    fs::write(binaries.join("psql"), PSQL).unwrap();
    fs::set_permissions(binaries.join("psql"), fs::Permissions::from_mode(0o755)).unwrap();
    let written = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (page, dbt, jobs, project) =
        (written("page.html"), written("dbt.yml"), written("jobs"), written("project"));
    let repository = format!("https://keeper:{SECRET}@example.org/medallion.git");
    for url in urls() {
        let mut verbs: Vec<Vec<&str>> = vec![
            vec!["docs", "--output", &page],
            vec!["docs", "--for", "dbt", "--output", &dbt],
            vec!["import"],
            vec!["new", &project],
            vec!["new", &project, "--medallion", &repository],
            vec!["migrate", "verify"],
        ];
        for scheduler in ["airflow", "dagster", "cron", "systemd", "kubernetes"] {
            verbs.push(vec!["schedule", "--for", scheduler, "--to", &jobs]);
        }
        for verb in &verbs {
            tool(&url, folder.path(), Some(&binaries), verb);
        }
        // What the real one says of it.
        tool(&url, folder.path(), None, &verbs[0]);
        tool(&url, folder.path(), None, &verbs[2]);
    }
    let seen = fs::read_to_string(folder.path().join("seen")).unwrap();
    assert!(seen.contains("keeper@127.0.0.1:1/shop") && seen.contains("by the environment: yes"), "{seen}");
    assert!(folder.path().join("jobs").exists() && folder.path().join("page.html").exists());
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                assert!(!text.contains(&SECRET[4..]), "{} has it: {text}", path.display());
            }
        }
    }
}
