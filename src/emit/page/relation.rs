//! What the page says of each relation: what it is, its columns, what holds for its rows, its SQL.

use super::observed::{Fresh, Observed, TestResult};
use crate::emit::lineage::{How, Layer, Lineage, Origins, Relation as Traced};
use crate::emit::sql;
use crate::model::data_test::{Condition, DataTest, Literal, Proof, Rule};
use crate::model::{
    Calendar, Dimension, LookupTime, Made, Mart, MartColumn, Name, Nullability, Origin, Silver, SilverKind,
    Storage, Unit, Warehouse,
};

/// A relation, as it is shown.
pub(in crate::emit) struct Relation {
    pub(super) number: usize,
    pub(super) title: String,
    /// What stands behind `#/` to show it.
    pub(super) path: String,
    pub(super) schema: String,
    pub(super) layer: Layer,
    pub(super) kind: &'static str,
    pub(in crate::emit) description: Option<String>,
    /// What else is to be known, a sentence each, in parts: whether one is a name, and its text.
    pub(super) facts: Vec<Vec<(bool, String)>>,
    pub(in crate::emit) columns: Vec<Column>,
    pub(super) tests: Vec<Test>,
    /// The query that defines it.
    pub(super) definition: Option<String>,
    /// The statements that make it.
    pub(super) sql: Option<String>,
    pub(super) fresh: Option<Fresh>,
    pub(super) last: String,
    /// How its tests ended.
    pub(super) tone: &'static str,
    pub(super) exact: bool,
}

/// A column, as it is shown.
#[derive(Clone)]
pub(in crate::emit) struct Column {
    pub(in crate::emit) name: String,
    pub(in crate::emit) data_type: String,
    pub(super) nullable: bool,
    pub(super) role: &'static str,
    pub(in crate::emit) description: Option<String>,
    /// What it is made of.
    pub(super) from: Vec<From>,
    pub(super) path: String,
}

/// Something that a column comes from.
#[derive(Clone)]
pub(super) struct From {
    pub(super) path: String,
    pub(super) said: String,
    pub(super) how: &'static str,
}

/// A test, as it is shown.
pub(super) struct Test {
    pub(super) name: String,
    pub(super) rule: String,
    pub(super) severity: &'static str,
    pub(super) description: Option<String>,
    pub(super) status: String,
    pub(super) message: String,
}

impl Relation {
    /// Adds a sentence, in which names stand between backticks.
    fn say(&mut self, sentence: &str) {
        let parts = sentence.split('`').enumerate();
        self.facts.push(parts.map(|(place, part)| (place % 2 == 1, part.to_owned())).collect());
    }
}

/// What is shown of everything in the lineage, in its order.
pub(in crate::emit) fn all(warehouse: &Warehouse, lineage: &Lineage, observed: &Observed) -> Vec<Relation> {
    let scripts = sql::scripts(warehouse);
    let script = |folder: &str, name: &Name| {
        let script = scripts.iter().find(|one| one.folder == folder && one.object == name.name)?;
        Some(script.text().trim_end().to_owned())
    };
    let mut all = Vec::new();
    for (number, traced) in lineage.relations.iter().enumerate() {
        let name = &traced.name;
        let title = title(warehouse, name);
        let mut relation = Relation {
            number,
            path: path(&name.schema, &title),
            schema: name.schema.clone(),
            layer: traced.layer,
            kind: "table of the source",
            description: None,
            facts: Vec::new(),
            columns: Vec::new(),
            tests: tests(warehouse, name, observed),
            definition: None,
            sql: None,
            fresh: observed.fresh.get(&format!("{}.{}", name.schema, name.name)).cloned(),
            last: String::new(),
            tone: "",
            exact: traced.exact,
            title,
        };
        relation.tone = tone(&relation.tests);
        relation.last =
            relation.fresh.as_ref().and_then(|fresh| fresh.last).map_or_else(String::new, |last| {
                let rows = super::chart::figure(u32::try_from(last.0).map_or(f64::MAX, f64::from));
                format!("{rows} rows in {:.2} s", last.1)
            });
        match traced.layer {
            Layer::Source => of_source(warehouse, name, &mut relation),
            Layer::Bronze => {
                let landing = warehouse.landings.iter().find(|one| one.name == *name);
                relation.kind = "landing table";
                relation.description = landing.and_then(|one| one.description.clone());
                relation.sql = script("10_bronze", name);
                relation.say("One row a change, the row itself in `full_row`; the columns below are its fields that are read.",
                );
            }
            Layer::Silver => {
                relation.sql = script("20_silver", name);
                let shown = warehouse.marts.iter().find(|one| one.name == *name);
                match (warehouse.silver.iter().find(|one| one.name == *name), shown) {
                    (Some(silver), _) => of_silver(silver, &mut relation),
                    (None, Some(shown)) => {
                        of_mart(shown, &mut relation);
                        relation.kind = "versions";
                        relation.definition = Some(sql::present(shown, &warehouse.time_zone));
                    }
                    (None, None) => of_view(warehouse, name, &mut relation),
                }
            }
            Layer::Gold => {
                relation.sql = script("30_gold", name);
                if let Some(mart) = warehouse.marts.iter().find(|one| one.name == *name) {
                    of_mart(mart, &mut relation);
                    relation.definition = Some(sql::present(mart, &warehouse.time_zone));
                }
            }
        }
        complete(warehouse, traced, &mut relation);
        all.push(relation);
    }
    all
}

