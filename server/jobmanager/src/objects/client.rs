//! What the clients of all kinds of object storage have in common.

use super::bucket::Repeats;
use super::{REQUEST_TIMEOUT, words};
use object_store::{ClientOptions, Error, RetryConfig};
use std::time::Duration;

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The library's own limit, which is not to come before ours.
const LIBRARY_TIMEOUT: Duration = Duration::from_secs(3600);
/// How often a request is made again. The pauses grow from a tenth of a second.
const MAX_REPEATS: usize = 4;

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

pub(super) fn retries(repeats: Repeats) -> RetryConfig {
    let max_retries = match repeats {
        Repeats::Never => 0,
        Repeats::Seldom => MAX_REPEATS,
    };
    RetryConfig {
        max_retries,
        retry_timeout: REQUEST_TIMEOUT,
        ..RetryConfig::default()
    }
}
