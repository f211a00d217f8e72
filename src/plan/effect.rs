//! What each kind of statement that the tool emits does to a table that holds rows: the lock that it takes, whether
//! the table's file is written anew, whether its rows are read. Nothing here is taken from a manual alone: a test
//! measures every entry on every version of PostgreSQL that is supported. Knows no plan, no model.

use std::collections::BTreeSet;
use std::fmt;

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

use super::object::{name_after, tokens};
use super::table::quoted;

/// The newest version that is supported.
const NEWEST: u32 = 18;

/// A lock on a table, weakest first, as PostgreSQL calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lock {
    /// What a reader takes.
    AccessShare,
    /// What `SELECT … FOR UPDATE` takes.
    RowShare,
    /// What a writer takes.
    RowExclusive,
    /// Keeps vacuum and other changes of the table away.
    ShareUpdateExclusive,
    /// Keeps writers away.
    Share,
    /// Keeps writers away, and others of its kind.
    ShareRowExclusive,
    /// Keeps all but readers away.
    Exclusive,
    /// Keeps everybody away.
    AccessExclusive,
}

impl Lock {
    /// Every lock.
    pub const ALL: [Self; 8] = [
        Self::AccessShare,
        Self::RowShare,
        Self::RowExclusive,
        Self::ShareUpdateExclusive,
        Self::Share,
        Self::ShareRowExclusive,
        Self::Exclusive,
        Self::AccessExclusive,
    ];

    /// Its name in the manual.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// Its name in `pg_locks`.
    pub fn mode(self) -> String {
        let words = self.name().split(' ');
        let words = words.map(|word| format!("{}{}", &word[..1], word[1..].to_lowercase()));
        words.collect::<String>() + "Lock"
    }

    /// Whom it keeps away.
    pub fn blocks(self) -> Blocked {
        match self {
            Self::AccessShare | Self::RowShare | Self::RowExclusive => Blocked::Nobody,
            Self::ShareUpdateExclusive => Blocked::Upkeep,
            Self::Share | Self::ShareRowExclusive | Self::Exclusive => Blocked::Writers,
            Self::AccessExclusive => Blocked::Everybody,
        }
    }
}

/// Whom a lock keeps away from a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// Neither readers nor writers, nor upkeep.
    Nobody,
    /// Vacuum, and changes of the table.
    Upkeep,
    /// Writers.
    Writers,
    /// Readers and writers.
    Everybody,
}

impl Blocked {
    /// The word by which it is told from others.
    pub fn code(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Upkeep => "upkeep",
            Self::Writers => "writers",
            Self::Everybody => "everybody",
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nobody => "nobody waits",
            Self::Upkeep => "vacuum and other changes wait",
            Self::Writers => "writers wait",
            Self::Everybody => "readers and writers wait",
        })
    }
}

/// What is done to the table that a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The strongest lock on it, held until the transaction ends.
    pub lock: Option<Lock>,
    /// Whether its file is written anew.
    pub rewrites: bool,
    /// Whether its rows are read.
    pub reads: bool,
}

