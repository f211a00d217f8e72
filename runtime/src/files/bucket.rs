//! S3-compatible storage: a bucket that `FILES_URL` names, `s3://bucket/prefix`, reached as the usual environment variables
//! say. Says what is wrong with it in words of its own, for what its server says may hold keys. Knows no format.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::HttpError;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::{self, Path as Location};
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, ObjectMeta, ObjectStore, RetryConfig};

use super::http::Connector;
use super::storage::{Listed, VARIABLE};
use crate::error::{Error, Result, Unanswered};

/// So much of an object is asked for at once.
pub(super) const PART: u64 = 8 << 20;

/// So many objects are told of at once, as the storages have it.
const PAGE: usize = 1_000;

/// Variables that name credentials; one of them has to be there.
const CREDENTIALS: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
];

/// What a server says of keys that it does not know, and of those that may not.
const CLOSED: [&str; 7] = [
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// What a server says that has no time.
const BUSY: [&str; 3] = ["InternalError", "ServiceUnavailable", "SlowDown"];

/// A bucket, as it is reached.
pub(super) struct Bucket {
    pub store: Arc<dyn ObjectStore>,
    /// The same without the prefix.
    whole: AmazonS3,
    prefix: Location,
    name: String,
    /// Whether another server than Amazon's has been named.
    is_elsewhere: bool,
}

impl Bucket {
    /// The bucket and prefix that a URL names behind its scheme, with the variables of an environment.
    pub fn open(place: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        // Whoever writes a key here has it in every message otherwise.
        if name.is_empty() || name.contains(['@', ':', '?', '#']) {
            return Err(Error::new("the URL of the files names no bucket")
                .remedy(format!("write {VARIABLE}=s3://bucket/prefix, and keys into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")));
        }
        let unreached = format!("cannot reach the files in the bucket `{name}`");
        let prefix = Location::parse(prefix).map_err(|error| Error::new(unreached.clone()).because(error))?;
        let mut builder = AmazonS3Builder::new().with_bucket_name(name).with_retry(RetryConfig {
            max_retries: 3,
            retry_timeout: Duration::from_secs(60),
            ..RetryConfig::default()
        });
        let (mut authorities, mut is_known, mut is_elsewhere) = (None, false, false);
        for (variable, value) in variables.filter(|(_, value)| !value.is_empty()) {
            is_known |= CREDENTIALS.contains(&variable.as_str());
            is_elsewhere |= variable.starts_with("AWS_ENDPOINT");
            if variable == "AWS_CA_BUNDLE" {
                authorities = Some(value);
            } else if variable.starts_with("AWS_")
                && let Ok(key) = variable.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
            {
                builder = builder.with_config(key, value);
            }
        }
        if !is_known {
            return Err(Error::new(unreached)
                .because("the environment names no key")
                .remedy("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_REGION, or AWS_ENDPOINT_URL for a server that is not Amazon's"));
        }
        let connector = Connector::new(authorities.as_deref().map(Path::new))?;
        let store =
            builder.with_bucket_name(name).with_http_connector(connector).build().map_err(|error| {
                Error::new(unreached).because(said(&error)).remedy("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY both, and look at the other variables AWS_*")
            })?;
        Ok(Self {
            store: Arc::new(PrefixStore::new(store.clone(), prefix.clone())),
            whole: store,
            prefix,
            name: name.to_owned(),
            is_elsewhere,
        })
    }

    /// Tells of each object below a folder; gives the names of those that no file is called like here. For a page with
    /// such a name there comes an error, and none of the page's objects: those before it are asked for in smaller pages,
    /// down to the one object that has the name, and then those behind it.
    pub async fn list(
        &self,
        folder: &Location,
        mut each: impl FnMut(ObjectMeta) + Send,
    ) -> object_store::Result<Vec<String>> {
        let below: Location = self.prefix.parts().chain(folder.parts()).collect();
        let below = Some(below).filter(|below| !below.as_ref().is_empty()).map(|below| format!("{below}/"));
        let (mut unfit, mut met): (Vec<String>, Option<String>) = (Vec::new(), None);
        let (mut from, mut most) = (PaginatedListOptions::default(), PAGE);
        loop {
            let page = PaginatedListOptions { max_keys: Some(most), ..from.clone() };
            let error = match self.whole.list_paginated(below.as_deref(), page).await {
                Ok(page) => {
                    for mut meta in page.result.objects {
                        // Somebody has taken it away meanwhile.
                        if met.as_deref().is_some_and(|met| met < meta.location.as_ref()) {
                            (met, most) = (None, PAGE);
                        }
                        let within: Option<Location> =
                            meta.location.prefix_match(&self.prefix).map(Iterator::collect);
                        meta.location = within.unwrap_or(meta.location);
                        each(meta);
                    }
                    let Some(token) = page.page_token else {
                        let prefix = format!("{}/", self.prefix);
                        let named = |key: &String| key.strip_prefix(&prefix).unwrap_or(key).to_owned();
                        return Ok(unfit.iter().map(named).collect());
                    };
                    from = PaginatedListOptions { page_token: Some(token), ..Default::default() };
                    continue;
                }
                Err(error) => error,
            };
            let Some(key) = unfit_key(&error).filter(|key| unfit.last().is_none_or(|last| last != key))
            else {
                return Err(error);
            };
            if most > 1 {
                (met, most) = (Some(key.to_owned()), most / 2);
                continue;
            }
            unfit.push(key.to_owned());
            (met, most) = (None, PAGE);
            from = PaginatedListOptions { offset: Some(key.to_owned()), ..Default::default() };
        }
    }

    /// A part of an object, as it was listed; none where it is another one by now, or gone.
    pub async fn part(&self, listed: &Listed, at: u64) -> Result<Option<Vec<u8>>> {
        let to = listed.size.min(at + PART);
        let options = GetOptions {
            range: Some((at..to).into()),
            if_match: listed.etag.clone(),
            ..GetOptions::default()
        };
        let failed = |error: object_store::Error| {
            self.explain(format!("cannot read the file `{}` in `s3://{}`", listed.path, self.name), &error)
        };
        let got = match self.store.get_opts(&listed.location, options).await {
            Err(object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }) => {
                return Ok(None);
            }
            got => got.map_err(failed)?,
        };
        if (got.meta.size, &got.meta.e_tag) != (listed.size, &listed.etag) {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(to - at).unwrap_or(0));
        let mut stream = got.into_stream();
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part.map_err(failed)?);
        }
        Ok((bytes.len() as u64 == to - at).then_some(bytes))
    }

    /// What could not be read, because of what, and the way out.
    pub fn explain(&self, what: String, error: &object_store::Error) -> Error {
        self.explained(what, "list and read the bucket", error)
    }

    /// The same of what could not be written.
    pub fn explain_put(&self, what: String, error: &object_store::Error) -> Error {
        self.explained(what, "write to the bucket", error)
    }

    fn explained(&self, what: String, may: &str, error: &object_store::Error) -> Error {
        let name = &self.name;
        let code = code(error);
        let says = code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
        let (because, remedy) = match (code.as_deref(), error) {
            (Some("NoSuchBucket"), _) | (None, object_store::Error::NotFound { .. }) => (
                format!("there is no bucket `{name}`"),
                format!("make it, or name another: {VARIABLE}=s3://bucket/prefix"),
            ),
            (Some(code), _) if CLOSED.contains(&code) => (
                format!("the bucket `{name}` is closed to this key{says}"),
                format!(
                    "look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and whether the key may \
                     {may}"
                ),
            ),
            (Some(code), _) if BUSY.contains(&code) => {
                return Error::new(what)
                    .because(Unanswered(format!("its server does not answer{says}")))
                    .remedy("try again later");
            }
            (None, error) if is_of_network(error) => {
                let remedy = match self.is_elsewhere {
                    true => "is AWS_ENDPOINT_URL right, and its server up?",
                    false => "is the network there, and AWS_REGION right?",
                };
                return Error::new(what).because(Unanswered(said(error))).remedy(remedy);
            }
            (_, error) => (
                format!("{}{says}", said(error)),
                "look at AWS_REGION, and at AWS_ENDPOINT_URL where it is not Amazon's".to_owned(),
            ),
        };
        Error::new(what).because(because).remedy(remedy)
    }
}

