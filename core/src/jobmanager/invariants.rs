//! Cross-module truths: what must hold after every step, whatever happened. Each has a name and a reason;
//! a violation is our own mistake.

use super::Coordinator;
use super::execution::Phase;
use super::job::{Job, JobPhase};
use super::pending::Stage;
use super::savepoints::Wish;
use super::taskmanagers::{SlotRef, SlotUse};
use super::timers::Timer;
use super::view::TaskCounts;
use crate::id::{RegionIndex, VertexIndex};
use crate::state::ExecutionState;
use alloc::format;
use alloc::string::String;
use alloc::vec;

/// The states in which no task of an active region is.
const NOT_ACTIVE: [ExecutionState; 3] = [
    ExecutionState::Canceled,
    ExecutionState::Failed,
    ExecutionState::Scheduled,
];

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant `{name}` is broken: {detail}")]
pub struct Violation {
    /// The invariant's name.
    pub name: &'static str,
    /// What was seen.
    pub detail: String,
}

fn hold(name: &'static str, holds: bool, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            name,
            detail: detail(),
        })
    }
}

impl Coordinator {
    /// Cross-module truths. For tests and simulators: the cost is that of a look at everything.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        self.check_slots()?;
        self.check_workers()?;
        self.check_timers()?;
        let mut over = 0;
        for job in self.jobs.values() {
            over += u32::from(job.is_over());
            job.check(Job::check)?;
            let wants = job.wants_slots();
            let waits = self.waiting.contains(job.place_in_line());
            hold(
                "a-job-waits-exactly-while-it-wants-slots",
                wants == waits,
                || format!("job {}", job.id()),
            )?;
        }
        hold("ended-jobs-are-counted", over == self.over, || {
            format!("{over} have ended, {} are counted", self.over)
        })
    }

    /// A slot that jobs and TaskManagers disagree about would be given twice, or never again.
    fn check_slots(&self) -> Result<(), Violation> {
        let mut held = 0;
        for job in self.jobs.values() {
            for (job_slot, slot) in (0..).zip(&job.execution.slots) {
                let Some((at, tm)) = slot.at.and_then(|at| Some((at, self.tms.get(at.tm)?))) else {
                    continue;
                };
                held += 1;
                let own = SlotUse {
                    job: job.id(),
                    job_slot,
                };
                let usage = tm.slots.get(at.slot.0 as usize).copied().flatten();
                let other = usage.filter(|usage| *usage != own && self.holds(*usage, at));
                hold("a-slot-belongs-to-one-job", other.is_none(), || {
                    format!("{at:?}: {other:?} and {}", job.id())
                })?;
                hold("slot-tables-agree", usage == Some(own), || {
                    let name = &tm.hello.taskmanager;
                    format!("{name} slot {}: {usage:?}, jobs say {own:?}", at.slot.0)
                })?;
            }
        }
        let (mut free, mut taken, mut all) = (0, 0, 0);
        for (_, entry) in self.tms.iter() {
            let name = &entry.hello.taskmanager;
            let count = entry.slots.iter().filter(|usage| usage.is_none()).count();
            hold("slots-are-conserved", count == entry.free.len(), || {
                format!("{name}: {count} free")
            })?;
            all += entry.hello.slots;
            free += entry.free_count();
            taken += entry.slots.len() - count;
        }
        // What jobs hold is in the tables, each in a place of its own: so it is all that may be there.
        hold("slot-tables-agree", held == taken, || {
            format!("{taken} slots are taken, jobs hold {held}")
        })?;
        let counted = (free, all) == (self.tms.free_slots(), self.tms.slots());
        hold("slots-are-conserved", counted, || {
            format!("{free} free slots of {all} in all")
        })?;
        let mut jobs = self.jobs.values();
        let claimed = jobs.all(|job| self.claims.is_of(job));
        hold(
            "claims-are-what-jobs-lack",
            claimed && self.claims.adds_up(),
            || format!("{:?}", self.claims),
        )?;
        self.check_promises()
    }

    /// Slots are kept for jobs that move, or wait for those that they have stopped tasks for.
    fn check_promises(&self) -> Result<(), Violation> {
        let all: u32 = self.tms.promises.iter().map(|(_, slots)| slots).sum();
        for (id, slots) in self.tms.promises.iter() {
            let job = self.jobs.get(&id);
            let waits = job.is_some_and(|job| {
                let restarts = !job.execution.restarting().is_empty();
                job.phase == JobPhase::Running && (job.is_left() || restarts || job.wants_slots())
            });
            let counted = self.tms.promises.to_others(id) + slots == all;
            hold("slots-are-promised-to-who-moves", waits && counted, || {
                format!("{slots} of {all} slots to {id}")
            })?;
        }
        Ok(())
    }

    /// What jobs require is known, and who was started for them is what TaskManagers say.
    fn check_workers(&self) -> Result<(), Violation> {
        let is_asked = self.config.workers.is_some();
        let required = self.jobs.values().filter(|_| is_asked);
        let required = required.map(|job| u64::from(job.required(&self.config).slots));
        let (required, known) = (required.sum::<u64>(), self.workers.sum());
        hold("what-jobs-require-is-known", required == known, || {
            format!("{required} slots, not {known}")
        })?;
        let staying = self.tms.iter().map(|(_, tm)| u64::from(tm.staying_slots()));
        let (staying, known) = (staying.sum::<u64>(), self.tms.staying_slots());
        hold("slots-that-stay-are-counted", staying == known, || {
            format!("{staying} slots, not {known}")
        })?;
        self.workers.check(&self.tms).map_or(Ok(()), |detail| {
            hold("a-worker-is-as-far-as-its-taskmanager", false, || detail)
        })
    }

    /// Whether a job says that it holds the slot for this use.
    fn holds(&self, usage: SlotUse, at: SlotRef) -> bool {
        let slots = self.jobs.get(&usage.job).map(|job| &job.execution.slots);
        let slot = slots.and_then(|slots| slots.get(usage.job_slot as usize));
        slot.is_some_and(|slot| slot.at == Some(at))
    }

    /// A deadline without an owner would fire for nothing; one in the past would spin.
    fn check_timers(&self) -> Result<(), Violation> {
        for timer in self.timers.armed() {
            let owned = match timer {
                Timer::Journal => self.journal.deadline().is_some(),
                Timer::Workers => self.config.workers.is_some(),
                Timer::Removals => self.removals.deadline().is_some(),
                Timer::TaskManager(tm) => self.tms.get(tm).is_some(),
                Timer::Job(job) => self.jobs.contains_key(&job),
            };
            hold("every-deadline-has-an-owner", owned, || {
                format!("{timer:?}")
            })?;
        }
        let future = self.timers.next().is_none_or(|at| at > self.now);
        hold("deadlines-lie-ahead", future, || {
            format!("{:?} at {}", self.timers.next(), self.now)
        })
    }
}

