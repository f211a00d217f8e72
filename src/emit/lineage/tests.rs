//! Lineage of the shop's marts and of queries of every shape.

use std::collections::BTreeMap;

use super::query::{self, Table};
use super::{How, Origins};
use crate::model::Name;

fn said(origins: &Origins) -> Vec<String> {
    let words = origins.iter().map(|one| {
        let column = one.column.as_deref().unwrap_or("*");
        format!("{}.{column} {}", one.relation.name, one.how.word().to_lowercase())
    });
    words.collect()
}

fn shop() -> BTreeMap<Name, Table> {
    let tables =
        [("sale", vec!["id", "store", "amount", "at", "Odd \"name"]), ("store", vec!["store", "city"])];
    let tables = tables.map(|(name, columns)| {
        let name = Name::new("s", name);
        (name.clone(), Table::stored(&name, &columns))
    });
    tables.into()
}

/// Where the one column `x` of a query comes from, and its rows.
fn read(sql: &str) -> (Vec<String>, Vec<String>) {
    let table = query::read(sql, &shop());
    assert!(table.exact, "not told exactly: {sql}");
    (said(&table.column("x")), said(&table.rows))
}

#[test]
fn columns_are_followed() {
    let cases: [(&str, &[&str], &[&str]); 18] = [
        ("SELECT amount AS x FROM s.sale", &["sale.amount identity"], &[]),
        (r#"SELECT t."Odd ""name"::text AS X FROM s."sale" t"#, &["sale.Odd \"name identity"], &[]),
        (
            "SELECT amount + id AS x FROM s.sale",
            &["sale.amount transformation", "sale.id transformation"],
            &[],
        ),
        (
            "SELECT round(sum(amount) / count(*), 2) AS x FROM s.sale WHERE at > now() GROUP BY store",
            &["sale.* aggregation", "sale.amount aggregation"],
            &["sale.at filter", "sale.store group_by"],
        ),
        (
            "SELECT city AS x FROM s.sale JOIN s.store USING (store)",
            &["store.city identity"],
            &["sale.store join", "store.store join"],
        ),
        (
            "SELECT o.city AS x FROM s.sale LEFT JOIN s.store AS o ON o.store = sale.store AND o.city <> ''",
            &["store.city identity"],
            &["sale.store join", "store.city join", "store.store join"],
        ),
        (
            "WITH a AS (SELECT store, sum(amount) AS total FROM s.sale GROUP BY 1), b(y) AS (SELECT total FROM a) \
             SELECT y * 2 AS x FROM b",
            &["sale.amount aggregation"],
            &["sale.store group_by"],
        ),
        (
            "SELECT x FROM (SELECT 1 AS x FROM s.sale UNION ALL SELECT 0 FROM s.store) AS u",
            &["sale.* identity"],
            &[],
        ),
        (
            "SELECT rank() OVER w AS x FROM s.sale WINDOW w AS (PARTITION BY store ORDER BY amount DESC)",
            &["sale.amount window", "sale.store window"],
            &[],
        ),
        (
            "SELECT CASE WHEN at IS NULL THEN amount ELSE id END AS x FROM s.sale",
            &["sale.amount transformation", "sale.at conditional", "sale.id transformation"],
            &[],
        ),
        (
            "SELECT sum(amount) FILTER (WHERE at IS NOT NULL) AS x FROM s.sale",
            &["sale.amount aggregation", "sale.at filter"],
            &[],
        ),
        (
            "SELECT (SELECT max(city) FROM s.store AS o WHERE o.store = sale.store) AS x FROM s.sale",
            &["sale.store filter", "store.city aggregation", "store.store filter"],
            &[],
        ),
        (
            "SELECT amount AS x FROM s.sale WHERE store IN (SELECT store FROM s.store WHERE city = 'Ulm')",
            &["sale.amount identity"],
            &["sale.store filter", "store.city filter", "store.store conditional"],
        ),
        (
            "SELECT amount AS x FROM s.sale ORDER BY at, 1 LIMIT 3",
            &["sale.amount identity"],
            &["sale.amount sort", "sale.at sort"],
        ),
        (
            "SELECT l.y AS x FROM s.sale CROSS JOIN LATERAL (SELECT sale.amount * 2 AS y) AS l",
            &["sale.amount transformation"],
            &[],
        ),
        (
            "WITH RECURSIVE r(x) AS (SELECT id FROM s.sale UNION ALL SELECT x + 1 FROM r) SELECT x FROM r",
            &["sale.id identity", "sale.id transformation"],
            &[],
        ),
        (
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) AS x FROM s.sale",
            &["sale.amount aggregation"],
            &[],
        ),
        (
            "SELECT extract(epoch FROM at - make_interval(days => id)) AS x FROM s.sale HAVING count(store) > 1",
            &["sale.at transformation", "sale.id transformation"],
            &["sale.store filter"],
        ),
    ];
    for (sql, from, rows) in cases {
        let told = read(sql);
        assert_eq!(told.0, from, "columns of {sql}");
        assert_eq!(told.1, rows, "rows of {sql}");
    }
}

#[test]
fn what_cannot_be_told_is_said() {
    for sql in ["SELECT nothing AS x FROM s.sale", "SELECT x FROM s.elsewhere", "no SQL at all"] {
        assert!(!query::read(sql, &shop()).exact, "{sql}");
    }
}

#[test]
fn a_long_chain_is_followed() {
    let chain = vec!["amount"; 5_000].join(" + ");
    assert_eq!(read(&format!("SELECT {chain} AS x FROM s.sale")).0, ["sale.amount transformation"]);
    assert!(How::Aggregation > How::Transformation && How::Transformation > How::Identity);
}
