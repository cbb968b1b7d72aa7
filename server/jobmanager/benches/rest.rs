//! How many requests REST answers: the list of one job, and a job with 200 subtasks, that runs.
//!
//! `cargo bench -p jobmanager --bench rest [-- --quick]`
//!
//! Everything is in this process: the JobManager with two threads, a TaskManager, and a client that keeps
//! [`CONNECTIONS`] connections busy from one thread. Each of them asks, waits for the answer, and asks again. The
//! client takes its part of the machine, too.

#![allow(clippy::unwrap_used)]

use jobmanager::options::{Options, ServeArgs};
use jobmanager::serve::Server;
use serde_json::{Value, json};
use std::future::pending;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

const CONNECTIONS: usize = 64;
const PARALLELISM: u32 = 100;
const ROUNDS: usize = 5;

/// What is asked for: a path, a header, and how many answers a second are wanted.
struct Case {
    path: String,
    header: &'static str,
    goal: Option<u32>,
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap()
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let round = Duration::from_millis(if quick { 200 } else { 3_000 });
    let folder = tempfile::tempdir().unwrap();
    let (server, worker, client) = (runtime(2), runtime(1), runtime(1));
    let args = ServeArgs {
        data_dir: Some(folder.path().join("data")),
        rest_addr: Some("127.0.0.1:0".to_owned()),
        rpc_addr: Some("127.0.0.1:0".to_owned()),
        ..ServeArgs::default()
    };
    let options = Options::from_args(&args).unwrap();
    let started = server.block_on(Server::start(options)).unwrap();
    let bound = started.bound();
    server.spawn(started.run(pending()));
    worker.spawn(taskmanager::run(
        taskmanager::Options {
            jobmanagers: vec![bound.rpc.to_string()],
            slots: Some(PARALLELISM),
            bind_addr: "127.0.0.1:0".parse().unwrap(),
            id: None,
            leave_timeout: Duration::ZERO,
            tls: None,
            allow_insecure: false,
            allowed_dirs: Vec::new(),
        },
        taskmanager::operators::builtin(),
        pending(),
        pending(),
    ));
    let job = client.block_on(submit(bound.rest));
    let case = |path: String, header, goal| Case { path, header, goal };
    println!("| answers per second on {CONNECTIONS} connections | median | p50 | p99 | goal |");
    println!("|---|--:|--:|--:|--:|");
    for case in [
        case("/jobs/overview".to_owned(), "", Some(25_000)),
        case(format!("/jobs/{job}"), "", Some(15_000)),
        case(format!("/jobs/{job}"), "accept-encoding: gzip\r\n", None),
    ] {
        client.block_on(measure(bound.rest, &case, round));
    }
    for runtime in [client, worker, server] {
        runtime.shutdown_background();
    }
}

/// Submits a job of two vertices, and waits until all of it runs.
async fn submit(address: SocketAddr) -> String {
    let graph = json!({
        "name": "bench",
        "vertices": [
            { "id": "from", "operator": "datagen-source", "parallelism": PARALLELISM, "config": { "rate": 1 } },
            { "id": "to", "operator": "blackhole-sink", "parallelism": PARALLELISM },
        ],
        "edges": [{ "source": "from", "target": "to", "partitioning": "hash" }],
    });
    let body = graph.to_string();
    let mut connection = Connection::open(address).await;
    let head = format!(
        "POST /jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let accepted = connection.ask(&format!("{head}{body}")).await;
    let accepted: Value = serde_json::from_slice(accepted).unwrap();
    let job = accepted["jobid"].as_str().unwrap().to_owned();
    let request = format!("GET /jobs/{job} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let start = Instant::now();
    loop {
        let shown: Value = serde_json::from_slice(connection.ask(&request).await).unwrap();
        let vertices = shown["vertices"].as_array().unwrap();
        if vertices
            .iter()
            .all(|vertex| vertex["tasks"]["RUNNING"] == PARALLELISM)
        {
            return job;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{shown}");
    }
}

async fn measure(address: SocketAddr, case: &Case, round: Duration) {
    let Case { path, header, goal } = case;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n");
    let mut rates = Vec::new();
    let mut latencies = Vec::new();
    // The first one warms everything up.
    for number in 0..=ROUNDS {
        let asking: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(keep_asking(address, request.clone(), round)))
            .collect();
        let mut all = Vec::new();
        for asking in asking {
            all.extend(asking.await.unwrap());
        }
        if number > 0 {
            rates.push(all.len() as f64 / round.as_secs_f64());
            latencies.extend(all);
        }
    }
    rates.sort_by(f64::total_cmp);
    latencies.sort_unstable();
    let at = |part: usize| latencies[latencies.len() * part / 100].as_secs_f64() * 1e3;
    let name = if path.ends_with("overview") {
        "/jobs/overview"
    } else {
        "/jobs/ID"
    };
    let gzip = if header.is_empty() { "" } else { ", gzip" };
    println!(
        "| `{name}`{gzip} | {:.0} | {:.1} ms | {:.1} ms | {} |",
        rates[ROUNDS / 2],
        at(50),
        at(99),
        goal.map_or(String::new(), |goal| goal.to_string()),
    );
}

/// How long each answer took.
async fn keep_asking(address: SocketAddr, request: String, round: Duration) -> Vec<Duration> {
    let mut connection = Connection::open(address).await;
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < round {
        let asked = Instant::now();
        connection.ask(&request).await;
        latencies.push(asked.elapsed());
    }
    latencies
}

/// A connection that stays open.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The body of an answer that succeeds.
    async fn ask(&mut self, request: &str) -> &[u8] {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0);
            if let Some(body) = body(&self.buffer) {
                return &self.buffer[body..];
            }
        }
    }
}

/// Where the body begins, once all of it is there: it has a length, or ends with an empty chunk.
fn body(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    assert!(text.starts_with("HTTP/1.1 20"), "{text}");
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let complete = match length {
        Some(length) => answer.len() - head >= length.parse::<usize>().unwrap(),
        None => answer.ends_with(b"0\r\n\r\n"),
    };
    complete.then_some(head)
}
