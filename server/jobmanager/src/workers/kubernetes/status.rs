//! What the status of a pod comes to.

use super::template::CONTAINER;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus,
};

/// The most characters of a reason.
const MAX_REASON: usize = 400;

/// How far a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its TaskManager does not run yet: why.
    Waits(String),
    /// Its TaskManager runs.
    Runs,
    /// It is to be deleted, whoever wants that.
    Leaves,
    /// Its TaskManager has ended, and starts no more: why.
    Ended(String),
}

pub(super) fn stage(pod: &Pod) -> Stage {
    if pod.metadata.deletion_timestamp.is_some() {
        return Stage::Leaves;
    }
    let Some(status) = &pod.status else {
        return Stage::Waits("its pod has no status yet".to_owned());
    };
    let state = state_of(status.container_statuses.as_deref());
    let terminated = state.and_then(|state| state.terminated.as_ref());
    match (status.phase.as_deref(), terminated) {
        (Some("Failed" | "Succeeded"), _) | (_, Some(_)) => {
            Stage::Ended(brief(&end_of(status, terminated)))
        }
        _ if state.is_some_and(|state| state.running.is_some()) => Stage::Runs,
        _ => Stage::Waits(brief(&obstacle(status))),
    }
}

fn state_of(statuses: Option<&[ContainerStatus]>) -> Option<&ContainerState> {
    let mut statuses = statuses.unwrap_or_default().iter();
    let ours = statuses.find(|status| status.name == CONTAINER)?;
    ours.state.as_ref()
}

/// Why it has ended.
fn end_of(status: &PodStatus, terminated: Option<&ContainerStateTerminated>) -> String {
    // Such as `Evicted`: what has befallen the whole pod.
    if let Some(reason) = &status.reason {
        return with_message(reason, status.message.as_deref());
    }
    let Some(terminated) = terminated else {
        let phase = status.phase.as_deref().unwrap_or_default();
        return with_message(&format!("its pod is {phase}"), status.message.as_deref());
    };
    let code = match terminated.signal {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit code {}", terminated.exit_code),
    };
    let how = match terminated.reason.as_deref() {
        Some(reason) => format!("{reason}, {code}"),
        None => code,
    };
    with_message(&how, terminated.message.as_deref())
}

/// What keeps it from running.
fn obstacle(status: &PodStatus) -> String {
    let conditions = status.conditions.iter().flatten();
    let is_unmet =
        |condition: &&PodCondition| condition.type_ == "PodScheduled" && condition.status != "True";
    if let Some(condition) = conditions.into_iter().find(is_unmet) {
        let reason = condition.reason.as_deref().unwrap_or("not scheduled");
        return with_message(reason, condition.message.as_deref());
    }
    let first = status.init_container_statuses.iter().flatten();
    let all = first.chain(status.container_statuses.iter().flatten());
    let mut waiting = all.filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let reason = format!("container {}: {reason}", container.name);
        Some(with_message(&reason, waiting.message.as_deref()))
    });
    let phase = status.phase.as_deref().unwrap_or("without a phase");
    let otherwise = || with_message(&format!("its pod is {phase}"), status.message.as_deref());
    waiting.next().unwrap_or_else(otherwise)
}

fn with_message(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}

/// What others write may be of any length.
pub(super) fn brief(reason: &str) -> String {
    match reason.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn stage_of(status: Value) -> Stage {
        stage(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap())
    }

    fn container(state: Value) -> Value {
        let other = json!({"name": "sidecar", "state": {"running": {}}, "ready": true,
            "restartCount": 0, "image": "", "imageID": ""});
        let mut ours = other.clone();
        (ours["name"], ours["state"]) = (CONTAINER.into(), state);
        json!([other, ours])
    }

    #[test]
    fn what_keeps_a_pod_from_running_is_told() {
        for (status, expected) in [
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                    "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]}),
                "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.",
            ),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}],
                    "containerStatuses": container(json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}))}),
                "container taskmanager: ErrImagePull: no such image",
            ),
            (json!({"phase": "Pending"}), "its pod is Pending"),
            // A sidecar runs already.
            (
                json!({"phase": "Running", "containerStatuses": container(json!({"waiting": {"reason": "CreateContainerError"}}))}),
                "container taskmanager: CreateContainerError",
            ),
        ] {
            assert_eq!(stage_of(status), Stage::Waits(expected.to_owned()));
        }
    }

    #[test]
    fn how_a_pod_has_ended_is_told() {
        for (status, expected) in [
            (
                json!({"phase": "Failed", "containerStatuses":
                    container(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))}),
                "OOMKilled, exit code 137",
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}),
                "Evicted: The node was low on memory.",
            ),
            (
                json!({"phase": "Succeeded", "containerStatuses":
                    container(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}))}),
                "Completed, exit code 0",
            ),
            (
                json!({"phase": "Running", "containerStatuses":
                    container(json!({"terminated": {"exitCode": 1}}))}),
                "exit code 1",
            ),
            (json!({"phase": "Failed"}), "its pod is Failed"),
        ] {
            assert_eq!(stage_of(status), Stage::Ended(expected.to_owned()));
        }
    }

    #[test]
    fn a_pod_runs_when_its_taskmanager_does() {
        let running =
            json!({"phase": "Running", "containerStatuses": container(json!({"running": {}}))});
        assert_eq!(stage_of(running.clone()), Stage::Runs);
        let leaving =
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": running});
        assert_eq!(
            stage(&serde_json::from_value(leaving).unwrap()),
            Stage::Leaves
        );
    }

    #[test]
    fn a_reason_is_not_longer_than_people_read() {
        assert_eq!(brief(&"ä".repeat(MAX_REASON)), "ä".repeat(MAX_REASON));
        let cut = brief(&"ä".repeat(MAX_REASON + 1));
        assert_eq!(cut, format!("{}…", "ä".repeat(MAX_REASON)));
    }
}
