//! A table's parts, read from the statement that makes it, and the ALTER TABLE that turns one table into
//! another. Goes by names: the order in which columns stand means nothing here.

use std::collections::BTreeSet;

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SourceFile, SyntaxKind};

use super::fit::{Fit, is_free, sized};
use super::hazard::Hazard;
use super::object::Unreadable;

/// A table as its statement says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, quoted, with its schema.
    pub name: String,
    /// What stands before its name: `CREATE UNLOGGED TABLE`.
    pub persistence: String,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
    /// Its constraints, in their order.
    pub constraints: Vec<Constraint>,
    /// `PARTITION BY …`, where it is partitioned.
    pub partitioned: Option<String>,
    /// `(fillfactor = 85)`, where something is set.
    pub settings: Option<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, quoted.
    pub name: String,
    /// Its type.
    pub data_type: String,
    /// Whether it takes no NULL.
    pub not_null: bool,
    /// The expression of its DEFAULT.
    pub default: Option<String>,
    /// What else is said of it: an identity, a generation.
    pub rest: String,
}

/// A constraint of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// Its name, quoted.
    pub name: String,
    /// What it says, without the name.
    pub says: String,
}

/// What has to happen for one table to become another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alteration {
    /// Statements, in order, each with what it risks.
    pub statements: Vec<(String, Vec<Hazard>)>,
    /// The names of the columns that go, or whose type changes, unquoted: what reads them has to be made anew.
    pub touched: Vec<String>,
    /// Those of them that stay, of another type.
    pub retyped: BTreeSet<String>,
    /// Where rows are split otherwise, or by another type, and have to move.
    pub moved: Option<Moved>,
    /// Why it cannot be altered, where it cannot.
    pub impossible: Option<&'static str>,
}

/// What becomes of rows that move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The columns that are filled, each from what.
    pub filled: Vec<(String, String)>,
    /// What is risked by it.
    pub hazards: BTreeSet<Hazard>,
}

impl Table {
    /// Reads the statement.
    ///
    /// # Errors
    ///
    /// It is none that makes a table of columns.
    pub fn read(sql: &str) -> Result<Self, Unreadable> {
        Self::parse(sql).ok_or_else(|| Unreadable(sql.to_owned()))
    }

    fn parse(sql: &str) -> Option<Self> {
        let file = SourceFile::parse(sql).tree();
        let node = file.syntax().descendants().find_map(ast::CreateTable::cast)?;
        let mut columns = Vec::new();
        let mut constraints = Vec::new();
        for argument in node.table_arg_list()?.args() {
            match argument {
                ast::TableArg::Column(column) => columns.push(Column::parse(&column)?),
                ast::TableArg::TableConstraint(constraint) => {
                    let text = constraint.syntax().to_string();
                    let rest = text.trim().strip_prefix("CONSTRAINT ")?;
                    let (name, says) = quoted(rest)?;
                    constraints.push(Constraint { name: name.to_owned(), says: says.trim().to_owned() });
                }
                ast::TableArg::LikeClause(_) => return None,
            }
        }
        let text =
            |node: Option<&squawk_syntax::SyntaxNode>| node.map(|node| node.to_string().trim().to_owned());
        let partitioned = node.partition_by();
        let settings = node.syntax().children().find(|child| child.kind() == SyntaxKind::WITH_PARAMS);
        Some(Self {
            name: node.table_name()?.syntax().to_string().trim().to_owned(),
            persistence: node
                .persistence()
                .map_or_else(String::new, |one| one.syntax().to_string().trim().to_owned()),
            columns,
            constraints,
            partitioned: text(partitioned.as_ref().map(ast::AstNode::syntax)),
            settings: text(settings.as_ref()),
        })
    }

