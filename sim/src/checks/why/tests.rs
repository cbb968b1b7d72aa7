//! The check is shown answers that a coordinator gave, and answers that it would have to be ashamed of.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::checks::forge::{BY, EPOCH, JOB, answer, attempt_id, hello, pair, state};
use jobmanager_core::config::cluster_config;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{CommitId, RequestId, SessionId, TaskManagerId, TriggerId};
use jobmanager_core::jobmanager::why::Filter;
use jobmanager_core::jobmanager::{Command, SavepointRequest, StoreOutcome};
use jobmanager_core::message::{Acknowledgement, AfterSavepoint, TaskReport, TaskStateChange};
use std::collections::BTreeMap;

/// A coordinator, who looks at it, and what it said last.
struct Scene {
    coordinator: Coordinator,
    honesty: Honesty,
    plans: Plans,
    now: u64,
    commit: u64,
}

impl Scene {
    /// A job of two regions was submitted.
    fn new() -> Self {
        let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
        let now = Timestamp(0);
        let mut scene = Scene {
            coordinator: Coordinator::recover(config, EPOCH, Vec::new(), now).unwrap(),
            honesty: Honesty::new(u32::MAX, &[], now),
            plans: Plans::new(&[pair()]),
            now: 0,
            commit: 0,
        };
        let graph = JobGraph::validate(pair().spec(), &BTreeMap::new()).unwrap();
        scene.command(Command::Submit {
            graph: graph.into(),
            from: None,
        });
        scene
    }

    /// It is durable, and runs on a TaskManager.
    fn running() -> Self {
        let mut scene = Scene::new();
        scene.registers(2).hears(&answer()).stored();
        scene.reports(&TaskReport::Running)
    }

    /// The coordinator tells the truth.
    fn hears(&mut self, input: &Input) -> &mut Self {
        let mut effects = Vec::new();
        let now = Timestamp(self.now);
        self.coordinator.step(now, input.clone(), &mut effects);
        let step = Step {
            instance: BY.instance,
            now,
            input,
            effects: &effects,
            coordinator: &self.coordinator,
        };
        assert_eq!(self.honesty.stepped(&step, &self.plans), Ok(()));
        self
    }

    fn command(&mut self, command: Command) -> &mut Self {
        let request = RequestId(1);
        self.hears(&Input::Command { request, command })
    }

    fn stored(&mut self) -> &mut Self {
        self.commit += 1;
        let commit = CommitId(self.commit);
        let outcome = StoreOutcome::Done;
        self.hears(&Input::Stored { commit, outcome })
    }

    fn registers(&mut self, slots: u32) -> &mut Self {
        let mut hello = hello();
        if let Input::Connected { hello, .. } = &mut hello {
            hello.slots = slots;
        }
        self.hears(&hello)
    }

    fn says(&mut self, message: FromTaskManager) -> &mut Self {
        let session = SessionId(1);
        self.hears(&Input::Message { session, message })
    }

    /// Everything reports the same.
    fn reports(mut self, report: &TaskReport) -> Self {
        let mut changes = Vec::new();
        for (vertex, subtask) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut attempt = attempt_id(vertex, 0);
            attempt.task.subtask.0 = subtask;
            let report = report.clone();
            changes.push(TaskStateChange { attempt, report });
        }
        self.says(FromTaskManager::TaskStates(changes));
        self
    }

    fn passes(&mut self, ms: u64) -> &mut Self {
        self.now += ms;
        self.hears(&Input::Wake)
    }

    fn why(&self) -> Why {
        self.coordinator.why(JOB, Timestamp(self.now)).unwrap()
    }

    fn judge(&self, why: Option<&Why>) -> Verdict {
        let line = self.coordinator.lines().next().unwrap();
        let asked = Asked {
            facts: &self.honesty.facts,
            plans: &self.plans,
            coordinator: &self.coordinator,
            line: &line,
        };
        asked.judge(why)
    }

    /// What the check says of an answer in which this is changed.
    fn lies(&self, lie: impl FnOnce(&mut Vec<Cause>)) -> &'static str {
        let mut why = self.why();
        lie(&mut why.causes);
        self.judge(Some(&why)).unwrap_err().name
    }
}

