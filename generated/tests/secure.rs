//! TLS to both databases, held against a server with a certificate authority of its own, and that no password
//! gets out: of any verb, in any output, error, list of processes or file.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::script;
use medallion_server::{Scratch, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgConnection;

use crate::support::{compare, program};

/// Nobody writes this by accident.
const PASSWORD: &str = "hunter2-zq7xk9vw";

/// A certificate authority.
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that takes TLS only, at two addresses of which its certificate names one.
struct Fortress {
    server: Scratch,
    named: String,
    unnamed: String,
    folder: PathBuf,
}

impl Fortress {
    async fn build() -> Self {
        let server = Server::scratch().unwrap();
        // Addresses of this process's own: the port is every server's.
        let process = std::process::id();
        let address = |last: u32| format!("127.{}.{}.{last}", 1 + process / 250 % 250, 1 + process % 250);
        let (named, unnamed) = (address(1), address(2));
        let folder = std::env::temp_dir().join(format!("medallion-secure-{process}"));
        fs::create_dir_all(&folder).unwrap();
        let (own, other) = (authority("own"), authority("other"));
        fs::write(folder.join("ca.pem"), own.pem()).unwrap();
        fs::write(folder.join("other.pem"), other.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![named.clone()]).unwrap().signed_by(&key, &own).unwrap();

        server.ensure_database("secure_source").unwrap();
        server.ensure_database("secure_warehouse").unwrap();
        let mut session = connection::connect(Database::Source, &server.url("secure_source")).await.unwrap();
        server_file(&mut session, "server.crt", &certificate.pem()).await;
        server_file(&mut session, "server.key", &key.serialize_pem()).await;
        let rules = "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256";
        server_file(&mut session, "pg_hba.conf", rules).await;
        for sql in [
            &format!("CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '{PASSWORD}'"),
            &format!("ALTER SYSTEM SET listen_addresses = '{named},{unnamed}'"),
            "ALTER SYSTEM SET ssl = on",
            "ALTER SYSTEM SET ssl_cert_file = 'server.crt'",
            "ALTER SYSTEM SET ssl_key_file = 'server.key'",
            // From here on, whatever is said to the server would stand in its log.
            "ALTER SYSTEM SET log_statement = 'all'",
        ] {
            compare::execute(&mut session, sql).await;
        }
        server.stop().unwrap();
        server.start().unwrap();
        let schema = warehouse::pagila::warehouse().scripts.source.expect("Pagila brings its source");
        script::execute(Database::Source, &server.url("secure_source"), "source.sql", schema).await.unwrap();
        Self { server, named, unnamed, folder }
    }

    fn url(&self, host: &str, database: &str, settings: &str) -> String {
        format!("postgresql://keeper:{PASSWORD}@{host}:5432/{database}?{settings}")
    }

    fn settings(&self, mode: &str, authority: &str) -> String {
        format!("sslmode={mode}&sslrootcert={}", self.folder.join(authority).display())
    }

    /// Runs a verb on both databases under these settings.
    fn run(&self, host: &str, settings: &str, arguments: &[&str]) -> Output {
        let source = self.url(host, "secure_source", settings);
        let warehouse = self.url(host, "secure_warehouse", settings);
        run(&source, &warehouse, arguments)
    }
}

impl Drop for Fortress {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Writes a file where the server keeps its data, as the server, for nobody else to read.
async fn server_file(session: &mut PgConnection, name: &str, text: &str) {
    let sql = format!(
        "COPY (SELECT line FROM unnest(string_to_array('{}', E'\\n')) AS line)
        TO PROGRAM 'umask 077; cat > {name}'",
        text.trim()
    );
    compare::execute(session, &sql).await;
}

/// Runs a verb, with an eye on what the list of processes shows of it.
fn run(source: &str, warehouse: &str, arguments: &[&str]) -> Output {
    let child = program::command_on(source, warehouse, arguments).stdin(Stdio::null()).spawn().unwrap();
    let listed = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    let output = if arguments == ["watch"] { stopped(child) } else { child.wait_with_output().unwrap() };
    for shown in [&listed, &output.stdout, &output.stderr] {
        let shown = String::from_utf8_lossy(shown);
        assert!(!shown.contains(PASSWORD), "{arguments:?} shows the password: {shown}");
    }
    output
}

/// What a watch says, which waits for a server that is gone until it is told to stop.
fn stopped(mut child: Child) -> Output {
    let mut said = Vec::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while lines.read_until(b'\n', &mut said).unwrap() > 0 {
        if String::from_utf8_lossy(&said).contains("waiting, and trying again") {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            break;
        }
    }
    lines.read_to_end(&mut said).unwrap();
    Output { stderr: said, ..child.wait_with_output().unwrap() }
}

/// Whether any file below a folder holds the password; the server's own hash of it does not.
fn holds_password(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holds_password(&path));
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()))
        {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_verified_and_no_password_gets_out() {
    let fortress = Fortress::build().await;
    let full = fortress.settings("verify-full", "ca.pem");
    let named = fortress.named.as_str();

    let verbs: [&[&str]; 8] = [
        &["migrate", "up"],
        &["source", "check"],
        &["run"],
        &["simulate", "--rounds", "1"],
        &["run"],
        &["migrate", "status"],
        &["query", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"],
        &["source", "prepare", "--dry-run"],
    ];
    for verb in verbs {
        let output = fortress.run(named, &full, verb);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{verb:?}: {}", program::stderr(&output));
    }
    let output = fortress.run(named, &full, verbs[6]);
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(answer.contains('t'), "the session is not encrypted: {answer}");

    // Whoever answers has to be who was asked for.
    let other = fortress.settings("verify-full", "other.pem");
    let lost = fortress.settings("verify-full", "lost.pem");
    let refusals = [
        (named, other.as_str(), "not by an authority that is trusted"),
        (fortress.unnamed.as_str(), full.as_str(), "is for another name than the host in"),
        (named, "sslmode=verify-full", "not by an authority that is trusted"),
        (named, lost.as_str(), "sslrootcert"),
        (named, "sslmode=disable", "pg_hba.conf"),
    ];
    for (host, settings, remedy) in refusals {
        let output = fortress.run(host, settings, &["run"]);
        let said = program::stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{settings}: {said}");
        assert!(
            said.contains("error: cannot connect to the warehouse at 127.") && said.contains(remedy),
            "{settings}: {said}"
        );
    }
    let ca_only = fortress.settings("verify-ca", "ca.pem");
    let output = fortress.run(&fortress.unnamed, &ca_only, &["query", "SELECT 1"]);
    assert!(output.status.success(), "an authority's word is enough: {}", program::stderr(&output));

    // Every way to go wrong, with the password at hand.
    let nowhere = fortress.url("127.0.0.1:1", "secure_source", "").replace(":5432", "");
    let right = fortress.url(named, "secure_warehouse", &full);
    let mistakes = [
        nowhere.clone(),
        fortress.url(named, "no_such_database", &full),
        fortress.url(named, "secure_source", &full).replace("keeper:", "nobody:"),
        fortress.url(named, "secure_source", "sslmode=sometimes"),
        fortress.url(named, "secure_source", &full).replace("postgresql://", "mysql://"),
        fortress.url(named, "secure_source", &full).replace(":5432", ":port"),
    ];
    let all: [&[&str]; 11] = [
        &["run"],
        &["status"],
        &["migrate", "up"],
        &["migrate", "fresh", "--yes"],
        &["migrate", "down", "--yes"],
        &["simulate", "--rounds", "1"],
        &["source", "check"],
        &["source", "drop"],
        &["source", "resnapshot", "--yes"],
        &["watch"],
        &["query", "SELECT 1"],
    ];
    for mistake in &mistakes {
        for verb in all {
            run(mistake, mistake, verb);
        }
        let output = run(mistake, &right, &["run"]);
        assert_eq!(output.status.code(), Some(2), "{}", program::stderr(&output));
    }

    let kept: i64 = {
        let url = fortress.server.url("secure_warehouse");
        let mut session = connection::connect(Database::Warehouse, &url).await.unwrap();
        let sql = format!(
            "SELECT count(*) FROM medallion.pipeline_metadata AS run WHERE run::text LIKE '%{PASSWORD}%'"
        );
        compare::value(&mut session, &sql).await.parse().unwrap()
    };
    assert_eq!(kept, 0);
    // What the test itself told the server: the role's password, and the question above.
    let log = fs::read_to_string(fortress.server.log_file()).unwrap_or_default();
    let told: Vec<&str> =
        log.lines().filter(|line| line.contains(PASSWORD) && !line.contains("LIKE '%")).collect();
    assert_eq!(told, Vec::<&str>::new());
    assert_eq!(holds_password(&fortress.folder), Vec::<PathBuf>::new());
}
