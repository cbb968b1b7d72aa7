//! Checkpoints and savepoints of a job.

use super::{Route, TRIGGERED, get, post, recorded};
use crate::rest::openapi::{CHECKPOINT, SAVEPOINT, STOP};
use crate::rest::{checkpoint_details, checkpoints, savepoints, triggered};
use crate::security::Role::{Operator, Viewer};

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        get(Viewer, "/jobs/{job}/checkpoints", checkpoints::checkpoints, "The latest checkpoints, and how many there were")
            .gives(recorded!("job-checkpoints")),
        post(Operator, "/jobs/{job}/checkpoints", triggered::trigger, "Take a checkpoint now")
            .takes(CHECKPOINT).with(202).gives(recorded!("trigger-checkpoint")),
        get(Viewer, "/jobs/{job}/checkpoints/{trigger}", triggered::status, "What came of that")
            .gives(recorded!("trigger-checkpoint-status")),
        get(Viewer, "/jobs/{job}/checkpoints/config", checkpoint_details::config, "How the job takes checkpoints")
            .gives(recorded!("job-checkpoints-config")),
        get(Viewer, "/jobs/{job}/checkpoints/details/{checkpoint}", checkpoint_details::details, "One checkpoint")
            .gives(recorded!("job-checkpoint-details")),
        get(Viewer, "/jobs/{job}/checkpoints/details/{checkpoint}/subtasks/{vertex}", checkpoint_details::subtasks, "What the subtasks of a vertex did for it")
            .gives(recorded!("job-checkpoint-subtasks-v0")),
        post(Operator, "/jobs/{job}/savepoints", savepoints::trigger, "Take a savepoint")
            .takes(SAVEPOINT).with(202).gives(TRIGGERED),
        get(Viewer, "/jobs/{job}/savepoints/{trigger}", savepoints::status, "What came of a savepoint, or of stopping with one")
            .gives(recorded!("trigger-savepoint-status")),
        post(Operator, "/jobs/{job}/stop", savepoints::stop, "Stop the job with a savepoint")
            .takes(STOP).with(202).gives(TRIGGERED),
    ]
}
