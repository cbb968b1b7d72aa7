//! The registered TaskManagers: their sessions, their slots and their heartbeats.
//!
//! A TaskManager is here from its hello to the end of its session; one that comes back is a new entry
//! with a new key, so nothing of its earlier session can be taken for it. A slot is taken exactly while
//! a current task that has not ended is in it; an attempt that is not wanted any more, and was told to
//! stop, may share it until it has. No slot is offered before the TaskManager has answered: a hello alone
//! may come from one that is too slow or too broken to ever hear of a task, and to register again and again. Nor
//! is one while it owes an answer for an interval of heartbeats: long before a TaskManager is given up, no task
//! is risked on it, and none is given to one that leaves. Only a region whose job has other tasks in its slot
//! follows them there.

use super::claims::Claimed;
use super::effect::Effect;
use super::kinds::Kinds;
use super::promises::Promises;
use super::supply::{KindKey, Supply};
use crate::config::ClusterConfig;
use crate::id::{Epoch, Incarnation, JobId, SessionId, SlotIndex, TaskManagerId};
use crate::kept::Kept;
use crate::message::{Envelope, Hardware, Hello, ToTaskManager};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use slotmap::{Key, SlotMap, new_key_type};

/// How long a session has to answer when another process claims its name, before it is given up.
pub(super) const CHALLENGE: Duration = Duration::from_secs(3);

/// A deadline that is noticed so late says that the coordinator itself stood still.
const STOOD_STILL: Duration = Duration::from_millis(10);
/// How often a silence is spared for that, if it was for less than an interval. A coordinator that is always
/// a little late would never lose anybody.
const SPARED: u32 = 3;

new_key_type! {
    /// One registration of a TaskManager. A stale key matches nothing.
    pub(super) struct TmKey;
}

/// A slot of a registered TaskManager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct SlotRef {
    pub(super) tm: TmKey,
    pub(super) slot: SlotIndex,
}

/// What a slot that is taken is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct SlotUse {
    pub(super) job: JobId,
    /// Which of the job's slots it is.
    pub(super) job_slot: u32,
}

/// A registered TaskManager.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct TaskManager {
    pub(super) hello: Kept<Hello>,
    pub(super) session: SessionId,
    pub(super) kind: KindKey,
    pub(super) slots: Vec<Option<SlotUse>>,
    pub(super) free: BTreeSet<SlotIndex>,
    /// Whether it has said anything since its hello, and in the interval after it was last asked.
    pub(super) answered: bool,
    /// Whether it has said anything since its hello: its slots count as capacity.
    counts: bool,
    /// If it ends as soon as it can, and is given no tasks any more: then it does at the latest.
    pub(super) leaves: Option<Timestamp>,
    pub(super) last_heard: Timestamp,
    /// It has been silent for too long by a look that came late. Until then it may still be heard.
    spared_until: Option<Timestamp>,
    spared: u32,
    /// Since when another process claims its name without a sign of life of this one.
    challenged: Option<Timestamp>,
    heartbeats: u64,
}

/// What a deadline of a TaskManager has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heartbeat {
    /// It was asked; look again at this time.
    Asked(Timestamp),
    /// It has been silent for too long.
    Lost,
}

/// All of them, with their indexes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct TaskManagers {
    all: SlotMap<TmKey, TaskManager>,
    /// The highest place that a key ever had, counted from 1: those of them that nobody has are gaps.
    places: u32,
    by_session: BTreeMap<SessionId, TmKey>,
    by_id: BTreeMap<TaskManagerId, TmKey>,
    /// How many slots all of them have.
    slots: u32,
    supply: Supply,
    /// Whether other slots are there to stay since this was last asked.
    staying_changed: bool,
    /// See [`Self::take_slots_changed`].
    slots_changed: bool,
    /// Whether there is more supply or demand of slots since this was last asked.
    changed: bool,
    /// Those that have had no tasks, or none any more, at some time in this step.
    unused: Vec<TmKey>,
    pub(super) promises: Promises,
}

