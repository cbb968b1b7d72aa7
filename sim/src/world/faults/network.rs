//! What happens between nodes: connections that break, partitions of one and of both ways.

use crate::tape::Stream;
use crate::world::World;
use crate::world::event::{Event, Repair};
use crate::world::network::Node;

impl World {
    pub(super) fn break_any_connection(&mut self) {
        let ids = self.network.ids();
        if !ids.is_empty() {
            let id = self.decisions.choice(Stream::Faults, &ids);
            self.break_connection(id);
        }
    }

    pub(super) fn partition(&mut self, both_ways: bool) {
        let Some(process) = self.any_process() else {
            return;
        };
        let here = Node::TaskManager(process);
        let mut others: Vec<_> = self.current.map(Node::JobManager).into_iter().collect();
        let peers = self.taskmanagers.iter().filter(|node| node.is_up());
        let peers = peers.map(|node| Node::TaskManager(node.process));
        others.extend(peers.filter(|node| *node != here));
        if others.is_empty() {
            return;
        }
        let there = self.decisions.choice(Stream::Faults, &others);
        let (from, to) = self
            .decisions
            .choice(Stream::Faults, &[(here, there), (there, here)]);
        let until = self.now + 2 * self.fault_duration();
        let block = self.network.block(from, to);
        self.queue.push(until, Event::Repair(Repair::Link(block)));
        if both_ways {
            let block = self.network.block(to, from);
            self.queue.push(until, Event::Repair(Repair::Link(block)));
        }
    }
}
