//! The driver's end of the sessions: what is to be said to each TaskManager waits in an outbox.

use super::handle::Outbox;
use jobmanager_core::id::SessionId;
use jobmanager_core::message::Envelope;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tracing::warn;

/// The outboxes of the open sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<SessionId, Open>,
}

#[derive(Debug)]
struct Open {
    outbox: Outbox,
    /// When its TaskManager said something last.
    heard: Instant,
}

impl Sessions {
    pub(super) fn open(&mut self, session: SessionId, outbox: Outbox) {
        let heard = Instant::now();
        self.open.insert(session, Open { outbox, heard });
    }

    pub(super) fn heard(&mut self, session: SessionId) {
        if let Some(open) = self.open.get_mut(&session) {
            open.heard = Instant::now();
        }
    }

    /// Says something, in order. A session that does not take it is ended: its reader then reports the
    /// end, as it does for every other reason. One that has ended is not spoken to. Tells the same as
    /// [`Sessions::end`] if this has ended it.
    pub(super) fn send(&mut self, session: SessionId, message: Envelope) -> Option<Duration> {
        let Open { outbox, .. } = self.open.get(&session)?;
        if outbox.push(message) {
            return None;
        }
        warn!(
            session = session.0,
            "session ended: its outbox is full or its stream is gone"
        );
        self.end(session)
    }

    /// Ends a session after everything that was said on it; tells for how long its TaskManager had said nothing.
    pub(super) fn end(&mut self, session: SessionId) -> Option<Duration> {
        let open = self.open.remove(&session)?;
        Some(open.heard.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::id::Epoch;
    use jobmanager_core::message::ToTaskManager;
    use tokio::sync::{mpsc, oneshot};

    #[test]
    fn a_session_that_takes_no_message_ends_like_any_other_and_once() {
        let (full, _unread) = mpsc::channel(1);
        let (gone, _) = mpsc::channel(1);
        for (messages, taken) in [(full, 1), (gone, 0)] {
            let (session, mut sessions) = (SessionId(1), Sessions::default());
            let (open, _reader) = oneshot::channel();
            sessions.open(session, Outbox::new(messages, open));
            let mut send = |sequence| {
                let message = ToTaskManager::Heartbeat { sequence };
                let epoch = Epoch(1);
                sessions.send(session, Envelope { epoch, message })
            };
            for sequence in 0..taken {
                assert_eq!(send(sequence), None, "it is taken");
            }
            assert!(send(taken).is_some(), "the session has ended");
            assert_eq!(send(taken), None, "nothing is said any more");
            assert_eq!(sessions.end(session), None, "it has ended before");
        }
    }
}
