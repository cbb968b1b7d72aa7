//! The checkpoints of one job: which are under way, which are completed, and when the next is due.
//!
//! Regions exchange no records, so each has a line of checkpoints of its own; what is retained is composed of
//! the latest snapshot of each. Regions that are triggered together share an id, and one write makes
//! durable what several of them have completed: while it is under way, the others wait for the next one.
//!
//! Invariants: ids strictly increase and are below the durable mark; a part of a checkpoint is acknowledged
//! once by each task of its region; at most one record is being written; at most `retained` are kept; what a
//! retained record refers to is not deleted.

mod rewired;
mod shown;
mod whole;

use super::pending::{Abort, Acknowledged, Participant, Pending};
use super::view::{CheckpointsDetails, Restore};
use crate::config::CheckpointConfig;
use crate::graph::Regions;
use crate::id::{CheckpointId, JobId, RegionIndex};
use crate::kept::Kept;
use crate::message::{Acknowledgement, SubtaskState};
use crate::record::{CheckpointRecord, RegionSnapshot};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use shown::completed_entry;

/// How many ids are made durable as used at a time: as many checkpoints may fail in a row before a
/// trigger waits for the store, and as many ids are skipped after a failover at the most.
const MARK_STEP: u64 = 16;

/// The checkpoints of one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Line {
    /// In how many checkpoints that are under way it takes part.
    pub(super) under_way: u32,
    /// When the last one completed.
    last_completed: Option<Timestamp>,
    /// Counted failures since the last one that completed.
    failures: u32,
    /// Not before this time is a final checkpoint tried again.
    pub(super) final_not_before: Timestamp,
    /// Its running tasks have been told to finish.
    pub(super) finish_announced: bool,
}

/// A record that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Storing {
    record: Arc<CheckpointRecord>,
    /// The regions of which it has something that is not durable yet.
    regions: Vec<RegionIndex>,
}

/// What a write of a record brings about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) record: Arc<CheckpointRecord>,
    /// The regions that have completed a checkpoint by it.
    pub(super) regions: Vec<RegionIndex>,
    /// The checkpoints to which nothing refers any more.
    pub(super) subsumed: Vec<CheckpointId>,
}

/// What of the checkpoints under way is given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aborting<'a> {
    pub(super) why: Abort,
    /// For people.
    pub(super) detail: &'a str,
    /// The parts of these regions; those of all if there is none.
    pub(super) regions: Option<&'a BTreeSet<RegionIndex>>,
    /// How many ended checkpoints are remembered.
    pub(super) history: u32,
    pub(super) now: Timestamp,
}

/// What of a checkpoint was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) id: CheckpointId,
    pub(super) is_savepoint: bool,
    pub(super) regions: BTreeSet<RegionIndex>,
}

/// The checkpoints of one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Checkpoints {
    /// The next id.
    pub(super) next: CheckpointId,
    /// Ids below this one are durably marked as used.
    pub(super) mark: CheckpointId,
    /// A larger mark is being written.
    pub(super) marking: bool,
    /// By ascending id.
    pub(super) pending: Vec<Pending>,
    /// The retained ones, the latest last.
    pub(super) completed: Kept<VecDeque<Arc<CheckpointRecord>>>,
    storing: Option<Storing>,
    /// Which parts wait for the next record. One of a region at the most.
    acknowledged: BTreeMap<RegionIndex, CheckpointId>,
    /// When periodic checkpoints are due for all regions; `None` until one runs.
    pub(super) due: Option<Timestamp>,
    /// The regions that have not been triggered since they were due.
    pub(super) owed: BTreeSet<RegionIndex>,
    lines: Vec<Line>,
    /// How many regions have completed a checkpoint after which nothing comes.
    finals: u32,
    counts: Kept<CheckpointsDetails>,
}

impl Checkpoints {
    /// The checkpoints of a job with so many regions, of which these are durable.
    pub(super) fn new(
        mark: CheckpointId,
        completed: VecDeque<Arc<CheckpointRecord>>,
        regions: u32,
        now: Timestamp,
    ) -> Self {
        let counts = CheckpointsDetails {
            latest_completed: completed.back().map(|record| completed_entry(record)),
            history: completed
                .iter()
                .rev()
                .map(|record| completed_entry(record))
                .collect(),
            ..CheckpointsDetails::default()
        };
        let latest = completed.back();
        // By the clock of the coordinator that completed it, which may have been ahead: the pause after it
        // is not to last until that time comes again.
        let at = latest.map(|record| record.completed.min(now));
        let snapshot = |region| latest.and_then(|record| record.region(region));
        let line = |region| Line {
            under_way: 0,
            last_completed: at.filter(|_| snapshot(region).is_some()),
            failures: 0,
            final_not_before: Timestamp(0),
            finish_announced: false,
        };
        let lines = (0..regions).map(RegionIndex).map(line).collect();
        Checkpoints {
            next: mark,
            mark,
            marking: false,
            pending: Vec::new(),
            storing: None,
            acknowledged: BTreeMap::new(),
            due: None,
            owed: BTreeSet::new(),
            lines,
            finals: latest.map_or(0, |record| finals(record)),
            counts: Kept::new(counts),
            completed: Kept::new(completed),
        }
    }

