//! A node of Kubernetes for TaskManagers: each pod that the API server has becomes a process of this machine with an
//! address of the loopback's for itself, and what becomes of the process becomes the status of the pod.

use crate::cluster::{own_address, taskmanager};
use crate::process::{Process, Signal, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use ureq::Agent;
use ureq::http::Request;

/// How often the pods are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A node. Dropping it kills its processes.
pub(crate) struct Kubelet {
    node: Arc<Node>,
    thread: Option<JoinHandle<()>>,
}

struct Node {
    /// The pods of the namespace.
    pods: String,
    /// The address of that.
    api: String,
    agent: Agent,
    folder: PathBuf,
    stop: AtomicBool,
    /// Why no pod finds room, if none does.
    full: Mutex<Option<String>>,
    processes: Mutex<BTreeMap<String, Container>>,
}

/// The container of a pod.
struct Container {
    process: Process,
    /// Of the pod.
    uid: String,
    ip: String,
    /// Whether the API server knows that it has ended, or is to end.
    is_told: bool,
}

impl Kubelet {
    /// A node for this namespace of what answers there; logs go into the folder.
    pub(crate) fn start(api: &str, namespace: &str, folder: PathBuf) -> Kubelet {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(10)))
            .build();
        let node = Arc::new(Node {
            pods: format!("/api/v1/namespaces/{namespace}/pods"),
            api: api.to_owned(),
            agent: Agent::new_with_config(config),
            folder,
            stop: AtomicBool::new(false),
            full: Mutex::default(),
            processes: Mutex::default(),
        });
        let same = Arc::clone(&node);
        let thread = Some(spawn(move || {
            while !same.stop.load(Ordering::Relaxed) {
                same.look();
                sleep(LOOK);
            }
        }));
        Kubelet { node, thread }
    }

    /// From now on no pod finds room, because of this; or every one does.
    pub(crate) fn say_full(&self, reason: Option<&str>) {
        *self.node.full.lock().unwrap() = reason.map(str::to_owned);
    }

    /// The pods that the API server has, by their names.
    pub(crate) fn pods(&self) -> BTreeMap<String, Value> {
        wait_for("the pods", || self.node.pods())
    }

    /// The id of the process of a pod.
    pub(crate) fn process_of(&self, pod: &str) -> u32 {
        self.node.processes()[pod].process.pid()
    }

    /// What a pod has said so far.
    pub(crate) fn output_of(&self, pod: &str) -> String {
        let log = self.node.folder.join(format!("{pod}.log"));
        std::fs::read_to_string(log).unwrap()
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
    fn processes(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        self.processes.lock().unwrap()
    }

    /// The answer, if the server has done what was asked for.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let mut response = self.agent.run(request).ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        let is_done = response.status().is_success();
        is_done.then(|| serde_json::from_str(&text).unwrap())
    }

    fn pods(&self) -> Option<BTreeMap<String, Value>> {
        let list = self.ask("GET", &self.pods, None)?;
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
        self.processes().retain(is_same);
        for (name, pod) in &pods {
            let has_process = self.processes().contains_key(name);
            let is_leaving = pod["metadata"]["deletionTimestamp"].is_string();
            match (has_process, is_leaving) {
                (false, false) if pod["spec"]["nodeName"].is_null() => self.accept(name, pod),
                (false, false) => {}
                (false, true) => self.remove(name),
                (true, false) => self.report(name, pod),
                (true, true) => self.end(name),
            }
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
            "target": {"apiVersion": "v1", "kind": "Node", "name": "here"}});
        let path = format!("{}/{name}/binding", self.pods);
        if self.ask("POST", &path, Some(&binding)).is_none() {
            return;
        }
        let container = start(pod, &self.folder.join(format!("{name}.log")));
        self.processes().insert(name.to_owned(), container);
    }

    /// Tells that it runs, or how it has ended.
    fn report(&self, name: &str, pod: &Value) {
        let mut processes = self.processes();
        let container = processes.get_mut(name).unwrap();
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
        let container_status = json!({"name": "taskmanager", "image": "", "imageID": "", "ready": ended.is_none(),
            "restartCount": 0, "state": state});
        let status = json!({"phase": phase, "podIP": container.ip, "podIPs": [{"ip": container.ip}],
            "conditions": [{"type": "PodScheduled", "status": "True"}], "containerStatuses": [container_status]});
        container.is_told = self.set_status(pod, status) && ended.is_some();
    }

    fn end(&self, name: &str) {
        let mut processes = self.processes();
        let container = processes.get_mut(name).unwrap();
        if container.process.ended().is_some() {
            drop(processes);
            return self.remove(name);
        }
        if !container.is_told {
            container.process.signal(Signal::Terminate);
            container.is_told = true;
        }
    }

    fn remove(&self, name: &str) {
        let path = format!("{}/{name}?gracePeriodSeconds=0", self.pods);
        self.ask("DELETE", &path, None);
    }

    /// Whether the server has taken it: not if somebody has changed the pod meanwhile.
    fn set_status(&self, pod: &Value, status: Value) -> bool {
        let mut pod = pod.clone();
        pod["status"] = status;
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("{}/{name}/status", self.pods);
        self.ask("PUT", &path, Some(&pod)).is_some()
    }
}

fn terminated(status: ExitStatus) -> Value {
    let code = status.code();
    let code = code.unwrap_or_else(|| 128 + status.signal().unwrap());
    let reason = if code == 0 { "Completed" } else { "Error" };
    json!({"terminated": {"exitCode": code, "reason": reason}})
}

/// Starts what a pod's container named `taskmanager` runs.
fn start(pod: &Value, log: &std::path::Path) -> Container {
    let containers = pod["spec"]["containers"].as_array().unwrap().iter();
    let mut ours = containers.filter(|container| container["name"] == "taskmanager");
    let container = ours.next().unwrap();
    assert_eq!(
        container["command"],
        json!(["taskmanager"]),
        "the image has no other"
    );
    let ip = own_address().to_string();
    let mut command = taskmanager();
    let mut variables = BTreeMap::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("status.podIP") => ip.as_str(),
            Some(other) => panic!("{other} is not known here"),
            None => variable["value"].as_str().unwrap(),
        };
        variables.insert(
            variable["name"].as_str().unwrap().to_owned(),
            value.to_owned(),
        );
    }
    for argument in container["args"].as_array().unwrap() {
        let mut argument = argument.as_str().unwrap().to_owned();
        for (name, value) in &variables {
            argument = argument.replace(&format!("$({name})"), value);
        }
        command.arg(argument);
    }
    command.envs(variables);
    Container {
        process: Process::start(&mut command, log),
        uid: pod["metadata"]["uid"].as_str().unwrap().to_owned(),
        ip,
        is_told: false,
    }
}
