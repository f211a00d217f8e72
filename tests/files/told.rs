//! What becomes of files that wait, that change and that are wrong; of times without a zone; and of files beside a log.

use std::fmt::Write as _;

use medallion_runtime::capture;
use medallion_runtime::files::Portion;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::drawn::time;
use crate::fed::breaks::Breaks;
use crate::fed::law::block_on;
use crate::fed::orders::Source;
use crate::lake::{Lake, expect};
use crate::parquet;

/// Files beside the log of a source.
const BESIDE: &str = include_str!("beside.toml");

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
        let script = "CREATE TABLE orders (order_id integer PRIMARY KEY, product text)";
        let mut source = Source::new(format!("{}_source", lake.name), script).await;
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
            source.session.execute(AssertSqlSafe(order)).await.unwrap();
            let target = &mut lake.databases.target;
            let mut breaks = Breaks::default();
            let landed = capture::capture(lake.warehouse, &source.url, target, &mut breaks).await.unwrap();
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
        source.end().await;
        lake.end().await;
    });
}
