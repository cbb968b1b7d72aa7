//! What a kubelet does for a pod: it makes the command line, the environment and the files of its container of what
//! the API server has, starts it, and probes it. The container is a process of this machine here, and each pod has an
//! address of the loopback's for itself.

use crate::cluster::{jobmanager, own_address, taskmanager};
use crate::process::Process;
use crate::rest::Rest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobmanager_tests::services::kubernetes::Kubernetes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Where the pods of a namespace run.
pub(crate) struct Node<'a> {
    server: &'a Kubernetes,
    namespace: &'a str,
    folder: TempDir,
    /// What Services may lead to: the labels of each pod that was started last, and where it is.
    there: Vec<(Value, Ipv4Addr)>,
    count: usize,
}

/// A pod with its only container.
pub(crate) struct Pod {
    pub(crate) process: Process,
    /// REST, if it is a JobManager.
    pub(crate) rest: Rest,
    container: Value,
    ip: Ipv4Addr,
}

impl<'a> Node<'a> {
    pub(crate) fn new(server: &'a Kubernetes, namespace: &'a str) -> Node<'a> {
        Node {
            server,
            namespace,
            folder: tempfile::tempdir().unwrap(),
            there: Vec::new(),
            count: 0,
        }
    }

    /// An object of the namespace.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Value {
        let shown = ["-n", self.namespace, "get", kind, name, "-o", "json"];
        serde_json::from_str(&self.server.kubectl(&shown)).unwrap()
    }

    /// Starts as many pods of a Deployment as it wants.
    pub(crate) fn start_all(&mut self, deployment: &str) -> Vec<Pod> {
        let replicas = self.get("deployment", deployment)["spec"]["replicas"].clone();
        let replicas = 0..replicas.as_u64().unwrap();
        replicas.map(|_| self.start(deployment)).collect()
    }

    /// Starts one more pod of a Deployment.
    pub(crate) fn start(&mut self, deployment: &str) -> Pod {
        let template = self.get("deployment", deployment)["spec"]["template"].clone();
        let (spec, container) = (&template["spec"], &template["spec"]["containers"][0]);
        let (ip, name) = (own_address(), format!("{deployment}-{}", self.count));
        self.count += 1;
        let environment = self.environment(container, &name, ip);
        let folders = self.folders(spec, &name);
        let mut command = match container["command"][0].as_str().unwrap() {
            "jobmanager" => jobmanager(),
            "taskmanager" => taskmanager(),
            other => panic!("the image has no {other}"),
        };
        command.current_dir(self.empty_folder(&name));
        for argument in container["args"].as_array().unwrap() {
            let argument = expand(argument.as_str().unwrap(), &environment);
            command.arg(self.reached(&in_folders(container, &folders, argument)));
        }
        command.env_clear().envs(environment);
        if spec["automountServiceAccountToken"] == true {
            self.give_account(spec, ip, &mut command);
        }
        let log = self.folder.path().join(format!("{name}.log"));
        self.there
            .push((template["metadata"]["labels"].clone(), ip));
        let rest = Rest::new(&format!("http://{ip}:8081"));
        let process = Process::start(&mut command, &log);
        let container = container.clone();
        Pod {
            process,
            rest,
            container,
            ip,
        }
    }

    /// Forgets a pod that has ended.
    pub(crate) fn forget(&mut self, pod: &Pod) {
        self.there.retain(|(_, ip)| *ip != pod.ip);
    }

    fn empty_folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(format!("{name}-root"));
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// What containers have written beside their volumes, which they may not.
    pub(crate) fn written_into_images(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.folder.path()).unwrap();
        let roots = all.map(|entry| entry.unwrap().path());
        let roots = roots.filter(|path| path.display().to_string().ends_with("-root"));
        let inside = roots.flat_map(|root| fs::read_dir(root).unwrap());
        inside.map(|entry| entry.unwrap().path()).collect()
    }

    /// A pod that has a token has it in a folder where clients look for it. Processes share their folders, so it is in
    /// a file instead; and as they share their addresses, this one listens on its own alone.
    fn give_account(&self, spec: &Value, ip: Ipv4Addr, command: &mut Command) {
        let account = spec["serviceAccountName"].as_str().unwrap();
        let file = self.server.account_file(self.namespace, account);
        command.env("KUBECONFIG", file);
        command.arg(format!("-Drest.bind-address={ip}"));
        command.arg(format!("-Djobmanager.bind-host={ip}"));
    }

    fn environment(&self, container: &Value, name: &str, ip: Ipv4Addr) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for from in container["envFrom"].as_array().into_iter().flatten() {
            let secret = &from["secretRef"];
            let path = [
                "-n",
                self.namespace,
                "get",
                "secret",
                "-o",
                "json",
                "--ignore-not-found",
            ];
            let found = self
                .server
                .kubectl(&[&path[..], &[secret["name"].as_str().unwrap()]].concat());
            if found.is_empty() {
                assert_eq!(secret["optional"], true, "{secret} is not there");
                continue;
            }
            let found: Value = serde_json::from_str(&found).unwrap();
            for (key, value) in found["data"].as_object().unwrap() {
                let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
                all.insert(key.clone(), String::from_utf8(bytes).unwrap());
            }
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("status.podIP") => ip.to_string(),
                Some("metadata.name") => name.to_owned(),
                Some("metadata.namespace") => self.namespace.to_owned(),
                Some(other) => panic!("{other} is not known here"),
                None => variable["value"].as_str().unwrap().to_owned(),
            };
            all.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
        all
    }

    /// The volumes of a pod: each by its name, a folder with what is in it.
    fn folders(&self, spec: &Value, name: &str) -> BTreeMap<String, PathBuf> {
        let mut folders = BTreeMap::new();
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let of = volume["name"].as_str().unwrap();
            let folder = self.folder.path().join(format!("{name}-{of}"));
            fs::create_dir(&folder).unwrap();
            if let Some(map) = volume["configMap"]["name"].as_str() {
                let map = self.get("configmap", map);
                for (file, text) in map["data"].as_object().unwrap() {
                    fs::write(folder.join(file), text.as_str().unwrap()).unwrap();
                }
            } else {
                assert!(volume["emptyDir"].is_object(), "{volume} is not known here");
            }
            folders.insert(of.to_owned(), folder);
        }
        folders
    }

    /// An argument in which pods stand for the Services that lead to them, one after the other for each mention.
    fn reached(&self, argument: &str) -> String {
        let Some(named) = argument.strip_prefix("--jobmanager=") else {
            return argument.to_owned();
        };
        let addresses = named.split(',').enumerate();
        let addresses = addresses.map(|(turn, address)| self.behind(address, turn));
        let addresses: Vec<_> = addresses.collect();
        format!("--jobmanager={}", addresses.join(","))
    }

    fn behind(&self, address: &str, turn: usize) -> String {
        let (host, port) = address.split_once(':').unwrap();
        let number: u64 = port.parse().unwrap();
        let (service, namespace) = host.split_once('.').unwrap_or((host, self.namespace));
        assert_eq!(namespace, self.namespace);
        let spec = self.get("service", service)["spec"].clone();
        let mut ports = spec["ports"].as_array().unwrap().iter();
        assert!(ports.any(|offered| offered["port"] == number), "{address}");
        let selector = spec["selector"].as_object().unwrap();
        let is_selected =
            |labels: &Value| selector.iter().all(|(key, value)| labels[key] == *value);
        let there = self.there.iter().filter(|(labels, _)| is_selected(labels));
        let ips: Vec<_> = there.map(|(_, ip)| ip).collect();
        format!("{}:{port}", ips[turn % ips.len()])
    }
}

