//! How frames travel between two tasks, and how a task waits.
//!
//! A [`Pipe`] is a bounded queue of frames between one producer subtask and one consumer subtask. Within
//! a TaskManager it is all there is; between two, the exchange reads one pipe and writes another. A
//! [`Hub`] brings the two ends of a pipe together, whichever comes first. A task waits in one place
//! only, its [`Inbox`]: for frames, for room in its outputs, for orders, and for being canceled.

mod barrier;
mod hub;
mod inbox;
mod pipe;

pub(crate) use barrier::Barrier;
pub(crate) use hub::{Hub, Side};
pub(crate) use inbox::{Canceled, Inbox, Next, Order};
pub(crate) use pipe::{Frame, Pipe, Popped, PushError, Reader};
