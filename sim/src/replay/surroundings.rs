//! What a recording tells of the world around its coordinator: what is under way to the checkpoint storage,
//! and who the TaskManagers are. What is durable, the coordinator knows.

use jobmanager_core::id::SessionId;
use jobmanager_core::jobmanager::{Discard, Effect, Input};
use jobmanager_core::message::Hello;
use jobmanager_core::savepoint::Savepoint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The surroundings at the last frame that was played.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// Deletions that were not answered, the first one first.
    pub(crate) discards: Vec<Discard>,
    /// Savepoints whose metadata was being written.
    pub(crate) savepoints: Vec<(String, Arc<Savepoint>)>,
    /// The coordinator learned that another one leads.
    pub(crate) stepped_down: bool,
    /// What was said on sessions that have not ended.
    pub(crate) hellos: BTreeMap<SessionId, Hello>,
}

impl Surroundings {
    /// The coordinator takes this.
    pub(super) fn takes(&mut self, input: &Input) {
        match input {
            Input::Connected { session, hello } => {
                self.hellos.insert(*session, hello.clone());
            }
            Input::Disconnected { session } => {
                self.hellos.remove(session);
            }
            Input::Discarded { discard, .. } => {
                let at = self.discards.iter().position(|known| known == discard);
                if let Some(at) = at {
                    self.discards.remove(at);
                }
            }
            Input::SavepointWritten { checkpoint, .. } => {
                self.savepoints
                    .retain(|(_, known)| known.checkpoint != *checkpoint);
            }
            Input::Message { .. }
            | Input::Stored { .. }
            | Input::Command { .. }
            | Input::Workers { .. }
            | Input::Worker { .. }
            | Input::Wake => {}
        }
    }

    /// The coordinator orders this.
    pub(super) fn orders(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Discard(discard) => self.discards.push(discard.clone()),
                Effect::WriteSavepoint {
                    location,
                    savepoint,
                } => self.savepoints.push((location.clone(), savepoint.clone())),
                Effect::StepDown { .. } => self.stepped_down = true,
                Effect::Send { .. }
                | Effect::Store { .. }
                | Effect::Disconnect { .. }
                | Effect::RequestWorkers { .. }
                | Effect::ReleaseWorker { .. }
                | Effect::Reply { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::id::JobId;

    const JOB: JobId = JobId(7);

    #[test]
    fn a_deletion_is_under_way_until_it_is_answered() {
        use jobmanager_core::jobmanager::StorageOutcome;
        let mut told = Surroundings::default();
        let discard = Discard::Job(JOB);
        told.orders(&[
            Effect::Discard(discard.clone()),
            Effect::Discard(discard.clone()),
        ]);
        let outcome = StorageOutcome::Done;
        told.takes(&Input::Discarded {
            discard: discard.clone(),
            outcome,
        });
        assert_eq!(told.discards, [discard]);
    }
}
