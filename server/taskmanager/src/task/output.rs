//! The output side of a task: records are partitioned and collected into frames.
//!
//! A frame leaves when it is full, before a barrier and before the end of data, and otherwise at most
//! [`FLUSH_INTERVAL`] after its first record. Watermarks may be late but never early, so they leave with
//! the flushes instead of each cutting all frames short.

use super::partition::{Choice, Partitioner};
use super::{Counters, Stop};
use crate::channel::{Barrier, Frame, Inbox, Pipe, PushError};
use crate::exchange::MAX_RECORD_BYTES;
use crate::sdk::{OperatorError, Output, Record};
use jobmanager_proto::records::RecordWriter;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a record may wait in a frame that is not full.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(20);
/// A frame of this many bytes is full: large enough that the cost per frame vanishes.
const FRAME_BYTES: usize = 32 << 10;
/// What all unfinished frames of a task share: with many consumers, frames are smaller.
const TASK_BYTES: usize = 1 << 20;
/// Smaller frames would cost more than they save.
const MIN_FRAME_BYTES: usize = 1 << 10;

/// One outgoing edge of a task.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) partitioner: Partitioner,
    pub(crate) outlets: Vec<Outlet>,
}

/// One outgoing channel of a task.
#[derive(Debug)]
pub(crate) struct Outlet {
    pipe: Arc<Pipe>,
    frame: RecordWriter,
}

impl Outlet {
    pub(crate) fn new(pipe: Arc<Pipe>) -> Outlet {
        Outlet {
            pipe,
            frame: RecordWriter::new(),
        }
    }
}

/// All outgoing edges of a task.
#[derive(Debug)]
pub(crate) struct Outputs {
    edges: Vec<Edge>,
    way_out: WayOut,
    frame_bytes: usize,
    /// To be sent with the next flush.
    watermark: Option<i64>,
    /// The last one that was promised.
    promised: i64,
    /// When something was first left in a frame.
    waiting_since: Option<Instant>,
}

/// What it takes to send a frame, apart from the frame and its channel.
#[derive(Debug)]
struct WayOut {
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
}

impl Outputs {
    pub(crate) fn new(edges: Vec<Edge>, inbox: Arc<Inbox>, counters: Arc<Counters>) -> Outputs {
        let outlets: usize = edges.iter().map(|edge| edge.outlets.len()).sum();
        Outputs {
            frame_bytes: (TASK_BYTES / outlets.max(1)).clamp(MIN_FRAME_BYTES, FRAME_BYTES),
            edges,
            way_out: WayOut { inbox, counters },
            watermark: None,
            promised: i64::MIN,
            waiting_since: None,
        }
    }

    /// When [`Outputs::flush`] should be called at the latest.
    pub(crate) fn flush_due(&self) -> Option<Instant> {
        Some(self.waiting_since? + FLUSH_INTERVAL)
    }

    /// Flushes if it is time to. Cheap enough to be called for every frame.
    pub(crate) fn flush_if_due(&mut self) -> Result<(), OperatorError> {
        match self.flush_due() {
            Some(due) if Instant::now() >= due => self.flush(),
            _ => Ok(()),
        }
    }

    /// Sends everything that waits.
    pub(crate) fn flush(&mut self) -> Result<(), OperatorError> {
        self.waiting_since = None;
        let watermark = self.watermark.take().map(Frame::Watermark);
        for outlet in self.edges.iter_mut().flat_map(|edge| &mut edge.outlets) {
            if !outlet.frame.is_empty() {
                self.way_out.send_records(outlet)?;
            }
            if let Some(frame) = &watermark {
                self.way_out.send(&outlet.pipe, frame.clone())?;
            }
        }
        Ok(())
    }

    /// Sends everything that waits, and the barrier after it.
    pub(crate) fn barrier(&mut self, barrier: &Barrier) -> Result<(), Stop> {
        self.flush()?;
        Ok(self.send_to_all(&Frame::Barrier(barrier.clone()))?)
    }