/// A kind of statement, or of a part of an ALTER TABLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `ADD COLUMN`, which takes NULL, or has a constant for a default.
    AddColumn,
    /// `ADD COLUMN` whose values are computed, row by row.
    AddColumnComputed,
    /// `DROP COLUMN`
    DropColumn,
    /// `ALTER COLUMN … TYPE` that rows have to follow.
    Retype,
    /// `ALTER COLUMN … TYPE` that leaves rows as they stand.
    RetypeInPlace,
    /// `ALTER COLUMN … SET NOT NULL`
    SetNotNull,
    /// `ALTER COLUMN … DROP NOT NULL`
    DropNotNull,
    /// `ALTER COLUMN … SET DEFAULT`
    SetDefault,
    /// `ALTER COLUMN … DROP DEFAULT`
    DropDefault,
    /// `ALTER COLUMN … DROP IDENTITY`, or `DROP EXPRESSION`
    DropIdentity,
    /// `ADD CONSTRAINT … CHECK`
    AddCheck,
    /// `ADD CONSTRAINT … CHECK … NOT VALID`
    AddCheckNotValid,
    /// `VALIDATE CONSTRAINT`
    ValidateConstraint,
    /// `ADD CONSTRAINT … PRIMARY KEY`, or `UNIQUE`
    AddKey,
    /// `ADD CONSTRAINT … EXCLUDE`
    AddExclusion,
    /// `DROP CONSTRAINT`
    DropConstraint,
    /// `RENAME CONSTRAINT`
    RenameConstraint,
    /// `RENAME COLUMN`
    RenameColumn,
    /// `ALTER TABLE … RENAME TO`
    RenameTable,
    /// `ALTER TABLE … SET SCHEMA`
    SetSchema,
    /// `SET (fillfactor = …)`
    SetOptions,
    /// `RESET (fillfactor)`
    ResetOptions,
    /// `ENABLE TRIGGER`, also `ALWAYS`
    EnableTrigger,
    /// `DISABLE TRIGGER`
    DisableTrigger,
    /// `ATTACH PARTITION`, of the table that it is attached to
    AttachPartition,
    /// `DETACH PARTITION`, of the table that it is detached from
    DetachPartition,
    /// `CREATE TABLE … PARTITION OF`, of the table that it is a part of
    CreatePartition,
    /// `CREATE INDEX`, also `UNIQUE`
    CreateIndex,
    /// `CREATE INDEX CONCURRENTLY`
    CreateIndexConcurrently,
    /// `DROP INDEX`
    DropIndex,
    /// `DROP INDEX CONCURRENTLY`
    DropIndexConcurrently,
    /// `ALTER INDEX … RENAME TO`
    RenameIndex,
    /// `CREATE TRIGGER`
    CreateTrigger,
    /// `DROP TRIGGER`
    DropTrigger,
    /// `DROP TABLE`, `DROP VIEW` or `DROP MATERIALIZED VIEW`, of that one itself
    DropRelation,
    /// `CREATE VIEW`, of what it reads
    CreateView,
    /// `CREATE MATERIALIZED VIEW … WITH NO DATA`, of what it reads
    CreateMaterializedView,
    /// `CREATE MATERIALIZED VIEW`, filled at once, of what it reads
    CreateFilledView,
    /// `CREATE FUNCTION` whose body the server keeps parsed, of what it reads
    CreateFunction,
    /// `COMMENT ON TABLE`, `VIEW` or `COLUMN`
    CommentOnRelation,
    /// `GRANT` or `REVOKE`, which locks from PostgreSQL 18 on
    Grant,
    /// `LOCK TABLE` as it stands by itself
    LockTable,
    /// `INSERT`
    Insert,
    /// `UPDATE`
    Update,
    /// `DELETE`
    Delete,
    /// `TRUNCATE`
    Truncate,
    /// What is about no table, or about one that nobody can have yet.
    NoTable,
}

impl Action {
    /// Every kind.
    pub const ALL: [Self; 47] = [
        Self::AddColumn,
        Self::AddColumnComputed,
        Self::DropColumn,
        Self::Retype,
        Self::RetypeInPlace,
        Self::SetNotNull,
        Self::DropNotNull,
        Self::SetDefault,
        Self::DropDefault,
        Self::DropIdentity,
        Self::AddCheck,
        Self::AddCheckNotValid,
        Self::ValidateConstraint,
        Self::AddKey,
        Self::AddExclusion,
        Self::DropConstraint,
        Self::RenameConstraint,
        Self::RenameColumn,
        Self::RenameTable,
        Self::SetSchema,
        Self::SetOptions,
        Self::ResetOptions,
        Self::EnableTrigger,
        Self::DisableTrigger,
        Self::AttachPartition,
        Self::DetachPartition,
        Self::CreatePartition,
        Self::CreateIndex,
        Self::CreateIndexConcurrently,
        Self::DropIndex,
        Self::DropIndexConcurrently,
        Self::RenameIndex,
        Self::CreateTrigger,
        Self::DropTrigger,
        Self::DropRelation,
        Self::CreateView,
        Self::CreateMaterializedView,
        Self::CreateFilledView,
        Self::CreateFunction,
        Self::CommentOnRelation,
        Self::Grant,
        Self::LockTable,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::NoTable,
    ];

    /// What it does at most, whatever the version.
    pub fn effect(self) -> Effect {
        self.effect_on(NEWEST)
    }

    /// What it does on a version of PostgreSQL.
    pub fn effect_on(self, version: u32) -> Effect {
        use Lock::{
            AccessExclusive, AccessShare, RowExclusive, Share, ShareRowExclusive, ShareUpdateExclusive,
        };
        let note = |lock| Effect { lock: Some(lock), rewrites: false, reads: false };
        let scan = |lock| Effect { lock: Some(lock), rewrites: false, reads: true };
        match self {
            Self::AddColumn
            | Self::DropColumn
            | Self::RetypeInPlace
            | Self::DropNotNull
            | Self::SetDefault
            | Self::DropDefault
            | Self::DropIdentity
            | Self::AddCheckNotValid
            | Self::DropConstraint
            | Self::RenameConstraint
            | Self::RenameColumn
            | Self::RenameTable
            | Self::SetSchema
            | Self::DetachPartition
            | Self::CreatePartition
            | Self::DropIndex
            | Self::DropTrigger
            | Self::DropRelation
            | Self::LockTable => note(AccessExclusive),
            Self::AddColumnComputed | Self::Retype => {
                Effect { lock: Some(AccessExclusive), rewrites: true, reads: true }
            }
            Self::SetNotNull | Self::AddCheck | Self::AddKey | Self::AddExclusion => scan(AccessExclusive),
            Self::Truncate => Effect { lock: Some(AccessExclusive), rewrites: true, reads: false },
            Self::CreateIndex => scan(Share),
            Self::ValidateConstraint | Self::CreateIndexConcurrently => scan(ShareUpdateExclusive),
            Self::EnableTrigger | Self::DisableTrigger | Self::CreateTrigger => note(ShareRowExclusive),
            Self::SetOptions
            | Self::ResetOptions
            | Self::AttachPartition
            | Self::DropIndexConcurrently
            | Self::CommentOnRelation => note(ShareUpdateExclusive),
            Self::Insert => note(RowExclusive),
            Self::Update | Self::Delete => scan(RowExclusive),
            Self::CreateView | Self::CreateMaterializedView | Self::CreateFunction => note(AccessShare),
            Self::CreateFilledView => scan(AccessShare),
            Self::Grant if version >= 18 => note(AccessShare),
            Self::Grant | Self::RenameIndex | Self::NoTable => {
                Effect { lock: None, rewrites: false, reads: false }
            }
        }
    }
}

