//! What clients want, and who else decides on the parallelism of a job.

use super::{MAX_STORING, Stage};
use crate::config::{ClusterConfig, Scheduler};
use crate::fitting::least_slots;
use crate::graph::{JobGraph, JobVertex};
use crate::id::RequestId;
use crate::jobmanager::cx::Cx;
use crate::jobmanager::effect::{Effect, Reply, RescaleProblem};
use crate::jobmanager::job::{Job, JobPhase};
use crate::jobmanager::journal::Fact;
use crate::jobmanager::quota::within_quota;
use crate::record::{Bounds, Record, RecordOp, RescaleRecord};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Job {
    /// A client wants another parallelism.
    pub(in crate::jobmanager) fn rescale_requested(
        &mut self,
        cx: &mut Cx<'_>,
        request: RequestId,
        wanted: &BTreeMap<String, Bounds>,
    ) {
        let bounds = match self.rescale_refusal(cx) {
            Some(refusal) => Err(refusal),
            None => self
                .with_bounds(wanted, cx.config)
                .map_err(|problems| Reply::CannotRescale(self.id(), problems)),
        };
        match bounds {
            Err(reply) => cx.effects.push(Effect::Reply { request, reply }),
            Ok(bounds) => {
                let job = self.id();
                let record = Arc::new(RescaleRecord { job, bounds });
                self.rescaling.storing.push_back((record.clone(), request));
                let put = RecordOp::Put(Record::Rescale(record));
                cx.journal
                    .write(Vec::from([put]), Fact::RescaleRequested(job));
            }
        }
    }

    /// Why no wish can be taken, whatever it is.
    fn rescale_refusal(&self, cx: &Cx<'_>) -> Option<Reply> {
        let job = self.id();
        match &self.phase {
            JobPhase::Ending(_) | JobPhase::Ended(_) => return Some(Reply::IsEnding(job)),
            JobPhase::Submitting(_) | JobPhase::Reconciling(_) | JobPhase::Running => {}
        }
        if self.graph.config().checkpointing.is_none() {
            return Some(Reply::WithoutCheckpoints(job));
        }
        let overload = match self.rescaling.storing.len() < MAX_STORING {
            true => cx.journal.overload(),
            false => Some(format!(
                "{MAX_STORING} changes of its parallelism wait for the metadata store"
            )),
        };
        overload.map(Reply::Overloaded)
    }

    /// What was wanted last, with this of some vertices.
    fn with_bounds(
        &self,
        wanted: &BTreeMap<String, Bounds>,
        config: &ClusterConfig,
    ) -> Result<Vec<Bounds>, Vec<RescaleProblem>> {
        let last = self.rescaling.storing.back();
        let last = last.map(|(record, _)| record.bounds.clone());
        let mut bounds = last.unwrap_or_else(|| self.bounds());
        let mut problems = Vec::new();
        for (id, wanted) in wanted {
            let mut vertices = self.graph.vertices().iter().zip(&mut bounds);
            match vertices.find(|(vertex, _)| vertex.id == *id) {
                Some((_, bounds)) => *bounds = *wanted,
                None => problems.push(RescaleProblem::UnknownVertex(id.clone())),
            }
            if wanted.lower == 0 || wanted.lower > wanted.upper {
                let vertex = id.clone();
                let bounds = *wanted;
                problems.push(RescaleProblem::Bounds { vertex, bounds });
            }
        }
        let most: Vec<u32> = bounds.iter().map(|bounds| bounds.upper).collect();
        if let Err(invalid) = self.original.rescaled(&most) {
            problems.extend(invalid.into_iter().map(RescaleProblem::Graph));
        }
        if let Err(problem) = within_quota(least_slots(&self.graph, &bounds), config) {
            problems.push(RescaleProblem::TooManySlots(problem));
        }
        match problems.is_empty() {
            true => Ok(bounds),
            false => Err(problems),
        }
    }

    /// The wish is durable.
    pub(in crate::jobmanager) fn rescale_accepted(&mut self, cx: &mut Cx<'_>) {
        let wish = self.rescaling.storing.pop_front();
        let (record, request) = wish.expect("what becomes durable was being stored");
        self.rescaling.wanted = Some(record);
        self.rescaling.problem = None;
        if self.rescaling.decided().is_none() {
            self.rescaling.stage = Stage::Idle { next: cx.now };
        }
        let reply = Reply::RescaleAccepted(self.id());
        cx.effects.push(Effect::Reply { request, reply });
    }

    /// What the parallelism of each vertex is to be: what clients said last, or else what its scheduler allows.
    pub(in crate::jobmanager) fn bounds(&self) -> Vec<Bounds> {
        if let Some(wanted) = &self.rescaling.wanted {
            return wanted.bounds.clone();
        }
        let upper: fn(&JobVertex) -> u32 = match self.graph.config().rescaling.scheduler {
            Scheduler::Default => {
                let exactly = |vertex: &JobVertex| Bounds::exactly(vertex.parallelism);
                return self.graph.vertices().iter().map(exactly).collect();
            }
            Scheduler::Adaptive => |vertex| vertex.parallelism,
            Scheduler::Reactive => |vertex| vertex.max_parallelism,
        };
        let up_to = |vertex| Bounds {
            lower: 1,
            upper: upper(vertex),
        };
        self.original.vertices().iter().map(up_to).collect()
    }

    /// How many slots it needs at least.
    pub(in crate::jobmanager) fn least_slots(&self) -> u32 {
        least_slots(&self.graph, &self.bounds())
    }

    /// Whether its parallelism may have to change.
    pub(super) fn is_elastic(&self) -> bool {
        let scheduler = self.graph.config().rescaling.scheduler;
        self.rescaling.wanted.is_some() || scheduler != Scheduler::Default
    }

    /// The job with so many subtasks.
    pub(super) fn with_parallelism(&self, parallelism: &[u32]) -> Arc<JobGraph> {
        let graph = self.original.rescaled(parallelism);
        Arc::new(graph.expect("what lies between valid bounds is valid"))
    }
}
