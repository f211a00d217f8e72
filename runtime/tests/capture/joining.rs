//! Tables that come later than the others, or come again: each gets a snapshot of its own, nothing of it is lost or
//! doubled, and the others stream on.

use medallion_runtime::capture::Point;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Landing, Name, RemovedPartitions};

use crate::bench::{At, Bench, Stop, Writer, run};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text);
    CREATE TABLE entry (id integer PRIMARY KEY, name text);
    CREATE TABLE later (id integer PRIMARY KEY, name text);
    INSERT INTO item SELECT n, 'old' FROM generate_series(1, 20) AS n;
    INSERT INTO later SELECT n, 'old' FROM generate_series(1, 20) AS n";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"]), ("entry", &["id"]), ("later", &["id"])];

/// Captures without the last table, which then comes into the spec.
async fn bench(name: &str) -> Bench {
    let mut bench = Bench::new(name, TABLES, CAPTURED).await;
    let later = bench.warehouse.landings.pop().expect("three");
    bench.capture().await;
    bench
        .on_source("UPDATE item SET name = 'new' WHERE id = 1; UPDATE later SET name = 'unseen' WHERE id = 1")
        .await;
    bench.capture().await;
    bench.on_source("UPDATE item SET name = 'newer' WHERE id = 1").await;
    bench.warehouse.landings.push(later);
    bench
}

#[tokio::test]
async fn a_table_added_later_comes_with_a_snapshot_of_its_own() {
    let mut bench = bench("join_later").await;
    let before: i64 = bench.target_value("SELECT count(*) FROM bronze.item").await;
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 21, "{captured:?}");
    bench.assert_fold().await;
    bench
        .on_source(
            "UPDATE later SET name = 'streamed' WHERE id < 3; DELETE FROM item WHERE id = 9; TRUNCATE entry",
        )
        .await;
    assert_eq!(bench.capture().await.rows(), 4);
    let after: i64 = bench.target_value("SELECT count(*) FROM bronze.item").await;
    assert_eq!(after, before + 2, "the others go on as they were");
    bench.assert_fold().await;
    bench.assert_times().await;
}