/// What a statement does, each part of it with the quoted name of the table that it is about, where it names one.
/// Nothing for a statement of a kind that is not known here.
pub fn actions(sql: &str) -> Option<Vec<(Action, String)>> {
    let parsed = SourceFile::parse(sql);
    let mut found = Vec::new();
    for node in parsed.syntax_node().children() {
        found.extend(of_statement(&node)?);
    }
    Some(found)
}

fn of_statement(node: &SyntaxNode) -> Option<Vec<(Action, String)>> {
    let tokens = tokens(node);
    let words: Vec<&str> = tokens.iter().map(|(_, text)| text.as_str()).collect();
    let after = |word: &str| name_after(&words, &[word]);
    let one = |action: Action, table: Option<String>| Some(vec![(action, table.unwrap_or_default())]);
    let nothing = one(Action::NoTable, None);
    let concurrently = words.contains(&"CONCURRENTLY");
    match node.kind() {
        SyntaxKind::ALTER_TABLE => of_alter_table(node, after("TABLE")?),
        SyntaxKind::CREATE_TABLE => match name_after(&words, &["PARTITION", "OF"]) {
            Some(parent) => one(Action::CreatePartition, Some(parent)),
            None => nothing,
        },
        SyntaxKind::CREATE_INDEX if concurrently => one(Action::CreateIndexConcurrently, after("ON")),
        SyntaxKind::CREATE_INDEX => one(Action::CreateIndex, after("ON")),
        // Of which table an index is stands in the catalog.
        SyntaxKind::DROP_INDEX if concurrently => one(Action::DropIndexConcurrently, None),
        SyntaxKind::DROP_INDEX => one(Action::DropIndex, after("INDEX")),
        SyntaxKind::ALTER_INDEX => one(Action::RenameIndex, None),
        SyntaxKind::CREATE_TRIGGER => one(Action::CreateTrigger, after("ON")),
        SyntaxKind::DROP_TRIGGER => one(Action::DropTrigger, after("ON")),
        SyntaxKind::DROP_TABLE => one(Action::DropRelation, after("TABLE")),
        SyntaxKind::DROP_VIEW | SyntaxKind::DROP_MATERIALIZED_VIEW => {
            one(Action::DropRelation, after("VIEW"))
        }
        SyntaxKind::CREATE_VIEW => one(Action::CreateView, None),
        SyntaxKind::CREATE_MATERIALIZED_VIEW if words.ends_with(&["WITH", "NO", "DATA", ";"]) => {
            one(Action::CreateMaterializedView, None)
        }
        SyntaxKind::CREATE_MATERIALIZED_VIEW => one(Action::CreateFilledView, None),
        SyntaxKind::CREATE_FUNCTION => one(Action::CreateFunction, None),
        SyntaxKind::COMMENT_ON => match words.get(2) {
            Some(&"COLUMN") => one(Action::CommentOnRelation, column_of(&words)),
            Some(&"TABLE") => one(Action::CommentOnRelation, after("TABLE")),
            Some(&"VIEW" | &"MATERIALIZED") => one(Action::CommentOnRelation, after("VIEW")),
            _ => nothing,
        },
        SyntaxKind::GRANT | SyntaxKind::REVOKE => one(Action::Grant, None),
        SyntaxKind::LOCK => one(Action::LockTable, after("TABLE").or_else(|| after("ONLY"))),
        SyntaxKind::INSERT => one(Action::Insert, after("INTO")),
        SyntaxKind::UPDATE => one(Action::Update, after("UPDATE")),
        SyntaxKind::DELETE => one(Action::Delete, after("FROM")),
        SyntaxKind::TRUNCATE => one(Action::Truncate, after("TABLE").or_else(|| after("TRUNCATE"))),
        SyntaxKind::ALTER_SEQUENCE
        | SyntaxKind::ALTER_TYPE
        | SyntaxKind::ALTER_VIEW
        | SyntaxKind::ALTER_MATERIALIZED_VIEW
        | SyntaxKind::ALTER_FUNCTION
        | SyntaxKind::ALTER_SCHEMA
        | SyntaxKind::CREATE_SCHEMA
        | SyntaxKind::CREATE_SEQUENCE
        | SyntaxKind::CREATE_TABLE_AS
        | SyntaxKind::CREATE_TYPE
        // What a block does, whoever writes it has to say.
        | SyntaxKind::DO
        | SyntaxKind::DROP_EVENT_TRIGGER
        | SyntaxKind::DROP_FUNCTION
        | SyntaxKind::DROP_SCHEMA
        | SyntaxKind::DROP_SEQUENCE
        | SyntaxKind::DROP_TYPE
        | SyntaxKind::SELECT => nothing,
        _ => None,
    }
}

