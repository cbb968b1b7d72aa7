//! Slots in answers to "why": those that are said to be missing, free or held are.

use super::Asked;
use super::facts::Session;
use crate::checks::waits::{lacks_slots, priority_of};
use crate::checks::{Verdict, ensure};
use jobmanager_core::id::{JobId, TaskManagerId};
use jobmanager_core::jobmanager::why::{Filter, Slots};
use jobmanager_core::state::ExecutionState;
use std::collections::BTreeSet;

const NAME: &str = "slots_that_are_missed_are_missing";

impl Asked<'_> {
    /// How many slots the tasks that are shown to be scheduled need beside those in which others of the job are.
    fn needed(&self) -> usize {
        let job = self.line.id;
        let shares = self.plans.shares(job);
        let (mut needed, mut held) = (BTreeSet::new(), BTreeSet::new());
        let shown = self.coordinator.subtask_lines(job);
        for (share, task) in shares.iter().zip(shown.into_iter().flatten()) {
            if task.state == ExecutionState::Scheduled {
                needed.insert(share);
            }
            if task.slot.is_some() {
                held.insert(share);
            }
        }
        needed.difference(&held).count()
    }

    /// How many slots are free of TaskManagers that have answered, at least and at most: who was told to stop may
    /// be nobody to the coordinator, and who owes an answer may owe it for long enough.
    fn free(&self) -> (usize, usize) {
        let sessions = self.facts.sessions.values();
        let answered = sessions.filter(|it| it.answered && !it.leaves);
        let free = answered.map(|session| {
            let (taken, stops) = session.taken(None);
            let free = (session.slots as usize).saturating_sub(taken.len());
            let least = if session.may_be_mute() { 0 } else { free };
            (least, free + stops.len())
        });
        free.fold((0, 0), |sum, free| (sum.0 + free.0, sum.1 + free.1))
    }

    /// How many slots a job holds, at least and at most; and in how many at most all stops.
    fn held(&self, job: JobId) -> (usize, usize, usize) {
        let sessions = self.facts.sessions.values().filter(|it| !it.leaves);
        let held = sessions.map(|session| session.taken(Some(job)));
        held.fold((0, 0, 0), |sum, (taken, stops)| {
            let goes_on = taken.len() - stops.len();
            (sum.0 + goes_on, sum.1 + taken.len(), sum.2 + stops.len())
        })
    }

    /// A job is said to wait for slots.
    pub(super) fn slots_are_missing(&self, slots: &Slots) -> Verdict {
        let registered = self.facts.sessions.len();
        let mut offered = self.facts.sessions.values().map(|it| &it.operators);
        let told = match slots {
            Slots::WaitsForSlots {
                tasks,
                needed,
                free,
                kept,
                missing,
                taskmanagers,
                ..
            } => {
                let (least, most) = self.free();
                let waiting = self.line.tasks.get(ExecutionState::Scheduled);
                *taskmanagers as usize == registered
                    && *tasks == waiting
                    && *needed as usize == self.needed()
                    && (least..=most).contains(&((free + kept) as usize))
                    // All TaskManagers of the simulation offer all operators.
                    && (*missing > 0 || self.facts.max_slots_per_job < u32::MAX)
                    && *missing == needed.saturating_sub(*free)
            }
            Slots::NoTaskmanager => registered == 0,
            Slots::OperatorNotOffered { operator, .. } => {
                offered.all(|offered| !offered.contains(operator))
            }
            Slots::GroupTooSmall { needed, free, .. } => needed > free,
            Slots::GroupsCompete { groups } => *groups > 1,
            Slots::BeyondQuota { required, most } => {
                *most == self.facts.max_slots_per_job && required > most
            }
            Slots::GoesFirst {
                slots,
                job,
                priority,
                own,
            } => {
                let mut lines = self.coordinator.lines();
                let first = lines.find(|line| line.id == *job);
                let free = self.coordinator.slots().free;
                first.is_some_and(|first| lacks_slots(&first))
                    && (1..=free).contains(slots)
                    && *own == priority_of(self.coordinator, self.line.id)
                    && *priority == priority_of(self.coordinator, *job)
                    && priority > own
            }
            Slots::BehindInLine { first, .. } => {
                let mut lines = self.coordinator.lines();
                let waits = lines.find(|line| line.id == *first && *first != self.line.id);
                waits.is_some_and(|line| line.tasks.get(ExecutionState::Scheduled) > 0)
            }
        };
        ensure(told, NAME, || {
            let (free, needed) = (self.free(), self.needed());
            let sessions = &self.facts.sessions;
            format!(
                "job {}: {slots:?}, needed {needed}, free {free:?}: {sessions:?}",
                self.line.id
            )
        })
    }

    /// TaskManagers are said not to help.
    pub(super) fn is_no_help(&self, filter: &Filter) -> Verdict {
        let sessions = || self.facts.sessions.values();
        let mute = |name: &TaskManagerId| self.facts.named(name).is_some_and(Session::may_be_mute);
        let told = match filter {
            Filter::OperatorsLacking {
                operators, names, ..
            } => {
                let lacks = |name: &TaskManagerId| {
                    let session = self.facts.named(name);
                    session.is_some_and(|it| operators.iter().any(|op| !it.operators.contains(op)))
                };
                names.iter().all(lacks)
            }
            Filter::TaskmanagersNotAnswered {
                taskmanagers,
                names,
                ..
            } => {
                let stay = || sessions().filter(|it| !it.leaves);
                let least = stay().filter(|it| !it.answered).count();
                let most = stay().filter(|it| it.may_be_mute()).count();
                names.iter().all(mute) && (least..=most).contains(&(*taskmanagers as usize))
            }
            Filter::TaskmanagersLeave {
                taskmanagers,
                names,
                ..
            } => {
                let leave = sessions().filter(|it| it.leaves).count();
                let mut names = names.iter();
                names.all(|name| self.facts.leaves(name)) && *taskmanagers as usize == leave
            }
            Filter::SlotsHeld {
                job,
                slots,
                stopping,
            } => {
                let (least, most, stops) = self.held(*job);
                (least..=most).contains(&(*slots as usize)) && *stopping as usize <= stops
            }
            Filter::SlotsHeldByMore { .. } => true,
            Filter::TaskmanagersGone { names, .. } => {
                names.iter().all(|name| self.facts.named(name).is_none())
            }
        };
        ensure(told, NAME, || {
            let sessions = &self.facts.sessions;
            format!("job {}: {filter:?}: {sessions:?}", self.line.id)
        })
    }
}
