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
    /// end, as it does for every other reason. One that has ended is not spoken to.
    pub(super) fn send(&mut self, session: SessionId, message: Envelope) {
        let Some(Open { outbox, .. }) = self.open.get(&session) else {
            return;
        };
        if !outbox.push(message) {
            warn!(
                session = session.0,
                "session ended: its outbox is full or its stream is gone"
            );
            self.open.remove(&session);
        }
    }

    /// Ends a session after everything that was said on it; tells for how long its TaskManager had said nothing.
    pub(super) fn end(&mut self, session: SessionId) -> Option<Duration> {
        let open = self.open.remove(&session)?;
        Some(open.heard.elapsed())
    }
}
