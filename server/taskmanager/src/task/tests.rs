//! Whole pipelines, without a JobManager: the tests give the orders and take the reports.

#![allow(clippy::unwrap_used)]

mod lifecycle;
mod operators;
mod pipeline;
mod savepoints;

use super::{Report, Shared};
use crate::channel::{Hub, Order};
use crate::exchange::{Exchange, Peers, serve};
use crate::folders::Folders;
use crate::options::exchange_limits;
use crate::sdk::Registry;
use crate::storage::Storage;
use crate::tasks::Tasks;
use crate::tls::{Dialer, Incoming};
use jobmanager_core::config::CheckpointMode;
use jobmanager_core::graph::{JobEdge, Partitioning};
use jobmanager_core::id::{
    Attempt, AttemptId, CheckpointId, Epoch, JobId, SlotIndex, SubtaskIndex, TaskId, VertexIndex,
};
use jobmanager_core::message::{
    JobTable, StateHandle, SubtaskState, TableCheckpoints, TableVertex,
};
use jobmanager_core::redistribute::redistribute;
use jobmanager_core::taskmanager::{TaskEvent, TaskStart};
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Far more than anything here takes; only a test that fails waits for so long.
const LONG: Duration = Duration::from_secs(20);

/// Some TaskManagers and what their tasks report.
struct Cluster {
    runtime: Runtime,
    taskmanagers: Vec<Tasks>,
    /// Of each TaskManager.
    shared: Vec<Shared>,
    addresses: Vec<String>,
    storage: Arc<RwLock<Storage>>,
    reports: mpsc::Receiver<Report>,
    _running: watch::Sender<()>,
}

/// What tasks have acknowledged.
type States = BTreeMap<TaskId, StateHandle>;

/// A job with its vertices in a row: name, operator, parallelism, config.
struct Job {
    table: JobTable,
    attempt: u32,
    restore: BTreeMap<TaskId, Vec<StateHandle>>,
    finish: bool,
}

impl Cluster {
    fn new(taskmanagers: usize, registry: Registry) -> Cluster {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (reports, reported) = mpsc::channel(1_024);
        let (running, is_running) = watch::channel(());
        let storage = Arc::new(RwLock::new(Storage::Unknown));
        let registry = Arc::new(registry);
        let mut cluster = Cluster {
            taskmanagers: Vec::new(),
            shared: Vec::new(),
            addresses: Vec::new(),
            storage: Arc::clone(&storage),
            reports: reported,
            _running: running,
            runtime,
        };
        for _ in 0..taskmanagers {
            let listener = TcpListener::bind("127.0.0.1:0");
            let listener = cluster.runtime.block_on(listener).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let hub = Arc::new(Hub::default());
            let exchange = Exchange::new(Arc::clone(&hub), is_running.clone());
            let _inside = cluster.runtime.enter();
            let incoming = Incoming::new(listener, None, None, exchange_limits(1_024));
            cluster.runtime.spawn(serve(incoming, exchange));
            let shared = Shared {
                registry: Arc::clone(&registry),
                hub,
                peers: Peers::new(cluster.runtime.handle().clone(), Dialer::default()),
                storage: Arc::clone(&storage),
                folders: Folders::default(),
                runtime: cluster.runtime.handle().clone(),
                data_address: address.as_str().into(),
                reports: reports.clone(),
            };
            cluster.shared.push(shared.clone());
            cluster.taskmanagers.push(Tasks::new(shared));
            cluster.addresses.push(address);
        }
        cluster
    }

    /// Keeps snapshots in this folder.
    fn store_in(&self, folder: &std::path::Path) {
        *self.storage.write().unwrap() = Storage::Folder(folder.to_owned());
    }

    /// Deploys every task; slot s of the job is on TaskManager s modulo their number.
    fn deploy(&mut self, job: &Job) -> Vec<AttemptId> {
        let mut table = job.table.clone();
        let count = u32::try_from(self.addresses.len()).unwrap();
        table.addresses = self.addresses.clone();
        table.slots = table.slots.iter().map(|slot| slot % count).collect();
        let table = Arc::new(table);
        let mut attempts = Vec::new();
        for (v, vertex) in (0..).zip(&table.vertices) {
            for s in 0..vertex.parallelism {
                let task = task(v, s);
                let attempt = job.attempt(task);
                let start = TaskStart {
                    attempt,
                    slot: SlotIndex(s),
                    table: Arc::clone(&table),
                    restore: (!job.restore.is_empty()).then_some(CheckpointId(1)),
                    end_of_data: job.restored_at_end(task),
                    state: job.restore.get(&task).cloned().unwrap_or_default(),
                    finish: job.finish,
                };
                let on = table.slots[(vertex.first_slot + s) as usize] as usize;
                self.taskmanagers[on].start(start).unwrap();
                attempts.push(attempt);
            }
        }
        attempts
    }

    fn next(&mut self) -> Report {
        let report = async { timeout(LONG, self.reports.recv()).await };
        let report = self.runtime.block_on(report);
        report.expect("a report in time").unwrap()
    }

