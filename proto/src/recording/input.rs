//! Inputs of the coordinator as frames, and back.

use crate::bad_message::{BadMessage, Problem, WireError};
use crate::check;
use crate::savepoint::{savepoint_from_wire, savepoint_to_wire};
use crate::v1;
use crate::v1::discarded_input::What;
use crate::v1::recording_frame::Frame as Wire;
use crate::v1::stored_input::Outcome;
use crate::v1::worker_input::Report as WireReport;
use crate::wire::{Received, after_from_wire, after_to_wire, ids};
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{CheckpointId, CommitId, RequestId, SessionId, WorkerId};
use jobmanager_core::jobmanager::{
    Command, Discard, Input, SavepointRequest, StorageOutcome, StoreOutcome, WorkerReport,
};
use jobmanager_core::record::Bounds;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn input_to_wire(input: &Input) -> Wire {
    match input {
        Input::Connected { session, hello } => Wire::Connected(v1::SessionInput {
            session: session.0,
            message: Some(hello.into()),
        }),
        Input::Message { session, message } => Wire::Message(v1::SessionInput {
            session: session.0,
            message: Some(message.into()),
        }),
        Input::Disconnected { session } => Wire::Disconnected(session.0),
        Input::Stored { commit, outcome } => Wire::Stored(stored_to_wire(*commit, outcome)),
        Input::Discarded { discard, outcome } => {
            Wire::Discarded(discarded_to_wire(discard, outcome))
        }
        Input::Command { request, command } => command_to_wire(request.0, command),
        Input::SavepointWritten {
            job,
            checkpoint,
            outcome,
        } => Wire::SavepointWritten(v1::SavepointWrittenInput {
            job: Some((*job).into()),
            checkpoint: checkpoint.0,
            failed: failed(outcome),
        }),
        Input::Workers { present } => Wire::Workers(v1::WorkersInput {
            present: present.iter().copied().map(Into::into).collect(),
        }),
        Input::Worker { worker, report } => Wire::Worker(v1::WorkerInput {
            worker: Some((*worker).into()),
            report: Some(match report {
                WorkerReport::Pending(reason) => WireReport::Pending(reason.clone()),
                WorkerReport::Started => WireReport::Started(true),
                WorkerReport::Gone(reason) => WireReport::Gone(reason.clone()),
            }),
        }),
        Input::Wake => Wire::Wake(true),
    }
}

fn command_to_wire(request: u64, command: &Command) -> Wire {
    match command {
        Command::Submit { graph, from } => Wire::Submit(v1::SubmitInput {
            request,
            graph: Some(graph.as_ref().into()),
            from: from.as_deref().map(|from| savepoint_to_wire(from, "")),
        }),
        Command::Cancel(job) => Wire::Cancel(v1::CancelInput {
            request,
            job: Some((*job).into()),
        }),
        Command::Rescale { job, bounds } => Wire::Rescale(v1::RescaleInput {
            request,
            job: Some((*job).into()),
            bounds: bounds
                .iter()
                .map(|(id, it)| (id.clone(), (*it).into()))
                .collect(),
        }),
        Command::Checkpoint { job, trigger } => Wire::Checkpoint(v1::CheckpointInput {
            request,
            job: Some((*job).into()),
            trigger: Some((*trigger).into()),
        }),
        Command::Savepoint(wanted) => Wire::Savepoint(v1::SavepointInput {
            request,
            job: Some(wanted.job.into()),
            trigger: Some(wanted.trigger.into()),
            directory: wanted.directory.clone(),
            after: after_to_wire(wanted.after).into(),
        }),
    }
}

fn stored_to_wire(commit: CommitId, outcome: &StoreOutcome) -> v1::StoredInput {
    let (outcome, problem) = match outcome {
        StoreOutcome::Done => (Outcome::Done, ""),
        StoreOutcome::Fenced => (Outcome::Fenced, ""),
        StoreOutcome::Unavailable(problem) => (Outcome::Unavailable, problem.as_str()),
        StoreOutcome::Unknown(problem) => (Outcome::Unknown, problem.as_str()),
    };
    v1::StoredInput {
        commit: commit.0,
        outcome: outcome.into(),
        problem: problem.into(),
    }
}

