//! Errors as clients get them: a status, and `{"errors": ["…"]}`.

use crate::driver::Unavailable;
use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What a handler of a view answers.
pub(super) type Answer = Result<Json<Value>, Failure>;

/// A request that is not answered as asked.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    errors: Vec<String>,
    /// After how many seconds it may be otherwise, if that is known.
    retry_after: Option<u64>,
}

impl Failure {
    fn new(status: StatusCode, error: String) -> Failure {
        Failure {
            status,
            errors: vec![error],
            retry_after: None,
        }
    }

    pub(super) fn bad_request(error: String) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, error)
    }

    /// Everything that is wrong with a body, one entry each.
    pub(super) fn bad_body(problems: impl IntoIterator<Item: ToString>) -> Failure {
        let status = StatusCode::BAD_REQUEST;
        let errors = problems.into_iter().map(|it| it.to_string()).collect();
        Failure {
            status,
            errors,
            retry_after: None,
        }
    }

    /// Nobody knows who asks.
    pub(super) fn unauthorized(error: String) -> Failure {
        Failure::new(StatusCode::UNAUTHORIZED, error)
    }

    /// Whoever asks may not.
    pub(super) fn forbidden(error: String) -> Failure {
        Failure::new(StatusCode::FORBIDDEN, error)
    }

    /// It is meant for another server.
    pub(super) fn misdirected(error: String) -> Failure {
        Failure::new(StatusCode::MISDIRECTED_REQUEST, error)
    }

    pub(super) fn not_found(error: String) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, error)
    }

    pub(super) fn wrong_method(error: String) -> Failure {
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
    }

    /// What Flink has and is not here.
    pub(super) fn not_implemented(error: &str) -> Failure {
        Failure::new(StatusCode::NOT_IMPLEMENTED, error.to_owned())
    }

    pub(super) fn conflict(error: String) -> Failure {
        Failure::new(StatusCode::CONFLICT, error)
    }

    pub(super) fn too_slow(error: String) -> Failure {
        Failure::new(StatusCode::REQUEST_TIMEOUT, error)
    }

    pub(super) fn too_large(error: String) -> Failure {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error)
    }

    /// More than a share, for so many seconds.
    pub(super) fn too_many(error: String, seconds: u64) -> Failure {
        Failure {
            retry_after: Some(seconds),
            ..Failure::new(StatusCode::TOO_MANY_REQUESTS, error)
        }
    }

    /// Our own mistake.
    pub(super) fn broken(error: String) -> Failure {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    /// A TaskManager of which something is wanted cannot be asked.
    pub(super) fn unreachable(error: String) -> Failure {
        Failure::new(StatusCode::BAD_GATEWAY, error)
    }

    /// It does not answer.
    pub(super) fn no_answer(error: String) -> Failure {
        Failure::new(StatusCode::GATEWAY_TIMEOUT, error)
    }

    pub(super) fn unavailable(error: String) -> Failure {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Failure {
        let status = match unavailable {
            Unavailable::Ended => StatusCode::SERVICE_UNAVAILABLE,
            Unavailable::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        Failure::new(status, unavailable.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(json!({ "errors": self.errors }));
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
