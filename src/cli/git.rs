//! What version control has: the texts of a commit, where two lines of commits parted, what is being merged. Runs `git`
//! with arguments, never by way of a shell, and changes nothing. Knows nothing of what the texts say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::Error;

/// The repository around a workspace.
pub(super) struct Repository {
    root: PathBuf,
}

/// A commit, by its hash: no text of a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit(String);

impl Repository {
    /// The repository that a folder is in.
    pub(super) fn around(root: &Path) -> Result<Self, Error> {
        let repository = Self { root: root.to_owned() };
        match repository.said(&["rev-parse", "--is-inside-work-tree"])? {
            Ok(said) if said.trim() == "true" => Ok(repository),
            _ => Err(Error::new(
                format!("`{}` is in no git repository", root.display()),
                "branches are compared by their commits: run it where the spec is checked out",
            )),
        }
    }

    /// The commit that a user means.
    pub(super) fn commit(&self, revision: &str) -> Result<Commit, Error> {
        let wanted = format!("{revision}^{{commit}}");
        match self.said(&["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted])? {
            Ok(said) => Ok(Commit(said.trim().to_owned())),
            Err(_) => Err(Error::new(
                format!("git knows no commit `{revision}`"),
                "name a branch, a tag or a hash; fetch it first where it is the server's: `git fetch origin`",
            )),
        }
    }

    /// What is checked out.
    pub(super) fn head(&self) -> Result<Commit, Error> {
        self.commit("HEAD")
    }

    /// The commit that is being merged into what is checked out.
    pub(super) fn merging(&self) -> Result<Option<Commit>, Error> {
        let found = self.said(&["rev-parse", "--verify", "--quiet", "MERGE_HEAD"])?;
        Ok(found.ok().map(|said| Commit(said.trim().to_owned())))
    }

    /// Where two lines of commits parted.
    pub(super) fn parted(&self, one: &Commit, other: &Commit) -> Result<Commit, Error> {
        match self.said(&["merge-base", &one.0, &other.0])? {
            Ok(said) => Ok(Commit(said.lines().next().unwrap_or_default().to_owned())),
            Err(_) => Err(Error::new(
                "the two branches have no commit in common",
                "fetch all of their history: `git fetch --unshallow`, or `fetch-depth: 0` in a workflow",
            )),
        }
    }

    /// Whether a commit holds another one.
    pub(super) fn holds(&self, commit: &Commit, other: &Commit) -> Result<bool, Error> {
        Ok(self.said(&["merge-base", "--is-ancestor", &other.0, &commit.0])?.is_ok())
    }

    /// The text of a file, by its path below the workspace; nothing where the commit does not have it.
    pub(super) fn text(&self, commit: &Commit, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let found =
            self.entries(commit, path)?.into_iter().find(|entry| entry.kind == "blob" && entry.path == path);
        let Some(Entry { hash, .. }) = found else { return Ok(None) };
        let output = self.run(&["cat-file", "blob", &hash])?;
        if output.status.success() { Ok(Some(output.stdout)) } else { Err(unread(&output)) }
    }

    /// The files that stand in a folder, by their paths below the workspace.
    pub(super) fn files(&self, commit: &Commit, folder: &str) -> Result<Vec<String>, Error> {
        let entries = self.entries(commit, &format!("{folder}/"))?;
        Ok(entries.into_iter().filter(|entry| entry.kind == "blob").map(|entry| entry.path).collect())
    }

    fn entries(&self, commit: &Commit, path: &str) -> Result<Vec<Entry>, Error> {
        let output = self.run(&["ls-tree", "-z", &commit.0, "--", path])?;
        if !output.status.success() {
            return Err(unread(&output));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let entries = text.split('\0').filter_map(|line| {
            let (about, path) = line.split_once('\t')?;
            let mut words = about.split(' ').skip(1);
            Some(Entry {
                kind: words.next()?.to_owned(),
                hash: words.next()?.to_owned(),
                path: path.to_owned(),
            })
        });
        Ok(entries.collect())
    }

    /// What git answered, or what it said instead.
    fn said(&self, arguments: &[&str]) -> Result<Result<String, String>, Error> {
        let output = self.run(arguments)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
    }

    fn run(&self, arguments: &[&str]) -> Result<Output, Error> {
        let mut command = Command::new("git");
        command.current_dir(&self.root).args(arguments).env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
        command.stdin(Stdio::null()).output().map_err(|cause| {
            Error::new(
                format!("cannot run `git`: {cause}"),
                "install it, for branches are compared by their commits",
            )
        })
    }
}

/// What stands in a commit.
struct Entry {
    kind: String,
    hash: String,
    path: String,
}

fn unread(output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Error::new(format!("git cannot read its own commit: {said}"), "run `git fsck`; fetch the history anew")
}