fn discarded_to_wire(discard: &Discard, outcome: &StorageOutcome) -> v1::DiscardedInput {
    let (job, what) = match discard {
        Discard::Checkpoint(job, checkpoint) => (job, What::Checkpoint(checkpoint.0)),
        Discard::Job(job) => (job, What::WholeJob(true)),
        Discard::Savepoint { job, location } => (job, What::Savepoint(location.clone())),
        Discard::Owned { job, location } => (job, What::Owned(location.clone())),
        Discard::Unreferenced { job, keep, next } => {
            let keep = keep.iter().map(|checkpoint| checkpoint.0).collect();
            let next = next.0;
            let what = v1::discarded_input::Unreferenced { keep, next };
            (job, What::Unreferenced(what))
        }
    };
    v1::DiscardedInput {
        job: Some((*job).into()),
        what: Some(what),
        failed: failed(outcome),
    }
}

pub(super) fn connected(wire: v1::SessionInput) -> Result<Input, BadMessage> {
    let session = SessionId(wire.session);
    match received(wire.message, "connected.message")? {
        Received::Hello(hello) => Ok(Input::Connected { session, hello }),
        Received::Message(_) | Received::Metrics(_) => {
            Err(Problem::DoesNotFit("connected").at("connected.message"))
        }
    }
}

pub(super) fn message(wire: v1::SessionInput) -> Result<Input, BadMessage> {
    let session = SessionId(wire.session);
    match received(wire.message, "message.message")? {
        Received::Message(message) => Ok(Input::Message { session, message }),
        Received::Hello(_) | Received::Metrics(_) => {
            Err(Problem::DoesNotFit("message").at("message.message"))
        }
    }
}

fn received(
    wire: Option<v1::FromTaskManager>,
    field: &'static str,
) -> Result<Received, BadMessage> {
    match Received::try_from(check::required(wire, field)?) {
        Ok(received) => Ok(received),
        Err(WireError::UnknownMessage) => Err(Problem::Missing.at(field)),
        Err(WireError::Bad(problem)) => Err(problem),
    }
}

pub(super) fn stored(wire: v1::StoredInput) -> Result<Input, BadMessage> {
    let outcome = match Outcome::try_from(wire.outcome) {
        Ok(Outcome::Done) => StoreOutcome::Done,
        Ok(Outcome::Fenced) => StoreOutcome::Fenced,
        Ok(Outcome::Unavailable) => StoreOutcome::Unavailable(wire.problem),
        Ok(Outcome::Unknown) => StoreOutcome::Unknown(wire.problem),
        Ok(Outcome::Unspecified) | Err(_) => {
            return Err(Problem::UnknownValue(wire.outcome).at("stored.outcome"));
        }
    };
    Ok(Input::Stored {
        commit: CommitId(wire.commit),
        outcome,
    })
}

pub(super) fn discarded(wire: v1::DiscardedInput) -> Result<Input, BadMessage> {
    let job = ids::job(wire.job, "discarded.job")?;
    let discard = match check::required(wire.what, "discarded.what")? {
        What::Checkpoint(id) => {
            Discard::Checkpoint(job, check::checkpoint(id, "discarded.checkpoint")?)
        }
        What::WholeJob(_) => Discard::Job(job),
        What::Savepoint(location) => Discard::Savepoint { job, location },
        What::Owned(location) => Discard::Owned { job, location },
        What::Unreferenced(wire) => unreferenced(job, &wire)?,
    };
    let outcome = outcome(wire.failed);
    Ok(Input::Discarded { discard, outcome })
}

fn failed(outcome: &StorageOutcome) -> Option<String> {
    match outcome {
        StorageOutcome::Done => None,
        StorageOutcome::Failed(problem) => Some(problem.clone()),
    }
}

fn outcome(failed: Option<String>) -> StorageOutcome {
    failed.map_or(StorageOutcome::Done, StorageOutcome::Failed)
}

fn unreferenced(
    job: jobmanager_core::id::JobId,
    wire: &v1::discarded_input::Unreferenced,
) -> Result<Discard, BadMessage> {
    let keep = |&id: &u64| check::checkpoint(id, "discarded.unreferenced.keep");
    Ok(Discard::Unreferenced {
        job,
        keep: wire
            .keep
            .iter()
            .map(keep)
            .collect::<Result<Vec<CheckpointId>, _>>()?,
        next: check::checkpoint(wire.next, "discarded.unreferenced.next")?,
    })
}

