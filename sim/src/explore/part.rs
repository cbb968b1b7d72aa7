//! A piece of the world's state that most steps leave alone: shared between states, with its digest.

use jobmanager_core::digest::Digest;
use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

/// A shared value that knows its digest once somebody has asked for it.
#[derive(Debug)]
pub(super) struct Part<T> {
    value: Rc<T>,
    digest: Cell<Option<u64>>,
}

impl<T: Clone> Part<T> {
    pub(super) fn new(value: T) -> Self {
        Part {
            value: Rc::new(value),
            digest: Cell::new(None),
        }
    }

    /// Changes this state's value; other states keep theirs.
    pub(super) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        self.digest.set(None);
        change(Rc::make_mut(&mut self.value))
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Part {
            value: self.value.clone(),
            digest: self.digest.clone(),
        }
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Hash> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let digest = self
            .digest
            .get()
            .unwrap_or_else(|| Digest::of(&*self.value));
        self.digest.set(Some(digest));
        state.write_u64(digest);
    }
}
