//! The notebook `notebooks/time_travel.ipynb` is true: each of its cells is run as a reader would run it, on
//! the sample's warehouse, and prints what the notebook shows. `MEDALLION_UPDATE=1` rewrites what it shows.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use medallion_runtime::connection::Database;
use medallion_runtime::script;
use medallion_server::Server;
use serde_json::{Value, json};

use crate::support::{Shop, compare};

/// What a cell begins with that is run by the shell.
const SHELL: &str = "%%sh\n";

#[tokio::test]
async fn every_cell_of_the_notebook_prints_what_it_shows() {
    let server = Server::shared_scratch().unwrap();
    let shop = Shop::open(server, "notebook").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    shop.migrate().await;
    shop.run().await;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../notebooks/time_travel.ipynb");
    let written = fs::read_to_string(&path).unwrap();
    let mut notebook: Value = serde_json::from_str(&written).unwrap();
    let reader = Reader::on(&shop);
    let mut run = 0;
    for cell in notebook["cells"].as_array_mut().expect("a notebook has cells") {
        if cell["cell_type"] != "code" {
            continue;
        }
        run += 1;
        let source = joined(&cell["source"]);
        let script = source.strip_prefix(SHELL).unwrap_or_else(|| panic!("not for the shell: {source}"));
        let printed = reader.run(script);
        cell["execution_count"] = json!(run);
        cell["outputs"] = json!([{ "name": "stdout", "output_type": "stream", "text": lines(&printed) }]);
    }
    assert!(run >= 5, "the notebook asks something");
    let shown = format!("{}\n", indented(&notebook));
    if shown != written {
        if env::var_os("MEDALLION_UPDATE").is_some() {
            fs::write(&path, shown).unwrap();
            return;
        }
        let different = shown.lines().zip(written.lines()).find(|(shown, written)| shown != written);
        let different = different.map(|(shown, written)| format!("shows {written}\nprints {shown}"));
        compare::assert_none(
            "the notebook (MEDALLION_UPDATE=1 rewrites it)",
            &[different.unwrap_or_else(|| "its length differs".to_owned())],
        );
    }
}

/// Somebody who reads the notebook with `medallion` on the PATH and the warehouse in the environment.
struct Reader {
    folder: PathBuf,
    source: String,
    warehouse: String,
}

impl Reader {
    fn on(shop: &Shop) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notebook");
        fs::create_dir_all(&folder).unwrap();
        let medallion = folder.join("medallion");
        // One of an earlier build may stand there.
        let _ = fs::remove_file(&medallion);
        symlink(env!("CARGO_BIN_EXE_warehouse"), &medallion).unwrap();
        Self { folder, source: shop.place.source.clone(), warehouse: shop.place.warehouse.clone() }
    }

    fn run(&self, script: &str) -> String {
        let path = env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .args(["-c", script])
            .env("PATH", format!("{}:{path}", self.folder.display()))
            .env("DATABASE_URL", &self.warehouse)
            .env("SOURCE_DATABASE_URL", &self.source)
            .env_remove("MEDALLION_WAREHOUSE")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{script}\n{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A text as notebooks keep it: its lines, with their ends.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn joined(lines: &Value) -> String {
    lines.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// JSON as notebooks are written: by one space, so that a change of one line is one line of a diff.
fn indented(notebook: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(notebook, &mut serializer).unwrap();
    String::from_utf8(text).unwrap()
}
