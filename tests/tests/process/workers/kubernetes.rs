//! TaskManagers that a JobManager has a real API server make, as pods.

use super::{Two, assert_no_restart, cancel, kill, registered, run, wait_for_cause, wide};
use crate::cluster::Cluster;
use crate::kubelet::Kubelet;
use crate::process::wait_for;
use jobmanager_tests::services::kubernetes::Kubernetes;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tempfile::TempDir;

/// What `kubernetes.pod-template-file.taskmanager` names.
const TEMPLATE: &str = "
apiVersion: v1
kind: Pod
metadata:
  labels: {team: streams}
spec:
  containers:
    - name: taskmanager
      image: taskmanager:any
      args: [--log-format=json]
      env: [{name: RUST_LOG, value: 'info,taskmanager=debug'}]
      resources: {requests: {cpu: 1}}
";
/// What a JobManager has to be allowed.
const ACCESS: [(&str, &str); 2] = [
    ("pods", "--verb=create,delete,get,list,watch"),
    ("replicasets.apps", "--verb=get"),
];

/// A server for all tests that run at the same time. The last one of them stops it.
fn shared() -> Arc<Mutex<Kubernetes>> {
    static SHARED: Mutex<Weak<Mutex<Kubernetes>>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Mutex::new(Kubernetes::start()));
        *shared = Arc::downgrade(&server);
        server
    })
}

/// A namespace with a node, and a JobManager's way to it.
struct Space {
    kubelet: Kubelet,
    name: &'static str,
    folder: TempDir,
    server: Arc<Mutex<Kubernetes>>,
}

impl Space {
    fn make(server: Arc<Mutex<Kubernetes>>, name: &'static str) -> Space {
        let folder = tempfile::tempdir().unwrap();
        let one = server.lock().unwrap();
        one.kubectl(&["create", "namespace", name]);
        // Others write this file, too.
        let config = std::fs::read(one.config_file(one.port())).unwrap();
        std::fs::write(folder.path().join("config"), config).unwrap();
        std::fs::write(folder.path().join("pod.yaml"), TEMPLATE).unwrap();
        let kubelet = Kubelet::start(&one, name);
        drop(one);
        let space = Space {
            kubelet,
            name,
            folder,
            server,
        };
        for (resource, verbs) in ACCESS {
            let resource_flag = format!("--resource={resource}");
            space.kubectl(&["create", "role", resource, verbs, &resource_flag]);
            space.allow(resource);
        }
        space
    }

    fn allow(&self, role: &str) {
        let role_flag = format!("--role={role}");
        self.kubectl(&[
            "create",
            "rolebinding",
            role,
            &role_flag,
            "--user=jobmanager",
        ]);
    }

    fn server(&self) -> MutexGuard<'_, Kubernetes> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let here = ["--namespace", self.name];
        self.server().kubectl(&[&here[..], arguments].concat())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a JobManager has to be told.
    fn options(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.path(name).display().to_string();
        vec![
            ("resourcemanager.provider", "kubernetes".to_owned()),
            ("resourcemanager.taskmanager-timeout", "1 min".to_owned()),
            ("kubernetes.config.file", path("config")),
            ("kubernetes.namespace", self.name.to_owned()),
            ("kubernetes.pod-template-file.taskmanager", path("pod.yaml")),
            ("taskmanager.memory.process.size", "1 gb".to_owned()),
        ]
    }

    /// A JobManager that has pods made here.
    fn cluster(&self, options: &[(&str, &str)]) -> Cluster {
        let usual = self.options();
        let usual = usual.iter().map(|(key, value)| (*key, value.as_str()));
        let all: Vec<_> = usual.chain(options.iter().copied()).collect();
        Cluster::start(0, 1, &all)
    }

    /// The names of the pods that the API server has.
    fn pods(&self) -> Vec<String> {
        self.kubelet.pods().into_keys().collect()
    }

    fn wait_for_pods(&self, names: &[&str]) {
        wait_for(&format!("{names:?}"), || {
            (self.pods() == names).then_some(())
        });
    }
}

#[test]
#[ignore = "needs Kubernetes: run tests/run"]
fn kubernetes_makes_a_jobs_taskmanagers_of_a_template_and_deletes_them_when_it_ends() {
    let space = Space::make(shared(), "jobs");
    let idle = [
        ("resourcemanager.taskmanager-timeout", "300 ms"),
        ("high-availability.cluster-id", "/team/jobs"),
        ("security.allow-insecure", "true"),
    ];
    let cluster = space.cluster(&idle);
    let job = run(&cluster.rest, 2);
    let names = ["team.jobs-taskmanager-1-1", "team.jobs-taskmanager-1-2"];
    space.wait_for_pods(&names);
    assert_eq!(
        registered(&cluster.rest),
        ["taskmanager-1-1", "taskmanager-1-2"]
    );
    let pod = &space.kubelet.pods()[names[0]];
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 30);
    let labels = json!({"team": "streams", "jobmanager/cluster-id": "team.jobs",
        "jobmanager/component": "taskmanager"});
    assert_eq!(pod["metadata"]["labels"], labels);
    assert_eq!(pod["metadata"]["ownerReferences"], Value::Null);
    let arguments = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(arguments.contains(&json!("--allow-insecure")), "{pod}");
    let bytes = (1_u64 << 30).to_string();
    let resources = json!({"requests": {"cpu": "1", "memory": bytes}, "limits": {"memory": bytes}});
    assert_eq!(pod["spec"]["containers"][0]["resources"], resources);

    cancel(&cluster.rest, &job);
    space.wait_for_pods(&[]);
    cluster.wait_for_taskmanagers(0);
    let said = space.kubelet.output_of(names[0]);
    assert!(said.contains("taskmanager stopped"), "{said}");
    let said = cluster.jobmanager.as_ref().unwrap().output();
    assert!(!said.contains("worker gone"), "{said}");
}