/// The key that is no path of a file here.
fn unfit_key(error: &object_store::Error) -> Option<&str> {
    match error {
        object_store::Error::InvalidPath {
            source: path::Error::BadSegment { path, .. } | path::Error::EmptySegment { path },
        } => Some(path),
        _ => None,
    }
}

/// The last of an error's causes, which holds neither an address nor what the server said.
fn said(error: &object_store::Error) -> String {
    if let Some(network) = chain(error).find_map(|cause| cause.downcast_ref::<HttpError>()) {
        let last = std::error::Error::source(network).map(ToString::to_string);
        return format!("its server does not answer: {}", last.unwrap_or_else(|| network.to_string()));
    }
    if code(error).is_some() {
        return "its server refuses".to_owned();
    }
    let last = chain(error).last().map(ToString::to_string).unwrap_or_default();
    last.lines().next().unwrap_or_default().to_owned()
}

fn is_of_network(error: &object_store::Error) -> bool {
    chain(error).any(|cause| cause.is::<HttpError>())
}

/// An error and its causes.
fn chain<'e>(error: &'e object_store::Error) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source())
}

/// The server's word for what is wrong: `<Code>NoSuchBucket</Code>`.
fn code(error: &object_store::Error) -> Option<String> {
    chain(error).find_map(|cause| {
        let text = cause.to_string();
        let (_, rest) = text.split_once("<Code>")?;
        let (code, _) = rest.split_once("</Code>")?;
        code.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| code.to_owned())
    })
}
