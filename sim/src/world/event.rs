//! What will happen, ordered by time and, at one time, by the order in which it was planned.

use crate::nodes::election::{Campaign, Candidate};
use crate::nodes::passage::Signal;
use crate::nodes::provider::Provision;
use crate::plan::options::Micros;
use crate::replay::Step;
use crate::storage::store::WriteId;
use crate::world::network::{ConnectionId, Side};
use jobmanager_core::id::{AttemptId, CheckpointId, JobId, RequestId, TaskId};
use jobmanager_core::jobmanager::{Discard, Reply};
use jobmanager_core::savepoint::Savepoint;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// One term of a JobManager process: a lease, an epoch, a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instance(pub(crate) u32);

/// One life of a TaskManager process: its position in the world and its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process {
    pub(crate) index: usize,
    pub(crate) incarnation: u64,
}

/// A connection that a process tries to open. An older try of the same process no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Try(pub(crate) u64);

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The first message on its way to this side arrives.
    Deliver(ConnectionId, Side),
    /// This side learns that the connection is gone.
    Broken(ConnectionId, Side),
    /// A TaskManager's try to reach the JobManager ends, well or badly.
    Reached(Process, Try),
    /// A JobManager's wish to lead arrives at the store: an epoch is minted, the records are read.
    JobManagerStart(Instance),
    /// It has read everything.
    JobManagerRecover(Instance),
    /// It asked to be woken.
    JobManagerWake(Instance),
    /// A write arrives at the store.
    StoreApply(WriteId),
    /// The store's answer arrives.
    StoreAnswer(WriteId),
    /// State was deleted, or not.
    Discarded {
        instance: Instance,
        discard: Discard,
        done: bool,
    },
    /// The metadata of a savepoint was written, or not.
    SavepointWritten {
        instance: Instance,
        location: String,
        savepoint: Arc<Savepoint>,
        done: bool,
    },
    /// The resource provider does something.
    Provision(Provision),
    /// A TaskManager process starts.
    TaskManagerStart(usize),
    /// Its worker asked to be woken.
    WorkerWake(Process),
    /// A task has something to do.
    TaskWake(Process, AttemptId),
    /// A signal has come to a task over all of its channels.
    Passed(Process, AttemptId, Signal),
    /// A task has read its state, or could not.
    Restored {
        process: Process,
        attempt: AttemptId,
        failed: bool,
    },
    /// A snapshot arrived at the checkpoint storage, or could not.
    SnapshotStored {
        process: Process,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        failed: bool,
    },
    /// A canceled task ends.
    TaskStops(Process, AttemptId),
    /// Something about leadership.
    Campaign(Campaign),
    /// A client does its next thing.
    Client(usize),
    /// A client's request arrives.
    Request(RequestId),
    /// An answer arrives at the client.
    Answer(RequestId, Reply),
    /// Something breaks.
    Fault,
    /// A part of a fault that began earlier.
    Strike(Strike),
    /// What broke is repaired.
    Repair(Repair),
    /// All faults end.
    Heal,
    /// Time to look whether everything is well again.
    Judge,
    /// What goes on from a recording comes to its next step.
    Sequel(Step),
}

/// The end of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repair {
    /// A process goes on.
    ResumeTaskManager(Process),
    /// A process goes on.
    ResumeJobManager(Candidate),
    /// A JobManager that was replaced learns it and ends.
    Depose(Instance),
    /// Two nodes hear each other again, unless another partition came after.
    Link(u64),
    /// The resource provider goes on.
    Provider,
    /// The store answers again.
    Store,
    /// The store is as fast as before.
    StoreSpeed,
    /// The checkpoint storage works again.
    Storage,
    /// The checkpoint storage is as fast as before.
    StorageSpeed,
    /// The TaskManager at this position is as fast as before.
    Speed(usize),
    /// What it hears and says comes as fast as before.
    Lag(usize),
    /// Messages come once again.
    Repetition,
}

/// A part of a fault that takes its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The fault that waited for its moment.
    Aimed,
    /// A TaskManager is cut off until then.
    Clog(usize, Micros),
    /// A TaskManager's process dies, and comes back after so long.
    Crash(usize, Micros),
    /// A TaskManager is told to leave within so long.
    Leave(usize, Micros),
    /// A TaskManager loses its session, and is slow when it comes back.
    Straggle(usize, Micros),
    /// A task of this job throws, but not this one.
    Throw(JobId, TaskId),
    /// A JobManager hears what it has heard before, once more.
    Echo(ConnectionId, Vec<u8>),
    /// A TaskManager that never comes to rest dies or starts.
    Flap(usize),
}

/// The coming events.
#[derive(Default)]
pub(crate) struct Queue {
    /// When, in which order, and where in `events`.
    order: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    events: Vec<Option<Event>>,
    /// The free places of `events`.
    free: Vec<usize>,
    sequence: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Micros, event: Event) {
        self.sequence += 1;
        let place = self.free.pop().unwrap_or(self.events.len());
        self.order.push(Reverse((at, self.sequence, place)));
        match self.events.get_mut(place) {
            Some(free) => *free = Some(event),
            None => self.events.push(Some(event)),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(Micros, Event)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        let event = self.events[place].take();
        self.free.push(place);
        Some((at, event.expect("every ordered event is kept")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_time_keep_the_order_in_which_they_were_planned() {
        let mut queue = Queue::default();
        queue.push(2, Event::Heal);
        queue.push(1, Event::Client(0));
        queue.push(1, Event::Client(1));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let expected = [
            (1, Event::Client(0)),
            (1, Event::Client(1)),
            (2, Event::Heal),
        ];
        assert_eq!(order, expected);
    }
}
