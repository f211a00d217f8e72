//! A project of one's own: begun by the tool outside this repository, over tables that nobody here had in mind, built,
//! and taken from nothing through two evolutions. Nothing in it is written by hand but what its spec is changed by.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use medallion_server::Server;
use tempfile::TempDir;

/// A clinic: keys that are no numbers, a key of two columns, names that have to be quoted.
const CLINIC: &str = r#"
CREATE SCHEMA clinic;
CREATE TYPE clinic.outcome AS ENUM ('well', 'referred');
CREATE TABLE clinic.patient (
    patient_no uuid PRIMARY KEY,
    "full name" text NOT NULL,
    born date,
    ward text NOT NULL
);
CREATE TABLE clinic.visit (
    patient_no uuid NOT NULL REFERENCES clinic.patient,
    visited_at timestamptz NOT NULL,
    minutes smallint NOT NULL,
    outcome clinic.outcome,
    PRIMARY KEY (patient_no, visited_at)
);
INSERT INTO clinic.patient
SELECT md5(n::text)::uuid, 'patient ' || n, date '1950-01-01' + n, 'north' FROM generate_series(1, 20) AS n;
INSERT INTO clinic.visit
SELECT md5((1 + n % 20)::text)::uuid, timestamptz '2026-03-01 08:00+00' + n * interval '5 hours', 10 + n % 30, 'well'
FROM generate_series(1, 200) AS n;
"#;

/// A project in a folder of its own, its warehouse on databases of its own.
struct Project {
    folder: PathBuf,
    source: Option<String>,
    warehouse: String,
    _temporary: TempDir,
}

impl Project {
    /// Begins it, over a database with these tables or with the tool's sample.
    fn begin(name: &str, tables: Option<&str>) -> Self {
        let server = Server::shared_scratch().unwrap();
        let temporary = TempDir::new().unwrap();
        let source = tables.map(|sql| {
            let database = format!("{name}_source");
            server.ensure_database(&database).unwrap();
            execute(&database, sql);
            server.url(&database)
        });
        let database = format!("{name}_warehouse");
        server.ensure_database(&database).unwrap();
        let folder = temporary.path().join(name);
        let project = Self { folder, source, warehouse: server.url(&database), _temporary: temporary };
        let begun = project.tool(project._temporary.path(), &["new", name]);
        assert_eq!(begun.status.code(), Some(0), "{begun:?}");
        // A spec that was drawn up is a draft.
        let told = String::from_utf8_lossy(&begun.stdout);
        assert_eq!(told.contains("medallion generate --squash"), tables.is_some(), "{told}");
        project
    }

    fn tool(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = tool(folder, arguments);
        command.env("MEDALLION_WAREHOUSE_BINARY", self.folder.join("target/debug/warehouse"));
        command.env("DATABASE_URL", &self.warehouse);
        if let Some(source) = &self.source {
            command.env("SOURCE_DATABASE_URL", source);
        }
        command.output().unwrap()
    }

    /// Runs a verb that has to end well; what it answers.
    fn does(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.tool(&self.folder, arguments);
        let (answered, said) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(0), "{arguments:?}\n{answered}\n{said}");
        answered.into_owned()
    }

    /// What one question answers, without its header.
    fn ask(&self, sql: &str) -> String {
        let answer = self.does(&["query", "--format", "csv", sql]);
        answer.lines().skip(1).collect::<Vec<_>>().join("\n")
    }

    /// Compiles it. What others have compiled here is taken over; the binary is the project's alone.
    fn build(&self) {
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--offline", "--quiet", "--bin", "warehouse"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("CARGO_BUILD_BUILD_DIR", shared)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }

    /// Its warehouse's binary at watch, as another process, until it leaves by itself.
    fn watch(&self) -> Watch {
        let said = self.folder.join("watch.log");
        let child = Command::new(self.folder.join("target/debug/warehouse"))
            .arg("watch")
            .current_dir(&self.folder)
            .env("DATABASE_URL", &self.warehouse)
            .env("SOURCE_DATABASE_URL", self.source.as_ref().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        Watch { child, said }
    }

    /// Changes its spec, and does what follows from that.
    fn evolve(&self, name: &str, change: impl FnOnce(String) -> String) {
        let spec = self.folder.join(format!("spec/{name}/spec.toml"));
        let before = fs::read_to_string(&spec).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "the spec is not what the change expects");
        fs::write(&spec, after).unwrap();
        for verb in [&["check"][..], &["plan"], &["generate"], &["generate", "--check"]] {
            self.does(verb);
        }
        self.build();
        self.does(&["migrate", "up"]);
        self.does(&["run"]);
        self.does(&["verify"]);
    }
}

/// How long anything may take on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(60);

/// A watch under way, and where it says what it does.
struct Watch {
    child: Child,
    said: PathBuf,
}

impl Watch {
    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Waits until something holds.
    fn until(&self, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < DEADLINE, "it never does: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it has left; how, and all that it has said.
    fn left(mut self) -> (ExitStatus, String) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.said());
            }
            assert!(started.elapsed() < DEADLINE, "it never leaves: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A test that fails leaves none behind.
impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medallion"));
    command.current_dir(folder).args(arguments);
    for variable in ["MEDALLION_SPEC", "MEDALLION_WAREHOUSE", "DATABASE_URL", "SOURCE_DATABASE_URL"] {
        command.env_remove(variable);
    }
    command
}

