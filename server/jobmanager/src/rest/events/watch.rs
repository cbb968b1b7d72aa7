//! What has changed: the views of now, compared with those of the last time.
//!
//! Only what was touched is looked at, and a job that nothing happens to costs nothing. Between two looks a job may go
//! through several states: those are told that it came into, each with its time, but of a state that it came into
//! twice only the last time is known.
//!
//! Invariant: what is told of a job or TaskManager is what a view has shown, in the order of its times.

use super::kind::Kind;
use super::tell;
use super::trace::Tracer;
use crate::driver::Touched;
use crate::rest::attempts::AttemptLog;
use jobmanager_core::id::{CheckpointId, Epoch, JobId, SessionId, TaskManagerId, TriggerId};
use jobmanager_core::jobmanager::{
    CheckpointOutcome, Coordinator, JobDetails, JobLine, TaskManagerDetails,
};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// So many jobs are looked at one by one when a deadline may have changed any of them; of more, the lines of all jobs
/// tell which it has.
const FEW: usize = 64;

/// Something that was seen to have happened.
#[derive(Debug)]
pub(super) struct News {
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
    pub(super) job: Option<JobId>,
    pub(super) data: Value,
}

/// What was shown the last time.
#[derive(Debug)]
pub(super) struct Watch {
    epoch: Epoch,
    jobs: BTreeMap<JobId, Known>,
    /// Those that wait for something: a deadline may change them.
    waiting: BTreeSet<JobId>,
    taskmanagers: BTreeMap<TaskManagerId, KnownTaskManager>,
    news: Vec<News>,
    /// The attempts that were seen.
    attempts: AttemptLog,
    /// What becomes of it for a collector of traces.
    tracer: Option<Tracer>,
}

/// What was shown of a job.
#[derive(Debug)]
struct Known {
    line: JobLine,
    entered: [Option<Timestamp>; JobStatus::ALL.len()],
    /// Of the checkpoints in the history, whether they have ended.
    checkpoints: BTreeMap<CheckpointId, bool>,
    /// The latest checkpoint that was in the history.
    latest: CheckpointId,
    /// The savepoints that have an outcome.
    savepoints: BTreeSet<TriggerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KnownTaskManager {
    session: SessionId,
    trust: Trust,
    leaves: bool,
}

/// Whether tasks are given to a TaskManager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It has not answered yet.
    New,
    Answering,
    /// It owes an answer.
    Silent,
}

impl Watch {
    /// What is shown when a coordinator begins. Nothing of it is news.
    pub(super) fn begin(
        coordinator: &Coordinator,
        epoch: Epoch,
        now: Timestamp,
        attempts: AttemptLog,
    ) -> Watch {
        let mut watch = Watch {
            epoch,
            jobs: BTreeMap::new(),
            waiting: BTreeSet::new(),
            taskmanagers: BTreeMap::new(),
            news: Vec::new(),
            attempts,
            tracer: None,
        };
        for line in coordinator.lines() {
            watch.job(coordinator, line.id, now);
        }
        for taskmanager in coordinator.taskmanagers() {
            watch.taskmanager(coordinator, &taskmanager.id, now);
        }
        watch.news.clear();
        watch
    }

    /// Makes spans of what is seen from now on.
    pub(super) fn trace(&mut self, tracer: Tracer) {
        self.tracer = Some(tracer);
    }

    /// Who has to be looked at: who was touched, and those who may have changed without being named, if their line has.
    pub(super) fn candidates(
        &self,
        coordinator: &Coordinator,
        touched: &Touched,
    ) -> BTreeSet<JobId> {
        let mut jobs = touched.jobs.clone();
        let few_wait = self.waiting.len() <= FEW;
        if touched.deadline && few_wait {
            jobs.extend(&self.waiting);
        }
        if touched.lost || (touched.deadline && !few_wait) {
            let is_known = |line: &JobLine| {
                let known = self.jobs.get(&line.id);
                known.is_some_and(|known| known.line == *line)
            };
            let lines = coordinator.lines().filter(|line| !is_known(line));
            jobs.extend(lines.map(|line| line.id));
        }
        jobs
    }

