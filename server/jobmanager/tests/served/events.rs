//! What happens in a JobManager, as those who follow it hear of it.

use crate::support::{Running, Session, job};
use jobmanager_proto::v1;
use jobmanager_proto::v1::from_task_manager::Message;
use jobmanager_proto::v1::to_task_manager::Message as Heard;
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Somebody who follows the events.
struct Follower(BufReader<TcpStream>);

/// An event as it is sent.
#[derive(Debug)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

impl Follower {
    /// Asks for events, and has the headers of the answer.
    async fn start(running: &Running, path: &str, headers: &str) -> (String, Follower) {
        let mut connection = TcpStream::connect(running.bound.rest).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut follower = Follower(BufReader::new(connection));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = follower.0.read_line(&mut head).await.unwrap();
            assert!(read > 0, "{head}");
        }
        (head, follower)
    }

    /// Follows from now on.
    async fn of(running: &Running, path: &str) -> Follower {
        let (head, mut follower) = Follower::start(running, path, "").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let place = follower.next().await.unwrap();
        assert_eq!(place.kind, "", "first of all it is told where it is");
        follower
    }

    /// What comes next; nothing once the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        let (mut kind, mut id, mut data) = (String::new(), String::new(), Value::Null);
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).await.ok()?;
            let line = line.trim_end();
            if read == 0 || line == "0" {
                return None;
            }
            match line.split_once(": ") {
                Some(("event", text)) => text.clone_into(&mut kind),
                Some(("id", text)) => text.clone_into(&mut id),
                Some(("data", text)) => data = serde_json::from_str(text).unwrap(),
                Some(_) => {}
                // The sizes of chunks stand alone, too.
                None if line.is_empty() && !id.is_empty() => return Some(Event { kind, id, data }),
                None => {}
            }
        }
    }

    /// The next events up to one of this kind and, if one is wanted, this state.
    async fn until(&mut self, kind: &str, state: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.expect("the stream goes on");
            let is_last = event.kind == kind && (state.is_empty() || event.data["state"] == state);
            events.push(event);
            if is_last {
                return events;
            }
        }
    }
}

/// Of each its kind and, if it has one, its state.
fn kinds(events: &[Event]) -> Vec<(&str, &str)> {
    let mut kinds = Vec::new();
    for Event { kind, data, .. } in events {
        kinds.push((kind.as_str(), data["state"].as_str().unwrap_or("")));
    }
    kinds
}

pub(crate) async fn submit(running: &Running, more: &str) -> String {
    let (status, accepted) = running.request("POST", "/jobs", job(more)).await;
    assert_eq!(status, 202, "{accepted}");
    accepted["jobid"].as_str().unwrap().to_owned()
}

pub(crate) async fn cancel(running: &Running, job: &str) {
    let (status, _) = running.request("PATCH", &format!("/jobs/{job}"), "").await;
    assert_eq!(status, 202);
}

pub(crate) async fn start(folder: &Path) -> Running {
    Running::start(folder, &[]).await
}

/// Answers everything that a TaskManager is asked, until the session ends.
pub(crate) async fn obey(mut session: Session) {
    let changed = |attempt: v1::AttemptId, report: v1::TaskReport| v1::TaskStateChange {
        attempt: Some(attempt),
        report: report.into(),
        cause: String::new(),
    };
    while let Ok(message) = session.hear().await {
        let (job, attempt, tasks, report) = match message {
            Heard::Heartbeat(v1::Heartbeat { sequence }) => {
                let answer = v1::HeartbeatAnswer { sequence };
                session.say(Message::Heartbeat(answer)).await;
                continue;
            }
            Heard::Deploy(deploy) => {
                let tasks = deploy.tasks.iter().map(|task| task.task).collect();
                (deploy.job, deploy.attempt, tasks, v1::TaskReport::Running)
            }
            Heard::Cancel(cancel) => {
                let tasks: Vec<_> = cancel.tasks.into_iter().map(Some).collect();
                (cancel.job, cancel.attempt, tasks, v1::TaskReport::Canceled)
            }
            Heard::Welcome(_)
            | Heard::Refused(_)
            | Heard::TriggerCheckpoint(_)
            | Heard::NotifyComplete(_)
            | Heard::NotifyAborted(_)
            | Heard::Resume(_)
            | Heard::ReleaseJob(_)
            | Heard::Dismissed(_) => continue,
        };
        let attempts = tasks
            .into_iter()
            .map(|task| v1::AttemptId { job, task, attempt });
        let changes = attempts.map(|attempt| changed(attempt, report)).collect();
        let states = v1::TaskStates { changes };
        session.say(Message::TaskStates(states)).await;
    }
}

