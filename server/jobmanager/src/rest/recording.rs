//! The flight recording, as a file to take away.

use super::Rest;
use super::error::Failure;
use crate::recorder::{Flight, file_name};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures::stream;
use jobmanager_core::time::Timestamp;
use std::convert::Infallible;

/// `GET /flight-recording`: ours alone; Flink has no such thing.
pub(super) async fn recording(State(rest): State<Rest>) -> Result<Response, Failure> {
    let (at, flight) = rest.driver.recording(rest.timeout).await?;
    let flight = flight.map_err(|reason| Failure::unavailable(reason.to_string()))?;
    Ok(file(at, flight))
}

fn file(at: Timestamp, flight: Flight) -> Response {
    let name = file_name(at, "rest");
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, flight.size().to_string()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    let pieces = flight.pieces().into_iter().map(Ok::<_, Infallible>);
    (headers, Body::from_stream(stream::iter(pieces))).into_response()
}
