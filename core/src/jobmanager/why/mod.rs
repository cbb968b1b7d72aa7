//! What whatever waits waits for, as chains of causes for programs and for people: jobs, tasks, restarts,
//! checkpoints and savepoints.
//!
//! An answer is made from the coordinator's facts when somebody asks, and nothing is kept for it: what is
//! not a fact of the coordinator is not told. So nothing here decides, and nothing here is ever out of date.
//! A cause is a typed value; its words are made when it is shown.
//!
//! ```text
//! waits-for-slots                 4 slots are needed, 2 are missing
//! ├─ slots-held                   by this job
//! └─ taskmanagers-not-answered    these would have some
//! ```
//!
//! Invariants: what waits has a cause, and what does not has none; at most [`SHOWN`] things of a kind are
//! named, and how many are left out is said; the cost is that of the answer, of one look at the tasks of a job of
//! which some are not where they should be, and, if it waits for slots, of one look at the TaskManagers.

mod checkpoint;
mod filter;
mod life;
mod more;
mod moving;
mod restart;
mod rhythm;
mod savepoint;
mod slots;
mod tasks;
mod trigger;
mod words;
mod workers;
mod write;

pub use checkpoint::{AckPhase, Checkpoint};
pub use filter::Filter;
pub use life::Life;
pub use more::NotShown;
pub use moving::Moving;
pub use restart::Restart;
pub use rhythm::Rhythm;
pub use savepoint::Savepoint;
pub use slots::Slots;
pub use tasks::Tasks;
pub use trigger::Trigger;
pub use words::Subtask;
pub use workers::Workers;
pub use write::Write;

use super::Coordinator;
use super::job::{CancelIntent, Job, JobPhase};
use crate::id::JobId;
use crate::state::JobStatus;
use crate::time::Timestamp;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Deref;
use serde::{Serialize, Serializer};

/// The most things of one kind that a cause names, or that stand below it: enough to begin with, and little
/// enough for a page. Counts are of all of them.
pub const SHOWN: usize = 10;

/// Why a job is not further than it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The job.
    pub job: JobId,
    /// Its state.
    pub status: JobStatus,
    /// When this was so.
    pub now: Timestamp,
    /// What it waits for; nothing if all of its tasks run or have finished and nothing else is under way.
    pub causes: Vec<Cause>,
    /// When the next periodic checkpoint is due, or why none is: no job waits for that. `None` if that
    /// is not decided yet, or if no more are due.
    pub next_checkpoint: Option<Cause>,
}

/// Something that is waited for, and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What.
    pub reason: Reason,
    /// What it waits for in turn.
    pub because: Vec<Cause>,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reason {
    /// The beginning or the end of the job.
    Life(Life),
    /// The store.
    Write(Write),
    /// Slots.
    Slots(Slots),
    /// TaskManagers that do not help.
    Filter(Filter),
    /// Tasks.
    Tasks(Tasks),
    /// A restart.
    Restart(Restart),
    /// A checkpoint under way.
    Checkpoint(Checkpoint),
    /// A checkpoint that is due.
    Trigger(Trigger),
    /// Checkpoints in the long run.
    Rhythm(Rhythm),
    /// A savepoint.
    Savepoint(Savepoint),
    /// TaskManagers that leave.
    Moving(Moving),
    /// TaskManagers that are started for jobs.
    Workers(Workers),
    /// What is left out.
    NotShown(NotShown),
}

impl Cause {
    fn new(reason: impl Into<Reason>, because: Vec<Cause>) -> Self {
        let reason = reason.into();
        Cause { reason, because }
    }

    fn leaf(reason: impl Into<Reason>) -> Self {
        Cause::new(reason, Vec::new())
    }

    /// What it is, in a sentence.
    #[must_use]
    pub fn text(&self, now: Timestamp) -> String {
        match &self.reason {
            Reason::Life(reason) => reason.text(now),
            Reason::Write(reason) => reason.text(now),
            Reason::Slots(reason) => reason.text(now),
            Reason::Filter(reason) => reason.text(now),
            Reason::Tasks(reason) => reason.text(now),
            Reason::Restart(reason) => reason.text(now),
            Reason::Checkpoint(reason) => reason.text(now),
            Reason::Trigger(reason) => reason.text(now),
            Reason::Rhythm(reason) => reason.text(now),
            Reason::Savepoint(reason) => reason.text(now),
            Reason::Moving(reason) => reason.text(now),
            Reason::Workers(reason) => reason.text(now),
            Reason::NotShown(reason) => reason.text(now),
        }
    }