    /// Sends everything that waits, and the end of data after it.
    pub(crate) fn end_of_data(&mut self) -> Result<(), Stop> {
        self.flush()?;
        Ok(self.send_to_all(&Frame::EndOfData)?)
    }

    /// The task has ended by itself: consumers read on what was sent.
    pub(crate) fn finish(self) {
        for outlet in self.edges.iter().flat_map(|edge| &edge.outlets) {
            outlet.pipe.finish();
        }
    }

    fn send_to_all(&mut self, frame: &Frame) -> Result<(), OperatorError> {
        for outlet in self.edges.iter().flat_map(|edge| &edge.outlets) {
            self.way_out.send(&outlet.pipe, frame.clone())?;
        }
        Ok(())
    }
}

impl Output for Outputs {
    #[inline]
    fn record(&mut self, record: Record<'_>) -> Result<(), OperatorError> {
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.len();
        if bytes > MAX_RECORD_BYTES {
            let problem =
                format!("a record of {bytes} bytes; at most {MAX_RECORD_BYTES} can be sent");
            return Err(OperatorError(problem));
        }
        let (way_out, limit) = (&self.way_out, self.frame_bytes);
        for edge in &mut self.edges {
            match edge.partitioner.choose(&record) {
                Choice::One(index) => way_out.append(&mut edge.outlets[index], &record, limit)?,
                Choice::All => {
                    for outlet in &mut edge.outlets {
                        way_out.append(outlet, &record, limit)?;
                    }
                }
            }
        }
        self.waiting_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn watermark(&mut self, time: i64) -> Result<(), OperatorError> {
        if time > self.promised {
            self.promised = time;
            self.watermark = Some(time);
            self.waiting_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }
}

impl WayOut {
    #[inline]
    fn append(
        &self,
        outlet: &mut Outlet,
        record: &Record<'_>,
        limit: usize,
    ) -> Result<(), OperatorError> {
        outlet.frame.push(record.key, record.value, record.time);
        if outlet.frame.len() >= limit {
            self.send_records(outlet)?;
        }
        Ok(())
    }

    fn send_records(&self, outlet: &mut Outlet) -> Result<(), OperatorError> {
        let records = u64::from(outlet.frame.records());
        let bytes = outlet.frame.take();
        self.counters.sent(records, bytes.len() as u64);
        self.send(&outlet.pipe, Frame::Records(bytes))
    }

    /// Waits while the consumer is slow.
    fn send(&self, pipe: &Pipe, frame: Frame) -> Result<(), OperatorError> {
        let mut frame = frame;
        loop {
            match pipe.push(frame) {
                Ok(()) => return Ok(()),
                Err(PushError::Broken(reason)) => return Err(OperatorError(reason.to_string())),
                Err(PushError::Full(again)) => frame = again,
            }
            if self.inbox.wait_writable().is_err() {
                return Err(OperatorError("the task was canceled".to_owned()));
            }
        }
    }
}

impl Drop for Outputs {
    /// The task has failed or was canceled, unless [`Outputs::finish`] came first.
    fn drop(&mut self) {
        for outlet in self.edges.iter().flat_map(|edge| &edge.outlets) {
            if !outlet.pipe.is_closed() {
                outlet.pipe.abandon();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::channel::Popped;
    use jobmanager_core::graph::Partitioning;
    use jobmanager_core::id::CheckpointId;
    use jobmanager_proto::records::RecordReader;

    fn outputs(partitioning: Partitioning, channels: usize) -> (Outputs, Vec<Arc<Pipe>>) {
        let pipes: Vec<Arc<Pipe>> = (0..channels).map(|_| Arc::default()).collect();
        let edge = Edge {
            partitioner: Partitioner::new(partitioning, 0, channels, 128),
            outlets: pipes.iter().cloned().map(Outlet::new).collect(),
        };
        let outputs = Outputs::new(vec![edge], Arc::default(), Arc::default());
        (outputs, pipes)
    }

    fn record(value: &[u8]) -> Record<'_> {
        let (key, time) = (None, 0);
        Record { key, value, time }
    }

    fn popped(pipe: &Pipe) -> Option<Frame> {
        match pipe.pop() {
            Popped::Frame { frame, .. } => Some(frame),
            Popped::Empty | Popped::Closed => None,
            Popped::Broken(reason) => panic!("{reason}"),
        }
    }

    fn values(frame: Option<Frame>) -> Vec<Vec<u8>> {
        let Some(Frame::Records(bytes)) = frame else {
            panic!("records were expected, not {frame:?}");
        };
        let records = RecordReader::new(&bytes);
        records.map(|record| record.unwrap().1.to_vec()).collect()
    }

    #[test]
    fn a_barrier_comes_after_the_records_before_it_on_every_channel() {
        let (mut outputs, pipes) = outputs(Partitioning::Rebalance, 2);
        outputs.record(record(b"a")).unwrap();
        outputs.watermark(5).unwrap();
        outputs.barrier(&CheckpointId(1).into()).unwrap();
        assert_eq!(values(popped(&pipes[0])), [b"a"]);
        for pipe in &pipes {
            assert_eq!(popped(pipe), Some(Frame::Watermark(5)));
            assert_eq!(popped(pipe), Some(Frame::Barrier(CheckpointId(1).into())));
        }
    }

    #[test]
    fn a_full_frame_leaves_by_itself_and_others_wait_for_the_flush() {
        let (mut outputs, pipes) = outputs(Partitioning::Forward, 1);
        outputs.record(record(b"small")).unwrap();
        assert_eq!(popped(&pipes[0]), None);
        outputs.record(record(&[b'x'; FRAME_BYTES])).unwrap();
        assert_eq!(values(popped(&pipes[0])).len(), 2);
        outputs.record(record(b"last")).unwrap();
        assert!(outputs.flush_due().is_some());
        outputs.flush().unwrap();
        assert_eq!(values(popped(&pipes[0])), [b"last"]);
        assert_eq!(outputs.flush_due(), None);
    }

    #[test]
    fn broadcast_gives_every_consumer_every_record() {
        let (mut outputs, pipes) = outputs(Partitioning::Broadcast, 3);
        outputs.record(record(b"a")).unwrap();
        outputs.flush().unwrap();
        for pipe in &pipes {
            assert_eq!(values(popped(pipe)), [b"a"]);
        }
    }

    #[test]
    fn a_watermark_that_promises_nothing_new_is_not_sent() {
        let (mut outputs, pipes) = outputs(Partitioning::Forward, 1);
        for time in [7, 7, 3] {
            outputs.watermark(time).unwrap();
            outputs.flush().unwrap();
        }
        assert_eq!(popped(&pipes[0]), Some(Frame::Watermark(7)));
        assert_eq!(popped(&pipes[0]), None);
    }

    #[test]
    fn many_consumers_share_the_memory_of_the_task() {
        let (few, _) = outputs(Partitioning::Hash, 2);
        let (many, _) = outputs(Partitioning::Hash, 256);
        assert_eq!(few.frame_bytes, FRAME_BYTES);
        assert_eq!(many.frame_bytes, TASK_BYTES / 256);
    }

    #[test]
    fn a_task_that_waits_for_a_slow_consumer_can_be_canceled() {
        let (mut outputs, _pipes) = outputs(Partitioning::Forward, 1);
        let inbox = Arc::clone(&outputs.way_out.inbox);
        std::thread::scope(|scope| {
            let writes = scope.spawn(move || {
                while outputs.end_of_data().is_ok() {}
                outputs
            });
            inbox.cancel();
            writes.join().unwrap();
        });
    }

    #[test]
    fn a_record_that_no_frame_can_carry_is_refused() {
        let (mut outputs, _pipes) = outputs(Partitioning::Forward, 1);
        let large = vec![0; MAX_RECORD_BYTES + 1];
        let refused = outputs.record(record(&large)).unwrap_err();
        assert!(refused.0.contains("67108865 bytes"), "{refused}");
    }
}
