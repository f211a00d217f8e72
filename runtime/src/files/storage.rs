//! Where files are: a directory, or a bucket. Lists them, and fetches one whole, so that what is read is what its checksum
//! is of; puts one into a bucket. Knows no format.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::ready;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutPayload};
use sha2::{Digest as _, Sha256};

use super::bucket::{Bucket, PART};
use super::pattern::Pattern;
use crate::error::{During as _, Error, Result};

/// The environment variable that says where files are.
pub const VARIABLE: &str = "FILES_URL";

/// A place where files are.
#[derive(Clone)]
pub struct Storage {
    place: Place,
    /// The place as it may be shown.
    shown: String,
}

#[derive(Clone)]
enum Place {
    Directory(Arc<LocalFileSystem>),
    Bucket(Arc<Bucket>),
}

/// A file as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its path below the place.
    pub path: String,
    /// The fields that its folders tell.
    pub fields: BTreeMap<String, String>,
    /// How many bytes it has.
    pub size: u64,
    /// When it was last written.
    pub modified: DateTime<Utc>,
    /// What its storage calls this version.
    pub etag: Option<String>,
    pub(super) location: Location,
}

/// A file's content, which stays as it is.
pub struct Fetched {
    /// The content, in a file without a name, to be read from its beginning.
    pub file: File,
    /// Its SHA-256, with the fields that its path tells.
    pub content: Vec<u8>,
    /// How many bytes it has.
    pub size: u64,
}

impl Storage {
    /// Reads `FILES_URL`; where it says nothing, the files are those in the warehouse's folder of the checkout.
    pub fn from_environment(warehouse: &str) -> Result<Self> {
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Self::at(&url),
            _ => Self::directory(&PathBuf::from("spec").join(warehouse).join("files"))
                .map_err(|error| error.remedy(format!("say where they are: {VARIABLE}=/a/directory"))),
        }
    }

    /// A directory, or a URL of one or of a bucket, which is reached as the environment says.
    pub fn at(url: &str) -> Result<Self> {
        Self::with(url, std::env::vars())
    }

    /// The same, in an environment of these variables.
    pub fn with(url: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Self> {
        match url.split_once("://") {
            None => Self::directory(Path::new(url)),
            Some(("file", path)) => Self::directory(Path::new(path)),
            Some(("s3", place)) => {
                let bucket = Bucket::open(place, variables)?;
                Ok(Self { place: Place::Bucket(Arc::new(bucket)), shown: url.to_owned() })
            }
            // Whoever wrote it may have written a password too.
            Some((scheme, _)) => {
                Err(Error::new(format!("`{scheme}://` is no storage that files can be read from"))
                    .remedy(format!("{VARIABLE} is a directory, or s3://bucket/prefix")))
            }
        }
    }

    /// A bucket that files are written to, `s3://bucket/prefix`, reached as the environment says.
    pub fn bucket(url: &str) -> Result<Self> {
        match url.split_once("://") {
            Some(("s3", _)) => Self::at(url),
            scheme => {
                let scheme = scheme.map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
                Err(Error::new(format!("`{scheme}` is no storage that files can be written to"))
                    .remedy("give a directory, or s3://bucket/prefix"))
            }
        }
    }

    /// The files below a directory.
    pub fn directory(directory: &Path) -> Result<Self> {
        let unreached = || format!("cannot reach the files in `{}`", directory.display());
        let store = LocalFileSystem::new_with_prefix(directory).during(unreached)?;
        Ok(Self { place: Place::Directory(Arc::new(store)), shown: directory.display().to_string() })
    }

    /// Whether a file is there whole or not at all: objects are, and nobody is seen writing one.
    pub fn puts_whole(&self) -> bool {
        matches!(self.place, Place::Bucket(_))
    }

    /// The place as it may be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The files that a pattern means, by their paths; and what is said of files that are passed by.
    pub async fn list(&self, pattern: &Pattern) -> Result<(Vec<Listed>, Vec<String>)> {
        let unlisted = || format!("cannot list the files in `{}`", self.shown);
        let folder = Location::parse(pattern.folder()).during(unlisted)?;
        let (mut listed, passed_by) = match &self.place {
            Place::Directory(store) => self.below(store, folder, pattern).await?,
            Place::Bucket(bucket) => {
                let mut listed = Vec::new();
                let unfit = bucket.list(&folder, |meta| listed.extend(Listed::of(pattern, meta))).await;
                let unfit = unfit.map_err(|error| bucket.explain(unlisted(), &error))?;
                (listed, unfit.iter().map(|name| self.passed_by(Some(name))).collect())
            }
        };
        listed.sort_by(|one, other| one.path.cmp(&other.path));
        Ok((listed, passed_by))
    }

    /// What a pattern means below a folder. Whoever may put a file there may call it what no file is called here: it is
    /// told of, and keeps nobody from the others. Within the runtime the listing would end with it, so this has a thread
    /// of its own.
    async fn below(
        &self,
        store: &Arc<LocalFileSystem>,
        folder: Location,
        pattern: &Pattern,
    ) -> Result<(Vec<Listed>, Vec<String>)> {
        let unlisted = || format!("cannot list the files in `{}`", self.shown);
        let (tell, told) = tokio::sync::oneshot::channel();
        let (store, pattern) = (Arc::clone(store), pattern.clone());
        std::thread::spawn(move || {
            let meant = |meta: object_store::Result<ObjectMeta>| {
                ready(meta.map(|meta| Listed::of(&pattern, meta)).transpose())
            };
            let listing = store.list(Some(&folder)).filter_map(meant).collect::<Vec<_>>().now_or_never();
            // Nobody listens any more where the run was ended.
            let _ = tell.send(listing.expect("off the runtime nothing is waited for"));
        });
        let (mut listed, mut passed_by) = (Vec::new(), Vec::new());
        for one in told.await.during(unlisted)? {
            match one {
                Ok(one) => listed.push(one),
                Err(object_store::Error::InvalidPath { source }) => passed_by.push(match &source {
                    object_store::path::Error::BadSegment { path, .. } => self.passed_by(Some(path)),
                    _ => self.passed_by(None),
                }),
                Err(error) => return Err(Error::new(unlisted()).because(error)),
            }
        }
        Ok((listed, passed_by))
    }

    fn passed_by(&self, name: Option<&str>) -> String {
        let named = name.map(|name| format!(" `{}`", name.escape_debug())).unwrap_or_default();
        format!(
            "a file{named} in `{}` is passed by: its name, or that of a folder, is empty, has control characters, or is no UTF-8",
            self.shown
        )
    }

    /// Fetches a file, if it is still the one that was listed when all of it has come; none where somebody is at it,
    /// or has taken it away.
    pub async fn fetch(&self, listed: &Listed) -> Result<Option<Fetched>> {
        let mut kept = Kept::new(listed)?;
        let is_whole = match &self.place {
            Place::Directory(store) => self.fetch_file(store, listed, &mut kept).await?,
            Place::Bucket(bucket) => fetch_object(bucket, listed, &mut kept).await?,
        };
        is_whole.then(|| kept.whole()).transpose()
    }

    /// Puts a file into the bucket under a path: there as a whole or not at all, in place of what was there.
    pub async fn put(&self, path: &str, file: &Path) -> Result<()> {
        let unwritten = || format!("cannot write the file `{path}` to `{}`", self.shown);
        let Place::Bucket(bucket) = &self.place else { return Err(Error::new(unwritten())) };
        let location = Location::parse(path).during(unwritten)?;
        // No longer than a page of rows.
        let content = std::fs::read(file).during(unwritten)?;
        let put = bucket.store.put(&location, PutPayload::from(content)).await;
        put.map(drop).map_err(|error| bucket.explain_put(unwritten(), &error))
    }

    async fn fetch_file(&self, store: &LocalFileSystem, listed: &Listed, kept: &mut Kept) -> Result<bool> {
        let unread = || format!("cannot read the file `{}` in `{}`", listed.path, self.shown);
        let got = match store.get(&listed.location).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            got => got.during(unread)?,
        };
        let mut parts = got.into_stream();
        while let Some(part) = parts.try_next().await.during(unread)? {
            kept.add(&part)?;
        }
        let now = match store.head(&listed.location).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            now => now.during(unread)?,
        };
        Ok((now.size, now.last_modified) == (listed.size, listed.modified) && kept.size == listed.size)
    }
}

