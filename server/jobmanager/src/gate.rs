//! What stands in front of a coordinator that may or may not be here: while this process leads, requests go to
//! it; otherwise whoever asks is told who leads.
//!
//! Invariant: nothing of a coordinator is shown after its lease has ended.

use crate::driver::Driver;
use crate::election::{Leader, Lease};
use crate::metrics::MetricsTable;
use crate::recorder::Recordings;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{HeaderName, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jobmanager_core::id::Epoch;
use serde_json::json;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tower::ServiceExt;

/// How long a TaskManager is kept waiting for somebody to lead; then it may ask elsewhere.
const HOLD: Duration = Duration::from_secs(10);
/// After how many seconds a client may ask again when nobody leads.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("1");
/// Says in an answer that it is not the leader's. Clients may then ask another JobManager.
pub const ROLE: HeaderName = HeaderName::from_static("jobmanager-role");
/// The value of [`ROLE`].
pub const STANDBY: HeaderValue = HeaderValue::from_static("standby");
/// Metadata of the gRPC service, as `session.proto` says.
const LEADER: &str = "jobmanager-leader";
const EPOCH: &str = "jobmanager-epoch";
const LATER_THAN: &str = "jobmanager-later-than";

/// A coordinator that leads, and what speaks for it.
#[derive(Debug)]
pub struct Leading {
    /// Until when it may be asked.
    pub lease: Lease,
    /// The REST interface.
    pub router: Router,
    /// The coordinator.
    pub driver: Driver,
    /// What tasks have done.
    pub metrics: MetricsTable,
    /// Recordings of what the coordinator is told.
    pub recordings: Recordings,
}

/// Who leads, for everybody who wants something of a leader.
#[derive(Debug, Clone)]
pub struct Gate {
    here: watch::Receiver<Option<Arc<Leading>>>,
    known: watch::Receiver<Option<Leader>>,
    scheme: Scheme,
}

/// How REST is spoken to, by all JobManagers of a cluster alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

impl Gate {
    /// A gate to what the other halves of these channels say: the coordinator that leads here, and the leader
    /// that is known, wherever it is and whose REST is spoken to in this way.
    #[must_use]
    pub fn new(
        here: watch::Receiver<Option<Arc<Leading>>>,
        known: watch::Receiver<Option<Leader>>,
        scheme: Scheme,
    ) -> Gate {
        Gate {
            here,
            known,
            scheme,
        }
    }

    /// The coordinator, while it leads here.
    #[must_use]
    pub fn leading(&self) -> Option<Arc<Leading>> {
        let here = self.here.borrow().clone();
        here.filter(|leading| leading.lease.is_valid())
    }

    /// The leader that is known. One that was here until its lease ended is none.
    fn leader(&self) -> Option<Leader> {
        let ended = self.here.borrow().is_some() && self.leading().is_none();
        (!ended).then(|| self.known.borrow().clone()).flatten()
    }

    /// The REST interface of whoever leads.
    pub fn router(self) -> Router {
        Router::new().fallback(pass).with_state(self)
    }

    /// What to tell a TaskManager that wants a session, or to know when there is a later leader, and cannot
    /// have a session here. It is kept waiting for a while if there is nothing to tell.
    pub async fn redirect(&self, metadata: &MetadataMap) -> Status {
        let later_than = metadata.get(LATER_THAN);
        let later_than = later_than.and_then(|epoch| epoch.to_str().ok()?.parse().ok());
        let later_than = Epoch(later_than.unwrap_or(0));
        let (mut here, mut known) = (self.here.clone(), self.known.clone());
        // Nobody is sent to one whose lease has ended, and who is about to be gone.
        let is_current = |here: &Option<Arc<Leading>>| {
            let here = here.as_ref();
            here.is_none_or(|leading| leading.lease.is_valid())
        };
        let _ = timeout(HOLD, here.wait_for(is_current)).await;
        let is_later = |leader: &Option<Leader>| {
            let leader = leader.as_ref();
            leader.is_some_and(|leader| leader.epoch > later_than)
        };
        let leader = match timeout(HOLD, known.wait_for(is_later)).await {
            Ok(Ok(leader)) => leader.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        match leader {
            Some(leader) => status_of(&leader),
            None => Status::unavailable("this JobManager stands by, and knows of no leader"),
        }
    }
}

/// Whether a TaskManager does not want a session, but to know when there is a later leader.
#[must_use]
pub fn only_watches(metadata: &MetadataMap) -> bool {
    metadata.contains_key(LATER_THAN)
}

fn status_of(leader: &Leader) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(EPOCH, leader.epoch.0.into());
    // An address that cannot be sent is of no use to the TaskManager either.
    if let Ok(address) = leader.rpc.parse() {
        metadata.insert(LEADER, address);
    }
    let words = format!(
        "the JobManager at {} leads in epoch {}",
        leader.rpc, leader.epoch.0
    );
    Status::with_metadata(tonic::Code::Unavailable, words, metadata)
}

async fn pass(State(gate): State<Gate>, request: Request) -> Response {
    if let Some(leading) = gate.leading() {
        let router = leading.router.clone();
        let answered: Result<Response, Infallible> = router.oneshot(request).await;
        return answered.unwrap_or_else(|never| match never {});
    }
    let (leader, scheme) = (gate.leader(), gate.scheme);
    let target = request.uri().path_and_query();
    let location = leader.as_ref().and_then(|leader| {
        let target = target.map_or("/", |target| target.as_str());
        HeaderValue::try_from(format!("{scheme}://{}{target}", leader.rest)).ok()
    });
    let (status, header, error) = match (&leader, location) {
        (Some(leader), Some(location)) => (
            StatusCode::TEMPORARY_REDIRECT,
            (LOCATION, location),
            format!("this JobManager stands by; the one at {leader} leads"),
        ),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            (RETRY_AFTER, ASK_AGAIN),
            "this JobManager stands by, and nobody is known to lead; try again in a moment"
                .to_owned(),
        ),
    };
    let body = axum::Json(json!({ "errors": [error] }));
    (status, [header, (ROLE, STANDBY)], body).into_response()
}
