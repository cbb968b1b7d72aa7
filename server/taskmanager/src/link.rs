//! One connection to the JobManager: bytes in and out, nothing else.
//!
//! Everything a link does happens in a task of its own, so whoever holds it never waits for the network.

use jobmanager_core::message::Envelope;
use jobmanager_proto::v1::job_manager_client::JobManagerClient;
use jobmanager_proto::{WireError, v1};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tracing::debug;

/// Messages that wait to be sent. A JobManager that is so far behind is as good as lost.
const OUTBOX: usize = 4_096;
/// A JobManager that is there accepts a connection within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Notices a connection that is gone without having been closed; heartbeats notice the rest.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// An answer to a keepalive that takes longer does not come any more.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest message in either direction: a deployment with the table of the largest job, or an
/// inventory of as many tasks.
const MAX_MESSAGE: usize = 64 << 20;

/// What happens on a link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It is open.
    Connected,
    /// The JobManager said something.
    Message(Envelope),
    /// It is over, or could not be opened. Nothing follows.
    Lost(String),
}

/// An open connection, or one that is being opened. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Link {
    number: u64,
    outbox: mpsc::Sender<v1::FromTaskManager>,
    task: AbortHandle,
}

impl Link {
    /// Starts to open a connection. What happens on it is told under its number.
    pub(crate) fn open(
        number: u64,
        jobmanager: String,
        events: mpsc::Sender<(u64, LinkEvent)>,
    ) -> Link {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let task = tokio::spawn(async move {
            let lost = keep(number, &jobmanager, messages, &events).await;
            let lost = format!("the JobManager at {jobmanager}: {lost}");
            // Nobody listens while the TaskManager stops.
            let _ = events.send((number, LinkEvent::Lost(lost))).await;
        });
        let task = task.abort_handle();
        Link {
            number,
            outbox,
            task,
        }
    }

    /// Under which its events are told.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Queues a message; `false` if the JobManager is too far behind, or the link is over.
    pub(crate) fn send(&self, message: v1::FromTaskManager) -> bool {
        self.outbox.try_send(message).is_ok()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps the connection until it ends, and says why it did.
async fn keep(
    number: u64,
    jobmanager: &str,
    messages: mpsc::Receiver<v1::FromTaskManager>,
    events: &mpsc::Sender<(u64, LinkEvent)>,
) -> String {
    let endpoint = match Endpoint::from_shared(format!("http://{jobmanager}")) {
        Ok(endpoint) => endpoint,
        Err(problem) => return crate::words(&problem),
    };
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .connect()
        .await;
    let channel = match channel {
        Ok(channel) => channel,
        Err(problem) => return format!("cannot be reached: {}", crate::words(&problem)),
    };
    let told = |event| events.send((number, event));
    // Before the call: its answer may wait for the first message on it.
    if told(LinkEvent::Connected).await.is_err() {
        return "this TaskManager stops".to_owned();
    }
    let mut client = JobManagerClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let mut incoming = match client.session(ReceiverStream::new(messages)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            let problem = crate::status_words(&status);
            return format!("the session was not opened: {problem}");
        }
    };
    loop {
        let message = match incoming.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return "it ended the session".to_owned(),
            Err(status) => {
                let problem = crate::status_words(&status);
                return format!("the session was lost: {problem}");
            }
        };
        match Envelope::try_from(message) {
            Ok(envelope) => {
                if told(LinkEvent::Message(envelope)).await.is_err() {
                    return "this TaskManager stops".to_owned();
                }
            }
            Err(problem @ WireError::UnknownMessage) => debug!(%problem, "ignored"),
            Err(WireError::Bad(problem)) => {
                return format!("it sent a message that makes no sense: {problem}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn messages_that_are_not_taken_are_bounded_and_sending_never_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, _happened) = mpsc::channel(1);
        let link = Link::open(1, address, events);
        // The only thread is ours: nothing is sent meanwhile.
        let sent = std::iter::repeat_with(|| link.send(v1::FromTaskManager::default()))
            .take_while(|sent| *sent)
            .count();
        assert_eq!(sent, OUTBOX);
    }

    #[tokio::test]
    async fn a_jobmanager_that_is_not_there_is_named_with_the_systems_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let (events, mut happened) = mpsc::channel(1);
        let _link = Link::open(7, address.clone(), events);
        let (number, event) = happened.recv().await.unwrap();
        let LinkEvent::Lost(reason) = event else {
            panic!("{event:?}");
        };
        assert_eq!(number, 7);
        assert!(reason.contains(&address), "{reason}");
        assert!(reason.contains("Connection refused"), "{reason}");
    }
}
