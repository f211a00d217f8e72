//! `medallion new`: begins a project outside this repository. Its spec is drawn up from the tables of a live database,
//! or is a small shop with a sample. All of it is generated before anything is said; nothing that stands is touched.

use std::borrow::Cow;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use askama::Template;
use clap::Args;

use super::import::{self, Tables};
use super::workspace::Workspace;
use super::{Error, generate, schema};
use crate::finding::{Colour, SourceText};
use crate::spec::Files;
use crate::{model, output};

/// What a pull request is asked here, and there.
const WORKFLOW: &str = include_str!("../../.github/workflows/warehouse.yml");
/// How the workflow comes by the tool here, where it is built, and elsewhere.
const BUILT: [&str; 2] = ["MEDALLION: target/debug/medallion", "cargo build --locked --package medallion"];

/// With which all of it is tested.
const TOOLCHAIN: &str = include_str!("../../rust-toolchain.toml");

const ATTRIBUTES: &str = include_str!("../../.gitattributes");

/// Begin a project of your own
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "With SOURCE_DATABASE_URL the spec is drawn up from its tables; without, it is a small shop \
                        with a sample.\n\nExamples:\n  medallion new shop\n  medallion new shop --table 'order*'"
)]
pub(super) struct New {
    /// The project's folder, which is empty or not there yet; the warehouse is called like it
    path: PathBuf,

    #[command(flatten)]
    tables: Tables,

    /// Where medallion's code is: a folder, or the URL of a git repository; where this tool was built without
    #[arg(long, value_name = "FOLDER|URL")]
    medallion: Option<String>,
}

/// Where a project has medallion from.
enum Medallion {
    Folder(PathBuf),
    Repository(String),
}

#[derive(Template)]
#[template(path = "project/Cargo.toml", escape = "none")]
struct Manifest<'a> {
    warehouse: &'a str,
    /// The dependency, as TOML.
    runtime: String,
}

#[derive(Template)]
#[template(path = "project/README.md", escape = "none")]
struct Readme<'a> {
    warehouse: &'a str,
    sample: bool,
}

#[derive(Template)]
#[template(path = "project/sample/spec.toml", escape = "none")]
struct SampleSpec<'a> {
    warehouse: &'a str,
}

#[derive(Template)]
#[template(path = "project/sample/demo.toml", escape = "none")]
struct Demo<'a> {
    warehouse: &'a str,
}

pub(super) fn run(new: &New) -> Result<ExitCode, Error> {
    let path =
        std::path::absolute(&new.path).map_err(|cause| cannot("tell where it is", &new.path, &cause))?;
    let warehouse = match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => import::plain(name),
        None => return Err(Error::new("the project has no name", "name its folder: `medallion new shop`")),
    };
    refuse_what_stands(&path)?;
    let medallion = Medallion::find(new.medallion.as_deref())?;
    let source = import::named();
    let mut files = project(&warehouse, &medallion, source.is_none());
    let mut said = None;
    let spec = format!("spec/{warehouse}");
    match source {
        Some(url) => {
            let draft = import::draw_up(&url, &new.tables, Some(warehouse.clone()))?;
            files.push((format!("{spec}/spec.toml"), draft.text));
            said = Some(draft.said);
        }
        None => {
            let sample = sample(&warehouse);
            refuse_what_is_wrong(&warehouse, &sample[0].1)?;
            files.extend(sample.map(|(name, text)| (format!("{spec}/{name}"), text)));
        }
    }
    for (name, text) in &files {
        output::replace_file(&path.join(name), text)?;
    }
    if let Medallion::Folder(folder) = &medallion {
        // The versions that it is tested with; cargo takes out what is not needed here.
        let lock = path.join("Cargo.lock");
        let _ = fs::copy(folder.join("Cargo.lock"), lock);
    }
    env::set_current_dir(&path).map_err(|cause| cannot("change to it", &path, &cause))?;
    let status = generate::run(&Workspace::enter(None)?, &generate::Generate::plain())?;
    if status != ExitCode::SUCCESS {
        return Ok(status);
    }
    if let Some(said) = &said {
        eprintln!("{spec}/spec.toml: {said}");
    }
    println!("{}", next(&new.path, said.is_some().then_some(&*spec), &medallion));
    Ok(ExitCode::SUCCESS)
}

fn refuse_what_stands(path: &Path) -> Result<(), Error> {
    let in_the_way = |what: &str| {
        Error::new(
            format!("`{}` {what}", path.display()),
            "name a folder that is empty, or not there yet: nothing that stands is touched",
        )
    };
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(in_the_way("is not empty")),
            None => Ok(()),
        },
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotADirectory => Err(in_the_way("is no folder")),
        Err(cause) => Err(cannot("read", path, &cause)),
    }
}

/// Where the tool's code is, for projects to depend on: where it was built, unless whoever builds it says otherwise.
const CODE: &str = match option_env!("MEDALLION_CODE") {
    Some(folder) => folder,
    None => env!("CARGO_MANIFEST_DIR"),
};

/// Nothing but the warehouse's name can be.
fn refuse_what_is_wrong(warehouse: &str, spec: &str) -> Result<(), Error> {
    let files = Files::alone(warehouse, SourceText::new("the sample's spec", spec.to_owned()));
    model::load(&files).map(drop).map_err(|findings| {
        Error::new(
            format!("no warehouse can be called `{warehouse}`:\n{}", findings.human(Colour::Plain)),
            "name the folder otherwise",
        )
    })
}

