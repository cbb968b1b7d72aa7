//! Finds the JobManager that leads: opens a session with it, through whoever knows where it is; and while a
//! session is open, learns from the others when there is a later leader. See `session.proto`.
//!
//! A leader that stands still, or is cut off, says nothing. Only the others can tell that its time is over, long
//! before its silence would.

use crate::jobmanagers::JobManagers;
use crate::options::is_host_and_port;
use crate::tls::Dialer;
use jobmanager_core::id::Epoch;
use jobmanager_proto::v1;
use jobmanager_proto::v1::job_manager_client::JobManagerClient;
use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Status, Streaming};

/// A JobManager that is there accepts a connection within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Notices a connection that is gone without having been closed; heartbeats notice the rest.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// An answer to a keepalive that takes longer does not come any more.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest message in either direction: a deployment with the table of the largest job, or an
/// inventory of as many tasks.
const MAX_MESSAGE: usize = 64 << 20;
/// How many JobManagers are asked in one search. Clusters have two or three.
const MAX_ASKED: usize = 32;
/// How long a search waits for another leader than one that has gone.
const NEWS: Duration = Duration::from_secs(10);
/// The pause before somebody is asked again who leads.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Metadata of the calls, as `session.proto` says.
const LEADER: &str = "jobmanager-leader";
const EPOCH: &str = "jobmanager-epoch";
const LATER_THAN: &str = "jobmanager-later-than";

/// What is said to a JobManager, for the first call that takes it.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing(Arc<Mutex<mpsc::Receiver<v1::FromTaskManager>>>);

impl Outgoing {
    pub(crate) fn new(messages: mpsc::Receiver<v1::FromTaskManager>) -> Outgoing {
        Outgoing(Arc::new(Mutex::new(messages)))
    }
}

impl Stream for Outgoing {
    type Item = v1::FromTaskManager;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<v1::FromTaskManager>> {
        // Receiving cannot panic half way.
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.poll_recv(cx)
    }
}

/// A session that a leader has opened.
pub(crate) struct Found {
    /// Where it is.
    pub(crate) address: String,
    /// What it says.
    pub(crate) incoming: Streaming<v1::ToTaskManager>,
}

/// A leader that somebody has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) address: String,
    pub(crate) epoch: Epoch,
}

/// Why there is no session.
struct Refusal {
    words: String,
    /// It was not reached.
    is_away: bool,
    leader: Option<Named>,
}

/// Opens a session with whoever leads. If that one has gone, and those who know it have not heard of another one
/// yet, waits for a while until they do.
///
/// # Errors
/// Nobody who could be asked leads: what each of them said.
pub(crate) async fn find(
    jobmanagers: &JobManagers,
    messages: mpsc::Receiver<v1::FromTaskManager>,
) -> Result<Found, String> {
    let outgoing = Outgoing::new(messages);
    let mut search = Search {
        dialer: jobmanagers.dialer(),
        to_ask: jobmanagers.in_order().into(),
        asked: 0,
        away: Vec::new(),
        followed: Vec::new(),
        gone: None,
        problems: Vec::new(),
    };
    if let Some(found) = search.ask_all(&outgoing).await {
        return Ok(found);
    }
    if let Some(epoch) = search.gone {
        let mut watches = watch(jobmanagers.in_order(), jobmanagers.dialer(), epoch);
        if let Ok(Some(Ok(leader))) = timeout(NEWS, watches.join_next()).await {
            search.away.clear();
            search.to_ask.push_back(leader.address);
            if let Some(found) = search.ask_all(&outgoing).await {
                return Ok(found);
            }
        }
    }
    Err(search.problems.join("; "))
}

/// A search for the leader, among those who were named and those whom they name.
struct Search<'a> {
    dialer: &'a Dialer,
    to_ask: VecDeque<String>,
    asked: usize,
    /// Who cannot be reached.
    away: Vec<String>,
    /// To whom others have sent us.
    followed: Vec<Named>,
    /// The latest epoch of a leader that others send us to, and that is not to be had.
    gone: Option<Epoch>,
    problems: Vec<String>,
}

