//! FOR SYSTEM_TIME: what a question becomes, case by case and to the byte; what stays as it is; and that
//! the answers are those of the generated functions and views, and of a plain model of histories.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod answers;
mod law;
mod neighbours;

use std::path::Path;
use std::{env, fs};

use medallion_runtime::descriptor::{
    Column, ColumnFrom, Landing, Mart, Name, Plugin, RemovedPartitions, Scripts, Silver, SilverKind, Source,
    Storage, Surrogate, Tracking, Unit, Warehouse,
};
use medallion_runtime::system_time::{self, Guard, rewrite};

/// Each case is a folder with a question, and what it becomes or why it is refused.
#[test]
fn a_question_is_rewritten_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system_time/cases");
    let warehouse = pagila();
    let mut different = Vec::new();
    let mut count = 0;
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        let question = fs::read_to_string(case.join("question.sql")).unwrap();
        let (file, other, found) = match rewrite(&warehouse, &question, Guard::Nothing) {
            Ok(question) => ("rewritten.sql", "refused.txt", question.sql),
            Err(error) => ("refused.txt", "rewritten.sql", format!("error: {error}\n")),
        };
        if env::var_os("MEDALLION_UPDATE").is_some() {
            fs::write(case.join(file), &found).unwrap();
            let _ = fs::remove_file(case.join(other));
        }
        if fs::read_to_string(case.join(file)).ok().as_ref() != Some(&found) || case.join(other).exists() {
            different.push(format!("{}:\n{found}", case.display()));
        }
        count += 1;
    }
    assert!(count > 40, "the cases are there");
    assert!(different.is_empty(), "MEDALLION_UPDATE=1 rewrites the files\n{}", different.join("\n"));
}

/// Of these, some no parser but PostgreSQL's reads, and some say FOR SYSTEM_TIME without meaning it.
pub const UNCHANGED: [&str; 18] = [
    "SELECT '{\"a\": {\"b\": 1}}'::jsonb #>> '{a,b}', '{\"a\": 1}'::jsonb @> '{\"a\": 1}', '{\"a\": 1}'::jsonb ? 'a'",
    "SELECT E'it\\'s', U&'d\\0061t', B'101', X'1F', $$a ' b$$, $tag$ $$ $tag$",
    "SELECT count(*) FILTER (WHERE one > 1) FROM (VALUES (1), (2)) AS numbers (one)",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY one DESC) FROM generate_series(1, 3) AS one",
    "SELECT one, count(*) FROM generate_series(1, 3) one GROUP BY GROUPING SETS ((one), ROLLUP (one), ())",
    "SELECT * FROM generate_series(1, 2) WITH ORDINALITY AS one (a, b), LATERAL (SELECT a + 1) AS two",
    "SELECT (ARRAY[[1, 2], [3, 4]])[1:2][1], '[1:2]={3,4}'::int[] && ARRAY[3], 1 = ANY ('{1,2}')",
    "SELECT now() AT TIME ZONE 'UTC' IS DISTINCT FROM NULL, (now(), now()) OVERLAPS (now(), interval '1 day')",
    "SELECT 'FOR SYSTEM_TIME ALL', 'it''s FOR SYSTEM_TIME ALL', E'\\' FOR SYSTEM_TIME ALL'",
    "SELECT 1 AS \"FOR SYSTEM_TIME ALL\" /* FOR SYSTEM_TIME /* nested */ ALL */ -- FOR SYSTEM_TIME ALL",
    "SELECT $a$ FROM x FOR SYSTEM_TIME ALL $a$",
    "SELECT substring('abc' FROM 2 FOR system_time) FROM (SELECT 1) AS lengths (system_time)",
    "SELECT overlay('abc' PLACING 'x' FROM 1 FOR system_time + 1) FROM (SELECT 1) AS lengths (system_time)",
    "SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS pairs (a, b)",
    "SELECT one FROM generate_series(1, 3) AS one ORDER BY one USING > FETCH FIRST 1 ROW WITH TIES",
    "WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) SEARCH DEPTH FIRST BY n SET o SELECT n FROM t",
    "SELECT sum(one) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM generate_series(1, 2) AS one WINDOW w AS (ORDER BY one)",
    "TABLE pg_catalog.pg_am",
];

#[test]
fn what_asks_for_no_system_time_stays_as_it_is() {
    let warehouse = pagila();
    for sql in UNCHANGED {
        let question = rewrite(&warehouse, sql, Guard::Each).unwrap_or_else(|error| panic!("{sql}\n{error}"));
        assert_eq!((question.sql.as_str(), question.times.len()), (sql, 0));
    }
}

