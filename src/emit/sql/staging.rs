//! The SQL of staging views: of each key its last change, typed, renamed and computed; the same as of a time, and of some
//! changes alone; and where changes are noted of which something cannot be computed.

use askama::Template;

use super::definition::Binding;
use super::quote::{data_type, identifier, literal, relation};
use super::script::{Script, comment, comment_column};
use crate::model::{Column, ColumnFrom, Computed, DataType, Name, Staging, TRAVEL_SCHEMA, Warehouse};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/20_silver/staging.sql", escape = "none")]
struct StagingSql {
    name: String,
    definition: String,
    travel_view: String,
    travel_definition: String,
}

#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/misfit.sql", escape = "none")]
struct MisfitSql;

/// The table of what cannot be computed, and the views.
pub(super) fn scripts(warehouse: &Warehouse) -> Vec<Script> {
    let mut scripts = Vec::new();
    if !warehouse.stagings.is_empty() {
        scripts.push(super::bookkeeping::table("misfit", &MisfitSql));
    }
    scripts.extend(warehouse.stagings.iter().map(|staging| script(staging, warehouse)));
    scripts
}

fn script(staging: &Staging, warehouse: &Warehouse) -> Script {
    let travel_view = Name::new(TRAVEL_SCHEMA, &staging.name.name);
    let fed = fed(staging, warehouse);
    let definition = StagingSql {
        name: relation(&staging.name),
        definition: query(staging, &fed, &relation(&staging.feed), Binding::Present),
        travel_view: relation(&travel_view),
        travel_definition: query(staging, &fed, &relation(&staging.feed), Binding::Travel),
    };
    Script::of_relation("20_silver", &staging.name, super::render(&definition))
        .commented(comments(staging, &travel_view))
        .dropped_by(vec![
            format!("DROP VIEW {};", relation(&travel_view)),
            format!("DROP VIEW {};", relation(&staging.name)),
        ])
}

/// What the view would show had nothing landed but what the relation `m$landed` has.
pub fn of_landed(staging: &Staging, warehouse: &Warehouse) -> String {
    query(staging, &fed(staging, warehouse), "m$landed", Binding::Present)
}

/// The relations that take of the view, as texts.
fn fed(staging: &Staging, warehouse: &Warehouse) -> Vec<String> {
    let fed = warehouse.silver.iter().filter(|silver| silver.staging.as_ref() == Some(&staging.name));
    fed.map(|silver| literal(&format!("{}.{}", silver.name.schema, silver.name.name))).collect()
}

/// What is said of the view.
pub(in crate::emit) fn description(staging: &Staging) -> String {
    staging
        .description
        .clone()
        .unwrap_or_else(|| format!("What has landed in `{}`, as it is now.", staging.feed.name))
}

/// A field that is read under a name.
struct Read<'a> {
    name: &'a str,
    field: &'a str,
    data_type: &'a DataType,
    /// The column that shows it; none of what is only computed of.
    column: Option<&'a Column>,
}

/// What is read of a landed row: what is shown of it, then what else is computed of.
fn reads(staging: &Staging) -> Vec<Read<'_>> {
    let shown = staging.columns.iter().filter_map(|column| match &column.from {
        ColumnFrom::Field(field) => Some(shown(column, field)),
        ColumnFrom::Lookup { .. }
        | ColumnFrom::Computed(_)
        | ColumnFrom::Composed(_)
        | ColumnFrom::Change(_) => None,
    });
    let computed = staging.columns.iter().filter_map(|column| match &column.from {
        ColumnFrom::Computed(computed) => Some(computed),
        ColumnFrom::Field(_)
        | ColumnFrom::Lookup { .. }
        | ColumnFrom::Composed(_)
        | ColumnFrom::Change(_) => None,
    });
    let mut reads: Vec<Read<'_>> = shown.collect();
    for computed in computed {
        for read in inputs(staging, computed) {
            if reads.iter().all(|known| known.name != read.name) {
                reads.push(read);
            }
        }
    }
    reads
}

fn shown<'a>(column: &'a Column, field: &'a str) -> Read<'a> {
    Read { name: &column.name, field, data_type: &column.data_type, column: Some(column) }
}

/// What is read for an expression: as it is shown, where it is.
fn inputs<'a>(staging: &'a Staging, computed: &'a Computed) -> impl Iterator<Item = Read<'a>> {
    computed.inputs.iter().map(|input| {
        let own = staging.columns.iter().find(|column| column.name == input.name);
        match own.map(|column| (column, &column.from)) {
            Some((column, ColumnFrom::Field(field))) => shown(column, field),
            _ => Read { name: &input.name, field: &input.field, data_type: &input.data_type, column: None },
        }
    })
}