impl Hash for TaskManagers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (key, tm) in &self.all {
            key.hash(state);
            tm.hash(state);
        }
        self.promises.hash(state);
    }
}

impl TaskManagers {
    /// Registers a TaskManager whose name is not registered.
    pub(super) fn insert(&mut self, session: SessionId, hello: Hello, now: Timestamp) -> TmKey {
        assert!(
            !self.by_id.contains_key(&hello.taskmanager),
            "the name is free"
        );
        let (id, slots) = (hello.taskmanager.clone(), hello.slots);
        let key = self.all.insert(TaskManager {
            kind: self.supply.add(&hello.operators),
            hello: Kept::new(hello),
            session,
            slots: vec![None; slots as usize],
            free: (0..slots).map(SlotIndex).collect(),
            answered: false,
            counts: false,
            leaves: None,
            last_heard: now,
            spared_until: None,
            spared: 0,
            challenged: None,
            heartbeats: 0,
        });
        self.places = self.places.max(place(key));
        self.by_session.insert(session, key);
        self.by_id.insert(id, key);
        self.slots += slots;
        self.slots_changed = true;
        key
    }

    /// Puts the gaps between TaskManagers into the order in which a copy made from bytes has them: the
    /// table does not tell that order, and it decides which keys later TaskManagers get.
    pub(super) fn order_gaps(&mut self) {
        let gaps = self.places - self.count_all();
        let mut keys: Vec<TmKey> = (0..gaps).map(|_| self.all.insert(nobody())).collect();
        keys.sort_unstable_by_key(|key| place(*key));
        for key in keys {
            self.all.remove(key);
        }
    }

    /// Forgets a TaskManager. Its taken slots are its jobs' to account for.
    pub(super) fn remove(&mut self, key: TmKey) -> Option<TaskManager> {
        let tm = self.all.remove(key)?;
        self.by_session.remove(&tm.session);
        self.by_id.remove(&tm.hello.taskmanager);
        self.slots -= tm.hello.slots;
        self.supply.change(tm.kind, key, tm.free_count(), 0);
        self.supply.stay_not(tm.kind, tm.staying_slots());
        self.supply.remove(tm.kind);
        self.staying_changed = true;
        self.slots_changed = true;
        Some(tm)
    }

    /// Takes note of a sign of life; tells whose session it is, and whether it is the first one in it.
    pub(super) fn heard(&mut self, session: SessionId, now: Timestamp) -> Option<(TmKey, bool)> {
        let key = *self.by_session.get(&session)?;
        let tm = &mut self.all[key];
        tm.last_heard = now;
        tm.spared_until = None;
        tm.spared = 0;
        tm.challenged = None;
        if !core::mem::replace(&mut tm.answered, true) {
            let count = tm.free_count();
            self.supply.change(tm.kind, key, 0, count);
            self.slots_changed = true;
            self.changed = true;
        }
        let is_first = !core::mem::replace(&mut tm.counts, true);
        if is_first {
            self.supply.stay(tm.kind, tm.staying_slots());
            self.staying_changed = true;
            if tm.leaves.is_none() {
                self.unused.push(key);
            }
        }
        Some((key, is_first))
    }

