//! Connections between nodes, as bytes in order; and the links over which they run.
//!
//! Messages on one connection never overtake each other and are never lost singly: what is lost is a
//! whole connection. Connections overtake each other freely. A blocked link stalls what travels over it;
//! a message that is stalled for long breaks its connection, as TCP would.
//!
//! Links are between hosts, not processes: a process that starts on a host that is cut off is cut off.

use crate::plan::options::{MS, Micros, SECOND};
use crate::world::event::{Instance, Process};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// A message that is stalled for this long breaks its connection.
pub(crate) const STALL_LIMIT: Micros = 8 * SECOND;
/// From one look at a stalled connection to the next.
const PROBE: Micros = 50 * MS;

/// A connection, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// A process with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    JobManager(Instance),
    TaskManager(Process),
}

/// Which JobManagers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Leaders {
    None,
    One(Instance),
    /// Whoever leads, now and later.
    All,
}

/// Some of the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hosts {
    pub(crate) leaders: Leaders,
    /// TaskManagers by their position, a bit for each.
    pub(crate) taskmanagers: u64,
}

impl Hosts {
    pub(crate) const JOBMANAGERS: Hosts = Hosts {
        leaders: Leaders::All,
        taskmanagers: 0,
    };

    pub(crate) fn of(node: Node) -> Hosts {
        match node {
            Node::JobManager(instance) => Hosts {
                leaders: Leaders::One(instance),
                taskmanagers: 0,
            },
            Node::TaskManager(process) => Hosts::taskmanager(process.index),
        }
    }

    pub(crate) fn taskmanager(index: usize) -> Hosts {
        Hosts::taskmanagers(1 << index)
    }

    pub(crate) fn taskmanagers(taskmanagers: u64) -> Hosts {
        Hosts {
            leaders: Leaders::None,
            taskmanagers,
        }
    }

    /// Every host but these.
    pub(crate) fn others_than(taskmanagers: u64) -> Hosts {
        Hosts {
            leaders: Leaders::All,
            taskmanagers: !taskmanagers,
        }
    }

    fn contains(self, node: Node) -> bool {
        match node {
            Node::JobManager(instance) => match self.leaders {
                Leaders::None => false,
                Leaders::One(one) => one == instance,
                Leaders::All => true,
            },
            Node::TaskManager(process) => self.taskmanagers >> process.index & 1 == 1,
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // More than half of all positions: everybody but the others.
        let most = self.taskmanagers.count_ones() > 32;
        let named = if most {
            !self.taskmanagers
        } else {
            self.taskmanagers
        };
        f.write_str(match (self.leaders, most) {
            (_, true) => "everybody but",
            (Leaders::None, false) => "",
            (Leaders::One(_) | Leaders::All, false) => "the JobManager",
        })?;
        for index in (0..64).filter(|index| named >> index & 1 == 1) {
            write!(f, " tm-{index}")?;
        }
        Ok(())
    }
}

/// One end of a connection: 0 opened it, 1 accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Opener,
    Acceptor,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Opener => Side::Acceptor,
            Side::Acceptor => Side::Opener,
        }
    }
}

/// What travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    Bytes(Vec<u8>),
    /// The sender closed the connection after what it sent before.
    Close,
}

#[derive(Debug)]
struct End {
    node: Node,
    /// Whether the process at this end still has it.
    open: bool,
    /// On the way to this end, each with its number.
    incoming: VecDeque<(u64, Payload)>,
    /// When the last one of them arrives.
    last_arrival: Micros,
    stalled: Option<Stall>,
}

/// The link to an end is blocked: one of the arrivals looks again now and then, the others wait for it.
#[derive(Debug)]
struct Stall {
    since: Micros,
    next_look: Micros,
    waiting: usize,
}

/// Every connection and every blocked link.
#[derive(Default)]
pub(crate) struct Network {
    connections: BTreeMap<ConnectionId, [End; 2]>,
    next_connection: u64,
    next_message: u64,
    blocked: BTreeMap<u64, (Hosts, Hosts)>,
    next_block: u64,
}

/// What became of an arrival.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is for this node, and has this number; so many other arrivals waited for it.
    Payload(Node, Payload, u64, usize),
    /// The link is blocked: look again then.
    Stalled(Micros),
    /// The link is blocked, and another arrival looks again.
    Waits,
    /// It was stalled for too long.
    TimedOut,
    /// The receiver is gone.
    Nobody,
}

