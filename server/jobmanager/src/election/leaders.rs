//! The leaders that this process has known, itself included: for people who ask what happened.
//!
//! Nobody keeps them elsewhere, so a process knows of none before its start, and of none that was gone before the election
//! told of it.

use super::Leader;
use crate::clock::Clock;
use jobmanager_core::time::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How many are remembered: more changes than anybody asks about.
const REMEMBERED: usize = 32;

/// A leader, and when this process heard of it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownSince {
    pub(crate) leader: Leader,
    pub(crate) since: Timestamp,
}

/// The latest of them, the last one first; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leaders(Arc<Mutex<VecDeque<KnownSince>>>);

impl Leaders {
    /// Notes who is known to lead, until nobody is there to tell it.
    pub(crate) fn follow(mut known: watch::Receiver<Option<Leader>>) -> Leaders {
        let leaders = Leaders::default();
        let noted = leaders.clone();
        tokio::spawn(async move {
            let clock = Clock::start();
            while known.changed().await.is_ok() {
                let leader = known.borrow_and_update().clone();
                if let Some(leader) = leader {
                    noted.note(leader, clock.now());
                }
            }
        });
        leaders
    }

    fn note(&self, leader: Leader, since: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().any(|known| known.leader == leader) {
            return;
        }
        all.push_front(KnownSince { leader, since });
        all.truncate(REMEMBERED);
    }

    /// All that are remembered.
    pub(crate) fn all(&self) -> Vec<KnownSince> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::id::Epoch;

    #[test]
    fn a_leader_is_noted_once_and_the_oldest_are_forgotten() {
        let leaders = Leaders::default();
        for epoch in 1..=40 {
            let leader = Leader {
                epoch: Epoch(epoch),
                rest: "h:1".to_owned(),
                rpc: "h:2".to_owned(),
            };
            leaders.note(leader.clone(), Timestamp(epoch));
            leaders.note(leader, Timestamp(1_000));
        }
        let all = leaders.all();
        let epochs: Vec<u64> = all.iter().map(|known| known.leader.epoch.0).collect();
        assert_eq!(epochs, (9..=40).rev().collect::<Vec<u64>>());
        assert!(
            all.iter()
                .all(|known| known.since.0 == known.leader.epoch.0)
        );
    }
}
