//! The entities of silver: a dimension and its current view, a fact and its archive.

use std::collections::BTreeMap;

use super::entity::{Descriptor, Entity, Field, spell_columns};
use super::layout::{Expression, array, atom, call, string, structure, tuple, vector};
use super::module::Modules;
use super::name::Spelling;
use crate::emit::sql::{self, ARCHIVE_END, ARCHIVE_START, partitioned_key};
use crate::model::data_type::BuiltIn;
use crate::model::{
    Calendar, Closed, Column, ColumnFrom, Computed, Dimension, Fact, Lookup, LookupTime, Made, Nullability,
    Silver, SilverKind, Staging, Stretch, Surrogate, TemporalJoin, Tracking, Unit, Writes,
};

/// The entities of a silver relation.
pub(super) fn entities<'a>(silver: &'a Silver, modules: &Modules<'_>) -> Vec<Entity<'a>> {
    let descriptor = Some(descriptor(silver, modules));
    match &silver.kind {
        SilverKind::Dimension(dimension) => {
            vec![versions(silver, dimension, descriptor), current(silver, dimension)]
        }
        SilverKind::Fact(fact) => vec![events(silver, fact, descriptor), archive(silver, fact)],
    }
}

fn versions<'a>(silver: &'a Silver, dimension: &'a Dimension, descriptor: Option<Descriptor>) -> Entity<'a> {
    let stored = dimension.surrogate.as_ref().filter(|surrogate| surrogate.made == Made::Identity);
    let mut fields: Vec<Field<'_>> = stored.into_iter().map(numbering).collect();
    fields.extend(silver.columns.iter().map(Field::of));
    fields.extend([
        Field::own(&dimension.row_hash, BuiltIn::Bytea, "The hash of the attributes that make a version."),
        Field::own(&dimension.start, BuiltIn::TimestampTz, "Since when the row was so, in system time."),
        Field::own(
            &dimension.end,
            BuiltIn::TimestampTz,
            "Until when the row was so; infinity in the current version.",
        ),
    ]);
    Entity {
        name: &silver.name,
        doc: sql::descriptions(silver, dimension).0,
        fields,
        key: key(silver).chain([dimension.start.as_str()]).collect(),
        descriptor,
    }
}

fn current<'a>(silver: &'a Silver, dimension: &'a Dimension) -> Entity<'a> {
    let mut fields: Vec<Field<'_>> = dimension.surrogate.iter().map(numbering).collect();
    fields.extend(silver.columns.iter().map(Field::of));
    let since = "Since when the row is so, in system time.";
    fields.push(Field::own(&dimension.start, BuiltIn::TimestampTz, since));
    Entity {
        name: &dimension.current_view,
        doc: sql::descriptions(silver, dimension).1,
        fields,
        key: key(silver).collect(),
        descriptor: None,
    }
}

fn numbering(surrogate: &Surrogate) -> Field<'_> {
    let built_in = match surrogate.made {
        Made::Identity => BuiltIn::BigInt,
        Made::Hash(_) => BuiltIn::Text,
    };
    Field::own(&surrogate.name, built_in, &sql::surrogate_says(surrogate))
}

fn events<'a>(silver: &'a Silver, fact: &'a Fact, descriptor: Option<Descriptor>) -> Entity<'a> {
    let mut fields: Vec<Field<'_>> = silver.columns.iter().map(Field::of).collect();
    fields.push(Field::own(&fact.snapshot, BuiltIn::TimestampTz, "The system time of the row's state."));
    Entity {
        name: &silver.name,
        doc: silver.description.clone().unwrap_or_else(|| "The latest state of each event.".to_owned()),
        fields,
        key: partitioned_key(silver, fact).collect(),
        descriptor,
    }
}

fn archive<'a>(silver: &'a Silver, fact: &'a Fact) -> Entity<'a> {
    let mut fields: Vec<Field<'_>> = silver.columns.iter().map(Field::of).collect();
    fields.extend([
        Field::own(ARCHIVE_START, BuiltIn::TimestampTz, "Since when the row was so, in system time."),
        Field::own(ARCHIVE_END, BuiltIn::TimestampTz, "Until when the row was so."),
    ]);
    Entity {
        name: &fact.archive,
        doc: format!("Earlier states of the rows of `{}`.", silver.name.name),
        fields,
        key: key(silver).chain([ARCHIVE_START]).collect(),
        descriptor: None,
    }
}

/// The entity of a staging view.
pub(super) fn staged(staging: &Staging) -> Entity<'_> {
    Entity {
        name: &staging.name,
        doc: sql::staging_description(staging),
        fields: staging.columns.iter().map(Field::of).collect(),
        key: staging.key.iter().map(String::as_str).collect(),
        descriptor: None,
    }
}

/// The entity of a calendar.
pub(super) fn days(calendar: &Calendar) -> Entity<'_> {
    let columns = Calendar::columns().into_iter();
    let fields =
        columns.map(|(name, data_type, said)| Field::new(name, &data_type, Nullability::NotNull, Some(said)));
    Entity {
        name: &calendar.name,
        doc: sql::calendar_description(calendar),
        fields: fields.collect(),
        key: vec![Calendar::KEY],
        descriptor: None,
    }
}

