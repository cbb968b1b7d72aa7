//! What happens, as the command line follows it: a line each, from one leader to the next.

use crate::clients::client;
use crate::cluster::{Cluster, free_ports, jobmanager, own_address};
use crate::jobs::endless;
use crate::process::{Process, wait_for};
use serde_json::{Value, json};

/// `jobmanager events` in JSON; its output goes to a file of this name.
fn follow(cluster: &Cluster, arguments: &[&str], name: &str) -> Process {
    let mut command = jobmanager();
    command
        .args(["events", "--output", "json"])
        .args(["--jobmanager", &cluster.rest.address])
        .args(arguments);
    Process::start(&mut command, &cluster.path(name))
}

/// The events that were printed so far.
fn events(follower: &Process) -> Vec<Value> {
    let output = follower.output();
    let whole = output.rfind('\n').map_or("", |end| &output[..end]);
    let lines = whole.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn is(event: &Value, kind: &str, fields: &Value) -> bool {
    let mut fields = fields.as_object().unwrap().iter();
    event["event"] == kind && fields.all(|(name, value)| event["data"][name] == *value)
}

/// Waits for an event with these fields in its data.
fn wait_for_event(follower: &Process, kind: &str, fields: &Value) -> Value {
    wait_for(&format!("{kind} {fields}"), || {
        let mut events = events(follower).into_iter();
        events.find(|event| is(event, kind, fields))
    })
}

#[test]
fn a_job_its_checkpoints_and_savepoints_are_followed_through_the_death_of_a_jobmanager() {
    let mut cluster = Cluster::start(1, 2, &[]);
    let all = follow(&cluster, &["--after", "1-0"], "all.txt");
    wait_for_event(&all, "leader", &json!({"epoch": 1, "jobs-recovered": 0}));
    wait_for_event(&all, "taskmanager-registered", &json!({"id": "tm-0"}));
    let job = cluster.rest.submit(&endless("followed"));
    let other = cluster.rest.submit(&endless("other"));
    let one = follow(&cluster, &["--after", "1-0", "--job", &job], "one.txt");
    let completed = |id: u64| json!({"jid": job, "id": id, "status": "COMPLETED"});
    wait_for_event(&all, "checkpoint-completed", &completed(1));
    wait_for_event(&all, "checkpoint-completed", &completed(2));
    let folder = cluster.path("savepoints");
    let body = json!({"target-directory": folder, "cancel-job": false});
    let path = cluster.rest.trigger(&job, "savepoints", &body);
    let location = cluster.rest.outcome(&path).unwrap();
    let ended = json!({"jid": job, "status": "COMPLETED", "location": location});
    wait_for_event(&all, "savepoint-ended", &ended);

    cluster.kill_and_restart_jobmanager();
    let reset = wait_for_event(&all, "reset", &json!({"epoch": 2}));
    assert_eq!(reset["id"], "2-0");
    wait_for_event(&all, "leader", &json!({"epoch": 2, "jobs-recovered": 2}));
    let adopted = json!({"jid": job, "previous-state": "RECONCILING", "adopted": 4, "restarts": 0});
    wait_for_event(&all, "job-changed", &adopted);
    for id in [&job, &other] {
        cluster
            .rest
            .ask("PATCH", &format!("/jobs/{id}?mode=cancel"), b"");
        wait_for_event(&all, "job-ended", &json!({"jid": id, "state": "CANCELED"}));
    }
    wait_for_event(&one, "job-ended", &json!({"jid": job}));

    let told = events(&all);
    assert_in_order(&told, &job);
    let of_job =
        |event: &&Value| event["data"]["jid"] == job.as_str() || event["event"] == "leader";
    let of_job: Vec<&Value> = told.iter().filter(of_job).collect();
    let one = events(&one);
    let without_reset = one.iter().filter(|event| event["event"] != "reset");
    assert_eq!(without_reset.collect::<Vec<_>>(), of_job);
}

/// No event comes twice, and each checkpoint is triggered, then ends once, by the same leader.
fn assert_in_order(told: &[Value], job: &str) {
    let place = |event: &Value| {
        let (epoch, number) = event["id"].as_str().unwrap().split_once('-').unwrap();
        (epoch.parse().unwrap(), number.parse().unwrap())
    };
    let places: Vec<(u64, u64)> = told.iter().map(place).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    let of = |kinds: &[&str]| {
        let wanted = told.iter().filter(|event| {
            let kind = event["event"].as_str().unwrap();
            kinds.contains(&kind) && event["data"]["jid"] == job
        });
        let ids = wanted.map(|event| event["data"]["id"].as_u64().unwrap());
        ids.collect::<Vec<u64>>()
    };
    let triggered = of(&["checkpoint-triggered"]);
    assert!(triggered.is_sorted_by(|a, b| a < b), "{triggered:?}");
    let mut ended = of(&["checkpoint-completed", "checkpoint-failed"]);
    let count = ended.len();
    ended.sort_unstable();
    ended.dedup();
    assert_eq!(ended.len(), count, "one ended twice");
    assert!(ended.iter().all(|id| triggered.contains(id)), "{ended:?}");
}

#[test]
fn a_lost_taskmanager_and_what_its_job_does_about_it_are_told() {
    let mut cluster = Cluster::start(1, 2, &[]);
    let all = follow(&cluster, &["--after", "1-0"], "all.txt");
    let job = cluster.rest.submit(&endless("restarted"));
    cluster.rest.wait_for_new_checkpoint(&job);
    cluster.kill_and_restart_taskmanager(0);
    wait_for_event(&all, "taskmanager-lost", &json!({"id": "tm-0"}));
    wait_for_event(
        &all,
        "job-changed",
        &json!({"jid": job, "state": "RESTARTING"}),
    );
    let back = json!({"jid": job, "state": "RUNNING", "previous-state": "RESTARTING"});
    wait_for_event(&all, "job-changed", &back);
    wait_for_event(&all, "taskmanager-registered", &json!({"id": "tm-0"}));
}

#[test]
fn whoever_cannot_be_followed_is_named() {
    let [nobody] = free_ports(own_address());
    let (code, out, error) = client(&nobody, &["events"]);
    assert_eq!((code, out.as_str()), (3, ""), "{error}");
    assert!(error.contains(&nobody), "{error}");
    let cluster = Cluster::start(0, 1, &[]);
    for arguments in [["events", "--job", "x"], ["events", "--after", "y"]] {
        let (code, out, error) = client(&cluster.rest.address, &arguments);
        assert_eq!((code, out.as_str()), (4, ""), "{error}");
        assert!(error.contains(arguments[2]), "{error}");
    }
}
