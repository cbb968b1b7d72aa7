//! The table of options.

use super::{ClusterConfig, JobConfig};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Who reads an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Per job; the cluster's configuration gives the default.
    Job,
    /// The cluster.
    Cluster,
}

/// An option that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// Flink's key where Flink has it.
    pub key: &'static str,
    /// The default as somebody would write it; empty for none.
    pub default: &'static str,
    /// Who reads it.
    pub scope: Scope,
    /// One sentence.
    pub doc: &'static str,
}

/// An option that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblem {
    /// Its key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Stub.
#[must_use]
pub fn known_options() -> &'static [OptionSpec] {
    &[]
}

/// Stub.
///
/// # Errors
/// Every problem.
pub fn job_config(
    options: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
) -> Result<JobConfig, Vec<OptionProblem>> {
    let _ = (options, defaults);
    unimplemented!()
}

/// Stub.
///
/// # Errors
/// Every problem.
pub fn cluster_config(
    options: &BTreeMap<String, String>,
) -> Result<ClusterConfig, Vec<OptionProblem>> {
    let _ = options;
    unimplemented!()
}