/// The entity of a join over time: a view.
pub(super) fn joined(join: &TemporalJoin) -> Entity<'_> {
    let columns = join.columns.iter();
    let mut fields: Vec<Field<'_>> = columns
        .map(|column| {
            Field::new(&column.name, &column.data_type, column.nullability, column.description.as_deref())
        })
        .collect();
    let mut key: Vec<&str> = join.key.iter().map(String::as_str).collect();
    if let Stretch::Period { start, end } = &join.stretch {
        fields.push(Field::own(start, BuiltIn::TimestampTz, sql::STRETCH_START));
        fields.push(Field::own(end, BuiltIn::TimestampTz, sql::STRETCH_END));
        key.push(start);
    }
    Entity { name: &join.name, doc: sql::join_description(join), fields, key, descriptor: None }
}

fn key(silver: &Silver) -> impl Iterator<Item = &str> {
    silver.key.iter().map(String::as_str)
}

/// The columns of the table's entity, as it spells them.
pub(super) fn columns_of(silver: &Silver) -> BTreeMap<String, Spelling> {
    let own: Vec<&str> = match &silver.kind {
        SilverKind::Dimension(dimension) => {
            let stored = dimension.surrogate.iter().filter(|surrogate| surrogate.made == Made::Identity);
            let own = [dimension.row_hash.as_str(), &dimension.start, &dimension.end];
            stored.map(|surrogate| surrogate.name.as_str()).chain(own).collect()
        }
        SilverKind::Fact(fact) => vec![&fact.snapshot],
    };
    spell_columns(silver.columns.iter().map(|column| column.name.as_str()).chain(own))
}

fn descriptor(silver: &Silver, modules: &Modules<'_>) -> Descriptor {
    let columns = columns_of(silver);
    let own = |column: &str| format!("Column::{}", columns[column].camel);
    let key = silver.key.iter().map(|column| atom(own(column))).collect();
    Descriptor {
        function: "silver",
        doc: "What the loader is told of this table.",
        kind: "Silver",
        body: structure(
            "descriptor::Silver",
            vec![
                ("table", atom("descriptor::Name::of(Entity)")),
                ("feed", atom(format!("descriptor::Name::of({}::Entity)", modules.path(&silver.feed)))),
                ("key", call("descriptor::columns", vec![array(key)])),
                (
                    "columns",
                    // Hashes go by this order, so that a column that comes between others changes none.
                    vector(
                        silver
                            .in_order_of_introduction()
                            .map(|one| column(silver, one, &own, modules))
                            .collect(),
                    ),
                ),
                ("lookups", vector(silver.lookups.iter().map(|one| lookup(one, &own, modules)).collect())),
                ("kind", kind(silver, &own, modules)),
            ],
        ),
    }
}

fn column(
    silver: &Silver,
    column: &Column,
    own: &dyn Fn(&str) -> String,
    modules: &Modules<'_>,
) -> Expression {
    let name = atom(own(&column.name));
    let untracked = |plain| match column.tracking {
        Tracking::Tracked | Tracking::Opening => plain,
        Tracking::Untracked => call("descriptor::Column::untracked", vec![plain]),
    };
    let sql_type = atom(string(&sql::data_type(&column.data_type)));
    let plain = match (&column.from, column.tracking) {
        (ColumnFrom::Field(field), Tracking::Tracked | Tracking::Opening) => {
            call("descriptor::Column::field", vec![name, sql_type, atom(string(field))])
        }
        (ColumnFrom::Field(field), Tracking::Untracked) => {
            call("descriptor::Column::untracked_field", vec![name, sql_type, atom(string(field))])
        }
        (ColumnFrom::Computed(computed), _) => {
            let arguments = vec![name, sql_type, inputs(computed), atom(string(&computed.sql))];
            untracked(call("descriptor::Column::computed", arguments))
        }
        (ColumnFrom::Composed(composed), _) => {
            let of = composed.of.iter().map(|column| atom(own(column))).collect();
            let arguments = vec![name, sql_type, array(of), atom(string(&composed.sql))];
            untracked(call("descriptor::Column::composed", arguments))
        }
        (ColumnFrom::Change(change), tracking) => {
            let function = match tracking {
                Tracking::Untracked => "descriptor::Column::of_latest_change",
                Tracking::Tracked | Tracking::Opening => "descriptor::Column::of_change",
            };
            call(function, vec![name, sql_type, atom(format!("descriptor::Change::{change:?}"))])
        }
        (ColumnFrom::Lookup { lookup, column }, tracking) => {
            let there = silver.lookups.iter().find(|one| one.alias == *lookup);
            let there = there.expect("lower has checked that a column's lookup is declared");
            if let Some(hash) = modules.hash(&there.relation, column) {
                let hash = atom(string(&hash));
                let plain = call(
                    "descriptor::Column::looked_up_hash",
                    vec![name, sql_type, atom(string(lookup)), hash],
                );
                return untracked(plain);
            }
            let there = atom(modules.column(&there.relation, column));
            let function = match tracking {
                Tracking::Tracked | Tracking::Opening => "descriptor::Column::lookup",
                Tracking::Untracked => "descriptor::Column::untracked_lookup",
            };
            call(function, vec![name, sql_type, atom(string(lookup)), there])
        }
    };
    // A row is found by its key, counted or not.
    let plain = match &silver.filter {
        Some(filter) if silver.key.first() == Some(&column.name) => {
            let arguments = vec![plain, inputs(filter), atom(string(&filter.sql))];
            call("descriptor::Column::counted", arguments)
        }
        Some(_) | None => plain,
    };
    if column.renamed.is_empty() || !matches!(column.from, ColumnFrom::Field(_)) {
        return plain;
    }
    let pairs =
        column.renamed.iter().map(|(before, now)| tuple(vec![atom(string(before)), atom(string(now))]));
    call("descriptor::Column::renamed", vec![plain, array(pairs.collect())])
}

