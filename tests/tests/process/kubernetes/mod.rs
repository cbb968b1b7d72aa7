//! What `server/deploy` has for Kubernetes, on a real API server: it takes every object, what they say makes a cluster
//! of real processes, and the account of a JobManager may do what it has to do and nothing else.

mod access;
mod on_demand;

use crate::jobs::endless;
use crate::kubelet::{Deployments, Pod};
use crate::process::wait_for;
use crate::rest::Rest;
use jobmanager_tests::services::helm::Release;
use jobmanager_tests::services::kubernetes::Kubernetes;
use jobmanager_tests::services::objects::{Kind, ObjectServer};
use jobmanager_tests::services::postgres::{PASSWORD, Postgres};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A server for all tests that run at the same time. The last one of them stops it.
fn shared() -> Arc<Kubernetes> {
    static SHARED: Mutex<Weak<Kubernetes>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Kubernetes::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// A path below `server/deploy`.
fn deploy(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().join("server/deploy").join(path)
}

/// The plain manifests with another name for their namespace, and as a server knows them that is older than the
/// release of Kubernetes in which budgets were declared done.
fn manifests(server: &Kubernetes, namespace: &str) -> String {
    let folder = deploy("manifests").display().to_string();
    let all = server.kubectl(&["kustomize", &folder]);
    let all = all.replace("streams", namespace);
    match server.kubectl(&["api-versions"]).contains("policy/v1\n") {
        true => all,
        false => all.replace("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n"),
    }
}

fn create_namespace(server: &Kubernetes, namespace: &str) {
    server.kubectl(&["create", "namespace", namespace]);
}

#[test]
#[ignore = "needs Kubernetes: run tests/run"]
fn the_api_server_takes_every_manifest_and_none_with_a_mistake() {
    let server = shared();
    create_namespace(&server, "tried");
    let all = manifests(&server, "tried");
    let dry_run = ["apply", "--dry-run=server", "-f", "-"];
    let taken = server.kubectl_with(&all, &dry_run).unwrap();
    let lines = taken
        .lines()
        .filter(|line| line.ends_with("(server dry run)"));
    assert_eq!(lines.count(), all.split("\n---\n").count(), "{taken}");
    for (right, wrong, words) in [
        ("replicas: 2", "replicass: 2", "replicass"),
        ("path: /overview", "path: 7", "path"),
        ("port: 8081", "port: 80810", "80810"),
        ("kind: Role\n", "kind: Roll\n", "Roll"),
    ] {
        assert!(all.contains(right), "{right}");
        let refused = server.kubectl_with(&all.replacen(right, wrong, 1), &dry_run);
        let refused = refused.expect_err(wrong);
        assert!(refused.contains(words), "{refused}");
    }
}

/// The plain manifests in a namespace, with a bucket that there is and what lets pods into it.
fn apply(server: &Kubernetes, namespace: &str, bucket: &ObjectServer) {
    let all = manifests(server, namespace).replace("s3://BUCKET", &bucket.url());
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "jobmanager-storage", "namespace": namespace},
        "stringData": bucket.environment(bucket.port()).into_iter().collect::<BTreeMap<_, _>>(),
    });
    for objects in [all, secret.to_string()] {
        server
            .kubectl_with(&objects, &["apply", "-f", "-"])
            .unwrap();
    }
}

/// The number of the pod that leads.
fn leader(pods: &[Pod]) -> usize {
    let leads = |pod: &Pod| {
        pod.rest
            .ask("GET", "/overview", b"")
            .is_some_and(|(status, _)| status == 200)
    };
    wait_for("somebody to lead", || pods.iter().position(leads))
}

fn wait_for_taskmanagers(rest: &Rest, count: usize) {
    wait_for("the TaskManagers", || {
        (rest.get("/overview")["taskmanagers"] == count).then_some(())
    });
}

/// Waits until the job runs as if nothing had happened.
fn assert_goes_on(rest: &Rest, job: &str) {
    rest.wait_for_all_running(job);
    rest.wait_for_new_checkpoint(job);
    let details = rest.get(&format!("/jobs/{job}"));
    assert_eq!(details["restarts"], 0, "{details}");
}