impl Job {
    /// What must hold within the job, whatever else there is.
    fn check(&self) -> Result<(), Violation> {
        self.check_counts()?;
        self.check_regions()?;
        self.check_checkpoints()
    }

    fn check_counts(&self) -> Result<(), Violation> {
        let id = self.id();
        for vertex in (0..).map(VertexIndex).take(self.graph.vertices().len()) {
            let mut counts = TaskCounts::default();
            for position in self.execution.layout().positions(vertex) {
                counts.0[self.execution.state(position) as usize] += 1;
            }
            let detail = || format!("job {id} vertex {}: {counts:?}", vertex.0);
            hold(
                "task-counts-are-right",
                counts == self.execution.counts(vertex),
                detail,
            )?;
        }
        let mut by_slot = vec![0; self.execution.slots.len()];
        for position in (0..self.execution.subtasks()).filter(|at| self.is_alive(*at)) {
            by_slot[self.execution.slot_of(position) as usize] += 1;
        }
        for (slot, (held, tasks)) in self.execution.slots.iter().zip(by_slot).enumerate() {
            let right = held.tasks == tasks && held.at.is_some() == (tasks > 0);
            hold("a-slot-is-held-while-a-task-is-in-it", right, || {
                format!("job {id} slot {slot}: {held:?}")
            })?;
        }
        for (index, group) in self.graph.groups().iter().enumerate() {
            let first = group.first_slot as usize;
            let slots = &self.execution.slots[first..first + group.slots as usize];
            let held = slots.iter().filter(|slot| slot.at.is_some()).count();
            let known = self.execution.groups()[index].held;
            hold("held-slots-are-counted", held == known as usize, || {
                format!("job {id} group {index}: {held} slots, not {known}")
            })?;
        }
        Ok(())
    }

