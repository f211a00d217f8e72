//! What neighbours are given: the jobs that `medallion schedule` writes, and the sources that `medallion docs --for dbt` does;
//! their bytes, and what the neighbours themselves make of them. Needs no generated code. `MEDALLION_NEIGHBOURS` names the
//! folder that `scripts/neighbours` prints; what is not in it, or not on this machine, is said and passed by.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "hostile/said.rs"]
mod said;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use medallion::cli::read;
use medallion::emit::schedule::{self, Job, Scheduler};
use medallion::emit::{FileSet, dbt};
use medallion::finding::Colour;
use medallion::model::{self, Warehouse, Watched};
use medallion_runtime::descriptor;

const ALL: [(Scheduler, &str); 5] = [
    (Scheduler::Airflow, "airflow"),
    (Scheduler::Dagster, "dagster"),
    (Scheduler::Cron, "cron"),
    (Scheduler::Systemd, "systemd"),
    (Scheduler::Kubernetes, "kubernetes"),
];

/// A warehouse that says what it was asked, to the file LOG; `test` tells of each test that it was asked for, and that FAILED
/// has failed; `status` that of all that is watched EXCEEDED has gone too far. It ends with STATUS.
const PROGRAM: &str = r#"#!/bin/sh
if [ -n "$LOG" ]; then echo "$*" >> "$LOG"; fi
case " $* " in
*" status --format json "*)
    exceeded=false
    if [ "$EXCEEDED" = unapplied ]; then exceeded=true; fi
    printf '{"alerts": ['
    printf '{"alert": "unapplied", "value": 4.0, "most": 3, "exceeded": %s}, ' "$exceeded"
    printf '{"alert": "lag_seconds", "value": null, "most": 60, "exceeded": false}]}\n'
    ;;
*" --format json "*)
    comma=
    printf '{"results": ['
    for word; do
        case $word in
        test:*)
            name=${word#test:}
            status=pass
            if [ "$name" = "$FAILED" ]; then status=fail; fi
            printf '%s{"unique_id": "test.pagila.%s", "status": "%s", "message": null, "failures": 0}' "$comma" "$name" "$status"
            comma=,
            ;;
        esac
    done
    printf ']}\n'
    ;;
esac
exit "${STATUS:-0}"
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn loaded(folder: &Path) -> Warehouse {
    model::load(&read::warehouse(folder).unwrap())
        .unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)))
}

/// Every spec of this repository, hostile names included.
fn specs() -> Vec<Warehouse> {
    let folders = ["spec", "tests/cases/generate"];
    let folders = folders.into_iter().flat_map(|folder| read::warehouses(&root().join(folder)).unwrap());
    let mixes = (0..said::MIXES).map(|number| {
        let mix = said::load(&said::mixed(number), "hostile", said::Fed::All);
        let mix = mix.unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)));
        Warehouse { name: format!("hostile_{number}"), ..mix }
    });
    folders.map(|folder| loaded(&folder)).chain(mixes).chain([watched()]).collect()
}

fn pagila() -> Warehouse {
    loaded(&root().join("spec/pagila"))
}

/// The same with thresholds.
fn watched() -> Warehouse {
    let alerts =
        [(Watched::Unapplied, 3), (Watched::Lag, 60)].map(|(of, most)| model::Alert { of, most }).to_vec();
    Warehouse { name: "watched".to_owned(), alerts, ..pagila() }
}

/// The same with tests that are called as dbt calls none, and as one another.
fn called_oddly() -> Warehouse {
    let mut warehouse = Warehouse { name: "called_oddly".to_owned(), ..pagila() };
    for (number, test) in warehouse.tests.iter_mut().enumerate() {
        let name = ["how it is", "how_it_is", "How it is?", "\u{e9}"][number % 4];
        test.name = format!("{name}{}", " ".repeat(number / 4));
    }
    warehouse
}

fn job(program: &str) -> Job {
    Job {
        cron: "*/15 * * * *".parse().unwrap(),
        program: program.to_owned(),
        image: "warehouse:latest".to_owned(),
    }
}

/// The files of a scheduler, in a folder of their own.
fn written(warehouses: &[Warehouse], scheduler: Scheduler, job: &Job) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut names = BTreeSet::new();
    for warehouse in warehouses {
        for (name, text) in schedule::schedule(warehouse, scheduler, job).iter() {
            assert!(names.insert(name.to_owned()), "two of the warehouses write {name}");
            fs::write(folder.path().join(name), text).unwrap();
        }
    }
    folder
}

/// The program, in a folder of its own.
fn program() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("warehouse");
    fs::write(&path, PROGRAM).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, path)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The Python of a neighbour, where it is there.