#[tokio::test]
async fn killed_while_it_joins_it_joins_the_next_time() {
    let mut bench = bench("join_killed").await;
    for (round, point) in [Point::SnapshotTaken, Point::PastCopied, Point::PastLanded].into_iter().enumerate()
    {
        let error = bench.capture_with(&mut Stop(point)).await.expect_err("it stops").to_string();
        assert!(error.contains("stopped"), "{point:?}: {error}");
        bench.on_source(&format!("UPDATE later SET name = 'round {round}' WHERE id % 4 = {round}")).await;
    }
    let snapshots: i64 = bench.target_value("SELECT count(*) FROM bronze.later WHERE op = 'I'").await;
    assert_eq!(snapshots, 20);
    assert_eq!(bench.capture().await.rows(), 5, "only the last round has not landed");
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// Who wrote to it before it was published, and commits later, is waited for; who writes while its snapshot is
/// read comes by the stream.
#[tokio::test]
async fn writers_at_work_while_it_joins_lose_nothing() {
    let mut bench = bench("join_busy").await;
    let open = Writer::new(&bench.source_url);
    open.run("BEGIN; UPDATE later SET name = 'open' WHERE id = 5");
    let captured = bench.capture().await;
    assert!(
        captured.findings.iter().any(|said| said.contains("`public.later` is not captured yet")),
        "{captured:?}"
    );
    assert_eq!(captured.rows(), 1, "the others go on");
    open.run("UPDATE later SET name = 'open' WHERE id = 6; COMMIT");
    bench.on_source("DELETE FROM later WHERE id = 7").await;
    let quick = Writer::new(&bench.source_url);
    let mut actions = At(|point| {
        if point == Point::SnapshotTaken {
            quick.run("INSERT INTO later VALUES (100, 'while it is read'); DELETE FROM later WHERE id = 8");
            quick.run("INSERT INTO item VALUES (100, 'beside it')");
            open.run("BEGIN; INSERT INTO later VALUES (101, 'open'); INSERT INTO item VALUES (101, 'open')");
        }
    });
    let captured = bench.capture_with(&mut actions).await.expect("captured");
    assert_eq!(captured.rows(), 19 + 2 + 1, "{captured:?}");
    open.run("COMMIT");
    assert_eq!(bench.capture().await.rows(), 2);
    bench.assert_fold().await;
    bench.assert_times().await;
}

#[tokio::test]
async fn a_table_dropped_stays_as_it_was_and_what_comes_back_differs() {
    let mut bench = Bench::new("join_again", TABLES, CAPTURED).await;
    bench.capture().await;
    bench.on_source("UPDATE later SET name = 'last' WHERE id = 1; DROP TABLE later; UPDATE item SET name = 'on' WHERE id = 1").await;
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 2, "what it had still comes, and the others go on");
    assert_eq!(
        captured.findings,
        ["`public.later` is gone from the source: what landed of it stays as it was"]
    );

    bench
        .on_source(
            "CREATE TABLE later (id integer PRIMARY KEY, name text, more integer);
            INSERT INTO later VALUES (1, 'last', 1), (30, 'new', 2);
            UPDATE item SET name = 'on and on' WHERE id = 1",
        )
        .await;
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 1 + 1 + 1 + 19, "{captured:?}");
    assert_eq!(
        captured.findings,
        [
            "`public.later` was made anew at the source: what differs from what it was has landed as one step: 1 new, 1 changed, 19 gone"
        ]
    );
    bench.on_source("DELETE FROM later WHERE id = 1").await;
    assert_eq!(bench.capture().await.rows(), 1);
    bench.assert_fold().await;
    bench.assert_times().await;

    // Dropped and made anew between two runs; another in its place, by its name.
    bench
        .on_source(
            "DROP TABLE later; CREATE TABLE later (id integer PRIMARY KEY); INSERT INTO later VALUES (2)",
        )
        .await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.on_source("CREATE TABLE heir (id integer PRIMARY KEY); INSERT INTO heir VALUES (3); ALTER TABLE later RENAME TO former; ALTER TABLE heir RENAME TO later; INSERT INTO former VALUES (4)").await;
    bench.capture().await;
    bench.on_source("INSERT INTO former VALUES (5); INSERT INTO later VALUES (6)").await;
    assert_eq!(bench.capture().await.rows(), 1);
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// A publication that was changed for a while, and is as before: nothing tells what it left out.
#[tokio::test]
async fn what_a_publication_has_left_out_is_found() {
    let mut bench = Bench::new("join_published", TABLES, CAPTURED).await;
    bench.capture().await;
    for (round, (leave, take)) in [
        ("ALTER PUBLICATION bench DROP TABLE later", "ALTER PUBLICATION bench ADD TABLE later"),
        (
            "ALTER PUBLICATION bench SET (publish = 'insert')",
            "ALTER PUBLICATION bench SET (publish = 'insert, update, delete, truncate')",
        ),
        // Left to the next run to take in again.
        ("ALTER PUBLICATION bench DROP TABLE later", "SELECT 1"),
    ]
    .into_iter()
    .enumerate()
    {
        bench
            .on_source(&format!("{leave}; UPDATE later SET name = 'left out {round}' WHERE id < 5; {take}; UPDATE later SET name = 'told {round}' WHERE id = 9"))
            .await;
        let captured = bench.capture().await;
        let left_out = "what may have been left out of `public.later` while its name or its publication was another has landed as one step";
        assert!(captured.findings.iter().any(|said| said.starts_with(left_out)), "{captured:?}");
        bench.assert_fold().await;
        bench.assert_times().await;
    }
    assert_eq!(bench.capture().await.findings, [""; 0]);
}

