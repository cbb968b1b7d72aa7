//! What a JobManager process shows to have been reached.

use crate::marks::Mark;
use crate::world::World;
use crate::world::event::Instance;
use jobmanager_core::jobmanager::Input;
use jobmanager_core::message::{FromTaskManager, ToTaskManager};
use jobmanager_core::state::ExecutionState;

impl World {
    pub(super) fn mark_acknowledgement(&mut self, input: &Input) {
        let Input::Message { message, .. } = input else {
            return;
        };
        match message {
            FromTaskManager::Acknowledge(ack) => {
                if !self.checks.is_current(ack.attempt) {
                    self.marks.hit(Mark::StaleAcknowledgement);
                }
                if self.checks.is_aborted(ack.attempt.job, ack.checkpoint) {
                    self.marks.hit(Mark::LateAcknowledgement);
                }
            }
            FromTaskManager::Decline { .. } => self.marks.hit(Mark::CheckpointDeclined),
            FromTaskManager::Heartbeat { .. } | FromTaskManager::TaskStates(_) => {}
        }
    }

    /// Looks at what clients would see now.
    pub(super) fn look(&mut self, instance: Instance) {
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let Some(coordinator) = &node.coordinator else {
            return;
        };
        let jobs: Vec<_> = coordinator.jobs().collect();
        let registered = coordinator.overview().taskmanagers;
        let lost = node.had_taskmanagers && registered == 0;
        node.had_taskmanagers = registered > 0;
        if lost {
            self.marks.hit(Mark::AllTaskManagersLost);
        }
        for job in jobs {
            if job.tasks.get(ExecutionState::Scheduled) > 0 {
                self.marks.hit(Mark::WaitedForSlots);
            }
            let verdict = self.checks.status(instance, &job);
            self.verdict(verdict);
        }
    }

    pub(super) fn mark_message(&mut self, message: &ToTaskManager) {
        let mark = match message {
            ToTaskManager::Refused(_) => Mark::SessionRefused,
            ToTaskManager::Deploy(deployment) if deployment.restore.is_some() => {
                Mark::RegionRestored
            }
            ToTaskManager::Deploy(deployment) if deployment.attempt.number > 0 => {
                Mark::RestartedFromNothing
            }
            ToTaskManager::NotifyComplete { finish: true, .. } => Mark::FinalCheckpoint,
            ToTaskManager::NotifyAborted { .. } => Mark::CheckpointAborted,
            ToTaskManager::Resume { .. } => Mark::AttemptsAdopted,
            ToTaskManager::Welcome(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Deploy(_)
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::TriggerCheckpoint { .. }
            | ToTaskManager::NotifyComplete { .. }
            | ToTaskManager::ReleaseJob { .. } => return,
        };
        self.marks.hit(mark);
    }
}
