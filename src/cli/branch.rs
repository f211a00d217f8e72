//! What another branch has done meanwhile: what it says about a warehouse's past, read from its commits, and where what
//! it changes meets what this one does. `check --base` tells it, `generate --rebase` builds on it.

use std::process::ExitCode;

use serde_json::Value;

use super::check::{self, Check, Format};
use super::git::{Commit, Repository};
use super::workspace::Workspace;
use super::{Error, evolution, read};
use crate::emit::{self, Past};
use crate::finding::{Code, Finding, Findings, SourceText};
use crate::model::{self, Evolution, Warehouse};
use crate::plan::branch::{Deed, How, Meeting, Side, meetings};
use crate::plan::lock::{Lock, Migration};
use crate::spec::Files;

/// What stood in another commit.
struct There {
    lock: Lock,
    model: Value,
}

/// `check --base`: where this branch and another one meet.
pub(super) fn run(workspace: &Workspace, check: &Check, base: &str) -> Result<ExitCode, Error> {
    let specs = read::chosen(check.spec.as_deref())?;
    let loaded: Vec<_> = specs.iter().map(model::load).collect();
    if loaded.iter().any(Result::is_err) {
        return Ok(check::run(check)?);
    }
    let repository = Repository::around(&workspace.root)?;
    let (theirs, ours) = (repository.commit(base)?, repository.head()?);
    let parted = repository.parted(&ours, &theirs)?;
    let mut said = String::new();
    let mut all = Vec::new();
    for (warehouse, files) in loaded.into_iter().flatten().zip(&specs) {
        let before = there(&repository, &parted, &warehouse.name)?;
        let Some(now) = there(&repository, &theirs, &warehouse.name)? else {
            said += &format!("{}: `{base}` does not have it\n", warehouse.name);
            continue;
        };
        let own = read::past(&workspace.root, &warehouse.name)?.map(|past| past.lock);
        let findings = compare(&repository, &theirs, base, &warehouse, files, before.as_ref(), &now)?;
        said += &told(base, &warehouse.name, before.as_ref(), &now, own.as_ref(), &findings);
        all.push(findings);
    }
    let found = all.iter().any(|findings| !findings.list().is_empty());
    match check.format {
        Format::Human => {
            check::print_findings(all.iter().filter(|findings| !findings.list().is_empty()), Format::Human);
            check::answer(&said);
        }
        Format::Json => check::answer(&format!("{:#}\n", check::json(all.iter()))),
    }
    Ok(ExitCode::from(u8::from(found)))
}

/// A line or two about one warehouse.
fn told(
    base: &str,
    name: &str,
    before: Option<&There>,
    now: &There,
    own: Option<&Lock>,
    findings: &Findings,
) -> String {
    // By what they do as well: two branches give one name to two migrations.
    let there = &now.lock.migrations;
    let here = own.map_or(&[][..], |lock| &lock.migrations);
    let known = before.map_or(&[][..], |there| &there.lock.migrations);
    let only = |one: &[Migration], other: &[&[Migration]]| -> Vec<String> {
        let new = one.iter().filter(|migration| !other.iter().any(|list| list.contains(migration)));
        new.map(|migration| format!("`{}`", migration.name)).collect()
    };
    let (lacking, added) = (only(there, &[here]), only(here, &[there, known]));
    if lacking.is_empty() {
        return format!("{name}: this branch has every migration of `{base}`\n");
    }
    let mut said = format!("{name}: `{base}` has {}, which this branch lacks", lacking.join(", "));
    if !added.is_empty() {
        said += &format!("; this branch has added {}", added.join(", "));
    }
    said += match findings.list().is_empty() {
        true => "\n  what they change does not meet: either can come first\n",
        false => "\n  what they change meets: the spec has to say what becomes of it\n",
    };
    said + &format!(
        "  = merge it, then `medallion generate --rebase {base}`: what this branch needs becomes one migration on top\n"
    )
}

fn compare(
    repository: &Repository,
    theirs: &Commit,
    base: &str,
    warehouse: &Warehouse,
    files: &Files,
    before: Option<&There>,
    now: &There,
) -> Result<Findings, Error> {
    let nothing = Value::Null;
    let ours = serde_json::to_value(warehouse).expect("a model is plain data with string keys");
    // What has another name there is said by the spec alone. One that cannot be read renames nothing.
    let there = spec_there(repository, theirs, &files.folder)?;
    let evolution =
        there.and_then(|files| model::load(&files).ok()).map(|one| one.evolution).unwrap_or_default();
    let list = meetings(
        before.map_or(&nothing, |there| &there.model),
        &Side { model: &ours, evolution: &warehouse.evolution },
        &Side { model: &now.model, evolution: &evolution },
    );
    let spec = crate::spec::parse(files).value;
    let mut list: Vec<Finding> = list
        .iter()
        .map(|meeting| {
            let called = called_now(meeting, &warehouse.evolution);
            let relation = called.as_ref().and_then(|name| evolution::declared(name, &spec));
            finding(meeting, base, evolution::place(relation, &spec, files))
        })
        .collect();
    // A lookup is one thing in the spec, and two tables.
    list.dedup_by(|one, other| one.message == other.message && one.primary == other.primary);
    Ok(Findings::new(list, files.texts()))
}

