//! To whom the pods of TaskManagers belong: to the Deployment of which this JobManager's pod is one, so that they go
//! when it is deleted.

use crate::kubernetes::{machine, said};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Api, Client, Error};
use tracing::warn;

/// The variable that names the pod of this process, if its hostname does not.
const POD_NAME: &str = "POD_NAME";
/// A variable that is set in every pod.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";

/// Whoever controls this process's pod, and whoever controls that; nobody if it runs in no pod of the namespace, or may
/// not look.
///
/// # Errors
/// The server does not answer: the words for people.
pub(super) async fn owner(
    client: &Client,
    namespace: &str,
) -> Result<Option<OwnerReference>, String> {
    let Some(name) = own_pod() else {
        return Ok(None);
    };
    match look(client, namespace, &name).await {
        Ok(Some(owner)) => Ok(Some(OwnerReference {
            // Nobody else takes them for its own because of their labels.
            controller: Some(true),
            block_owner_deletion: None,
            ..owner
        })),
        Ok(None) => {
            warn!(
                pod = name,
                namespace, "TaskManagers belong to nobody: this pod is of no Deployment there"
            );
            Ok(None)
        }
        Err(Error::Api(status)) if status.is_forbidden() => {
            let problem = &status.message;
            warn!(
                pod = name,
                namespace,
                problem,
                "TaskManagers belong to nobody: whose pod this is cannot be looked up"
            );
            Ok(None)
        }
        Err(problem) => Err(said(problem)),
    }
}

fn own_pod() -> Option<String> {
    let named = std::env::var(POD_NAME).ok();
    let named = named.filter(|name| !name.is_empty());
    named.or_else(|| std::env::var_os(IN_A_POD).and_then(|_| machine()))
}

async fn look(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<OwnerReference>, Error> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let pod = pods.get_opt(name).await?;
    let Some(owner) = pod.and_then(|pod| controller(pod.metadata)) else {
        return Ok(None);
    };
    if owner.kind != "ReplicaSet" {
        return Ok(Some(owner));
    }
    let sets = Api::<ReplicaSet>::namespaced(client.clone(), namespace);
    let set = sets.get_opt(&owner.name).await?;
    let deployment = set.and_then(|set| controller(set.metadata));
    Ok(Some(deployment.unwrap_or(owner)))
}

fn controller(of: ObjectMeta) -> Option<OwnerReference> {
    let mut owners = of.owner_references.into_iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}
