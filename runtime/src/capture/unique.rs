//! Whether a landing table's key finds one row of its source: two rows of one key would be taken for one.
//! Believes constraints and indexes of the source; reads no row.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::fit::Misfit;
use crate::descriptor::{Landing, Name};
use crate::error::{During as _, Result};
use crate::quote;

/// Columns that no two rows share, the primary key's first.
type Uniques = BTreeMap<Name, Vec<Vec<String>>>;

/// Looks for landing tables whose keys may find several rows.
pub async fn look(source: &mut PgConnection, landings: &[&Landing]) -> Result<Vec<Misfit>> {
    let uniques = read(source, landings).await?;
    let none = Vec::new();
    let mut misfits = Vec::new();
    for landing in landings {
        let uniques = uniques.get(&landing.source).unwrap_or(&none);
        let holds = |unique: &Vec<String>| unique.iter().all(|column| landing.key.contains(column));
        if !uniques.iter().any(holds) {
            misfits.push(misfit(landing, uniques.first()));
        }
    }
    Ok(misfits)
}

fn misfit(landing: &Landing, own: Option<&Vec<String>>) -> Misfit {
    let Landing { table, source, key, .. } = landing;
    let shown: Vec<String> = key.iter().map(|column| format!("`{column}`")).collect();
    let remedy = match own {
        Some(own) => format!(
            "write `key = {own:?}` for `{table}` in the spec and run `medallion generate`: these columns are unique"
        ),
        None => {
            let columns =
                key.iter().map(|column| format!("ALTER {} SET NOT NULL", quote::identifier(column)));
            let columns: Vec<String> = columns.collect();
            format!(
                "ALTER TABLE {} {}, ADD UNIQUE ({});",
                quote::name(source),
                columns.join(", "),
                quote::list("", key)
            )
        }
    };
    Misfit {
        what: format!(
            "two rows of `{source}` can have the same {}, the key of `{table}`: \
            no unique index, neither partial nor deferrable, is over some of it, never null",
            shown.join(", ")
        ),
        remedy,
        is_safe: false,
    }
}

/// While a deferrable constraint waits, two rows do share their columns, and their changes would mix.
async fn read(source: &mut PgConnection, landings: &[&Landing]) -> Result<Uniques> {
    let unasked = || "cannot ask the source for unique columns".to_owned();
    let names: BTreeSet<&Name> = landings.iter().map(|landing| &landing.source).collect();
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        names.iter().map(|name| (name.schema.as_str(), name.table.as_str())).unzip();
    let rows = sqlx::query(
        "SELECT
            asked.schema,
            asked.name,
            array_agg(attribute.attname::text ORDER BY part.place) AS columns
        FROM unnest($1::text[], $2::text[]) AS asked (schema, name)
        JOIN pg_namespace AS space ON space.nspname = asked.schema
        JOIN pg_class AS relation ON relation.relnamespace = space.oid AND relation.relname = asked.name
        JOIN pg_index AS index ON index.indrelid = relation.oid
        CROSS JOIN unnest(index.indkey::int2[]) WITH ORDINALITY AS part (attnum, place)
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation.oid AND attribute.attnum = part.attnum
        WHERE
            index.indisunique
            AND index.indisvalid
            AND index.indimmediate
            AND index.indpred IS NULL
            AND index.indexprs IS NULL
            AND part.place <= index.indnkeyatts
        GROUP BY 1, 2, index.indexrelid, index.indisprimary
        HAVING bool_and(attribute.attnotnull)
        ORDER BY 1, 2, index.indisprimary DESC, index.indexrelid",
    )
    .bind(schemas)
    .bind(tables)
    .fetch_all(source)
    .await
    .during(unasked)?;

    let mut uniques = Uniques::new();
    for row in &rows {
        let schema: String = row.try_get("schema").during(unasked)?;
        let table: String = row.try_get("name").during(unasked)?;
        let columns = row.try_get("columns").during(unasked)?;
        uniques.entry(Name::new(schema, table)).or_default().push(columns);
    }
    Ok(uniques)
}
