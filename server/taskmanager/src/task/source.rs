//! A task without inputs: polls its source and answers orders in between.

use super::output::Outputs;
use super::snapshot::Snapshots;
use super::suspension::Suspension;
use super::wiring::Wiring;
use super::{Stop, Task};
use crate::channel::{Barrier, Inbox, Next, Order};
use crate::sdk::{Source, SourceStatus};
use jobmanager_core::id::CheckpointId;
use jobmanager_core::taskmanager::TaskEvent;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs until the source and, with checkpoints, the job have ended, or the job was suspended.
pub(crate) fn run(
    task: &Task,
    wiring: Wiring,
    source: Box<dyn Source>,
    restored_at_end: bool,
) -> Result<(), Stop> {
    let mut running = Running {
        task,
        source,
        snapshots: task.snapshots()?,
        inbox: Arc::clone(&task.inbox),
        outputs: wiring.outputs,
        triggered: CheckpointId(0),
        suspension: Suspension::default(),
        end_of_data: false,
        finished: false,
    };
    if restored_at_end {
        running.end()?;
    }
    while !running.finished {
        running.turn()?;
    }
    running.outputs.finish();
    wiring.claims.finish();
    Ok(())
}

struct Running<'a> {
    task: &'a Task,
    source: Box<dyn Source>,
    snapshots: Snapshots,
    inbox: Arc<Inbox>,
    outputs: Outputs,
    /// The latest checkpoint that was triggered; an earlier or equal one is a repetition.
    triggered: CheckpointId,
    suspension: Suspension,
    end_of_data: bool,
    finished: bool,
}

impl Running<'_> {
    /// Orders come before records.
    fn turn(&mut self) -> Result<(), Stop> {
        if let Some(order) = self.inbox.try_order()? {
            return self.obey(order);
        }
        if !self.reads() {
            return self.wait(None);
        }
        match self.source.poll(&mut self.outputs)? {
            SourceStatus::Ready => Ok(self.outputs.flush_if_due()?),
            SourceStatus::Idle(pause) => self.idle(pause),
            SourceStatus::Ended => self.end(),
        }
    }

    fn reads(&self) -> bool {
        !self.end_of_data && !self.suspension.is_on() && !self.finished
    }

    /// Waits, but neither lets orders nor unfinished frames wait with it.
    fn idle(&mut self, pause: Duration) -> Result<(), Stop> {
        let until = Instant::now() + pause;
        while self.reads() && Instant::now() < until {
            self.outputs.flush_if_due()?;
            let flush = self.outputs.flush_due().unwrap_or(until);
            self.wait(Some(until.min(flush)))?;
        }
        Ok(self.outputs.flush_if_due()?)
    }

    fn wait(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        match self.inbox.next(until)? {
            Next::Order(order) => self.obey(order),
            // Without inputs there is no channel.
            Next::Channel(_) | Next::Timeout => Ok(()),
        }
    }

    /// Nothing is read any more.
    fn end(&mut self) -> Result<(), Stop> {
        self.outputs.end_of_data()?;
        self.end_of_data = true;
        self.finished |= self.task.table().checkpoints.is_none();
        self.task.report(TaskEvent::EndOfData);
        Ok(())
    }

    fn obey(&mut self, order: Order) -> Result<(), Stop> {
        match order {
            Order::Trigger(barrier) if barrier.checkpoint > self.triggered => {
                self.checkpoint(&barrier)?;
            }
            // A trigger that is obeyed here later is stale everywhere: its barrier blocks nothing.
            Order::Trigger(_) => {}
            Order::Complete { checkpoint, finish } => {
                self.suspension.complete(checkpoint);
                self.finished |= finish;
            }
            Order::Abort(checkpoint) => self.suspension.abort(checkpoint),
            Order::AbortBelow(next) => self.suspension.abort_below(next),
        }
        Ok(())
    }

    fn checkpoint(&mut self, barrier: &Barrier) -> Result<(), Stop> {
        self.triggered = barrier.checkpoint;
        if barrier.drains() && !self.end_of_data {
            self.end()?;
        }
        self.outputs.barrier(barrier)?;
        self.suspension.passed(barrier);
        self.snapshots.take(barrier, self.end_of_data, |state| {
            self.source.snapshot(barrier.checkpoint, state)
        });
        Ok(())
    }
}