pub(super) fn submit(wire: v1::SubmitInput) -> Result<Input, BadMessage> {
    let graph: JobGraph = check::required(wire.graph, "submit.graph")?.try_into()?;
    let from = wire.from.map(|from| savepoint_from_wire(from, ""));
    Ok(Input::Command {
        request: RequestId(wire.request),
        command: Command::Submit {
            graph: Arc::new(graph),
            from: from.transpose()?.map(Arc::new),
        },
    })
}

pub(super) fn cancel(wire: v1::CancelInput) -> Result<Input, BadMessage> {
    Ok(Input::Command {
        request: RequestId(wire.request),
        command: Command::Cancel(ids::job(wire.job, "cancel.job")?),
    })
}

/// Whatever a client has asked for: the coordinator says what is wrong with it.
fn wanted(wire: BTreeMap<String, v1::Bounds>) -> BTreeMap<String, Bounds> {
    let bounds = |v1::Bounds { lower, upper }| Bounds { lower, upper };
    let wanted = wire.into_iter();
    wanted
        .map(|(vertex, wire)| (vertex, bounds(wire)))
        .collect()
}

pub(super) fn rescale(wire: v1::RescaleInput) -> Result<Input, BadMessage> {
    Ok(Input::Command {
        request: RequestId(wire.request),
        command: Command::Rescale {
            job: ids::job(wire.job, "rescale.job")?,
            bounds: wanted(wire.bounds),
        },
    })
}

pub(super) fn checkpoint(wire: v1::CheckpointInput) -> Result<Input, BadMessage> {
    Ok(Input::Command {
        request: RequestId(wire.request),
        command: Command::Checkpoint {
            job: ids::job(wire.job, "checkpoint.job")?,
            trigger: ids::trigger(wire.trigger, "checkpoint.trigger")?,
        },
    })
}

pub(super) fn savepoint(wire: v1::SavepointInput) -> Result<Input, BadMessage> {
    Ok(Input::Command {
        request: RequestId(wire.request),
        command: Command::Savepoint(SavepointRequest {
            job: ids::job(wire.job, "savepoint.job")?,
            trigger: ids::trigger(wire.trigger, "savepoint.trigger")?,
            directory: wire.directory,
            after: after_from_wire(wire.after, "savepoint.after")?,
        }),
    })
}

pub(super) fn savepoint_written(wire: v1::SavepointWrittenInput) -> Result<Input, BadMessage> {
    Ok(Input::SavepointWritten {
        job: ids::job(wire.job, "savepoint_written.job")?,
        checkpoint: check::checkpoint(wire.checkpoint, "savepoint_written.checkpoint")?,
        outcome: outcome(wire.failed),
    })
}

impl From<WorkerId> for v1::Worker {
    fn from(WorkerId { epoch, number }: WorkerId) -> Self {
        let epoch = epoch.0;
        v1::Worker { epoch, number }
    }
}

fn worker_id(wire: v1::Worker, field: &'static str) -> Result<WorkerId, BadMessage> {
    let (epoch, number) = (check::epoch(wire.epoch, field)?, wire.number);
    Ok(WorkerId { epoch, number })
}

pub(super) fn workers(wire: v1::WorkersInput) -> Result<Input, BadMessage> {
    let present = wire.present.into_iter();
    let present = present.map(|worker| worker_id(worker, "workers.present"));
    Ok(Input::Workers {
        present: present.collect::<Result<_, _>>()?,
    })
}

pub(super) fn worker(wire: v1::WorkerInput) -> Result<Input, BadMessage> {
    let worker = check::required(wire.worker, "worker.worker")?;
    Ok(Input::Worker {
        worker: worker_id(worker, "worker.worker")?,
        report: match check::required(wire.report, "worker.report")? {
            WireReport::Pending(reason) => WorkerReport::Pending(reason),
            WireReport::Started(_) => WorkerReport::Started,
            WireReport::Gone(reason) => WorkerReport::Gone(reason),
        },
    })
}