/// What a relation is called: a lookup by what it shows, everything else by its table.
fn title(warehouse: &Warehouse, name: &Name) -> String {
    let lookup = warehouse.silver.iter().find_map(|silver| match &silver.kind {
        SilverKind::Dimension(dimension) if silver.name == *name && dimension.origin == Origin::Lookup => {
            Some(dimension.current_view.name.clone())
        }
        _ => None,
    });
    lookup.unwrap_or_else(|| name.name.clone())
}

/// An address within the page.
fn path(schema: &str, name: &str) -> String {
    format!("{}/{}", encoded(schema), encoded(name))
}

/// A name as a part of an address.
fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Columns that the lineage knows, with what is known of their types.
fn complete(warehouse: &Warehouse, traced: &Traced, relation: &mut Relation) {
    let known = std::mem::take(&mut relation.columns);
    relation.columns = traced
        .columns
        .iter()
        .map(|column| {
            let mut shown = known.iter().position(|one| one.name == column.name).map_or_else(
                || plain(&column.name, ""),
                |place| Column { description: known[place].description.clone(), ..copied(&known[place]) },
            );
            shown.from = origins(warehouse, &column.from);
            shown.path = format!("{}/{}", relation.path, encoded(&column.name));
            shown
        })
        .collect();
}

fn copied(column: &Column) -> Column {
    Column {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        description: None,
        from: Vec::new(),
        path: String::new(),
        ..*column
    }
}

fn plain(name: &str, data_type: &str) -> Column {
    Column {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        nullable: false,
        role: "",
        description: None,
        from: Vec::new(),
        path: String::new(),
    }
}

/// What a column is made of. What only decides it is left to the graph, unless there is nothing else.
fn origins(warehouse: &Warehouse, origins: &Origins) -> Vec<From> {
    let made = origins.iter().any(|one| one.how.is_direct());
    let told = origins.iter().filter(|one| one.how.is_direct() == made).map(|one| {
        let title = title(warehouse, &one.relation);
        let relation = path(&one.relation.schema, &title);
        let how = match one.how {
            How::Identity => "",
            How::Transformation => "computed",
            How::Aggregation => "aggregated",
            How::Join => "joined",
            How::GroupBy => "grouped",
            How::Filter => "filtered",
            How::Sort => "sorted",
            How::Window => "window",
            How::Conditional => "condition",
        };
        match &one.column {
            Some(column) => From {
                path: format!("{relation}/{}", encoded(column)),
                said: format!("{title}.{column}"),
                how,
            },
            None => From { path: relation, said: title, how: "its rows" },
        }
    });
    told.collect()
}

fn of_source(warehouse: &Warehouse, name: &Name, relation: &mut Relation) {
    let landings: Vec<&str> = warehouse
        .landings
        .iter()
        .filter(|one| one.source == *name)
        .map(|one| one.name.name.as_str())
        .collect();
    relation.say(&format!("Its changes land in {}.", listed(&landings)));
    relation.say("The columns below are those that the warehouse reads.");
}

