//! What Flink has and this JobManager has not, because it belongs to a Java virtual machine, to uploaded jars or to
//! something that is not built: a list is empty, anything else is 501 with the reason.

use super::Rest;
use super::cluster::taskmanager_not_found;
use super::error::{Answer, Failure};
use super::path::Names;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use jobmanager_core::id::TaskManagerId;
use jobmanager_core::jobmanager::Coordinator;
use serde_json::{Value, json};

/// `GET /jars`
pub(super) async fn jars(State(rest): State<Rest>) -> Json<Value> {
    Json(json!({ "address": format!("http://{}", rest.address), "files": [] }))
}

/// Everything else about jars.
pub(super) async fn jar() -> Failure {
    Failure::not_implemented(
        "a job is a graph of operators that TaskManagers offer by name, not a jar: submit it to POST /jobs",
    )
}

/// `GET /datasets`
pub(super) async fn datasets() -> Json<Value> {
    Json(json!({ "dataSets": [] }))
}

/// `/datasets/…`
pub(super) async fn dataset(uri: Uri) -> Failure {
    Failure::not_found(format!("Not found: {}: there are no data sets", uri.path()))
}

/// `…/stdout`
pub(super) async fn stdout() -> Failure {
    Failure::not_found(
        "there is no such file: whoever starts the process keeps what it prints; what it logs is at log".to_owned(),
    )
}

/// `…/thread-dump`
pub(super) async fn threads() -> Json<Value> {
    Json(json!({ "threadInfos": [] }))
}

/// `GET …/profiler`
pub(super) async fn profiles() -> Json<Value> {
    Json(json!({ "profilingList": [] }))
}

/// Everything else about profiles.
pub(super) async fn profile() -> Failure {
    Failure::not_implemented("there is no Java virtual machine to profile; use perf on the process")
}

/// The same of a TaskManager that has to be there.
pub(super) async fn of_taskmanager(rest: &Rest, names: &Names) -> Result<(), Failure> {
    let name = names.text("taskmanager").to_owned();
    let id = TaskManagerId(name.clone());
    let view = move |coordinator: &Coordinator, _| coordinator.data_address(&id).map(drop);
    rest.find(|| taskmanager_not_found(&name), view).await
}

/// `GET /taskmanagers/:id/thread-dump`
pub(super) async fn taskmanager_threads(State(rest): State<Rest>, names: Names) -> Answer {
    of_taskmanager(&rest, &names).await?;
    Ok(threads().await)
}

/// `GET /taskmanagers/:id/profiler`
pub(super) async fn taskmanager_profiles(State(rest): State<Rest>, names: Names) -> Answer {
    of_taskmanager(&rest, &names).await?;
    Ok(profiles().await)
}

/// `/jobs/:id/rescaling…`
pub(super) async fn rescaling() -> Failure {
    Failure::not_implemented(
        "change the parallelism with PUT /jobs/ID/resource-requirements, and look at /jobs/ID/parallelism",
    )
}

/// `/jobs/:id/rescales/…`
pub(super) async fn rescales() -> Failure {
    Failure::not_implemented(
        "nobody keeps what the parallelism was: /jobs/ID/parallelism has what it is, and is to be",
    )
}

/// `POST /jobs/:id/coordinators/:operator`
pub(super) async fn operator_coordinator() -> Failure {
    Failure::not_implemented("operators run on TaskManagers alone: there is no coordinator to ask")
}

/// `PATCH /jobs/:id/clientHeartbeat`
pub(super) async fn client_heartbeat() -> Failure {
    Failure::not_implemented("a job does not depend on its client: it goes on without heartbeats")
}

/// `GET /jobs/:id/yarn-stop`
pub(super) async fn yarn_stop() -> Failure {
    Failure::not_implemented("stop a job with a savepoint: POST /jobs/ID/stop")
}

/// `…/log-url`
pub(super) async fn log_url() -> Failure {
    Failure::not_implemented(
        "no other server has logs: /jobmanager/log and /taskmanagers/ID/log have the latest lines of each process",
    )
}

/// `DELETE /cluster`
pub(super) async fn shut_down() -> Failure {
    Failure::not_implemented("end the process with SIGTERM; the next one goes on with its jobs")
}
