//! Indexes of tables that hold rows, which can be built while others write there: each statement by itself, in no
//! transaction, after all else. So are those that PostgreSQL would build anew as a column's type changes, though rows stay
//! as they are. An index that holds something to be unique is none of them: what relies on it does so from the first moment.

use std::collections::BTreeSet;

use super::difference::Step;
use super::effect::{Action, Lock};
use super::lock::checksum;
use super::object::{Catalog, Kind, Object, Unreadable};
use super::quote::literal;
use super::rename::Renames;
use super::table::{Table, unquoted};

/// What is left of a change for later, and what stands until then.
pub struct Beside {
    /// All that shall be there, but with the indexes of before.
    pub between: Catalog,
    /// What builds those that shall be there.
    pub up: Vec<Step>,
    /// What brings back those of before.
    pub down: Vec<Step>,
    /// The relations, as their scripts call them.
    pub sections: BTreeSet<String>,
}

/// Takes from a change what can be done beside others. Nothing where there is none of it.
///
/// # Errors
///
/// A statement cannot be read: a mistake of the tool's.
pub fn apart(
    old: &Catalog,
    new: &Catalog,
    renames: &Renames,
    derived: &BTreeSet<String>,
) -> Result<Option<Beside>, Unreadable> {
    // Nearly every change is of no index at all, nor of a table that has one.
    let indexed = |catalog: &Catalog| -> BTreeSet<String> {
        let indexes: Vec<&Object> =
            catalog.objects.iter().filter(|one| one.identity.kind == Kind::Index).collect();
        let tables: BTreeSet<&str> = indexes.iter().map(|one| one.identity.of.as_str()).collect();
        let tables = catalog
            .objects
            .iter()
            .filter(|one| one.identity.kind == Kind::Table && tables.contains(one.identity.name.as_str()));
        indexes.iter().copied().chain(tables).map(|one| one.sql.clone()).collect()
    };
    if indexed(old) == indexed(new) {
        return Ok(None);
    }
    let (_, old) = renames.apply(old, new)?;
    let standing = Standing { old: &old, new, derived };
    let mut built = Vec::new();
    let mut dropped = Vec::new();
    for index in new.objects.iter().filter(|one| one.identity.kind == Kind::Index) {
        let stays = index_of(&old, index).is_some_and(|there| there.sql == index.sql);
        if let Some(building) = standing.building(index)?.filter(|one| !stays || one.is_built_anew) {
            built.push(building);
        }
    }
    for index in old.objects.iter().filter(|one| index_of(new, one).is_none_or(|now| now.sql != one.sql)) {
        let plain = standing.building(index)?.filter(|one| matches!(one.how, How::Plain));
        dropped.extend(plain.filter(|one| standing.keeps_columns(one)));
    }
    if built.is_empty() && dropped.is_empty() {
        return Ok(None);
    }
    let mut between = new.clone();
    between.objects.retain(|one| built.iter().all(|building| building.index.identity != one.identity));
    for one in &dropped {
        between.objects.retain(|other| other.identity != one.index.identity);
        let last = between.objects.iter().rposition(|other| other.section == one.index.section);
        between.objects.insert(last.map_or(between.objects.len(), |last| last + 1), one.index.clone());
    }
    let replaced = |one: &&Building<'_>, others: &[Building<'_>]| {
        others.iter().any(|other| other.index.identity == one.index.identity)
    };
    let ways = |gone: &[Building<'_>], made: &[Building<'_>]| -> Vec<Step> {
        let gone = gone.iter().filter(|one| !replaced(one, made)).flat_map(Building::undone);
        gone.chain(made.iter().flat_map(Building::done)).collect()
    };
    let sections = built.iter().chain(&dropped).map(|one| one.index.section.clone()).collect();
    Ok(Some(Beside { up: ways(&dropped, &built), down: ways(&built, &dropped), sections, between }))
}

/// The index of the same name and table.
fn index_of<'c>(catalog: &'c Catalog, index: &Object) -> Option<&'c Object> {
    catalog.objects.iter().find(|one| one.identity == index.identity)
}

