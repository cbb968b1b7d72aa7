//! Every route of Flink is answered: with what it asks for, or with the reason why not, which README.md lists; and
//! every mistake gets the status that Flink has for it.

use super::cluster::Cluster;
use super::recorded;
use super::shape::Shape;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The routes that are refused with 501; README.md says why.
const REFUSED: [&str; 23] = [
    "DELETE /cluster",
    "DELETE /jars/:jarid",
    "GET /jars/:jarid/plan",
    "POST /jars/:jarid/plan",
    "POST /jars/:jarid/run",
    "POST /jars/:jarid/run-application",
    "POST /jars/upload",
    "POST /jobmanager/profiler",
    "GET /jobmanager/profiler/:filename",
    "PATCH /jobs/:jobid/clientHeartbeat",
    "POST /jobs/:jobid/coordinators/:operatorUid",
    "GET /jobs/:jobid/jobmanager/log-url",
    "GET /jobs/:jobid/rescales/config",
    "GET /jobs/:jobid/rescales/details/:rescaleuuid",
    "GET /jobs/:jobid/rescales/history",
    "GET /jobs/:jobid/rescales/overview",
    "GET /jobs/:jobid/rescales/summary",
    "PATCH /jobs/:jobid/rescaling",
    "GET /jobs/:jobid/rescaling/:triggerid",
    "GET /jobs/:jobid/taskmanagers/:taskmanagerid/log-url",
    "GET /jobs/:jobid/yarn-stop",
    "POST /taskmanagers/:taskmanagerid/profiler",
    "GET /taskmanagers/:taskmanagerid/profiler/:filename",
];

