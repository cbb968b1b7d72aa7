//! Vertices of a job, and their subtasks.

use super::{Route, get, recorded};
use crate::rest::openapi::{AGG, CHOSEN_SUBTASKS, GET, LIMIT, OFFSET};
use crate::rest::{metrics, vertex};
use crate::security::Role::Viewer;

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        get(Viewer, "/jobs/{job}/vertices/{vertex}", vertex::details, "One vertex, with its subtasks")
            .asks(&[OFFSET, LIMIT]).gives(recorded!("vertex0")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/taskmanagers", vertex::taskmanagers, "Its subtasks, by TaskManager")
            .gives(recorded!("vertex0-taskmanagers")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/subtasktimes", vertex::times, "When its subtasks came into their states")
            .gives(recorded!("subtasktimes")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/accumulators", vertex::accumulators, "Its accumulators: none")
            .gives(recorded!("vertex0-accumulators")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/backpressure", vertex::backpressure, "Whether others slow it down: not known")
            .gives(recorded!("job-finished-backpressure")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/flamegraph", vertex::flamegraph, "A flame graph: none")
            .gives(recorded!("flamegraph")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/metrics", metrics::vertex, "Its metrics: their names, or the values of some")
            .asks(&[GET]).gives(recorded!("vertex0-metrics")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/jm-operator-metrics", metrics::none, "Metrics of coordinators of operators: none")
            .gives(recorded!("vertex0-jm-operator-metrics")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/watermarks", metrics::none, "Its watermarks: none")
            .gives(recorded!("watermarks")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/subtasks/metrics", metrics::subtasks, "Metrics of subtasks: their names, or aggregates of some")
            .asks(&[GET, AGG, CHOSEN_SUBTASKS]).gives(recorded!("vertex0-subtasks-metrics")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/subtasks/accumulators", vertex::subtask_accumulators, "Accumulators of its subtasks: none")
            .gives(recorded!("vertex0-subtasks-accumulators")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/subtasks/{subtask}", vertex::subtask, "The current attempt of a subtask")
            .gives(recorded!("vertex0-subtask0")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/subtasks/{subtask}/metrics", metrics::subtask, "Metrics of a subtask: their names, or the values of some")
            .asks(&[GET]).gives(recorded!("vertex0-subtask0-metrics")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/subtasks/{subtask}/attempts/{attempt}", vertex::attempt, "An attempt of a subtask")
            .gives(recorded!("vertex0-subtask0-attempt0")),
        get(Viewer, "/jobs/{job}/vertices/{vertex}/subtasks/{subtask}/attempts/{attempt}/accumulators", vertex::attempt_accumulators, "Its accumulators: none")
            .gives(recorded!("vertex0-subtask0-attempt0-accumulators")),
    ]
}