/// The view's rows, of what the feed has.
fn query(staging: &Staging, fed: &[String], feed: &str, binding: Binding) -> String {
    let columns = staging.columns.iter().map(|column| match &column.from {
        ColumnFrom::Computed(computed) => {
            let name = identifier(&column.name);
            format!("CAST({} AS {}) AS {name}", computed.sql, data_type(&column.data_type))
        }
        ColumnFrom::Field(_)
        | ColumnFrom::Lookup { .. }
        | ColumnFrom::Composed(_)
        | ColumnFrom::Change(_) => identifier(&column.name),
    });
    let columns: Vec<String> = columns.collect();
    let name = identifier(&staging.name.name);
    let reads = Records::of(&reads(staging));
    let rows = match &staging.filter {
        None => standing(staging, fed, feed, binding, &reads, "    "),
        Some(filter) => {
            let asked: Vec<Read<'_>> = inputs(staging, filter).collect();
            let mut asked = Records::of(&asked);
            asked.named.push("\"last\".\"full_row\" AS m$row".to_owned());
            format!(
                "    SELECT
        {named}
    FROM (
        -- Of what does not count nothing else is read, for it may hold anything.
        SELECT m$row AS \"full_row\"
        FROM (
{standing}
        ) AS {name}
        WHERE {filter}
        OFFSET 0
    ) AS \"last\"{records}",
                named = reads.named.join(",\n        "),
                standing = standing(staging, fed, feed, binding, &asked, "            "),
                filter = filter.sql,
                records = reads.joined("    "),
            )
        }
    };
    format!("SELECT\n    {}\nFROM (\n{rows}\n) AS {name}", columns.join(",\n    "))
}

/// Rows as records: a record names a field once, so that there may be several.
struct Records {
    /// What is read, each under its name.
    named: Vec<String>,
    /// The columns of each record.
    columns: Vec<String>,
}

