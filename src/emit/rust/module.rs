//! The modules of the three layers: which file holds which relation, and by which path one reaches another.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use super::field::Enums;
use super::name::{Spelling, spell};
use super::silver::columns_of;
use crate::emit::sql;
use crate::model::{Calendar, Mart, Name, SilverKind, Warehouse};

/// A layer of the warehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Bronze,
    Silver,
    Gold,
}

impl Layer {
    /// Its module and folder.
    pub(super) fn module(self) -> &'static str {
        match self {
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
        }
    }

    fn doc(self) -> &'static str {
        match self {
            Self::Bronze => "Bronze: every change as it came.",
            Self::Silver => "Silver: rows as they were at any time, events as they are now.",
            Self::Gold => "Gold: measures by grain.",
        }
    }
}

/// The module of enumerated types, named as SeaORM's users expect.
pub(super) const ENUMS: &str = "sea_orm_active_enums";

/// Every relation's module, seen from the entities of one layer.
pub(super) struct Modules<'a> {
    warehouse: &'a Warehouse,
    spellings: BTreeMap<&'a Name, (Layer, Spelling)>,
    here: Layer,
}

impl<'a> Modules<'a> {
    pub(super) fn seen_from(here: Layer, warehouse: &'a Warehouse) -> Self {
        let mut spellings = BTreeMap::new();
        for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
            for (name, spelling) in spelled(&relations(layer, warehouse)) {
                spellings.insert(name, (layer, spelling));
            }
        }
        Self { warehouse, spellings, here }
    }

    /// The relation's spelling: its module's name and its entity's.
    pub(super) fn spelling(&self, name: &Name) -> &Spelling {
        &self.spellings.get(name).expect("lower has checked that every relation is declared").1
    }

    /// The path of a relation's module.
    pub(super) fn path(&self, name: &Name) -> String {
        let (layer, spelling) =
            self.spellings.get(name).expect("lower has checked that every relation is declared");
        let module = spelling.snake_identifier();
        if *layer == self.here {
            format!("super::{module}")
        } else {
            format!("super::super::{}::{module}", layer.module())
        }
    }

    /// The path of a column of a stored relation.
    pub(super) fn column(&self, name: &Name, column: &str) -> String {
        let silver = self.warehouse.silver.iter().find(|silver| silver.name == *name).map(columns_of);
        let mart = || {
            let mart = self.warehouse.marts.iter().find(|mart| mart.name == *name)?;
            Some(spell(mart.grain.iter().chain(&mart.measures).map(|column| column.name.as_str()), &[]))
        };
        let calendar = || {
            let is_there = self.warehouse.calendars.iter().any(|calendar| calendar.name == *name);
            is_there.then(|| spell(Calendar::columns().map(|(column, ..)| column), &[]))
        };
        let columns = silver
            .or_else(mart)
            .or_else(calendar)
            .expect("lower has checked that every relation is declared");
        let spelling = columns.get(column).expect("lower has checked that every column is declared");
        format!("{}::Column::{}", self.path(name), spelling.camel)
    }

    /// The SQL of a dimension's surrogate key of that name, where it is a hash.
    pub(super) fn hash(&self, name: &Name, column: &str) -> Option<String> {
        let silver = self.warehouse.silver.iter().find(|silver| silver.name == *name)?;
        let SilverKind::Dimension(dimension) = &silver.kind else { return None };
        let surrogate = dimension.surrogate.as_ref().filter(|surrogate| surrogate.name == column);
        surrogate.and_then(|_| sql::looked_up_hash(dimension))
    }

    /// The stored relations behind a mart: where it reads a plain view, those behind that.
    pub(super) fn stored_reads(&self, mart: &'a Mart) -> BTreeSet<&'a Name> {
        let mut stored = BTreeSet::new();
        for read in &mart.reads {
            match self.warehouse.marts.iter().find(|other| other.name == read.stored) {
                Some(view) if !view.storage.is_kept() => stored.extend(self.stored_reads(view)),
                _ => {
                    stored.insert(&read.stored);
                }
            }
        }
        stored
    }

    /// The warehouse's enumerated types, seen from here.
    pub(super) fn enums(&self) -> Enums {
        let module = match self.here {
            Layer::Silver => "super::sea_orm_active_enums",
            Layer::Bronze | Layer::Gold => "super::super::silver::sea_orm_active_enums",
        };
        Enums::of(&self.warehouse.enums, module)
    }
}

/// The relations that a layer has an entity for.
pub(super) fn relations(layer: Layer, warehouse: &Warehouse) -> Vec<&Name> {
    match layer {
        Layer::Bronze => warehouse.landings.iter().map(|landing| &landing.name).collect(),
        Layer::Silver => warehouse
            .silver
            .iter()
            .flat_map(|silver| match &silver.kind {
                SilverKind::Dimension(dimension) => [&silver.name, &dimension.current_view],
                SilverKind::Fact(fact) => [&silver.name, &fact.archive],
            })
            .chain(warehouse.stagings.iter().map(|staging| &staging.name))
            .chain(warehouse.calendars.iter().map(|calendar| &calendar.name))
            .chain(warehouse.temporal_joins.iter().map(|join| &join.name))
            .chain(warehouse.marts.iter().filter(|mart| mart.is_shown()).map(|mart| &mart.name))
            .collect(),
        Layer::Gold => {
            warehouse.marts.iter().filter(|mart| !mart.is_shown()).map(|mart| &mart.name).collect()
        }
    }
}

