//! `psql` on a database of the server: for its user, and for the two statements that the server itself needs.
//! Knows addresses and quoting; starts no server.

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Error, failure, installation};

/// The longest name that PostgreSQL keeps whole, in bytes.
const LONGEST_NAME: usize = 63;

/// `psql`, of the server's own installation if it has one.
pub fn program(beside_the_server: Option<PathBuf>) -> Result<PathBuf, Error> {
    beside_the_server
        .filter(|path| path.is_file())
        .or_else(|| installation::on_path("psql"))
        .ok_or(Error::NoPsql)
}

/// `psql` for its user: with their settings, their terminal and their arguments.
pub fn interactive(program: &PathBuf, url: &str, arguments: &[OsString]) -> Command {
    let mut command = Command::new(program);
    command.arg("--dbname").arg(url).args(arguments);
    command
}

/// Runs one statement and returns its only value, or what the server said against it.
pub fn statement(program: &PathBuf, url: &str, sql: &str) -> Result<String, Error> {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    let output = command
        .args(["--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only"])
        .args(["--set", "ON_ERROR_STOP=1", "--dbname", url, "--command", sql])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Program { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(Error::Database {
        action: "reach",
        name: "postgres".to_owned(),
        reason: failure::reason(&String::from_utf8_lossy(&output.stderr)),
    })
}

/// Runs a script in one transaction and returns the rows that it gives, a line each; or what the server said
/// against it.
pub fn script(program: &PathBuf, url: &str, sql: &str) -> Result<Result<String, String>, Error> {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.env("PGOPTIONS", "--client-min-messages=warning");
    piped(program, command, url, sql)
}

/// The same with a command that has its environment. The script goes by standard input: it may be longer than an
/// argument can be.
pub fn piped(
    program: &Path,
    mut command: Command,
    url: &str,
    sql: &str,
) -> Result<Result<String, String>, Error> {
    let failed = |source| Error::Program { program: program.to_owned(), source };
    let mut child = command
        .args([
            "--no-psqlrc",
            "--no-password",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "--single-transaction",
        ])
        .args(["--set", "ON_ERROR_STOP=1", "--dbname", url, "--file", "-"])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut input = child.stdin.take().expect("its standard input is a pipe");
    let text = sql.to_owned();
    // Beside the reading of its output, so that neither waits for the other. That it stops reading at an error is
    // no failure of its own.
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().map_err(failed)?;
    let _ = writer.join();
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The address of a database that is reached by a socket in this folder.
pub fn url(socket_folder: &Path, port: u16, user: &str, database: &str) -> String {
    use std::os::unix::ffi::OsStrExt;
    format!(
        "postgresql:///{}?host={}&port={port}&user={user}&sslmode=disable",
        encoded(database.as_bytes()),
        encoded(socket_folder.as_os_str().as_bytes())
    )
}

/// That the name can be a database's, whole and unchanged.
pub fn check_name(name: &str) -> Result<(), Error> {
    let reason = match name {
        "" => "it is empty",
        _ if name.contains('\0') => "it holds a zero byte",
        _ if name.len() > LONGEST_NAME => "it is longer than 63 bytes",
        _ => return Ok(()),
    };
    Err(Error::DatabaseName { name: name.to_owned(), reason })
}

/// An identifier as SQL writes it.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it, whatever the setting of `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn encoded(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(*byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_any_name() {
        assert_eq!(
            url(Path::new("/tmp/a b"), 5432, "medallion", "größe&x"),
            "postgresql:///gr%C3%B6%C3%9Fe%26x?host=%2Ftmp%2Fa%20b&port=5432&user=medallion&sslmode=disable"
        );
    }

    #[test]
    fn names_are_quoted_or_refused() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's \\"), "E'it''s \\\\'");
        assert!(check_name("").is_err());
        assert!(check_name("a\0b").is_err());
        assert!(check_name(&"é".repeat(32)).is_err());
        assert!(check_name("order by; --").is_ok());
    }
}
