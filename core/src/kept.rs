//! A value with what was found out about it: its digest, and that it is in order.
//!
//! To look at everything after every step is dear, and a step changes little. What was found holds until
//! somebody may have changed the value: taking it mutably forgets all of it, so nothing outlives a change.

use crate::digest::Digest;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use serde::{Deserialize, Serialize};

/// A value that can change only through [`DerefMut`].
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Kept<T> {
    value: T,
    /// Zero while nobody knows it. Every thread would find the same, so no order is needed.
    #[serde(skip)]
    digest: AtomicU64,
    #[serde(skip)]
    in_order: AtomicBool,
}

impl<T> Kept<T> {
    /// A value of which nothing is known.
    pub(crate) fn new(value: T) -> Self {
        Kept {
            value,
            digest: AtomicU64::new(0),
            in_order: AtomicBool::new(false),
        }
    }

    /// Checks the value, unless it was found in order and has not changed since. For a type there is one
    /// such check.
    pub(crate) fn check<E>(&self, check: impl FnOnce(&T) -> Result<(), E>) -> Result<(), E> {
        if !self.in_order.load(Ordering::Relaxed) {
            check(&self.value)?;
            self.in_order.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        *self.digest.get_mut() = 0;
        *self.in_order.get_mut() = false;
        &mut self.value
    }
}

impl<T: Clone> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Kept {
            value: self.value.clone(),
            digest: AtomicU64::new(self.digest.load(Ordering::Relaxed)),
            in_order: AtomicBool::new(self.in_order.load(Ordering::Relaxed)),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Kept<T> {}

impl<T: Hash> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut digest = self.digest.load(Ordering::Relaxed);
        if digest == 0 {
            digest = Digest::of(&self.value);
            self.digest.store(digest, Ordering::Relaxed);
        }
        state.write_u64(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_forgotten_with_a_change() {
        let mut kept = Kept::new(1);
        let digest = Digest::of(&kept);
        assert_eq!(Digest::of(&kept.clone()), digest);
        assert_eq!(kept.check(|_| Ok::<_, ()>(())), Ok(()));
        assert_eq!(kept.check(|_| Err(())), Ok(()), "not looked at again");
        *kept = 2;
        assert_ne!(Digest::of(&kept), digest);
        assert_eq!(kept.check(|value| Err(*value)), Err(2));
        assert_eq!(
            kept.check(|value| Err(*value)),
            Err(2),
            "found wrong, looked at again"
        );
        *kept = 1;
        assert_eq!(Digest::of(&kept), digest);
    }
}
