//! What can happen next in a state.

use super::scope::Scope;
use super::state::{Budget, Link, State, Task, TaskPhase};
use jobmanager_core::id::{AttemptId, Epoch};
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::time::Timestamp;
use std::fmt;

/// One thing that happens. The order of the variants is that of the default schedule, which always takes
/// the first one that can happen and is no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The first thing on a connection reaches the leader: a message or the news of its end.
    HearLeader(usize),
    /// The same towards the TaskManager.
    HearWorker(usize),
    /// A write of a dead leader arrives.
    ApplyOrphan,
    /// A write arrives at the store.
    Apply(Epoch),
    /// The store's answer arrives.
    Answer(Epoch),
    /// State has been deleted, and the leader learns it.
    Discarded(Epoch),
    /// A deadline of a leader has passed.
    WakeLeader(Epoch),
    /// A deadline of a worker has passed.
    WakeWorker(usize),
    /// A task does its next thing.
    Task(usize, AttemptId),
    /// A TaskManager's process starts again.
    Start(usize),
    /// A new leader takes over after the last one died.
    Elect,
    /// A TaskManager reaches the latest leader.
    Reach(usize),
    /// The earlier one of two leaders learns that it does not lead any more.
    Retire(Epoch),
    /// Nothing else can happen until the next deadline.
    Time,
    /// As [`Action::Time`], although something else could happen first.
    Hurry,
    /// A client wants the job canceled.
    Cancel,
    /// A write arrives or not, and its answer is lost.
    Lose { of: Epoch, applied: bool },
    /// A leader's process dies.
    CrashLeader(Epoch),
    /// A new leader is elected although one lives.
    Rival,
    /// A TaskManager's process dies.
    CrashWorker(usize),
    /// A connection breaks.
    Cut(usize),
    /// A task fails.
    Fail(usize, AttemptId),
    /// A TaskManager reaches the earlier one of two leaders.
    Misdirect(usize),
}

impl Action {
    /// What it uses up.
    pub(super) fn cost(self) -> Budget {
        let (mut faults, mut hurries, mut cancels) = (0, 0, 0);
        match self {
            Action::HearLeader(_)
            | Action::HearWorker(_)
            | Action::ApplyOrphan
            | Action::Apply(_)
            | Action::Answer(_)
            | Action::Discarded(_)
            | Action::WakeLeader(_)
            | Action::WakeWorker(_)
            | Action::Task(..)
            | Action::Start(_)
            | Action::Elect
            | Action::Reach(_)
            | Action::Retire(_)
            | Action::Time => {}
            Action::Hurry => hurries = 1,
            Action::Cancel => cancels = 1,
            Action::Lose { .. }
            | Action::CrashLeader(_)
            | Action::Rival
            | Action::CrashWorker(_)
            | Action::Cut(_)
            | Action::Fail(..)
            | Action::Misdirect(_) => faults = 1,
        }
        Budget {
            faults,
            hurries,
            cancels,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Task(tm, attempt) => write!(f, "task {attempt} on tm-{tm}"),
            Action::Fail(tm, attempt) => write!(f, "fail task {attempt} on tm-{tm}"),
            Action::HearLeader(_)
            | Action::HearWorker(_)
            | Action::ApplyOrphan
            | Action::Apply(_)
            | Action::Answer(_)
            | Action::Discarded(_)
            | Action::WakeLeader(_)
            | Action::WakeWorker(_)
            | Action::Start(_)
            | Action::Elect
            | Action::Reach(_)
            | Action::Retire(_)
            | Action::Time
            | Action::Hurry
            | Action::Cancel
            | Action::Lose { .. }
            | Action::CrashLeader(_)
            | Action::Rival
            | Action::CrashWorker(_)
            | Action::Cut(_)
            | Action::Misdirect(_) => write!(f, "{self:?}"),
        }
    }
}

/// What can happen in a state: first what happens by itself, in the order of the default schedule, then
/// what can go wrong.
pub(super) struct Enabled {
    pub(super) actions: Vec<Action>,
    /// How many of them happen by themselves.
    pub(super) ordinary: usize,
}

impl Enabled {
    pub(super) fn in_state(state: &State, scope: &Scope) -> Self {
        let mut actions = Vec::with_capacity(16);
        links(state, &mut actions);
        leaders(state, &mut actions);
        taskmanagers(state, scope, &mut actions);
        let deadline = next_deadline(state).filter(|at| *at <= horizon());
        let busy = !actions.is_empty();
        if let [earlier, _] = &state.leaders[..] {
            actions.push(Action::Retire(earlier.epoch));
        }
        if !busy && deadline.is_some() && !state.has_ended() {
            actions.push(Action::Time);
        }
        let ordinary = actions.len();
        if !state.settled {
            trouble(state, &mut actions);
            let due = deadline.is_some_and(|at| at > state.now);
            if state.budget.hurries > 0 && busy && due {
                actions.push(Action::Hurry);
            }
        }
        Enabled { actions, ordinary }
    }

