//! Any message and any record that the core could make.

use jobmanager_core::config::CheckpointMode;
use jobmanager_core::graph::{
    EdgeSpec, JobEdge, JobGraphSpec, KeyGroupRange, MAX_PARALLELISM, Partitioning, VertexSpec,
};
use jobmanager_core::id::*;
use jobmanager_core::message::*;
use jobmanager_core::record::*;
use jobmanager_core::redistribute::DistributionMode;
use jobmanager_core::savepoint::{OperatorSnapshots, Savepoint, SubtaskSnapshot};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use jobmanager_proto::TaskMetrics;
use jobmanager_proto::limits::*;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn job() -> impl Strategy<Value = JobId> {
    any::<u128>().prop_map(JobId)
}

pub(crate) fn checkpoint() -> impl Strategy<Value = CheckpointId> {
    (1..=MAX_COUNTER).prop_map(CheckpointId)
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn millis(least: u64) -> impl Strategy<Value = Duration> {
    (least..).prop_map(Duration::from_millis)
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let parts = (1..=MAX_COUNTER, 0..=MAX_ATTEMPT_NUMBER);
    parts.prop_map(|(epoch, number)| Attempt {
        epoch: Epoch(epoch),
        number,
    })
}

fn tasks() -> impl Strategy<Value = Vec<TaskId>> {
    vec(task(), 0..5)
}

fn task() -> impl Strategy<Value = TaskId> {
    (0..1_000_u32, 0..32_768_u32).prop_map(|(vertex, subtask)| TaskId {
        vertex: VertexIndex(vertex),
        subtask: SubtaskIndex(subtask),
    })
}

fn attempt_id() -> impl Strategy<Value = AttemptId> {
    (job(), task(), attempt()).prop_map(|(job, task, attempt)| AttemptId { job, task, attempt })
}

fn name() -> impl Strategy<Value = String> {
    "\\PC{1,20}"
}

pub(crate) fn prose() -> impl Strategy<Value = String> {
    ".{0,40}"
}

fn state() -> impl Strategy<Value = StateHandle> {
    let inline = vec(any::<u8>(), 0..20).prop_map(|bytes| {
        let size = bytes.len() as u64;
        (StateLocation::Inline(bytes), size)
    });
    let path = "chk-[0-9]{1,3}/[a-z0-9.-]{3,10}x".prop_map(StateLocation::File);
    let url = "(file|s3)://[a-z/]{1,20}".prop_map(StateLocation::Url);
    let place = prop_oneof![
        inline,
        (path, 0..=MAX_STATE_BYTES),
        (url, 0..=MAX_STATE_BYTES)
    ];
    (place, any::<bool>(), option::of(parts())).prop_map(
        |((location, size), end_of_data, parts)| StateHandle {
            location,
            size,
            end_of_data,
            parts: parts.map(Arc::new),
        },
    )
}

fn parts() -> impl Strategy<Value = StateParts> {
    let range = |first: u32, more: u32| first..first.saturating_add(more);
    let key_groups = (0..1_000_u32, 0..1_000_u32).prop_map(|(first, more)| KeyGroupRange {
        first,
        last: first + more,
    });
    let mode = select(vec![
        DistributionMode::Split,
        DistributionMode::Union,
        DistributionMode::Broadcast,
    ]);
    let lists = btree_map(name(), (mode, any::<u32>(), any::<u32>()), 0..3);
    (option::of(key_groups), lists).prop_map(move |(key_groups, lists)| StateParts {
        key_groups,
        lists: lists
            .into_iter()
            .map(|(name, (mode, first, more))| ListPart {
                name,
                mode,
                partitions: range(first, more),
            })
            .collect(),
    })
}

fn subtask_state() -> impl Strategy<Value = SubtaskState> {
    prop_oneof![
        state().prop_map(SubtaskState::Own),
        vec(state(), 0..4).prop_map(SubtaskState::Given),
    ]
}

fn partitioning() -> impl Strategy<Value = Partitioning> {
    select(
        Partitioning::NAMES
            .map(|(partitioning, _)| partitioning)
            .to_vec(),
    )
}

/// A forward edge needs two vertices of one parallelism.
fn fitting(partitioning: Partitioning, source: u32, target: u32) -> Partitioning {
    if partitioning == Partitioning::Forward && source != target {
        return Partitioning::Rescale;
    }
    partitioning
}

prop_compose! {
    fn vertex()(
        name in prose(), operator_id in any::<u128>(), operator in name(), parallelism in 1..5_u32,
        spare in 0..100_u32, first_slot in 0..4_u32, since in option::of(attempt()),
    ) -> TableVertex {
        let max_parallelism = parallelism + spare;
        let config = "{}".into();
        TableVertex { name, operator_id, operator, config, parallelism, max_parallelism, first_slot, since }
    }
}

prop_compose! {
    fn table()(vertices in vec(vertex(), 1..4), addresses in vec(name(), 0..3))(
        edges in vec((0..vertices.len(), 0..vertices.len(), partitioning()), 0..4),
        // The highest first slot and parallelism of `vertex` need eight slots.
        slots in vec(option::of(0..addresses.len().max(1) as u32), 8..10),
        mode in option::of(select(vec![CheckpointMode::ExactlyOnce, CheckpointMode::AtLeastOnce])),
        name in prose(),
        inline_threshold in any::<u64>(),
        (vertices, addresses) in Just((vertices, addresses)),
    ) -> JobTable {
        let edge = |&(source, target, partitioning): &(usize, usize, Partitioning)| JobEdge {
            source: VertexIndex(source as u32),
            target: VertexIndex(target as u32),
            partitioning: fitting(
                partitioning, vertices[source].parallelism, vertices[target].parallelism,
            ),
        };
        let edges = edges.iter().map(edge).collect();
        let exists = |slot: &u32| (*slot as usize) < addresses.len();
        let slot = |slot: Option<u32>| slot.filter(exists).unwrap_or(JobTable::NOWHERE);
        let slots = slots.into_iter().map(slot).collect();
        let checkpoints = mode.map(|mode| TableCheckpoints { mode, inline_threshold });
        JobTable { name, vertices, edges, slots, addresses, checkpoints }
    }
}

prop_compose! {
    fn deployment()(
        job in job(), attempt in attempt(), table in table(), restore in option::of(checkpoint()),
        tasks in vec(
            (any::<u32>(), any::<u32>(), 0..MAX_SLOTS, any::<bool>(), vec(state(), 0..3)), 0..4,
        ),
        finish in any::<bool>(),
    ) -> Deployment {
        let task = |(vertex, subtask, slot, ended, state): (u32, u32, u32, bool, Vec<StateHandle>)| {
            let vertex = vertex % table.vertices.len() as u32;
            let subtask = subtask % table.vertices[vertex as usize].parallelism;
            TaskDeployment {
                task: TaskId { vertex: VertexIndex(vertex), subtask: SubtaskIndex(subtask) },
                slot: SlotIndex(slot),
                end_of_data: ended && restore.is_some(),
                state: if restore.is_some() { state } else { Vec::new() },
            }
        };
        let tasks = tasks.into_iter().map(task).collect();
        Deployment { job, attempt, table: Arc::new(table), restore, finish, tasks }
    }
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let registration = (millis(1), millis(1), millis(0));
    (millis(1), millis(1), millis(0), registration, "\\PC{0,20}").prop_map(
        |(heartbeat_interval, heartbeat_timeout, grace_period, registration, storage)| Welcome {
            heartbeat_interval,
            heartbeat_timeout,
            grace_period,
            registration_initial: registration.0,
            registration_max: registration.1,
            cancellation_timeout: registration.2,
            checkpoint_storage: storage,
        },
    )
}

pub(crate) fn after_savepoint() -> impl Strategy<Value = AfterSavepoint> {
    select(vec![
        AfterSavepoint::GoOn,
        AfterSavepoint::Suspend,
        AfterSavepoint::Drain,
    ])
}

fn savepoint_order() -> impl Strategy<Value = SavepointOrder> {
    (name(), after_savepoint()).prop_map(|(location, after)| SavepointOrder { location, after })
}

fn to_taskmanager() -> impl Strategy<Value = ToTaskManager> {
    use ToTaskManager::*;
    prop_oneof![
        welcome().prop_map(Welcome),
        (prose(), millis(0)).prop_map(|(reason, retry_after)| Refused(Refusal {
            reason,
            retry_after
        })),
        any::<u64>().prop_map(|sequence| Heartbeat { sequence }),
        deployment().prop_map(Deploy),
        (job(), attempt(), tasks()).prop_map(|(job, attempt, tasks)| Cancel {
            job,
            attempt,
            tasks
        }),
        (
            job(),
            tasks(),
            checkpoint(),
            timestamp(),
            option::of(savepoint_order())
        )
            .prop_map(
                |(job, tasks, checkpoint, timestamp, savepoint)| TriggerCheckpoint {
                    job,
                    tasks,
                    checkpoint,
                    timestamp,
                    savepoint,
                }
            ),
        (job(), tasks(), checkpoint(), any::<bool>()).prop_map(
            |(job, tasks, checkpoint, finish)| NotifyComplete {
                job,
                tasks,
                checkpoint,
                finish,
            }
        ),
        (job(), tasks(), checkpoint()).prop_map(|(job, tasks, checkpoint)| NotifyAborted {
            job,
            tasks,
            checkpoint,
        }),
        (job(), tasks(), option::of(checkpoint()), checkpoint()).prop_map(
            |(job, tasks, completed, aborted_below)| Resume {
                job,
                tasks,
                completed,
                aborted_below
            }
        ),
        job().prop_map(|job| ReleaseJob { job }),
        Just(Dismissed),
    ]
}

pub(crate) fn envelope() -> impl Strategy<Value = Envelope> {
    (1..=MAX_COUNTER, to_taskmanager()).prop_map(|(epoch, message)| Envelope {
        epoch: Epoch(epoch),
        message,
    })
}

prop_compose! {
    pub(crate) fn hello()(slots in 1..=MAX_SLOTS)(
        slots in Just(slots), taskmanager in name(), incarnation in any::<u64>(),
        seen_epoch in 0..=MAX_COUNTER, hellos in any::<u64>(), data_address in name(),
        cpu_cores in any::<u32>(),
        memory in any::<u64>(), operators in btree_set(name(), 0..5),
        inventory in btree_map(attempt_id(), (0..slots, option::of(checkpoint()), any::<bool>(), select(vec![
            ExecutionState::Initializing, ExecutionState::Running, ExecutionState::Canceling,
            ExecutionState::Finished,
        ])), 0..5),
        (jobs, leaves) in (btree_set(any::<u128>(), 0..5), option::of(any::<u64>())),
    ) -> Hello {
        let item = |(attempt, (slot, restored, end_of_data, state))| {
            InventoryItem { attempt, slot: SlotIndex(slot), state, end_of_data, restored }
        };
        Hello {
            taskmanager: TaskManagerId(taskmanager),
            incarnation: Incarnation(incarnation),
            seen_epoch: Epoch(seen_epoch),
            hellos,
            slots,
            data_address,
            hardware: Hardware { cpu_cores, memory },
            operators: operators.into_iter().collect(),
            inventory: inventory.into_iter().map(item).collect(),
            jobs: jobs.into_iter().map(JobId).collect(),
            leaves_within: leaves.map(Duration::from_millis),
        }
    }
}

pub(crate) fn metrics() -> impl Strategy<Value = Vec<TaskMetrics>> {
    let task = (attempt_id(), any::<[u64; 4]>()).prop_map(|(attempt, counts)| {
        let [records_in, records_out, bytes_in, bytes_out] = counts;
        TaskMetrics {
            attempt,
            records_in,
            records_out,
            bytes_in,
            bytes_out,
        }
    });
    vec(task, 0..5)
}

fn change() -> impl Strategy<Value = TaskStateChange> {
    let report = prop_oneof![
        select(vec![
            TaskReport::Initializing,
            TaskReport::Running,
            TaskReport::EndOfData,
            TaskReport::Finished,
            TaskReport::Canceled,
        ]),
        prose().prop_map(|cause| TaskReport::Failed { cause }),
    ];
    (attempt_id(), report).prop_map(|(attempt, report)| TaskStateChange { attempt, report })
}

pub(crate) fn from_taskmanager() -> impl Strategy<Value = FromTaskManager> {
    let reason = select(vec![
        DeclineReason::TaskNotReady,
        DeclineReason::AsyncException,
        DeclineReason::Subsumed,
    ]);
    let acknowledgement = (attempt_id(), checkpoint(), state());
    prop_oneof![
        any::<u64>().prop_map(|sequence| FromTaskManager::Heartbeat { sequence }),
        any::<u64>().prop_map(|within| {
            let within = Duration::from_millis(within);
            FromTaskManager::Leave { within }
        }),
        vec(change(), 0..5).prop_map(FromTaskManager::TaskStates),
        acknowledgement.prop_map(|(attempt, checkpoint, state)| {
            FromTaskManager::Acknowledge(Acknowledgement {
                attempt,
                checkpoint,
                state,
            })
        }),
        (attempt_id(), checkpoint(), reason, prose()).prop_map(
            |(attempt, checkpoint, reason, message)| FromTaskManager::Decline {
                attempt,
                checkpoint,
                reason,
                message,
            }
        ),
    ]
}

prop_compose! {
    pub(crate) fn channel()(
        job in job(), attempt in attempt(), edge in 0..10_000_u32, producer in 0..32_768_u32,
        consumer in 0..32_768_u32,
    ) -> ChannelId {
        let (producer, consumer) = (SubtaskIndex(producer), SubtaskIndex(consumer));
        ChannelId { job, attempt, edge, producer, consumer }
    }
}

prop_compose! {
    /// A JobGraph that is valid: a chain of vertices, so that no edge leads into a source.
    pub(crate) fn graph()(
        job in any::<u128>(), name in "[a-z ]{0,10}[a-z]", vertices in vec(
            ("[a-z]{1,5}", option::of(1..6_u32), 1..6_u32, option::of("[a-z]{1,3}"), partitioning()),
            1..5,
        ),
    ) -> JobGraphSpec {
        let id = |index: usize| format!("v{index}");
        let parallelism = |index: usize| vertices[index].2;
        let edge = |index: usize| EdgeSpec {
            source: id(index),
            target: id(index + 1),
            partitioning: fitting(vertices[index].4, parallelism(index), parallelism(index + 1)),
        };
        let vertex = |index: usize| {
            let (operator, spare, parallelism, group, _) = vertices[index].clone();
            VertexSpec {
                id: id(index),
                name: spare.map(|_| format!("{operator} {index}")),
                operator,
                parallelism,
                max_parallelism: spare.map(|spare| parallelism + spare),
                slot_sharing_group: group,
                config: "{}".into(),
            }
        };
        JobGraphSpec {
            id: JobId(job),
            name,
            vertices: (0..vertices.len()).map(vertex).collect(),
            edges: (0..vertices.len() - 1).map(edge).collect(),
            configuration: [("restart-strategy.type".into(), "none".into())].into(),
        }
    }
}

prop_compose! {
    fn region_snapshot()(
        checkpoint in checkpoint(), attempt in option::of(attempt()), is_final in any::<bool>(),
    ) -> RegionSnapshot {
        RegionSnapshot { checkpoint, attempt, is_final }
    }
}

prop_compose! {
    fn checkpoint_record()(
        job in job(), id in checkpoint(), triggered in timestamp(), completed in timestamp(),
        states in vec(subtask_state(), 0..5), regions in vec(option::of(region_snapshot()), 0..3),
        inherited in vec(checkpoint(), 0..3),
    ) -> CheckpointRecord {
        CheckpointRecord { job, id, triggered, completed, regions, inherited, states }
    }
}

prop_compose! {
    fn operator_snapshots()(
        operator_id in any::<u128>(), name in prose(), max_parallelism in 1..=MAX_PARALLELISM,
        subtasks in vec((subtask_state(), any::<bool>()), 1..4),
    ) -> OperatorSnapshots {
        let subtasks = subtasks.into_iter().map(|(state, ended)| SubtaskSnapshot { state, ended });
        OperatorSnapshots { operator_id, name, max_parallelism, subtasks: subtasks.collect() }
    }
}

prop_compose! {
    pub(crate) fn savepoint()(
        job in job(), checkpoint in checkpoint(), triggered in timestamp(),
        operators in vec(operator_snapshots(), 0..3),
    ) -> Savepoint {
        Savepoint { job, checkpoint, triggered, operators }
    }
}

pub(crate) fn trigger() -> impl Strategy<Value = TriggerId> {
    any::<u128>().prop_map(TriggerId)
}

fn savepoint_outcome() -> impl Strategy<Value = SavepointOutcome> {
    let completed = (checkpoint(), name(), any::<u64>());
    let completed = completed.prop_map(|(checkpoint, location, size)| {
        Ok(CompletedSavepoint {
            checkpoint,
            location,
            size,
        })
    });
    let result = prop_oneof![completed, prose().prop_map(Err)];
    (timestamp(), result).prop_map(|(at, result)| SavepointOutcome { at, result })
}

prop_compose! {
    fn savepoint_record()(
        job in job(), trigger in trigger(), requested in timestamp(), directory in name(),
        after in after_savepoint(), outcome in option::of(savepoint_outcome()),
    ) -> SavepointRecord {
        SavepointRecord { job, trigger, requested, directory, after, outcome }
    }
}

prop_compose! {
    fn retained()(
        checkpoint in checkpoint(), location in name(), triggered in timestamp(), completed in timestamp(),
        size in any::<u64>(),
    ) -> RetainedCheckpoint {
        RetainedCheckpoint { checkpoint, location, triggered, completed, size }
    }
}

prop_compose! {
    fn result()(
        job in job(), name in prose(), started in timestamp(), ended in timestamp(),
        status in select(vec![JobStatus::Failed, JobStatus::Canceled, JobStatus::Finished]),
        failure in option::of(prose()), vertices in vec(vertex(), 0..4),
        completed_checkpoints in any::<u64>(), restarts in any::<u64>(),
        computation in any::<u64>(), retained in option::of(retained()),
    ) -> JobResult {
        let vertex = |vertex: TableVertex| VertexResult {
            operator_id: vertex.operator_id,
            name: vertex.name,
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
        };
        let vertices = vertices.into_iter().map(vertex).collect();
        JobResult {
            job, name, status, started, ended, failure, vertices, completed_checkpoints, restarts,
            computation, retained,
        }
    }
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (1..=MAX_PARALLELISM, 1..=MAX_PARALLELISM).prop_map(|(one, other)| Bounds {
        lower: one.min(other),
        upper: one.max(other),
    })
}

pub(crate) fn scale() -> impl Strategy<Value = Scale> {
    vec((1..=MAX_PARALLELISM, option::of(attempt())), 0..4).prop_map(|vertices| {
        let (parallelism, since) = vertices.into_iter().unzip();
        Scale { parallelism, since }
    })
}

/// Every record but those of jobs.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        job().prop_map(Record::Cancel),
        (job(), vec(bounds(), 0..4))
            .prop_map(|(job, bounds)| { Record::Rescale(Arc::new(RescaleRecord { job, bounds })) }),
        (job(), checkpoint()).prop_map(|(job, next)| Record::CheckpointMark { job, next }),
        checkpoint_record().prop_map(|record| Record::Checkpoint(Arc::new(record))),
        savepoint_record().prop_map(|record| Record::Savepoint(Arc::new(record))),
        result().prop_map(|result| Record::Result(Arc::new(result))),
    ]
}

pub(crate) fn key() -> impl Strategy<Value = RecordKey> {
    prop_oneof![
        job().prop_map(RecordKey::Job),
        job().prop_map(RecordKey::Cancel),
        job().prop_map(RecordKey::Rescale),
        job().prop_map(RecordKey::CheckpointMark),
        (job(), checkpoint()).prop_map(|(job, id)| RecordKey::Checkpoint(job, id)),
        (job(), trigger()).prop_map(|(job, trigger)| RecordKey::Savepoint(job, trigger)),
        job().prop_map(RecordKey::Result),
    ]
}

/// The records of a frame: key, value, time.
pub(crate) fn frame() -> impl Strategy<Value = Vec<(Option<Vec<u8>>, Vec<u8>, i64)>> {
    let bytes = || vec(any::<u8>(), 0..200);
    vec((option::of(bytes()), bytes(), any::<i64>()), 0..10)
}
