//! The REST interface of a JobManager that runs in this process: shapes as Flink 2.3.0 has them,
//! commands, and what every kind of bad request gets.

use crate::shapes::{
    checkpoints, cluster_overview, config, has_shape, job_details, job_line, taskmanager, with,
};
use crate::support::{Running, job};
use jobmanager_proto::v1;
use jobmanager_proto::v1::from_task_manager::Message;
use jobmanager_proto::v1::to_task_manager::Message as Heard;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[tokio::test]
async fn an_empty_cluster_answers_in_flinks_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    has_shape(
        &running.get("/overview").await,
        &cluster_overview(),
        "/overview",
    );
    has_shape(&running.get("/config").await, &config(), "/config");
    assert_eq!(running.get("/jobs/overview").await, json!({ "jobs": [] }));
    assert_eq!(running.get("/v1/jobs").await, json!({ "jobs": [] }));
    let none = json!({ "taskmanagers": [] });
    assert_eq!(running.get("/v1/taskmanagers").await, none);
    running.stop().await;
}

#[tokio::test]
async fn a_job_that_waits_says_for_what_in_flinks_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let (status, accepted) = running.request("POST", "/jobs", job("")).await;
    assert_eq!(status, 202, "{accepted}");
    let id = accepted["jobid"].as_str().unwrap();
    assert_eq!(accepted["jobUrl"], format!("/jobs/{id}"));

    let details = running.get(&format!("/jobs/{id}")).await;
    has_shape(&details, &job_details(), "/jobs/:id");
    assert!(details["waiting-for"].is_string(), "{details}");
    assert_eq!(
        details["plan"]["nodes"][0]["description"],
        "a &lt;b&gt;<br/>"
    );
    assert_eq!(
        details["plan"]["nodes"][0]["inputs"][0]["ship_strategy"],
        "HASH"
    );
    assert_eq!(details["vertices"][0]["operator"], "datagen-source");
    let jobs = running.get("/jobs/overview").await;
    has_shape(&jobs, &json!({ "jobs": [job_line()] }), "/jobs/overview");
    assert_eq!(jobs["jobs"][0]["jid"], id);
    let shown = running.get(&format!("/jobs/{id}/checkpoints")).await;
    has_shape(&shown, &checkpoints(), "/checkpoints");
    let none = json!({ "exceptionHistory": { "entries": [], "truncated": false } });
    assert_eq!(running.get(&format!("/jobs/{id}/exceptions")).await, none);
    let status = running.get(&format!("/v1/jobs/{id}/status")).await;
    assert_eq!(status["status"], details["state"]);
    running.stop().await;
}

