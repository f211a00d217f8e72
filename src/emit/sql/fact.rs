//! The SQL of a fact: the latest state of each event, partitioned by time, and the archive of earlier states.

use askama::Template;

use super::dimension::{LookupIndex, column_definition, lookup_indexes};
use super::lines::Lines;
use super::quote::{derived, identifier, identifiers, relation, remark};
use super::script::{Script, comment, comment_column};
use crate::model::{Definition, Fact, Mart, Name, Silver, TRAVEL_SCHEMA};

/// The archive's period: no spec names it.
pub(in crate::emit) const ARCHIVE_START: &str = "sys_start";
/// The archive's period: no spec names it.
pub(in crate::emit) const ARCHIVE_END: &str = "sys_end";

#[derive(Template)]
#[template(path = "generated/sql/warehouse/20_silver/fact.sql", escape = "none")]
struct FactSql {
    table: String,
    default_partition: String,
    archive: String,
    travel_view: String,
    definitions: Lines,
    names: Lines,
    snapshot: String,
    start: String,
    end: String,
    key: String,
    partitioned_key: String,
    partition_by: String,
    primary_key: String,
    archive_primary_key: String,
    archive_period_check: String,
    lookups: Vec<LookupIndex>,
}

pub(super) fn script(silver: &Silver, fact: &Fact, marts: &[Mart]) -> Script {
    let travel_view = Name::new(TRAVEL_SCHEMA, &silver.name.name);
    let default_partition = Name::new(&silver.name.schema, derived(&silver.name.name, "default"));
    let definition = FactSql {
        table: relation(&silver.name),
        default_partition: relation(&default_partition),
        archive: relation(&fact.archive),
        travel_view: relation(&travel_view),
        definitions: silver.columns.iter().map(column_definition).collect(),
        names: silver.columns.iter().map(|column| identifier(&column.name)).collect(),
        snapshot: identifier(&fact.snapshot),
        start: identifier(ARCHIVE_START),
        end: identifier(ARCHIVE_END),
        key: identifiers(silver.key.iter().map(String::as_str)),
        partitioned_key: identifiers(partitioned_key(silver, fact)),
        partition_by: identifier(&fact.partition_by),
        primary_key: identifier(&derived(&silver.name.name, "pkey")),
        archive_primary_key: identifier(&derived(&fact.archive.name, "pkey")),
        archive_period_check: identifier(&derived(&fact.archive.name, "period_check")),
        lookups: [lookup_indexes(silver), join_indexes(silver, marts)].concat(),
    };
    Script::of_relation("20_silver", &silver.name, super::render(&definition))
        .commented(comments(silver, fact, &default_partition, &travel_view))
        .dropped_by(vec![
            format!("DROP VIEW {};", relation(&travel_view)),
            format!("DROP TABLE {};", relation(&fact.archive)),
            format!("DROP TABLE {};", relation(&silver.name)),
        ])
}

/// What finds the rows that stored marts join to a changed row, where nothing else does.
fn join_indexes(silver: &Silver, marts: &[Mart]) -> Vec<LookupIndex> {
    let mut seen: Vec<Vec<&str>> =
        silver.lookups.iter().map(|lookup| lookup.on.iter().map(|(own, _)| own.as_str()).collect()).collect();
    let mut indexes = Vec::new();
    for mart in marts.iter().filter(|mart| mart.storage.is_table()) {
        let Definition::Declared(declared) = &mart.definition else { continue };
        for source in declared.sources.iter().filter(|source| source.relation == silver.name) {
            for join in &source.joins {
                let own = join.on.iter().filter(|((alias, _), _)| *alias == source.alias);
                let columns: Vec<&str> = own.map(|((_, column), _)| column.as_str()).collect();
                let key_begins_so =
                    silver.key.iter().map(String::as_str).take(columns.len()).eq(columns.iter().copied());
                if columns.is_empty() || key_begins_so || seen.contains(&columns) {
                    continue;
                }
                indexes.push(LookupIndex {
                    name: identifier(&derived(
                        &format!("{}_{}", silver.name.name, columns.join("_")),
                        "join_idx",
                    )),
                    columns: identifiers(columns.iter().copied()),
                    alias: remark(&join.alias),
                });
                seen.push(columns);
            }
        }
    }
    indexes
}

/// A fact's key, with the column that partitions it: what PostgreSQL can hold unique.
pub(in crate::emit) fn partitioned_key<'a>(
    silver: &'a Silver,
    fact: &'a Fact,
) -> impl Iterator<Item = &'a str> {
    let partition_by = (!silver.key.contains(&fact.partition_by)).then_some(fact.partition_by.as_str());
    silver.key.iter().map(String::as_str).chain(partition_by)
}

fn comments(silver: &Silver, fact: &Fact, default_partition: &Name, travel_view: &Name) -> Vec<String> {
    let (table, archive) = (&silver.name, &fact.archive);
    let latest = "The latest state of each event.".to_owned();
    let mut comments = vec![comment("TABLE", table, silver.description.as_ref().unwrap_or(&latest))];
    for column in &silver.columns {
        comments.extend(column.description.as_ref().map(|text| comment_column(table, &column.name, text)));
    }
    comments.push(comment_column(table, &fact.snapshot, "The system time of the row's state."));
    let rest = format!("The rows of `{}` that no other partition holds.", table.name);
    comments.push(comment("TABLE", default_partition, &rest));
    let earlier = format!("Earlier states of the rows of `{}`.", table.name);
    comments.push(comment("TABLE", archive, &earlier));
    comments.push(comment_column(archive, ARCHIVE_START, "Since when the row was so, in system time."));
    comments.push(comment_column(archive, ARCHIVE_END, "Until when the row was so."));
    let travel = format!("`{}` as of the setting `medallion.as_of`.", table.name);
    comments.push(comment("VIEW", travel_view, &travel));
    comments
}
