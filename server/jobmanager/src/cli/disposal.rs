//! `savepoint --dispose`: has a savepoint deleted that nobody needs any more.

use super::SNAPSHOT_FAILED;
use super::client::{Client, ClientError};
use super::follow::wait_for;
use super::output::{complain, print};
use super::progress::Progress;
use super::text::problem_lines;
use serde_json::json;

/// Asks for the disposal of the savepoint in this folder, and waits until it is done.
///
/// # Errors
/// The JobManager refuses, or does not answer, or another one leads, which does not know of it.
pub(super) fn dispose(client: &Client, path: &str) -> Result<u8, ClientError> {
    let body = json!({ "savepoint-path": path });
    let trigger = client.trigger("/savepoint-disposal", &body)?;
    let mut progress = Progress::new();
    let ask = || client.disposal(trigger);
    let operation = wait_for(client, &mut progress, ask, |status, _| Ok(status.operation))?;
    progress.clear();
    if let Some(cause) = &operation.failure_cause {
        let words = cause.words();
        complain(problem_lines(
            "error: the savepoint is not disposed of:",
            words,
        ));
        return Ok(SNAPSHOT_FAILED);
    }
    print(format!("Savepoint {path} disposed."))?;
    Ok(0)
}
