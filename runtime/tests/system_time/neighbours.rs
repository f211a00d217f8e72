//! The questions on which a database with FOR SYSTEM_TIME of its own is tried, as questions of our own about
//! a few people and whom they report to.

use medallion_runtime::answer::Settings;
use sqlx::Executor as _;

use super::answers::{csv, open};
use super::law;

/// Who reports to whom (`weight`) from which day on. Bo is gone from the 20th on, and Cy was for some days.
const PEOPLE: &str = "
    BEGIN;
    SELECT medallion.backfill();
    DELETE FROM silver.dim_customer_hist;
    INSERT INTO silver.dim_customer_hist (region, customer_id, name, weight, row_hash, sys_start, sys_end)
    SELECT 'eu', id, name, boss, '', make_timestamptz(2024, 1, starts, 0, 0, 0, 'UTC'),
        CASE WHEN ends > 0 THEN make_timestamptz(2024, 1, ends, 0, 0, 0, 'UTC') ELSE 'infinity' END
    FROM (VALUES
        (1, 'Al', NULL, 1, 0),
        (2, 'Bo', 1, 1, 10),
        (2, 'Bo', 3, 10, 20),
        (3, 'Cy', 1, 1, 5),
        (3, 'Cy', 1, 8, 15),
        (3, 'Cyd', 1, 15, 0),
        (4, 'Di', 2, 5, 0)
    ) AS version (id, name, boss, starts, ends);
    COMMIT;
    CREATE VIEW public.people AS SELECT * FROM silver.dim_customer;
    CREATE TABLE public.plain AS SELECT 1 AS customer_id;";

