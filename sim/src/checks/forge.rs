//! Forged observations for the tests of the checkers.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::plan::job::{EdgePlan, OperatorPlan, VertexPlan};
use jobmanager_core::graph::{JobGraph, Partitioning};
use jobmanager_core::id::{CommitId, Incarnation, SessionId, TaskManagerId};
use jobmanager_core::jobmanager::{Effect, Input};
use jobmanager_core::message::{
    Acknowledgement, Deployment, Envelope, FromTaskManager, Hello, JobTable, StateHandle,
    StateLocation, SubtaskState, TaskDeployment, ToTaskManager,
};
use jobmanager_core::record::{JobRecord, JobResult, Record, RecordOp, RegionSnapshot};
use jobmanager_core::taskmanager::TaskStart;
use jobmanager_core::time::Timestamp;

pub(crate) const JOB: JobId = JobId(1);
pub(crate) const EPOCH: Epoch = Epoch(1);
pub(crate) const BY: Orderer = Orderer {
    instance: Instance(0),
    epoch: EPOCH,
    now: 0,
};

/// A source and a sink, one subtask each.
pub(crate) fn plan() -> JobPlan {
    let vertex = |operator| VertexPlan {
        operator,
        parallelism: 1,
        max_parallelism: None,
        group: 0,
    };
    let source = OperatorPlan::Source {
        splits: 1,
        count: None,
        keys: 1,
        batch: 1,
        pause: 1,
    };
    let interval = ("execution.checkpointing.interval", "1 s");
    JobPlan {
        id: JOB,
        vertices: vec![vertex(source), vertex(OperatorPlan::Sink)],
        edges: vec![EdgePlan {
            source: 0,
            target: 1,
            partitioning: Partitioning::Forward,
        }],
        configuration: [interval].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        survives: crate::plan::Survives::All,
        restart_delay: 0,
    }
}

/// As [`plan`], with two subtasks of each: two regions.
pub(crate) fn pair() -> JobPlan {
    let mut plan = plan();
    for vertex in &mut plan.vertices {
        vertex.parallelism = 2;
    }
    plan
}

pub(crate) fn attempt(number: u32) -> Attempt {
    Attempt {
        epoch: EPOCH,
        number,
    }
}

pub(crate) fn attempt_id(vertex: u32, number: u32) -> AttemptId {
    AttemptId {
        job: JOB,
        task: task(vertex, 0),
        attempt: attempt(number),
    }
}

pub(crate) fn state(byte: u8) -> StateHandle {
    StateHandle::whole(StateLocation::File(format!("chk-{byte}/a")), 1)
}

pub(crate) fn job_record() -> Record {
    let graph = JobGraph::validate(plan().spec(), &BTreeMap::new()).unwrap();
    Record::Job(JobRecord {
        graph: graph.into(),
        submitted: Timestamp(0),
        scale: None,
        began: None,
    })
}

pub(crate) fn result(status: JobStatus) -> Record {
    let result = JobResult {
        job: JOB,
        name: String::new(),
        status,
        started: Timestamp(0),
        ended: Timestamp(0),
        failure: None,
        vertices: Vec::new(),
        completed_checkpoints: 0,
        restarts: 0,
        computation: 0,
        retained: None,
    };
    Record::Result(result.into())
}

pub(crate) fn checkpoint(id: u64) -> Record {
    let byte = u8::try_from(id).unwrap();
    let record = CheckpointRecord {
        job: JOB,
        id: CheckpointId(id),
        triggered: Timestamp(0),
        completed: Timestamp(0),
        regions: vec![Some(RegionSnapshot {
            checkpoint: CheckpointId(id),
            attempt: Some(attempt(0)),
            is_final: false,
        })],
        states: vec![SubtaskState::Own(state(byte)); 2],
        inherited: Vec::new(),
    };
    Record::Checkpoint(record.into())
}

pub(crate) fn mark(next: u64) -> Record {
    Record::CheckpointMark {
        job: JOB,
        next: CheckpointId(next),
    }
}

/// A TaskManager registers.
pub(crate) fn hello() -> Input {
    Input::Connected {
        session: SessionId(1),
        hello: Hello {
            taskmanager: TaskManagerId("tm-0".to_owned()),
            incarnation: Incarnation(1),
            seen_epoch: Epoch(0),
            hellos: 1,
            slots: 1,
            data_address: "tm-0:1".to_owned(),
            hardware: Default::default(),
            operators: vec!["sink".to_owned(), "source".to_owned()],
            inventory: Vec::new(),
            jobs: Vec::new(),
            leaves_within: None,
        },
    }
}

