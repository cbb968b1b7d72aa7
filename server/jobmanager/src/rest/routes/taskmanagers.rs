//! TaskManagers.

use super::{Route, get, recorded};
use crate::rest::openapi::{LIMIT, OFFSET};
use crate::rest::{absent, cluster, metrics};
use crate::security::Role::Viewer;

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
        get(Viewer, "/taskmanagers/{taskmanager}/logs", absent::taskmanager_logs, "Its log files: none")
            .gives(recorded!("taskmanager-logs")),
        get(Viewer, "/taskmanagers/{taskmanager}/thread-dump", absent::taskmanager_threads, "The threads of a Java virtual machine: none")
            .gives(r#"{"threadInfos": []}"#),
        get(Viewer, "/taskmanagers/{taskmanager}/profiler", absent::taskmanager_profiles, "Profiles of a Java virtual machine: none")
            .gives(r#"{"profilingList": []}"#),
    ]
}
