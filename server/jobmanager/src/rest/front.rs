//! What stands in front of everything that REST shows, the dashboard and the way to another leader included: it lets
//! in what is meant for this server.

use super::error::Failure;
use crate::security::Guard;
use crate::security::audit::Entry;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use taskmanager::tls::Peer;

/// The most of a path that the log has. Characters.
const SHOWN: usize = 100;

/// Lets a request through, or says why not.
pub(crate) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Err(elsewhere) = guard.hosts().admit(request.uri(), request.headers()) else {
        return next.run(request).await;
    };
    let path: String = request.uri().path().chars().take(SHOWN).collect();
    let entry = Entry {
        action: format!("{} {path}", request.method()),
        peer: request.extensions().get().map(|peer: &Peer| peer.address),
        job: None,
    };
    let words = elsewhere.to_string();
    entry.unknown(StatusCode::MISDIRECTED_REQUEST, &words);
    Failure::misdirected(words).into_response()
}
