//! The input side of a task: its channels, barrier alignment, watermarks and the end of data.
//!
//! A channel that is blocked by an alignment is not read: it is set aside until the alignment ends, and
//! its pipe fills up behind it. So is every channel while the job is suspended.

use super::Stop;
use super::suspension::Suspension;
use crate::channel::{Barrier, Frame, Inbox, Next, Order, Pipe, Popped};
use crate::exchange::Subscription;
use jobmanager_core::config::CheckpointMode;
use jobmanager_core::id::CheckpointId;
use jobmanager_core::taskmanager::{self, Aligner};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Where one input channel comes from.
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) pipe: Arc<Pipe>,
    /// For a producer on another TaskManager: returns credit, and unsubscribes when dropped.
    pub(crate) subscription: Option<Subscription>,
}

/// The input channels of one task; at least one.
#[derive(Debug)]
pub(crate) struct Gate {
    inbox: Arc<Inbox>,
    inlets: Vec<Inlet>,
    aligner: Aligner,
    suspension: Suspension,
    /// Channels that have frames but are blocked.
    aside: Vec<u32>,
    watermarks: Watermarks,
    ended: Vec<bool>,
    missing_ends: u32,
    /// How many channels had ended before they delivered the barrier.
    ended_before: BTreeMap<CheckpointId, u32>,
    /// Whether barriers may follow the end of data.
    checkpoints: bool,
}

/// What a task has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Order(Order),
    /// A frame of records.
    Records(bytes::Bytes),
    /// All channels have passed this event time.
    Watermark(i64),
    /// A barrier that changed something.
    Barrier {
        /// These checkpoints will never be aligned: a later barrier came first.
        subsumed: Vec<CheckpointId>,
        /// Every channel has delivered the barrier of this one: pass it on and snapshot.
        aligned: Option<Aligned>,
    },
    /// The last channel has ended.
    EndOfData,
    /// Nothing came in time.
    Timeout,
}

/// A checkpoint whose barrier has come on every channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aligned {
    pub(crate) barrier: Barrier,
    /// What came before the barrier was the whole input.
    pub(crate) end_of_data: bool,
}

impl Gate {
    pub(crate) fn new(inbox: Arc<Inbox>, inlets: Vec<Inlet>, mode: Option<CheckpointMode>) -> Gate {
        let count = u32::try_from(inlets.len()).expect("bounded by the largest parallelism");
        Gate {
            inbox,
            aligner: Aligner::new(count, mode.unwrap_or(CheckpointMode::ExactlyOnce)),
            suspension: Suspension::default(),
            aside: Vec::new(),
            watermarks: Watermarks::new(inlets.len()),
            ended: vec![false; inlets.len()],
            missing_ends: count,
            ended_before: BTreeMap::new(),
            checkpoints: mode.is_some(),
            inlets,
        }
    }