/// A table that has another name for a while, or stands in another schema, and is written to: of that nothing tells.
#[tokio::test]
async fn what_was_written_under_another_name_is_found() {
    let mut bench = Bench::new("join_renamed", TABLES, CAPTURED).await;
    bench.on_source("CREATE SCHEMA aside").await;
    bench.capture().await;
    let left_out =
        "what may have been left out of `public.later` while its name or its publication was another";
    for (round, (leave, back)) in [
        ("ALTER TABLE later RENAME TO away", "ALTER TABLE away RENAME TO later"),
        ("ALTER TABLE later SET SCHEMA aside", "ALTER TABLE aside.later SET SCHEMA public"),
    ]
    .into_iter()
    .enumerate()
    {
        let away = if round == 0 { "away" } else { "aside.later" };
        let writes =
            format!("UPDATE {away} SET name = 'away {round}' WHERE id < 5; DELETE FROM {away} WHERE id = 15");
        let told = format!(
            "UPDATE later SET name = 'told {round}' WHERE id = 9; INSERT INTO later VALUES (15, 'told')"
        );
        let others = "UPDATE item SET name = 'told' WHERE id = 1";
        // All between two runs.
        bench.on_source(&format!("{leave}; {writes}; {back}; {told}; {others}")).await;
        let captured = bench.capture().await;
        assert!(captured.findings.iter().any(|said| said.starts_with(left_out)), "{captured:?}");
        bench.assert_fold().await;
        bench.assert_times().await;
        // Runs between the steps.
        bench.on_source(leave).await;
        bench.capture().await;
        bench.on_source(&format!("{writes}; {others}")).await;
        // What has not landed is read once more.
        bench.capture_until(Point::BatchCopied).await;
        let captured = bench.capture().await;
        assert!(captured.findings.iter().any(|said| said.contains("called otherwise")), "{captured:?}");
        bench.on_source(&format!("{back}; {told}")).await;
        let captured = bench.capture().await;
        assert!(captured.findings.iter().any(|said| said.starts_with(left_out)), "{captured:?}");
        bench.assert_fold().await;
        bench.assert_times().await;
        // Emptied under another name.
        bench.on_source(&format!("{leave}; TRUNCATE {away}; {back}; {others}")).await;
        bench.capture().await;
        bench.assert_fold().await;
        // Nothing was written meanwhile.
        bench
            .on_source(&format!(
                "{leave}; {back}; INSERT INTO later SELECT n, 'new' FROM generate_series(1, 20) AS n"
            ))
            .await;
        let captured = bench.capture().await;
        assert_eq!((captured.rows(), captured.findings.len()), (20, 0), "{captured:?}");
        bench.assert_fold().await;
    }
}

/// Rows without their key are no rows that anybody could tell from others.
#[tokio::test]
async fn a_key_that_has_another_name_for_a_while_lands_no_row_without_it() {
    let mut bench = Bench::new("join_key_renamed", TABLES, CAPTURED).await;
    bench.capture().await;
    for statement in [
        "ALTER TABLE later RENAME COLUMN id TO number",
        "UPDATE later SET name = 'away' WHERE number < 5",
        "INSERT INTO later VALUES (77, 'away')",
        "ALTER TABLE later RENAME COLUMN number TO id",
        "UPDATE later SET name = 'back' WHERE id = 9",
    ] {
        bench.on_source(statement).await;
    }
    let captured = bench.capture().await;
    let left_out =
        "what may have been left out of `public.later` while its name or its publication was another";
    assert!(captured.findings.iter().any(|said| said.starts_with(left_out)), "{captured:?}");
    let keyless = "SELECT count(*) FROM bronze.later WHERE op <> 'T' AND NOT full_row ? 'id'";
    assert_eq!(bench.target_value::<i64>(keyless).await, 0);
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// Where the loader owns neither, the others go on, and it is said what to do.
#[tokio::test]
async fn a_table_that_may_not_be_published_keeps_nobody_waiting() {
    let mut bench = bench("join_owned").await;
    bench
        .on_source(
            "CREATE ROLE join_owned_loader LOGIN REPLICATION;
            GRANT SELECT ON ALL TABLES IN SCHEMA public TO join_owned_loader",
        )
        .await;
    let owner = bench.source_url.clone();
    bench.source_url = owner.replace("user=medallion", "user=join_owned_loader");
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 1);
    let says = "let the owner of both run: ALTER PUBLICATION \"bench\" ADD TABLE ONLY \"public\".\"later\";";
    assert!(captured.findings.iter().any(|said| said.contains(says)), "{captured:?}");
    bench.on_source("ALTER PUBLICATION bench ADD TABLE ONLY public.later; UPDATE later SET name = 'told' WHERE id = 2").await;
    assert_eq!(bench.capture().await.rows(), 20);
    bench.assert_fold().await;
    let mut source = connection::connect(Database::Source, &owner).await.expect("a session");
    run(&mut source, "DROP OWNED BY join_owned_loader; DROP ROLE join_owned_loader").await;
}

