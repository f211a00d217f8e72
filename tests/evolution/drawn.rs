//! Specs of a shop that are drawn, and how they are written.

#[path = "wished.rs"]
mod wished;

use std::fmt::Write as _;

use super::source::{NOTE, Row};

const DIMENSIONS: [&str; 4] = ["dim_customer_hist", "dim_client_hist", "Kundën \"alt\"_hist", LONGEST];
/// As long as a name can be.
const LONGEST: &str = "dimension_of_customers_with_a_name_of_as_many_letters_as_fit_in";
const FACTS: [&str; 3] = ["fact_sale", "fact_sold", "order"];
const LOOKUPS: [&str; 2] = ["lookup_store", "shop"];
const SCHEMAS: [&str; 5] = ["bronze", "silver", "gold", "raw", "sil.\"ver\""];
const SOUR: [&str; 3] = ["sour", "it's \"bitter\"", "acid"];
const UNITS: [&str; 5] = ["month", "day", "week", "quarter", "year"];

/// What a field of the source can be in the warehouse: its names, and its types.
const FIELDS: [(&str, &[&str], &[&str]); 15] = [
    ("customer_id", &["customer_id"], &["integer"]),
    ("code", &["code"], &["text"]),
    ("region", &["region"], &["integer"]),
    ("name", &["name", "called"], &["text", "varchar", "varchar(60)"]),
    ("email", &["email", "mail", "e-mail"], &["text", "varchar(60)"]),
    ("mood", &["mood", "humour"], &["mood", "text"]),
    ("points", &["points", "select", "P\\ü%s \"x\" '$1"], &["integer", "bigint", "numeric", "text"]),
    ("phone", &["phone", "number"], &["text", "integer"]),
    ("seen", &["seen", "met"], &["timestamptz", "text"]),
    ("sale_id", &["sale_id"], &["bigint"]),
    ("sold_at", &["sold_at", "at"], &["timestamptz"]),
    ("till", &["till", "desk"], &["integer", "bigint", "text"]),
    ("amount", &["amount", "paid"], &["numeric(10,2)", "numeric(12,3)", "numeric", "text"]),
    (NOTE, &["note", "said"], &["text"]),
    (LOUD, &["loud", "cry \"x\""], &["text", "varchar"]),
];

/// What is computed of a customer: by an expression of a staging view.
pub const LOUD: &str = "loud";
/// Expressions, each with what it reads.
const EXPRESSIONS: [(&str, &[&str]); 3] = [
    ("\"its name\" || '!'", &["name"]),
    ("coalesce(\"its email\", \"its name\")", &["email", "name"]),
    ("nullif(\"its name\", 'Ann')", &["name"]),
];

/// A spec.
#[derive(Clone, Debug)]
pub struct Spec {
    schemas: [&'static str; 3],
    moods: Vec<&'static str>,
    /// What `sour` is called.
    sour: &'static str,
    roles: [bool; 2],
    landings: [Named; 2],
    lookup: Named,
    pub relations: Vec<Relation>,
    /// How `sales_by_day` and `sales_by_city` are kept; where there is none, not at all.
    marts: [Option<&'static str>; 2],
    best_days: bool,
    /// Whether histories are joined over time.
    joined: bool,
    /// How many years the calendar has; where there are none, there is no calendar.
    years: usize,
    measures: usize,
    retained: usize,
    pub dropped: Vec<String>,
}

/// A name, and the one before where it has changed just now.
#[derive(Clone, Debug)]
struct Named {
    name: &'static str,
    before: Option<&'static str>,
}

/// A dimension or a fact.
#[derive(Clone, Debug)]
pub struct Relation {
    name: Named,
    /// The table at the source.
    pub table: &'static str,
    pub columns: Vec<Column>,
    pub key: usize,
    description: Option<&'static str>,
    pub versioned: bool,
    /// Whether a staging view reads for it what has landed.
    pub staged: bool,
    refused: bool,
    apart: Option<&'static str>,
    every: &'static str,
    dress: Dress,
}

/// Under which other names a dimension is known.
#[derive(Clone, Copy, Debug, Default)]
struct Dress {
    /// How its surrogate key comes to be.
    surrogate: Option<&'static str>,
    /// How the view of all versions shows that one is current.
    current_end: Option<&'static str>,
    /// Of which change it tells the operation and the time.
    told: Option<&'static str>,
    /// Whether that is filled from what has landed.
    backfill: bool,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    name: Named,
    /// A field of the source's table; of the lookup it is the city.
    pub field: &'static str,
    data_type: &'static str,
    null: bool,
    pub tracked: bool,
    described: bool,
    /// By which expression it is computed, where it is.
    pub expression: usize,
    pub backfill: bool,
    /// The transaction up to which it is NULL, where it began without its past.
    pub since: Option<usize>,
}

impl Dress {
    /// Whether others may write the dimension: what they write comes by no change, and has no number of its own.
    fn fits_versioning(self) -> bool {
        self.told.is_none() && self.surrogate != Some("identity")
    }
}

impl Named {
    fn new(name: &'static str) -> Self {
        Self { name, before: None }
    }

    fn rename(&mut self, name: &'static str) {
        self.before = Some(self.name);
        self.name = name;
    }

    fn said(&self) -> String {
        self.before.map_or_else(String::new, |before| format!("renamed_from = {}\n", quoted(before)))
    }
}

impl Relation {
    pub fn name(&self) -> &'static str {
        self.name.name
    }

    /// The view of what is so now.
    pub fn view(&self) -> &'static str {
        match self.name() {
            name if self.is_fact() => name,
            LONGEST => "longest",
            name => name.strip_suffix("_hist").unwrap(),
        }
    }