    /// What the default schedule does.
    pub(super) fn default(&self) -> Option<usize> {
        (self.ordinary > 0).then_some(0)
    }

    /// Only time can pass.
    pub(super) fn is_quiet(&self) -> bool {
        self.actions[..self.ordinary] == [Action::Time]
    }
}

/// A run that has not ended at this time does not go on.
fn horizon() -> Timestamp {
    super::start() + std::time::Duration::from_secs(900)
}

fn links(state: &State, actions: &mut Vec<Action>) {
    for (at, link) in state.links.iter().enumerate() {
        if leader_hears(link) {
            actions.push(Action::HearLeader(at));
        }
    }
    for (at, link) in state.links.iter().enumerate() {
        if worker_hears(link) {
            actions.push(Action::HearWorker(at));
        }
    }
}

fn leader_hears(link: &Link) -> bool {
    link.leader_open && (!link.to_leader.is_empty() || !link.worker_open || link.cut)
}

fn worker_hears(link: &Link) -> bool {
    link.worker_open && (!link.to_worker.is_empty() || !link.leader_open || link.cut)
}

fn leaders(state: &State, actions: &mut Vec<Action>) {
    if state.store.orphan.is_some() {
        actions.push(Action::ApplyOrphan);
    }
    for leader in &state.leaders {
        if let Some(write) = &leader.write {
            let arrived = write.outcome.is_some();
            actions.push(if arrived {
                Action::Answer(leader.epoch)
            } else {
                Action::Apply(leader.epoch)
            });
        }
        if leader.discarded.is_some() {
            actions.push(Action::Discarded(leader.epoch));
        }
        let deadline = leader.coordinator.next_deadline();
        if deadline.is_some_and(|at| at <= state.now) {
            actions.push(Action::WakeLeader(leader.epoch));
        }
    }
    if state.leaders.is_empty() {
        actions.push(Action::Elect);
    }
}

fn taskmanagers(state: &State, scope: &Scope, actions: &mut Vec<Action>) {
    for (tm, node) in state.taskmanagers.iter().enumerate() {
        let Some(worker) = &node.worker else {
            actions.push(Action::Start(tm));
            continue;
        };
        if worker.next_deadline().is_some_and(|at| at <= state.now) {
            actions.push(Action::WakeWorker(tm));
        }
        for (attempt, task) in &node.tasks {
            if has_work(state, scope, *attempt, task) {
                actions.push(Action::Task(tm, *attempt));
            }
        }
        if node.connecting && !state.leaders.is_empty() {
            actions.push(Action::Reach(tm));
        }
    }
}

fn has_work(state: &State, scope: &Scope, attempt: AttemptId, task: &Task) -> bool {
    match task.phase {
        TaskPhase::Restoring | TaskPhase::Stopping => true,
        TaskPhase::Running => {
            let input = state.channels.get(&attempt);
            !task.snapshots.is_empty()
                || input.is_some_and(|items| !items.is_empty())
                || task.is_exhausted(scope)
        }
    }
}

impl Task {
    /// A source that has put out everything, and does not know it yet.
    pub(super) fn is_exhausted(&self, scope: &Scope) -> bool {
        self.aligner.is_none() && !self.end_of_data && self.lineage.segment >= scope.checkpoints
    }
}

/// When something happens by itself, if nothing else does.
pub(super) fn next_deadline(state: &State) -> Option<Timestamp> {
    let leaders = state
        .leaders
        .iter()
        .filter_map(|leader| Coordinator::next_deadline(&leader.coordinator));
    let workers = state
        .taskmanagers
        .iter()
        .filter_map(|node| node.worker.as_ref()?.next_deadline());
    leaders.chain(workers).min()
}

fn trouble(state: &State, actions: &mut Vec<Action>) {
    if state.budget.cancels > 0 && !state.leaders.is_empty() {
        actions.push(Action::Cancel);
    }
    if state.budget.faults == 0 {
        return;
    }
    for leader in &state.leaders {
        let of = leader.epoch;
        let on_its_way = |write: &super::state::Write| write.outcome.is_none();
        if leader.write.as_ref().is_some_and(on_its_way) {
            actions.push(Action::Lose { of, applied: true });
            actions.push(Action::Lose { of, applied: false });
        }
        actions.push(Action::CrashLeader(of));
    }
    if state.leaders.len() == 1 {
        actions.push(Action::Rival);
    }
    for (at, link) in state.links.iter().enumerate() {
        if link.worker_open && link.leader_open && !link.cut {
            actions.push(Action::Cut(at));
        }
    }
    for (tm, node) in state.taskmanagers.iter().enumerate() {
        if node.worker.is_none() {
            continue;
        }
        actions.push(Action::CrashWorker(tm));
        let running = |task: &Task| task.phase != TaskPhase::Stopping;
        let tasks = node.tasks.iter().filter(|(_, task)| running(task));
        actions.extend(tasks.map(|(attempt, _)| Action::Fail(tm, *attempt)));
        if node.connecting && state.leaders.len() == 2 {
            actions.push(Action::Misdirect(tm));
        }
    }
}
