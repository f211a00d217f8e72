//! The compiled `warehouse` binary as another process: started on a shop, watched by what its sessions are
//! doing, ended by a signal.

use std::collections::BTreeSet;
use std::process::{Child, Command, Output, Stdio};

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

/// A run of the pipeline, in the binary, under way.
pub struct Running {
    child: Child,
    seen: BTreeSet<(i32, String)>,
}

impl Running {
    pub fn start(shop: &Shop) -> Self {
        Self { child: command(shop, &["run"]).spawn().unwrap(), seen: BTreeSet::new() }
    }

    /// Waits until the program's sessions have been seen at so many steps, or it has ended. A step is a
    /// statement, or so many more rows of a COPY: progress, whatever time it takes on this machine.
    pub async fn reach(&mut self, steps: usize, watch: &mut PgConnection) {
        while self.seen.len() < steps && self.child.try_wait().unwrap().is_none() {
            let rows = sqlx::query(
                "SELECT activity.pid, left(query, 200), coalesce(tuples_processed, 0) / $1
                FROM pg_stat_activity AS activity
                LEFT JOIN pg_stat_progress_copy AS copy ON copy.pid = activity.pid
                WHERE application_name = 'medallion' AND state = 'active' AND client_port IS NOT NULL
                AND activity.pid <> pg_backend_pid()",
            )
            .bind(COPIED)
            .fetch_all(&mut *watch)
            .await
            .unwrap();
            for row in rows {
                let (query, copied): (String, i64) = (row.get(1), row.get(2));
                self.seen.insert((row.get(0), format!("{copied} {query}")));
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
