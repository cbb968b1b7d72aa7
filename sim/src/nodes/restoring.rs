//! How tasks come to their state: what they are given is read, put together, and checked.

use crate::dataflow::contents::Contents;
use crate::dataflow::operator::Misfit;
use crate::dataflow::task::Phase;
use crate::marks::Mark;
use crate::plan::Tier;
use crate::storage::blobs::Unreadable;
use crate::world::World;
use crate::world::event::Process;
use jobmanager_core::id::{AttemptId, CheckpointId};
use jobmanager_core::message::{StateHandle, StateLocation};
use jobmanager_core::taskmanager::TaskEvent;

impl World {
    pub(crate) fn task_restores(&mut self, process: Process, attempt: AttemptId, failed: bool) {
        let Some(task) = self.task(process, attempt, Phase::Restoring) else {
            return;
        };
        let (restore, end_of_data) = (task.start.restore, task.start.end_of_data);
        let handles = task.start.state.clone();
        let state = match self.read_parts(attempt, restore, &handles, failed) {
            Ok(parts) => (!handles.is_empty()).then_some(parts),
            Err(cause) => {
                self.task_fails(process, attempt, &cause);
                return;
            }
        };
        let verdict = self.checks.restored(attempt, restore, state.as_ref());
        self.verdict(verdict);
        let node = self.taskmanagers.get_mut(process.index);
        let Some(task) = node.and_then(|node| node.tasks.get_mut(&attempt)) else {
            return;
        };
        if let Some(parts) = &state {
            let restored = task
                .operator
                .restore(parts, end_of_data, &mut self.external);
            if let Err(Misfit(detail)) = restored {
                self.fail(
                    "a_task_can_go_on_from_what_it_is_given",
                    format!("{attempt}: {detail}"),
                );
                return;
            }
        }
        task.phase = Phase::Running;
        let finishes = task.start.finish;
        self.look_outside();
        self.tell_worker(process, attempt, TaskEvent::Running);
        if finishes {
            self.marks.hit(Mark::FinishedFromSavepoint);
            self.task_finishes(process, attempt);
            return;
        }
        match self.options.tier {
            Tier::Dataflow => self.wake_task(process, attempt),
            Tier::ControlPlane => self.source_runs(process, attempt),
        }
    }

    /// What a task is given to start from, or why it cannot be restored.
    fn read_parts(
        &mut self,
        attempt: AttemptId,
        restore: Option<CheckpointId>,
        handles: &[StateHandle],
        failed: bool,
    ) -> Result<Contents, String> {
        let mut parts = Contents::default();
        for handle in handles {
            let bytes = match &handle.location {
                StateLocation::Inline(bytes) => bytes.clone(),
                StateLocation::File(_) if failed => {
                    self.faults.unrestored.insert((attempt.job, attempt.task));
                    return Err("the storage is busy".to_owned());
                }
                // It is where it was written, which is not simulated.
                StateLocation::File(_) | StateLocation::Url(_)
                    if self.checks.is_unseen(attempt.job, restore) =>
                {
                    continue;
                }
                StateLocation::Url(url) => self.read_url(attempt, url, failed)?,
                StateLocation::File(path) => self.read_state(attempt, path)?,
            };
            let snapshot = match bytes.is_empty() {
                true => Some(Contents::default()),
                false => Contents::decode(&bytes),
            };
            let added = match snapshot {
                Some(snapshot) => parts.add(handle, &snapshot),
                // What stands for it in a recording is not its own.
                None if self.sequel.is_some() => Ok(()),
                None => Err("it is not a snapshot".to_owned()),
            };
            if let Err(problem) = added {
                let detail = format!("{attempt} from {restore:?}: {problem}");
                self.fail("a_task_can_go_on_from_what_it_is_given", detail);
                return Err(problem);
            }
        }
        Ok(parts)
    }

    /// The bytes of a file of a savepoint, or why it cannot be restored.
    fn read_url(&mut self, attempt: AttemptId, url: &str, failed: bool) -> Result<Vec<u8>, String> {
        if failed {
            return Err("the storage is busy".to_owned());
        }
        let bytes = self.blobs.read_url(url).map(<[u8]>::to_vec);
        bytes.map_err(|problem| {
            // One that an earlier leader started may come so late that its job has gone beyond.
            if self.checks.outgrown(attempt.job).is_none() {
                let detail = format!("{attempt} restores {url}: {problem}");
                self.fail("a_complete_savepoint_has_all_of_its_files", detail);
            }
            format!("{url}: {problem}")
        })
    }

    /// The bytes of a state file, or why it cannot be restored.
    fn read_state(&mut self, attempt: AttemptId, path: &str) -> Result<Vec<u8>, String> {
        let restored = (attempt.job, attempt.task);
        let problem = match self.blobs.read(attempt.job, path) {
            Ok(bytes) => {
                if self.faults.unrestored.remove(&restored) {
                    self.marks.hit(Mark::RestoreFailedThenSucceeded);
                }
                return Ok(bytes.to_vec());
            }
            Err(problem) => problem,
        };
        let spoiled = self.blobs.is_spoiled(attempt.job, path);
        match (spoiled, problem) {
            (true, Unreadable::Missing) => self.marks.hit(Mark::RestoreSourceMissing),
            (true, Unreadable::Damaged) => self.marks.hit(Mark::RestoreSourceDamaged),
            (false, _) => {
                let verdict = self.checks.state_is_missing(attempt, path);
                self.verdict(verdict);
            }
        }
        Err(format!("{path}: {problem}"))
    }
}
