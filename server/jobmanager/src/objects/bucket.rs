//! The URLs of object storages: the only place that opens them.

#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
use super::client::{client_options, keyed, missing, retries};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme};
use std::fmt;
use std::sync::Arc;

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
    /// `aws_access_key_id`: see [`taskmanager::objects::options`].
    ///
    /// # Errors
    /// It is none, or of a kind that is not built in, or an option is missing: the words for people.
    pub fn open(
        url: &str,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Bucket, String> {
        Bucket::repeating(Repeats::Never, url, options)
    }

    /// The same for files, whose requests may be made twice. One that the server has no time for is repeated.
    ///
    /// # Errors
    /// As for [`Bucket::open`].
    pub(crate) fn open_for_files(
        url: &str,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Bucket, String> {
        Bucket::repeating(Repeats::Seldom, url, options)
    }

    fn repeating(
        repeats: Repeats,
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
            ObjectStoreScheme::AmazonS3 => (s3(url, &options, repeats), S3_VARIABLES),
            ObjectStoreScheme::MicrosoftAzure => (azure(url, &options, repeats), AZURE_VARIABLES),
            ObjectStoreScheme::GoogleCloudStorage => (gcs(url, &options, repeats), GCS_VARIABLES),
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
    pub(crate) fn variables(&self) -> &'static str {
        self.variables
    }

    /// Its objects; the requests have no end of their own.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects)
    }

    /// The path that everything is under.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// Whether requests that fail are made again in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// A write that was made twice would find its own condition broken.
    Never,
    /// Until the time of the request is over.
    Seldom,
}

type Opened = Result<Arc<dyn ObjectStore>, String>;

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
fn s3(url: &str, options: &[(String, String)], repeats: Repeats) -> Opened {
    use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
    let builder = AmazonS3Builder::new()
        .with_client_options(client_options())
        .with_retry(retries(repeats));
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
fn s3(_: &str, _: &[(String, String)], _: Repeats) -> Opened {
    Err(not_built("S3", "s3"))
}

#[cfg(feature = "azure")]
fn azure(url: &str, options: &[(String, String)], repeats: Repeats) -> Opened {
    let builder = object_store::azure::MicrosoftAzureBuilder::new()
        .with_client_options(client_options())
        .with_retry(retries(repeats));
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
fn azure(_: &str, _: &[(String, String)], _: Repeats) -> Opened {
    Err(not_built("Azure", "azure"))
}

#[cfg(feature = "gcs")]
fn gcs(url: &str, options: &[(String, String)], repeats: Repeats) -> Opened {
    let builder = object_store::gcp::GoogleCloudStorageBuilder::new()
        .with_client_options(client_options())
        .with_retry(retries(repeats));
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
fn gcs(_: &str, _: &[(String, String)], _: Repeats) -> Opened {
    Err(not_built("Google Cloud Storage", "gcs"))
}

#[cfg(not(all(feature = "s3", feature = "azure", feature = "gcs")))]
fn not_built(kind: &str, feature: &str) -> String {
    format!("this JobManager was built without {kind}; build it with `--features {feature}`")
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
            let shown = format!("{bucket:?}");
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