fn execute(database: &str, sql: &str) {
    let server = Server::shared_scratch().unwrap();
    server.script(database, sql).unwrap().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_project_over_unknown_tables_lives_and_evolves() {
    let clinic = Project::begin("clinic", Some(CLINIC));
    clinic.build();
    clinic.does(&["migrate", "up"]);
    clinic.does(&["run"]);
    assert_eq!(clinic.ask("SELECT count(*), count(DISTINCT ward) FROM dim_patient"), "20,1");
    assert_eq!(clinic.ask("SELECT count(*), sum(minutes) FROM fact_visit"), "200,4820");

    // The source goes on, and gets a column that the warehouse does not know yet; bronze keeps it all the same.
    execute(
        "clinic_source",
        "UPDATE clinic.patient SET ward = 'south' WHERE \"full name\" = 'patient 7';
         ALTER TABLE clinic.patient ADD COLUMN insurer text;
         UPDATE clinic.patient SET insurer = 'mutual' WHERE \"full name\" IN ('patient 7', 'patient 8');
         DELETE FROM clinic.visit WHERE minutes = 10",
    );
    clinic.does(&["run"]);
    assert_eq!(clinic.ask("SELECT count(*) FROM dim_patient_hist"), "21");

    // Another process watches, built of the spec of before.
    let watch = clinic.watch();
    let minutes = || clinic.ask("SELECT sum(minutes) FROM fact_visit");
    let before = minutes();
    execute("clinic_source", "UPDATE clinic.visit SET minutes = minutes + 1");
    watch.until(|| minutes() != before);
    clinic.evolve("clinic", |spec| {
        spec + r#"
[[mart]]
name = "ward_minutes"
storage = "incremental"
from = { visit = "fact_visit" }
grain = [{ name = "month", of = "visit.visited_at", cut = "month" }]
measures = [
    { name = "minutes", type = "bigint", of = "visit", expr = "sum(minutes)" },
    { name = "visits", type = "bigint", of = "visit", expr = "count(*)" },
]
"#
    });
    let total = "SELECT sum(minutes), sum(visits) FROM";
    let visited = clinic.ask("SELECT sum(minutes), count(*) FROM fact_visit");
    assert_eq!(clinic.ask(&format!("{total} ward_minutes")), visited);
    // It made way, found another shape than its own, and left.
    let (status, said) = watch.left();
    assert_eq!(status.code(), Some(2), "{said}");
    for text in [
        "making way for another run or migration",
        "error: the database's objects are not those that this binary was built for",
        "run `medallion migrate up`",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }

    clinic.evolve("clinic", |spec| {
        let ward = "{ name = \"ward\", type = \"text\" },\n";
        let insurer = "    { name = \"insurer\", type = \"text\", null = true, backfill = \"bronze\" },\n";
        spec.replacen(ward, &format!("{ward}{insurer}"), 1)
    });
    // Its past is there, as if it had always been known.
    assert_eq!(
        clinic
            .ask("SELECT insurer FROM dim_patient_hist WHERE \"full name\" = 'patient 8' ORDER BY sys_start"),
        "\nmutual"
    );
    clinic.does(&["test"]);
    clinic.does(&["migrate", "verify"]);
}

#[test]
fn a_project_without_tables_has_a_sample_and_its_demo() {
    let shop = Project::begin("shop", None);
    shop.build();
    let told = shop.does(&["demo"]);
    assert!(told.contains("Ada    Braga") && told.contains("1372.00"), "{told}");
    shop.does(&["db", "stop"]);
}

#[test]
fn a_build_that_takes_its_time_is_told() {
    let folder = TempDir::new().unwrap();
    let begun = tool(folder.path(), &["new", "shop"]).output().unwrap();
    assert_eq!(begun.status.code(), Some(0), "{begun:?}");
    let shop = folder.path().join("shop");
    // It has been built before; what stands for cargo builds until its input ends.
    fs::create_dir_all(shop.join("target/debug")).unwrap();
    fs::write(shop.join("target/debug/warehouse"), "").unwrap();
    let cargo = folder.path().join("cargo");
    fs::write(&cargo, "#!/bin/sh\nread -r _\nexit 1\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut status = tool(&shop, &["status"])
        .env("CARGO", &cargo)
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(status.stderr.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "building the warehouse anew");
    drop(status.stdin.take());
    assert_eq!(said.next().unwrap().unwrap(), "error: the warehouse does not build");
    assert_eq!(status.wait().unwrap().code(), Some(2));
}

#[test]
fn what_stands_is_not_touched() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let refused = tool(folder.path(), &["new", "."]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not empty"), "{refused:?}");
    for elsewhere in [&["new", "notes.txt"][..], &["new", "shop", "--medallion", "nowhere"]] {
        assert_eq!(tool(folder.path(), elsewhere).output().unwrap().status.code(), Some(2), "{elsewhere:?}");
    }
    let there: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(there.len(), 1, "{there:?}");
}

#[test]
fn with_a_repository_others_can_build_it() {
    let folder = TempDir::new().unwrap();
    let url = "https://git.example/medallion.git";
    let begun = tool(folder.path(), &["new", "shop", "--medallion", url]).output().unwrap();
    assert_eq!(begun.status.code(), Some(0), "{begun:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join("shop").join(name)).unwrap();
    assert!(read("Cargo.toml").contains(&format!("medallion-runtime = {{ git = \"{url}\" }}")));
    let workflow = read(".github/workflows/warehouse.yml");
    assert!(!workflow.contains("cargo build"), "the tool is no package of this project");
    assert!(workflow.contains(&format!("--git {url} --root")));
}
