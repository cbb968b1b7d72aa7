//! Each checker is shown a forged observation and must name what is wrong.

#![allow(clippy::unwrap_used)]

use super::forge::*;
use super::*;
use crate::storage::external::{Published, SinkId, Transaction};
use jobmanager_core::id::{RequestId, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Discard, Effect, Reply, TaskCounts};
use jobmanager_core::message::{Envelope, TaskStateChange, ToTaskManager};
use jobmanager_core::record::{RecordKey, RecordOp};
use jobmanager_core::taskmanager::Effect as WorkerEffect;
use jobmanager_core::time::Timestamp;

#[test]
fn the_right_order_of_things_is_well() {
    let mut checks = with_checkpoint(1);
    order(&mut checks, &complete(1)).unwrap();
    order(&mut checks, &deploy(1, Some(1))).unwrap();
}

#[test]
fn a_checkpoint_announced_before_it_is_durable_is_seen() {
    let mut checks = running();
    order(&mut checks, &trigger(1)).unwrap();
    let name = "a_checkpoint_is_announced_only_after_it_is_durable";
    assert_eq!(broken(order(&mut checks, &complete(1))), name);
}

#[test]
fn a_reused_checkpoint_id_is_seen() {
    let mut checks = with_checkpoint(2);
    let later = Orderer { now: 5, ..BY };
    let verdict = checks.ordered(later, &trigger(2), None);
    assert_eq!(broken(verdict), "checkpoint_ids_strictly_increase");
}

#[test]
fn a_checkpoint_id_that_is_not_reserved_is_seen() {
    let name = "a_checkpoint_id_is_reserved_before_use";
    assert_eq!(broken(order(&mut running(), &trigger(10))), name);
}

#[test]
fn a_checkpoint_without_every_acknowledgement_is_seen() {
    let mut checks = running();
    acknowledge(&mut checks, 0, 0, 1);
    let name = "a_checkpoint_completes_when_every_current_attempt_acknowledged";
    assert_eq!(broken(order(&mut checks, &write(checkpoint(1)))), name);
}

#[test]
fn an_acknowledgement_of_a_replaced_attempt_does_not_count() {
    let mut checks = running();
    order(&mut checks, &deploy(1, None)).unwrap();
    acknowledge(&mut checks, 0, 0, 1);
    acknowledge(&mut checks, 1, 1, 1);
    let name = "a_checkpoint_completes_when_every_current_attempt_acknowledged";
    assert_eq!(broken(order(&mut checks, &write(checkpoint(1)))), name);
}

#[test]
fn an_acknowledgement_of_a_task_that_has_failed_does_not_count() {
    let mut checks = running();
    acknowledge(&mut checks, 0, 0, 1);
    checks.received(&Input::Message {
        session: SessionId(1),
        message: FromTaskManager::TaskStates(vec![TaskStateChange {
            attempt: attempt_id(0, 0),
            report: TaskReport::Canceled,
        }]),
    });
    acknowledge(&mut checks, 1, 0, 1);
    let name = "a_checkpoint_completes_when_every_current_attempt_acknowledged";
    assert_eq!(broken(order(&mut checks, &write(checkpoint(1)))), name);
}

#[test]
fn a_checkpoint_that_was_aborted_and_completes_is_seen() {
    let mut checks = running();
    acknowledge(&mut checks, 0, 0, 1);
    acknowledge(&mut checks, 1, 0, 1);
    order(&mut checks, &trigger(1)).unwrap();
    order(&mut checks, &aborted(1)).unwrap();
    let name = "an_aborted_checkpoint_never_completes";
    assert_eq!(broken(order(&mut checks, &write(checkpoint(1)))), name);
}

#[test]
fn a_checkpoint_that_becomes_durable_after_a_restart_is_seen() {
    let mut checks = running();
    acknowledge(&mut checks, 0, 0, 1);
    acknowledge(&mut checks, 1, 0, 1);
    order(&mut checks, &deploy(1, None)).unwrap();
    let name = "no_checkpoint_of_a_past_attempt_becomes_durable";
    assert_eq!(broken(store(&mut checks, [checkpoint(1)])), name);
}

