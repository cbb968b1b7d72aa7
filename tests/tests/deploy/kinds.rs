//! Objects as Kubernetes declares their kinds today. The API server that tests can have is an older one.

use crate::objects::manifests;
use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::serde::Serialize;
use k8s_openapi::serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The object with everything in it that its kind knows.
fn known<K: Resource + DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    assert_eq!(object["apiVersion"], K::API_VERSION);
    let read = serde_json::from_value::<K>(object.clone());
    let read = read.map_err(|problem| problem.to_string())?;
    serde_json::to_value(read).map_err(|problem| problem.to_string())
}

/// What Kubernetes would make of an object.
fn read(object: &Value) -> Result<Value, String> {
    match object["kind"].as_str().unwrap() {
        "ConfigMap" => known::<ConfigMap>(object),
        "Deployment" => known::<Deployment>(object),
        "HorizontalPodAutoscaler" => known::<HorizontalPodAutoscaler>(object),
        "Ingress" => known::<Ingress>(object),
        "Namespace" => known::<Namespace>(object),
        "NetworkPolicy" => known::<NetworkPolicy>(object),
        "Pod" => known::<Pod>(object),
        "PodDisruptionBudget" => known::<PodDisruptionBudget>(object),
        "Role" => known::<Role>(object),
        "RoleBinding" => known::<RoleBinding>(object),
        "Secret" => known::<Secret>(object),
        "Service" => known::<Service>(object),
        "ServiceAccount" => known::<ServiceAccount>(object),
        other => panic!("{other} is not known here"),
    }
}

/// Everything in the object is known to its kind.
pub(crate) fn assert_known(object: &Value) {
    assert_eq!(read(object).as_ref(), Ok(object));
}

#[test]
#[ignore = "needs the packages of every feature: run tests/run"]
fn every_manifest_is_of_a_kind_of_today_and_has_nothing_that_is_unknown() {
    let manifests = manifests();
    manifests.iter().for_each(assert_known);
    for object in &manifests {
        let mut misspelt = object.clone();
        misspelt["metadata"]["lables"] = json!({});
        assert_ne!(read(&misspelt), Ok(misspelt));
        let mut mistaken = object.clone();
        mistaken["metadata"]["name"] = json!(7);
        assert!(read(&mistaken).is_err());
    }
}
