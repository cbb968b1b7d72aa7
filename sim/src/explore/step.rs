//! One thing happens, with everything that follows from it at once.

use super::action::{Action, next_deadline};
use super::divided::Situation;
use super::part::Part;
use super::scope::{JOB, Scope};
use super::state::{Link, State};
use crate::checks::oracle::Failure;
use jobmanager_core::id::{CheckpointId, Epoch, RequestId};
use jobmanager_core::jobmanager as coordinator;
use jobmanager_core::taskmanager as worker;
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;

/// The only call of a client while the world is explored.
const CANCEL: RequestId = RequestId(2);

/// A state while something happens in it.
pub(super) struct Step<'a> {
    pub(super) scope: &'a Scope,
    pub(super) state: State,
    /// What happens, as text, if somebody wants to read it.
    pub(super) log: Option<&'a mut Vec<String>>,
    /// The first promise that was broken.
    pub(super) broken: Option<Failure>,
    /// The checkpoint that was triggered in this very step.
    pub(super) last_trigger: Option<CheckpointId>,
    pub(super) reached: BTreeSet<Situation>,
}

impl<'a> Step<'a> {
    pub(super) fn from(scope: &'a Scope, state: &State, log: Option<&'a mut Vec<String>>) -> Self {
        Step {
            scope,
            state: state.clone(),
            log,
            broken: None,
            last_trigger: None,
            reached: BTreeSet::new(),
        }
    }

    /// Lets an action happen that is enabled.
    pub(super) fn take(&mut self, action: Action) {
        let cost = action.cost();
        let budget = &mut self.state.budget;
        budget.faults -= cost.faults;
        budget.hurries -= cost.hurries;
        budget.cancels -= cost.cancels;
        match action {
            Action::HearLeader(link) => self.leader_hears(link),
            Action::HearWorker(link) => self.worker_hears(link),
            Action::ApplyOrphan => self.orphan_arrives(),
            Action::Apply(epoch) => self.write_arrives(epoch, false),
            Action::Answer(epoch) => self.write_is_answered(epoch),
            Action::Discarded(epoch) => self.discard_is_answered(epoch),
            Action::WakeLeader(epoch) => self.tell_leader(epoch, coordinator::Input::Wake),
            Action::WakeWorker(tm) => self.tell_worker(tm, worker::Input::Wake),
            Action::Task(tm, attempt) => self.task_goes_on(tm, attempt),
            Action::Start(tm) => self.worker_starts(tm),
            Action::Elect | Action::Rival => self.elect(),
            Action::Reach(tm) => self.connect(tm, self.state.leaders.len() - 1),
            Action::Misdirect(tm) => self.connect(tm, 0),
            Action::Retire(epoch) => self.retire(epoch),
            Action::Time | Action::Hurry => self.time_passes(),
            Action::Cancel => self.cancel(),
            Action::Lose { of, applied } => self.answer_is_lost(of, applied),
            Action::CrashLeader(epoch) => self.leader_dies(epoch),
            Action::CrashWorker(tm) => self.worker_dies(tm),
            Action::Cut(link) => self.link_breaks(link),
            Action::Fail(tm, attempt) => self.task_fails(tm, attempt),
        }
        self.state
            .links
            .retain(|link| link.leader_open || link.worker_open);
    }

    pub(super) fn note(&mut self, who: impl FnOnce() -> String, what: &dyn Debug) {
        if let Some(log) = &mut self.log {
            log.push(format!("    {}: {what:?}", who()));
        }
    }

    /// Something is wrong unless this holds; the first thing counts.
    pub(super) fn ensure(
        &mut self,
        holds: bool,
        name: &'static str,
        detail: impl FnOnce() -> String,
    ) {
        if !holds && self.broken.is_none() {
            self.broken = Some(Failure::new(name, detail()));
        }
    }

    fn time_passes(&mut self) {
        if let Some(next) = next_deadline(&self.state) {
            self.state.now = self.state.now.max(next);
        }
        let now = self.state.now;
        self.note(|| "time".to_owned(), &now);
    }

    fn cancel(&mut self) {
        let Some(epoch) = self.state.latest().map(|leader| leader.epoch) else {
            return;
        };
        let (request, command) = (CANCEL, coordinator::Command::Cancel(JOB));
        self.tell_leader(epoch, coordinator::Input::Command { request, command });
    }

    /// A worker that wants a connection gets one to this leader.
    fn connect(&mut self, tm: usize, leader: usize) {
        let link = Link {
            tm,
            leader: self.state.leaders[leader].epoch,
            session: None,
            to_leader: VecDeque::new(),
            to_worker: VecDeque::new(),
            leader_open: true,
            worker_open: true,
            cut: false,
        };
        self.state.links.push(Part::new(link));
        self.state.taskmanagers[tm].change(|node| node.connecting = false);
        self.tell_worker(tm, worker::Input::Connected);
    }

    /// What is on its way is lost, and each side learns of the end in its own time.
    pub(super) fn link_breaks(&mut self, link: usize) {
        self.state.links[link].change(|link| {
            link.to_leader.clear();
            link.to_worker.clear();
            link.cut = true;
        });
    }

    /// One side is gone. What it said and was not heard is lost.
    pub(super) fn leave_links(&mut self, gone: impl Fn(&Link) -> Option<Side>) {
        for link in &mut self.state.links {
            let Some(side) = gone(link) else {
                continue;
            };
            link.change(|link| {
                link.to_leader.clear();
                link.to_worker.clear();
                match side {
                    Side::Leader => link.leader_open = false,
                    Side::Worker => link.worker_open = false,
                }
            });
        }
    }

    pub(super) fn is_latest(&self, epoch: Epoch) -> bool {
        self.state.store.epoch == epoch
    }
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Leader,
    Worker,
}