#[test]
fn a_completed_checkpoint_that_is_aborted_is_seen() {
    let mut checks = with_checkpoint(1);
    let name = "a_completed_checkpoint_is_never_aborted";
    assert_eq!(broken(order(&mut checks, &aborted(1))), name);
}

#[test]
fn a_stale_attempt_that_is_deployed_is_seen() {
    let mut checks = running();
    order(&mut checks, &deploy(1, None)).unwrap();
    let name = "an_attempt_is_never_used_twice";
    assert_eq!(broken(order(&mut checks, &deploy(0, None))), name);
}

#[test]
fn an_attempt_on_two_taskmanagers_is_seen() {
    let mut checks = running();
    let verdict = checks.ordered(BY, &deploy(0, None), Some("tm-1"));
    assert_eq!(broken(verdict), "an_attempt_is_never_used_twice");
}

#[test]
fn a_restart_from_nothing_although_there_is_a_checkpoint_is_seen() {
    let name = "a_restore_uses_the_latest_checkpoint";
    let mut checks = with_checkpoint(1);
    assert_eq!(broken(order(&mut checks, &deploy(1, None))), name);
}

#[test]
fn a_recovery_that_missed_the_latest_checkpoint_is_seen() {
    let resume = ToTaskManager::Resume {
        job: JOB,
        tasks: Vec::new(),
        completed: None,
        aborted_below: CheckpointId(10),
    };
    let name = "a_recovery_knows_the_latest_checkpoint";
    assert_eq!(broken(order(&mut with_checkpoint(1), &say(resume))), name);
}

#[test]
fn a_job_that_runs_before_it_is_durable_is_seen() {
    let mut checks = Checks::new(&[plan()], false);
    let name = "a_job_runs_only_after_it_is_durable";
    assert_eq!(broken(order(&mut checks, &deploy(0, None))), name);
}

#[test]
fn an_ended_job_that_runs_again_is_seen() {
    let mut checks = running();
    store(&mut checks, [result(JobStatus::Finished)]).unwrap();
    let name = "an_ended_job_is_never_resurrected";
    assert_eq!(broken(order(&mut checks, &deploy(1, None))), name);
}

#[test]
fn a_job_that_ends_twice_is_seen() {
    let mut checks = running();
    store(&mut checks, [result(JobStatus::Finished)]).unwrap();
    let verdict = store(&mut checks, [result(JobStatus::Failed)]);
    assert_eq!(broken(verdict), "the_end_of_a_job_is_final");
}

#[test]
fn answers_before_durability_are_seen() {
    let reply = |reply| Effect::Reply {
        request: RequestId(1),
        reply,
    };
    let mut checks = Checks::new(&[plan()], false);
    let verdict = order(&mut checks, &reply(Reply::Submitted(JOB)));
    assert_eq!(
        broken(verdict),
        "a_submission_is_acknowledged_only_when_durable"
    );
    let mut checks = running();
    let verdict = order(&mut checks, &reply(Reply::UnknownJob(JOB)));
    assert_eq!(broken(verdict), "a_durable_job_is_never_unknown");
    let verdict = order(&mut checks, &reply(Reply::CancelAccepted(JOB)));
    assert_eq!(
        broken(verdict),
        "a_cancel_is_acknowledged_only_when_durable"
    );
    assert_eq!(
        broken(order(&mut checks, &deploy(1, None))),
        "a_canceled_job_is_never_deployed"
    );
}

#[test]
fn a_release_before_the_end_is_seen() {
    let release = say(ToTaskManager::ReleaseJob { job: JOB });
    let name = "a_job_is_released_only_after_its_result_is_durable";
    assert_eq!(broken(order(&mut running(), &release)), name);
}

#[test]
fn a_foreign_epoch_is_seen() {
    let foreign = Effect::Send {
        session: SessionId(1),
        message: Envelope {
            epoch: Epoch(9),
            message: ToTaskManager::Heartbeat { sequence: 1 },
        },
    };
    let name = "every_message_carries_its_senders_epoch";
    assert_eq!(broken(order(&mut running(), &foreign)), name);
    assert_eq!(broken(running().minted(EPOCH)), "epochs_strictly_increase");
    let mut checks = running();
    checks.stored(Epoch(3), &[]).unwrap();
    assert_eq!(
        broken(checks.stored(Epoch(2), &[])),
        "the_store_accepts_no_old_epoch"
    );
}