#[tokio::test]
async fn a_taskmanager_and_its_tasks_appear() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let mut session = running.taskmanager("tm-1", 3).await;
    assert!(matches!(session.hear().await, Ok(Heard::Welcome(_))));
    let all = running.get("/taskmanagers").await;
    has_shape(
        &all,
        &json!({ "taskmanagers": [taskmanager()] }),
        "/taskmanagers",
    );
    assert_eq!(all["taskmanagers"][0]["dataPort"], 7000);

    let (_, accepted) = running.request("POST", "/jobs", job("")).await;
    let id = accepted["jobid"].as_str().unwrap().to_owned();
    let deploy = session.hear_deploy().await;
    let attempt = |task: Option<v1::TaskId>| v1::AttemptId {
        job: deploy.job,
        task,
        attempt: deploy.attempt,
    };
    let change = |task: &v1::TaskDeployment| v1::TaskStateChange {
        attempt: Some(attempt(task.task)),
        report: v1::TaskReport::Running.into(),
        cause: String::new(),
    };
    let metrics = |task: &v1::TaskDeployment| v1::TaskMetrics {
        attempt: Some(attempt(task.task)),
        records_in: 1,
        records_out: 2,
        bytes_in: 3,
        bytes_out: 4,
    };
    let changes = deploy.tasks.iter().map(change).collect();
    session
        .say(Message::TaskStates(v1::TaskStates { changes }))
        .await;
    let tasks = deploy.tasks.iter().map(metrics).collect();
    session.say(Message::Metrics(v1::Metrics { tasks })).await;
    let path = format!("/jobs/{id}");
    let counted = |details: &Value| {
        details["vertices"][1]["metrics"]["write-records"] == 4
            && details["status-counts"]["RUNNING"] == 2
    };
    let details = running.until(&path, counted).await;
    assert_eq!(details["state"], "RUNNING");
    assert_eq!(details["vertices"][0]["tasks"]["RUNNING"], 2);
    assert_eq!(details["status-counts"]["RUNNING"], 2);

    let one = running.get("/taskmanagers/tm-1").await;
    let slot = json!({ "jobId": "", "resource": {}, "assignedTasks": 0 });
    let shape = json!({ "allocatedSlots": [slot], "metrics": { "heapUsed": 0, "garbageCollectors": [{}] } });
    has_shape(&one, &with(taskmanager(), shape), "/taskmanagers/:id");
    assert_eq!(one["allocatedSlots"].as_array().unwrap().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_failure_is_told_with_its_task_and_its_taskmanager() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let mut session = running.taskmanager("tm-1", 2).await;
    let (_, accepted) = running.request("POST", "/jobs", job("")).await;
    let id = accepted["jobid"].as_str().unwrap().to_owned();
    let deploy = session.hear_deploy().await;
    let change = |task: &v1::TaskDeployment| v1::TaskStateChange {
        attempt: Some(v1::AttemptId {
            job: deploy.job,
            task: task.task,
            attempt: deploy.attempt,
        }),
        report: v1::TaskReport::Failed.into(),
        cause: "/no/such/file: not found".to_owned(),
    };
    let changes = deploy.tasks.iter().map(change).collect();
    session
        .say(Message::TaskStates(v1::TaskStates { changes }))
        .await;
    let path = format!("/jobs/{id}");
    let ended = running
        .until(&path, |details| details["state"] == "FAILED")
        .await;
    has_shape(&ended, &job_details(), "/jobs/:id");
    let exceptions = running.get(&format!("{path}/exceptions")).await;
    let entry = json!({
        "exceptionName": "", "stacktrace": "", "timestamp": 0, "failureLabels": {},
        "concurrentExceptions": [],
    });
    let shape = json!({ "exceptionHistory": { "entries": [entry], "truncated": false } });
    has_shape(&exceptions, &shape, "/exceptions");
    let entries = exceptions["exceptionHistory"]["entries"]
        .as_array()
        .unwrap();
    let of_task = entries
        .iter()
        .find(|entry| entry["taskName"].is_string())
        .unwrap();
    assert_eq!(of_task["taskManagerId"], "tm-1");
    let words = of_task["stacktrace"].as_str().unwrap();
    assert!(words.contains("/no/such/file: not found"), "{words}");
    let none = running
        .get(&format!("{path}/exceptions?maxExceptions=0"))
        .await;
    assert_eq!(
        none["exceptionHistory"],
        json!({ "entries": [], "truncated": true })
    );
    running.stop().await;
}

#[tokio::test]
async fn a_job_is_submitted_once_and_canceled_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let id = "000000000000000000000000000000aB";
    let graph = job(&format!(r#""jobId": "{id}""#));
    let path = format!("/jobs/{}", id.to_lowercase());
    let first = running.request("POST", "/jobs", graph.clone()).await;
    let again = running.request("POST", "/v1/jobs", graph.clone()).await;
    assert_eq!(first, again);
    assert_eq!(first.1["jobUrl"], path);
    let jobs = running.get("/jobs").await;
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);

    let cancel = format!("{path}?mode=cancel");
    assert_eq!(
        running.request("PATCH", &cancel, "{}").await,
        (202, json!({}))
    );
    running
        .until(&path, |details| details["state"] == "CANCELED")
        .await;
    let (status, again) = running.request("PATCH", &cancel, "").await;
    assert_eq!(status, 409, "{again}");
    let overview = running.get("/overview").await;
    assert_eq!(overview["jobs-cancelled"], 1);
    let after = running.request("POST", "/jobs", graph).await;
    assert_eq!(after, first, "a job that has ended is not run again");
    running.stop().await;
}