    /// Waits for something to do, at longest until `deadline`.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Result<Event, Stop> {
        loop {
            let channel = match self.inbox.next(deadline)? {
                Next::Order(order) => return Ok(Event::Order(order)),
                Next::Timeout => return Ok(Event::Timeout),
                Next::Channel(channel) => channel,
            };
            if self.is_blocked(channel) {
                self.aside.push(channel);
                continue;
            }
            if let Some(event) = self.read(channel)? {
                return Ok(event);
            }
        }
    }

    /// A checkpoint is durable.
    pub(crate) fn complete(&mut self, checkpoint: CheckpointId) {
        self.suspension.complete(checkpoint);
    }

    /// The JobManager gave a checkpoint up.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        self.aligner.abort(checkpoint);
        self.suspension.abort(checkpoint);
        self.ended_before.remove(&checkpoint);
        self.read_aside();
    }

    /// The JobManager gave up every checkpoint below this one.
    pub(crate) fn abort_below(&mut self, next: CheckpointId) {
        self.aligner.abort_below(next);
        self.suspension.abort_below(next);
        self.ended_before = self.ended_before.split_off(&next);
        self.read_aside();
    }

    fn read(&mut self, channel: u32) -> Result<Option<Event>, Stop> {
        let inlet = &self.inlets[channel as usize];
        let (frame, more) = match inlet.pipe.pop() {
            Popped::Frame { frame, more } => (frame, more),
            Popped::Empty | Popped::Closed => return Ok(None),
            Popped::Broken(reason) if self.needs(channel) => {
                return Err(Stop::Failed(reason.to_string()));
            }
            Popped::Broken(_) => return Ok(None),
        };
        if let Some(subscription) = &inlet.subscription {
            subscription.consumed();
        }
        let event = self.take(channel, frame)?;
        if more {
            // After the frame was looked at: if it was a barrier, the channel waits now.
            self.put_back(channel);
        }
        Ok(event)
    }

    /// Whether more must come on a channel. Without checkpoints, nothing follows the end of data.
    fn needs(&self, channel: u32) -> bool {
        self.checkpoints || !self.ended[channel as usize]
    }

    fn is_blocked(&self, channel: u32) -> bool {
        self.suspension.is_on() || self.aligner.is_blocked(channel)
    }

    fn put_back(&mut self, channel: u32) {
        if self.is_blocked(channel) {
            self.aside.push(channel);
        } else {
            crate::channel::Reader::ready(&*self.inbox, channel);
        }
    }

    fn take(&mut self, channel: u32, frame: Frame) -> Result<Option<Event>, Stop> {
        let index = channel as usize;
        Ok(match frame {
            Frame::Records(_) if self.ended[index] => {
                let problem = format!("input channel {channel} went on after its end of data");
                return Err(Stop::Failed(problem));
            }
            Frame::Records(bytes) => Some(Event::Records(bytes)),
            Frame::Watermark(time) => self.watermarks.advance(index, time).map(Event::Watermark),
            Frame::Barrier(barrier) => self.barrier(channel, barrier),
            Frame::EndOfData if self.ended[index] => None,
            Frame::EndOfData => {
                self.ended[index] = true;
                self.missing_ends -= 1;
                let passed = self.watermarks.advance(index, i64::MAX);
                match passed {
                    _ if self.missing_ends == 0 => Some(Event::EndOfData),
                    passed => passed.map(Event::Watermark),
                }
            }
        })
    }

    fn barrier(&mut self, channel: u32, barrier: Barrier) -> Option<Event> {
        let checkpoint = barrier.checkpoint;
        let arrival = self.aligner.barrier(channel, checkpoint);
        if arrival.barrier != taskmanager::Barrier::Stale && self.ended[channel as usize] {
            *self.ended_before.entry(checkpoint).or_default() += 1;
        }
        for subsumed in &arrival.subsumed {
            self.ended_before.remove(subsumed);
        }
        let aligned = (arrival.barrier == taskmanager::Barrier::Aligned).then(|| {
            let later = self.ended_before.split_off(&checkpoint.next());
            let counted = std::mem::replace(&mut self.ended_before, later);
            let ended = counted.get(&checkpoint).copied().unwrap_or(0);
            self.suspension.passed(&barrier);
            Aligned {
                barrier,
                end_of_data: ended as usize == self.inlets.len(),
            }
        });
        let subsumed = arrival.subsumed;
        if aligned.is_none() && subsumed.is_empty() {
            return None;
        }
        self.read_aside();
        Some(Event::Barrier { subsumed, aligned })
    }

    /// Gives channels that were set aside another chance.
    fn read_aside(&mut self) {
        for channel in std::mem::take(&mut self.aside) {
            self.put_back(channel);
        }
    }
}

/// The least event time that all channels have passed.
#[derive(Debug)]
struct Watermarks {
    channels: Vec<i64>,
    least: i64,
}

impl Watermarks {
    fn new(channels: usize) -> Watermarks {
        Watermarks {
            channels: vec![i64::MIN; channels],
            least: i64::MIN,
        }
    }