    /// The mark with which a job begins: the first ids can be used at once.
    pub(super) fn first_mark(&self) -> CheckpointId {
        CheckpointId(self.next.0 + MARK_STEP)
    }

    /// The latest record.
    pub(super) fn latest(&self) -> Option<&Arc<CheckpointRecord>> {
        self.completed.back()
    }

    /// The latest snapshot of a region.
    pub(super) fn snapshot(&self, region: RegionIndex) -> Option<RegionSnapshot> {
        self.latest().and_then(|record| record.region(region))
    }

    /// Whether nothing comes after the latest snapshot of a region.
    pub(super) fn is_final(&self, region: RegionIndex) -> bool {
        let snapshot = self.snapshot(region);
        snapshot.is_some_and(|snapshot| snapshot.is_final)
    }

    /// After the latest snapshot of how many regions nothing comes.
    pub(super) fn finals(&self) -> u32 {
        self.finals
    }

    /// How many regions can still complete something.
    pub(super) fn unfinished(&self) -> usize {
        self.lines.len() - self.finals as usize
    }

    pub(super) fn line(&self, region: RegionIndex) -> &Line {
        &self.lines[region.0 as usize]
    }

    pub(super) fn line_mut(&mut self, region: RegionIndex) -> &mut Line {
        &mut self.lines[region.0 as usize]
    }

    /// Whether a snapshot of the region is being written, so that nobody knows which its latest is.
    pub(super) fn is_storing(&self, region: RegionIndex) -> bool {
        let storing = self.storing.as_ref();
        storing.is_some_and(|storing| storing.regions.binary_search(&region).is_ok())
    }

    /// The mark that must be durable before the next one can be triggered, if it is not.
    pub(super) fn needed_mark(&self) -> Option<CheckpointId> {
        (self.next >= self.mark).then(|| CheckpointId(self.next.0 + MARK_STEP))
    }

    /// Starts one in which these take part.
    pub(super) fn trigger(
        &mut self,
        now: Timestamp,
        config: &CheckpointConfig,
        participants: &[Participant],
    ) -> CheckpointId {
        // With all of them the rhythm starts anew; those that come late do not change it for the others.
        if participants.len() == self.unfinished() && self.due.is_some() {
            self.due = Some(now + config.interval);
        }
        for Participant { region, .. } in participants {
            self.owed.remove(region);
        }
        self.start(now, config, false, participants)
    }

    /// Starts one in which these take part.
    pub(super) fn start(
        &mut self,
        now: Timestamp,
        config: &CheckpointConfig,
        is_savepoint: bool,
        participants: &[Participant],
    ) -> CheckpointId {
        assert!(
            self.next < self.mark,
            "an id is used only if that is durable"
        );
        let id = self.next;
        self.next = id.next();
        let pending = Pending::new(id, now, config, is_savepoint, participants);
        self.pending.push(pending);
        for Participant { region, .. } in participants {
            self.line_mut(*region).under_way += 1;
        }
        id
    }

    /// A task has snapshotted; it has this place in its region. Tells what that did.
    pub(super) fn acknowledge(
        &mut self,
        now: Timestamp,
        region: RegionIndex,
        place: u32,
        ack: Acknowledgement,
    ) -> Acknowledged {
        let checkpoint = ack.checkpoint;
        let Some(pending) = self.pending_mut(checkpoint) else {
            return Acknowledged::Unknown;
        };
        let answer = pending.acknowledge(now, region, place, ack);
        if answer == Acknowledged::Last {
            self.acknowledged.insert(region, checkpoint);
        }
        answer
    }