/// Questions, and what is answered, rows apart by spaces.
const ANSWERED: &[(&str, &str)] = &[
    // A start belongs to its version, an end does not.
    ("SELECT name, weight FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-04' ORDER BY 1", "Al, Bo,1 Cy,1"),
    ("SELECT name, weight FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-05' ORDER BY 1", "Al, Bo,1 Di,2"),
    (
        "SELECT name, weight FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-10' ORDER BY 1",
        "Al, Bo,3 Cy,1 Di,2",
    ),
    ("SELECT name FROM dim_customer FOR SYSTEM_TIME AS OF '2023-12-31' ORDER BY 1", ""),
    ("SELECT name FROM dim_customer FOR SYSTEM_TIME AS OF 'infinity' ORDER BY 1", "Al Cyd Di"),
    ("SELECT name FROM dim_customer FOR SYSTEM_TIME AS OF '-infinity' ORDER BY 1", ""),
    // Of a stretch, one end counts or does not; backwards there is none.
    (
        "SELECT name FROM dim_customer FOR SYSTEM_TIME FROM '2024-01-05' TO '2024-01-08' WHERE customer_id = 3",
        "",
    ),
    (
        "SELECT name FROM dim_customer FOR SYSTEM_TIME BETWEEN '2024-01-05' AND '2024-01-08' WHERE customer_id = 3",
        "Cy",
    ),
    (
        "SELECT name FROM dim_customer FOR SYSTEM_TIME FROM '2024-01-04' TO '2024-01-08' WHERE customer_id = 3",
        "Cy",
    ),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME FROM '2024-01-20' TO '2024-01-01'", "0"),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME BETWEEN '2024-01-20' AND '2024-01-01'", "0"),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME FROM '2024-01-10' TO '2024-01-10'", "0"),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME BETWEEN '2024-01-10' AND '2024-01-10'", "4"),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME FROM '-infinity' TO 'infinity'", "7"),
    (
        "SELECT name, count(*) FROM dim_customer FOR SYSTEM_TIME ALL GROUP BY 1 ORDER BY 1",
        "Al,1 Bo,2 Cy,2 Cyd,1 Di,1",
    ),
    // A time counts for the table that it stands behind and for no other.
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME ALL AS a, dim_customer AS b", "21"),
    (
        "SELECT a.name, b.name FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-10' AS a \
         JOIN dim_customer FOR SYSTEM_TIME AS OF '2024-01-15' AS b USING (customer_id) WHERE a.name <> b.name",
        "Cy,Cyd",
    ),
    (
        "SELECT e.name, b.name FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-12' AS e \
         LEFT JOIN dim_customer FOR SYSTEM_TIME AS OF '2024-01-12' AS b ON b.customer_id = e.weight ORDER BY 1",
        "Al, Bo,Cy Cy,Al Di,Bo",
    ),
    (
        "SELECT e.name, b.name FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-12' AS e \
         RIGHT JOIN dim_customer AS b ON b.customer_id = e.weight ORDER BY 2, 1",
        "Cy,Al Bo,Cyd ,Di",
    ),
    (
        "SELECT e.name, b.name FROM dim_customer AS b FULL JOIN dim_customer FOR SYSTEM_TIME AS OF '2024-01-06' AS e \
         ON b.customer_id = e.customer_id ORDER BY coalesce(e.customer_id, b.customer_id)",
        "Al,Al Bo, ,Cyd Di,Di",
    ),
    (
        "SELECT count(*) FROM (SELECT customer_id FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-12') AS a \
         NATURAL JOIN (SELECT customer_id FROM dim_customer) AS b",
        "3",
    ),
    (
        "SELECT name FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-12' UNION SELECT name FROM dim_customer ORDER BY 1",
        "Al Bo Cy Cyd Di",
    ),
    (
        "SELECT name FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-12' EXCEPT SELECT name FROM dim_customer ORDER BY 1",
        "Bo Cy",
    ),
    (
        "SELECT name FROM dim_customer WHERE customer_id IN \
         (SELECT customer_id FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-04') ORDER BY 1",
        "Al Cyd",
    ),
    (
        "SELECT a.name FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-12' AS a WHERE NOT EXISTS \
         (SELECT FROM dim_customer AS b WHERE b.customer_id = a.customer_id)",
        "Bo",
    ),
    (
        "SELECT name, (SELECT count(*) FROM dim_customer FOR SYSTEM_TIME ALL AS v WHERE v.customer_id = dim_customer.customer_id) \
         FROM dim_customer ORDER BY 1",
        "Al,1 Cyd,3 Di,1",
    ),
    (
        "SELECT * FROM (SELECT * FROM (SELECT name FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-04') AS a) AS b ORDER BY 1",
        "Al Bo Cy",
    ),
    (
        "WITH was AS (SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-04'), is_ AS (SELECT * FROM dim_customer) \
         SELECT was.name, is_.name FROM was JOIN is_ USING (customer_id) ORDER BY 1",
        "Al,Al Cy,Cyd",
    ),
    (
        "SELECT name, lag(weight) OVER (ORDER BY sys_start) FROM dim_customer FOR SYSTEM_TIME ALL WHERE customer_id = 2",
        "Bo, Bo,1",
    ),
    // All who report to Al, directly or not: three then, two now that Bo, who was between, is gone.
    (
        "WITH RECURSIVE below AS (\
         SELECT customer_id, name, 0 AS depth FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-12' WHERE name = 'Al' UNION ALL \
         SELECT e.customer_id, e.name, depth + 1 FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-12' AS e \
         JOIN below ON e.weight = below.customer_id) SELECT name, depth FROM below ORDER BY 2, 1",
        "Al,0 Cy,1 Bo,2 Di,3",
    ),
    (
        "WITH RECURSIVE below AS (\
         SELECT customer_id, name FROM dim_customer WHERE name = 'Al' UNION ALL \
         SELECT e.customer_id, e.name FROM dim_customer AS e JOIN below ON e.weight = below.customer_id) \
         SELECT name FROM below ORDER BY 1",
        "Al Cyd",
    ),
    // Any expression is a time that can be read as one.
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF DATE '2024-01-04'", "3"),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-04 23:59'", "3"),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF TIMESTAMPTZ '2024-01-05 01:00+02'", "3"),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-' || '04'", "3"),
    (
        "SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF '2024-01-05'::timestamptz - interval '1 microsecond'",
        "3",
    ),
    (
        "SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF make_timestamptz(2024, 1, 4, 0, 0, 0, 'UTC')",
        "3",
    ),
    ("SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP", "3"),
    (
        "SELECT e.name, b.name FROM dim_customer FOR SYSTEM_TIME ALL AS e \
         LEFT JOIN dim_customer FOR SYSTEM_TIME AS OF e.sys_start AS b ON b.customer_id = e.weight \
         WHERE e.customer_id IN (2, 3) ORDER BY e.customer_id, e.sys_start",
        "Bo,Al Bo,Cy Cy,Al Cy,Al Cyd,Al",
    ),
    (
        "WITH t AS (SELECT timestamptz '2024-01-04') SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF (SELECT * FROM t)",
        "3",
    ),
    ("SELECT count(*) FROM public.plain, dim_customer FOR SYSTEM_TIME AS OF '2024-01-04'", "3"),
    ("SELECT count(*) FROM public.people", "3"),
];

