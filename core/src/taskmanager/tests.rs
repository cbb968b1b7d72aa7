//! What a worker promises, one promise a test.

use super::*;
use crate::graph::{JobEdge, Partitioning};
use crate::id::{
    Attempt, AttemptId, CheckpointId, Epoch, Incarnation, JobId, SlotIndex, SubtaskIndex, TaskId,
    TaskManagerId, VertexIndex,
};
use crate::message::{
    Deployment, Envelope, FromTaskManager, Hardware, JobTable, Refusal, StateHandle, TableVertex,
    TaskDeployment, TaskReport, ToTaskManager, Welcome,
};
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use std::vec;

const JOB: JobId = JobId(1);
const SOURCE: TaskId = TaskId {
    vertex: VertexIndex(0),
    subtask: SubtaskIndex(0),
};

fn attempt(number: u32) -> AttemptId {
    let attempt = Attempt {
        epoch: Epoch(1),
        number,
    };
    AttemptId {
        job: JOB,
        task: SOURCE,
        attempt,
    }
}

/// A worker that is registered with a JobManager of epoch 1, and what it orders.
struct Scene {
    worker: Worker,
    now: Timestamp,
}

impl Scene {
    fn registered() -> Self {
        let config = WorkerConfig {
            taskmanager: TaskManagerId("a".into()),
            incarnation: Incarnation(1),
            slots: 1,
            data_address: "a:1".into(),
            hardware: Hardware::default(),
            operators: vec!["source".into()],
            registration_initial: Duration::from_millis(100),
            registration_max: Duration::from_secs(1),
        };
        let now = Timestamp(0);
        let worker = Worker::new(config, now);
        let mut scene = Scene { worker, now };
        assert_eq!(scene.step(Input::Wake), [Effect::Connect]);
        scene.step(Input::Connected);
        scene.told(Scene::welcome());
        scene
    }

    fn welcome() -> ToTaskManager {
        ToTaskManager::Welcome(Welcome {
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(50),
            grace_period: Duration::from_secs(60),
            cancellation_timeout: Duration::from_secs(20),
            registration_initial: Duration::from_millis(100),
            registration_max: Duration::from_secs(1),
            checkpoint_storage: "file:///c".into(),
        })
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.worker.step(self.now, input, &mut effects);
        effects
    }

    fn told_by(&mut self, epoch: u64, message: ToTaskManager) -> Vec<Effect> {
        let epoch = Epoch(epoch);
        self.step(Input::Message(Envelope { epoch, message }))
    }

    fn told(&mut self, message: ToTaskManager) -> Vec<Effect> {
        self.told_by(1, message)
    }

    fn task(&mut self, number: u32, event: TaskEvent) -> Vec<Effect> {
        let attempt = attempt(number);
        self.step(Input::Task { attempt, event })
    }

    /// A source and a sink; the source is for this worker.
    fn deploy(&mut self, number: u32) -> Vec<Effect> {
        let vertex = |name: &str| TableVertex {
            name: name.into(),
            operator_id: 1,
            operator: name.into(),
            config: "{}".into(),
            parallelism: 1,
            max_parallelism: 128,
            first_slot: 0,
            since: None,
        };
        let edge = JobEdge {
            source: VertexIndex(0),
            target: VertexIndex(1),
            partitioning: Partitioning::Forward,
        };
        let table = JobTable {
            name: "job".into(),
            vertices: vec![vertex("source"), vertex("sink")],
            edges: vec![edge],
            slots: vec![0],
            addresses: vec!["a:1".into()],
            checkpoints: None,
        };
        let task = TaskDeployment {
            task: SOURCE,
            slot: SlotIndex(0),
            end_of_data: false,
            state: Vec::new(),
        };
        self.told(ToTaskManager::Deploy(Deployment {
            job: JOB,
            attempt: attempt(number).attempt,
            table: Arc::new(table),
            restore: None,
            finish: false,
            tasks: vec![task],
        }))
    }

    fn snapshot(&mut self, number: u32, checkpoint: u64) {
        let event = TaskEvent::Snapshotted {
            checkpoint: CheckpointId(checkpoint),
            state: StateHandle {
                end_of_data: true,
                ..StateHandle::nothing()
            },
        };
        self.task(number, event);
    }

