//! Kubernetes objects, as files of YAML have them.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// A path below `server/deploy`.
pub(crate) fn deploy(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().join("server/deploy").join(path)
}

/// The text of a file below `server/deploy`.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap()
}

/// The objects in a text.
pub(crate) fn objects(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|problem| panic!("{problem} in {yaml}"))
}

/// The names of the files that the kustomization lists.
pub(crate) fn listed() -> Vec<String> {
    let all = objects(&text("manifests/kustomization.yaml"));
    let resources = all[0]["resources"].as_array().unwrap();
    let names = resources.iter().map(|name| name.as_str().unwrap());
    names.map(str::to_owned).collect()
}

/// All plain manifests.
pub(crate) fn manifests() -> Vec<Value> {
    let files = listed().into_iter();
    files
        .flat_map(|name| objects(&text(&format!("manifests/{name}"))))
        .collect()
}

/// The only object of this kind and name.
pub(crate) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let wanted = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    let found: Vec<_> = objects.iter().filter(wanted).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// All objects of this kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let found: Vec<_> = objects.iter().filter(|o| o["kind"] == kind).collect();
    assert!(!found.is_empty(), "there is no {kind}");
    found
}

/// The template of a Deployment's pods.
pub(crate) fn pod(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]
}

/// The only container of a Deployment's pods.
pub(crate) fn container(deployment: &Value) -> &Value {
    let containers = pod(deployment)["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// Whether a selector, `{"matchLabels": …}` or `{}`, selects what has these labels.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let known = selector.as_object().unwrap().keys();
    assert!(known.into_iter().all(|key| key == "matchLabels"));
    let wanted = selector["matchLabels"].as_object();
    let mut wanted = wanted.into_iter().flatten();
    wanted.all(|(key, value)| labels[key] == *value)
}

/// The value of an argument, `--name=value`, of a container.
pub(crate) fn argument<'a>(container: &'a Value, name: &str) -> &'a str {
    let arguments = container["args"].as_array().unwrap();
    let arguments = arguments.iter().map(|argument| argument.as_str().unwrap());
    let mut values =
        arguments.filter_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    values
        .next()
        .unwrap_or_else(|| panic!("there is no {name}"))
}
