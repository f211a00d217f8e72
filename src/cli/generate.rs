//! `medallion generate`: writes what the specs say, or compares it with what is there.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;

use super::check::Format;
use super::plan::shown::allowing;
use super::workspace::Workspace;
use super::{Error, branch, check, evolution, read};
use crate::emit::{self, FileSet, Unable};
use crate::finding::Findings;
use crate::model::{self, Warehouse};
use crate::output::{self, Differences, Place};
use crate::plan::lock::Lock;
use crate::spec::Files;

/// Write entities, SQL and migrations from the specs
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    medallion generate\n  \
    medallion generate --check\n  \
    medallion generate --rebase main")]
pub(super) struct Generate {
    /// Write nothing: print what is different, missing or orphaned, and fail if anything is
    #[arg(long)]
    check: bool,

    /// Make one migration of all, for databases that are built anew: those that stand need `migrate fresh`
    #[arg(long)]
    squash: bool,

    /// After a merge: keep the migrations of this commit, and make one of what the spec asks for beyond them, in place
    /// of those that this branch has added; of what is being merged where none is named
    #[arg(
        long,
        value_name = "REVISION",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["squash", "check"]
    )]
    rebase: Option<String>,

    /// For whom it is written what the spec has to say first
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Generate {
    /// What is asked without an option.
    pub(super) fn plain() -> Self {
        Self { check: false, squash: false, rebase: None, format: Format::Human }
    }
}

/// What is generated, and where it belongs.
struct Generated {
    /// What it is generated from, as messages say it.
    from: String,
    files: FileSet,
    place: Place,
    /// The migrations that come after those of another branch.
    added: Vec<String>,
    /// What migrations risk that a spec does not allow: the migration, and what it risks.
    refused: Vec<(String, String)>,
}

pub(super) fn run(workspace: &Workspace, generate: &Generate) -> Result<ExitCode, Error> {
    let specs = read::chosen(workspace.spec.as_deref())?;
    let loaded: Vec<Result<Warehouse, Findings>> = specs.iter().map(model::load).collect();
    if loaded.iter().any(Result::is_err) {
        check::print_findings(loaded.iter().filter_map(|one| one.as_ref().err()), generate.format);
        return Ok(ExitCode::from(1));
    }
    let warehouses: Vec<Warehouse> = loaded.into_iter().flatten().collect();
    let (generated, undecided) = emit(workspace, &warehouses, &specs, generate)?;
    if !undecided.is_empty() {
        check::print_findings(undecided.iter(), generate.format);
        if let Some(anew) = evolution::anew(&undecided) {
            eprintln!("{anew}");
        }
        return Ok(ExitCode::from(1));
    }
    if generate.check { compare(&generated) } else { write(&generated) }
}

/// One warehouse owns its folders; all together own everything that is generated. Beside it, what specs leave
/// open: then nothing is to be written.
fn emit(
    workspace: &Workspace,
    warehouses: &[Warehouse],
    specs: &[Files],
    generate: &Generate,
) -> Result<(Generated, Vec<Findings>), Error> {
    let mut names = workspace.warehouses()?;
    names.extend(warehouses.iter().map(|warehouse| warehouse.name.clone()));
    names.sort();
    names.dedup();
    let all = emit::Workspace { warehouses: names, default: workspace.default() };
    let mut files = FileSet::default();
    let mut undecided = Vec::new();
    let mut added = Vec::new();
    let mut refused = Vec::new();
    for (warehouse, spec) in warehouses.iter().zip(specs) {
        let past = match &generate.rebase {
            Some(base) => {
                let base = Some(base.as_str()).filter(|base| !base.is_empty());
                branch::past(workspace, base, &warehouse.name)?
            }
            None => read::past(&workspace.root, &warehouse.name)?,
        };
        let kept = generate.rebase.is_some().then(|| {
            let names = past.iter().flat_map(|past| past.lock.migrations.iter());
            names.map(|migration| migration.name.clone()).collect::<Vec<String>>()
        });
        let emitted = match past {
            None => Ok(emit::emit(warehouse, &all)),
            Some(past) if generate.squash => Ok(emit::squash(warehouse, &all, &past)),
            Some(past) => emit::evolve(warehouse, &all, &past),
        };
        match emitted {
            Ok(emitted) => {
                if let Some(kept) = kept {
                    added.extend(migrations(&emitted).filter(|name| !kept.contains(name)));
                }
                refused.extend(refusals(&emitted, &warehouse.name));
                files.merge(emitted);
            }
            Err(Unable::Undecided(list)) => undecided.push(evolution::findings(&list, spec)),
            Err(unable) => return Err(evolution::unable(unable)),
        }
    }
    let folders = match (&workspace.spec, warehouses) {
        (Some(_), [one]) => emit::folders(&one.name).to_vec(),
        _ => emit::FOLDERS.map(str::to_owned).to_vec(),
    };
    // Whatever has become of the Rust, generating brings it back.
    let whole = vec![emit::RUST_FOLDER.to_owned()];
    let from = match warehouses {
        [one] => format!("{}/{}", read::SPECS, one.name),
        several => format!("{}, {} warehouses", read::SPECS, several.len()),
    };
    let place = Place { root: workspace.root.clone(), folders, whole };
    Ok((Generated { from, files, place, added, refused }, undecided))
}

fn write(generated: &Generated) -> Result<ExitCode, Error> {
    let written = output::write(&generated.files, &generated.place)?;
    let mut said =
        format!("{}: {} files, {} changed", generated.from, generated.files.len(), written.changed);
    if written.removed > 0 {
        said.push_str(&format!(", {} removed", written.removed));
    }
    println!("{said}");
    for name in &generated.added {
        println!("`{name}` comes after the migrations that stay");
    }
    for (migration, risk) in &generated.refused {
        eprintln!("`migrate up` refuses {migration} until the spec allows `{risk}`");
    }
    if !generated.refused.is_empty() {
        let risks = generated.refused.iter().map(|(_, risk)| risk.as_str());
        eprint!("\n{}", allowing(risks.collect::<BTreeSet<&str>>(), "    "));
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of a warehouse's migrations.
fn migrations(files: &FileSet) -> impl Iterator<Item = String> {
    let folders = files.iter().filter_map(|(path, _)| path.strip_suffix("/up.sql"));
    folders.filter_map(|folder| folder.rsplit('/').next()).map(str::to_owned)
}

/// What is generated and not allowed.
fn refusals(files: &FileSet, warehouse: &str) -> Vec<(String, String)> {
    let lock = files.get(&emit::lock_path(warehouse)).and_then(|text| Lock::read(text).ok());
    let owned = |(migration, risk): (&str, &str)| (migration.to_owned(), risk.to_owned());
    lock.map_or_else(Vec::new, |lock| lock.refused().map(owned).collect())
}

fn compare(generated: &Generated) -> Result<ExitCode, Error> {
    let differences: Differences = output::compare(&generated.files, &generated.place)?;
    if differences.is_empty() {
        println!("{}: {} files, all as generated", generated.from, generated.files.len());
        return Ok(ExitCode::SUCCESS);
    }
    print!("{differences}");
    let count = differences.list().len();
    eprintln!("{}: {count} of its files are not as generated", generated.from);
    eprintln!("  = run `medallion generate`");
    Ok(ExitCode::from(1))
}