    /// A channel has passed `time`. Tells the least of all, if that has changed. Times never go back.
    fn advance(&mut self, channel: usize, time: i64) -> Option<i64> {
        let before = std::mem::replace(&mut self.channels[channel], time);
        self.channels[channel] = time.max(before);
        if before > self.least {
            return None;
        }
        let least = self.channels.iter().copied().min().unwrap_or(i64::MIN);
        (std::mem::replace(&mut self.least, least) < least).then_some(least)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;

    fn gate(channels: u32, mode: CheckpointMode) -> (Gate, Vec<Arc<Pipe>>) {
        let inbox = Arc::new(Inbox::default());
        let pipes: Vec<Arc<Pipe>> = (0..channels).map(|_| Arc::default()).collect();
        for (channel, pipe) in (0..).zip(&pipes) {
            pipe.attach_reader(inbox.clone(), channel);
        }
        let inlets = pipes.iter().map(|pipe| Inlet {
            pipe: Arc::clone(pipe),
            subscription: None,
        });
        (Gate::new(inbox, inlets.collect(), Some(mode)), pipes)
    }

    fn exactly_once(channels: u32) -> (Gate, Vec<Arc<Pipe>>) {
        gate(channels, CheckpointMode::ExactlyOnce)
    }

    fn records(text: &'static str) -> Frame {
        Frame::Records(Bytes::from_static(text.as_bytes()))
    }

    /// Everything that can be had without waiting.
    fn drain(gate: &mut Gate) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = gate.next(Some(Instant::now())).unwrap();
            if event == Event::Timeout {
                return events;
            }
            events.push(event);
        }
    }

    fn aligned(checkpoint: u64, end_of_data: bool) -> Event {
        Event::Barrier {
            subsumed: Vec::new(),
            aligned: Some(Aligned {
                barrier: CheckpointId(checkpoint).into(),
                end_of_data,
            }),
        }
    }

    fn seen(text: &'static str) -> Event {
        Event::Records(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_blocked_channel_is_not_read_until_every_barrier_has_come() {
        let (mut gate, pipes) = exactly_once(2);
        pipes[0]
            .push(Frame::Barrier(CheckpointId(1).into()))
            .unwrap();
        pipes[0].push(records("after")).unwrap();
        pipes[1].push(records("before")).unwrap();
        assert_eq!(drain(&mut gate), [seen("before")]);
        pipes[1]
            .push(Frame::Barrier(CheckpointId(1).into()))
            .unwrap();
        assert_eq!(drain(&mut gate), [aligned(1, false), seen("after")]);
    }

    #[test]
    fn frames_that_come_to_a_blocked_channel_later_wait_too() {
        let (mut gate, pipes) = exactly_once(2);
        pipes[0]
            .push(Frame::Barrier(CheckpointId(1).into()))
            .unwrap();
        assert_eq!(drain(&mut gate), []);
        pipes[0].push(records("after")).unwrap();
        assert_eq!(drain(&mut gate), []);
        gate.abort(CheckpointId(1));
        assert_eq!(drain(&mut gate), [seen("after")]);
    }

    #[test]
    fn a_later_barrier_releases_the_channels_of_an_earlier_one() {
        let (mut gate, pipes) = exactly_once(2);
        pipes[0]
            .push(Frame::Barrier(CheckpointId(1).into()))
            .unwrap();
        pipes[0].push(records("between")).unwrap();
        assert_eq!(drain(&mut gate), []);
        pipes[1]
            .push(Frame::Barrier(CheckpointId(2).into()))
            .unwrap();
        let subsumed = Event::Barrier {
            subsumed: vec![CheckpointId(1)],
            aligned: None,
        };
        assert_eq!(drain(&mut gate), [subsumed, seen("between")]);
    }

    #[test]
    fn at_least_once_reads_on() {
        let (mut gate, pipes) = gate(2, CheckpointMode::AtLeastOnce);
        pipes[0]
            .push(Frame::Barrier(CheckpointId(1).into()))
            .unwrap();
        pipes[0].push(records("after")).unwrap();
        assert_eq!(drain(&mut gate), [seen("after")]);
        pipes[0].push(Frame::EndOfData).unwrap();
        pipes[1].push(Frame::EndOfData).unwrap();
        pipes[1]
            .push(Frame::Barrier(CheckpointId(1).into()))
            .unwrap();
        // Channel 0 had not ended before its barrier: the snapshot is not one of the whole input.
        assert_eq!(drain(&mut gate), [Event::EndOfData, aligned(1, false)]);
    }

    #[test]
    fn the_end_comes_with_the_last_channel_and_barriers_go_on() {
        let (mut gate, pipes) = exactly_once(2);
        pipes[0].push(Frame::EndOfData).unwrap();
        assert_eq!(drain(&mut gate), []);
        pipes[1].push(Frame::EndOfData).unwrap();
        assert_eq!(drain(&mut gate), [Event::EndOfData]);
        pipes[0]
            .push(Frame::Barrier(CheckpointId(3).into()))
            .unwrap();
        pipes[1]
            .push(Frame::Barrier(CheckpointId(3).into()))
            .unwrap();
        assert_eq!(drain(&mut gate), [aligned(3, true)]);
    }

    #[test]
    fn the_watermark_is_the_least_of_all_channels_and_an_ended_one_does_not_hold_it_back() {
        let (mut gate, pipes) = exactly_once(2);
        pipes[0].push(Frame::Watermark(10)).unwrap();
        assert_eq!(drain(&mut gate), []);
        pipes[1].push(Frame::Watermark(5)).unwrap();
        assert_eq!(drain(&mut gate), [Event::Watermark(5)]);
        pipes[1].push(Frame::Watermark(4)).unwrap();
        assert_eq!(drain(&mut gate), []);
        pipes[1].push(Frame::EndOfData).unwrap();
        assert_eq!(drain(&mut gate), [Event::Watermark(10)]);
    }

    #[test]
    fn a_broken_channel_stops_the_task_with_the_reason() {
        let (mut gate, pipes) = exactly_once(1);
        pipes[0].break_off("lost the TaskManager at 10.0.0.1:1".into());
        let stopped = gate.next(None).unwrap_err();
        assert_eq!(
            stopped,
            Stop::Failed("lost the TaskManager at 10.0.0.1:1".to_owned())
        );
    }

    #[test]
    fn records_after_the_end_of_data_are_refused() {
        let (mut gate, pipes) = exactly_once(2);
        pipes[0].push(Frame::EndOfData).unwrap();
        pipes[0].push(records("more")).unwrap();
        let stopped = gate.next(Some(Instant::now())).unwrap_err();
        assert!(matches!(stopped, Stop::Failed(cause) if cause.contains("input channel 0")));
    }
}
