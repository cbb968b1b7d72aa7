//! On which sessions nobody is known to listen: nothing has come but a hello without attempts, or nothing for an
//! interval after a heartbeat. Whoever is there is given no task, but of a job that had tasks there already: they
//! may have to share a slot.
//!
//! Who has said that it leaves is not given any either, with the same exception.
//!
//! Of a heartbeat that was sent late nothing follows: the answer to the one before it may wait to be taken in.

use super::who_leaves;
use jobmanager_core::id::{JobId, SessionId};
use jobmanager_core::jobmanager::Input;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A heartbeat that is so late was sent by somebody who stood still.
const STOOD_STILL: Duration = Duration::from_millis(10);

/// Who has not answered.
#[derive(Default)]
pub(super) struct Mute {
    sessions: BTreeSet<SessionId>,
    /// On which sessions a TaskManager has said that it leaves.
    leaving: BTreeSet<SessionId>,
    heard: BTreeMap<SessionId, Timestamp>,
    /// The first heartbeat after which nothing was heard.
    asked: BTreeMap<SessionId, Timestamp>,
    /// Of which jobs each was ever given tasks, or had them.
    jobs: BTreeSet<(SessionId, JobId)>,
    /// From one heartbeat to the next, if that is known.
    interval: Option<Duration>,
}

impl Mute {
    pub(super) fn new(interval: Duration) -> Self {
        Mute {
            interval: Some(interval),
            ..Mute::default()
        }
    }

    /// The coordinator is told something.
    pub(super) fn is_told(&mut self, now: Timestamp, input: &Input) {
        self.leaving.extend(who_leaves(input));
        match input {
            Input::Connected { session, hello } => {
                self.heard.insert(*session, now);
                let jobs = hello.inventory.iter().map(|item| item.attempt.job);
                self.jobs.extend(jobs.map(|job| (*session, job)));
                if hello.inventory.is_empty() {
                    self.sessions.insert(*session);
                }
            }
            Input::Message { session, .. } => {
                self.forget(*session);
                self.heard.insert(*session, now);
            }
            Input::Disconnected { session } => {
                self.forget(*session);
                self.leaving.remove(session);
                self.jobs.retain(|(on, _)| on != session);
            }
            Input::Stored { .. }
            | Input::Discarded { .. }
            | Input::SavepointWritten { .. }
            | Input::Command { .. }
            | Input::Workers { .. }
            | Input::Worker { .. }
            | Input::Wake => {}
        }
    }

    /// A heartbeat is sent.
    pub(super) fn is_asked(&mut self, now: Timestamp, session: SessionId) {
        // What came at this time may have come before or after.
        if self.heard.get(&session) == Some(&now) {
            return;
        }
        let since = *self.asked.entry(session).or_insert(now);
        if let Some(interval) = self.interval
            && (interval..interval + STOOD_STILL).contains(&now.since(since))
        {
            self.sessions.insert(session);
        }
    }

    /// Tasks of a job are sent; tells which promise that breaks, if any.
    pub(super) fn is_given(&mut self, session: SessionId, job: JobId) -> Option<&'static str> {
        if !self.jobs.insert((session, job)) {
            None
        } else if self.sessions.contains(&session) {
            Some("only_who_has_answered_is_given_tasks")
        } else if self.leaving.contains(&session) {
            Some("who_leaves_is_given_no_tasks")
        } else {
            None
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.asked.remove(&session);
        self.heard.remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::forge::{answer, hello};
    use jobmanager_core::message::FromTaskManager;

    const ON: SessionId = SessionId(1);

    #[test]
    fn who_owes_an_answer_for_an_interval_is_mute_until_it_comes() {
        let mut mute = Mute::new(Duration::from_millis(100));
        mute.is_told(Timestamp(0), &hello());
        assert!(mute.is_given(ON, JobId(1)).is_some(), "only a hello");
        mute.is_told(Timestamp(1), &answer());
        mute.is_asked(Timestamp(100), ON);
        assert_eq!(mute.is_given(ON, JobId(2)), None, "just asked");
        mute.is_asked(Timestamp(203), ON);
        assert!(mute.is_given(ON, JobId(3)).is_some(), "asked again");
        assert_eq!(mute.is_given(ON, JobId(2)), None, "has tasks of it");
        mute.is_told(Timestamp(204), &answer());
        assert_eq!(mute.is_given(ON, JobId(4)), None, "has answered");
    }

    #[test]
    fn who_asks_late_knows_nothing() {
        let mut mute = Mute::new(Duration::from_millis(100));
        mute.is_told(Timestamp(0), &hello());
        mute.is_told(Timestamp(1), &answer());
        mute.is_asked(Timestamp(100), ON);
        mute.is_asked(Timestamp(250), ON);
        assert_eq!(mute.is_given(ON, JobId(1)), None);
    }

    #[test]
    fn who_leaves_is_given_only_tasks_of_jobs_that_it_has() {
        let mut mute = Mute::default();
        mute.is_told(Timestamp(0), &hello());
        mute.is_told(Timestamp(1), &answer());
        assert_eq!(mute.is_given(ON, JobId(1)), None);
        let message = FromTaskManager::Leave {
            within: Duration::from_secs(1),
        };
        let leave = Input::Message {
            session: ON,
            message,
        };
        mute.is_told(Timestamp(2), &leave);
        let broken = Some("who_leaves_is_given_no_tasks");
        assert_eq!(mute.is_given(ON, JobId(2)), broken);
        assert_eq!(mute.is_given(ON, JobId(1)), None, "has tasks of it");
    }
}