/// A second landing table of a table that is captured already.
#[tokio::test]
async fn a_second_landing_table_of_the_same_source_begins_by_itself() {
    let mut bench = Bench::new("join_second", TABLES, &CAPTURED[..1]).await;
    bench.capture().await;
    bench.on_target("CREATE TABLE bronze.again (LIKE bronze.item INCLUDING ALL)").await;
    bench.warehouse.landings.push(Landing::new(
        Name::new("bronze", "again"),
        Name::new("public", "item"),
        ["id"],
    ));
    bench.on_source("UPDATE item SET name = 'on' WHERE id = 1").await;
    assert_eq!(bench.capture().await.rows(), 1 + 20);
    bench.on_source("UPDATE item SET name = 'and on' WHERE id = 1").await;
    assert_eq!(bench.capture().await.rows(), 2);
    let (item, again): (i64, i64) = (
        bench.target_value("SELECT count(*) FROM bronze.item").await,
        bench.target_value("SELECT count(*) FROM bronze.again").await,
    );
    assert_eq!((item, again), (22, 21));
}

/// Where the spec says so, what went with them is deleted, as one step, and all else streams on.
#[tokio::test]
async fn rows_of_partitions_that_went_are_deleted_where_the_spec_says_so() {
    let sql = "
        CREATE TABLE sale (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id);
        CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM (0) TO (10);
        CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM (10) TO (20);
        CREATE TABLE sale_3 PARTITION OF sale FOR VALUES FROM (20) TO (30);
        CREATE TABLE item (id integer PRIMARY KEY);
        INSERT INTO sale SELECT n, 'a' FROM generate_series(1, 29) AS n";
    let mut bench = Bench::new("join_removed", sql, &[("sale", &["id"]), ("item", &["id"])]).await;
    bench.warehouse.source.removed_partitions = RemovedPartitions::Delete;
    bench.capture().await;
    bench
        .on_source("TRUNCATE sale_3; INSERT INTO sale VALUES (20, 'new'); INSERT INTO item VALUES (1)")
        .await;
    bench.on_source("DROP TABLE sale_1; ALTER TABLE sale DETACH PARTITION sale_2").await;
    // Killed before it has landed, it is found again.
    bench.capture_until(Point::PastCopied).await;
    let captured = bench.capture().await;
    let [finding] = captured.findings.as_slice() else { panic!("{captured:?}") };
    assert!(
        finding.starts_with("partitions of `public.sale` were truncated, detached or dropped"),
        "{finding}"
    );
    assert!(finding.ends_with("0 new, 0 changed, 28 gone"), "{finding}");
    bench.assert_fold().await;
    bench.assert_times().await;
    bench.on_source("INSERT INTO sale VALUES (21, 'later'); DELETE FROM item").await;
    let captured = bench.capture().await;
    assert_eq!((captured.rows(), captured.findings.len()), (2, 0), "{captured:?}");
    bench.assert_fold().await;
}

