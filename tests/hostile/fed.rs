//! Files of hostile names, with hostile fields and cells, from a directory to silver.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, SystemTime};

use medallion::finding::Colour;
use medallion::plan::lock::Lock;
use medallion_runtime::apply;
use medallion_runtime::capture::{self, Captured, Point};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Name;
use medallion_runtime::error::Result;
use medallion_runtime::files::{Feeder, Left, Portion, Storage};
use medallion_runtime::verify;
use medallion_server::Server;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::lived::VALUES;
use crate::said::{self, Fed, MIXES, mixed, quoted};
use crate::{descriptor, emitted};

/// What a folder or a file may be called.
const CALLED: [&str; 11] = [
    "plain",
    "it's",
    "'; DROP TABLE canary; --",
    "\"; DROP TABLE canary; --",
    "$$; DROP TABLE canary; $$",
    "\\'",
    "%2e%2e%2fup %s",
    "a?b#c&d=e*",
    "{{ x }}<script>",
    "\u{202e}💥 größe",
    " space ",
];

/// What passes by, and keeps nobody from the others.
const UNCALLED: [&[u8]; 3] = [b"a\tb\nc\x01", b"\x7f", b"\xff\xfe"];

struct Quiet;

impl capture::Progress for Quiet {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, text: &str) {
        panic!("nothing is to be looked into: {text}");
    }
    fn reached(&mut self, _: Point) -> Result<()> {
        Ok(())
    }
}

#[test]
fn hostile_files_come_through() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for number in 0..MIXES {
            come(number).await;
        }
    });
}

/// A value, as CSV has it.
fn cell(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\"\""))
}

async fn come(number: usize) {
    let mut names = mixed(number);
    // A slash ends a folder's name, and a star is any.
    for slot in ["folder", "folder_field"] {
        let plain = names[slot].replace(['/', '*'], "_");
        names.insert(slot, plain);
    }
    let model = said::load(&names, "hostile", Fed::ByFiles)
        .unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)));
    let files = emitted(&model);
    let lock = Lock::read(files.get("migration/src/hostile/lock.toml").unwrap()).unwrap();
    let up = files.get(&format!("migration/src/hostile/{}/up.sql", lock.migrations[0].name)).unwrap();
    let server = Server::shared_scratch().unwrap();
    let database = format!("hostile_files_{number}");
    server.ensure_database(&database).unwrap();
    let mut target = connection::connect(Database::Warehouse, &server.url(&database)).await.unwrap();
    let up = format!("CREATE TABLE canary (); CREATE SCHEMA IF NOT EXISTS medallion;\n{up}");
    target.execute(AssertSqlSafe(up)).await.unwrap_or_else(|error| panic!("mix {number}: {error}"));
    let warehouse = descriptor::warehouse(&model, &lock, &database);

    let directory = tempfile::tempdir().unwrap();
    let header = ["told_at", "product", "price_field"].map(|slot| cell(&names[slot])).join(",");
    let mut wanted = BTreeSet::new();
    for (at, called) in CALLED.into_iter().enumerate() {
        let folder =
            directory.path().join(&names["folder"]).join(format!("{}={called}", names["folder_field"]));
        fs::create_dir_all(folder.join(called)).unwrap();
        let mut text = format!("{header}\n");
        for (value, price) in VALUES.iter().zip(VALUES.iter().cycle().skip(at)) {
            let product = format!("{value} {at}");
            let cells = ["2024-03-01", &product, price].map(cell).join(",");
            text.push_str(&format!("{cells}\n"));
            let price = if price.is_empty() { Value::Null } else { json!(price) };
            wanted.insert(json!([product, called, price]).to_string());
        }
        let path = folder.join(called).join(format!("{called}.csv"));
        fs::write(&path, text).unwrap();
        let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
    }
    for called in UNCALLED {
        let called = OsStr::from_bytes(called);
        let folder = directory.path().join(&names["folder"]).join(called);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.csv"), "a\n1\n").unwrap();
    }
    let storage = Storage::directory(directory.path()).unwrap();
    let mut feeder = Feeder::new(&warehouse, storage, Portion::default());
    let mut captured = Captured::default();
    while feeder.step(&mut target, &mut Quiet, &mut captured).await.unwrap() == Left::Pieces {}
    assert!(captured.findings.iter().all(|it| it.contains("passed by")), "{:?}", captured.findings);
    assert_eq!(captured.findings.len(), UNCALLED.len(), "{:?}", captured.findings);
    assert!(!captured.findings.concat().contains(char::is_control), "{:?}", captured.findings);
    let mut transaction = target.begin().await.unwrap();
    apply::apply(&warehouse, &mut transaction, |_| ()).await.unwrap();
    transaction.commit().await.unwrap();

    let columns = ["product", "shelf", "price"].map(|slot| quoted(&names[slot])).join(", ");
    let current = format!("{}.{}", quoted(&names["silver"]), quoted(&names["file_current"]));
    let sql = format!("SELECT jsonb_build_array({columns}) FROM {current}");
    let rows = target.fetch_all(AssertSqlSafe(sql)).await.unwrap();
    let told: BTreeSet<String> = rows.iter().map(|row| row.get::<Value, _>(0).to_string()).collect();
    assert_eq!(told, wanted, "mix {number}");
    let checks = verify::on(&warehouse, &mut target, |_| ()).await.unwrap();
    assert!(checks.iter().all(|check| check.broken == 0 && check.waits.is_none()), "{checks:?}");
    target.execute("SELECT FROM canary").await.unwrap();
    target.close().await.unwrap();
    let mut admin = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
    admin.execute(AssertSqlSafe(format!("DROP DATABASE {database} WITH (FORCE)"))).await.unwrap();
    admin.close().await.unwrap();
}
