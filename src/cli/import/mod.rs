//! `medallion import`: a first draft of a spec, from the tables of a live database. Reads the source's catalog and no
//! row of it; what it writes is checked like any spec before anybody sees it.

mod draft;
mod source;
mod type_word;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use glob::Pattern;
use medallion_server::Server;

use super::workspace::Workspace;
use super::{Error, check};
use crate::finding::{Colour, SourceText};
use crate::model;
use crate::output;
use crate::spec::Files;
pub(super) use draft::{Draft, plain};
use source::{Relation, Source};

/// The environment variable that names the source.
const SOURCE: &str = "SOURCE_DATABASE_URL";

/// Which tables of the source are meant.
#[derive(Args, Clone, Debug)]
pub(super) struct Tables {
    /// Only tables of these schemas: a name, or a pattern such as `shop_*`; all without
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::new)]
    schema: Vec<Pattern>,

    /// Only these tables: a name, or a pattern such as `order*` or `shop.*`; all without
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::new)]
    table: Vec<Pattern>,
}

/// Draw up a spec from the tables of the source
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    medallion import --output spec/shop/spec.toml\n  \
    medallion import --schema shop --table 'order*'")]
pub(super) struct Import {
    #[command(flatten)]
    tables: Tables,

    /// What the warehouse is called; like the folder of --output, or else like the database, without
    #[arg(long)]
    name: Option<String>,

    /// Write the draft to this file, which is not there yet: spec/<warehouse>/spec.toml
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write over the file that is there
    #[arg(long, requires = "output")]
    force: bool,
}

impl Import {
    /// The same, with paths that stay what they are when the current folder becomes another one.
    pub(super) fn settled(self) -> Self {
        let output = self.output.map(|path| std::path::absolute(&path).unwrap_or(path));
        Self { output, ..self }
    }
}

pub(super) fn run(workspace: &Workspace, import: &Import) -> Result<ExitCode, Error> {
    if let Some(path) = import.output.as_deref().filter(|path| path.exists() && !import.force) {
        return Err(Error::new(
            format!("`{}` is there already", path.display()),
            "name another file, or write over it with `--force`",
        ));
    }
    let name = import.name.clone().or_else(|| import.folder());
    let draft = draw_up(&url(workspace)?, &import.tables, name)?;
    match &import.output {
        None => check::answer(&draft.text),
        Some(path) => output::replace_file(path, &draft.text)?,
    }
    let to = import.output.as_ref().map_or(String::new(), |path| format!("{}: ", path.display()));
    eprintln!("{to}{}", draft.said);
    Ok(ExitCode::SUCCESS)
}

/// Draws up a spec from a database's tables. The warehouse is called like the database where no name is given.
pub(super) fn draw_up(url: &str, tables: &Tables, name: Option<String>) -> Result<Draft, Error> {
    let Source { database, relations } = source::read(url)?;
    let count = relations.len();
    let chosen: Vec<Relation> = relations.into_iter().filter(|one| tables.takes(one)).collect();
    if chosen.is_empty() {
        return Err(match count {
            0 => Error::new(
                format!("database `{database}` has no tables that this user may see"),
                format!("name another one in {SOURCE}"),
            ),
            _ => Error::new(
                format!("none of the {count} tables of database `{database}` is asked for"),
                "correct `--schema` and `--table`; patterns know `*`, `?` and `[a-z]`",
            ),
        });
    }
    let name = name.unwrap_or_else(|| plain(&database));
    let draft = draft::draw_up(&name, &database, &chosen);
    // What is wrong with the name is the user's to mend; nothing else may be wrong.
    let files = Files::alone(&name, SourceText::new("the draft", draft.text.clone()));
    if let Err(findings) = model::load(&files) {
        return Err(Error::new(
            format!("the draft would not pass `medallion check`:\n{}", findings.human(Colour::Plain)),
            "choose another name with `--name` where that is what is wrong; else report it",
        ));
    }
    Ok(draft)
}

impl Tables {
    fn takes(&self, relation: &Relation) -> bool {
        let Relation { schema, name, .. } = relation;
        let whole = format!("{schema}.{name}");
        let any = |patterns: &[Pattern], names: &[&str]| {
            patterns.is_empty() || patterns.iter().any(|one| names.iter().any(|name| one.matches(name)))
        };
        any(&self.schema, &[schema]) && any(&self.table, &[name, &whole])
    }
}

impl Import {
    /// The warehouse's name, where the output says it.
    fn folder(&self) -> Option<String> {
        let path =
            self.output.as_deref().filter(|path| path.file_name().is_some_and(|name| name == "spec.toml"))?;
        path.parent().and_then(Path::file_name)?.to_str().map(str::to_owned)
    }
}

/// The source that is named.
pub(super) fn named() -> Option<String> {
    env::var(SOURCE).ok().filter(|url| !url.is_empty())
}

/// The source: the one that is named, or the one of the embedded server.
fn url(workspace: &Workspace) -> Result<String, Error> {
    if let Some(url) = named() {
        return Ok(url);
    }
    let Ok(warehouse) = workspace.one_name() else {
        return Err(Error::new(
            "no source is named",
            format!("name it: {SOURCE}=postgresql://user:password@host:5432/database"),
        ));
    };
    let server = Server::of_checkout(&workspace.root)?;
    let database = format!("{warehouse}_source");
    server.start()?;
    server.ensure_database(&database)?;
    Ok(server.url(&database))
}
