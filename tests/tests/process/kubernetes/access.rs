//! What Kubernetes lets the accounts of the manifests do.

use super::{Kubernetes, manifests, shared};
use jobmanager_tests::services::kubernetes::Asked;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// What a Role allows: each verb with the resource, and the name of the only one if there is one.
fn allowed(server: &Kubernetes, namespace: &str, role: &str) -> BTreeSet<Asked> {
    let role = server.kubectl(&["-n", namespace, "get", "role", role, "-o", "json"]);
    let role: Value = serde_json::from_str(&role).unwrap();
    let mut allowed = BTreeSet::new();
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten();
        texts
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    for rule in role["rules"].as_array().unwrap() {
        let mut names: Vec<_> = texts(&rule["resourceNames"])
            .into_iter()
            .map(Some)
            .collect();
        if names.is_empty() {
            names.push(None);
        }
        for name in names {
            for resource in texts(&rule["resources"]) {
                allowed.extend(texts(&rule["verbs"]).into_iter().map(|verb| Asked {
                    verb,
                    resource: resource.clone(),
                    name: name.clone(),
                    refused: false,
                }));
            }
        }
    }
    allowed
}

/// JobManagers that have done all that they may have to do have asked for all that they are allowed, and for nothing
/// else.
pub(super) fn assert_allowed_is_what_was_asked_for(
    server: &Kubernetes,
    namespace: &str,
    prefix: &str,
) {
    let [jobmanager, taskmanager] =
        ["jobmanager", "taskmanager"].map(|account| format!("{prefix}{account}"));
    let allowed = allowed(server, namespace, &jobmanager);
    let asked = server.asked_by(namespace, &jobmanager).into_iter();
    let asked = asked.map(|one| {
        let of_any_name = Asked {
            name: None,
            ..one.clone()
        };
        match allowed.contains(&of_any_name) {
            true => of_any_name,
            false => one,
        }
    });
    assert_eq!(asked.collect::<BTreeSet<_>>(), allowed);
    assert_eq!(server.asked_by(namespace, &taskmanager), BTreeSet::new());
}

/// Nothing was refused that this account has asked for.
pub(super) fn assert_allowed_is_enough(server: &Kubernetes, namespace: &str, account: &str) {
    let asked = server.asked_by(namespace, account);
    assert!(asked.iter().any(|one| one.verb == "update"), "{asked:?}");
    assert!(asked.iter().all(|one| !one.refused), "{asked:?}");
}

fn refusal(server: &Kubernetes, account: &Path, arguments: &[&str]) -> String {
    let refused = server.kubectl_as(account, arguments);
    refused.expect_err(&format!("{arguments:?} is allowed"))
}

#[test]
#[ignore = "needs Kubernetes: run tests/run"]
fn the_accounts_may_do_nothing_but_elect() {
    let server = shared();
    super::create_namespace(&server, "secured");
    let all = manifests(&server, "secured");
    server.kubectl_with(&all, &["apply", "-f", "-"]).unwrap();
    let jobmanager = server.account_file("secured", "jobmanager");
    let taskmanager = server.account_file("secured", "taskmanager");
    let own = "jobmanager.secured.jobmanager";
    let lease = format!("lease/{own}");
    for name in [own, "jobmanager.other"] {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}});
        let made = server.kubectl_with(&lease.to_string(), &["-n", "secured", "create", "-f", "-"]);
        made.expect(name);
    }
    let mine = server.kubectl_as(&jobmanager, &["get", &lease]);
    assert!(mine.unwrap().contains(own));
    for arguments in [
        ["get", "secrets"],
        ["get", "pods"],
        ["get", "configmaps"],
        ["get", "leases"],
        ["get", "lease/jobmanager.other"],
        ["delete", "lease/jobmanager.secured.jobmanager"],
        ["delete", "deployment/taskmanager"],
        ["delete", "pod/jobmanager"],
        ["get", "nodes"],
        ["get", "namespaces"],
    ] {
        for account in [&jobmanager, &taskmanager] {
            let said = refusal(&server, account, &arguments);
            assert!(said.contains("Forbidden"), "{arguments:?}: {said}");
        }
    }
    let elsewhere = refusal(&server, &jobmanager, &["-n", "default", "get", &lease]);
    assert!(elsewhere.contains("Forbidden"), "{elsewhere}");
    let none = refusal(&server, &taskmanager, &["get", &lease]);
    assert!(none.contains("Forbidden"), "{none}");
}
