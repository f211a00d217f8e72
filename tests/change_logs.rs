//! The law of change logs, on a real server: whatever is written to a source, wherever its extraction or the landing is
//! broken off, and however the files are delivered (in any order, twice, renamed, half written first), the warehouse
//! that reads them says what the source had at each poll, and the same as one that polls.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "polling/breaks.rs"]
mod breaks;
#[path = "files/bucket.rs"]
#[allow(dead_code, reason = "the law of files needs more of it")]
mod bucket;
#[path = "apart/databases.rs"]
mod databases;
#[path = "evolution/descriptor.rs"]
mod descriptor;
#[path = "change_logs/objects.rs"]
mod objects;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use breaks::Breaks;
use bucket::{Bucket, Key};
use databases::{APART, Databases, Ends, ends};
use medallion::cli::read;
use medallion::emit::{self, Workspace};
use medallion::finding::{Colour, SourceText};
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::capture::extract::{Extractor, To};
use medallion_runtime::capture::{self, Captured};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::error::Result;
use medallion_runtime::files::{Feeder, Left, Portion, Storage};
use medallion_runtime::verify;
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

/// What happens at the source, to the files, or in the warehouse.
#[derive(Clone, Debug)]
enum Step {
    /// An order comes, or changes.
    Order { id: i32, status: u8 },
    /// Several orders change in one statement: their times are one.
    Orders { below: i32, status: u8 },
    /// A transaction is only seen when its time of change is a while ago.
    Late { id: i32, status: u8, seconds: u8 },
    /// An order goes.
    Gone { id: i32 },
    /// A price changes, and does not say so by a later time.
    Price { region: &'static str, product: i32, price: i32 },
    /// Both look at the source: the warehouse that polls, and the one that writes files.
    Poll,
    /// The same, and writing files is broken off first.
    Broken { after: usize },
    /// What was written is forgotten: all of it is told again.
    Forgotten,
    /// A file is there under a name.
    Delivered { file: usize, name: u8 },
    /// A part of it is.
    Begun { file: usize, name: u8, part: u8 },
    /// What is there lands, and is broken off.
    LandingBroken { after: usize },
    /// What is there lands: in a run, or in a watch that goes on.
    Landed { begins: bool },
    /// Silver is brought up.
    Applied(Ends),
}

fn step() -> impl Strategy<Value = Step> {
    let region = prop::sample::select(vec!["north", "it's", "\"süd\"", "", "a\\b"]);
    prop_oneof![
        5 => (0..20, 0..3_u8).prop_map(|(id, status)| Step::Order { id, status }),
        1 => (0..20, 0..3_u8).prop_map(|(below, status)| Step::Orders { below, status }),
        1 => (0..20, 0..3_u8, 1..20_u8).prop_map(|(id, status, seconds)| Step::Late { id, status, seconds }),
        2 => (0..20).prop_map(|id| Step::Gone { id }),
        3 => (region, 0..4, 0..5).prop_map(|(region, product, price)| Step::Price { region, product, price }),
        4 => Just(Step::Poll),
        2 => (0..6_usize).prop_map(|after| Step::Broken { after }),
        1 => Just(Step::Forgotten),
        6 => (0..12_usize, 0..3_u8).prop_map(|(file, name)| Step::Delivered { file, name }),
        2 => (0..12_usize, 0..3_u8, 0..100_u8).prop_map(|(file, name, part)| Step::Begun { file, name, part }),
        2 => (0..6_usize).prop_map(|after| Step::LandingBroken { after }),
        2 => any::<bool>().prop_map(|begins| Step::Landed { begins }),
        2 => ends().prop_map(Step::Applied),
    ]
}

#[test]
fn files_of_changes_tell_what_polls_have_seen() {
    tell_what_polls_have_seen(5, "", None);
}

#[test]
fn files_of_changes_that_land_in_a_database_of_their_own_do_so_too() {
    tell_what_polls_have_seen(5, APART, None);
}

fn tell_what_polls_have_seen(usual: u32, bronze: &str, bucket: Option<&'static Bucket>) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(usual),
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Config::default()
    };
    let mut runner = match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    runner
        .run(&prop::collection::vec(step(), 10..70), |steps| {
            block_on(lives(&steps, bronze, bucket)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn lives(steps: &[Step], bronze: &str, bucket: Option<&'static Bucket>) -> Result<(), String> {
    let mut shop = Shop::new(Specs::law(bronze), include_str!("polling/source.sql")).await;
    shop.bucket = bucket;
    // What the source had at each poll.
    let mut polls: Vec<(String, String)> = Vec::new();
    for step in steps {
        match step {
            Step::Poll => polls.push(shop.poll().await?),
            Step::Broken { after } => {
                // What a kill left is seen by the other one too: it looks at the same source.
                let _ = shop.extract(Some(*after)).await;
                polls.push(shop.poll().await?);
            }
            Step::Forgotten => {
                polls.push(shop.poll().await?);
                fs::remove_dir_all(shop.state().join(".medallion")).unwrap();
            }
            Step::Late { seconds, .. } => {
                let ago = format!("SELECT (clock_timestamp() - interval '{seconds} seconds')::text");
                let since = text(&mut shop.source, &ago).await;
                polls.retain(|(time, _)| *time < since);
                shop.write(step).await;
            }
            Step::Delivered { file, name } => shop.deliver(*file, *name, 100),
            Step::Begun { file, name, part } => shop.deliver(*file, *name, *part),
            Step::LandingBroken { after } => shop.land_broken(*after).await,
            Step::Landed { begins } => {
                if *begins {
                    shop.reader.begin().await;
                }
                shop.land(None).await.map_err(|error| format!("{error:?}"))?;
            }
            Step::Applied(ends) => shop.reader.apply(&shop.fed, *ends).await?,
            _ => shop.write(step).await,
        }
    }
    polls.push(shop.poll().await?);
    // In the end all of them have come, and what was begun has ended.
    shop.deliver_all();
    shop.land(None).await.map_err(|error| format!("{error:?}"))?;
    shop.reader.apply(&shop.fed, Ends::Well).await?;
    shop.poller.apply(&shop.polled, Ends::Well).await?;
    for (time, state) in &polls {
        let was = as_of(&mut shop.reader.target, time).await;
        if was != *state {
            return Err(format!("as of {time} the source had\n{state}\nand the files say\n{was}"));
        }
    }
    shop.tells_the_same().await?;
    shop.landed_once().await?;
    verified(&shop.fed, &mut shop.reader.target).await?;
    shop.reader.assert_landed_apart(&shop.fed).await;
    // All of it again, under other names.
    for file in 0..shop.files().len() {
        shop.deliver(file, 7, 100);
    }
    let again = shop.land(None).await.map_err(|error| format!("{error:?}"))?;
    if again.rows() > 0 || !again.findings.is_empty() {
        return Err(format!("landed again: {again:?}"));
    }
    shop.end().await;
    Ok(())
}

/// Orders of a morning, by a source that is polled into files and by a file that others wrote.
#[test]
fn the_orders_of_a_morning_are_told_by_files() {
    block_on(async {
        let mut shop = Shop::new(Specs::orders(), include_str!("../spec/orders/source.sql")).await;
        shop.source.execute(include_str!("../spec/orders/sample.sql")).await.unwrap();
        shop.extract(None).await.unwrap();
        shop.source
            .execute(
                "UPDATE orders SET order_status = 'confirmed', last_updated = '2026-02-01 09:10+00' WHERE id = 1;
                INSERT INTO orders (customer_id, product_id, quantity, unit_price, total_amount, last_updated)
                VALUES (102, 202, 1, 49.50, 49.50, '2026-02-01 09:15+00'), (101, 203, 3, 12, 36, '2026-02-01 09:30+00')",
            )
            .await
            .unwrap();
        shop.extract(None).await.unwrap();
        let files = shop.files();
        assert_eq!(files.len(), 2);
        let batches: Vec<String> =
            files.iter().map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        // The later one comes first, and one comes twice.
        for file in [1, 0, 1] {
            shop.deliver(file, u8::try_from(file).unwrap(), 100);
            shop.land(None).await.unwrap();
            shop.reader.apply(&shop.fed, Ends::Well).await.unwrap();
        }
        let history = "SELECT concat_ws(' | ', order_key, customer_id, product_id, quantity, unit_price, order_status,
                to_char(valid_from AT TIME ZONE 'UTC', 'MM-DD HH24:MI'),
                coalesce(to_char(valid_to AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), 'NULL'), is_current, cdc_operation,
                cdc_timestamp = valid_from, batch_id)
            FROM history.dim_orders_history ORDER BY order_key, valid_from";
        let expected = |first: &str, second: &str| {
            [
                format!("1 | 101 | 201 | 2 | 29.99 | placed | 02-01 09:00 | 02-01 09:10 | f | INSERT | t | {first}"),
                format!("1 | 101 | 201 | 2 | 29.99 | confirmed | 02-01 09:10 | NULL | t | UPDATE | t | {second}"),
                format!("2 | 102 | 202 | 1 | 49.50 | placed | 02-01 09:15 | NULL | t | INSERT | t | {second}"),
                format!("3 | 101 | 203 | 3 | 12.00 | placed | 02-01 09:30 | NULL | t | INSERT | t | {second}"),
            ]
            .join("\n")
        };
        assert_eq!(text(&mut shop.reader.target, history).await, expected(&batches[0], &batches[1]));
        verified(&shop.fed, &mut shop.reader.target).await.unwrap();
        assert_eq!(shop.land(None).await.unwrap().rows(), 0);
        shop.end().await;

        // The same by a file of somebody else's, which says first what it is.
        let mut shop = Shop::new(Specs::orders(), include_str!("../spec/orders/source.sql")).await;
        let by_hand = include_str!("change_logs/by_hand.json");
        for (name, content) in [("a", by_hand), ("b", by_hand), ("c", &by_hand.replace("}, {", "},\n{"))] {
            shop.put(&format!("orders/{name}.json"), content.as_bytes());
            shop.land(None).await.unwrap();
            shop.reader.apply(&shop.fed, Ends::Well).await.unwrap();
            assert_eq!(
                text(&mut shop.reader.target, history).await,
                expected("batch-7", "batch-7"),
                "{name}"
            );
        }
        let files = "SELECT string_agg(concat_ws(' ', path, state, rows, known, batch_id), ', ' ORDER BY path) FROM medallion.landed_file";
        assert_eq!(
            text(&mut shop.reader.target, files).await,
            "orders/a.json landed 4 0 batch-7, orders/b.json copy 0 0, orders/c.json landed 0 4 batch-7"
        );
        // An order goes: its key is all that is told.
        shop.put(
            "orders/d.json",
            br#"{"batch_metadata": {"batch_id": 8, "change_count": 1},
            "changes": [{"id": 3, "operation_type": "delete", "cdc_timestamp": "2026-02-01T12:00:00+02:00"}]}"#,
        );
        shop.land(None).await.unwrap();
        shop.reader.apply(&shop.fed, Ends::Well).await.unwrap();
        let gone = "SELECT concat_ws(' ', valid_to AT TIME ZONE 'UTC', batch_id) FROM history.dim_orders_history WHERE order_key = 3";
        assert_eq!(text(&mut shop.reader.target, gone).await, "2026-02-01 10:00:00 batch-7");
        let row = "SELECT full_row ->> 'product_id' FROM raw.br_orders WHERE op = 'D'";
        assert_eq!(text(&mut shop.reader.target, row).await, "203", "the rest is that of the version before");
        verified(&shop.fed, &mut shop.reader.target).await.unwrap();
        shop.end().await;
    });
}

/// What becomes of files that are not as they should be, told as a person reads it.
#[test]
fn what_waits_and_what_is_wrong_is_told() {
    block_on(async {
        let mut shop = Shop::new(Specs::orders(), include_str!("../spec/orders/source.sql")).await;
        let whole = include_str!("change_logs/by_hand.json");
        let mut told = String::new();
        let cases = [
            ("cut", whole[..whole.len() / 2].to_owned()),
            ("one is missing", whole.replace("\"change_count\": 4", "\"change_count\": 5")),
            (
                "another checksum",
                whole.replace("\"change_count\"", "\"checksum\": \"00ff\", \"change_count\""),
            ),
            ("nobody says which batch", whole.replace("\"batch_id\"", "\"batch\"")),
            ("no batch at all", "[{\"id\": 1}]".to_owned()),
            (
                "changes that are none",
                r#"{"changes": [{"operation_type": "INSERT", "cdc_timestamp": "2026-02-01"},
                {"id": 1, "operation_type": "MERGE", "cdc_timestamp": "2026-02-01"},
                {"id": 2, "operation_type": "INSERT"},
                {"id": 3, "operation_type": "INSERT", "cdc_timestamp": "2026-02-01", "quantity": "many"},
                {"id": 4, "operation_type": "UPDATE", "cdc_timestamp": "9999-02-01"},
                {"id": 5, "operation_type": "DELETE", "cdc_timestamp": "2026-02-01"}],
                "batch_metadata": {"batch_id": "odd", "change_count": 6}}"#
                    .to_owned(),
            ),
            ("and whole", whole.to_owned()),
        ];
        for (what, content) in cases {
            shop.put("orders/a.json", content.as_bytes());
            let captured = shop.land(None).await.unwrap();
            told += &format!("{what}\n  landed: {}\n", captured.rows());
            for finding in &captured.findings {
                told += &format!("  {finding}\n");
            }
        }
        told += "quarantine\n";
        told += &text(&mut shop.reader.target, "SELECT problem FROM medallion.quarantine ORDER BY lsn, seq")
            .await;
        expect("told.txt", &told);
        shop.reader.apply(&shop.fed, Ends::Well).await.unwrap();
        verified(&shop.fed, &mut shop.reader.target).await.unwrap();
        shop.end().await;
    });
}