#[test]
fn the_deletion_of_retained_state_is_seen() {
    let name = "retained_state_is_never_deleted";
    let mut checks = with_checkpoint(1);
    let discards = [
        Discard::Checkpoint(JOB, CheckpointId(1)),
        Discard::Job(JOB),
        Discard::Unreferenced {
            job: JOB,
            keep: Vec::new(),
            next: CheckpointId(2),
        },
    ];
    for discard in discards {
        assert_eq!(broken(order(&mut checks, &Effect::Discard(discard))), name);
    }
    assert_eq!(broken(checks.file_deleted(JOB, "chk-1/a")), name);
    assert_eq!(checks.file_deleted(JOB, "chk-1/b"), Ok(()));
}

#[test]
fn the_removal_of_needed_records_is_seen() {
    let delete = |key| [RecordOp::Delete(key)];
    let key = RecordKey::Checkpoint(JOB, CheckpointId(1));
    let verdict = with_checkpoint(1).stored(EPOCH, &delete(key));
    assert_eq!(broken(verdict), "the_latest_checkpoint_is_retained");
    let verdict = running().stored(EPOCH, &delete(RecordKey::Job(JOB)));
    assert_eq!(
        broken(verdict),
        "a_job_is_removed_only_after_its_result_is_durable"
    );
    let verdict = running().stored(EPOCH, &delete(RecordKey::Cancel(JOB)));
    assert_eq!(
        broken(verdict),
        "a_durable_cancel_survives_until_the_job_has_ended"
    );
    let verdict = store(&mut running(), [mark(5)]);
    assert_eq!(broken(verdict), "a_checkpoint_mark_never_goes_back");
}

#[test]
fn too_many_retained_checkpoints_are_seen() {
    let mut checks = running();
    for id in [1, 2, 3] {
        acknowledge(&mut checks, 0, 0, id);
        acknowledge(&mut checks, 1, 0, id);
    }
    let verdict = store(&mut checks, [checkpoint(1), checkpoint(2), checkpoint(3)]);
    assert_eq!(broken(verdict), "no_more_checkpoints_are_retained");
}

#[test]
fn a_state_that_nobody_acknowledged_is_seen_when_it_is_restored() {
    let mut checks = with_checkpoint(2);
    let Effect::Send { message, .. } = deploy(1, Some(2)) else {
        unreachable!("a deployment is sent");
    };
    let ToTaskManager::Deploy(mut deployment) = message.message else {
        unreachable!("it was just made");
    };
    deployment.tasks[1].state = Vec::new();
    let verdict = order(&mut checks, &say(ToTaskManager::Deploy(deployment)));
    assert_eq!(broken(verdict), "a_task_restores_what_it_acknowledged");
}

#[test]
fn a_slot_given_twice_is_seen() {
    let mut checks = running();
    assert_eq!(checks.started(PROCESS, &start(0, 0, JOB)), Ok(false));
    assert_eq!(checks.started(PROCESS, &start(1, 0, JOB)), Ok(false));
    let name = "a_slot_serves_one_job_and_one_attempt_of_a_task";
    let other = checks.started(PROCESS, &start(0, 0, JobId(2)));
    assert_eq!(other.unwrap_err().name, name);
    let again = checks.started(PROCESS, &start(0, 1, JOB));
    assert_eq!(again.unwrap_err().name, name);
    checks.stopping(PROCESS, attempt_id(0, 0));
    assert_eq!(checks.started(PROCESS, &start(0, 1, JOB)), Ok(true));
}

#[test]
fn obedience_to_an_old_epoch_is_seen() {
    let mut checks = running();
    checks.obeyed(PROCESS, Epoch(2), &[]).unwrap();
    checks.obeyed(PROCESS, Epoch(1), &[]).unwrap();
    let cancel = [WorkerEffect::Cancel(attempt_id(0, 0))];
    let verdict = checks.obeyed(PROCESS, Epoch(1), &cancel);
    assert_eq!(broken(verdict), "a_command_of_an_old_epoch_is_never_obeyed");
}

