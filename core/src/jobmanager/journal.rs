//! Durable writes: one under way at a time, in order, tried again until the answer is definite.
//!
//! Everything that is queued while a write is under way goes into the next one (group commit). A write
//! whose answer was lost is written again, unchanged, before anything else: its operations are whole
//! records under fixed keys and nobody else writes in this epoch, so the repetition finds its own effect
//! or has it, and [`StoreOutcome::Done`] is then the truth about both. So an unknown outcome is never
//! decided upon: no later write overtakes it, and nothing that waits for it happens.

use super::effect::Effect;
use super::input::StoreOutcome;
use crate::id::{CheckpointId, CommitId, JobId, TriggerId};
use crate::record::RecordOp;
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The most writes that may be queued before clients' requests for more are refused. With group commit a store
/// that answers at all never lets it grow to this.
const MAX_QUEUED: usize = 10_000;
/// The most operations of one transaction: keeps its size and latency bounded.
const MAX_OPS: usize = 1_000;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What has become true once a write is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Fact {
    /// The job will run.
    Submitted(JobId),
    /// The job will be canceled.
    CancelRequested(JobId),
    /// Checkpoint ids below this one may be used.
    Marked(JobId, CheckpointId),
    /// The checkpoint is completed.
    Completed(JobId),
    /// The job will get another parallelism, as soon as it can.
    RescaleRequested(JobId),
    /// The job has another parallelism from this attempt on.
    Rescaled(JobId),
    /// The savepoint will be taken, or the client will learn why not.
    SavepointRequested(JobId, TriggerId),
    /// The savepoint is complete, or will never be.
    SavepointEnded(JobId, TriggerId),
    /// The job has ended.
    Ended(JobId),
    /// Nothing of the job is left but its result.
    Cleaned(JobId),
    /// Nothing that anybody waits for.
    Nothing,
}

/// The queue of writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Journal {
    queued: VecDeque<(Vec<RecordOp>, Fact)>,
    current: Option<Write>,
    last_commit: u64,
    problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Write {
    ops: Vec<RecordOp>,
    facts: Vec<Fact>,
    pause: Duration,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Progress {
    UnderWay(CommitId),
    RetryAt(Timestamp),
}

/// What an answer of the store means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// These are true now.
    Durable(Vec<Fact>),
    /// The write is tried again later, or the answer is not about the current try.
    Nothing,
    /// There is a later leader.
    Fenced,
}

impl Journal {
    /// Queues a write. The operations become durable together.
    pub(super) fn write(&mut self, ops: Vec<RecordOp>, fact: Fact) {
        self.queued.push_back((ops, fact));
    }

    /// Writes nothing, if nothing else is to be written: the answer tells whether there is a later leader.
    pub(super) fn ask_for_successor(&mut self) {
        if self.current.is_none() && self.queued.is_empty() {
            self.write(Vec::new(), Fact::Nothing);
        }
    }

    /// Takes the store's answer.
    pub(super) fn stored(
        &mut self,
        now: Timestamp,
        commit: CommitId,
        outcome: StoreOutcome,
    ) -> Answer {
        let Some(write) = &mut self.current else {
            return Answer::Nothing;
        };
        if write.progress != Progress::UnderWay(commit) {
            return Answer::Nothing;
        }
        match outcome {
            StoreOutcome::Done => {
                self.problem = None;
                let write = self.current.take().expect("it was just looked at");
                Answer::Durable(write.facts)
            }
            StoreOutcome::Fenced => Answer::Fenced,
            StoreOutcome::Unavailable(problem) | StoreOutcome::Unknown(problem) => {
                self.problem = Some(problem);
                write.progress = Progress::RetryAt(now + write.pause);
                write.pause = LAST_RETRY.min(write.pause * 2);
                Answer::Nothing
            }
        }
    }

    /// Starts the next write, or the next try, if nothing is under way.
    pub(super) fn pump(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.current.is_none() {
            self.current = self.next_write(now);
        }
        let Some(write) = &mut self.current else {
            return;
        };
        let Progress::RetryAt(at) = write.progress else {
            return;
        };
        if at > now {
            return;
        }
        self.last_commit += 1;
        let commit = CommitId(self.last_commit);
        write.progress = Progress::UnderWay(commit);
        effects.push(Effect::Store {
            commit,
            ops: write.ops.clone(),
        });
    }