    /// The record of all that is acknowledged, to be written now; `None` if there is nothing, or another
    /// write is under way.
    pub(super) fn compose(
        &mut self,
        job: JobId,
        layout: &Regions,
        now: Timestamp,
    ) -> Option<Arc<CheckpointRecord>> {
        if self.storing.is_some() || self.acknowledged.is_empty() {
            return None;
        }
        let base = self.latest().cloned();
        let all = self.acknowledged.len() == self.lines.len();
        let (mut regions, mut states) = match base.as_deref().filter(|_| !all) {
            Some(base) => (base.regions.clone(), base.states.clone()),
            None => self.nothing(layout),
        };
        let parts = core::mem::take(&mut self.acknowledged);
        let latest = parts.values().max().copied();
        let id = latest.max(base.as_ref().map(|base| base.id));
        let id = id.expect("something is acknowledged");
        for (&region, &checkpoint) in &parts {
            let pending = self.pending_mut(checkpoint).expect("it is under way");
            let (snapshot, handles) = pending.store(region);
            regions[region.0 as usize] = Some(snapshot);
            for (&position, handle) in layout.members(region).iter().zip(handles) {
                states[position as usize] = SubtaskState::Own(handle);
            }
        }
        let triggered = self.pending.iter().find(|pending| pending.id == id);
        let triggered = triggered.map(|pending| pending.triggered);
        let inherited = inherited(base.as_deref(), &regions);
        let record = Arc::new(CheckpointRecord {
            job,
            id,
            triggered: triggered
                .or(base.map(|base| base.triggered))
                .expect("it is under way, or the latest"),
            completed: now,
            regions,
            inherited,
            states,
        });
        self.storing = Some(Storing {
            record: record.clone(),
            regions: parts.into_keys().collect(),
        });
        Some(record)
    }

    /// No snapshot of any region or task.
    fn nothing(&self, layout: &Regions) -> (Vec<Option<RegionSnapshot>>, Vec<SubtaskState>) {
        let states = vec![SubtaskState::nothing(); layout.subtasks() as usize];
        (vec![None; self.lines.len()], states)
    }

    /// The ids that will no longer be retained once what is being stored is completed.
    pub(super) fn surplus(&self, config: &CheckpointConfig) -> Vec<CheckpointId> {
        let mut ids: Vec<_> = self.completed.iter().map(|record| record.id).collect();
        let storing = self.storing.as_ref().map(|storing| storing.record.id);
        ids.extend(storing.filter(|id| ids.last() != Some(id)));
        ids.truncate(ids.len().saturating_sub(config.retained as usize));
        ids
    }

    /// What was being stored is durable.
    pub(super) fn complete(
        &mut self,
        now: Timestamp,
        config: &CheckpointConfig,
        history: u32,
    ) -> Completion {
        let storing = self.storing.take();
        let Storing { record, regions } =
            storing.expect("only what is being stored becomes durable");
        let before: BTreeSet<CheckpointId> = self.references();
        if self.latest().is_some_and(|latest| latest.id == record.id) {
            self.completed.pop_back();
        }
        self.completed.push_back(record.clone());
        let surplus = self
            .completed
            .len()
            .saturating_sub(config.retained as usize);
        self.completed.drain(..surplus);
        self.finals = finals(&record);
        let mut ids = BTreeMap::new();
        for &region in &regions {
            let snapshot = record.region(region).expect("it has what is stored by it");
            let pending = self.pending_mut(snapshot.checkpoint);
            let first = pending.expect("it is under way").complete(region);
            *ids.entry(snapshot.checkpoint).or_insert(false) |= first;
            let line = self.line_mut(region);
            line.under_way -= 1;
            line.last_completed = Some(now);
            line.failures = 0;
        }
        for (id, first) in ids {
            self.count_completed(id, first, true, history);
        }
        self.pending.retain(|pending| !pending.parts.is_empty());
        let subsumed = before
            .into_iter()
            .filter(|id| !self.is_of_use(*id))
            .collect();
        Completion {
            record,
            regions,
            subsumed,
        }
    }

