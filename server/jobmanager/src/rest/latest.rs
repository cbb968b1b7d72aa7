//! What this process remembers of the latest requests that go on after their answer.

use jobmanager_core::id::TriggerId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many are remembered.
const REMEMBERED: usize = 1_000;

/// The latest requests, each with what is known of it; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Latest<T>(Arc<Mutex<VecDeque<(TriggerId, T)>>>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Latest(Arc::default())
    }
}

impl<T: Clone> Latest<T> {
    /// Remembers a request, or what is known of it by now. One that is forgotten is so for good.
    pub(super) fn put(&self, trigger: TriggerId, known: T) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match latest.iter_mut().find(|(id, _)| *id == trigger) {
            Some((_, slot)) => *slot = known,
            None => {
                latest.truncate(REMEMBERED - 1);
                latest.push_front((trigger, known));
            }
        }
    }

    pub(super) fn get(&self, trigger: TriggerId) -> Option<T> {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = latest.iter().find(|(id, _)| *id == trigger);
        found.map(|(_, known)| known.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_requests_are_remembered() {
        let latest = Latest::default();
        for id in 0..=REMEMBERED as u128 {
            latest.put(TriggerId(id), 0);
        }
        latest.put(TriggerId(7), 1);
        assert_eq!(latest.get(TriggerId(0)), None);
        assert_eq!(latest.get(TriggerId(7)), Some(1));
        assert_eq!(latest.get(TriggerId(REMEMBERED as u128)), Some(0));
    }
}
