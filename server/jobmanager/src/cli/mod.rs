//! The commands that talk to a running JobManager: `run`, `list`, `status`, `why`, `events`, `logs`,
//! `cancel`, `rescale`, `savepoint`, `checkpoint`, `stop`.
//!
//! They are clients of the REST interface like any other: nothing in here knows the coordinator.

mod answer;
mod client;
mod completions;
mod disposal;
mod events;
mod follow;
mod interrupt;
mod logs;
mod output;
mod progress;
mod rescale;
mod savepoint;
mod target;
mod text;
mod token;
mod why;

pub(crate) use client::{Access, Client, ClientError};
pub use completions::{CompletionsArgs, completions};
pub use events::{EventsArgs, events};
pub use logs::{LogsArgs, logs};
pub(crate) use output::{complain, print};
pub(crate) use progress::Progress;
pub use rescale::{RescaleArgs, rescale};
pub use savepoint::{CheckpointArgs, SavepointArgs, StopArgs, checkpoint, savepoint, stop};
pub use target::Target;
pub(crate) use text::{counted, group_digits, print_job, problem_lines};
pub use token::{TokenArgs, token};
pub use why::{WhyArgs, why};

use client::read_id;
use follow::{End, follow, wait_for_retained};
use jobmanager_core::id::JobId;
use jobmanager_proto::job_json::MAX_BYTES;
use output::print_text;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The exit codes of the client commands and of `local`, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done; for an attached `run` or `stop` and for `local`: the job is FINISHED
  1    the job is FAILED, or standard output cannot be written
  2    the job is CANCELED
  3    no JobManager answers, or it cannot start or go on
  4    the JobManager refuses: an invalid job, an unknown job or vertex, a job that has ended already, a token
  5    the savepoint, its disposal or the checkpoint failed
  64   the command line is wrong, or a file that it names cannot be read
  130  interrupted by Ctrl-C
  141  nobody reads standard output any more; the job of `run` goes on";

pub(crate) const JOB_FAILED: u8 = 1;
pub(crate) const JOB_CANCELED: u8 = 2;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const REFUSED: u8 = 4;
pub(crate) const SNAPSHOT_FAILED: u8 = 5;
/// `EX_USAGE`: clap's own 2 would look like a canceled job.
pub const USAGE: u8 = 64;

/// What a shell gives a process that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;
/// What a shell gives a process that a closed pipe ended.
pub(crate) const CLOSED: u8 = 141;

/// `run`: submit a job, and follow it to its end.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct RunArgs {
    /// The JobGraph: a JSON file
    job: PathBuf,
    /// Return as soon as the job is durable
    #[arg(long)]
    detached: bool,
    /// Start from this savepoint or retained checkpoint: its folder, as an absolute path or a URL
    #[arg(short = 's', long, value_name = "PATH")]
    from_savepoint: Option<String>,
    /// Also if the savepoint has state that no vertex of the job takes
    #[arg(short = 'n', long, requires = "from_savepoint")]
    allow_non_restored_state: bool,
    /// Whose the savepoint is from now on: with CLAIM the job's, which deletes it once it needs it no longer
    /// [default: execution.state-recovery.claim-mode]
    #[arg(long, value_name = "MODE", requires = "from_savepoint")]
    #[arg(value_parser = ["NO_CLAIM", "CLAIM"], ignore_case = true)]
    claim_mode: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// `list`: the jobs of a cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct ListArgs {
    /// Also the jobs that have ended
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    target: Target,
}

/// `status`: one job, its tasks, checkpoints and latest failures.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct StatusArgs {
    /// The job's id: 32 hex digits
    id: String,
    #[command(flatten)]
    target: Target,
}

/// `cancel`: end a job.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct CancelArgs {
    /// The job's id: 32 hex digits
    id: String,
    #[command(flatten)]
    target: Target,
}

/// Runs `run`.
#[must_use]
pub fn run(args: &RunArgs) -> ExitCode {
    exit(submit_and_follow(args))
}

/// Runs `list`.
#[must_use]
pub fn list(args: &ListArgs) -> ExitCode {
    exit(print_jobs(args))
}

/// Runs `status`.
#[must_use]
pub fn status(args: &StatusArgs) -> ExitCode {
    exit(print_status(args))
}

/// Runs `cancel`.
#[must_use]
pub fn cancel(args: &CancelArgs) -> ExitCode {
    exit(ask_to_cancel(args))
}

