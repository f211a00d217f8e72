//! What holds in a warehouse whatever the source did: periods are disjoint, one version of a key is current,
//! an end of a version is no start of an equal one, stored marts equal their definitions.

use medallion_runtime::descriptor::{Silver, SilverKind, Storage};

use super::{Shop, compare};

/// Fails unless they hold.
pub async fn assert_hold(shop: &mut Shop, context: &str) {
    let mut broken = Vec::new();
    let mut queries: Vec<(String, String)> = shop.descriptor.silver.iter().flat_map(periods).collect();
    for mart in &shop.descriptor.marts {
        let Storage::Incremental { definition, .. } = &mart.storage else { continue };
        let columns = mart.columns.join(", ");
        for (what, one, other) in
            [("lacks", definition, &mart.table), ("has beyond its definition", &mart.table, definition)]
        {
            queries.push((
                format!("{} {what}", mart.table),
                format!("SELECT {columns} FROM {one} EXCEPT ALL SELECT {columns} FROM {other}"),
            ));
        }
    }
    for (what, sql) in queries {
        let rows = compare::rows(&mut shop.warehouse, &sql).await;
        broken.extend(compare::difference(&what, &[], &rows));
    }
    compare::assert_none(context, &broken);
}

/// Queries that find nothing where a relation's periods are as they should be.
fn periods(silver: &Silver) -> Vec<(String, String)> {
    let table = &silver.table;
    let key = silver.key.join(", ");
    let columns: Vec<&str> = silver.columns.iter().map(|column| column.name.as_str()).collect();
    let columns = columns.join(", ");
    let versions = match &silver.kind {
        SilverKind::Dimension { start, end, .. } => {
            format!("SELECT {key}, {start} AS since, {end} AS until FROM {table}")
        }
        SilverKind::Fact { snapshot, archive, .. } => format!(
            "SELECT {key}, {snapshot} AS since, 'infinity' AS until FROM {table} \
             UNION ALL SELECT {key}, sys_start, sys_end FROM {archive}"
        ),
    };
    let mut queries = vec![
        (
            format!("periods of {table} that overlap or are empty"),
            format!(
                "SELECT * FROM (SELECT *, lead(since) OVER (PARTITION BY {key} ORDER BY since, until) AS next \
                 FROM ({versions}) AS version) AS version WHERE since >= until OR next < until"
            ),
        ),
        (
            format!("keys of {table} with several current versions"),
            format!(
                "SELECT {key}, count(*) FROM ({versions}) AS version WHERE until = 'infinity' GROUP BY {key} HAVING count(*) > 1"
            ),
        ),
    ];
    queries.push(match &silver.kind {
        SilverKind::Dimension { row_hash, start, end, .. } => (
            format!("neighbouring versions of {table} that are equal"),
            format!(
                "SELECT {key} FROM {table} AS one JOIN {table} AS other USING ({key}, {row_hash}) \
                 WHERE one.{end} = other.{start}"
            ),
        ),
        SilverKind::Fact { snapshot, archive, .. } => (
            format!("neighbouring states of {table} that are equal"),
            format!(
                "SELECT {key} FROM (SELECT {key}, ROW({columns})::text AS state, sys_end FROM {archive}) AS one \
                 JOIN (SELECT {key}, ROW({columns})::text AS state, {snapshot} AS sys_start FROM {table} \
                 UNION ALL SELECT {key}, ROW({columns})::text, sys_start FROM {archive}) AS other \
                 USING ({key}, state) WHERE one.sys_end = other.sys_start"
            ),
        ),
    });
    queries
}
