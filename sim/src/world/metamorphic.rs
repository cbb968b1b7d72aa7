//! What must change nothing: messages that come again, or late, or about what is past; and a failover
//! while nothing happens.

use crate::marks::Mark;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Instance, Process};
use jobmanager_core::id::{AttemptId, CommitId, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Input, StoreOutcome};
use jobmanager_core::message::{Envelope, FromTaskManager};
use jobmanager_core::taskmanager::Input as WorkerInput;
use std::collections::BTreeSet;

/// The failover of a run in which nothing happens.
#[derive(Default)]
pub(crate) enum Rest {
    /// Not yet, or never.
    #[default]
    Awaited,
    /// It has happened while these ran.
    Over(BTreeSet<(Process, AttemptId)>),
}

/// Most messages are heartbeats: in one of so many events they come again, and whether that changes anything
/// is looked at.
const EVENTS_PER_REPEATED_SIGN: u64 = 8;

fn is_heartbeat(input: &Input) -> bool {
    let Input::Message { message, .. } = input else {
        return false;
    };
    matches!(message, FromTaskManager::Heartbeat { .. })
}

impl World {
    /// How often a message comes again.
    fn repeats(&self) -> u64 {
        u64::from(self.options.twice).max(self.options.metamorphic.repeats)
    }

    fn coordinator_digest(&self, instance: Instance) -> Option<u64> {
        let node = self.jobmanagers.get(&instance)?;
        node.coordinator.as_ref().map(Coordinator::digest)
    }

    /// A message reaches a coordinator. If it is about nothing that is current, or comes again, it changes
    /// nothing.
    pub(crate) fn jobmanager_is_told(&mut self, instance: Instance, input: &Input) {
        let Input::Message { session, .. } = *input else {
            self.jobmanager_input(instance, input);
            return;
        };
        self.hears_zombie(instance, input);
        let mut known = None;
        if self.checks.is_about_the_past(instance, input) {
            self.marks.hit(Mark::MessageAboutThePast);
            let message = FromTaskManager::Heartbeat { sequence: 0 };
            self.jobmanager_input(instance, &Input::Message { session, message });
            let name = "a_message_about_a_past_attempt_changes_nothing";
            self.expect_no_change(instance, input, &mut known, name);
        } else {
            self.jobmanager_input(instance, input);
        }
        let comes_again =
            !is_heartbeat(input) || self.events.is_multiple_of(EVENTS_PER_REPEATED_SIGN);
        let repeats = if comes_again { self.repeats() } else { 0 };
        for again in 0..repeats {
            if again > 0 {
                self.marks.hit(Mark::MessageCameThreeTimes);
            }
            let name = "a_repeated_message_changes_nothing";
            self.expect_no_change(instance, input, &mut known, name);
        }
    }

    /// `known` is the digest of the coordinator where nothing has happened since it was made.
    fn expect_no_change(
        &mut self,
        instance: Instance,
        input: &Input,
        known: &mut Option<u64>,
        name: &'static str,
    ) {
        let before = known.or_else(|| self.coordinator_digest(instance));
        self.jobmanager_input(instance, input);
        // A coordinator that its order killed has no opinion any more.
        *known = self.coordinator_digest(instance);
        if before.is_some() && known.is_some() && *known != before {
            self.fail(name, format!("{input:?}"));
        }
    }

    /// What was said last on a session that has ended arrives once more.
    pub(crate) fn hears_past_session(&mut self, instance: Instance, session: SessionId) {
        let last = self.checks.last_words(instance, session);
        let Some(message) = last.filter(|_| self.options.metamorphic.echoes) else {
            return;
        };
        self.marks.hit(Mark::MessageOfPastSession);
        self.jobmanager_input(instance, &Input::Wake);
        let echo = Input::Message { session, message };
        let name = "a_message_of_a_past_session_changes_nothing";
        self.expect_no_change(instance, &echo, &mut None, name);
    }

    /// The answer to the write before this one arrives once more, and says something else perhaps.
    pub(crate) fn hears_past_answer(&mut self, instance: Instance, commit: CommitId) {
        let node = self.jobmanagers.get_mut(&instance);
        let past = node.and_then(|node| node.answered.replace(commit));
        let Some(past) = past.filter(|_| self.options.metamorphic.echoes) else {
            return;
        };
        self.marks.hit(Mark::AnswerToAPastWrite);
        self.jobmanager_input(instance, &Input::Wake);
        let echo = Input::Stored {
            commit: past,
            outcome: StoreOutcome::Done,
        };
        let name = "an_answer_to_a_past_write_changes_nothing";
        self.expect_no_change(instance, &echo, &mut None, name);
    }