impl Records {
    fn of(reads: &[Read<'_>]) -> Self {
        let mut records: Vec<Vec<&Read<'_>>> = Vec::new();
        let mut named = Vec::new();
        for read in reads {
            let free = records.iter().position(|record| record.iter().all(|taken| taken.field != read.field));
            let number = free.unwrap_or_else(|| {
                records.push(Vec::new());
                records.len() - 1
            });
            records[number].push(read);
            let value = format!("\"landed_{number}\".{}", identifier(read.field));
            let value = called_now(read, value);
            named.push(format!("{value} AS {}", identifier(read.name)));
        }
        let columns = records.iter().map(|record| {
            let fields = record.iter().map(|read| format!("{} {}", identifier(read.field), read_as(read)));
            fields.collect::<Vec<_>>().join(", ")
        });
        Self { columns: columns.collect(), named }
    }

    /// The joins that read them, indented by so much.
    fn joined(&self, by: &str) -> String {
        let join = |(number, columns): (usize, &String)| {
            format!(
                "\n{by}CROSS JOIN LATERAL jsonb_to_record(\"last\".\"full_row\") AS \"landed_{number}\" ({columns})"
            )
        };
        self.columns.iter().enumerate().map(join).collect()
    }
}

/// The rows of which the last change is no delete, and no truncate came after it; indented by so much.
fn standing(
    staging: &Staging,
    fed: &[String],
    feed: &str,
    binding: Binding,
    records: &Records,
    by: &str,
) -> String {
    let (until, gone_until) = match binding {
        Binding::Present => (String::new(), String::new()),
        Binding::Travel => {
            let until =
                |column: &str| format!("\n{by}    AND {column} <= (SELECT \"medallion\".\"as_of_time\"())");
            (until("\"change\".\"commit_ts\""), until("\"commit_ts\""))
        }
    };
    format!(
        "{by}SELECT
{by}    {named}
{by}FROM (
{last}
{by}) AS \"last\"{records}
{by}LEFT JOIN (
{by}    SELECT \"commit_ts\", \"lsn\", \"seq\"
{by}    FROM {feed}
{by}    WHERE \"op\" = 'T'{gone_until}
{by}    ORDER BY \"commit_ts\" DESC, \"lsn\" DESC, \"seq\" DESC
{by}    LIMIT 1
{by}) AS \"gone\"
{by}    ON true
{by}WHERE \"last\".\"op\" <> 'D'
{by}AND (
{by}    \"gone\".\"lsn\" IS NULL
{by}    OR (\"last\".\"commit_ts\", \"last\".\"lsn\", \"last\".\"seq\") > (\"gone\".\"commit_ts\", \"gone\".\"lsn\", \"gone\".\"seq\")
{by})",
        named = records.named.join(&format!(",\n{by}    ")),
        last = last(staging, fed, feed, &until, &format!("{by}    ")),
        records = records.joined(by),
    )
}

/// The last change of each key, without those that a relation which the view feeds had to leave out.
fn last(staging: &Staging, fed: &[String], feed: &str, until: &str, by: &str) -> String {
    let key: Vec<(&str, &DataType)> = staging
        .key
        .iter()
        .filter_map(|name| {
            let column = staging.columns.iter().find(|column| column.name == *name)?;
            match &column.from {
                ColumnFrom::Field(field) => Some((field.as_str(), &column.data_type)),
                ColumnFrom::Lookup { .. }
                | ColumnFrom::Computed(_)
                | ColumnFrom::Composed(_)
                | ColumnFrom::Change(_) => None,
            }
        })
        .collect();
    let found: Vec<String> =
        key.iter().map(|(field, _)| format!("\"found\".{}", identifier(field))).collect();
    let fields = key.iter().map(|(field, of)| format!("{} {}", identifier(field), data_type(of)));
    let fits = match fed {
        [] => String::new(),
        fed => format!(
            "
{by}AND NOT EXISTS (
{by}    SELECT
{by}    FROM \"medallion\".\"misfit\" AS \"misfit\"
{by}    WHERE \"misfit\".\"relation\" IN ({})
{by}    AND \"misfit\".\"lsn\" = \"change\".\"lsn\"
{by}    AND \"misfit\".\"seq\" = \"change\".\"seq\"
{by})",
            fed.join(", ")
        ),
    };
    format!(
        "{by}SELECT DISTINCT ON ({found})
{by}    \"change\".\"op\",
{by}    \"change\".\"commit_ts\",
{by}    \"change\".\"lsn\",
{by}    \"change\".\"seq\",
{by}    \"change\".\"full_row\"
{by}FROM {feed} AS \"change\"
{by}CROSS JOIN LATERAL jsonb_to_record(\"change\".\"full_row\") AS \"found\" ({fields})
{by}WHERE \"change\".\"op\" <> 'T'{until}{fits}
{by}ORDER BY {found}, \"change\".\"commit_ts\" DESC, \"change\".\"lsn\" DESC, \"change\".\"seq\" DESC",
        found = found.join(", "),
        fields = fields.collect::<Vec<_>>().join(", "),
    )
}

/// The type that a landed value is read as: one that may be called otherwise by now, as its text.
fn read_as(read: &Read<'_>) -> String {
    match (is_renamed(read), read.data_type) {
        (true, DataType::Array(_)) => "text[]".to_owned(),
        (true, _) => "text".to_owned(),
        (false, own) => data_type(own),
    }
}

/// A landed value by the name that it has now.
fn called_now(read: &Read<'_>, value: String) -> String {
    let Some(column) = read.column.filter(|_| is_renamed(read)) else { return value };
    let renamed = column.renamed.iter().map(|(before, now)| (literal(before), literal(now)));
    let text = match read.data_type {
        DataType::Array(_) => {
            renamed.fold(value, |text, (before, now)| format!("array_replace({text}, {before}, {now})"))
        }
        _ => {
            let cases: String = renamed.map(|(before, now)| format!(" WHEN {before} THEN {now}")).collect();
            format!("(CASE {value}{cases} ELSE {value} END)")
        }
    };
    format!("{text}::{}", data_type(read.data_type))
}

fn is_renamed(read: &Read<'_>) -> bool {
    read.column.is_some_and(|column| !column.renamed.is_empty())
}

fn comments(staging: &Staging, travel_view: &Name) -> Vec<String> {
    let mut comments = vec![comment("VIEW", &staging.name, &description(staging))];
    for column in &staging.columns {
        let said = column.description.as_ref();
        comments.extend(said.map(|text| comment_column(&staging.name, &column.name, text)));
    }
    let travel = format!("`{}` as of the setting `medallion.as_of`.", staging.name.name);
    comments.push(comment("VIEW", travel_view, &travel));
    comments
}
