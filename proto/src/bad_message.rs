//! Why bytes of a peer or of a store are not taken: small facts about the other side.

use jobmanager_core::graph;

/// A message that breaks the rules of the `.proto` files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadMessage {
    /// Where, as a path of field names such as `deploy.table.vertices.parallelism`. A repeated field is
    /// named without its position; a fault inside an id names the id.
    pub field: &'static str,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It must be there.
    #[error("is missing")]
    Missing,
    /// The enum has no such value, or it was not set.
    #[error("{0} is not a known value")]
    UnknownValue(i32),
    /// A number, or the length of a list or text, is outside its limits.
    #[error("{value} is not in {min} to {max}")]
    OutOfRange {
        /// What it is.
        value: u64,
        /// The least it may be.
        min: u64,
        /// The most it may be.
        max: u64,
    },
    /// A name or path holds a control character.
    #[error("holds a control character")]
    ControlCharacter,
    /// It is not a path below the job's folder.
    #[error("is not a relative path of plain segments")]
    NotAPath,
    /// The same thing is listed twice.
    #[error("lists the same thing twice")]
    Repeated,
    /// The names in it do not ascend.
    #[error("does not ascend by name")]
    NotSorted,
    /// It contradicts another field.
    #[error("does not fit {0}")]
    DoesNotFit(&'static str),
    /// The bytes are not the message at all.
    #[error("is not protobuf of this message: {0}")]
    NotProtobuf(prost::DecodeError),
    /// The file is not of the kind that it is taken for.
    #[error("is not the metadata of a savepoint, or of a later version")]
    NotASavepoint,
    /// The checksum does not fit.
    #[error("is damaged: its checksum does not fit")]
    Damaged,
    /// A stored JobGraph is not valid, with every reason.
    #[error("is not a valid job graph ({} problems)", .0.len())]
    InvalidGraph(Vec<graph::Problem>),
}

impl Problem {
    /// The problem with the field that has it.
    pub(crate) fn at(self, field: &'static str) -> BadMessage {
        BadMessage {
            field,
            problem: self,
        }
    }
}

/// Why a message of a session is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The peer speaks a later version of the protocol. Ignore the message and go on.
    #[error("a message of a later version, to be ignored")]
    UnknownMessage,
    /// The peer breaks the rules. End the session.
    #[error("malformed message: {0}")]
    Bad(#[from] BadMessage),
}
