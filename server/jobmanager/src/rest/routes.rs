//! Every route: Flink's, in the order of its documentation, and ours.

use super::{
    Rest, absent, applications, checkpoint_details, checkpoints, cluster, commands, disposal,
    events, exposition, job, metrics, plan, recording, result, savepoints, settings, triggered,
    vertex, why,
};
use axum::Router;
use axum::routing::{get, patch, post};

pub(super) fn all() -> Router<Rest> {
    of_cluster()
        .merge(of_taskmanagers())
        .merge(of_jobs())
        .merge(of_checkpoints())
        .merge(of_vertices())
}

fn of_cluster() -> Router<Rest> {
    Router::new()
        .route("/overview", get(cluster::overview))
        .route("/config", get(cluster::config))
        .route("/events", get(events::events))
        .route("/flight-recording", get(recording::recording))
        .route("/metrics", get(exposition::exposition))
        .route("/cluster", axum::routing::delete(absent::shut_down))
        .route("/applications/overview", get(applications::overview))
        .route("/applications/{job}", get(applications::details))
        .route("/applications/{job}/cancel", post(applications::cancel))
        .route(
            "/applications/{job}/exceptions",
            get(applications::exceptions),
        )
        .route(
            "/applications/{job}/jobmanager/config",
            get(applications::config),
        )
        .route("/datasets", get(absent::datasets))
        .route("/datasets/{*rest}", axum::routing::any(absent::dataset))
        .route("/jars", get(absent::jars))
        .route("/jars/{*rest}", axum::routing::any(absent::jar))
        .route("/jobmanager/config", get(settings::cluster))
        .route("/jobmanager/environment", get(settings::environment))
        .route("/jobmanager/metrics", get(metrics::jobmanager))
        .route("/jobmanager/log", get(absent::log))
        .route("/jobmanager/stdout", get(absent::log))
        .route("/jobmanager/logs", get(absent::logs))
        .route("/jobmanager/logs/{file}", get(absent::log))
        .route("/jobmanager/thread-dump", get(absent::threads))
        .route(
            "/jobmanager/profiler",
            get(absent::profiles).post(absent::profile),
        )
        .route("/jobmanager/profiler/{file}", get(absent::profile))
        .route("/savepoint-disposal", post(disposal::trigger))
        .route("/savepoint-disposal/{trigger}", get(disposal::status))
}

fn of_taskmanagers() -> Router<Rest> {
    let one = Router::new()
        .route("/", get(cluster::taskmanager))
        .route("/metrics", get(metrics::taskmanager))
        .route("/log", get(absent::log))
        .route("/stdout", get(absent::log))
        .route("/logs", get(absent::taskmanager_logs))
        .route("/logs/{file}", get(absent::log))
        .route("/thread-dump", get(absent::taskmanager_threads))
        .route(
            "/profiler",
            get(absent::taskmanager_profiles).post(absent::profile),
        )
        .route("/profiler/{file}", get(absent::profile));
    Router::new()
        .route("/taskmanagers", get(cluster::taskmanagers))
        .route("/taskmanagers/metrics", get(metrics::taskmanagers))
        .nest("/taskmanagers/{taskmanager}", one)
}

fn of_jobs() -> Router<Rest> {
    let one = Router::new()
        .route("/", get(job::details).patch(commands::cancel))
        .route("/status", get(job::status))
        .route("/why", get(why::why))
        .route("/config", get(settings::job))
        .route("/plan", get(plan::plan))
        .route("/exceptions", get(job::exceptions))
        .route("/execution-result", get(result::execution_result))
        .route("/accumulators", get(result::accumulators))
        .route("/metrics", get(metrics::job))
        .route("/yarn-cancel", get(commands::yarn_cancel))
        .route("/yarn-stop", get(absent::yarn_stop))
        .route("/clientHeartbeat", patch(absent::client_heartbeat))
        .route(
            "/coordinators/{operator}",
            post(absent::operator_coordinator),
        )
        .route("/jobmanager/config", get(settings::cluster_of_job))
        .route("/jobmanager/environment", get(settings::environment_of_job))
        .route("/jobmanager/log-url", get(absent::log_url))
        .route("/taskmanagers/{taskmanager}/log-url", get(absent::log_url))
        .route("/rescales/{*rest}", get(absent::rescaling))
        .route("/rescaling", patch(absent::rescaling))
        .route("/rescaling/{trigger}", get(absent::rescaling))
        .route(
            "/resource-requirements",
            get(absent::rescaling).put(absent::rescaling),
        );
    Router::new()
        .route("/jobs", get(job::ids).post(commands::submit))
        .route("/jobs/overview", get(job::overview))
        .route("/jobs/metrics", get(metrics::jobs))
        .nest("/jobs/{job}", one)
}

fn of_checkpoints() -> Router<Rest> {
    let one = Router::new()
        .route(
            "/checkpoints",
            get(checkpoints::checkpoints).post(triggered::trigger),
        )
        .route("/checkpoints/{trigger}", get(triggered::status))
        .route("/checkpoints/config", get(checkpoint_details::config))
        .route(
            "/checkpoints/details/{checkpoint}",
            get(checkpoint_details::details),
        )
        .route(
            "/checkpoints/details/{checkpoint}/subtasks/{vertex}",
            get(checkpoint_details::subtasks),
        )
        .route("/savepoints", post(savepoints::trigger))
        .route("/savepoints/{trigger}", get(savepoints::status))
        .route("/stop", post(savepoints::stop));
    Router::new().nest("/jobs/{job}", one)
}

fn of_vertices() -> Router<Rest> {
    let one = Router::new()
        .route("/", get(vertex::details))
        .route("/taskmanagers", get(vertex::taskmanagers))
        .route("/subtasktimes", get(vertex::times))
        .route("/accumulators", get(vertex::accumulators))
        .route("/backpressure", get(vertex::backpressure))
        .route("/flamegraph", get(vertex::flamegraph))
        .route("/metrics", get(metrics::vertex))
        .route("/jm-operator-metrics", get(metrics::none))
        .route("/watermarks", get(metrics::none))
        .route("/subtasks/metrics", get(metrics::subtasks))
        .route("/subtasks/accumulators", get(vertex::subtask_accumulators))
        .route("/subtasks/{subtask}", get(vertex::subtask))
        .route("/subtasks/{subtask}/metrics", get(metrics::subtask))
        .route(
            "/subtasks/{subtask}/attempts/{attempt}",
            get(vertex::attempt),
        )
        .route(
            "/subtasks/{subtask}/attempts/{attempt}/accumulators",
            get(vertex::attempt_accumulators),
        );
    Router::new().nest("/jobs/{job}/vertices/{vertex}", one)
}
