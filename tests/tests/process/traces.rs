//! What takes a while, as a collector of OpenTelemetry hears of it.

use crate::cluster::{Cluster, free_ports, own_address};
use crate::jobs::endless;
use crate::process::wait_for;
use jobmanager::traces::otlp::{ExportTraceServiceRequest, Span, any_value};
use prost::Message;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A collector, which ends with the test.
struct Collector {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    spans: Vec<Span>,
    heads: Vec<String>,
    services: Vec<String>,
}

impl Collector {
    fn start(address: &str) -> Collector {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        let hears = heard.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let hears = hears.clone();
                thread::spawn(move || hear(&stream.unwrap(), &hears));
            }
        });
        Collector { address, heard }
    }

    /// The spans of this name.
    fn spans(&self, name: &str) -> Vec<Span> {
        let heard = self.heard.lock().unwrap();
        let named = heard.spans.iter().filter(|span| span.name == name);
        named.cloned().collect()
    }

    fn wait_for(&self, name: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        wait_for(name, || self.spans(name).into_iter().find(&wanted))
    }
}

/// One connection: requests with a body, one after the other, all of which are taken.
fn hear(stream: &TcpStream, heard: &Mutex<Heard>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let lower = head.to_lowercase();
        let (_, length) = lower.split_once("content-length: ").unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        let mut heard = heard.lock().unwrap();
        heard.heads.push(lower);
        for of_process in request.resource_spans {
            for attribute in of_process.resource.unwrap().attributes {
                heard.services.push(format!("{attribute:?}"));
            }
            for of_scope in of_process.scope_spans {
                heard.spans.extend(of_scope.spans);
            }
        }
        drop(heard);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let mut stream = stream;
        stream.write_all(answer).unwrap();
    }
}

/// An attribute in words.
fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|it| it.key == key);
    let value = found.and_then(|it| it.value.clone()?.value);
    match value {
        Some(any_value::Value::String(text)) => text,
        Some(any_value::Value::Bool(flag)) => flag.to_string(),
        Some(any_value::Value::Int(number)) => number.to_string(),
        None => String::new(),
    }
}

#[test]
fn a_job_its_checkpoints_a_killed_taskmanager_and_a_killed_jobmanager_are_spans() {
    let collector = Collector::start("127.0.0.1:0");
    let endpoint = format!("http://{}", collector.address);
    let options = [
        ("traces.otlp.endpoint", endpoint.as_str()),
        ("traces.otlp.headers", "api-key=hush-hush"),
        ("traces.otlp.service-name", "flows"),
    ];
    let mut cluster = Cluster::start(2, 1, &options);
    let job = cluster.rest.submit(&endless("traced"));
    let is_ours = |span: &Span| attribute(span, "jobId") == job;
    let begun = collector.wait_for("JobInitialization", is_ours);
    assert_eq!(attribute(&begun, "initializationStatus"), "COMPLETED");
    assert_eq!(attribute(&begun, "jobName"), "traced");
    assert_eq!(attribute(&begun, "checkpointId"), "");
    let first = collector.wait_for("Checkpoint", |span| {
        is_ours(span) && attribute(span, "checkpointStatus") == "COMPLETED"
    });
    assert!(first.start_time_unix_nano >= begun.start_time_unix_nano);
    assert!(first.end_time_unix_nano >= first.start_time_unix_nano);
    assert_ne!(attribute(&first, "checkpointId"), "");

    cluster.kill_and_restart_taskmanager(0);
    let failover = collector.wait_for("JobFailover", is_ours);
    assert_eq!(attribute(&failover, "failoverStatus"), "COMPLETED");
    assert!(
        attribute(&failover, "failureCause").contains("tm-0"),
        "{failover:?}"
    );
    assert_ne!(attribute(&failover, "checkpointId"), "");
    assert!(
        failover.status.is_none() && failover.end_time_unix_nano > failover.start_time_unix_nano
    );
    assert_eq!(collector.spans("JobInitialization").len(), 1);

    cluster.kill_and_restart_jobmanager();
    let takeover = collector.wait_for("LeaderTakeover", |_| true);
    assert_eq!(attribute(&takeover, "epoch"), "2");
    assert_eq!(attribute(&takeover, "jobs"), "1");
    assert_ne!(attribute(&takeover, "adoptedTasks"), "0");
    assert_eq!(collector.spans("JobInitialization").len(), 1);

    let heard = collector.heard.lock().unwrap();
    let told = |head: &String| {
        head.starts_with("post /v1/traces http/1.1") && head.contains("api-key: hush-hush")
    };
    assert!(heard.heads.iter().all(told));
    assert!(heard.services.iter().any(|it| it.contains("flows")));
    drop(heard);
    let settings = cluster.rest.get("/jobmanager/config").to_string();
    assert!(
        settings.contains(&endpoint) && !settings.contains("hush"),
        "{settings}"
    );
    let log = std::fs::read_to_string(cluster.path("jobmanager.log")).unwrap();
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn a_collector_that_is_away_is_told_of_once_and_gets_its_spans_when_it_is_back() {
    let [away] = free_ports(own_address());
    let endpoint = format!("http://{away}");
    let cluster = Cluster::start(1, 2, &[("traces.otlp.endpoint", &endpoint)]);
    let log = || std::fs::read_to_string(cluster.path("jobmanager.log")).unwrap();
    let job = cluster.rest.submit(&json!({
        "name": "short",
        "vertices": [{"id": "numbers", "operator": "datagen-source", "parallelism": 1, "config": {"count": 1}},
            {"id": "out", "operator": "blackhole-sink", "parallelism": 1}],
        "edges": [{"source": "numbers", "target": "out", "partitioning": "forward"}],
    }));
    wait_for("the collector to be missed", || {
        log().contains("does not take traces").then_some(())
    });
    let collector = Collector::start(&away);
    collector.wait_for("JobInitialization", |span| attribute(span, "jobId") == job);
    wait_for("the log to say so", || {
        log().contains("takes traces again").then_some(())
    });
    assert_eq!(log().matches("does not take traces").count(), 1);
    let metrics = cluster.rest.text("/metrics");
    assert!(
        metrics.contains("jobmanager_spans_exported_total 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("jobmanager_spans_dropped_total 0"),
        "{metrics}"
    );
}

#[test]
fn a_job_that_does_not_come_back_ends_its_span_with_the_reason() {
    let collector = Collector::start("127.0.0.1:0");
    let endpoint = format!("http://{}", collector.address);
    let cluster = Cluster::start(1, 2, &[("traces.otlp.endpoint", &endpoint)]);
    let job = cluster.rest.submit(&json!({
        "name": "doomed",
        "vertices": [
            {"id": "numbers", "operator": "datagen-source", "parallelism": 1, "config": {"rate": 100}},
            {"id": "fail", "operator": "fail-once", "parallelism": 1, "config": {"afterRecords": 20}},
            {"id": "out", "operator": "blackhole-sink", "parallelism": 1}],
        "edges": [{"source": "numbers", "target": "fail", "partitioning": "forward"},
            {"source": "fail", "target": "out", "partitioning": "forward"}],
        "configuration": {"restart-strategy.type": "none"},
    }));
    cluster.rest.wait_for_state(&job, "FAILED");
    let span = collector.wait_for("JobFailover", |span| attribute(span, "jobId") == job);
    assert_eq!(attribute(&span, "failoverStatus"), "FAILED");
    let status = span.status.unwrap();
    assert_eq!(status.code, 2);
    assert!(!status.message.is_empty());
}