/// A relation as this branch calls it.
fn called_now(meeting: &Meeting, evolution: &Evolution) -> Option<model::Name> {
    let before = meeting.relation.as_ref()?;
    let renamed = evolution.relations.iter().find(|(was, _)| was == before);
    Some(renamed.map_or_else(|| before.clone(), |(_, now)| now.clone()))
}

fn finding(meeting: &Meeting, base: &str, place: crate::finding::Span) -> Finding {
    let relation = meeting.relation.as_ref().map(evolution::bare);
    let words: Vec<&str> = [relation.as_deref(), meeting.part.as_deref()].into_iter().flatten().collect();
    let what = words.join(".");
    let finding = |message: String| Finding::new(Code::BranchesMeet, message, place);
    match &meeting.how {
        How::Both { ours, theirs } => finding(format!("`{what}` is another here and in `{base}`"))
            .label(match ours == theirs {
                true => format!("{} by both, and not alike", deed(*ours)),
                false => format!("{} here, {} there", deed(*ours), deed(*theirs)),
            })
            .help(format!("merge `{base}`, and let the spec say what becomes of it")),
        How::NeededHere(user) => finding(format!("`{base}` lets `{what}` go, and `{user}` needs it here"))
            .label("needed by this branch, under this name")
            .help(format!("merge `{base}`, and do without it or keep it")),
        How::NeededThere(user) => finding(format!("`{what}` goes here, and `{user}` needs it in `{base}`"))
            .label("dropped or renamed by this branch")
            .help(format!("merge `{base}`, and do without it or keep it")),
    }
}

fn deed(deed: Deed) -> &'static str {
    match deed {
        Deed::Adds => "added",
        Deed::Drops => "dropped",
        Deed::Renames => "renamed",
        Deed::Changes => "changed",
    }
}

fn there(repository: &Repository, commit: &Commit, warehouse: &str) -> Result<Option<There>, Error> {
    let Some(lock) = lock_there(repository, commit, warehouse)? else { return Ok(None) };
    let model = serde_json::from_str(&lock.model).map_err(|cause| {
        Error::new(format!("the lock file of another commit is damaged: {cause}"), "generate it there")
    })?;
    Ok(Some(There { lock, model }))
}

fn lock_there(repository: &Repository, commit: &Commit, warehouse: &str) -> Result<Option<Lock>, Error> {
    let path = emit::lock_path(warehouse);
    let Some(text) = text(repository, commit, &path)? else { return Ok(None) };
    Lock::read(&text).map(Some).map_err(|cause| {
        Error::new(format!("cannot read `{path}` of another commit: {cause}"), "generate it there")
    })
}

fn text(repository: &Repository, commit: &Commit, path: &str) -> Result<Option<String>, Error> {
    let text = repository.text(commit, path)?;
    Ok(text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The spec of another commit, with what lies beside it.
fn spec_there(repository: &Repository, commit: &Commit, folder: &str) -> Result<Option<Files>, Error> {
    let place = format!("{}/{folder}", read::SPECS);
    let read = |path: &str| -> Result<Option<SourceText>, Error> {
        Ok(repository.text(commit, path)?.map(|bytes| SourceText::new(path, bytes)))
    };
    let Some(spec) = read(&format!("{place}/spec.toml"))? else { return Ok(None) };
    let mut files = Files::alone(folder, spec);
    for path in repository.files(commit, &place)? {
        if let (Some(name), Some(text)) =
            (path.rsplit('/').next().filter(|name| name.ends_with(".sql")), read(&path)?)
        {
            files.sql.insert(name.to_owned(), text);
        }
    }
    Ok(Some(files))
}

/// What another commit says of a warehouse's migrations, which this branch's come after. It has to be part of what is
/// checked out or being merged: else the spec lacks what it says, and the next migration would take that away.
pub(super) fn past(
    workspace: &Workspace,
    base: Option<&str>,
    warehouse: &str,
) -> Result<Option<Past>, Error> {
    let repository = Repository::around(&workspace.root)?;
    let merging = repository.merging()?;
    let (name, commit) = match (base, &merging) {
        (Some(base), _) => (base, repository.commit(base)?),
        (None, Some(merging)) => ("MERGE_HEAD", merging.clone()),
        (None, None) => {
            return Err(Error::new(
                "nothing is being merged, and no commit is named whose migrations stay",
                "name it: `medallion generate --rebase origin/main`",
            ));
        }
    };
    let head = repository.head()?;
    let mut is_here = repository.holds(&head, &commit)?;
    if let Some(merging) = &merging {
        is_here |= repository.holds(merging, &commit)?;
    }
    if !is_here {
        return Err(Error::new(
            format!(
                "`{name}` has commits that are not part of this branch, and the spec here does not say what they do"
            ),
            format!("merge it first: `git merge {name}`, or `git rebase {name}`"),
        ));
    }
    let Some(lock) = lock_there(&repository, &commit, warehouse)? else { return Ok(None) };
    Past::of(warehouse, lock, |path| text(&repository, &commit, path)).map(Some)
}

/// What stood where this branch parted from another one: what `plan --base` goes from.
pub(super) fn parted(workspace: &Workspace, base: &str, warehouse: &str) -> Result<Option<Past>, Error> {
    let repository = Repository::around(&workspace.root)?;
    let parted = repository.parted(&repository.head()?, &repository.commit(base)?)?;
    let Some(lock) = lock_there(&repository, &parted, warehouse)? else { return Ok(None) };
    Past::of(warehouse, lock, |path| text(&repository, &parted, path)).map(Some)
}