#[tokio::test]
async fn another_graph_under_the_id_of_a_job_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let id = "000000000000000000000000000000ab";
    let graph = job(&format!(r#""jobId": "{id}""#));
    let (status, _) = running.request("POST", "/jobs", graph.clone()).await;
    assert_eq!(status, 202);
    let other = graph.replace("hash", "rebalance");
    let (status, body) = running.request("POST", "/jobs", other).await;
    assert_eq!(status, 409, "{body}");
    let words = body["errors"][0].as_str().unwrap();
    for part in [id, "another graph", "choose another jobId"] {
        assert!(words.contains(part), "{part} in {words}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let (_, accepted) = running.request("POST", "/jobs", job("")).await;
    running.stop().await;
    let running = Running::start(folder.path(), &[]).await;
    let details = running.get(accepted["jobUrl"].as_str().unwrap()).await;
    assert_eq!(details["name"], "test");
    running.stop().await;
}

#[tokio::test]
async fn every_bad_request_gets_its_status_and_its_reasons_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let unknown = "00000000000000000000000000000001";
    let cases = [
        ("GET", "/nosuch".to_owned(), 404, "Not found: /nosuch"),
        ("GET", "/v1/nosuch".to_owned(), 404, "Not found: /v1/nosuch"),
        ("DELETE", "/overview".to_owned(), 405, "DELETE"),
        ("GET", "/jobs/xyz".to_owned(), 400, "xyz"),
        ("GET", format!("/jobs/{unknown}"), 404, unknown),
        ("GET", format!("/jobs/{unknown}/checkpoints"), 404, unknown),
        ("GET", format!("/jobs/{unknown}/exceptions"), 404, unknown),
        ("GET", format!("/jobs/{unknown}/status"), 404, unknown),
        (
            "PATCH",
            format!("/jobs/{unknown}?mode=cancel"),
            404,
            unknown,
        ),
        ("PATCH", format!("/jobs/{unknown}?mode=stop"), 400, "stop"),
        ("PATCH", "/jobs/xyz?mode=cancel".to_owned(), 400, "xyz"),
        (
            "GET",
            format!("/jobs/{unknown}/exceptions?maxExceptions=x"),
            400,
            "maxExceptions",
        ),
        ("GET", "/taskmanagers/nosuch".to_owned(), 404, "nosuch"),
        ("GET", "/jobs/%ff".to_owned(), 400, ""),
        ("GET", "/taskmanagers/%ff".to_owned(), 400, ""),
        ("GET", "/jobs/".to_owned(), 404, "Not found: /jobs/"),
        ("POST", "/jobs".to_owned(), 400, ""),
    ];
    for (method, path, expected, words) in cases {
        let (status, body) = running.request(method, &path, "").await;
        assert_eq!(status, expected, "{method} {path}: {body}");
        let errors = body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].as_str().unwrap().contains(words),
            "{method} {path}: {body}"
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn clients_that_stop_in_the_middle_do_not_hold_up_others() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let address = running.bound.rest;
        stalled.push(
            tokio::task::spawn_blocking(move || stall(address))
                .await
                .unwrap(),
        );
    }
    let submitted = running.request("POST", "/jobs", job(""));
    let in_time = tokio::time::timeout(Duration::from_secs(5), submitted).await;
    assert_eq!(in_time.unwrap().0, 202);
    drop(stalled);
    running.stop().await;
}

/// A client that announces a body, and sends none of it though the server waits for it.
fn stall(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /jobs HTTP/1.1
Host: localhost
Content-Length: 9
Expect: 100-continue

";
    stream.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 12];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100");
    stream
}

