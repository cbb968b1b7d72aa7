//! Where in an object storage a store is, and the few requests that it makes there. Each has an end, and none is
//! made twice in here: whoever needs an answer decides when to ask once more.

use crate::election::ClusterId;
use futures::TryStreamExt;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, RetryConfig,
    UpdateVersion,
};
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a request may take, besides what its bytes take. A write that has no answer by then may still be
/// carried out.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How fast a connection is at least. Bytes per second.
const SLOWEST: u64 = 1 << 20;
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The library's own limit, which is not to come before ours.
const LIBRARY_TIMEOUT: Duration = Duration::from_secs(3600);

const S3_VARIABLES: &str = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, for another server than \
     Amazon's AWS_ENDPOINT_URL, and if that is without TLS AWS_ALLOW_HTTP";
const AZURE_VARIABLES: &str = "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY";
const GCS_VARIABLES: &str = "GOOGLE_SERVICE_ACCOUNT";

/// A bucket of S3 or Google Cloud Storage, or a container of Azure, with the path that everything is under.
#[derive(Clone)]
pub struct Bucket {
    url: String,
    objects: Arc<dyn ObjectStore>,
    root: Path,
    variables: &'static str,
}

impl Bucket {
    /// The bucket behind a URL such as `s3://bucket/prefix`. Nobody is asked yet.
    ///
    /// The options are those that the TaskManager's storage takes from the environment, such as
    /// `aws_access_key_id`: see [`taskmanager::object_storage_options`].
    ///
    /// # Errors
    /// It is none, or of a kind that is not built in, or an option is missing: the words for people.
    pub fn open(
        url: &str,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Bucket, String> {
        let no_url = || "not a URL such as s3://BUCKET/PREFIX".to_owned();
        let parsed = url.parse().map_err(|_| no_url())?;
        let (scheme, root) = ObjectStoreScheme::parse(&parsed).map_err(|_| no_url())?;
        if parsed.password().is_some() || parsed.query().is_some() || parsed.fragment().is_some() {
            let words = "a URL names a bucket and a prefix, and nothing else; credentials come from the environment";
            return Err(words.to_owned());
        }
        let options: Vec<(String, String)> = options.into_iter().collect();
        let (objects, variables) = match scheme {
            ObjectStoreScheme::AmazonS3 => (s3(url, &options), S3_VARIABLES),
            ObjectStoreScheme::MicrosoftAzure => (azure(url, &options), AZURE_VARIABLES),
            ObjectStoreScheme::GoogleCloudStorage => (gcs(url, &options), GCS_VARIABLES),
            // Further kinds may be added by the library.
            ObjectStoreScheme::Local | ObjectStoreScheme::Memory | ObjectStoreScheme::Http | _ => {
                return Err(no_url());
            }
        };
        Ok(Bucket {
            url: url.trim_end_matches('/').to_owned(),
            objects: objects?,
            root,
            variables,
        })
    }

    /// The environment variables that are likely to be missing if nothing can be written.
    pub(super) fn variables(&self) -> &'static str {
        self.variables
    }

    /// The part of the bucket that belongs to a cluster.
    pub(super) fn of(&self, cluster: &ClusterId) -> Prefix {
        Prefix::new(
            self.to_string(),
            Arc::clone(&self.objects),
            self.root.clone().join(cluster.in_paths()),
        )
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Without what the library holds, which has credentials in it.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.url).finish()
    }
}

#[cfg(feature = "s3")]
fn s3(url: &str, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
    let builder = AmazonS3Builder::new()
        .with_client_options(client_options())
        .with_retry(no_retries());
    let known = options.iter().filter_map(keyed);
    let builder = known.fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    let built = builder
        .with_url(url)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build();
    Ok(Arc::new(
        built.map_err(|error| missing(&error, S3_VARIABLES))?,
    ))
}

#[cfg(not(feature = "s3"))]
fn s3(_: &str, _: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    Err(not_built("S3", "s3"))
}

#[cfg(feature = "azure")]
fn azure(url: &str, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    let builder = object_store::azure::MicrosoftAzureBuilder::new()
        .with_client_options(client_options())
        .with_retry(no_retries());
    let known = options.iter().filter_map(keyed);
    let builder = known.fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    let built = builder.with_url(url).build();
    Ok(Arc::new(
        built.map_err(|error| missing(&error, AZURE_VARIABLES))?,
    ))
}

