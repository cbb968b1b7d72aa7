//! Reading the body of a request: bounded in size, in time, and in how many are read at once.
//!
//! Invariant: a client that sends nothing holds up only itself, and that not for long.

use super::error::Failure;
use axum::body::Body;
use futures::StreamExt;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The largest body that is read. Bytes. A JobGraph is smaller by far, and is checked on its own.
const MAX_BODY: usize = 16 << 20;
/// How much more of an oversized body is read and thrown away, so that its sender gets to read the
/// answer. Bytes.
const MAX_DRAIN: usize = 64 << 20;
/// How long a body may take. The largest one needs 1.6 MB/s; usual ones are a few kB.
const READ_TIME: Duration = Duration::from_secs(10);
/// How many bodies are read at a time: at most half a GB of them is in memory.
const MAX_READS: usize = 32;
static READS: Semaphore = Semaphore::const_new(MAX_READS);

/// The whole body.
///
/// # Errors
/// It is too large, it does not come in time, its connection breaks, or too many others are being read.
pub(super) async fn read(body: Body) -> Result<Vec<u8>, Failure> {
    read_within(READ_TIME, &READS, body).await
}

/// What the body says in JSON.
///
/// # Errors
/// As [`read`], or it says something else.
pub(super) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, Failure> {
    parse(&read(body).await?)
}

/// The same of a body that may be left out.
///
/// # Errors
/// As [`read_json`].
pub(super) async fn read_json_if_any<T: Default + DeserializeOwned>(
    body: Body,
) -> Result<T, Failure> {
    let bytes = read(body).await?;
    match bytes.trim_ascii().is_empty() {
        true => Ok(T::default()),
        false => parse(&bytes),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let parsed = serde_json::from_slice(bytes);
    let wrong = |problem| Failure::bad_request(format!("the body is not as expected: {problem}"));
    parsed.map(|Object(it)| it).map_err(wrong)
}

/// What is an object in JSON. Otherwise serde takes a list of the values of its fields as well, which nobody means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields: Map<String, Value> = Deserialize::deserialize(deserializer)?;
        let read = T::deserialize(Value::Object(fields));
        read.map(Object).map_err(D::Error::custom)
    }
}

async fn read_within(time: Duration, reads: &Semaphore, body: Body) -> Result<Vec<u8>, Failure> {
    // Whoever reads now is done within the same time, so a wait this long is not in vain.
    let Ok(Ok(_permit)) = tokio::time::timeout(time, reads.acquire()).await else {
        let words = "too many requests are being read; try again later".to_owned();
        return Err(Failure::unavailable(words));
    };
    let too_slow = |_| {
        let words = format!("the body did not come within {time:?}; send the request again");
        Err(Failure::too_slow(words))
    };
    let read = tokio::time::timeout(time, read_all(body)).await;
    read.unwrap_or_else(too_slow)
}

async fn read_all(body: Body) -> Result<Vec<u8>, Failure> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut length = 0usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|error| Failure::bad_request(format!("the body cannot be read: {error}")))?;
        length += chunk.len();
        if length > MAX_DRAIN {
            break;
        }
        if length <= MAX_BODY {
            bytes.extend_from_slice(&chunk);
        } else {
            bytes = Vec::new();
        }
    }
    if length > MAX_BODY {
        let words = format!("the body is larger than {MAX_BODY} bytes");
        return Err(Failure::too_large(words));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use std::convert::Infallible;

    fn stalled() -> Body {
        Body::from_stream(futures::stream::pending::<Result<Bytes, Infallible>>())
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let reads = Semaphore::new(1);
        for _ in 0..2 {
            let refused = read_within(Duration::ZERO, &reads, stalled()).await;
            let status = refused.unwrap_err().into_response().status();
            assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        }
        let read = read_within(Duration::MAX, &reads, Body::from("x")).await;
        assert_eq!(read.unwrap(), b"x");
    }

    #[tokio::test]
    async fn what_is_to_be_an_object_is_no_list() {
        #[derive(Debug, Default, PartialEq, Deserialize)]
        struct Wanted {
            a: Option<Object<Inner>>,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Inner {
            b: u32,
        }
        impl PartialEq for Object<Inner> {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }
        let said = |text: &'static str| read_json_if_any::<Wanted>(Body::from(text));
        let a = Some(Object(Inner { b: 7 }));
        assert_eq!(
            said(r#"{"a": {"b": 7}, "c": []}"#).await.unwrap(),
            Wanted { a }
        );
        assert_eq!(said(" ").await.unwrap(), Wanted::default());
        assert!(read_json::<Wanted>(Body::from(" ")).await.is_err());
        for wrong in ["[]", "[null]", "[{\"b\": 7}]", r#"{"a": [7]}"#, "null", "{"] {
            let status = said(wrong).await.unwrap_err().into_response().status();
            assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }

    #[tokio::test]
    async fn bodies_beyond_the_bound_are_refused_when_nobody_is_done_in_time() {
        let reads = Semaphore::new(0);
        let refused = read_within(Duration::ZERO, &reads, Body::from("x")).await;
        let status = refused.unwrap_err().into_response().status();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
