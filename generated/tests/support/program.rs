//! The compiled `warehouse` binary as another process: started on a shop, watched by what its sessions are
//! doing, ended by a signal.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{PgConnection, Row as _};

use super::Shop;

/// Rows of a COPY after which it counts as another step.
const COPIED: i64 = 2_000;

/// A command of the binary on a shop's two databases.
pub fn command(shop: &Shop, arguments: &[&str]) -> Command {
    command_on(&shop.place.source, &shop.place.warehouse, arguments)
}

/// A command of the binary on two databases.
pub fn command_on(source: &str, warehouse: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warehouse"));
    command
        .args(arguments)
        .env("SOURCE_DATABASE_URL", source)
        .env("DATABASE_URL", warehouse)
        .env_remove("MEDALLION_WAREHOUSE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a program that has ended said on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What was said, without what only a source from PostgreSQL 18 on is told.
pub fn as_before_18(said: &str) -> String {
    said.replace(", publish_generated_columns = stored", "")
}

/// A run of the pipeline, in the binary, under way.
pub struct Running {
    child: Child,
    seen: BTreeSet<(usize, i32, String)>,
}

impl Running {
    pub fn start(shop: &Shop) -> Self {
        Self { child: command(shop, &["run"]).spawn().unwrap(), seen: BTreeSet::new() }
    }

    /// Waits until the program's sessions have been seen at so many steps, or it has ended. A step is a
    /// statement, or so many more rows of a COPY: progress, whatever time it takes on this machine.
    pub async fn reach(&mut self, steps: usize, watches: &mut [PgConnection]) {
        while self.seen.len() < steps && self.child.try_wait().unwrap().is_none() {
            for (server, watch) in watches.iter_mut().enumerate() {
                let rows = sqlx::query(
                    "SELECT activity.pid, left(query, 200), coalesce(tuples_processed, 0) / $1
                    FROM pg_stat_activity AS activity
                    LEFT JOIN pg_stat_progress_copy AS copy ON copy.pid = activity.pid
                    WHERE application_name = 'medallion' AND state = 'active' AND client_port IS NOT NULL
                    AND activity.pid <> pg_backend_pid()",
                )
                .bind(COPIED)
                .fetch_all(watch)
                .await
                .unwrap();
                for row in rows {
                    let (query, copied): (String, i64) = (row.get(1), row.get(2));
                    self.seen.insert((server, row.get(0), format!("{copied} {query}")));
                }
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // One that has just ended needs none.
        let _ = kill_process(pid, signal);
    }

    pub fn wait(self) -> Output {
        self.child.wait_with_output().unwrap()
    }
}

/// How long anything may take on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(60);

/// A watch, in the binary, under way; what it says is kept as it says it.
pub struct Watching {
    child: Child,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Watching {
    pub fn start(shop: &Shop) -> Self {
        Self::begin(&mut command(shop, &["watch", "--metrics", "0"]))
    }

    /// By a command of its own.
    pub fn begin(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let heard = Arc::clone(&said);
        let listener = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *heard.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, said, listener: Some(listener) }
    }

    /// All that it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said something.
    pub async fn says(&mut self, text: &str) {
        let started = Instant::now();
        while !self.said().contains(text) {
            assert!(started.elapsed() < DEADLINE, "it never said `{text}`: {}", self.said());
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() || self.said().contains(text), "it ended: {}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a question about the warehouse is answered with true; servers may come and go meanwhile.
    pub async fn until(&self, url: &str, question: &str) {
        let started = Instant::now();
        while !holds(url, question).await {
            assert!(started.elapsed() < DEADLINE, "never: {question}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it serves over HTTP.
    pub async fn get(&mut self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        self.says("serving http://").await;
        let said = self.said();
        let (_, rest) = said.split_once("serving http://").unwrap();
        let (address, _) = rest.split_once('/').unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits until it has ended; how, what it said, and how long that took.
    pub fn wait(mut self) -> (ExitStatus, String, Duration) {
        let started = Instant::now();
        let status = self.child.wait().unwrap();
        self.listener.take().map(JoinHandle::join);
        (status, self.said(), started.elapsed())
    }
}

/// A test that fails leaves none behind.
impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn holds(url: &str, question: &str) -> bool {
    use sqlx::Connection as _;
    let Ok(mut session) = PgConnection::connect(url).await else { return false };
    let answer = sqlx::query_scalar(sqlx::AssertSqlSafe(question.to_owned())).fetch_one(&mut session).await;
    let _ = session.close().await;
    answer.unwrap_or(false)
}
