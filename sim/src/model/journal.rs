//! The model's queue of writes: one under way at a time, in order, repeated until the answer is definite.

use super::orders::Write;
use jobmanager_core::id::CommitId;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::time::Timestamp;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    queued: Vec<Vec<Write>>,
    /// What is being written, and how that stands.
    current: Option<(Vec<Vec<Write>>, Try)>,
    /// The highest name of a write so far.
    last: u64,
}

#[derive(Debug, Clone)]
enum Try {
    /// Ordered; the name is learned from the order.
    UnderWay(Option<CommitId>, Duration),
    Waiting(Timestamp, Duration),
}

/// What an answer of the store means.
pub(super) enum Answer {
    Durable(Vec<Vec<Write>>),
    Nothing,
    Fenced,
}

impl Journal {
    pub(super) fn queue(&mut self, writes: Vec<Vec<Write>>) {
        self.queued.extend(writes);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.current.is_none()
    }

    /// What is to be written now.
    pub(super) fn pump(&mut self, now: Timestamp) -> Option<Vec<Write>> {
        if self.current.is_none() && !self.queued.is_empty() {
            let everything = std::mem::take(&mut self.queued);
            self.current = Some((everything, Try::Waiting(now, FIRST_PAUSE)));
        }
        let (writes, state) = self.current.as_mut()?;
        let Try::Waiting(at, pause) = *state else {
            return None;
        };
        if at > now {
            return None;
        }
        *state = Try::UnderWay(None, pause);
        Some(writes.concat())
    }

    /// The coordinator ordered it under this name; tells whether the name is a new one.
    pub(super) fn named(&mut self, commit: CommitId) -> bool {
        if let Some((_, Try::UnderWay(name, _))) = &mut self.current {
            name.get_or_insert(commit);
        }
        let new = commit.0 > self.last;
        self.last = commit.0;
        new
    }

    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        commit: CommitId,
        outcome: &StoreOutcome,
    ) -> Answer {
        let Some((_, state)) = &mut self.current else {
            return Answer::Nothing;
        };
        let Try::UnderWay(Some(name), pause) = *state else {
            return Answer::Nothing;
        };
        if name != commit {
            return Answer::Nothing;
        }
        match outcome {
            StoreOutcome::Done => {
                let writes = self.current.take().map(|(writes, _)| writes);
                Answer::Durable(writes.unwrap_or_default())
            }
            StoreOutcome::Fenced => Answer::Fenced,
            StoreOutcome::Unavailable(_) | StoreOutcome::Unknown(_) => {
                *state = Try::Waiting(now + pause, LAST_PAUSE.min(pause * 2));
                Answer::Nothing
            }
        }
    }
}