fn submit_and_follow(args: &RunArgs) -> Result<u8, ClientError> {
    let client = args.target.client()?;
    let id = client.submit(started_from(read_job(&args.job)?, args))?;
    print(format!("Job has been submitted with JobID {id}"))?;
    if args.detached {
        return Ok(0);
    }
    follow_and_report(&client, id, &mut Progress::new())
}

/// Follows a job to its end, says how it ended and what is left of it, and gives the exit code that says the same.
///
/// # Errors
/// The JobManager is away for too long, or standard output takes no more.
pub(crate) fn follow_and_report(
    client: &Client,
    id: JobId,
    progress: &mut Progress,
) -> Result<u8, ClientError> {
    let end = follow(client, id, progress)?;
    let retained = wait_for_retained(client, id, progress)?;
    progress.done()?;
    let (state, code) = match end {
        End::Finished => ("FINISHED", 0),
        End::Canceled => ("CANCELED", JOB_CANCELED),
        End::Failed { .. } => ("FAILED", JOB_FAILED),
    };
    let retained = retained.map(|retained| format!("; {}", retained.in_words()));
    let retained = retained.unwrap_or_default();
    let printed = print(format!("Job {id} is {state}{retained}"));
    if let End::Failed { cause } = end {
        complain(problem_lines("caused by", &cause));
    }
    printed.map(|()| code)
}

fn print_jobs(args: &ListArgs) -> Result<u8, ClientError> {
    let jobs = args.target.client()?.jobs()?;
    print_text(&text::jobs(&jobs, args.all))?;
    Ok(0)
}

fn print_status(args: &StatusArgs) -> Result<u8, ClientError> {
    let client = args.target.client()?;
    print_job(&client, read_id(&args.id)?)?;
    Ok(0)
}

fn ask_to_cancel(args: &CancelArgs) -> Result<u8, ClientError> {
    args.target.client()?.cancel(read_id(&args.id)?)?;
    print(format!("Job {} is being canceled", args.id))?;
    Ok(0)
}

/// The bytes of a JobGraph file.
///
/// # Errors
/// The file cannot be read, or is larger than a JobManager reads.
pub(crate) fn read_job(path: &Path) -> Result<Vec<u8>, ClientError> {
    let mut job = Vec::new();
    let one_too_many = MAX_BYTES as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(one_too_many).read_to_end(&mut job));
    let path = path.to_path_buf();
    match read {
        Ok(length) if length > MAX_BYTES => Err(ClientError::TooLarge { path }),
        Ok(_) => Ok(job),
        Err(problem) => Err(ClientError::File { path, problem }),
    }
}

/// The JobGraph with the options that say from where it starts. One that cannot be read stays as it is: the
/// JobManager tells what is wrong with it.
fn started_from(job: Vec<u8>, args: &RunArgs) -> Vec<u8> {
    let Some(path) = &args.from_savepoint else {
        return job;
    };
    let Ok(Value::Object(mut graph)) = serde_json::from_slice(&job) else {
        return job;
    };
    let configuration = graph.entry("configuration").or_insert_with(|| json!({}));
    let Value::Object(options) = configuration else {
        return job;
    };
    let mut set = |key: &str, value: &str| {
        let key = format!("execution.state-recovery.{key}");
        options.insert(key, Value::from(value));
    };
    set("path", path);
    if args.allow_non_restored_state {
        set("ignore-unclaimed-state", "true");
    }
    if let Some(mode) = &args.claim_mode {
        set("claim-mode", &mode.to_uppercase());
    }
    Value::Object(graph).to_string().into_bytes()
}

/// Prints what went wrong, and gives the exit code that says the same.
pub(crate) fn exit(outcome: Result<u8, ClientError>) -> ExitCode {
    let code = outcome.unwrap_or_else(|error| {
        if !error.is_closed_output() {
            complain(format!("error: {error}"));
        }
        error.exit_code()
    });
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_job_that_nobody_would_read_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.json");
        let file = File::create(&path).unwrap();
        file.set_len(MAX_BYTES as u64).unwrap();
        assert_eq!(read_job(&path).unwrap().len(), MAX_BYTES);
        file.set_len(MAX_BYTES as u64 + 1).unwrap();
        let error = read_job(&path).unwrap_err();
        assert_eq!(error.exit_code(), REFUSED);
        assert!(error.to_string().contains("8388608 bytes"), "{error}");
    }
}
