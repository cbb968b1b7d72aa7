//! Which task acknowledged a checkpoint first, and which last: the coordinator counts acknowledgements, and knows the
//! time of the last one alone.
//!
//! It is noted before the coordinator has judged an acknowledgement, so one that it ignores is noted, too. Whoever reads
//! it compares the time of the last one with the coordinator's: if they differ, it is not known who was last.
//!
//! Invariant: of all jobs together a bounded number of checkpoints is remembered; the oldest are forgotten.

use jobmanager_core::id::{CheckpointId, JobId, TaskId};
use jobmanager_core::message::Acknowledgement;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many checkpoints are remembered: about 2 MB.
const MAX_CHECKPOINTS: usize = 16_384;

/// The first and the last acknowledgement of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// Who was the last.
    pub(crate) by: TaskId,
}

/// The log; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AckLog(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    checkpoints: BTreeMap<(JobId, CheckpointId), Acknowledged>,
    /// In the order of their first acknowledgements.
    order: VecDeque<(JobId, CheckpointId)>,
}

impl AckLog {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, acknowledgement: &Acknowledgement, now: Timestamp) {
        let attempt = acknowledgement.attempt;
        let key = (attempt.job, acknowledgement.checkpoint);
        let mut log = self.lock();
        if let Some(known) = log.checkpoints.get_mut(&key) {
            (known.last, known.by) = (now, attempt.task);
            return;
        }
        let first = Acknowledged {
            first: now,
            last: now,
            by: attempt.task,
        };
        log.checkpoints.insert(key, first);
        log.order.push_back(key);
        if log.order.len() > MAX_CHECKPOINTS
            && let Some(oldest) = log.order.pop_front()
        {
            log.checkpoints.remove(&oldest);
        }
    }

    /// What was noted of the checkpoints of a job.
    pub(crate) fn of_job(&self, job: JobId) -> BTreeMap<CheckpointId, Acknowledged> {
        let log = self.lock();
        let all = (job, CheckpointId(0))..=(job, CheckpointId(u64::MAX));
        let noted = log.checkpoints.range(all);
        noted.map(|((_, id), noted)| (*id, *noted)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::id::{Attempt, AttemptId, Epoch, SubtaskIndex, VertexIndex};
    use jobmanager_core::message::StateHandle;

    fn task(subtask: u32) -> TaskId {
        TaskId {
            vertex: VertexIndex(0),
            subtask: SubtaskIndex(subtask),
        }
    }

    fn acknowledgement(job: u128, checkpoint: u64, subtask: u32) -> Acknowledgement {
        Acknowledgement {
            attempt: AttemptId {
                job: JobId(job),
                task: task(subtask),
                attempt: Attempt {
                    epoch: Epoch(1),
                    number: 1,
                },
            },
            checkpoint: CheckpointId(checkpoint),
            state: StateHandle::nothing(),
        }
    }

    #[test]
    fn the_first_and_the_last_of_each_checkpoint_are_known() {
        let log = AckLog::default();
        log.note(&acknowledgement(1, 5, 0), Timestamp(10));
        log.note(&acknowledgement(2, 5, 7), Timestamp(11));
        log.note(&acknowledgement(1, 5, 3), Timestamp(12));
        let expected = Acknowledged {
            first: Timestamp(10),
            last: Timestamp(12),
            by: task(3),
        };
        let noted = log.of_job(JobId(1));
        assert_eq!(noted, BTreeMap::from([(CheckpointId(5), expected)]));
    }

    #[test]
    fn the_oldest_checkpoints_are_forgotten() {
        let log = AckLog::default();
        for checkpoint in 0..=MAX_CHECKPOINTS as u64 {
            log.note(&acknowledgement(1, checkpoint, 0), Timestamp(1));
        }
        let noted = log.of_job(JobId(1));
        assert_eq!(noted.len(), MAX_CHECKPOINTS);
        assert!(!noted.contains_key(&CheckpointId(0)));
    }
}