impl Network {
    pub(crate) fn open(&mut self, opener: Node, acceptor: Node) -> ConnectionId {
        let end = |node| End {
            node,
            open: true,
            incoming: VecDeque::new(),
            last_arrival: 0,
            stalled: None,
        };
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(id, [end(opener), end(acceptor)]);
        id
    }

    /// Puts a message on its way to `side`; says when it arrives, if anybody can receive it.
    pub(crate) fn send(
        &mut self,
        id: ConnectionId,
        side: Side,
        payload: Payload,
        at: Micros,
    ) -> Option<Micros> {
        let number = self.next_message;
        self.next_message += 1;
        let ends = self.connections.get_mut(&id)?;
        if !ends[side.other() as usize].open {
            return None;
        }
        let end = &mut ends[side as usize];
        end.last_arrival = end.last_arrival.max(at);
        end.incoming.push_back((number, payload));
        Some(end.last_arrival)
    }

    /// Whether a message has come that `side` has only to take.
    pub(crate) fn is_at_hand(&self, id: ConnectionId, side: Side) -> bool {
        let Some(ends) = self.connections.get(&id) else {
            return false;
        };
        let (from, end) = (&ends[side.other() as usize], &ends[side as usize]);
        let stalls = end.stalled.is_some() || blocks(&self.blocked, from.node, end.node);
        end.open && !end.incoming.is_empty() && !stalls
    }

    /// The first message on its way to `side` arrives.
    pub(crate) fn arrive(&mut self, id: ConnectionId, side: Side, now: Micros) -> Arrival {
        let Some(ends) = self.connections.get_mut(&id) else {
            return Arrival::Nobody;
        };
        let (from, to) = (ends[side.other() as usize].node, ends[side as usize].node);
        let end = &mut ends[side as usize];
        if !end.open || end.incoming.is_empty() {
            return Arrival::Nobody;
        }
        if blocks(&self.blocked, from, to) {
            let stall = end.stalled.get_or_insert(Stall {
                since: now,
                next_look: now,
                waiting: 0,
            });
            if now < stall.next_look {
                stall.waiting += 1;
                return Arrival::Waits;
            }
            stall.next_look = now + PROBE;
            return if now - stall.since < STALL_LIMIT {
                Arrival::Stalled(stall.next_look)
            } else {
                Arrival::TimedOut
            };
        }
        let waited = end.stalled.take().map_or(0, |stall| stall.waiting);
        let (number, payload) = end.incoming.pop_front().expect("it is not empty");
        Arrival::Payload(to, payload, number, waited)
    }

    /// The number that the next message will have.
    pub(crate) fn next_message(&self) -> u64 {
        self.next_message
    }

    /// The numbers of the messages on their way.
    pub(crate) fn under_way(&self) -> BTreeSet<u64> {
        let ends = self.connections.values().flatten();
        let incoming = ends.flat_map(|end| &end.incoming);
        incoming.map(|(number, _)| *number).collect()
    }

