//! Follows what a JobManager does, such as a job to its end, through restarts of the job and of the JobManager.

use super::answer::{Checkpoints, Exception, Job, RetainedCheckpoint};
use super::client::{Client, ClientError};
use super::progress::Progress;
use jobmanager_core::id::JobId;
use jobmanager_core::state::JobStatus;
use std::thread;
use std::time::{Duration, Instant};

/// Often enough for a live display, rare enough to cost nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a JobManager may be away before the command gives up: it may be restarting.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the last checkpoint of a job may take until it is retained, before the command says that it is not yet.
const STORAGE_PATIENCE: Duration = Duration::from_secs(5);

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    Canceled,
    Failed { cause: String },
}

/// Polls the job until it has ended, and shows every look at it.
pub(crate) fn follow(
    client: &Client,
    id: JobId,
    progress: &mut Progress,
) -> Result<End, ClientError> {
    wait_for(
        client,
        progress,
        || look(client, id),
        |(job, checkpoints, failure), progress| {
            // How a failed job failed is said when it is reported.
            let failure = failure.filter(|_| job.state != JobStatus::Failed);
            if let Some(failure) = failure {
                progress.failure(&failure)?;
            }
            progress.show(&job, &checkpoints)?;
            end_of(client, id, &job)
        },
    )
}

/// Asks until what is answered settles the matter, and bears with a JobManager that is away for a while.
///
/// # Errors
/// The question or the answer has one that does not pass, or the JobManager is away for too long.
pub(crate) fn wait_for<T, S>(
    client: &Client,
    progress: &mut Progress,
    ask: impl Fn() -> Result<T, ClientError>,
    mut settles: impl FnMut(T, &mut Progress) -> Result<Option<S>, ClientError>,
) -> Result<S, ClientError> {
    let mut last_answer = Instant::now();
    loop {
        match ask() {
            Ok(answer) => {
                last_answer = Instant::now();
                if let Some(settled) = settles(answer, progress)? {
                    return Ok(settled);
                }
            }
            Err(error) if error.may_pass() && last_answer.elapsed() <= PATIENCE => {
                let address = client.address();
                progress.note(&format!(
                    "no answer from the JobManager at {address}; trying again"
                ))?;
            }
            Err(error) => return Err(error),
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The checkpoint that outlives a job which has ended, if one does: for a while it is waited for.
pub(crate) fn wait_for_retained(
    client: &Client,
    id: JobId,
    progress: &mut Progress,
) -> Result<Option<RetainedCheckpoint>, ClientError> {
    let ended = Instant::now();
    wait_for(
        client,
        progress,
        || client.checkpoints(id),
        |checkpoints, _| {
            let retained = checkpoints.retained;
            let is_written = retained.as_ref().is_none_or(RetainedCheckpoint::is_written);
            let settled = is_written || ended.elapsed() > STORAGE_PATIENCE;
            Ok(settled.then_some(retained))
        },
    )
}

fn look(client: &Client, id: JobId) -> Result<(Job, Checkpoints, Option<Exception>), ClientError> {
    Ok((
        client.job(id)?,
        client.checkpoints(id)?,
        client.latest_exception(id)?,
    ))
}

fn end_of(client: &Client, id: JobId, job: &Job) -> Result<Option<End>, ClientError> {
    Ok(match job.state {
        JobStatus::Finished => Some(End::Finished),
        JobStatus::Canceled => Some(End::Canceled),
        JobStatus::Failed => Some(End::Failed {
            cause: cause(client, id)?,
        }),
        JobStatus::Initializing
        | JobStatus::Created
        | JobStatus::Running
        | JobStatus::Restarting
        | JobStatus::Failing
        | JobStatus::Cancelling
        | JobStatus::Reconciling
        | JobStatus::Suspended => None,
    })
}

fn cause(client: &Client, id: JobId) -> Result<String, ClientError> {
    let exceptions = client.exceptions(id)?;
    let words = exceptions.root_cause().map(|cause| cause.in_words());
    Ok(words.unwrap_or_else(|| "the JobManager gives no reason".to_owned()))
}
