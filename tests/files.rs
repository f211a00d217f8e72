//! The law of files, on a real server: any files, delivered in any order, under any names, again and again, half
//! written first, and wherever landing is broken off, give the history that their rows tell; and each line has landed
//! or is in quarantine with its file and number.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "polling/breaks.rs"]
mod breaks;
#[path = "files/bucket.rs"]
mod bucket;
#[path = "apart/databases.rs"]
mod databases;
#[path = "evolution/descriptor.rs"]
mod descriptor;
#[path = "files/objects.rs"]
mod objects;
#[path = "files/parquet.rs"]
mod parquet;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use breaks::Breaks;
use bucket::{Bucket, Key};
use databases::{APART, Databases, Ends, ends};
use medallion::emit::{self, Workspace};
use medallion::finding::{Colour, SourceText};
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::capture::{self, Captured};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::error::Result;
use medallion_runtime::files::{Feeder, Left, Portion, Storage};
use medallion_runtime::verify;
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

const SPEC: &str = include_str!("files/spec.toml");
const BESIDE: &str = include_str!("files/beside.toml");

/// The kinds of files whose rows tell their time.
const KINDS: [&str; 4] = ["csv", "lines", "array", "parquet"];

/// A row of a file, or what stands where one should. Its time is its place in the list.
#[derive(Clone, Debug)]
struct Line {
    kind: usize,
    file: usize,
    product: u8,
    price: u8,
    wrong: Option<Wrong>,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Json,
    Key,
    Time,
    Number,
}

/// What happens to the files, or to the warehouse.
#[derive(Clone, Debug)]
enum Step {
    /// A file is there under a name.
    Delivered { kind: usize, file: usize, name: u8 },
    /// A part of it is.
    Begun { kind: usize, file: usize, name: u8, part: u8 },
    /// Landing is broken off after so many points.
    Broken { after: usize },
    /// All that is there lands: in a run, or in a watch that goes on.
    Landed { begins: bool },
    /// Silver is brought up.
    Applied(Ends),
}

fn line() -> impl Strategy<Value = Line> {
    let wrong = prop_oneof![
        6 => Just(None),
        1 => prop::sample::select(vec![Wrong::Json, Wrong::Key, Wrong::Time, Wrong::Number]).prop_map(Some),
    ];
    (0..KINDS.len(), 0..3_usize, 0..4_u8, 0..3_u8, wrong)
        .prop_map(|(kind, file, product, price, wrong)| Line { kind, file, product, price, wrong })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..KINDS.len(), 0..3_usize, 0..3_u8).prop_map(|(kind, file, name)| Step::Delivered { kind, file, name }),
        2 => (1..KINDS.len(), 0..3_usize, 0..3_u8, 0..100_u8)
            .prop_map(|(kind, file, name, part)| Step::Begun { kind, file, name, part }),
        3 => (0..6_usize).prop_map(|after| Step::Broken { after }),
        2 => any::<bool>().prop_map(|begins| Step::Landed { begins }),
        2 => ends().prop_map(Step::Applied),
    ]
}

#[test]
fn files_in_any_order_give_the_history_of_their_rows() {
    in_any_order(6, SPEC, None);
}

#[test]
fn files_that_land_in_a_database_of_their_own_do_so_too() {
    in_any_order(6, &format!("{SPEC}{APART}"), None);
}