    /// The ALTER TABLE statements that make `self` what `wanted` is.
    pub fn become_(&self, wanted: &Self) -> Alteration {
        let mut alteration = Alteration::default();
        if self.persistence != wanted.persistence {
            alteration.impossible = Some("whether its rows outlive a crash cannot be altered");
            return alteration;
        }
        if self.partitioned != wanted.partitioned || self.is_split_by_retyped(wanted) {
            let kept = wanted.columns.iter().filter_map(|column| Some((column, self.column(&column.name)?)));
            let mut moved = Moved { hazards: BTreeSet::from([Hazard::Rewrite]), ..Moved::default() };
            for (column, there) in kept {
                moved.filled.push((column.name.clone(), there.value_as(&column.data_type)));
                moved.hazards.extend(Fit::between(&there.data_type, &column.data_type).hazard());
            }
            alteration.moved = Some(moved);
            return alteration;
        }
        let mut actions: Vec<(String, Vec<Hazard>)> = Vec::new();
        for gone in self.constraints.iter().filter(|one| !wanted.constraints.contains(one)) {
            let renamed = wanted.constraints.iter().find(|other| {
                other.says == gone.says && self.constraints.iter().all(|one| one.name != other.name)
            });
            match renamed {
                Some(other) => alteration.statements.push((
                    format!(
                        "ALTER TABLE {}\n    RENAME CONSTRAINT {} TO {};",
                        wanted.name, gone.name, other.name
                    ),
                    Vec::new(),
                )),
                None => actions.push((format!("DROP CONSTRAINT {}", gone.name), Vec::new())),
            }
        }
        for gone in self.columns.iter().filter(|one| wanted.column(&one.name).is_none()) {
            actions.push((format!("DROP COLUMN {}", gone.name), vec![Hazard::DataLoss]));
            alteration.touched.push(unquoted(&gone.name));
        }
        for column in &wanted.columns {
            match self.column(&column.name) {
                None => {
                    actions.push((format!("ADD COLUMN {}", column.definition()), column.hazards_when_added()))
                }
                Some(there) => {
                    if there.data_type != column.data_type {
                        alteration.touched.push(unquoted(&column.name));
                        alteration.retyped.insert(unquoted(&column.name));
                    }
                    match there.become_(column) {
                        Some(changes) => actions.extend(changes),
                        None => {
                            alteration.impossible = Some("what makes a column's values cannot be altered")
                        }
                    }
                }
            }
        }
        for made in wanted.constraints.iter().filter(|one| !self.constraints.contains(one)) {
            let renamed =
                alteration.statements.iter().any(|(sql, _)| sql.ends_with(&format!(" TO {};", made.name)));
            if !renamed {
                actions.push((format!("ADD CONSTRAINT {} {}", made.name, made.says), made.hazards()));
            }
        }
        if self.settings != wanted.settings {
            actions.extend(settings(self.settings.as_deref(), wanted.settings.as_deref()));
        }
        if !actions.is_empty() {
            let hazards = actions.iter().flat_map(|(_, hazards)| hazards.iter().copied());
            let hazards = BTreeSet::from_iter(hazards).into_iter().collect();
            let list: Vec<&str> = actions.iter().map(|(action, _)| action.as_str()).collect();
            let sql = format!("ALTER TABLE {}\n    {};", wanted.name, list.join(",\n    "));
            alteration.statements.push((sql, hazards));
        }
        alteration
    }