#[test]
#[ignore = "needs Kubernetes and moto: run tests/run"]
fn a_cluster_of_the_manifests_is_updated_pod_by_pod_while_its_job_goes_on() {
    let (server, bucket) = (shared(), ObjectServer::start(Kind::Moto));
    apply(&server, "updated", &bucket);
    let mut node = Deployments::new(&server, "updated");
    let mut jobmanagers = node.start_all("jobmanager");
    let mut taskmanagers = node.start_all("taskmanager");
    assert_eq!((jobmanagers.len(), taskmanagers.len()), (2, 2));
    node.wait_for_ready(&jobmanagers);
    node.wait_for_ready(&taskmanagers);
    let first = leader(&jobmanagers);
    let rest = &jobmanagers[first].rest;
    wait_for_taskmanagers(rest, 2);
    let job = rest.submit(&endless("updated"));
    assert_goes_on(rest, &job);

    // Each by another one that comes first, as the Deployments say.
    for _ in 0..taskmanagers.len() {
        taskmanagers.push(node.start("taskmanager"));
        wait_for_taskmanagers(rest, taskmanagers.len());
        node.end(&taskmanagers.remove(0));
        assert_goes_on(rest, &job);
    }
    jobmanagers.push(node.start("jobmanager"));
    node.wait_for_ready(&jobmanagers);
    node.end(&jobmanagers.remove(first));
    let rest = &jobmanagers[leader(&jobmanagers)].rest;
    wait_for_taskmanagers(rest, taskmanagers.len());
    assert_goes_on(rest, &job);
    assert_eq!(rest.get("/leader")["adopted"][0]["adopted"], 4);

    // What runs would be waited for.
    let canceled = rest.ask("PATCH", &format!("/jobs/{job}"), b"");
    assert_eq!(canceled.unwrap().0, 202);
    rest.wait_for_state(&job, "CANCELED");
    for pod in taskmanagers.into_iter().chain(jobmanagers) {
        node.end(&pod);
    }
    assert_eq!(
        node.kubelet.written_into_images(),
        [""; 0].map(PathBuf::from)
    );
    access::assert_allowed_is_what_was_asked_for(&server, "updated", "");
}

#[test]
#[ignore = "needs Helm, Kubernetes and PostgreSQL: run tests/run"]
fn helm_installs_a_release_that_leads_by_a_database_and_removes_it() {
    let (server, database) = (shared(), Postgres::start());
    create_namespace(&server, "team");
    let checkpoints = tempfile::tempdir().unwrap();
    let password = format!("--from-literal=PGPASSWORD={PASSWORD}");
    let secret = ["create", "secret", "generic", "database", &password];
    server.kubectl(&[&["-n", "team"], &secret[..]].concat());
    let mut values = json!({
        "store": {"url": database.url_without_password("sslmode=disable"), "secret": "database"},
        "checkpoints": {"dir": format!("file://{}", checkpoints.path().display())},
        "jobmanager": {"replicas": 1},
        "taskmanager": {"replicas": 1, "slots": 4},
    });
    let (chart, config_file) = (deploy("chart"), server.admin_file());
    let release = Release {
        chart: &chart,
        name: "flows",
        namespace: "team",
        config_file: &config_file,
    };
    release.install(&values).unwrap();
    let mut node = Deployments::new(&server, "team");
    let jobmanagers = node.start_all("flows-jobmanager");
    node.wait_for_ready(&jobmanagers);
    let taskmanagers = node.start_all("flows-taskmanager");
    let rest = &jobmanagers[0].rest;
    wait_for_taskmanagers(rest, 1);
    assert_eq!(rest.get("/overview")["slots-total"], 4);
    let lease = node.get("lease", "jobmanager.team.flows");
    // In a pod, the pod's name, by which the README finds the leader.
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
    assert_eq!(holder.split('_').next(), Some(machine.trim()));
    values["taskmanager"]["autoscaling"] = json!({"enabled": true, "maxReplicas": 3});
    values["ingress"] = json!({"enabled": true, "host": "flows.example"});
    release.upgrade(&values).unwrap();
    let scaler = node.get("hpa", "flows-taskmanager");
    assert_eq!(scaler["spec"]["maxReplicas"], 3);
    let ingress = node.get("ingress", "flows-jobmanager");
    assert_eq!(ingress["spec"]["rules"][0]["host"], "flows.example");
    for pod in taskmanagers.into_iter().chain(jobmanagers) {
        node.end(&pod);
    }
    access::assert_allowed_is_enough(&server, "team", "flows-jobmanager");
    release.uninstall().unwrap();
    let kinds = "deployments,services,roles,hpa,ingress,networkpolicies";
    let left = server.kubectl(&["-n", "team", "get", kinds, "-o", "name"]);
    assert_eq!(left, "");
}
