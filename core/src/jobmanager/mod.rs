//! The coordinator: takes jobs, places their tasks, coordinates checkpoints, notices failures and
//! recovers from them. It is not told how anything is done: facts come in, orders go out.
//!
//! The rooms, from the outside in:
//!
//! | module | what it knows |
//! |---|---|
//! | `input`, `effect`, `view` | what can happen, what can be ordered, what can be seen |
//! | `why` | what whatever waits waits for |
//! | `commands`, `sessions` | what a client's call and a TaskManager's session lead to |
//! | `job` and `tasks`, `deploy`, `failover`, `checkpointing`, `savepointing`, `rescaling`, `moving`, `reconcile`, `ending` | one job, by what happens to it |
//! | `execution`, `checkpoints`, `savepoints`, `restart` | one job's facts: tasks, checkpoints, savepoints, restart budget |
//! | `taskmanagers`, `supply`, `workers`, `waiting`, `claims`, `journal`, `timers`, `archive`, `removals` | what jobs share |
//! | `invariants` | what must hold across all of them |
//! | `snapshot` | the whole state, to be copied, and what of it is durable |
//!
//! Every step is: due timers, one input, then settling. Handlers change facts and mark jobs; settling
//! draws the consequences from the facts alone.

mod archive;
mod checkpointing;
mod checkpoints;
mod claims;
mod commands;
mod cx;
mod demands;
mod deploy;
mod effect;
mod ending;
mod execution;
mod failover;
mod input;
mod invariants;
mod job;
mod journal;
mod kinds;
mod moving;
mod owned;
mod pending;
mod promises;
mod quota;
mod reconcile;
mod recover;
mod removals;
mod rescaling;
mod restart;
mod savepointing;
mod savepoints;
mod sessions;
mod snapshot;
mod supply;
mod taskmanagers;
mod tasks;
mod timers;
mod view;
mod views;
mod waiting;
pub mod why;
mod workers;

pub use effect::{Effect, Reply, RescaleProblem, TooManySlots};
pub use input::{Command, Discard, Input, SavepointRequest, StorageOutcome, StoreOutcome};
pub use invariants::Violation;
pub use recover::RecoverError;
pub use restart::{Decision, RestartBackoff};
pub use snapshot::Stored;
pub use view::{
    CheckpointEntry, CheckpointOutcome, CheckpointsDetails, DemandState, ExceptionEntry,
    JobDetails, JobLine, JobSummary, Outliving, Overview, Parallelism, Restore, SlotCounts,
    SubtaskDetails, SubtaskLine, TaskCounts, TaskManagerDetails, VertexDetails, VertexParallelism,
};
pub use workers::{Shortage, WorkerReport, WorkersOverview};

use crate::config::ClusterConfig;
use crate::id::{CommitId, Epoch, JobId};
use crate::kept::Kept;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use archive::{Archive, Archived};
use claims::Claims;
use cx::Cx;
use job::{Job, JobPhase};
use journal::{Answer, Fact, Journal};
use removals::{Removals, Step};
use serde::{Deserialize, Serialize};
use taskmanagers::TaskManagers;
use timers::{Timer, Timers};
use waiting::Waiting;
use workers::Workers;

/// The coordinator of a cluster while it leads.
///
/// *Driving it*: [`recover`](Self::recover), then [`step`](Self::step) for every input and when
/// [`next_deadline`](Self::next_deadline) has passed. Losing leadership is dropping the value.
/// *Looking at it*: [`overview`](Self::overview) and its siblings, between steps.
/// *Checking it*: [`digest`](Self::digest), [`check_invariants`](Self::check_invariants).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Coordinator {
    config: Kept<ClusterConfig>,
    epoch: Epoch,
    now: Timestamp,
    tms: TaskManagers,
    jobs: BTreeMap<JobId, Kept<Job>>,
    /// How many of them have ended: what they leave behind is being removed.
    over: u32,
    /// Jobs whose regions wait for slots.
    waiting: Waiting,
    /// What is left to jobs of a higher priority.
    claims: Claims,
    /// TaskManagers that are started for jobs.
    workers: Workers,
    archive: Archive,
    removals: Removals,
    journal: Journal,
    timers: Timers,
    /// Jobs that have changed since they were settled.
    dirty: BTreeSet<JobId>,
    /// A later leader exists: nothing is done any more.
    stepped_down: bool,
}

