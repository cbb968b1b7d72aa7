//! The checkpoints that clients want at once of a job of the model.

use super::job::{Job, Life};
use super::orders::{Order, Room};
use jobmanager_core::id::{CheckpointId, JobId, RequestId, TriggerId};
use jobmanager_core::jobmanager::{DemandState, Reply};
use jobmanager_core::record::CheckpointRecord;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// So many of a job wait at the most.
const MOST: usize = 16;

/// What a client wants, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    pub(super) trigger: TriggerId,
    /// What was triggered before is too old.
    after: CheckpointId,
    /// The regions without a checkpoint since.
    missing: BTreeSet<usize>,
    until: Timestamp,
    pub(super) state: DemandState,
}

impl Demand {
    fn waits(&self) -> bool {
        self.state == DemandState::UnderWay
    }
}

impl Job {
    pub(super) fn checkpoint_demanded(
        &mut self,
        room: &mut Room<'_>,
        request: RequestId,
        trigger: TriggerId,
    ) {
        let reply = self.demand(room.now, trigger);
        let accepted = Reply::CheckpointAccepted(self.id, trigger);
        let reply = reply.err().unwrap_or(accepted);
        room.orders.push(Order::Reply(request, reply));
    }

    fn demand(&mut self, now: Timestamp, trigger: TriggerId) -> Result<(), Reply> {
        if self.demands.iter().any(|known| known.trigger == trigger) {
            return Ok(());
        }
        if matches!(self.life, Life::Ending(_) | Life::Ended(..)) {
            return Err(Reply::IsEnding(self.id));
        }
        let Some(config) = self.plan.checkpoints else {
            return Err(Reply::WithoutCheckpoints(self.id));
        };
        if self.demands.iter().filter(|demand| demand.waits()).count() >= MOST {
            let reason = "too many checkpoints of the job are waited for";
            return Err(Reply::Overloaded(reason.to_owned()));
        }
        let regions = 0..self.regions.len();
        let missing: BTreeSet<usize> = regions.filter(|at| self.may_be_owed(*at)).collect();
        self.owe(&missing);
        let latest = self.checkpoints.retained.last().map(|latest| latest.id);
        let state = match missing.is_empty() {
            true => DemandState::Completed(latest.unwrap_or(self.checkpoints.next)),
            false => DemandState::UnderWay,
        };
        self.demands.push(Demand {
            trigger,
            after: self.checkpoints.next,
            missing,
            until: now + config.timeout,
            state,
        });
        Ok(())
    }

    fn owe(&mut self, regions: &BTreeSet<usize>) {
        for region in regions {
            self.checkpoints.rhythms[*region].owed = true;
        }
    }

    /// Whether a region need not rest.
    pub(super) fn is_demanded(&self, region: usize) -> bool {
        let mut waiting = self.demands.iter().filter(|demand| demand.waits());
        waiting.any(|demand| demand.missing.contains(&region))
    }

    pub(super) fn expire_demands(&mut self, now: Timestamp) {
        let late = |demand: &&mut Demand| demand.waits() && demand.until <= now;
        for demand in self.demands.iter_mut().filter(late) {
            demand.state = DemandState::Failed(String::new());
        }
    }

    /// This record is durable, with something new of these regions.
    pub(super) fn demands_completed(
        &mut self,
        written: &BTreeSet<usize>,
        record: &CheckpointRecord,
    ) {
        for demand in self.demands.iter_mut().filter(|demand| demand.waits()) {
            for region in written {
                let snapshot = record.regions[*region];
                if snapshot.is_some_and(|it| it.is_final || it.checkpoint >= demand.after) {
                    demand.missing.remove(region);
                }
            }
            if demand.missing.is_empty() {
                demand.state = DemandState::Completed(record.id);
            }
        }
    }

    /// Regions have lost their part in this checkpoint: a failed snapshot ends what waits for it, other regions try
    /// once more.
    pub(super) fn demands_aborted(
        &mut self,
        id: CheckpointId,
        regions: &BTreeSet<usize>,
        failed: bool,
    ) {
        let mut again = BTreeSet::new();
        for demand in self.demands.iter_mut().filter(|demand| demand.waits()) {
            let lost: Vec<usize> = demand.missing.intersection(regions).copied().collect();
            if demand.after > id || lost.is_empty() {
                continue;
            }
            if failed {
                demand.state = DemandState::Failed(String::new());
            } else {
                again.extend(lost);
            }
        }
        self.owe(&again);
    }

    /// The regions of the job are others now, but for those that are kept.
    pub(super) fn demands_carried(&mut self, kept: &BTreeMap<usize, usize>) {
        let others = 0..self.regions.len();
        let fresh: BTreeSet<usize> = others
            .filter(|region| !kept.values().any(|it| it == region))
            .collect();
        let mut again = BTreeSet::new();
        for demand in self.demands.iter_mut().filter(|demand| demand.waits()) {
            let before = std::mem::take(&mut demand.missing);
            demand.missing = before
                .iter()
                .filter_map(|old| kept.get(old).copied())
                .collect();
            if demand.missing.len() < before.len() {
                demand.missing.extend(&fresh);
                again.extend(&fresh);
            }
        }
        self.owe(&again);
    }

    /// What clients are told of each.
    pub(super) fn demand_states(&self) -> impl Iterator<Item = (JobId, TriggerId, &DemandState)> {
        let demands = self.demands.iter();
        demands.map(|demand| (self.id, demand.trigger, &demand.state))
    }
}
