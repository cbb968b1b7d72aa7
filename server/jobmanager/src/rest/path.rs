//! What a request names: in its path, and which part of a long list behind the `?`.

use super::error::Failure;
use super::{Parameters, parse_job};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use jobmanager_core::id::{CheckpointId, JobId, SubtaskIndex, VertexIndex};
use jobmanager_core::jobmanager::JobDetails;
use std::collections::BTreeMap;

/// The parts of a path that name something, by the names that the route gives them.
pub(super) struct Names(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Names, Failure> {
        match Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Names(names)),
            Err(error) => Err(Failure::bad_request(error.body_text())),
        }
    }
}

impl Names {
    pub(super) fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .expect("a route is read by the names that it gives")
    }

    pub(super) fn job(&self) -> Result<JobId, Failure> {
        parse_job(self.text("job"))
    }

    pub(super) fn vertex(&self) -> Result<VertexName, Failure> {
        let id = parse_vertex(self.text("vertex"));
        id.map(VertexName).map_err(Failure::bad_request)
    }

    pub(super) fn subtask(&self) -> Result<SubtaskIndex, Failure> {
        self.number("subtask").map(SubtaskIndex)
    }

    pub(super) fn attempt(&self) -> Result<u32, Failure> {
        self.number("attempt")
    }

    pub(super) fn checkpoint(&self) -> Result<CheckpointId, Failure> {
        self.number("checkpoint").map(CheckpointId)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, Failure> {
        let text = self.text(name);
        text.parse().map_err(|_| {
            let words = format!("{name} `{}` is not a number", text.escape_debug());
            Failure::bad_request(words)
        })
    }
}

/// The 128-bit id of a vertex, or what is wrong with it.
pub(super) fn parse_vertex(text: &str) -> Result<u128, String> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_id.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    id.ok_or_else(|| {
        let text = text.escape_debug();
        format!("`{text}` is not the id of a vertex: 32 hex digits are expected")
    })
}

/// The 128-bit id by which a client names a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VertexName(u128);

impl VertexName {
    /// Which vertex of the job that is, if it is one.
    pub(super) fn index(self, job: &JobDetails) -> Option<VertexIndex> {
        let mut indices = (0..).map(VertexIndex).zip(&job.vertices);
        let found = indices.find(|(_, vertex)| vertex.operator_id == self.0);
        found.map(|(index, _)| index)
    }

    pub(super) fn not_found(self) -> Failure {
        Failure::not_found(format!("JobVertex {:032x} not found", self.0))
    }
}

/// Which part of a list is wanted: `?offset=N&limit=N`. Ours alone; all of it unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    offset: usize,
    limit: usize,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Page, Failure> {
        let parameters = Parameters::from_request_parts(parts, state).await?;
        Ok(Page {
            offset: parameters.number("offset")?.unwrap_or(0),
            limit: parameters.number("limit")?.unwrap_or(usize::MAX),
        })
    }
}

impl Page {
    pub(super) fn of<T>(self, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        all.skip(self.offset).take(self.limit)
    }
}
