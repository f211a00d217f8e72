//! What has another name now, and what follows from it: tables, indexes and columns keep what they hold and are
//! called otherwise. What is only text (views, functions) is made anew under its new name.

use std::collections::BTreeSet;

use super::difference::Step;
use super::effect::Lock;
use super::enumeration::values;
use super::object::{Catalog, Identity, Kind, Object, Unreadable, tokens_of};
use super::quote::{identifier, literal};
use super::schema::Schemas;
use super::table::{Table, quoted, unquoted};

/// Names of before and of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    /// Schemas, which come first: what else is said here is said with their names of now.
    pub schemas: Schemas,
    /// Relations: the scripts' titles of before and now, and the quoted names of the tables that they are about.
    pub relations: Vec<Renamed>,
    /// Columns: the title of the relation's script now, and the quoted names of before and now.
    pub columns: Vec<(String, String, String)>,
    /// Values of enumerated types: the type, quoted, and the values of before and now as literals.
    pub values: Vec<(String, String, String)>,
}

/// A relation of another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Its script's title before.
    pub section_before: String,
    /// And now.
    pub section: String,
    /// Its table before, quoted.
    pub before: String,
    /// And now.
    pub now: String,
}

impl Renames {
    /// The same the other way round.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let schemas = self.schemas.inverse();
        let section = |title: &String| {
            let found = self.relations.iter().find(|one| one.section == *title);
            schemas.plain(found.map_or(title, |one| &one.section_before))
        };
        Self {
            schemas: schemas.clone(),
            relations: self
                .relations
                .iter()
                .map(|one| Renamed {
                    section_before: schemas.plain(&one.section),
                    section: schemas.plain(&one.section_before),
                    before: schemas.text(&one.now),
                    now: schemas.text(&one.before),
                })
                .collect(),
            columns: self
                .columns
                .iter()
                .map(|(title, before, now)| (section(title), now.clone(), before.clone()))
                .collect(),
            values: self
                .values
                .iter()
                .map(|(name, before, now)| (schemas.text(name), now.clone(), before.clone()))
                .collect(),
        }
    }

    /// The statements that rename, and the catalog of before as it is called after them.
    ///
    /// # Errors
    ///
    /// A statement cannot be read: a mistake of the tool's.
    pub fn apply(&self, old: &Catalog, new: &Catalog) -> Result<(Vec<Step>, Catalog), Unreadable> {
        let (mut steps, mut catalog) = self.schemas.apply(old, new)?;
        for renamed in &self.relations {
            catalog.retitle(&renamed.section_before, &renamed.section);
            let pairs = renamed.pairs(&catalog, new);
            let called: Vec<String> = pairs.iter().map(|(_, now)| unquoted(split(&now.name).1)).collect();
            let mut made = Vec::new();
            // What is renamed itself gives its name up in its turn.
            let stays = |name: &str| pairs.iter().all(|(before, _)| before.name != name);
            for (_, now) in pairs.iter().filter(|(_, now)| stays(&now.name)) {
                steps.extend(catalog.clear(&renamed.section, &now.name)?);
            }
            for (before, now) in pairs {
                let (_, name) = split(&now.name);
                let kind = before.kind;
                if before.name != now.name {
                    let sql = format!("ALTER {} {} RENAME TO {name};", kind.word(), before.name);
                    steps.push(Step::new(&renamed.section, sql));
                }
                if kind == Kind::Index {
                    catalog.rewrite(
                        |object| object.identity.kind == kind && object.identity.name == before.name,
                        |tokens| replace_word(tokens, split(&before.name).1, name),
                    )?;
                    continue;
                }
                for (sequence, renamed_to) in catalog.sequences(&before, &now)? {
                    let sql = format!("ALTER SEQUENCE {sequence} RENAME TO {renamed_to};");
                    steps.push(Step::new(&renamed.section, sql));
                }
                let is_split = kind == Kind::Table && catalog.is_split(&before)?;
                catalog.rename(&before.name, &now.name)?;
                if is_split {
                    made.push(partitions(&renamed.section, &before.name, &now.name, &called));
                }
            }
            steps.extend(made);
        }
        for (section, before, now) in &self.columns {
            let tables: BTreeSet<String> = catalog
                .objects
                .iter()
                .filter(|one| one.section == *section && one.identity.kind == Kind::Table)
                .filter(|one| Table::read(&one.sql).is_ok_and(|table| table.column(before).is_some()))
                .map(|one| one.identity.name.clone())
                .collect();
            for table in &tables {
                let sql = format!("ALTER TABLE {table}\n    RENAME COLUMN {before} TO {now};");
                steps.push(Step::new(section, sql));
                catalog.rewrite(
                    |object| {
                        let own = object.identity.kind == Kind::Table && object.identity.name == *table;
                        let on = matches!(object.identity.kind, Kind::Index | Kind::Trigger)
                            && object.identity.of == *table;
                        own || on
                    },
                    |tokens| replace_word(tokens, before, now),
                )?;
                for comment in &mut catalog.comments {
                    if comment.target == format!("COLUMN {table}.{before}") {
                        comment.target = format!("COLUMN {table}.{now}");
                    }
                }
            }
        }
        for (name, before, now) in &self.values {
            let Some(there) = values_of(&catalog, name) else { continue };
            let Some(wanted) = values_of(new, name) else { continue };
            let is_called = |values: &[String], one: &str, other: &str| {
                values.iter().any(|value| value == one) && values.iter().all(|value| value != other)
            };
            // One that becomes another one that is there is told with the type, which is made anew.
            if is_called(&there.1, before, now) && is_called(&wanted.1, now, before) {
                let sql = format!("ALTER TYPE {name}\n    RENAME VALUE {before} TO {now};");
                steps.push(Step::new(&there.0, sql));
                catalog.rewrite(
                    |object| object.identity.kind == Kind::Type && object.identity.name == *name,
                    |tokens| replace_word(tokens, before, now),
                )?;
            }
        }
        Ok((steps, catalog))
    }
}