/// One at a time writes to a directory, of one source; and what is written of a change has fields of its own.
#[test]
fn a_directory_has_what_one_source_says() {
    block_on(async {
        let mut shop = Shop::new(Specs::orders(), include_str!("../spec/orders/source.sql")).await;
        let folder = shop.written.path();
        let to = || To::Directory(folder);
        let first = Extractor::begin(&shop.polled, &shop.source_url, to()).await.unwrap();
        let error = Extractor::begin(&shop.polled, &shop.source_url, to()).await.err().unwrap().to_string();
        assert!(error.contains("one `medallion extract` at a time"), "{error}");
        drop(first);
        let elsewhere = Server::shared_scratch().unwrap().url(&shop.names[1]);
        let error = Extractor::begin(&shop.polled, &elsewhere, to()).await.err().unwrap().to_string();
        assert!(error.contains("correct SOURCE_DATABASE_URL"), "{error}");
        let error = Extractor::begin(&shop.fed, &shop.source_url, to()).await.err().unwrap().to_string();
        assert!(error.contains("is not polled"), "{error}");
        shop.source.execute("ALTER TABLE orders ADD operation_type text").await.unwrap();
        let error = shop.extract(None).await.unwrap_err().to_string();
        assert!(error.contains("a column `operation_type`"), "{error}");
        shop.end().await;
    });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// Compares what is rendered with what was expected, or rewrites that.
fn expect(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/change_logs").join(name);
    let found = format!("{}\n", found.trim_end());
    if std::env::var_os("MEDALLION_UPDATE").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{name}: MEDALLION_UPDATE=1 rewrites it");
}

async fn text(connection: &mut PgConnection, sql: &str) -> String {
    let rows = connection.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get::<String, _>(0)).collect();
    lines.join("\n")
}