fn leaf(reason: Reason) -> Cause {
    let because = Vec::new();
    Cause { reason, because }
}

#[test]
fn an_answer_without_causes_to_a_job_that_waits_is_seen() {
    let name = "whoever_waits_is_told_why";
    let mut scene = Scene::new();
    assert_eq!(scene.lies(Vec::clear), name, "a submission");
    assert_eq!(scene.judge(None).unwrap_err().name, name);
    scene.stored();
    assert_eq!(scene.lies(Vec::clear), name, "no slots");
    let mut scene = Scene::running();
    assert_eq!(scene.why().causes, []);
    scene.passes(1_000);
    assert_eq!(scene.lies(Vec::clear), name, "a checkpoint");
}

#[test]
fn a_cause_of_nothing_is_seen() {
    let name = "who_waits_for_nothing_is_told_so";
    let scene = Scene::running();
    let regions = 1;
    let waits = Reason::from(Restart::LastCheckpointNotDurable { regions });
    assert_eq!(scene.lies(|causes| causes.push(leaf(waits))), name);
    let waits = Reason::from(Slots::NoTaskmanager);
    assert_eq!(scene.lies(|causes| causes.push(leaf(waits))), name);
}

#[test]
fn a_time_that_is_over_is_seen() {
    let mut scene = Scene::new();
    scene.stored();
    let now = Timestamp(scene.now);
    let over = |causes: &mut Vec<Cause>| {
        if let Reason::Slots(Slots::WaitsForSlots { until, .. }) = &mut causes[0].reason {
            *until = now;
        }
    };
    assert_eq!(scene.lies(over), "a_time_that_is_awaited_lies_ahead");
}

#[test]
fn slots_that_are_not_missing_are_seen() {
    let name = "slots_that_are_missed_are_missing";
    let mut scene = Scene::new();
    scene.stored().registers(3);
    let first = |change: fn(&mut Slots)| {
        scene.lies(|causes| {
            let Reason::Slots(slots) = &mut causes[0].reason else {
                panic!("it waits for slots");
            };
            change(slots);
        })
    };
    let changes: [fn(&mut Slots); 4] = [
        |slots| {
            if let Slots::WaitsForSlots { free, .. } = slots {
                *free = 1;
            }
        },
        |slots| {
            if let Slots::WaitsForSlots { missing, .. } = slots {
                *missing -= 1;
            }
        },
        |slots| {
            if let Slots::WaitsForSlots { needed, .. } = slots {
                *needed += 1;
            }
        },
        |slots| {
            if let Slots::WaitsForSlots { taskmanagers, .. } = slots {
                *taskmanagers = 0;
            }
        },
    ];
    for change in changes {
        assert_eq!(first(change), name);
    }
    let nobody = Reason::from(Slots::NoTaskmanager);
    assert_eq!(scene.lies(|it| it[0].because = vec![leaf(nobody)]), name);
    let held = Reason::from(Filter::SlotsHeld {
        job: JOB,
        slots: 1,
        stopping: 0,
    });
    assert_eq!(scene.lies(|it| it[0].because.push(leaf(held))), name);
    let other = Reason::from(Filter::TaskmanagersNotAnswered {
        taskmanagers: 1,
        slots: 3,
        since: Timestamp(0),
        names: vec![TaskManagerId("tm-1".to_owned())],
    });
    assert_eq!(scene.lies(|it| it[0].because = vec![leaf(other)]), name);
}

