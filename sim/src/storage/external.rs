//! The world outside: where sinks commit. It keeps prepared transactions through every crash, publishes
//! each at most once, and refuses one that it was told to forget.

use crate::plan::job::Row;
use jobmanager_core::id::{Attempt, CheckpointId, JobId, TaskId};
use std::collections::BTreeMap;
use std::ops::Range;

/// A subtask of a sink, whatever attempt runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SinkId {
    pub(crate) job: JobId,
    pub(crate) task: TaskId,
}

/// A transaction of a sink: closed by this attempt under this checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Transaction {
    pub(crate) attempt: Attempt,
    pub(crate) checkpoint: CheckpointId,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Prepared(Vec<Row>),
    Committed,
}

/// Rows that became visible.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Published {
    pub(crate) sink: SinkId,
    /// Absent if the job takes no checkpoints.
    pub(crate) transaction: Option<Transaction>,
    pub(crate) rows: Vec<Row>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    Published,
    /// It was published before: nothing changed.
    Repeated,
    /// It is not known any more: its rows are lost.
    Refused,
}

/// Every transaction of every sink, and what was published since somebody looked.
#[derive(Default)]
pub(crate) struct External {
    transactions: BTreeMap<SinkId, BTreeMap<Transaction, State>>,
    /// By job: the one whose transactions it describes, too, as it starts where that one stopped.
    heirs: BTreeMap<JobId, JobId>,
    pub(crate) published: Vec<Published>,
    /// Transactions that were to be committed after they had been forgotten.
    pub(crate) refused: Vec<(SinkId, Transaction)>,
    /// Something was forgotten since somebody looked.
    pub(crate) dropped: bool,
}

impl External {
    /// First phase. What was prepared before under the same name stays as it is.
    pub(crate) fn prepare(&mut self, sink: SinkId, transaction: Transaction, rows: Vec<Row>) {
        let known = self.transactions.entry(sink).or_default();
        known.entry(transaction).or_insert(State::Prepared(rows));
    }

    /// This job goes on where another one stopped.
    pub(crate) fn inherits(&mut self, job: JobId, stopped: JobId) {
        self.heirs.insert(job, stopped);
    }

    /// Second phase. Repeated, it changes nothing.
    pub(crate) fn commit(&mut self, mut sink: SinkId, transaction: Transaction) -> Commit {
        let own = self.transactions.get(&sink);
        if let Some(stopped) = self.heirs.get(&sink.job)
            && !own.is_some_and(|own| own.contains_key(&transaction))
        {
            sink.job = *stopped;
        }
        let known = self.transactions.entry(sink).or_default();
        let Some(state) = known.get_mut(&transaction) else {
            self.refused.push((sink, transaction));
            return Commit::Refused;
        };
        match std::mem::replace(state, State::Committed) {
            State::Committed => Commit::Repeated,
            State::Prepared(rows) => {
                self.published.push(Published {
                    sink,
                    transaction: Some(transaction),
                    rows,
                });
                Commit::Published
            }
        }
    }

    /// Publishes rows of a job without checkpoints.
    pub(crate) fn publish(&mut self, sink: SinkId, rows: Vec<Row>) {
        self.published.push(Published {
            sink,
            transaction: None,
            rows,
        });
    }

    /// Forgets what these attempts prepared and did not commit.
    pub(crate) fn drop_leftovers(&mut self, sink: SinkId, of: Range<Attempt>) {
        let known = self.transactions.entry(sink).or_default();
        let before = known.len();
        known.retain(|transaction, state| {
            *state == State::Committed || !of.contains(&transaction.attempt)
        });
        self.dropped |= known.len() < before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::id::{Epoch, SubtaskIndex, VertexIndex};

    #[test]
    fn a_transaction_is_published_once_and_a_forgotten_one_never() {
        let sink = SinkId {
            job: JobId(1),
            task: TaskId {
                vertex: VertexIndex(0),
                subtask: SubtaskIndex(0),
            },
        };
        let transaction = |checkpoint| Transaction {
            attempt: Attempt {
                epoch: Epoch(1),
                number: 0,
            },
            checkpoint: CheckpointId(checkpoint),
        };
        let mut external = External::default();
        external.prepare(sink, transaction(1), vec![]);
        external.prepare(sink, transaction(2), vec![]);
        assert_eq!(external.commit(sink, transaction(1)), Commit::Published);
        let later = Attempt {
            epoch: Epoch(1),
            number: 1,
        };
        external.drop_leftovers(sink, Attempt::default()..transaction(1).attempt);
        assert!(!external.dropped);
        external.drop_leftovers(sink, Attempt::default()..later);
        assert!(external.dropped);
        assert_eq!(external.commit(sink, transaction(1)), Commit::Repeated);
        assert_eq!(external.commit(sink, transaction(2)), Commit::Refused);
        assert_eq!(external.published.len(), 1);
        assert_eq!(external.refused, [(sink, transaction(2))]);
    }
}
