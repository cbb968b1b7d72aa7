//! One connection to the JobManager: bytes in and out, nothing else.
//!
//! Everything a link does happens in a task of its own, so whoever holds it never waits for the network.

use crate::jobmanagers::JobManagers;
use crate::leader::{self, Found, Named};
use jobmanager_core::message::Envelope;
use jobmanager_proto::{WireError, v1};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

/// Messages that wait to be sent. A JobManager that is so far behind is as good as lost.
const OUTBOX: usize = 4_096;
/// How long what is queued may take to go out when the TaskManager stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// What happens on a link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It is open.
    Connected {
        /// To whom.
        jobmanager: String,
    },
    /// The JobManager said something.
    Message(Envelope),
    /// It is over, or could not be opened. Nothing follows.
    Lost {
        /// Why, for people.
        reason: String,
        /// Who leads now, if that is why.
        leader: Option<String>,
    },
}

/// An open connection, or one that is being opened. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Link {
    number: u64,
    outbox: mpsc::Sender<v1::FromTaskManager>,
    /// The only one in it.
    task: JoinSet<()>,
}

impl Link {
    /// Starts to open a connection to whoever leads. What happens on it is told under its number.
    pub(crate) fn open(
        number: u64,
        jobmanagers: JobManagers,
        events: mpsc::Sender<(u64, LinkEvent)>,
    ) -> Link {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let Lost { reason, leader } = keep(number, &jobmanagers, messages, &events).await;
            // Nobody listens while the TaskManager stops.
            let lost = LinkEvent::Lost { reason, leader };
            let _ = events.send((number, lost)).await;
        });
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

    /// Closes it once what is queued has gone out, or the time for that is over.
    pub(crate) async fn finish(self) {
        let Link {
            outbox, mut task, ..
        } = self;
        drop(outbox);
        let _ = timeout(FAREWELL, task.join_next()).await;
    }
}

/// How a connection ended. See [`LinkEvent::Lost`].
struct Lost {
    reason: String,
    leader: Option<String>,
}

impl From<String> for Lost {
    fn from(reason: String) -> Lost {
        let leader = None;
        Lost { reason, leader }
    }
}

/// Keeps the connection until it ends, and says why it did.
async fn keep(
    number: u64,
    jobmanagers: &JobManagers,
    messages: mpsc::Receiver<v1::FromTaskManager>,
    events: &mpsc::Sender<(u64, LinkEvent)>,
) -> Lost {
    // The hello comes after the answer to the call: it is said to a leader alone, and is true when it is said.
    let Found {
        address,
        mut incoming,
    } = match leader::find(jobmanagers, messages).await {
        Ok(found) => found,
        Err(problems) => return problems.into(),
    };
    let at = |reason: String| format!("the JobManager at {address}: {reason}").into();
    let told = |event| events.send((number, event));
    let jobmanager = address.clone();
    if told(LinkEvent::Connected { jobmanager }).await.is_err() {
        return at("this TaskManager stops".to_owned());
    }
    let mut watches = JoinSet::new();
    let mut watched = false;
    loop {
        let message = tokio::select! {
            message = incoming.message() => message,
            Some(Ok(leader)) = watches.join_next() => return superseded(&address, leader),
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return at("it ended the session".to_owned()),
            Err(status) => {
                let problem = crate::status_words(&status);
                return at(format!("the session was lost: {problem}"));
            }
        };
        let envelope = match Envelope::try_from(message) {
            Ok(envelope) => envelope,
            Err(problem @ WireError::UnknownMessage) => {
                debug!(%problem, "ignored");
                continue;
            }
            Err(WireError::Bad(problem)) => {
                return at(format!("it sent a message that makes no sense: {problem}"));
            }
        };
        if !watched {
            // A leader has one epoch, which all its messages carry.
            watches = leader::watch(
                jobmanagers.other_than(&address),
                jobmanagers.dialer(),
                envelope.epoch,
            );
            watched = true;
        }
        if told(LinkEvent::Message(envelope)).await.is_err() {
            // What is queued goes out until the JobManager, too, has ended the session.
            while let Ok(Some(_)) = incoming.message().await {}
            return at("this TaskManager stops".to_owned());
        }
    }
}

fn superseded(address: &str, leader: Named) -> Lost {
    let Named {
        address: now,
        epoch,
    } = leader;
    Lost {
        reason: format!(
            "the JobManager at {address} leads no more: the one at {now} does, in epoch {}",
            epoch.0
        ),
        leader: Some(now),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tls::Dialer;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn messages_that_are_not_taken_are_bounded_and_sending_never_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, _happened) = mpsc::channel(1);
        let link = Link::open(
            1,
            JobManagers::new(vec![address], Dialer::default()),
            events,
        );
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
        let _link = Link::open(
            7,
            JobManagers::new(vec![address.clone()], Dialer::default()),
            events,
        );
        let (number, event) = happened.recv().await.unwrap();
        let LinkEvent::Lost { reason, .. } = event else {
            panic!("{event:?}");
        };
        assert_eq!(number, 7);
        assert!(reason.contains(&address), "{reason}");
        assert!(reason.contains("Connection refused"), "{reason}");
    }
}
