//! Regions of a job share no data path: what happens to one neither delays nor ends the checkpoints of
//! another one.

use super::{Rules, Step, Verdict, ensure};
use crate::model::Plans;
use jobmanager_core::id::{CheckpointId, CommitId, JobId};
use jobmanager_core::jobmanager::{Effect, Input, JobLine, StoreOutcome};
use jobmanager_core::message::{FromTaskManager, ToTaskManager};
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A region as one coordinator shows it, and what that coordinator has under way of it.
#[derive(Debug, Clone, Default)]
struct Region {
    /// All its tasks are shown to run.
    runs: bool,
    /// All its tasks are shown to be at the end of their data: its last checkpoint has its own time.
    at_the_end: bool,
    /// The parts that have not ended.
    under_way: BTreeMap<CheckpointId, UnderWay>,
    /// Since when nothing has kept it from its next checkpoint but the time for it.
    free_since: Option<Timestamp>,
    /// The pause after the last completion begins then at the latest.
    rests_since: Timestamp,
}

/// A region's part in a checkpoint.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    triggered: Timestamp,
    /// When a task of the region acknowledged it last, or it was triggered: kept only if that gives it time.
    progressed: Timestamp,
}

/// A job.
#[derive(Debug, Clone, Default)]
struct Job {
    line: Option<JobLine>,
    regions: Vec<Region>,
    last: Option<CheckpointId>,
    /// The first id that this coordinator may not use yet.
    mark: Option<CheckpointId>,
    /// Those that are savepoints: they are of all regions.
    savepoints: BTreeSet<CheckpointId>,
}

/// What one coordinator does with the regions of its jobs.
#[derive(Debug, Default)]
pub(super) struct Apart {
    now: Timestamp,
    jobs: BTreeMap<JobId, Job>,
    /// Reservations of ids that are being written.
    marks: BTreeMap<CommitId, Vec<(JobId, CheckpointId)>>,
}

