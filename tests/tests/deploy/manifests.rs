//! The plain manifests: what no API server checks.

use crate::objects::{argument, container, deploy, find, listed, manifests, of_kind, pod, selects};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn the_kustomization_lists_every_file() {
    let files = std::fs::read_dir(deploy("manifests")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<_> = names.filter(|name| name != "kustomization.yaml").collect();
    let listed: BTreeSet<_> = listed().into_iter().collect();
    assert_eq!(listed, there);
}

/// What is wrong with who runs a Deployment's containers, and what they may do.
fn weaknesses(deployment: &Value) -> Vec<&'static str> {
    let spec = &pod(deployment)["spec"];
    let (of_pod, container) = (&spec["securityContext"], container(deployment));
    let own = &container["securityContext"];
    let rules = [
        ("may be root", of_pod["runAsNonRoot"] == true),
        ("is root", of_pod["runAsUser"].as_u64() > Some(0)),
        (
            "may call everything",
            of_pod["seccompProfile"]["type"] == "RuntimeDefault",
        ),
        ("may become more", own["allowPrivilegeEscalation"] == false),
        ("writes its image", own["readOnlyRootFilesystem"] == true),
        (
            "is capable of something",
            own["capabilities"] == json!({"drop": ["ALL"]}),
        ),
        (
            "takes all memory",
            container["resources"]["limits"]["memory"].is_string(),
        ),
        (
            "asks for nothing",
            container["resources"]["requests"]["cpu"].is_string(),
        ),
        (
            "is whoever everybody is",
            spec["serviceAccountName"] == deployment["metadata"]["name"],
        ),
        (
            "is not looked after",
            container["livenessProbe"].is_object() && container["readinessProbe"].is_object(),
        ),
    ];
    let broken = rules.into_iter().filter(|(_, holds)| !holds);
    broken.map(|(name, _)| name).collect()
}

#[test]
fn pods_may_do_nothing_that_they_need_not() {
    let manifests = manifests();
    for deployment in of_kind(&manifests, "Deployment") {
        assert_eq!(weaknesses(deployment), [""; 0], "{deployment}");
        let mounts = pod(deployment)["spec"]["automountServiceAccountToken"] == true;
        let elects = deployment["metadata"]["name"] == "jobmanager";
        assert_eq!(mounts, elects, "whoever elects has a token, nobody else");
    }
    for account in of_kind(&manifests, "ServiceAccount") {
        assert_eq!(account["automountServiceAccountToken"], false);
    }
    let mut careless = find(&manifests, "Deployment", "taskmanager").clone();
    let container = &mut careless["spec"]["template"]["spec"]["containers"][0];
    container["securityContext"] = json!({"allowPrivilegeEscalation": false});
    let seen = weaknesses(&careless);
    assert_eq!(seen, ["writes its image", "is capable of something"]);
}

#[test]
fn a_taskmanager_has_the_time_that_it_takes_to_leave() {
    let manifests = manifests();
    let deployment = find(&manifests, "Deployment", "taskmanager");
    let leave: u64 = argument(container(deployment), "--leave-timeout")
        .parse()
        .unwrap();
    let grace = &pod(deployment)["spec"]["terminationGracePeriodSeconds"];
    assert!(grace.as_u64().unwrap() > leave + 5, "{grace} for {leave}");
}

#[test]
fn services_budgets_and_probes_mean_pods_and_ports_that_there_are() {
    let manifests = manifests();
    let deployments = of_kind(&manifests, "Deployment");
    let selected = |selector: &Value| {
        let matches = |d: &&&Value| selects(selector, &pod(d)["metadata"]["labels"]);
        let found: Vec<&&Value> = deployments.iter().filter(matches).collect();
        assert_eq!(found.len(), 1, "{selector}");
        *found[0]
    };
    let port = |deployment: &Value, name: &Value| {
        let ports = container(deployment)["ports"].as_array().unwrap();
        assert!(ports.iter().any(|port| port["name"] == *name), "{name}");
    };
    for service in of_kind(&manifests, "Service") {
        let deployment = selected(&json!({"matchLabels": service["spec"]["selector"]}));
        for offered in service["spec"]["ports"].as_array().unwrap() {
            port(deployment, &offered["targetPort"]);
        }
    }
    let budgets = of_kind(&manifests, "PodDisruptionBudget");
    assert_eq!(budgets.len(), deployments.len());
    for budget in budgets {
        let deployment = selected(&budget["spec"]["selector"]);
        assert_eq!(deployment["metadata"]["name"], budget["metadata"]["name"]);
    }
    for deployment in &deployments {
        assert_eq!(selected(&deployment["spec"]["selector"]), *deployment);
        let container = container(deployment);
        for probe in ["livenessProbe", "readinessProbe"] {
            let how = container[probe].as_object().unwrap();
            let how = how.get("httpGet").or(how.get("tcpSocket")).unwrap();
            port(deployment, &how["port"]);
        }
    }
}
