//! A release of the chart whose JobManagers have pods made for TaskManagers when jobs need them.

use super::{access, assert_goes_on, create_namespace, deploy, leader, shared};
use crate::jobs::endless;
use crate::kubelet::{Deployments, Pod};
use crate::process::wait_for;
use jobmanager_tests::services::helm::Release;
use jobmanager_tests::services::kubernetes::Kubernetes;
use jobmanager_tests::services::postgres::{PASSWORD, Postgres};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

/// The labels by which the chart's notes find them.
const LABELS: &str = "jobmanager/cluster-id=demand.flows,jobmanager/component=taskmanager";

/// What a release needs that is none of its own.
struct Ground {
    database: Postgres,
    checkpoints: TempDir,
    chart: PathBuf,
    config_file: PathBuf,
    namespace: &'static str,
}

impl Ground {
    fn make(server: &Kubernetes, namespace: &'static str) -> Ground {
        create_namespace(server, namespace);
        let password = format!("--from-literal=PGPASSWORD={PASSWORD}");
        let secret = ["create", "secret", "generic", "database", &password];
        server.kubectl(&[&["-n", namespace], &secret[..]].concat());
        Ground {
            database: Postgres::start(),
            checkpoints: tempfile::tempdir().unwrap(),
            chart: deploy("chart"),
            config_file: server.admin_file(),
            namespace,
        }
    }

    fn values(&self, taskmanager: &Value) -> Value {
        let url = self.database.url_without_password("sslmode=disable");
        let checkpoints = format!("file://{}", self.checkpoints.path().display());
        json!({"store": {"url": url, "secret": "database"}, "checkpoints": {"dir": checkpoints},
            "taskmanager": taskmanager})
    }

    fn release(&self) -> Release<'_> {
        Release {
            chart: &self.chart,
            name: "flows",
            namespace: self.namespace,
            config_file: &self.config_file,
        }
    }
}

/// The pods that JobManagers have had made, by their names.
fn made(node: &Deployments) -> BTreeMap<String, Value> {
    let mut pods = node.kubelet.pods();
    pods.retain(|_, pod| pod["metadata"]["labels"]["jobmanager/component"] == "taskmanager");
    pods
}

/// Waits until these are the pods that JobManagers have had made.
fn wait_for_made(node: &Deployments, names: &[String]) -> BTreeMap<String, Value> {
    wait_for(&format!("{names:?}"), || {
        let pods = made(node);
        pods.keys().eq(names).then_some(pods)
    })
}

/// What one of these fields is in each pod.
fn each<'a>(pods: &'a BTreeMap<String, Value>, pointer: &str) -> Vec<&'a Value> {
    let field = |pod: &'a Value| pod.pointer(pointer).unwrap_or(&Value::Null);
    pods.values().map(field).collect()
}

/// Replaces each JobManager by one of the Deployment as it is now, which comes first. Gives the number of who leads.
fn update(node: &mut Deployments, jobmanagers: &mut Vec<Pod>) -> usize {
    for _ in 0..jobmanagers.len() {
        jobmanagers.push(node.start("flows-jobmanager"));
        node.wait_for_ready(jobmanagers);
        node.end(&jobmanagers.remove(0));
    }
    leader(jobmanagers)
}

