//! Specs of a shop that are drawn, and drawn changes of them: each says in the spec what the change means, as whoever
//! writes it would have to.

use std::fmt::Write as _;

use super::source::Draws;

const DIMENSIONS: [&str; 4] = ["dim_customer_hist", "dim_client_hist", "Kundën \"alt\"_hist", LONGEST];
/// As long as a name can be.
const LONGEST: &str = "dimension_of_customers_with_a_name_of_as_many_letters_as_fit_in";
const FACTS: [&str; 3] = ["fact_sale", "fact_sold", "order"];
const LOOKUPS: [&str; 2] = ["lookup_store", "shop"];
const SCHEMAS: [&str; 5] = ["bronze", "silver", "gold", "raw", "sil.\"ver\""];
const UNITS: [&str; 5] = ["month", "day", "week", "quarter", "year"];

/// What a field of the source can be in the warehouse: its names, and its types.
const FIELDS: [(&str, &[&str], &[&str]); 14] = [
    ("customer_id", &["customer_id"], &["integer"]),
    ("code", &["code"], &["text"]),
    ("region", &["region"], &["integer"]),
    ("name", &["name", "called"], &["text", "varchar", "varchar(60)"]),
    ("email", &["email", "mail", "e-mail"], &["text", "varchar(60)"]),
    ("mood", &["mood", "humour"], &["mood", "text"]),
    ("points", &["points", "select", "Pünkte \"x\""], &["integer", "bigint", "numeric", "text"]),
    ("phone", &["phone", "number"], &["text", "integer"]),
    ("seen", &["seen", "met"], &["timestamptz", "text"]),
    ("sale_id", &["sale_id"], &["bigint"]),
    ("sold_at", &["sold_at", "at"], &["timestamptz"]),
    ("till", &["till", "desk"], &["integer", "bigint", "text"]),
    ("amount", &["amount", "paid"], &["numeric(10,2)", "numeric(12,3)", "numeric", "text"]),
    ("note", &["note", "said"], &["text"]),
];