    /// When a write is to be tried again.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match self.current.as_ref()?.progress {
            Progress::UnderWay(_) => None,
            Progress::RetryAt(at) => Some(at),
        }
    }

    /// The try that the store has not answered.
    pub(super) fn under_way(&self) -> Option<(CommitId, Vec<RecordOp>)> {
        let write = self.current.as_ref()?;
        match write.progress {
            Progress::UnderWay(commit) => Some((commit, write.ops.clone())),
            Progress::RetryAt(_) => None,
        }
    }

    /// The name of that try.
    pub(super) fn commit_under_way(&self) -> Option<CommitId> {
        match self.current.as_ref()?.progress {
            Progress::UnderWay(commit) => Some(commit),
            Progress::RetryAt(_) => None,
        }
    }

    /// Whether what such a fact waits for is in the write at work, rather than behind it; `None` if it is in none.
    pub(super) fn is_at_work(&self, which: impl Fn(&Fact) -> bool) -> Option<bool> {
        let current = self.current.iter().flat_map(|write| &write.facts);
        let queued = self.queued.iter().map(|(_, fact)| fact);
        let at_work = current.map(|fact| (fact, true));
        let mut all = at_work.chain(queued.map(|fact| (fact, false)));
        all.find(|(fact, _)| which(fact))
            .map(|(_, at_work)| at_work)
    }

    /// Why clients cannot ask for more writes now.
    pub(super) fn overload(&self) -> Option<String> {
        let problem = self.problem().unwrap_or("it is slow");
        (self.queued.len() >= MAX_QUEUED)
            .then(|| format!("the metadata store does not keep up: {problem}"))
    }

    /// Why the last try did not succeed.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn next_write(&mut self, now: Timestamp) -> Option<Write> {
        let (mut ops, fact) = self.queued.pop_front()?;
        let mut facts = Vec::from([fact]);
        while let Some((more, _)) = self.queued.front() {
            if ops.len() + more.len() > MAX_OPS {
                break;
            }
            let (more, fact) = self
                .queued
                .pop_front()
                .expect("the front was just looked at");
            ops.extend(more);
            facts.push(fact);
        }
        let progress = Progress::RetryAt(now);
        Some(Write {
            ops,
            facts,
            pause: FIRST_RETRY,
            progress,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordKey;

    const JOB: JobId = JobId(7);

    fn commits(effects: &[Effect]) -> Vec<(CommitId, usize)> {
        let commit = |effect: &Effect| {
            let Effect::Store { commit, ops } = effect else {
                panic!("the journal only writes, not {effect:?}");
            };
            (*commit, ops.len())
        };
        effects.iter().map(commit).collect()
    }

    fn delete() -> Vec<RecordOp> {
        Vec::from([RecordOp::Delete(RecordKey::Job(JOB))])
    }

    #[test]
    fn what_is_queued_behind_a_write_goes_out_together() {
        let mut journal = Journal::default();
        let mut effects = Vec::new();
        for _ in 0..3 {
            journal.write(delete(), Fact::Cleaned(JOB));
            journal.pump(Timestamp(0), &mut effects);
        }
        assert_eq!(commits(&effects), [(CommitId(1), 1)]);
        let answer = journal.stored(Timestamp(1), CommitId(1), StoreOutcome::Done);
        assert_eq!(answer, Answer::Durable(Vec::from([Fact::Cleaned(JOB)])));
        journal.pump(Timestamp(1), &mut effects);
        assert_eq!(commits(&effects)[1], (CommitId(2), 2));
    }

    #[test]
    fn an_unknown_write_is_repeated_before_anything_else_and_late_answers_mean_nothing() {
        let mut journal = Journal::default();
        let mut effects = Vec::new();
        journal.write(delete(), Fact::Ended(JOB));
        journal.pump(Timestamp(0), &mut effects);
        journal.write(delete(), Fact::Cleaned(JOB));
        let unknown = StoreOutcome::Unknown("answer lost".into());
        assert_eq!(
            journal.stored(Timestamp(0), CommitId(1), unknown),
            Answer::Nothing
        );
        let retry = journal.deadline().expect("a retry is due");
        journal.pump(retry, &mut effects);
        assert_eq!(
            journal.stored(retry, CommitId(1), StoreOutcome::Done),
            Answer::Nothing
        );
        let answer = journal.stored(retry, CommitId(2), StoreOutcome::Done);
        assert_eq!(answer, Answer::Durable(Vec::from([Fact::Ended(JOB)])));
    }
}
