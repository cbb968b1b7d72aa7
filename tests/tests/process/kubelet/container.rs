//! The container of a pod: its command line, its environment and its files are made of what the API server has. It is
//! a process of this machine, and each pod has an address of the loopback's for itself.

use super::Node;
use super::service::Service;
use crate::cluster::{jobmanager, own_address, taskmanager};
use crate::process::Process;
use crate::rest::Rest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The only container of a pod.
pub(super) struct Container {
    pub(super) process: Process,
    pub(super) ip: Ipv4Addr,
    /// Of the pod.
    pub(super) uid: String,
    /// Whether the API server knows that it has ended, or is to end.
    pub(super) is_told: bool,
    labels: Value,
    spec: Value,
}

/// What is asked of a container to see whether it is well.
pub(super) enum Probe {
    /// An answer of success to a request for a path.
    Answers(Rest, String),
    /// A connection.
    Listens(Ipv4Addr, u16),
}

impl Probe {
    pub(super) fn passes(&self) -> bool {
        match self {
            Probe::Answers(rest, path) => {
                let answer = rest.ask("GET", path, b"");
                answer.is_some_and(|(status, _)| (200..400).contains(&status))
            }
            Probe::Listens(ip, port) => TcpStream::connect((*ip, *port)).is_ok(),
        }
    }
}

impl Container {
    /// What has to pass for it to be there, and to be sent requests.
    pub(super) fn probes(&self) -> [Probe; 2] {
        ["readinessProbe", "livenessProbe"].map(|name| {
            let probe = &self.spec[name];
            match probe["httpGet"]["path"].as_str() {
                Some(path) => {
                    let port = self.port(&probe["httpGet"]["port"]);
                    let rest = Rest::new(&format!("http://{}:{port}", self.ip));
                    Probe::Answers(rest, path.to_owned())
                }
                None => Probe::Listens(self.ip, self.port(&probe["tcpSocket"]["port"])),
            }
        })
    }

    /// Whether a Service that selects these labels leads to it.
    pub(super) fn is_reached_by(&self, selector: &Map<String, Value>) -> bool {
        let mut labels = selector.iter();
        !self.is_told && labels.all(|(key, value)| self.labels[key] == *value)
    }

    fn port(&self, name: &Value) -> u16 {
        let mut ports = self.spec["ports"].as_array().unwrap().iter();
        let port = ports.find(|port| port["name"] == *name).unwrap();
        u16::try_from(port["containerPort"].as_u64().unwrap()).unwrap()
    }
}

impl Node {
    /// Starts the container of a pod; not yet, if the API server is away or has not all of it.
    pub(super) fn start(&self, name: &str, pod: &Value) -> Option<Container> {
        let spec = &pod["spec"]["containers"][0];
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let folder = self.folder.path().join(uid);
        let ip = self.address(uid);
        let environment = self.environment(spec, name, ip)?;
        let folders = self.folders(&pod["spec"], &folder)?;
        let mut command = match spec["command"][0].as_str().unwrap() {
            "jobmanager" => jobmanager(),
            "taskmanager" => taskmanager(),
            other => panic!("the image has no {other}"),
        };
        let root = folder.join("root");
        fs::create_dir_all(&root).unwrap();
        command.current_dir(root);
        for argument in spec["args"].as_array().unwrap() {
            let argument = expand(argument.as_str().unwrap(), &environment);
            command.arg(self.reached(&in_folders(spec, &folders, argument))?);
        }
        command.env_clear().envs(environment);
        if pod["spec"]["automountServiceAccountToken"] == true {
            self.give_account(&pod["spec"], ip, &mut command);
        }
        Some(Container {
            process: Process::start(&mut command, &self.log(name)),
            ip,
            uid: uid.to_owned(),
            is_told: false,
            labels: pod["metadata"]["labels"].clone(),
            spec: spec.clone(),
        })
    }

    /// The address of a pod, which stays its own however often it is tried to start it.
    fn address(&self, uid: &str) -> Ipv4Addr {
        let mut addresses = self.addresses.lock().unwrap();
        *addresses.entry(uid.to_owned()).or_insert_with(own_address)
    }

