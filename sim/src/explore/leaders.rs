//! Leaders and the store: what they hear, what they order, how they die and are elected.

use super::part::Part;
use super::promises;
use super::state::{Leader, Said, Write};
use super::step::{Side, Step};
use jobmanager_core::id::{Epoch, SessionId};
use jobmanager_core::jobmanager::{
    Coordinator, Discard, Effect, Input, StorageOutcome, StoreOutcome,
};
use jobmanager_core::record::RecordOp;
use std::rc::Rc;

impl Step<'_> {
    /// One step of a coordinator, and everything that it orders.
    pub(super) fn tell_leader(&mut self, epoch: Epoch, input: Input) {
        let Some(at) = self.state.leader(epoch) else {
            return;
        };
        self.note(|| format!("jm-{} <-", epoch.0), &input);
        let now = self.state.now;
        let mut effects = Vec::new();
        let checked = self.state.leaders[at].change(|leader| {
            leader.coordinator.step(now, input, &mut effects);
            leader.coordinator.check_invariants()
        });
        if let Err(violation) = checked {
            self.ensure(false, violation.name, || violation.detail);
        }
        for effect in effects {
            self.note(|| format!("jm-{} ->", epoch.0), &effect);
            self.check_order(epoch, &effect);
            self.carry_out(epoch, effect);
        }
    }

    fn carry_out(&mut self, epoch: Epoch, effect: Effect) {
        match effect {
            Effect::Send { session, message } => {
                if let Some(link) = self.state.link_of_session(epoch, session)
                    && self.state.links[link].leader_open
                    && !self.state.links[link].cut
                {
                    self.state.links[link].change(|link| link.to_worker.push_back(message));
                }
            }
            Effect::WriteSavepoint { .. } => unreachable!("nobody asks for savepoints"),
            Effect::RequestWorkers { .. } | Effect::ReleaseWorker { .. } => {
                unreachable!("nobody starts TaskManagers for jobs")
            }
            Effect::Disconnect { session } => {
                if let Some(link) = self.state.link_of_session(epoch, session) {
                    self.state.links[link].change(|link| {
                        link.leader_open = false;
                        link.to_leader.clear();
                    });
                }
            }
            // Whoever asked has heard it; what that means is remembered by the promises.
            Effect::Reply { .. } => {}
            Effect::Store { commit, ops } => self.change_leader(epoch, |leader| {
                leader.write = Some(Write {
                    commit,
                    ops: Rc::new(ops),
                    outcome: None,
                });
            }),
            Effect::Discard(discard) => self.discard(epoch, discard),
            Effect::StepDown { .. } => self.retire(epoch),
        }
    }

    /// A leader gives up. What it has said is still heard.
    pub(super) fn retire(&mut self, epoch: Epoch) {
        let at = self.state.leader(epoch);
        at.map(|at| self.state.leaders.remove(at));
        for link in &mut self.state.links {
            if link.leader == epoch {
                link.change(|link| {
                    link.leader_open = false;
                    link.to_leader.clear();
                });
            }
        }
    }

    fn change_leader(&mut self, epoch: Epoch, change: impl FnOnce(&mut Leader)) {
        if let Some(at) = self.state.leader(epoch) {
            self.state.leaders[at].change(change);
        }
    }

    /// State is deleted at once. Only the answer that something waits for is given.
    fn discard(&mut self, epoch: Epoch, discard: Discard) {
        let gone = |path: &str| match &discard {
            Discard::Checkpoint(_, id) => promises::checkpoint_of(path) == id.0,
            Discard::Job(_) => true,
            Discard::Savepoint { .. } | Discard::Owned { .. } => false,
            Discard::Unreferenced { keep, next, .. } => {
                let of = promises::checkpoint_of(path);
                of < next.0 && keep.iter().all(|kept| kept.0 != of)
            }
        };
        if self.state.blobs.keys().any(|path| gone(path)) {
            self.state
                .blobs
                .change(|blobs| blobs.retain(|path, _| !gone(path)));
        }
        if matches!(discard, Discard::Job(_)) {
            self.change_leader(epoch, |leader| leader.discarded = Some(discard));
        }
    }

    pub(super) fn discard_is_answered(&mut self, epoch: Epoch) {
        let mut discarded = None;
        self.change_leader(epoch, |leader| discarded = leader.discarded.take());
        if let Some(discard) = discarded {
            let outcome = StorageOutcome::Done;
            self.tell_leader(epoch, Input::Discarded { discard, outcome });
        }
    }

    pub(super) fn leader_hears(&mut self, at: usize) {
        let (epoch, session) = (self.state.links[at].leader, self.state.links[at].session);
        let said = self.state.links[at].change(|link| link.to_leader.pop_front());
        let input = match said {
            Some(Said::Hello(hello)) => {
                if let Some(at) = self.state.leader(epoch) {
                    self.sight_hello(at, &hello);
                }
                let mut number = 0;
                self.change_leader(epoch, |leader| {
                    leader.sessions += 1;
                    number = leader.sessions;
                });
                let session = SessionId(number);
                self.state.links[at].change(|link| link.session = Some(session));
                Input::Connected { session, hello }
            }
            Some(Said::Message(message)) => {
                let Some(session) = session else {
                    return;
                };
                Input::Message { session, message }
            }
            None => {
                self.state.links[at].change(|link| link.leader_open = false);
                let Some(session) = session else {
                    return;
                };
                Input::Disconnected { session }
            }
        };
        self.tell_leader(epoch, input);
    }

    /// A write arrives: from now on it is durable, or refused because of a later leader.
    pub(super) fn write_arrives(&mut self, epoch: Epoch, answer_lost: bool) {
        let Some(at) = self.state.leader(epoch) else {
            return;
        };
        let Some(write) = self.state.leaders[at].write.clone() else {
            return;
        };
        let fenced = !self.is_latest(epoch);
        if !fenced {
            self.apply(&write.ops);
        }
        let outcome = match (answer_lost, fenced) {
            (true, _) => StoreOutcome::Unknown(String::new()),
            (false, true) => StoreOutcome::Fenced,
            (false, false) => StoreOutcome::Done,
        };
        self.set_outcome(epoch, outcome);
    }

    pub(super) fn answer_is_lost(&mut self, epoch: Epoch, applied: bool) {
        if applied {
            self.write_arrives(epoch, true);
        } else {
            self.set_outcome(epoch, StoreOutcome::Unknown(String::new()));
        }
    }

    fn set_outcome(&mut self, epoch: Epoch, outcome: StoreOutcome) {
        self.change_leader(epoch, |leader| {
            if let Some(write) = &mut leader.write {
                write.outcome = Some(outcome);
            }
        });
    }

    pub(super) fn orphan_arrives(&mut self) {
        if let Some(ops) = self.state.store.change(|store| store.orphan.take()) {
            self.apply(&ops);
        }
    }

    fn apply(&mut self, ops: &[RecordOp]) {
        self.note(|| "store".to_owned(), &ops);
        self.state.store.change(|store| {
            for op in ops {
                match op {
                    RecordOp::Put(record) => {
                        store.records.insert(record.key(), record.clone());
                    }
                    RecordOp::Delete(key) => {
                        store.records.remove(key);
                    }
                }
            }
        });
        self.became_durable(ops);
    }

    pub(super) fn write_is_answered(&mut self, epoch: Epoch) {
        let mut answered = None;
        self.change_leader(epoch, |leader| answered = leader.write.take());
        let answered = answered.and_then(|write| Some((write.commit, write.outcome?)));
        if let Some((commit, outcome)) = answered {
            self.tell_leader(epoch, Input::Stored { commit, outcome });
        }
    }

    pub(super) fn leader_dies(&mut self, epoch: Epoch) {
        let Some(at) = self.state.leader(epoch) else {
            return;
        };
        let leader = self.state.leaders.remove(at);
        let on_its_way = leader.write.as_ref().filter(|w| w.outcome.is_none());
        if let (Some(write), true) = (on_its_way, self.is_latest(epoch)) {
            let ops = write.ops.clone();
            self.state.store.change(|store| store.orphan = Some(ops));
        }
        self.leave_links(|link| (link.leader == epoch).then_some(Side::Leader));
    }

    /// A new leader: its epoch goes into the store, and what the store has is read.
    pub(super) fn elect(&mut self) {
        let (epoch, records) = self.state.store.change(|store| {
            store.epoch = Epoch(store.epoch.0 + 1);
            // Whatever is still on its way is refused.
            store.orphan = None;
            (store.epoch, store.records.values().cloned().collect())
        });
        self.note(|| format!("jm-{} recovers from", epoch.0), &records);
        let (config, now) = (self.scope.cluster(), self.state.now);
        let coordinator = match Coordinator::recover(config, epoch, records, now) {
            Ok(coordinator) => coordinator,
            Err(problem) => {
                self.ensure(false, "what_is_stored_can_be_recovered", || {
                    problem.to_string()
                });
                return;
            }
        };
        self.state.leaders.push(Part::new(Leader {
            epoch,
            coordinator,
            sessions: 0,
            write: None,
            discarded: None,
        }));
        self.tell_leader(epoch, Input::Wake);
    }
}
