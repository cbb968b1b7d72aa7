//! What happens between nodes: connections that break, partitions of one and of both ways, of single nodes
//! and of groups, links that lag, and messages that come several times.

use crate::marks::Mark;
use crate::plan::options::{MS, Micros, SECOND};
use crate::tape::mix;
use crate::world::World;
use crate::world::event::{Event, Repair, Strike};
use crate::world::network::{ConnectionId, Hosts, Leaders, Node, Side};

/// Nothing takes longer than this because a machine is slow: what is under way when everything heals must
/// come to its end before the patience with it does.
const LONGEST_STEP: Micros = 2 * SECOND;

impl World {
    pub(super) fn break_any_connection(&mut self) -> bool {
        let mut ids = self.network.ids();
        if self.fault_choice(2) == 0 {
            ids.retain(|id| self.network.is_session(*id));
        }
        if ids.is_empty() {
            return false;
        }
        let id = ids[self.fault_victim(ids.len())];
        self.break_connection(id);
        true
    }

    /// Between which hosts the fault that is happening cuts.
    fn sides(&mut self) -> (Hosts, Hosts) {
        let count = self.taskmanagers.len();
        let one = self.fault_victim(count);
        let group = 1 << one | self.faults.drawn.variant & ((1 << count) - 1);
        let current = self.current.map(Node::JobManager).map(Hosts::of);
        let current = current.unwrap_or(Hosts::JOBMANAGERS);
        let other = (one + 1 + self.fault_choice(count)) % count;
        match self.fault_choice(6) {
            0 | 1 => (Hosts::taskmanager(one), current),
            2 => (Hosts::taskmanager(one), Hosts::JOBMANAGERS),
            3 => (Hosts::taskmanagers(group), Hosts::JOBMANAGERS),
            4 => (Hosts::taskmanagers(group), Hosts::others_than(group)),
            _ => (Hosts::taskmanager(one), Hosts::taskmanager(other)),
        }
    }

    pub(super) fn partition(&mut self, both_ways: bool) -> bool {
        let (here, there) = self.sides();
        let duration = 2 * self.fault_duration();
        let inwards = self.fault_choice(2) == 0;
        if both_ways || inwards {
            let block = self.network.block(there, here);
            self.repair_after(duration, Repair::Link(block));
        }
        if both_ways || !inwards {
            let block = self.network.block(here, there);
            self.repair_after(duration, Repair::Link(block));
        }
        if !both_ways {
            self.marks.hit(match (there.leaders, inwards) {
                (Leaders::None, _) => Mark::TaskManagersPartitionedOneWay,
                (_, true) => Mark::JobManagerToTaskManagerPartition,
                (_, false) => Mark::TaskManagerToJobManagerPartition,
            });
        }
        true
    }

    /// Clogs some TaskManagers one by one, and unclogs them in another order.
    pub(super) fn swizzle_clog(&mut self) -> bool {
        let count = self.taskmanagers.len();
        let seed = self.faults.drawn.variant;
        let chosen = |index: &usize| !mix(&[seed, *index as u64]).is_multiple_of(3);
        let mut clogged: Vec<usize> = (0..count).filter(chosen).collect();
        if clogged.is_empty() {
            clogged.push(self.fault_victim(count));
        }
        clogged.sort_by_key(|index| mix(&[seed, 1, *index as u64]));
        let last = self.now + self.fault_duration();
        let step = self.fault_duration() / (2 * count as u64);
        for (turn, index) in (0..).zip(&clogged) {
            let out = mix(&[seed, 2, *index as u64]) % count as u64;
            let clog = Strike::Clog(*index, last + out * step);
            self.queue.push(self.now + turn * step, Event::Strike(clog));
        }
        true
    }

    pub(super) fn clog(&mut self, index: usize, until: Micros) {
        let here = Hosts::taskmanager(index);
        let others = Hosts::others_than(1 << index);
        self.cut_off(here, others, until.saturating_sub(self.now));
    }

    /// Neither side hears the other for a while.
    pub(super) fn cut_off(&mut self, here: Hosts, there: Hosts, duration: Micros) {
        for (from, to) in [(here, there), (there, here)] {
            let block = self.network.block(from, to);
            self.repair_after(duration, Repair::Link(block));
        }
    }

    /// What a TaskManager hears, or says, comes later.
    pub(super) fn lag_taskmanager(&mut self) -> bool {
        let index = self.fault_victim(self.taskmanagers.len());
        let duration = 2 * self.fault_duration();
        let lag = MS + self.fault_duration() / [2, 4, 20][self.fault_choice(3)];
        let lag = match self.fault_choice(3) {
            0 => [lag, 0],
            1 => [0, lag],
            _ => [lag, lag],
        };
        self.set_lag(index, lag, duration);
        true
    }

    pub(super) fn set_lag(&mut self, index: usize, lag: [Micros; 2], duration: Micros) {
        self.faults.lag[index] = lag;
        self.faults.strains = true;
        self.repair_after(duration, Repair::Lag(index));
    }

    pub(super) fn repeat_messages(&mut self) -> bool {
        let duration = 2 * self.fault_duration();
        self.faults.copies = 1 + self.fault_choice(4) as u64;
        self.faults.echo = (self.faults.copies == 1).then_some(duration / 20);
        self.repair_after(duration, Repair::Repetition);
        true
    }

    /// What a JobManager has just heard, it may hear again.
    pub(crate) fn echo_later(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(after) = self.faults.echo {
            let echo = Strike::Echo(id, bytes.to_vec());
            self.queue.push(self.now + after, Event::Strike(echo));
        }
    }

    pub(super) fn hear_once_more(&mut self, id: ConnectionId, bytes: &[u8]) {
        let side = Side::Acceptor;
        let Some(Node::JobManager(instance)) = self.network.node(id, side) else {
            return;
        };
        let listens = self.leader(instance).is_some_and(|process| !process.paused);
        if listens && self.network.is_open(id, side) {
            self.marks.hit(Mark::MessageCameLate);
            self.jobmanager_hears(instance, id, bytes);
        }
    }

    /// How often a message on this connection comes.
    pub(crate) fn copies(&mut self, id: ConnectionId) -> u64 {
        let copies = self.faults.copies;
        if copies == 1 || !self.network.is_session(id) {
            return 1;
        }
        if copies >= 3 {
            self.marks.hit(Mark::MessageCameThreeTimes);
        }
        copies
    }

    /// How long a message takes between nodes that may be slow, on links that may lag.
    pub(crate) fn strained(&self, id: ConnectionId, to: Side, latency: Micros) -> Micros {
        if !self.faults.strains {
            return latency;
        }
        let end = |side| match self.network.node(id, side) {
            Some(Node::TaskManager(process)) => Some(process.index),
            Some(Node::JobManager(_)) | None => None,
        };
        let (hears, says) = (end(to), end(to.other()));
        let heard = hears.map_or(latency, |index| self.slowed(index, latency));
        let said = says.map_or(heard, |index| self.slowed(index, heard));
        let lag = |index: Option<usize>, way: usize| index.map_or(0, |at| self.faults.lag[at][way]);
        said + lag(hears, 0) + lag(says, 1)
    }

    /// How long something takes on a TaskManager that may be slow.
    pub(crate) fn slowed(&self, index: usize, micros: Micros) -> Micros {
        let slowed = micros * self.faults.slow[index];
        slowed.min(micros.max(LONGEST_STEP))
    }
}