/// The script of an enumerated type, and its values as literals.
fn values_of(catalog: &Catalog, name: &str) -> Option<(String, Vec<String>)> {
    let found =
        catalog.objects.iter().find(|one| one.identity.kind == Kind::Type && one.identity.name == name)?;
    Some((found.section.clone(), values(&found.sql)))
}

impl Renamed {
    /// The objects that keep what they hold: the relation's own table, and what belongs to it, in the order in
    /// which both make it.
    fn pairs(&self, old: &Catalog, new: &Catalog) -> Vec<(Identity, Identity)> {
        let kinds = [Kind::Table, Kind::Partition, Kind::Index];
        let own = |catalog: &Catalog, kind: Kind, other: &Catalog| -> Vec<Identity> {
            catalog
                .objects
                .iter()
                .filter(|one| one.section == self.section && one.identity.kind == kind)
                .filter(|one| other.objects.iter().all(|there| there.identity != one.identity))
                .map(|one| one.identity.clone())
                .collect()
        };
        // What comes or goes at the same time has no counterpart.
        let mut pairs = Vec::new();
        for kind in kinds {
            let now = own(new, kind, old);
            for before in own(old, kind, new) {
                let part = part(&self.before, &before.name);
                let counterpart =
                    now.iter().find(|one| part.is_some() && self::part(&self.now, &one.name) == part);
                pairs.extend(counterpart.map(|one| (before, one.clone())));
            }
        }
        pairs
    }
}

/// What a name says besides the relation's, of which a long one is cut short with a hash behind it.
fn part(relation: &str, name: &str) -> Option<String> {
    let (relation, name) = (unquoted(split(relation).1), unquoted(split(name).1));
    if let Some(rest) = name.strip_prefix(&relation) {
        return Some(rest.to_owned());
    }
    let is_hash = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words: Vec<&str> = name.split('_').collect();
    let hash = words.iter().rposition(|word| is_hash(word))?;
    relation.starts_with(&words[..hash].join("_")).then(|| format!("_{}", words[hash + 1..].join("_")))
}

/// Renames the partitions that runs have made of a table that has a new name, and what stands on all of them: the next
/// partition is told from them by its name. What the scripts name is called so already.
fn partitions(section: &str, before: &str, now: &str, called: &[String]) -> Step {
    let (old, new) = (literal(&unquoted(split(before).1)), literal(&unquoted(split(now).1)));
    let sql = format!(
        "DO $$\n\
         DECLARE\n    \
             part record;\n\
         BEGIN\n    \
             FOR part IN\n        \
                 SELECT named.oid::regclass AS object, substr(named.relname, length({old}) + 1) AS rest\n        \
                 FROM pg_partition_tree({table}) AS leaf\n        \
                 LEFT JOIN pg_index AS index ON index.indrelid = leaf.relid\n        \
                 JOIN pg_class AS named ON named.oid IN (leaf.relid, index.indexrelid)\n        \
                 WHERE leaf.level > 0\n        \
                 AND starts_with(named.relname, {old} || '_')\n        \
                 AND named.relname NOT IN ({called})\n        \
                 GROUP BY 1, 2\n    \
             LOOP\n        \
                 EXECUTE format('ALTER TABLE %s RENAME TO %I', part.object, {new} || part.rest);\n    \
             END LOOP;\n\
         END\n\
         $$;",
        table = literal(now),
        called = called.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", "),
    );
    let remark = "-- Partitions go by their table's name, and indexes by theirs.\n".to_owned();
    Step { remark, ..Step::new(section, sql) }.locking(Lock::AccessExclusive, before)
}

impl Catalog {
    fn is_split(&self, table: &Identity) -> Result<bool, Unreadable> {
        let found = self.objects.iter().find(|object| object.identity == *table);
        found.map_or(Ok(false), |object| Ok(Table::read(&object.sql)?.partitioned.is_some()))
    }

