//! The one place where a task waits.

use super::barrier::Barrier;
use super::pipe::Reader;
use jobmanager_core::id::CheckpointId;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Orders that may wait for a task. A coordinator has fewer checkpoints under way; of a task that is
/// stuck for so long, the oldest orders have expired or are repeated by later ones.
const MAX_ORDERS: usize = 256;

/// What a task is told while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Snapshot now, and send the barrier. Only for tasks without inputs.
    Trigger(Barrier),
    /// A checkpoint is durable.
    Complete {
        checkpoint: CheckpointId,
        /// Commit and finish.
        finish: bool,
    },
    /// A checkpoint will not complete.
    Abort(CheckpointId),
    /// No checkpoint below this one that is not complete will complete.
    AbortBelow(CheckpointId),
}

/// The task has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Canceled;

/// Why a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// An order came. Orders come before frames.
    Order(Order),
    /// This input channel has something; the caller puts it back with [`Inbox::ready`] while it has more.
    Channel(u32),
    /// Nothing came in time.
    Timeout,
}

/// A task's mailbox. Many write, the task's thread waits.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    canceled: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    orders: VecDeque<Order>,
    /// Each input channel once, and once more for its end: bounded by the channels there are.
    ready: VecDeque<u32>,
    writable: bool,
}

impl Reader for Inbox {
    fn ready(&self, channel: u32) {
        self.lock().ready.push_back(channel);
        self.wake.notify_all();
    }
}

impl Inbox {
    /// Gives an order.
    pub(crate) fn post(&self, order: Order) {
        let mut state = self.lock();
        if state.orders.len() == MAX_ORDERS {
            state.orders.pop_front();
        }
        state.orders.push_back(order);
        drop(state);
        self.wake.notify_all();
    }

    /// Ends every wait of the task, now and later.
    pub(crate) fn cancel(&self) {
        // Under the lock: a task that has just looked at the flag must be waiting before it is woken.
        let state = self.lock();
        self.canceled.store(true, Ordering::Release);
        drop(state);
        self.wake.notify_all();
    }

    pub(crate) fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::Acquire)
    }

    /// An output that was full has room, or is broken.
    pub(crate) fn writable(&self) {
        self.lock().writable = true;
        self.wake.notify_all();
    }

    /// Waits for an order or a channel, at longest until `deadline`.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Result<Next, Canceled> {
        let mut state = self.lock();
        loop {
            if self.is_canceled() {
                return Err(Canceled);
            }
            if let Some(order) = state.orders.pop_front() {
                return Ok(Next::Order(order));
            }
            if let Some(channel) = state.ready.pop_front() {
                return Ok(Next::Channel(channel));
            }
            state = match deadline {
                None => self.wait(state),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Next::Timeout);
                    }
                    let waited = self.wake.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// An order, if there is one. Does not wait.
    pub(crate) fn try_order(&self) -> Result<Option<Order>, Canceled> {
        if self.is_canceled() {
            return Err(Canceled);
        }
        Ok(self.lock().orders.pop_front())
    }

    /// Waits for [`Inbox::writable`]; returns at once if it was called since the last wait.
    pub(crate) fn wait_writable(&self) -> Result<(), Canceled> {
        let mut state = self.lock();
        loop {
            if self.is_canceled() {
                return Err(Canceled);
            }
            if std::mem::take(&mut state.writable) {
                return Ok(());
            }
            state = self.wait(state);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let woken = self.wake.wait(state);
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    /// No code of users runs under the lock, and every change under it is whole: a poisoned one is fine.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn orders_come_before_frames_and_both_in_their_order() {
        let inbox = Inbox::default();
        inbox.ready(3);
        inbox.ready(1);
        inbox.post(Order::Trigger(CheckpointId(1).into()));
        let next = || inbox.next(Some(Instant::now())).unwrap();
        assert_eq!(next(), Next::Order(Order::Trigger(CheckpointId(1).into())));
        assert_eq!(next(), Next::Channel(3));
        assert_eq!(next(), Next::Channel(1));
        assert_eq!(next(), Next::Timeout);
    }

    #[test]
    fn room_that_came_before_the_wait_is_not_missed() {
        let inbox = Inbox::default();
        inbox.writable();
        assert_eq!(inbox.wait_writable(), Ok(()));
    }

    #[test]
    fn cancel_ends_a_wait_for_frames_and_a_wait_for_room() {
        let inbox = Inbox::default();
        std::thread::scope(|scope| {
            let frames = scope.spawn(|| inbox.next(None));
            let room = scope.spawn(|| inbox.wait_writable());
            inbox.cancel();
            assert_eq!(frames.join().unwrap(), Err(Canceled));
            assert_eq!(room.join().unwrap(), Err(Canceled));
        });
    }

    #[test]
    fn waiting_orders_are_bounded_and_the_latest_stay() {
        let inbox = Inbox::default();
        let last = MAX_ORDERS as u64 + 10;
        for checkpoint in 1..=last {
            inbox.post(Order::Trigger(CheckpointId(checkpoint).into()));
        }
        let first = inbox.try_order().unwrap();
        assert_eq!(first, Some(Order::Trigger(CheckpointId(11).into())));
    }
}