/// What is there before and after.
struct Standing<'a> {
    old: &'a Catalog,
    new: &'a Catalog,
    derived: &'a BTreeSet<String>,
}

impl Standing<'_> {
    /// How an index is built beside others, where it can be: its table is there before and after, and keeps its rows.
    fn building<'o>(&self, index: &'o Object) -> Result<Option<Building<'o>>, Unreadable> {
        let table = &index.identity.of;
        let is_plain = index.identity.kind == Kind::Index && index.sql.starts_with("CREATE INDEX ");
        let is_told = |catalog: &Catalog| {
            catalog.comments.iter().any(|comment| index.identity.is_called(&comment.target))
        };
        if !is_plain || self.derived.contains(table) || is_told(self.old) || is_told(self.new) {
            return Ok(None);
        }
        let (Some(before), Some(now)) = (table_of(self.old, table)?, table_of(self.new, table)?) else {
            return Ok(None);
        };
        let alteration = before.become_(&now);
        if alteration.moved.is_some() {
            return Ok(None);
        }
        // Rows that are written anew have their indexes built along: who waits for the one waits for the other.
        let is_built_anew = !alteration.rewrites() && follows_types(index, &alteration.retyped);
        let says = index.sql.split_once(&format!("ON {table}")).map(|(_, says)| says.trim_end_matches(';'));
        let Some(says) = says else { return Ok(None) };
        let how = if now.partitioned.is_none() { How::Plain } else { How::Split };
        Ok(Some(Building { index, says: says.trim().to_owned(), how, is_built_anew }))
    }

    /// Whether all columns of an index of before are there afterwards too: else it goes with one of them.
    fn keeps_columns(&self, building: &Building<'_>) -> bool {
        let table = |catalog| table_of(catalog, &building.index.identity.of).ok().flatten();
        let (Some(before), Some(now)) = (table(self.old), table(self.new)) else { return false };
        let gone = before.columns.iter().filter(|column| now.column(&column.name).is_none());
        gone.into_iter().all(|column| !building.index.words.contains(&unquoted(&column.name)))
    }
}

/// Whether PostgreSQL builds an index anew where columns change their types, though their rows stay as they are. It keeps
/// one of columns alone, and looks no further where there are expressions, or rows that it leaves out.
pub(super) fn follows_types(index: &Object, retyped: &BTreeSet<String>) -> bool {
    let Some((_, says)) = index.sql.split_once(&format!("ON {}", index.identity.of)) else { return true };
    let is_of_columns =
        !says.contains(" WHERE ") && !says.contains("\nWHERE ") && says.matches('(').count() == 1;
    !is_of_columns && retyped.iter().any(|column| index.words.contains(column))
}

fn table_of(catalog: &Catalog, name: &str) -> Result<Option<Table>, Unreadable> {
    let found =
        catalog.objects.iter().find(|one| one.identity.kind == Kind::Table && one.identity.name == name);
    found.map(|one| Table::read(&one.sql)).transpose()
}

/// How an index comes to stand.
enum How {
    /// At once.
    Plain,
    /// On each partition first, those included that runs have made; it is told there by what PostgreSQL says of it.
    Split,
}

/// An index that is built beside others.
struct Building<'o> {
    index: &'o Object,
    /// What stands behind its table's name.
    says: String,
    how: How,
    /// Whether it would be built anew along with a change of its table, if it stayed.
    is_built_anew: bool,
}

