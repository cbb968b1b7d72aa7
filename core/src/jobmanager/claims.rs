//! Free slots that are left to jobs of a higher priority.
//!
//! A job that lacks slots claims them, if the cluster has slots enough for all of it, whatever is in them now. Jobs
//! of a lower priority neither start nor grow into what is claimed: else small ones could take all that becomes free,
//! and a large one would wait for ever. Nobody is stopped for a claim, and who has run goes on: after a failure it takes
//! what is free for as many subtasks as it had.
//!
//! What a job lacks, it claims of every kind of TaskManagers that suits a part of it, and of no other kind. It claims
//! nothing if its priority is the lowest one.

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

/// What a job lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// How many slots.
    slots: u32,
    /// Of how many that it has to have.
    in_all: u32,
    /// Of which kinds of TaskManagers it claims them: of none, if the cluster is too small for it.
    kinds: BTreeSet<KindKey>,
}

/// How many slots are claimed, by the kind of their TaskManagers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Claimed(BTreeMap<KindKey, u32>);

/// All claims.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    all: BTreeMap<Place, Claim>,
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
    pub(super) fn of(&self, kind: KindKey) -> u32 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    fn add(&mut self, claim: &Claim) {
        for kind in &claim.kinds {
            *self.0.entry(*kind).or_default() += claim.slots;
        }
    }

    fn subtract(&mut self, claim: &Claim) {
        for kind in &claim.kinds {
            let slots = self.0.get_mut(kind).expect("what is claimed is counted");
            *slots -= claim.slots;
            if *slots == 0 {
                self.0.remove(kind);
            }
        }
    }
}

impl Claims {
    /// What is claimed for a job, from now on; tells whether it was more before, so that others may have it.
    pub(super) fn set(&mut self, place: Place, claim: Option<Claim>) -> bool {
        let before = self.all.get(&place);
        if before == claim.as_ref() {
            return false;
        }
        let claims = |kind: &KindKey| match &claim {
            Some(claim) if claim.kinds.contains(kind) => claim.slots,
            Some(_) | None => 0,
        };
        let less = |it: &Claim| it.kinds.iter().any(|kind| claims(kind) < it.slots);
        let is_less = before.is_some_and(less);
        let sum = self.sums.entry(place.priority).or_default();
        if let Some(before) = self.all.remove(&place) {
            sum.subtract(&before);
        }
        if let Some(claim) = claim {
            sum.add(&claim);
            self.all.insert(place, claim);
        }
        if sum.is_empty() {
            self.sums.remove(&place.priority);
        }
        is_less
    }

    /// What jobs of a higher priority claim.
    pub(super) fn above(&self, place: Place) -> Claimed {
        let mut claimed = Claimed::default();
        for (kind, slots) in self
            .sums
            .range(..place.priority)
            .flat_map(|(_, sum)| &sum.0)
        {
            *claimed.0.entry(*kind).or_default() += slots;
        }
        claimed
    }

    /// The first of those jobs.
    pub(super) fn first_above(&self, place: Place) -> Option<Place> {
        let mut all = self.all.iter();
        let first = all.find(|(_, claim)| !claim.kinds.is_empty());
        let first = first.map(|(first, _)| *first);
        first.filter(|first| first.priority < place.priority)
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
        for (place, mut claim) in self.all.clone() {
            claim.kinds = job(place.job).claimed_kinds(claim.in_all, tms, coming);
            is_less |= self.set(place, Some(claim));
        }
        is_less
    }

    /// How many slots are to come, as far as it was looked.
    pub(super) fn coming(&self) -> u64 {
        self.coming
    }

    /// Says what is wrong with them, if anything is.
    pub(super) fn check(&self) -> bool {
        let mut sums: BTreeMap<Reverse<u32>, Claimed> = BTreeMap::new();
        for (place, claim) in &self.all {
            sums.entry(place.priority).or_default().add(claim);
        }
        sums.retain(|_, sum| !sum.is_empty());
        let known = self.sums.iter().map(|(priority, sum)| (priority, &sum.0));
        known.eq(sums.iter().map(|(priority, sum)| (priority, &sum.0)))
    }
}

impl Job {
    /// What the job claims, if it lacks anything.
    pub(super) fn claim(&self, tms: &TaskManagers, coming: u64) -> Option<Claim> {
        let waits = self.phase == JobPhase::Running && !self.execution.is_deployed();
        if !waits || self.graph.config().priority == 0 {
            return None;
        }
        let required = self.execution.required_slots();
        let in_all = match self.is_elastic() {
            true => required.min(minimum(&self.graph, &self.bounds()).iter().sum()),
            false => required,
        };
        let slots = in_all.saturating_sub(self.execution.held());
        (slots > 0).then(|| Claim {
            slots,
            in_all,
            kinds: self.claimed_kinds(in_all, tms, coming),
        })
    }

    /// The kinds of TaskManagers that suit a part of the job; none if all that stay, and come, are too few for it.
    fn claimed_kinds(&self, in_all: u32, tms: &TaskManagers, coming: u64) -> BTreeSet<KindKey> {
        let supply = tms.supply();
        let least = match self.is_elastic() {
            true => minimum(&self.graph, &self.bounds()),
            false => self.graph.groups().iter().map(|it| it.slots).collect(),
        };
        let kinds = |group| {
            supply
                .staying_kinds(operators(&self.graph, group))
                .collect()
        };
        let groups: Vec<(u32, BTreeSet<KindKey>)> = (0..)
            .zip(least)
            .map(|(group, least)| (least, kinds(group)))
            .collect();
        let enough = |kinds: &BTreeSet<KindKey>, needed: u32| {
            let stay = kinds.iter().map(|kind| u64::from(supply.staying(*kind)));
            stay.sum::<u64>() + coming >= u64::from(needed)
        };
        // Groups that are suited by no other kinds share these.
        let fits = |(_, kinds): &(u32, BTreeSet<KindKey>)| {
            let sharing = groups.iter().filter(|(_, other)| other.is_subset(kinds));
            let needed: u32 = sharing.map(|(least, _)| *least).sum();
            enough(kinds, needed.min(in_all))
        };
        let any: BTreeSet<KindKey> = groups
            .iter()
            .flat_map(|(_, kinds)| kinds.iter().copied())
            .collect();
        match groups.iter().all(fits) && enough(&any, in_all) {
            true => any,
            false => BTreeSet::new(),
        }
    }
}