    fn check_regions(&self) -> Result<(), Violation> {
        let id = self.id();
        for index in self.execution.region_indices() {
            let region = self.execution.region(index);
            let members = self.execution.layout().members(index);
            let (mut counts, mut alive) = (TaskCounts::default(), 0);
            for position in members {
                counts.0[self.execution.state(*position) as usize] += 1;
                alive += u32::from(self.is_alive(*position));
            }
            let of = |states: &[ExecutionState]| -> usize {
                let of = states.iter().map(|state| counts.get(*state) as usize);
                of.sum()
            };
            let detail = || format!("job {id} region {}: {region:?}, {alive} alive", index.0);
            let running = counts.get(ExecutionState::Running);
            let counted = region.alive == alive && region.running == running;
            hold("a-region-counts-its-tasks", counted, detail)?;
            let right = match region.phase {
                Phase::Scheduled { .. } => of(&[ExecutionState::Scheduled]) == members.len(),
                Phase::Active => of(&NOT_ACTIVE) == 0,
                Phase::Finished => of(&[ExecutionState::Finished]) == members.len(),
                Phase::Restarting { .. } | Phase::Stopping => {
                    of(&[ExecutionState::Running, ExecutionState::Deploying]) == 0
                }
                Phase::Reconciling => {
                    matches!(self.phase, JobPhase::Reconciling(_) | JobPhase::Ended(_))
                }
            };
            hold("a-region-is-what-its-tasks-are", right, detail)?;
            let ended = matches!(self.phase, JobPhase::Ending(_) | JobPhase::Ended(_));
            let deployed = matches!(region.phase, Phase::Active | Phase::Scheduled { .. });
            hold(
                "nothing-runs-in-a-job-that-ends",
                !(ended && deployed),
                detail,
            )?;
        }
        Ok(())
    }

    fn check_checkpoints(&self) -> Result<(), Violation> {
        let id = self.id();
        let checkpoints = &self.checkpoints;
        let below_mark = checkpoints.next <= checkpoints.mark;
        hold("an-id-is-used-only-if-that-is-durable", below_mark, || {
            format!("job {id}: {:?}", checkpoints.next)
        })?;
        let ids = checkpoints.completed.iter().map(|record| record.id);
        let increasing = ids
            .clone()
            .zip(ids.clone().skip(1))
            .all(|(earlier, later)| earlier < later);
        hold("completed-checkpoints-are-ordered", increasing, || {
            format!("job {id}")
        })?;
        let used = ids.chain(checkpoints.pending.iter().map(|pending| pending.id));
        hold(
            "checkpoint-ids-never-repeat",
            used.max() < Some(checkpoints.next),
            || format!("job {id}"),
        )?;
        let Some(config) = &self.graph.config().checkpointing else {
            return hold(
                "no-checkpoints-without-an-interval",
                checkpoints.pending.is_empty(),
                || format!("job {id}"),
            );
        };
        let retained = checkpoints.completed.len() <= config.retained as usize;
        hold("few-enough-checkpoints-are-retained", retained, || {
            format!("job {id}: {}", checkpoints.completed.len())
        })?;
        for region in self.execution.region_indices() {
            self.check_line(region, config.max_concurrent)?;
        }
        self.check_savepoint()
    }

    /// While a savepoint is taken, it is the only checkpoint under way.
    fn check_savepoint(&self) -> Result<(), Violation> {
        let wish = self.savepoints.current();
        let wanted = wish.and_then(Wish::checkpoint);
        let mut pending = self.checkpoints.pending.iter();
        let savepoint = pending.clone().find(|pending| pending.is_savepoint);
        let savepoint = savepoint.map(|pending| pending.id);
        let alone = savepoint.is_none() || pending.all(|pending| pending.is_savepoint);
        let right = savepoint == wanted && alone || !self.is_active();
        hold("a-savepoint-has-its-checkpoint", right, || {
            format!("job {}: {savepoint:?}, {wish:?}", self.id())
        })
    }

    /// The checkpoints of one region.
    fn check_line(&self, region: RegionIndex, most: u32) -> Result<(), Violation> {
        let (id, checkpoints) = (self.id(), &self.checkpoints);
        let parts = checkpoints.pending.iter();
        let parts = parts.filter_map(|pending| pending.parts.get(&region));
        let under_way = checkpoints.line(region).under_way;
        let counted = parts.clone().count() == under_way as usize;
        let detail = || format!("job {id} region {}: {under_way}", region.0);
        let few = under_way <= most && counted;
        hold("few-enough-checkpoints-are-under-way", few, detail)?;
        let waiting = parts.clone().any(|part| part.stage() == Stage::Collecting);
        let running = self.execution.runs(region) && self.is_active();
        hold(
            "only-running-tasks-take-part-in-a-checkpoint",
            running || !waiting,
            detail,
        )
    }
}
