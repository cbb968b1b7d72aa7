//! The attempts that run here, by name: starting them, and passing orders on to them.

use crate::channel::{Inbox, Order};
use crate::task::{Counters, Shared, Task};
use jobmanager_core::id::AttemptId;
use jobmanager_core::taskmanager::TaskStart;
use jobmanager_proto::TaskMetrics;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

/// See the module. An attempt is here from its start to its terminal report.
pub(crate) struct Tasks {
    shared: Shared,
    running: HashMap<AttemptId, Running>,
}

struct Running {
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
}

impl Tasks {
    pub(crate) fn new(shared: Shared) -> Tasks {
        let running = HashMap::new();
        Tasks { shared, running }
    }

    /// Starts a task on a thread of its own.
    ///
    /// # Errors
    /// The system has no further thread; the words are the system's.
    pub(crate) fn start(&mut self, start: TaskStart) -> Result<(), String> {
        let attempt = start.attempt;
        let name = thread_name(&start);
        let running = Running {
            inbox: Arc::default(),
            counters: Arc::default(),
        };
        let task = Task {
            start,
            inbox: Arc::clone(&running.inbox),
            counters: Arc::clone(&running.counters),
            shared: self.shared.clone(),
        };
        let spawned = thread::Builder::new().name(name).spawn(move || task.run());
        spawned.map_err(|problem| format!("cannot start a thread: {problem}"))?;
        self.running.insert(attempt, running);
        Ok(())
    }

    /// Stops a task; it reports when it has ended.
    pub(crate) fn cancel(&self, attempt: AttemptId) {
        if let Some(running) = self.running.get(&attempt) {
            running.inbox.cancel();
        }
    }

    /// Stops every task.
    pub(crate) fn cancel_all(&self) {
        for running in self.running.values() {
            running.inbox.cancel();
        }
    }

    /// Passes an order on. To a task that has ended it means nothing any more.
    pub(crate) fn order(&self, attempt: AttemptId, order: Order) {
        if let Some(running) = self.running.get(&attempt) {
            running.inbox.post(order);
        }
    }

    /// Whether the attempt has not ended yet.
    pub(crate) fn has(&self, attempt: AttemptId) -> bool {
        self.running.contains_key(&attempt)
    }

    /// The task has reported its end; tells what it did in its life.
    pub(crate) fn ended(&mut self, attempt: AttemptId) -> Option<TaskMetrics> {
        let running = self.running.remove(&attempt)?;
        Some(running.counters.metrics(attempt))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// What every task has done so far.
    pub(crate) fn metrics(&self) -> Vec<TaskMetrics> {
        let running = self.running.iter();
        running
            .map(|(attempt, running)| running.counters.metrics(*attempt))
            .collect()
    }
}

/// What a debugger or `top -H` shows.
fn thread_name(start: &TaskStart) -> String {
    let task = start.attempt.task;
    let vertex = start.table.vertices.get(task.vertex.0 as usize);
    let vertex = vertex.map_or("?", |vertex| &vertex.name);
    // A thread's name cannot hold a zero byte.
    format!("{}-{}", vertex.replace('\0', " "), task.subtask.0)
}