#[test]
#[ignore = "needs Kubernetes: run tests/run"]
fn kubernetes_pods_that_end_or_are_deleted_are_replaced_and_those_that_ended_are_removed() {
    let space = Space::make(shared(), "ends");
    let cluster = space.cluster(&[]);
    let job = run(&cluster.rest, 2);
    let (one, two) = ("default-taskmanager-1-1", "default-taskmanager-1-2");
    assert!(kill(space.kubelet.process_of(one)).success());
    space.wait_for_pods(&[two, "default-taskmanager-1-3"]);
    cluster.rest.wait_for_all_running(&job);
    let said = cluster.jobmanager.as_ref().unwrap().output();
    assert!(said.contains("Error, exit code 137"), "{said}");

    // Somebody else's wish: its tasks go on where there is room for them, and nothing fails.
    cluster.rest.wait_for_new_checkpoint(&job);
    let before = cluster.rest.get(&format!("/jobs/{job}"))["restarts"].clone();
    space.kubectl(&["delete", "pod", two, "--wait=false"]);
    space.wait_for_pods(&["default-taskmanager-1-3", "default-taskmanager-1-4"]);
    cluster.rest.wait_for_all_running(&job);
    cluster.rest.wait_for_new_checkpoint(&job);
    assert_eq!(
        cluster.rest.get(&format!("/jobs/{job}"))["restarts"],
        before
    );
}

#[test]
#[ignore = "needs Kubernetes: run tests/run"]
fn kubernetes_says_why_a_pod_does_not_run_and_why_tells_it() {
    let space = Space::make(shared(), "full");
    let cluster = space.cluster(&[]);
    let reason = "0/1 nodes are available: 1 Insufficient memory.";
    space.kubelet.say_full(Some(reason));
    let job = cluster.rest.submit(&wide(1));
    let causes = wait_for_cause(&cluster.rest, &job, reason);
    assert!(causes.contains("Unschedulable"), "{causes}");
    space.kubelet.say_full(None);
    cluster.rest.wait_for_all_running(&job);
    cancel(&cluster.rest, &job);

    space.kubectl(&["delete", "rolebinding", "pods"]);
    let job = cluster.rest.submit(&wide(3));
    wait_for_cause(
        &cluster.rest,
        &job,
        "its pod cannot be made: pods is forbidden",
    );
    space.allow("pods");
    cluster.rest.wait_for_all_running(&job);
}

#[test]
#[ignore = "needs Kubernetes: run tests/run"]
fn kubernetes_pods_are_taken_over_by_the_next_leader_and_no_task_restarts() {
    let space = Space::make(shared(), "leaders");
    let options = space.options();
    let options: Vec<_> = options
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let mut two = Two::start(space.folder.path(), &options);
    let job = run(&two.rests[0], 2);
    let names = ["default-taskmanager-1-1", "default-taskmanager-1-2"];
    let processes = names.map(|name| space.kubelet.process_of(name));
    let next = two.hand_over(&job);
    space.wait_for_pods(&names);
    assert_eq!(names.map(|name| space.kubelet.process_of(name)), processes);
    // They are as good as its own.
    assert!(kill(processes[0]).success());
    space.wait_for_pods(&[names[1], "default-taskmanager-2-1"]);
    next.wait_for_all_running(&job);
}

#[test]
#[ignore = "needs Kubernetes: run tests/run"]
fn kubernetes_pods_of_a_cluster_that_has_lost_its_records_are_deleted() {
    let space = Space::make(shared(), "lost");
    let mut cluster = space.cluster(&[]);
    run(&cluster.rest, 2);
    cluster.kill_jobmanager();
    std::fs::remove_dir_all(cluster.path("data")).unwrap();
    cluster.start_jobmanager();
    space.wait_for_pods(&[]);
    // Their names come again.
    run(&cluster.rest, 1);
    let pods = space.pods();
    assert_eq!(pods.len(), 1, "{pods:?}");
}

#[test]
#[ignore = "needs Kubernetes: run tests/run"]
fn kubernetes_may_be_away_for_a_while() {
    let space = Space::make(Arc::new(Mutex::new(Kubernetes::start())), "away");
    let cluster = space.cluster(&[]);
    let job = run(&cluster.rest, 1);
    cluster.rest.wait_for_new_checkpoint(&job);
    space.server().stop();
    // What runs goes on, and what is missing says why.
    cluster.rest.wait_for_new_checkpoint(&job);
    let another = cluster.rest.submit(&wide(1));
    wait_for_cause(&cluster.rest, &another, "its pod cannot be made");
    space.server().start_again();
    cluster.rest.wait_for_all_running(&another);
    assert_no_restart(&cluster.rest, &job);
    // What happens when nobody looks is found out.
    let lost = "default-taskmanager-1-1";
    space.server().stop();
    space.server().lose("pods", "away", lost);
    space.server().start_again();
    space.wait_for_pods(&["default-taskmanager-1-2", "default-taskmanager-1-3"]);
    cluster.rest.wait_for_all_running(&job);
    let said = cluster.jobmanager.as_ref().unwrap().output();
    assert!(said.contains("its pod was deleted"), "{said}");
}