    /// Waits until every one of the attempts has reported something that `wanted` takes.
    fn each<T>(
        &mut self,
        attempts: &[AttemptId],
        wanted: impl Fn(&TaskEvent) -> Option<T>,
    ) -> BTreeMap<TaskId, T> {
        let mut found = BTreeMap::new();
        while found.len() < attempts.len() {
            let (attempt, event) = self.next();
            if let Some(taken) = wanted(&event) {
                found.insert(attempt.task, taken);
            } else if let TaskEvent::Failed { cause } = event {
                panic!("{attempt} failed: {cause}");
            }
        }
        found
    }

    fn all(&mut self, attempts: &[AttemptId], event: &TaskEvent) {
        self.each(attempts, |reported| (reported == event).then_some(()));
    }

    fn order(&self, attempts: &[AttemptId], order: &Order) {
        for taskmanager in &self.taskmanagers {
            for attempt in attempts {
                taskmanager.order(*attempt, order.clone());
            }
        }
    }

    fn cancel(&self, attempt: AttemptId) {
        for taskmanager in &self.taskmanagers {
            taskmanager.cancel(attempt);
        }
    }

    /// Triggers a checkpoint and waits for all acknowledgements.
    fn checkpoint(&mut self, attempts: &[AttemptId], checkpoint: u64) -> States {
        let checkpoint = CheckpointId(checkpoint);
        self.order(attempts, &Order::Trigger(checkpoint.into()));
        self.snapshots(attempts, checkpoint)
    }

    /// Waits for the acknowledgements of these attempts.
    fn snapshots(&mut self, attempts: &[AttemptId], checkpoint: CheckpointId) -> States {
        self.each(attempts, |event| {
            let TaskEvent::Snapshotted {
                checkpoint: of,
                state,
            } = event
            else {
                return None;
            };
            (*of == checkpoint).then(|| state.clone())
        })
    }

    fn complete(&self, attempts: &[AttemptId], checkpoint: u64, finish: bool) {
        let checkpoint = CheckpointId(checkpoint);
        self.order(attempts, &Order::Complete { checkpoint, finish });
    }

    /// The cause of the first failure.
    fn failure(&mut self) -> (TaskId, String) {
        loop {
            if let (attempt, TaskEvent::Failed { cause }) = self.next() {
                return (attempt.task, cause);
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for taskmanager in &self.taskmanagers {
            taskmanager.cancel_all();
        }
    }
}

impl Job {
    fn new(
        vertices: &[(&str, u32, serde_json::Value)],
        partitionings: &[Partitioning],
        checkpoints: Option<TableCheckpoints>,
    ) -> Job {
        let mut slots = 0;
        let vertices = vertices.iter().map(|(operator, parallelism, config)| {
            slots += parallelism;
            TableVertex {
                name: (*operator).to_owned(),
                operator_id: 0,
                operator: (*operator).to_owned(),
                config: config.to_string(),
                parallelism: *parallelism,
                max_parallelism: 128,
                first_slot: slots - parallelism,
                since: None,
            }
        });
        let vertices = vertices.collect();
        let edges = (0..)
            .zip(partitionings)
            .map(|(source, partitioning)| JobEdge {
                source: VertexIndex(source),
                target: VertexIndex(source + 1),
                partitioning: *partitioning,
            });
        let table = JobTable {
            name: "test".to_owned(),
            vertices,
            edges: edges.collect(),
            slots: (0..slots).collect(),
            addresses: Vec::new(),
            checkpoints,
        };
        Job {
            table,
            attempt: 0,
            restore: BTreeMap::new(),
            finish: false,
        }
    }

    /// The next attempt, from these snapshots.
    fn restored(mut self, states: States) -> Job {
        self.attempt += 1;
        let states = states.into_iter().filter(|(_, state)| !state.is_nothing());
        self.restore = states.map(|(task, state)| (task, vec![state])).collect();
        self
    }

    /// The next attempt, from these snapshots, with this number of subtasks of each vertex.
    fn rescaled(self, states: &States, parallelisms: &[u32]) -> Job {
        let mut job = self.restored(States::new());
        let mut slots = 0;
        for (v, (vertex, new)) in (0..).zip(job.table.vertices.iter_mut().zip(parallelisms)) {
            let old =
                (0..vertex.parallelism).map(|s| SubtaskState::Own(states[&task(v, s)].clone()));
            let old: Vec<_> = old.collect();
            let given = redistribute(&old, vertex.max_parallelism, *new).unwrap();
            let given = given.iter().map(|state| state.handles().to_vec());
            job.restore.extend((0..).map(|s| task(v, s)).zip(given));
            vertex.parallelism = *new;
            vertex.first_slot = slots;
            slots += *new;
        }
        job.table.slots = (0..slots).collect();
        job
    }

    fn restored_at_end(&self, task: TaskId) -> bool {
        let handles = self.restore.get(&task).map_or(&[][..], Vec::as_slice);
        !handles.is_empty() && handles.iter().all(|handle| handle.end_of_data)
    }

    fn attempt(&self, task: TaskId) -> AttemptId {
        AttemptId {
            job: JobId(7),
            task,
            attempt: Attempt {
                epoch: Epoch(1),
                number: self.attempt,
            },
        }
    }
}

fn task(vertex: u32, subtask: u32) -> TaskId {
    TaskId {
        vertex: VertexIndex(vertex),
        subtask: SubtaskIndex(subtask),
    }
}

fn exactly_once(inline_threshold: u64) -> Option<TableCheckpoints> {
    let mode = CheckpointMode::ExactlyOnce;
    Some(TableCheckpoints {
        mode,
        inline_threshold,
    })
}