#[tokio::test]
async fn the_life_of_a_job_is_told_in_order_and_so_is_that_of_its_taskmanager() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut follower = Follower::of(&running, "/v1/events").await;
    let mut session = running.taskmanager("tm-1", 4).await;
    assert!(matches!(session.hear().await, Ok(Heard::Welcome(_))));
    let registered = follower.until("taskmanager-registered", "").await;
    let registered = &registered.last().unwrap().data;
    assert_eq!(registered["id"], "tm-1");
    assert_eq!(registered["slotsNumber"], 4);

    let obeying = tokio::spawn(obey(session));
    let job = submit(&running, "").await;
    let mut events = follower.until("job-changed", "RUNNING").await;
    let all_run = |details: &Value| details["status-counts"]["RUNNING"] == 2;
    let path = format!("/jobs/{job}");
    running.until(&path, all_run).await;
    cancel(&running, &job).await;
    events.extend(follower.until("job-ended", "").await);
    assert_eq!(
        kinds(&events),
        [
            ("job-appeared", "INITIALIZING"),
            ("job-changed", "CREATED"),
            ("job-changed", "RUNNING"),
            ("job-changed", "CANCELLING"),
            ("job-ended", "CANCELED"),
        ]
    );
    let shown = running.get(&path).await;
    for event in &events {
        assert_eq!(event.data["jid"], job.as_str());
        assert_eq!(event.data["name"], "test");
        let state = event.data["state"].as_str().unwrap();
        assert_eq!(
            event.data["timestamp"], shown["timestamps"][state],
            "{state}"
        );
    }
    assert_eq!(events[2].data["previous-state"], "CREATED");
    assert_eq!(events[4].data["end-time"], shown["end-time"]);
    assert_eq!(events[4].data["duration"], shown["duration"]);
    let numbers = events.iter().map(|event| event.id.split_once('-').unwrap());
    let numbers: Vec<(&str, u64)> = numbers.map(|(e, n)| (e, n.parse().unwrap())).collect();
    let first = numbers[0].1;
    let wanted: Vec<_> = (first..first + 5).map(|number| ("1", number)).collect();
    assert_eq!(numbers, wanted);

    obeying.abort();
    let lost = follower.until("taskmanager-lost", "").await;
    assert_eq!(lost.last().unwrap().data["id"], "tm-1");
    running.stop().await;
    assert!(follower.next().await.is_none(), "the stream ends with it");
}

#[tokio::test]
async fn who_comes_back_misses_nothing_and_may_want_some_jobs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut follower = Follower::of(&running, "/events").await;
    let first = submit(&running, "").await;
    let seen = follower.until("job-changed", "RUNNING").await;
    drop(follower);
    let second = submit(&running, "").await;
    cancel(&running, &first).await;
    running
        .until(&format!("/jobs/{first}"), |it| it["state"] == "CANCELED")
        .await;

    let last = &seen.last().unwrap().id;
    let header = format!("last-event-id: {last}\r\naccept-encoding: gzip\r\n");
    for (path, header) in [
        ("/events".to_owned(), header.as_str()),
        (format!("/events?after={last}"), ""),
        // A browser asks again as it did at first: the header is newer.
        ("/events?after=1-0".to_owned(), header.as_str()),
    ] {
        let (head, mut follower) = Follower::start(&running, &path, header).await;
        let head = head.to_lowercase();
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(!head.contains("content-encoding"), "{head}");
        let missed = follower.until("job-ended", "").await;
        let of = |job: &str| missed.iter().filter(|it| it.data["jid"] == job).count();
        assert_eq!((of(&first), of(&second)), (2, 3), "{missed:?}");
    }

    let path = format!("/events?after=1-0&jobs={first},{first}");
    let (_, mut follower) = Follower::start(&running, &path, "").await;
    let told = follower.until("job-ended", "").await;
    assert_eq!(told[0].kind, "leader");
    let jobs = told[1..].iter().map(|event| event.data["jid"].clone());
    assert_eq!(jobs.collect::<Vec<_>>(), vec![json!(first); 5]);

    for path in ["/events?jobs=x", "/events?after=x", "/events?after=1-x"] {
        let (status, answer) = running.request("GET", path, "").await;
        assert_eq!(status, 400, "{path}: {answer}");
        assert!(answer["errors"][0].is_string(), "{path}: {answer}");
    }
    assert_eq!(running.request("POST", "/events", "").await.0, 405);
    running.stop().await;
}