/// What a partition had before it was attached the stream never tells, nor what was written to one that was detached.
#[tokio::test]
async fn rows_of_partitions_that_come_land() {
    let sql = "
        CREATE TABLE sale (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id);
        CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM (0) TO (10);
        CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM (10) TO (20);
        INSERT INTO sale SELECT n, 'a' FROM generate_series(1, 19) AS n";
    let mut bench = Bench::new("join_attached", sql, &[("sale", &["id"])]).await;
    bench.capture().await;
    let attached = "partitions of `public.sale` were attached: what it has with them has landed as one step";
    for (step, rows) in [
        (
            "CREATE TABLE sale_3 (id integer PRIMARY KEY, name text);
            INSERT INTO sale_3 SELECT n, 'b' FROM generate_series(20, 29) AS n;
            ALTER TABLE sale ATTACH PARTITION sale_3 FOR VALUES FROM (20) TO (30);
            UPDATE sale SET name = 'c' WHERE id IN (1, 20)",
            2 + 9,
        ),
        (
            "ALTER TABLE sale DETACH PARTITION sale_2; UPDATE sale_2 SET name = 'd' WHERE id < 12;
            ALTER TABLE sale ATTACH PARTITION sale_2 FOR VALUES FROM (10) TO (20)",
            2,
        ),
        // Partitions of partitions.
        (
            "CREATE TABLE sale_4 (id integer NOT NULL, name text) PARTITION BY RANGE (id);
            CREATE TABLE sale_41 PARTITION OF sale_4 FOR VALUES FROM (30) TO (35);
            CREATE TABLE sale_42 PARTITION OF sale_4 FOR VALUES FROM (35) TO (40);
            INSERT INTO sale_4 VALUES (31, 'f'), (36, 'f');
            ALTER TABLE sale ATTACH PARTITION sale_4 FOR VALUES FROM (30) TO (40)",
            2,
        ),
    ] {
        for statement in step.split(';') {
            bench.on_source(statement).await;
        }
        let captured = bench.capture().await;
        assert_eq!(captured.rows(), rows, "{captured:?}");
        assert!(captured.findings.iter().any(|said| said.starts_with(attached)), "{captured:?}");
        bench.assert_fold().await;
        bench.assert_times().await;
    }
    // One that comes empty is no news.
    bench.on_source("CREATE TABLE sale_5 (id integer PRIMARY KEY, name text)").await;
    bench.on_source("ALTER TABLE sale ATTACH PARTITION sale_5 FOR VALUES FROM (50) TO (60)").await;
    assert_eq!(bench.capture().await.findings, [""; 0]);
    // What went before stays as it was, where the spec does not say otherwise.
    for statement in [
        "DROP TABLE sale_1",
        "CREATE TABLE sale_6 AS SELECT 61 AS id, 'g' AS name",
        "ALTER TABLE sale_6 ALTER COLUMN id SET NOT NULL",
        "ALTER TABLE sale ATTACH PARTITION sale_6 FOR VALUES FROM (60) TO (70)",
    ] {
        bench.on_source(statement).await;
    }
    let captured = bench.capture().await;
    assert_eq!((captured.rows(), captured.findings.len()), (1, 2), "{captured:?}");
    assert_eq!(bench.capture().await.findings, [""; 0], "told once");
}

/// Of partitions that go the stream says nothing: they are found, told once, and a resnapshot closes what is gone.
#[tokio::test]
async fn partitions_that_go_without_a_word_are_found() {
    let sql = "
        CREATE TABLE sale (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id);
        CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM (0) TO (10);
        CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM (10) TO (20);
        CREATE TABLE sale_3 PARTITION OF sale FOR VALUES FROM (20) TO (30);
        INSERT INTO sale SELECT n, 'a' FROM generate_series(1, 29) AS n";
    let mut bench = Bench::new("join_leaves", sql, &[("sale", &["id"])]).await;
    assert_eq!(bench.capture().await.findings, [""; 0]);
    bench.on_source("CREATE TABLE sale_4 PARTITION OF sale FOR VALUES FROM (30) TO (40); INSERT INTO sale VALUES (30)").await;
    assert_eq!(bench.capture().await.findings, [""; 0], "one that comes is no news");
    bench.on_source("DROP TABLE sale_1; ALTER TABLE sale DETACH PARTITION sale_2; TRUNCATE sale_3").await;
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 0);
    let [dropped, truncated] = captured.findings.as_slice() else { panic!("{captured:?}") };
    assert!(dropped.starts_with("`sale_1`, `sale_2` of `public.sale` was dropped or detached"), "{dropped}");
    assert!(truncated.starts_with("`sale_3` of `public.sale` was truncated or written anew"), "{truncated}");
    assert_eq!(bench.capture().await.findings, [""; 0], "told once");
    let differences = bench.resnapshot().await.differences;
    assert_eq!(differences[&Name::new("bronze", "sale")].gone, 29);
    bench.assert_fold().await;
}
