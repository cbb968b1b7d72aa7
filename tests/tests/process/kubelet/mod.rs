//! A node of Kubernetes: each pod of a namespace that the API server has becomes a process of this machine, and what
//! becomes of the process becomes the status of the pod.

mod container;
mod deployments;
mod service;

pub(crate) use deployments::{Deployments, Pod};

use crate::process::{Process, Signal, wait_for};
use container::Container;
use jobmanager_tests::services::kubernetes::Kubernetes;
use serde_json::{Value, json};
use service::Service;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use tempfile::TempDir;
use ureq::Agent;
use ureq::http::Request;

/// How often the pods are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The name of the node.
const NAME: &str = "here";

/// A node. Dropping it kills its processes.
pub(crate) struct Kubelet {
    node: Arc<Node>,
    thread: Option<JoinHandle<()>>,
    /// Lets it in.
    _proxy: Process,
}

struct Node {
    /// The namespace, at the address of the API server.
    namespace: String,
    agent: Agent,
    stop: AtomicBool,
    /// Why no pod finds room, if none does.
    full: Mutex<Option<String>>,
    /// By the name of an account: the file that lets its pods in.
    accounts: Mutex<BTreeMap<String, PathBuf>>,
    /// By the uid of a pod: where it is.
    addresses: Mutex<BTreeMap<String, Ipv4Addr>>,
    /// By `NAME:PORT`.
    services: Mutex<BTreeMap<String, Service>>,
    containers: Mutex<BTreeMap<String, Container>>,
    /// How those have ended that are gone.
    ended: Mutex<BTreeMap<String, ExitStatus>>,
    /// Goes after the containers, whose logs are in it.
    folder: TempDir,
}