#[tokio::test]
async fn the_next_leader_says_that_it_leads_and_that_the_state_is_to_be_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut follower = Follower::of(&running, "/events").await;
    let job = submit(&running, "").await;
    let seen = follower.until("job-changed", "RUNNING").await;
    let last = &seen.last().unwrap().id;
    assert!(last.starts_with("1-"), "{last}");
    running.stop().await;
    assert!(follower.next().await.is_none());

    let running = start(folder.path()).await;
    let header = format!("last-event-id: {last}\r\n");
    let (_, mut follower) = Follower::start(&running, "/events", &header).await;
    let reset = follower.next().await.unwrap();
    assert_eq!((reset.kind.as_str(), reset.id.as_str()), ("reset", "2-0"));
    assert_eq!(reset.data["asked"], last.as_str());
    assert_eq!(reset.data["epoch"], 2);
    let leader = follower.next().await.unwrap();
    assert_eq!(
        (leader.kind.as_str(), leader.id.as_str()),
        ("leader", "2-1")
    );
    assert_eq!(leader.data["jobs-recovered"], 1);
    assert_eq!(leader.data["epoch"], 2);
    let address = running.bound.rest.to_string();
    assert_eq!(leader.data["address"], address.as_str());
    cancel(&running, &job).await;
    let events = follower.until("job-ended", "").await;
    assert_eq!(events.last().unwrap().data["jid"], job.as_str());
    running.stop().await;
}

#[tokio::test]
async fn a_taskmanager_that_owes_an_answer_is_suspected_until_it_is_heard_or_lost() {
    let folder = tempfile::tempdir().unwrap();
    let quick = ["heartbeat.interval=100 ms", "heartbeat.timeout=20 s"];
    let running = Running::start(folder.path(), &quick).await;
    let mut follower = Follower::of(&running, "/events").await;
    let mut session = running.taskmanager("tm-1", 1).await;
    let sequence = loop {
        if let Heard::Heartbeat(v1::Heartbeat { sequence }) = session.hear().await.unwrap() {
            break sequence;
        }
    };
    let answer = v1::HeartbeatAnswer { sequence };
    session.say(Message::Heartbeat(answer)).await;
    let suspected = follower.until("taskmanager-suspected", "").await;
    assert_eq!(suspected[0].kind, "taskmanager-registered");
    assert_eq!(suspected.last().unwrap().data["freeSlots"], 0);
    let obeying = tokio::spawn(obey(session));
    let heard = follower.until("taskmanager-heard", "").await;
    assert_eq!(heard.last().unwrap().data["freeSlots"], 1);
    obeying.abort();
    follower.until("taskmanager-lost", "").await;
    running.stop().await;
}

#[tokio::test]
async fn a_taskmanager_that_leaves_is_shown_as_blocked_and_is_dismissed() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut follower = Follower::of(&running, "/events").await;
    let mut session = running.taskmanager("tm-1", 1).await;
    let leave = v1::Leave { within_ms: 20_000 };
    session.say(Message::Leave(leave)).await;
    let told = follower.until("taskmanager-leaves", "").await;
    assert_eq!(told.last().unwrap().data["id"], "tm-1");
    let shown = running.get("/taskmanagers/tm-1").await;
    assert_eq!(shown["blocked"], true, "{shown}");
    while !matches!(session.hear().await.unwrap(), Heard::Dismissed(_)) {}
    running.stop().await;
}

#[tokio::test]
async fn what_the_time_alone_changes_is_told_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut follower = Follower::of(&running, "/events").await;
    // It acknowledges no checkpoint.
    let obeying = tokio::spawn(obey(running.taskmanager("tm-1", 2).await));
    let options = r#""configuration": {
        "execution.checkpointing.interval": "50 ms", "execution.checkpointing.timeout": "100 ms",
        "execution.checkpointing.tolerable-failed-checkpoints": 1000,
        "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "50 ms"}"#;
    let job = submit(&running, options).await;
    let events = follower.until("checkpoint-failed", "").await;
    let of_first = events.iter().filter(|event| event.data["id"] == 1);
    let kinds: Vec<&str> = of_first.clone().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["checkpoint-triggered", "checkpoint-failed"]);
    let failed = &events.last().unwrap().data;
    let shown = running.get(&format!("/jobs/{job}/checkpoints")).await;
    let history = shown["history"].as_array().unwrap();
    let entry = history.iter().find(|entry| entry["id"] == 1).unwrap();
    for field in [
        "status",
        "is_savepoint",
        "trigger_timestamp",
        "latest_ack_timestamp",
        "state_size",
        "end_to_end_duration",
        "num_subtasks",
        "num_acknowledged_subtasks",
        "failure_timestamp",
        "failure_message",
    ] {
        assert!(!entry[field].is_null(), "{field}");
        assert_eq!(failed[field], entry[field], "{field}");
    }

    obeying.abort();
    let events = follower.until("job-changed", "RESTARTING").await;
    let is_lost = |event: &Event| event.kind == "taskmanager-lost";
    let lost_before = events.iter().any(is_lost);
    // Nobody has a slot for it: after the delay it waits, and nothing is ordered.
    let events = follower.until("job-changed", "RUNNING").await;
    let again = events.last().unwrap();
    assert_eq!(again.data["previous-state"], "RESTARTING");
    assert!(lost_before || events.iter().any(is_lost));
    running.stop().await;
}
