//! Savepoints as a cause: what one that a client wants waits for. One is at work at a time.

use super::more::first_of;
use super::words::{ahead, counted, excerpt, lasting, shown, verb};
use super::{Cause, Look, Reason};
use crate::id::{CheckpointId, TriggerId};
use crate::jobmanager::job::JobPhase;
use crate::jobmanager::journal::Fact;
use crate::jobmanager::savepoints::{Stage, Wish};
use crate::message::AfterSavepoint;
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use serde::{Serialize, Serializer};

/// What a savepoint that has no outcome waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Savepoint {
    /// A client wants it.
    SavepointWanted {
        /// The client's name for it.
        #[serde(serialize_with = "shown")]
        trigger: TriggerId,
        /// What becomes of the job.
        #[serde(serialize_with = "what_follows")]
        after: AfterSavepoint,
        /// When it was asked for.
        since: Timestamp,
        /// When it is given up, if it has not been begun by then; `None` if it has, or if it is not its turn, or
        /// if the job still waits for its attempts.
        until: Option<Timestamp>,
        /// Why it was tried in vain, if it was.
        problem: Option<String>,
    },
    /// It is not acknowledged, and not begun, before the wish is durable.
    WishNotDurable,
    /// Another one goes first.
    BehindAnotherSavepoint {
        /// Which.
        #[serde(serialize_with = "shown")]
        trigger: TriggerId,
    },
    /// It is of all tasks, or of none.
    TasksDoNotRun {
        /// How many tasks neither run nor have finished.
        tasks: u32,
    },
    /// Regions that have completed their last checkpoint have to finish first.
    RegionsAboutToFinish {
        /// How many.
        regions: u32,
    },
    /// A checkpoint that is under way goes first.
    CheckpointGoesFirst {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// No id is free that is durably marked as used.
    SavepointIdNotDurable,
    /// All tasks have snapshotted, and its last file is being written.
    MetadataNotWritten {
        /// The URL of its folder.
        location: String,
    },
    /// It has failed, or cannot be taken, which is about to be written down.
    SavepointFailed {
        /// Why.
        failure: String,
    },
    /// Nobody is told before its outcome is durable.
    OutcomeNotDurable {
        /// Why it failed; `None` if it is complete.
        failure: Option<String>,
    },
}

impl From<Savepoint> for Reason {
    fn from(reason: Savepoint) -> Self {
        Reason::Savepoint(reason)
    }
}

fn what_follows<S: Serializer>(after: &AfterSavepoint, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match after {
        AfterSavepoint::GoOn => "go-on",
        AfterSavepoint::Suspend => "suspend",
        AfterSavepoint::Drain => "drain",
    })
}

impl Savepoint {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Savepoint::SavepointWanted {
                trigger,
                after,
                since,
                problem,
                ..
            } => {
                let what = match after {
                    AfterSavepoint::GoOn => "Savepoint",
                    AfterSavepoint::Suspend => "The stop with savepoint",
                    AfterSavepoint::Drain => "The drain and stop with savepoint",
                };
                let problem = problem.as_ref();
                let problem = problem.map(|problem| format!("; it was tried in vain: {problem}"));
                format!(
                    "{what} {trigger} has been wanted {}{}.",
                    lasting(now, *since),
                    problem.unwrap_or_default()
                )
            }
            Savepoint::WishNotDurable => String::from("That it is wanted is not durable yet."),
            Savepoint::BehindAnotherSavepoint { trigger } => {
                format!("Savepoint {trigger} goes first.")
            }
            Savepoint::TasksDoNotRun { tasks } => format!(
                "{} {} not run.",
                counted(*tasks, "task"),
                verb(*tasks, "does", "do")
            ),
            Savepoint::RegionsAboutToFinish { regions } => format!(
                "{} {} completed the last checkpoint, and {} not finished.",
                counted(*regions, "region"),
                verb(*regions, "has", "have"),
                verb(*regions, "has", "have")
            ),
            Savepoint::CheckpointGoesFirst { checkpoint } => {
                format!("Checkpoint {} goes first.", checkpoint.0)
            }
            Savepoint::SavepointIdNotDurable => {
                String::from("That further ids are used is not durable yet.")
            }
            Savepoint::MetadataNotWritten { location } => {
                format!("The last file of {location} is being written.")
            }
            Savepoint::SavepointFailed { failure } => format!("It has failed: {failure}."),
            Savepoint::OutcomeNotDurable { failure: None } => {
                String::from("It is complete, which is not durable yet.")
            }
            Savepoint::OutcomeNotDurable {
                failure: Some(failure),
            } => format!("It has failed, which is not durable yet: {failure}."),
        }
    }

    pub(super) fn unblock(&self, now: Timestamp) -> String {
        String::from(match self {
            Savepoint::SavepointWanted {
                until: Some(until), ..
            } => {
                let until = ahead(now, *until);
                return format!("What stands below has to pass; it is given up {until}.");
            }
            Savepoint::SavepointWanted { until: None, .. } => "What stands below has to pass.",
            Savepoint::WishNotDurable
            | Savepoint::SavepointIdNotDurable
            | Savepoint::SavepointFailed { .. }
            | Savepoint::OutcomeNotDurable { .. } => "The store has to take the write.",
            Savepoint::BehindAnotherSavepoint { .. } => "The other one has to have an outcome.",
            Savepoint::TasksDoNotRun { .. } => "They have to run; their own causes say why not.",
            Savepoint::RegionsAboutToFinish { .. } => "They have to finish.",
            Savepoint::CheckpointGoesFirst { .. } => {
                "It has to end; its own cause says what it waits for."
            }
            Savepoint::MetadataNotWritten { .. } => "The storage of the savepoint has to answer.",
        })
    }
}

