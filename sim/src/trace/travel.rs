//! What travels, in words: where messages on connections come from and go to, and what clients, the
//! store and the checkpoint storage are told.

use crate::dataflow::frame;
use crate::storage::store::{Fate, WriteId};
use crate::trace::observe::lane_of;
use crate::trace::told::{Kind, Sketch, Subject, Told, name_of_attempt};
use crate::trace::{Lane, Parcel};
use crate::world::World;
use crate::world::event::{Instance, Process};
use crate::world::network::{ConnectionId, Node, Payload, Side};
use jobmanager_core::id::{AttemptId, CheckpointId, RequestId};
use jobmanager_core::jobmanager::{Discard, Reply, StoreOutcome};
use jobmanager_proto::v1;
use prost::Message as _;

impl World {
    /// A message is put on its way to this side of a connection.
    pub(crate) fn show_send(&mut self, id: ConnectionId, to: Side, payload: &Payload) {
        if !self.is_watched() {
            return;
        }
        let ends = (self.network.node(id, to.other()), self.network.node(id, to));
        let (Some(from), Some(there)) = ends else {
            return;
        };
        let number = self.network.next_message();
        let parcel = || Parcel::Message(number);
        let between = matches!((from, there), (Node::TaskManager(_), Node::TaskManager(_)));
        let (from, there) = (lane_of(from), lane_of(there));
        match payload {
            Payload::Bytes(bytes) if between => {
                self.departs_with(parcel, from, there, || exchanged(to, bytes));
            }
            Payload::Bytes(_) => self.departs(parcel, from, there),
            Payload::Close => self.departs_with(parcel, from, there, || {
                let sketch = Sketch::new(Kind::Life, "close", vec![]);
                (sketch, format!("the sender closed {id:?}"))
            }),
        }
    }

    /// A client asks.
    pub(crate) fn show_request(&mut self, request: RequestId, wish: usize) {
        if !self.is_watched() {
            return;
        }
        let command = &self.wishes[wish].command;
        let told = (command.sketch(), format!("{request:?} {command:?}"));
        self.show(Lane::Clients, "->", || told);
        let latest = self.next_instance.saturating_sub(1);
        let there = self.current.map_or(latest, |instance| instance.0);
        let parcel = || Parcel::Request(request);
        self.departs(parcel, Lane::Clients, Lane::JobManager(there));
    }

    /// A client is answered, unless the answer is lost.
    pub(crate) fn show_answer(&mut self, request: RequestId, reply: &Reply) {
        self.arrives(|| Parcel::Answer(request));
        self.show(Lane::Clients, "<-", || {
            (reply.sketch(), format!("{request:?} {reply:?}"))
        });
    }

    /// A write is at the store, and changed something or not.
    pub(crate) fn show_write(&mut self, write: WriteId) {
        match self.store.fate(write) {
            Some(Fate::LostMute) => self.gets_lost(|| Parcel::Write(write)),
            Some(Fate::Done | Fate::Refused | Fate::AppliedMute) | None => {
                self.arrives(|| Parcel::Write(write));
            }
        }
    }

    /// The store's answer is on its way.
    pub(crate) fn show_outcome(&mut self, write: WriteId) {
        let (Some(instance), Some(outcome)) = (self.store.sender(write), self.store.outcome(write))
        else {
            return;
        };
        let (title, what) = (outcome_title(outcome), format!("{outcome:?}"));
        let there = Lane::JobManager(instance.0);
        self.departs_with(
            || Parcel::Outcome(write),
            Lane::Store,
            there,
            || (Sketch::new(Kind::Store, title, vec![]), what),
        );
    }

    /// State was deleted, or not.
    pub(crate) fn show_discard(&mut self, instance: Instance, discard: &Discard, done: bool) {
        self.arrives(|| Parcel::Discard(instance, discard.clone()));
        let verb = if done { "delete" } else { "refuse" };
        let told = || (discard.sketch(), format!("{discard:?}"));
        self.show(Lane::Blobs, verb, told);
    }

    /// A snapshot is on its way to the checkpoint storage.
    pub(crate) fn show_snapshot(&mut self, by: Process, id: AttemptId, checkpoint: CheckpointId) {
        let parcel = || Parcel::Snapshot(id, checkpoint);
        let here = Lane::TaskManager(by.index);
        self.departs_with(parcel, here, Lane::Blobs, || snapshot(id, checkpoint));
    }

    /// It is there, or will never be.
    pub(crate) fn show_stored(&mut self, id: AttemptId, checkpoint: CheckpointId, failed: bool) {
        self.arrives(|| Parcel::Snapshot(id, checkpoint));
        let verb = if failed { "refuse" } else { "write" };
        self.show(Lane::Blobs, verb, || snapshot(id, checkpoint));
    }
}

fn snapshot(id: AttemptId, checkpoint: CheckpointId) -> (Sketch, String) {
    let title = format!("snapshot {} of {}", checkpoint.0, name_of_attempt(id));
    let about = vec![Subject::snapshot(id, checkpoint)];
    let what = format!("{checkpoint:?} {id:?}");
    (Sketch::new(Kind::Blob, title, about), what)
}

fn outcome_title(outcome: &StoreOutcome) -> &'static str {
    match outcome {
        StoreOutcome::Done => "done",
        StoreOutcome::Fenced => "fenced",
        StoreOutcome::Unavailable(_) => "unavailable",
        StoreOutcome::Unknown(_) => "unknown",
    }
}

/// What TaskManagers tell each other: consumers ask, producers send.
fn exchanged(to: Side, bytes: &[u8]) -> (Sketch, String) {
    let (title, what) = match to {
        Side::Acceptor => asked(bytes),
        Side::Opener => framed(bytes),
    };
    (Sketch::new(Kind::Exchange, title, vec![]), what)
}

fn asked(bytes: &[u8]) -> (String, String) {
    use v1::exchange_request::Request;
    let Ok(request) = v1::ExchangeRequest::decode(bytes) else {
        return ("malformed".to_owned(), format!("{bytes:?}"));
    };
    let title = match &request.request {
        Some(Request::Subscribe(subscribe)) => format!("subscribe channel {}", subscribe.channel),
        Some(Request::Credit(credit)) => {
            format!("credit {} on channel {}", credit.frames, credit.channel)
        }
        Some(Request::Unsubscribe(gone)) => format!("unsubscribe channel {}", gone.channel),
        None => "nothing".to_owned(),
    };
    (title, format!("{request:?}"))
}

fn framed(bytes: &[u8]) -> (String, String) {
    let Ok(frame) = v1::ExchangeFrame::decode(bytes) else {
        return ("malformed".to_owned(), format!("{bytes:?}"));
    };
    let channel = frame.channel;
    match frame::from_wire(frame.frame) {
        Ok(frame::Element::Rows(rows)) => {
            let title = format!("{} rows on channel {channel}", rows.len());
            (title, format!("{rows:?}"))
        }
        Ok(frame::Element::Barrier(checkpoint)) => {
            let title = format!("barrier {} on channel {channel}", checkpoint.0);
            (title.clone(), title)
        }
        Ok(frame::Element::Savepoint(checkpoint, order)) => {
            let title = format!("barrier of savepoint {} on channel {channel}", checkpoint.0);
            (title, format!("{order:?}"))
        }
        Ok(frame::Element::EndOfData) => {
            let title = format!("end of data on channel {channel}");
            (title.clone(), title)
        }
        Err(refusal) => (format!("refused channel {channel}"), refusal),
    }
}