/// Part by part, each of the version that was listed: what another version has comes under another tag.
async fn fetch_object(bucket: &Bucket, listed: &Listed, kept: &mut Kept) -> Result<bool> {
    for at in (0..listed.size).step_by(usize::try_from(PART).unwrap_or(usize::MAX)) {
        let Some(part) = bucket.part(listed, at).await? else { return Ok(false) };
        kept.add(&part)?;
    }
    Ok(true)
}

/// What has come of a file.
struct Kept {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Kept {
    fn new(listed: &Listed) -> Result<Self> {
        let file = tempfile::tempfile().during(|| "cannot make a file to read into".to_owned())?;
        Ok(Self { file, hash: listed.hash(), size: 0 })
    }

    fn add(&mut self, part: &[u8]) -> Result<()> {
        self.hash.update(part);
        self.size += part.len() as u64;
        self.file.write_all(part).during(|| "cannot keep a file while it is read".to_owned())
    }

    fn whole(mut self) -> Result<Fetched> {
        self.file.seek(SeekFrom::Start(0)).during(|| "cannot read what was kept of a file".to_owned())?;
        Ok(Fetched { file: self.file, content: self.hash.finalize().to_vec(), size: self.size })
    }
}

impl Listed {
    /// A file of a storage, if the pattern means it.
    fn of(pattern: &Pattern, meta: ObjectMeta) -> Option<Self> {
        let ObjectMeta { location, last_modified, size, e_tag, .. } = meta;
        let path = location.as_ref().to_owned();
        let fields = pattern.fields(&path)?;
        Some(Self { path, fields, size, modified: last_modified, etag: e_tag, location })
    }

    /// Whether it is listed as another time.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.size, self.modified, &self.etag) == (other.size, other.modified, &other.etag)
    }

    /// The beginning of its checksum: the fields that its path tells, for they are part of its rows.
    pub fn hash(&self) -> Sha256 {
        let mut hash = Sha256::new();
        for part in self.fields.iter().flat_map(|(field, value)| [field, value]) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash
    }
}