    pub(super) fn written_into_images(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.folder.path()).unwrap();
        let roots = all.map(|entry| entry.unwrap().path().join("root"));
        let inside = roots.filter_map(|root| fs::read_dir(root).ok()).flatten();
        inside.map(|entry| entry.unwrap().path()).collect()
    }

    /// A pod that has a token has it in a folder where clients look for it. Processes share their folders, so it is in
    /// a file instead; and as they share their addresses, this one listens on its own alone.
    fn give_account(&self, spec: &Value, ip: Ipv4Addr, command: &mut Command) {
        let account = spec["serviceAccountName"].as_str().unwrap();
        let accounts = self.accounts.lock().unwrap();
        command.env("KUBECONFIG", &accounts[account]);
        command.arg(format!("-Drest.bind-address={ip}"));
        command.arg(format!("-Djobmanager.bind-host={ip}"));
    }

    fn environment(
        &self,
        container: &Value,
        name: &str,
        ip: Ipv4Addr,
    ) -> Option<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for from in container["envFrom"].as_array().into_iter().flatten() {
            let secret = &from["secretRef"];
            let named = secret["name"].as_str().unwrap();
            let path = format!("secrets?fieldSelector=metadata.name={named}");
            let found = &self.ask("GET", &path, None)?["items"][0];
            assert!(
                found.is_object() || secret["optional"] == true,
                "{secret} is not there"
            );
            for (key, value) in found["data"].as_object().into_iter().flatten() {
                let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
                all.insert(key.clone(), String::from_utf8(bytes).unwrap());
            }
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("status.podIP") => ip.to_string(),
                Some("metadata.name") => name.to_owned(),
                Some("metadata.namespace") => self.namespace().to_owned(),
                Some(other) => panic!("{other} is not known here"),
                None => variable["value"].as_str().unwrap().to_owned(),
            };
            all.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
        Some(all)
    }

    /// The volumes of a pod: each by its name, a folder with what is in it.
    fn folders(&self, spec: &Value, parent: &Path) -> Option<BTreeMap<String, PathBuf>> {
        let mut folders = BTreeMap::new();
        let container = &spec["containers"][0];
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let of = volume["name"].as_str().unwrap();
            let folder = parent.join("volumes").join(of);
            fs::create_dir_all(&folder).unwrap();
            if let Some(map) = volume["configMap"]["name"].as_str() {
                let map = self.ask("GET", &format!("configmaps/{map}"), None)?;
                for (file, text) in map["data"].as_object().unwrap() {
                    let text = moved(container, of, &folder, text.as_str().unwrap());
                    fs::write(folder.join(file), text).unwrap();
                }
            } else {
                assert!(volume["emptyDir"].is_object(), "{volume} is not known here");
            }
            folders.insert(of.to_owned(), folder);
        }
        Some(folders)
    }

    /// An argument in which the addresses of Services stand for their names.
    fn reached(&self, argument: &str) -> Option<String> {
        let Some(named) = argument.strip_prefix("--jobmanager=") else {
            return Some(argument.to_owned());
        };
        let addresses = named.split(',').map(|address| self.resolved(address));
        let addresses: Option<Vec<_>> = addresses.collect();
        Some(format!("--jobmanager={}", addresses?.join(",")))
    }

    /// Each name of a Service is another address here, as it is for whoever looks no closer.
    fn resolved(&self, address: &str) -> Option<String> {
        let (host, port) = address.split_once(':').unwrap();
        if host.parse::<IpAddr>().is_ok() {
            return Some(address.to_owned());
        }
        let mut services = self.services.lock().unwrap();
        if !services.contains_key(address) {
            let (service, namespace) = host.split_once('.').unwrap_or((host, self.namespace()));
            assert_eq!(namespace, self.namespace());
            let service = self.ask("GET", &format!("services/{service}"), None)?;
            let service = Service::new(&service, port.parse().unwrap());
            services.insert(address.to_owned(), service);
        }
        Some(services[address].address())
    }

    /// The name of the namespace.
    fn namespace(&self) -> &str {
        self.namespace.rsplit('/').next().unwrap()
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

/// A text of a volume in which paths within that are where it is on this machine.
fn moved(container: &Value, volume: &str, folder: &Path, text: &str) -> String {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mounts = mounts.filter(|mount| mount["name"] == volume);
    mounts.fold(text.to_owned(), |text, mount| {
        let path = format!("{}/", mount["mountPath"].as_str().unwrap());
        text.replace(&path, &format!("{}/", folder.display()))
    })
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
