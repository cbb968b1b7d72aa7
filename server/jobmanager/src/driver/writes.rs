//! The task that brings the coordinator's writes to the store, and tells the operator how the store is.

use super::handle::Driver;
use crate::store::Store;
use jobmanager_core::id::{CommitId, Epoch};
use jobmanager_core::jobmanager::{Input, StoreOutcome};
use jobmanager_core::record::RecordOp;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{info, warn};

/// A write on its way to the store.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) id: CommitId,
    pub(super) ops: Vec<RecordOp>,
}

/// How many writes may wait for the store: the coordinator has one under way at any time.
const WAITING: usize = 1;

/// Writes on their way to the store. With this they are given up: nobody is left to hear of their outcome.
#[derive(Debug)]
pub(super) struct WriteQueue {
    writes: mpsc::Sender<Commit>,
    task: AbortHandle,
}

impl WriteQueue {
    /// Starts the task that writes in this epoch, and reports to the driver.
    pub(super) fn start<S: Store>(store: S, epoch: Epoch, driver: Driver) -> WriteQueue {
        let (writes, ordered) = mpsc::channel(WAITING);
        let task = tokio::spawn(write_commits(store, epoch, ordered, driver));
        let task = task.abort_handle();
        WriteQueue { writes, task }
    }

    /// Queues a write.
    pub(super) fn push(&self, commit: Commit) {
        self.writes
            .try_send(commit)
            .expect("one write is under way at a time, and its task lives as long as the queue");
    }
}

impl Drop for WriteQueue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Brings the writes to the store, one after the other, and their outcomes back.
async fn write_commits<S: Store>(
    store: S,
    epoch: Epoch,
    mut writes: mpsc::Receiver<Commit>,
    driver: Driver,
) {
    let mut problem = None;
    while let Some(Commit { id, ops }) = writes.recv().await {
        let begun = Instant::now();
        let outcome = store.commit(epoch, ops).await;
        driver.telemetry().commit(begun.elapsed(), &outcome);
        match change(&mut problem, &outcome) {
            Some(Change::Fails(problem)) => {
                warn!(
                    problem,
                    "the store takes no writes; they are tried again until it does"
                );
            }
            Some(Change::Works) => info!("the store takes writes again"),
            None => {}
        }
        driver
            .input(Input::Stored {
                commit: id,
                outcome,
            })
            .await;
    }
}

/// What is worth a line in the log: not every try.
#[derive(Debug, PartialEq, Eq)]
enum Change<'a> {
    /// It began to fail, or fails for another reason.
    Fails(&'a str),
    /// It no longer fails.
    Works,
}

fn change<'a>(problem: &mut Option<String>, outcome: &'a StoreOutcome) -> Option<Change<'a>> {
    match outcome {
        // The coordinator steps down, which has words of its own.
        StoreOutcome::Fenced => None,
        StoreOutcome::Done => problem.take().map(|_| Change::Works),
        StoreOutcome::Unavailable(words) | StoreOutcome::Unknown(words) => {
            if problem.as_deref() == Some(words) {
                return None;
            }
            *problem = Some(words.clone());
            Some(Change::Fails(words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_store_is_told_about_once_and_once_more_when_it_works_again() {
        let full = StoreOutcome::Unavailable("full".into());
        let lost = StoreOutcome::Unknown("lost".into());
        let mut problem = None;
        for (outcome, expected) in [
            (&StoreOutcome::Done, None),
            (&full, Some(Change::Fails("full"))),
            (&full, None),
            (&lost, Some(Change::Fails("lost"))),
            (&StoreOutcome::Done, Some(Change::Works)),
            (&StoreOutcome::Done, None),
        ] {
            assert_eq!(change(&mut problem, outcome), expected, "{outcome:?}");
        }
    }
}