fn of_silver(silver: &Silver, relation: &mut Relation) {
    relation.columns = silver
        .columns
        .iter()
        .map(|column| Column {
            nullable: column.nullability == Nullability::Nullable,
            role: if silver.key.contains(&column.name) { "key" } else { "" },
            description: column.description.clone(),
            ..plain(&column.name, &sql::data_type(&column.data_type))
        })
        .collect();
    relation.description = silver.description.clone();
    let added = |name: &str, data_type: &str, said: &str| Column {
        role: "kept",
        description: Some(said.to_owned()),
        ..plain(name, data_type)
    };
    match &silver.kind {
        SilverKind::Dimension(dimension) => {
            let Dimension { row_hash, start, end, .. } = dimension;
            relation.kind = match dimension.origin {
                Origin::Declared => "dimension",
                Origin::Lookup => "lookup",
            };
            if let Some(surrogate) = &dimension.surrogate {
                let data_type = match surrogate.made {
                    Made::Identity => "bigint",
                    Made::Hash(_) => "text",
                };
                let said = sql::surrogate_says(surrogate);
                relation.columns.insert(0, added(&surrogate.name, data_type, &said));
            }
            relation.columns.push(added(row_hash, "bytea", "Of the tracked columns."));
            relation.columns.push(added(start, "timestamptz", "From then on the version holds."));
            relation.columns.push(added(end, "timestamptz", "Until then; infinity while it is current."));
            relation.say(&format!(
                "Every version stands in `{}.{}`; `{}.{}` shows the current ones.",
                silver.name.schema,
                silver.name.name,
                dimension.current_view.schema,
                dimension.current_view.name
            ));
        }
        SilverKind::Fact(fact) => {
            relation.kind = "fact";
            relation.columns.push(added(
                &fact.snapshot,
                "timestamptz",
                "The system time of the row's state.",
            ));
            relation.say(&format!(
                "The latest state of each event, partitioned by {} of `{}`; earlier states stand in `{}.{}`.",
                unit(fact.partition_every),
                fact.partition_by,
                fact.archive.schema,
                fact.archive.name
            ));
        }
    }
    for lookup in &silver.lookups {
        let on: Vec<String> = lookup.on.iter().map(|(own, there)| format!("{own} = {there}")).collect();
        let at = match &lookup.at {
            LookupTime::SystemTime => "as it was at the same time".to_owned(),
            LookupTime::OwnTime(column) => format!("as it was at `{column}`"),
        };
        relation.say(&format!(
            "Looks up `{}` as `{}` by {}, {at}.",
            lookup.relation.name,
            lookup.alias,
            on.join(", ")
        ));
    }
}

/// A view of silver: staged rows, days, or a join over time.
fn of_view(warehouse: &Warehouse, name: &Name, relation: &mut Relation) {
    if let Some(staging) = warehouse.stagings.iter().find(|one| one.name == *name) {
        relation.kind = "staging view";
        relation.description = staging.description.clone();
        relation.columns = staging
            .columns
            .iter()
            .map(|column| Column {
                nullable: column.nullability == Nullability::Nullable,
                role: if staging.key.contains(&column.name) { "key" } else { "" },
                description: column.description.clone(),
                ..plain(&column.name, &sql::data_type(&column.data_type))
            })
            .collect();
        let feed = &staging.feed.name;
        relation
            .say(&format!("A view of what `{feed}` has of each key last; what it feeds computes the same."));
    } else if let Some(calendar) = warehouse.calendars.iter().find(|one| one.name == *name) {
        relation.kind = "calendar";
        relation.description = calendar.description.clone();
        relation.columns = Calendar::columns()
            .into_iter()
            .map(|(name, data_type, said)| Column {
                role: if name == Calendar::KEY { "key" } else { "" },
                description: Some(said.to_owned()),
                ..plain(name, &sql::data_type(&data_type))
            })
            .collect();
        relation.say(&format!(
            "Days from {} on, for {} years: computed, not stored.",
            calendar.first, calendar.years
        ));
    } else {
        of_join(warehouse, name, relation);
    }
}

fn of_join(warehouse: &Warehouse, name: &Name, relation: &mut Relation) {
    relation.kind = "join over time";
    let Some(join) = warehouse.temporal_joins.iter().find(|one| one.name == *name) else { return };
    relation.description = join.description.clone();
    relation.columns = join
        .columns
        .iter()
        .map(|column| Column {
            nullable: column.nullability == Nullability::Nullable,
            role: if join.key.contains(&column.name) { "key" } else { "" },
            description: column.description.clone(),
            ..plain(&column.name, &sql::data_type(&column.data_type))
        })
        .collect();
}

