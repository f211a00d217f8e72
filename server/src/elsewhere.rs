//! `psql` on somebody else's database, by its URL: reads, changes nothing. A password goes by the environment, for
//! everybody on a machine sees arguments. Knows nothing of what is asked.

use std::process::Command;

use crate::{BINARIES_VARIABLE, Error, client};

/// What a session is pinned to: nothing is written, and no limit of the role's ends a question.
const SESSION: &str =
    "-c default_transaction_read_only=on -c statement_timeout=0 -c client_min_messages=warning";

/// What to do about a URL that is cut short.
pub const CUT_SHORT: &str =
    "write `/`, `?`, `#` and `@` of a user, a password or a database as %2F, %3F, %23 and %40";

/// Whether a password seems to end before its time, at a character that ends the host's name: what is left of it would be
/// taken for the name of a database, shown, and told to everybody on the machine.
pub fn is_cut_short(url: &str) -> bool {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let (place, fragment) = place.split_once('#').unwrap_or((place, ""));
    let (place, settings) = place.split_once('?').unwrap_or((place, ""));
    let database = place.split_once('/').map_or("", |(_, database)| database);
    let mut names = settings.split('&').map(|setting| setting.split('=').next().unwrap_or_default());
    database.contains('@') || fragment.contains('@') || names.any(|name| name.contains('@'))
}

/// Runs a script on the database and returns the rows that it gives, a line each; or what was said against it, by
/// the server or by `psql`.
///
/// # Errors
///
/// There is no `psql`, or it cannot be run.
pub fn ask(url: &str, sql: &str) -> Result<Result<String, String>, Error> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("postgres" | "postgresql")) {
        return Ok(Err("its URL is not one of PostgreSQL's".to_owned()));
    }
    if is_cut_short(url) {
        return Ok(Err(format!("its URL is not one of PostgreSQL's: {CUT_SHORT}")));
    }
    // It goes by no variable of the environment.
    if url.split(['?', '&']).any(|setting| setting.starts_with("sslpassword=")) {
        return Ok(Err("its URL has `sslpassword`, which all would see: take it off the key".to_owned()));
    }
    let (url, password) = apart(url);
    let named = std::env::var_os(BINARIES_VARIABLE).map(|folder| std::path::Path::new(&folder).join("psql"));
    let program = client::program(named)?;
    let mut command = Command::new(&program);
    command.env("PGOPTIONS", SESSION).env("PGAPPNAME", "medallion").env("PGCLIENTENCODING", "UTF8");
    if std::env::var_os("PGCONNECT_TIMEOUT").is_none() {
        command.env("PGCONNECT_TIMEOUT", "10");
    }
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    client::piped(&program, command, &url, sql)
}

/// The URL without its password, and the password.
fn apart(url: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let (rest, in_query) = without_parameter(rest);
    let authority = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..authority].rfind('@') else { return (format!("{scheme}://{rest}"), in_query) };
    let (user, password) = match rest[..at].split_once(':') {
        Some((user, password)) => (user, Some(decoded(password))),
        None => (&rest[..at], None),
    };
    // One that is given twice counts as the query has it.
    (format!("{scheme}://{user}{}", &rest[at..]), in_query.or(password))
}

/// What follows the scheme, without the query's password.
fn without_parameter(rest: &str) -> (String, Option<String>) {
    let Some((before, query)) = rest.split_once('?') else { return (rest.to_owned(), None) };
    let mut password = None;
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| match pair.strip_prefix("password=") {
            Some(given) => {
                password = Some(decoded(given));
                false
            }
            None => true,
        })
        .collect();
    let mark = if kept.is_empty() { "" } else { "?" };
    (format!("{before}{mark}{}", kept.join("&")), password)
}

/// Undoes the percent signs of a URL. What is no such sign stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_told_apart_wherever_it_stands() {
        for (url, kept, password) in [
            ("postgresql://ann:a%40b:c@shop/db", "postgresql://ann@shop/db", Some("a@b:c")),
            ("postgresql://ann@shop/db", "postgresql://ann@shop/db", None),
            ("postgres://shop", "postgres://shop", None),
            (
                "postgresql:///db?host=/tmp&password=p%25&user=u",
                "postgresql:///db?host=/tmp&user=u",
                Some("p%"),
            ),
            ("postgresql://a:1@shop/db?password=2", "postgresql://a@shop/db", Some("2")),
            ("postgresql://a:100%@shop", "postgresql://a@shop", Some("100%")),
            ("postgresql://ann:a@b@shop/db", "postgresql://ann@shop/db", Some("a@b")),
            ("postgresql://shop?user=a@b", "postgresql://shop?user=a@b", None),
            ("postgresql:///db%40home", "postgresql:///db%40home", None),
        ] {
            assert_eq!(apart(url), (kept.to_owned(), password.map(str::to_owned)), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_without_repeating_it() {
        assert_eq!(ask("secret", "SELECT 1").unwrap(), Err("its URL is not one of PostgreSQL's".to_owned()));
        for rest in
            ["ann:12/secret@shop/db", "ann:?secret@shop", "ann:12#secret@shop", "shop/db?sslpassword=secret"]
        {
            let refused = ask(&format!("postgresql://{rest}"), "SELECT 1").unwrap().unwrap_err();
            assert!(refused.contains("its URL") && !refused.contains("secret"), "{refused}");
        }
    }
}