impl Kubelet {
    /// A node for a namespace of this server.
    pub(crate) fn start(server: &Kubernetes, namespace: &str) -> Kubelet {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(server.admin_file());
        command.args(["proxy", "--port", "0"]);
        let proxy = Process::start(&mut command, &folder.path().join("proxy"));
        let address = wait_for("the address of kubectl proxy", || {
            let output = proxy.output();
            let (_, address) = output.split_once("Starting to serve on ")?;
            Some(address.split_once('\n')?.0.to_owned())
        });
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(10)))
            .build();
        let node = Arc::new(Node {
            namespace: format!("http://{address}/api/v1/namespaces/{namespace}"),
            agent: Agent::new_with_config(config),
            stop: AtomicBool::new(false),
            full: Mutex::default(),
            accounts: Mutex::default(),
            addresses: Mutex::default(),
            services: Mutex::default(),
            containers: Mutex::default(),
            ended: Mutex::default(),
            folder,
        });
        let same = Arc::clone(&node);
        let thread = Some(spawn(move || {
            while !same.stop.load(Ordering::Relaxed) {
                same.look();
                same.serve();
                sleep(LOOK);
            }
        }));
        Kubelet {
            node,
            thread,
            _proxy: proxy,
        }
    }

    /// From now on no pod finds room, because of this; or every one does.
    pub(crate) fn say_full(&self, reason: Option<&str>) {
        *self.node.full.lock().unwrap() = reason.map(str::to_owned);
    }

    /// Pods with this account are given this file.
    fn know_account(&self, account: &str, file: PathBuf) {
        let mut accounts = self.node.accounts.lock().unwrap();
        accounts.insert(account.to_owned(), file);
    }

    /// The pods that the API server has, by their names.
    pub(crate) fn pods(&self) -> BTreeMap<String, Value> {
        wait_for("the pods", || self.node.pods())
    }

    /// The id of the process of a pod.
    pub(crate) fn process_of(&self, pod: &str) -> u32 {
        self.node.containers()[pod].process.pid()
    }

    /// Where a pod is, once it has been started.
    fn ip_of(&self, pod: &str) -> Ipv4Addr {
        wait_for(&format!("the start of {pod}"), || {
            self.node.containers().get(pod).map(|one| one.ip)
        })
    }

    /// Whether a pod may be sent requests, and is there at all, by its own probes.
    fn is_ready(&self, pod: &str) -> bool {
        let probes = self.node.containers()[pod].probes();
        probes.iter().all(container::Probe::passes)
    }

    /// How a pod has ended, once the API server does not have it any more.
    fn end_of(&self, pod: &str) -> ExitStatus {
        wait_for(&format!("the end of {pod}"), || {
            self.node.ended.lock().unwrap().get(pod).copied()
        })
    }

    /// What a pod has said so far.
    pub(crate) fn output_of(&self, pod: &str) -> String {
        std::fs::read_to_string(self.node.log(pod)).unwrap()
    }

    /// What containers have written beside their volumes, which they may not.
    pub(crate) fn written_into_images(&self) -> Vec<PathBuf> {
        self.node.written_into_images()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.node.stop.store(true, Ordering::Relaxed);
        // A panic of its own has been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Node {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        self.containers.lock().unwrap()
    }

    fn log(&self, pod: &str) -> PathBuf {
        self.folder.path().join(format!("{pod}.log"))
    }

    /// What is asked of the namespace, if the server has done it.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.namespace))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let mut response = self.agent.run(request).ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        let is_done = response.status().is_success();
        is_done.then(|| serde_json::from_str(&text).unwrap())
    }

    fn pods(&self) -> Option<BTreeMap<String, Value>> {
        let list = self.ask("GET", "pods", None)?;
        let pods = list["items"].as_array()?;
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
        Some(pods.iter().map(|pod| (name(pod), pod.clone())).collect())
    }

    fn look(&self) {
        // The API server may be away.
        let Some(pods) = self.pods() else {
            return;
        };
        // Another pod may have the name of one that is gone.
        let is_same = |name: &String, container: &mut Container| {
            let pod = pods.get(name);
            pod.is_some_and(|pod| pod["metadata"]["uid"] == *container.uid)
        };
        self.containers().retain(is_same);
        for (name, pod) in &pods {
            let has_process = self.containers().contains_key(name);
            let is_leaving = pod["metadata"]["deletionTimestamp"].is_string();
            match (has_process, is_leaving) {
                (false, false) if pod["spec"]["nodeName"].is_null() => self.accept(name, pod),
                (false, false) if pod["spec"]["nodeName"] == NAME => {
                    let started = self.start(name, pod);
                    let started = started.map(|container| (name.clone(), container));
                    self.containers().extend(started);
                }
                (false, false) => {}
                (false, true) => self.remove(name),
                (true, false) => self.report(name, pod),
                (true, true) => self.end(name),
            }
        }
    }

    fn serve(&self) {
        let containers = self.containers();
        for service in self.services.lock().unwrap().values_mut() {
            service.serve(containers.values());
        }
    }

    fn accept(&self, name: &str, pod: &Value) {
        if let Some(reason) = self.full.lock().unwrap().clone() {
            let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason});
            if pod["status"]["conditions"][0]["message"] != *reason {
                self.set_status(pod, json!({"phase": "Pending", "conditions": [condition]}));
            }
            return;
        }
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NAME}});
        self.ask("POST", &format!("pods/{name}/binding"), Some(&binding));
    }

    /// Tells that it runs, or how it has ended.
    fn report(&self, name: &str, pod: &Value) {
        let mut containers = self.containers();
        let container = containers.get_mut(name).unwrap();
        if container.is_told {
            return;
        }
        let ended = container.process.ended();
        let (phase, state) = match ended {
            None if pod["status"]["phase"] == "Running" => return,
            None => ("Running", json!({"running": {}})),
            Some(status) if status.success() => ("Succeeded", terminated(status)),
            Some(status) => ("Failed", terminated(status)),
        };
        let of_container = &pod["spec"]["containers"][0]["name"];
        let container_status = json!({"name": of_container, "image": "", "imageID": "", "ready": ended.is_none(),
            "restartCount": 0, "state": state});
        let status = json!({"phase": phase, "podIP": container.ip, "podIPs": [{"ip": container.ip}],
            "conditions": [{"type": "PodScheduled", "status": "True"}], "containerStatuses": [container_status]});
        container.is_told = self.set_status(pod, status) && ended.is_some();
    }

    fn end(&self, name: &str) {
        let mut containers = self.containers();
        let container = containers.get_mut(name).unwrap();
        if let Some(status) = container.process.ended() {
            drop(containers);
            self.remove(name);
            self.ended.lock().unwrap().insert(name.to_owned(), status);
            return;
        }
        if !container.is_told {
            container.process.signal(Signal::Terminate);
            container.is_told = true;
        }
    }

    fn remove(&self, name: &str) {
        let path = format!("pods/{name}?gracePeriodSeconds=0");
        self.ask("DELETE", &path, None);
    }

    /// Whether the server has taken it: not if somebody has changed the pod meanwhile.
    fn set_status(&self, pod: &Value, status: Value) -> bool {
        let mut pod = pod.clone();
        pod["status"] = status;
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("pods/{name}/status");
        self.ask("PUT", &path, Some(&pod)).is_some()
    }
}

fn terminated(status: ExitStatus) -> Value {
    let code = status.code();
    let code = code.unwrap_or_else(|| 128 + status.signal().unwrap());
    let reason = if code == 0 { "Completed" } else { "Error" };
    json!({"terminated": {"exitCode": code, "reason": reason}})
}
