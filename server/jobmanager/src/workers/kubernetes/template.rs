//! The pod that a TaskManager gets: that of a file, or a plain one, with what every TaskManager has to be told.
//!
//! What the file says stays as it is, but for the name of the pod. What it must not say is refused when the JobManager
//! starts, as is what is no field of a pod: the server would drop it without a word.

use crate::options::yaml_words;
use crate::workers::{LEAVE_MARGIN, LEAVE_TIMEOUT};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The container in which the TaskManager runs.
pub(super) const CONTAINER: &str = "taskmanager";
/// What it runs unless the file says otherwise.
const PROGRAM: &str = "taskmanager";
/// The longest file. Bytes; the server takes no larger pods.
const MAX_FILE: u64 = 1 << 20;
/// The port for the records of other TaskManagers.
const EXCHANGE_PORT: u16 = 6122;
/// The variable of the pod's address.
const POD_IP: &str = "POD_IP";
/// What no file can tell, as it is another one for each TaskManager, or is an option.
const OWN_FLAGS: [&str; 4] = ["--id", "--jobmanager", "--slots", "--stop-with-stdin"];

/// What the options say of pods.
#[derive(Debug, Clone, Default)]
pub struct PodSettings {
    /// The file of the pod.
    pub file: Option<PathBuf>,
    /// The image, unless the file names one.
    pub image: Option<String>,
    /// How many processors, as Kubernetes writes it, whatever the file says.
    pub cpu: Option<String>,
    /// How many bytes of memory, whatever the file says.
    pub memory: Option<u64>,
}

/// A pod that lacks only what is another one for each TaskManager.
#[derive(Debug, Clone)]
pub(super) struct PodTemplate(Pod);

impl PodTemplate {
    /// # Errors
    /// Everything that is wrong with the file.
    pub(super) fn new(settings: &PodSettings) -> Result<PodTemplate, Vec<String>> {
        let Some(file) = &settings.file else {
            let no_image = |_| {
                "kubernetes.container.image: has to be set, unless kubernetes.pod-template-file.taskmanager names a file with one".to_owned()
            };
            let made = finish(plain(), settings);
            return made.map_err(|problems| problems.into_iter().map(no_image).collect());
        };
        let about = |problem| {
            let file = file.display();
            format!("kubernetes.pod-template-file.taskmanager: {file}: {problem}")
        };
        let pod = read(file).map_err(|problem| vec![about(problem)])?;
        finish(pod, settings).map_err(|problems| problems.into_iter().map(about).collect())
    }

    /// The pod with these arguments beside those that it has, each once.
    pub(super) fn with(&self, arguments: impl IntoIterator<Item = String>) -> Pod {
        let mut pod = self.0.clone();
        let mut containers = pod.spec.iter_mut().flat_map(|spec| &mut spec.containers);
        if let Some(container) = containers.find(|container| container.name == CONTAINER) {
            for argument in arguments {
                if !has(container, &argument) {
                    container.args.get_or_insert_default().push(argument);
                }
            }
        }
        pod
    }
}

/// Refuses what must not be in it, and adds what is missing.
fn finish(mut pod: Pod, settings: &PodSettings) -> Result<PodTemplate, Vec<String>> {
    let mut problems = check(&pod);
    let spec = pod.spec.get_or_insert_default();
    spec.restart_policy = Some("Never".to_owned());
    let grace = (LEAVE_TIMEOUT + LEAVE_MARGIN).as_secs();
    let grace = i64::try_from(grace).unwrap_or(i64::MAX);
    spec.termination_grace_period_seconds.get_or_insert(grace);
    match spec.containers.iter_mut().find(|it| it.name == CONTAINER) {
            Some(container) => {
                container.image = container.image.take().or_else(|| settings.image.clone());
                if container.image.is_none() {
                    problems.push(format!(
                        "spec.containers: `{CONTAINER}` has no image; give it one, or set kubernetes.container.image"
                    ));
                }
                complete(container, settings);
            }
            None => problems.push(format!(
                "spec.containers: none is named `{CONTAINER}`; name the one so in which the TaskManager runs"
            )),
        }
    match problems.is_empty() {
        true => Ok(PodTemplate(pod)),
        false => Err(problems),
    }
}

