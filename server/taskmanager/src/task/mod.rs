//! One attempt of one task, on a thread of its own.
//!
//! ```text
//!  pipes ─► Gate ─► source, operator or sink ─► Outputs ─► pipes
//!             ▲                │
//!           Inbox              ├─► Snapshots ─► checkpoint storage
//!     (orders, cancel)         ▼
//!                        TaskEvent, to the session
//! ```
//!
//! At a barrier, in this order: what waits in the outputs is sent, then the barrier, then the state is
//! snapshotted. The snapshot is stored while the task goes on, or, if its job is suspended with this
//! savepoint, waits.

mod gate;
mod metrics;
mod output;
mod partition;
mod process;
mod snapshot;
mod source;
mod suspension;
#[cfg(test)]
mod tests;
mod wiring;

pub(crate) use metrics::Counters;

use crate::channel::{Canceled, Hub, Inbox};
use crate::exchange::Peers;
use crate::folders::Folders;
use crate::sdk::{Behaviour, KeyGroups, OperatorContext, OperatorError, Registry};
use crate::storage::Storage;
use jobmanager_core::id::AttemptId;
use jobmanager_core::message::{JobTable, TableVertex};
use jobmanager_core::taskmanager::{TaskEvent, TaskStart};
use jobmanager_proto::limits;
use snapshot::Snapshots;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// What a task tells the session: which attempt, and what.
pub(crate) type Report = (AttemptId, TaskEvent);

/// What all tasks of a TaskManager share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) peers: Arc<Peers>,
    /// Replaced when a JobManager names another one.
    pub(crate) storage: Arc<RwLock<Storage>>,
    /// Where jobs may have files of this machine, besides that.
    pub(crate) folders: Folders,
    pub(crate) runtime: Handle,
    /// Our own data exchange: tasks at this address are here.
    pub(crate) data_address: Arc<str>,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl Shared {
    fn storage(&self) -> Storage {
        let storage = self.storage.read();
        storage.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why a task ends before its work is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Canceled,
    Failed(String),
}

impl From<Canceled> for Stop {
    fn from(Canceled: Canceled) -> Stop {
        Stop::Canceled
    }
}

impl From<OperatorError> for Stop {
    fn from(OperatorError(cause): OperatorError) -> Stop {
        Stop::Failed(cause)
    }
}

/// A task before and while it runs.
pub(crate) struct Task {
    pub(crate) start: TaskStart,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shared: Shared,
}

impl Task {
    /// The body of the task's thread. Whatever happens in it, the last report is a terminal one.
    pub(crate) fn run(self) {
        let (attempt, inbox) = (self.start.attempt, Arc::clone(&self.inbox));
        let reports = self.shared.reports.clone();
        let ended = catch_unwind(AssertUnwindSafe(|| self.work()));
        let ended = ended.unwrap_or_else(|panic| Err(Stop::Failed(panic_message(&*panic))));
        let event = match ended {
            Ok(()) => TaskEvent::Finished,
            // An operator may dress the error of a canceled wait in words of its own.
            Err(_) if inbox.is_canceled() => TaskEvent::Canceled,
            Err(Stop::Canceled) => TaskEvent::Canceled,
            Err(Stop::Failed(cause)) => TaskEvent::Failed {
                cause: shortened(cause),
            },
        };
        // Without a session nobody is left to tell.
        let _ = reports.blocking_send((attempt, event));
    }

    fn work(self) -> Result<(), Stop> {
        if self.start.finish {
            return self.finish();
        }
        let wiring = wiring::connect(&self)?;
        let behaviour = self.restore()?;
        let end_of_data = self.start.end_of_data;
        self.restored()?;
        let inputs = !wiring.inlets.is_empty();
        let outputs = wiring.has_outputs;
        match behaviour {
            Behaviour::Source(_) if inputs => Err(self.misplaced("a source", "inputs")),
            Behaviour::Sink(_) if outputs => Err(self.misplaced("a sink", "outputs")),
            Behaviour::Source(source) => source::run(&self, wiring, source, end_of_data),
            Behaviour::Operator(_) | Behaviour::Sink(_) if !inputs => {
                Err(self.misplaced("not a source", "no inputs"))
            }
            Behaviour::Operator(operator) => process::run(
                &self,
                wiring,
                process::Work::Operator(operator),
                end_of_data,
            ),
            Behaviour::Sink(sink) => {
                process::run(&self, wiring, process::Work::Sink(sink), end_of_data)
            }
        }
    }

    /// Nothing comes after the restored checkpoint: what a sink prepared for it is published when it is made.
    fn finish(&self) -> Result<(), Stop> {
        self.restore()?;
        self.restored()
    }

    /// Says so, unless the task is to stop.
    fn restored(&self) -> Result<(), Stop> {
        if self.inbox.is_canceled() {
            return Err(Stop::Canceled);
        }
        self.report(TaskEvent::Running);
        Ok(())
    }

    /// Makes the operator with its restored state.
    fn restore(&self) -> Result<Behaviour, Stop> {
        let vertex = self.vertex()?;
        let state = snapshot::restore(self, self.key_groups(vertex))?;
        let config = serde_json::from_str(&vertex.config).map_err(|problem| {
            let name = &vertex.name;
            Stop::Failed(format!(
                "the configuration of {name} is not JSON: {problem}"
            ))
        })?;
        let cx = OperatorContext {
            job_name: self.table().name.clone(),
            attempt: self.start.attempt,
            vertex: vertex.name.clone(),
            subtask: self.start.attempt.task.subtask.0,
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            since: vertex.since,
            config,
            checkpoints: self.table().checkpoints.is_some(),
            restored: self.start.restore,
            folders: self.shared.folders.clone(),
            state,
        };
        Ok(self.shared.registry.make(&vertex.operator, &cx)?)
    }

    fn snapshots(&self) -> Result<Snapshots, Stop> {
        let key_groups = self.key_groups(self.vertex()?);
        let (attempt, shared) = (self.start.attempt, self.shared.clone());
        Ok(Snapshots::new(attempt, key_groups, self.table(), shared))
    }

    fn key_groups(&self, vertex: &TableVertex) -> KeyGroups {
        let subtask = self.start.attempt.task.subtask.0;
        KeyGroups::new(vertex.max_parallelism, vertex.parallelism, subtask)
    }

    fn report(&self, event: TaskEvent) {
        // Without a session nobody is left to tell; the task is about to be canceled.
        let _ = self
            .shared
            .reports
            .blocking_send((self.start.attempt, event));
    }

    fn table(&self) -> &JobTable {
        &self.start.table
    }

    fn vertex(&self) -> Result<&TableVertex, Stop> {
        let index = self.start.attempt.task.vertex.0;
        let vertex = self.table().vertices.get(index as usize);
        vertex.ok_or_else(|| Stop::Failed(format!("the deployment has no vertex {index}")))
    }

    fn misplaced(&self, is: &str, has: &str) -> Stop {
        let operator = self.vertex().map_or("?", |vertex| &vertex.operator);
        let problem = format!("the operator {operator} is {is}, but its vertex has {has}");
        Stop::Failed(problem)
    }
}

/// Nobody reads more, and a message to the JobManager holds no more.
fn shortened(mut cause: String) -> String {
    let mut end = cause.len().min(limits::MAX_PROSE);
    while !cause.is_char_boundary(end) {
        end -= 1;
    }
    cause.truncate(end);
    cause
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}