    /// What was found since the last time, in the order in which it happened.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        let mut news = std::mem::take(&mut self.news);
        news.sort_by_key(|news| news.at);
        news
    }

    fn tell(&mut self, at: Timestamp, kind: Kind, job: Option<JobId>, data: Value) {
        self.news.push(News {
            at,
            kind,
            job,
            data,
        });
    }

    /// Looks at a job.
    pub(super) fn job(&mut self, coordinator: &Coordinator, id: JobId, now: Timestamp) {
        let Some(details) = coordinator.job(id) else {
            self.jobs.remove(&id);
            self.waiting.remove(&id);
            self.attempts.forget(id);
            if let Some(tracer) = &mut self.tracer {
                tracer.forget(id);
            }
            return;
        };
        self.attempts.look(coordinator, &details, now, self.epoch);
        let has_ended = details.summary.status.is_terminal();
        let mut known = match self.jobs.remove(&id) {
            Some(known) if known.line.status.is_terminal() && has_ended => {
                self.jobs.insert(id, known);
                return;
            }
            // One that has ended was forgotten meanwhile, and submitted again.
            Some(known) if !known.line.status.is_terminal() => known,
            Some(_) | None => self.appeared(&details),
        };
        if let Some(tracer) = &mut self.tracer {
            tracer.look(coordinator, &details, now);
        }
        self.states(coordinator, &details, &mut known);
        self.checkpoints(coordinator, &details, &mut known);
        self.savepoints(coordinator, &details, &mut known);
        if has_ended {
            let ended = details
                .summary
                .ended
                .unwrap_or(details.summary.last_modified);
            let data = tell::job_ended(&details);
            self.tell(ended, Kind::JobEnded, Some(id), data);
            known.checkpoints.clear();
            known.savepoints.clear();
        }
        known.line = line(&details);
        known.entered = details.timestamps;
        match waits(&known.line) {
            true => drop(self.waiting.insert(id)),
            false => drop(self.waiting.remove(&id)),
        }
        self.jobs.insert(id, known);
    }

    fn appeared(&mut self, details: &JobDetails) -> Known {
        let (id, started) = (details.summary.id, details.summary.started);
        let data = tell::job_appeared(details);
        self.tell(started, Kind::JobAppeared, Some(id), data);
        let mut entered = [None; JobStatus::ALL.len()];
        entered[JobStatus::Initializing as usize] = Some(started);
        Known {
            line: JobLine {
                status: JobStatus::Initializing,
                ..line(details)
            },
            entered,
            checkpoints: BTreeMap::new(),
            latest: CheckpointId(0),
            savepoints: BTreeSet::new(),
        }
    }

    /// The states that the job has come into, but for one in which it has ended.
    fn states(&mut self, coordinator: &Coordinator, details: &JobDetails, known: &mut Known) {
        let (id, now_in) = (details.summary.id, details.summary.status);
        let times = JobStatus::ALL.iter().zip(details.timestamps);
        let entered = times.filter_map(|(status, at)| {
            let is_new = at != known.entered[*status as usize];
            at.filter(|_| is_new && !status.is_terminal())
                .map(|at| (at, *status == now_in, *status))
        });
        let mut entered: Vec<_> = entered.collect();
        entered.sort_by_key(|(at, is_last, _)| (*at, *is_last));
        for (at, _, status) in entered {
            let was = std::mem::replace(&mut known.line.status, status);
            let adopted =
                (was == JobStatus::Reconciling).then(|| adopted(coordinator, id, self.epoch));
            let data = tell::job_changed(details, (was, status), at, adopted);
            self.tell(at, Kind::JobChanged, Some(id), data);
        }
    }

    fn checkpoints(&mut self, coordinator: &Coordinator, job: &JobDetails, known: &mut Known) {
        let id = job.summary.id;
        let Some(shown) = coordinator.checkpoints(id) else {
            return;
        };
        let mut checkpoints = BTreeMap::new();
        for entry in shown.history.iter().rev() {
            let (at, kind) = match &entry.outcome {
                CheckpointOutcome::InProgress => (None, Kind::CheckpointTriggered),
                CheckpointOutcome::Completed => (entry.latest_ack, Kind::CheckpointCompleted),
                CheckpointOutcome::Failed { at, .. } => (Some(*at), Kind::CheckpointFailed),
            };
            if !known.checkpoints.contains_key(&entry.id) && entry.id > known.latest {
                let data = tell::checkpoint_triggered(job, entry);
                self.tell(entry.triggered, Kind::CheckpointTriggered, Some(id), data);
            }
            let has_ended = kind != Kind::CheckpointTriggered;
            if has_ended && known.checkpoints.get(&entry.id) != Some(&true) {
                let at = at.unwrap_or(entry.triggered);
                if let Some(tracer) = &self.tracer {
                    tracer.checkpoint(job, entry, at);
                }
                let data = tell::checkpoint_ended(job, entry, at);
                self.tell(at, kind, Some(id), data);
            }
            checkpoints.insert(entry.id, has_ended);
        }
        let latest = checkpoints.last_key_value();
        known.latest = latest.map_or(known.latest, |(id, _)| known.latest.max(*id));
        known.checkpoints = checkpoints;
    }

    fn savepoints(&mut self, coordinator: &Coordinator, job: &JobDetails, known: &mut Known) {
        let id = job.summary.id;
        let mut ended = BTreeSet::new();
        for record in coordinator.savepoints(id) {
            let Some(outcome) = &record.outcome else {
                continue;
            };
            if !known.savepoints.contains(&record.trigger) {
                let data = tell::savepoint_ended(job, record.trigger, outcome);
                self.tell(outcome.at, Kind::SavepointEnded, Some(id), data);
            }
            ended.insert(record.trigger);
        }
        known.savepoints = ended;
    }

    /// Looks at a TaskManager.
    pub(super) fn taskmanager(
        &mut self,
        coordinator: &Coordinator,
        id: &TaskManagerId,
        now: Timestamp,
    ) {
        let known = self.taskmanagers.get(id).copied();
        let Some(shown) = coordinator.taskmanager(id) else {
            if self.taskmanagers.remove(id).is_some() {
                let data = tell::taskmanager_lost(id, now);
                self.tell(now, Kind::TaskManagerLost, None, data);
            }
            return;
        };
        let session = shown.session;
        let before = known.filter(|known| known.session == session);
        if known.is_some() && before.is_none() {
            let data = tell::taskmanager_lost(id, now);
            self.tell(now, Kind::TaskManagerLost, None, data);
        }
        let left = before.is_some_and(|known| known.leaves);
        let before = before.map(|known| known.trust);
        let trust = trust(&shown, before);
        let kind = match (before, trust) {
            (None, _) => Some(Kind::TaskManagerRegistered),
            (Some(Trust::Answering), Trust::Silent) => Some(Kind::TaskManagerSuspected),
            (Some(Trust::Silent), Trust::Answering) => Some(Kind::TaskManagerHeard),
            (Some(_), _) => None,
        };
        let leaves = shown.leaves;
        let leaving = (leaves && !left).then_some(Kind::TaskManagerLeaves);
        for kind in kind.into_iter().chain(leaving) {
            self.tell(now, kind, None, tell::taskmanager(&shown, now));
        }
        let known = KnownTaskManager {
            session,
            trust,
            leaves,
        };
        self.taskmanagers.insert(id.clone(), known);
    }
}

