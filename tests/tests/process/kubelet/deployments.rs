//! Deployments of a namespace: what the controllers of Kubernetes make of them, when a test says so, and a node where
//! it runs.

use super::Kubelet;
use crate::process::wait_for;
use crate::rest::Rest;
use jobmanager_tests::services::kubernetes::Kubernetes;
use serde_json::{Value, json};

/// The port of REST in the pods of JobManagers.
const REST_PORT: u16 = 8081;

/// The Deployments of a namespace.
pub(crate) struct Deployments<'a> {
    server: &'a Kubernetes,
    namespace: &'a str,
    pub(crate) kubelet: Kubelet,
    /// How many pods were made.
    count: usize,
}

/// A pod of a Deployment.
pub(crate) struct Pod {
    name: String,
    /// REST, if it is a JobManager.
    pub(crate) rest: Rest,
}

impl<'a> Deployments<'a> {
    pub(crate) fn new(server: &'a Kubernetes, namespace: &'a str) -> Deployments<'a> {
        Deployments {
            server,
            namespace,
            kubelet: Kubelet::start(server, namespace),
            count: 0,
        }
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let here = ["--namespace", self.namespace];
        self.server.kubectl(&[&here[..], arguments].concat())
    }

    /// An object of the namespace.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Value {
        let shown = self.kubectl(&["get", kind, name, "-o", "json"]);
        serde_json::from_str(&shown).unwrap()
    }

    /// Starts as many pods of a Deployment as it wants.
    pub(crate) fn start_all(&mut self, deployment: &str) -> Vec<Pod> {
        let replicas = self.get("deployment", deployment)["spec"]["replicas"].clone();
        let replicas = 0..replicas.as_u64().unwrap();
        replicas.map(|_| self.start(deployment)).collect()
    }

    /// Starts one more pod of a Deployment.
    pub(crate) fn start(&mut self, deployment: &str) -> Pod {
        let set = self.replica_set(deployment);
        let template = &set["spec"]["template"];
        let spec = &template["spec"];
        if spec["automountServiceAccountToken"] == true {
            let account = spec["serviceAccountName"].as_str().unwrap();
            let file = self.server.account_file(self.namespace, account);
            self.kubelet.know_account(account, file);
        }
        let name = format!("{deployment}-{}", self.count);
        self.count += 1;
        let mut metadata = template["metadata"].clone();
        metadata["name"] = name.as_str().into();
        metadata["ownerReferences"] = json!([controller(&set)]);
        self.create(
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
        );
        let rest = format!("http://{}:{REST_PORT}", self.kubelet.ip_of(&name));
        Pod {
            name,
            rest: Rest::new(&rest),
        }
    }

    /// What a Deployment has for its pods as they are to be now.
    fn replica_set(&self, deployment: &str) -> Value {
        let owner = self.get("deployment", deployment);
        let name = format!("{deployment}-{}", owner["metadata"]["generation"]);
        let there = self.kubectl(&["get", "replicaset", &name, "--ignore-not-found"]);
        if there.is_empty() {
            let metadata = json!({"name": name, "ownerReferences": [controller(&owner)],
                "labels": owner["spec"]["template"]["metadata"]["labels"]});
            let mut spec = owner["spec"].clone();
            spec.as_object_mut()
                .unwrap()
                .retain(|key, _| ["replicas", "selector", "template"].contains(&key.as_str()));
            self.create(&json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}));
        }
        self.get("replicaset", &name)
    }

    fn create(&self, object: &Value) {
        let create = ["--namespace", self.namespace, "create", "-f", "-"];
        let made = self.server.kubectl_with(&object.to_string(), &create);
        made.unwrap_or_else(|problem| panic!("{object}: {problem}"));
    }

    pub(crate) fn wait_for_ready(&self, pods: &[Pod]) {
        let is_ready = |pod: &Pod| self.kubelet.is_ready(&pod.name);
        wait_for("all pods to be ready", || {
            pods.iter().all(is_ready).then_some(())
        });
    }

    /// Ends a pod as Kubernetes does, and waits until it has.
    pub(crate) fn end(&self, pod: &Pod) {
        self.delete(pod);
        self.wait_for_end(pod);
    }

    /// Begins to end a pod.
    pub(crate) fn delete(&self, pod: &Pod) {
        self.kubectl(&["delete", "pod", &pod.name, "--wait=false"]);
    }

    /// Waits until a pod has ended in good order.
    pub(crate) fn wait_for_end(&self, pod: &Pod) {
        let status = self.kubelet.end_of(&pod.name);
        let output = self.kubelet.output_of(&pod.name);
        assert!(status.success(), "{status}: {output}");
    }
}

/// How an object is named as the controller of another one.
fn controller(owner: &Value) -> Value {
    let metadata = &owner["metadata"];
    json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"],
        "uid": metadata["uid"], "controller": true})
}
