//! The simulated task runtime: tasks that really compute, channels with credit, barriers in-band.
//!
//! [`task::Task`] is one attempt of one subtask. [`channels`] carries elements between tasks of one
//! TaskManager directly and between TaskManagers as bytes. [`operator`] is what a task does with a row, [`contents`] what a snapshot
//! of it is made of.

pub(crate) mod channels;
pub(crate) mod contents;
pub(crate) mod frame;
pub(crate) mod operator;
pub(crate) mod task;
