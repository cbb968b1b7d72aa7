//! Free slots that are left to jobs of a higher priority.
//!
//! A job that lacks slots claims them, if the cluster has slots enough for all of it, whatever is in them now. Jobs
//! of a lower priority neither start nor grow into what is claimed: else small ones could take all that becomes free,
//! and a large one would wait for ever. Nobody is stopped for a claim, and who has run goes on: after a failure it takes
//! what is free for as many subtasks as it had.
//!
//! A job that has not run claims what it can do with; one that has, what it had, unless the cluster has become too
//! small for that. One that changes its parallelism claims what it will need. What it could use besides is claimed by
//! nobody, and so is what a job needs that is about to lose TaskManagers. It claims as many slots of a kind of TaskManagers
//! as it lacks for what suits them, and nothing if its priority is the lowest one.

use super::job::{Job, JobPhase};
use super::kinds::operators;
use super::supply::KindKey;
use super::taskmanagers::TaskManagers;
use super::waiting::Place;
use crate::fitting::minimum;
use crate::id::JobId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use serde::{Deserialize, Serialize};

/// What a job has to have, by slot sharing group, and what of it it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lack {
    /// How many slots it is to have.
    wanted: Vec<u32>,
    /// How many it can do with.
    least: Vec<u32>,
    /// How many it has.
    held: Vec<u32>,
}

/// How many slots are claimed, by the kind of their TaskManagers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claimed(BTreeMap<KindKey, u64>);

/// All claims.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    /// What each job lacks, and what it claims: nothing, if the cluster is too small for it.
    all: BTreeMap<Place, (Lack, Claimed)>,
    /// What all of one priority claim together.
    sums: BTreeMap<Reverse<u32>, Claimed>,
    /// How many slots were to come when it was looked for whom the cluster is too small.
    coming: u64,
}

impl Claimed {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many slots of this kind are claimed.
    pub(super) fn of(&self, kind: KindKey) -> u64 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    fn add(&mut self, claimed: &Claimed) {
        for (kind, slots) in &claimed.0 {
            *self.0.entry(*kind).or_default() += slots;
        }
    }

    fn subtract(&mut self, claimed: &Claimed) {
        for (kind, less) in &claimed.0 {
            let slots = self.0.get_mut(kind).expect("what is claimed is counted");
            *slots -= less;
            if *slots == 0 {
                self.0.remove(kind);
            }
        }
    }
}

impl Claims {
    /// A job lacks this, from now on; tells whether it has claimed more before, so that others may have it.
    pub(super) fn lacks(&mut self, tms: &TaskManagers, job: &Job) -> bool {
        let (place, lack) = (job.place_in_line(), job.lack());
        let known = self.all.get(&place).map(|(known, _)| known);
        if known == lack.as_ref() {
            return false;
        }
        let claim = lack.map(|lack| {
            let claimed = job.claimed(&lack, tms, self.coming);
            (lack, claimed)
        });
        self.set(place, claim)
    }

    fn set(&mut self, place: Place, claim: Option<(Lack, Claimed)>) -> bool {
        let sum = self.sums.entry(place.priority).or_default();
        let before = self.all.remove(&place).map(|(_, before)| before);
        let before = before.unwrap_or_default();
        sum.subtract(&before);
        let mut is_less = !before.is_empty();
        if let Some((lack, claimed)) = claim {
            let mut kinds = before.0.iter();
            is_less = kinds.any(|(kind, slots)| claimed.of(*kind) < *slots);
            sum.add(&claimed);
            self.all.insert(place, (lack, claimed));
        }
        if sum.is_empty() {
            self.sums.remove(&place.priority);
        }
        is_less
    }