#[test]
fn output_without_a_durable_checkpoint_is_seen() {
    let published = |id| Published {
        sink: SinkId {
            job: JOB,
            task: task(1, 0),
        },
        transaction: Some(Transaction {
            attempt: attempt(0),
            checkpoint: CheckpointId(id),
        }),
        rows: Vec::new(),
    };
    let checks = with_checkpoint(2);
    assert_eq!(checks.published(&published(1)), Ok(()));
    let name = "output_is_committed_only_after_its_checkpoint";
    assert_eq!(broken(checks.published(&published(3))), name);
}

#[test]
fn a_task_that_finishes_too_early_is_seen() {
    let mut checks = with_checkpoint(1);
    let mut told = |id, end| checks.told_complete(attempt_id(1, 0), CheckpointId(id), true, end);
    assert_eq!(told(1, true), Ok(()));
    assert_eq!(
        broken(told(1, false)),
        "a_task_finishes_only_at_the_end_of_its_data"
    );
    let name = "a_checkpoint_is_announced_only_after_it_is_durable";
    assert_eq!(broken(told(2, true)), name);
}

#[test]
fn lost_state_of_a_current_attempt_is_seen() {
    let checks = running();
    let verdict = checks.state_is_missing(attempt_id(0, 0), "chk-1/a");
    assert_eq!(broken(verdict), "the_state_of_a_restore_exists");
}

#[test]
fn a_job_shown_as_ended_too_early_is_seen() {
    let line = |status| JobLine {
        id: JOB,
        status,
        tasks: TaskCounts::default(),
        restarts: 0,
    };
    let mut checks = running();
    checks
        .status(Instance(0), &line(JobStatus::Running))
        .unwrap();
    let verdict = checks.status(Instance(0), &line(JobStatus::Finished));
    assert_eq!(broken(verdict), "a_terminal_state_is_durable");
    let verdict = checks.status(Instance(0), &line(JobStatus::Running));
    assert_eq!(broken(verdict), "job_states_change_only_as_they_may");
}

#[test]
fn state_that_is_not_what_was_snapshotted_is_seen() {
    let mut checks = with_checkpoint(1);
    let (attempt, id) = (attempt_id(1, 0), CheckpointId(1));
    let [known, other] = [2, 3].map(|number| Contents {
        groups: [(0, vec![1, number])].into(),
        ..Contents::default()
    });
    checks.snapshotted(attempt, id, &known).unwrap();
    let again = checks.snapshotted(attempt, id, &known);
    assert_eq!(broken(again), "an_attempt_snapshots_a_checkpoint_once");
    let mut restores = |state| checks.restored(attempt_id(1, 1), Some(id), state);
    assert_eq!(restores(Some(&known)), Ok(()));
    let name = "restored_state_is_what_was_snapshotted";
    assert_eq!(broken(restores(Some(&other))), name);
    assert_eq!(broken(restores(None)), name);
}

#[test]
fn sinks_settle_what_all_of_them_know_of() {
    let mut checks = with_checkpoint(1);
    let (source, id) = (attempt_id(0, 0), CheckpointId(1));
    let contents = Contents {
        lists: [(Contents::SPLITS, vec![vec![3, 7]])].into(),
        ..Contents::default()
    };
    checks.snapshotted(source, id, &contents).unwrap();
    assert_eq!(checks.settled_offsets(JOB), BTreeMap::new());
    checks
        .told_complete(attempt_id(1, 0), id, false, false)
        .unwrap();
    assert_eq!(checks.settled_offsets(JOB), [((0, 3), 7)].into());
}

#[test]
fn output_of_an_attempt_that_took_no_part_is_seen() {
    let published = |number| Published {
        sink: SinkId {
            job: JOB,
            task: task(1, 0),
        },
        transaction: Some(Transaction {
            attempt: attempt(number),
            checkpoint: CheckpointId(2),
        }),
        rows: Vec::new(),
    };
    let checks = with_checkpoint(2);
    assert_eq!(checks.published(&published(0)), Ok(()));
    let name = "only_attempts_of_a_durable_checkpoint_publish";
    assert_eq!(broken(checks.published(&published(1))), name);
}

#[test]
fn the_deletion_of_state_whose_record_is_on_its_way_is_seen() {
    let mut checks = running();
    acknowledge(&mut checks, 0, 0, 1);
    acknowledge(&mut checks, 1, 0, 1);
    order(&mut checks, &write(checkpoint(1))).unwrap();
    let name = "retained_state_is_never_deleted";
    let discard = Effect::Discard(Discard::Checkpoint(JOB, CheckpointId(1)));
    assert_eq!(broken(order(&mut checks, &discard)), name);
    assert_eq!(broken(checks.file_deleted(JOB, "chk-1/a")), name);
}

