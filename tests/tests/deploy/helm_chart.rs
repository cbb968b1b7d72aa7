//! The Helm chart, by Helm itself: what it makes of values, and which values it refuses.

use crate::objects::{argument, container, deploy, find, manifests, objects, pod, text};
use jobmanager_tests::services::helm;
use serde_json::{Value, json};

/// The least that has to be said.
fn least() -> Value {
    json!({"store": {"url": "s3://BUCKET/metadata"}, "checkpoints": {"dir": "s3://BUCKET/checkpoints"}})
}

/// The least, and these values.
pub(crate) fn with(more: &[(&str, Value)]) -> Value {
    let mut values = least();
    for (pointer, value) in more {
        let mut at = &mut values;
        for key in pointer.split('.') {
            at = &mut at[key];
        }
        *at = value.clone();
    }
    values
}

/// What the release `jobmanager` in the namespace `streams` is.
pub(crate) fn rendered(values: &Value) -> Vec<Value> {
    release("jobmanager", "streams", values)
}

fn release(name: &str, namespace: &str, values: &Value) -> Vec<Value> {
    let templates = helm::render(&deploy("chart"), values, name, namespace).unwrap();
    let is_object = |(path, _): &(String, String)| path.ends_with(".yaml");
    let yaml = templates.into_iter().filter(is_object);
    yaml.flat_map(|(_, text)| objects(&text)).collect()
}

/// What a release adds to an object, and the plain manifests have not.
fn without_marks(mut object: Value) -> Value {
    let metadata = &mut object["metadata"];
    metadata.as_object_mut().unwrap().remove("namespace");
    let labels = metadata["labels"].as_object_mut().unwrap();
    labels.remove("app.kubernetes.io/managed-by");
    labels.remove("helm.sh/chart");
    if object["kind"] == "Deployment" {
        let template = &mut object["spec"]["template"];
        let annotations = &mut template["metadata"];
        annotations.as_object_mut().unwrap().remove("annotations");
    }
    object
}

