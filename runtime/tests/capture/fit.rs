//! What does not fit silver is refused before anything of it lands: columns that are not there, types that
//! are too narrow, keys that find two rows.

use medallion_runtime::descriptor::{Column, ColumnFrom, Name, Silver, SilverKind, Tracking};

use crate::bench::Bench;

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text NOT NULL, price numeric(5, 2) NOT NULL);
    ALTER TABLE item REPLICA IDENTITY FULL;
    INSERT INTO item VALUES (1, 'a', 1.50)";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"])];

/// A dimension of `item`, of these columns: name, field, definition.
async fn add_dimension(bench: &mut Bench, table: &str, columns: &[(&str, &str, &str)]) {
    let defined: Vec<String> =
        columns.iter().map(|(name, _, definition)| format!("{name} {definition}")).collect();
    bench
        .on_target(&format!(
            "CREATE SCHEMA IF NOT EXISTS silver; CREATE TABLE silver.{table} ({})",
            defined.join(", ")
        ))
        .await;
    let columns = columns
        .iter()
        .map(|(name, field, definition)| Column {
            name: (*name).to_owned(),
            sql_type: definition.trim_end_matches(" NOT NULL").to_owned(),
            from: ColumnFrom::Field((*field).to_owned()),
            tracking: Tracking::Tracked,
            renamed: Vec::new(),
            counted: None,
        })
        .collect();
    bench.warehouse.silver.push(Silver {
        table: Name::new("silver", table),
        feed: Name::new("bronze", "item"),
        key: vec!["id".to_owned()],
        columns,
        lookups: vec![],
        kind: SilverKind::Dimension {
            current: Name::new("silver", format!("{table}_current")),
            row_hash: "row_hash".to_owned(),
            start: "sys_start".to_owned(),
            end: "sys_end".to_owned(),
            journal: None,
            closed: None,
            surrogate: None,
        },
    });
}

/// Refused with these words, and nothing has landed nor been made since.
async fn assert_refused(bench: &mut Bench, landed: i64, message: &str) {
    assert_eq!(bench.error().await, message);
    let found: i64 = bench.target_value("SELECT count(*) FROM bronze.item").await;
    assert_eq!(found, landed);
    let made: i64 = bench
        .source_value(
            "SELECT
                (SELECT count(*) FROM pg_publication)
                + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())",
        )
        .await;
    assert_eq!(made, if landed == 0 { 0 } else { 2 });
}

#[tokio::test]
async fn a_column_that_silver_reads_must_land() {
    let mut bench = Bench::new("fit_columns", TABLES, CAPTURED).await;
    add_dimension(&mut bench, "dim_item", &[("id", "id", "integer NOT NULL"), ("price", "prise", "numeric")])
        .await;
    add_dimension(&mut bench, "dim_price", &[("id", "id", "integer NOT NULL"), ("cost", "prise", "numeric")])
        .await;
    let message = "the source cannot be captured: `public.item` has no column `prise`, \
        which `silver.dim_item.price` and `silver.dim_price.cost` read\n  \
        = did you mean `price`? correct the column's `from` in the spec and run `medallion generate`, \
        or bring column `prise` to `public.item`; nothing lands until then";
    assert_refused(&mut bench, 0, message).await;

    for silver in &mut bench.warehouse.silver {
        silver.columns[1].from = ColumnFrom::Field("price".to_owned());
    }
    bench.capture().await;

    // History has the column, and what comes next has not.
    bench.on_source("UPDATE item SET price = 2.50; ALTER TABLE item RENAME price TO amount").await;
    bench.on_source("INSERT INTO item VALUES (2, 'b', 3.50)").await;
    let message = "the source cannot be captured: `public.item` has no column `price`, \
        which `silver.dim_item.price` and `silver.dim_price.cost` read\n  \
        = correct the column's `from` in the spec and run `medallion generate`, \
        or bring column `price` to `public.item`; nothing lands until then";
    assert_refused(&mut bench, 1, message).await;

    bench.on_source("ALTER TABLE item DROP amount").await;
    assert_refused(&mut bench, 1, message).await;

    bench
        .on_source(
            "ALTER TABLE item ADD price numeric(5, 2); ALTER PUBLICATION bench SET TABLE item (id, name)",
        )
        .await;
    let message = "the source cannot be captured: `public.item` publishes no column `price`, \
        which `silver.dim_item.price` and `silver.dim_price.cost` read\n  \
        = let publication `bench` publish the column, or take it out of the spec";
    assert_refused(&mut bench, 1, message).await;

    bench.on_source("ALTER PUBLICATION bench SET TABLE item").await;
    bench.capture().await;
}

