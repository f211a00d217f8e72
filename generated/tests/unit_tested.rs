//! The unit tests of logic: Pagila's own pass; what fails is shown as a diff, and what is written wrong is shown where it
//! stands. The cases are the files in `unit_tested/`, each beside what is said of it; `MEDALLION_UPDATE=1` rewrites
//! that.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use medallion_runtime::unit_test::{self, Bench, Status};
use medallion_server::Server;
use sqlx::{Connection as _, PgConnection};

use crate::support::compare;
use crate::support::program::command_on;

const PAGILA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/pagila/tests");

/// A server where nothing of a warehouse is: a database for a while is all that is needed.
fn url() -> String {
    Server::shared_scratch().unwrap().url("template1")
}

#[tokio::test]
async fn pagilas_logic_is_as_it_is_told() {
    let warehouse = warehouse::pagila::warehouse();
    let tested = unit_test::run(&warehouse, &[PAGILA.into()], Some(&url()), &|_| true, |_, _, _| ())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(tested.len() > 7, "{tested:#?}");
    let wrong: Vec<_> = tested.iter().filter(|one| one.status != Status::Passed).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_is_wrong_is_shown_where_it_stands() {
    let warehouse = warehouse::pagila::warehouse();
    let mut bench = Bench::make(&warehouse, Some(&url())).await.unwrap_or_else(|error| panic!("{error}"));
    let folder = Path::new("tests/unit_tested");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    cases.sort();
    let mut different = Vec::new();
    for case in &cases {
        let outcome = bench.run(std::slice::from_ref(case), &|_| true, |_, _, _| ()).await;
        let said = match outcome {
            Err(error) => format!("{error}\n"),
            Ok(tested) => tested.iter().fold(String::new(), |mut said, one| {
                let _ = writeln!(said, "{:?} {}", one.status, one.name);
                let _ = writeln!(said, "{}: {}", one.place, one.message.as_deref().unwrap_or_default());
                said + &one.diff.iter().map(|line| format!("{line}\n")).collect::<String>()
            }),
        };
        different.extend(compared(&case.with_extension("txt"), &said));
    }
    bench.drop().await.unwrap_or_else(|error| panic!("{error}"));
    compare::assert_none("messages (MEDALLION_UPDATE=1 rewrites the files)", &different);
}

#[tokio::test]
async fn the_command_says_so_and_leaves_nothing_behind() {
    let server = Server::scratch().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().to_str().unwrap();
    let url = server.url("postgres");
    let arguments =
        ["test", "--unit", "--unit-tests", "tests/unit_tested/failing.toml", "--results", results];
    let output = command_on(&url, &url, &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("1 of 3 FAIL a name that is spelt otherwise ["), "{said}");
    assert!(said.ends_with("3 unit tests: 2 failed, 1 could not be run\n"), "{said}");
    let json = fs::read_to_string(folder.path().join("run_results.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["results"][0]["status"], "fail", "{json}");
    assert_eq!(json["results"][0]["unique_id"], "unit_test.pagila.a name that is spelt otherwise", "{json}");
    assert_eq!(json["results"][2]["status"], "error", "{json}");
    let junit = fs::read_to_string(folder.path().join("junit.xml")).unwrap();
    assert!(junit.contains("failures=\"2\" errors=\"1\""), "{junit}");

    let mut connection = PgConnection::connect(&url).await.unwrap();
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'medallion%'";
    assert_eq!(compare::value(&mut connection, left).await, "0");
}

fn compared(path: &Path, said: &str) -> Option<String> {
    if env::var_os("MEDALLION_UPDATE").is_some_and(|value| value == "1") {
        fs::write(path, said).unwrap();
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<String>>();
    compare::difference(&path.display().to_string(), &lines(&expected), &lines(said))
}