impl Apart {
    /// A coordinator took a step. `is_final` tells whether a region's latest snapshot is its last one, or the next
    /// one is to be that of a savepoint.
    pub(super) fn stepped(
        &mut self,
        step: &Step<'_>,
        plans: &Plans,
        is_final: &impl Fn(JobId, usize) -> bool,
    ) -> Verdict {
        self.now = self.now.max(step.now);
        if let Input::Stored { commit, outcome } = step.input {
            let marks = self.marks.remove(commit).unwrap_or_default();
            for (job, next) in marks.into_iter().filter(|_| *outcome == StoreOutcome::Done) {
                let mark = &mut self.jobs.entry(job).or_default().mark;
                *mark = (*mark).max(Some(next));
            }
        }
        for line in step.coordinator.lines() {
            self.look(step, &line, plans);
        }
        self.progresses(step, plans);
        for effect in step.effects {
            match effect {
                Effect::Send { message, .. } => self.says(step, &message.message, plans)?,
                Effect::Store { commit, ops } => {
                    let marks = ops.iter().filter_map(reserved);
                    self.marks.insert(*commit, marks.collect());
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
        let now = self.now;
        for (id, job) in &mut self.jobs {
            let Some(rules) = plans.rules(*id) else {
                continue;
            };
            job.are_on_time(*id, now, &rules, is_final)?;
        }
        Ok(())
    }

    /// Takes note of an acknowledgement that gives a part time.
    fn progresses(&mut self, step: &Step<'_>, plans: &Plans) -> Option<()> {
        let Input::Message { message, .. } = step.input else {
            return None;
        };
        let FromTaskManager::Acknowledge(ack) = message else {
            return None;
        };
        let (id, task) = (ack.attempt.job, ack.attempt.task);
        plans.rules(id).filter(|it| it.longest > it.timeout)?;
        let shown = step.coordinator.checkpoints(id)?;
        let mut shown = shown.history.iter();
        let shown = shown.find(|it| it.id == ack.checkpoint)?;
        let counts = shown.latest_ack == Some(step.now);
        let job = self.jobs.get_mut(&id)?;
        let region = job.regions.get_mut(plans.region(id, task)?)?;
        let part = region.under_way.get_mut(&ack.checkpoint)?;
        counts.then(|| part.progressed = self.now)
    }

    /// Takes note of how a job is shown now.
    fn look(&mut self, step: &Step<'_>, line: &JobLine, plans: &Plans) {
        let job = self.jobs.entry(line.id).or_default();
        let told = matches!(
            step.input,
            Input::Message {
                message: FromTaskManager::TaskStates(_),
                ..
            } | Input::Connected { .. }
        );
        if job.line.replace(*line) == Some(*line) && !told {
            return;
        }
        let region_of = plans.regions(line.id);
        let count = region_of.iter().max().map_or(0, |last| last + 1);
        job.regions.resize_with(count, Region::default);
        let goes_on = matches!(line.status, JobStatus::Running | JobStatus::Restarting);
        for region in &mut job.regions {
            region.runs = goes_on;
            region.at_the_end = true;
        }
        let shown = step.coordinator.subtask_lines(line.id);
        for (region, shown) in region_of.iter().zip(shown.into_iter().flatten()) {
            let region = &mut job.regions[*region];
            region.runs &= shown.state == ExecutionState::Running;
            region.at_the_end &= shown.end_of_data;
        }
    }

    fn says(&mut self, step: &Step<'_>, message: &ToTaskManager, plans: &Plans) -> Verdict {
        let now = self.now;
        match message {
            ToTaskManager::TriggerCheckpoint {
                job: id,
                tasks,
                checkpoint,
                savepoint,
                ..
            } => {
                let job = self.jobs.entry(*id).or_default();
                job.last = Some(*checkpoint);
                if savepoint.is_some() {
                    job.savepoints.insert(*checkpoint);
                }
                for region in job.named(plans.named(*id, tasks)) {
                    let part = UnderWay {
                        triggered: now,
                        progressed: now,
                    };
                    region.under_way.insert(*checkpoint, part);
                    region.free_since = None;
                }
                Ok(())
            }
            ToTaskManager::NotifyComplete {
                job: id,
                tasks,
                checkpoint,
                ..
            } => {
                let job = self.jobs.entry(*id).or_default();
                for region in job.named(plans.named(*id, tasks)) {
                    region.under_way.retain(|id, _| id > checkpoint);
                    region.rests_since = now;
                }
                Ok(())
            }
            ToTaskManager::NotifyAborted {
                job: id,
                tasks,
                checkpoint,
            } => {
                for region in plans.named(*id, tasks) {
                    self.gives_up((*id, region), *checkpoint, step, plans)?;
                }
                Ok(())
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Deploy(_)
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => Ok(()),
        }
    }

    /// A region's part in a checkpoint is given up: because of the region itself.
    fn gives_up(
        &mut self,
        (id, region): (JobId, usize),
        checkpoint: CheckpointId,
        step: &Step<'_>,
        plans: &Plans,
    ) -> Verdict {
        let job = self.jobs.entry(id).or_default();
        let whole = job.savepoints.contains(&checkpoint);
        let Some(part) = job.regions.get_mut(region) else {
            return Ok(());
        };
        // Several TaskManagers are told.
        let Some(under_way) = part.under_way.remove(&checkpoint) else {
            return Ok(());
        };
        let expired = plans.rules(id).is_none_or(|rules| {
            under_way.progressed + rules.timeout <= self.now
                || under_way.triggered + rules.longest <= self.now
        });
        let asked = answers(step.input, (id, region), checkpoint, plans);
        let finishes = step.effects.iter().any(|effect| {
            let Effect::Send { message, .. } = effect else {
                return false;
            };
            matches!(&message.message, ToTaskManager::NotifyComplete { job, tasks, finish: true, .. }
                if *job == id && plans.named(id, tasks).contains(&region))
        });
        ensure(
            !part.runs || expired || asked || finishes || whole,
            "no_region_gives_up_a_checkpoint_for_another_one",
            || format!("job {id} region {region}: {checkpoint:?}"),
        )
    }
}

impl Job {
    fn named(&mut self, named: BTreeSet<usize>) -> impl Iterator<Item = &mut Region> {
        let regions = self.regions.iter_mut().enumerate();
        let named = regions.filter(move |(region, _)| named.contains(region));
        named.map(|(_, region)| region)
    }

    /// Every region that runs and has room for a checkpoint is triggered in time.
    fn are_on_time(
        &mut self,
        id: JobId,
        now: Timestamp,
        rules: &Rules,
        is_final: &impl Fn(JobId, usize) -> bool,
    ) -> Verdict {
        // An id may be used only if that is durable, which may take as long as it likes.
        let next = self.last.map(CheckpointId::next);
        let reserved = self.mark.is_some_and(|mark| next < Some(mark));
        for (number, region) in self.regions.iter_mut().enumerate() {
            if !region.runs {
                region.under_way.clear();
                region.rests_since = now;
            }
            let room = (region.under_way.len() as u64) < rules.max_concurrent;
            let over = region.at_the_end || is_final(id, number);
            if !(region.runs && room && reserved) || over {
                region.free_since = None;
                continue;
            }
            let since = *region.free_since.get_or_insert(now);
            let due = since + rules.interval;
            let due = due.max(region.rests_since + rules.min_pause);
            ensure(
                now <= due,
                "a_region_that_runs_is_checkpointed_whatever_others_do",
                || format!("job {id} region {number}: {region:?}, due at {due}, now {now}"),
            )?;
        }
        Ok(())
    }
}

/// Whether a task of the region says that this checkpoint, or one before a later one, is of no use.
fn answers(input: &Input, of: (JobId, usize), id: CheckpointId, plans: &Plans) -> bool {
    let Input::Message { message, .. } = input else {
        return false;
    };
    let (attempt, fits) = match message {
        FromTaskManager::Decline {
            attempt,
            checkpoint,
            ..
        } => (attempt, *checkpoint == id),
        FromTaskManager::Acknowledge(ack) => (&ack.attempt, ack.checkpoint > id),
        FromTaskManager::Heartbeat { .. }
        | FromTaskManager::Leave { .. }
        | FromTaskManager::TaskStates(_) => return false,
    };
    let region = plans.region(attempt.job, attempt.task);
    fits && region.map(|region| (attempt.job, region)) == Some(of)
}

fn reserved(op: &RecordOp) -> Option<(JobId, CheckpointId)> {
    match op {
        RecordOp::Put(Record::CheckpointMark { job, next }) => Some((*job, *next)),
        RecordOp::Put(
            Record::Job(_)
            | Record::Cancel(_)
            | Record::Rescale(_)
            | Record::Checkpoint(_)
            | Record::Savepoint(_)
            | Record::Result(_),
        )
        | RecordOp::Delete(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checks::forge::{BY, EPOCH, JOB, answer, attempt, hello, pair};
    use crate::checks::task;
    use jobmanager_core::config::cluster_config;
    use jobmanager_core::graph::JobGraph;
    use jobmanager_core::id::{AttemptId, RequestId, SessionId, TaskId};
    use jobmanager_core::jobmanager::{Command, Coordinator};
    use jobmanager_core::message::{TaskReport, TaskStateChange};

    /// A coordinator of a job of two regions, and who looks at it.
    struct Watched {
        coordinator: Coordinator,
        apart: Apart,
        plans: Plans,
    }

    impl Watched {
        fn step(
            &mut self,
            now: u64,
            input: &Input,
            forge: impl FnOnce(&mut Vec<Effect>),
        ) -> Verdict {
            let mut effects = Vec::new();
            let now = Timestamp(now);
            self.coordinator.step(now, input.clone(), &mut effects);
            forge(&mut effects);
            let step = Step {
                instance: BY.instance,
                now,
                input,
                effects: &effects,
                coordinator: &self.coordinator,
            };
            self.apart.stepped(&step, &self.plans, &|_, _| false)
        }

        fn goes_on(&mut self, now: u64, input: &Input) {
            assert_eq!(self.step(now, input, |_| {}), Ok(()));
        }
    }

    fn report(regions: &[u32], report: &TaskReport) -> Input {
        let tasks = regions.iter().flat_map(|it| [task(0, *it), task(1, *it)]);
        let change = |task: TaskId| TaskStateChange {
            attempt: AttemptId {
                job: JOB,
                task,
                attempt: attempt(0),
            },
            report: report.clone(),
        };
        Input::Message {
            session: SessionId(1),
            message: FromTaskManager::TaskStates(tasks.map(change).collect()),
        }
    }

    /// Both regions run since this time.
    const SINCE: u64 = 10;

    fn running() -> Watched {
        let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
        let mut watched = Watched {
            coordinator: Coordinator::recover(config, EPOCH, Vec::new(), Timestamp(0)).unwrap(),
            apart: Apart::default(),
            plans: Plans::new(&[pair()]),
        };
        let mut hello = hello();
        if let Input::Connected { hello, .. } = &mut hello {
            hello.slots = 2;
        }
        let graph = JobGraph::validate(pair().spec(), &BTreeMap::new()).unwrap();
        let submit = Input::Command {
            request: RequestId(1),
            command: Command::Submit {
                graph: graph.into(),
                from: None,
            },
        };
        let stored = Input::Stored {
            commit: CommitId(1),
            outcome: StoreOutcome::Done,
        };
        for input in [hello, answer(), submit, stored] {
            watched.goes_on(1, &input);
        }
        watched.goes_on(SINCE, &report(&[0, 1], &TaskReport::Running));
        watched
    }

    fn is_trigger(effect: &Effect) -> bool {
        let Effect::Send { message, .. } = effect else {
            return false;
        };
        matches!(message.message, ToTaskManager::TriggerCheckpoint { .. })
    }

    #[test]
    fn a_region_that_waits_for_another_one_is_seen() {
        let name = "a_region_that_runs_is_checkpointed_whatever_others_do";
        let mut watched = running();
        let untriggered = |effects: &mut Vec<Effect>| effects.retain(|it| !is_trigger(it));
        let due = SINCE + 1_000;
        assert_eq!(
            watched.step(due, &Input::Wake, untriggered),
            Ok(()),
            "it may be late"
        );
        let late = watched.step(due + 1, &Input::Wake, untriggered);
        assert_eq!(late.unwrap_err().name, name);
        let mut watched = running();
        let failed = TaskReport::Failed {
            cause: String::new(),
        };
        watched.goes_on(500, &report(&[0], &failed));
        watched.goes_on(due, &Input::Wake);
        watched.goes_on(due + 1, &Input::Wake);
    }

    #[test]
    fn a_checkpoint_that_is_given_up_for_another_region_is_seen() {
        let name = "no_region_gives_up_a_checkpoint_for_another_one";
        let mut watched = running();
        watched.goes_on(SINCE + 1_000, &Input::Wake);
        let abort = |region| {
            crate::checks::forge::say(ToTaskManager::NotifyAborted {
                job: JOB,
                tasks: vec![task(1, region)],
                checkpoint: CheckpointId(1),
            })
        };
        let failed = TaskReport::Failed {
            cause: String::new(),
        };
        let fails = report(&[0], &failed);
        let both = |effects: &mut Vec<Effect>| effects.extend([abort(0), abort(1)]);
        let verdict = watched.step(SINCE + 1_001, &fails, both);
        assert_eq!(verdict.unwrap_err().name, name);
    }
}
