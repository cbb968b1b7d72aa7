//! Every rule of the `.proto` files, broken once: the refusal names the field.

use crate::examples;
use jobmanager_core::id::Epoch;
use jobmanager_core::message::{ChannelId, Envelope};
use jobmanager_core::record::Record;
use jobmanager_proto::limits::*;
use jobmanager_proto::v1::{self, state_handle::Location};
use jobmanager_proto::{BadMessage, Problem, Received, WireError, decode_record, subscribe};

type Breaks<T> = (&'static str, fn(&mut T));

/// Applies each break to a fresh example and looks at what the conversion makes of it.
fn each_is_named<T: Clone>(
    example: T,
    breaks: &[Breaks<T>],
    convert: impl Fn(T) -> Result<(), WireError>,
) {
    assert_eq!(convert(example.clone()), Ok(()), "the example is right");
    for (index, (field, break_it)) in breaks.iter().enumerate() {
        let mut broken = example.clone();
        break_it(&mut broken);
        match convert(broken) {
            Err(WireError::Bad(bad)) => assert_eq!(bad.field, *field, "break {index}: {bad}"),
            other => panic!("break {index} of {field} is taken: {other:?}"),
        }
    }
}

fn envelope(message: v1::to_task_manager::Message) -> Result<(), WireError> {
    let message = Some(message);
    Envelope::try_from(v1::ToTaskManager { epoch: 7, message }).map(drop)
}

fn received(message: v1::from_task_manager::Message) -> Result<(), WireError> {
    let message = Some(message);
    Received::try_from(v1::FromTaskManager { message }).map(drop)
}

/// The generated form of the example of this name.
fn to_taskmanager(wanted: &str) -> v1::to_task_manager::Message {
    let examples = examples::to_taskmanager();
    let found = examples.into_iter().find(|(name, _)| *name == wanted);
    found.unwrap().1.into()
}

fn uuid() -> Option<v1::Uuid> {
    Some(examples::JOB.into())
}

fn table(deploy: &mut v1::Deploy) -> &mut v1::JobTable {
    deploy.table.as_mut().unwrap()
}

fn attempt(id: &mut Option<v1::AttemptId>) -> &mut v1::AttemptId {
    id.as_mut().unwrap()
}

const DEPLOY: &[Breaks<v1::Deploy>] = &[
    ("deploy.job", |d| d.job = None),
    ("deploy.attempt", |d| d.attempt = None),
    ("deploy.attempt", |d| d.attempt.as_mut().unwrap().epoch = 0),
    ("deploy.attempt", |d| {
        d.attempt.as_mut().unwrap().number = u32::MAX;
    }),
    ("deploy.restore_checkpoint", |d| {
        d.restore_checkpoint = u64::MAX;
    }),
    ("deploy.tasks.state", |d| d.restore_checkpoint = 0),
    ("deploy.tasks.task", |d| d.tasks[0].task = None),
    ("deploy.tasks.task.vertex", |d| {
        d.tasks[0].task.as_mut().unwrap().vertex = 2;
    }),
    ("deploy.tasks.task.subtask", |d| {
        d.tasks[0].task.as_mut().unwrap().subtask = 4;
    }),
    ("deploy.tasks.slot", |d| d.tasks[0].slot = MAX_SLOTS),
    ("deploy.tasks.state", |d| {
        d.tasks[0].state[0].location = None
    }),
    ("deploy.tasks.state", |d| d.tasks[0].state[0].size = 4),
    ("deploy.tasks.state", |d| parts(d).lists.reverse()),
    ("deploy.tasks.state", |d| parts(d).lists[0].first = 4),
    ("deploy.tasks.state", |d| parts(d).lists[0].mode = 0),
    ("deploy.tasks.state", |d| parts(d).lists[0].name.clear()),
    ("deploy.tasks.state", |d| {
        parts(d).key_groups.as_mut().unwrap().first = 64;
    }),
    ("deploy.tasks.state", |d| {
        parts(d).key_groups.as_mut().unwrap().last = 1 << 15;
    }),
    ("deploy.tasks.state", |d| {
        d.tasks[0].state.clear();
        d.restore_checkpoint = 0;
    }),
];

/// What the snapshot of the example's task can be divided into.
fn parts(deploy: &mut v1::Deploy) -> &mut v1::StateParts {
    deploy.tasks[0].state[1].parts.as_mut().unwrap()
}

const TABLE: &[Breaks<v1::Deploy>] = &[
    ("deploy.table", |d| d.table = None),
    ("deploy.table.slots", |d| table(d).slots[0] = 2),
    ("deploy.table.addresses", |d| {
        table(d).addresses[0] = "a\n".into();
    }),
    ("deploy.table.checkpoints.mode", |d| {
        table(d).checkpoints.as_mut().unwrap().mode = 0;
    }),
    ("deploy.table.vertices", |d| {
        let vertex = table(d).vertices[0].clone();
        table(d).vertices = vec![vertex; 1_001];
    }),
    ("deploy.table.vertices.operator_id", |d| {
        table(d).vertices[0].operator_id = None;
    }),
    ("deploy.table.vertices.parallelism", |d| {
        table(d).vertices[0].parallelism = 0;
    }),
    ("deploy.table.vertices.parallelism", |d| {
        table(d).vertices[0].parallelism = 129;
    }),
    ("deploy.table.vertices.max_parallelism", |d| {
        table(d).vertices[0].max_parallelism = 32_769;
    }),
    ("deploy.table.vertices.since", |d| {
        table(d).vertices[0].since.as_mut().unwrap().number = u32::MAX;
    }),
    ("deploy.table.vertices.first_slot", |d| {
        table(d).vertices[1].first_slot = 1;
    }),
    ("deploy.table.vertices.first_slot", |d| {
        table(d).vertices[1].first_slot = u32::MAX;
    }),
    ("deploy.table.vertices.first_slot", |d| {
        table(d).slots.clear();
    }),
    ("deploy.table.edges", |d| {
        table(d).edges = vec![table(d).edges[0]; 10_001];
    }),
    ("deploy.table.edges.source", |d| {
        table(d).edges[0].source = 2
    }),
    ("deploy.table.edges.target", |d| {
        table(d).edges[0].target = u32::MAX;
    }),
    ("deploy.table.edges.partitioning", |d| {
        table(d).edges[0].partitioning = 0;
    }),
    ("deploy.table.edges.partitioning", |d| {
        table(d).edges[0].partitioning = 7;
    }),
    ("deploy.table.edges.partitioning", |d| {
        table(d).edges[0].partitioning = v1::Partitioning::Forward.into();
    }),
];

#[test]
fn deployments() {
    use v1::to_task_manager::Message::Deploy;
    let Deploy(example) = to_taskmanager("deploy") else {
        panic!("another example");
    };
    for breaks in [DEPLOY, TABLE] {
        each_is_named(example.clone(), breaks, |deploy| envelope(Deploy(deploy)));
    }
}

#[test]
fn other_messages_to_a_taskmanager() {
    use v1::to_task_manager::Message::*;
    let welcome: &[Breaks<v1::Welcome>] = &[
        ("welcome.heartbeat_interval_ms", |w| {
            w.heartbeat_interval_ms = 0;
        }),
        ("welcome.heartbeat_timeout_ms", |w| {
            w.heartbeat_timeout_ms = 0
        }),
        ("welcome.checkpoint_storage", |w| {
            w.checkpoint_storage = "\0".into();
        }),
    ];
    let Welcome(example) = to_taskmanager("welcome") else {
        panic!("another example");
    };
    each_is_named(example, welcome, |wire| envelope(Welcome(wire)));

    let cancel: &[Breaks<v1::Cancel>] = &[
        ("cancel.job", |c| c.job = None),
        ("cancel.attempt", |c| c.attempt = None),
        ("cancel.tasks", |c| c.tasks[0].vertex = 1_000),
        ("cancel.tasks", |c| c.tasks[0].subtask = 32_768),
    ];
    let Cancel(example) = to_taskmanager("cancel") else {
        panic!("another example");
    };
    each_is_named(example, cancel, |wire| envelope(Cancel(wire)));

    let resume: &[Breaks<v1::Resume>] = &[
        ("resume.job", |r| r.job = None),
        ("resume.completed", |r| r.completed = u64::MAX),
        ("resume.aborted_below", |r| r.aborted_below = 0),
        ("resume.tasks", |r| r.tasks[0].vertex = 1_000),
    ];
    let Resume(example) = to_taskmanager("resume") else {
        panic!("another example");
    };
    each_is_named(example, resume, |wire| envelope(Resume(wire)));
}

#[test]
fn messages_to_a_taskmanager_about_one_checkpoint() {
    use v1::to_task_manager::Message::*;
    let messages = [
        (
            "trigger_checkpoint.job",
            TriggerCheckpoint(v1::TriggerCheckpoint::default()),
        ),
        (
            "notify_complete.job",
            NotifyComplete(v1::NotifyComplete::default()),
        ),
        (
            "notify_aborted.job",
            NotifyAborted(v1::NotifyAborted::default()),
        ),
        ("release_job.job", ReleaseJob(v1::ReleaseJob::default())),
        (
            "savepoint.location",
            TriggerCheckpoint(v1::TriggerCheckpoint {
                job: uuid(),
                checkpoint: 1,
                savepoint: Some(v1::SavepointOrder {
                    location: String::new(),
                    after: 1,
                }),
                ..Default::default()
            }),
        ),
        (
            "savepoint.after",
            TriggerCheckpoint(v1::TriggerCheckpoint {
                job: uuid(),
                checkpoint: 1,
                savepoint: Some(v1::SavepointOrder {
                    location: "file:///s".into(),
                    after: 0,
                }),
                ..Default::default()
            }),
        ),
        (
            "trigger_checkpoint.checkpoint",
            TriggerCheckpoint(v1::TriggerCheckpoint {
                job: uuid(),
                ..Default::default()
            }),
        ),
        (
            "notify_complete.checkpoint",
            NotifyComplete(v1::NotifyComplete {
                job: uuid(),
                ..Default::default()
            }),
        ),
        (
            "notify_aborted.checkpoint",
            NotifyAborted(v1::NotifyAborted {
                job: uuid(),
                ..Default::default()
            }),
        ),
    ];
    for (field, message) in messages {
        match envelope(message) {
            Err(WireError::Bad(bad)) => assert_eq!(bad.field, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn only_a_refusal_comes_from_nobody_in_particular() {
    for (name, message) in examples::to_taskmanager() {
        let wire = v1::ToTaskManager::from(Envelope {
            epoch: Epoch(0),
            message,
        });
        let taken = Envelope::try_from(wire).is_ok();
        assert_eq!(taken, name == "refused", "{name}");
    }
}

#[test]
fn hellos() {
    let breaks: &[Breaks<v1::Hello>] = &[
        ("hello.protocol_version", |h| h.protocol_version = 0),
        ("hello.protocol_version", |h| h.protocol_version = 3),
        ("hello.taskmanager", |h| h.taskmanager.clear()),
        ("hello.taskmanager", |h| h.taskmanager = "ü".repeat(201)),
        ("hello.taskmanager", |h| h.taskmanager = "tm\u{1b}".into()),
        ("hello.seen_epoch", |h| h.seen_epoch = u64::MAX),
        ("hello.slots", |h| h.slots = 0),
        ("hello.slots", |h| h.slots = MAX_SLOTS + 1),
        ("hello.data_address", |h| h.data_address.clear()),
        ("hello.data_address", |h| h.data_address = "a\r:1".into()),
        ("hello.data_address", |h| {
            h.data_address = "a".repeat(MAX_PATH + 1);
        }),
        ("hello.operators", |h| h.operators.push(String::new())),
        ("hello.operators", |h| {
            h.operators = vec!["a".into(); MAX_OPERATORS + 1];
        }),
        ("hello.inventory", |h| {
            h.inventory = vec![h.inventory[0]; MAX_ATTEMPTS + 1];
        }),
        ("hello.inventory.attempt", |h| {
            h.inventory.push(h.inventory[0])
        }),
        ("hello.inventory.attempt", |h| h.inventory[0].attempt = None),
        ("hello.inventory.attempt", |h| {
            attempt(&mut h.inventory[0].attempt).job = None;
        }),
        ("hello.inventory.attempt", |h| {
            attempt(&mut h.inventory[0].attempt).task = None;
        }),
        ("hello.inventory.attempt", |h| {
            attempt(&mut h.inventory[0].attempt).attempt = None;
        }),
        ("hello.inventory.slot", |h| h.inventory[0].slot = 4),
        ("hello.inventory.state", |h| h.inventory[0].state = 0),
        ("hello.inventory.state", |h| h.inventory[0].state = 5),
    ];
    use v1::from_task_manager::Message::Hello;
    let example = v1::Hello::from(&examples::hello());
    each_is_named(example, breaks, |hello| received(Hello(hello)));
}

#[test]
fn what_is_just_within_the_limits_is_taken() {
    let mut wire = v1::Hello::from(&examples::hello());
    wire.protocol_version = 2;
    wire.taskmanager = "ü".repeat(MAX_NAME);
    wire.seen_epoch = MAX_COUNTER;
    wire.slots = MAX_SLOTS;
    wire.data_address = "a".repeat(MAX_PATH);
    wire.operators = vec!["a".into(); MAX_OPERATORS];
    wire.inventory[0].slot = MAX_SLOTS - 1;
    let task = attempt(&mut wire.inventory[0].attempt).task.as_mut();
    *task.unwrap() = v1::TaskId {
        vertex: 999,
        subtask: 32_767,
    };
    let hello = v1::from_task_manager::Message::Hello(wire);
    assert_eq!(received(hello), Ok(()));
}

#[test]
fn operators_are_sorted_and_each_is_there_once() {
    let mut wire = v1::Hello::from(&examples::hello());
    wire.operators = ["b", "a", "b"].map(String::from).into();
    let hello: jobmanager_core::message::Hello = wire.try_into().unwrap();
    assert_eq!(hello.operators, ["a", "b"]);
}

#[test]
fn reports() {
    use v1::from_task_manager::Message::*;
    let [_, (_, states), (_, acknowledge), (_, decline), _] =
        examples::from_taskmanager().try_into().unwrap();
    let wire = |message| v1::FromTaskManager::from(&message).message.unwrap();

    let breaks: &[Breaks<v1::TaskStates>] = &[
        ("task_states.changes.attempt", |s| {
            s.changes[0].attempt = None
        }),
        ("task_states.changes.report", |s| s.changes[0].report = 0),
        ("task_states.changes.report", |s| s.changes[1].report = -1),
    ];
    let TaskStates(example) = wire(states) else {
        panic!("another example");
    };
    each_is_named(example, breaks, |wire| received(TaskStates(wire)));

    let breaks: &[Breaks<v1::Acknowledge>] = &[
        ("acknowledge.attempt", |a| a.attempt = None),
        ("acknowledge.checkpoint", |a| a.checkpoint = 0),
        ("acknowledge.state", |a| a.state = None),
        ("acknowledge.state", |a| a.state.as_mut().unwrap().size = 0),
    ];
    let Acknowledge(example) = wire(acknowledge) else {
        panic!("another example");
    };
    each_is_named(example, breaks, |wire| received(Acknowledge(wire)));

    let breaks: &[Breaks<v1::Decline>] = &[
        ("decline.attempt", |d| d.attempt = None),
        ("decline.checkpoint", |d| d.checkpoint = u64::MAX),
        ("decline.reason", |d| d.reason = 0),
        ("decline.reason", |d| d.reason = 4),
    ];
    let Decline(example) = wire(decline) else {
        panic!("another example");
    };
    each_is_named(example, breaks, |wire| received(Decline(wire)));

    let metrics = v1::FromTaskManager::from(&examples::metrics()[..]);
    let breaks: &[Breaks<v1::Metrics>] =
        &[("metrics.tasks.attempt", |m| m.tasks[0].attempt = None)];
    let Metrics(example) = metrics.message.unwrap() else {
        panic!("another example");
    };
    each_is_named(example, breaks, |wire| received(Metrics(wire)));
}

#[test]
fn a_snapshot_cannot_be_outside_its_jobs_folder() {
    use v1::from_task_manager::Message::Acknowledge;
    let acknowledge = |path: &str, size| {
        let [_, _, (_, example), _, _] = examples::from_taskmanager().try_into().unwrap();
        let wire = v1::FromTaskManager::from(&example).message.unwrap();
        let Acknowledge(mut wire) = wire else {
            panic!("another example");
        };
        let location = Some(Location::File(path.into()));
        wire.state = Some(v1::StateHandle {
            location,
            size,
            ..v1::StateHandle::default()
        });
        received(Acknowledge(wire))
    };
    assert_eq!(acknowledge("chk-1/a..b", 1), Ok(()));
    for path in [
        "", "/etc", "../x", "chk-1/..", "chk-1//a", "./a", "a/", "a\\..\\b",
    ] {
        let bad = BadMessage {
            field: "acknowledge.state",
            problem: Problem::NotAPath,
        };
        assert_eq!(acknowledge(path, 1), Err(bad.into()), "{path}");
    }
    assert!(acknowledge("chk-1/a", MAX_STATE_BYTES).is_ok());
    assert!(acknowledge("chk-1/a", MAX_STATE_BYTES + 1).is_err());
}

#[test]
fn channels() {
    let breaks: &[Breaks<v1::Subscribe>] = &[
        ("subscribe.job", |s| s.job = None),
        ("subscribe.attempt", |s| s.attempt = None),
        ("subscribe.edge", |s| s.edge = 10_000),
        ("subscribe.producer", |s| s.producer = 32_768),
        ("subscribe.consumer", |s| s.consumer = u32::MAX),
    ];
    let example = subscribe(&examples::channel(), 1, 2);
    each_is_named(example, breaks, |wire| {
        Ok(ChannelId::try_from(&wire).map(drop)?)
    });
}

const SAVEPOINT: &[Breaks<v1::SavepointRecord>] = &[
    ("savepoint.job", |s| s.job = None),
    ("savepoint.trigger", |s| s.trigger = None),
    ("savepoint.directory", |s| s.directory.clear()),
    ("savepoint.after", |s| s.after = 0),
];

const RESULT: &[Breaks<v1::JobResult>] = &[
    ("result.job", |r| r.job = None),
    ("result.status", |r| r.status = 0),
    ("result.vertices.operator_id", |r| {
        r.vertices[0].operator_id = None
    }),
    ("result.vertices.parallelism", |r| {
        r.vertices[0].parallelism = 0
    }),
    ("result.vertices.max_parallelism", |r| {
        r.vertices[0].max_parallelism = 0
    }),
];

const JOB: &[Breaks<v1::JobRecord>] = &[
    ("job.graph", |j| j.graph = None),
    ("job.scale.parallelism", |j| {
        j.scale.as_mut().unwrap().vertices[0].parallelism = 0;
    }),
    ("job.scale.since", |j| {
        j.scale.as_mut().unwrap().vertices[0]
            .since
            .as_mut()
            .unwrap()
            .number = u32::MAX;
    }),
    ("job.graph", |j| j.graph.as_mut().unwrap().vertices.clear()),
    ("job.graph", |j| {
        j.graph.as_mut().unwrap().edges[0].target = "lines".into()
    }),
    ("job.graph.id", |j| j.graph.as_mut().unwrap().id = None),
    ("job.graph.edges.partitioning", |j| {
        j.graph.as_mut().unwrap().edges[0].partitioning = 0;
    }),
];

const COMPLETED: &[Breaks<v1::CheckpointRecord>] = &[
    ("checkpoint.job", |c| c.job = None),
    ("checkpoint.id", |c| c.id = 0),
    ("checkpoint.inherited", |c| c.inherited[0] = 0),
    ("checkpoint.states", |c| {
        c.states[0].handles[0].location = None
    }),
    ("checkpoint.states", |c| c.states[0].handles.clear()),
    ("checkpoint.states", |c| c.states[1].own = true),
    ("checkpoint.regions.attempt", |c| {
        c.regions[0].attempt.as_mut().unwrap().epoch = 0;
    }),
];

#[test]
fn records() {
    use v1::record::Record as Wire;
    let convert = |wire: Wire| -> Result<(), WireError> {
        let record = Some(wire);
        Ok(Record::try_from(v1::Record { record }).map(drop)?)
    };
    let examples = examples::records().into_iter();
    let examples = examples.map(|(_, record)| v1::Record::from(&record).record.unwrap());
    let examples: Vec<_> = examples.collect();
    let [job, _, rescale, mark, checkpoint, savepoint, result] = examples.try_into().unwrap();

    let breaks: &[Breaks<v1::RescaleRecord>] = &[
        ("rescale.job", |r| r.job = None),
        ("rescale.bounds.lower", |r| r.bounds[0].lower = 0),
        ("rescale.bounds.lower", |r| r.bounds[1].lower = 301),
        ("rescale.bounds.upper", |r| r.bounds[1].upper = 1 << 16),
    ];
    let Wire::Rescale(example) = rescale else {
        panic!("another example");
    };
    each_is_named(example, breaks, |wire| convert(Wire::Rescale(wire)));

    let Wire::Job(example) = job else {
        panic!("another example");
    };
    each_is_named(example, JOB, |wire| convert(Wire::Job(wire)));

    let breaks: &[Breaks<v1::CheckpointMark>] = &[
        ("checkpoint_mark.job", |m| m.job = None),
        ("checkpoint_mark.next", |m| m.next = 0),
    ];
    let Wire::CheckpointMark(example) = mark else {
        panic!("another example");
    };
    each_is_named(example, breaks, |wire| convert(Wire::CheckpointMark(wire)));

    let Wire::Checkpoint(example) = checkpoint else {
        panic!("another example");
    };
    each_is_named(example, COMPLETED, |wire| convert(Wire::Checkpoint(wire)));

    let Wire::Savepoint(example) = savepoint else {
        panic!("another example");
    };
    each_is_named(example, SAVEPOINT, |wire| convert(Wire::Savepoint(wire)));

    let Wire::Result(example) = result else {
        panic!("another example");
    };
    each_is_named(example, RESULT, |wire| convert(Wire::Result(wire)));
}

#[test]
fn a_record_that_is_empty_or_garbage_is_named() {
    let problem = |bytes: &[u8]| {
        let bad = decode_record(bytes).unwrap_err();
        assert_eq!(bad.field, "record");
        bad.problem
    };
    assert_eq!(problem(b""), Problem::Missing);
    assert!(matches!(problem(b"garbage"), Problem::NotProtobuf(_)));
}