    /// Whether a column by which rows are split changes its type, which ALTER TABLE cannot do.
    fn is_split_by_retyped(&self, wanted: &Self) -> bool {
        let Some(by) = &self.partitioned else { return false };
        let retyped = |column: &&Column| {
            wanted.column(&column.name).is_some_and(|other| other.data_type != column.data_type)
        };
        self.columns.iter().filter(retyped).any(|column| by.contains(&column.name))
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Alteration {
    /// Whether every row is written anew, and every index with them.
    pub fn rewrites(&self) -> bool {
        self.statements.iter().any(|(_, hazards)| hazards.contains(&Hazard::Rewrite))
    }
}

impl Column {
    fn parse(column: &ast::Column) -> Option<Self> {
        let mut read = Self {
            name: column.name()?.syntax().to_string().trim().to_owned(),
            data_type: column.ty()?.syntax().to_string().trim().to_owned(),
            not_null: false,
            default: None,
            rest: String::new(),
        };
        for clause in column.clauses() {
            match &clause {
                ast::ColumnClause::ColumnConstraint(ast::ColumnConstraint::NotNullConstraint(_)) => {
                    read.not_null = true
                }
                ast::ColumnClause::ColumnConstraint(ast::ColumnConstraint::DefaultConstraint(default)) => {
                    read.default = Some(default.expr()?.syntax().to_string().trim().to_owned());
                }
                other => {
                    read.rest.push(' ');
                    read.rest.push_str(other.syntax().to_string().trim());
                }
            }
        }
        Some(read)
    }

    fn definition(&self) -> String {
        let mut text = format!("{} {}", self.name, self.data_type);
        if self.not_null {
            text.push_str(" NOT NULL");
        }
        if let Some(default) = &self.default {
            text.push_str(&format!(" DEFAULT {default}"));
        }
        text.push_str(&self.rest);
        text
    }

    /// Its value as another type. What a type's text reads as, the other type takes; where it does not, the migration
    /// fails as a whole.
    fn value_as(&self, to: &str) -> String {
        let (name, from) = (&self.name, &self.data_type);
        match from == to {
            true => name.clone(),
            false => conversion(name, from, to),
        }
    }

    /// A constant default is a note in the catalog; what has to be computed is written to every row.
    fn hazards_when_added(&self) -> Vec<Hazard> {
        if self.rest.is_empty() { Vec::new() } else { vec![Hazard::Rewrite] }
    }

    fn become_(&self, wanted: &Self) -> Option<Vec<(String, Vec<Hazard>)>> {
        if self.rest != wanted.rest {
            return None;
        }
        let name = &self.name;
        let mut actions = Vec::new();
        if self.data_type != wanted.data_type {
            let (from, to) = (&self.data_type, &wanted.data_type);
            let by = self.value_as(to);
            let mut hazards = if is_free(from, to) { Vec::new() } else { vec![Hazard::Rewrite] };
            hazards.extend(Fit::between(from, to).hazard());
            actions.push((format!("ALTER COLUMN {name} TYPE {to} USING {by}"), hazards));
        }
        match (self.not_null, wanted.not_null) {
            (false, true) => actions.push((format!("ALTER COLUMN {name} SET NOT NULL"), vec![Hazard::Scan])),
            (true, false) => actions.push((format!("ALTER COLUMN {name} DROP NOT NULL"), Vec::new())),
            _ => {}
        }
        match (&self.default, &wanted.default) {
            (before, Some(after)) if before.as_ref() != Some(after) => {
                actions.push((format!("ALTER COLUMN {name} SET DEFAULT {after}"), Vec::new()));
            }
            (Some(_), None) => actions.push((format!("ALTER COLUMN {name} DROP DEFAULT"), Vec::new())),
            _ => {}
        }
        Some(actions)
    }
}

impl Constraint {
    fn hazards(&self) -> Vec<Hazard> {
        let builds = ["PRIMARY KEY", "UNIQUE", "EXCLUDE"].iter().any(|word| self.says.starts_with(word));
        vec![if builds { Hazard::IndexBuild } else { Hazard::Scan }]
    }
}

/// A column of one type as a value of another. What the type's text reads as, the other type takes; where it does
/// not, the migration fails whole.
pub fn conversion(column: &str, from: &str, to: &str) -> String {
    // A cast would cut off what is longer, where an assignment refuses it.
    let is_cut = matches!(sized(to).0, "varchar" | "char") && !is_free(from, to);
    match (is_cut, is_cast_known(from, to)) {
        (true, _) => format!("{column}::text"),
        (false, true) => format!("{column}::{to}"),
        (false, false) => format!("{column}::text::{to}"),
    }
}

/// Whether PostgreSQL knows how to cast one type to the other as an assignment or explicitly.
fn is_cast_known(from: &str, to: &str) -> bool {
    let family = |name: &str| {
        let base = name.split(['(', ' ', '[']).next().unwrap_or(name).to_owned();
        match base.as_str() {
            _ if name.ends_with(']') => 4,
            "smallint" | "integer" | "bigint" | "numeric" | "real" | "double" => 1,
            "text" | "varchar" | "char" | "character" => 2,
            "date" | "timestamp" | "timestamptz" => 3,
            "json" | "jsonb" => 5,
            _ => 0,
        }
    };
    let (one, other) = (family(from), family(to));
    one != 0 && one == other || other == 2
}

/// `WITH (…)` as SET and RESET.
fn settings(before: Option<&str>, after: Option<&str>) -> Vec<(String, Vec<Hazard>)> {
    let list = |text: Option<&str>| -> Vec<(String, String)> {
        let inner =
            text.and_then(|text| Some(text.split_once('(')?.1.rsplit_once(')')?.0)).unwrap_or_default();
        inner
            .split(',')
            .filter_map(|one| one.split_once('='))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect()
    };
    let (before, after) = (list(before), list(after));
    let set: Vec<String> = after
        .iter()
        .filter(|one| !before.contains(one))
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let reset: Vec<&str> = before
        .iter()
        .filter(|(name, _)| after.iter().all(|(other, _)| other != name))
        .map(|(name, _)| name.as_str())
        .collect();
    let mut actions = Vec::new();
    if !set.is_empty() {
        actions.push((format!("SET ({})", set.join(", ")), Vec::new()));
    }
    if !reset.is_empty() {
        actions.push((format!("RESET ({})", reset.join(", ")), Vec::new()));
    }
    actions
}

/// A quoted name at the start, and what follows.
pub(super) fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut end = 0;
    loop {
        end += inner[end..].find('"')?;
        if inner[end + 1..].starts_with('"') {
            end += 2;
        } else {
            return Some(text.split_at(end + 2));
        }
    }
}

/// A name without its quotes.
pub fn unquoted(name: &str) -> String {
    let inner = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(name);
    inner.replace("\"\"", "\"")
}