impl Coordinator {
    /// Fires due timers, takes one input, appends what must be done to `effects`, in order. Cannot fail.
    ///
    /// The first step should follow [`recover`](Self::recover) at once, with [`Input::Wake`]. A time
    /// before that of an earlier step counts as that step's.
    pub fn step(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        if self.stepped_down {
            return;
        }
        self.now = self.now.max(now);
        self.fire(effects);
        match input {
            Input::Connected { session, hello } => self.connected(session, hello, effects),
            Input::Message { session, message } => self.message(session, message, effects),
            Input::Disconnected { session } => self.disconnected(session, effects),
            Input::Stored { commit, outcome } => self.stored(commit, outcome, effects),
            Input::Discarded { discard, outcome } => self.discarded(&discard, &outcome, effects),
            Input::SavepointWritten {
                job,
                checkpoint,
                outcome,
            } => {
                if !self.kept(job, checkpoint, &outcome, effects) {
                    self.with_job(job, effects, |job, cx| {
                        job.savepoint_written(cx, checkpoint, &outcome);
                    });
                }
            }
            Input::Command { request, command } => self.command(request, command, effects),
            Input::Workers { present } => self.workers_listed(present),
            Input::Worker { worker, report } => self.worker_reported(worker, report, effects),
            Input::Wake => {}
        }
        self.settle(effects);
    }