impl Building<'_> {
    /// What builds it. One whose build was broken off is there, and serves nobody.
    fn done(&self) -> Vec<Step> {
        let name = &self.index.identity.name;
        let table = &self.index.identity.of;
        match &self.how {
            How::Plain => {
                let sql =
                    self.index.sql.replacen("CREATE INDEX ", "CREATE INDEX CONCURRENTLY IF NOT EXISTS ", 1);
                vec![
                    self.step(Action::DropIndexConcurrently, dropped(name)),
                    Step {
                        remark: self.index.remark.clone(),
                        ..self.step(Action::CreateIndexConcurrently, sql)
                    },
                ]
            }
            How::Split => {
                let spelled = spelled(name);
                let alike = format!(
                    "CREATE TABLE IF NOT EXISTS \"pg_temp\".\"{spelled}\" (LIKE {table});\n\
                     CREATE INDEX IF NOT EXISTS \"{spelled}_idx\"\n    ON \"pg_temp\".\"{spelled}\" {};",
                    self.says
                );
                let (whole, table) = (literal(name), literal(table));
                let told = format!(
                    "FROM pg_partition_tree({table}) AS leaf\n\
                     CROSS JOIN pg_index AS spelled\n\
                     CROSS JOIN regexp_substr(pg_get_indexdef(spelled.indexrelid), ' USING .*') AS told"
                );
                let wanted = format!(
                    "WHERE spelled.indrelid = '\"pg_temp\".\"{spelled}\"'::regclass\nAND leaf.isleaf"
                );
                let invalid = format!(
                    "{ASKED}'DROP INDEX CONCURRENTLY ' || index.indexrelid::regclass\n\
                     {told}\n\
                     JOIN pg_index AS index ON index.indrelid = leaf.relid\n\
                     {wanted}\n\
                     AND NOT index.indisvalid\n\
                     AND NOT index.indisunique\n\
                     AND right(pg_get_indexdef(index.indexrelid), length(told)) = told;"
                );
                // One that is a part of another index serves that one. Where there are no rows there is nothing to build, and
                // nobody who makes a partition has to wait for the default one.
                let missing = format!(
                    "{ASKED}'CREATE INDEX CONCURRENTLY ON ' || leaf.relid::regclass || told\n\
                     {told}\n\
                     {wanted}\n\
                     AND pg_relation_size(leaf.relid) > 0\n\
                     AND NOT EXISTS (\n    \
                         SELECT\n    \
                         FROM pg_index AS index\n    \
                         LEFT JOIN pg_inherits AS part ON part.inhrelid = index.indexrelid\n    \
                         WHERE index.indrelid = leaf.relid\n    \
                         AND NOT index.indisunique\n    \
                         AND right(pg_get_indexdef(index.indexrelid), length(told)) = told\n    \
                         AND (part.inhparent IS NULL OR part.inhparent = to_regclass({whole}))\n\
                     );"
                );
                let whole = self.index.sql.replacen("CREATE INDEX ", "CREATE INDEX IF NOT EXISTS ", 1);
                let remark = |text: &str, step: Step| Step { remark: format!("-- {text}\n"), ..step };
                vec![
                    remark(
                        "On a table without rows, for it to be spelled as those of the partitions are.",
                        self.step(Action::NoTable, alike),
                    ),
                    self.step(Action::DropIndexConcurrently, invalid),
                    Step {
                        remark: self.index.remark.clone(),
                        ..self.step(Action::CreateIndexConcurrently, missing)
                    },
                    remark(
                        "It takes those over that are there, and builds those of partitions without rows.",
                        self.step(Action::CreateIndex, whole),
                    ),
                ]
            }
        }
    }

    /// What takes it away. That of a partitioned table goes at once, and with it those of the partitions.
    fn undone(&self) -> Vec<Step> {
        let name = &self.index.identity.name;
        match self.how {
            How::Plain => vec![self.step(Action::DropIndexConcurrently, dropped(name))],
            How::Split => vec![self.step(Action::DropIndex, format!("DROP INDEX IF EXISTS {name};"))],
        }
    }

    fn step(&self, action: Action, sql: String) -> Step {
        let lock: Option<Lock> = action.effect().lock;
        let table = &self.index.identity.of;
        Step {
            locks: lock.map(|lock| (lock, table.clone())).into_iter().collect(),
            ..Step::new(&self.index.section, sql)
        }
    }
}

/// What a statement begins with whose answer are statements, each of which runs by itself.
const ASKED: &str = "SELECT ";

/// A table without rows that lives as long as the session: told from those of other indexes, and found again when the
/// same is tried once more.
fn spelled(index: &str) -> String {
    let sum = checksum(index);
    format!("spelled_{}", sum.get(..8).unwrap_or(&sum))
}

fn dropped(index: &str) -> String {
    format!("DROP INDEX CONCURRENTLY IF EXISTS {index};")
}
