//! The log as a service of gRPC: what a TaskManager answers, and the words of the question, as `log.proto` specifies it.

use super::{Excerpt, MAX_MEMORY, OWN, Position};
use jobmanager_proto::v1;
use jobmanager_proto::v1::task_manager_log_server::{TaskManagerLog, TaskManagerLogServer};
use tonic::{Request, Response, Status};

/// The largest answer: all that may be kept, with what surrounds it. Bytes.
pub const MAX_MESSAGE: usize = MAX_MEMORY as usize + 1_024;
/// The largest question, many times over. Bytes.
const MAX_QUESTION: usize = 1_024;

/// Which part of a log is wanted; all of it by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only what comes after this, if it is a place in that log.
    pub after: Option<Position>,
    /// Only so many of the last lines of that.
    pub lines: Option<u64>,
}

/// Gives away the log of this process.
#[derive(Debug)]
pub(crate) struct LogService;

/// The service, with its limits.
pub(crate) fn server() -> TaskManagerLogServer<LogService> {
    TaskManagerLogServer::new(LogService).max_decoding_message_size(MAX_QUESTION)
}

#[tonic::async_trait]
impl TaskManagerLog for LogService {
    async fn read_log(
        &self,
        request: Request<v1::ReadLogRequest>,
    ) -> Result<Response<v1::LogExcerpt>, Status> {
        let excerpt = OWN.read(request.into_inner().into());
        let off = || Status::not_found("this TaskManager keeps no log: start it with --log-memory");
        Ok(Response::new(excerpt.ok_or_else(off)?.into()))
    }
}

impl From<v1::LogPosition> for Position {
    fn from(v1::LogPosition { process, offset }: v1::LogPosition) -> Position {
        Position { process, offset }
    }
}

impl From<Position> for v1::LogPosition {
    fn from(Position { process, offset }: Position) -> v1::LogPosition {
        v1::LogPosition { process, offset }
    }
}

impl From<v1::ReadLogRequest> for Wanted {
    fn from(v1::ReadLogRequest { after, lines }: v1::ReadLogRequest) -> Wanted {
        let after = after.map(Position::from);
        Wanted { after, lines }
    }
}

impl From<Wanted> for v1::ReadLogRequest {
    fn from(Wanted { after, lines }: Wanted) -> v1::ReadLogRequest {
        let after = after.map(v1::LogPosition::from);
        v1::ReadLogRequest { after, lines }
    }
}

impl From<Excerpt> for v1::LogExcerpt {
    fn from(excerpt: Excerpt) -> v1::LogExcerpt {
        v1::LogExcerpt {
            text: excerpt.text,
            end: Some(excerpt.end.into()),
            missed: excerpt.missed,
            kept: excerpt.kept,
            modified_ms: excerpt.modified_ms,
        }
    }
}

impl From<v1::LogExcerpt> for Excerpt {
    fn from(excerpt: v1::LogExcerpt) -> Excerpt {
        Excerpt {
            text: excerpt.text,
            end: excerpt.end.unwrap_or_default().into(),
            missed: excerpt.missed,
            kept: excerpt.kept,
            modified_ms: excerpt.modified_ms,
        }
    }
}