#[test]
fn a_schema_is_read_where_a_relation_of_it_is() {
    for (sql, expected) in [
        ("select * from gold.sales", "gold"),
        ("select * from \"gold\".sales", "gold"),
        ("from Gold . sales", "gold"),
        ("select gold from sales", ""),
        ("from old_gold.sales", "old_gold"),
        ("SELECT medallion.now(), silver.dim_film_as_of('2025-01-01')", ""),
        ("SELECT 'gold.x', $$gold.x$$ /* gold.x */ FROM sales -- silver.dim_film", ""),
        ("SELECT * FROM silver.dim_film FOR SYSTEM_TIME AS OF '2025-01-01' AS f", ""),
        ("SELECT * FROM silver.dim_film AS f FOR SYSTEM_TIME ALL JOIN gold.sales ON true", "gold"),
        ("TABLE silver.dim_film FOR SYSTEM_TIME AS OF (SELECT max(at) FROM gold.sales)", "gold"),
        ("SELECT 'open FROM gold.sales", ""),
    ] {
        let found: Vec<String> = system_time::schemas(sql).into_iter().collect();
        assert_eq!(found.join(" "), expected, "{sql}");
    }
}

/// Part of a warehouse as the generated entities describe it.
fn pagila() -> Warehouse {
    let dimension = |schema: &str, name: &str, columns: &[&str]| Silver {
        kind: SilverKind::Dimension {
            current: Name::new("temporal_silver", name),
            row_hash: "row_hash".to_owned(),
            start: "sys_start".to_owned(),
            end: "sys_end".to_owned(),
            journal: None,
            closed: None,
            surrogate: None,
        },
        ..silver(schema, &format!("{name}_hist"), columns)
    };
    let payment = Silver {
        kind: SilverKind::Fact {
            snapshot: "snapshot_ts".to_owned(),
            archive: Name::new("medallion", "fact_payment_history"),
            partition_by: "payment_date".to_owned(),
            partition_every: Unit::Month,
        },
        ..silver("temporal_silver", "fact_payment", &["payment_id", "payment_date", "customer_id", "amount"])
    };
    let mut warehouse = empty("pagila", "UTC", vec!["temporal_silver", "simple_gold"]);
    warehouse.silver = vec![
        dimension("temporal_silver", "dim_customer", &["customer_id", "store_id", "email", "active"]),
        dimension("temporal_silver", "dim_film", &["film_id", "title"]),
        dimension("medallion", "lookup_store", &["store_id", "manager_staff_id"]),
        payment,
    ];
    for (silver, told_apart) in warehouse.silver.iter_mut().zip([
        None,
        Some(Surrogate::hash("film_key", "md5({row}.\"film_id\"::text || {start}::text)")),
        Some(Surrogate::stored("number")),
    ]) {
        if let SilverKind::Dimension { surrogate, .. } = &mut silver.kind {
            *surrogate = told_apart;
        }
    }
    warehouse.landings = vec![Landing::new(
        Name::new("cdc_bronze", "br_customer_cdc"),
        Name::new("public", "customer"),
        ["customer_id"],
    )];
    let view = |schema: &str, name: &str, grain: &[&str], reads: Vec<Name>| Mart {
        table: Name::new(schema, name),
        columns: grain.iter().map(|column| (*column).to_owned()).collect(),
        grain: grain.iter().map(|column| (*column).to_owned()).collect(),
        storage: Storage::View,
        reads,
    };
    let films = Name::new("temporal_silver", "dim_film_hist");
    warehouse.marts = vec![
        view("simple_gold", "vw_monthly_revenue", &["month"], Vec::new()),
        view("temporal_silver", "dim_film_history", &["film_id", "valid_from"], vec![films]),
    ];
    warehouse
}

/// A relation by its names; its kind is the caller's to say.
pub fn silver(schema: &str, table: &str, columns: &[&str]) -> Silver {
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        sql_type: "text".to_owned(),
        from: ColumnFrom::Field((*name).to_owned()),
        tracking: Tracking::Tracked,
        renamed: Vec::new(),
        counted: None,
    };
    Silver {
        table: Name::new(schema, table),
        feed: Name::new("bronze", "feed"),
        key: vec![columns[0].to_owned()],
        columns: columns.iter().map(column).collect(),
        lookups: Vec::new(),
        kind: SilverKind::Dimension {
            current: Name::new(schema, format!("{table}_current")),
            row_hash: "row_hash".to_owned(),
            start: "sys_start".to_owned(),
            end: "sys_end".to_owned(),
            journal: None,
            closed: None,
            surrogate: None,
        },
    }
}

/// A warehouse without relations.
pub fn empty(name: &'static str, time_zone: &'static str, schemas: Vec<&'static str>) -> Warehouse {
    Warehouse {
        name,
        spec_hash: "",
        objects_hash: "",
        time_zone,
        schemas,
        source: Source {
            publication: String::new(),
            slot: String::new(),
            recorded_log: None,
            keep_log: None,
            plugin: Plugin::default(),
            removed_partitions: RemovedPartitions::default(),
            polling: None,
        },
        landings: Vec::new(),
        silver: Vec::new(),
        marts: Vec::new(),
        migrations: Vec::new,
        stagings: Vec::new(),
        calendars: Vec::new(),
        refused: &[],
        tags: Vec::new(),
        lineage: "[]",
        alerts: Vec::new(),
        scripts: Scripts::default(),
        tests: Vec::new(),
        demo: Vec::new(),
    }
}
