//! A cluster inside the test's process, with jobs in every condition in which answers were recorded.

use crate::support::Running;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The cluster, and its jobs by what has become of them.
pub(super) struct Cluster {
    pub(super) running: Running,
    workers: Vec<Worker>,
    /// Restored from a checkpoint after a failure; has a savepoint.
    pub(super) job: String,
    pub(super) finished: String,
    pub(super) failed: String,
    pub(super) stopped: String,
    pub(super) waiting: String,
    pub(super) canceled: String,
    /// Of the savepoint of `job`, and of the refused one of `waiting`.
    pub(super) savepoint: String,
    pub(super) refused: String,
    pub(super) taskmanager: String,
    /// The ids of the vertices of `job`.
    pub(super) vertices: Vec<String>,
    /// A completed checkpoint of `job` that is retained.
    pub(super) checkpoint: u64,
}

struct Worker {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Worker {
    fn start(running: &Running, id: &str, slots: u32) -> Worker {
        let options = taskmanager::Options {
            jobmanagers: vec![running.bound.rpc.to_string()],
            slots: Some(slots),
            bind_addr: "127.0.0.1:0".parse().unwrap(),
            id: Some(id.to_owned()),
            leave_timeout: Duration::ZERO,
            tls: None,
            allow_insecure: false,
            allowed_dirs: Vec::new(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let operators = taskmanager::operators::builtin();
        let run = taskmanager::run(options, operators, std::future::pending(), stopped);
        let ended = tokio::spawn(async move { run.await.unwrap() });
        Worker { stop, ended }
    }
}

/// source → keyed count → sink, as in the recordings; the source makes `count` records, and `more` goes into the graph.
fn graph(name: &str, parallelism: u32, count: u64, more: &Value) -> Vec<u8> {
    let mut graph = json!({
        "name": name,
        "vertices": [
            { "id": "from", "operator": "datagen-source", "parallelism": parallelism,
              "config": { "count": count, "rate": 500, "keys": 4 } },
            { "id": "fail", "operator": "fail-once", "parallelism": parallelism,
              "config": { "afterRecords": 100_000_000 } },
            { "id": "count", "operator": "count", "parallelism": parallelism,
              "config": { "emit": "updates" } },
            { "id": "to", "operator": "blackhole-sink", "parallelism": parallelism },
        ],
        "edges": [
            { "source": "from", "target": "fail", "partitioning": "forward" },
            { "source": "fail", "target": "count", "partitioning": "hash" },
            { "source": "count", "target": "to", "partitioning": "forward" },
        ],
        "configuration": { "execution.checkpointing.interval": "100 ms" },
    });
    let parts = more.as_object().unwrap().clone();
    graph.as_object_mut().unwrap().extend(parts);
    serde_json::to_vec(&graph).unwrap()
}

/// The same, the second operator of which fails after so many records.
fn failing(name: &str, after: u64, configuration: &Value) -> Vec<u8> {
    let more = json!({ "configuration": configuration });
    let graph = graph(name, 2, 100_000_000, &more);
    let text = String::from_utf8(graph).unwrap();
    let wanted = format!("\"afterRecords\":{after}");
    text.replace("\"afterRecords\":100000000", &wanted).into()
}

impl Cluster {
    pub(super) async fn start(folder: &Path) -> Cluster {
        let define = ["heartbeat.interval=50 ms", "web.checkpoints.history=1000"];
        let running = Running::start(folder, &define).await;
        let workers = vec![
            Worker::start(&running, "tm-1", 4),
            Worker::start(&running, "tm-2", 4),
        ];
        let fails = json!({
            "execution.checkpointing.interval": "50 ms",
            "execution.checkpointing.num-retained": "200",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.delay": "0 ms",
        });
        let job = submit(&running, failing("running", 300, &fails)).await;
        let none = json!({});
        let finished = submit(&running, graph("finished", 1, 20, &none)).await;
        let never = json!({ "restart-strategy.type": "none" });
        let failed = submit(&running, failing("failed", 3, &never)).await;
        let stopped = submit(&running, graph("stopped", 1, 100_000_000, &none)).await;
        let soon = json!({ "configuration": {
            "execution.checkpointing.interval": "100 ms", "execution.checkpointing.timeout": "200 ms",
        } });
        let waiting = submit(&running, graph("waiting", 32, 1, &soon)).await;
        let canceled = submit(&running, graph("canceled", 32, 1, &none)).await;
        let mut cluster = Cluster {
            running,
            workers,
            job,
            finished,
            failed,
            stopped,
            waiting,
            canceled,
            savepoint: String::new(),
            refused: String::new(),
            taskmanager: String::new(),
            vertices: Vec::new(),
            checkpoint: 0,
        };
        cluster.bring_about(folder).await;
        cluster
    }

    /// Waits until each job is in its condition.
    async fn bring_about(&mut self, folder: &Path) {
        let running = &self.running;
        let cancel = format!("/jobs/{}", self.canceled);
        assert_eq!(running.request("PATCH", &cancel, "").await.0, 202);
        let checkpoints = format!("/jobs/{}/checkpoints", self.job);
        let restored = |value: &Value| value["latest"]["restored"].is_object();
        running.until(&checkpoints, restored).await;
        let savepoint = savepoint_of(running, &self.job, "savepoints", folder).await;
        let refused = savepoint_of(running, &self.waiting, "savepoints", folder).await;
        let after = running.until(&checkpoints, |value| {
            let latest = &value["latest"]["completed"];
            latest["id"].as_u64() > value["latest"]["savepoint"]["id"].as_u64()
        });
        let checkpoint = after.await["latest"]["completed"]["id"].as_u64().unwrap();
        savepoint_of(running, &self.stopped, "stop", folder).await;
        for (job, state) in [
            (&self.finished, "FINISHED"),
            (&self.failed, "FAILED"),
            (&self.stopped, "FINISHED"),
            (&self.canceled, "CANCELED"),
        ] {
            let path = format!("/jobs/{job}/status");
            running.until(&path, |value| value["status"] == state).await;
        }
        let details = running.get(&format!("/jobs/{}", self.job)).await;
        let vertices = details["vertices"].as_array().unwrap().iter();
        let vertices: Vec<String> = vertices.map(|vertex| text(&vertex["id"])).collect();
        let vertex = format!("/jobs/{}/vertices/{}", self.job, vertices[0]);
        let has_told = |value: &Value| {
            let mut subtasks = value["subtasks"].as_array().unwrap().iter();
            subtasks.all(|subtask| subtask["metrics"]["write-records-complete"] == true)
        };
        let vertex = running.until(&vertex, has_told).await;
        // One that has a task: where they are is not the test's to say.
        self.taskmanager = text(&vertex["subtasks"][0]["taskmanager-id"]);
        (self.savepoint, self.refused) = (savepoint, refused);
        (self.vertices, self.checkpoint) = (vertices, checkpoint);
    }

    pub(super) async fn stop(self) {
        for worker in self.workers {
            drop(worker.stop);
            worker.ended.await.unwrap();
        }
        self.running.stop().await;
    }
}

async fn submit(running: &Running, graph: Vec<u8>) -> String {
    let (status, accepted) = running.request("POST", "/jobs", graph).await;
    assert_eq!(status, 202, "{accepted}");
    text(&accepted["jobid"])
}

/// Asks for a savepoint, or for a stop with one, and waits for its end; its trigger.
async fn savepoint_of(running: &Running, job: &str, route: &str, folder: &Path) -> String {
    let directory = folder.join("savepoints");
    let body = json!({ "target-directory": directory, "targetDirectory": directory }).to_string();
    let path = format!("/jobs/{job}/{route}");
    let (status, asked) = running.request("POST", &path, body).await;
    assert_eq!(status, 202, "{asked}");
    let trigger = text(&asked["request-id"]);
    let path = format!("/jobs/{job}/savepoints/{trigger}");
    let completed = |value: &Value| value["status"]["id"] == "COMPLETED";
    running.until(&path, completed).await;
    trigger
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
