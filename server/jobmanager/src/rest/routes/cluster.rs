//! The cluster as a whole, and the JobManager itself.

use super::{LOG, Route, TRIGGERED, get, post, recorded};
use crate::rest::openapi::{self, AFTER, DISPOSAL, GET, JOBS, LIMIT, LINES, LOG_AFTER, OFFSET};
use crate::rest::{
    absent, applications, cluster, disposal, events, exposition, leader, logs, metrics, recording,
    settings,
};
use crate::security::Role::{Admin, Anybody, Operator, Viewer};

const EVENT: &str = "event: job-changed\nid: 3-17\ndata: {\"jid\":\"7f33cc341a0ccd8f1312e04dd86817c3\",\"name\":\"word-count\",\"previous-state\":\"CREATED\",\"restarts\":0,\"state\":\"RUNNING\",\"timestamp\":1700000000000}\n\n";
const LEADER: &str = r#"{"epoch": 3, "address": "127.0.0.1:8081", "since": 1700000000000, "now": 1700000001000,
 "adopted": [{"jid": "7f33cc341a0ccd8f1312e04dd86817c3", "adopted": 7, "tasks": 7, "restarts": 0}],
 "known": [{"epoch": 3, "address": "127.0.0.1:8081", "since": 1700000000000}]}"#;
const METRIC: &str = "# HELP flink_jobmanager_numRunningJobs Jobs that have not ended.\n# TYPE flink_jobmanager_numRunningJobs gauge\nflink_jobmanager_numRunningJobs{host=\"127.0.0.1\"} 1\n# EOF\n";

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        get(Viewer, "/overview", cluster::overview, "TaskManagers, slots and jobs, in numbers")
            .gives(recorded!("overview")),
        get(Viewer, "/config", cluster::config, "What a dashboard has to know")
            .gives(recorded!("config")),
        get(Viewer, "/leader", leader::leader, "Who leads, since when, which tasks it has adopted, and who it knows to have led before")
            .gives(LEADER),
        get(Viewer, "/events", events::events, "What happens, as it happens")
            .asks(&[AFTER, JOBS])
            .gives_text("text/event-stream", EVENT),
        get(Viewer, "/metrics", exposition::exposition, "Everything that can be measured, for Prometheus")
            .gives_text("application/openmetrics-text", METRIC),
        get(Admin, "/flight-recording", recording::recording, "What the coordinator was told most recently, for the simulator")
            .gives_text("application/octet-stream", ""),
        get(Viewer, "/openapi.json", openapi::document, "This document")
            .gives(r#"{"openapi": "3.1.0", "info": {"title": "JobManager", "version": "0.1.0"}, "paths": {}}"#),
        get(Anybody, "/openapi", openapi::page, "A page to try the routes")
            .gives_text("text/html", "<!DOCTYPE html>"),
        get(Viewer, "/applications/overview", applications::overview, "All applications; each is a job")
            .asks(&[OFFSET, LIMIT]).gives(recorded!("applications-overview")),
        get(Viewer, "/applications/{job}", applications::details, "One application")
            .gives(recorded!("application")),
        post(Operator, "/applications/{job}/cancel", applications::cancel, "Cancel its job").with(202),
        get(Viewer, "/applications/{job}/exceptions", applications::exceptions, "Its failures")
            .gives(recorded!("application-exceptions")),
        get(Viewer, "/applications/{job}/jobmanager/config", applications::config, "The options of its JobManager")
            .gives(recorded!("jobmanager-config")),
    ];
    routes.extend(of_jobmanager());
    routes
}

#[rustfmt::skip]
fn of_jobmanager() -> [Route; 12] {
    [
        get(Viewer, "/jobmanager/config", settings::cluster, "The options of the cluster")
            .gives(recorded!("jobmanager-config")),
        get(Viewer, "/jobmanager/environment", settings::environment, "What the process runs on")
            .gives(recorded!("jobmanager-environment")),
        get(Viewer, "/jobmanager/metrics", metrics::jobmanager, "Metrics of the JobManager: their names, or the values of some")
            .asks(&[GET]).gives(recorded!("jobmanager-metrics")),
        get(Viewer, "/jobmanager/logs", logs::jobmanager_list, "The log files: one, of the latest lines")
            .gives(recorded!("jobmanager-logs")),
        get(Operator, "/jobmanager/log", logs::jobmanager, "What this JobManager logged most recently")
            .asks(&[LINES, LOG_AFTER]).gives_text("text/plain", LOG).view(),
        get(Operator, "/jobmanager/logs/{file}", logs::jobmanager_file, "The same, by its name jobmanager.log")
            .asks(&[LINES, LOG_AFTER]).gives_text("text/plain", LOG).view(),
        get(Viewer, "/jobmanager/thread-dump", absent::threads, "The threads of a Java virtual machine: none")
            .gives(r#"{"threadInfos": []}"#),
        get(Viewer, "/jobmanager/profiler", absent::profiles, "Profiles of a Java virtual machine: none")
            .gives(r#"{"profilingList": []}"#),
        get(Viewer, "/jars", absent::jars, "Uploaded jars: none").gives(recorded!("jars")),
        get(Viewer, "/datasets", absent::datasets, "Data sets that outlive their job: none")
            .gives(recorded!("datasets")),
        post(Admin, "/savepoint-disposal", disposal::trigger, "Delete a savepoint with its files")
            .takes(DISPOSAL)
            .gives(TRIGGERED),
        get(Viewer, "/savepoint-disposal/{trigger}", disposal::status, "What came of that")
            .gives(r#"{"status": {"id": "COMPLETED"}, "operation": {}}"#),
    ]
}