/// Before anything is captured; what is captured goes on, for the cast tells, and the source's log may not pile up.
#[tokio::test]
async fn labels_that_silver_lacks_are_refused_at_first_and_told_later() {
    let sql = "
        CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE DOMAIN felt AS mood;
        CREATE TABLE item (id integer PRIMARY KEY, mood felt, moods mood[]);
        ALTER TABLE item REPLICA IDENTITY FULL;
        INSERT INTO item VALUES (1, 'sad', '{sad}')";
    let mut bench = Bench::new("fit_labels", sql, CAPTURED).await;
    bench.on_target("CREATE SCHEMA silver; CREATE TYPE silver.mood AS ENUM ('happy', 'ok')").await;
    let columns = [
        ("id", "id", "integer NOT NULL"),
        ("mood", "mood", "silver.mood"),
        ("moods", "moods", "silver.mood[]"),
        ("word", "mood", "text"),
    ];
    add_dimension(&mut bench, "dim_item", &columns).await;
    let lacks = |label: &str| {
        [
            format!(
                "column `mood` of `public.item` is `felt` over `mood`, and `silver.dim_item.mood`, which reads it, is \
                 `silver.mood`: without {label}"
            ),
            format!(
                "column `moods` of `public.item` is `mood[]`, and `silver.dim_item.moods`, which reads it, is \
                 `silver.mood[]`: without {label}"
            ),
        ]
    };
    let remedy = |label: &str| {
        format!("add {label} to `mood` under `[types]` in the spec, run `medallion generate` and migrate")
    };
    let (label, [mood, moods]) = (remedy("\"sad\""), lacks("\"sad\""));
    let message = format!("the source cannot be captured: {mood}\n  and {moods}\n  = {label}");
    assert_refused(&mut bench, 0, &message).await;
    bench.on_target("ALTER TYPE silver.mood ADD VALUE 'sad'").await;
    bench.capture().await;

    bench.on_source("ALTER TYPE mood ADD VALUE 'in \"love\"'").await;
    bench.on_source("INSERT INTO item VALUES (2, 'in \"love\"', NULL)").await;
    let captured = bench.capture().await;
    let label = "\"in \\\"love\\\"\"";
    for what in lacks(label) {
        let told = format!("{what}; {}", remedy(label));
        assert!(captured.findings.contains(&told), "{told}: {:#?}", captured.findings);
    }
    bench.assert_fold().await;

    bench.on_target("ALTER TYPE silver.mood ADD VALUE 'in \"love\"'").await;
    assert_eq!(bench.capture().await.findings, [""; 0]);
    bench.assert_fold().await;
}

#[tokio::test]
async fn types_that_are_too_narrow_are_refused() {
    let sql = "
        CREATE DOMAIN cents AS numeric(8, 4);
        CREATE TABLE item (
            id integer PRIMARY KEY, big bigint, open numeric, price cents, prices numeric(5, 2)[],
            code varchar(20), fixed char(3), words text
        );
        ALTER TABLE item REPLICA IDENTITY FULL;
        INSERT INTO item VALUES (1, 1, 1, 1, '{1}', 'a', 'a', 'a')";
    let mut bench = Bench::new("fit_types", sql, CAPTURED).await;
    let narrow = [
        ("id", "id", "bigint NOT NULL"),
        ("big", "big", "integer"),
        ("open", "open", "numeric(12, 2)"),
        ("price", "price", "numeric(8, 2)"),
        ("prices", "prices", "numeric(4, 2)[]"),
        ("code", "code", "varchar(10)"),
        ("fixed", "fixed", "char(2)"),
        ("words", "words", "varchar(80)"),
    ];
    add_dimension(&mut bench, "dim_item", &narrow).await;
    let mut whats = Vec::new();
    let mut remedies = Vec::new();
    for (column, from, to, plain) in [
        ("big", "`bigint`", "integer", "bigint"),
        ("open", "`numeric`", "numeric(12,2)", "numeric"),
        ("price", "`cents` over `numeric(8,4)`", "numeric(8,2)", "numeric(8,4)"),
        ("prices", "`numeric(5,2)[]`", "numeric(4,2)[]", "numeric(5,2)[]"),
        ("code", "`varchar(20)`", "varchar(10)", "varchar(20)"),
        ("fixed", "`char(3)`", "char(2)", "char(3)"),
        ("words", "`text`", "varchar(80)", "text"),
    ] {
        whats.push(format!(
            "column `{column}` of `public.item` is {from}, and `silver.dim_item.{column}`, which reads it, \
            is `{to}`: too narrow for all that can come"
        ));
        remedies.push(format!(
            "write `{{ name = \"{column}\", type = \"{plain}\" }}` among the columns of `silver.dim_item` \
            in the spec and run `medallion generate`"
        ));
    }
    let message =
        format!("the source cannot be captured: {}\n  = {}", whats.join("\n  and "), remedies.join("\n    "));
    assert_refused(&mut bench, 0, &message).await;

    bench.warehouse.silver.clear();
    let wide = [
        ("id", "id", "numeric(12, 2) NOT NULL"),
        ("big", "big", "bigint"),
        ("open", "open", "numeric"),
        ("price", "price", "numeric(9, 4)"),
        ("prices", "prices", "numeric[]"),
        ("code", "code", "text"),
        ("fixed", "fixed", "varchar(3)"),
        ("words", "words", "varchar"),
    ];
    add_dimension(&mut bench, "dim_wide", &wide).await;
    assert!(bench.capture().await.findings.is_empty());
    bench.assert_fold().await;
}

