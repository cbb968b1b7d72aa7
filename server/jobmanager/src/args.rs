//! The command line of the binary `jobmanager`.

use crate::cli::{
    self, CancelArgs, CheckpointArgs, CompletionsArgs, EventsArgs, ListArgs, LogsArgs, RescaleArgs,
    RunArgs, SavepointArgs, StatusArgs, StopArgs, TokenArgs, USAGE, WhyArgs,
};
use crate::gate::Gate;
use crate::local::{self, LocalArgs};
use crate::logging::Format;
use crate::options::{Options, ServeArgs};
use crate::serve::{ServeError, Server};
use clap::{CommandFactory, Parser, Subcommand};
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;
use taskmanager::recent_log::OWN;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::error;

/// At most this many threads serve the network; the coordinator itself is one task.
const MAX_WORKERS: usize = 4;

/// The coordinator of a stream-processing cluster.
#[derive(Debug, Parser)]
#[command(name = "jobmanager", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a JobManager until SIGTERM or Ctrl-C
    Serve(ServeArgs),
    /// Run a whole cluster on this machine, and a job on it
    Local(LocalArgs),
    /// Submit a job, and follow it to its end
    Run(RunArgs),
    /// Show the jobs of a cluster
    List(ListArgs),
    /// Show one job
    Status(StatusArgs),
    /// Tell what a job waits for, and what would help
    Why(WhyArgs),
    /// Follow what happens to jobs and TaskManagers
    Events(EventsArgs),
    /// Show what the JobManager or a TaskManager has logged
    Logs(LogsArgs),
    /// Cancel a job
    Cancel(CancelArgs),
    /// Change the parallelism of a job, or show it
    Rescale(RescaleArgs),
    /// Take a checkpoint of a job now
    Checkpoint(CheckpointArgs),
    /// Take a savepoint of a job
    Savepoint(SavepointArgs),
    /// Stop a job with a savepoint
    Stop(StopArgs),
    /// Make a token for a client of REST
    Token(TokenArgs),
    /// Print what a shell needs to complete command lines
    Completions(CompletionsArgs),
    /// The TaskManagers of `local` are this program, too
    #[command(name = "taskmanager", hide = true)]
    TaskManager(taskmanager::Args),
}

/// The whole program: parses the command line, runs it, and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let CommandLine { command } = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return refuse(&error),
    };
    match command {
        Command::Serve(args) => serve(&args),
        Command::Local(args) => local::run(&args),
        Command::Run(args) => cli::run(&args),
        Command::List(args) => cli::list(&args),
        Command::Status(args) => cli::status(&args),
        Command::Why(args) => cli::why(&args),
        Command::Events(args) => cli::events(&args),
        Command::Logs(args) => cli::logs(&args),
        Command::Cancel(args) => cli::cancel(&args),
        Command::Rescale(args) => cli::rescale(&args),
        Command::Checkpoint(args) => cli::checkpoint(&args),
        Command::Savepoint(args) => cli::savepoint(&args),
        Command::Stop(args) => cli::stop(&args),
        Command::Token(args) => cli::token(&args),
        Command::Completions(args) => cli::completions(&args, CommandLine::command()),
        Command::TaskManager(args) => {
            taskmanager::main_with(args, taskmanager::operators::builtin())
        }
    }
}

/// `--help` and `--version` come as errors, too, and are none.
fn refuse(error: &clap::Error) -> ExitCode {
    // A closed output cannot be told about.
    let _ = error.print();
    match error.use_stderr() {
        true => ExitCode::from(USAGE),
        false => ExitCode::SUCCESS,
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    crate::logging::start(args.log_format);
    taskmanager::descriptors::raise();
    let options = match Options::from_args(args) {
        Ok(options) => options,
        Err(error) => {
            complain(args.log_format, &error.to_string());
            return ExitCode::from(USAGE);
        }
    };
    OWN.set_limit(options.log_memory);
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.clamp(2, MAX_WORKERS))
        .enable_all()
        .build();
    let served = match runtime {
        Ok(runtime) => {
            let served = runtime.block_on(serve_until_signal(options));
            // Whatever still runs has no more to say.
            runtime.shutdown_background();
            served
        }
        Err(error) => Err(error.to_string()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(args.log_format, &error);
            ExitCode::FAILURE
        }
    }
}

/// Says why it ends. Not a log line for people, as it has to be seen whatever RUST_LOG says.
fn complain(format: Format, words: &str) {
    match format {
        Format::Human => cli::complain(format_args!("error: {words}")),
        Format::Json => error!("{words}"),
    }
}

async fn serve_until_signal(options: Options) -> Result<(), String> {
    // Before the start, so that a signal during it is not lost.
    let stop = signals().map_err(|error| error.to_string())?;
    let record = signal(SignalKind::user_defined1()).map_err(|error| error.to_string())?;
    let words = |error: ServeError| error.to_string();
    let server = Server::start(options).await.map_err(words)?;
    tokio::spawn(record_when_told(record, server.gate()));
    announce(&server);
    server.run(stop).await.map_err(words)
}

/// Tells whoever started this where it answers, which with port 0 nobody else knows.
fn announce(server: &Server) {
    let bound = server.bound();
    let mut out = io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(
        out,
        "REST {}://{}\nRPC {}",
        bound.rest_scheme, bound.rest, bound.rpc
    )
    .and_then(|()| out.flush());
}

/// Writes a flight recording at every SIGUSR1.
async fn record_when_told(mut told: Signal, gate: Gate) {
    while told.recv().await.is_some() {
        let Some(leading) = gate.leading() else {
            error!("no flight recording: this JobManager stands by");
            continue;
        };
        if let Err(problem) = leading.recordings.write("signal").await {
            error!(%problem, "no flight recording");
        }
    }
}

/// Ready at the first SIGTERM or Ctrl-C.
fn signals() -> io::Result<impl Future<Output = ()>> {
    let mut terminate: Signal = signal(SignalKind::terminate())?;
    let mut interrupt: Signal = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
