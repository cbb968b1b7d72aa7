//! Who reaches which port: NetworkPolicies, read as Kubernetes reads them. What enforces them is the cluster's network.

use crate::objects::{find, manifests, of_kind, pod, selects};
use serde_json::{Value, json};

/// Whether a rule or policy lets pods of the same namespace with these labels in; `None` stands for somebody in
/// another namespace.
fn lets_in(rule: &Value, from: Option<&Value>) -> bool {
    let Some(peers) = rule["from"].as_array() else {
        return true;
    };
    peers.iter().any(|peer| {
        let kinds: Vec<_> = peer.as_object().unwrap().keys().collect();
        assert_eq!(kinds, ["podSelector"], "a kind of peer that is not read");
        from.is_some_and(|labels| selects(&peer["podSelector"], labels))
    })
}

fn reaches(objects: &[Value], from: Option<&Value>, deployment: &str, port: &str) -> bool {
    let labels = &pod(find(objects, "Deployment", deployment))["metadata"]["labels"];
    let policies = of_kind(objects, "NetworkPolicy").into_iter();
    let mut about: Vec<_> = policies
        .map(|policy| &policy["spec"])
        .filter(|spec| selects(&spec["podSelector"], labels))
        .collect();
    about.retain(|spec| {
        let types = spec["policyTypes"].as_array().unwrap();
        types.contains(&json!("Ingress"))
    });
    let mut rules = about
        .iter()
        .flat_map(|spec| spec["ingress"].as_array().unwrap());
    let is_meant = |rule: &Value| {
        let ports = rule["ports"].as_array().unwrap();
        ports.iter().any(|one| one["port"] == port)
    };
    about.is_empty() || rules.any(|rule| is_meant(rule) && lets_in(rule, from))
}

/// Of pods of Deployments with these names, each reaches what it has to, and no more.
pub(crate) fn assert_only_the_cluster_reaches_its_ports(objects: &[Value]) {
    let labels = |name| pod(find(objects, "Deployment", name))["metadata"]["labels"].clone();
    let (jobmanager, taskmanager) = (labels("jobmanager"), labels("taskmanager"));
    let other = json!({"app.kubernetes.io/name": "something else"});
    for (from, grpc, exchange, rest) in [
        (Some(&jobmanager), false, true, true),
        (Some(&taskmanager), true, true, true),
        (Some(&other), false, false, true),
        (None, false, false, false),
    ] {
        let reached = [
            reaches(objects, from, "jobmanager", "grpc"),
            reaches(objects, from, "taskmanager", "exchange"),
            reaches(objects, from, "jobmanager", "rest"),
        ];
        assert_eq!(reached, [grpc, exchange, rest], "{from:?}");
    }
}

#[test]
fn only_the_cluster_reaches_the_ports_on_which_it_talks_to_itself() {
    assert_only_the_cluster_reaches_its_ports(&manifests());
}

#[test]
fn without_a_policy_everybody_reaches_everything() {
    let mut manifests = manifests();
    for policy in &mut manifests {
        if policy["kind"] == "NetworkPolicy" {
            policy["spec"]["podSelector"]["matchLabels"] = json!({"another": "pod"});
        }
    }
    assert!(reaches(&manifests, None, "jobmanager", "grpc"));
}