/// It gives a sign of life.
pub(crate) fn answer() -> Input {
    Input::Message {
        session: SessionId(1),
        message: FromTaskManager::Heartbeat { sequence: 1 },
    }
}

pub(crate) fn say(message: ToTaskManager) -> Effect {
    Effect::Send {
        session: SessionId(1),
        message: Envelope {
            epoch: EPOCH,
            message,
        },
    }
}

pub(crate) fn deploy(number: u32, restore: Option<u64>) -> Effect {
    let table = JobTable {
        name: String::new(),
        vertices: Vec::new(),
        edges: Vec::new(),
        slots: Vec::new(),
        addresses: Vec::new(),
        checkpoints: None,
    };
    let deployment = |vertex| TaskDeployment {
        task: task(vertex, 0),
        slot: SlotIndex(0),
        end_of_data: false,
        state: restore
            .map(|id| state(u8::try_from(id).unwrap()))
            .into_iter()
            .collect(),
    };
    say(ToTaskManager::Deploy(Deployment {
        job: JOB,
        attempt: attempt(number),
        table: table.into(),
        restore: restore.map(CheckpointId),
        finish: false,
        tasks: vec![deployment(0), deployment(1)],
    }))
}

pub(crate) fn trigger(id: u64) -> Effect {
    say(ToTaskManager::TriggerCheckpoint {
        job: JOB,
        tasks: Vec::new(),
        checkpoint: CheckpointId(id),
        timestamp: Timestamp(0),
        savepoint: None,
    })
}

pub(crate) fn aborted(id: u64) -> Effect {
    say(ToTaskManager::NotifyAborted {
        job: JOB,
        tasks: Vec::new(),
        checkpoint: CheckpointId(id),
    })
}

pub(crate) fn complete(id: u64) -> Effect {
    say(ToTaskManager::NotifyComplete {
        job: JOB,
        tasks: Vec::new(),
        checkpoint: CheckpointId(id),
        finish: false,
    })
}

pub(crate) fn write(record: Record) -> Effect {
    Effect::Store {
        commit: CommitId(1),
        ops: vec![RecordOp::Put(record)],
    }
}

/// An observer of a job that is durable and whose first attempt runs.
pub(crate) fn running() -> Checks {
    let mut checks = Checks::new(&[plan()], false);
    checks.minted(EPOCH).unwrap();
    store(&mut checks, [job_record(), mark(10)]).unwrap();
    order(&mut checks, &deploy(0, None)).unwrap();
    checks
}

pub(crate) fn order(checks: &mut Checks, effect: &Effect) -> Verdict {
    checks.ordered(BY, effect, Some("tm-0"))
}

pub(crate) fn store(checks: &mut Checks, records: impl IntoIterator<Item = Record>) -> Verdict {
    let ops: Vec<_> = records.into_iter().map(RecordOp::Put).collect();
    checks.stored(EPOCH, &ops)
}

pub(crate) fn acknowledge(checks: &mut Checks, vertex: u32, number: u32, id: u64) {
    let ack = Acknowledgement {
        attempt: attempt_id(vertex, number),
        checkpoint: CheckpointId(id),
        state: state(u8::try_from(id).unwrap()),
    };
    checks.received(&Input::Message {
        session: SessionId(1),
        message: FromTaskManager::Acknowledge(ack),
    });
}

/// As [`running`], with a checkpoint that both tasks acknowledged and that is durable.
pub(crate) fn with_checkpoint(id: u64) -> Checks {
    let mut checks = running();
    order(&mut checks, &trigger(id)).unwrap();
    acknowledge(&mut checks, 0, 0, id);
    acknowledge(&mut checks, 1, 0, id);
    order(&mut checks, &write(checkpoint(id))).unwrap();
    store(&mut checks, [checkpoint(id)]).unwrap();
    checks
}

pub(crate) fn broken(verdict: Verdict) -> &'static str {
    verdict.unwrap_err().name
}

pub(crate) const PROCESS: Process = Process {
    index: 0,
    incarnation: Incarnation(1).0,
};

pub(crate) fn start(vertex: u32, number: u32, job: JobId) -> TaskStart {
    let Effect::Send { message, .. } = deploy(number, None) else {
        unreachable!("a deployment is sent");
    };
    let ToTaskManager::Deploy(deployment) = message.message else {
        unreachable!("it was just made");
    };
    TaskStart {
        attempt: AttemptId {
            job,
            ..attempt_id(vertex, number)
        },
        slot: SlotIndex(0),
        table: deployment.table,
        restore: None,
        finish: false,
        end_of_data: false,
        state: Vec::new(),
    }
}
