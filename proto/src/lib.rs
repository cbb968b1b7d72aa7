//! The wire format between JobManager, TaskManagers and stores: generated code in [`v1`], and
//! conversions to and from the types of the core that cannot produce a value the core would doubt.

pub mod job_json;

/// Messages and services, generated from `v1/*.proto`; the comments there are the specification.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::wildcard_enum_match_arm
)]
pub mod v1 {
    tonic::include_proto!("jobmanager.v1");
}
