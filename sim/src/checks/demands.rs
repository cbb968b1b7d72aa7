//! What is seen of checkpoints that clients want at once: the coordinator that accepted a demand takes it through to
//! its end, and says that it is fulfilled only if all of the job has a later checkpoint.

use super::steps::Step;
use super::{Checks, History, Verdict, ensure};
use crate::marks::Mark;
use crate::world::event::Instance;
use jobmanager_core::id::{CheckpointId, JobId, TriggerId};
use jobmanager_core::jobmanager::DemandState;
use std::collections::BTreeMap;

/// The demands of one job that have no outcome, by who accepted them: of each the last checkpoint before it.
pub(super) type Demands = BTreeMap<(Instance, TriggerId), Option<CheckpointId>>;

impl Checks {
    /// A coordinator accepts a demand.
    pub(super) fn demand_accepted(
        &mut self,
        by: Instance,
        job: JobId,
        trigger: TriggerId,
    ) -> Verdict {
        let history = self.history(job)?;
        let last = history.last_trigger.map(|(last, ..)| last);
        if history.demanded.insert((by, trigger)) {
            history.demands.insert((by, trigger), last);
        }
        Ok(())
    }

    /// A coordinator took a step: what it says of the demands that it accepted.
    pub(super) fn demands_stepped(&mut self, step: &Step<'_>) -> Verdict {
        for (id, history) in &mut self.jobs {
            let own = |(by, _): &&(Instance, TriggerId)| *by == step.instance;
            let open: Vec<_> = history.demands.keys().filter(own).copied().collect();
            for key in open {
                let state = step.coordinator.demand(*id, key.1);
                if state == Some(DemandState::UnderWay) {
                    continue;
                }
                let last = history.demands.remove(&key).flatten();
                let ends = state.is_some()
                    || step
                        .coordinator
                        .jobs()
                        .any(|job| job.id == *id && job.ended.is_some());
                ensure(ends, "a_demand_is_remembered_to_its_end", || {
                    format!("job {id}: {key:?}")
                })?;
                self.seen.extend(match state {
                    Some(DemandState::Completed(_)) => Some(history.demand_fulfilled(*id, last)?),
                    Some(DemandState::Failed(_)) => Some(Mark::DemandFailed),
                    Some(DemandState::UnderWay) | None => None,
                });
            }
        }
        Ok(())
    }

    /// A demand of a job that a coordinator accepted and has not ended.
    pub(crate) fn open_demand(&self, by: Instance, job: JobId) -> Option<TriggerId> {
        let history = self.jobs.get(&job)?;
        let mut open = history.demands.keys().filter(|(of, _)| *of == by);
        open.next().map(|(_, trigger)| *trigger)
    }

    /// What was seen since the last call.
    pub(crate) fn takes_marks(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.seen)
    }
}

impl History {
    /// Every region has a checkpoint that is later than this one, or nothing left to do.
    fn demand_fulfilled(
        &self,
        id: JobId,
        last: Option<CheckpointId>,
    ) -> Result<Mark, super::Failure> {
        let regions = self.region_of.values().max().map_or(0, |most| most + 1);
        for region in 0..regions {
            let snapshot = self.latest_snapshot(region);
            let later = snapshot.is_some_and(|it| it.is_final || Some(it.checkpoint) > last);
            ensure(later, "a_demanded_checkpoint_is_of_the_whole_job", || {
                format!("job {id} region {region}: {snapshot:?} after {last:?}")
            })?;
        }
        let mut aborted = self.aborted.iter();
        Ok(match aborted.any(|(_, aborted)| Some(*aborted) > last) {
            true => Mark::DemandTriedAgain,
            false => Mark::DemandFulfilled,
        })
    }
}