fn of_mart(mart: &Mart, relation: &mut Relation) {
    relation.kind = "mart";
    relation.description = mart.description.clone();
    let shown = |column: &MartColumn, role| Column {
        nullable: column.nullability == Nullability::Nullable,
        role,
        description: column.description.clone(),
        ..plain(&column.name, &sql::data_type(&column.data_type))
    };
    relation.columns = mart.grain.iter().map(|column| shown(column, "grain")).collect();
    relation.columns.extend(mart.measures.iter().map(|column| shown(column, "measure")));
    relation.say(&match &mart.storage {
        Storage::View => "A view: computed whenever it is asked.".to_owned(),
        Storage::MaterializedView => {
            "A materialized view: computed when something it reads has changed.".to_owned()
        }
        Storage::Incremental { unit } if unit.is_empty() => {
            "Stored: computed whole when something it reads has changed.".to_owned()
        }
        Storage::Incremental { unit } => {
            let unit: Vec<&str> = unit.iter().map(|column| column.column.as_str()).collect();
            format!("Stored: a change recomputes what it touches, by {}.", listed(&unit))
        }
    });
    let reads: Vec<&str> = mart.reads.iter().map(|read| read.name.name.as_str()).collect();
    relation.say(&format!("Reads {}.", listed(&reads)));
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Quarter => "quarter",
        Unit::Year => "year",
    }
}

fn tone(tests: &[Test]) -> &'static str {
    let any = |status: &str| tests.iter().any(|test| test.status == status);
    if any("fail") || any("error") {
        "bad"
    } else if any("warn") {
        "warn"
    } else if any("pass") {
        "good"
    } else {
        ""
    }
}

fn tests(warehouse: &Warehouse, name: &Name, observed: &Observed) -> Vec<Test> {
    let own = warehouse.tests.iter().filter(|test| test.stored == *name);
    own.map(|test| shown(test, observed.tests.get(&test.name))).collect()
}

fn shown(test: &DataTest, result: Option<&TestResult>) -> Test {
    let proved = match test.proof {
        Some(Proof::NotNull) => "proved by NOT NULL",
        Some(Proof::Unique) => "proved by a unique index",
        Some(Proof::Type) => "proved by its type",
        None => "",
    };
    let said = result.and_then(|one| one.message.clone()).unwrap_or_else(|| proved.to_owned());
    Test {
        name: test.name.clone(),
        rule: rule(&test.rule),
        severity: if test.error_above.is_some() { "error" } else { "warn" },
        description: test.description.clone(),
        status: result.map_or_else(String::new, |one| one.status.clone()),
        message: said,
    }
}

/// A rule in words.
pub(in crate::emit) fn rule(rule: &Rule) -> String {
    let names = |names: &[String]| names.join(", ");
    match rule {
        Rule::Unique(columns) => format!("{} unique", names(columns)),
        Rule::Each(Condition::NotNull(columns)) => format!("{} not null", names(columns)),
        Rule::Each(Condition::Accepted(column, values)) => {
            let values: Vec<&str> = values.iter().map(literal).collect();
            format!("{column} one of {}", values.join(", "))
        }
        Rule::Each(Condition::Range { column, min, max }) => {
            let least = min.as_ref().map_or_else(String::new, |min| format!("{} ≤ ", literal(min)));
            let most = max.as_ref().map_or_else(String::new, |max| format!(" ≤ {}", literal(max)));
            format!("{least}{column}{most}")
        }
        Rule::Each(Condition::Expression(sql)) => sql.clone(),
        Rule::Increasing { column, order_by, per } => {
            let among = if per.is_empty() { String::new() } else { format!(" per {}", names(per)) };
            format!("{column} increasing by {order_by}{among}")
        }
        Rule::Relationship { on, relation, .. } => {
            let own: Vec<&str> = on.iter().map(|(own, _)| own.as_str()).collect();
            format!("{} found in {}", own.join(", "), relation.name)
        }
        Rule::RowCount { min, max } => {
            let least = min.map_or_else(String::new, |min| format!("{min} ≤ "));
            let most = max.map_or_else(String::new, |max| format!(" ≤ {max}"));
            format!("{least}rows{most}")
        }
        Rule::SumEquals { measure, relation, aggregate } => {
            format!("sum({measure}) = {aggregate} of {}", relation.name)
        }
        Rule::Freshness { column, within, .. } => format!("latest {column} within {within} s"),
        Rule::Query(_) => "a query of its own finds nothing".to_owned(),
    }
}

fn literal(literal: &Literal) -> &str {
    match literal {
        Literal::Plain(text) | Literal::Text(text) => text,
    }
}
