//! The savepoint that a job owns, because it was claimed when the job was submitted. It is deleted as soon as nothing
//! that is retained of the job refers to it any more; never while it is the latest that the job has.

use super::cx::Cx;
use super::effect::Effect;
use super::input::{Discard, StorageOutcome};
use super::job::Job;
use crate::config::ClaimMode;
use crate::id::CheckpointId;
use serde::{Deserialize, Serialize};

/// What a job has of the savepoint that it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Owned {
    /// Nothing: there is none, or none any more.
    Nothing,
    /// Something that is retained refers to it.
    Needed,
    /// Nothing does. It is deleted when the next checkpoint has completed, or the job has ended.
    Useless,
    /// Its deletion is under way.
    Deleted,
}

impl Job {
    /// It began with this checkpoint, of which nothing may be left.
    pub(super) fn begins_with(&mut self, began: Option<CheckpointId>) {
        self.began = began;
        self.owned = match self.owned_location().and(began) {
            None => Owned::Nothing,
            Some(id) if self.checkpoints.is_of_use(id) => Owned::Needed,
            Some(_) => Owned::Useless,
        };
    }

    /// Where the savepoint is that it has claimed.
    fn owned_location(&self) -> Option<&str> {
        let restore = self.graph.config().restore.as_ref();
        let claimed = restore.filter(|restore| restore.claim == ClaimMode::Claim);
        claimed.map(|restore| &*restore.path)
    }

    /// Nothing refers to these checkpoints any more: if what it owns is among them, or was before, that is deleted.
    pub(super) fn release_owned(&mut self, cx: &mut Cx<'_>, subsumed: &[CheckpointId]) {
        let is_subsumed = self.began.is_some_and(|id| subsumed.contains(&id));
        match self.owned {
            Owned::Needed if is_subsumed => {}
            Owned::Useless => {}
            Owned::Nothing | Owned::Needed | Owned::Deleted => return,
        }
        self.owned = Owned::Deleted;
        cx.effects.push(Effect::Discard(self.owned_order()));
    }

    /// The order to delete what it owns.
    pub(super) fn owned_order(&self) -> Discard {
        let location = self.owned_location();
        let location = location.expect("it owns one").into();
        let job = self.id();
        Discard::Owned { job, location }
    }

    /// What it owned is deleted, or could not be.
    pub(super) fn owned_discarded(&mut self, outcome: &StorageOutcome) {
        self.owned = match outcome {
            StorageOutcome::Done => Owned::Nothing,
            StorageOutcome::Failed(problem) => {
                tracing::warn!(job = %self.id(), problem, "the claimed savepoint could not be deleted");
                Owned::Useless
            }
        };
    }

    /// Whether it has ended and leaves a savepoint that it owns, and has gone beyond.
    pub(super) fn leaves_owned(&self) -> bool {
        match self.owned {
            Owned::Nothing => false,
            Owned::Needed => {
                let latest = self.checkpoints.latest();
                let began = self.began.expect("who owns one began with it");
                latest.is_some_and(|latest| !latest.refers_to(began))
            }
            Owned::Useless | Owned::Deleted => true,
        }
    }
}
