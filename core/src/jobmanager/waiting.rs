//! The jobs that wait for slots, and which of them are worth another try.
//!
//! A job that was tried in vain is not tried again before it has changed, or the slots have: it would come to
//! the same.

use crate::id::JobId;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::{Hash, Hasher};
use serde::{Deserialize, Serialize};

/// A job's place in the line: the one of the highest priority that was submitted first is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) priority: Reverse<u32>,
    pub(super) submitted: Timestamp,
    pub(super) job: JobId,
}

/// All of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Waiting {
    jobs: BTreeMap<Place, Wish>,
    /// Those that were settled since they were tried last.
    settled: BTreeSet<Place>,
    /// All others were tried with the slots that there are.
    in_vain: bool,
}

/// What a job waits for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Wish {
    /// What it wanted when it was settled last.
    demand: u64,
    /// How many slots it has tried to get since then.
    needed: Option<u32>,
}

// What was tried follows from what happened, not from what is.
impl Hash for Waiting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.jobs.hash(state);
    }
}

impl Hash for Wish {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.demand.hash(state);
    }
}

impl Waiting {
    /// A job was settled, and waits for what this stands for, if for anything; tells whether that is news.
    pub(super) fn settled(&mut self, place: Place, demand: Option<u64>) -> bool {
        let Some(demand) = demand else {
            self.remove(place);
            return false;
        };
        let needed = None;
        let known = self.jobs.insert(place, Wish { demand, needed });
        self.settled.insert(place);
        known.is_none_or(|known| known.demand != demand)
    }

    /// A job waits no more.
    pub(super) fn remove(&mut self, place: Place) {
        self.jobs.remove(&place);
        self.settled.remove(&place);
        self.in_vain &= !self.jobs.is_empty();
    }

    /// Other slots can be given than before, or other TaskManagers are registered.
    pub(super) fn slots_changed(&mut self) {
        self.in_vain = false;
    }

    /// Whom to try now, each with how many slots it needs if that is known.
    pub(super) fn take_tries(&mut self) -> Vec<(Place, Option<u32>)> {
        let settled = core::mem::take(&mut self.settled);
        let in_vain = core::mem::replace(&mut self.in_vain, !self.jobs.is_empty());
        if in_vain {
            return settled.into_iter().map(|place| (place, None)).collect();
        }
        let wish = |(place, wish): (&Place, &Wish)| (*place, wish.needed);
        self.jobs.iter().map(wish).collect()
    }

    /// A job needs so many slots, and did not get them.
    pub(super) fn tried(&mut self, place: Place, needed: u32) {
        let wish = self.jobs.get_mut(&place).expect("who is tried waits");
        wish.needed = Some(needed);
    }

    /// Those that are served before this one, the first of them first.
    pub(super) fn before(&self, place: Place) -> impl Iterator<Item = JobId> {
        self.jobs.range(..place).map(|(place, _)| place.job)
    }

    pub(super) fn contains(&self, place: Place) -> bool {
        self.jobs.contains_key(&place)
    }
}