    /// An attempt that was replaced acknowledges what its successor acknowledges.
    fn hears_zombie(&mut self, instance: Instance, input: &Input) {
        let Input::Message { session, message } = input else {
            return;
        };
        let FromTaskManager::Acknowledge(ack) = message else {
            return;
        };
        let number = ack.attempt.attempt.number.checked_sub(1);
        let Some(number) = number.filter(|_| self.options.metamorphic.echoes) else {
            return;
        };
        let mut ack = ack.clone();
        ack.attempt.attempt.number = number;
        let message = FromTaskManager::Acknowledge(ack);
        let session = *session;
        let zombie = Input::Message { session, message };
        if self.checks.is_about_the_past(instance, &zombie) {
            self.marks.hit(Mark::ZombieAcknowledges);
            let message = FromTaskManager::Heartbeat { sequence: 0 };
            self.jobmanager_input(instance, &Input::Message { session, message });
            let name = "a_message_about_a_past_attempt_changes_nothing";
            self.expect_no_change(instance, &zombie, &mut None, name);
        }
    }

    /// The same message to a worker once more at the same time: nothing changes.
    pub(crate) fn worker_hears_again(&mut self, process: Process, envelope: &Envelope) {
        let digest = |world: &mut World| Some(world.node(process)?.worker.as_ref()?.digest());
        for _ in 0..self.repeats() {
            let first = digest(self);
            self.worker_input(process, WorkerInput::Message(envelope.clone()));
            if digest(self) != first {
                self.fail(
                    "a_repeated_message_changes_nothing",
                    format!("{envelope:?}"),
                );
            }
        }
    }

    /// All is well. If the run is to see a failover at rest, it comes now, and the judging goes on; tells
    /// whether it did.
    pub(crate) fn fails_over_at_rest(&mut self) -> bool {
        let running = self.checks.running();
        let (outside, running): (BTreeSet<_>, BTreeSet<_>) =
            running.partition(|(process, _)| self.is_outside(process.index));
        if let Rest::Over(before) = &self.rest {
            // A part of a job may come to its end while the rest goes on.
            let mut missing = before.difference(&running);
            let ended = missing.all(|(on, attempt)| self.checks.has_finished(*on, *attempt));
            if !running.is_subset(before) || !ended {
                let detail = format!("{before:?} ran before, {running:?} after");
                self.fail("a_failover_at_rest_restarts_nothing", detail);
            }
            return false;
        }
        let Some(instance) = self.current.filter(|_| self.options.metamorphic.failover) else {
            return false;
        };
        let Some(candidate) = self.leader(instance).map(|process| process.candidate) else {
            return false;
        };
        // Whoever has not come back by then is started anew, and rightly so.
        let cluster = &self.options.cluster;
        let back = 2 * cluster.registration_initial + cluster.registration_max;
        let in_time = back < cluster.reconciliation_timeout.min(cluster.grace_period);
        let mut jobs = self.options.jobs.iter();
        let fails = jobs.any(|job| self.has_lost_its_state(job.id));
        // Nor is it at rest while a job may get another parallelism.
        let changes = self.checks.may_rescale();
        // What still runs where it is broken may be lost with the connection, and all that belongs to it.
        if changes || running.is_empty() || !outside.is_empty() || fails || !in_time {
            return false;
        }
        self.marks.hit(Mark::FailoverAtRest);
        self.note(
            Lane::Faults,
            "rest",
            "the jobmanager is replaced while nothing happens",
        );
        self.rest = Rest::Over(running);
        self.term_ends(instance, false);
        self.begin_term(candidate);
        self.begin_judging();
        true
    }

    /// The run ends: what the coordinator was told is told to another one.
    pub(crate) fn close_books(&mut self) {
        let instances: Vec<Instance> = self.jobmanagers.keys().copied().collect();
        for instance in instances {
            let node = self.jobmanagers.get(&instance);
            let coordinator = node.and_then(|node| node.coordinator.as_ref());
            let verdict = self.checks.gone(instance, coordinator);
            self.verdict(verdict);
        }
        if self.done {
            self.returns_to_nothing();
            self.agrees_with_the_store();
        }
    }
}
