//! What leads from one catalog to another: what goes, dependants first; what is altered and made, in the order
//! of a fresh install; nothing cascades. Knows texts and names, no model.

use std::collections::{BTreeMap, BTreeSet};

use super::beside::follows_types;
use super::effect::Lock;
use super::enumeration;
use super::gone::Gone;
use super::hazard::Hazard;
use super::object::{Catalog, Comment, Identity, Kind, Object, Reach, Unreadable};
use super::quote::literal;
use super::rename::Renames;
use super::table::{Alteration, Moved, Table, quoted, unquoted};
use super::{kept, privilege};

/// One statement of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The script that the object belongs to.
    pub section: String,
    /// Lines that say why, each with its dashes.
    pub remark: String,
    /// The statement, with its semicolon.
    pub sql: String,
    /// What it could break or block.
    pub hazards: Vec<Hazard>,
    /// The locks that it takes on relations that are there, each with the relation's quoted name.
    pub locks: Vec<(Lock, String)>,
}

impl Step {
    pub(super) fn new(section: &str, sql: impl Into<String>) -> Self {
        let (section, sql) = (section.to_owned(), sql.into());
        Self { section, remark: String::new(), sql, hazards: Vec::new(), locks: Vec::new() }
    }

    /// A statement about the rows of a relation, which is there.
    pub fn about(relation: &str, sql: impl Into<String>) -> Self {
        Self::new(relation, sql)
    }

    /// A statement of the bookkeeping's, about a relation.
    pub fn bookkeeping(relation: &str, sql: impl Into<String>) -> Self {
        Self::new(&format!("medallion: what the next run has to know of {relation}"), sql)
    }

    /// The lock that a block takes which says so in no way that is read here.
    #[must_use]
    pub fn locking(mut self, lock: Lock, table: impl Into<String>) -> Self {
        self.locks.push((lock, table.into()));
        self
    }

    pub(super) fn with(mut self, hazards: &[Hazard]) -> Self {
        self.hazards = hazards.to_vec();
        self
    }
}

/// Why there are no steps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A table that holds rows cannot become what is wanted.
    #[error("{table} cannot be altered: {why}")]
    Impossible {
        /// The table, quoted.
        table: String,
        /// Why.
        why: &'static str,
    },
    /// A mistake of the tool's.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Two catalogs, and what the step from one to the other may take for granted.
pub struct Difference<'a> {
    /// What is there, under the names of before.
    pub old: &'a Catalog,
    /// What shall be there.
    pub new: &'a Catalog,
    /// What has another name now.
    pub renames: &'a Renames,
    /// The tables, quoted, whose rows can be computed anew: they are made anew rather than altered.
    pub derived: &'a BTreeSet<String>,
    /// The PL/pgSQL that makes a table's partitions for the rows of another one, where it is split: both quoted, the
    /// other as a literal.
    pub parting: &'a dyn Fn(&str, &str) -> Option<String>,
}

/// What becomes of an object that is there before and after.
pub(super) enum Fate {
    Kept,
    Altered(Alteration),
    Replaced,
    Revalued(enumeration::Change),
    /// Made anew, and filled with the rows that were there.
    Moved(Moved),
    Anew,
}

