//! The prompt of `medallion query`: questions over as many lines as they need, up to a semicolon, and a few
//! commands. An error ends the question and not the prompt.

mod editor;

use std::io::Write as _;
use std::time::Instant;

use sqlx::Row as _;

use super::query::Session;
use crate::answer::{self, Format, Printer, Settings};
use crate::error::{During as _, Error, Result};
use crate::quote;
use editor::{Input, Line, Names};

const HELP: &str = "\
Questions end with a semicolon. Tab completes, Ctrl-C takes a line or a question back, Ctrl-D leaves.
  \\d [relation]            the relations, or the columns of one
  \\as-of TIME | off        read names without a schema as of a time
  \\format table|csv|json   how answers are printed
  \\timing                  say how long an answer takes, or no longer
  \\q                       leave
";

/// Reads and answers until the reader leaves.
pub(super) async fn run(mut session: Session<'_>, settings: Settings, format: Format) -> Result<()> {
    let names = names(&mut session).await?;
    let mut prompt = Prompt { session, settings, format, timing: false };
    let mut input = Input::open(names)?;
    super::answer(&format!("Ask warehouse `{}`; \\? helps.\n", prompt.session.warehouse.name))?;
    loop {
        let line;
        (input, line) = input.read(prompt.sign()).await?;
        let text = match line {
            Line::Text(text) => text,
            Line::TakenBack => continue,
            Line::End => return Ok(()),
        };
        let done = match text.trim() {
            "" | ";" => Ok(()),
            "\\q" => return Ok(()),
            command if command.starts_with('\\') => prompt.command(command).await,
            question => prompt.ask(question).await,
        };
        if let Err(error) = done {
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            prompt.session.revive().await?;
        }
    }
}

struct Prompt<'a> {
    session: Session<'a>,
    settings: Settings,
    format: Format,
    timing: bool,
}

impl Prompt<'_> {
    /// What stands before a line.
    fn sign(&self) -> String {
        let name = self.session.warehouse.name;
        match &self.settings.as_of {
            Some(time) => format!("{name} as of {time}> "),
            None => format!("{name}> "),
        }
    }

    async fn ask(&mut self, question: &str) -> Result<()> {
        let began = Instant::now();
        self.session.ask(question, &self.settings, self.format).await?;
        if self.timing {
            super::answer(&format!(" {:.1} ms\n", began.elapsed().as_secs_f64() * 1_000.0))?;
        }
        Ok(())
    }

    async fn command(&mut self, command: &str) -> Result<()> {
        let (verb, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim().trim_end_matches(';').trim_end();
        match (verb, rest) {
            ("\\?", _) => super::answer(HELP),
            ("\\d", "") => self.describe(&relations()).await,
            ("\\d", relation) => self.describe(&columns(relation)).await,
            ("\\as-of", "off") => {
                self.settings.as_of = None;
                Ok(())
            }
            ("\\as-of", "") => {
                Err(Error::new("as of which time?").remedy("write `\\as-of 2024-07-01` or `\\as-of off`"))
            }
            ("\\as-of", time) => self.travel(time.trim_matches('\'')).await,
            ("\\format", format) => {
                let Ok(format) = clap::ValueEnum::from_str(format, true) else {
                    return Err(Error::new(format!("`{format}` is no format"))
                        .remedy("write `\\format table`, `csv` or `json`"));
                };
                self.format = format;
                Ok(())
            }
            ("\\timing", _) => {
                self.timing = !self.timing;
                super::answer(if self.timing { "timing is on\n" } else { "timing is off\n" })
            }
            _ => Err(Error::new(format!("`{verb}` is no command")).remedy("`\\?` lists them")),
        }
    }

    /// Takes a time once the server has read it as one.
    async fn travel(&mut self, time: &str) -> Result<()> {
        let settings = Settings { as_of: Some(time.to_owned()), ..self.settings.clone() };
        let mut nowhere = Printer::new(Format::Csv, None, std::io::sink());
        let Session { warehouse, connection, .. } = &mut self.session;
        answer::ask(warehouse, connection, "SELECT 1", &settings, &mut nowhere).await?;
        self.settings = settings;
        Ok(())
    }

    async fn describe(&mut self, sql: &str) -> Result<()> {
        self.session.ask(sql, &Settings { as_of: None, ..self.settings.clone() }, Format::Table).await
    }
}

/// What a question without a schema can read.
const READABLE: &str = "\
    FROM pg_class AS relation
    JOIN pg_namespace AS schema ON schema.oid = relation.relnamespace
    WHERE schema.nspname = ANY (current_schemas(false)) AND schema.nspname <> 'public'
    AND relation.relkind IN ('r', 'p', 'v', 'm') AND NOT relation.relispartition
    AND has_table_privilege(relation.oid, 'SELECT')";

fn relations() -> String {
    format!(
        "SELECT schema.nspname AS schema, relation.relname AS relation,
        CASE relation.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind,
        obj_description(relation.oid, 'pg_class') AS description
        {READABLE}
        ORDER BY 1, 2"
    )
}

fn columns(relation: &str) -> String {
    format!(
        "SELECT attname AS column, format_type(atttypid, atttypmod) AS type,
        CASE WHEN attnotnull THEN 'no' ELSE 'yes' END AS \"null\",
        col_description(attrelid, attnum) AS description
        FROM pg_attribute
        WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum",
        quote::literal(relation)
    )
}

/// The names that can be completed.
async fn names(session: &mut Session<'_>) -> Result<Names> {
    let path = quote::list("", session.warehouse.schemas.iter().copied());
    let sql = format!(
        "SELECT relation.relname::text, array(SELECT attname::text FROM pg_attribute
        WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum)
        {}",
        READABLE.replace("current_schemas(false)", "$1::name[]")
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(format!("{{{path}}}"))
        .fetch_all(&mut session.connection)
        .await
        .during(|| "cannot tell which relations there are".to_owned())?;
    let relations = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(Names { relations })
}
