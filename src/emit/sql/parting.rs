//! The SQL that moves rows between partitions: where a fact's or a history's partitions come to hold other stretches
//! of time. Cuts them where the runtime cuts those that it makes. Reads models as JSON, so that the way back to a
//! shape that an older tool has written is known as well.

use askama::Template;
use serde_json::Value;

use super::quote::{derived, identifier, literal, relation};
use crate::model::{Name, TOOL_SCHEMA};
use crate::plan::decision::every;

/// How a relation's rows are split.
pub(in crate::emit) struct Parting {
    /// The relation.
    pub(in crate::emit) name: Name,
    /// The table whose partitions hold stretches of time, and the one that holds the rest.
    parted: Name,
    rest: Name,
    column: String,
    data_type: PartedBy,
    every: Every,
    zone: String,
    columns: Vec<String>,
}

enum PartedBy {
    Instant,
    Other(&'static str),
}

struct Every {
    unit: &'static str,
    step: &'static str,
    pattern: &'static str,
}

#[derive(Template)]
#[template(path = "migration/src/warehouse/next/parting.sql", escape = "none")]
struct PartingSql<'a> {
    parted: String,
    prefix: String,
    every: &'a Every,
    local: String,
    from: String,
    to: String,
    column: String,
    source: &'a str,
}

#[derive(Template)]
#[template(path = "migration/src/warehouse/next/regroup.sql", escape = "none")]
struct RegroupSql {
    table: String,
    parted: String,
    parted_literal: String,
    plain_rest: String,
    rest_literal: String,
    columns: String,
    plain_columns: String,
    parting: String,
}

impl Parting {
    /// How the rows of a silver relation of a model are split, where they are.
    pub(in crate::emit) fn of(silver: &Value, zone: &str) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = &silver["kind"];
        let every = Every::of(every(kind)?)?;
        let name = Name::new(text(&silver["name"]["schema"]), text(&silver["name"]["name"]));
        let own = silver["columns"].as_array().into_iter().flatten();
        let mut columns: Vec<String> = own.clone().map(|column| text(&column["name"])).collect();
        let beside = |suffix: &str| Name::new(&name.schema, derived(&name.name, suffix));
        let fact = &kind["Fact"];
        let (parted, rest, column, data_type) = if fact.is_object() {
            columns.push(text(&fact["snapshot"]));
            let column = text(&fact["partition_by"]);
            let data_type =
                own.clone().find(|one| text(&one["name"]) == column)?["data_type"]["BuiltIn"].clone();
            let data_type = match data_type.as_str()? {
                "Date" => PartedBy::Other("date"),
                "Timestamp" => PartedBy::Other("timestamp"),
                _ => PartedBy::Instant,
            };
            (name.clone(), beside("default"), column, data_type)
        } else {
            let dimension = &kind["Dimension"];
            columns.extend(["row_hash", "start", "end"].map(|word| text(&dimension[word])));
            (beside("closed"), beside("closed_default"), text(&dimension["end"]), PartedBy::Instant)
        };
        Some(Self { name, parted, rest, column, data_type, every, zone: zone.to_owned(), columns })
    }

    /// PL/pgSQL that makes the partitions for the rows of a table, whose name an expression says.
    pub(in crate::emit) fn making(&self, source: &str) -> String {
        let column = within_format(&identifier(&self.column));
        let (every, zone) = (&self.every, literal(&self.zone));
        // Where clocks go back across midnight there are two midnights, of which a day begins with the first.
        let instant = |local: &str| {
            format!(
                "least(({local}) AT TIME ZONE {zone}, (({local}) - interval '1 hour') AT TIME ZONE {zone} + interval '1 hour')"
            )
        };
        let next = format!("start + interval '{}'", every.step);
        let (local, from, to) = match self.data_type {
            PartedBy::Instant => (format!("{column} AT TIME ZONE {zone}"), instant("start"), instant(&next)),
            PartedBy::Other(data_type) => (
                format!("{column}::timestamp"),
                format!("start::{data_type}"),
                format!("({next})::{data_type}"),
            ),
        };
        let sql = PartingSql {
            parted: literal(&relation(&self.parted)),
            prefix: literal(&prefix(&self.parted.name)),
            every,
            local,
            from,
            to,
            column,
            source,
        };
        super::render(&sql).trim().to_owned()
    }

    /// The table whose partitions these are, quoted.
    pub(in crate::emit) fn table(&self) -> String {
        relation(&self.parted)
    }

    /// The block that cuts the partitions anew.
    pub(in crate::emit) fn regroup(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| identifier(column)).collect();
        let columns = columns.join(", ");
        let sql = RegroupSql {
            table: within_format(&relation(&self.name)),
            parted: within_format(&relation(&self.parted)),
            parted_literal: literal(&relation(&self.parted)),
            plain_rest: relation(&self.rest),
            rest_literal: literal(&relation(&self.rest)),
            columns: within_format(&columns),
            plain_columns: columns,
            parting: self.making("part").replace('\n', "\n        "),
        };
        super::render(&sql).trim().to_owned()
    }
}

impl Every {
    fn of(unit: &str) -> Option<Self> {
        let (unit, step, pattern) = match unit {
            "Day" => ("day", "1 day", "YYYY_MM_DD"),
            "Week" => ("week", "1 week", "IYYY_\"w\"IW"),
            "Month" => ("month", "1 month", "YYYY_MM"),
            "Quarter" => ("quarter", "3 months", "YYYY_\"q\"Q"),
            "Year" => ("year", "1 year", "YYYY"),
            _ => return None,
        };
        Some(Self { unit, step, pattern })
    }
}

/// What a partition's name begins with: the table's, of which the middle is left out where the longest stretch would
/// not fit behind it. The runtime calls those that it makes so too.
fn prefix(table: &str) -> String {
    const LONGEST: usize = 63 - "_YYYY_MM_DD".len();
    if table.len() <= LONGEST {
        return table.to_owned();
    }
    let (mut head, mut tail) = (LONGEST / 2, table.len() - LONGEST / 2);
    while !table.is_char_boundary(head) {
        head -= 1;
    }
    while !table.is_char_boundary(tail) {
        tail += 1;
    }
    [&table[..head], &table[tail..]].concat()
}

/// Names in the text that `format` fills.
fn within_format(sql: &str) -> String {
    sql.replace('%', "%%")
}

/// Refuses a landing table's other key where what has landed contradicts it.
pub(in crate::emit) fn rekeyed(landing: &Name, before: &[String], now: &[String]) -> String {
    #[derive(Template)]
    #[template(path = "migration/src/warehouse/next/rekey.sql", escape = "none")]
    struct RekeySql {
        landing: String,
        quarantine: String,
        name: String,
        called: String,
        key: String,
        before: String,
        now: String,
    }
    let fields = |key: &[String]| {
        let fields: Vec<String> =
            key.iter().map(|field| format!("\"full_row\" -> {}", literal(field))).collect();
        format!("jsonb_build_array({})", fields.join(", "))
    };
    let sql = RekeySql {
        landing: relation(landing),
        quarantine: relation(&Name::new(TOOL_SCHEMA, "quarantine")),
        name: literal(&format!("{}.{}", landing.schema, landing.name)),
        called: literal(&landing.name),
        key: literal(&now.join(", ")),
        before: fields(before),
        now: fields(now),
    };
    super::render(&sql).trim().to_owned()
}