#[tokio::test]
async fn every_problem_of_a_graph_is_an_error_of_its_own_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let graph = r#"{"name": "", "vertices": [{"id": "a", "operator": "x", "parallelism": 0}],
        "edges": [{"source": "a", "target": "b"}], "configuration": {"no.such": "1"}}"#;
    let (status, body) = running.request("POST", "/jobs", graph).await;
    assert_eq!(status, 400);
    let errors = body["errors"].as_array().unwrap();
    for path in [
        "vertices[0].parallelism: ",
        "edges[0].target: ",
        "configuration",
    ] {
        let named = errors
            .iter()
            .any(|error| error.as_str().unwrap().starts_with(path));
        assert!(named, "{path} in {body}");
    }
    for garbage in [vec![b'x'; 10 << 20], vec![0xff; 100], b"[]".to_vec()] {
        let (status, body) = running.request("POST", "/jobs", garbage).await;
        assert_eq!(status, 400, "{body}");
        assert!(body["errors"][0].is_string());
    }
    let (status, body) = running.request("POST", "/jobs", vec![b' '; 20 << 20]).await;
    assert_eq!(status, 413, "{body}");
    assert_eq!(running.get("/jobs").await, json!({ "jobs": [] }));
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_submits_too_fast_is_told_when_to_try_again() {
    let folder = tempfile::tempdir().unwrap();
    let define = ["rest.submission.rate=1", "rest.submission.burst=2"];
    let running = Running::start(folder.path(), &define).await;
    for _ in 0..2 {
        assert_eq!(running.request("POST", "/jobs", job("")).await.0, 202);
    }
    let (head, body) = running.fetch("POST", "/jobs", &[], job("")).await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(head.status, 429, "{body}");
    let after = head.headers["retry-after"].to_str().unwrap();
    assert!(["1", "2"].contains(&after), "{after}");
    for words in [
        "rest.submission.rate",
        "rest.submission.burst",
        "try again in",
    ] {
        assert!(body.contains(words), "{body}");
    }
    // Nothing else is counted.
    for _ in 0..5 {
        running.get("/jobs").await;
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while running.request("POST", "/jobs", job("")).await.0 == 429 {
        assert!(tokio::time::Instant::now() < deadline, "it is never taken");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn there_are_no_more_jobs_than_may_be_however_many_come_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &["jobmanager.max-jobs=3"]).await;
    let submitted = (0..10).map(|_| running.request("POST", "/jobs", job("")));
    let submitted = futures::future::join_all(submitted).await;
    let ids = submitted.iter().filter(|(status, _)| *status == 202);
    let ids: Vec<_> = ids
        .map(|(_, body)| body["jobid"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 3, "{submitted:?}");
    let refused: Vec<_> = submitted
        .iter()
        .filter(|(status, _)| *status != 202)
        .collect();
    for (status, body) in refused {
        assert_eq!(*status, 503, "{body}");
        let words = body["errors"][0].as_str().unwrap();
        assert!(words.contains("jobmanager.max-jobs"), "{words}");
    }
    // One that is here is here, and one that ends makes place for another.
    let again = job(&format!(r#""jobId": "{}""#, ids[0]));
    let path = format!("/jobs/{}", ids[0]);
    let (status, body) = running.request("POST", "/jobs", again).await;
    assert_eq!(status, 202, "{body}");
    let (status, _) = running.request("PATCH", &path, "").await;
    assert_eq!(status, 202);
    running.until(&path, |job| job["state"] == "CANCELED").await;
    assert_eq!(running.request("POST", "/jobs", job("")).await.0, 202);
    assert_eq!(running.request("POST", "/jobs", job("")).await.0, 503);
    running.stop().await;
}