impl Medallion {
    /// What is named, or where this tool was built.
    fn find(named: Option<&str>) -> Result<Self, Error> {
        let Some(named) = named else {
            let built = Path::new(CODE);
            return match !CODE.is_empty() && built.join("runtime/Cargo.toml").is_file() {
                true => Ok(Self::Folder(built.to_owned())),
                false => Err(Error::new(
                    "the folder in which this tool was built is gone",
                    "say where its code is with `--medallion`: a folder, or the URL of a git repository",
                )),
            };
        };
        if named.contains("://") || named.starts_with("git@") {
            return repository(named);
        }
        let folder = Path::new(named);
        match fs::canonicalize(folder) {
            Ok(folder) if folder.join("runtime/Cargo.toml").is_file() => Ok(Self::Folder(folder)),
            _ => Err(Error::new(
                format!("`{named}` does not have medallion's code"),
                "name the folder that has its `runtime/`, or the URL of a git repository",
            )),
        }
    }

    /// The runtime, as a dependency in TOML.
    fn dependency(&self) -> String {
        let (word, place) = match self {
            Self::Folder(folder) => ("path", folder.join("runtime").display().to_string()),
            Self::Repository(url) => ("git", url.clone()),
        };
        format!("{{ {word} = {} }}", toml::Value::String(place))
    }
}

/// A git repository by its URL, which stands in files that are committed.
fn repository(url: &str) -> Result<Medallion, Error> {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let login =
        place.split(['/', '?', '#']).next().and_then(|host| host.rsplit_once('@')).map(|(login, _)| login);
    let is_secret = login.is_some_and(|login| login.contains(':') || url.starts_with("http"));
    if is_secret {
        return Err(Error::new(
            "the URL of the git repository has a login, which would stand in files that are committed",
            "leave it away: git asks whoever keeps your passwords",
        ));
    }
    let plain = |one: char| one.is_ascii_alphanumeric() || "-._~:/@%+,=".contains(one);
    if !url.chars().all(plain) {
        return Err(Error::new(
            "the URL of the git repository has characters that no URL has",
            "write them with percent signs: a blank is %20",
        ));
    }
    Ok(Medallion::Repository(url.to_owned()))
}

/// What every project has, but for its spec.
fn project(warehouse: &str, medallion: &Medallion, sample: bool) -> Vec<(String, String)> {
    let manifest = Manifest { warehouse, runtime: medallion.dependency() };
    let mut files = vec![
        ("Cargo.toml", rendered(&manifest)),
        ("README.md", rendered(&Readme { warehouse, sample })),
        ("Makefile", include_str!("../../templates/project/Makefile").to_owned()),
        (".gitignore", include_str!("../../templates/project/gitignore").to_owned()),
        (".gitattributes", ATTRIBUTES.to_owned()),
        ("rust-toolchain.toml", TOOLCHAIN.to_owned()),
        ("generated/Cargo.toml", include_str!("../../templates/project/generated/Cargo.toml").to_owned()),
        ("migration/Cargo.toml", include_str!("../../templates/project/migration/Cargo.toml").to_owned()),
        ("spec/spec.schema.json", schema::text()),
    ];
    if let Medallion::Repository(url) = medallion {
        files.push((".github/workflows/warehouse.yml", workflow(url)));
    }
    files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// The workflow, with the tool installed from where it is.
fn workflow(url: &str) -> String {
    let install = format!("cargo install --locked --git {} --root target/tool medallion", shell(url));
    WORKFLOW
        .replace(BUILT[0], "MEDALLION: target/tool/bin/medallion")
        .replace(BUILT[1], &install)
        .replace(" Copy it into a repository of your own; docs/pull_requests.md says how.", "")
}

fn sample(warehouse: &str) -> [(&'static str, String); 5] {
    [
        ("spec.toml", rendered(&SampleSpec { warehouse })),
        ("demo.toml", rendered(&Demo { warehouse })),
        ("source.sql", include_str!("../../templates/project/sample/source.sql").to_owned()),
        ("sample.sql", include_str!("../../templates/project/sample/sample.sql").to_owned()),
        ("traffic.sql", include_str!("../../templates/project/sample/traffic.sql").to_owned()),
    ]
}

fn rendered(template: &impl Template) -> String {
    let mut text = template.render().expect("a template renders into a string");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// What to do next, with the folder of a spec that was drawn up: it is a draft.
fn next(path: &Path, drawn_up: Option<&str>, medallion: &Medallion) -> String {
    let mut steps = format!("\nNext:\n    cd {}\n", shell(&path.display().to_string()));
    match drawn_up {
        Some(spec) => {
            let remarked = [
                (format!("$EDITOR {spec}/spec.toml"), "a draft: what it ought to say is yours to decide"),
                ("medallion generate --squash".to_owned(), "again, as long as no database has it"),
                ("medallion source check".to_owned(), "what the source lacks, with the SQL"),
            ];
            let width = remarked.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
            steps.extend(remarked.map(|(command, why)| format!("    {command:width$}    # {why}\n")));
            steps.push_str("    medallion migrate up && medallion run");
        }
        None => steps.push_str("    medallion demo"),
    }
    if matches!(medallion, Medallion::Folder(_)) {
        steps.push_str(
            "\n\nCargo.toml names medallion's code by its folder. For others to build it, name a git repository there; \
             `medallion new --medallion URL` also writes a workflow for pull requests.",
        );
    }
    steps
}

/// A word for a shell.
fn shell(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).expect("no argument has a zero byte")
}

fn cannot(what: &str, path: &Path, cause: &std::io::Error) -> Error {
    Error::new(format!("cannot {what}: `{}`: {cause}", path.display()), "name another folder")
}
