//! Whom TaskManagers and clients find: the one that leads; or the one that they knew, who was replaced;
//! or any process, whether it leads or not.
//!
//! When a leader is replaced while it lives, groups of TaskManagers stay with it for a while, come late
//! to the new one, and change again with the next. What the old one said may arrive once more later.

use super::election::Campaign;
use crate::marks::Mark;
use crate::plan::options::{MS, Micros, SECOND};
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Instance, Process};
use crate::world::network::{ConnectionId, Node};
use jobmanager_core::id::{AttemptId, Epoch};
use jobmanager_core::message::{Envelope, ToTaskManager};
use jobmanager_core::taskmanager::Input;
use std::collections::{BTreeMap, VecDeque};

/// How many messages of a leader arrive once more at most.
const ECHOES: usize = 8;

/// Who stays with whom, and what was heard.
#[derive(Default)]
pub(crate) struct Allegiances {
    /// The JobManager process that a TaskManager stays with, and until when.
    loyal: BTreeMap<usize, (usize, Micros)>,
    heard: BTreeMap<Process, VecDeque<Envelope>>,
    turn: Turn,
}

/// Where two groups are that change sides in turn: see [`LeaderOptions`](crate::LeaderOptions).
#[derive(Default)]
enum Turn {
    /// All are with one leader.
    #[default]
    Together,
    /// The first group stayed with the old leader.
    PartedFromFirst,
    /// The second one did.
    PartedFromSecond,
    /// The other one stayed in its turn.
    Swapped,
}

/// Which TaskManagers stay with a leader that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Split {
    Nobody,
    FirstHalf,
    SecondHalf,
    Everybody,
    /// Each by itself.
    Some,
}

const SPLITS: [Split; 5] = [
    Split::Nobody,
    Split::FirstHalf,
    Split::SecondHalf,
    Split::Everybody,
    Split::Some,
];

impl World {
    /// The JobManager that a TaskManager finds, if it has a coordinator that would answer.
    pub(crate) fn find_jobmanager(&mut self, process: Process) -> Option<Instance> {
        let target = match self.allegiance_of(process.index) {
            Some(loyal) => self.election.processes[loyal].term,
            None => self.astray().unwrap_or(self.current),
        };
        let target = target?;
        let ready = self.jobmanagers.get(&target)?.coordinator.is_some();
        ready.then_some(target)
    }

    /// The term that somebody asks who has lost the way; the inner one is absent if that process does
    /// not lead, and says so.
    pub(crate) fn astray(&mut self) -> Option<Option<Instance>> {
        let astray = self.options.leaders.astray;
        if self.calm || !self.decisions.chance(Stream::Leaders, astray) {
            return None;
        }
        let count = self.election.processes.len();
        let index = self.decisions.index(Stream::Leaders, count);
        let term = self.election.processes[index].term;
        self.marks.hit(match term {
            None => Mark::NonLeaderAsked,
            Some(term) if Some(term) != self.current => Mark::OldLeaderAsked,
            Some(_) => return None,
        });
        Some(term)
    }

    fn allegiance_of(&self, index: usize) -> Option<usize> {
        let (loyal, until) = self.allegiances.loyal.get(&index)?;
        (self.now < *until && !self.calm).then_some(*loyal)
    }

    /// Another process leads: some stay with the old one, the others go to the new one.
    pub(crate) fn divide(&mut self, old: usize) {
        let loyalty = self.options.leaders.loyalty;
        if loyalty == 0 || self.calm {
            return;
        }
        let split = self.next_split();
        self.note(Lane::Election, "divides", &split);
        let count = self.taskmanagers.len();
        let half = self.half();
        for index in 0..count {
            let stays = match split {
                Split::Nobody => false,
                Split::FirstHalf => index < half,
                Split::SecondHalf => index >= half,
                Split::Everybody => true,
                Split::Some => self.decisions.chance(Stream::Leaders, 500),
            };
            let with = self.allegiance_of(index).unwrap_or(old);
            let process = self.taskmanagers[index].process;
            if !stays {
                self.allegiances.loyal.remove(&index);
                self.campaign(0, Campaign::GoOver(process));
                continue;
            }
            let until = self.now + self.stay();
            self.allegiances.loyal.insert(index, (with, until));
            self.campaign(until - self.now, Campaign::GoOver(process));
        }
    }

    fn next_split(&mut self) -> Split {
        if !self.options.leaders.seesaw {
            return self.decisions.choice(Stream::Leaders, &SPLITS);
        }
        let (turn, split) = match self.allegiances.turn {
            Turn::Together if self.runs_in_first_half() => {
                (Turn::PartedFromSecond, Split::SecondHalf)
            }
            Turn::Together => (Turn::PartedFromFirst, Split::FirstHalf),
            Turn::PartedFromFirst => (Turn::Swapped, Split::SecondHalf),
            Turn::PartedFromSecond => (Turn::Swapped, Split::FirstHalf),
            Turn::Swapped => (Turn::Together, Split::Nobody),
        };
        self.allegiances.turn = turn;
        split
    }

    /// The first TaskManager of the second group.
    fn half(&self) -> usize {
        self.options.leaders.group
    }

    /// Whether most tasks run in the first group.
    fn runs_in_first_half(&self) -> bool {
        let half = self.half();
        let here = |(process, _): &(Process, AttemptId)| process.index < half;
        2 * self.checks.running().filter(here).count() >= self.checks.running().count()
    }

