//! The Helm chart when JobManagers make the pods of TaskManagers: it has of what these are made, and what lets
//! JobManagers make them.

use crate::helm_chart::{assert_refused, configuration, rendered, with};
use crate::kinds::assert_known;
use crate::network::assert_only_the_cluster_reaches_its_ports;
use crate::objects::{find, objects, of_kind, pod};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Values of TaskManagers, nothing of which is the default.
fn chosen() -> Value {
    json!({
        "slots": 3,
        "leaveTimeout": 300,
        "serviceAccount": {"annotations": {"example.org/role": "flows"}},
        "podAnnotations": {"example.org/owner": "us"},
        "resources": {"requests": {"cpu": 3, "memory": "7Gi"}},
        "nodeSelector": {"disk": "fast"},
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        "env": [{"name": "RUST_LOG", "value": "debug"}],
    })
}

/// What the chart makes of these values of TaskManagers, with or without pods on demand.
fn release(taskmanager: &Value, on_demand: bool) -> Vec<Value> {
    let image = json!({"repository": "example/flows", "tag": "7", "pullSecrets": ["mine"]});
    rendered(&with(&[
        ("image", image),
        ("checkpoints.secret", json!("storage")),
        ("ipFamily", json!("IPv6")),
        ("taskmanager", taskmanager.clone()),
        (
            "taskmanager.onDemand",
            json!({"enabled": on_demand, "maxSlots": 12, "idleTimeout": 90}),
        ),
    ]))
}

