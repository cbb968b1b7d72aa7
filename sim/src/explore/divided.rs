//! A world that begins with two leaders, and what is reached there that is not on the way elsewhere.

use super::action::{Action, Enabled};
use super::scope::JOB;
use super::state::State;
use super::step::Step;
use jobmanager_core::id::{AttemptId, CheckpointId};
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::message::{Hello, InventoryItem};
use jobmanager_core::state::{ExecutionState, JobStatus};

/// The steps of the default schedule until the world is divided, at most.
const STEPS: usize = 400;

/// Something that only an old leader brings about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Situation {
    /// A TaskManager that has seen a later leader comes to an old one.
    OldLeaderGreeted,
    /// An attempt without a part in the latest checkpoint is reported to a leader that waits for attempts.
    LeftBehindReported,
}

impl Step<'_> {
    /// Elects another leader once all tasks run, breaks the first one's connections, and goes on until the
    /// first checkpoint is complete.
    pub(super) fn divide(&mut self) {
        self.go_on_until(State::all_run);
        self.elect();
        for link in 0..self.state.links.len() {
            self.link_breaks(link);
        }
        self.go_on_until(|state| {
            let quiet = |link: &super::part::Part<super::state::Link>| {
                link.to_worker.is_empty() && link.to_leader.is_empty()
            };
            state.all_run() && state.has_completed() && state.links.iter().all(quiet)
        });
    }

    /// Follows the default schedule, but for a replaced leader, which learns nothing.
    fn go_on_until(&mut self, there: impl Fn(&State) -> bool) {
        for _ in 0..STEPS {
            if there(&self.state) {
                return;
            }
            let enabled = Enabled::in_state(&self.state, self.scope);
            let mut ordinary = enabled.actions[..enabled.ordinary].iter();
            let Some(action) = ordinary.find(|it| !matches!(it, Action::Retire(_))) else {
                break;
            };
            self.take(*action);
        }
        self.ensure(false, "the_divided_world_begins", String::new);
    }

    /// A leader hears a hello.
    pub(super) fn sight_hello(&mut self, at: usize, hello: &Hello) {
        let leader = &self.state.leaders[at];
        if hello.seen_epoch > leader.epoch {
            self.reached.insert(Situation::OldLeaderGreeted);
        }
        let waits = leader.coordinator.job(JOB);
        let waits = waits.is_some_and(|job| job.summary.status == JobStatus::Reconciling);
        let left_behind = |item: &InventoryItem| {
            let latest = self.state.latest_record();
            let region = self.scope.region(item.attempt.task);
            let latest = latest.and_then(|latest| latest.region(region));
            latest.is_some_and(|latest| {
                latest.attempt != Some(item.attempt.attempt)
                    && item.restored != Some(latest.checkpoint)
            })
        };
        if waits && hello.inventory.iter().any(left_behind) {
            self.reached.insert(Situation::LeftBehindReported);
        }
    }

    /// Whether an attempt has a part in a complete checkpoint of its region; unknown of one that is not
    /// retained.
    pub(super) fn has_part(
        &self,
        tm: usize,
        attempt: AttemptId,
        checkpoint: CheckpointId,
    ) -> Option<bool> {
        let task = self.state.taskmanagers[tm].tasks.get(&attempt)?;
        let region = self.scope.region(attempt.task);
        let snapshot = self.state.retained(region, checkpoint)?;
        let made = snapshot.attempt == Some(attempt.attempt);
        Some(made || task.start.restore == Some(checkpoint))
    }
}

impl State {
    /// Every task runs, and the latest leader knows.
    fn all_run(&self) -> bool {
        let job = self.latest().and_then(|leader| leader.coordinator.job(JOB));
        job.is_some_and(|job| {
            let tasks = job.summary.tasks;
            tasks.get(ExecutionState::Running) == tasks.total()
        })
    }

    fn has_completed(&self) -> bool {
        let idle = |leader: &Coordinator| leader.job(JOB).is_some();
        let latest = self.latest();
        let written = latest.is_some_and(|it| it.write.is_none() && idle(&it.coordinator));
        written && self.latest_record().is_some()
    }
}