impl Search<'_> {
    /// Asks everybody, and whoever is named as the leader next.
    async fn ask_all(&mut self, outgoing: &Outgoing) -> Option<Found> {
        while let Some(address) = self.to_ask.pop_front() {
            let refusal = match call(self.dialer, &address, outgoing.clone(), None).await {
                Ok(incoming) => return Some(Found { address, incoming }),
                Err(refusal) => refusal,
            };
            let problem = format!("the JobManager at {address}: {}", refusal.words);
            self.problems.push(problem);
            if refusal.is_away {
                self.away.push(address);
            }
            if let Some(leader) = refusal.leader {
                self.follow(leader);
            }
            self.asked += 1;
            if self.asked >= MAX_ASKED {
                self.to_ask.clear();
            }
        }
        None
    }

    /// Somebody names the leader: perhaps itself, because it was elected while it was asked.
    fn follow(&mut self, leader: Named) {
        if self.away.contains(&leader.address) || self.followed.contains(&leader) {
            self.gone = self.gone.max(Some(leader.epoch));
            return;
        }
        self.to_ask.retain(|known| *known != leader.address);
        self.to_ask.push_front(leader.address.clone());
        self.followed.push(leader);
    }
}

/// Waits until one of these JobManagers knows of a leader later than this epoch.
pub(crate) fn watch(jobmanagers: Vec<String>, dialer: &Dialer, epoch: Epoch) -> JoinSet<Named> {
    let mut watches = JoinSet::new();
    for address in jobmanagers {
        let dialer = dialer.clone();
        watches.spawn(async move {
            loop {
                // Said to nobody: the call is not for a session.
                let (_silent, messages) = mpsc::channel(1);
                let answer = call(&dialer, &address, Outgoing::new(messages), Some(epoch)).await;
                let leader = answer.err().and_then(|refusal| refusal.leader);
                match leader {
                    Some(leader) if leader.epoch > epoch => return leader,
                    Some(_) | None => tokio::time::sleep(ASK_AGAIN).await,
                }
            }
        });
    }
    watches
}

async fn call(
    dialer: &Dialer,
    address: &str,
    outgoing: Outgoing,
    later_than: Option<Epoch>,
) -> Result<Streaming<v1::ToTaskManager>, Refusal> {
    let away = |problem: tonic::transport::Error| Refusal {
        words: format!("cannot be reached: {}", crate::words(&problem)),
        is_away: true,
        leader: None,
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint
        .map_err(away)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    let channel = dialer.connect(endpoint).await.map_err(away)?;
    let mut request = Request::new(outgoing);
    if let Some(epoch) = later_than {
        let epoch = MetadataValue::from(epoch.0);
        request.metadata_mut().insert(LATER_THAN, epoch);
    }
    let mut client = JobManagerClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let answer = client.session(request).await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| refused(dialer, &status))
}

fn refused(dialer: &Dialer, status: &Status) -> Refusal {
    // What a JobManager says itself has no cause.
    let hint = match status.source() {
        Some(_) if dialer.is_in_the_clear() => {
            "; if it speaks TLS, give --tls-certificate, --tls-key, --tls-ca and --cluster-name"
        }
        Some(_) | None => "",
    };
    Refusal {
        words: format!(
            "the session was not opened: {}{hint}",
            crate::status_words(status)
        ),
        is_away: false,
        leader: named(status.metadata()),
    }
}

/// The leader that an answer names, if it makes sense.
fn named(metadata: &MetadataMap) -> Option<Named> {
    let text = |key| metadata.get(key).and_then(|value| value.to_str().ok());
    let address = text(LEADER).filter(|address| is_host_and_port(address))?;
    let epoch = text(EPOCH)?.parse().ok()?;
    Some(Named {
        address: address.to_owned(),
        epoch: Epoch(epoch),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_leader_is_named_by_an_address_and_an_epoch_or_not_at_all() {
        for (address, epoch, wanted) in [
            ("host:1", "7", Some(7)),
            ("host", "7", None),
            ("host:1", "soon", None),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert(LEADER, address.parse().unwrap());
            metadata.insert(EPOCH, epoch.parse().unwrap());
            let named = named(&metadata);
            assert_eq!(named.map(|leader| leader.epoch.0), wanted, "{address}");
        }
        assert_eq!(named(&MetadataMap::new()), None);
    }
}