async fn as_of(target: &mut PgConnection, time: &str) -> String {
    let sql = format!(
        "SELECT concat_ws(' ', order_id, status) FROM silver.dim_orders_as_of('{time}')
        UNION ALL
        SELECT concat_ws(' ', region, product_id, price) FROM silver.dim_price_as_of('{time}')
        ORDER BY 1"
    );
    text(target, &sql).await
}

/// What stands in silver is what all of bronze tells. Marts are not refreshed here.
async fn verified(warehouse: &Warehouse, target: &mut PgConnection) -> Result<(), String> {
    let checks = verify::on(warehouse, target, |_| ()).await.map_err(|error| format!("{error:?}"))?;
    let is_mart = |relation: &str| warehouse.marts.iter().any(|mart| mart.table.to_string() == relation);
    let silver = checks.iter().filter(|check| !is_mart(&check.relation.to_string()));
    match silver.clone().find(|check| check.broken > 0 || check.waits.is_some()) {
        None => Ok(()),
        Some(check) => Err(format!("{check:?}")),
    }
}

/// Who polls the source, and who reads files.
struct Specs {
    polled: Files,
    fed: Files,
}

impl Specs {
    fn law(bronze: &str) -> Self {
        let alone = |text: &str| Files::alone("orders", SourceText::new("spec/orders/spec.toml", text));
        Self {
            polled: alone(include_str!("polling/spec.toml")),
            fed: alone(&format!("{}{bronze}", include_str!("change_logs/fed.toml"))),
        }
    }

