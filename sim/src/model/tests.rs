//! The model agrees with a coordinator that does the right thing, and with no other.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::checks::forge::{JOB, answer, hello, plan};
use jobmanager_core::config::cluster_config;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{AttemptId, CommitId, RequestId, SessionId};
use jobmanager_core::jobmanager::{Command, StoreOutcome};
use jobmanager_core::message::{FromTaskManager, TaskReport, TaskStateChange};

const ON: SessionId = SessionId(1);

/// A coordinator and its model, and what the coordinator ordered last.
struct Pair {
    coordinator: Coordinator,
    model: Model,
    effects: Vec<Effect>,
}

impl Pair {
    fn new() -> Pair {
        let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
        let (epoch, now, records) = (Epoch(1), Timestamp(0), Vec::new());
        let plans = Plans::new(&[plan()]);
        Pair {
            model: Model::recover(config.clone(), epoch, &records, now, &plans).unwrap(),
            coordinator: Coordinator::recover(config, epoch, records, now).unwrap(),
            effects: Vec::new(),
        }
    }

    /// Both take the input; what the coordinator ordered is changed before the model looks at it.
    fn step(&mut self, now: u64, input: &Input, forge: impl FnOnce(&mut Vec<Effect>)) -> bool {
        self.effects.clear();
        let now = Timestamp(now);
        self.coordinator.step(now, input.clone(), &mut self.effects);
        forge(&mut self.effects);
        let followed = self
            .model
            .follow(now, input, &self.effects, &self.coordinator);
        followed.is_ok()
    }

    fn agree(&mut self, now: u64, input: &Input) {
        assert!(
            self.step(now, input, |_| {}),
            "{input:?}: {:?}",
            self.effects
        );
    }
}

fn submit() -> Input {
    let graph = JobGraph::validate(plan().spec(), &BTreeMap::new()).unwrap();
    Input::Command {
        request: RequestId(1),
        command: Command::Submit {
            graph: graph.into(),
            from: None,
        },
    }
}

fn stored(commit: u64) -> Input {
    Input::Stored {
        commit: CommitId(commit),
        outcome: StoreOutcome::Done,
    }
}

/// Both tasks say this.
fn report(number: u32, report: &TaskReport) -> Input {
    let change = |vertex| TaskStateChange {
        attempt: AttemptId {
            ..crate::checks::forge::attempt_id(vertex, number)
        },
        report: report.clone(),
    };
    Input::Message {
        session: ON,
        message: FromTaskManager::TaskStates(vec![change(0), change(1)]),
    }
}

/// A pair whose job runs.
fn running() -> Pair {
    let mut pair = Pair::new();
    pair.agree(0, &Input::Wake);
    pair.agree(0, &hello());
    pair.agree(0, &answer());
    pair.agree(1, &submit());
    pair.agree(2, &stored(1));
    pair.agree(3, &report(0, &TaskReport::Running));
    assert_eq!(pair.coordinator.job(JOB).unwrap().restarts, 0);
    pair
}

#[test]
fn a_right_coordinator_is_followed_through_a_checkpoint_and_a_restart() {
    let mut pair = running();
    pair.agree(1_003, &Input::Wake);
    assert!(pair.effects.iter().any(|effect| matches!(
        Order::of(effect),
        Some(Order::Trigger(ON, JOB, tasks, CheckpointId(1))) if tasks.is_empty()
    )));
    let failed = TaskReport::Failed {
        cause: "it broke".to_owned(),
    };
    pair.agree(1_100, &report(0, &failed));
    for now in (1_100..3_500).step_by(10) {
        pair.agree(now, &Input::Wake);
    }
    let details = pair.coordinator.job(JOB).unwrap();
    assert_eq!(details.restarts, 1);
    pair.agree(3_500, &report(1, &TaskReport::Running));
}

#[test]
fn an_effect_that_does_not_come_is_seen() {
    let mut pair = running();
    assert!(!pair.step(1_003, &Input::Wake, |effects| effects.clear()));
}

#[test]
fn an_effect_that_comes_twice_is_seen() {
    let mut pair = running();
    let twice = |effects: &mut Vec<Effect>| effects.extend(effects.clone());
    assert!(!pair.step(1_003, &Input::Wake, twice));
}

#[test]
fn a_job_that_waits_although_there_are_slots_is_seen() {
    let mut pair = Pair::new();
    pair.agree(0, &Input::Wake);
    pair.agree(0, &hello());
    pair.agree(0, &answer());
    pair.agree(1, &submit());
    let undeployed = |effects: &mut Vec<Effect>| {
        effects.retain(|effect| Order::of(effect).is_some());
    };
    assert!(!pair.step(2, &stored(1), undeployed));
}

#[test]
fn an_input_that_the_coordinator_did_not_take_is_seen() {
    let mut pair = running();
    let input = report(0, &TaskReport::EndOfData);
    let followed = pair
        .model
        .follow(Timestamp(4), &input, &[], &pair.coordinator);
    assert!(followed.is_err());
}
