//! Entity tags: an answer that the client has already is not sent to it once more.
//!
//! The tag is made of the answer itself, so it changes with everything that is shown, a duration that grows included. It
//! is a weak one: the same answer may come compressed.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jobmanager_core::digest::Digest;

/// Puts a tag to every view in JSON, and answers 304 to whoever names it.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    if !is_get || response.status() != StatusCode::OK || !is_json(response.headers()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        // Views are made in memory; there is nothing on the way to them that could fail.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = format!("W/\"{:016x}\"", Digest::of(&bytes[..]));
    let is_known = known.is_some_and(|known| names(&known, &tag));
    let tag = HeaderValue::try_from(tag).expect("hex digits in quotes");
    head.headers.insert(ETAG, tag);
    // A browser asks each time whether what it keeps is still so.
    let no_cache = HeaderValue::from_static("no-cache");
    head.headers.insert(CACHE_CONTROL, no_cache);
    if !is_known {
        return Response::from_parts(head, Body::from(bytes));
    }
    head.status = StatusCode::NOT_MODIFIED;
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(CONTENT_TYPE);
    Response::from_parts(head, Body::empty())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

/// Whether an `If-None-Match` names this tag, weak or not.
pub(super) fn names(known: &HeaderValue, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let known = known.to_str().unwrap_or_default();
    known.trim() == "*" || known.split(',').any(|one| bare(one) == bare(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_in_every_form() {
        let tag = "W/\"0a\"";
        let named = |known: &'static str| names(&HeaderValue::from_static(known), tag);
        assert!(named("W/\"0a\"") && named("\"0a\"") && named("*"));
        assert!(named("\"1\", W/\"0a\" ,\"2\""));
        assert!(!named("\"0b\"") && !named(""));
    }
}