    /// How much later than the others a TaskManager starts.
    pub(crate) fn late_start(&self, index: usize) -> Micros {
        let late = self.options.leaders.seesaw && index >= self.half();
        if late {
            self.options.faults.safety / 3
        } else {
            0
        }
    }

    /// How long a TaskManager stays with a leader that was replaced.
    fn stay(&mut self) -> Micros {
        let loyalty = self.options.leaders.loyalty;
        if self.options.leaders.seesaw {
            return loyalty;
        }
        self.decisions.range(Stream::Leaders, MS..=loyalty)
    }

    /// A TaskManager leaves whoever does not lead any more, unless it stays for longer.
    pub(crate) fn goes_over(&mut self, process: Process) {
        if self.allegiance_of(process.index).is_some() {
            return;
        }
        self.allegiances.loyal.remove(&process.index);
        for id in self.sessions_with_old_leaders(process) {
            self.break_connection(id);
        }
    }

    fn sessions_with_old_leaders(&self, process: Process) -> Vec<ConnectionId> {
        let mut found = self.network.of(Node::TaskManager(process));
        found.retain(|(id, side)| match self.network.node(*id, side.other()) {
            Some(Node::JobManager(instance)) => Some(instance) != self.current,
            Some(Node::TaskManager(_)) | None => false,
        });
        found.into_iter().map(|(id, _)| id).collect()
    }

    /// An attempt starts while another one of its task runs somewhere.
    pub(crate) fn mark_zombie(&mut self, attempt: AttemptId) {
        self.marks.hit(Mark::ZombieRuns);
        let same = |other: &AttemptId| {
            other.job == attempt.job && other.task == attempt.task && *other != attempt
        };
        let mut zombies = self.checks.running().filter(|(_, other)| same(other));
        if zombies.any(|(process, _)| !self.sessions_with_old_leaders(process).is_empty()) {
            self.marks.hit(Mark::OldLeaderKeepsAttempt);
        }
    }

    /// Nobody stays with anybody any more.
    pub(crate) fn heal_allegiance(&mut self) {
        self.allegiances = Allegiances::default();
        for index in 0..self.taskmanagers.len() {
            let process = self.taskmanagers[index].process;
            for id in self.sessions_with_old_leaders(process) {
                self.break_connection(id);
            }
        }
    }

    /// A TaskManager hears its JobManager: what it heard from an earlier one may come once more.
    pub(crate) fn overhear(&mut self, process: Process, envelope: &Envelope) {
        let echoes = self.options.leaders.echoes;
        if echoes == 0 || self.calm {
            return;
        }
        let heard = self.allegiances.heard.entry(process).or_default();
        let old = !heard.is_empty();
        if is_command(&envelope.message) {
            if heard.len() == ECHOES {
                heard.pop_front();
            }
            heard.push_back(envelope.clone());
        }
        let fitting = matches!(
            envelope.message,
            ToTaskManager::Welcome(_) | ToTaskManager::Deploy(_)
        );
        if old && fitting && self.decisions.chance(Stream::Leaders, echoes) {
            let after = self.decisions.range(Stream::Leaders, MS..=2 * SECOND);
            self.campaign(after, Campaign::Echo(process));
        }
    }

    /// What was said in earlier sessions arrives once more: their streams were cut, but not everything
    /// that was on the way was lost. Of the leader that the TaskManager obeys these are only what has
    /// become of checkpoints, which is true for ever.
    pub(crate) fn echo(&mut self, process: Process) {
        let worker = self.node(process).and_then(|node| node.worker.as_ref());
        let seen = worker.map_or(Epoch(0), |worker| worker.epoch());
        let heard = self.allegiances.heard.get(&process);
        let old = |envelope: &&Envelope| {
            envelope.epoch < seen || (envelope.epoch == seen && is_fact(&envelope.message))
        };
        let late: Vec<Envelope> = heard.into_iter().flatten().filter(old).cloned().collect();
        for envelope in late {
            self.worker_input(process, Input::Message(envelope));
        }
    }
}

/// Whether it tells what has become of a checkpoint, and no more.
fn is_fact(message: &ToTaskManager) -> bool {
    match message {
        ToTaskManager::NotifyAborted { .. }
        | ToTaskManager::NotifyComplete { finish: false, .. } => true,
        ToTaskManager::NotifyComplete { finish: true, .. }
        | ToTaskManager::Deploy(_)
        | ToTaskManager::Cancel { .. }
        | ToTaskManager::TriggerCheckpoint { .. }
        | ToTaskManager::Resume { .. }
        | ToTaskManager::ReleaseJob { .. }
        | ToTaskManager::Welcome(_)
        | ToTaskManager::Refused(_)
        | ToTaskManager::Dismissed
        | ToTaskManager::Heartbeat { .. } => false,
    }
}

/// Whether a TaskManager does something when it is told this.
fn is_command(message: &ToTaskManager) -> bool {
    match message {
        ToTaskManager::Deploy(_)
        | ToTaskManager::Cancel { .. }
        | ToTaskManager::TriggerCheckpoint { .. }
        | ToTaskManager::NotifyComplete { .. }
        | ToTaskManager::NotifyAborted { .. }
        | ToTaskManager::Resume { .. }
        | ToTaskManager::ReleaseJob { .. }
        | ToTaskManager::Dismissed => true,
        ToTaskManager::Welcome(_) | ToTaskManager::Refused(_) | ToTaskManager::Heartbeat { .. } => {
            false
        }
    }
}