impl Difference<'_> {
    /// The statements, in the order in which they run.
    ///
    /// # Errors
    ///
    /// A table that holds rows cannot become what is wanted.
    pub fn steps(&self) -> Result<Vec<Step>, Failure> {
        let (renaming, old) = self.renames.apply(self.old, self.new)?;
        let before: BTreeMap<&Identity, &Object> =
            old.objects.iter().map(|one| (&one.identity, one)).collect();
        let after: BTreeSet<&Identity> = self.new.objects.iter().map(|one| &one.identity).collect();

        let mut fates: BTreeMap<&Identity, Fate> = BTreeMap::new();
        for object in &self.new.objects {
            if let Some(there) = before.get(&object.identity) {
                fates.insert(&object.identity, self.fate(there, object)?);
            }
        }
        let gone = Gone::find(&old, &after, &fates);

        let mut steps = renaming;
        // A mart that is kept in another way is of another kind, and the same to those who read it.
        let is_read = |one: &Identity| matches!(one.kind, Kind::Table | Kind::View | Kind::MaterializedView);
        let stays: BTreeSet<&str> =
            after.iter().filter(|one| is_read(one)).map(|one| one.name.as_str()).collect();
        let made_again: Vec<&Identity> = gone
            .identities
            .iter()
            .filter(|one| after.contains(one) || is_read(one) && stays.contains(one.name.as_str()))
            .collect();
        let (look, again) = kept::steps(&old, self.new, &made_again);
        steps.extend(look);
        steps.extend(gone.drops(&old, &after));
        let said = Said::of(&old, self.new);
        let moves = fates.values().any(|fate| matches!(fate, Fate::Moved(_)));
        let mut made = Made::default();
        let mut last = "";
        for object in &self.new.objects {
            if object.section != last {
                if moves {
                    steps.extend(self.filled(last, &fates));
                }
                steps.extend(self.comments(&said, last, &made));
                last = &object.section;
            }
            let there =
                before.get(&object.identity).filter(|there| !gone.identities.contains(&there.identity));
            let section = &object.section;
            let made_anew = match (there, fates.get(&object.identity)) {
                (Some(there), Some(Fate::Kept)) => {
                    if object.always != there.always {
                        steps.push(enabling(object));
                    }
                    false
                }
                (Some(_), Some(Fate::Altered(alteration))) => {
                    // Rows that are written anew have their indexes built along; others keep theirs, but for some.
                    let builds = !alteration.rewrites()
                        && old.objects.iter().any(|one| {
                            one.identity.kind == Kind::Index
                                && one.identity.of == object.identity.name
                                && !gone.identities.contains(&one.identity)
                                && follows_types(one, &alteration.retyped)
                        });
                    for (sql, hazards) in &alteration.statements {
                        let is_retyped = builds && sql.contains("\n    ALTER COLUMN ");
                        let built = is_retyped.then_some(Hazard::IndexBuild);
                        let hazards: Vec<Hazard> = hazards.iter().copied().chain(built).collect();
                        steps.push(Step::new(section, sql).with(&hazards));
                    }
                    false
                }
                (Some(_), Some(Fate::Replaced)) => {
                    let sql = object.sql.replacen("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1);
                    steps.push(Step { remark: object.remark.clone(), ..Step::new(section, sql) });
                    false
                }
                (Some(_), Some(Fate::Revalued(change))) => {
                    steps.extend(change.steps(object, &old, &gone, self.renames)?);
                    if change.is_anew() {
                        made.insert(&object.identity);
                    }
                    false
                }
                _ => true,
            };
            if made_anew {
                steps.push(Step { remark: object.remark.clone(), ..Step::new(section, &object.sql) });
                if object.always.is_some() {
                    steps.push(enabling(object));
                }
                made.insert(&object.identity);
            }
        }
        if moves {
            steps.extend(self.filled(last, &fates));
        }
        steps.extend(self.comments(&said, last, &made));
        if moves {
            steps.push(Step::new(last, format!("DROP SCHEMA {ASIDE};")));
        }
        let stands = |identity: &Identity| after.contains(identity) && !gone.identities.contains(identity);
        steps.extend(privilege::steps(&old, self.new, &made.identities, stands));
        steps.extend(again);
        steps.extend(gone.last_drops(&old, &after));
        Ok(steps)
    }

    fn fate(&self, there: &Object, wanted: &Object) -> Result<Fate, Failure> {
        if there.sql == wanted.sql {
            return Ok(Fate::Kept);
        }
        Ok(match wanted.identity.kind {
            Kind::Table if self.derived.contains(&wanted.identity.name) => Fate::Anew,
            Kind::Table => {
                let mut alteration = Table::read(&there.sql)?.become_(&Table::read(&wanted.sql)?);
                match (alteration.impossible, alteration.moved.take()) {
                    (Some(why), _) => {
                        return Err(Failure::Impossible { table: wanted.identity.name.clone(), why });
                    }
                    (None, Some(moved)) => Fate::Moved(moved),
                    (None, None) => Fate::Altered(alteration),
                }
            }
            Kind::Function if signature(&there.sql) == signature(&wanted.sql) => Fate::Replaced,
            Kind::Type => Fate::Revalued(enumeration::Change::between(there, wanted, self.new)),
            Kind::Schema | Kind::Block => Fate::Kept,
            Kind::Partition | Kind::Sequence => {
                let why = "what it holds would not outlive it";
                return Err(Failure::Impossible { table: wanted.identity.name.clone(), why });
            }
            _ => Fate::Anew,
        })
    }

    /// The rows of a section's tables that stepped aside come back.
    fn filled(&self, section: &str, fates: &BTreeMap<&Identity, Fate>) -> Vec<Step> {
        let mut steps = Vec::new();
        for object in self.new.objects.iter().filter(|one| one.section == section) {
            let Some(Fate::Moved(moved)) = fates.get(&object.identity) else { continue };
            let table = &object.identity.name;
            let source = aside(table);
            let (columns, values): (Vec<&str>, Vec<&str>) =
                moved.filled.iter().map(|(column, value)| (column.as_str(), value.as_str())).unzip();
            let parting = (self.parting)(table, &literal(&source));
            let parting = parting
                .map_or_else(String::new, |parting| format!("    {}\n", parting.replace('\n', "\n    ")));
            let sql = format!(
                "DO $$\nDECLARE\n    needed record;\nBEGIN\n    PERFORM \"medallion\".\"backfill\"();\n{parting}    \
                 INSERT INTO {table} (\n        {}\n    )\n    SELECT\n        {}\n    FROM {source};\n    \
                 PERFORM set_config('medallion.backfill', '', true);\nEND\n$$;",
                columns.join(",\n        "),
                values.join(",\n        ")
            );
            let remark = "-- The rows come back, column by column, as they were.\n".to_owned();
            let hazards: Vec<Hazard> = moved.hazards.iter().copied().collect();
            steps.push(Step { remark, ..Step::new(section, sql) }.with(&hazards));
            steps.push(Step::new(section, format!("DROP TABLE {source};")));
        }
        steps
    }

    /// What is said of a section's objects where it was not said before, or where the object is a new one.
    fn comments(&self, said: &Said<'_>, section: &str, made: &Made<'_>) -> Vec<Step> {
        let wanted = said.wanted.get(section).map_or(&[][..], Vec::as_slice);
        let mut steps: Vec<Step> = wanted
            .iter()
            .filter(|one| {
                said.before.get(one.target.as_str()) != Some(&one.text.as_str()) || made.is_told_by(one)
            })
            .map(|one| Step::new(section, format!("COMMENT ON {} IS {};", one.target, one.text)))
            .collect();
        let still: BTreeSet<&str> = wanted.iter().map(|one| one.target.as_str()).collect();
        for unsaid in said.there.get(section).into_iter().flatten() {
            if !still.contains(unsaid.target.as_str()) && self.stands(&unsaid.target, &made.identities) {
                steps.push(Step::new(section, format!("COMMENT ON {} IS NULL;", unsaid.target)));
            }
        }
        steps
    }

    /// Whether what a comment speaks of is there before and after, and the same.
    fn stands(&self, target: &str, made: &BTreeSet<&Identity>) -> bool {
        let object = self.new.objects.iter().find(|object| {
            object.identity.is_called(target)
                || column_of(target).is_some_and(|(relation, _)| relation == object.identity.name)
        });
        let Some(object) = object.filter(|object| !made.contains(&object.identity)) else { return false };
        column_of(target).is_none_or(|(_, column)| object.words.contains(&unquoted(column)))
    }
}