    /// Gives up parts of those that `which` selects, unless they are being stored: of each the regions.
    pub(super) fn abort(
        &mut self,
        aborting: Aborting<'_>,
        which: impl Fn(&Pending) -> bool,
    ) -> Vec<Aborted> {
        let mut aborted = Vec::new();
        for pending in self.pending.iter_mut().filter(|pending| which(pending)) {
            let mut regions: BTreeSet<RegionIndex> = pending.parts.keys().copied().collect();
            if let Some(concerned) = aborting.regions {
                let is_concerned = |region: &RegionIndex| concerned.contains(region);
                if !pending.is_savepoint || !regions.iter().any(is_concerned) {
                    regions.retain(is_concerned);
                }
            }
            regions.retain(|region| pending.abort(*region));
            if !regions.is_empty() {
                let id = pending.id;
                let is_savepoint = pending.is_savepoint;
                aborted.push(Aborted {
                    id,
                    is_savepoint,
                    regions,
                });
            }
        }
        for Aborted {
            id,
            is_savepoint,
            regions,
        } in &aborted
        {
            for region in regions {
                let line = self.line_mut(*region);
                line.under_way -= 1;
                line.failures += u32::from(aborting.why.counts() && !is_savepoint);
                if self.acknowledged.get(region) == Some(id) {
                    self.acknowledged.remove(region);
                }
            }
        }
        let (over, under_way): (Vec<_>, Vec<_>) = core::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| pending.parts.is_empty());
        self.pending = under_way;
        for pending in over.iter().filter(|pending| !pending.completed) {
            self.count_failed(pending, &aborting);
        }
        aborted
    }

    /// Those of these regions that failed more often in a row than the job tolerates; asking starts their
    /// count again.
    pub(super) fn take_intolerable(
        &mut self,
        config: &CheckpointConfig,
        regions: impl Iterator<Item = RegionIndex>,
    ) -> BTreeSet<RegionIndex> {
        let mut intolerable = BTreeSet::new();
        for region in regions {
            let line = self.line_mut(region);
            if line.failures > config.tolerable_failures {
                line.failures = 0;
                intolerable.insert(region);
            }
        }
        intolerable
    }

    /// Before this time none under way expires.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        let collecting = self
            .pending
            .iter()
            .filter(|pending| pending.is_collecting());
        collecting.map(|pending| pending.looked_at).min()
    }

    /// Those that have expired, and of each the regions that have not acknowledged it.
    pub(super) fn take_late(
        &mut self,
        now: Timestamp,
    ) -> Vec<(CheckpointId, BTreeSet<RegionIndex>)> {
        let due = |pending: &&mut Pending| pending.is_collecting() && pending.looked_at <= now;
        let late = |pending: &mut Pending| (pending.id, pending.take_late(now));
        let late = self.pending.iter_mut().filter(due).map(late);
        late.filter(|(_, regions)| !regions.is_empty()).collect()
    }

    /// Whether anything that is retained, written or under way is of this checkpoint.
    pub(super) fn is_of_use(&self, id: CheckpointId) -> bool {
        let refers = |record: &Arc<CheckpointRecord>| record.refers_to(id);
        self.pending.iter().any(|pending| pending.id == id)
            || self.completed.iter().any(refers)
            || self.storing.as_ref().is_some_and(|it| refers(&it.record))
    }

    /// The checkpoints to which retained records refer.
    pub(super) fn references(&self) -> BTreeSet<CheckpointId> {
        let records = self.completed.iter();
        records.flat_map(|record| record.references()).collect()
    }

    /// Tasks were started from a checkpoint.
    pub(super) fn restored(&mut self, checkpoint: CheckpointId, at: Timestamp) {
        self.counts.restored += 1;
        self.counts.latest_restored = Some(Restore { checkpoint, at });
    }

    /// How many completed, as far as this coordinator knows.
    pub(super) fn completed_count(&self) -> u64 {
        self.counts.completed
    }

    fn pending_mut(&mut self, id: CheckpointId) -> Option<&mut Pending> {
        let at = self.pending.binary_search_by_key(&id, |pending| pending.id);
        at.ok().map(|at| &mut self.pending[at])
    }
}

impl Line {
    /// When the next one may be triggered for the region, as far as that depends on its last one.
    pub(super) fn paused_until(&self, pause: Duration) -> Timestamp {
        self.last_completed.map_or(Timestamp(0), |at| at + pause)
    }

    /// Whether one has completed since then.
    pub(super) fn has_completed_since(&self, then: Timestamp) -> bool {
        self.last_completed.is_some_and(|at| at >= then)
    }

    /// Counted failures since the last one that completed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether no further one may be under way.
    pub(super) fn is_full(&self, config: &CheckpointConfig) -> bool {
        self.under_way >= config.max_concurrent
    }
}

/// To whose files regions still refer that have completed nothing of their own.
fn inherited(
    base: Option<&CheckpointRecord>,
    regions: &[Option<RegionSnapshot>],
) -> Vec<CheckpointId> {
    let began = |region: &Option<RegionSnapshot>| region.is_some_and(|it| it.attempt.is_none());
    let base = base.filter(|_| regions.iter().any(began));
    base.map(|base| base.inherited.clone()).unwrap_or_default()
}

/// How many regions have a snapshot after which nothing comes.
fn finals(record: &CheckpointRecord) -> u32 {
    let snapshots = record.regions.iter().flatten();
    let finals = snapshots.filter(|snapshot| snapshot.is_final).count();
    u32::try_from(finals).expect("regions are counted in 32 bits")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_predecessor_whose_clock_was_ahead_does_not_hold_up_checkpoints() {
        let hour = Duration::from_secs(3_600);
        let (now, pause) = (Timestamp(0) + hour, Duration::from_millis(20));
        let record = CheckpointRecord {
            job: crate::id::JobId(1),
            id: CheckpointId(1),
            triggered: now + hour,
            completed: now + hour,
            regions: vec![Some(RegionSnapshot {
                checkpoint: CheckpointId(1),
                attempt: None,
                is_final: false,
            })],
            inherited: Vec::new(),
            states: Vec::new(),
        };
        let checkpoints =
            Checkpoints::new(CheckpointId(9), VecDeque::from([Arc::new(record)]), 1, now);
        let line = checkpoints.line(RegionIndex(0));
        assert_eq!(line.paused_until(pause), now + pause);
    }
}
