//! What a client's call leads to.

use super::Coordinator;
use super::cx::Cx;
use super::effect::{Effect, Reply};
use super::execution::Phase;
use super::input::{Command, SavepointRequest};
use super::job::{Job, JobPhase};
use super::journal::Fact;
use super::quota::within_quota;
use crate::graph::JobGraph;
use crate::id::{JobId, RequestId};
use crate::kept::Kept;
use crate::record::{CheckpointRecord, RecordOp};
use crate::savepoint::{RestoreProblem, Savepoint};
use crate::time::Timestamp;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The most clients that wait for the durability of one thing.
const MAX_WAITERS: usize = 1_000;
/// The most jobs at a time.
const MAX_JOBS: usize = 100_000;

impl Coordinator {
    pub(super) fn command(
        &mut self,
        request: RequestId,
        command: Command,
        effects: &mut Vec<Effect>,
    ) {
        match command {
            Command::Submit { graph, from } => {
                self.submit(request, graph, from.as_deref(), effects);
            }
            Command::Cancel(job) => {
                self.of_job(request, job, effects, |job, cx| {
                    job.cancel_requested(cx, request);
                });
            }
            Command::Rescale { job, bounds } => {
                self.of_job(request, job, effects, |job, cx| {
                    job.rescale_requested(cx, request, &bounds);
                });
            }
            Command::Checkpoint { job, trigger } => {
                self.of_job(request, job, effects, |job, cx| {
                    job.checkpoint_demanded(cx, request, trigger);
                });
            }
            Command::Savepoint(wanted) => self.request_savepoint(request, wanted, effects),
        }
    }

    fn submit(
        &mut self,
        request: RequestId,
        graph: Arc<JobGraph>,
        from: Option<&Savepoint>,
        effects: &mut Vec<Effect>,
    ) {
        let id = graph.id();
        if let Some(job) = self.jobs.get_mut(&id) {
            let same = job.original.computes_like(&graph);
            if let JobPhase::Submitting(submitters) = &mut job.phase {
                let waiters = if same {
                    &mut submitters.of_this
                } else {
                    &mut submitters.of_another
                };
                wait(waiters, request, effects);
            } else {
                effects.push(already_there(request, id, same));
            }
            return;
        }
        if let Some(archived) = self.archive.get(id) {
            let same = archived.result.computation == graph.computation();
            effects.push(already_there(request, id, same));
            return;
        }
        if let Some(reason) = self.overload() {
            effects.push(Effect::Reply {
                request,
                reply: Reply::Overloaded(reason),
            });
            return;
        }
        let start = match start(&graph, from, self.now) {
            Ok(start) => start.map(Arc::new),
            Err(problems) => {
                let reply = Reply::CannotRestore(id, problems);
                effects.push(Effect::Reply { request, reply });
                return;
            }
        };
        let job = Job::submitted(graph, self.now, start, request);
        if let Err(problem) = within_quota(job.least_slots(), &self.config) {
            let reply = Reply::TooManySlots(id, problem);
            effects.push(Effect::Reply { request, reply });
            return;
        }
        let records = job.first_records().into_iter();
        self.journal
            .write(records.map(RecordOp::Put).collect(), Fact::Submitted(id));
        self.jobs.insert(id, Kept::new(job));
        self.dirty.insert(id);
    }

    fn overload(&self) -> Option<String> {
        if self.jobs.len() >= MAX_JOBS {
            return Some(alloc::format!("{MAX_JOBS} jobs are running; cancel some"));
        }
        self.journal.overload()
    }

    /// Hands a client's call to its job; answers it, if there is none any more.
    fn of_job(
        &mut self,
        request: RequestId,
        id: JobId,
        effects: &mut Vec<Effect>,
        call: impl FnOnce(&mut Job, &mut Cx<'_>),
    ) {
        let reply = if let Some(archived) = self.archive.get(id) {
            Reply::AlreadyEnded(id, archived.result.status)
        } else if self.jobs.contains_key(&id) {
            return self.with_job(id, effects, call);
        } else {
            Reply::UnknownJob(id)
        };
        effects.push(Effect::Reply { request, reply });
    }
}

impl Coordinator {
    fn request_savepoint(
        &mut self,
        request: RequestId,
        wanted: SavepointRequest,
        effects: &mut Vec<Effect>,
    ) {
        let (id, trigger) = (wanted.job, wanted.trigger);
        let archived = self.archive.get(id);
        if archived.is_some_and(|archived| archived.savepoint(trigger).is_some()) {
            let reply = Reply::SavepointAccepted(id, trigger);
            return effects.push(Effect::Reply { request, reply });
        }
        self.of_job(request, id, effects, |job, cx| {
            job.savepoint_requested(cx, request, wanted);
        });
    }
}

/// What a job starts from, if it does not start from nothing.
fn start(
    graph: &JobGraph,
    from: Option<&Savepoint>,
    now: Timestamp,
) -> Result<Option<CheckpointRecord>, Vec<RestoreProblem>> {
    match (&graph.config().restore, from) {
        (None, _) => Ok(None),
        (Some(restore), None) => {
            let path = restore.path.clone();
            Err(Vec::from([RestoreProblem::NotRead(path)]))
        }
        (Some(restore), Some(savepoint)) => savepoint.restore(graph, restore.unclaimed, now),
    }
}

/// The answer to who submits what has an id that is taken: by the same graph, or by another one.
fn already_there(request: RequestId, id: JobId, same: bool) -> Effect {
    let reply = if same {
        Reply::AlreadySubmitted(id)
    } else {
        Reply::Conflict(id)
    };
    Effect::Reply { request, reply }
}

/// A client waits with others for the durability of one thing, if there are not too many of them.
pub(super) fn wait(waiters: &mut Vec<RequestId>, request: RequestId, effects: &mut Vec<Effect>) {
    if waiters.len() < MAX_WAITERS {
        waiters.push(request);
    } else {
        let reason = String::from("too many clients wait for the metadata store to take this");
        effects.push(Effect::Reply {
            request,
            reply: Reply::Overloaded(reason),
        });
    }
}

impl Job {
    /// The job is durable: whoever submitted it is told, and it may run.
    pub(super) fn submission_durable(&mut self, cx: &mut Cx<'_>) {
        let phase = core::mem::replace(&mut self.phase, JobPhase::Running);
        let JobPhase::Submitting(submitters) = phase else {
            unreachable!("a job becomes durable once");
        };
        let job = self.id();
        for region in self.execution.region_indices() {
            self.execution
                .set_phase(region, Phase::Scheduled { since: cx.now });
        }
        if self.graph.config().checkpointing.is_some() {
            self.marked(self.checkpoints.first_mark());
        }
        tracing::info!(%job, name = self.graph.name(), "job submitted");
        let mut waiting = submitters.of_this.into_iter();
        cx.effects.extend(waiting.next().map(|request| {
            let reply = Reply::Submitted(job);
            Effect::Reply { request, reply }
        }));
        let again = waiting.map(|request| already_there(request, job, true));
        cx.effects.extend(again);
        let another = submitters.of_another.into_iter();
        let refused = another.map(|request| already_there(request, job, false));
        cx.effects.extend(refused);
    }
}