impl Pod {
    /// Whether it may be sent requests, and is there at all, by its own probes.
    pub(crate) fn is_ready(&self) -> bool {
        let probes = ["readinessProbe", "livenessProbe"];
        probes
            .iter()
            .all(|probe| self.passes(&self.container[probe]))
    }

    fn passes(&self, probe: &Value) -> bool {
        if let Some(path) = probe["httpGet"]["path"].as_str() {
            let answer = self.rest.ask("GET", path, b"");
            return answer.is_some_and(|(status, _)| (200..400).contains(&status));
        }
        let name = &probe["tcpSocket"]["port"];
        let ports = self.container["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == *name).unwrap();
        let port = u16::try_from(port["containerPort"].as_u64().unwrap()).unwrap();
        TcpStream::connect((self.ip, port)).is_ok()
    }
}

/// A text with the value of each variable for `$(VARIABLE)`.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in environment {
        text = text.replace(&format!("$({name})"), value);
    }
    assert!(!text.contains("$("), "{text}: there is no such variable");
    text
}

/// An argument whose path is where the volume of it is on this machine.
fn in_folders(container: &Value, folders: &BTreeMap<String, PathBuf>, argument: String) -> String {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    mounts.fold(argument, |argument, mount| {
        let path = format!("={}", mount["mountPath"].as_str().unwrap());
        let folder = &folders[mount["name"].as_str().unwrap()];
        argument.replace(&path, &format!("={}", folder.display()))
    })
}