#[test]
fn tasks_that_have_reported_are_seen() {
    let name = "tasks_that_are_awaited_have_not_reported";
    let mut scene = Scene::new();
    scene.stored().registers(2).hears(&answer());
    let said = scene.why().causes;
    let elsewhere = |causes: &mut Vec<Cause>| {
        if let Reason::Tasks(Tasks::StartingOn { taskmanager, .. }) =
            &mut causes[0].because[0].reason
        {
            *taskmanager = TaskManagerId("tm-1".to_owned());
        }
    };
    assert_eq!(scene.lies(elsewhere), name);
    // One of them runs, and the others are still awaited.
    scene.says(FromTaskManager::TaskStates(vec![TaskStateChange {
        attempt: attempt_id(1, 0),
        report: TaskReport::Running,
    }]));
    assert_eq!(scene.lies(|causes| *causes = said), name);
}

#[test]
fn a_task_that_is_said_to_stop_and_runs_is_seen() {
    let mut scene = Scene::running();
    scene.command(Command::Cancel(JOB)).stored();
    let one_more = |causes: &mut Vec<Cause>| {
        if let Reason::Life(Life::Canceling { tasks, .. }) = &mut causes[0].reason {
            *tasks += 1;
        }
    };
    let name = "tasks_that_are_awaited_have_not_reported";
    assert_eq!(scene.lies(one_more), name);
}

#[test]
fn a_task_that_is_blamed_and_has_acknowledged_is_seen() {
    let name = "who_is_blamed_for_a_checkpoint_has_not_acknowledged";
    let mut scene = Scene::running();
    scene.passes(1_000);
    let said = scene.why().causes;
    let ack = Acknowledgement {
        attempt: attempt_id(0, 0),
        checkpoint: CheckpointId(1),
        state: state(1),
    };
    scene.says(FromTaskManager::Acknowledge(ack));
    assert_eq!(scene.lies(|causes| *causes = said), name);
    let nobody = |causes: &mut Vec<Cause>| causes[0].because.clear();
    assert_eq!(scene.lies(nobody), name);
    let another = |causes: &mut Vec<Cause>| {
        if let Reason::Checkpoint(Checkpoint::CheckpointUnderWay { checkpoint, .. }) =
            &mut causes[0].reason
        {
            *checkpoint = CheckpointId(2);
        }
    };
    assert_eq!(scene.lies(another), name);
}

#[test]
fn a_write_that_nobody_waits_for_is_seen() {
    let name = "a_write_that_is_awaited_is_not_durable";
    let mut scene = Scene::running();
    scene.command(Command::Cancel(JOB));
    let below = |reason: Reason| {
        let below = vec![leaf(reason)];
        scene.lies(|causes| causes[0].because = below)
    };
    let another = Write::WriteUnderWay {
        commit: CommitId(99),
        problem: None,
    };
    assert_eq!(below(another.into()), name);
    assert_eq!(below(Write::BehindAnotherWrite.into()), name);
    assert_eq!(scene.lies(|causes| causes[0].because.clear()), name);
    let submission = Life::ResultNotDurable {
        result: JobStatus::Canceled,
        since: Timestamp(0),
    };
    let write = scene.why().causes[0].because.clone();
    let result = |causes: &mut Vec<Cause>| {
        causes[0].reason = submission.into();
        causes[0].because = write;
    };
    assert_eq!(scene.lies(result), name, "its result is in no write");
}

#[test]
fn a_savepoint_whose_wish_is_durable_is_seen() {
    let name = "a_write_that_is_awaited_is_not_durable";
    let mut scene = Scene::running();
    scene.command(Command::Savepoint(SavepointRequest {
        job: JOB,
        trigger: TriggerId(7),
        directory: "mem:///savepoints/".to_owned(),
        after: AfterSavepoint::GoOn,
    }));
    let said = scene.why().causes;
    scene.stored();
    assert_eq!(scene.lies(|causes| *causes = said), name);
    let unknown = |causes: &mut Vec<Cause>| {
        if let Reason::Savepoint(Savepoint::SavepointWanted { trigger, .. }) = &mut causes[0].reason
        {
            *trigger = TriggerId(8);
        }
    };
    assert_eq!(scene.lies(unknown), name);
}
