//! `savepoint`, `stop` and `checkpoint`: asks for a snapshot of a job, and waits for what comes of it.
//!
//! The JobManager takes a savepoint whether or not anybody waits, over restarts of itself, too; of the wish for a
//! checkpoint the next leader does not know.

use super::answer::FailureCause;
use super::client::{Client, ClientError, read_id};
use super::disposal::dispose;
use super::follow::wait_for;
use super::interrupt::mind_ctrl_c;
use super::output::{complain, print};
use super::progress::Progress;
use super::text::problem_lines;
use super::{EXIT_CODES, SNAPSHOT_FAILED, Target, exit, follow_and_report};
use jobmanager_core::id::{JobId, TriggerId};
use serde_json::{Value, json};
use std::process::ExitCode;

/// `savepoint`: take a savepoint of a job that goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct SavepointArgs {
    /// The job's id: 32 hex digits
    #[arg(required_unless_present = "dispose")]
    id: Option<String>,
    /// The folder for it, an absolute path or a URL such as s3://BUCKET/PREFIX
    /// [default: execution.checkpointing.savepoint-dir]
    dir: Option<String>,
    /// Return as soon as the wish is durable
    #[arg(long)]
    detached: bool,
    /// Ask for nothing, but wait for one that was asked for before: its trigger, 32 hex digits
    #[arg(long, conflicts_with_all = ["dir", "detached"])]
    trigger: Option<String>,
    /// Take none, but delete the one in this folder, with the files that it names
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["id", "dir", "detached", "trigger"])]
    dispose: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// `checkpoint`: take a checkpoint of a job now, not only at its next interval.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct CheckpointArgs {
    /// The job's id: 32 hex digits
    id: String,
    /// Return at once
    #[arg(long)]
    detached: bool,
    /// Ask for nothing, but wait for one that was asked for before: its trigger, 32 hex digits
    #[arg(long, conflicts_with = "detached")]
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
    /// The folder for the savepoint, an absolute path or a URL such as s3://BUCKET/PREFIX
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
    exit(take_or_dispose(args))
}

fn take_or_dispose(args: &SavepointArgs) -> Result<u8, ClientError> {
    if let Some(path) = &args.dispose {
        return dispose(&args.target.client()?, path);
    }
    let id = args.id.as_deref().unwrap_or_default();
    let body = json!({ "target-directory": args.dir });
    let trigger = args.trigger.as_deref();
    let wish = Wish::new(Kind::Savepoint, &args.target, id, trigger, &body)?;
    wish.take(args.detached)
}

/// Runs `checkpoint`.
#[must_use]
pub fn checkpoint(args: &CheckpointArgs) -> ExitCode {
    let trigger = args.trigger.as_deref();
    let ask = || {
        Wish::new(
            Kind::Checkpoint,
            &args.target,
            &args.id,
            trigger,
            &json!({}),
        )
    };
    exit(ask().and_then(|wish| wish.take(args.detached)))
}

/// Runs `stop`.
#[must_use]
pub fn stop(args: &StopArgs) -> ExitCode {
    exit(end(args))
}

fn end(args: &StopArgs) -> Result<u8, ClientError> {
    let (client, id) = (args.target.client()?, read_id(&args.id)?);
    let body = json!({ "targetDirectory": args.savepoint_path, "drain": args.drain });
    let failure = client.latest_exception(id)?;
    let trigger = client.trigger(&format!("/jobs/{id}/stop"), &body)?;
    let wish = Wish {
        client,
        kind: Kind::Savepoint,
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
    follow_and_report(&wish.client, id, &mut progress)
}

/// What of a job is taken.
#[derive(Clone, Copy)]
enum Kind {
    Savepoint,
    Checkpoint,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Savepoint => "savepoint",
            Kind::Checkpoint => "checkpoint",
        }
    }

    /// Below the job.
    fn route(self) -> &'static str {
        match self {
            Kind::Savepoint => "savepoints",
            Kind::Checkpoint => "checkpoints",
        }
    }
}

/// A snapshot that was asked for.
struct Wish {
    client: Client,
    kind: Kind,
    id: JobId,
    trigger: TriggerId,
}

impl Wish {
    /// Asks for it, unless that was done before.
    fn new(
        kind: Kind,
        target: &Target,
        id: &str,
        trigger: Option<&str>,
        body: &Value,
    ) -> Result<Self, ClientError> {
        let (client, id) = (target.client()?, read_id(id)?);
        let trigger = match trigger {
            Some(trigger) => read_id(trigger)?,
            None => client.trigger(&format!("/jobs/{id}/{}", kind.route()), body)?,
        };
        Ok(Wish {
            client,
            kind,
            id,
            trigger,
        })
    }

    /// Waits for the outcome, unless nobody wants to.
    fn take(self, detached: bool) -> Result<u8, ClientError> {
        let word = self.kind.word();
        if detached {
            return self.detach(&format!("A {word}"));
        }
        let mut progress = Progress::new();
        self.mind_ctrl_c(&format!("the {word} is taken nevertheless"), &progress);
        let code = self.wait(&mut progress)?;
        progress.clear();
        Ok(code)
    }

    fn how_to_look(&self) -> String {
        let (word, id, trigger) = (self.kind.word(), self.id, &self.trigger);
        format!("`jobmanager {word} {id} --trigger {trigger}` waits for it")
    }

    fn detach(&self, what: &str) -> Result<u8, ClientError> {
        let (id, look) = (self.id, self.how_to_look());
        print(format!("{what} of job {id} has been asked for; {look}"))?;
        Ok(0)
    }

    /// Waits for the outcome, and prints it.
    fn wait(&self, progress: &mut Progress) -> Result<u8, ClientError> {
        let (word, trigger) = (self.kind.word(), self.trigger);
        let ask = || self.client.snapshot(self.id, self.kind.route(), trigger);
        let operation = wait_for(&self.client, progress, ask, |status, progress| {
            if status.operation.is_none() {
                progress.note(&format!("The {word} {trigger} is being taken"))?;
            }
            Ok(status.operation)
        })?;
        if let Some(location) = operation.location {
            progress.print(&format!("Savepoint completed. Path: {location}"))?;
            return Ok(0);
        }
        if let Some(id) = operation.checkpoint_id {
            progress.print(&format!("Checkpoint {id} completed."))?;
            return Ok(0);
        }
        progress.clear();
        let cause = operation.failure_cause;
        let cause = cause
            .as_ref()
            .map_or("no reason is given", FailureCause::words);
        let what = format!("error: the {word} failed:");
        complain(problem_lines(&what, cause));
        Ok(SNAPSHOT_FAILED)
    }

    fn mind_ctrl_c(&self, what: &str, progress: &Progress) {
        mind_ctrl_c(format!("{what}; {}", self.how_to_look()), progress);
    }
}
