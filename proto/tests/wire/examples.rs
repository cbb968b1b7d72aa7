//! One example of every message and record.

use jobmanager_core::config::CheckpointMode;
use jobmanager_core::graph::{
    EdgeSpec, JobEdge, JobGraph, JobGraphSpec, KeyGroupRange, Partitioning, VertexSpec,
};
use jobmanager_core::id::*;
use jobmanager_core::message::*;
use jobmanager_core::record::*;
use jobmanager_core::redistribute::DistributionMode;
use jobmanager_core::savepoint::{OperatorSnapshots, Savepoint, SubtaskSnapshot};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use jobmanager_proto::TaskMetrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const JOB: JobId = JobId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
const CHECKPOINT: CheckpointId = CheckpointId(300);
const ATTEMPT: Attempt = Attempt {
    epoch: Epoch(7),
    number: 2,
};
const TASK: TaskId = TaskId {
    vertex: VertexIndex(1),
    subtask: SubtaskIndex(3),
};
const ATTEMPT_ID: AttemptId = AttemptId {
    job: JOB,
    task: TASK,
    attempt: ATTEMPT,
};

pub(crate) fn to_taskmanager() -> Vec<(&'static str, ToTaskManager)> {
    vec![
        (
            "welcome",
            ToTaskManager::Welcome(Welcome {
                heartbeat_interval: Duration::from_secs(10),
                heartbeat_timeout: Duration::from_secs(50),
                grace_period: Duration::from_secs(120),
                cancellation_timeout: Duration::from_secs(180),
                registration_initial: Duration::from_millis(100),
                registration_max: Duration::from_secs(30),
                checkpoint_storage: "file:///c".into(),
            }),
        ),
        (
            "refused",
            ToTaskManager::Refused(Refusal {
                reason: "not the leader".into(),
                retry_after: Duration::from_secs(1),
            }),
        ),
        ("heartbeat", ToTaskManager::Heartbeat { sequence: 5 }),
        ("deploy", ToTaskManager::Deploy(deployment())),
        (
            "cancel",
            ToTaskManager::Cancel {
                job: JOB,
                attempt: ATTEMPT,
                tasks: vec![TASK],
            },
        ),
        (
            "notify_complete",
            ToTaskManager::NotifyComplete {
                job: JOB,
                tasks: vec![TASK],
                checkpoint: CHECKPOINT,
                finish: true,
            },
        ),
        (
            "notify_aborted",
            ToTaskManager::NotifyAborted {
                job: JOB,
                tasks: vec![TASK],
                checkpoint: CHECKPOINT,
            },
        ),
        (
            "resume",
            ToTaskManager::Resume {
                job: JOB,
                tasks: vec![TASK],
                completed: Some(CHECKPOINT),
                aborted_below: CheckpointId(305),
            },
        ),
        ("release_job", ToTaskManager::ReleaseJob { job: JOB }),
        ("dismissed", ToTaskManager::Dismissed),
    ]
    .into_iter()
    .chain(triggers())
    .collect()
}

fn triggers() -> Vec<(&'static str, ToTaskManager)> {
    vec![
        (
            "trigger_checkpoint",
            ToTaskManager::TriggerCheckpoint {
                job: JOB,
                tasks: vec![TASK],
                checkpoint: CHECKPOINT,
                timestamp: Timestamp(1_700_000_000_000),
                savepoint: None,
            },
        ),
        (
            "trigger_savepoint",
            ToTaskManager::TriggerCheckpoint {
                job: JOB,
                tasks: Vec::new(),
                checkpoint: CHECKPOINT,
                timestamp: Timestamp(1_700_000_000_000),
                savepoint: Some(SavepointOrder {
                    location: "file:///s/1".into(),
                    after: AfterSavepoint::Suspend,
                }),
            },
        ),
    ]
}

fn deployment() -> Deployment {
    Deployment {
        job: JOB,
        attempt: ATTEMPT,
        table: Arc::new(table()),
        restore: Some(CHECKPOINT),
        finish: true,
        tasks: vec![TaskDeployment {
            task: TASK,
            slot: SlotIndex(1),
            end_of_data: true,
            state: states(),
        }],
    }
}

