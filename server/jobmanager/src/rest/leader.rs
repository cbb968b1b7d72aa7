//! Who leads: the epoch of this JobManager, since when, and what it has taken over from the leaders before it.

use super::error::Answer;
use super::events::adopted;
use super::{Rest, hex};
use crate::election::KnownSince;
use axum::Json;
use axum::extract::State;
use jobmanager_core::jobmanager::{Coordinator, JobLine};
use jobmanager_core::time::Timestamp;
use serde_json::{Value, json};

/// `GET /leader`: ours alone; Flink tells no client about its leader.
///
/// Only tasks that still run in an attempt of an earlier leader count as adopted: one that has been restarted since is
/// this leader's own.
pub(super) async fn leader(State(rest): State<Rest>) -> Answer {
    let telemetry = rest.driver.telemetry();
    let (epoch, since) = (telemetry.epoch, telemetry.since);
    let view = move |coordinator: &Coordinator, now: Timestamp| {
        let live = |line: &JobLine| !line.status.is_terminal();
        let jobs = coordinator.lines().filter(live).filter_map(|line| {
            let adopted = adopted(coordinator, line.id, epoch);
            (adopted > 0).then(|| {
                json!({
                    "jid": hex(line.id.0),
                    "adopted": adopted,
                    "tasks": line.tasks.total(),
                    "restarts": line.restarts,
                })
            })
        });
        (jobs.collect::<Vec<Value>>(), now)
    };
    let (adopted, now) = rest.driver.look(rest.timeout, view).await?;
    Ok(Json(json!({
        "epoch": epoch.0,
        "address": &*rest.address,
        "since": since.0,
        "now": now.0,
        "adopted": adopted,
        "known": rest.leaders.all().iter().map(known_json).collect::<Vec<Value>>(),
    })))
}

/// A leader that this process knew: `since` is when it heard of it.
fn known_json(known: &KnownSince) -> Value {
    json!({
        "epoch": known.leader.epoch.0,
        "address": known.leader.rest,
        "since": known.since.0,
    })
}
