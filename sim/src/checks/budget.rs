//! How often a job restarts, and after how many failures it ends: as often as its restart strategy says.

use super::{Step, Verdict, ensure, who_leaves};
use crate::plan::Survives;
use jobmanager_core::id::{Attempt, JobId, SessionId, TaskId};
use jobmanager_core::jobmanager::{Effect, Input};
use jobmanager_core::message::ToTaskManager;
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What one coordinator deployed.
#[derive(Debug, Default)]
pub(super) struct Deployed {
    /// By the coordinator's own clock, which never goes back.
    now: Timestamp,
    tasks: BTreeMap<(JobId, TaskId), Vec<(Attempt, Timestamp)>>,
    /// The jobs that each TaskManager has, or had, tasks of.
    on: BTreeSet<(SessionId, JobId)>,
    leaving: BTreeSet<SessionId>,
    /// The jobs with tasks that moved, or may have, which no strategy counts.
    moved: BTreeSet<JobId>,
}

impl Deployed {
    /// A coordinator took a step. Each deployment of a task but the first follows a failure of its own: the
    /// attempt before it ran until then.
    pub(super) fn stepped(
        &mut self,
        step: &Step<'_>,
        survives: impl Fn(JobId) -> Survives,
    ) -> Verdict {
        self.now = self.now.max(step.now);
        self.hears(step.input);
        for effect in step.effects {
            match effect {
                Effect::Send { session, message } => {
                    if let ToTaskManager::Deploy(deployment) = &message.message {
                        let job = deployment.job;
                        self.has(*session, job);
                        let survives = survives(job);
                        for task in &deployment.tasks {
                            self.deploys((job, task.task), deployment.attempt, survives)?;
                        }
                    }
                }
                Effect::Store { ops, .. } => {
                    for op in ops {
                        ends(step, op, &survives)?;
                    }
                }
                Effect::Disconnect { .. }
                | Effect::Reply { .. }
                | Effect::Discard(_)
                | Effect::WriteSavepoint { .. }
                | Effect::RequestWorkers { .. }
                | Effect::ReleaseWorker { .. }
                | Effect::StepDown { .. } => {}
            }
        }
        Ok(())
    }

    fn hears(&mut self, input: &Input) {
        if let Some(session) = who_leaves(input) {
            self.leaving.insert(session);
            let on = self.on.iter().filter(|(on, _)| *on == session);
            self.moved.extend(on.map(|(_, job)| job));
        }
        if let Input::Connected { session, hello } = input {
            for item in &hello.inventory {
                self.has(*session, item.attempt.job);
            }
        }
    }

    /// A TaskManager has tasks of a job.
    fn has(&mut self, session: SessionId, job: JobId) {
        self.on.insert((session, job));
        if self.leaving.contains(&session) {
            self.moved.insert(job);
        }
    }

    fn deploys(&mut self, of: (JobId, TaskId), attempt: Attempt, survives: Survives) -> Verdict {
        if self.moved.contains(&of.0) {
            return Ok(());
        }
        let (count, since) = match survives {
            // How long was quiet, only the coordinator knows.
            Survives::All | Survives::InARow(_) => return Ok(()),
            Survives::First(count) => (count, Timestamp(0)),
            Survives::Within(count, interval) => {
                (count, Timestamp(self.now.0.saturating_sub(interval)))
            }
        };
        let deployed = self.tasks.entry(of).or_default();
        if deployed.last().is_some_and(|(last, _)| *last == attempt) {
            return Ok(());
        }
        deployed.push((attempt, self.now));
        let recent = deployed.iter().filter(|(_, at)| *at >= since).count();
        let restarts = recent as u64 - 1;
        ensure(
            restarts <= count,
            "a_job_restarts_as_often_as_its_strategy_says",
            || format!("{of:?} survives {survives:?}, and was deployed at {deployed:?}"),
        )
    }
}

/// The end of a job that failed: so many failures as it survives are shown, and one more.
fn ends(step: &Step<'_>, op: &RecordOp, survives: &impl Fn(JobId) -> Survives) -> Verdict {
    let RecordOp::Put(Record::Result(result)) = op else {
        return Ok(());
    };
    if result.retained.is_some() {
        // It is written once more: the end was before.
        return Ok(());
    }
    let fewest = survives(result.job).fewest();
    let (JobStatus::Failed, Some(fewest)) = (result.status, fewest) else {
        return Ok(());
    };
    let shown = step.coordinator.exceptions(result.job).unwrap_or_default();
    // The last one says that the job is given up.
    let failures = (shown.len() as u64).saturating_sub(1);
    ensure(
        failures >= fewest,
        "a_job_fails_only_after_as_many_failures_as_it_survives",
        || format!("job {}: {shown:?}", result.job),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checks::forge::{BY, EPOCH, deploy, result, write};
    use jobmanager_core::jobmanager::Coordinator;

    /// What is said of a coordinator that orders this at this time.
    fn orders(deployed: &mut Deployed, now: u64, effect: Effect, survives: Survives) -> Verdict {
        let config = jobmanager_core::config::cluster_config(&BTreeMap::new(), &[]).unwrap();
        let coordinator = Coordinator::recover(config, EPOCH, Vec::new(), Timestamp(0)).unwrap();
        let step = Step {
            instance: BY.instance,
            now: Timestamp(now),
            input: &Input::Wake,
            effects: &[effect],
            coordinator: &coordinator,
        };
        deployed.stepped(&step, |_| survives)
    }

    #[test]
    fn one_restart_too_many_is_seen() {
        let name = "a_job_restarts_as_often_as_its_strategy_says";
        let mut deployed = Deployed::default();
        let mut at = |now, number, survives| {
            orders(&mut deployed, now, deploy(number, None), survives).map_err(|broken| broken.name)
        };
        let rate = Survives::Within(1, 1_000);
        assert_eq!(at(0, 0, rate), Ok(()));
        assert_eq!(at(500, 1, rate), Ok(()));
        assert_eq!(at(500, 1, rate), Ok(()), "the same once more");
        assert_eq!(at(1_001, 2, rate), Ok(()), "the first one is long ago");
        assert_eq!(at(1_400, 3, rate), Err(name));
        assert_eq!(at(1_400, 4, Survives::All), Ok(()));
        assert_eq!(at(9_000, 5, Survives::First(4)), Ok(()));
        assert_eq!(at(9_000, 6, Survives::First(4)), Err(name));
    }

    #[test]
    fn an_end_without_failures_is_seen() {
        let name = "a_job_fails_only_after_as_many_failures_as_it_survives";
        let failed = || write(result(JobStatus::Failed));
        let mut deployed = Deployed::default();
        let verdict = orders(&mut deployed, 0, failed(), Survives::First(0));
        assert_eq!(verdict.unwrap_err().name, name);
        let canceled = write(result(JobStatus::Canceled));
        let verdict = orders(&mut deployed, 0, canceled, Survives::First(0));
        assert_eq!(verdict, Ok(()));
    }
}
