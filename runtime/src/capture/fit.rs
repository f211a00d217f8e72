//! Whether what the source has fits what silver reads of it: that the columns are there, that silver's can
//! hold all that theirs can, and that a landing table's key finds one row. Asked before anything lands, for
//! a value that does not fit would be lost, or keep silver from being applied for good. Reads no row.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;

use super::column::{self, Column, TooNarrow};
use super::preflight::SourceTable;
use super::standing::Standing;
use super::unique;
use crate::descriptor::{ColumnFrom, Landing, Name, Silver, Warehouse};
use crate::error::Result;

/// How source and silver fit.
#[derive(Debug, Default)]
pub struct Fit {
    /// What keeps the source from being captured.
    pub misfits: Vec<Misfit>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
}

/// Something that does not fit, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What is wrong.
    pub what: String,
    /// The way out.
    pub remedy: String,
    /// Whether what does not fit lands all the same, and no more than silver can mistake it: what is captured already
    /// goes on.
    pub is_safe: bool,
}

impl Misfit {
    /// In one sentence, what to do behind what is the matter.
    pub fn warning(&self) -> String {
        format!("{}; {}", self.what, self.remedy)
    }
}

/// Looks at the source's tables, which stand in the order of the landing tables given, and at the warehouse's.
pub async fn look(
    source: &mut PgConnection,
    target: &mut PgConnection,
    warehouse: &Warehouse,
    landings: &[Landing],
    tables: &[SourceTable],
) -> Result<Fit> {
    let fed = landings.iter().zip(tables).filter(|(_, table)| lands(table));
    let fed: Vec<&Landing> = fed.map(|(landing, _)| landing).collect();
    let misfits = unique::look(source, &fed).await?;
    let mut fit = look_at_columns(source, target, warehouse, landings, tables).await?;
    fit.misfits.splice(0..0, misfits);
    Ok(fit)
}

/// The same, but for whether keys find one row.
pub async fn look_at_columns(
    source: &mut PgConnection,
    target: &mut PgConnection,
    warehouse: &Warehouse,
    landings: &[Landing],
    tables: &[SourceTable],
) -> Result<Fit> {
    let at_source: BTreeSet<&Name> = tables.iter().map(|table| &table.name).collect();
    let in_silver: BTreeSet<&Name> = warehouse.silver.iter().map(|silver| &silver.table).collect();
    let declared = column::read(source, &at_source, "the source").await?;
    let silver = column::read(target, &in_silver, "the warehouse").await?;
    let reads = reads(warehouse, landings, tables);

    let mut fit = Fit::default();
    fit.misfits.extend(missing(&reads, &declared, &warehouse.source.publication));
    fit.types(&reads, &declared, &silver);
    Ok(fit)
}

fn lands(table: &SourceTable) -> bool {
    table.standing != Standing::Waits
}

/// A field of a landing table's rows that a column of silver takes.
struct Read<'a> {
    table: &'a SourceTable,
    field: &'a str,
    silver: &'a Silver,
    column: &'a str,
    /// Whether the column is computed of it: what the one can hold says nothing of the other.
    is_computed: bool,
}

impl Read<'_> {
    /// The column that reads, for a message.
    fn reader(&self) -> String {
        format!("`{}.{}`", self.silver.table, self.column)
    }
}

fn reads<'a>(warehouse: &'a Warehouse, landings: &'a [Landing], tables: &'a [SourceTable]) -> Vec<Read<'a>> {
    let fed = |silver: &Silver| {
        let mut landings = landings.iter().zip(tables);
        landings.find_map(|(landing, table): (&Landing, _)| (landing.table == silver.feed).then_some(table))
    };
    let mut reads = Vec::new();
    for silver in &warehouse.silver {
        // What another relation of silver feeds is no column of the source; and nothing comes of what waits.
        let Some(table) = fed(silver).filter(|table| lands(table)) else { continue };
        for column in &silver.columns {
            // Rows that do not count may hold anything.
            let is_computed = silver.filter().is_some() || matches!(column.from, ColumnFrom::Computed { .. });
            for field in column.fields() {
                reads.push(Read { table, field, silver, column: &column.name, is_computed });
            }
        }
    }
    reads
}