fn table() -> JobTable {
    let vertex = |name: &str, operator_id, parallelism| TableVertex {
        name: name.into(),
        operator_id,
        operator: "count".into(),
        config: "{}".into(),
        parallelism,
        max_parallelism: 128,
        first_slot: 0,
        since: (parallelism == 2).then_some(ATTEMPT),
    };
    JobTable {
        name: "word-count".into(),
        vertices: vec![vertex("lines", 1 << 64, 2), vertex("count", 2, 4)],
        edges: vec![JobEdge {
            source: VertexIndex(0),
            target: VertexIndex(1),
            partitioning: Partitioning::Hash,
        }],
        slots: vec![0, 0, 1, JobTable::NOWHERE],
        addresses: vec!["a:1".into(), "b:2".into()],
        checkpoints: Some(TableCheckpoints {
            mode: CheckpointMode::ExactlyOnce,
            inline_threshold: 20_480,
        }),
    }
}

fn parts() -> StateParts {
    let list = |name: &str, mode, partitions| ListPart {
        name: name.into(),
        mode,
        partitions,
    };
    StateParts {
        key_groups: Some(KeyGroupRange { first: 0, last: 63 }),
        lists: vec![
            list("closed", DistributionMode::Split, 0..3),
            list("rules", DistributionMode::Broadcast, 0..1),
            list("watermark", DistributionMode::Union, 2..3),
        ],
    }
}

fn states() -> Vec<StateHandle> {
    vec![
        StateHandle {
            end_of_data: true,
            ..StateHandle::whole(StateLocation::Inline(vec![1, 2, 3]), 3)
        },
        StateHandle {
            location: StateLocation::File("chk-300/1-3".into()),
            size: 4_096,
            end_of_data: false,
            parts: Some(Arc::new(parts())),
        },
    ]
}

pub(crate) fn hello() -> Hello {
    Hello {
        taskmanager: TaskManagerId("tm-1".into()),
        incarnation: Incarnation(99),
        seen_epoch: Epoch(6),
        hellos: 7,
        slots: 4,
        data_address: "a:1".into(),
        hardware: Hardware {
            cpu_cores: 2,
            memory: 1 << 32,
        },
        operators: vec!["count".into(), "filter".into()],
        inventory: vec![InventoryItem {
            attempt: ATTEMPT_ID,
            slot: SlotIndex(1),
            state: ExecutionState::Running,
            end_of_data: true,
            restored: Some(CHECKPOINT),
        }],
        jobs: vec![JOB],
        leaves_within: Some(Duration::from_secs(20)),
    }
}

pub(crate) fn metrics() -> Vec<TaskMetrics> {
    vec![TaskMetrics {
        attempt: ATTEMPT_ID,
        records_in: 1,
        records_out: 2,
        bytes_in: 3,
        bytes_out: 4,
    }]
}

pub(crate) fn from_taskmanager() -> Vec<(&'static str, FromTaskManager)> {
    let change = |report| TaskStateChange {
        attempt: ATTEMPT_ID,
        report,
    };
    let cause = "disk full".into();
    let [inline, _file] = states().try_into().unwrap();
    vec![
        ("heartbeat", FromTaskManager::Heartbeat { sequence: 5 }),
        (
            "task_states",
            FromTaskManager::TaskStates(vec![
                change(TaskReport::EndOfData),
                change(TaskReport::Failed { cause }),
            ]),
        ),
        (
            "acknowledge",
            FromTaskManager::Acknowledge(Acknowledgement {
                attempt: ATTEMPT_ID,
                checkpoint: CHECKPOINT,
                state: inline,
            }),
        ),
        (
            "decline",
            FromTaskManager::Decline {
                attempt: ATTEMPT_ID,
                checkpoint: CHECKPOINT,
                reason: DeclineReason::Subsumed,
                message: "late".into(),
            },
        ),
        (
            "leave",
            FromTaskManager::Leave {
                within: Duration::from_secs(25),
            },
        ),
    ]
}

pub(crate) fn channel() -> ChannelId {
    ChannelId {
        job: JOB,
        attempt: ATTEMPT,
        edge: 1,
        producer: SubtaskIndex(2),
        consumer: SubtaskIndex(3),
    }
}