    fn complete(&mut self, checkpoint: u64, finish: bool) -> Vec<Effect> {
        self.told(ToTaskManager::NotifyComplete {
            job: JOB,
            tasks: Vec::new(),
            checkpoint: CheckpointId(checkpoint),
            finish,
        })
    }

    fn cancel(&mut self, number: u32) -> Vec<Effect> {
        self.told(ToTaskManager::Cancel {
            job: JOB,
            attempt: attempt(number).attempt,
            tasks: vec![SOURCE],
        })
    }
}

fn completions(effects: &[Effect]) -> usize {
    let told = |effect: &&Effect| matches!(effect, Effect::Complete { .. });
    effects.iter().filter(told).count()
}

#[test]
fn a_message_of_an_old_epoch_changes_nothing() {
    let mut scene = Scene::registered();
    scene.told_by(2, ToTaskManager::Heartbeat { sequence: 1 });
    let before = scene.worker.digest();
    assert_eq!(scene.deploy(0), []);
    assert_eq!(scene.worker.digest(), before);
}

#[test]
fn a_refusal_counts_whatever_its_epoch() {
    let mut scene = Scene::registered();
    scene.told_by(5, ToTaskManager::Heartbeat { sequence: 1 });
    let refusal = Refusal {
        reason: "not your leader".into(),
        retry_after: Duration::from_secs(3),
    };
    let effects = scene.told_by(1, ToTaskManager::Refused(refusal));
    assert_eq!(effects, [Effect::Close]);
    assert_eq!(scene.worker.next_deadline(), Some(Timestamp(3_000)));
}

#[test]
fn a_repeated_deployment_starts_nothing() {
    let mut scene = Scene::registered();
    let starts = |effects: Vec<Effect>| {
        effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Start(_)))
            .count()
    };
    assert_eq!(starts(scene.deploy(0)), 1);
    assert_eq!(starts(scene.deploy(0)), 0);
}

#[test]
fn a_repeated_trigger_snapshots_once() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.task(0, TaskEvent::Running);
    let mut trigger = |checkpoint| {
        scene.told(ToTaskManager::TriggerCheckpoint {
            job: JOB,
            tasks: Vec::new(),
            checkpoint: CheckpointId(checkpoint),
            timestamp: Timestamp(0),
            savepoint: None,
        })
    };
    assert!(matches!(trigger(1)[..], [Effect::Trigger { .. }]));
    assert_eq!(trigger(1), [], "it has been taken");
    assert!(matches!(trigger(2)[..], [Effect::Trigger { .. }]));
    assert_eq!(trigger(1), [], "its barrier would come after a later one");
}

#[test]
fn only_an_attempt_that_took_part_in_a_checkpoint_is_told_that_it_is_complete() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.task(0, TaskEvent::Running);
    assert_eq!(completions(&scene.complete(1, false)), 0);
    scene.snapshot(0, 2);
    assert_eq!(completions(&scene.complete(2, false)), 1);
}

#[test]
fn a_complete_checkpoint_may_be_told_again_to_finish() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.task(0, TaskEvent::Running);
    scene.snapshot(0, 1);
    assert_eq!(completions(&scene.complete(1, false)), 1);
    let finish = scene.complete(1, true);
    assert!(
        matches!(finish[..], [Effect::Complete { finish: true, .. }]),
        "{finish:?}"
    );
}

#[test]
fn a_later_attempt_stops_the_earlier_one_which_never_comes_back() {
    let mut scene = Scene::registered();
    scene.deploy(1);
    assert!(scene.deploy(2).contains(&Effect::Cancel(attempt(1))));
    let effects = scene.deploy(0);
    let [Effect::Send(FromTaskManager::TaskStates(changes))] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(changes[0].report, TaskReport::Canceled);
}

