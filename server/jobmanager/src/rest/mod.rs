//! The REST interface for clients, in Flink's JSON shapes; what is ours alone is an additional field.
//!
//! Every route also answers under `/v1`. Every error, whatever made it, is `{"errors": ["…"]}` with the
//! status that fits. Answers have entity tags, and are compressed for whoever wants that. Nothing in here decides: commands and views go to the [`Driver`].

mod absent;
mod access;
mod applications;
mod attempts;
mod body;
mod checkpoint_details;
mod checkpoints;
mod cluster;
mod commands;
mod disposal;
mod error;
mod events;
mod exposition;
pub(crate) mod front;
mod job;
mod latest;
mod leader;
pub(crate) mod logs;
mod metrics;
mod openapi;
mod parallelism;
mod path;
mod plan;
mod recording;
mod result;
mod routes;
mod savepoints;
mod settings;
mod statistics;
mod submissions;
mod tag;
mod throwable;
mod triggered;
mod vertex;
mod web;
mod why;

use crate::driver::Driver;
use crate::election::Leaders;
use crate::logs::Logs;
use crate::metrics::MetricsTable;
use crate::security::Guard;
use crate::traces::Spans;
use axum::Router;
use axum::extract::{FromRequestParts, Path as InPath, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::middleware;
use error::{Answer, Failure};
pub(crate) use events::Events;
use jobmanager_core::id::JobId;
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::time::Timestamp;
pub(crate) use latest::Latest;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use submissions::Submissions;
use taskmanager::tls::{Called, Fresh, Reloads};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// What is not worth compressing, in bytes: it fits into one packet anyway.
const SMALL: u64 = 1_024;

/// What the handlers know.
#[derive(Debug, Clone)]
pub struct Rest {
    /// The coordinator.
    pub driver: Driver,
    /// What tasks have done.
    pub metrics: MetricsTable,
    /// `web.timeout`: how long a client waits for an answer.
    pub timeout: Duration,
    /// `web.refresh-interval`: how often a page should ask again.
    pub refresh: Duration,
    /// The options of jobs that the cluster's configuration sets.
    pub job_defaults: Arc<BTreeMap<String, String>>,
    /// The URL of the checkpoint storage, to show where a checkpoint is.
    pub checkpoint_storage: Arc<str>,
    /// How fast clients submit jobs.
    pub(crate) submissions: Submissions,
    /// Who may ask.
    pub guard: Guard,
    /// How the replacement of certificates and tokens goes.
    pub reloads: Arc<[Reloads]>,
    /// The certificates that others are shown.
    pub shown: Arc<[Fresh<Called>]>,
    /// Reads the logs of TaskManagers.
    pub logs: Logs,
    /// What is sent to a collector of traces, if there is one.
    pub spans: Option<Spans>,
    /// The folder of a web dashboard's files, instead of the project's own.
    pub web: Option<Arc<Path>>,
    /// Where clients reach this interface, as `host:port`.
    pub address: Arc<str>,
    /// What happens, as it happens.
    pub(crate) events: Events,
    /// Who has led, as far as this process knows.
    pub(crate) leaders: Leaders,
    /// What came of the savepoints that clients want deleted.
    pub(crate) disposals: Latest<disposal::Outcome>,
}

impl Rest {
    /// The routes.
    pub fn router(self) -> Router {
        let routes = routes::router(&self.guard).layer(middleware::from_fn(tag::tag));
        let router = Router::new()
            .nest("/v1", routes.clone())
            .merge(routes)
            .method_not_allowed_fallback(wrong_method);
        let router = match &self.web {
            Some(folder) => web::with_files(router, folder),
            None => web::with_own(router),
        };
        let worth_it = SizeAbove::new(SMALL)
            .and(NotForContentType::IMAGES)
            .and(NotForContentType::SSE);
        let gzip = CompressionLayer::new().quality(CompressionLevel::Fastest);
        router.layer(gzip.compress_when(worth_it)).with_state(self)
    }

    /// Looks at the coordinator.
    async fn look(
        &self,
        view: impl FnOnce(&Coordinator, Timestamp) -> Value + Send + 'static,
    ) -> Answer {
        Ok(axum::Json(self.driver.look(self.timeout, view).await?))
    }

    /// Whether there is such a job; nothing else is wanted of it.
    async fn must_exist(&self, job: JobId) -> Result<(), Failure> {
        // Failures are few, and most jobs have none; the details grow with the graph.
        let view = move |coordinator: &Coordinator, _| coordinator.exceptions(job).map(drop);
        self.find(|| job_not_found(job), view).await
    }

    /// Looks at something that may not be there.
    async fn find<T: Send + 'static>(
        &self,
        absent: impl FnOnce() -> Failure,
        view: impl FnOnce(&Coordinator, Timestamp) -> Option<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let found = self.driver.look(self.timeout, view).await?;
        found.ok_or_else(absent)
    }
}

async fn not_found(uri: Uri) -> Failure {
    Failure::not_found(format!("Not found: {}", uri.path()))
}

async fn wrong_method(request: Request) -> Failure {
    Failure::wrong_method(format!(
        "{} is not allowed here: {}",
        request.method(),
        request.uri().path()
    ))
}

/// The part of a path that names something.
struct Named(String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Failure> {
        match InPath::<String>::from_request_parts(parts, state).await {
            Ok(InPath(name)) => Ok(Named(name)),
            Err(error) => Err(Failure::bad_request(error.body_text())),
        }
    }
}

/// The job that a path names.
struct JobOf(JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobOf {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<JobOf, Failure> {
        let Named(text) = Named::from_request_parts(parts, state).await?;
        Ok(JobOf(parse_job(&text)?))
    }
}

fn parse_job(text: &str) -> Result<JobId, Failure> {
    let parsed = text.parse();
    parsed.map_err(|error| Failure::bad_request(format!("`{}` is {error}", text.escape_debug())))
}

/// The parameters behind the `?` of a request.
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let number = |text: &str| {
            text.parse().map_err(|_| {
                let words = format!("{name} `{}` is not a number", text.escape_debug());
                Failure::bad_request(words)
            })
        };
        self.text(name).map(number).transpose()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Parameters, Failure> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        match query {
            Ok(axum::extract::Query(parameters)) => Ok(Parameters(parameters)),
            Err(error) => Err(Failure::bad_request(error.body_text())),
        }
    }
}

/// A time as Flink's JSON has it: milliseconds, or -1 for one that has not come.
fn time(at: Option<Timestamp>) -> i64 {
    at.map_or(-1, |at| i64::try_from(at.0).unwrap_or(i64::MAX))
}

/// Milliseconds from one time to another.
fn elapsed(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from(to.since(from).as_millis()).unwrap_or(i64::MAX)
}

/// A 128-bit number as 32 hex digits.
fn hex(id: u128) -> String {
    format!("{id:032x}")
}

fn job_not_found(job: JobId) -> Failure {
    Failure::not_found(format!("Job {job} not found"))
}