#[test]
#[ignore = "needs Helm, Kubernetes and PostgreSQL: run tests/run"]
fn helm_installs_a_release_whose_taskmanagers_come_and_go_with_jobs_and_with_its_deployment() {
    let server = shared();
    let ground = Ground::make(&server, "demand");
    let on_demand = json!({"enabled": true, "maxSlots": 2, "idleTimeout": 1});
    let mut taskmanager = json!({"slots": 1, "onDemand": on_demand});
    let release = ground.release();
    release.install(&ground.values(&taskmanager)).unwrap();
    let mut node = Deployments::new(&server, "demand");
    let deployments = node.kubectl(&["get", "deployments", "-o", "name"]);
    assert_eq!(deployments, "deployment.apps/flows-jobmanager\n");
    let owner = node.get("deployment", "flows-jobmanager")["metadata"]["uid"].clone();
    let mut jobmanagers = node.start_all("flows-jobmanager");
    node.wait_for_ready(&jobmanagers);
    let rest = &jobmanagers[leader(&jobmanagers)].rest;
    let job = rest.submit(&endless("demand"));
    let names = [1, 2].map(|number| format!("demand.flows-taskmanager-1-{number}"));
    let pods = wait_for_made(&node, &names);
    assert_goes_on(rest, &job);
    assert_eq!(each(&pods, "/metadata/ownerReferences/0/uid"), [&owner; 2]);

    // An update is one of JobManagers alone. What they have made is replaced when somebody deletes it.
    taskmanager["resources"] = json!({"requests": {"cpu": "2"}});
    release.upgrade(&ground.values(&taskmanager)).unwrap();
    let leader = update(&mut node, &mut jobmanagers);
    let rest = &jobmanagers[leader].rest;
    assert_goes_on(rest, &job);
    let kept = wait_for_made(&node, &names);
    assert_eq!(each(&kept, "/metadata/uid"), each(&pods, "/metadata/uid"));
    node.kubectl(&["delete", "pods", "-l", LABELS, "--wait=false"]);
    let others = wait_for("two other pods", || {
        let pods = made(&node);
        let is_other = names.iter().all(|name| !pods.contains_key(name));
        (is_other && pods.len() == 2).then_some(pods)
    });
    let processors = each(&others, "/spec/containers/0/resources/requests/cpu");
    assert_eq!(processors, [&json!("2"); 2]);
    assert_goes_on(rest, &job);

    let canceled = rest.ask("PATCH", &format!("/jobs/{job}"), b"");
    assert_eq!(canceled.unwrap().0, 202);
    wait_for_made(&node, &[]);
    let written = node.kubelet.written_into_images();
    assert_eq!(written, [""; 0].map(PathBuf::from));
    access::assert_allowed_is_what_was_asked_for(&server, "demand", "flows-");

    // What is left belongs to what is gone, and so Kubernetes removes it.
    rest.submit(&endless("left"));
    wait_for("another pod", || (!made(&node).is_empty()).then_some(()));
    release.uninstall().unwrap();
    assert_eq!(node.kubectl(&["get", "deployments", "-o", "name"]), "");
    let left = made(&node);
    let owners = each(&left, "/metadata/ownerReferences/0/uid");
    assert!(owners.iter().all(|uid| **uid == owner), "{owners:?}");
}

#[test]
#[ignore = "needs Helm, Kubernetes and PostgreSQL: run tests/run"]
fn helm_has_a_release_make_pods_instead_of_its_deployment_while_its_job_goes_on() {
    let server = shared();
    let ground = Ground::make(&server, "switched");
    let release = ground.release();
    let before = json!({"slots": 2, "replicas": 1});
    release.install(&ground.values(&before)).unwrap();
    let mut node = Deployments::new(&server, "switched");
    let mut jobmanagers = node.start_all("flows-jobmanager");
    let taskmanagers = node.start_all("flows-taskmanager");
    node.wait_for_ready(&jobmanagers);
    let rest = &jobmanagers[leader(&jobmanagers)].rest;
    let job = rest.submit(&endless("switched"));
    assert_goes_on(rest, &job);
    assert!(made(&node).is_empty());

    let after = json!({"slots": 2, "onDemand": {"enabled": true}});
    release.upgrade(&ground.values(&after)).unwrap();
    // What Kubernetes does when a Deployment is gone.
    taskmanagers.iter().for_each(|pod| node.delete(pod));
    let leader = update(&mut node, &mut jobmanagers);
    let rest = &jobmanagers[leader].rest;
    taskmanagers.iter().for_each(|pod| node.wait_for_end(pod));
    assert_goes_on(rest, &job);
    assert_eq!(made(&node).len(), 1);
}
