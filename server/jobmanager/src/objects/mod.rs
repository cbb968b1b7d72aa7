//! Object storage, S3, Azure Blob Storage and Google Cloud Storage, for everything that is kept there; and files, which
//! may as well be in a folder.
//!
//! Invariant: no request to an object storage is waited for without end, and none is made twice that must not be.

mod bucket;
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
mod client;
mod files;

pub use bucket::Bucket;
pub(crate) use files::{Files, Found, Place};
pub(crate) use taskmanager::objects::words;

use std::time::Duration;
use taskmanager::objects::limit;
use tokio::time::timeout;

/// How long a request may take, besides what its bytes take. A write that has no answer by then may still be
/// carried out.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How the URLs of object storages begin.
const BUCKETS: [&str; 8] = ["s3", "s3a", "az", "adl", "azure", "abfs", "abfss", "gs"];

/// Whether a URL is of a kind that an object storage has.
pub(crate) fn is_bucket(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| BUCKETS.contains(&scheme))
}

/// What a user took for a URL, without what may be a credential in it, and without what could change a terminal.
pub(crate) fn shown(url: &str) -> String {
    let url = match url.split_once("://") {
        Some((scheme, rest)) if scheme != "file" => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = match host.rsplit_once('@') {
                Some((user, host)) if user.contains(':') => host,
                Some(_) | None => host,
            };
            format!("{scheme}://{host}{path}")
        }
        Some(_) | None => url.to_owned(),
    };
    url.escape_debug().to_string()
}

/// Waits for the answer to a request that sends or gets so many bytes.
///
/// # Errors
/// It did not come in time: the words for people.
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
pub(crate) async fn in_time<T>(size: u64, request: impl Future<Output = T>) -> Result<T, String> {
    within(REQUEST_TIMEOUT, size, request).await
}

/// The same with another time for what is not the bytes'.
async fn within<T>(
    patience: Duration,
    size: u64,
    request: impl Future<Output = T>,
) -> Result<T, String> {
    let limit = limit(patience, size);
    let answer = timeout(limit, request).await;
    answer.map_err(|_| format!("no answer within {} s", limit.as_secs_f32()))
}

#[cfg(test)]
pub(crate) mod tests;
