//! The tokio shell of the worker: data exchange, tasks, checkpoint storage, and the [`sdk`] with which
//! users write their own operators.

pub mod operators;
pub mod sdk;