    fn orders() -> Self {
        let read = |folder: &str| {
            read::warehouse(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
                .unwrap_or_else(|_| panic!("`{folder}` is no spec"))
        };
        Self { polled: read("spec/orders"), fed: read("tests/cases/generate/change_logs") }
    }
}

/// A source, a warehouse that polls it, files that tell of it, and a warehouse that reads them.
struct Shop {
    names: [String; 3],
    polled: Warehouse,
    fed: Warehouse,
    source_url: String,
    source: PgConnection,
    poller: Databases,
    reader: Databases,
    written: tempfile::TempDir,
    /// Where files are written to, where it is no directory; then they come to `written` from there.
    bucket: Option<&'static Bucket>,
    /// What was written to a bucket.
    said: tempfile::TempDir,
    lake: tempfile::TempDir,
    /// How many files were delivered: each at a time of its own.
    puts: u64,
    /// What was delivered under which name.
    delivered: BTreeMap<PathBuf, PathBuf>,
}

impl Shop {
    async fn new(specs: Specs, source_sql: &'static str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let names = ["source", "poller", "reader"].map(|name| format!("told_{name}_{number}"));
        let server = Server::shared_scratch().unwrap();
        let [source_name, poller, reader] = &names;
        server.ensure_database(source_name).unwrap();
        let source_url = server.url(source_name);
        let mut source = connection::connect(Database::Source, &source_url).await.unwrap();
        source.execute(source_sql).await.unwrap();
        let (polled, poller) = warehouse(&specs.polled, poller).await;
        let (fed, reader) = warehouse(&specs.fed, reader).await;
        let [written, said, lake] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        fs::create_dir_all(lake.path().join("orders")).unwrap();
        fs::create_dir_all(lake.path().join("price")).unwrap();
        Self {
            names,
            polled,
            fed,
            source_url,
            source,
            poller,
            reader,
            written,
            bucket: None,
            said,
            lake,
            puts: 0,
            delivered: BTreeMap::new(),
        }
    }

