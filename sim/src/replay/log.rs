//! What happens in a replay, as entries of the same kind as those of a simulated run: one lane for the
//! coordinator, and one for each TaskManager, numbered in the order in which they are first seen.

use crate::plan::Micros;
use crate::plan::options::MS;
use crate::trace::{Entry, Lane, Sketch, Told};
use jobmanager_core::id::{Epoch, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Effect, Input};
use jobmanager_core::record::Record;
use jobmanager_core::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The only coordinator there is.
const COORDINATOR: Lane = Lane::JobManager(0);

/// The log.
pub(super) struct Log {
    logged: bool,
    /// The time of the first frame.
    start: Option<Timestamp>,
    now: Micros,
    sessions: BTreeMap<SessionId, usize>,
    /// The number of each name.
    taskmanagers: BTreeMap<String, usize>,
    entries: Vec<Entry>,
}

impl Log {
    pub(super) fn new(logged: bool) -> Log {
        Log {
            logged,
            start: None,
            now: 0,
            sessions: BTreeMap::new(),
            taskmanagers: BTreeMap::new(),
            entries: Vec::new(),
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

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub(super) fn recovers(&mut self, epoch: Epoch, records: &[Record]) {
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

    pub(super) fn takes(&mut self, input: &Input) {
        match input {
            Input::Connected { session, hello } => {
                let name = &hello.taskmanager.0;
                let lane = self.opens(*session, name);
                self.note(lane, "is", Sketch::of(lane), &(name, session));
            }
            Input::Message { session, message } => {
                self.said(*session, "->", message.sketch(), message)
            }
            Input::Disconnected { session } => {
                self.said(*session, "is gone", input.sketch(), session);
                self.sessions.remove(session);
            }
            Input::Stored { .. }
            | Input::Discarded { .. }
            | Input::Command { .. }
            | Input::Wake => {}
        }
        self.note(COORDINATOR, "<-", input.sketch(), input);
    }

    pub(super) fn orders(&mut self, effects: &[Effect]) {
        for effect in effects {
            self.note(COORDINATOR, "->", effect.sketch(), effect);
            if let Effect::Send { session, message } = effect {
                self.said(*session, "<-", message.sketch(), message);
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

    /// On a session, if it is one of a TaskManager that is known.
    fn said(&mut self, session: SessionId, verb: &'static str, sketch: Sketch, what: &impl Debug) {
        if let Some(&index) = self.sessions.get(&session) {
            self.note(Lane::TaskManager(index), verb, sketch, what);
        }
    }

    fn note(
        &mut self,
        lane: Lane,
        verb: &'static str,
        sketch: Sketch,
        what: &(impl Debug + ?Sized),
    ) {
        if self.logged {
            self.entries.push(Entry {
                at: self.now,
                lane,
                verb,
                what: format!("{what:?}"),
                kind: sketch.kind,
                title: sketch.title,
                about: sketch.about,
            });
        }
    }
}