#[tokio::test]
async fn a_null_that_may_come_is_told() {
    let mut bench = Bench::new("fit_nulls", TABLES, CAPTURED).await;
    bench.on_source("ALTER TABLE item ALTER name DROP NOT NULL").await;
    let columns =
        [("id", "id", "integer NOT NULL"), ("label", "name", "text NOT NULL"), ("name", "name", "text")];
    add_dimension(&mut bench, "dim_item", &columns).await;
    assert_eq!(
        bench.capture().await.findings,
        ["columns may be null at the source and not in silver, which a null would keep from being applied: \
        `public.item.name` (`silver.dim_item.label`); \
        set them NOT NULL at the source, or write `null = true` in the spec"]
    );
}

#[tokio::test]
async fn a_key_that_finds_two_rows_is_refused() {
    let sql = "
        CREATE TABLE item (id integer PRIMARY KEY, code text, part integer NOT NULL);
        ALTER TABLE item REPLICA IDENTITY FULL;
        INSERT INTO item VALUES (1, 'a', 1)";
    let mut bench = Bench::new("fit_keys", sql, CAPTURED).await;
    bench.warehouse.landings[0].key = vec!["code".to_owned(), "part".to_owned()];
    let what = "the source cannot be captured: two rows of `public.item` can have the same `code`, `part`, \
        the key of `bronze.item`: no unique index, neither partial nor deferrable, is over some of it, never null";
    let own = format!(
        "{what}\n  = write `key = [\"id\"]` for `bronze.item` in the spec and run `medallion generate`: \
        these columns are unique"
    );
    assert_refused(&mut bench, 0, &own).await;

    for not_enough in [
        "CREATE UNIQUE INDEX item_code ON item (code)",
        "ALTER TABLE item ALTER code SET NOT NULL; DROP INDEX item_code;
        CREATE UNIQUE INDEX item_code ON item (code) WHERE part > 0",
        "DROP INDEX item_code; CREATE UNIQUE INDEX item_code ON item (lower(code))",
        "DROP INDEX item_code; CREATE UNIQUE INDEX item_code ON item (code, id) INCLUDE (part)",
        "DROP INDEX item_code; ALTER TABLE item ADD CONSTRAINT item_code UNIQUE (code) DEFERRABLE",
    ] {
        bench.on_source(not_enough).await;
        assert_refused(&mut bench, 0, &own).await;
    }
    bench
        .on_source(
            "ALTER TABLE item DROP CONSTRAINT item_code, ALTER code DROP NOT NULL, DROP CONSTRAINT item_pkey",
        )
        .await;
    let message = format!(
        "{what}\n  = ALTER TABLE \"public\".\"item\" ALTER \"code\" SET NOT NULL, ALTER \"part\" SET NOT NULL, \
        ADD UNIQUE (\"code\", \"part\");"
    );
    assert_refused(&mut bench, 0, &message).await;
    let (_, remedy) = message.rsplit_once("= ").expect("a remedy");
    bench.on_source(remedy).await;
    bench.capture().await;
    bench.assert_fold().await;
}

/// A key may say more than what is unique, and be unique by the table's root only.
#[tokio::test]
async fn a_key_may_hold_more_than_is_unique() {
    let sql = "
        CREATE TABLE item (id integer, day date, note text NOT NULL, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
        CREATE TABLE item_all PARTITION OF item DEFAULT;
        ALTER TABLE item REPLICA IDENTITY FULL;
        ALTER TABLE item_all REPLICA IDENTITY FULL;
        INSERT INTO item VALUES (1, '2025-01-01', 'a')";
    let mut bench = Bench::new("fit_more", sql, CAPTURED).await;
    bench.warehouse.landings[0].key = ["id", "note", "day"].map(str::to_owned).to_vec();
    bench.capture().await;
    bench.warehouse.landings[0].key = vec!["id".to_owned()];
    let error = bench.error().await;
    assert!(error.contains("write `key = [\"day\", \"id\"]`"), "{error}");
}