#[cfg(not(feature = "azure"))]
fn azure(_: &str, _: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    Err(not_built("Azure", "azure"))
}

#[cfg(feature = "gcs")]
fn gcs(url: &str, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    let builder = object_store::gcp::GoogleCloudStorageBuilder::new()
        .with_client_options(client_options())
        .with_retry(no_retries());
    let known = options.iter().filter_map(keyed);
    let builder = known.fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    let built = builder.with_url(url).build();
    Ok(Arc::new(
        built.map_err(|error| missing(&error, GCS_VARIABLES))?,
    ))
}

#[cfg(not(feature = "gcs"))]
fn gcs(_: &str, _: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    Err(not_built("Google Cloud Storage", "gcs"))
}

#[cfg(not(all(feature = "s3", feature = "azure", feature = "gcs")))]
fn not_built(kind: &str, feature: &str) -> String {
    format!("this JobManager was built without {kind}; build it with `--features {feature}`")
}

/// What an option that is missing or wrong means.
fn missing(error: &Error, variables: &str) -> String {
    format!(
        "{}; see the environment variables {variables}",
        words(error)
    )
}

/// An option with its key in the library's words; nothing for an option of something else.
fn keyed<K: std::str::FromStr>((key, value): &(String, String)) -> Option<(K, String)> {
    Some((key.parse().ok()?, value.clone()))
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(LIBRARY_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
}

/// A write that was made twice would find its own condition broken.
fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// A part of a bucket: objects by their names in it.
#[derive(Clone)]
pub(super) struct Prefix {
    shown: String,
    objects: Arc<dyn ObjectStore>,
    root: Path,
}

/// What an object has to be for a write to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expected {
    /// It is not there.
    Absent,
    /// It is still as it was.
    Version(UpdateVersion),
    /// Whatever there is: nobody else writes it.
    Anything,
}

/// Why a write was not made, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PutFailure {
    /// The object is not what was expected, or somebody else is writing it.
    Refused,
    /// There are no such conditions here.
    Unsupported(String),
    /// It was not made, and will not be.
    NotDone(String),
    /// It may have been made, or may be yet.
    Unknown(String),
}

impl PutFailure {
    /// What an answer of this kind means.
    fn of(error: &Error) -> PutFailure {
        let words = words(error);
        if matches!(
            error,
            Error::AlreadyExists { .. } | Error::Precondition { .. }
        ) {
            return PutFailure::Refused;
        }
        if matches!(
            error,
            Error::NotImplemented { .. } | Error::NotSupported { .. }
        ) {
            return PutFailure::Unsupported(words);
        }
        let is_definite = matches!(
            error,
            Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
        );
        match is_definite || was_not_sent(error) {
            true => PutFailure::NotDone(words),
            false => PutFailure::Unknown(words),
        }
    }

    /// The words for people.
    pub(super) fn words(self) -> String {
        match self {
            PutFailure::Refused => "somebody else writes there".to_owned(),
            PutFailure::Unsupported(words)
            | PutFailure::NotDone(words)
            | PutFailure::Unknown(words) => words,
        }
    }
}

/// Whether the server cannot have seen it, because there was no connection.
fn was_not_sent(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return error.kind() == HttpErrorKind::Connect;
        }
        cause = error.source();
    }
    false
}

impl Prefix {
    /// The objects below this path, which errors show as this.
    pub(super) fn new(shown: String, objects: Arc<dyn ObjectStore>, root: Path) -> Prefix {
        Prefix {
            shown,
            objects,
            root,
        }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/')
            .fold(self.root.clone(), |path, part| path.join(part))
    }

