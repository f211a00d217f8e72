//! A server of S3 for the tests, where `MEDALLION_S3` names the Python that `scripts/s3` prints. Knows no warehouse.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use medallion_runtime::error::Result;
use medallion_runtime::files::Storage;
use serde_json::Value;

/// The server, which ends with the tests.
pub struct Bucket {
    said: Value,
    talk: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

/// A key of the server.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    Writes,
    /// It may list, and read nothing.
    Lists,
    /// It is not known.
    Unknown,
    /// It is known by another secret.
    Mistyped,
}

impl Bucket {
    /// The one server of all tests; none where it cannot be had.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Bucket>> = OnceLock::new();
        let shared = SHARED
            .get_or_init(|| std::env::var_os("MEDALLION_S3").map(|python| Self::start(python.as_ref())));
        if shared.is_none() {
            eprintln!("NOT TESTED over S3: MEDALLION_S3 does not name the Python that scripts/s3 prints");
        }
        shared.as_ref()
    }

    fn start(python: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/s3.py");
        let mut child =
            Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut output = BufReader::new(output);
        let said = said(&mut output);
        Self { said, talk: Mutex::new((child, input, output)) }
    }

    /// Puts a file under a key.
    pub fn put(&self, key: &str, file: &Path) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, input, output) = &mut *talk;
        writeln!(input, "{}", serde_json::json!({ "key": key, "file": file })).unwrap();
        said(output);
    }

    /// What is below a prefix of a bucket, read with a key.
    pub fn storage(&self, place: &str, key: Key) -> Result<Storage> {
        let text = |name: &str, at: usize| self.said[name][at].as_str().unwrap().to_owned();
        let (id, secret) = match key {
            Key::Writes => (text("writes", 0), text("writes", 1)),
            Key::Lists => (text("lists", 0), text("lists", 1)),
            Key::Unknown => ("AKIAUNKNOWN".to_owned(), "secret".to_owned()),
            Key::Mistyped => (text("writes", 0), "secret".to_owned()),
        };
        let url = self.said["url"].as_str().unwrap().to_owned();
        let variables =
            [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_ENDPOINT_URL", url)];
        Storage::with(
            &format!("s3://{place}"),
            variables.into_iter().map(|(name, value)| (name.to_owned(), value)),
        )
    }
}

/// The next line of JSON that the server says.
fn said(output: &mut BufReader<ChildStdout>) -> Value {
    loop {
        let mut line = String::new();
        assert!(output.read_line(&mut line).unwrap() > 0, "the server of S3 has ended");
        if line.starts_with('{') {
            return serde_json::from_str(&line).unwrap();
        }
    }
}
