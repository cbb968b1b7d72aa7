//! What a job and the JobManager are set to, and what the JobManager runs on.

use super::error::Answer;
use super::{JobOf, Rest, job_not_found};
use axum::Json;
use axum::extract::State;
use jobmanager_core::config::RestartStrategy;
use jobmanager_core::jobmanager::{Coordinator, JobDetails};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Which values are not shown: those of keys with one of these words in them.
const SECRET: [&str; 11] = [
    "password",
    "secret",
    "token",
    "apikey",
    "api-key",
    "account",
    "auth-params",
    "service-key",
    "basic-auth",
    "jaas.config",
    "http-headers",
];
/// What is shown instead.
const HIDDEN: &str = "******";

/// `GET /jobs/:id/config`
pub(super) async fn job(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let view = move |coordinator: &Coordinator, _| coordinator.job(job);
    let details = rest.find(|| job_not_found(job), view).await?;
    Ok(Json(job_json(&details)))
}

/// Of a job that has ended only its vertices are known.
fn job_json(job: &JobDetails) -> Value {
    let parallelism = job.vertices.iter().map(|vertex| vertex.parallelism).max();
    let graph = job.graph.as_ref();
    let strategy = graph.map_or_else(String::new, |graph| words(&graph.config().restart_strategy));
    let user: BTreeMap<&str, &str> = graph
        .map(|graph| shown(graph.configuration()).collect())
        .unwrap_or_default();
    json!({
        "jid": job.summary.id.to_string(),
        "name": job.summary.name,
        "execution-config": {
            "restart-strategy": strategy,
            "job-parallelism": parallelism.map_or(-1, i64::from),
            "object-reuse-mode": false,
            "user-config": user,
        },
    })
}

fn words(strategy: &RestartStrategy) -> String {
    match strategy {
        RestartStrategy::None => "Restarts deactivated.".to_owned(),
        RestartStrategy::FixedDelay { attempts, delay } => {
            format!(
                "{attempts} restarts, {} ms after each failure",
                delay.as_millis()
            )
        }
        RestartStrategy::FailureRate { .. } => "Restarts up to a rate of failures.".to_owned(),
        RestartStrategy::ExponentialDelay(_) => "Restarts after delays that grow.".to_owned(),
    }
}

/// `GET /jobmanager/config`: what was set; the README has the defaults.
pub(super) async fn cluster(State(rest): State<Rest>) -> Json<Value> {
    let line = |(key, value): (&str, &str)| json!({ "key": key, "value": value });
    Json(shown(&rest.job_defaults).map(line).collect())
}

/// `GET /jobs/:id/jobmanager/config`
pub(super) async fn cluster_of_job(rest: State<Rest>, JobOf(job): JobOf) -> Answer {
    rest.must_exist(job).await?;
    Ok(cluster(rest).await)
}

fn shown(options: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    options.iter().map(|(key, value)| {
        let lower = key.to_lowercase();
        let is_secret = SECRET.iter().any(|word| lower.contains(word));
        (
            key.as_str(),
            if is_secret { HIDDEN } else { value.as_str() },
        )
    })
}

/// `GET /jobmanager/environment`: there is no virtual machine; this program stands in its place.
pub(super) async fn environment() -> Json<Value> {
    Json(json!({
        "jvm": {
            "version": concat!("none: jobmanager ", env!("CARGO_PKG_VERSION")),
            "arch": std::env::consts::ARCH,
            "options": [],
        },
        "classpath": [],
    }))
}

/// `GET /jobs/:id/jobmanager/environment`
pub(super) async fn environment_of_job(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    rest.must_exist(job).await?;
    Ok(environment().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let options = [
            ("fs.s3.SECRET-key", "x"),
            ("rest.port", "8081"),
            ("a.password", "y"),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let options = BTreeMap::from(options);
        let shown: Vec<_> = shown(&options).collect();
        assert_eq!(
            shown,
            [
                ("a.password", HIDDEN),
                ("fs.s3.SECRET-key", HIDDEN),
                ("rest.port", "8081"),
            ]
        );
    }
}
