//! What the JobManager alone decides: how soon it answers, deploys and recovers.

use crate::Effort;
use crate::cluster::{Cluster, free_ports, jobmanager, own_address};
use crate::measure::{Table, ms, resident, time_until};
use crate::process::{Process, let_run};
use crate::rest::Rest;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The defaults, where the tests' clusters have others: a loss is noticed without heartbeats.
const DEFAULTS: [(&str, &str); 2] = [
    ("heartbeat.interval", "10 s"),
    ("heartbeat.timeout", "50 s"),
];

/// A job of two vertices that has next to nothing to do.
fn two_vertices(parallelism: u32, configuration: &Value) -> Value {
    json!({
        "name": "two vertices",
        "vertices": [
            {"id": "numbers", "operator": "datagen-source", "parallelism": parallelism,
             "config": {"rate": 1}},
            {"id": "out", "operator": "blackhole-sink", "parallelism": parallelism}],
        "edges": [{"source": "numbers", "target": "out", "partitioning": "hash"}],
        "configuration": configuration})
}

/// `serve` with an empty data folder.
pub(crate) fn cold_start(table: &Table, effort: &Effort) {
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..effort.short_runs {
        let folder = tempfile::tempdir().unwrap();
        let host = own_address();
        let [rest_address, rpc_address] = free_ports(host);
        let rest = Rest::new(&format!("http://{rest_address}"));
        let mut command = jobmanager();
        command
            .args(["serve", "--rest-addr", &rest_address])
            .args(["--rpc-addr", &rpc_address, "--data-dir"])
            .arg(folder.path().join("data"));
        let start = Instant::now();
        let process = Process::start(&mut command, &folder.path().join("log"));
        let time = time_until(start, "REST", || answers(&rest));
        times.push(ms(time));
        let_run(Duration::from_secs(1));
        memory.extend(resident(process.pid()));
    }
    table.row("start until REST answers, ms", times, 1, "100");
    table.row("JobManager memory, idle, MiB", memory, 1, "20");
}

fn answers(rest: &Rest) -> bool {
    matches!(rest.ask("GET", "/overview", b""), Some((200, _)))
}

/// From sending the job until all of its tasks run, in a cluster that has run one before.
pub(crate) fn submission(table: &Table, effort: &Effort, parallelism: u32, goal: &str) {
    let cluster = Cluster::start(2, parallelism.div_ceil(2), &DEFAULTS);
    let job = two_vertices(parallelism, &json!({}));
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for run in 0..=effort.short_runs {
        let start = Instant::now();
        let id = cluster.rest.submit(&job);
        let time = time_until(start, "all tasks to run", || {
            all_run(&cluster.rest.get(&format!("/jobs/{id}")))
        });
        if run > 0 {
            times.push(ms(time));
            memory.extend(jobmanager_memory(&cluster));
        }
        cancel(&cluster, &id);
    }
    let figure = format!("submit until all run, parallelism {parallelism}, ms");
    table.row(&figure, times, 1, goal);
    let figure = format!("JobManager memory, parallelism {parallelism}, MiB");
    table.row(&figure, memory, 1, "");
}

fn all_run(job: &Value) -> bool {
    let vertices = job["vertices"].as_array().unwrap();
    let all = vertices
        .iter()
        .all(|vertex| vertex["tasks"]["RUNNING"] == vertex["parallelism"]);
    all && job["state"] == "RUNNING"
}

fn jobmanager_memory(cluster: &Cluster) -> Option<f64> {
    resident(cluster.jobmanager.as_ref()?.pid())
}

fn cancel(cluster: &Cluster, job: &str) {
    let path = format!("/jobs/{job}?mode=cancel");
    let (status, answer) = cluster.rest.ask("PATCH", &path, b"").unwrap();
    assert_eq!(status, 202, "{answer}");
    cluster.rest.wait_for_state(job, "CANCELED");
}

/// From the SIGKILL of a TaskManager until all tasks run again on the others, with the state of the last
/// checkpoint. Two of the three TaskManagers have just enough slots, so there are always tasks that
/// have to be canceled first.
pub(crate) fn recovery(table: &Table, effort: &Effort) {
    const PARALLELISM: u32 = 10;
    let mut cluster = Cluster::start(3, PARALLELISM / 2, &DEFAULTS);
    let configuration = json!({
        "execution.checkpointing.interval": "1 s",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "1000",
        "restart-strategy.fixed-delay.delay": "0 ms"});
    let job = two_vertices(PARALLELISM, &configuration);
    let id = cluster.rest.submit(&job);
    let path = format!("/jobs/{id}");
    cluster.rest.wait_for_all_running(&id);
    let mut times = Vec::new();
    for _ in 0..effort.short_runs {
        cluster.rest.wait_for_new_checkpoint(&id);
        let restarts = cluster.rest.get(&path)["restarts"].as_u64().unwrap();
        let victim = busiest(&cluster.rest);
        let start = Instant::now();
        cluster.taskmanagers[victim].kill();
        let time = time_until(start, "all tasks to run again", || {
            let job = cluster.rest.get(&path);
            job["restarts"].as_u64() > Some(restarts) && all_run(&job)
        });
        times.push(ms(time));
        cluster.kill_and_restart_taskmanager(victim);
        cluster.wait_for_taskmanagers(3);
    }
    cancel(&cluster, &id);
    table.row(
        "SIGKILL of a TaskManager until all run, ms",
        times,
        1,
        "300",
    );
}

/// The TaskManager that runs the most tasks, by its number.
fn busiest(rest: &Rest) -> usize {
    let answer = rest.get("/taskmanagers");
    let all = answer["taskmanagers"].as_array().unwrap();
    let most = all.iter().max_by_key(|tm| tm["assignedTasks"].as_u64());
    let name = most.unwrap()["id"].as_str().unwrap();
    name.strip_prefix("tm-").unwrap().parse().unwrap()
}