    /// An object, and what it takes to write it next; nothing if it is not there.
    ///
    /// # Errors
    /// There is no answer: the words for people.
    pub(super) async fn get(&self, name: &str) -> Result<Option<(Vec<u8>, UpdateVersion)>, String> {
        let path = self.path(name);
        let found = match in_time(0, self.objects.get(&path)).await? {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(words(&error)),
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let bytes = in_time(found.meta.size, found.bytes()).await?;
        let bytes = bytes.map_err(|error| words(&error))?;
        Ok(Some((bytes.into(), version)))
    }

    /// Writes an object whole, and returns what it takes to write it next.
    ///
    /// # Errors
    /// It was not written, or may not have been.
    pub(super) async fn put(
        &self,
        name: &str,
        expected: Expected,
        bytes: Vec<u8>,
    ) -> Result<UpdateVersion, PutFailure> {
        let size = bytes.len() as u64;
        let mode = match expected {
            Expected::Absent => PutMode::Create,
            Expected::Version(version) => PutMode::Update(version),
            Expected::Anything => PutMode::Overwrite,
        };
        let path = self.path(name);
        let write = self.objects.put_opts(&path, bytes.into(), mode.into());
        match in_time(size, write).await {
            Ok(Ok(put)) => Ok(put.into()),
            Ok(Err(error)) => Err(PutFailure::of(&error)),
            Err(words) => Err(PutFailure::Unknown(words)),
        }
    }

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// The words for people.
    pub(super) async fn delete(&self, name: &str) -> Result<(), String> {
        match in_time(0, self.objects.delete(&self.path(name))).await? {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(words(&error)),
        }
    }

    /// The names of the objects in a folder of the prefix, without that of the folder.
    ///
    /// # Errors
    /// The words for people.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let folder = self.path(folder);
        let found = self.objects.list(Some(&folder));
        let names = found.map_ok(|object| object.location.filename().map(str::to_owned));
        // Names come by the thousand, and there are a few dozen.
        let names = in_time(0, names.try_collect::<Vec<_>>()).await?;
        let names = names.map_err(|error| words(&error))?;
        Ok(names.into_iter().flatten().collect())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Without what the library holds, which has credentials in it.
impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prefix").field(&self.shown).finish()
    }
}

async fn in_time<T>(size: u64, request: impl Future<Output = T>) -> Result<T, String> {
    let limit = REQUEST_TIMEOUT + Duration::from_secs(size / SLOWEST);
    let answer = timeout(limit, request).await;
    answer.map_err(|_| format!("no answer within {} s", limit.as_secs()))
}

/// What an error says, in a line; of an answer in XML only its message.
fn words(error: &Error) -> String {
    let words = taskmanager::words(error);
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    let Some((before, answer)) = words.split_once("<?xml") else {
        return words;
    };
    let message = answer.split_once("<Message>").map(|(_, message)| message);
    let message = message.and_then(|message| message.split_once("</Message>"));
    message.map_or_else(
        || words.clone(),
        |(message, _)| format!("{before}{message}"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open(url: &str) -> Result<Bucket, String> {
        let options = [
            ("aws_access_key_id", "somebody"),
            ("aws_secret_access_key", "secret"),
            ("azure_storage_account_name", "somebody"),
            ("azure_storage_account_key", "c2VjcmV0"),
            ("nobody_knows_this", "secret"),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Bucket::open(url, options)
    }

    #[test]
    fn a_bucket_is_shown_by_its_url_without_credentials() {
        for (url, is_built) in [
            ("s3://bucket/a/b/", cfg!(feature = "s3")),
            ("s3a://bucket", cfg!(feature = "s3")),
            ("azure://container/a", cfg!(feature = "azure")),
            ("gs://bucket/a", cfg!(feature = "gcs")),
        ] {
            let bucket = match open(url) {
                Ok(bucket) => bucket,
                Err(words) => {
                    assert!(!is_built && words.contains("was built without"), "{words}");
                    continue;
                }
            };
            assert!(is_built, "{url}");
            assert_eq!(bucket.to_string(), url.trim_end_matches('/'));
            let prefix = bucket.of(&ClusterId::new("/default").unwrap());
            let shown = format!("{bucket:?} {prefix:?}");
            assert!(!shown.contains("c2VjcmV0") && !shown.contains("secret"));
        }
    }

    #[test]
    fn what_is_no_bucket_is_refused() {
        for (url, words) in [
            ("s3://", "not a URL such as"),
            ("s3:bucket", "not a URL such as"),
            ("file:///folder", "not a URL such as"),
            ("https://example.org/bucket", "not a URL such as"),
            ("s3://bucket/a?versionId=1", "and nothing else"),
            ("s3://key:secret@bucket/a", "come from the environment"),
        ] {
            let problem = open(url).unwrap_err();
            assert!(problem.contains(words), "{url}: {problem}");
        }
    }
}