    /// The sequences of a table's identities, which go by its name, and their names to be.
    fn sequences(&self, before: &Identity, now: &Identity) -> Result<Vec<(String, String)>, Unreadable> {
        let Some(object) =
            self.objects.iter().find(|one| one.identity == *before && before.kind == Kind::Table)
        else {
            return Ok(Vec::new());
        };
        let (schema, old) = split(&before.name);
        let (_, new) = split(&now.name);
        let sequence = |table: &str, column: &str| identifier(&sequence(&unquoted(table), &unquoted(column)));
        Ok(Table::read(&object.sql)?
            .columns
            .iter()
            .filter(|column| column.rest.contains("AS IDENTITY"))
            .map(|column| (format!("{schema}.{}", sequence(old, &column.name)), sequence(new, &column.name)))
            .collect())
    }

    /// What has the name that a table or an index gets makes room, and goes with what else goes: nothing that holds rows
    /// of its own.
    fn clear(&mut self, section: &str, name: &str) -> Result<Vec<Step>, Unreadable> {
        let kinds = [Kind::View, Kind::MaterializedView, Kind::Index];
        let stands = |one: &&Object| kinds.contains(&one.identity.kind) && one.identity.name == name;
        let Some(kind) = self.objects.iter().find(stands).map(|one| one.identity.kind) else {
            return Ok(Vec::new());
        };
        let (schema, own) = split(name);
        let free = |number: &usize| {
            let aside = format!("{schema}.{}", identifier(&format!("medallion$before_{number}")));
            self.objects.iter().all(|one| one.identity.name != aside).then_some(aside)
        };
        let aside = (1..).find_map(|number| free(&number)).unwrap_or_default();
        let (_, called) = split(&aside);
        if kind == Kind::Index {
            self.rewrite(
                |object| object.identity.kind == kind && object.identity.name == name,
                |tokens| replace_word(tokens, own, called),
            )?;
        } else {
            self.rename(name, &aside)?;
        }
        let sql = format!("ALTER {} {name} RENAME TO {called};", kind.word());
        let remark = "-- It has the name that is given here, and goes further down.\n".to_owned();
        let step = Step { remark, ..Step::new(section, sql) };
        Ok(vec![if kind == Kind::Index { step } else { step.locking(Lock::AccessExclusive, name) }])
    }

    fn retitle(&mut self, before: &str, now: &str) {
        let titles = self.objects.iter_mut().map(|one| &mut one.section);
        let titles = titles.chain(self.comments.iter_mut().map(|one| &mut one.section));
        for title in titles.chain(self.grants.iter_mut().map(|(section, _)| section)) {
            if title == before {
                now.clone_into(title);
            }
        }
    }

    /// Gives a table another name wherever statements say it.
    fn rename(&mut self, before: &str, now: &str) -> Result<(), Unreadable> {
        self.rewrite(
            |object| object.identity.name == before || object.reads.contains(before),
            |tokens| replace_pair(tokens, before, now),
        )?;
        for comment in &mut self.comments {
            for kind in ["TABLE ", "COLUMN "] {
                let rest = comment.target.strip_prefix(kind).and_then(|target| target.strip_prefix(before));
                if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('.')) {
                    comment.target = format!("{kind}{now}{rest}");
                    break;
                }
            }
        }
        for (_, grant) in &mut self.grants {
            if grant.object == before {
                now.clone_into(&mut grant.object);
            }
        }
        Ok(())
    }

    fn rewrite(
        &mut self,
        wanted: impl Fn(&Object) -> bool,
        change: impl Fn(&mut Vec<String>),
    ) -> Result<(), Unreadable> {
        for object in self.objects.iter_mut().filter(|object| wanted(object)) {
            let mut tokens = tokens_of(&object.sql);
            change(&mut tokens);
            let read = Self::read([(object.section.as_str(), tokens.concat().as_str())])?;
            let [one] = read.objects.as_slice() else { return Err(Unreadable(object.sql.clone())) };
            *object = Object { remark: object.remark.clone(), always: object.always, ..one.clone() };
        }
        Ok(())
    }
}

/// How PostgreSQL calls the sequence of a column: what is too long it takes from the longer name, byte by byte.
fn sequence(table: &str, column: &str) -> String {
    const ROOM: usize = 63 - "__seq".len();
    let (mut of_table, mut of_column) = (table.len(), column.len());
    while of_table + of_column > ROOM {
        if of_table > of_column { of_table -= 1 } else { of_column -= 1 }
    }
    let cut = |name: &str, length: usize| name[..name.floor_char_boundary(length)].to_owned();
    format!("{}_{}_seq", cut(table, of_table), cut(column, of_column))
}

fn replace_word(tokens: &mut [String], before: &str, now: &str) {
    for token in tokens.iter_mut().filter(|token| *token == before) {
        now.clone_into(token);
    }
}

/// Replaces a name of two parts, which is three tokens.
fn replace_pair(tokens: &mut [String], before: &str, now: &str) {
    let ((schema, name), (new_schema, new_name)) = (split(before), split(now));
    for number in 2..tokens.len() {
        if tokens[number - 2] == schema && tokens[number - 1] == "." && tokens[number] == name {
            new_schema.clone_into(&mut tokens[number - 2]);
            new_name.clone_into(&mut tokens[number]);
        }
    }
}

/// The two parts of a quoted name.
fn split(name: &str) -> (&str, &str) {
    quoted(name).map_or((name, ""), |(schema, rest)| (schema, rest.strip_prefix('.').unwrap_or(rest)))
}