    /// Another process claims a name that is registered: asks the registered one for a sign of life.
    /// Tells whether it has owed one for too long.
    pub(super) fn challenge(
        &mut self,
        key: TmKey,
        epoch: Epoch,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> bool {
        match self.all[key].challenged {
            Some(since) => now.since(since) >= CHALLENGE,
            None => {
                self.all[key].challenged = Some(now);
                self.ask(key, epoch, effects);
                false
            }
        }
    }

    /// The deadline of a TaskManager has come, and was noticed `late`. Whoever stood still finds everybody
    /// silent, and what they said waiting to be taken in: they are spared for an interval.
    pub(super) fn heartbeat(
        &mut self,
        key: TmKey,
        late: Duration,
        config: &ClusterConfig,
        epoch: Epoch,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Heartbeat {
        let tm = &mut self.all[key];
        let silent_at = tm.last_heard + config.heartbeat_timeout;
        let stood_still = late >= STOOD_STILL && tm.spared < SPARED;
        if silent_at <= now && (stood_still || late >= config.heartbeat_interval) {
            tm.spared_until = Some(now + config.heartbeat_interval);
            tm.spared += u32::from(late < config.heartbeat_interval);
        }
        let lost_at = tm.spared_until.unwrap_or(silent_at);
        if lost_at <= now {
            return Heartbeat::Lost;
        }
        // Whoever looks late may find the answer waiting to be taken in.
        let owes = now.since(tm.last_heard) > config.heartbeat_interval + late;
        if owes && late < STOOD_STILL {
            self.suspect(key);
        }
        self.ask(key, epoch, effects);
        Heartbeat::Asked(lost_at.min(now + config.heartbeat_interval))
    }

    /// Offers no slot of a TaskManager until it answers.
    fn suspect(&mut self, key: TmKey) {
        let tm = &mut self.all[key];
        let count = tm.free_count();
        if core::mem::replace(&mut tm.answered, false) {
            self.supply.change(tm.kind, key, count, 0);
            self.slots_changed = true;
            tracing::warn!(taskmanager = %tm.hello.taskmanager, "TaskManager silent: it is given no tasks");
        }
    }

    /// A TaskManager says that it leaves: offers no slot of it any more. Tells the jobs with tasks there.
    pub(super) fn leaves(&mut self, key: TmKey, ends: Timestamp) -> BTreeSet<JobId> {
        self.unused.push(key);
        if !self.retire(key, ends) {
            return BTreeSet::new();
        }
        let tm = &self.all[key];
        tracing::info!(taskmanager = %tm.hello.taskmanager, "TaskManager leaves: it is given no tasks");
        tm.slots.iter().flatten().map(|usage| usage.job).collect()
    }

    /// Offers no slot of a TaskManager any more; `false` if none is offered already.
    pub(super) fn retire(&mut self, key: TmKey, ends: Timestamp) -> bool {
        let tm = &mut self.all[key];
        let before = tm.free_count();
        if tm.leaves.is_some() {
            return false;
        }
        self.supply.stay_not(tm.kind, tm.staying_slots());
        self.staying_changed = true;
        tm.leaves = Some(ends);
        self.supply.change(tm.kind, key, before, 0);
        self.slots_changed = true;
        true
    }

    /// Tells those that leave and have no tasks any more that nobody needs them. The others without tasks are
    /// returned.
    pub(super) fn dismiss(&mut self, epoch: Epoch, effects: &mut Vec<Effect>) -> Vec<TmKey> {
        let mut unused = core::mem::take(&mut self.unused);
        let mut seen = BTreeSet::new();
        unused.retain(|key| {
            let tm = self.all.get(*key).filter(|tm| tm.is_unused());
            let Some(tm) = tm.filter(|_| seen.insert(*key)) else {
                return false;
            };
            if tm.leaves.is_some() {
                let message = Envelope {
                    epoch,
                    message: ToTaskManager::Dismissed,
                };
                let session = tm.session;
                effects.push(Effect::Send { session, message });
            }
            tm.leaves.is_none()
        });
        unused
    }

    /// A job has got slots, or wants none any more.
    pub(super) fn redeem(&mut self, job: JobId) {
        if self.promises.redeem(job) {
            self.note_supply();
        }
    }

    /// Free slots that were kept for some job are not any more.
    pub(super) fn note_supply(&mut self) {
        self.changed = true;
        self.slots_changed = true;
    }

    /// For how many of these slots of a job there are free ones, beside those that are promised.
    pub(super) fn room_for(&self, job: JobId, slots: &[u32], kinds: &Kinds) -> u32 {
        let mut free = self.supply.free_by_kind(&Claimed::default());
        let mut found = 0;
        for &slot in slots {
            let mut suitable = kinds.of(slot);
            let kind = suitable.find(|kind| free.get(*kind).is_some_and(|count| *count > 0));
            if let Some(count) = kind.and_then(|kind| free.get_mut(kind)) {
                *count -= 1;
                found += 1;
            }
        }
        let left: u32 = self.free_slots() - found;
        found - self.promises.to_others(job).saturating_sub(left).min(found)
    }

    /// Asks a TaskManager for a sign of life.
    pub(super) fn ask(&mut self, key: TmKey, epoch: Epoch, effects: &mut Vec<Effect>) {
        let tm = &mut self.all[key];
        tm.heartbeats += 1;
        let message = ToTaskManager::Heartbeat {
            sequence: tm.heartbeats,
        };
        effects.push(Effect::Send {
            session: tm.session,
            message: Envelope { epoch, message },
        });
    }

    /// Takes a free slot for tasks to be deployed; `false` if it cannot be given to any.
    pub(super) fn take(&mut self, at: SlotRef, usage: SlotUse) -> bool {
        self.all.get(at.tm).is_some_and(TaskManager::offers) && self.claim(at, usage)
    }

    /// Takes a free slot in which tasks are already; `false` if it is taken or does not exist.
    pub(super) fn occupy(&mut self, at: SlotRef, usage: SlotUse) -> bool {
        let free = self.claim(at, usage);
        self.slots_changed |= free;
        free
    }

    fn claim(&mut self, at: SlotRef, usage: SlotUse) -> bool {
        let known = self
            .all
            .get(at.tm)
            .is_some_and(|tm| tm.free.contains(&at.slot));
        if known {
            self.change(at, Some(usage));
        }
        known
    }

    /// A slot that a job holds has another number in it.
    pub(super) fn renumber(&mut self, at: SlotRef, usage: SlotUse) {
        if let Some(tm) = self.all.get_mut(at.tm) {
            tm.slots[at.slot.0 as usize] = Some(usage);
        }
    }

    /// The slots that were taken are not put back.
    pub(super) fn keep_taken(&mut self) {
        self.slots_changed = true;
    }

    /// Gives a slot back; nothing happens if its TaskManager is gone.
    pub(super) fn release(&mut self, at: SlotRef) {
        self.changed = true;
        self.slots_changed = true;
        self.put_back(at);
        if self.all.get(at.tm).is_some_and(TaskManager::is_unused) {
            self.unused.push(at.tm);
        }
    }

    /// Gives a slot back in which nothing was: no supply that was not there before.
    pub(super) fn put_back(&mut self, at: SlotRef) {
        if self.all.contains_key(at.tm) {
            self.change(at, None);
        }
    }

    fn change(&mut self, at: SlotRef, usage: Option<SlotUse>) {
        let tm = &mut self.all[at.tm];
        let before = tm.free_count();
        let changed = match usage {
            Some(_) => tm.free.remove(&at.slot),
            None => tm.free.insert(at.slot),
        };
        assert!(
            changed,
            "only a free slot is taken, only a taken one is given back"
        );
        tm.slots[at.slot.0 as usize] = usage;
        self.supply.change(tm.kind, at.tm, before, tm.free_count());
    }

    /// A job wants slots.
    pub(super) fn note_demand(&mut self) {
        self.changed = true;
    }

    /// Whether there is more supply or demand of slots since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Whether that will be said when it is asked next.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether other slots can be given, or other TaskManagers are registered, since this was last asked: if not,
    /// who did not get slots does not get them.
    pub(super) fn take_slots_changed(&mut self) -> bool {
        core::mem::take(&mut self.slots_changed)
    }

    /// Which TaskManagers have free slots.
    pub(super) fn supply(&self) -> &Supply {
        &self.supply
    }

    /// A free slot of the TaskManager that has the most, among those of the first of these kinds that have any that is
    /// not claimed.
    pub(super) fn free_slot(&self, kinds: &[Vec<KindKey>], claimed: &Claimed) -> Option<SlotRef> {
        let mut kinds = kinds.iter();
        let tm = kinds.find_map(|alike| self.supply.most(alike, claimed))?;
        let slot = self.all[tm].free.first();
        let slot = *slot.expect("a TaskManager in the supply has a free slot");
        Some(SlotRef { tm, slot })
    }

    /// Whether a TaskManager is registered, and of one of these kinds.
    pub(super) fn is_among<'a>(
        &self,
        key: TmKey,
        mut kinds: impl Iterator<Item = &'a KindKey>,
    ) -> bool {
        let tm = self.all.get(key);
        tm.is_some_and(|tm| kinds.any(|kind| *kind == tm.kind))
    }

    /// Whether a TaskManager has said anything since its hello.
    pub(super) fn counts(&self, key: TmKey) -> bool {
        self.all.get(key).is_some_and(|tm| tm.counts)
    }

    pub(super) fn get(&self, key: TmKey) -> Option<&TaskManager> {
        self.all.get(key)
    }

    pub(super) fn by_id(&self, id: &TaskManagerId) -> Option<TmKey> {
        self.by_id.get(id).copied()
    }

    pub(super) fn by_session(&self, session: SessionId) -> Option<TmKey> {
        self.by_session.get(&session).copied()
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TmKey, &TaskManager)> {
        self.by_id.values().map(|&key| (key, &self.all[key]))
    }

    pub(super) fn count_all(&self) -> u32 {
        u32::try_from(self.all.len()).expect("sessions are counted in 32 bits")
    }

    /// How many slots all of them have.
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// How many slots those have that have answered, and do not leave.
    pub(super) fn staying_slots(&self) -> u64 {
        u64::from(self.supply.staying_slots())
    }

    /// Whether other slots are there to stay since this was last asked.
    pub(super) fn take_staying_changed(&mut self) -> bool {
        core::mem::take(&mut self.staying_changed)
    }

    pub(super) fn free_slots(&self) -> u32 {
        self.supply.free_slots()
    }
}

/// Where a key points, counted from 1.
fn place(key: TmKey) -> u32 {
    // The lower half is the place, the upper half counts its uses.
    key.data().as_ffi() as u32
}

/// Fills a gap for a moment.
fn nobody() -> TaskManager {
    TaskManager {
        hello: Kept::new(Hello {
            taskmanager: TaskManagerId(String::new()),
            incarnation: Incarnation(0),
            seen_epoch: Epoch(0),
            hellos: 0,
            slots: 0,
            data_address: String::new(),
            hardware: Hardware::default(),
            operators: Vec::new(),
            inventory: Vec::new(),
            jobs: Vec::new(),
            leaves_within: None,
        }),
        session: SessionId(0),
        kind: KindKey::NONE,
        slots: Vec::new(),
        free: BTreeSet::new(),
        answered: false,
        counts: false,
        leaves: None,
        last_heard: Timestamp(0),
        spared_until: None,
        spared: 0,
        challenged: None,
        heartbeats: 0,
    }
}

impl TaskManager {
    /// When it is given up, if it stays silent.
    pub(super) fn lost_at(&self, config: &ClusterConfig) -> Timestamp {
        let silent_at = self.last_heard + config.heartbeat_timeout;
        self.spared_until.unwrap_or(silent_at)
    }

    /// Whether its slots are given to tasks.
    fn offers(&self) -> bool {
        self.answered && self.leaves.is_none()
    }

    /// How many slots it has, if it has answered and does not leave.
    pub(super) fn staying_slots(&self) -> u32 {
        match self.counts && self.leaves.is_none() {
            true => self.hello.slots,
            false => 0,
        }
    }

    /// Whether no task is in it.
    pub(super) fn is_unused(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// How many of its slots can be given to tasks.
    pub(super) fn free_count(&self) -> u32 {
        if !self.offers() {
            return 0;
        }
        u32::try_from(self.free.len()).expect("slots are counted in 32 bits")
    }
}
