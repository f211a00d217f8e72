//! `medallion generate`: writes what the specs say, or compares it with what is there.

use std::process::ExitCode;

use clap::Args;

use super::workspace::Workspace;
use super::{Error, check, read};
use crate::emit::{self, FileSet};
use crate::finding::Findings;
use crate::model::{self, Warehouse};
use crate::output::{self, Differences, Place};

/// Write entities, SQL and migrations from the specs
#[derive(Args, Clone, Debug)]
pub(super) struct Generate {
    /// Write nothing: print what is different, missing or orphaned, and fail if anything is
    #[arg(long)]
    check: bool,
}

/// What is generated, and where it belongs.
struct Generated {
    /// What it is generated from, as messages say it.
    from: String,
    files: FileSet,
    place: Place,
}

pub(super) fn run(workspace: &Workspace, generate: &Generate) -> Result<ExitCode, Error> {
    let specs = read::chosen(workspace.spec.as_deref())?;
    let loaded: Vec<Result<Warehouse, Findings>> = specs.iter().map(model::load).collect();
    if loaded.iter().any(Result::is_err) {
        loaded.iter().filter_map(|one| one.as_ref().err()).for_each(check::print_findings);
        return Ok(ExitCode::from(1));
    }
    let warehouses: Vec<Warehouse> = loaded.into_iter().flatten().collect();
    let generated = emit(workspace, &warehouses)?;
    if generate.check { compare(&generated) } else { write(&generated) }
}

/// One warehouse owns its folders; all together own everything that is generated.
fn emit(workspace: &Workspace, warehouses: &[Warehouse]) -> Result<Generated, Error> {
    let mut names = workspace.warehouses()?;
    names.extend(warehouses.iter().map(|warehouse| warehouse.name.clone()));
    names.sort();
    names.dedup();
    let all = emit::Workspace { warehouses: names, default: workspace.default() };
    let mut files = FileSet::default();
    for warehouse in warehouses {
        files.merge(emit::emit(warehouse, &all));
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
    Ok(Generated { from, files, place: Place { root: workspace.root.clone(), folders, whole } })
}

fn write(generated: &Generated) -> Result<ExitCode, Error> {
    let written = output::write(&generated.files, &generated.place)?;
    let mut said =
        format!("{}: {} files, {} changed", generated.from, generated.files.len(), written.changed);
    if written.removed > 0 {
        said.push_str(&format!(", {} removed", written.removed));
    }
    println!("{said}");
    Ok(ExitCode::SUCCESS)
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
