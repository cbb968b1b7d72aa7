//! What a recording tells of the world around its coordinator: what is durable, what is under way to the
//! store and to the checkpoint storage, and who the TaskManagers are.
//!
//! A recording that begins with the records knows all that is durable. One that begins with a copy of the
//! coordinator knows what was written since.

use jobmanager_core::id::{CommitId, SessionId};
use jobmanager_core::jobmanager::{Discard, Effect, Input, StoreOutcome};
use jobmanager_core::message::Hello;
use jobmanager_core::record::{Record, RecordKey, RecordOp};
use std::collections::{BTreeMap, BTreeSet};

/// The surroundings at the last frame that was played.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The recording begins with the records.
    pub(crate) knows_all_records: bool,
    pub(crate) records: BTreeMap<RecordKey, Record>,
    /// What was deleted and not written again.
    pub(crate) deleted: BTreeSet<RecordKey>,
    /// Writes that were not answered: one at a time is under way.
    pub(crate) writes: BTreeMap<CommitId, Vec<RecordOp>>,
    /// Deletions that were not answered, the first one first.
    pub(crate) discards: Vec<Discard>,
    /// The coordinator learned that another one leads.
    pub(crate) stepped_down: bool,
    /// What was said on sessions that have not ended.
    pub(crate) hellos: BTreeMap<SessionId, Hello>,
}

impl Surroundings {
    /// The coordinator is rebuilt from these records, which are all.
    pub(super) fn recovers(&mut self, records: &[Record]) {
        self.knows_all_records = true;
        let keyed = records.iter().map(|record| (record.key(), record.clone()));
        self.records = keyed.collect();
    }

    /// The coordinator takes this.
    pub(super) fn takes(&mut self, input: &Input) {
        match input {
            Input::Connected { session, hello } => {
                self.hellos.insert(*session, hello.clone());
            }
            Input::Disconnected { session } => {
                self.hellos.remove(session);
            }
            Input::Stored { commit, outcome } => {
                let ops = self.writes.remove(commit).unwrap_or_default();
                match outcome {
                    StoreOutcome::Done => self.apply(ops),
                    // What is unknown is written again.
                    StoreOutcome::Fenced
                    | StoreOutcome::Unavailable(_)
                    | StoreOutcome::Unknown(_) => {}
                }
            }
            Input::Discarded { discard, .. } => {
                let at = self.discards.iter().position(|known| known == discard);
                if let Some(at) = at {
                    self.discards.remove(at);
                }
            }
            Input::Message { .. } | Input::Command { .. } | Input::Wake => {}
        }
    }

    /// The coordinator orders this.
    pub(super) fn orders(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Store { commit, ops } => {
                    self.writes.insert(*commit, ops.clone());
                }
                Effect::Discard(discard) => self.discards.push(discard.clone()),
                Effect::StepDown { .. } => self.stepped_down = true,
                Effect::Send { .. } | Effect::Disconnect { .. } | Effect::Reply { .. } => {}
            }
        }
    }

    fn apply(&mut self, ops: Vec<RecordOp>) {
        for op in ops {
            match op {
                RecordOp::Put(record) => {
                    self.deleted.remove(&record.key());
                    self.records.insert(record.key(), record);
                }
                RecordOp::Delete(key) => {
                    self.deleted.insert(key);
                    self.records.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::id::{CheckpointId, JobId};

    const JOB: JobId = JobId(7);

    fn mark(next: u64) -> Record {
        let next = CheckpointId(next);
        Record::CheckpointMark { job: JOB, next }
    }

    fn store(commit: u64, op: RecordOp) -> Effect {
        Effect::Store {
            commit: CommitId(commit),
            ops: vec![op],
        }
    }

    fn stored(commit: u64, outcome: StoreOutcome) -> Input {
        let commit = CommitId(commit);
        Input::Stored { commit, outcome }
    }

    #[test]
    fn only_what_was_answered_is_durable() {
        let mut told = Surroundings::default();
        told.recovers(&[mark(1)]);
        told.orders(&[store(1, RecordOp::Put(mark(17)))]);
        assert_eq!(told.records[&mark(1).key()], mark(1));
        told.takes(&stored(1, StoreOutcome::Unknown("lost".to_owned())));
        assert_eq!(told.records[&mark(1).key()], mark(1));
        told.orders(&[store(2, RecordOp::Put(mark(17)))]);
        assert_eq!(told.writes.len(), 1);
        told.takes(&stored(2, StoreOutcome::Done));
        assert_eq!(told.records[&mark(1).key()], mark(17));
        assert!(told.writes.is_empty());
        told.orders(&[store(3, RecordOp::Delete(mark(1).key()))]);
        told.takes(&stored(3, StoreOutcome::Done));
        assert!(told.records.is_empty() && told.deleted.contains(&mark(1).key()));
    }

    #[test]
    fn a_deletion_is_under_way_until_it_is_answered() {
        use jobmanager_core::jobmanager::DiscardOutcome;
        let mut told = Surroundings::default();
        let discard = Discard::Job(JOB);
        told.orders(&[
            Effect::Discard(discard.clone()),
            Effect::Discard(discard.clone()),
        ]);
        let outcome = DiscardOutcome::Done;
        told.takes(&Input::Discarded {
            discard: discard.clone(),
            outcome,
        });
        assert_eq!(told.discards, [discard]);
    }
}