#[test]
fn a_failure_that_nobody_could_be_told_about_is_told_later_with_its_cause() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.step(Input::Disconnected);
    let cause = "disk full";
    assert_eq!(
        scene.task(
            0,
            TaskEvent::Failed {
                cause: cause.into()
            }
        ),
        []
    );
    scene.now = Timestamp(100);
    assert_eq!(scene.step(Input::Wake), [Effect::Connect]);
    scene.step(Input::Connected);
    let effects = scene.told(Scene::welcome());
    let [Effect::Send(FromTaskManager::TaskStates(changes))] = &effects[..] else {
        panic!("{effects:?}");
    };
    let report = TaskReport::Failed {
        cause: cause.into(),
    };
    assert_eq!(
        (changes[0].attempt, &changes[0].report),
        (attempt(0), &report)
    );
}

#[test]
fn a_task_that_does_not_stop_ends_its_process() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.cancel(0);
    assert_eq!(scene.worker.next_deadline(), Some(Timestamp(20_000)));
    scene.now = Timestamp(20_000);
    assert_eq!(scene.step(Input::Wake), [Effect::GiveUp(attempt(0))]);
    assert_ne!(scene.worker.next_deadline(), Some(Timestamp(20_000)));
}

#[test]
fn a_task_that_stops_in_time_ends_nothing() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.cancel(0);
    scene.task(0, TaskEvent::Canceled);
    assert_eq!(scene.worker.next_deadline(), Some(Timestamp(50_000)));
}

#[test]
fn without_a_jobmanager_tasks_go_on_for_the_grace_period_and_then_stop() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.task(0, TaskEvent::Running);
    scene.step(Input::Disconnected);
    let state = |scene: &Scene| scene.worker.attempts().next().map(|(_, _, state)| state);
    scene.now = Timestamp(59_999);
    scene.step(Input::Wake);
    assert_eq!(state(&scene), Some(ExecutionState::Running));
    scene.now = Timestamp(60_000);
    assert!(
        scene
            .step(Input::Wake)
            .contains(&Effect::Cancel(attempt(0)))
    );
    assert_eq!(state(&scene), Some(ExecutionState::Canceling));
}

fn leave(seconds: u64) -> Input {
    let within = Duration::from_secs(seconds);
    Input::Leave { within }
}

#[test]
fn who_leaves_without_tasks_ends_once_it_is_dismissed() {
    let mut scene = Scene::registered();
    let within = Duration::from_secs(20);
    let said = Effect::Send(FromTaskManager::Leave { within });
    assert_eq!(scene.step(leave(20)), [said]);
    assert_eq!(scene.told(ToTaskManager::Dismissed), [Effect::End]);
    assert_eq!(scene.step(Input::Wake), [], "said once");
}

#[test]
fn who_leaves_works_until_its_last_task_has_ended() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.step(leave(20));
    assert_eq!(scene.told(ToTaskManager::Dismissed), []);
    let effects = scene.task(0, TaskEvent::Canceled);
    assert_eq!(effects.last(), Some(&Effect::End));
}

#[test]
fn a_task_that_comes_while_it_leaves_is_run() {
    let mut scene = Scene::registered();
    scene.step(leave(20));
    let started = scene.deploy(0);
    assert!(started.iter().any(|it| matches!(it, Effect::Start(_))));
}

#[test]
fn who_leaves_ends_when_its_time_is_over() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.step(leave(20));
    scene.step(leave(30));
    assert_eq!(scene.worker.next_deadline(), Some(Timestamp(20_000)));
    scene.now = Timestamp(19_999);
    assert_eq!(scene.step(Input::Wake), []);
    scene.now = Timestamp(20_000);
    assert_eq!(scene.step(Input::Wake), [Effect::End]);
}

#[test]
fn who_leaves_says_so_to_the_next_leader_and_does_not_wait_for_one() {
    let mut scene = Scene::registered();
    scene.deploy(0);
    scene.step(leave(20));
    scene.now = Timestamp(5_000);
    scene.step(Input::Disconnected);
    scene.now = Timestamp(6_000);
    assert_eq!(scene.step(Input::Wake), [Effect::Connect]);
    let effects = scene.step(Input::Connected);
    let [Effect::SendHello(hello)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(hello.leaves_within, Some(Duration::from_secs(14)));
    scene.step(Input::Disconnected);
    let effects = scene.task(0, TaskEvent::Finished);
    assert_eq!(effects, [Effect::End], "nobody can have ordered anything");
}