    async fn write(&mut self, step: &Step) {
        const STATUS: [&str; 3] = ["placed", "confirmed", "sent"];
        let query = match step {
            Step::Order { id, status } => sqlx::query(
                "INSERT INTO orders (order_id, status, note) VALUES ($1, $2, repeat('x', $1))
                ON CONFLICT (order_id) DO UPDATE SET status = $2, last_updated = clock_timestamp()",
            )
            .bind(id)
            .bind(STATUS[usize::from(*status)]),
            Step::Orders { below, status } => {
                sqlx::query("UPDATE orders SET status = $2, last_updated = now() WHERE order_id < $1")
                    .bind(below)
                    .bind(STATUS[usize::from(*status)])
            }
            Step::Late { id, status, seconds } => sqlx::query(
                "INSERT INTO orders (order_id, status, last_updated)
                VALUES ($1, $2, clock_timestamp() - $3 * interval '1 second')
                ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, last_updated = excluded.last_updated",
            )
            .bind(id)
            .bind(STATUS[usize::from(*status)])
            .bind(i32::from(*seconds)),
            Step::Gone { id } => sqlx::query("DELETE FROM orders WHERE order_id = $1").bind(id),
            Step::Price { region, product, price } => sqlx::query(
                "INSERT INTO price (region, product_id, price) VALUES ($1, $2, $3)
                ON CONFLICT (region, product_id) DO UPDATE
                SET price = $3, changed_at = clock_timestamp() AT TIME ZONE 'UTC'",
            )
            .bind(*region)
            .bind(product)
            .bind(price),
            _ => return,
        };
        query.execute(&mut self.source).await.unwrap();
    }