/// Of which pods are made.
fn template(release: &[Value]) -> Value {
    let text = &find(release, "ConfigMap", "jobmanager")["data"]["taskmanager.yaml"];
    objects(text.as_str().unwrap()).remove(0)
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn pods_on_demand_are_what_those_of_the_deployment_would_be() {
    let (with_deployment, on_demand) = (release(&chosen(), false), release(&chosen(), true));
    let mut wanted = pod(find(&with_deployment, "Deployment", "taskmanager")).clone();
    let made = template(&on_demand);
    // What is another one for each, or an option, is added by JobManagers.
    let arguments = wanted["spec"]["containers"][0]["args"]
        .as_array_mut()
        .unwrap();
    let added = ["--jobmanager=", "--id=", "--slots="];
    let is_added = |argument: &Value| {
        let argument = argument.as_str().unwrap();
        added.iter().any(|begin| argument.starts_with(begin))
    };
    let before = arguments.len();
    arguments.retain(|argument| !is_added(argument));
    assert_eq!(arguments.len() + added.len(), before);
    for part in ["metadata", "spec"] {
        assert_eq!(made[part], wanted[part]);
    }
    assert_eq!(
        (&made["apiVersion"], &made["kind"]),
        (&json!("v1"), &json!("Pod"))
    );
    assert_known(&template(&release(&json!({}), true)));
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn jobmanagers_are_told_what_they_are_to_make_and_where_they_are() {
    let on_demand = release(&chosen(), true);
    let options = configuration(find(&on_demand, "ConfigMap", "jobmanager"));
    for (key, value) in [
        ("resourcemanager.provider", json!("kubernetes")),
        ("resourcemanager.taskmanager-timeout", json!("90 s")),
        ("slotmanager.number-of-slots.max", json!(12)),
        ("taskmanager.numberOfTaskSlots", json!(3)),
        (
            "taskmanager.jobmanager-addresses",
            json!("jobmanager-rpc:6123,jobmanager-rpc.streams:6123"),
        ),
    ] {
        assert_eq!(options[key], value, "{key}");
    }
    let service = &find(&on_demand, "Service", "jobmanager-rpc")["spec"];
    assert_eq!(service["ports"][0]["port"], 6123);
    let jobmanager = &pod(find(&on_demand, "Deployment", "jobmanager"))["spec"];
    let volume = json!({"name": "configuration", "configMap": {"name": "jobmanager"}});
    assert!(jobmanager["volumes"].as_array().unwrap().contains(&volume));
    let container = &jobmanager["containers"][0];
    let mount = json!({"name": "configuration", "mountPath": "/etc/jobmanager", "readOnly": true});
    assert!(
        container["volumeMounts"]
            .as_array()
            .unwrap()
            .contains(&mount)
    );
    let file = &options["kubernetes.pod-template-file.taskmanager"];
    assert_eq!(file, "/etc/jobmanager/taskmanager.yaml");
    let own_name =
        json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    assert!(container["env"].as_array().unwrap().contains(&own_name));
    on_demand.iter().for_each(assert_known);
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn a_change_of_pods_on_demand_is_one_of_jobmanagers_and_of_others_it_is_not() {
    let mark = |taskmanager: &Value, on_demand| {
        let release = release(taskmanager, on_demand);
        let template = pod(find(&release, "Deployment", "jobmanager")).clone();
        template["metadata"]["annotations"]["checksum/configuration"].clone()
    };
    let larger = json!({"resources": {"limits": {"memory": "9Gi"}}});
    assert_ne!(mark(&json!({}), true), mark(&larger, true));
    assert_eq!(mark(&json!({}), false), mark(&larger, false));
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn jobmanagers_may_make_pods_only_if_they_are_to() {
    let rules = |on_demand| {
        let release = release(&json!({}), on_demand);
        let rules = find(&release, "Role", "jobmanager")["rules"].clone();
        rules.as_array().unwrap().clone()
    };
    let more = [
        json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "get", "list", "watch"]}),
        json!({"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get"]}),
    ];
    assert_eq!(rules(true), [&rules(false)[..], &more].concat());
    assert!(
        rules(false)
            .iter()
            .all(|rule| rule["resources"] == json!(["leases"]))
    );
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn nothing_else_decides_how_many_pods_there_are_or_holds_them() {
    let names = |on_demand| -> BTreeSet<String> {
        let release = release(&json!({}), on_demand).into_iter();
        let name = |object: Value| {
            format!(
                "{} {}",
                object["kind"].as_str().unwrap(),
                object["metadata"]["name"].as_str().unwrap()
            )
        };
        release.map(name).collect()
    };
    let missing: Vec<_> = names(false).difference(&names(true)).cloned().collect();
    assert_eq!(
        missing,
        ["Deployment taskmanager", "PodDisruptionBudget taskmanager"]
    );
    assert_eq!(names(true).difference(&names(false)).count(), 0);
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn pods_on_demand_reach_and_are_reached_as_those_of_the_deployment() {
    let mut all = release(&json!({}), true);
    let template = template(&all);
    let stand_in = json!({"kind": "Deployment", "metadata": {"name": "taskmanager"}, "spec": {"template": template}});
    all.push(stand_in);
    assert_eq!(of_kind(&all, "NetworkPolicy").len(), 2);
    assert_only_the_cluster_reaches_its_ports(&all);
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn values_that_do_not_go_with_pods_on_demand_are_refused() {
    let on_demand = |more: Value| {
        let mut taskmanager = json!({"onDemand": {"enabled": true}});
        let all = taskmanager.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        taskmanager
    };
    assert_refused([
        (
            "taskmanager",
            on_demand(json!({"autoscaling": {"enabled": true}})),
            "autoscaling and onDemand both say how many",
        ),
        (
            "taskmanager",
            on_demand(json!({"slots": 21})),
            "maxSlots is 20, and a TaskManager has 21 slots",
        ),
        (
            "taskmanager.onDemand",
            json!({"enabled": true, "maxSlots": 0}),
            "at '/taskmanager/onDemand/maxSlots': minimum: got 0, want 1",
        ),
        (
            "taskmanager.onDemand",
            json!({"idleTimeout": "30 s"}),
            "at '/taskmanager/onDemand/idleTimeout': got string, want integer",
        ),
        (
            "taskmanager.onDemand",
            json!({"maxReplicas": 3}),
            "additional properties 'maxReplicas' not allowed",
        ),
        (
            "configuration",
            json!({"resourcemanager.provider": "kubernetes"}),
            "taskmanager.onDemand.enabled is what lets JobManagers make pods",
        ),
    ]);
    let long = "a".repeat(64);
    let values = with(&[
        ("taskmanager", on_demand(json!({}))),
        ("clusterId", json!(long)),
    ]);
    let refused = crate::helm_chart::refused(&values);
    assert!(refused.contains("has 63 characters at most"), "{refused}");
}
