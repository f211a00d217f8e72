//! The same JSON by snapshot, by stream and by the source's own `to_jsonb`, for every common type.

use medallion_runtime::capture::readiness;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Name;
use medallion_server::Server;

use crate::bench::{Bench, run};

const TYPES: &str = r#"
    CREATE EXTENSION IF NOT EXISTS hstore;
    CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'a,b');
    CREATE DOMAIN year AS integer CHECK (VALUE BETWEEN 1 AND 9999);
    CREATE DOMAIN tags AS text[];
    CREATE TYPE point_of AS (x integer, "the label" text, flags boolean[], seen timestamptz);
    CREATE DOMAIN place AS point_of;
    CREATE TYPE nested AS (inner_one point_of, many point_of[]);
    CREATE TABLE shapes (
        id integer PRIMARY KEY,
        a_boolean boolean, a_small smallint, an_int integer, a_big bigint,
        a_real real, a_double double precision, a_numeric numeric, a_scaled numeric(8, 3),
        a_text text, a_varchar varchar(40), a_char char(6), a_quoted "char", a_name name,
        a_bytea bytea, a_uuid uuid, an_xml xml,
        a_date date, a_time time, a_timetz timetz, a_timestamp timestamp, a_timestamptz timestamptz,
        an_interval interval, a_money money, an_oid oid, an_xid xid, an_lsn pg_lsn,
        an_inet inet, a_cidr cidr, a_mac macaddr, a_bit bit(5), a_varbit varbit,
        a_json json, a_jsonb jsonb, a_path jsonpath, a_vector tsvector, a_query tsquery,
        a_point point, a_box box, a_circle circle,
        a_range int4range, a_tsrange tstzrange, a_multirange nummultirange,
        a_mood mood, a_year year, a_tags tags, a_place place, a_nested nested, a_hstore hstore,
        ints integer[], grid integer[][], texts text[], moods mood[], years year[], moments timestamptz[],
        dates date[], documents jsonb[], jsons json[], places place[], points point_of[], boxes box[],
        numbers numeric[], booleans boolean[], some_hstores hstore[], ranges int4range[],
        int_vector int2vector, oid_vector oidvector, "Weird ""name"" \ é" text, "t" text
    );
    ALTER TABLE shapes REPLICA IDENTITY FULL"#;