#[test]
fn a_job_that_restarts_again_and_again_is_seen() {
    let mut checks = running();
    checks.count_restarts();
    for number in 1..=3 {
        assert_eq!(checks.restarts_have_ended(), Ok(()));
        order(&mut checks, &deploy(number, None)).unwrap();
    }
    let verdict = checks.restarts_have_ended();
    assert_eq!(broken(verdict), "restarts_end_once_faults_have_ended");
}

/// A coordinator that is watched, and what it orders when nothing but time has passed.
fn watched(checks: &mut Checks, now: u64, effects: &[Effect]) -> Verdict {
    told(checks, now, &Input::Wake, effects)
}

/// A coordinator that is watched, and what it orders with an input.
fn told(checks: &mut Checks, now: u64, input: &Input, effects: &[Effect]) -> Verdict {
    let config = jobmanager_core::config::cluster_config(&BTreeMap::new(), &[]).unwrap();
    let start = Timestamp(0);
    let coordinator = Coordinator::recover(config, EPOCH, Vec::new(), start).unwrap();
    checks.stepped(&Step {
        instance: BY.instance,
        now: Timestamp(now),
        input,
        effects,
        coordinator: &coordinator,
    })
}

/// An observer without a model, which would see more than one wants to show here.
fn watching() -> Checks {
    let mut checks = Checks::new(&[], false);
    let config = jobmanager_core::config::cluster_config(&BTreeMap::new(), &[]).unwrap();
    checks.recovers(BY.instance, config, EPOCH, &[job_record()], Timestamp(0));
    checks
}

#[test]
fn an_order_to_somebody_who_is_not_registered_is_seen() {
    let order = say(ToTaskManager::Heartbeat { sequence: 1 });
    let name = "only_registered_taskmanagers_get_orders";
    assert_eq!(broken(watched(&mut watching(), 0, &[order])), name);
}

#[test]
fn a_task_for_somebody_who_has_only_said_hello_is_seen() {
    let early = "only_who_has_answered_is_given_tasks";
    let deployment = [deploy(0, None)];
    let mut checks = watching();
    assert_eq!(told(&mut checks, 0, &hello(), &[]), Ok(()));
    assert_eq!(broken(watched(&mut checks, 1, &deployment)), early);
    assert_eq!(told(&mut checks, 2, &answer(), &[]), Ok(()));
    assert_ne!(broken(watched(&mut checks, 3, &deployment)), early);
}

#[test]
fn a_coordinator_that_talks_and_writes_without_a_cause_is_seen() {
    let name = "an_idle_coordinator_is_quiet";
    let refused = say(ToTaskManager::Refused(jobmanager_core::message::Refusal {
        reason: String::new(),
        retry_after: std::time::Duration::ZERO,
    }));
    let mut checks = watching();
    let talk = vec![refused; 30];
    assert_eq!(watched(&mut checks, 0, &talk), Ok(()));
    assert_eq!(watched(&mut checks, 1_000, &talk), Ok(()), "a second later");
    assert_eq!(broken(watched(&mut checks, 1_001, &talk)), name);
    let writes = vec![write(mark(1)); 61];
    assert_eq!(broken(watched(&mut watching(), 0, &writes)), name);
}

#[test]
fn what_was_replaced_is_the_past() {
    let mut checks = watching();
    checks.jobs = running().jobs;
    checks.minted(EPOCH).unwrap();
    order(&mut checks, &deploy(0, None)).unwrap();
    let report = |number| Input::Message {
        session: SessionId(1),
        message: FromTaskManager::TaskStates(vec![TaskStateChange {
            attempt: attempt_id(0, number),
            report: TaskReport::Running,
        }]),
    };
    assert!(!checks.is_about_the_past(BY.instance, &report(0)));
    order(&mut checks, &deploy(1, None)).unwrap();
    assert!(checks.is_about_the_past(BY.instance, &report(0)));
    assert!(!checks.is_about_the_past(BY.instance, &report(1)));
}
