//! What the API server is asked for, each in time.

use super::owner::owner;
use super::place::{PodNames, PodPlace};
use super::status::{Stage, stage};
use crate::kubernetes::said;
use jobmanager_core::id::WorkerId;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Error};
use std::time::Duration;
use tokio::time::timeout;
use tracing::info;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The answer, if there is one in time.
///
/// # Errors
/// There is none: the words for people.
pub(super) async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, String> {
    let answer = timeout(TIMEOUT, answer).await;
    answer.map_err(|_| "the server does not answer".to_owned())
}

/// Where to work, and to whom the pods belong.
pub(super) async fn surroundings(
    place: &PodPlace,
) -> Result<(Api<Pod>, Option<OwnerReference>), String> {
    let (client, namespace) = place.access.client().await?;
    let owner = in_time(owner(&client, &namespace)).await??;
    if let Some(OwnerReference { kind, name, .. }) = &owner {
        info!(kind, name, "pods of TaskManagers belong to it");
    }
    Ok((Api::namespaced(client, &namespace), owner))
}

/// Makes a pod, unless there is one of its name.
pub(super) async fn create(api: &Api<Pod>, pod: &Pod) -> Result<(), String> {
    match in_time(api.create(&PostParams::default(), pod)).await? {
        Ok(_) => Ok(()),
        Err(Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(problem) => Err(said(problem)),
    }
}

/// Deletes a pod, whose TaskManager has the time to leave that the pod gives it. Tells whether there is still one.
pub(super) async fn delete(api: &Api<Pod>, name: &str) -> Result<bool, String> {
    match in_time(api.delete(name, &DeleteParams::default())).await? {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(problem) => Err(said(problem)),
    }
}

/// How far the pod of a worker is, if there is one.
pub(super) async fn look(
    api: &Api<Pod>,
    names: &PodNames,
    worker: WorkerId,
) -> Result<Option<Stage>, String> {
    let name = names.name(worker);
    let pod = in_time(api.get_opt(&name)).await?.map_err(said)?;
    Ok(pod.as_ref().map(stage))
}