    /// Which change would help, in a sentence.
    #[must_use]
    pub fn unblock(&self, now: Timestamp) -> String {
        match &self.reason {
            Reason::Life(reason) => reason.unblock(now),
            Reason::Write(reason) => reason.unblock(now),
            Reason::Slots(reason) => reason.unblock(now),
            Reason::Filter(reason) => reason.unblock(now),
            Reason::Tasks(reason) => reason.unblock(now),
            Reason::Restart(reason) => reason.unblock(now),
            Reason::Checkpoint(reason) => reason.unblock(now),
            Reason::Trigger(reason) => reason.unblock(now),
            Reason::Rhythm(reason) => reason.unblock(now),
            Reason::Savepoint(reason) => reason.unblock(now),
            Reason::Moving(reason) => reason.unblock(now),
            Reason::Workers(reason) => reason.unblock(now),
            Reason::NotShown(reason) => reason.unblock(now),
        }
    }
}

/// A cause with its words.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    reason: &'a Reason,
    text: String,
    unblock: String,
    because: Vec<Told<'a>>,
}

impl<'a> Told<'a> {
    fn of(cause: &'a Cause, now: Timestamp) -> Self {
        Told {
            reason: &cause.reason,
            text: cause.text(now),
            unblock: cause.unblock(now),
            because: Told::all(&cause.because, now),
        }
    }

    fn all(causes: &'a [Cause], now: Timestamp) -> Vec<Self> {
        causes.iter().map(|cause| Told::of(cause, now)).collect()
    }
}

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Answer<'a> {
            #[serde(serialize_with = "words::shown")]
            job: JobId,
            #[serde(serialize_with = "words::shown")]
            status: JobStatus,
            now: Timestamp,
            causes: Vec<Told<'a>>,
            next_checkpoint: Option<Told<'a>>,
        }
        let next = self.next_checkpoint.as_ref();
        let answer = Answer {
            job: self.job,
            status: self.status,
            now: self.now,
            causes: Told::all(&self.causes, self.now),
            next_checkpoint: next.map(|cause| Told::of(cause, self.now)),
        };
        answer.serialize(serializer)
    }
}

/// One job at one time, looked at.
struct Look<'a> {
    coordinator: &'a Coordinator,
    job: &'a Job,
    /// For silences alone: what is due by the coordinator's own time is done.
    now: Timestamp,
}

impl Coordinator {
    /// Why a job is not further than it is, at this time.
    #[must_use]
    pub fn why(&self, id: JobId, now: Timestamp) -> Option<Why> {
        let now = self.now.max(now);
        let Some(job) = self.jobs.get(&id).map(Deref::deref) else {
            let status = self.archive.get(id)?.result.status;
            return Some(Why {
                job: id,
                status,
                now,
                causes: self.removal(id).into_iter().collect(),
                next_checkpoint: None,
            });
        };
        let coordinator = self;
        let look = Look {
            coordinator,
            job,
            now,
        };
        Some(Why {
            job: id,
            status: job.status(),
            now,
            causes: look.causes(),
            next_checkpoint: look.next_checkpoint(),
        })
    }
}

impl Look<'_> {
    fn causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        let ended = matches!(self.job.phase, JobPhase::Ended(_));
        if let (CancelIntent::Storing(clients), false) = (&self.job.cancel, ended) {
            causes.push(self.cancellation(clients));
        }
        match &self.job.phase {
            JobPhase::Submitting(submitters) => causes.push(self.submission(submitters)),
            JobPhase::Reconciling(reconciling) => {
                causes.push(self.reconciling(reconciling));
                causes.extend(self.savepoints());
            }
            JobPhase::Running => {
                causes.extend(self.slots());
                causes.extend(self.starting());
                causes.extend(self.restarting());
                causes.extend(self.moving());
                causes.extend(self.checkpoints());
                causes.extend(self.held_back());
                causes.extend(self.failing_checkpoints());
                causes.extend(self.savepoints());
            }
            JobPhase::Ending(ending) => {
                causes.push(self.ending(ending));
                causes.extend(self.checkpoints());
                causes.extend(self.savepoints());
            }
            JobPhase::Ended(ended) => causes.push(self.ended(ended)),
        }
        causes
    }
}
