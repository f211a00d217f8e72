//! What a migration drops: what is not wanted any more or not so, and all that stands in its way, to be made again
//! afterwards. Nothing cascades: every object is dropped by its name, dependants first.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::{ASIDE, Fate, Step};
use super::effect::Lock;
use super::hazard::Hazard;
use super::object::{Catalog, Identity, Kind, Object};
use super::quote::literal;
use super::table::quoted;

/// The objects that go, those included that are made anew afterwards.
pub(super) struct Gone {
    pub(super) identities: BTreeSet<Identity>,
    /// Those that step aside until their rows have moved.
    moved: BTreeSet<Identity>,
}

impl Gone {
    /// What goes because it is not wanted any more, or not so; and what would stand in its way, until nothing
    /// does.
    pub(super) fn find(
        old: &Catalog,
        after: &BTreeSet<&Identity>,
        fates: &BTreeMap<&Identity, Fate>,
    ) -> Self {
        let unwanted = |identity: &&Identity| {
            !after.contains(*identity) || matches!(fates.get(*identity), Some(Fate::Anew | Fate::Moved(_)))
        };
        let moved = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Moved(_)));
        let moved: BTreeSet<Identity> = moved.map(|(identity, _)| (*identity).clone()).collect();
        let objects = old.objects.iter().map(|one| &one.identity);
        let mut identities: BTreeSet<Identity> = objects.filter(unwanted).cloned().collect();
        let changed = Changed::of(old, fates);
        loop {
            let named = identities.iter().filter(|one| one.kind.is_read());
            let names: BTreeSet<&str> = named.map(|one| one.name.as_str()).collect();
            let others = old.objects.iter().filter(|one| !identities.contains(&one.identity));
            let found: Vec<Identity> = others
                .filter(|one| one.reads_another_of(&names) || changed.is_minded_by(one))
                .filter(|one| one.identity.kind.is_made_of_others())
                .map(|one| one.identity.clone())
                .collect();
            if found.is_empty() {
                return Self { identities, moved };
            }
            identities.extend(found);
        }
    }

    /// Whether a table steps aside, for its rows to move.
    pub(super) fn is_aside(&self, table: &Identity) -> bool {
        self.moved.contains(table)
    }

    /// Whether an object goes with a table that goes. From one that steps aside, and from its partitions, triggers are
    /// taken first: their functions may go before it does.
    fn goes_along(&self, identity: &Identity) -> bool {
        let is_aside = |table: &str| self.moved.iter().any(|one| one.name == table);
        let is_part = |one: &Identity| one.kind == Kind::Partition && one.name == identity.of;
        let aside =
            is_aside(&identity.of) || self.identities.iter().any(|one| is_part(one) && is_aside(&one.of));
        if identity.kind == Kind::Trigger && aside {
            return false;
        }
        let tables = [Kind::Table, Kind::Partition, Kind::MaterializedView];
        matches!(identity.kind, Kind::Trigger | Kind::Index | Kind::Partition)
            && self.identities.iter().any(|one| tables.contains(&one.kind) && one.name == identity.of)
    }

    /// What goes first: all but schemas and types, the last made first. A function that triggers call waits for
    /// the table with which they go.
    pub(super) fn drops(&self, old: &Catalog, after: &BTreeSet<&Identity>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut waiting: Vec<&Object> = Vec::new();
        let going = |one: &&Object| self.identities.contains(&one.identity);
        for object in old.objects.iter().rev().filter(going) {
            let identity = &object.identity;
            if identity.kind == Kind::Block {
                let made = watchers(&object.sql);
                steps.extend(
                    made.map(|one| {
                        Step::new(&object.section, format!("DROP EVENT TRIGGER IF EXISTS {one};"))
                    }),
                );
                continue;
            }
            if matches!(identity.kind, Kind::Schema | Kind::Type) || self.goes_along(identity) {
                continue;
            }
            if identity.kind == Kind::Function && self.callers(old, identity).next().is_some() {
                waiting.push(object);
                continue;
            }
            if self.moved.contains(identity) {
                steps.extend(step_aside(
                    object,
                    steps.iter().all(|one| !one.sql.starts_with("CREATE SCHEMA")),
                ));
                continue;
            }
            let lost = matches!(identity.kind, Kind::Table | Kind::Partition) && !after.contains(identity);
            let step = Step::new(&object.section, drop(identity));
            steps.push(if lost { step.with(&[Hazard::DataLoss]) } else { step });
            if identity.kind == Kind::Table {
                let (freed, others) = waiting.into_iter().partition(|function: &&Object| {
                    self.callers(old, &function.identity).all(|trigger| trigger.identity.of == identity.name)
                });
                waiting = others;
                let freed: Vec<&Object> = freed;
                steps.extend(freed.iter().map(|one| Step::new(&one.section, drop(&one.identity))));
            }
        }
        steps.extend(waiting.iter().map(|one| Step::new(&one.section, drop(&one.identity))));
        steps
    }

    /// The triggers that call a function and go with their tables.
    fn callers<'o>(&self, old: &'o Catalog, function: &Identity) -> impl Iterator<Item = &'o Object> {
        let name = function.name.clone();
        old.objects.iter().filter(move |one| {
            one.identity.kind == Kind::Trigger && one.reads.contains(&name) && self.goes_along(&one.identity)
        })
    }

    /// What goes when nothing stands on it any more.
    pub(super) fn last_drops(&self, old: &Catalog, after: &BTreeSet<&Identity>) -> Vec<Step> {
        let late = |one: &&Object| matches!(one.identity.kind, Kind::Schema | Kind::Type);
        old.objects
            .iter()
            .rev()
            .filter(late)
            .filter(|one| self.identities.contains(&one.identity) && !after.contains(&one.identity))
            .map(|one| Step::new(&one.section, drop(&one.identity)))
            .collect()
    }
}