/// Values for columns, each set a row.
const ROWS: [&str; 6] = [
    "(id) VALUES (1)",
    r#"(id, a_boolean, a_small, an_int, a_big, a_real, a_double, a_numeric, a_scaled, a_text, a_varchar, a_char,
        a_quoted, a_name, a_bytea, a_uuid, an_xml, a_date, a_time, a_timetz, a_timestamp, a_timestamptz,
        an_interval, a_money, an_oid, an_xid, an_lsn, an_inet, a_cidr, a_mac, a_bit, a_varbit)
    VALUES (2, true, -32768, 2147483647, -9223372036854775808, 1.1, 1e-300, 12345678901234567890.123456789000,
        1.500, E'a"b\\c\n\r\t\u0001\u007f\u2028é😀', '', 'ab', 'x', 'a name', '\x00ff5c', 
        '00000000-0000-0000-0000-0000000000ff', '<a b="c">d</a>', '2024-02-29', '23:59:59.999999', '12:00:00+05:30',
        '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.7+02', '1 year 2 mons -3 days 04:05:06.7', 12.34, 42, '7',
        '16/B374D848', '10.1.2.3/8', '10.0.0.0/8', '08:00:2b:01:02:03', B'10101', B'1')"#,
    r#"(id, a_boolean, a_real, a_double, a_numeric, a_text, a_date, a_timestamp, a_timestamptz)
    VALUES (3, false, 'NaN', '-Infinity', 'NaN', 'NULL', 'infinity', '-infinity', 'infinity')"#,
    r#"(id, a_real, a_double, a_numeric, a_date, a_timestamp, a_timestamptz, a_time, an_interval)
    VALUES (4, '1e30', '-1.5e+200', '-1e-20', '0044-03-15 BC', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00',
        '24:00:00', '-178000000 years')"#,
    r#"(id, a_json, a_jsonb, a_path, a_vector, a_query, a_point, a_box, a_circle, a_range, a_tsrange, a_multirange,
        a_mood, a_year, a_tags, a_place, a_nested, a_hstore)
    VALUES (5, '{"b": 1.00, "a": [null, true, "x\u00e9\n"], "a": 2, "big": 123456789012345678901234567890}',
        '{"k": [1, {"z": null}]}', '$.a[*] ? (@ > 1)', 'a:1 ''it''''s'':2', 'a & !b', '(1,2.5)', '(1,2),(3,4)', '<(1,2),3>',
        '[1,5)', '["2024-01-01 00:00:00+00",)', '{[1,2),(3.5,)}', 'it''s "ok"', 1999,
        ARRAY['x', NULL, 'a,b', '"q"', '', 'NULL', E'back\\slash'],
        ROW(1, E'say "hi", (\\) ', ARRAY[true, NULL, false], '2024-01-01 00:00:00.5+00'),
        ROW(ROW(NULL, '', NULL, NULL), ARRAY[ROW(1, 'a,"b"', '{}', 'infinity')::point_of, NULL]),
        'a=>1, "b c"=>NULL, "q\"u"=>"x\\y"')"#,
    r#"(id, ints, grid, texts, moods, years, moments, dates, documents, jsons, places, points, boxes, numbers, booleans,
        some_hstores, ranges, int_vector, oid_vector, "Weird ""name"" \ é", "t")
    VALUES (6, '{1,NULL,3}', '{{1,2},{3,NULL}}', ARRAY['a b', NULL, '{}', '"', 'null', E'\n'], '{sad,"it''s \"ok\"","a,b",NULL}',
        '{1,2}', '{"2024-01-01 00:00:00+00",infinity,NULL}', '{2024-01-01,-infinity,"0044-03-15 BC"}',
        ARRAY['{"a": "x,y"}', 'null', NULL]::jsonb[], ARRAY['[1.0, "}"]', '"\u00e9"']::json[],
        ARRAY[ROW(1, 'a', '{t}', NULL)::place], ARRAY[]::point_of[], '{(3,4),(1,2);(5,6),(0,0)}',
        '{NaN,1.10,-Infinity}', '{t,f,NULL}', ARRAY['a=>1'::hstore, ''::hstore], '{"[1,2)",empty}', '1 2 3', '10 20',
        'weird', 'tee')"#,
];

#[tokio::test]
async fn every_type_lands_as_the_source_shows_it() {
    let mut bench = Bench::new("shapes", TYPES, &[("shapes", &["id"])]).await;
    for row in ROWS {
        bench.on_source(&format!("INSERT INTO shapes {row}")).await;
    }
    bench.capture().await;
    bench.assert_fold().await;
    // The same rows by the stream: once as inserts, once as the old rows of deletes.
    let snapshot: Vec<String> = bench
        .target_value("SELECT array_agg(full_row::text ORDER BY full_row -> 'id') FROM bronze.shapes")
        .await;
    bench.on_source("DELETE FROM shapes").await;
    for row in ROWS {
        bench.on_source(&format!("INSERT INTO shapes {row}")).await;
    }
    bench.capture().await;
    bench.assert_fold().await;
    for op in ["I", "D"] {
        let streamed: Vec<String> = bench
            .target_value(&format!(
                "SELECT array_agg(full_row::text ORDER BY full_row -> 'id') FROM bronze.shapes
                WHERE op = '{op}' AND lsn > (SELECT min(lsn) FROM bronze.shapes)"
            ))
            .await;
        assert_eq!(streamed, snapshot, "{op}");
    }
}

/// Text of every code point that PostgreSQL takes, and a range of lengths.
#[tokio::test]
async fn every_code_point_lands() {
    let sql = "
        CREATE TABLE points (id integer PRIMARY KEY, plain text, listed text[], made json);
        ALTER TABLE points REPLICA IDENTITY FULL";
    let mut bench = Bench::new("points", sql, &[("points", &["id"])]).await;
    bench.capture().await;
    bench
        .on_source(
            "INSERT INTO points
            SELECT n, text, ARRAY[text, NULL, text], to_json(text)
            FROM (
                SELECT n, string_agg(chr(n * 256 + m), '' ORDER BY m) AS text
                FROM generate_series(0, 4351) AS n, generate_series(0, 255) AS m
                WHERE n * 256 + m > 0 AND n * 256 + m NOT BETWEEN 55296 AND 57343
                GROUP BY n
            ) AS texts",
        )
        .await;
    assert!(bench.capture().await.rows() > 4000);
    bench.assert_fold().await;
}

/// Stored generated columns are in the stream from PostgreSQL 18 on; the snapshot has what the stream has.
#[tokio::test]
async fn snapshot_and_stream_have_the_same_columns() {
    let sql = "
        CREATE TABLE sums (id integer PRIMARY KEY, a integer, twice integer GENERATED ALWAYS AS (a * 2) STORED);
        ALTER TABLE sums REPLICA IDENTITY FULL;
        INSERT INTO sums VALUES (1, 5)";
    let mut bench = Bench::new("generated", sql, &[("sums", &["id"])]).await;
    bench.capture().await;
    bench.on_source("UPDATE sums SET a = 5").await;
    bench.on_source("ALTER TABLE sums ADD b text, DROP twice").await;
    bench.on_source("UPDATE sums SET b = 'new'").await;
    bench.capture().await;
    let rows: Vec<String> =
        bench.target_value("SELECT array_agg(full_row::text ORDER BY lsn) FROM bronze.sums").await;
    let with_sum = if bench.source_version().await < 18 {
        r#"{"a": 5, "id": 1}"#
    } else {
        r#"{"a": 5, "id": 1, "twice": 10}"#
    };
    assert_eq!(rows, [with_sum, with_sum, r#"{"a": 5, "b": "new", "id": 1}"#]);
}

/// PostgreSQL 18 lets no update of a published table pass whose generated columns are not in the stream.
#[tokio::test]
async fn generated_columns_that_would_stop_the_source_are_refused() {
    let sql = "
        CREATE TABLE sums (id integer PRIMARY KEY, a integer, twice integer GENERATED ALWAYS AS (a * 2) STORED);
        ALTER TABLE sums REPLICA IDENTITY FULL;
        INSERT INTO sums VALUES (1, 5)";
    let mut bench = Bench::new("generated_refused", sql, &[("sums", &["id"])]).await;
    if bench.source_version().await < 18 {
        bench.capture().await;
        return;
    }
    bench.on_source("ALTER TABLE sums ADD thrice integer GENERATED ALWAYS AS (a * 3)").await;
    let error = bench.error().await;
    assert!(error.contains("ALTER TABLE \"public\".\"sums\" DROP COLUMN \"thrice\";"), "{error}");
    bench.on_source("ALTER TABLE sums DROP thrice").await;
    bench.capture().await;
    bench.on_source("ALTER PUBLICATION bench SET (publish_generated_columns = none)").await;
    let error = bench.error().await;
    assert!(error.contains("SET (publish_generated_columns = stored);"), "{error}");
}

/// What jsonb cannot hold is kept aside, by the stream and by the snapshot, and all else lands.
#[tokio::test]
async fn what_jsonb_refuses_is_kept_in_quarantine_while_the_rest_lands() {
    let sql = r#"
        CREATE TABLE documents (id integer PRIMARY KEY, document json, note text);
        ALTER TABLE documents ALTER note SET STORAGE EXTERNAL;
        CREATE TABLE other (id integer PRIMARY KEY);
        INSERT INTO documents VALUES (1, '"a"'), (2, '"\u0000"'), (3, '"\ud800"'), (4, '{"a": 1e999999}'), (5, '1.50')"#;
    let mut bench = Bench::new("refused", sql, &[("documents", &["id"]), ("other", &["id"])]).await;
    let finding = |count: i32| format!("in `medallion.quarantine` and not in `bronze.documents`: {count}");
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 2);
    assert!(captured.findings[0].ends_with(&finding(3)), "{:?}", captured.findings);

    bench
        .on_source(
            r#"INSERT INTO other VALUES (1);
            BEGIN; INSERT INTO documents VALUES (6, '"\u0000"', repeat('x', 3000)), (7, '"b"', repeat('y', 3000)); INSERT INTO other VALUES (2); COMMIT;
            UPDATE documents SET document = '"c"' WHERE id = 6;
            UPDATE documents SET document = '["\u0000"]' WHERE id IN (1, 7);
            DELETE FROM documents WHERE id IN (2, 7);
            INSERT INTO other VALUES (3)"#,
        )
        .await;
    let captured = bench.capture().await;
    assert!(captured.findings[0].ends_with(&finding(5)), "{:?}", captured.findings);
    let kept: Vec<String> = bench
        .target_value(
            "SELECT array_agg(concat_ws(' ', op, key ->> 'id', problem LIKE '%before%') ORDER BY lsn, seq)
            FROM medallion.quarantine",
        )
        .await;
    assert_eq!(kept, ["I 2 f", "I 3 f", "I 4 f", "I 6 f", "U 6 t", "U 1 f", "U 7 f", "D 2 t"]);
    let landed: Vec<String> = bench
        .target_value(
            "SELECT array_agg(concat_ws(' ', op, full_row ->> 'id', full_row ->> 'document', length(full_row ->> 'note'))
                ORDER BY lsn, seq)
            FROM bronze.documents",
        )
        .await;
    assert_eq!(landed, ["I 1 a", "I 5 1.50", "I 7 b 3000", "D 7 b 3000"]);
    let others: i64 = bench.target_value("SELECT count(*) FROM bronze.other").await;
    assert_eq!(others, 3);

    // A row that is told whole again lands again.
    bench.on_source(r#"UPDATE documents SET document = '"d"', note = 'short'"#).await;
    let captured = bench.capture().await;
    assert!(captured.findings.is_empty(), "{:?}", captured.findings);
    bench.assert_fold().await;
}

/// The same after a recorded log, where the snapshot is compared.
#[tokio::test]
async fn what_jsonb_refuses_is_kept_aside_after_a_recorded_log_too() {
    let sql = r#"
        CREATE TABLE documents (id integer PRIMARY KEY, document json);
        CREATE TABLE change_log (position bigint, seq bigint, committed_at timestamptz, relation text,
            op char(1), full_row jsonb);
        INSERT INTO change_log VALUES
            (1, 1, '2024-01-01', 'documents', 'I', '{"id": 1, "document": 1}'),
            (2, 1, '2024-01-02', 'documents', 'I', '{"id": 2, "document": 2}');
        INSERT INTO documents VALUES (1, '1'), (2, '"\u0000"'), (3, '3')"#;
    let mut bench = Bench::new("refused_logged", sql, &[("documents", &["id"])]).await;
    bench.warehouse.source.recorded_log = Some(Name::new("public", "change_log"));
    let captured = bench.capture().await;
    assert_eq!(captured.findings.len(), 1, "{:?}", captured.findings);
    let landed: Vec<String> = bench
        .target_value("SELECT array_agg(op || (full_row ->> 'id') ORDER BY lsn, seq) FROM bronze.documents")
        .await;
    assert_eq!(landed, ["I1", "I2", "I3"], "what is in quarantine is not gone");
}

/// A type may be gone before its changes are read: what was one word is that word still, what was several is refused.
#[tokio::test]
async fn a_value_whose_type_is_gone_is_a_string_or_refused() {
    let sql = "
        CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE TABLE t (id integer PRIMARY KEY, one mood, many mood[])";
    let mut bench = Bench::new("gone_types", sql, &[("t", &["id"])]).await;
    bench.capture().await;
    let forget = "
        ALTER TABLE t ALTER one TYPE text USING one::text, ALTER many TYPE text USING many::text;
        DROP TYPE mood";
    bench.on_source("INSERT INTO t VALUES (1, 'sad', NULL)").await;
    bench.on_source(forget).await;
    bench.capture().await;
    bench.assert_fold().await;

    bench
        .on_source(
            "CREATE TYPE mood AS ENUM ('sad', 'happy'); ALTER TABLE t ALTER many TYPE mood[] USING NULL",
        )
        .await;
    bench.on_source("INSERT INTO t VALUES (2, 'sad', '{sad,happy}')").await;
    bench.on_source("ALTER TABLE t ALTER many TYPE text[] USING many::text[]; DROP TYPE mood").await;
    let error = bench.error().await;
    let told =
        ["changes `public.t.many` to a value that its type in the catalog does not explain", "resnapshot"];
    assert!(told.iter().all(|told| error.contains(told)), "{error}");
    bench.resnapshot().await;
    bench.capture().await;
    bench.assert_fold().await;
}

/// A database in SQL_ASCII takes any bytes: it is told beforehand, and what keeps the log from being read has a way out.
#[tokio::test]
async fn bytes_that_are_no_text_are_told() {
    let server = Server::shared_scratch().expect("a scratch server");
    let mut maintenance =
        connection::connect(Database::Source, &server.url("postgres")).await.expect("a session");
    let sql = "CREATE DATABASE ascii_source TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'";
    run(&mut maintenance, sql).await;
    let sql = "CREATE TABLE t (id integer PRIMARY KEY, word text); INSERT INTO t VALUES (1, 'é')";
    let mut bench = Bench::new("ascii", sql, &[("t", &["id"])]).await;
    let found = readiness::check(&bench.warehouse, &bench.source_url, Some(&mut bench.target)).await;
    let found = found.expect("it can be asked");
    assert!(found.is_ready(), "{found:?}");
    assert!(found.findings.iter().any(|one| one.what.contains("its encoding is SQL_ASCII")), "{found:?}");
    bench.capture().await;
    bench.on_source("INSERT INTO t VALUES (2, 'ü')").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.on_source("INSERT INTO t VALUES (3, E'\\351')").await;
    let error = bench.error().await;
    assert!(
        error.contains("SQLSTATE 22021") && error.contains("mend the row at the source, then"),
        "{error}"
    );
    bench.on_source("UPDATE t SET word = 'é' WHERE id = 3").await;
    bench.resnapshot().await;
    bench.capture().await;
    bench.assert_fold().await;
}