/// The options in a ConfigMap.
pub(crate) fn configuration(map: &Value) -> Value {
    objects(map["data"]["config.yaml"].as_str().unwrap()).remove(0)
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn a_release_is_what_the_plain_manifests_are() {
    let values = with(&[
        ("checkpoints.savepointDir", json!("s3://BUCKET/savepoints")),
        ("checkpoints.secret", json!("jobmanager-storage")),
        ("store.secret", json!("jobmanager-database")),
    ]);
    let made = rendered(&values);
    let mut plain = manifests();
    // Both are the users' own with the chart.
    plain.retain(|object| object["kind"] != "Namespace" && object["kind"] != "Secret");
    assert_eq!(made.len(), plain.len());
    for mut wanted in plain {
        let kind = wanted["kind"].as_str().unwrap().to_owned();
        let name = wanted["metadata"]["name"].as_str().unwrap().to_owned();
        let mut found = without_marks(find(&made, &kind, &name).clone());
        match kind.as_str() {
            "ConfigMap" => {
                assert_eq!(configuration(&found), configuration(&wanted));
                wanted["data"] = Value::Null;
                found["data"] = Value::Null;
            }
            "Deployment" => {
                let container = &mut wanted["spec"]["template"]["spec"]["containers"][0];
                // The default of everything that is not tagged as the latest.
                container["imagePullPolicy"] = json!("IfNotPresent");
                // Whoever names a Secret to the chart has it.
                let secrets = container["envFrom"].as_array_mut().unwrap();
                for secret in secrets {
                    secret["secretRef"]
                        .as_object_mut()
                        .unwrap()
                        .remove("optional");
                }
            }
            "RoleBinding" => wanted["subjects"][0]["namespace"] = json!("streams"),
            "Service" if name.ends_with("rest") => wanted["spec"]["type"] = json!("ClusterIP"),
            _ => {}
        }
        assert_eq!(found, without_marks(wanted), "{kind} {name}");
    }
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn helm_has_nothing_against_the_chart() {
    let said = helm::lint(&deploy("chart"), &least());
    // A picture is recommended.
    let said: Vec<_> = said.iter().filter(|line| !line.contains("icon")).collect();
    assert!(said.is_empty(), "{said:?}");
    let wrong = helm::lint(&deploy("chart"), &with(&[("replicas", json!(3))]));
    assert!(
        wrong.iter().any(|line| line.contains("replicas")),
        "{wrong:?}"
    );
}

/// Why these values are refused.
pub(crate) fn refused(values: &Value) -> String {
    let refused = helm::render(&deploy("chart"), values, "jobmanager", "streams");
    refused.expect_err(&format!("{values} is taken"))
}

/// Each of these values, beside the least, is refused with these words.
pub(crate) fn assert_refused<const N: usize>(cases: [(&str, Value, &str); N]) {
    for (pointer, value, words) in cases {
        let values = with(&[(pointer, value)]);
        let refused = refused(&values);
        assert!(refused.contains(words), "{values}: {refused}");
    }
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn values_of_another_kind_are_refused_by_their_place() {
    assert_refused([
        (
            "replicas",
            json!(3),
            "additional properties 'replicas' not allowed",
        ),
        (
            "jobmanager.replicas",
            json!(0),
            "at '/jobmanager/replicas': minimum: got 0, want 1",
        ),
        (
            "jobmanager.replicas",
            json!("two"),
            "at '/jobmanager/replicas': got string, want integer",
        ),
        ("taskmanager.slots", json!(0), "at '/taskmanager/slots'"),
        (
            "checkpoints.dir",
            json!("/checkpoints"),
            "at '/checkpoints/dir'",
        ),
        (
            "store.url",
            json!("mysql://host/name"),
            "(postgres|postgresql|s3|azure|gs)",
        ),
        ("clusterId", json!("A_b"), "at '/clusterId'"),
        (
            "service.allowedHosts",
            json!(["http://mine.example"]),
            "at '/service/allowedHosts/0'",
        ),
        ("ipFamily", json!("v6"), "'IPv4', 'IPv6'"),
        ("ingress.enabled", json!(true), "at '/ingress/host'"),
        (
            "networkPolicy.restFrom",
            json!("everybody"),
            "at '/networkPolicy/restFrom'",
        ),
        (
            "configuration",
            json!({"heartbeat": {"interval": "1 s"}}),
            "at '/configuration/heartbeat'",
        ),
    ]);
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn values_that_do_not_go_together_are_refused_with_what_would() {
    let ingress = json!({"enabled": true, "host": "flows.example"});
    let scaling = json!({"enabled": true, "minReplicas": 11});
    assert_refused([
        (
            "store.url",
            json!(""),
            "store.url: name where the records are",
        ),
        ("checkpoints.dir", json!(""), "checkpoints.dir: name where"),
        (
            "store.url",
            json!("postgres://me:secret@host/name"),
            "a Secret that has it as PGPASSWORD",
        ),
        (
            "configuration",
            json!({"jobmanager.store": "x"}),
            "is made of other values; leave it out",
        ),
        ("ingress", ingress, "set jobmanager.replicas to 1"),
        (
            "taskmanager.autoscaling",
            scaling,
            "minReplicas is 11, and maxReplicas 10",
        ),
    ]);
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn several_clusters_have_names_of_their_own() {
    let all = release("a", "team-1", &least());
    for object in &all {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("a-"), "{name}");
    }
    let options = configuration(find(&all, "ConfigMap", "a-jobmanager"));
    assert_eq!(options["high-availability.cluster-id"], "team-1/a");
    let role = find(&all, "Role", "a-jobmanager");
    assert_eq!(
        role["rules"][0]["resourceNames"],
        json!(["jobmanager.team-1.a"])
    );
    let taskmanager = container(find(&all, "Deployment", "a-taskmanager"));
    let asked = argument(taskmanager, "--jobmanager");
    assert!(asked.starts_with("a-jobmanager-rpc:6123,"), "{asked}");
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn what_is_off_by_default_can_be_had() {
    let ordinary = rendered(&least());
    let kinds = [
        "HorizontalPodAutoscaler",
        "Ingress",
        "ServiceMonitor",
        "PrometheusRule",
    ];
    let is_extra = |object: &&Value| kinds.iter().any(|kind| object["kind"] == *kind);
    assert_eq!(ordinary.iter().find(is_extra), None);

    let all = rendered(&with(&[
        ("jobmanager.replicas", json!(1)),
        (
            "ingress",
            json!({"enabled": true, "host": "flows.example", "tlsSecret": "tls"}),
        ),
        (
            "taskmanager.autoscaling",
            json!({"enabled": true, "maxReplicas": 7}),
        ),
        (
            "monitoring.serviceMonitor",
            json!({"enabled": true, "labels": {"release": "prometheus"}}),
        ),
        ("monitoring.prometheusRule", json!({"enabled": true})),
        ("service.allowedHosts", json!(["mine.example"])),
    ]));
    assert_eq!(all.iter().filter(is_extra).count(), kinds.len());
    let known = all.iter().filter(|object| {
        let group = object["apiVersion"].as_str().unwrap();
        // The Prometheus operator's.
        !group.starts_with("monitoring.")
    });
    known.for_each(crate::kinds::assert_known);
    let scaler = &find(&all, "HorizontalPodAutoscaler", "taskmanager")["spec"];
    assert_eq!(
        (&scaler["minReplicas"], &scaler["maxReplicas"]),
        (&json!(2), &json!(7))
    );
    let scaled = &find(&all, "Deployment", "taskmanager")["spec"];
    assert_eq!(
        scaled["replicas"],
        Value::Null,
        "the autoscaler's, not Helm's"
    );
    let options = configuration(find(&all, "ConfigMap", "jobmanager"));
    assert_eq!(options["scheduler-mode"], "reactive");
    let hosts = options["rest.allowed-hosts"].as_str().unwrap();
    assert!(hosts.ends_with(",flows.example,mine.example"), "{hosts}");
    let ingress = &find(&all, "Ingress", "jobmanager")["spec"];
    assert_eq!(ingress["tls"][0]["hosts"], json!(["flows.example"]));
    let monitor = find(&all, "ServiceMonitor", "jobmanager");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let rule = find(&all, "PrometheusRule", "jobmanager");
    assert_eq!(rule["spec"], objects(&text("alerts.yaml"))[0]);
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn each_option_of_the_cluster_is_in_the_configuration() {
    let options = json!({
        "heartbeat.interval": "1 s",
        "web.exception-history-size": 1_000_000,
        "jobmanager.scheduler": "default",
    });
    let all = rendered(&with(&[
        ("configuration", options),
        ("clusterId", json!("/team/flows")),
        ("ipFamily", json!("IPv6")),
        ("taskmanager.autoscaling.enabled", json!(true)),
    ]));
    let options = configuration(find(&all, "ConfigMap", "jobmanager"));
    let expected = json!({
        "execution.checkpointing.dir": "s3://BUCKET/checkpoints",
        "heartbeat.interval": "1 s",
        "high-availability.cluster-id": "/team/flows",
        "high-availability.type": "KUBERNETES",
        "jobmanager.bind-host": "::",
        // The user's comes before the autoscaler's.
        "jobmanager.scheduler": "default",
        "jobmanager.store": "s3://BUCKET/metadata",
        "rest.allowed-hosts": "jobmanager-rest,jobmanager-rest.streams,jobmanager-rest.streams.svc,jobmanager-rest.streams.svc.cluster.local",
        "rest.bind-address": "::",
        "scheduler-mode": "reactive",
        "security.allow-insecure": true,
        "web.exception-history-size": 1_000_000,
    });
    assert_eq!(options, expected);
    let role = find(&all, "Role", "jobmanager");
    let lease = json!(["jobmanager.team.flows"]);
    assert_eq!(role["rules"][0]["resourceNames"], lease);
    let taskmanager = container(find(&all, "Deployment", "taskmanager"));
    assert_eq!(argument(taskmanager, "--bind-addr"), "[$(POD_IP)]:6122");
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn what_is_said_of_pods_is_in_their_deployment() {
    let said = json!({
        "resources": {"requests": {"cpu": "3"}},
        "nodeSelector": {"disk": "fast"},
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        "env": [{"name": "RUST_LOG", "value": "debug"}],
        "podAnnotations": {"example.org/owner": "us"},
    });
    let image = json!({"repository": "example/flows", "tag": "7", "pullSecrets": ["mine"]});
    let all = rendered(&with(&[
        ("image", image),
        ("jobmanager", said.clone()),
        ("taskmanager", said.clone()),
    ]));
    all.iter().for_each(crate::kinds::assert_known);
    for name in ["jobmanager", "taskmanager"] {
        let template = pod(find(&all, "Deployment", name));
        let (spec, container) = (&template["spec"], &template["spec"]["containers"][0]);
        assert_eq!(container["image"], "example/flows:7");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "mine"}]));
        assert_eq!(spec["nodeSelector"], said["nodeSelector"]);
        assert_eq!(spec["affinity"], said["affinity"]);
        assert_eq!(spec["tolerations"], said["tolerations"]);
        let annotations = &template["metadata"]["annotations"];
        assert_eq!(annotations["example.org/owner"], "us");
        assert_eq!(container["resources"]["requests"]["cpu"], "3");
        for (all, key) in [
            (spec, "volumes"),
            (container, "volumeMounts"),
            (container, "env"),
        ] {
            let there = all[key].as_array().unwrap();
            assert!(there.contains(&said[key][0]), "{key}: {there:?}");
        }
    }
}

#[test]
#[ignore = "needs Helm: run tests/run"]
fn a_taskmanager_has_the_time_that_it_is_given_and_no_password_of_the_database() {
    let all = rendered(&with(&[
        (
            "store",
            json!({"url": "postgres://me@host/name", "secret": "database"}),
        ),
        ("taskmanager", json!({"slots": 5, "leaveTimeout": 300})),
    ]));
    let deployment = find(&all, "Deployment", "taskmanager");
    let taskmanager = container(deployment);
    let grace = &pod(deployment)["spec"]["terminationGracePeriodSeconds"];
    assert_eq!(
        (argument(taskmanager, "--leave-timeout"), grace),
        ("300", &json!(315))
    );
    assert_eq!(argument(taskmanager, "--slots"), "5");
    assert_eq!(taskmanager["envFrom"], Value::Null);
    let jobmanager = container(find(&all, "Deployment", "jobmanager"));
    let database = json!([{"secretRef": {"name": "database"}}]);
    assert_eq!(jobmanager["envFrom"], database);
}
