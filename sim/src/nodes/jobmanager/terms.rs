//! How a process comes to lead, and how that ends.
//!
//! A term is one lease of one process: a new epoch in the store, the records read, one coordinator. What
//! the store answers to a term that is over is dropped, but what was asked of it happens.

use super::JobManagerNode;
use crate::checks::oracle::Failure;
use crate::marks::Mark;
use crate::nodes::election::{Campaign, Candidate, LeftBehind};
use crate::nodes::provider::Provision;
use crate::plan::options::MS;
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance, Repair};
use crate::world::faults::Moment;
use crate::world::network::Node;
use jobmanager_core::jobmanager::{Coordinator, Input};
use jobmanager_core::record::Record;
use jobmanager_core::state::JobStatus;

impl World {
    /// A process has a new lease: whichever led is replaced, though it may not know.
    pub(crate) fn begin_term(&mut self, candidate: Candidate) {
        let instance = Instance(self.next_instance);
        self.next_instance += 1;
        let node = JobManagerNode::new(candidate);
        self.jobmanagers.insert(instance, node);
        if let Some(process) = self.candidate(candidate) {
            process.term = Some(instance);
        }
        self.note(Lane::Election, "elects", &(candidate, instance));
        if let Some(old) = self.current.replace(instance) {
            self.is_replaced(old);
        }
        let last = self.election.last.replace(candidate.index);
        if let Some(last) = last.filter(|last| *last != candidate.index) {
            self.divide(last);
        }
        let latency = self.store_latency();
        let start = Event::JobManagerStart(instance);
        self.queue.push(self.now + latency, start);
    }

    /// A leader has a successor while it lives: perhaps it is cut off from the store, too.
    fn is_replaced(&mut self, old: Instance) {
        let severed = self.options.leaders.severed;
        let linger = self.options.leaders.linger;
        if !self.calm && linger > 0 && self.decisions.chance(Stream::Leaders, severed) {
            self.marks.hit(Mark::OldLeaderCutOffFromStore);
            if let Some(node) = self.jobmanagers.get_mut(&old) {
                node.severed = true;
            }
        }
        if self.election.leaderless_since.is_none() {
            self.election.leaderless_since = Some(self.now);
        }
    }

    /// The wish to lead arrives at the store: it happens whether or not anybody still waits for the
    /// answer.
    pub(crate) fn jobmanager_starts(&mut self, instance: Instance) {
        let latency = self.store_latency();
        let again = Event::JobManagerStart(instance);
        let awaited = self.jobmanagers.contains_key(&instance);
        if self.store.outage {
            if awaited {
                self.queue.push(self.now + latency + 100 * MS, again);
            }
            return;
        }
        let epoch = self.store.mint();
        let verdict = self.checks.minted(epoch);
        self.verdict(verdict);
        if !awaited {
            self.marks.hit(Mark::EpochOfNobody);
            return;
        }
        if !self.calm
            && self
                .decisions
                .chance(Stream::Store, self.options.store.unknown)
        {
            self.marks.hit(Mark::EpochAnswerLost);
            self.queue.push(self.now + latency + 100 * MS, again);
            return;
        }
        let records = self.store.read();
        if let Some(node) = self.jobmanagers.get_mut(&instance) {
            node.epoch = epoch;
            node.records = records;
        }
        let recover = Event::JobManagerRecover(instance);
        self.queue.push(self.now + latency, recover);
        self.moment(Moment::EpochApplied, instance);
    }

    /// The store's answer arrives at the process.
    pub(crate) fn jobmanager_recovers(&mut self, instance: Instance) {
        if !self.jobmanagers.contains_key(&instance) {
            self.marks.hit(Mark::StoreReadDropped);
            return;
        }
        if !self.looks_at_its_lease(instance) || self.moment(Moment::StoreRead, instance) {
            return;
        }
        let config = self.options.cluster.clone();
        let now = self.jobmanager_time(instance);
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let (epoch, records) = (node.epoch, std::mem::take(&mut node.records));
        self.note(Lane::JobManager(instance.0), "recover", &(epoch, &records));
        self.checks
            .recovers(instance, config.clone(), epoch, &records, now);
        self.recordings
            .recovers(instance, now, &config, epoch, &records);
        match Coordinator::recover(config, epoch, records.clone(), now) {
            Ok(coordinator) => {
                if let Some(node) = self.jobmanagers.get_mut(&instance) {
                    node.coordinator = Some(coordinator);
                }
                self.mark_leader(instance);
                if !self.moment(Moment::Recovered, instance) {
                    self.jobmanager_input(instance, &Input::Wake);
                    self.knows_what_is_stored(instance, &records);
                    self.provide(Provision::List(instance));
                }
            }
            Err(problem) => self.fail("what_is_stored_can_be_recovered", problem.to_string()),
        }
    }

