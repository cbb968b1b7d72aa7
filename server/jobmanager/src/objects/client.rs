//! What the clients of all kinds of object storage have in common.

use super::words;
use object_store::{ClientOptions, Error, RetryConfig};
use std::time::Duration;

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The library's own limit, which is not to come before ours.
const LIBRARY_TIMEOUT: Duration = Duration::from_secs(3600);

/// What an option that is missing or wrong means.
pub(super) fn missing(error: &Error, variables: &str) -> String {
    format!(
        "{}; see the environment variables {variables}",
        words(error)
    )
}

/// An option with its key in the library's words; nothing for an option of something else.
pub(super) fn keyed<K: std::str::FromStr>((key, value): &(String, String)) -> Option<(K, String)> {
    Some((key.parse().ok()?, value.clone()))
}

pub(super) fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(LIBRARY_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
}

/// A write that was made twice would find its own condition broken.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}
