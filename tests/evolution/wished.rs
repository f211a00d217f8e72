//! Drawn changes of specs: each says in the spec what the change means, as whoever writes it would have to.

use super::super::source::Draws;
use super::{
    Column, DIMENSIONS, EXPRESSIONS, FACTS, LOOKUPS, LOUD, Named, Relation, SCHEMAS, SOUR, Spec, UNITS,
    fields, known,
};

impl Spec {
    /// What was said of the change before is said no more.
    pub fn settle(&mut self) {
        self.dropped.clear();
        let named = self.landings.iter_mut().chain([&mut self.lookup]);
        for name in named.chain(self.relations.iter_mut().map(|one| &mut one.name)) {
            name.before = None;
        }
        for relation in &mut self.relations {
            relation.dress.backfill = false;
        }
        for column in self.relations.iter_mut().flat_map(|one| &mut one.columns) {
            column.name.before = None;
            column.backfill = false;
        }
    }

    /// A change, by what it is; nothing where the one that was drawn does not go. What was captured up to a
    /// transaction is the past of a column that begins now.
    pub fn change(&mut self, draws: &mut Draws, captured: usize) -> Option<String> {
        let number = draws.below(36);
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
                if field == LOUD && !relation.staged {
                    return None;
                }
                let mut column = Column::new(field, true);
                column.expression = draws.below(EXPRESSIONS.len());
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
                if relation.name.before.is_some() || !relation.dress.fits_versioning() {
                    return None;
                }
                let journal = format!("{name}.journal");
                relation.versioned = !relation.versioned;
                match relation.versioned {
                    true => self.dropped.retain(|one| *one != journal),
                    false => self.dropped.push(journal),
                }
                Some(format!("{name} versioned {}", self.relations[at].versioned))
            }
            17 => {
                let used = self
                    .relations
                    .iter()
                    .any(|one| one.column("mood").is_some_and(|column| column.data_type == "mood"));
                match draws.below(4) {
                    0 if self.moods.len() < 4 => {
                        let place = draws.below(self.moods.len() + 1);
                        let value = *["flat", "it's", "wild"].iter().find(|one| !self.moods.contains(one))?;
                        self.moods.insert(place, value);
                    }
                    1 => self.moods.rotate_left(1),
                    2 => {
                        let now = *draws.one::<&str>(&SOUR);
                        let before = std::mem::replace(&mut self.sour, now);
                        for value in self.moods.iter_mut().filter(|value| **value == before) {
                            *value = now;
                        }
                    }
                    _ if !used || self.moods.len() > 2 => {
                        self.moods.retain(|one| ["fine", self.sour].contains(one))
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
                } else if relation.dress.surrogate != Some("identity") {
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
            28 | 29 if relation.column(LOUD).is_none() => {
                relation.staged = !relation.staged;
                Some(format!("{name} staged {}", relation.staged))
            }
            // Another expression; renamed at once it would be another column.
            28..=30 => {
                let column = relation.columns.iter_mut().find(|one| one.field == LOUD)?;
                if column.name.before.is_some() {
                    return None;
                }
                column.expression = (column.expression + 1) % EXPRESSIONS.len();
                Some(format!("{name}.{} by {}", column.name(), EXPRESSIONS[column.expression].0))
            }
            31 | 32 if !relation.is_fact() => {
                let before = relation.dress.surrogate;
                relation.dress.surrogate = *draws.one(&[None, Some("identity"), Some("hash")]);
                if relation.dress.surrogate == Some("identity")
                    && (relation.versioned || relation.apart.is_some())
                {
                    relation.dress.surrogate = before;
                }
                if before == relation.dress.surrogate {
                    return None;
                }
                let stored = format!("{name}.the key");
                match before {
                    Some("identity") => self.dropped.push(stored),
                    _ => self.dropped.retain(|one| *one != stored),
                }
                Some(format!("{name} has {:?} for a surrogate key", relation.dress.surrogate))
            }
            33 if !relation.is_fact() => {
                let before = relation.dress.current_end;
                relation.dress.current_end =
                    *draws.one(&[None, Some("infinity"), Some("null"), Some("9999-12-31")]);
                (before != relation.dress.current_end)
                    .then(|| format!("{name} shows {:?} of what is current", relation.dress.current_end))
            }
            34 if !relation.is_fact() && !relation.versioned => {
                let before = relation.dress.told;
                relation.dress.told = *draws.one(&[None, Some("opening"), Some("latest")]);
                relation.dress.backfill =
                    before.is_none() && relation.dress.told.is_some() && draws.below(2) == 0;
                for column in ["done", "done at"] {
                    let told = format!("{name}.{column}");
                    self.dropped.retain(|one| *one != told);
                    if before.is_some() && relation.dress.told.is_none() {
                        self.dropped.push(told);
                    }
                }
                (before != relation.dress.told)
                    .then(|| format!("{name} tells of the change: {:?}", relation.dress.told))
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
            35 => {
                let before = self.years;
                self.years = draws.below(3);
                (before != self.years).then(|| format!("{} years of days", self.years))
            }
            27 => {
                self.joined = !self.joined;
                Some(format!("joined {}", self.joined))
            }
            _ => None,
        }
    }
}

/// A name for a field that nothing else in the relation has or had just now.
fn free(relation: &Relation, field: &'static str, draws: &mut Draws) -> Option<&'static str> {
    let name = *draws.one::<&str>(known(field).1);
    let has = |column: &Column| column.name() == name || column.name.before == Some(name);
    (!relation.columns.iter().any(has)).then_some(name)
}
