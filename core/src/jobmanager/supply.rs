//! Which TaskManagers have free slots, by what they offer: TaskManagers with the same operators are
//! interchangeable, and in a cluster there are few kinds of them, whatever its size.
//!
//! It knows how many slots are free, not which. Nothing here is a fact of its own: all of it follows from
//! the TaskManagers that are registered.

use super::claims::Claimed;
use super::taskmanagers::TmKey;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::{Hash, Hasher};
use serde::{Deserialize, Serialize};

/// A kind of TaskManagers. Nothing follows from which of two is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct KindKey(u64);

// What a TaskManager offers is hashed with it, and tells its kind.
impl Hash for KindKey {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// TaskManagers that offer the same operators.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kind {
    /// Sorted.
    operators: Vec<String>,
    taskmanagers: u32,
    /// Those with free slots, the most first.
    free: BTreeSet<(Reverse<u32>, TmKey)>,
    /// How many slots these are.
    free_slots: u32,
    /// How many slots those have that have answered, and do not leave.
    staying: u32,
}

/// All kinds of TaskManagers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Supply {
    kinds: BTreeMap<KindKey, Kind>,
    by_operators: BTreeMap<Vec<String>, KindKey>,
    free_slots: u32,
    staying: u32,
}

impl KindKey {
    /// That of nobody.
    pub(super) const NONE: KindKey = KindKey(0);
}

impl Supply {
    /// A TaskManager has registered. It has no slot to give yet. Tells its kind.
    pub(super) fn add(&mut self, operators: &[String]) -> KindKey {
        let known = self.by_operators.get(operators).copied();
        let key = known.unwrap_or_else(|| self.add_kind(operators));
        self.kind_mut(key).taskmanagers += 1;
        key
    }

    fn add_kind(&mut self, operators: &[String]) -> KindKey {
        let last = self.kinds.keys().next_back();
        let key = KindKey(last.unwrap_or(&KindKey::NONE).0 + 1);
        let kind = Kind {
            operators: operators.to_vec(),
            taskmanagers: 0,
            free: BTreeSet::new(),
            free_slots: 0,
            staying: 0,
        };
        self.kinds.insert(key, kind);
        self.by_operators.insert(operators.to_vec(), key);
        key
    }

    /// A TaskManager of this kind, of whose slots none is offered any more, has gone.
    pub(super) fn remove(&mut self, key: KindKey) {
        let kind = self.kind_mut(key);
        kind.taskmanagers -= 1;
        if kind.taskmanagers == 0 {
            let operators = core::mem::take(&mut kind.operators);
            self.by_operators.remove(&operators);
            self.kinds.remove(&key);
        }
    }

    /// A TaskManager of this kind had `before` free slots, and has `now`.
    pub(super) fn change(&mut self, key: KindKey, tm: TmKey, before: u32, now: u32) {
        self.free_slots = self.free_slots - before + now;
        let kind = self.kind_mut(key);
        kind.free_slots = kind.free_slots - before + now;
        let free = &mut kind.free;
        if before > 0 {
            free.remove(&(Reverse(before), tm));
        }
        if now > 0 {
            free.insert((Reverse(now), tm));
        }
    }

    /// So many slots of this kind are there to stay.
    pub(super) fn stay(&mut self, key: KindKey, slots: u32) {
        self.kind_mut(key).staying += slots;
        self.staying += slots;
    }

    /// So many that were there to stay are not any more.
    pub(super) fn stay_not(&mut self, key: KindKey, slots: u32) {
        self.kind_mut(key).staying -= slots;
        self.staying -= slots;
    }

    fn kind_mut(&mut self, key: KindKey) -> &mut Kind {
        let kind = self.kinds.get_mut(&key);
        kind.expect("a TaskManager is of a kind that there is")
    }

    pub(super) fn free_slots(&self) -> u32 {
        self.free_slots
    }

    /// By kind, how many slots are free, and not claimed.
    pub(super) fn free_by_kind(&self, claimed: &Claimed) -> BTreeMap<KindKey, u32> {
        let kinds = self.kinds.iter();
        kinds
            .map(|(key, kind)| (*key, kind.unclaimed(*key, claimed)))
            .collect()
    }

    /// How many slots of these kinds are free, and claimed.
    pub(super) fn free_and_claimed<'a>(
        &self,
        kinds: impl Iterator<Item = &'a KindKey>,
        claimed: &Claimed,
    ) -> u32 {
        let kinds = kinds.filter_map(|key| Some((key, self.kinds.get(key)?)));
        kinds
            .map(|(key, kind)| kind.free_slots - kind.unclaimed(*key, claimed))
            .sum()
    }

    /// How many slots those have that have answered, and do not leave.
    pub(super) fn staying_slots(&self) -> u32 {
        self.staying
    }

    /// The kinds with such slots that offer all of these operators, with how many.
    pub(super) fn staying_kinds<'a>(
        &self,
        operators: impl Iterator<Item = &'a str> + Clone,
    ) -> impl Iterator<Item = (KindKey, u32)> {
        let kinds = self.kinds.iter().filter(|(_, kind)| kind.staying > 0);
        kinds
            .filter(move |(_, kind)| kind.offers_all(operators.clone()))
            .map(|(key, kind)| (*key, kind.staying))
    }

    /// Whether TaskManagers of a kind offer all of these operators.
    pub(super) fn suits<'a>(&self, key: KindKey, operators: impl Iterator<Item = &'a str>) -> bool {
        let kind = self.kinds.get(&key);
        kind.is_some_and(|kind| kind.offers_all(operators))
    }

    /// Whether any TaskManager offers an operator.
    pub(super) fn is_offered(&self, operator: &str) -> bool {
        self.kinds.values().any(|kind| kind.offers(operator))
    }

    /// The kinds with free slots that offer all of these operators, and whether that is all with free slots.
    pub(super) fn suitable<'a>(
        &self,
        operators: impl Iterator<Item = &'a str> + Clone,
    ) -> (Vec<KindKey>, bool) {
        let with_slots = self.kinds.iter().filter(|(_, kind)| !kind.free.is_empty());
        let mut all = true;
        let mut suitable = Vec::new();
        for (&key, kind) in with_slots {
            if kind.offers_all(operators.clone()) {
                suitable.push(key);
            } else {
                all = false;
            }
        }
        (suitable, all)
    }

    /// The TaskManager that has the most free slots, among those of these kinds of which not all are claimed.
    pub(super) fn most(&self, kinds: &[KindKey], claimed: &Claimed) -> Option<TmKey> {
        let open = |key: &&KindKey| self.kinds[key].unclaimed(**key, claimed) > 0;
        let first = |key: &KindKey| self.kinds[key].free.first();
        let (_, tm) = kinds.iter().filter(open).filter_map(first).min()?;
        Some(*tm)
    }
}

impl Kind {
    /// How many of its slots are free, and not claimed.
    fn unclaimed(&self, key: KindKey, claimed: &Claimed) -> u32 {
        let claimed = claimed.of(key).min(u64::from(self.free_slots));
        self.free_slots - u32::try_from(claimed).expect("no more than there are")
    }

    fn offers_all<'a>(&self, mut operators: impl Iterator<Item = &'a str>) -> bool {
        operators.all(|operator| self.offers(operator))
    }

    fn offers(&self, operator: &str) -> bool {
        let found = self
            .operators
            .binary_search_by(|offer| offer.as_str().cmp(operator));
        found.is_ok()
    }
}