    /// When to call `step(Input::Wake)` if nothing else happens. Extra calls are harmless.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    fn fire(&mut self, effects: &mut Vec<Effect>) {
        while let Some((at, timer)) = self.timers.pop_due(self.now) {
            match timer {
                // Settling does it.
                Timer::Journal | Timer::Workers => {}
                Timer::Removals => self.retry_removals(effects),
                Timer::TaskManager(tm) => self.heartbeat_due(tm, at, effects),
                Timer::Job(job) => {
                    self.dirty.insert(job);
                }
            }
        }
    }

    /// The store has answered.
    fn stored(&mut self, commit: CommitId, outcome: StoreOutcome, effects: &mut Vec<Effect>) {
        match self.journal.stored(self.now, commit, outcome) {
            Answer::Nothing => {}
            Answer::Durable(facts) => {
                for fact in facts {
                    self.durable(fact, effects);
                }
            }
            Answer::Fenced => {
                self.stepped_down = true;
                let reason =
                    String::from("the store has seen a later epoch: another JobManager leads");
                effects.push(Effect::StepDown { reason });
            }
        }
    }

    /// Something has become durable: what waited for it happens now.
    fn durable(&mut self, fact: Fact, effects: &mut Vec<Effect>) {
        match fact {
            Fact::Submitted(job) => self.with_job(job, effects, Job::submission_durable),
            Fact::CancelRequested(job) => self.with_job(job, effects, Job::cancel_durable),
            Fact::Marked(job, next) => self.with_job(job, effects, |job, _| job.marked(next)),
            Fact::Completed(job) => self.with_job(job, effects, |job, cx| job.completed(cx)),
            Fact::RescaleRequested(job) => self.with_job(job, effects, Job::rescale_accepted),
            Fact::Rescaled(job) => self.with_job(job, effects, Job::rescaled),
            Fact::SavepointRequested(job, trigger) => {
                self.with_job(job, effects, |job, cx| job.savepoint_accepted(cx, trigger));
            }
            Fact::SavepointEnded(job, trigger) => {
                self.with_job(job, effects, |job, cx| job.savepoint_ended(cx, trigger));
            }
            Fact::Ended(job) => self.job_ended(job, effects),
            Fact::Cleaned(job) => self.job_cleaned(job),
            Fact::Nothing => {}
        }
    }

    fn job_cleaned(&mut self, job: JobId) {
        if let Some(removed) = self.jobs.remove(&job) {
            self.over -= 1;
            if let JobPhase::Ended(ended) = &removed.phase {
                self.archive.is_cleaned(&ended.result);
            }
        }
        self.timers.set(Timer::Job(job), None);
        // One of which something may still be removed is not forgotten: whoever submitted it anew would
        // lose what it writes.
        let (jobs, removals) = (&self.jobs, &self.removals);
        let is_removed = |job| !jobs.contains_key(&job) && !removals.concerns(job);
        let deletes = self
            .archive
            .trim(self.config.job_store_capacity, is_removed);
        for delete in deletes {
            self.journal.write(Vec::from([delete]), Fact::Nothing);
        }
    }

    /// State was deleted, or could not be.
    fn discarded(
        &mut self,
        discard: &Discard,
        outcome: &StorageOutcome,
        effects: &mut Vec<Effect>,
    ) {
        match (discard, outcome) {
            (Discard::Job(job), outcome) => {
                if self.step_ended(*job, Step::Delete, outcome, effects) {
                    self.with_job(*job, effects, Job::state_removed);
                }
            }
            (Discard::Owned { job, .. }, outcome) => {
                if self.releases(*job) {
                    self.step_ended(*job, Step::Release, outcome, effects);
                } else {
                    self.with_job(*job, effects, |job, _| job.owned_discarded(outcome));
                }
            }
            (
                Discard::Checkpoint(job, _) | Discard::Unreferenced { job, .. },
                StorageOutcome::Failed(problem),
            ) => {
                self.with_job(*job, effects, |job, _| job.discard_failed(discard, problem));
            }
            (Discard::Savepoint { job, location }, StorageOutcome::Failed(problem)) => {
                // Without its metadata nobody takes it for a savepoint.
                tracing::warn!(%job, location, problem, "a part of a savepoint could not be deleted");
            }
            (
                Discard::Checkpoint(..) | Discard::Unreferenced { .. } | Discard::Savepoint { .. },
                StorageOutcome::Done,
            ) => {}
        }
    }

    /// Has a job do something, if there is such a job, and settles it afterwards.
    fn with_job(
        &mut self,
        id: JobId,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Job, &mut Cx<'_>),
    ) {
        let (jobs, _, mut cx) = self.parts(effects);
        if let Some(job) = jobs.get_mut(&id) {
            act(job, &mut cx);
            self.dirty.insert(id);
        }
    }

    /// The jobs, those that have ended, and what they use and change beside themselves.
    fn parts<'a>(
        &'a mut self,
        effects: &'a mut Vec<Effect>,
    ) -> (&'a mut BTreeMap<JobId, Kept<Job>>, &'a mut Archive, Cx<'a>) {
        let cx = Cx {
            now: self.now,
            epoch: self.epoch,
            config: &self.config,
            tms: &mut self.tms,
            journal: &mut self.journal,
            effects,
            claims: &self.claims,
        };
        (&mut self.jobs, &mut self.archive, cx)
    }

    /// Settles every job that has changed, places what waits for slots, and starts the next write, until
    /// nothing changes any more.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        self.judge_claims();
        loop {
            while let Some(id) = self.dirty.pop_first() {
                self.settle_job(id, effects);
            }
            if !self.place(effects) {
                break;
            }
        }
        let unused = self.tms.dismiss(self.epoch, effects);
        self.provide_workers(&unused, effects);
        self.journal.pump(self.now, effects);
        self.timers.set(Timer::Journal, self.journal.deadline());
        self.timers.set(Timer::Removals, self.removals.deadline());
    }

    fn settle_job(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let (jobs, _, mut cx) = self.parts(effects);
        let Some(job) = jobs.get_mut(&id) else {
            return;
        };
        job.settle(&mut cx);
        let (deadline, entry) = (job.deadline(cx.now), job.place_in_line());
        let demand = job.wants_slots().then(|| job.execution.demand());
        let required = cx.config.workers.is_some().then(|| job.required(cx.config));
        self.timers.set(Timer::Job(id), deadline);
        if let Some(required) = required {
            self.workers.require(id, required);
        }
        if self.waiting.settled(entry, demand) {
            self.tms.note_demand();
        }
        self.note_claim(id);
    }

    /// Looks anew for whom the cluster is too small, if other slots are there to stay than before, or to come.
    fn judge_claims(&mut self) {
        let workers = self.config.workers.as_ref();
        let coming = workers.map_or(0, |config| self.workers.coming_slots(config));
        if self.tms.take_staying_changed() || coming != self.claims.coming() {
            let job = |id| &*self.jobs[&id];
            if self.claims.judge(&self.tms, coming, job) {
                self.tms.note_supply();
            }
        }
    }

    /// A job may lack more slots than before, or fewer.
    fn note_claim(&mut self, id: JobId) {
        if self.claims.lacks(&self.tms, &self.jobs[&id]) {
            self.tms.note_supply();
        }
    }

    /// Gives free slots to waiting jobs, by their priority, and then in the order of their submission. A job that does
    /// not fit does not hold up one of the same priority that does. Tells whether any was placed.
    fn place(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.tms.take_slots_changed() {
            self.waiting.slots_changed();
        }
        if !self.tms.take_changed() {
            return false;
        }
        for (entry, needed) in self.waiting.take_tries() {
            let (jobs, _, mut cx) = self.parts(effects);
            let job = jobs.get_mut(&entry.job).expect("only jobs that exist wait");
            let placed = job.place(&mut cx, needed);
            job.served(&mut cx);
            match placed {
                Ok(()) => {
                    self.note_claim(entry.job);
                    self.waiting.remove(entry);
                    self.dirty.insert(entry.job);
                }
                Err(needed) => self.waiting.tried(entry, needed),
            }
        }
        !self.dirty.is_empty() || self.tms.has_changed()
    }

    /// A job's result is durable.
    fn job_ended(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let history = self.config.checkpoint_history;
        let Some(JobPhase::Ended(ended)) = self.jobs.get(&id).map(|job| &job.phase) else {
            return;
        };
        let result = ended.result.clone();
        self.over += 1;
        self.with_job(id, effects, Job::end_durable);
        let job = self.jobs.get(&id).expect("it was just looked at");
        self.archive.put(Archived::ended(job, result, history));
        self.remove(id, effects);
        self.release_job(id, effects);
    }
}