/// What there is none of: 404, as with Flink for something that does not exist.
const NOT_THERE: [&str; 7] = [
    "DELETE /datasets/:datasetid",
    "GET /datasets/delete/:triggerid",
    "GET /jobmanager/logs/:filename",
    "GET /taskmanagers/:taskmanagerid/logs/:filename",
    "GET /taskmanagers/:taskmanagerid/stdout",
    "GET /savepoint-disposal/:triggerid",
    "GET /jobs/:jobid/checkpoints/:triggerid",
];

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The path of a route, with something of the cluster in place of every name.
fn filled(route: &str, cluster: &Cluster) -> String {
    let names = [
        (
            "/savepoints/:triggerid",
            format!("/savepoints/{}", cluster.savepoint),
        ),
        (":applicationid", cluster.job.clone()),
        (":jobid", cluster.job.clone()),
        (":vertexid", cluster.vertices[0].clone()),
        (":taskmanagerid", cluster.taskmanager.clone()),
        (":subtaskindex", "0".to_owned()),
        // The first one has failed.
        (":attempt", "1".to_owned()),
        (":checkpointid", cluster.checkpoint.to_string()),
        (":triggerid", "00000000000000000000000000000001".to_owned()),
    ];
    let filled = names
        .into_iter()
        .fold(route.to_owned(), |route, (name, value)| {
            route.replace(name, &value)
        });
    let parts = filled.split('/');
    let parts = parts.map(|part| if part.starts_with(':') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Asks for every route, the reading ones first; those that the cluster does not survive come last.
pub(super) async fn check(cluster: &Cluster) {
    let routes = file("tests/flink-2.3.0/routes.txt");
    let mut routes: Vec<&str> = routes.lines().collect();
    assert!(routes.len() > 80, "{}", routes.len());
    routes.sort_by_key(|route| !route.starts_with("GET") || route.ends_with("yarn-cancel"));
    let mut refused = BTreeSet::new();
    let mut absent = BTreeSet::new();
    for route in routes {
        let (method, path) = route.split_once(' ').unwrap();
        let path = filled(path, cluster);
        let (head, body) = cluster.running.fetch(method, &path, &[], "").await;
        let status = head.status.as_u16();
        let body: Value = match head.headers["content-type"].to_str().unwrap() {
            "application/json" => serde_json::from_slice(&body).unwrap(),
            kind => kind.into(),
        };
        match status {
            501 => drop(refused.insert(route)),
            404 => drop(absent.insert(route)),
            405 => panic!("{route}: {body}"),
            _ => assert!(status < 500, "{route}: {status} {body}"),
        }
        if status >= 400 {
            assert!(body["errors"][0].is_string(), "{route}: {body}");
        }
    }
    assert_eq!(refused, BTreeSet::from(REFUSED));
    assert_eq!(absent, BTreeSet::from(NOT_THERE));
}

/// A path of `/openapi.json`, with something of the cluster in place of every name.
fn of_document(path: &str, cluster: &Cluster) -> String {
    let flinks = path.replace('{', ":").replace('}', "");
    let names = [
        (":job", ":jobid"),
        (":vertex", ":vertexid"),
        (":taskmanager", ":taskmanagerid"),
        (":subtask", ":subtaskindex"),
        (":checkpoint", ":checkpointid"),
        (":trigger", ":triggerid"),
    ];
    let parts = flinks.split('/').map(|part| {
        let renamed = names.iter().find(|(ours, _)| *ours == part);
        renamed.map_or(part, |(_, flinks)| flinks)
    });
    filled(&parts.collect::<Vec<_>>().join("/"), cluster)
}

/// Every route that the document describes is there and answers with a status that the document names, and every
/// route of Flink is described.
pub(super) async fn check_document(cluster: &Cluster) {
    let document = cluster.running.get("/openapi.json").await;
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled = of_document(path, cluster);
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let shape = path
                .split('/')
                .map(|part| if part.starts_with('{') { ":" } else { part });
            described.insert(format!("{method} {}", shape.collect::<Vec<_>>().join("/")));
            let is_endless =
                operation["responses"]["200"]["content"]["text/event-stream"].is_object();
            let changes = method != "GET" || path.ends_with("yarn-cancel");
            if is_endless || changes {
                continue;
            }
            let (head, body) = cluster.running.fetch(&method, &filled, &[], "").await;
            let status = head.status.as_u16();
            let is_named = operation["responses"][status.to_string()].is_object();
            // What is not there cannot be asked for in vain: the path of a route is right.
            let names_nothing = path.contains("/{trigger}") || path.ends_with("/logs/{file}");
            let is_absent = status == 404 && names_nothing;
            assert!(
                is_named || is_absent,
                "{path}: {status} {}",
                String::from_utf8_lossy(&body)
            );
            let kind = head.headers["content-type"].to_str().unwrap();
            let kinds = operation["responses"][status.to_string()]["content"].as_object();
            let named = kinds.into_iter().flat_map(|kinds| kinds.keys());
            assert!(
                is_absent || named.clone().any(|name| kind.starts_with(name.as_str())),
                "{path}: {kind}"
            );
        }
    }
    for route in file("tests/flink-2.3.0/routes.txt").lines() {
        let shape = route
            .split('/')
            .map(|part| if part.starts_with(':') { ":" } else { part });
        let shape = shape.collect::<Vec<_>>().join("/");
        assert!(described.contains(&shape), "{route} is not described");
    }
}

/// What Flink answers to mistakes.
const ERRORS: [&str; 8] = [
    "err-cancel-notfound",
    "err-dataset-delete-status",
    "err-method-not-allowed",
    "err-resource-requirements-put-default",
    "err-savepoint-badjson",
    "err-subtask-notfound",
    "err-taskmanager-logs-notfound",
    "err-vertex-notfound",
];