    /// Both look; gives when, and what the source had.
    async fn poll(&mut self) -> Result<(String, String), String> {
        self.extract(None).await.map_err(|error| format!("{error:?}"))?;
        let polled =
            capture::capture(&self.polled, &self.source_url, &mut self.poller.target, &mut Breaks::default())
                .await;
        polled.map_err(|error| format!("{error:?}"))?;
        let time = text(&mut self.source, "SELECT clock_timestamp()::text").await;
        let state = text(
            &mut self.source,
            "SELECT concat_ws(' ', order_id, status) FROM orders
            UNION ALL
            SELECT concat_ws(' ', region, product_id, price) FROM price
            ORDER BY 1",
        )
        .await;
        Ok((time, state))
    }

    /// Writes files; as if the process had been killed, where it is broken off.
    async fn extract(&mut self, after: Option<usize>) -> Result<()> {
        let to = match self.bucket {
            None => To::Directory(self.written.path()),
            Some(bucket) => {
                To::Bucket { bucket: bucket.storage(&self.place(), Key::Writes)?, state: self.state() }
            }
        };
        let extracted = match Extractor::begin(&self.polled, &self.source_url, to).await {
            Ok(mut extractor) => extractor.poll(&mut Breaks::after(after)).await.map(drop),
            Err(error) => Err(error),
        };
        if let Some(bucket) = self.bucket {
            objects::fetch(&bucket.storage(&self.place(), Key::Writes)?, self.written.path()).await?;
        }
        extracted
    }

    /// Where what was written is kept.
    fn state(&self) -> &Path {
        match self.bucket {
            None => self.written.path(),
            Some(_) => self.said.path(),
        }
    }

    /// The bucket, and what its files' names begin with.
    fn place(&self) -> String {
        format!("lake/{}", self.names[0])
    }

    /// The files that were written, in the order of their names.
    fn files(&self) -> Vec<PathBuf> {
        let pattern = format!("{}/*/*.json", self.written.path().display());
        let mut files: Vec<PathBuf> = glob::glob(&pattern).unwrap().map(Result::unwrap).collect();
        files.sort();
        files
    }

    /// A file is there under a name, as much of it as has come.
    fn deliver(&mut self, file: usize, name: u8, part: u8) {
        let files = self.files();
        let Some(file) = files.get(file % files.len().max(1)) else { return };
        let table = file.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let path = match name {
            0 => format!("{table}/{stem}.json"),
            1 => format!("{table}/{}.json", stem.chars().rev().collect::<String>()),
            name => format!("{table}/{name}/a {stem}.json"),
        };
        let content = fs::read(file).unwrap();
        self.delivered.insert(path.clone().into(), file.clone());
        self.put(&path, &content[..content.len() * usize::from(part) / 100]);
    }