/// Fields that do not land: silver would take them for null.
fn missing(reads: &[Read<'_>], declared: &BTreeMap<Name, Vec<Column>>, publication: &str) -> Vec<Misfit> {
    let mut readers: BTreeMap<(&Name, &str), Vec<&Read<'_>>> = BTreeMap::new();
    for read in reads.iter().filter(|read| !read.table.columns.iter().any(|column| column == read.field)) {
        readers.entry((&read.table.name, read.field)).or_default().push(read);
    }
    readers
        .into_iter()
        .map(|((table, field), reads)| {
            let is_there = find(declared, table, field).is_some();
            let names: Vec<String> = reads.iter().map(|read| read.reader()).collect();
            let verb = if is_there { "publishes no column" } else { "has no column" };
            let by = if names.len() == 1 { "reads" } else { "read" };
            let what = format!("`{table}` {verb} `{field}`, which {} {by}", names.join(" and "));
            let remedy = if is_there {
                format!("let publication `{publication}` publish the column, or take it out of the spec")
            } else {
                let meant = reads.first().and_then(|read| nearest(field, &read.table.columns));
                let meant = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
                format!(
                    "{meant}correct the column's `from` in the spec and run `medallion generate`, \
                    or bring column `{field}` to `{table}`; nothing lands until then"
                )
            };
            Misfit { what, remedy, is_safe: false }
        })
        .collect()
}

/// The one that may have been meant.
fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a str> {
    let farthest = (word.chars().count() / 3).max(1);
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(word, known), known));
    let nearest = distances.filter(|(distance, _)| *distance <= farthest).min()?;
    Some(nearest.1)
}

impl Fit {
    /// Compares what both catalogs declare.
    fn types(
        &mut self,
        reads: &[Read<'_>],
        declared: &BTreeMap<Name, Vec<Column>>,
        silver: &BTreeMap<Name, Vec<Column>>,
    ) {
        let mut nullable = Vec::new();
        for read in reads.iter().filter(|read| !read.is_computed) {
            let from = find(declared, &read.table.name, read.field);
            let to = find(silver, &read.silver.table, read.column);
            let (Some(from), Some(to)) = (from, to) else { continue };
            if let Some(why) = to.too_narrow_for(from) {
                self.misfits.push(too_narrow(read, from, to, &why));
            }
            if from.is_nullable && !to.is_nullable {
                nullable.push(format!("`{}.{}` ({})", read.table.name, read.field, read.reader()));
            }
        }
        if !nullable.is_empty() {
            self.warnings.push(format!(
                "columns may be null at the source and not in silver, which a null would keep from being applied: {}; \
                set them NOT NULL at the source, or write `null = true` in the spec",
                nullable.join(", ")
            ));
        }
    }
}

fn too_narrow(read: &Read<'_>, from: &Column, to: &Column, why: &TooNarrow) -> Misfit {
    let (table, field, column) = (&read.table.name, read.field, read.column);
    // A domain says nothing of what it holds.
    let over = if from.shown == from.plain { String::new() } else { format!(" over `{}`", from.plain) };
    let reads = format!(
        "column `{field}` of `{table}` is `{}`{over}, and {}, which reads it, is `{}`",
        from.shown,
        read.reader(),
        to.shown
    );
    match why {
        TooNarrow::Type => Misfit {
            what: format!("{reads}: too narrow for all that can come"),
            remedy: format!(
                "write `{{ name = {}, type = \"{}\" }}` among the columns of `{}` in the spec \
                and run `medallion generate`",
                toml::Value::from(column),
                from.plain,
                read.silver.table
            ),
            is_safe: false,
        },
        TooNarrow::Labels(labels) => {
            let listed: Vec<String> = labels.iter().map(|label| format!("{label:?}")).collect();
            let listed = listed.join(", ");
            let own = to.plain.trim_end_matches("[]").rsplit('.').next().unwrap_or(&to.plain);
            Misfit {
                what: format!("{reads}: without {listed}"),
                remedy: format!(
                    "add {listed} to `{own}` under `[types]` in the spec, run `medallion generate` and migrate"
                ),
                is_safe: true,
            }
        }
    }
}

fn find<'a>(columns: &'a BTreeMap<Name, Vec<Column>>, table: &Name, name: &str) -> Option<&'a Column> {
    columns.get(table)?.iter().find(|column| column.name == name)
}
