//! What becomes of a morning's orders that come as files, of files that are not as they should be, and of a directory
//! that two want to write to.

use medallion_runtime::capture::extract::{Extractor, To};
use medallion_server::Server;
use sqlx::Executor as _;

use crate::fed::databases::Ends;
use crate::fed::law::{self, block_on};
use crate::fed::warehouse::{text, verified};
use crate::shop::{Shop, Specs};

/// Orders of a morning, by a source that is polled into files and by a file that others wrote.
#[test]
fn the_orders_of_a_morning_are_told_by_files() {
    block_on(async {
        let mut shop = Shop::new(Specs::orders(), include_str!("../../spec/orders/source.sql")).await;
        shop.source.session.execute(include_str!("../../spec/orders/sample.sql")).await.unwrap();
        shop.extract(None).await.unwrap();
        shop.source
            .session
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
        let mut shop = Shop::new(Specs::orders(), include_str!("../../spec/orders/source.sql")).await;
        let by_hand = include_str!("by_hand.json");
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
        let mut shop = Shop::new(Specs::orders(), include_str!("../../spec/orders/source.sql")).await;
        let whole = include_str!("by_hand.json");
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
        law::expect("change_logs/told.txt", &told);
        shop.reader.apply(&shop.fed, Ends::Well).await.unwrap();
        verified(&shop.fed, &mut shop.reader.target).await.unwrap();
        shop.end().await;
    });
}

/// One at a time writes to a directory, of one source; and what is written of a change has fields of its own.
#[test]
fn a_directory_has_what_one_source_says() {
    block_on(async {
        let mut shop = Shop::new(Specs::orders(), include_str!("../../spec/orders/source.sql")).await;
        let folder = shop.written.path();
        let to = || To::Directory(folder);
        let first = Extractor::begin(&shop.polled, &shop.source.url, to()).await.unwrap();
        let error = Extractor::begin(&shop.polled, &shop.source.url, to()).await.err().unwrap().to_string();
        assert!(error.contains("one `medallion extract` at a time"), "{error}");
        drop(first);
        let elsewhere = Server::shared_scratch().unwrap().url(&shop.poller.name);
        let error = Extractor::begin(&shop.polled, &elsewhere, to()).await.err().unwrap().to_string();
        assert!(error.contains("correct SOURCE_DATABASE_URL"), "{error}");
        let error = Extractor::begin(&shop.fed, &shop.source.url, to()).await.err().unwrap().to_string();
        assert!(error.contains("is not polled"), "{error}");
        shop.source.session.execute("ALTER TABLE orders ADD operation_type text").await.unwrap();
        let error = shop.extract(None).await.unwrap_err().to_string();
        assert!(error.contains("a column `operation_type`"), "{error}");
        shop.end().await;
    });
}