fn in_any_order(usual: u32, spec: &str, bucket: Option<&'static Bucket>) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(usual),
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let mut runner = match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let drawn = (prop::collection::vec(line(), 1..60), prop::collection::vec(step(), 1..25));
    runner
        .run(&drawn, |(lines, steps)| {
            block_on(lives(spec, &lines, &steps, bucket)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn lives(
    spec: &str,
    lines: &[Line],
    steps: &[Step],
    bucket: Option<&'static Bucket>,
) -> Result<(), String> {
    let mut lake = Lake::of(spec, Portion { rows: 3, bytes: 1 << 20 }).await;
    lake.bucket = bucket;
    for step in steps {
        match step {
            Step::Delivered { kind, file, name } => {
                lake.put(&path(*kind, *file, *name), content(lines, *kind, *file));
            }
            // Objects are put whole.
            Step::Begun { .. } if bucket.is_some() => {}
            Step::Begun { kind, file, name, part } => {
                let whole = content(lines, *kind, *file);
                let part = whole.len() * usize::from(*part) / 100;
                lake.put(&path(*kind, *file, *name), &whole[..part]);
            }
            Step::Broken { after } => lake.broken(*after).await,
            Step::Landed { begins } => {
                if *begins {
                    lake.databases.begin().await;
                }
                lake.land().await.map_err(|error| format!("{error:?}"))?;
            }
            Step::Applied(ends) => lake.databases.apply(lake.warehouse, *ends).await?,
        }
    }
    // In the end all of them have come.
    for kind in 0..KINDS.len() {
        for file in 0..3 {
            for name in 0..3 {
                let path = path(kind, file, name);
                if name == 0 || lake.directory.path().join(&path).exists() {
                    lake.put(&path, content(lines, kind, file));
                }
            }
        }
    }
    lake.land().await.map_err(|error| format!("{error:?}"))?;
    lake.apply().await?;
    for (kind, name) in KINDS.iter().enumerate() {
        let history = lake.history(&format!("silver.dim_{name}_hist")).await;
        let wanted = wanted(lines, kind);
        if history != wanted {
            return Err(format!("the rows of {name} tell\n{wanted}\nand silver says\n{history}"));
        }
    }
    lake.counted().await?;
    lake.quarantined(lines).await?;
    lake.verified().await?;
    lake.databases.assert_landed_apart(lake.warehouse).await;
    lake.end().await;
    Ok(())
}

/// Where a file is put: its folder is a part of it.
fn path(kind: usize, file: usize, name: u8) -> String {
    match kind {
        0 => format!("csv/{file}_{name}.csv"),
        1 => format!("lines/date=2026-01-0{}/part-{name}-{file}.jsonl", file + 1),
        2 => format!("array/{}/{file}.json", ["a", "a/b", "c d"][usize::from(name)]),
        _ => format!("parquet/{name}/{file}.parquet"),
    }
}

/// When the row of a place in the list was so.
fn time(at: usize) -> String {
    format!("2026-01-01 {:02}:{:02}:00+00", at / 60, at % 60)
}

fn content(lines: &[Line], kind: usize, file: usize) -> Vec<u8> {
    let own = lines.iter().enumerate().filter(|(_, line)| (line.kind, line.file) == (kind, file));
    if kind == 3 {
        return parquet::file(&own.map(|(at, line)| row_of(at, line)).collect::<Vec<_>>());
    }
    let texts: Vec<String> = own.map(|(at, line)| text_of(at, line)).collect();
    let text = match kind {
        0 => texts.iter().fold("at,product,price\n".to_owned(), |all, text| all + text + "\n"),
        1 => texts.iter().fold(String::new(), |all, text| all + text + "\n"),
        _ => format!("{{\"count\": {}, \"rows\": [\n{}\n]}}\n", texts.len(), texts.join(",\n")),
    };
    text.into_bytes()
}

fn row_of(at: usize, line: &Line) -> parquet::Row {
    let minutes = 29_453_760 + i64::try_from(at).unwrap();
    let (product, price) = (format!("p\"{}", line.product).into_bytes(), line.price.to_string().into_bytes());
    let row = parquet::Row { at: Some(minutes * 60_000_000), product: Some(product), price: Some(price) };
    match line.wrong {
        None => row,
        Some(Wrong::Json) => parquet::Row { product: Some(vec![0xff]), ..row },
        Some(Wrong::Key) => parquet::Row { product: None, ..row },
        Some(Wrong::Time) => parquet::Row { at: None, ..row },
        Some(Wrong::Number) => parquet::Row { price: Some(b"x".to_vec()), ..row },
    }
}

fn text_of(at: usize, line: &Line) -> String {
    let (time, product, price) = (time(at), format!("p\"{}", line.product), line.price);
    let quoted = product.replace('"', "\\\"");
    match (line.kind, line.wrong) {
        (0, None) => format!("{time},\"{}\",{price}", product.replace('"', "\"\"")),
        (0, Some(Wrong::Json)) => format!("{time},{price}"),
        (0, Some(Wrong::Key)) => format!("{time},,{price}"),
        (0, Some(Wrong::Time)) => format!(",p{product},{price}"),
        (0, Some(Wrong::Number)) => format!("{time},p,x{price}"),
        (_, None) => format!(r#"{{"at": "{time}", "product": "{quoted}", "price": {price}}}"#),
        (_, Some(Wrong::Json)) => format!(r#"{{"at" "{time}", "price": {price}}}"#),
        (_, Some(Wrong::Key)) => format!(r#"{{"at": "{time}", "price": {price}}}"#),
        (_, Some(Wrong::Time)) => format!(r#"{{"product": "{quoted}", "price": {price}}}"#),
        (_, Some(Wrong::Number)) => {
            format!(r#"{{"at": "{time}", "product": "{quoted}", "price": "x\u0000"}}"#)
        }
    }
}

/// The versions that the rows of one kind of files tell, a line each.
fn wanted(lines: &[Line], kind: usize) -> String {
    let mut told: BTreeMap<u8, Vec<(usize, u8)>> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.kind == kind && line.wrong.is_none()) {
        let versions = told.entry(line.product).or_default();
        if versions.last().is_none_or(|(_, price)| *price != line.price) {
            versions.push((at, line.price));
        }
    }
    let mut all = Vec::new();
    for (product, versions) in told {
        for (number, (at, price)) in versions.iter().enumerate() {
            let end = versions.get(number + 1).map_or("infinity".to_owned(), |(next, _)| time(*next));
            all.push(format!("p\"{product} {price} {} {end}", time(*at)));
        }
    }
    all.sort();
    all.join("\n")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// What becomes of files, told as a person reads it.
#[test]
fn what_waits_and_what_is_wrong_is_told() {
    block_on(async {
        let mut lake = Lake::new(Portion::default()).await;
        let mut told = String::new();
        // A catalogue that is written anew: what is as it was does not land again.
        lake.put("catalogue.json", r#"[{"id": 1, "title": "one"}, {"id": 2, "title": "two"}]"#);
        lake.tell("two new rows", &mut told).await;
        lake.put("catalogue.json", r#"[{"id": 1, "title": "one"}, {"id": 2, "title": "tw"#);
        lake.tell("half written", &mut told).await;
        lake.put(
            "catalogue.json",
            r#"[{"id": 1, "title": "one"}, {"id": 2, "title": "2"}, {"id": 3, "title": "longer"}]"#,
        );
        lake.tell("one is another, one too long", &mut told).await;
        lake.put("catalogue.json", r#"[{"id": 1, "title": "one"}, {"id": 2, "title": "two"}]"#);
        lake.tell("and back again", &mut told).await;
        // A log that is appended to, moved away, and begun anew.
        lake.put("logs/a.log", "{\"id\": 1, \"at\": \"2026-01-01\"}\n{\"id\": 2, \"at\": \"2026");
        lake.tell("a line and a half", &mut told).await;
        lake.put(
            "logs/a.log",
            "{\"id\": 1, \"at\": \"2026-01-01\"}\n{\"id\": 2, \"at\": \"2026-01-02T10:00+02\"}\n",
        );
        lake.tell("the line has ended", &mut told).await;
        lake.put(
            "logs/b.log",
            "{\"id\": 1, \"at\": \"2026-01-01\"}\n{\"id\": 2, \"at\": \"2026-01-02T10:00+02\"}\n",
        );
        lake.put("logs/a.log", "{\"id\": 3, \"at\": \"9999-01-01\"}\n");
        lake.tell("moved away, and begun anew", &mut told).await;
        // A file that shall not change.
        lake.put("fixed/a.csv", "1;'a;''b'\n2;-\n3\n");
        lake.tell("fields without a line of names", &mut told).await;
        lake.put("fixed/a.csv", "1;c\n");
        lake.tell("changed", &mut told).await;
        lake.tell("and still", &mut told).await;
        let rows = [(0, b"a" as &[u8]), (1, b"\xff")].map(|(at, product)| parquet::Row {
            at: Some(1_767_225_600_000_000 + at),
            product: Some(product.to_vec()),
            price: Some(b"1".to_vec()),
        });
        let whole = parquet::file(&rows);
        lake.put("parquet/half.parquet", &whole[..whole.len() / 2]);
        lake.put("parquet/other.parquet", "at,product,price\n");
        lake.put("parquet/whole.parquet", &whole);
        lake.tell("a Parquet file of two rows, half of it, and a file of another kind", &mut told).await;
        let files = lake
            .text(
                "SELECT concat_ws(' ', path, version, state, lines, rows, known, quarantined)
                FROM medallion.landed_file
                ORDER BY began_at, path",
            )
            .await;
        let _ = write!(told, "files\n{files}\n");
        let kept = lake
            .text("SELECT concat_ws(' ', landing, key, problem) FROM medallion.quarantine ORDER BY lsn")
            .await;
        let _ = write!(told, "quarantine\n{kept}\n");
        lake.apply().await.unwrap();
        lake.verified().await.unwrap();
        let silver = lake
            .text(
                "SELECT concat_ws(' ', id, title) FROM silver.dim_catalogue UNION ALL
                SELECT concat_ws(' ', id, at) FROM silver.fact_log UNION ALL
                SELECT concat_ws(' ', id, coalesce(note, 'null')) FROM silver.dim_fixed",
            )
            .await;
        let _ = write!(told, "silver\n{silver}\n");
        expect("told.txt", &told);
        lake.end().await;
    });
}

/// Times without a zone are in the feed's, others say their own; and NULL has several words.
#[test]
fn a_feed_says_the_zone_of_its_times_and_its_words_for_null() {
    const ZONED: &str = r#"
[warehouse]
name = "shop"

[[landing]]
name = "br_price"
files = { path = "*.csv", format = "csv", time = "at", time_zone = "Europe/Berlin", null = ["", "NULL", "n/a"] }
key = ["product"]

[[dimension]]
name = "dim_price_hist"
from = "br_price"
key = ["product"]
columns = [{ name = "product", type = "text" }, { name = "price", type = "integer", null = true }]
"#;
    block_on(async {
        let mut lake = Lake::of(ZONED, Portion::default()).await;
        let rows = [
            "a,2026-01-02 10:00:00,NULL",
            "b,2026-07-02T10:00:00.5,",
            "c,2026-07-02,n/a",
            "d,2026-07-02 10:00:00Z,4",
            "e,2026-07-02T10:00:00+05:30,5",
            "f,2026-07-02 10:00:00 America/New_York,6",
        ];
        lake.put("prices.csv", format!("product,at,price\n{}\n", rows.join("\n")));
        lake.land().await.unwrap();
        lake.apply().await.unwrap();
        let silver = "SELECT concat_ws(' ', product, sys_start, coalesce(price::text, 'null'))
            FROM silver.dim_price_hist ORDER BY product";
        let wanted = [
            "a 2026-01-02 09:00:00+00 null",
            "b 2026-07-02 08:00:00.5+00 null",
            "c 2026-07-01 22:00:00+00 null",
            "d 2026-07-02 10:00:00+00 4",
            "e 2026-07-02 04:30:00+00 5",
            "f 2026-07-02 14:00:00+00 6",
        ];
        assert_eq!(lake.text(silver).await.lines().collect::<Vec<_>>(), wanted);
        lake.end().await;
    });
}

/// A source's changes and files land in turns, each above all that landed before, and none is taken for late that is
/// not, or for known.
#[test]
fn files_land_beside_the_log_of_a_source() {
    block_on(async {
        let mut lake = Lake::of(BESIDE, Portion { rows: 2, bytes: 1 << 20 }).await;
        let server = Server::shared_scratch().unwrap();
        let source_name = format!("{}_source", lake.name);
        server.ensure_database(&source_name).unwrap();
        let url = server.url(&source_name);
        let mut source = connection::connect(Database::Source, &url).await.unwrap();
        source.execute("CREATE TABLE orders (order_id integer PRIMARY KEY, product text)").await.unwrap();
        for round in 0..4_i32 {
            // More pieces than the source's log has bytes between two transactions.
            let rows = (0..160).fold(String::new(), |all, product| {
                let (time, price) = (time(600 - usize::try_from(round).unwrap() * 100), round + 1);
                all + &format!("{{\"at\": \"{time}\", \"product\": \"p{product}\", \"price\": {price}}}\n")
            });
            lake.put(&format!("{round}.jsonl"), &rows);
            assert_eq!(lake.land().await.unwrap().rows(), 160);
            let order =
                format!("INSERT INTO orders VALUES ({round}, 'a'); UPDATE orders SET product = 'r{round}'");
            source.execute(AssertSqlSafe(order)).await.unwrap();
            let landed =
                capture::capture(lake.warehouse, &url, &mut lake.databases.target, &mut Breaks::default())
                    .await
                    .unwrap();
            assert!(landed.rows() > 0);
            lake.apply().await.unwrap();
            lake.verified().await.unwrap();
            let orders = lake.text("SELECT DISTINCT product FROM silver.dim_order").await;
            assert_eq!(orders, format!("r{round}"));
        }
        // Each file told of an earlier time than the one before.
        let prices = lake
            .text("SELECT DISTINCT concat_ws(' ', price, sys_start, sys_end) FROM silver.dim_price_hist ORDER BY 1")
            .await;
        let wanted: Vec<String> = (0..4)
            .map(|round| {
                let end = if round == 0 { "infinity".to_owned() } else { time(700 - round * 100) };
                format!("{} {} {end}", round + 1, time(600 - round * 100))
            })
            .collect();
        assert_eq!(prices, wanted.join("\n"));
        let drop = format!("SELECT pg_drop_replication_slot('{}')", lake.name);
        source.execute(AssertSqlSafe(drop)).await.unwrap();
        source.close().await.unwrap();
        let mut admin = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {source_name}"))).await.unwrap();
        lake.end().await;
    });
}

/// Compares what is rendered with what was expected, or rewrites that.
fn expect(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name);
    let found = format!("{}\n", found.trim_end());
    if std::env::var_os("MEDALLION_UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{name}: MEDALLION_UPDATE=1 rewrites it");
}

/// Files, and the warehouse that they feed.
struct Lake {
    name: String,
    directory: tempfile::TempDir,
    /// Where files are put as well, and read from: below the name.
    bucket: Option<&'static Bucket>,
    warehouse: &'static Warehouse,
    databases: Databases,
    portion: Portion,
    written: u64,
}

impl Lake {
    async fn new(portion: Portion) -> Self {
        Self::of(SPEC, portion).await
    }

    async fn of(spec: &str, portion: Portion) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lake_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let files = Files::alone("shop", SourceText::new("spec/shop/spec.toml", spec));
        let model =
            model::load(&files).unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)));
        let emitted = emit::emit(&model, &Workspace { warehouses: vec!["shop".to_owned()], default: None });
        let lock = Lock::read(emitted.get("migration/src/shop/lock.toml").unwrap()).unwrap();
        let up = emitted.get(&format!("migration/src/shop/{}/up.sql", lock.migrations[0].name)).unwrap();
        let warehouse = Box::leak(Box::new(descriptor::warehouse(&model, &lock, &name)));
        let databases = Databases::new(warehouse, &name, up).await;
        let directory = tempfile::tempdir().unwrap();
        Self { name, directory, bucket: None, warehouse, databases, portion, written: 0 }
    }

    /// Writes a file, an hour ago or later: each at a time of its own.
    fn put(&mut self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        self.written += 1;
        let time = SystemTime::now() - Duration::from_secs(3_600) + Duration::from_secs(self.written);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        if let Some(bucket) = self.bucket {
            bucket.put(&format!("{}/{name}", self.name), &path);
        }
    }

    fn storage(&self) -> Result<Storage> {
        match self.bucket {
            None => Storage::directory(self.directory.path()),
            Some(bucket) => bucket.storage(&format!("lake/{}", self.name), Key::Writes),
        }
    }

    async fn land(&mut self) -> Result<Captured> {
        self.land_until(None).await
    }

    async fn land_until(&mut self, after: Option<usize>) -> Result<Captured> {
        self.land_from(self.storage()?, after).await
    }

    async fn land_from(&mut self, storage: Storage, after: Option<usize>) -> Result<Captured> {
        let mut feeder = Feeder::new(self.warehouse, storage, self.portion);
        let (mut breaks, mut captured) = (Breaks::after(after), Captured::default());
        while feeder.step(self.databases.lands(), &mut breaks, &mut captured).await? == Left::Pieces {}
        Ok(captured)
    }

    /// As if the process had been killed.
    async fn broken(&mut self, after: usize) {
        let _ = self.land_until(Some(after)).await;
        self.databases.killed().await;
    }

    async fn apply(&mut self) -> Result<(), String> {
        self.databases.apply(self.warehouse, Ends::Well).await
    }

    async fn history(&mut self, table: &str) -> String {
        let sql = format!(
            "SELECT version FROM (SELECT concat_ws(' ', product, price, sys_start, sys_end) AS version FROM {table}) AS one
            ORDER BY version COLLATE \"C\""
        );
        self.text(&sql).await
    }

    /// Each line has landed, was known, or is in quarantine.
    async fn counted(&mut self) -> Result<(), String> {
        let sql = "SELECT concat_ws(' ', landing, path, version, state, lines, rows, known, quarantined)
            FROM medallion.landed_file
            WHERE state IN ('landing', 'landed')
            AND (
                state <> 'landed'
                OR rows + known + quarantined <> CASE WHEN landing = 'bronze.br_csv' THEN greatest(lines - 1, 0) ELSE lines END
            )";
        let wrong = self.text(sql).await;
        if wrong.is_empty() { Ok(()) } else { Err(format!("counted wrong: {wrong}")) }
    }

    /// What is wrong is in quarantine, and nothing else, each under its line and file.
    async fn quarantined(&mut self, lines: &[Line]) -> Result<(), String> {
        let mut wanted: BTreeSet<(usize, usize, usize)> = BTreeSet::new();
        let mut numbers: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for line in lines {
            let number = numbers.entry((line.kind, line.file)).or_insert(usize::from(line.kind == 0));
            *number += 1;
            if line.wrong.is_some() {
                wanted.insert((line.kind, line.file, *number));
            }
        }
        let rows = self
            .text(
                "SELECT DISTINCT concat_ws('|', landing, substring(problem FROM 'line (\\d+) of'),
                    substring(problem FROM 'of `([^`]+)`: .'))
                FROM medallion.quarantine",
            )
            .await;
        let mut kept = BTreeSet::new();
        for row in rows.lines() {
            let [landing, line, path] = row.splitn(3, '|').collect::<Vec<_>>().try_into().unwrap();
            let kind = KINDS.iter().position(|kind| landing == format!("bronze.br_{kind}")).unwrap();
            let name = path.rsplit('/').next().unwrap();
            let digits: Vec<usize> =
                name.bytes().filter(u8::is_ascii_digit).map(|one| usize::from(one - b'0')).collect();
            let file = if kind == 1 { digits[1] } else { digits[0] };
            kept.insert((kind, file, line.parse().unwrap()));
        }
        if kept == wanted { Ok(()) } else { Err(format!("wrong are {wanted:?}, and kept {kept:?}")) }
    }

    /// What stands is what all of bronze tells.
    async fn verified(&mut self) -> Result<(), String> {
        let checks = verify::on(self.warehouse, &mut self.databases.target, |_| ()).await;
        let checks = checks.map_err(|error| format!("{error:?}"))?;
        match checks.iter().find(|check| check.broken > 0 || check.waits.is_some()) {
            None => Ok(()),
            Some(check) => Err(format!("{check:?}")),
        }
    }

    async fn text(&mut self, sql: &str) -> String {
        let rows = self.databases.target.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get::<String, _>(0)).collect();
        lines.join("\n")
    }

    /// Lands what is there, and tells what landed and what was found.
    async fn tell(&mut self, what: &str, told: &mut String) {
        let captured = self.land().await.unwrap();
        let _ = writeln!(told, "{what}");
        for (landing, rows) in &captured.landed {
            let _ = writeln!(told, "  {landing}: {rows}");
        }
        for finding in &captured.findings {
            let _ = writeln!(told, "  {finding}");
        }
    }

    async fn end(self) {
        self.databases.end().await;
    }
}
