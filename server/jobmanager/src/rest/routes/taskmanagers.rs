//! TaskManagers.

use super::{LOG, Route, get, recorded};
use crate::rest::openapi::{LIMIT, LINES, LOG_AFTER, OFFSET};
use crate::rest::{absent, cluster, logs, metrics};
use crate::security::Role::{Operator, Viewer};

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        get(Viewer, "/taskmanagers", cluster::taskmanagers, "All TaskManagers")
            .asks(&[OFFSET, LIMIT]).gives(recorded!("taskmanagers")),
        get(Viewer, "/taskmanagers/metrics", metrics::taskmanagers, "Metrics of TaskManagers: none")
            .gives(recorded!("taskmanagers-metrics")),
        get(Viewer, "/taskmanagers/{taskmanager}", cluster::taskmanager, "One TaskManager, with its slots")
            .gives(recorded!("taskmanager")),
        get(Viewer, "/taskmanagers/{taskmanager}/metrics", metrics::taskmanager, "Its metrics: none")
            .gives(recorded!("taskmanager-metrics")),
        get(Viewer, "/taskmanagers/{taskmanager}/logs", logs::taskmanager_list, "Its log files: one, of the latest lines")
            .gives(recorded!("taskmanager-logs")),
        get(Operator, "/taskmanagers/{taskmanager}/log", logs::taskmanager, "What it logged most recently")
            .asks(&[LINES, LOG_AFTER]).gives_text("text/plain", LOG).view(),
        get(Operator, "/taskmanagers/{taskmanager}/logs/{file}", logs::taskmanager_file, "The same, by its name taskmanager.log")
            .asks(&[LINES, LOG_AFTER]).gives_text("text/plain", LOG).view(),
        get(Viewer, "/taskmanagers/{taskmanager}/thread-dump", absent::taskmanager_threads, "The threads of a Java virtual machine: none")
            .gives(r#"{"threadInfos": []}"#),
        get(Viewer, "/taskmanagers/{taskmanager}/profiler", absent::taskmanager_profiles, "Profiles of a Java virtual machine: none")
            .gives(r#"{"profilingList": []}"#),
    ]
}
