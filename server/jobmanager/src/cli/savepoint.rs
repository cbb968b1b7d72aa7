//! `savepoint` and `stop`: asks for a savepoint, and waits for what comes of it.
//!
//! The JobManager takes it whether or not anybody waits, over restarts of itself, too.

use super::answer::FailureCause;
use super::client::{Client, ClientError, read_id};
use super::follow::{Patience, follow};
use super::interrupt::mind_ctrl_c;
use super::output::{complain, print};
use super::progress::Progress;
use super::text::problem_lines;
use super::{EXIT_CODES, SAVEPOINT_FAILED, Target, exit, report};
use jobmanager_core::id::{JobId, TriggerId};
use serde_json::json;
use std::process::ExitCode;

/// `savepoint`: take a savepoint of a job that goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct SavepointArgs {
    /// The job's id: 32 hex digits
    id: String,
    /// The folder for it, an absolute path or a file URL [default: execution.checkpointing.savepoint-dir]
    dir: Option<String>,
    /// Return as soon as the wish is durable
    #[arg(long)]
    detached: bool,
    /// Ask for nothing, but wait for one that was asked for before: its trigger, 32 hex digits
    #[arg(long, conflicts_with_all = ["dir", "detached"])]
    trigger: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// `stop`: end a job with a savepoint.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct StopArgs {
    /// The job's id: 32 hex digits
    id: String,
    /// End the data first, so that windows are closed and everything is counted
    #[arg(long)]
    drain: bool,
    /// The folder for the savepoint, an absolute path or a file URL
    /// [default: execution.checkpointing.savepoint-dir]
    #[arg(long, value_name = "DIR")]
    savepoint_path: Option<String>,
    /// Return as soon as the wish is durable
    #[arg(long)]
    detached: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs `savepoint`.
#[must_use]
pub fn savepoint(args: &SavepointArgs) -> ExitCode {
    exit(take(args))
}

/// Runs `stop`.
#[must_use]
pub fn stop(args: &StopArgs) -> ExitCode {
    exit(end(args))
}

fn take(args: &SavepointArgs) -> Result<u8, ClientError> {
    let (client, id) = (Client::new(&args.target.jobmanager)?, read_id(&args.id)?);
    let trigger = match &args.trigger {
        Some(trigger) => read_id(trigger)?,
        None => {
            let path = format!("/jobs/{id}/savepoints");
            client.trigger(&path, &json!({ "target-directory": args.dir }))?
        }
    };
    let wish = Wish {
        client,
        id,
        trigger,
    };
    if args.detached {
        return wish.detach("A savepoint");
    }
    let mut progress = Progress::new();
    wish.mind_ctrl_c("the savepoint is taken nevertheless", &progress);
    let code = wish.wait(&mut progress)?;
    progress.clear();
    Ok(code)
}

fn end(args: &StopArgs) -> Result<u8, ClientError> {
    let (client, id) = (Client::new(&args.target.jobmanager)?, read_id(&args.id)?);
    let body = json!({ "targetDirectory": args.savepoint_path, "drain": args.drain });
    let failure = client.latest_exception(id)?;
    let trigger = client.trigger(&format!("/jobs/{id}/stop"), &body)?;
    let wish = Wish {
        client,
        id,
        trigger,
    };
    if args.detached {
        return wish.detach("The stop");
    }
    let mut progress = Progress::new();
    if let Some(failure) = &failure {
        progress.ignore(failure);
    }
    wish.mind_ctrl_c("the job is stopped nevertheless", &progress);
    let code = wish.wait(&mut progress)?;
    if code != 0 {
        return Ok(code);
    }
    let end = follow(&wish.client, id, &mut progress)?;
    progress.done()?;
    report(id, &end)
}

/// A savepoint that was asked for.
struct Wish {
    client: Client,
    id: JobId,
    trigger: TriggerId,
}

impl Wish {
    fn how_to_look(&self) -> String {
        let (id, trigger) = (self.id, &self.trigger);
        format!("`jobmanager savepoint {id} --trigger {trigger}` waits for it")
    }

    fn detach(&self, what: &str) -> Result<u8, ClientError> {
        let (id, look) = (self.id, self.how_to_look());
        print(format!("{what} of job {id} has been asked for; {look}"))?;
        Ok(0)
    }

    /// Waits for the outcome, and prints it.
    fn wait(&self, progress: &mut Progress) -> Result<u8, ClientError> {
        let mut patience = Patience::new();
        let operation = loop {
            let status = self.client.savepoint(self.id, self.trigger);
            if let Some(status) = patience.take(&self.client, progress, status)? {
                if let Some(operation) = status.operation {
                    break operation;
                }
                progress.note(&format!("Savepoint {} is being taken", self.trigger))?;
            }
            patience.pause();
        };
        if let Some(location) = operation.location {
            progress.print(&format!("Savepoint completed. Path: {location}"))?;
            return Ok(0);
        }
        progress.clear();
        let cause = operation.failure_cause;
        let cause = cause
            .as_ref()
            .map_or("no reason is given", FailureCause::words);
        complain(problem_lines("error: the savepoint failed:", cause));
        Ok(SAVEPOINT_FAILED)
    }

    fn mind_ctrl_c(&self, what: &str, progress: &Progress) {
        mind_ctrl_c(format!("{what}; {}", self.how_to_look()), progress);
    }
}
