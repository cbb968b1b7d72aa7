//! The end of a job: its tasks stop, its result becomes durable, then clients are told, then its state
//! and its records are removed. A coordinator that dies in between leaves a result and a job record; the
//! next one goes on with the removal. So a job that has ended is never started again.

use super::commands::wait;
use super::cx::Cx;
use super::effect::{Effect, Reply};
use super::execution::Phase;
use super::job::{CancelIntent, Cleanup, Ended, Ending, Job, JobPhase};
use super::journal::Fact;
use super::pending::Abort;
use crate::id::RequestId;
use crate::record::{JobResult, Record, RecordKey, RecordOp, VertexResult};
use crate::state::JobStatus;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Job {
    /// A client wants the job canceled.
    pub(super) fn cancel_requested(&mut self, cx: &mut Cx<'_>, request: RequestId) {
        let job = self.id();
        if matches!(self.phase, JobPhase::Ended(_)) {
            wait(&mut self.end_waiters, request, cx.effects);
            return;
        }
        match &mut self.cancel {
            CancelIntent::None => {
                self.cancel = CancelIntent::Storing(Vec::from([request]));
                let put = RecordOp::Put(Record::Cancel(job));
                cx.journal
                    .write(Vec::from([put]), Fact::CancelRequested(job));
            }
            CancelIntent::Storing(waiters) => wait(waiters, request, cx.effects),
            CancelIntent::Durable => {
                cx.effects.push(Effect::Reply {
                    request,
                    reply: Reply::CancelAccepted(job),
                });
            }
        }
    }

    /// The wish to cancel the job is durable.
    pub(super) fn cancel_durable(&mut self, cx: &mut Cx<'_>) {
        let intent = core::mem::replace(&mut self.cancel, CancelIntent::Durable);
        let CancelIntent::Storing(waiters) = intent else {
            return;
        };
        if matches!(self.phase, JobPhase::Ended(_)) {
            self.end_waiters.extend(waiters);
            return;
        }
        let job = self.id();
        for request in waiters {
            cx.effects.push(Effect::Reply {
                request,
                reply: Reply::CancelAccepted(job),
            });
        }
        self.stop(cx, Ending::Cancelling);
    }

    /// All tasks are told to stop.
    pub(super) fn stop(&mut self, cx: &mut Cx<'_>, ending: Ending) {
        let detail = match &ending {
            Ending::Cancelling => "the job is canceled",
            Ending::Failing(cause) => cause,
        };
        self.abort_checkpoints(cx, Abort::JobStopped, detail, None, |_| true);
        for region in self.execution.region_indices() {
            if self.execution.region(region).phase != Phase::Finished {
                self.stop_region(cx, region);
                self.execution.set_phase(region, Phase::Stopping);
            }
        }
        self.waiting = None;
        self.moves_no_more(cx);
        self.phase = JobPhase::Ending(ending);
    }

    /// Every task has finished by itself.
    pub(super) fn finished(&mut self, cx: &mut Cx<'_>) {
        self.end(cx, JobStatus::Finished, None);
    }

    /// Every task that was told to stop has ended.
    pub(super) fn ended(&mut self, cx: &mut Cx<'_>, ending: Ending) {
        match ending {
            Ending::Cancelling => self.end(cx, JobStatus::Canceled, None),
            Ending::Failing(cause) => self.end(cx, JobStatus::Failed, Some(cause)),
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>, status: JobStatus, failure: Option<String>) {
        let vertex = |vertex: &crate::graph::JobVertex| VertexResult {
            operator_id: vertex.operator_id,
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
        };
        let result = Arc::new(JobResult {
            job: self.id(),
            name: String::from(self.graph.name()),
            status,
            started: self.submitted,
            ended: cx.now,
            failure,
            vertices: self.graph.vertices().iter().map(vertex).collect(),
            completed_checkpoints: self.checkpoints.completed_count(),
            restarts: self.restarts,
            computation: self.original.computation(),
            retained: None,
        });
        let mut ops = self.end_savepoints(cx.now, status);
        ops.push(RecordOp::Put(Record::Result(result.clone())));
        cx.journal.write(ops, Fact::Ended(self.id()));
        self.moves_no_more(cx);
        self.phase = JobPhase::Ended(Ended {
            result,
            cleanup: Cleanup::Storing,
        });
    }

    /// The result is durable: whoever waited for it is told.
    pub(super) fn end_durable(&mut self, cx: &mut Cx<'_>) {
        let job = self.id();
        let JobPhase::Ended(ended) = &mut self.phase else {
            return;
        };
        ended.cleanup = Cleanup::Discarding;
        self.savepoints.all_ended();
        let reply = Reply::AlreadyEnded(job, ended.result.status);
        for request in core::mem::take(&mut self.end_waiters) {
            cx.effects.push(Effect::Reply {
                request,
                reply: reply.clone(),
            });
        }
    }

    /// Whether the job's result is durable: nobody needs to keep anything of it.
    pub(super) fn is_over(&self) -> bool {
        match &self.phase {
            JobPhase::Ended(ended) => ended.cleanup != Cleanup::Storing,
            JobPhase::Submitting(_)
            | JobPhase::Reconciling(_)
            | JobPhase::Running
            | JobPhase::Ending(_) => false,
        }
    }

    /// A job of which a result is durable is removed.
    pub(super) fn resume_removal(&mut self, result: Arc<JobResult>) {
        self.set_recovered_status(result.status);
        let cleanup = Cleanup::Discarding;
        self.phase = JobPhase::Ended(Ended { result, cleanup });
    }

    /// The job's state is deleted; its records follow.
    pub(super) fn state_removed(&mut self, cx: &mut Cx<'_>) {
        let (job, mut keys) = (self.id(), self.checkpoint_keys());
        let JobPhase::Ended(ended) = &mut self.phase else {
            return;
        };
        if ended.cleanup != Cleanup::Discarding {
            return;
        }
        ended.cleanup = Cleanup::Removing;
        let retained = ended.result.retained.is_some();
        let result = retained.then(|| RecordOp::Put(Record::Result(ended.result.clone())));
        keys.extend([
            RecordKey::Cancel(job),
            RecordKey::CheckpointMark(job),
            RecordKey::Rescale(job),
            RecordKey::Job(job),
        ]);
        let deletes = keys.into_iter().map(RecordOp::Delete);
        let ops = result.into_iter().chain(deletes).collect();
        cx.journal.write(ops, Fact::Cleaned(job));
    }
}