    /// All that were written, and all that was delivered is whole.
    fn deliver_all(&mut self) {
        for file in 0..self.files().len() {
            self.deliver(file, 0, 100);
        }
        for (path, file) in self.delivered.clone() {
            self.put(path.to_str().unwrap(), &fs::read(file).unwrap());
        }
    }

    /// Writes a file, an hour ago or later: each at a time of its own.
    fn put(&mut self, path: &str, content: &[u8]) {
        let path = self.lake.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        self.puts += 1;
        let time = SystemTime::now() - Duration::from_secs(3_600) + Duration::from_secs(self.puts);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    async fn land(&mut self, after: Option<usize>) -> Result<Captured> {
        let storage = Storage::directory(self.lake.path())?;
        // However small the pieces, a batch lands as a whole.
        let mut feeder = Feeder::new(&self.fed, storage, Portion { rows: 2, bytes: 1 << 10 });
        let (mut breaks, mut captured) = (Breaks::after(after), Captured::default());
        while feeder.step(self.reader.lands(), &mut breaks, &mut captured).await? == Left::Pieces {}
        Ok(captured)
    }

    /// As if the process had been killed.
    async fn land_broken(&mut self, after: usize) {
        let _ = self.land(Some(after)).await;
        self.reader.killed().await;
    }

    /// The warehouse that polls has the same prices, at the same times. (When an order went each of the two knows by
    /// its own clock.)
    async fn tells_the_same(&mut self) -> Result<(), String> {
        let versions = "SELECT concat_ws(' ', region, product_id, price, sys_start, sys_end) FROM silver.dim_price_hist ORDER BY 1";
        let (polled, told) =
            (text(&mut self.poller.target, versions).await, text(&mut self.reader.target, versions).await);
        if polled == told { Ok(()) } else { Err(format!("polls say\n{polled}\nand files\n{told}")) }
    }

    /// No change is in bronze twice, and each that a file has landed or was known.
    async fn landed_once(&mut self) -> Result<(), String> {
        let twice = text(
            &mut self.reader.target,
            "SELECT 'twice: ' || (full_row ->> 'order_id') || ' ' || commit_ts FROM bronze.br_orders
            GROUP BY full_row ->> 'order_id', commit_ts, op = 'D' HAVING count(*) > 1
            UNION ALL
            SELECT concat_ws(' ', 'counted wrong:', path, state, lines, rows, known) FROM medallion.landed_file
            WHERE state IN ('landed', 'landing') AND (state = 'landing' OR rows + known <> lines OR quarantined > 0)",
        )
        .await;
        if twice.is_empty() { Ok(()) } else { Err(twice) }
    }

    async fn end(self) {
        self.source.close().await.unwrap();
        self.poller.end().await;
        self.reader.end().await;
        let url = Server::shared_scratch().unwrap().url("postgres");
        let mut admin = connection::connect(Database::Warehouse, &url).await.unwrap();
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {}", self.names[0]))).await.unwrap();
        admin.close().await.unwrap();
    }
}

/// A warehouse of a spec, its tables made.
async fn warehouse(files: &Files, database: &str) -> (Warehouse, Databases) {
    let model = model::load(files).unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)));
    let name = model.name.clone();
    let emitted = emit::emit(&model, &Workspace { warehouses: vec![name.clone()], default: None });
    let lock = Lock::read(emitted.get(&format!("migration/src/{name}/lock.toml")).unwrap()).unwrap();
    let up = emitted.get(&format!("migration/src/{name}/{}/up.sql", lock.migrations[0].name)).unwrap();
    let warehouse = descriptor::warehouse(&model, &lock, "orders");
    let databases = Databases::new(&warehouse, database, up).await;
    (warehouse, databases)
}