/// Where tables stand while others of their names are filled.
pub(super) const ASIDE: &str = "\"medallion$before\"";

/// A table that has stepped aside.
pub(super) fn aside(table: &str) -> String {
    let name = quoted(table).map_or(table, |(_, rest)| rest.strip_prefix('.').unwrap_or(rest));
    format!("{ASIDE}.{name}")
}

fn enabling(trigger: &Object) -> Step {
    let Identity { name, of, .. } = &trigger.identity;
    let (only, how) = match trigger.always {
        Some(Reach::Only) => ("ONLY ", "ENABLE ALWAYS"),
        Some(Reach::Partitions) => ("", "ENABLE ALWAYS"),
        None => ("", "ENABLE"),
    };
    Step::new(&trigger.section, format!("ALTER TABLE {only}{of}\n    {how} TRIGGER {name};"))
}

/// What a function is called with and gives: as long as it stays, the function can be replaced under those who
/// use it.
fn signature(sql: &str) -> &str {
    sql.split_once("\nLANGUAGE").map_or(sql, |(head, _)| head)
}

/// The relation and the column of `COLUMN "s"."t"."c"`.
pub(super) fn column_of(target: &str) -> Option<(&str, &str)> {
    let whole = target.strip_prefix("COLUMN ")?;
    let (_, rest) = quoted(whole)?;
    let (_, column) = quoted(rest.strip_prefix('.')?)?;
    Some((whole.strip_suffix(column)?, column.strip_prefix('.')?))
}

/// What is said of objects, by section: a warehouse has thousands of either.
struct Said<'a> {
    /// What was said, by what it was said of.
    before: BTreeMap<&'a str, &'a str>,
    there: BTreeMap<&'a str, Vec<&'a Comment>>,
    wanted: BTreeMap<&'a str, Vec<&'a Comment>>,
}

impl<'a> Said<'a> {
    fn of(old: &'a Catalog, new: &'a Catalog) -> Self {
        let by_section = |catalog: &'a Catalog| {
            let mut sections: BTreeMap<&str, Vec<&Comment>> = BTreeMap::new();
            for comment in &catalog.comments {
                sections.entry(&comment.section).or_default().push(comment);
            }
            sections
        };
        let before = old.comments.iter().map(|one| (one.target.as_str(), one.text.as_str())).collect();
        Self { before, there: by_section(old), wanted: by_section(new) }
    }
}

/// The objects that are made or made anew, and what comments call them.
#[derive(Default)]
struct Made<'a> {
    identities: BTreeSet<&'a Identity>,
    called: BTreeSet<String>,
    relations: BTreeSet<&'a str>,
}

impl<'a> Made<'a> {
    fn insert(&mut self, identity: &'a Identity) {
        self.identities.insert(identity);
        self.called.extend(identity.calls());
        if matches!(identity.kind, Kind::Table | Kind::View | Kind::MaterializedView) {
            self.relations.insert(&identity.name);
        }
    }

    fn is_told_by(&self, comment: &Comment) -> bool {
        self.called.contains(&comment.target)
            || column_of(&comment.target).is_some_and(|(relation, _)| self.relations.contains(relation))
    }
}