    /// What a new leader believes before anything else happens is what the store holds at its epoch.
    fn knows_what_is_stored(&mut self, instance: Instance, records: &[Record]) {
        let Some(node) = self.jobmanagers.get(&instance) else {
            return;
        };
        let Some(coordinator) = &node.coordinator else {
            return;
        };
        let epoch = node.epoch;
        let stale = self.store.epoch() == epoch && !self.store.has_just(records);
        let problem = if stale {
            Some("the store has changed in its own epoch".to_owned())
        } else {
            records
                .iter()
                .find_map(|record| disagreement(coordinator, record))
        };
        if let Some(problem) = problem {
            let name = "a_new_leader_knows_what_is_stored";
            let failure = Failure::new(name, format!("{epoch:?}: {problem}"));
            self.verdict(Err(failure));
        }
    }

    /// A leader that lost its place ends if it has not done so by then.
    pub(crate) fn depose(&mut self, after: u64, instance: Instance) {
        let depose = Repair::Depose(instance);
        self.queue.push(self.now + after, Event::Repair(depose));
    }

    pub(super) fn step_down(&mut self, instance: Instance) {
        let Some(process) = self.leader(instance) else {
            return;
        };
        let candidate = process.candidate;
        self.term_ends(instance, false);
        let latency = self.draw(Stream::Leaders, &self.options.leaders.latency.clone());
        self.campaign(latency, Campaign::Release(candidate));
    }

    /// A coordinator is gone, with everything that is not in the store. Its process may live on.
    pub(crate) fn term_ends(&mut self, instance: Instance, silently: bool) {
        self.leave_behind(instance);
        let Some(node) = self.jobmanagers.remove(&instance) else {
            return;
        };
        self.note(Lane::JobManager(instance.0), "ends", &silently);
        if let Some(process) = self.election.processes.get_mut(node.candidate.index) {
            process.term = process.term.filter(|term| *term != instance);
        }
        let verdict = self.checks.gone(instance, node.coordinator.as_ref());
        self.verdict(verdict);
        self.mark_end(instance, node.coordinator.as_ref());
        self.abandon(Node::JobManager(instance), silently);
        if self.current == Some(instance) {
            self.current = None;
            self.election.leaderless_since.get_or_insert(self.now);
        }
    }

    /// What a term is about, for whoever comes next.
    fn leave_behind(&mut self, instance: Instance) {
        let node = self.jobmanagers.get(&instance);
        if let Some(coordinator) = node.and_then(|node| node.coordinator.as_ref()) {
            self.election.left_behind = about(coordinator);
        }
    }
}

/// What a coordinator is about.
pub(super) fn about(coordinator: &Coordinator) -> LeftBehind {
    let pending = |id| {
        coordinator
            .checkpoints(id)
            .is_some_and(|checkpoints| checkpoints.in_progress > 0)
    };
    LeftBehind {
        statuses: coordinator.lines().map(|job| job.status).collect(),
        checkpoint_pending: coordinator.lines().any(|job| pending(job.id)),
    }
}

/// In what a recovered coordinator and a record disagree.
fn disagreement(coordinator: &Coordinator, record: &Record) -> Option<String> {
    let job = record.key().job();
    let Some(view) = coordinator.job(job) else {
        return Some(format!("job {job} is stored and unknown"));
    };
    let status = view.summary.status;
    let agrees = match record {
        Record::Result(result) => status == result.status,
        Record::Cancel(_) => status.is_terminal() || status == JobStatus::Cancelling,
        Record::Checkpoint(checkpoint) => {
            let known = coordinator.checkpoints(job);
            let latest = known.and_then(|known| Some(known.latest_completed?.id));
            status.is_terminal() || latest >= Some(checkpoint.id)
        }
        Record::Savepoint(savepoint) => {
            coordinator.savepoint(job, savepoint.trigger) == Some(savepoint)
        }
        Record::Job(_) | Record::Rescale(_) | Record::CheckpointMark { .. } => true,
    };
    (!agrees).then(|| format!("job {job} is {status}, stored is {record:?}"))
}
