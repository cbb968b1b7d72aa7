//! What happens in a replay, as entries of the same kind as those of a simulated run: one lane for the
//! coordinator, and one for each TaskManager, numbered in the order in which they are first seen; with what
//! they say to each other, to the store, to the checkpoint storage and to clients.

use crate::plan::Micros;
use crate::plan::options::MS;
use crate::trace::{Entry, Lane, Record, Sketch, Timeline, Told};
use jobmanager_core::id::{Epoch, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Effect, Input};
use jobmanager_core::record::Record as Stored;
use jobmanager_core::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The only coordinator there is.
const COORDINATOR: Lane = Lane::JobManager(0);

/// The log.
pub(super) struct Log {
    epoch: Epoch,
    record: Option<Box<Record>>,
    /// The time of the first frame.
    start: Option<Timestamp>,
    now: Micros,
    sessions: BTreeMap<SessionId, usize>,
    /// The number of each name.
    taskmanagers: BTreeMap<String, usize>,
}

impl Log {
    pub(super) fn new(logged: bool, epoch: Epoch) -> Log {
        Log {
            epoch,
            record: logged.then(Box::default),
            start: None,
            now: 0,
            sessions: BTreeMap::new(),
            taskmanagers: BTreeMap::new(),
        }
    }

    /// It is so late now.
    pub(super) fn at(&mut self, at: Timestamp) {
        let start = *self.start.get_or_insert(at);
        self.now = at.0.saturating_sub(start.0).saturating_mul(MS);
    }

    /// Microseconds since the first frame.
    pub(super) fn now(&self) -> Micros {
        self.now
    }

    /// The names of the TaskManagers by number, and what was kept.
    pub(super) fn into_parts(self) -> (Vec<String>, Vec<Entry>, Timeline) {
        let mut names: Vec<_> = self.taskmanagers.into_iter().collect();
        names.sort_by_key(|(_, number)| *number);
        let names = names.into_iter().map(|(name, _)| name).collect();
        let record = self.record.map(|record| *record).unwrap_or_default();
        (names, record.log, record.timeline)
    }

    pub(super) fn recovers(&mut self, epoch: Epoch, records: &[Stored]) {
        let sketch = Sketch::of(COORDINATOR);
        self.note(COORDINATOR, "recover", sketch, &(epoch, records));
    }

    /// The coordinator starts with sessions that are open.
    pub(super) fn restores(&mut self, coordinator: &Coordinator) {
        for tm in coordinator.taskmanagers() {
            let lane = self.opens(tm.session, &tm.id.0);
            self.note(lane, "is", Sketch::of(lane), &(&tm.id.0, tm.session));
        }
        let sketch = Sketch::of(COORDINATOR);
        self.note(COORDINATOR, "restore", sketch, &coordinator.overview());
    }

    /// The coordinator is like this now.
    pub(super) fn shows(&mut self, coordinator: &Coordinator) {
        if let Some(record) = &mut self.record {
            record.shows(self.now, self.epoch, coordinator, &self.taskmanagers);
        }
    }

    pub(super) fn takes(&mut self, input: &Input) {
        let (from, sent) = match input {
            Input::Connected { session, hello } => {
                let name = &hello.taskmanager.0;
                let lane = self.opens(*session, name);
                let sent = self.note(lane, "is", Sketch::of(lane), &(name, session));
                (Some(lane), sent)
            }
            Input::Message { session, message } => {
                self.said(*session, "->", message.sketch(), message)
            }
            Input::Disconnected { session } => {
                let gone = self.said(*session, "is gone", input.sketch(), session);
                self.sessions.remove(session);
                gone
            }
            Input::Stored { .. } => (Some(Lane::Store), None),
            Input::Discarded { .. } | Input::SavepointWritten { .. } => (Some(Lane::Blobs), None),
            Input::Command { .. } => (Some(Lane::Clients), None),
            Input::Workers { .. } | Input::Worker { .. } | Input::Wake => (None, None),
        };
        let taken = self.note(COORDINATOR, "<-", input.sketch(), input);
        if let Some(from) = from {
            self.passes([from, COORDINATOR], sent, taken);
        }
    }

    pub(super) fn orders(&mut self, effects: &[Effect]) {
        for effect in effects {
            let sent = self.note(COORDINATOR, "->", effect.sketch(), effect);
            let (to, heard) = match effect {
                Effect::Send { session, message } => {
                    self.said(*session, "<-", message.sketch(), message)
                }
                Effect::Store { .. } => (Some(Lane::Store), None),
                Effect::Discard(_) | Effect::WriteSavepoint { .. } => (Some(Lane::Blobs), None),
                Effect::Reply { .. } => (Some(Lane::Clients), None),
                Effect::Disconnect { .. }
                | Effect::RequestWorkers { .. }
                | Effect::ReleaseWorker { .. }
                | Effect::StepDown { .. } => (None, None),
            };
            if let Some(to) = to {
                self.passes([COORDINATOR, to], sent, heard);
            }
        }
    }

    /// It ends here.
    pub(super) fn breaks(&mut self, words: &str) {
        self.note(COORDINATOR, "breaks", Sketch::of(COORDINATOR), words);
    }

    fn opens(&mut self, session: SessionId, name: &str) -> Lane {
        let next = self.taskmanagers.len();
        let index = *self.taskmanagers.entry(name.to_owned()).or_insert(next);
        self.sessions.insert(session, index);
        Lane::TaskManager(index)
    }

    /// On a session, if it is one of a TaskManager that is known: its lane, and the position in the log.
    fn said(
        &mut self,
        session: SessionId,
        verb: &'static str,
        sketch: Sketch,
        what: &impl Debug,
    ) -> (Option<Lane>, Option<usize>) {
        let Some(&index) = self.sessions.get(&session) else {
            return (None, None);
        };
        let lane = Lane::TaskManager(index);
        (Some(lane), self.note(lane, verb, sketch, what))
    }

    fn passes(&mut self, ends: [Lane; 2], sent_by: Option<usize>, received_as: Option<usize>) {
        if let Some(record) = &mut self.record {
            record.passes(self.now, ends, sent_by, received_as);
        }
    }

    /// Tells the position in the log.
    fn note(
        &mut self,
        lane: Lane,
        verb: &'static str,
        sketch: Sketch,
        what: &(impl Debug + ?Sized),
    ) -> Option<usize> {
        let record = self.record.as_mut()?;
        Some(record.keep(self.now, lane, verb, sketch, format!("{what:?}")))
    }
}
