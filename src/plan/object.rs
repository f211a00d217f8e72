//! The objects that a warehouse's scripts make: each statement read, and told from the others by what it makes.
//! Reads only SQL that `emit` wrote, where every name is quoted. Knows no model, no template, no disk.

use std::collections::BTreeSet;

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

use super::table::{quoted, unquoted};

/// What kind of thing an object is, in the words that DROP takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A schema.
    Schema,
    /// An enumerated type.
    Type,
    /// A sequence.
    Sequence,
    /// A table, partitioned or not.
    Table,
    /// A partition, made together with its table.
    Partition,
    /// An index.
    Index,
    /// A function.
    Function,
    /// A plain view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A trigger.
    Trigger,
    /// A block that runs once: what it makes is not the warehouse's alone.
    Block,
}

impl Kind {
    /// The word that DROP and COMMENT take.
    pub fn word(self) -> &'static str {
        match self {
            Self::Schema => "SCHEMA",
            Self::Type => "TYPE",
            Self::Sequence => "SEQUENCE",
            Self::Table | Self::Partition => "TABLE",
            Self::Index => "INDEX",
            Self::Function => "FUNCTION",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::Trigger => "TRIGGER",
            Self::Block => "DO",
        }
    }
}

impl Kind {
    /// Whether others can read it by its name.
    pub(super) fn is_read(self) -> bool {
        !matches!(self, Self::Trigger | Self::Index | Self::Block)
    }

    /// Whether it says nothing that is not elsewhere, so that it can be dropped and made again.
    pub(super) fn is_made_of_others(self) -> bool {
        !matches!(self, Self::Schema | Self::Type | Self::Sequence | Self::Table | Self::Block)
    }
}

/// What tells an object from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// What it is.
    pub kind: Kind,
    /// Its name, quoted, with its schema; of a trigger alone; of a block its text.
    pub name: String,
    /// A function's types in parentheses, the table of a trigger, index or partition; else nothing.
    pub of: String,
}

impl Identity {
    /// How DROP and COMMENT ON call it.
    pub fn called(&self) -> String {
        match self.kind {
            Kind::Function => format!("{} {}{}", self.kind.word(), self.name, self.of),
            Kind::Trigger => format!("{} {} ON {}", self.kind.word(), self.name, self.of),
            _ => format!("{} {}", self.kind.word(), self.name),
        }
    }
}

impl Identity {
    /// What COMMENT ON may call it; a function without namesakes may be called without its types.
    pub fn calls(&self) -> impl Iterator<Item = String> {
        let short = (self.kind == Kind::Function).then(|| format!("FUNCTION {}", self.name));
        std::iter::once(self.called()).chain(short)
    }

    /// Whether COMMENT ON means it.
    pub fn is_called(&self, target: &str) -> bool {
        self.calls().any(|called| called == target)
    }
}

/// How far ALTER TABLE reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The table, and partitions that stand below it.
    Partitions,
    /// The table.
    Only,
}

/// An object, with the statement that makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The script that it belongs to.
    pub section: String,
    /// What tells it from others.
    pub identity: Identity,
    /// The lines before the statement that say why, each with its dashes.
    pub remark: String,
    /// The statement, with its semicolon.
    pub sql: String,
    /// Of a trigger that fires for sessions that play a replica too: whether that is said of the table alone
    /// or of its partitions as well.
    pub always: Option<Reach>,
    /// The names of two parts in the statement, outside of strings.
    pub reads: BTreeSet<String>,
    /// Every identifier in the statement, unquoted, and `*`.
    pub words: BTreeSet<String>,
}

impl Object {
    /// Whether it reads one of these names; its own is no reading.
    pub(super) fn reads_another_of(&self, names: &BTreeSet<&str>) -> bool {
        let others = self.reads.iter().filter(|name| **name != self.identity.name);
        others.into_iter().any(|name| names.contains(name.as_str()))
    }
}