/// Relations of the same name in two schemas are told apart by their schemas.
fn spelled<'a>(relations: &[&'a Name]) -> Vec<(&'a Name, Spelling)> {
    let keys: Vec<String> = relations
        .iter()
        .map(|name| {
            let same = relations.iter().filter(|other| other.name == name.name).count();
            if same > 1 { format!("{}.{}", name.schema, name.name) } else { name.name.clone() }
        })
        .collect();
    let spellings = spell(keys.iter().map(String::as_str), &["mod", "prelude", ENUMS]);
    relations.iter().zip(&keys).map(|(name, key)| (*name, spellings[key].clone())).collect()
}

#[derive(Template)]
#[template(path = "generated/src/warehouse/layer/mod.rs", escape = "none")]
struct LayerRs<'a> {
    mark: &'a str,
    doc: &'static str,
    modules: Vec<String>,
}

#[derive(Template)]
#[template(path = "generated/src/warehouse/layer/prelude.rs", escape = "none")]
struct PreludeRs<'a> {
    mark: &'a str,
    entities: Vec<&'a Spelling>,
}

#[derive(Template)]
#[template(path = "generated/src/warehouse/layer/sea_orm_active_enums.rs", escape = "none")]
struct EnumsRs<'a> {
    mark: &'a str,
    enums: Vec<EnumRs>,
}

struct EnumRs {
    doc: Vec<String>,
    attribute: String,
    name: String,
    variants: Vec<VariantRs>,
}

struct VariantRs {
    doc: Vec<String>,
    value: String,
    name: String,
}

/// The layer's `mod.rs`.
pub(super) fn layer_module(layer: Layer, modules: &Modules<'_>, mark: &str) -> String {
    let mut spellings = layer_spellings(layer, modules);
    spellings.sort_by(|one, other| as_versions(&one.snake, &other.snake));
    let mut names: Vec<String> = spellings.iter().map(|spelling| spelling.snake_identifier()).collect();
    if has_enums(layer, modules) {
        let place = spellings
            .iter()
            .position(|spelling| as_versions(&spelling.snake, ENUMS).is_gt())
            .unwrap_or(names.len());
        names.insert(place, ENUMS.to_owned());
    }
    sql::render(&LayerRs { mark, doc: layer.doc(), modules: names })
}

/// The layer's `prelude.rs`.
pub(super) fn prelude(layer: Layer, modules: &Modules<'_>, mark: &str) -> String {
    let mut entities = layer_spellings(layer, modules);
    entities.sort_by(|one, other| as_versions(&one.snake, &other.snake));
    sql::render(&PreludeRs { mark, entities })
}

/// The file of enumerated types, where the layer has one.
pub(super) fn enums_file(layer: Layer, modules: &Modules<'_>, mark: &str) -> Option<String> {
    if !has_enums(layer, modules) {
        return None;
    }
    let spellings = modules.enums();
    let enums = modules.warehouse.enums.iter().filter_map(|kind| {
        let spelling = spellings.get(&kind.name)?;
        let variants = spell(kind.values.iter().map(String::as_str), &[]);
        Some(EnumRs {
            doc: super::entity::doc(&format!("Type `{}`.", kind.name.name)),
            attribute: format!(
                "#[sea_orm(rs_type = \"String\", db_type = \"Enum\", enum_name = {})]",
                super::layout::string(&kind.name.name)
            ),
            name: spelling.camel.clone(),
            variants: kind
                .values
                .iter()
                .map(|value| VariantRs {
                    doc: super::entity::doc(&format!("Value `{value}`.")),
                    value: super::layout::string(value),
                    name: variants[value].camel.clone(),
                })
                .collect(),
        })
    });
    Some(sql::render(&EnumsRs { mark, enums: enums.collect() }))
}

fn has_enums(layer: Layer, modules: &Modules<'_>) -> bool {
    let enums = modules.enums();
    layer == Layer::Silver && modules.warehouse.enums.iter().any(|kind| enums.get(&kind.name).is_some())
}

fn layer_spellings<'a>(layer: Layer, modules: &'a Modules<'_>) -> Vec<&'a Spelling> {
    relations(layer, modules.warehouse).into_iter().map(|name| modules.spelling(name)).collect()
}

/// The order in which rustfmt puts modules: numbers by their value, an underscore before all else.
pub(super) fn as_versions(one: &str, other: &str) -> std::cmp::Ordering {
    parts(one).cmp(&parts(other)).then_with(|| one.cmp(other))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Underscore,
    Number(usize, String),
    Letter(char),
}

fn parts(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut digits = String::new();
    for character in name.chars().chain(std::iter::once('\0')) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        if !digits.is_empty() {
            let value = digits.trim_start_matches('0').to_owned();
            parts.push(Part::Number(value.len(), value));
            digits.clear();
        }
        match character {
            '\0' => {}
            '_' => parts.push(Part::Underscore),
            letter => parts.push(Part::Letter(letter)),
        }
    }
    parts
}
