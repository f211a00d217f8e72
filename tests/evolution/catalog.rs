//! What a database holds, as text, by name: tables' columns in the order of their names, all else as it is defined.

use std::io::Write as _;
use std::process::Command;

use medallion::cli::catalog::lines;
use medallion::emit;

/// Runs SQL in one transaction, but for what runs each by itself.
pub fn psql(url: &str, sql: &str) -> String {
    try_psql(url, sql).unwrap_or_else(|error| panic!("{error}"))
}

/// The same; or what the server said.
pub fn try_psql(url: &str, sql: &str) -> Result<String, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(emit::for_psql(sql).as_bytes()).unwrap();
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .args(["--dbname", url, "--single-transaction", "--file"])
        .arg(file.path())
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Makes a database that is as another one, to which nobody is connected.
pub fn copy(url: &str, from: &str, to: &str) {
    let sql = format!("CREATE DATABASE {to} TEMPLATE {from}");
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", url, "--command", &sql])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Everything that the warehouse's schemas hold. The order of a table's columns is none of it: what is written
/// as `*` unfolds in that order, so that the lines of a function are compared in an order of their own. Partitions that
/// were made for rows are none of it either.
pub fn catalog(url: &str) -> String {
    const MADE: &str = "SELECT replace(relname, '\"', '\"\"') FROM pg_class WHERE relispartition AND relkind = 'r' AND relname ~ '_[0-9]{4}[0-9_wq]*$'";
    let made = psql(url, MADE);
    let hash = psql(url, "SELECT objects_hash FROM medallion.warehouse");
    let all = psql(url, &lines()) + &hash;
    let own = all.lines().filter(|line| !made.lines().any(|name| line.contains(name)));
    own.map(|line| format!("{line}\n")).collect()
}