fn python(name: &str) -> Option<PathBuf> {
    match std::env::var_os("MEDALLION_NEIGHBOURS") {
        Some(folder) => {
            let python = Path::new(&folder).join(name).join("bin/python");
            assert!(
                python.exists(),
                "MEDALLION_NEIGHBOURS has no {name}: `scripts/neighbours {name}` sees to it"
            );
            Some(python)
        }
        None => {
            eprintln!(
                "NOT TESTED with {name}: MEDALLION_NEIGHBOURS does not name the folder that scripts/neighbours prints"
            );
            None
        }
    }
}

/// Compares with a file, or writes it.
fn compare(path: &str, text: &str) {
    let path = root().join("tests/neighbours").join(path);
    if std::env::var_os("MEDALLION_UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs (MEDALLION_UPDATE=1 rewrites it):\n{text}", path.display());
}

fn texts(files: &FileSet) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

#[test]
fn the_jobs_of_pagila_are_as_reviewed() {
    for (scheduler, folder) in ALL {
        let files = schedule::schedule(&pagila(), scheduler, &job("warehouse"));
        let there = fs::read_dir(root().join("tests/neighbours").join(folder));
        let there = there.map_or(0, |files| files.count());
        let update = std::env::var_os("MEDALLION_UPDATE").is_some();
        assert!(
            update || there == files.len(),
            "{folder} has {there} files, and {} are written",
            files.len()
        );
        for (name, text) in files.iter() {
            compare(&format!("{folder}/{name}"), text);
        }
    }
}

#[test]
fn every_spec_has_the_same_jobs_each_time() {
    for warehouse in specs() {
        for (scheduler, name) in ALL {
            let once = texts(&schedule::schedule(&warehouse, scheduler, &job("warehouse")));
            assert_eq!(once, texts(&schedule::schedule(&warehouse, scheduler, &job("warehouse"))));
            assert!(!once.is_empty(), "{name} of {}", warehouse.name);
            for (file, text) in once {
                let plain = |one: char| one.is_ascii_alphanumeric() || "._-".contains(one);
                assert!(file.chars().all(plain), "{file}");
                assert!(text.ends_with('\n') && !text.contains("\n\n\n\n"), "{file}:\n{text}");
                assert!(
                    text.lines().all(|line| line.trim_end() == line),
                    "{file} has blanks at the end of a line:\n{text}"
                );
            }
        }
    }
}

/// Each scheduler asks what is watched, by the verb that says it and the names that it has there.
#[test]
fn thresholds_are_asked_behind_the_run() {
    let asked = [
        ("airflow", "watched.py", "publish >> Warehouse(task_id=\"alerts\", verb=[\"status\"])"),
        ("dagster", "watched.py", "\"unapplied\": dg.AssetCheckSpec(\n        \"alert_unapplied\","),
        (
            "cron",
            "watched.crontab",
            "--warehouse watched test 2>&1 && warehouse --warehouse watched status 2>&1",
        ),
        ("systemd", "medallion-watched-alerts.service", "ExecStart=warehouse --warehouse watched status\n"),
        ("systemd", "medallion-watched.service", "OnSuccess=medallion-watched-alerts.service\n"),
        ("kubernetes", "watched.yaml", "command: [\"warehouse\", \"--warehouse\", \"watched\", \"status\"]"),
    ];
    for (scheduler, file, says) in asked {
        let (scheduler, _) = ALL.into_iter().find(|(_, name)| *name == scheduler).unwrap();
        let files = schedule::schedule(&watched(), scheduler, &job("warehouse"));
        assert!(files.get(file).is_some_and(|text| text.contains(says)), "{file} does not say {says}");
        for (file, text) in schedule::schedule(&pagila(), scheduler, &job("warehouse")).iter() {
            assert!(!text.contains("alert"), "{file}");
        }
    }
    let names = [
        (Watched::Lag, descriptor::Watched::Lag),
        (Watched::Backlog, descriptor::Watched::Backlog),
        (Watched::Unapplied, descriptor::Watched::Unapplied),
        (Watched::Duplicates, descriptor::Watched::Duplicates),
        (Watched::Quarantined, descriptor::Watched::Quarantined),
        (Watched::Age, descriptor::Watched::Age),
    ];
    for (here, there) in names {
        assert_eq!(here.name(), there.name());
    }
}