/// Mistakes, and the status that Flink has for each, but for the last two.
const MISTAKES: [(&str, u16); 11] = [
    (
        "PATCH /jobs/00000000000000000000000000000001?mode=cancel",
        404,
    ),
    (
        "GET /jobs/JOB/vertices/00000000000000000000000000000001",
        404,
    ),
    ("GET /jobs/JOB/vertices/VERTEX/subtasks/99", 404),
    ("GET /jobs/JOB/vertices/VERTEX/subtasks/0/attempts/99", 404),
    (
        "GET /jobs/JOB/vertices/VERTEX/subtasks/metrics?get=numRecordsIn&agg=foo",
        400,
    ),
    ("GET /jobs/JOB/checkpoints/details/abc", 400),
    ("GET /jobs/JOB/checkpoints/details/999999", 404),
    ("POST /jobs/JOB/savepoints", 400),
    ("GET /taskmanagers/nosuch/logs", 404),
    // 500 with Flink, although it is the client's mistake.
    ("GET /taskmanagers/nosuch", 404),
    // 404 with Flink, although the path is right.
    ("DELETE /overview", 405),
];

pub(super) async fn check_mistakes(cluster: &Cluster) {
    let shape = Shape::of(&ERRORS.map(recorded));
    for (request, expected) in MISTAKES {
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.replace("JOB", &cluster.job);
        let path = path.replace("VERTEX", &cluster.vertices[0]);
        let (status, body) = cluster.running.request(method, &path, "{").await;
        assert_eq!(status, expected, "{method} {path}: {body}");
        assert_eq!(shape.differences(&body, ""), BTreeSet::new(), "{body}");
    }
}

/// What a client asks for, and comes back for: a checkpoint, and the end of a savepoint.
pub(super) async fn check_triggers(cluster: &Cluster) {
    let Cluster { running, job, .. } = cluster;
    let trigger = "0123456789abcdef0123456789abcdef";
    let path = format!("/jobs/{job}/checkpoints");
    let body = format!(r#"{{"checkpointType": "FULL", "triggerId": "{trigger}"}}"#);
    for _ in 0..2 {
        let (status, asked) = running.request("POST", &path, body.clone()).await;
        assert_eq!((status, asked), (202, recorded("trigger-checkpoint")));
    }
    let completed = |value: &Value| value["status"]["id"] == "COMPLETED";
    let path = format!("{path}/{trigger}");
    let taken = running.until(&path, completed).await;
    let shape = Shape::of(&[recorded("trigger-checkpoint-status")]);
    assert_eq!(shape.differences(&taken, ""), BTreeSet::new(), "{taken}");
    assert_eq!(running.get(&path).await, taken, "it stays so");

    let path = format!("/jobs/{job}/savepoints/{}", cluster.savepoint);
    let location = running.get(&path).await["operation"]["location"].clone();
    let folder = location.as_str().unwrap().strip_prefix("file://").unwrap();
    let body = serde_json::json!({ "savepoint-path": location }).to_string();
    for disposed in [true, false] {
        let (status, asked) = running
            .request("POST", "/savepoint-disposal", body.clone())
            .await;
        assert_eq!(status, 200, "{asked}");
        let id = asked["request-id"].as_str().unwrap();
        let ended = running
            .until(&format!("/savepoint-disposal/{id}"), completed)
            .await;
        assert_eq!(
            ended["operation"]["failure-cause"].is_null(),
            disposed,
            "{ended}"
        );
        assert!(!Path::new(folder).exists());
    }
}

#[test]
fn the_readme_lists_what_is_refused() {
    let readme = file("README.md");
    let (_, section) = readme
        .split_once("\n## What Flink has and is not here\n")
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let listed: Vec<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let names_it = |pattern: &str, route: &str| {
        let (_, path) = route.split_once(' ').unwrap();
        let parts = path.split('/');
        let parts = parts.map(|part| match part {
            ":jobid" | ":taskmanagerid" => "ID",
            other => other,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        match pattern.strip_suffix("/…") {
            Some(above) => path.starts_with(above),
            None => path == pattern,
        }
    };
    for route in REFUSED {
        let named = listed.iter().any(|pattern| names_it(pattern, route));
        assert!(named, "{route} is not in README.md");
    }
    for pattern in listed {
        let mut all = REFUSED.iter().chain(&NOT_THERE);
        let named = all.any(|route| names_it(pattern, route));
        assert!(named, "{pattern} is not refused");
    }
}
