//! Checkpoints that clients want at once, instead of at the job's next interval.
//!
//! ```text
//!          every region has completed one that was triggered since, or has nothing left to do
//! UnderWay ──────────────────────────────────────────────────────────────────────────────────► Completed
//!     │
//!     └──► Failed: a snapshot failed or expired, or not all regions ran in time
//! ```
//!
//! A demand makes regions owe a checkpoint, and those do not keep the pause after their last one
//! (`min-pause` is for periodic checkpoints, SEMANTICS §2.3). A region that restarts meanwhile owes it again.
//!
//! Demands are not durable: the checkpoint is, and a client that hears of another leader asks again, which costs a
//! checkpoint more. At most [`MAX_WAITING`] of a job wait, and of [`MAX_ENDED`] the outcome is remembered.

use super::checkpoints::{Aborted, Completion};
use super::cx::Cx;
use super::effect::{Effect, Reply};
use super::job::Job;
use super::pending::Abort;
use super::view::DemandState;
use crate::id::{CheckpointId, RegionIndex, RequestId, TriggerId};
use crate::rewiring::Rewiring;
use crate::time::Timestamp;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// The most demands of a job that wait. One checkpoint answers all that came before it.
const MAX_WAITING: usize = 16;
/// The most demands of a job whose outcome is remembered for whoever asks.
const MAX_ENDED: usize = 64;

/// One that has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Demand {
    trigger: TriggerId,
    /// Earlier checkpoints were triggered before it.
    from: CheckpointId,
    /// The regions that have not completed one since.
    missing: BTreeSet<RegionIndex>,
    /// Then it is given up.
    until: Timestamp,
    /// Why it was tried in vain the last time.
    problem: Option<String>,
}

/// All of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Demands {
    waiting: VecDeque<Demand>,
    /// The last one at the end.
    ended: VecDeque<(TriggerId, DemandState)>,
}

impl Demands {
    fn end(&mut self, trigger: TriggerId, state: DemandState) {
        tracing::info!(?trigger, ?state, "checkpoint on demand ended");
        self.ended.push_back((trigger, state));
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }

    /// Ends those for which there is a state now.
    fn end_where(&mut self, state: impl Fn(&Demand) -> Option<DemandState>) {
        for demand in core::mem::take(&mut self.waiting) {
            match state(&demand) {
                Some(state) => self.end(demand.trigger, state),
                None => self.waiting.push_back(demand),
            }
        }
    }

    /// Regions have completed a checkpoint.
    fn completed(&mut self, completion: &Completion) {
        for &region in &completion.regions {
            let snapshot = completion.record.region(region);
            let snapshot = snapshot.expect("it has what is stored by it");
            for demand in &mut self.waiting {
                if snapshot.checkpoint >= demand.from || snapshot.is_final {
                    demand.missing.remove(&region);
                }
            }
        }
        let id = completion.record.id;
        self.end_where(|demand| {
            let is_over = demand.missing.is_empty();
            is_over.then_some(DemandState::Completed(id))
        });
    }

    /// Regions have lost their part in a checkpoint. Tells which of them owe another one.
    fn aborted(&mut self, aborted: &Aborted, why: Abort, cause: &str) -> BTreeSet<RegionIndex> {
        let concerns = |demand: &Demand| {
            aborted.id >= demand.from && !aborted.regions.is_disjoint(&demand.missing)
        };
        let mut owed = BTreeSet::new();
        if why.counts() {
            self.end_where(|demand| {
                concerns(demand).then(|| DemandState::Failed(String::from(cause)))
            });
        } else if why != Abort::Subsumed {
            for demand in self.waiting.iter_mut().filter(|demand| concerns(demand)) {
                owed.extend(demand.missing.intersection(&aborted.regions));
                demand.problem = Some(String::from(cause));
            }
        }
        owed
    }

