//! The prompt of `query`, through a pseudo terminal: questions over several lines, completion, commands, errors
//! that end nothing, Ctrl-C that stops the server's work, and a history for the next time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use medallion_server::Server;
use rexpect::session::{PtySession, spawn_command};

use crate::support::program::command;
use crate::support::{Shop, compare};

/// How long anything may take before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(120);

const SLEEPERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep(3600)%'
    AND pid <> pg_backend_pid()";

#[tokio::test]
async fn a_prompt_answers_completes_and_survives() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open_as_is(server, "prompt").await;
    shop.migrate().await;
    let state = std::env::temp_dir().join(format!("medallion_prompt_{}", std::process::id()));

    let mut terminal = open(&shop, &state);
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "SELECT 20 + 3 AS sum,");
    enter(&mut terminal, "';' AS point;");
    see(&mut terminal, "(1 row)");
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "SELECT no_such_column;");
    see(&mut terminal, "\"no_such_column\" does not exist");
    ready(&mut terminal, "pagila> ");
    // The rest of the name is the prompt's to know.
    enter(&mut terminal, "SELECT count(*) AS days FROM vw_store_\t;");
    see(&mut terminal, "scorecard");
    see(&mut terminal, "(1 row)");
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "\\as-of yesteryear");
    see(&mut terminal, "`yesteryear` is not a time");
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "\\as-of 2025-07-01");
    ready(&mut terminal, "pagila as of 2025-07-01> ");
    enter(&mut terminal, "SELECT 'then' || medallion.as_of_time();");
    see(&mut terminal, "then2025-07-01 00:00:00+00");
    ready(&mut terminal, "pagila as of 2025-07-01> ");
    enter(&mut terminal, "\\as-of off");
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "\\d dim_film");
    see(&mut terminal, "replacement_cost");
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "\\nonsense");
    see(&mut terminal, "`\\nonsense` is no command");
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "\\format csv");
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "SELECT 1 AS one, 2 AS two;");
    see(&mut terminal, "one,two");
    see(&mut terminal, "1,2");
    ready(&mut terminal, "pagila> ");

    enter(&mut terminal, "SELECT pg_sleep(3600);");
    until(&mut shop, "1").await;
    terminal.send_control('c').unwrap();
    see(&mut terminal, "interrupted");
    until(&mut shop, "0").await;
    ready(&mut terminal, "pagila> ");
    // A session that the server ends is replaced.
    enter(&mut terminal, "SELECT pg_terminate_backend(pg_backend_pid());");
    see(&mut terminal, "error: ");
    ready(&mut terminal, "pagila> ");
    terminal.send("SELECT of which nothing comes").unwrap();
    terminal.flush().unwrap();
    terminal.send_control('c').unwrap();
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "SELECT 'still ' || 'here' AS it;");
    see(&mut terminal, "still here");
    ready(&mut terminal, "pagila> ");
    terminal.send_control('d').unwrap();
    terminal.exp_eof().unwrap();

    let history = state.join("medallion/query_history");
    let mode = fs::metadata(&history).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "the history is its reader's alone: {mode:o}");
    let mut terminal = open(&shop, &state);
    ready(&mut terminal, "pagila> ");
    terminal.send("\x1b[A\r").unwrap();
    terminal.flush().unwrap();
    see(&mut terminal, "still here\r\n");
    ready(&mut terminal, "pagila> ");
    enter(&mut terminal, "\\q");
    terminal.exp_eof().unwrap();
    fs::remove_dir_all(&state).unwrap();
}

fn open(shop: &Shop, state: &std::path::Path) -> PtySession {
    let mut command = command(shop, &["query"]);
    command.env("XDG_STATE_HOME", state).env("TERM", "xterm");
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    spawn_command(command, u64::try_from(PATIENCE.as_millis()).ok()).unwrap()
}

#[track_caller]
fn see(terminal: &mut PtySession, text: &str) {
    if let Err(error) = terminal.exp_string(text) {
        panic!("`{text}` is not seen: {error}");
    }
}

/// The prompt stands and listens: what is sent before is lost when the terminal changes its mode.
#[track_caller]
fn ready(terminal: &mut PtySession, sign: &str) {
    see(terminal, "\u{1b}[?2004h");
    see(terminal, sign);
}

/// A line, and the key that ends it: raw terminals send a carriage return.
fn enter(terminal: &mut PtySession, line: &str) {
    terminal.send(line).unwrap();
    terminal.send("\r").unwrap();
    terminal.flush().unwrap();
}

/// Waits until so many sessions sleep.
async fn until(shop: &mut Shop, sleepers: &str) {
    let began = Instant::now();
    while compare::value(&mut shop.warehouse, SLEEPERS).await != sleepers {
        assert!(began.elapsed() < PATIENCE, "{sleepers} sessions never slept");
    }
}
