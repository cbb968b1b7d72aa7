//! A task without inputs: polls its source and answers orders in between.

use super::output::Outputs;
use super::snapshot::Snapshots;
use super::wiring::Wiring;
use super::{Stop, Task};
use crate::channel::{Inbox, Next, Order};
use crate::sdk::{Source, SourceStatus};
use jobmanager_core::id::CheckpointId;
use jobmanager_core::taskmanager::TaskEvent;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs until the source and, with checkpoints, the job have ended.
pub(crate) fn run(
    task: &Task,
    wiring: Wiring,
    source: Box<dyn Source>,
    end_of_data: bool,
) -> Result<(), Stop> {
    let mut running = Running {
        source,
        snapshots: task.snapshots(),
        inbox: Arc::clone(&task.inbox),
        outputs: wiring.outputs,
        triggered: CheckpointId(0),
        end_of_data,
        finished: false,
    };
    running.poll_to_the_end()?;
    running.outputs.end_of_data()?;
    task.report(TaskEvent::EndOfData);
    if task.table().checkpoints.is_some() {
        running.await_finish()?;
    }
    running.outputs.finish();
    wiring.claims.finish();
    Ok(())
}

struct Running {
    source: Box<dyn Source>,
    snapshots: Snapshots,
    inbox: Arc<Inbox>,
    outputs: Outputs,
    /// The latest checkpoint that was triggered; an earlier or equal one is a repetition.
    triggered: CheckpointId,
    end_of_data: bool,
    finished: bool,
}

impl Running {
    fn poll_to_the_end(&mut self) -> Result<(), Stop> {
        while !self.end_of_data {
            while let Some(order) = self.inbox.try_order()? {
                self.obey(order)?;
            }
            match self.source.poll(&mut self.outputs)? {
                SourceStatus::Ready => self.outputs.flush_if_due()?,
                SourceStatus::Idle(pause) => self.idle(pause)?,
                SourceStatus::Ended => self.end_of_data = true,
            }
        }
        Ok(())
    }

    /// Waits, but neither lets orders nor unfinished frames wait with it.
    fn idle(&mut self, pause: Duration) -> Result<(), Stop> {
        let until = Instant::now() + pause;
        loop {
            self.outputs.flush_if_due()?;
            let flush = self.outputs.flush_due().unwrap_or(until);
            match self.inbox.next(Some(until.min(flush)))? {
                Next::Order(order) => self.obey(order)?,
                // Without inputs there is none.
                Next::Channel(_) => {}
                Next::Timeout if Instant::now() >= until => return Ok(()),
                Next::Timeout => {}
            }
        }
    }

    fn await_finish(&mut self) -> Result<(), Stop> {
        while !self.finished {
            match self.inbox.next(None)? {
                Next::Order(order) => self.obey(order)?,
                Next::Channel(_) | Next::Timeout => {}
            }
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) -> Result<(), Stop> {
        match order {
            Order::Trigger(checkpoint) if checkpoint > self.triggered => {
                self.triggered = checkpoint;
                self.outputs.barrier(checkpoint)?;
                let snapshot = self.source.snapshot(checkpoint);
                self.snapshots.taken(checkpoint, self.end_of_data, snapshot);
            }
            Order::Complete { finish, .. } => self.finished |= finish && self.end_of_data,
            // A trigger that is obeyed here later is stale everywhere: its barrier blocks nothing.
            Order::Trigger(_) | Order::Abort(_) | Order::AbortBelow(_) => {}
        }
        Ok(())
    }
}