/// What is said about an object or one of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The script that it belongs to.
    pub section: String,
    /// What COMMENT ON calls it: `COLUMN "s"."t"."c"`.
    pub target: String,
    /// The text, as a literal.
    pub text: String,
}

/// One privilege on one object, given to or taken from one role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Whether it is given.
    pub given: bool,
    /// `SELECT`, `ALL`, and so on.
    pub privilege: String,
    /// `FUNCTION `, `SCHEMA `; of tables nothing.
    pub class: String,
    /// The object, as GRANT calls it.
    pub object: String,
    /// To or from whom, quoted, or PUBLIC.
    pub role: String,
}

/// All that the scripts of a warehouse make, in the order of the statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The objects.
    pub objects: Vec<Object>,
    /// What is said about them.
    pub comments: Vec<Comment>,
    /// Who may do what with them, with the section that says so.
    pub grants: Vec<(String, Grant)>,
}

/// A statement that is not understood: a mistake of the tool's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tool cannot read SQL that it has written itself: {0}")]
pub struct Unreadable(pub String);

impl Catalog {
    /// Reads scripts: the title of each, and its text.
    ///
    /// # Errors
    ///
    /// A statement is none of those that scripts are made of.
    pub fn read<'a>(scripts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Unreadable> {
        let mut catalog = Self::default();
        for (section, text) in scripts {
            catalog.read_script(section, text)?;
        }
        Ok(catalog)
    }

    /// The tables, each by its quoted name, and as the bookkeeping calls it.
    pub fn tables(&self) -> impl Iterator<Item = (String, String)> {
        self.named(&[Kind::Table])
    }

    /// Objects of some kinds, called in both ways.
    pub fn named(&self, kinds: &[Kind]) -> impl Iterator<Item = (String, String)> {
        let objects = self.objects.iter().filter(|one| kinds.contains(&one.identity.kind));
        objects.map(|one| {
            let name = &one.identity.name;
            let plain = quoted(name).map_or_else(String::new, |(schema, rest)| {
                format!("{}.{}", unquoted(schema), unquoted(rest.strip_prefix('.').unwrap_or(rest)))
            });
            (name.clone(), plain)
        })
    }

    fn read_script(&mut self, section: &str, text: &str) -> Result<(), Unreadable> {
        let parsed = SourceFile::parse(text);
        let mut remark = String::new();
        for element in parsed.syntax_node().children_with_tokens() {
            match element.kind() {
                SyntaxKind::COMMENT => {
                    remark.push_str(&element.to_string());
                    remark.push('\n');
                }
                SyntaxKind::WHITESPACE => {
                    // A paragraph of its own belongs to no statement.
                    if element.to_string().matches('\n').count() > 1 {
                        remark.clear();
                    }
                }
                _ => {
                    let unreadable = || Unreadable(element.to_string());
                    let node = element.as_node().ok_or_else(unreadable)?;
                    self.take(section, &std::mem::take(&mut remark), node).ok_or_else(unreadable)?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, section: &str, remark: &str, node: &SyntaxNode) -> Option<()> {
        let tokens = tokens(node);
        let words: Vec<&str> = tokens.iter().map(|(_, text)| text.as_str()).collect();
        let mut add = |kind: Kind, name: String, of: String| {
            self.objects.push(Object {
                section: section.to_owned(),
                identity: Identity { kind, name, of },
                remark: remark.to_owned(),
                sql: node.to_string(),
                always: None,
                reads: pairs(&tokens),
                words: identifiers(&tokens),
            });
        };
        match node.kind() {
            SyntaxKind::CREATE_SCHEMA => {
                add(Kind::Schema, words.iter().rev().nth(1)?.to_string(), String::new())
            }
            SyntaxKind::CREATE_TYPE => add(Kind::Type, name_after(&words, &["TYPE"])?, String::new()),
            SyntaxKind::CREATE_SEQUENCE => {
                add(Kind::Sequence, name_after(&words, &["SEQUENCE"])?, String::new())
            }
            SyntaxKind::CREATE_TABLE => {
                let name = name_after(&words, &["TABLE"])?;
                match name_after(&words, &["PARTITION", "OF"]) {
                    Some(parent) => add(Kind::Partition, name, parent),
                    None => add(Kind::Table, name, String::new()),
                }
            }
            SyntaxKind::CREATE_INDEX => {
                let index = words.iter().position(|word| *word == "INDEX")?;
                let table = name_after(&words, &["ON"])?;
                let (schema, _) = quoted(&table)?;
                add(Kind::Index, format!("{schema}.{}", words.get(index + 1)?), table);
            }
            SyntaxKind::CREATE_FUNCTION => {
                let function = ast::CreateFunction::cast(node.clone())?;
                // What it only gives back does not tell it from another.
                let types: Vec<String> = function
                    .param_list()?
                    .params()
                    .filter(|one| !matches!(one.mode(), Some(ast::ParamMode::ParamOut(_))))
                    .map(|one| {
                        one.func_type().map(|data_type| data_type.syntax().to_string().trim().to_owned())
                    })
                    .collect::<Option<_>>()?;
                add(Kind::Function, name_after(&words, &["FUNCTION"])?, format!("({})", types.join(", ")));
            }
            SyntaxKind::CREATE_VIEW => add(Kind::View, name_after(&words, &["VIEW"])?, String::new()),
            SyntaxKind::CREATE_MATERIALIZED_VIEW => {
                add(Kind::MaterializedView, name_after(&words, &["VIEW"])?, String::new());
            }
            SyntaxKind::CREATE_TRIGGER => {
                let trigger = words.iter().position(|word| *word == "TRIGGER")?;
                add(Kind::Trigger, words.get(trigger + 1)?.to_string(), name_after(&words, &["ON"])?);
            }
            SyntaxKind::DO => add(Kind::Block, node.to_string(), String::new()),
            SyntaxKind::ALTER_TABLE => return self.enable(&words),
            SyntaxKind::COMMENT_ON => {
                let is = words.iter().rposition(|word| *word == "IS")?;
                let text = node.to_string();
                let (target, _) = text.split_once(" IS ")?;
                self.comments.push(Comment {
                    section: section.to_owned(),
                    target: target.strip_prefix("COMMENT ON ")?.to_owned(),
                    text: words[is + 1..words.len() - 1].join(" "),
                });
            }
            SyntaxKind::GRANT | SyntaxKind::REVOKE => {
                let grants = grants(&words, node.kind() == SyntaxKind::GRANT)?;
                self.grants.extend(grants.into_iter().map(|grant| (section.to_owned(), grant)));
            }
            // What a migration does on its way, and leaves nothing behind.
            SyntaxKind::LOCK => {}
            _ => return None,
        }
        Some(())
    }

    /// `ALTER TABLE … ENABLE ALWAYS TRIGGER …, …`: said of triggers that were made before.
    fn enable(&mut self, words: &[&str]) -> Option<()> {
        let table = name_after(words, &["TABLE"])?;
        let reach = if words.get(2) == Some(&"ONLY") { Reach::Only } else { Reach::Partitions };
        for (number, _) in
            words.windows(3).enumerate().filter(|(_, three)| *three == ["ENABLE", "ALWAYS", "TRIGGER"])
        {
            let name = words.get(number + 3)?;
            let found = self.objects.iter_mut().rfind(|object| {
                let identity = &object.identity;
                identity.kind == Kind::Trigger && identity.name == *name && identity.of == table
            });
            found?.always = Some(reach);
        }
        Some(())
    }
}

/// The tokens of a statement that mean something.
pub(super) fn tokens(node: &SyntaxNode) -> Vec<(SyntaxKind, String)> {
    node.descendants_with_tokens()
        .filter_map(|element| element.into_token())
        .filter(|token| !matches!(token.kind(), SyntaxKind::WHITESPACE | SyntaxKind::COMMENT))
        .map(|token| (token.kind(), token.text().to_owned()))
        .collect()
}

/// Every token of a text, white space and remarks among them: together they are the text.
pub(super) fn tokens_of(sql: &str) -> Vec<String> {
    SourceFile::parse(sql)
        .syntax_node()
        .descendants_with_tokens()
        .filter_map(|element| element.into_token())
        .map(|token| token.text().to_owned())
        .collect()
}

/// The quoted name, with its schema, that stands behind these words.
pub(super) fn name_after(words: &[&str], before: &[&str]) -> Option<String> {
    let mut start = words.windows(before.len()).position(|window| window == before)? + before.len();
    start += usize::from(words.get(start) == Some(&"ONLY"));
    let mut name = words.get(start)?.to_string();
    if words.get(start + 1) == Some(&".") {
        name.push('.');
        name.push_str(words.get(start + 2)?);
    }
    name.starts_with('"').then_some(name)
}

/// Every quoted name of two parts, or the first two of a longer one; also where a string says nothing else, which is
/// a relation that is meant by its name.
fn pairs(tokens: &[(SyntaxKind, String)]) -> BTreeSet<String> {
    let quoted = |text: &str| text.starts_with('"');
    let strings = tokens.iter().filter_map(|(_, text)| text.strip_prefix('\'')?.strip_suffix('\''));
    let mut found: BTreeSet<String> = strings.filter_map(|text| pair(&text.replace("''", "'"))).collect();
    for (number, three) in tokens.windows(3).enumerate() {
        let [(_, first), (_, dot), (_, second)] = three else { continue };
        let continues = number > 0 && tokens[number - 1].1 == ".";
        if quoted(first) && dot == "." && quoted(second) && !continues {
            found.insert(format!("{first}.{second}"));
        }
    }
    found
}

/// A text that is a quoted name of two parts.
fn pair(text: &str) -> Option<String> {
    let (_, rest) = quoted(text)?;
    let (_, rest) = quoted(rest.strip_prefix('.')?)?;
    rest.is_empty().then(|| text.to_owned())
}

/// Every identifier as PostgreSQL means it, and the star.
fn identifiers(tokens: &[(SyntaxKind, String)]) -> BTreeSet<String> {
    tokens
        .iter()
        .filter(|(kind, _)| *kind != SyntaxKind::STRING)
        .map(|(_, text)| match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => inner.replace("\"\"", "\""),
            None => text.to_lowercase(),
        })
        .collect()
}

/// `GRANT a, b ON FUNCTION x, y TO role`, each privilege on each object.
fn grants(words: &[&str], given: bool) -> Option<Vec<Grant>> {
    let on = words.iter().position(|word| *word == "ON")?;
    let to = words.iter().rposition(|word| *word == if given { "TO" } else { "FROM" })?;
    let role = words.get(to + 1)?.to_string();
    let class = match *words.get(on + 1)? {
        word @ ("FUNCTION" | "SCHEMA" | "SEQUENCE" | "TYPE") => format!("{word} "),
        _ => String::new(),
    };
    let objects = &words[on + 1 + usize::from(!class.is_empty())..to];
    let mut grants = Vec::new();
    for privilege in words[1..on].split(|word| *word == ",") {
        for object in listed(objects) {
            grants.push(Grant {
                given,
                privilege: privilege.join(" "),
                class: class.clone(),
                object,
                role: role.clone(),
            });
        }
    }
    Some(grants)
}

/// What commas separate, those within parentheses apart, spelled as names are.
fn listed(words: &[&str]) -> Vec<String> {
    let mut list = vec![String::new()];
    let mut depth = 0;
    for word in words {
        match *word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," if depth == 0 => {
                list.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = list.last_mut() {
            let (before, after) = (last.chars().next_back(), word.chars().next());
            if [before, after].iter().all(|one| one.is_some_and(char::is_alphanumeric)) {
                last.push(' ');
            }
            last.push_str(word);
            if *word == "," {
                last.push(' ');
            }
        }
    }
    list
}