/// What an expression names: names, types and fields.
fn inputs(computed: &Computed) -> Expression {
    let inputs = computed.inputs.iter().map(|input| {
        let data_type = sql::data_type(&input.data_type);
        tuple(vec![atom(string(&input.name)), atom(string(&data_type)), atom(string(&input.field))])
    });
    array(inputs.collect())
}

fn lookup(lookup: &Lookup, own: &dyn Fn(&str) -> String, modules: &Modules<'_>) -> Expression {
    let pairs = lookup
        .on
        .iter()
        .map(|(here, there)| tuple(vec![atom(own(here)), atom(modules.column(&lookup.relation, there))]));
    let mut arguments = vec![
        atom(string(&lookup.alias)),
        atom(format!("{}::Entity", modules.path(&lookup.relation))),
        array(pairs.collect()),
    ];
    match &lookup.at {
        LookupTime::SystemTime => call("descriptor::Lookup::of", arguments),
        LookupTime::OwnTime(column) => {
            arguments.push(atom(own(column)));
            call("descriptor::Lookup::at", arguments)
        }
    }
}

fn kind(silver: &Silver, own: &dyn Fn(&str) -> String, modules: &Modules<'_>) -> Expression {
    let named = |column: &str| call("descriptor::column", vec![atom(own(column))]);
    match &silver.kind {
        SilverKind::Dimension(dimension) => structure(
            "descriptor::SilverKind::Dimension",
            vec![
                (
                    "current",
                    atom(format!("descriptor::Name::of({}::Entity)", modules.path(&dimension.current_view))),
                ),
                ("row_hash", named(&dimension.row_hash)),
                ("start", named(&dimension.start)),
                ("end", named(&dimension.end)),
                ("journal", journal(silver, dimension)),
                ("closed", closed(silver, dimension)),
                ("surrogate", told_apart(dimension)),
            ],
        ),
        SilverKind::Fact(fact) => structure(
            "descriptor::SilverKind::Fact",
            vec![
                ("snapshot", named(&fact.snapshot)),
                ("archive", atom(format!("descriptor::Name::of({}::Entity)", modules.path(&fact.archive)))),
                ("partition_by", named(&fact.partition_by)),
                ("partition_every", atom(format!("descriptor::Unit::{}", unit(fact.partition_every)))),
            ],
        ),
    }
}

fn journal(silver: &Silver, dimension: &Dimension) -> Expression {
    match dimension.writes {
        Writes::Loader => atom("None"),
        Writes::Versioned => {
            let name = sql::journal(silver);
            let parts = vec![atom(string(&name.schema)), atom(string(&name.name))];
            call("Some", vec![call("descriptor::Name::new", parts)])
        }
    }
}

fn closed(silver: &Silver, dimension: &Dimension) -> Expression {
    match dimension.closed {
        Closed::Together => atom("None"),
        Closed::Apart { every } => {
            let name = sql::closed(silver);
            let parts = vec![atom(string(&name.schema)), atom(string(&name.name))];
            let fields = vec![
                ("table", call("descriptor::Name::new", parts)),
                ("every", atom(format!("descriptor::Unit::{}", unit(every)))),
            ];
            call("Some", vec![structure("descriptor::Closed", fields)])
        }
    }
}

fn told_apart(dimension: &Dimension) -> Expression {
    let Some(surrogate) = &dimension.surrogate else { return atom("None") };
    let name = atom(string(&surrogate.name));
    let of = match sql::looked_up_hash(dimension) {
        Some(hash) => call("descriptor::Surrogate::hash", vec![name, atom(string(&hash))]),
        None => call("descriptor::Surrogate::stored", vec![name]),
    };
    call("Some", vec![of])
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Day => "Day",
        Unit::Week => "Week",
        Unit::Month => "Month",
        Unit::Quarter => "Quarter",
        Unit::Year => "Year",
    }
}