fn plain() -> Pod {
    let container = Container {
        name: CONTAINER.to_owned(),
        ..Container::default()
    };
    Pod {
        spec: Some(PodSpec {
            containers: vec![container],
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

/// What must not be in a file, although it may be in a pod.
fn check(pod: &Pod) -> Vec<String> {
    let mut problems = Vec::new();
    if pod.metadata.namespace.is_some() {
        problems.push("metadata.namespace: leave it out; kubernetes.namespace says it".to_owned());
    }
    let Some(spec) = &pod.spec else {
        return problems;
    };
    if let Some(policy) = &spec.restart_policy
        && policy != "Never"
    {
        problems.push(format!(
            "spec.restartPolicy: `{policy}` is not possible; leave it out, since a TaskManager that ends is replaced by \
             another one"
        ));
    }
    let container = spec.containers.iter().find(|it| it.name == CONTAINER);
    let Some(container) = container else {
        return problems;
    };
    if let Some(flag) = OWN_FLAGS.into_iter().find(|flag| has(container, flag)) {
        problems.push(format!(
            "spec.containers: `{CONTAINER}` has the argument {flag}; leave it out, the JobManager adds it"
        ));
    }
    if has(container, "--leave-timeout") && spec.termination_grace_period_seconds.is_none() {
        problems.push(
            "spec.terminationGracePeriodSeconds: has to be set with --leave-timeout, 5 s longer than that".to_owned(),
        );
    }
    problems
}

/// Whether it has this argument, with its value in the same word or in the next one.
fn has(container: &Container, flag: &str) -> bool {
    let mut arguments = container.args.iter().flatten();
    arguments.any(|argument| {
        let value = argument.strip_prefix(flag);
        value.is_some_and(|value| value.is_empty() || value.starts_with('='))
    })
}

/// Adds what every TaskManager in a pod has to be told.
fn complete(container: &mut Container, settings: &PodSettings) {
    container
        .command
        .get_or_insert_with(|| vec![PROGRAM.to_owned()]);
    let mut arguments = Vec::new();
    if !has(container, "--bind-addr") {
        arguments.push(format!("--bind-addr=$({POD_IP}):{EXCHANGE_PORT}"));
    }
    if !has(container, "--leave-timeout") {
        arguments.push(format!("--leave-timeout={}", LEAVE_TIMEOUT.as_secs()));
    }
    container.args.get_or_insert_default().extend(arguments);
    let variables = container.env.get_or_insert_default();
    if variables.iter().all(|variable| variable.name != POD_IP) {
        let field = ObjectFieldSelector {
            field_path: "status.podIP".to_owned(),
            ..ObjectFieldSelector::default()
        };
        variables.push(EnvVar {
            name: POD_IP.to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(field),
                ..EnvVarSource::default()
            }),
        });
    }
    let memory = settings.memory.map(|bytes| bytes.to_string());
    for (resource, amount) in [("cpu", settings.cpu.clone()), ("memory", memory)] {
        let Some(amount) = amount else {
            continue;
        };
        let resources = container.resources.get_or_insert_default();
        for amounts in [&mut resources.requests, &mut resources.limits] {
            let amounts: &mut BTreeMap<_, _> = amounts.get_or_insert_default();
            amounts.insert(resource.to_owned(), Quantity(amount.clone()));
        }
    }
}

fn read(file: &Path) -> Result<Pod, String> {
    let words = |problem: io::Error| problem.to_string();
    let length = std::fs::metadata(file).map_err(words)?.len();
    if length > MAX_FILE {
        return Err(format!("longer than {MAX_FILE} bytes; a Pod is expected"));
    }
    let text = std::fs::read_to_string(file).map_err(words)?;
    parse(serde_saphyr::from_str(&text).map_err(|problem| yaml_words(&problem))?)
}

fn parse(mut value: Value) -> Result<Pod, String> {
    for (field, expected) in [("apiVersion", "v1"), ("kind", "Pod")] {
        if value[field] != expected {
            return Err(format!(
                "{field}: `{expected}` is expected; a template is a whole Pod, as `kubectl create` takes it"
            ));
        }
    }
    name_amounts(&mut value);
    let pod: Pod = serde_path_to_error::deserialize(&value)
        .map_err(|problem| format!("{}: {}", problem.path(), problem.inner()))?;
    let understood = serde_json::to_value(&pod).map_err(|problem| problem.to_string())?;
    match stranger(&value, &understood) {
        Some(path) => Err(format!(
            "{}: a Pod has no such field; correct its name, or leave it out",
            path.trim_start_matches('.')
        )),
        None => Ok(pod),
    }
}

/// Amounts of resources are texts, and may be written as numbers.
fn name_amounts(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let is_of_resources = key == "limits" || key == "requests";
                if is_of_resources && let Some(amounts) = value.as_object_mut() {
                    for amount in amounts.values_mut().filter(|amount| amount.is_number()) {
                        *amount = Value::String(amount.to_string());
                    }
                } else {
                    name_amounts(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(name_amounts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The path of something that was given and not understood.
fn stranger(given: &Value, understood: &Value) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            let mut given = given.iter().filter(|(_, value)| !value.is_null());
            given.find_map(|(key, value)| match understood.get(key) {
                Some(understood) => Some(format!(".{key}{}", stranger(value, understood)?)),
                None => Some(format!(".{key}")),
            })
        }
        (Value::Array(given), Value::Array(understood)) => {
            let mut pairs = given.iter().zip(understood).enumerate();
            pairs.find_map(|(at, (given, understood))| {
                Some(format!("[{at}]{}", stranger(given, understood)?))
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What comes of a file with this text.
    fn with_file(text: &str, settings: PodSettings) -> Result<PodTemplate, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod.yaml");
        std::fs::write(&path, text).unwrap();
        let file = Some(path);
        let made = PodTemplate::new(&PodSettings { file, ..settings });
        made.map_err(|problems| problems.join("\n"))
    }

    const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: any, labels: {team: streams}}
spec:
  nodeSelector: {disk: fast}
  containers:
    - {name: sidecar, image: other}
    - name: taskmanager
      image: ours
      args: [--log-format=json]
      env: [{name: RUST_LOG, value: debug}]
      resources: {requests: {cpu: 1, memory: 1Gi}}
";

    fn container(pod: &Pod) -> &Container {
        let containers = &pod.spec.as_ref().unwrap().containers;
        containers.iter().find(|it| it.name == CONTAINER).unwrap()
    }

    #[test]
    fn what_a_file_says_stays_and_what_a_taskmanager_needs_is_added() {
        let settings = PodSettings {
            image: Some("another".to_owned()),
            memory: Some(1 << 31),
            ..PodSettings::default()
        };
        let pod = with_file(POD, settings).unwrap();
        let pod = pod.with(["--id=x", "--log-format=json"].map(str::to_owned));
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
        assert_eq!(spec.termination_grace_period_seconds, Some(30));
        assert_eq!(spec.node_selector.as_ref().unwrap()["disk"], "fast");
        assert_eq!(spec.containers[0].args, None);
        let container = container(&pod);
        assert_eq!(container.image.as_deref(), Some("ours"));
        assert_eq!(
            container.command.as_deref(),
            Some(&["taskmanager".to_owned()][..])
        );
        let expected = [
            "--log-format=json",
            "--bind-addr=$(POD_IP):6122",
            "--leave-timeout=20",
            "--id=x",
        ];
        assert_eq!(container.args.as_ref().unwrap(), &expected);
        let variables = container.env.as_ref().unwrap().iter();
        let variables: Vec<_> = variables.map(|variable| variable.name.as_str()).collect();
        assert_eq!(variables, ["RUST_LOG", "POD_IP"]);
        let resources = container.resources.as_ref().unwrap();
        let requests = resources.requests.as_ref().unwrap();
        assert_eq!(requests["cpu"].0, "1");
        assert_eq!(requests["memory"].0, "2147483648");
        let limits = resources.limits.as_ref().unwrap();
        assert_eq!(limits.get("cpu"), None);
        assert_eq!(limits["memory"].0, "2147483648");
    }

    #[test]
    fn without_a_file_an_image_is_enough() {
        let settings = PodSettings {
            image: Some("ours".to_owned()),
            cpu: Some("500m".to_owned()),
            ..PodSettings::default()
        };
        let pod = PodTemplate::new(&settings).unwrap().with([]);
        let resources = container(&pod).resources.as_ref().unwrap();
        assert_eq!(resources.limits.as_ref().unwrap()["cpu"].0, "500m");
        let problems = PodTemplate::new(&PodSettings::default()).unwrap_err();
        assert!(
            problems[0].contains("kubernetes.container.image: has to be set"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_field_and_what_to_do() {
        for (right, wrong, words) in [
            ("kind: Pod", "kind: PodTemplate", "kind: `Pod` is expected"),
            ("apiVersion: v1\n", "", "apiVersion: `v1` is expected"),
            (
                "image: ours",
                "imagee: ours",
                "spec.containers[1].imagee: a Pod has no such field",
            ),
            (
                "nodeSelector: {disk: fast}",
                "nodeSelector: 7",
                "spec.nodeSelector: invalid type",
            ),
            (
                "name: taskmanager",
                "name: main",
                "none is named `taskmanager`",
            ),
            ("image: ours", "tty: false", "has no image; give it one"),
            (
                "--log-format=json",
                "--slots, '4'",
                "has the argument --slots; leave it out",
            ),
            (
                "--log-format=json",
                "--leave-timeout=60",
                "terminationGracePeriodSeconds: has to be set",
            ),
            (
                "  nodeSelector",
                "  restartPolicy: Always\n  nodeSelector",
                "restartPolicy: `Always` is not possible",
            ),
            (
                "{name: any, ",
                "{namespace: there, ",
                "metadata.namespace: leave it out",
            ),
            ("spec:", "spec: [", "pod.yaml: "),
        ] {
            assert!(POD.contains(right), "{right}");
            let refused = with_file(&POD.replacen(right, wrong, 1), PodSettings::default());
            let refused = refused.expect_err(wrong);
            assert!(refused.contains(words), "{refused}");
        }
        // A file that is there in vain is named with its option.
        let settings = PodSettings {
            file: Some("/nosuch/pod.yaml".into()),
            ..PodSettings::default()
        };
        let problems = PodTemplate::new(&settings).unwrap_err();
        assert!(
            problems[0].contains("pod-template-file.taskmanager: /nosuch/pod.yaml: No such file"),
            "{problems:?}"
        );
    }
}