    pub fn is_fact(&self) -> bool {
        self.table == "sale"
    }

    /// Whether others may write it.
    pub fn is_versioned(&self) -> bool {
        self.versioned
    }

    /// The fields that identify a row.
    pub fn key(&self) -> &'static [&'static str] {
        match (self.is_fact(), self.key) {
            (true, 0) => &["sale_id"],
            (true, _) => &["sale_id", "customer_id"],
            (false, 0) => &["customer_id"],
            (false, 1) => &["customer_id", "region"],
            (false, _) => &["code"],
        }
    }

    /// Its columns, as a view of what has landed shows them.
    fn write_staging(&self, name: &str, from: &str, text: &mut String) {
        writeln!(text, "\n[[staging]]\nname = {name}\nfrom = {from}\ncolumns = [").unwrap();
        for column in self.columns.iter().filter(|column| column.field != "city") {
            write!(text, "    {{ name = {}", quoted(column.name())).unwrap();
            column.write_source(self, text);
            text.push_str(" },\n");
        }
        text.push_str("]\nfields = [\n");
        let read = self.column(LOUD).map_or(&[][..], |column| EXPRESSIONS[column.expression].1);
        for field in read {
            writeln!(text, "    {{ name = \"its {field}\", type = \"text\", from = \"{field}\" }},").unwrap();
        }
        text.push_str("]\n");
    }

    fn column(&self, field: &str) -> Option<&Column> {
        self.columns.iter().find(|one| one.field == field)
    }
}

impl Column {
    pub fn name(&self) -> &'static str {
        self.name.name
    }

    /// Where its values come from, and what they are.
    fn write_source(&self, relation: &Relation, text: &mut String) {
        let from = match self.field {
            "city" => "from = \"shop.city\"".to_owned(),
            LOUD => format!("expr = {}", quoted(EXPRESSIONS[self.expression].0)),
            field => format!("from = {}", quoted(field)),
        };
        write!(text, ", type = \"{}\", {from}", self.data_type).unwrap();
        if self.null && !relation.key().contains(&self.field) {
            text.push_str(", null = true");
        }
    }

    pub fn new(field: &'static str, null: bool) -> Self {
        let (_, names, types) = known(field);
        Self {
            name: Named::new(names[0]),
            field,
            data_type: types[0],
            null,
            tracked: true,
            described: false,
            expression: 0,
            backfill: false,
            since: None,
        }
    }
}