/// A spec.
#[derive(Clone, Debug)]
pub struct Spec {
    schemas: [&'static str; 3],
    moods: Vec<&'static str>,
    roles: [bool; 2],
    landings: [Named; 2],
    lookup: Named,
    pub relations: Vec<Relation>,
    /// How `sales_by_day` and `sales_by_city` are kept; where there is none, not at all.
    marts: [Option<&'static str>; 2],
    best_days: bool,
    measures: usize,
    retained: usize,
    dropped: Vec<String>,
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
    key: usize,
    description: Option<&'static str>,
    versioned: bool,
    refused: bool,
    apart: Option<&'static str>,
    every: &'static str,
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
    backfill: bool,
    /// The transaction up to which it is NULL, where it began without its past.
    pub since: Option<usize>,
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

    fn column(&self, field: &str) -> Option<&Column> {
        self.columns.iter().find(|one| one.field == field)
    }
}

impl Column {
    pub fn name(&self) -> &'static str {
        self.name.name
    }

    fn new(field: &'static str, null: bool) -> Self {
        let (_, names, types) = known(field);
        Self {
            name: Named::new(names[0]),
            field,
            data_type: types[0],
            null,
            tracked: true,
            described: false,
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
        "customer" => &["email", "mood", "points", "phone", "seen"],
        _ => &["till", "note", "city"],
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
            refused: false,
            apart: None,
            every: "month",
        };
        Self {
            schemas: ["bronze", "silver", "gold"],
            moods: vec!["fine", "sour"],
            roles: [true, true],
            landings: [Named::new("br_customer_cdc"), Named::new("br_sale_cdc")],
            lookup: Named::new(LOOKUPS[0]),
            relations: vec![
                relation(DIMENSIONS[0], "customer", columns(&customer)),
                relation(FACTS[0], "sale", columns(&sale)),
            ],
            marts: [Some("incremental"), Some("materialized_view")],
            best_days: true,
            measures: 1,
            retained: 0,
            dropped: Vec::new(),
        }
    }

    /// What was said of the change before is said no more.
    pub fn settle(&mut self) {
        self.dropped.clear();
        let named = self.landings.iter_mut().chain([&mut self.lookup]);
        for name in named.chain(self.relations.iter_mut().map(|one| &mut one.name)) {
            name.before = None;
        }
        for column in self.relations.iter_mut().flat_map(|one| &mut one.columns) {
            column.name.before = None;
            column.backfill = false;
        }
    }

    /// A change, by what it is; nothing where the one that was drawn does not go. What was captured up to a
    /// transaction is the past of a column that begins now.
    pub fn change(&mut self, draws: &mut Draws, captured: usize) -> Option<String> {
        let number = draws.below(27);
        let count = self.relations.len();
        let at = draws.below(count);
        let taken: Vec<&str> = self.relations.iter().map(Relation::name).collect();
        let relation = &mut self.relations[at];
        let name = relation.name();
        match number {
            0..=3 => {
                let field = *draws.one(fields(relation.table));
                if relation.column(field).is_some() {
                    return None;
                }
                let mut column = Column::new(field, true);
                column.data_type = draws.one::<&str>(known(field).2);
                column.name = Named::new(free(relation, field, draws)?);
                column.backfill = field == "city" || draws.below(2) == 0;
                column.since = (!column.backfill).then_some(captured);
                // What goes and comes at once is what was there.
                if self.dropped.contains(&format!("{name}.{}", column.name())) {
                    return None;
                }
                let place = draws.below(relation.columns.len() + 1);
                let said = format!("{name} adds {} of {field}, backfill {}", column.name(), column.backfill);
                relation.columns.insert(place, column);
                Some(said)
            }
            4 | 5 => {
                let all: Vec<usize> = (0..relation.columns.len())
                    .filter(|number| fields(relation.table).contains(&relation.columns[*number].field))
                    .filter(|number| {
                        relation.columns[*number].name.before.is_none() && !relation.columns[*number].backfill
                    })
                    .collect();
                if all.is_empty() || relation.name.before.is_some() {
                    return None;
                }
                let gone = relation.columns.remove(*draws.one(&all));
                if gone.field == "city" {
                    self.marts[1] = None;
                }
                let column = format!("{name}.{}", gone.name());
                self.dropped.push(column.clone());
                Some(format!("drops {column}"))
            }
            6 | 7 => {
                let place = draws.below(relation.columns.len());
                let field = relation.columns[place].field;
                let now = free(relation, field, draws)?;
                let column = &mut relation.columns[place];
                if column.name.before.is_some() || column.backfill || column.since == Some(captured) {
                    return None;
                }
                let said = format!("{name}.{} is {now} now", column.name());
                column.name.rename(now);
                Some(said)
            }
            8 | 9 => {
                let place = draws.below(relation.columns.len());
                let column = &mut relation.columns[place];
                let before = column.data_type;
                column.data_type = draws.one::<&str>(known(column.field).2);
                (before != column.data_type)
                    .then(|| format!("{name}.{} from {before} to {}", column.name(), column.data_type))
            }
            10 => {
                let place = draws.below(relation.columns.len());
                if relation.is_fact() || relation.key().contains(&relation.columns[place].field) {
                    return None;
                }
                let column = &mut relation.columns[place];
                column.tracked = !column.tracked;
                Some(format!("{name}.{} tracked {}", column.name(), column.tracked))
            }
            11 => {
                let turn = draws.below(relation.columns.len());
                relation.columns.rotate_left(turn);
                (turn > 0).then(|| format!("{name} in another order"))
            }
            12 => {
                let place = draws.below(relation.columns.len());
                relation.columns[place].described ^= true;
                relation.description = *draws.one(&[None, Some("It's theirs."), Some("Whoever \"buys\".")]);
                Some(format!("{name} is described otherwise"))
            }
            13 | 14 => {
                let names: &[&str] = if relation.is_fact() { &FACTS } else { &DIMENSIONS };
                let now = *draws.one(names);
                if taken.contains(&now) || relation.name.before.is_some() || !self.dropped.is_empty() {
                    return None;
                }
                relation.name.rename(now);
                Some(format!("{name} is {now} now"))
            }
            15 => {
                let which = draws.below(3);
                let (named, names): (&mut Named, &[&str]) = match which {
                    0 => (&mut self.landings[0], &["br_customer_cdc", "br_buyer"]),
                    1 => (&mut self.landings[1], &["br_sale_cdc", "br_sold", "select"]),
                    _ => (&mut self.lookup, &LOOKUPS),
                };
                let now = *draws.one(names);
                if named.name == now || named.before.is_some() {
                    return None;
                }
                let before = named.name;
                named.rename(now);
                Some(format!("{before} is {now} now"))
            }
            16 if !relation.is_fact() => {
                relation.versioned = !relation.versioned;
                Some(format!("{name} versioned {}", relation.versioned))
            }
            17 => {
                let used = self
                    .relations
                    .iter()
                    .any(|one| one.column("mood").is_some_and(|column| column.data_type == "mood"));
                match draws.below(3) {
                    0 if self.moods.len() < 4 => {
                        let place = draws.below(self.moods.len() + 1);
                        let value = *["flat", "it's", "wild"].iter().find(|one| !self.moods.contains(one))?;
                        self.moods.insert(place, value);
                    }
                    1 => self.moods.rotate_left(1),
                    _ if !used || self.moods.len() > 2 => {
                        self.moods.retain(|one| ["fine", "sour"].contains(one))
                    }
                    _ => return None,
                }
                Some(format!("moods {:?}", self.moods))
            }
            18 => {
                let which = draws.below(2);
                let kinds = [None, Some("view"), Some("materialized_view"), Some("incremental")];
                let now = *draws.one(&kinds);
                let has_city = self.relations.iter().find(|one| one.is_fact())?.column("city").is_some();
                if which == 1 && now.is_some() && !has_city {
                    return None;
                }
                let before = std::mem::replace(&mut self.marts[which], now);
                self.best_days = self.marts[0].is_some() && draws.below(3) > 0;
                (before != now).then(|| format!("mart {which} from {before:?} to {now:?}"))
            }
            19 => {
                let before = self.measures;
                self.measures = draws.below(4);
                (before != self.measures).then(|| format!("{} measures more", self.measures))
            }
            20 => {
                let before = (relation.every, relation.apart);
                if relation.is_fact() {
                    relation.every = draws.one::<&str>(&UNITS);
                } else {
                    relation.apart = *draws.one(&[None, Some("year"), Some("month"), Some("day")]);
                    relation.refused &= relation.apart.is_none();
                }
                (before != (relation.every, relation.apart))
                    .then(|| format!("{name} by {}, apart {:?}", relation.every, relation.apart))
            }
            21 => {
                let before = relation.key;
                relation.key = draws.below(if relation.is_fact() { 2 } else { 3 });
                for field in relation.key() {
                    let column = relation.columns.iter_mut().find(|one| one.field == *field)?;
                    column.tracked = true;
                }
                (before != relation.key).then(|| format!("{name} by {:?}", relation.key()))
            }
            22 if !relation.is_fact() && relation.apart.is_none() => {
                relation.refused = !relation.refused;
                Some(format!("{name} overlaps refused {}", relation.refused))
            }
            23 => {
                let which = draws.below(2);
                self.roles[which] = !self.roles[which];
                Some(format!("roles {:?}", self.roles))
            }
            24 => {
                let before = self.retained;
                self.retained = draws.below(3);
                (before != self.retained).then(|| format!("retention {}", self.retained))
            }
            25 if count == 2 => {
                let mut second = relation.clone();
                let names: &[&str] = if second.is_fact() { &FACTS } else { &DIMENSIONS };
                let name = *names.iter().find(|one| !taken.contains(one))?;
                if relation.name.before.is_some()
                    || second.columns.iter().any(|one| one.name.before.is_some())
                {
                    return None;
                }
                second.name = Named::new(name);
                for column in &mut second.columns {
                    column.since = None;
                }
                self.relations.push(second);
                Some(format!("{name} comes"))
            }
            26 => {
                let before = self.schemas;
                let free: Vec<&str> = SCHEMAS.into_iter().filter(|one| !before.contains(one)).collect();
                let layer = draws.below(3);
                match draws.below(3) {
                    0 => self.schemas.swap(layer, (layer + 1) % 3),
                    _ => self.schemas[layer] = *draws.one(&free),
                }
                Some(format!("schemas {before:?} are {:?} now", self.schemas))
            }
            25 if count == 3 && self.relations[2].name.before.is_none() => {
                let gone = self.relations.pop()?;
                self.dropped.push(gone.name().to_owned());
                Some(format!("{} goes", gone.name()))
            }
            _ => None,
        }
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
        for relation in &self.relations {
            self.write(relation, &mut text);
        }
        self.write_marts(&mut text);
        text
    }

    fn write(&self, relation: &Relation, text: &mut String) {
        let (kind, landing) =
            if relation.is_fact() { ("fact", &self.landings[1]) } else { ("dimension", &self.landings[0]) };
        let (name, from, said) = (quoted(relation.name()), quoted(landing.name), relation.name.said());
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
            let from = if column.field == "city" { "shop.city" } else { column.field };
            write!(
                text,
                "    {{ name = {}, type = \"{}\", from = \"{from}\"",
                quoted(column.name()),
                column.data_type
            )
            .unwrap();
            if column.null && !relation.key().contains(&column.field) {
                text.push_str(", null = true");
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
        text.push_str("]\n");
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

/// A name for a field that nothing else in the relation has or had just now.
fn free(relation: &Relation, field: &'static str, draws: &mut Draws) -> Option<&'static str> {
    let name = *draws.one::<&str>(known(field).1);
    let has = |column: &Column| column.name() == name || column.name.before == Some(name);
    (!relation.columns.iter().any(has)).then_some(name)
}

/// Text as TOML and SQL quote it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
