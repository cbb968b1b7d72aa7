//! From what somebody wrote to what can be run: every problem, each with its path.

use super::{JobGraph, JobGraphSpec};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Something that is wrong with a JobGraph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// Where, as a path into the JSON, such as `vertices[2].parallelism`.
    pub path: String,
    /// What, and what would be right.
    pub problem: String,
}

impl JobGraph {
    /// Stub.
    ///
    /// # Errors
    /// Every problem.
    pub fn validate(
        spec: JobGraphSpec,
        defaults: &BTreeMap<String, String>,
    ) -> Result<JobGraph, Vec<Problem>> {
        let _ = (spec, defaults);
        unimplemented!()
    }
}