fn known(field: &str) -> (&'static str, &'static [&'static str], &'static [&'static str]) {
    match field {
        "store_id" => ("store_id", &["store_id"], &["integer"]),
        "city" => ("city", &["city", "town"], &["text"]),
        field => *FIELDS.iter().find(|(one, ..)| *one == field).unwrap(),
    }
}

/// What a dimension or a fact can have.
fn fields(table: &str) -> &'static [&'static str] {
    match table {
        "customer" => &["email", "mood", "points", "phone", "seen", LOUD],
        _ => &["till", NOTE, "city"],
    }
}

impl Spec {
    /// One to begin with.
    pub fn first() -> Self {
        let customer = ["customer_id", "code", "region", "name", "email", "mood", "points", "seen"];
        let sale = ["sale_id", "sold_at", "customer_id", "store_id", "city", "amount"];
        let columns = |fields: &[&'static str]| {
            let nullable = ["email", "mood", "points", "seen", "store_id", "city"];
            fields.iter().map(|field| Column::new(field, nullable.contains(field))).collect()
        };
        let relation = |name, table, columns| Relation {
            name: Named::new(name),
            table,
            columns,
            key: 0,
            description: None,
            versioned: false,
            staged: false,
            refused: false,
            apart: None,
            every: "month",
            dress: Dress::default(),
        };
        Self {
            schemas: ["bronze", "silver", "gold"],
            moods: vec!["fine", "sour"],
            sour: "sour",
            roles: [true, true],
            landings: [Named::new("br_customer_cdc"), Named::new("br_sale_cdc")],
            lookup: Named::new(LOOKUPS[0]),
            relations: vec![
                relation(DIMENSIONS[0], "customer", columns(&customer)),
                relation(FACTS[0], "sale", columns(&sale)),
            ],
            marts: [Some("incremental"), Some("materialized_view")],
            best_days: true,
            joined: true,
            years: 0,
            measures: 1,
            retained: 0,
            dropped: Vec::new(),
        }
    }

    /// What a column says of a row.
    pub fn value(&self, column: &Column, row: &Row) -> Option<String> {
        if column.field != LOUD {
            return row.get(column.field)?.clone().map(|value| self.called(column, value));
        }
        let (name, email) = (row.get("name")?.clone()?, row.get("email").cloned().flatten());
        match column.expression {
            0 => Some(format!("{name}!")),
            1 => Some(email.unwrap_or(name)),
            _ => Some(name).filter(|name| name != "Ann"),
        }
    }

    /// What a column says where its field says so.
    pub fn called(&self, column: &Column, value: String) -> String {
        if column.data_type == "mood" && value == "sour" { self.sour.to_owned() } else { value }
    }

    /// Whether a column has just been let go.
    pub fn has_dropped(&self, relation: &str, column: &str) -> bool {
        self.dropped.contains(&format!("{relation}.{column}"))
    }

    /// The spec, as it is written.
    pub fn toml(&self) -> String {
        let mut text = String::from("[warehouse]\nname = \"shop\"\n");
        let [bronze, silver, gold] = self.schemas.map(quoted);
        writeln!(text, "\n[schemas]\nbronze = {bronze}\nsilver = {silver}\ngold = {gold}").unwrap();
        writeln!(text, "\n[roles]").unwrap();
        for (role, is_there) in ["loader", "reader"].into_iter().zip(self.roles) {
            if is_there {
                writeln!(text, "{role} = \"shop_{role}\"").unwrap();
            }
        }
        if let Some(then) = [None, Some("archive"), Some("drop")][self.retained] {
            writeln!(text, "\n[retention]\nkeep = \"24 months\"\nthen = \"{then}\"").unwrap();
        }
        let moods: Vec<String> = self.moods.iter().map(|one| quoted(one)).collect();
        writeln!(text, "\n[types]\nmood = [{}]", moods.join(", ")).unwrap();
        writeln!(text, "\n[renamed_values]").unwrap();
        for before in SOUR.iter().filter(|before| **before != self.sour) {
            writeln!(text, "{} = {}", quoted(&format!("mood.{before}")), quoted(self.sour)).unwrap();
        }
        if !self.dropped.is_empty() {
            writeln!(text, "\n[allow_drop]").unwrap();
            for dropped in &self.dropped {
                writeln!(text, "{} = \"It is drawn.\"", quoted(dropped)).unwrap();
            }
        }
        text.push_str("\n[allow_hazard]\n");
        for relation in &self.relations {
            for hazard in ["narrowing", "irreversible"] {
                let what = quoted(&format!("{}.{hazard}", relation.name()));
                writeln!(text, "{what} = \"It is drawn.\"").unwrap();
            }
        }
        for (landing, (from, key)) in
            self.landings.iter().zip([("customer", "customer_id"), ("sale", "sale_id")])
        {
            let (name, said) = (quoted(landing.name), landing.said());
            writeln!(text, "\n[[landing]]\nname = {name}\nfrom = \"{from}\"\nkey = [\"{key}\"]\n{said}")
                .unwrap();
        }
        let (name, said) = (quoted(self.lookup.name), self.lookup.said());
        writeln!(
            text,
            "[[lookup]]\nname = {name}\nfrom = \"store\"\nkey = [\"store_id\"]\n{said}columns = [\n    \
             {{ name = \"store_id\", type = \"integer\" }},\n    {{ name = \"city\", type = \"text\", null = true }},\n]"
        )
        .unwrap();
        for (place, relation) in self.relations.iter().enumerate() {
            self.write(place, relation, &mut text);
        }
        if self.years > 0 {
            let years = self.years;
            writeln!(text, "\n[[calendar]]\nname = \"days\"\nfrom = \"2024-02-01\"\nyears = {years}")
                .unwrap();
        }
        self.write_joins(&mut text);
        self.write_marts(&mut text);
        text
    }

    fn write(&self, place: usize, relation: &Relation, text: &mut String) {
        let (kind, landing) =
            if relation.is_fact() { ("fact", &self.landings[1]) } else { ("dimension", &self.landings[0]) };
        let (name, mut from, said) = (quoted(relation.name()), quoted(landing.name), relation.name.said());
        if relation.staged {
            let staging = quoted(&format!("it's staged {place}"));
            relation.write_staging(&staging, &from, text);
            from = staging;
        }
        let own =
            |field: &str| relation.column(field).map_or_else(|| quoted(field), |one| quoted(one.name()));
        let key: Vec<String> = relation.key().iter().map(|field| own(field)).collect();
        writeln!(text, "\n[[{kind}]]\nname = {name}\nfrom = {from}\nkey = [{}]\n{said}", key.join(", "))
            .unwrap();
        if let Some(description) = relation.description {
            writeln!(text, "description = {}", quoted(description)).unwrap();
        }
        if relation.versioned {
            text.push_str("system_versioning = true\n");
        }
        if !relation.is_fact() {
            writeln!(text, "current_view = {}", quoted(relation.view())).unwrap();
        }
        if let Some(surrogate) = relation.dress.surrogate {
            let of = if surrogate == "hash" { format!(", of = [{}]", key.join(", ")) } else { String::new() };
            writeln!(text, "surrogate_key = {{ name = \"the key\", as = \"{surrogate}\"{of} }}").unwrap();
        }
        if let Some(end) = relation.dress.current_end {
            let shown = quoted(&format!("{} as known", relation.view()));
            writeln!(text, "shown_as = {{ name = {shown}, current_end = \"{end}\", is_current = \"so\" }}")
                .unwrap();
        }
        if relation.refused {
            text.push_str("overlaps = \"refused\"\n");
        }
        if let Some(every) = relation.apart {
            writeln!(text, "closed_apart = {{ every = \"{every}\" }}").unwrap();
        }
        if relation.is_fact() {
            writeln!(text, "partition = {{ by = {}, every = \"{}\" }}", own("sold_at"), relation.every)
                .unwrap();
            if relation.column("city").is_some() {
                writeln!(
                    text,
                    "lookups = [{{ name = \"shop\", relation = {}, on = [{}], at = {} }}]",
                    quoted(self.lookup.name),
                    own("store_id"),
                    own("sold_at")
                )
                .unwrap();
            }
        }
        text.push_str("columns = [\n");
        for column in &relation.columns {
            write!(text, "    {{ name = {}", quoted(column.name())).unwrap();
            if !relation.staged || column.field == "city" {
                column.write_source(relation, text);
            }
            if !column.tracked {
                text.push_str(", tracked = false");
            }
            if column.described {
                text.push_str(", description = \"It's \\\"so\\\".\"");
            }
            if column.backfill {
                text.push_str(", backfill = \"bronze\"");
            }
            if let Some(before) = column.name.before {
                write!(text, ", renamed_from = {}", quoted(before)).unwrap();
            }
            text.push_str(" },\n");
        }
        if let Some(which) = relation.dress.told {
            let backfill = if relation.dress.backfill { ", backfill = \"bronze\"" } else { "" };
            for (name, data_type, what) in [("done", "text", "operation"), ("done at", "timestamptz", "time")]
            {
                writeln!(
                    text,
                    "    {{ name = \"{name}\", type = \"{data_type}\", null = true, change = \"{what}\", \
                     which = \"{which}\"{backfill} }},"
                )
                .unwrap();
            }
        }
        text.push_str("]\n");
    }

    /// A dimension with a lookup, and a fact with the dimension as it was then, where its key is what the fact has of it.
    fn write_joins(&self, text: &mut String) {
        let (dimension, fact) = (&self.relations[0], &self.relations[1]);
        if !self.joined || dimension.key != 0 {
            return;
        }
        let own = |relation: &Relation, field: &str| {
            relation.column(field).map_or_else(String::new, |one| quoted(one.name()))
        };
        let key: String =
            fact.key().iter().map(|field| format!("{{ name = {} }}, ", own(fact, field))).collect();
        let called = dimension.column("name").map_or("", Column::name);
        writeln!(
            text,
            "\n[[temporal_join]]\nname = \"at \\\"home\\\"\"\nfrom = {name}\n\
             joins = [{{ name = \"shop\", relation = {lookup}, on = [\"region\"] }}]\n\
             columns = [{{ name = \"customer_id\" }}, {{ name = {called} }}, {{ name = \"town\", from = \"shop.city\" }}]\n\n\
             [[temporal_join]]\nname = \"sold_to\"\nfrom = {fact}\n\
             joins = [{{ name = \"buyer\", relation = {name}, on = [\"customer_id\"], at = {at} }}]\n\
             columns = [{key}{{ name = \"buyer\", from = {buyer} }}]",
            name = quoted(dimension.name()),
            lookup = quoted(self.lookup.name),
            called = quoted(called),
            fact = quoted(fact.name()),
            at = own(fact, "sold_at"),
            buyer = quoted(&format!("buyer.{called}")),
        )
        .unwrap();
    }

    fn write_marts(&self, text: &mut String) {
        let Some(fact) = self.relations.iter().find(|one| one.is_fact()) else { return };
        let (name, at) = (quoted(fact.name()), fact.column("sold_at").unwrap().name());
        let amount = fact.column("amount").unwrap().name();
        let sum = quoted(&format!("sum({}::numeric)", quoted(amount)));
        let grains = [
            (
                "sales_by_day",
                format!("name = \"day\", of = {}, cut = \"day\"", quoted(&format!("sale.{at}"))),
            ),
            (
                "sales_by_city",
                format!(
                    "name = \"city\", of = {}",
                    quoted(&format!("sale.{}", fact.column("city").map_or("city", Column::name)))
                ),
            ),
        ];
        for ((mart, grain), storage) in grains.iter().zip(self.marts) {
            let Some(storage) = storage else { continue };
            writeln!(
                text,
                "\n[[mart]]\nname = \"{mart}\"\nstorage = \"{storage}\"\nfrom = {{ sale = {name} }}\n\
                 grain = [{{ {grain} }}]\nmeasures = [\n    \
                 {{ name = \"sold\", type = \"numeric(12,2)\", of = \"sale\", expr = {sum} }},"
            )
            .unwrap();
            for number in 0..self.measures {
                writeln!(text, "    {{ name = \"sales {number}\", of = \"sale\", expr = \"count(*)\" }},")
                    .unwrap();
            }
            text.push_str("]\n");
        }
        if self.best_days && self.marts[0].is_some() {
            text.push_str(
                "\n[[mart]]\nname = \"best_days\"\nstorage = \"view\"\ngrain = [{ name = \"day\", type = \"date\" }]\n\
                 measures = [{ name = \"sold\", type = \"numeric(12,2)\" }]\nsql = \"best_days.sql\"\n",
            );
        }
    }
}

/// Text as TOML and SQL quote it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
