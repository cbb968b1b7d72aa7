//! A task with inputs: an operator or a sink.

use super::gate::{Aligned, Event, Gate};
use super::output::Outputs;
use super::snapshot::Snapshots;
use super::wiring::Wiring;
use super::{Counters, Stop, Task};
use crate::channel::Order;
use crate::sdk::{Operator, OperatorError, Record, Sink, State};
use bytes::Bytes;
use jobmanager_core::id::CheckpointId;
use jobmanager_core::taskmanager::TaskEvent;
use jobmanager_proto::records::RecordReader;
use std::sync::Arc;

/// What the task runs.
pub(crate) enum Work {
    Operator(Box<dyn Operator>),
    Sink(Box<dyn Sink>),
}

/// Runs until the inputs and, with checkpoints, the job have ended, or the job was suspended.
pub(crate) fn run(
    task: &Task,
    wiring: Wiring,
    work: Work,
    restored_at_end: bool,
) -> Result<(), Stop> {
    let mode = task.table().checkpoints.map(|how| how.mode);
    let mut running = Running {
        work,
        gate: Gate::new(Arc::clone(&task.inbox), wiring.inlets, mode),
        outputs: wiring.outputs,
        snapshots: task.snapshots()?,
        counters: Arc::clone(&task.counters),
        restored_at_end,
        finished: false,
    };
    while !running.finished {
        let event = running.next()?;
        running.take(task, event)?;
    }
    running.outputs.finish();
    wiring.claims.finish();
    Ok(())
}

struct Running {
    work: Work,
    gate: Gate,
    outputs: Outputs,
    snapshots: Snapshots,
    counters: Arc<Counters>,
    /// The restored state is one of after the end of data: `finish` has had its effect already.
    restored_at_end: bool,
    finished: bool,
}

impl Running {
    fn next(&mut self) -> Result<Event, Stop> {
        self.outputs.flush_if_due()?;
        self.gate.next(self.outputs.flush_due())
    }

    fn take(&mut self, task: &Task, event: Event) -> Result<(), Stop> {
        match event {
            Event::Records(bytes) => self.records(&bytes)?,
            Event::Watermark(time) => self.watermark(time)?,
            Event::Barrier { subsumed, aligned } => {
                for checkpoint in subsumed {
                    self.snapshots.subsumed(checkpoint);
                }
                if let Some(aligned) = aligned {
                    self.checkpoint(aligned)?;
                }
            }
            Event::EndOfData => self.end(task)?,
            Event::Order(order) => self.obey(order)?,
            Event::Timeout => {}
        }
        Ok(())
    }

    fn records(&mut self, frame: &Bytes) -> Result<(), Stop> {
        let mut count = 0;
        for record in RecordReader::new(frame) {
            let (key, value, time) = record.map_err(|problem| {
                Stop::Failed(format!("a frame that holds no records came: {problem}"))
            })?;
            let record = Record { key, value, time };
            match &mut self.work {
                Work::Operator(operator) => operator.process(record, &mut self.outputs)?,
                Work::Sink(sink) => sink.process(record)?,
            }
            count += 1;
        }
        self.counters.received(count, frame.len() as u64);
        Ok(())
    }

    fn watermark(&mut self, time: i64) -> Result<(), Stop> {
        use crate::sdk::Output;
        if let Work::Operator(operator) = &mut self.work {
            operator.watermark(time, &mut self.outputs)?;
            self.outputs.watermark(time)?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, aligned: Aligned) -> Result<(), Stop> {
        let Aligned {
            barrier,
            end_of_data,
        } = aligned;
        self.outputs.barrier(&barrier)?;
        self.snapshots.take(&barrier, end_of_data, |state| {
            self.work.snapshot(barrier.checkpoint, state)
        });
        Ok(())
    }

    fn end(&mut self, task: &Task) -> Result<(), Stop> {
        let checkpoints = task.table().checkpoints.is_some();
        match &mut self.work {
            Work::Operator(_) if self.restored_at_end => {}
            Work::Operator(operator) => operator.finish(&mut self.outputs)?,
            Work::Sink(_) if checkpoints => {}
            Work::Sink(sink) => sink.finish()?,
        }
        self.outputs.end_of_data()?;
        self.finished = !checkpoints;
        task.report(TaskEvent::EndOfData);
        Ok(())
    }

    fn obey(&mut self, order: Order) -> Result<(), Stop> {
        match order {
            Order::Complete { checkpoint, finish } => {
                if let Work::Sink(sink) = &mut self.work {
                    sink.commit(checkpoint)?;
                }
                self.gate.complete(checkpoint);
                self.finished |= finish;
            }
            Order::Abort(checkpoint) => self.gate.abort(checkpoint),
            Order::AbortBelow(next) => self.gate.abort_below(next),
            // The barrier comes with the records.
            Order::Trigger(_) => {}
        }
        Ok(())
    }
}

impl Work {
    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        state: &mut State,
    ) -> Result<(), OperatorError> {
        match self {
            Work::Operator(operator) => operator.snapshot(checkpoint, state),
            Work::Sink(sink) => sink.snapshot(checkpoint, state),
        }
    }
}
