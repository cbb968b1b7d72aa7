//! Whether a task waits behind the barrier of a savepoint with which its job is suspended.
//!
//! It waits until it hears that the job ends with that savepoint, which is not this part's affair, or that the
//! savepoint is given up. Once the savepoint is known to be durable, nothing makes the task go on: what it
//! read and wrote would not be in it.

use crate::channel::Barrier;
use jobmanager_core::id::CheckpointId;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Suspension(Option<Savepoint>);

#[derive(Debug)]
struct Savepoint {
    checkpoint: CheckpointId,
    is_durable: bool,
}

impl Suspension {
    /// The task has passed this barrier on.
    pub(crate) fn passed(&mut self, barrier: &Barrier) {
        if barrier.suspends() {
            self.0 = Some(Savepoint {
                checkpoint: barrier.checkpoint,
                is_durable: false,
            });
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A checkpoint is durable.
    pub(crate) fn complete(&mut self, checkpoint: CheckpointId) {
        if let Some(savepoint) = &mut self.0 {
            savepoint.is_durable |= savepoint.checkpoint == checkpoint;
        }
    }

    /// A checkpoint will not complete.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        self.end_if(|savepoint| savepoint.checkpoint == checkpoint);
    }

    /// No checkpoint below this one that is not durable will complete.
    pub(crate) fn abort_below(&mut self, next: CheckpointId) {
        self.end_if(|savepoint| savepoint.checkpoint < next);
    }

    fn end_if(&mut self, given_up: impl FnOnce(&Savepoint) -> bool) {
        self.0
            .take_if(|savepoint| !savepoint.is_durable && given_up(savepoint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::message::{AfterSavepoint, SavepointOrder};

    type GiveUp = fn(&mut Suspension);

    fn behind(checkpoint: u64, after: AfterSavepoint) -> Suspension {
        let location = "file:///savepoint".to_owned();
        let mut suspension = Suspension::default();
        suspension.passed(&Barrier {
            checkpoint: CheckpointId(checkpoint),
            savepoint: Some(SavepointOrder { location, after }.into()),
        });
        suspension
    }

    #[test]
    fn only_the_barrier_of_a_suspending_savepoint_stops_a_task() {
        for (after, stops) in [
            (AfterSavepoint::GoOn, false),
            (AfterSavepoint::Suspend, true),
            (AfterSavepoint::Drain, false),
        ] {
            assert_eq!(behind(5, after).is_on(), stops, "{after:?}");
        }
        let mut suspension = Suspension::default();
        suspension.passed(&CheckpointId(5).into());
        assert!(!suspension.is_on());
    }

    #[test]
    fn only_the_end_of_this_very_savepoint_lets_a_task_go_on() {
        let waiting = || behind(5, AfterSavepoint::Suspend);
        let given_up: [(GiveUp, bool); 4] = [
            (|it| it.abort(CheckpointId(4)), false),
            (|it| it.abort(CheckpointId(5)), true),
            (|it| it.abort_below(CheckpointId(5)), false),
            (|it| it.abort_below(CheckpointId(6)), true),
        ];
        for (give_up, goes_on) in given_up {
            let mut suspension = waiting();
            give_up(&mut suspension);
            assert_eq!(suspension.is_on(), !goes_on);
            // That an earlier checkpoint was durable says nothing of this one.
            let mut suspension = waiting();
            suspension.complete(CheckpointId(4));
            give_up(&mut suspension);
            assert_eq!(suspension.is_on(), !goes_on);
            let mut durable = waiting();
            durable.complete(CheckpointId(5));
            give_up(&mut durable);
            assert!(durable.is_on());
        }
    }
}