/// Every quoted name of two parts that a text says, within strings and bodies too.
pub fn tables(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let Some((schema, after)) = quoted(&rest[start..]) else { break };
        let name = after.strip_prefix('.').and_then(quoted);
        found.extend(name.map(|(name, _)| format!("{schema}.{name}")));
        rest = name.map_or(after, |(_, after)| after);
    }
    found
}

fn of_alter_table(node: &SyntaxNode, table: String) -> Option<Vec<(Action, String)>> {
    use ast::AlterTableAction as Part;
    let mut found = Vec::new();
    for part in ast::AlterTable::cast(node.clone())?.actions() {
        let text = part.syntax().to_string();
        let action = match part {
            Part::AddColumn(column) => added(&column),
            Part::DropColumn(_) => Action::DropColumn,
            Part::AlterColumn(column) => match column.option()? {
                ast::AlterColumnOption::SetType(_) => Action::Retype,
                ast::AlterColumnOption::SetNotNull(_) => Action::SetNotNull,
                ast::AlterColumnOption::DropNotNull(_) => Action::DropNotNull,
                ast::AlterColumnOption::SetDefault(_) => Action::SetDefault,
                ast::AlterColumnOption::DropDefault(_) => Action::DropDefault,
                ast::AlterColumnOption::DropIdentity(_) | ast::AlterColumnOption::DropExpression(_) => {
                    Action::DropIdentity
                }
                _ => return None,
            },
            Part::AddConstraint(added) => match added.constraint()? {
                ast::Constraint::CheckConstraint(_) if text.trim_end().ends_with("NOT VALID") => {
                    Action::AddCheckNotValid
                }
                ast::Constraint::CheckConstraint(_) => Action::AddCheck,
                ast::Constraint::PrimaryKeyConstraint(_) | ast::Constraint::UniqueConstraint(_) => {
                    Action::AddKey
                }
                ast::Constraint::ExcludeConstraint(_) => Action::AddExclusion,
                _ => return None,
            },
            Part::ValidateConstraint(_) => Action::ValidateConstraint,
            Part::DropConstraint(_) => Action::DropConstraint,
            Part::RenameConstraint(_) => Action::RenameConstraint,
            Part::RenameColumn(_) => Action::RenameColumn,
            Part::TableRenameTo(_) => Action::RenameTable,
            Part::SetSchema(_) => Action::SetSchema,
            Part::SetOptions(_) => Action::SetOptions,
            Part::ResetOptions(_) => Action::ResetOptions,
            Part::EnableTrigger(_) | Part::EnableAlwaysTrigger(_) => Action::EnableTrigger,
            Part::DisableTrigger(_) => Action::DisableTrigger,
            Part::AttachPartition(_) => Action::AttachPartition,
            Part::DetachPartition(_) => Action::DetachPartition,
            _ => return None,
        };
        found.push((action, table.clone()));
    }
    Some(found)
}

/// A constant default is a note in the catalog; what has to be computed is written to every row.
fn added(column: &ast::AddColumn) -> Action {
    let text = column.syntax().to_string();
    let computed = column.constraints().any(|constraint| match constraint {
        ast::Constraint::GeneratedConstraint(_) => true,
        ast::Constraint::DefaultConstraint(default) => default.expr().is_some_and(|expression| {
            let text = expression.syntax().to_string();
            // Of functions, only what is the same for the whole statement is known to be computed once.
            text.contains('(') && text.trim() != "now()"
        }),
        _ => false,
    });
    if computed || text.contains(" GENERATED ") { Action::AddColumnComputed } else { Action::AddColumn }
}

/// The table of `COMMENT ON COLUMN "s"."t"."c"`.
fn column_of(words: &[&str]) -> Option<String> {
    name_after(words, &["COLUMN"])
}
