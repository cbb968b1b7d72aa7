//! What jobs leave to those of a higher priority: free slots that these lack, while the cluster has slots enough for them.

use super::Model;
use super::job::{Job, Life, Stage};
use jobmanager_core::id::JobId;
use std::collections::{BTreeMap, BTreeSet};

/// What every job lacks, as of when it drew its consequences last.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    lacks: BTreeMap<JobId, Lack>,
    /// How many slots stay, and come, as of the begin of the step.
    slots: u32,
}

#[derive(Debug, Clone)]
struct Lack {
    priority: u32,
    /// By slot sharing group: how many slots it is to have, how many it can do with, and how many it has.
    groups: Vec<[u32; 3]>,
}

impl Lack {
    /// How many it claims, if so many stay or come.
    fn claims(&self, slots: u32) -> u32 {
        let sum = |of: usize| self.groups.iter().map(|it| it[of]).sum::<u32>();
        let fits = [0, 1].into_iter().find(|of| sum(*of) <= slots);
        let lacks = |of: usize| {
            self.groups
                .iter()
                .map(move |it| it[of].saturating_sub(it[2]))
        };
        fits.map_or(0, |of| lacks(of).sum())
    }
}

impl Line {
    /// How many slots are left to jobs of a higher priority than this.
    pub(super) fn above(&self, priority: u32) -> usize {
        let lacks = self.lacks.values().filter(|it| it.priority > priority);
        lacks.map(|it| it.claims(self.slots) as usize).sum()
    }
}

impl Job {
    fn lacks(&self) -> Option<Lack> {
        let is_new = match self.life {
            Life::Running if self.is_deployed() => return None,
            Life::Running => !self.has_run,
            Life::Reconciling { .. } => false,
            Life::Submitting(_) | Life::Ending(_) | Life::Ended(..) => return None,
        };
        let (open, held) = (self.open_shares(), self.held_shares());
        let next = self.next_plan();
        let bounds = self.bounds();
        let count = |shares: &BTreeSet<(u32, u32)>, group| {
            let own = shares.iter().filter(|(of, _)| *of == group);
            u32::try_from(own.count()).expect("a handful of slots")
        };
        let groups = self.plan.groups().into_iter().map(|group| {
            let required = match next {
                Some(next) => next.slots_of(group),
                None => count(&open, group),
            };
            let least = required.min(self.plan.least_of(&bounds, group));
            let wanted = if is_new { least } else { required };
            [wanted, least, count(&held, group)]
        });
        Some(Lack {
            priority: self.plan.priority,
            groups: groups.collect(),
        })
    }

    /// How many slots it gets, if one job gets so many, or what it can do with.
    pub(super) fn quota(&self, most: u32) -> u32 {
        most.max(self.plan.least_slots(&self.bounds()))
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