    /// Looks anew for whom the cluster is too small, with so many slots that are to come; tells whether less is claimed
    /// then.
    pub(super) fn judge<'a>(
        &mut self,
        tms: &TaskManagers,
        coming: u64,
        job: impl Fn(JobId) -> &'a Job,
    ) -> bool {
        self.coming = coming;
        let mut is_less = false;
        for (place, (lack, _)) in self.all.clone() {
            let claimed = job(place.job).claimed(&lack, tms, coming);
            is_less |= self.set(place, Some((lack, claimed)));
        }
        is_less
    }

    /// How many slots were to come at the last look.
    pub(super) fn coming(&self) -> u64 {
        self.coming
    }

    /// What jobs of a higher priority claim.
    pub(super) fn above(&self, place: Place) -> Claimed {
        let mut claimed = Claimed::default();
        for (_, sum) in self.sums.range(..place.priority) {
            claimed.add(sum);
        }
        claimed
    }

    /// The first of those jobs that claim slots of one of these kinds.
    pub(super) fn first_above(&self, place: Place, kinds: &BTreeSet<KindKey>) -> Option<Place> {
        let claims = |(_, (_, claimed)): &(&Place, &(Lack, Claimed))| {
            claimed.0.keys().any(|kind| kinds.contains(kind))
        };
        let (first, _) = self.all.iter().find(claims)?;
        (first.priority < place.priority).then_some(*first)
    }

    /// Whether it is known what a job lacks.
    pub(super) fn is_of(&self, job: &Job) -> bool {
        let known = self.all.get(&job.place_in_line());
        known.map(|(lack, _)| lack) == job.lack().as_ref()
    }

    /// Whether the sums are what is claimed.
    pub(super) fn adds_up(&self) -> bool {
        let mut sums: BTreeMap<Reverse<u32>, Claimed> = BTreeMap::new();
        for (place, (_, claimed)) in &self.all {
            sums.entry(place.priority).or_default().add(claimed);
        }
        sums.retain(|_, sum| !sum.is_empty());
        sums == self.sums
    }
}

impl Job {
    /// What the job lacks, if it lacks anything that it may claim.
    fn lack(&self) -> Option<Lack> {
        let lacks = match &self.phase {
            JobPhase::Running => !self.execution.is_deployed(),
            JobPhase::Reconciling(_) => true,
            JobPhase::Submitting(_) | JobPhase::Ending(_) | JobPhase::Ended(_) => false,
        };
        if !lacks || self.graph.config().priority == 0 {
            return None;
        }
        let is_new = !self.has_run && self.phase == JobPhase::Running;
        let next = self.rescaling.next_graph();
        let groups = self.execution.groups().iter().enumerate();
        let required: Vec<u32> = groups
            .map(|(index, group)| next.map_or(group.required, |next| next.groups()[index].slots))
            .collect();
        let least = minimum(&self.graph, &self.bounds());
        let least: Vec<u32> = least
            .iter()
            .zip(&required)
            .map(|(a, b)| *a.min(b))
            .collect();
        let lack = Lack {
            wanted: if is_new { least.clone() } else { required },
            least,
            held: self.execution.groups().iter().map(|it| it.held).collect(),
        };
        let mut groups = lack.wanted.iter().zip(&lack.held);
        groups.any(|(wanted, held)| wanted > held).then_some(lack)
    }

    /// What it claims of what it lacks, with so many slots that are to come.
    fn claimed(&self, lack: &Lack, tms: &TaskManagers, coming: u64) -> Claimed {
        let supply = tms.supply();
        let groups = 0..u32::try_from(lack.held.len()).expect("fewer than vertices");
        let kinds = groups.map(|group| {
            supply
                .staying_kinds(operators(&self.graph, group))
                .collect()
        });
        let kinds: Vec<BTreeMap<KindKey, u32>> = kinds.collect();
        let mut claimed = Claimed::default();
        let mut wishes = [&lack.wanted, &lack.least].into_iter();
        let Some(wanted) = wishes.find(|wanted| fits(wanted, &kinds, coming)) else {
            return claimed;
        };
        for ((wanted, held), kinds) in wanted.iter().zip(&lack.held).zip(&kinds) {
            let lacked = u64::from(wanted.saturating_sub(*held));
            for kind in kinds.keys().filter(|_| lacked > 0) {
                *claimed.0.entry(*kind).or_default() += lacked;
            }
        }
        claimed
    }
}

/// Whether slot sharing groups that want so many slots fit into all that stay, of the kinds that suit each, and those
/// that are to come. Those with the least choice are served first: if kinds overlap so that this fails, others are not
/// kept waiting for it.
fn fits(wanted: &[u32], kinds: &[BTreeMap<KindKey, u32>], mut coming: u64) -> bool {
    let mut left: BTreeMap<KindKey, u32> = kinds.iter().flatten().map(|(k, v)| (*k, *v)).collect();
    let suited = |kind: &KindKey| kinds.iter().filter(|it| it.contains_key(kind)).count();
    let mut groups: Vec<_> = kinds.iter().zip(wanted).collect();
    groups.sort_by_key(|(kinds, _)| kinds.len());
    groups.into_iter().all(|(kinds, wanted)| {
        let mut kinds: Vec<&KindKey> = kinds.keys().collect();
        kinds.sort_by_key(|kind| suited(kind));
        let mut missing = *wanted;
        for kind in kinds {
            let slots = left.get_mut(kind).expect("it is of those that stay");
            let taken = missing.min(*slots);
            *slots -= taken;
            missing -= taken;
        }
        let comes = coming.min(u64::from(missing));
        coming -= comes;
        comes == u64::from(missing)
    })
}