#[test]
fn cron_runs_then_tests_and_prints_what_did_not_end_well() {
    let (home, program) = program();
    let text = written(&[pagila()], Scheduler::Cron, &job(program.to_str().unwrap()));
    let text = fs::read_to_string(text.path().join("pagila.crontab")).unwrap();
    let line = text.lines().last().unwrap().strip_prefix("*/15 * * * * ").unwrap();
    // As cron does: a percent sign that is not escaped ends the command.
    let command = line.replace("\\%", "\u{0}");
    assert!(!command.contains('%'), "{line}");
    let command = command.replace('\u{0}', "%");
    let config = home.path().join(".config/medallion");
    fs::create_dir_all(&config).unwrap();
    let log = home.path().join("log");
    fs::write(config.join("pagila.env"), format!("LOG={}\n", log.display())).unwrap();
    let ended = |status: &str| {
        let output =
            Command::new("sh").args(["-c", &command]).env("HOME", home.path()).env("STATUS", status).output();
        let (asked, output) = (fs::read_to_string(&log).unwrap(), output.unwrap());
        fs::remove_file(&log).unwrap();
        (asked, said(&output))
    };
    let both = "--warehouse pagila run --wait 300\n--warehouse pagila test\n";
    assert_eq!(ended("0"), (both.to_owned(), String::new()));
    let (asked, printed) = ended("1");
    assert_eq!((asked.as_str(), printed.is_empty()), ("--warehouse pagila run --wait 300\n", false));
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("NOT TESTED with systemd: there is no systemd-analyze");
        return;
    }
    let (_folder, program) = program();
    for warehouse in specs() {
        let name = warehouse.name.clone();
        let folder = written(&[warehouse], Scheduler::Systemd, &job(program.to_str().unwrap()));
        let mut units: Vec<PathBuf> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        units.sort();
        let output =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().unwrap();
        // It reads the machine's own units along, and tells of those too.
        let own: Vec<String> =
            said(&output).lines().filter(|line| line.contains("medallion-")).map(str::to_owned).collect();
        assert!(output.status.success() && own.is_empty(), "{name}: {}", said(&output));
    }
}

#[test]
fn kubernetes_takes_the_cron_jobs() {
    let Some(python) = python("kubernetes") else { return };
    let folder = written(&specs(), Scheduler::Kubernetes, &job("warehouse"));
    let files: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let validate = python.with_file_name("kubernetes-validate");
    let output = Command::new(validate).args(["--strict", "-k", "1.31"]).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn dagster_takes_the_assets_and_runs_them() {
    let Some(python) = python("dagster") else { return };
    let (_folder, program) = program();
    let home = tempfile::tempdir().unwrap();
    let folder = written(&specs(), Scheduler::Dagster, &job(program.to_str().unwrap()));
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|path| (!path.ends_with("pagila.py"), path.clone()));
    let output = Command::new(python)
        .arg(root().join("tests/neighbours/load_dagster.py"))
        .args(&files)
        .env("DAGSTER_HOME", home.path())
        .env("DAGSTER_DISABLE_TELEMETRY", "yes")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    compare("dagster.txt", &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn airflow_takes_the_dags() {
    let Some(python) = python("airflow") else { return };
    let (_folder, program) = program();
    let home = tempfile::tempdir().unwrap();
    let folder = written(&specs(), Scheduler::Airflow, &job(program.to_str().unwrap()));
    let output = Command::new(python)
        .arg(root().join("tests/neighbours/load_airflow.py"))
        .arg(folder.path())
        .env("AIRFLOW_HOME", home.path())
        .env("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    compare("airflow.txt", &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn the_sources_for_dbt_are_as_reviewed() {
    for name in ["pagila", "ecommerce"] {
        let warehouse = loaded(&root().join("spec").join(name));
        compare(&format!("dbt/{name}.yml"), &dbt::schema(&warehouse));
    }
}

#[test]
fn dbt_takes_the_sources() {
    let Some(python) = python("dbt") else { return };
    let folder = tempfile::tempdir().unwrap();
    // It takes seconds for each.
    const TAKEN: [&str; 6] =
        ["data_tests", "ecommerce", "every_type", "keywords_as_names", "orders", "pagila"];
    let taken = specs().into_iter().filter(|one| TAKEN.contains(&one.name.as_str()));
    for warehouse in taken.chain([called_oddly()]) {
        let project = folder.path().join(&warehouse.name);
        fs::create_dir_all(project.join("models")).unwrap();
        fs::write(project.join("models/sources.yml"), dbt::schema(&warehouse)).unwrap();
    }
    let output = Command::new(python)
        .arg(root().join("tests/neighbours/load_dbt.py"))
        .arg(folder.path())
        .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    compare("dbt.txt", &String::from_utf8(output.stdout).unwrap());
}