/// Questions without an answer, and what is said.
const REFUSED: &[(&str, &str)] = &[
    ("SELECT * FROM public.plain FOR SYSTEM_TIME ALL", "`public.plain` has no versions"),
    ("SELECT * FROM public.people FOR SYSTEM_TIME ALL", "`public.people` has no versions"),
    (
        "SELECT * FROM (SELECT * FROM dim_customer FOR SYSTEM_TIME ALL) AS a FOR SYSTEM_TIME ALL",
        "stands behind no table",
    ),
    (
        "SELECT * FROM (dim_customer AS a JOIN dim_customer AS b ON true) FOR SYSTEM_TIME ALL",
        "stands behind no table",
    ),
    (
        "WITH a AS (SELECT * FROM dim_customer) SELECT * FROM a FOR SYSTEM_TIME ALL",
        "`a` is a common table expression here",
    ),
    (
        "WITH RECURSIVE t (n, m) AS (VALUES (1, 1)) SEARCH DEPTH FIRST BY n, m SET o, dim_customer AS (SELECT 1) \
         SELECT count(*) FROM dim_customer FOR SYSTEM_TIME ALL",
        "`dim_customer` is a common table expression here",
    ),
    (
        "SELECT silver.dim_customer.name FROM silver.dim_customer FOR SYSTEM_TIME ALL",
        "cannot be referenced from this part of the query\n  = correct the question",
    ),
    (
        "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a FOR SYSTEM_TIME AS OF now()) SELECT * FROM a",
        "`a` is a common table expression here",
    ),
    ("SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF now", "`now`, a column of no table"),
    ("SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF (1, 1)", "cannot cast type record"),
    ("SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF 10.1", "cannot cast type numeric"),
    ("SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF random()", "cannot cast type double precision"),
    ("SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF true", "cannot cast type boolean"),
    ("SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF TIMESTAMP '2024-02-30'", "is not a time"),
    ("SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF NULL", "NULL is no time"),
    ("SELECT * FROM dim_customer FOR SYSTEM_TIME ALL FOR UPDATE", "that would change something"),
];

#[tokio::test]
async fn the_questions_of_a_database_with_system_time_are_answered() {
    let (mut connection, _) = open("answers_neighbours").await;
    connection.execute(PEOPLE).await.unwrap();
    let warehouse = law::dimensions();
    let settings = Settings::default();
    let mut wrong = Vec::new();
    for (sql, expected) in ANSWERED {
        let found = csv(&warehouse, &mut connection, sql, &settings).await.unwrap_or_else(|error| error);
        let found = found.trim_end_matches('\n').replace('\n', " ");
        if found != *expected {
            wrong.push(format!("{sql}\n  expected {expected}\n  answered {found}"));
        }
    }
    for (sql, said) in REFUSED {
        match csv(&warehouse, &mut connection, sql, &settings).await {
            Ok(rows) => wrong.push(format!("{sql}\n  is answered: {rows}")),
            Err(error) if error.contains(said) => {}
            Err(error) => wrong.push(format!("{error}\n  does not say {said}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
