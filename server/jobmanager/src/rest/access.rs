//! Who may ask for what: every route has a role, and whoever asks has to have it.
//!
//! Invariant: nothing is read of the body of a request, and nothing done, before its sender was let in.

use super::error::Failure;
use crate::security::audit::Entry;
use crate::security::{Denied, Elsewhere, Guard, Role};
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use jobmanager_core::id::JobId;
use std::time::Duration;
use taskmanager::tls::Peer;

/// What browsers say of the page that asks.
const FROM: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What they say of pages of this server, and of their users: a page that nobody here has made must not give orders.
const HERE: [&str; 2] = ["same-origin", "none"];

/// What whoever shows a token that does not count is asked for.
const INVALID: &str = "Bearer realm=\"jobmanager\", error=\"invalid_token\"";

/// How long somebody may follow what happens before they have to show their token again: it may have expired meanwhile,
/// or count no longer. Those who follow come back, and miss nothing.
const FOLLOWS: Duration = Duration::from_secs(10 * 60);
/// The kind of an answer that goes on as things happen.
const EVENT_STREAM: &str = "text/event-stream";

/// What a route asks of whoever calls it.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) guard: Guard,
    pub(super) role: Role,
    /// Whether the log tells who asked, and pages of other places may not ask.
    pub(super) is_command: bool,
    /// The method, and the path as the table has it.
    pub(super) action: String,
}

/// Which job an answer is about that the path of its request does not name.
#[derive(Debug, Clone, Copy)]
pub(super) struct About(pub(super) JobId);

/// Lets a request through, or says why not.
pub(super) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let entry = entry(&access, &mut parts).await;
    let peer: Option<&Peer> = parts.extensions.get();
    let is_command = access.is_command;
    let admitted = access.guard.admit(peer, &parts.headers, access.role).await;
    let caller = match admitted {
        Ok(caller) => caller,
        Err(denied) => return refuse(&entry, &denied),
    };
    if is_command && let Err(elsewhere) = must_be_from_here(&access.guard, &parts) {
        let words = elsewhere.to_string();
        entry.refused(&caller, StatusCode::FORBIDDEN, &words);
        return Failure::forbidden(words).into_response();
    }
    if is_command {
        parts.extensions.insert(caller.clone());
    }
    let underway = is_command.then(|| entry.admitted(caller));
    let response = next.run(Request::from_parts(parts, body)).await;
    if let Some(underway) = underway {
        let about = response.extensions().get::<About>();
        underway.answered(response.status(), about.map(|About(job)| *job));
    }
    match access.guard.asks_for_tokens() {
        true => ended_within(FOLLOWS, response),
        false => response,
    }
}

/// The same answer, which ends within this time if it has no end of its own.
fn ended_within(time: Duration, response: Response) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != EVENT_STREAM) {
        return response;
    }
    let (head, body) = response.into_parts();
    let end = Box::pin(tokio::time::sleep(time));
    let parts = body.into_data_stream().take_until(end);
    Response::from_parts(head, Body::from_stream(parts))
}

async fn entry(access: &Access, parts: &mut Parts) -> Entry {
    let names = RawPathParams::from_request_parts(parts, &()).await.ok();
    let job = names.as_ref().and_then(|names| {
        let mut names = names.iter();
        names.find_map(|(name, text)| (name == "job").then(|| text.parse().ok())?)
    });
    let peer = parts.extensions.get().map(|peer: &Peer| peer.address);
    Entry {
        action: access.action.clone(),
        peer,
        job,
    }
}

fn must_be_from_here(guard: &Guard, asked: &Parts) -> Result<(), Elsewhere> {
    let headers = &asked.headers;
    let mut from = headers.get_all(FROM).iter().peekable();
    if from.peek().is_none() && asked.method.is_safe() {
        guard.hosts().admit_link(headers)?;
    }
    if !from.all(|from| HERE.iter().any(|here| from == here)) {
        return Err(Elsewhere::Page);
    }
    guard.hosts().admit_command(headers)
}

fn refuse(entry: &Entry, denied: &Denied) -> Response {
    let (plain, words) = match denied {
        Denied::Missing => (
            "Bearer realm=\"jobmanager\"",
            "a token is needed: send it as `Authorization: Bearer TOKEN`".to_owned(),
        ),
        Denied::Wrong => (
            INVALID,
            "the token is not known here; ask an admin for one".to_owned(),
        ),
        Denied::Flawed(flaw) => (INVALID, flaw.to_string()),
        Denied::TooLow { who, role, needed } => {
            let name = who.name().escape_debug();
            let words = match role {
                Role::Anybody => format!(
                    "the token gives `{name}` no role here, and only {needed} may do that: security.jwt.roles-claim is \
                     where roles are looked for"
                ),
                Role::Viewer | Role::Operator | Role::Admin => {
                    format!("`{name}` is {role}, and only {needed} may do that")
                }
            };
            entry.refused(who, StatusCode::FORBIDDEN, &words);
            return Failure::forbidden(words).into_response();
        }
    };
    entry.unknown(StatusCode::UNAUTHORIZED, &words);
    let challenge = match denied {
        Denied::Flawed(_) => described(&words),
        Denied::Missing | Denied::Wrong | Denied::TooLow { .. } => None,
    };
    let challenge = challenge.unwrap_or(HeaderValue::from_static(plain));
    let challenge = (WWW_AUTHENTICATE, challenge);
    ([challenge], Failure::unauthorized(words)).into_response()
}

/// What is wrong with a token, for clients that show nothing else (RFC 6750).
fn described(words: &str) -> Option<HeaderValue> {
    let may_be =
        |character: &char| matches!(character, ' '..='~') && !['"', '\\'].contains(character);
    let words: String = words.chars().filter(may_be).collect();
    HeaderValue::try_from(format!("{INVALID}, error_description=\"{words}\"")).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::to_bytes;
    use axum::response::sse::{Event, Sse};
    use futures::stream;
    use std::convert::Infallible;

    #[tokio::test]
    async fn who_follows_has_to_show_a_token_again_and_a_view_is_told_whole() {
        let event = Ok::<_, Infallible>(Event::default().data("x"));
        let endless = stream::once(async { event }).chain(stream::pending());
        let moment = Duration::from_millis(10);
        let ended = ended_within(moment, Sse::new(endless).into_response());
        let told = to_bytes(ended.into_body(), usize::MAX).await.unwrap();
        assert_eq!(told, "data: x\n\n");
        let slow = stream::once(async move {
            tokio::time::sleep(moment * 5).await;
            Ok::<_, Infallible>("all of it")
        });
        let view = ended_within(moment, Body::from_stream(slow).into_response());
        let told = to_bytes(view.into_body(), usize::MAX).await.unwrap();
        assert_eq!(told, "all of it");
    }
}