    /// Who is not heard by whom, from first to second.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (Hosts, Hosts)> {
        self.blocked.values().copied()
    }

    /// The process at this end has no more to do with the connection.
    pub(crate) fn leave(&mut self, id: ConnectionId, side: Side) {
        let Some(ends) = self.connections.get_mut(&id) else {
            return;
        };
        ends[side as usize].open = false;
        ends[side as usize].incoming.clear();
        if ends.iter().all(|end| !end.open) {
            self.connections.remove(&id);
        }
    }

    /// Loses everything that is on its way.
    pub(crate) fn drop_in_flight(&mut self, id: ConnectionId) {
        for end in self.connections.get_mut(&id).into_iter().flatten() {
            end.incoming.clear();
        }
    }

    /// Whether the process at this end still has the connection.
    pub(crate) fn is_open(&self, id: ConnectionId, side: Side) -> bool {
        let ends = self.connections.get(&id);
        ends.is_some_and(|ends| ends[side as usize].open)
    }

    /// The node at this end.
    pub(crate) fn node(&self, id: ConnectionId, side: Side) -> Option<Node> {
        Some(self.connections.get(&id)?[side as usize].node)
    }

    /// Every connection that this node has open, with its side.
    pub(crate) fn of(&self, node: Node) -> Vec<(ConnectionId, Side)> {
        let mut found = Vec::new();
        for (id, ends) in &self.connections {
            for side in [Side::Opener, Side::Acceptor] {
                let end = &ends[side as usize];
                if end.open && end.node == node {
                    found.push((*id, side));
                }
            }
        }
        found
    }

    /// Every connection.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.connections.keys().copied().collect()
    }

    /// From now on `to` does not hear `from`, whichever processes run there. The answer names the block.
    pub(crate) fn block(&mut self, from: Hosts, to: Hosts) -> u64 {
        self.next_block += 1;
        self.blocked.insert(self.next_block, (from, to));
        self.next_block
    }

    pub(crate) fn unblock(&mut self, block: u64) {
        self.blocked.remove(&block);
    }

    pub(crate) fn unblock_all(&mut self) {
        self.blocked.clear();
    }

    /// Whether neither hears the other, or one of them does not.
    pub(crate) fn is_blocked(&self, a: Node, b: Node) -> bool {
        blocks(&self.blocked, a, b) || blocks(&self.blocked, b, a)
    }

    /// Whether the connection is one between a JobManager and a TaskManager.
    pub(crate) fn is_session(&self, id: ConnectionId) -> bool {
        let ends = self.connections.get(&id);
        let leads = |end: &End| matches!(end.node, Node::JobManager(_));
        ends.is_some_and(|ends| ends.iter().any(leads))
    }
}

fn blocks(blocked: &BTreeMap<u64, (Hosts, Hosts)>, from: Node, to: Node) -> bool {
    let mut links = blocked.values();
    links.any(|link| link.0.contains(from) && link.1.contains(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Node = Node::JobManager(Instance(0));
    const B: Node = Node::JobManager(Instance(1));

    fn bytes(byte: u8) -> Payload {
        Payload::Bytes(vec![byte])
    }

    #[test]
    fn messages_of_one_connection_do_not_overtake_each_other() {
        let mut network = Network::default();
        let id = network.open(A, B);
        assert_eq!(network.send(id, Side::Acceptor, bytes(1), 50), Some(50));
        assert_eq!(network.send(id, Side::Acceptor, bytes(2), 10), Some(50));
        let first = network.arrive(id, Side::Acceptor, 50);
        assert_eq!(first, Arrival::Payload(B, bytes(1), 0, 0));
    }

    #[test]
    fn a_one_way_partition_stalls_one_direction_and_breaks_it_in_the_end() {
        let mut network = Network::default();
        let id = network.open(A, B);
        let block = network.block(Hosts::of(A), Hosts::of(B));
        network.send(id, Side::Acceptor, bytes(1), 0);
        network.send(id, Side::Acceptor, bytes(2), 0);
        network.send(id, Side::Opener, bytes(3), 0);
        let mut arrive = |side, at| network.arrive(id, side, at);
        assert_eq!(arrive(Side::Acceptor, 0), Arrival::Stalled(PROBE));
        assert_eq!(arrive(Side::Acceptor, 0), Arrival::Waits);
        assert_eq!(arrive(Side::Opener, 0), Arrival::Payload(A, bytes(3), 2, 0));
        assert_eq!(arrive(Side::Acceptor, STALL_LIMIT), Arrival::TimedOut);
        network.unblock(block);
        let first = network.arrive(id, Side::Acceptor, STALL_LIMIT + 1);
        assert_eq!(first, Arrival::Payload(B, bytes(1), 0, 1));
    }

    #[test]
    fn a_group_that_is_cut_off_hears_only_itself() {
        let process = |index| {
            Node::TaskManager(Process {
                index,
                incarnation: 1,
            })
        };
        let mut network = Network::default();
        network.block(Hosts::others_than(0b11), Hosts::taskmanagers(0b11));
        assert!(network.is_blocked(A, process(0)));
        assert!(network.is_blocked(process(2), process(1)));
        assert!(!network.is_blocked(process(0), process(1)));
        assert!(!network.is_blocked(A, process(2)));
    }

    #[test]
    fn nobody_receives_what_is_sent_to_a_process_that_left() {
        let mut network = Network::default();
        let id = network.open(A, B);
        network.leave(id, Side::Acceptor);
        network.send(id, Side::Acceptor, bytes(1), 0);
        assert_eq!(network.arrive(id, Side::Acceptor, 0), Arrival::Nobody);
    }
}
