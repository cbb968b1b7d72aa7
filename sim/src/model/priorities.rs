//! What jobs leave to those of a higher priority: free slots that these lack, while the cluster has slots enough for them.

use super::Model;
use super::job::{Job, Life, Stage};
use jobmanager_core::id::JobId;
use std::collections::BTreeMap;

/// What every job lacks, as of when it drew its consequences last.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    lacks: BTreeMap<JobId, Lack>,
    /// How many slots stay, and come, as of the begin of the step.
    slots: u32,
}

#[derive(Debug, Clone, Copy)]
struct Lack {
    priority: u32,
    /// How many slots it has to have.
    least: u32,
    /// How many of these it does not have.
    slots: u32,
}

impl Line {
    /// How many slots are left to jobs of a higher priority than this.
    pub(super) fn above(&self, priority: u32) -> usize {
        let lacks = self.lacks.values();
        let above = lacks.filter(|it| it.priority > priority && it.least <= self.slots);
        above.map(|it| it.slots as usize).sum()
    }
}

impl Job {
    fn lacks(&self) -> Option<Lack> {
        let own = self.own_slots();
        let least = match self.is_elastic() {
            true => own.min(self.plan.least_slots(&self.bounds())),
            false => own,
        };
        let held = u32::try_from(self.held_shares().len()).expect("a handful of slots");
        (self.life == Life::Running && !self.is_deployed()).then(|| Lack {
            priority: self.plan.priority,
            least,
            slots: least.saturating_sub(held),
        })
    }

    /// Whether all of it runs where it stays, or has finished.
    pub(super) fn is_whole(&self) -> bool {
        self.moving.is_none() && self.is_deployed()
    }

    fn is_deployed(&self) -> bool {
        let mut regions = self.regions.iter();
        let on_its_way =
            |stage: &Stage| matches!(stage, Stage::Scheduled { .. } | Stage::Restarting(_));
        !regions.any(|region| on_its_way(&region.stage))
    }
}

impl Model {
    /// A step begins: for whom the cluster is large enough follows from what stays and comes.
    pub(super) fn look_at_line(&mut self) {
        let workers = self.config.workers.as_ref();
        let coming = workers.map_or(0, |config| self.workers.coming() * config.slots);
        self.line.slots = self.staying_slots() + coming;
    }

    /// A job has drawn its consequences.
    pub(super) fn line_up(&mut self, id: JobId) {
        match self.jobs.get(&id).and_then(Job::lacks) {
            Some(lack) => self.line.lacks.insert(id, lack),
            None => self.line.lacks.remove(&id),
        };
    }

    /// How many slots a job leaves to others although they are free.
    pub(super) fn left_to_others(&self, job: &Job) -> usize {
        match job.has_run {
            true => 0,
            false => self.line.above(job.plan.priority),
        }
    }
}
