//! Where the two ends of a pipe find each other.
//!
//! Tasks of one region start at any moment on any TaskManager, so a consumer may ask for a channel before
//! its producer exists, and a producer may have finished before its consumer asks. Whoever comes first
//! leaves the pipe here, the other takes it: an end is taken once, a second taker is refused. A channel's
//! name contains the attempt, so ends of different attempts never meet.

use super::pipe::Pipe;
use jobmanager_core::message::ChannelId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the output of a finished producer waits for its consumer to ask. Consumers are deployed
/// together with their producers: one that has not come by then was given up by the JobManager.
const FINISHED_KEPT: Duration = Duration::from_secs(120);

/// Which end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Producer,
    Consumer,
}

/// An end that another one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    lonely: Mutex<HashMap<ChannelId, Lonely>>,
}

#[derive(Debug)]
struct Lonely {
    pipe: Arc<Pipe>,
    side: Side,
    since: Instant,
}

impl Hub {
    /// The pipe of a channel, for one side of it.
    pub(crate) fn take(&self, channel: ChannelId, side: Side) -> Result<Arc<Pipe>, Taken> {
        match self.lock().entry(channel) {
            Entry::Occupied(entry) if entry.get().side == side => Err(Taken),
            Entry::Occupied(entry) => Ok(entry.remove().pipe),
            Entry::Vacant(entry) => {
                let pipe = Arc::new(Pipe::default());
                entry.insert(Lonely {
                    pipe: Arc::clone(&pipe),
                    side,
                    since: Instant::now(),
                });
                Ok(pipe)
            }
        }
    }

    /// An end is gone: if the other has not come yet, it will find nothing of this one.
    pub(crate) fn forget(&self, channel: ChannelId, pipe: &Arc<Pipe>) {
        if let Entry::Occupied(entry) = self.lock().entry(channel)
            && Arc::ptr_eq(&entry.get().pipe, pipe)
        {
            entry.remove();
        }
    }

    /// Forgets the output of producers that finished long ago and that nobody came for.
    pub(crate) fn sweep(&self, now: Instant) {
        self.lock().retain(|_, lonely| {
            let age = now.saturating_duration_since(lonely.since);
            age < FINISHED_KEPT || !lonely.pipe.is_closed()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Lonely>> {
        self.lonely.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::id::{Attempt, Epoch, JobId, SubtaskIndex};

    fn channel(number: u32) -> ChannelId {
        ChannelId {
            job: JobId(1),
            attempt: Attempt {
                epoch: Epoch(1),
                number,
            },
            edge: 0,
            producer: SubtaskIndex(0),
            consumer: SubtaskIndex(0),
        }
    }

    #[test]
    fn the_two_sides_meet_in_either_order() {
        let hub = Hub::default();
        for (first, second) in [
            (Side::Producer, Side::Consumer),
            (Side::Consumer, Side::Producer),
        ] {
            let one = hub.take(channel(0), first).unwrap();
            let other = hub.take(channel(0), second).unwrap();
            assert!(Arc::ptr_eq(&one, &other));
        }
        assert!(hub.lock().is_empty());
    }

    #[test]
    fn a_second_taker_of_one_side_is_refused() {
        let hub = Hub::default();
        hub.take(channel(0), Side::Consumer).unwrap();
        assert_eq!(hub.take(channel(0), Side::Consumer).unwrap_err(), Taken);
    }

    #[test]
    fn ends_of_different_attempts_never_meet() {
        let hub = Hub::default();
        let old = hub.take(channel(0), Side::Producer).unwrap();
        let new = hub.take(channel(1), Side::Consumer).unwrap();
        assert!(!Arc::ptr_eq(&old, &new));
    }

    #[test]
    fn only_what_a_finished_producer_left_is_swept_and_only_after_a_while() {
        let hub = Hub::default();
        let finished = hub.take(channel(0), Side::Producer).unwrap();
        let _running = hub.take(channel(1), Side::Producer).unwrap();
        finished.finish();
        hub.sweep(Instant::now());
        assert_eq!(hub.lock().len(), 2);
        hub.sweep(Instant::now() + FINISHED_KEPT);
        assert_eq!(hub.lock().len(), 1);
    }
}
