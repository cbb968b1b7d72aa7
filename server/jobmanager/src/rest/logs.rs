//! What the processes of the cluster have logged most recently. Each has one file, which is none but looks like one to
//! Flink's clients.
//!
//! `lines` and `after`, and the headers that go with them, are ours alone: with them, a client can follow a log.

use super::cluster::taskmanager_not_found;
use super::error::{Answer, Failure};
use super::path::Names;
use super::{Parameters, Rest};
use crate::logs::NoLog;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use jobmanager_core::id::TaskManagerId;
use jobmanager_core::jobmanager::Coordinator;
use serde_json::{Value, json};
use taskmanager::recent_log::{Excerpt, OWN, Wanted};

/// Says where the log ended: what comes after it is asked for with `after`.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("log-position");
/// Says how many bytes came after the position that was asked for and are not kept any more.
pub(crate) const MISSED: HeaderName = HeaderName::from_static("log-missed");

/// What the file of this process is called.
const JOBMANAGER_LOG: &str = "jobmanager.log";
/// The same of a TaskManager.
const TASKMANAGER_LOG: &str = "taskmanager.log";
/// Everything but the text.
const NOTHING: Wanted = Wanted {
    after: None,
    lines: Some(0),
};

/// `GET /jobmanager/logs`
pub(super) async fn jobmanager_list() -> Json<Value> {
    Json(list(JOBMANAGER_LOG, OWN.read(NOTHING)))
}

/// `GET /jobmanager/log`
pub(super) async fn jobmanager(parameters: Parameters) -> Result<Response, Failure> {
    let excerpt = OWN.read(wanted(&parameters)?);
    let off = || Failure::not_found("this JobManager keeps no log: set log.memory".to_owned());
    excerpt.map(text).ok_or_else(off)
}

/// `GET /jobmanager/logs/:file`
pub(super) async fn jobmanager_file(
    names: Names,
    parameters: Parameters,
) -> Result<Response, Failure> {
    must_be(JOBMANAGER_LOG, &names)?;
    jobmanager(parameters).await
}

/// `GET /taskmanagers/:id/logs`
pub(super) async fn taskmanager_list(State(rest): State<Rest>, names: Names) -> Answer {
    let excerpt = match read(&rest, &names, NOTHING).await? {
        Ok(excerpt) => Some(excerpt),
        Err(NoLog::Off(_) | NoLog::Unknown) => None,
        Err(problem @ (NoLog::TooSlow { .. } | NoLog::Unreachable { .. })) => {
            return Err(problem.into());
        }
    };
    Ok(Json(list(TASKMANAGER_LOG, excerpt)))
}

/// `GET /taskmanagers/:id/log`
pub(super) async fn taskmanager(
    State(rest): State<Rest>,
    names: Names,
    parameters: Parameters,
) -> Result<Response, Failure> {
    Ok(text(read(&rest, &names, wanted(&parameters)?).await??))
}

/// `GET /taskmanagers/:id/logs/:file`
pub(super) async fn taskmanager_file(
    rest: State<Rest>,
    names: Names,
    parameters: Parameters,
) -> Result<Response, Failure> {
    must_be(TASKMANAGER_LOG, &names)?;
    taskmanager(rest, names, parameters).await
}

fn must_be(file: &str, names: &Names) -> Result<(), Failure> {
    let named = names.text("file");
    let absent = || {
        let named = named.escape_debug();
        Failure::not_found(format!("there is no file `{named}`, only {file}"))
    };
    (named == file).then_some(()).ok_or_else(absent)
}

fn wanted(parameters: &Parameters) -> Result<Wanted, Failure> {
    let after = parameters.text("after").map(|text| {
        text.parse().map_err(|problem| {
            Failure::bad_request(format!("after `{}` is {problem}", text.escape_debug()))
        })
    });
    Ok(Wanted {
        after: after.transpose()?,
        lines: parameters.number("lines")?,
    })
}

async fn read(
    rest: &Rest,
    names: &Names,
    wanted: Wanted,
) -> Result<Result<Excerpt, NoLog>, Failure> {
    let name = names.text("taskmanager");
    let id = TaskManagerId(name.to_owned());
    let view = move |coordinator: &Coordinator, _| coordinator.data_address(&id).map(str::to_owned);
    let address = rest.find(|| taskmanager_not_found(name), view).await?;
    Ok(rest.logs.read(address, wanted).await)
}

fn list(name: &str, excerpt: Option<Excerpt>) -> Value {
    let files = excerpt
        .map(|excerpt| json!({ "name": name, "size": excerpt.kept, "mtime": excerpt.modified_ms }));
    json!({ "logs": Vec::from_iter(files) })
}

fn text(excerpt: Excerpt) -> Response {
    let fixed = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        // Whatever is in a log, it is no page.
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
    ];
    let position = HeaderValue::try_from(excerpt.end.to_string()).expect("two numbers");
    let missed = HeaderValue::from(excerpt.missed);
    (
        fixed,
        [(POSITION, position), (MISSED, missed)],
        excerpt.text,
    )
        .into_response()
}

impl From<NoLog> for Failure {
    fn from(problem: NoLog) -> Failure {
        let words = problem.to_string();
        match problem {
            NoLog::Off(_) => Failure::not_found(words),
            NoLog::Unknown => Failure::not_implemented(&words),
            NoLog::TooSlow { .. } => Failure::no_answer(words),
            NoLog::Unreachable { .. } => Failure::unreachable(words),
        }
    }
}
