//! The liveness phase: once faults have ended, what was promised comes about, each promise within a time
//! that follows from the options. RUNNING is not enough: a new checkpoint must complete, or the job end.

use crate::checks::{Verdict, ensure};
use crate::marks::Mark;
use crate::plan::Plight;
use crate::plan::job::JobPlan;
use crate::plan::options::{MS, Micros, SECOND};
use crate::world::World;
use crate::world::event::{Event, Process};
use crate::world::network::STALL_LIMIT;
use jobmanager_core::id::{CheckpointId, JobId, SlotIndex};
use jobmanager_core::jobmanager::{Coordinator, Parallelism};
use jobmanager_core::record::{Record, RecordKey};
use jobmanager_core::state::{ExecutionState, JobStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// From one look to the next.
const PACE: Micros = 100 * MS;
/// What everything may take beyond the timeouts that may have to pass.
const MARGIN: Micros = 20 * SECOND;
/// The longest pause before state is deleted again that could not be deleted.
const CLEANUP_PAUSE: Micros = 60 * SECOND;
/// After so many checkpoints at the latest, files are looked for that were written too late to be deleted
/// with their checkpoint: 16 ids are reserved at a time.
const SWEEP: u64 = 18;

/// What was so when faults ended, and what is to be remembered until then.
#[derive(Default)]
pub(crate) struct Judge {
    /// Who wrote files of which checkpoints after their job had ended.
    late: BTreeMap<(JobId, CheckpointId), BTreeSet<Process>>,
    completed: BTreeMap<JobId, Vec<Option<CheckpointId>>>,
    since: Micros,
    /// The promises that were open at the last look.
    open: BTreeSet<&'static str>,
    /// Whatever broke before has been noticed by now: restarts count.
    counts_restarts: bool,
}

/// How long things may take, counted from the end of faults.
struct Bounds {
    run: Micros,
    checkpoint: Micros,
    answer: Micros,
    stop: Micros,
    clean: Micros,
}

/// What has not come about yet.
struct Open {
    promise: &'static str,
    within: Micros,
    /// Empty unless somebody will read it.
    detail: String,
}

/// The promises that are open at a look.
struct Ledger {
    bounds: Bounds,
    /// Whether somebody will read it: words are dear, and most looks find that more time is needed.
    in_words: bool,
    open: Vec<Open>,
}

impl Ledger {
    fn note(&mut self, promise: &'static str, within: Micros, detail: impl FnOnce() -> String) {
        let detail = if self.in_words {
            detail()
        } else {
            String::new()
        };
        self.open.push(Open {
            promise,
            within,
            detail,
        });
    }
}

fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl World {
    pub(crate) fn begin_judging(&mut self) {
        for job in &self.options.jobs {
            let completed = self.checks.progress(job.id);
            self.judge.completed.insert(job.id, completed);
        }
        self.judge.since = self.now;
        self.judge.counts_restarts = false;
        self.queue.push(self.now + PACE, Event::Judge);
    }

    fn bounds(&self) -> Bounds {
        let cluster = &self.options.cluster;
        let lead = self.succession();
        let back = 2 * micros(cluster.registration_max)
            + 2 * micros(cluster.registration_refused)
            + 2 * STALL_LIMIT;
        let noticed =
            2 * micros(cluster.heartbeat_timeout) + micros(cluster.reconciliation_timeout);
        let delays = self.options.jobs.iter().map(|job| 3 * job.restart_delay);
        let stop = lead + back + noticed + micros(cluster.cancellation_timeout);
        let run = stop + delays.sum::<Micros>() + MARGIN;
        let plans = self.options.jobs.iter();
        let rounds = plans.map(|job| 3 * self.checks.checkpoint_round(job.id) + 4 * job.duration());
        let checkpoint = run + rounds.sum::<Micros>() + MARGIN;
        Bounds {
            run,
            checkpoint,
            answer: lead + 2 * self.options.clients.patience + MARGIN,
            stop: stop + micros(cluster.grace_period) + MARGIN,
            clean: checkpoint + CLEANUP_PAUSE + MARGIN,
        }
    }

    /// Looks whether all is well: then the run ends; what is late has failed.
    pub(crate) fn judge(&mut self) {
        self.judge_election();
        self.mark_problems();
        let open = self.open_promises(false);
        let verdict = self.judge_ends();
        self.verdict(verdict);
        let waited = self.now - self.judge.since;
        self.judge_restarts(waited);
        // What is on its way at one look has arrived at the next.
        let seen = open.iter().map(|open| open.promise).collect();
        let before = std::mem::replace(&mut self.judge.open, seen);
        let late = |open: &Open| waited >= open.within && before.contains(open.promise);
        if let Some(at) = open.iter().position(late) {
            let Open {
                promise, detail, ..
            } = self.open_promises(true).swap_remove(at);
            let views: Vec<_> = self
                .current_coordinator()
                .into_iter()
                .flat_map(Coordinator::jobs)
                .collect();
            self.fail(promise, format!("{detail}; {views:?}"));
        } else if open.is_empty() {
            self.judge_output();
            self.done = !self.fails_over_at_rest();
        } else {
            self.queue.push(self.now + PACE, Event::Judge);
        }
    }

    /// What has not come about yet, in a fixed order.
    fn open_promises(&self, in_words: bool) -> Vec<Open> {
        let mut ledger = Ledger {
            bounds: self.bounds(),
            in_words,
            open: Vec::new(),
        };
        self.judge_clients(&mut ledger);
        for job in &self.options.jobs {
            self.judge_job(job, &mut ledger);
        }
        self.judge_tasks(&mut ledger);
        self.judge_files(&mut ledger);
        self.judge_outliving(&mut ledger);
        ledger.open
    }

    /// What broke while there were faults may be noticed late; after that, hardly anything restarts. That is
    /// not promised to a job that has nothing to go on from, nor beside a TaskManager that dies and starts again
    /// and again: it answers while it lives, and is given tasks.
    fn judge_restarts(&mut self, waited: Micros) {
        let noticed = micros(self.options.cluster.heartbeat_timeout) + 2 * STALL_LIMIT;
        if waited >= noticed && !std::mem::replace(&mut self.judge.counts_restarts, true) {
            self.checks.count_restarts();
        }
        let outside = &self.options.faults.outside;
        let lost = |job: &JobPlan| self.has_lost_its_state(job.id);
        let flapping = outside.contains(&Some(Plight::Flapping));
        let promised = !flapping && !self.options.jobs.iter().any(lost);
        if self.judge.counts_restarts && promised {
            let verdict = self.checks.restarts_have_ended();
            self.verdict(verdict);
        }
    }

    fn judge_clients(&self, ledger: &mut Ledger) {
        let within = ledger.bounds.answer;
        for wish in self.unanswered() {
            ledger.note("every_command_is_answered", within, || wish.unanswered());
        }
    }

    fn current_coordinator(&self) -> Option<&Coordinator> {
        let node = self.jobmanagers.get(&self.current?)?;
        node.coordinator.as_ref()
    }

    /// Whether the current coordinator shows that all tasks of the job run, but those that have nothing left
    /// to do.
    fn runs(&self, job: JobId) -> bool {
        let mut lines = self
            .current_coordinator()
            .into_iter()
            .flat_map(Coordinator::lines);
        lines.any(|line| {
            let states = [ExecutionState::Running, ExecutionState::Finished];
            let busy: u32 = states.iter().map(|state| line.tasks.get(*state)).sum();
            let all = busy == line.tasks.total();
            line.id == job && line.status == JobStatus::Running && all
        })
    }

    fn judge_job(&self, job: &JobPlan, ledger: &mut Ledger) {
        let id = job.id;
        let Bounds {
            run,
            checkpoint,
            clean,
            ..
        } = ledger.bounds;
        if self.checks.result(id).is_some() {
            if let Some(trigger) = self.checks.wanted_savepoints(id).next() {
                ledger.note("an_accepted_savepoint_has_an_outcome", run, || {
                    format!("job {id} has ended, savepoint {trigger}")
                });
            }
            if self.has_records(id) {
                ledger.note("nothing_is_left_of_an_ended_job", clean, || {
                    format!("job {id} has ended and has records")
                });
            }
            return;
        }
        let runs = self.runs(id);
        if !runs && !self.is_canceled(id) && self.has_lost_its_state(id) {
            // There is nothing to go on from. It must say so, and never go on from anything else.
            if !self.says_that_state_is_lost(id) {
                ledger.note("a_job_that_lost_its_state_says_so", run, || {
                    format!("job {id} does not say so")
                });
            }
            return;
        }
        if let Some(trigger) = self.checks.wanted_savepoints(id).next() {
            ledger.note("an_accepted_savepoint_has_an_outcome", checkpoint, || {
                format!("job {id} savepoint {trigger}")
            });
        }
        let has_not_ended = || format!("job {id} has not ended");
        if self.is_canceled(id) {
            ledger.note("an_accepted_cancel_is_carried_out", run, has_not_ended);
            return;
        }
        if self.checks.stopped(id).is_some() {
            ledger.note("a_stopped_job_ends", checkpoint, has_not_ended);
            return;
        }
        if job.is_bounded() {
            ledger.note("a_bounded_job_ends", checkpoint, has_not_ended);
            return;
        }
        if !runs {
            ledger.note("every_job_runs_once_faults_have_ended", run, || {
                let problem = self.parallelism(id).and_then(|shown| shown.problem);
                format!("job {id} does not run, {problem:?}")
            });
        }
        self.judge_parallelism(id, ledger);
        if runs {
            self.judge_demands(id, ledger);
        }
        let before = self.judge.completed.get(&id);
        let before = before.map_or(&[] as &[_], Vec::as_slice);
        if self.checks.latest_since(id, before).is_none() {
            let name = "a_new_checkpoint_completes_once_faults_have_ended";
            ledger.note(name, checkpoint, || {
                let completed = self.checks.progress(id);
                format!("job {id} has completed {completed:?} after {before:?}")
            });
        }
    }

    fn parallelism(&self, job: JobId) -> Option<Parallelism> {
        self.current_coordinator()?.parallelism(job)
    }

    /// Why jobs do not get the parallelism that is wanted.
    fn mark_problems(&mut self) {
        let jobs = self.options.jobs.iter().map(|job| job.id);
        let jobs = jobs.filter(|job| self.checks.is_out_of_bounds(*job));
        let mut shown = jobs.filter_map(|job| self.parallelism(job)?.problem);
        let is_partly_at_end = |problem: String| problem.ends_with("and others have not");
        if shown.any(is_partly_at_end) {
            self.marks.hit(Mark::CannotRescalePartlyEnded);
        }
    }

    fn judge_demands(&self, job: JobId, ledger: &mut Ledger) {
        let open = |leader| self.checks.open_demand(leader, job);
        if let Some(trigger) = self.current.and_then(open) {
            let within = ledger.bounds.checkpoint;
            ledger.note("a_demand_has_an_outcome", within, || {
                format!("job {job} {trigger}")
            });
        }
    }

    fn judge_parallelism(&self, job: JobId, ledger: &mut Ledger) {
        let is_explained = || {
            let shown = self.parallelism(job);
            shown.is_none_or(|shown| shown.problem.is_some())
        };
        if self.checks.is_out_of_bounds(job) && !is_explained() {
            let name = "a_job_has_the_parallelism_that_is_wanted_or_says_why";
            ledger.note(name, ledger.bounds.checkpoint, || format!("job {job}"));
        }
    }

    /// Everything up to a checkpoint that every sink was told of is published.
    fn judge_output(&mut self) {
        let Some(oracle) = &self.oracle else {
            return;
        };
        for job in &self.options.jobs {
            let offsets = self.checks.settled_offsets(job.id);
            if let Err(failure) = oracle.contains_up_to(job.id, &offsets) {
                self.failure.get_or_insert(failure);
            }
        }
    }

    fn has_records(&self, id: JobId) -> bool {
        let records = [
            RecordKey::Job(id),
            RecordKey::Cancel(id),
            RecordKey::Rescale(id),
            RecordKey::CheckpointMark(id),
        ];
        let checkpoints = self.checks.retained(id);
        let checkpoints = checkpoints.map(|checkpoint| RecordKey::Checkpoint(id, checkpoint));
        let mut keys = records.into_iter().chain(checkpoints);
        keys.any(|key| self.store.get(key).is_some())
    }

    /// Whether the failures that the current coordinator shows name a file that is lost or damaged.
    fn says_that_state_is_lost(&self, job: JobId) -> bool {
        let files = self.checks.latest_files(job);
        let mut spoiled = files.iter().filter(|file| self.blobs.is_spoiled(job, file));
        let current = self.current.and_then(|it| self.jobmanagers.get(&it));
        let coordinator = current.and_then(|node| node.coordinator.as_ref());
        let failures = coordinator.and_then(|coordinator| coordinator.exceptions(job));
        let failures = failures.unwrap_or_default();
        spoiled.any(|file| {
            failures
                .iter()
                .any(|failure| failure.message.contains(file))
        })
    }

    /// Jobs that have ended did so in a way that they may.
    fn judge_ends(&self) -> Verdict {
        self.options.jobs.iter().try_for_each(|job| {
            let status = self.checks.result(job.id);
            status.map_or(Ok(()), |status| self.judge_end(job, status))
        })
    }

    fn judge_end(&self, job: &JobPlan, status: JobStatus) -> Verdict {
        let ended = || format!("job {} ended {status}", job.id);
        let canceled = status == JobStatus::Canceled;
        ensure(
            status != JobStatus::Failed || job.is_fragile(),
            "a_job_fails_only_if_its_restart_strategy_says_so",
            || format!("job {} may restart for ever", job.id),
        )?;
        ensure(
            canceled || !self.is_canceled(job.id),
            "an_accepted_cancel_is_carried_out",
            ended,
        )?;
        ensure(
            !canceled || self.was_asked_to_cancel(job.id),
            "a_job_is_canceled_only_if_somebody_asked_for_it",
            ended,
        )?;
        ensure(
            status != JobStatus::Finished
                || job.is_bounded()
                || self.checks.stopped(job.id).is_some()
                || self.checks.begins_at_its_end(job.id),
            "only_a_bounded_job_finishes",
            || format!("job {} has sources without end", job.id),
        )
    }

    /// What runs is what the coordinator knows, where it knows it.
    fn judge_tasks(&self, ledger: &mut Ledger) {
        for (process, attempt) in self.checks.running() {
            if self.is_beyond_reach(process.index) {
                continue;
            }
            let ended = self.checks.result(attempt.job).is_some();
            if ended || !self.checks.is_current(attempt) {
                let within = ledger.bounds.stop;
                ledger.note("unknown_tasks_are_stopped", within, || {
                    format!("{attempt} still runs on {process:?}")
                });
            }
        }
        self.judge_memories(ledger);
        let Some(coordinator) = self.current_coordinator() else {
            return;
        };
        let lost: BTreeSet<JobId> = self
            .options
            .jobs
            .iter()
            .map(|job| job.id)
            // It starts and fails without end.
            .filter(|job| self.has_lost_its_state(*job))
            .collect();
        let counts = |(index, _, job): &(usize, SlotIndex, JobId)| {
            !lost.contains(job) && !self.is_beyond_reach(*index)
        };
        let held = coordinator.allocations();
        let index = |name: &str| self.named(name).unwrap_or(usize::MAX);
        let held = held.map(|(name, slot, job)| (index(&name.0), slot, job));
        let mut held: Vec<_> = held.filter(counts).collect();
        // Tasks share slots.
        let mut used: Vec<_> = Vec::with_capacity(held.len());
        for (process, slot, job) in self.checks.used_slots() {
            let at = (process.index, slot, job);
            if counts(&at) && !used.contains(&at) {
                used.push(at);
            }
        }
        if used.len() == held.len() && held.iter().all(|at| used.contains(at)) {
            return;
        }
        let within = ledger.bounds.stop.max(ledger.bounds.run);
        ledger.note("slot_tables_agree_once_faults_have_ended", within, || {
            held.sort_unstable();
            used.sort_unstable();
            format!("the coordinator holds {held:?}, tasks are in {used:?}")
        });
    }

    /// A file was written.
    pub(crate) fn notes_file(&mut self, process: Process, job: JobId, checkpoint: CheckpointId) {
        if self.checks.result(job).is_some() {
            let late = self.judge.late.entry((job, checkpoint)).or_default();
            late.insert(process);
        }
    }

    /// Whether all who wrote for a checkpoint after the job's end are gone, or out of reach for ever: nobody
    /// learns that they did.
    fn is_out_of_sight(&self, job: JobId, checkpoint: CheckpointId) -> bool {
        let gone = |by: &Process| !self.is_alive(*by) || self.is_outside(by.index);
        let late = self.judge.late.get(&(job, checkpoint));
        late.is_some_and(|writers| writers.iter().all(gone))
    }

    /// TaskManagers keep what has finished until they are told that its job has ended.
    fn judge_memories(&self, ledger: &mut Ledger) {
        for (index, node) in self.taskmanagers.iter().enumerate() {
            let attempts = node.worker.iter().flat_map(|worker| worker.attempts());
            let mut attempts = attempts.map(|(attempt, ..)| attempt);
            let kept = attempts.find(|attempt| self.checks.result(attempt.job).is_some());
            if let Some(attempt) = kept.filter(|_| !self.is_outside(index)) {
                let within = ledger.bounds.stop;
                ledger.note("nothing_is_left_of_an_ended_job", within, || {
                    format!("tm-{index} still has {attempt}")
                });
            }
        }
    }

    /// Files that nothing refers to are deleted: all of a job that has ended, and those of checkpoints that
    /// were of no use already when faults ended, however late they were written.
    fn judge_files(&self, ledger: &mut Ledger) {
        for job in &self.options.jobs {
            let id = job.id;
            let ended = self.checks.result(id).is_some();
            let completed = self.judge.completed.get(&id);
            let latest = completed.and_then(|completed| completed.iter().copied().max().flatten());
            let referenced = self.checks.referenced(id);
            let is_of_use = |file: CheckpointId| Some(file) >= latest || referenced.contains(&file);
            let kept: BTreeSet<CheckpointId> = self
                .blobs
                .checkpoints(id)
                .filter(|file| {
                    if ended {
                        !self.is_out_of_sight(id, *file)
                    } else {
                        !is_of_use(*file)
                    }
                })
                .collect();
            // A job that has lost its state completes nothing any more, and is cleaned up after at its end.
            if !ended && self.has_lost_its_state(id) {
                continue;
            }
            let mut within = ledger.bounds.clean;
            // A region that has not completed it may have written late for what others have.
            if !ended && !kept.iter().any(|file| self.checks.all_completed(id, *file)) {
                within += SWEEP * self.checks.checkpoint_round(id);
            }
            if !kept.is_empty() {
                ledger.note("unreferenced_state_is_deleted", within, || {
                    format!("job {id} has files of checkpoints {kept:?}")
                });
            }
        }
    }

    /// What outlives a job is there, until its owner has gone beyond it.
    fn judge_outliving(&self, ledger: &mut Ledger) {
        for id in self.options.jobs.iter().map(|job| job.id) {
            if let Some(location) = self.checks.outgrown(id)
                && self.blobs.has_savepoint(location)
            {
                let within = ledger.bounds.clean + SWEEP * self.checks.checkpoint_round(id);
                ledger.note(
                    "what_a_job_owns_goes_once_it_has_gone_beyond",
                    within,
                    || format!("job {id} has claimed {location}"),
                );
            }
            let location = self.checks.outlived_at(id);
            let location = location.filter(|location| !self.blobs.is_given_up(location));
            let is_whole = location.is_none_or(|at| self.blobs.is_whole(at));
            if !is_whole && !self.blobs.has_spoiled(id) {
                ledger.note("what_outlives_a_job_is_there", ledger.bounds.clean, || {
                    format!("job {id} {location:?}")
                });
            }
        }
    }

    /// What the current coordinator holds to be durable is what the store has, once nothing is under way.
    pub(crate) fn agrees_with_the_store(&mut self) {
        let Some(coordinator) = self.current_coordinator() else {
            return;
        };
        // A write whose answer was lost may have been applied.
        if !self.store.is_idle() || coordinator.overview().store_problem.is_some() {
            return;
        }
        let known = coordinator.what_is_stored();
        let keyed = |records: Vec<Record>| -> BTreeMap<RecordKey, Record> {
            let keyed = records.into_iter().map(|record| (record.key(), record));
            keyed.collect()
        };
        let (held, known) = (keyed(self.store.read()), keyed(known.records));
        let verdict = ensure(held == known, "a_coordinator_knows_what_is_stored", || {
            format!("the store has {held:?}, the coordinator knows of {known:?}")
        });
        self.verdict(verdict);
    }

    /// A coordinator whose jobs have ended and whose TaskManagers are gone is like a new one.
    pub(crate) fn returns_to_nothing(&mut self) {
        let idle = self.options.jobs.iter().all(|job| {
            let id = job.id;
            self.checks.result(id).is_some() && !self.has_records(id)
        });
        let current = self.current.filter(|_| idle);
        let now = current.map(|instance| self.jobmanager_time(instance));
        let now = now.unwrap_or_default();
        let Some(node) = current.and_then(|at| self.jobmanagers.get(&at)) else {
            return;
        };
        let (config, epoch) = (self.options.cluster.clone(), node.epoch);
        let sessions = node.sessions();
        let Some(coordinator) = &node.coordinator else {
            return;
        };
        // What is written but not answered is not known yet to be gone.
        if !self.store.is_idle() || coordinator.overview().store_problem.is_some() {
            return;
        }
        self.marks.hit(Mark::NothingIsLeft);
        let verdict =
            crate::checks::leaves_nothing(coordinator.clone(), &sessions, config, epoch, now);
        self.verdict(verdict);
    }
}