fn line(details: &JobDetails) -> JobLine {
    JobLine {
        id: details.summary.id,
        status: details.summary.status,
        tasks: details.summary.tasks,
        restarts: details.restarts,
    }
}

/// Whether a deadline alone may change the state of a job: whatever else does so is told of by name.
fn waits(line: &JobLine) -> bool {
    let [running, finished] =
        [ExecutionState::Running, ExecutionState::Finished].map(|state| line.tasks.get(state));
    let all_run = line.status == JobStatus::Running && running + finished == line.tasks.total();
    !line.status.is_terminal() && !all_run
}

/// How many attempts that run are of an earlier leader. Of a task that waits for its next one, the views show the last.
pub(in crate::rest) fn adopted(coordinator: &Coordinator, id: JobId, epoch: Epoch) -> u32 {
    let lines = coordinator.subtask_lines(id).into_iter().flatten();
    let adopted = lines.filter(|line| line.attempt.epoch < epoch && line.state.is_alive());
    u32::try_from(adopted.count()).unwrap_or(u32::MAX)
}

/// Whether a TaskManager is given tasks now, and whether it ever was.
fn trust(shown: &TaskManagerDetails, before: Option<Trust>) -> Trust {
    match before {
        _ if shown.answers => Trust::Answering,
        None | Some(Trust::New) => Trust::New,
        Some(Trust::Answering | Trust::Silent) => Trust::Silent,
    }
}