/// What changes under objects that stay.
struct Changed<'a> {
    /// Tables whose columns go or change their types, with those columns.
    touched: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Types that are made anew.
    types: BTreeSet<&'a str>,
    /// Tables with columns of those types.
    retyped: BTreeSet<&'a str>,
}

impl<'a> Changed<'a> {
    fn of(old: &'a Catalog, fates: &'a BTreeMap<&Identity, Fate>) -> Self {
        let touched = fates.iter().filter_map(|(identity, fate)| match fate {
            Fate::Altered(alteration) => {
                Some((identity.name.as_str(), alteration.touched.iter().map(String::as_str).collect()))
            }
            _ => None,
        });
        let anew =
            fates.iter().filter(|(_, fate)| matches!(fate, Fate::Revalued(change) if change.is_anew()));
        let types: BTreeSet<&str> = anew.map(|(identity, _)| identity.name.as_str()).collect();
        let tables = old.objects.iter().filter(|one| one.identity.kind == Kind::Table);
        let retyped = tables.filter(|one| one.reads.iter().any(|name| types.contains(name.as_str())));
        Self {
            touched: touched.collect(),
            retyped: retyped.map(|one| one.identity.name.as_str()).collect(),
            types,
        }
    }

    /// Whether PostgreSQL would refuse the change as long as the object stands. An index follows a column's
    /// type, a partition its table, and a trigger a type that is made anew.
    fn is_minded_by(&self, object: &Object) -> bool {
        let reads = |name: &str| object.reads.contains(name) && object.identity.name != name;
        let names = |column: &&str| object.words.contains(*column);
        let kind = object.identity.kind;
        let of_types = self.types.iter().any(|name| object.reads.contains(*name));
        let of_tables = kind != Kind::Trigger && self.retyped.iter().any(|name| reads(name));
        let of_columns = self.touched.iter().any(|(table, columns)| {
            reads(table) && (object.words.contains("*") || columns.iter().any(names))
        });
        of_types || (!matches!(kind, Kind::Index | Kind::Partition) && (of_tables || of_columns))
    }
}

/// The event triggers that a block makes. What else it makes (a role, an extension) is not the warehouse's alone.
fn watchers(block: &str) -> impl Iterator<Item = &str> {
    block.split("CREATE EVENT TRIGGER ").skip(1).filter_map(|rest| Some(quoted(rest)?.0))
}

/// A table makes room for another of its name, with its partitions, those made at run time too.
fn step_aside(table: &Object, first: bool) -> Vec<Step> {
    let name = &table.identity.name;
    let literal = literal(name);
    let sql = format!(
        "DO $$\nDECLARE\n    part regclass;\nBEGIN\n    \
         FOR part IN\n        \
             SELECT {literal}::regclass\n        \
             UNION\n        \
             SELECT relid FROM pg_partition_tree({literal})\n    \
         LOOP\n        \
             EXECUTE format('ALTER TABLE %s SET SCHEMA {ASIDE}', part);\n    \
         END LOOP;\nEND\n$$;"
    );
    let remark = "-- It steps aside, with its partitions, until its rows have moved.\n".to_owned();
    let schema = first.then(|| Step::new(&table.section, format!("CREATE SCHEMA {ASIDE};")));
    let step = Step { remark, ..Step::new(&table.section, sql) }.locking(Lock::AccessExclusive, name);
    schema.into_iter().chain([step]).collect()
}

fn drop(identity: &Identity) -> String {
    format!("DROP {};", identity.called())
}