    /// The job has other regions now. Tells which of them owe a checkpoint.
    fn rewired(&mut self, rewiring: &Rewiring) -> BTreeSet<RegionIndex> {
        let fresh = rewiring.fresh();
        let mut owed = BTreeSet::new();
        for demand in &mut self.waiting {
            let is_concerned = !demand.missing.is_disjoint(&rewiring.concerned);
            let still = demand.missing.iter();
            let still = still.filter_map(|region| rewiring.kept.get(region).copied());
            demand.missing = still.collect();
            if is_concerned {
                demand.missing.extend(&fresh);
                owed.extend(&fresh);
            }
        }
        owed
    }

    /// Whether a region owes a checkpoint at once.
    pub(super) fn concern(&self, region: RegionIndex) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|demand| demand.missing.contains(&region))
    }

    /// What has become of one, if it is remembered.
    pub(super) fn state(&self, trigger: TriggerId) -> Option<DemandState> {
        if self.waiting.iter().any(|it| it.trigger == trigger) {
            return Some(DemandState::UnderWay);
        }
        let ended = self.ended.iter().find(|(ended, _)| *ended == trigger);
        ended.map(|(_, state)| state.clone())
    }

    /// When the first one is given up.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.waiting.iter().map(|demand| demand.until).min()
    }
}

impl Job {
    /// A client wants a checkpoint now.
    pub(super) fn checkpoint_demanded(
        &mut self,
        cx: &mut Cx<'_>,
        request: RequestId,
        trigger: TriggerId,
    ) {
        let reply = match self.demand(cx.now, trigger) {
            Ok(()) => Reply::CheckpointAccepted(self.id(), trigger),
            Err(refusal) => refusal,
        };
        cx.effects.push(Effect::Reply { request, reply });
    }

    fn demand(&mut self, now: Timestamp, trigger: TriggerId) -> Result<(), Reply> {
        if self.demands.state(trigger).is_some() {
            return Ok(());
        }
        if let Some(refusal) = self.refuses_snapshots() {
            return Err(refusal);
        }
        if self.demands.waiting.len() >= MAX_WAITING {
            let reason = "too many checkpoints of the job are waited for";
            return Err(Reply::Overloaded(String::from(reason)));
        }
        let regions = self.execution.region_indices();
        let missing: BTreeSet<_> = regions.filter(|region| !self.is_done(*region)).collect();
        if missing.is_empty() {
            let latest = self.checkpoints.latest();
            let id = latest.map_or(self.checkpoints.next, |latest| latest.id);
            self.demands.end(trigger, DemandState::Completed(id));
            return Ok(());
        }
        self.checkpoints.owed.extend(&missing);
        let demand = Demand {
            trigger,
            from: self.checkpoints.next,
            missing,
            until: self.savepoint_timeout(now),
            problem: None,
        };
        self.demands.waiting.push_back(demand);
        Ok(())
    }

    /// Gives up what nobody could do in time.
    pub(super) fn expire_demands(&mut self, now: Timestamp) {
        if self.demands.deadline().is_none_or(|until| until > now) {
            return;
        }
        self.demands.end_where(|demand| {
            let last = demand.problem.as_deref();
            let last = last.unwrap_or("not all tasks of the job ran");
            let cause = || format!("{}: {last}", Abort::Expired.text());
            (demand.until <= now).then(|| DemandState::Failed(cause()))
        });
    }

    /// Regions have completed a checkpoint.
    pub(super) fn demands_completed(&mut self, completion: &Completion) {
        if self.demands.deadline().is_some() {
            self.demands.completed(completion);
        }
    }

    /// Regions have lost their part in a checkpoint.
    pub(super) fn demands_aborted(&mut self, aborted: &Aborted, why: Abort, detail: &str) {
        if self.demands.deadline().is_some() {
            let owed = self.demands.aborted(aborted, why, &why.cause(detail));
            self.checkpoints.owed.extend(owed);
        }
    }

    /// The job has other regions now.
    pub(super) fn demands_rewired(&mut self, rewiring: &Rewiring) {
        if self.demands.deadline().is_some() {
            let owed = self.demands.rewired(rewiring);
            self.checkpoints.owed.extend(owed);
        }
    }
}