impl Look<'_> {
    /// What savepoints without an outcome wait for.
    pub(super) fn savepoints(&self) -> Vec<Cause> {
        let wishes = self.job.savepoints.iter();
        let wishes: Vec<&Wish> = wishes.filter(|wish| wish.stage != Stage::Ended).collect();
        let current = self.job.savepoints.current().map(|it| it.record.trigger);
        let expires = self.job.phase == JobPhase::Running;
        let cause = |wish: &Wish| {
            let first = current.filter(|current| *current != wish.record.trigger);
            let until = wish.stage.deadline();
            let reason = Savepoint::SavepointWanted {
                trigger: wish.record.trigger,
                after: wish.record.after,
                since: wish.record.requested,
                until: until.filter(|_| expires && first.is_none()),
                problem: wish.problem.as_deref().map(excerpt),
            };
            Cause::new(reason, self.wanted(wish, first))
        };
        first_of(wishes, cause)
    }

    fn wanted(&self, wish: &Wish, first: Option<TriggerId>) -> Vec<Cause> {
        let (job, trigger) = (self.job.id(), wish.record.trigger);
        match &wish.stage {
            Stage::Storing => {
                let write = self.store(|fact| *fact == Fact::SavepointRequested(job, trigger));
                let mut because = vec![Cause::new(Savepoint::WishNotDurable, write)];
                because.extend(first.map(behind));
                because
            }
            Stage::Wanted { .. } => match first {
                Some(first) => vec![behind(first)],
                None => self.not_begun(),
            },
            Stage::Collecting { id, .. } => {
                let mut pending = self.job.checkpoints.pending.iter();
                let pending = pending.find(|pending| pending.id == *id);
                pending.map(|it| self.under_way(it)).into_iter().collect()
            }
            Stage::Writing(completed) => {
                let location = completed.location.clone();
                vec![Cause::leaf(Savepoint::MetadataNotWritten { location })]
            }
            Stage::Failing { cause } => {
                let failure = excerpt(cause);
                vec![Cause::leaf(Savepoint::SavepointFailed { failure })]
            }
            Stage::Ending { .. } => self.outcome(wish),
            Stage::Ended => Vec::new(),
        }
    }

    /// Why the savepoint whose turn it is has not been begun.
    fn not_begun(&self) -> Vec<Cause> {
        let (execution, checkpoints) = (&self.job.execution, &self.job.checkpoints);
        let mut because = Vec::new();
        let counts = execution.total_counts();
        let run = counts.get(ExecutionState::Running) + counts.get(ExecutionState::Finished);
        let tasks = counts.total() - run;
        if tasks > 0 {
            because.push(Cause::leaf(Savepoint::TasksDoNotRun { tasks }));
        }
        let regions = checkpoints.finals().saturating_sub(execution.finished());
        if regions > 0 {
            because.push(Cause::leaf(Savepoint::RegionsAboutToFinish { regions }));
        }
        let first = checkpoints.pending.first().map(|pending| pending.id);
        because.extend(
            first.map(|checkpoint| Cause::leaf(Savepoint::CheckpointGoesFirst { checkpoint })),
        );
        let running = self.job.phase == JobPhase::Running;
        if because.is_empty() && running && checkpoints.needed_mark().is_some() {
            because.push(Cause::new(Savepoint::SavepointIdNotDurable, self.ids()));
        }
        because
    }

    /// Why the outcome of a savepoint is not told.
    pub(super) fn outcome(&self, wish: &Wish) -> Vec<Cause> {
        let Stage::Ending { ended, .. } = &wish.stage else {
            return Vec::new();
        };
        let outcome = ended.outcome.as_ref().map(|outcome| &outcome.result);
        let failure = outcome.and_then(|result| result.as_ref().err());
        let failure = failure.map(|failure| excerpt(failure));
        let (job, trigger) = (self.job.id(), wish.record.trigger);
        let write = self.store(|fact| *fact == Fact::SavepointEnded(job, trigger));
        vec![Cause::new(Savepoint::OutcomeNotDurable { failure }, write)]
    }
}

fn behind(trigger: TriggerId) -> Cause {
    Cause::leaf(Savepoint::BehindAnotherSavepoint { trigger })
}
