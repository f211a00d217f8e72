//! The line under the reader's hands: history, completion, and where a question ends. Knows the names that
//! can be completed, and no database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{During as _, Error, Result};

/// Words that a question is made of; the long ones are what nobody remembers.
const KEYWORDS: [&str; 38] = [
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CROSS JOIN",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "FILTER (WHERE ",
    "FOR SYSTEM_TIME ALL",
    "FOR SYSTEM_TIME AS OF '",
    "FOR SYSTEM_TIME BETWEEN '",
    "FOR SYSTEM_TIME FROM '",
    "FROM",
    "FULL JOIN",
    "GROUP BY",
    "HAVING",
    "INTERSECT",
    "INTERVAL '",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LATERAL",
    "LEFT JOIN",
    "LIMIT",
    "ORDER BY",
    "OVER (",
    "PARTITION BY",
    "SELECT",
    "UNION ALL",
    "USING",
    "WHERE",
    "WITH",
];

/// The commands.
const COMMANDS: [&str; 6] = ["\\?", "\\as-of ", "\\d ", "\\format ", "\\q", "\\timing"];

/// The names that can be completed.
pub(super) struct Names {
    /// The relations, and their columns.
    pub relations: BTreeMap<String, Vec<String>>,
}

/// What the reader has entered.
pub(super) enum Line {
    /// A command, or a whole question.
    Text(String),
    /// Nothing: Ctrl-C.
    TakenBack,
    /// No more: Ctrl-D.
    End,
}

/// The terminal's input.
pub(super) struct Input {
    editor: Editor<Names, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Input {
    pub fn open(names: Names) -> Result<Self> {
        let cannot = || "cannot read from the terminal".to_owned();
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config).during(cannot)?;
        editor.set_helper(Some(names));
        let history = history();
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// Reads on a thread of its own, so that a signal is heard meanwhile.
    pub async fn read(self, sign: String) -> Result<(Self, Line)> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let Self { mut editor, history } = self;
            let read = editor.readline(&sign);
            if let (Ok(_), Some(path)) = (&read, &history) {
                // A prompt without history is better than none.
                let _ = editor.append_history(path);
            }
            let _ = sender.send((Self { editor, history }, read));
        });
        let (input, read) = receiver.await.during(|| "cannot read from the terminal".to_owned())?;
        match read {
            Ok(text) => Ok((input, Line::Text(text))),
            Err(ReadlineError::Interrupted) => Ok((input, Line::TakenBack)),
            Err(ReadlineError::Eof) => Ok((input, Line::End)),
            Err(cause) => Err(Error::new("cannot read from the terminal").because(cause)),
        }
    }
}

/// Where what was asked is kept: the reader's alone, as rustyline writes it.
fn history() -> Option<PathBuf> {
    let folder = |variable| std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    let own = state.join("medallion");
    std::fs::create_dir_all(&own).ok()?;
    Some(own.join("query_history"))
}

/// Whether a question ends here: with a semicolon that stands in no string and no comment.
fn ends(text: &str) -> bool {
    let text = text.trim();
    if text.is_empty() || text.starts_with('\\') {
        return true;
    }
    match Tokenizer::new(&PostgreSqlDialect {}, text).with_unescape(false).tokenize() {
        Ok(tokens) => {
            let last = tokens.iter().rfind(|token| !matches!(token, Token::Whitespace(_)));
            last == Some(&Token::SemiColon)
        }
        // What is no SQL is the server's to say, but what is open can still be closed.
        Err(error) => {
            let said = error.message.to_lowercase();
            text.ends_with(';') && !said.contains("unterminated") && !said.contains("eof")
        }
    }
}

impl Names {
    /// What a word could become, and where it begins.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        if line.starts_with('\\') && !line.contains(' ') {
            return (0, starting(COMMANDS, line));
        }
        let of_a_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let start = line
            .rfind(|letter| !of_a_word(letter))
            .map_or(0, |place| place + line[place..].chars().next().map_or(0, char::len_utf8));
        let (before, word) = line.split_at(start);
        if let Some(table) = before.strip_suffix('.') {
            return (start, starting(self.columns(line, table), word));
        }
        let relations = self.relations.keys().map(String::as_str);
        let last = before.split_whitespace().last().unwrap_or("").to_lowercase();
        if ["from", "join", "\\d"].contains(&last.as_str()) {
            return (start, starting(relations, word));
        }
        let columns = self.relations.values().flatten().map(String::as_str);
        (start, starting(relations.chain(columns).chain(KEYWORDS), word))
    }

    /// The columns of what stands before a point: a relation, or an alias, which could be of any that the
    /// line names.
    fn columns<'a>(&'a self, line: &str, table: &str) -> BTreeSet<&'a str> {
        let word =
            table.rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or("");
        let of = |name: &String| match self.relations.contains_key(word) {
            true => name == word,
            false => line.contains(name.as_str()),
        };
        self.relations
            .iter()
            .filter(|(name, _)| of(name))
            .flat_map(|(_, columns)| columns)
            .map(String::as_str)
            .collect()
    }
}

/// Those that start with a word, whatever its case, once each.
fn starting<'a>(names: impl IntoIterator<Item = &'a str>, word: &str) -> Vec<String> {
    let starts = |name: &&str| name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let found: BTreeSet<&str> = names.into_iter().filter(starts).collect();
    found.into_iter().map(str::to_owned).collect()
}

impl Helper for Names {}
impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}

impl Validator for Names {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match ends(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, place: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..place]))
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, ends};

    #[test]
    fn a_question_ends_with_a_semicolon_of_its_own() {
        for text in
            ["", "  ", "\\d", "\\as-of 2024-07-01", "SELECT 1;", "SELECT ';' ; -- done", "SELECT $1 ¬ 2;"]
        {
            assert!(ends(text), "{text}");
        }
        for text in ["SELECT 1", "SELECT ';", "SELECT $$ ;", "SELECT 1 -- ;", "SELECT 1 /* ;", "SELECT \";"] {
            assert!(!ends(text), "{text}");
        }
    }

    #[test]
    fn words_are_completed_by_where_they_stand() {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let relations = [
            ("dim_film".to_owned(), columns(&["film_id", "title"])),
            ("dim_customer".to_owned(), columns(&["customer_id", "email"])),
        ];
        let names = Names { relations: relations.into() };
        for (line, start, expected) in [
            ("SELECT * FROM dim_f", 14, &["dim_film"][..]),
            ("SELECT * FROM ", 14, &["dim_customer", "dim_film"]),
            ("SELECT * FROM dim_film AS f WHERE f.", 36, &["film_id", "title"]),
            ("SELECT dim_customer.E", 20, &["email"]),
            ("sel", 0, &["SELECT"]),
            ("SELECT * FROM dim_film for system_time al", 39, &[]),
            (
                "SELECT * FROM dim_film for",
                23,
                &[
                    "FOR SYSTEM_TIME ALL",
                    "FOR SYSTEM_TIME AS OF '",
                    "FOR SYSTEM_TIME BETWEEN '",
                    "FOR SYSTEM_TIME FROM '",
                ],
            ),
            ("\\a", 0, &["\\as-of "]),
            ("\\d dim_c", 3, &["dim_customer"]),
            ("SELECT é.t", 10, &[]),
        ] {
            let (place, found) = names.candidates(line);
            assert_eq!(
                (place, found.iter().map(String::as_str).collect::<Vec<_>>()),
                (start, expected.to_vec()),
                "{line}"
            );
        }
    }
}