pub(crate) fn records() -> Vec<(&'static str, Record)> {
    vec![
        (
            "job",
            Record::Job(JobRecord {
                graph: Arc::new(JobGraph::validate(graph(), &BTreeMap::new()).unwrap()),
                submitted: Timestamp(1_700_000_000_000),
                scale: Some(Scale {
                    parallelism: vec![2, 300],
                    since: vec![Some(ATTEMPT), None],
                }),
                began: Some(CHECKPOINT),
            }),
        ),
        ("cancel", Record::Cancel(JOB)),
        (
            "rescale",
            Record::Rescale(Arc::new(RescaleRecord {
                job: JOB,
                bounds: vec![
                    Bounds::exactly(2),
                    Bounds {
                        lower: 3,
                        upper: 300,
                    },
                ],
            })),
        ),
        (
            "checkpoint_mark",
            Record::CheckpointMark {
                job: JOB,
                next: CHECKPOINT,
            },
        ),
        ("checkpoint", Record::Checkpoint(Arc::new(completed()))),
        (
            "savepoint",
            Record::Savepoint(Arc::new(SavepointRecord {
                job: JOB,
                trigger: TriggerId(5),
                requested: Timestamp(1_700_000_000_000),
                directory: "file:///s".into(),
                after: AfterSavepoint::Drain,
                outcome: Some(SavepointOutcome {
                    at: Timestamp(1_700_000_000_100),
                    result: Ok(CompletedSavepoint {
                        checkpoint: CHECKPOINT,
                        location: "file:///s/1".into(),
                        size: 7,
                    }),
                }),
            })),
        ),
        ("result", Record::Result(Arc::new(result()))),
    ]
}

fn completed() -> CheckpointRecord {
    CheckpointRecord {
        job: JOB,
        id: CHECKPOINT,
        triggered: Timestamp(1_700_000_000_000),
        completed: Timestamp(1_700_000_000_100),
        regions: vec![
            Some(RegionSnapshot {
                checkpoint: CHECKPOINT,
                attempt: Some(ATTEMPT),
                is_final: true,
            }),
            None,
        ],
        inherited: vec![CheckpointId(7), CheckpointId(300)],
        states: vec![
            SubtaskState::Own(states().remove(0)),
            SubtaskState::Given(states()),
        ],
    }
}

fn result() -> JobResult {
    JobResult {
        job: JOB,
        name: "word-count".into(),
        status: JobStatus::Failed,
        started: Timestamp(1_700_000_000_000),
        ended: Timestamp(1_700_000_000_100),
        failure: Some("disk full".into()),
        vertices: vec![VertexResult {
            operator_id: 2,
            name: "count".into(),
            parallelism: 4,
            max_parallelism: 128,
        }],
        completed_checkpoints: 8,
        restarts: 9,
        computation: 10,
        retained: Some(RetainedCheckpoint {
            checkpoint: CHECKPOINT,
            location: "file:///checkpoints/job/chk-7".into(),
            triggered: Timestamp(1_700_000_000_000),
            completed: Timestamp(1_700_000_000_050),
            size: 300,
        }),
    }
}

fn graph() -> JobGraphSpec {
    let vertex = |id: &str, operator: &str| VertexSpec {
        id: id.into(),
        name: None,
        operator: operator.into(),
        parallelism: 2,
        max_parallelism: Some(128),
        slot_sharing_group: None,
        config: "{}".into(),
    };
    let interval = ("execution.checkpointing.interval", "500 ms");
    JobGraphSpec {
        id: JOB,
        name: "word-count".into(),
        vertices: vec![vertex("lines", "file-source"), vertex("out", "file-sink")],
        edges: vec![EdgeSpec {
            source: "lines".into(),
            target: "out".into(),
            partitioning: Partitioning::Hash,
        }],
        configuration: [interval]
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
    }
}

/// A savepoint of which one task had finished before.
pub(crate) fn savepoint() -> Arc<Savepoint> {
    let [state, _] = states().try_into().expect("there are two");
    Arc::new(Savepoint {
        job: JOB,
        checkpoint: CHECKPOINT,
        triggered: Timestamp(1_700_000_000_000),
        operators: vec![OperatorSnapshots {
            operator_id: 5,
            name: "count".into(),
            max_parallelism: 128,
            subtasks: vec![
                SubtaskSnapshot {
                    state: SubtaskState::Own(state),
                    ended: false,
                },
                SubtaskSnapshot {
                    state: SubtaskState::Given(states()),
                    ended: true,
                },
            ],
        }],
    })
}
