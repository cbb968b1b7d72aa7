//! `jobmanager local`: a whole cluster from one command, to try things on one machine.
//!
//! The JobManager runs inside this process with its durable store, the TaskManagers are child
//! processes, so that they can be killed. The job is submitted and watched over REST, as any other
//! client would do it.

mod cluster;
mod folder;
mod words;
mod workers;

use crate::cli::{self, Access, Client, ClientError, INTERRUPTED, Progress};
use crate::options::{Options, OptionsError};
use crate::serve::ServeError;
use cluster::Cluster;
use folder::WorkFolder;
use jobmanager_core::graph::Problem;
use jobmanager_core::id::JobId;
use jobmanager_proto::job_json;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use words::{Counts, WordCount};

/// `local`: a cluster of one machine, and a job on it.
#[derive(Debug, clap::Args)]
#[command(after_help = cli::EXIT_CODES)]
pub struct LocalArgs {
    /// The job to run: a JobGraph in JSON; without it, words are counted
    job: Option<PathBuf>,
    /// How many TaskManagers, each a process of its own
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    taskmanagers: u32,
    /// How many slots each TaskManager has
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    slots: u32,
    /// Count the words of this file or folder, as fast as it goes; without it, those of the
    /// project's own documentation, slowly enough to watch
    #[arg(long, value_name = "PATH", conflicts_with = "job")]
    input: Option<PathBuf>,
    /// Where the counted words go: a new or empty folder; without it, one in the place for
    /// temporary files
    #[arg(long, value_name = "DIR", conflicts_with = "job")]
    output: Option<PathBuf>,
    /// Where jobs and checkpoints are kept; without it, they go when the command ends
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where REST listens; without it, 127.0.0.1:8081, or a free port if that is taken
    #[arg(long, value_name = "HOST:PORT")]
    rest_addr: Option<String>,
    /// Leave the cluster up when the job has ended, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// An option of the cluster, as for `serve`; the flags above go before it
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    options: Vec<String>,
}

/// Why a local cluster does not come up, or cannot show its result.
#[derive(Debug, thiserror::Error)]
enum LocalError {
    /// What a client of the cluster would be told.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// A file or folder, with its name in the words.
    #[error("{path}: {problem}", path = path.display())]
    File { path: PathBuf, problem: io::Error },
    /// An option that is wrong.
    #[error("{0}")]
    Options(#[from] OptionsError),
    /// The JobManager does not start.
    #[error("{0}")]
    Serve(#[from] ServeError),
    /// The JobManager has ended.
    #[error("the JobManager cannot go on: {0}")]
    JobManager(String),
    /// A child process or thread.
    #[error("the cluster cannot be started: {0}")]
    Start(#[from] io::Error),
}

impl LocalError {
    /// Whether the logs add nothing: what was asked for was wrong.
    fn says_it_all(&self) -> bool {
        matches!(self.exit_code(), cli::USAGE | cli::REFUSED)
            || matches!(self, LocalError::Client(ClientError::Output(_)))
    }

    /// Whether there is nobody left to be told.
    fn is_closed_output(&self) -> bool {
        matches!(self, LocalError::Client(error) if error.is_closed_output())
    }

    fn exit_code(&self) -> u8 {
        match self {
            LocalError::Client(error) => error.exit_code(),
            LocalError::File { .. } | LocalError::Options(_) => cli::USAGE,
            LocalError::Serve(_) | LocalError::JobManager(_) | LocalError::Start(_) => {
                cli::UNREACHABLE
            }
        }
    }
}

/// Runs `local`.
#[must_use]
pub fn run(args: &LocalArgs) -> ExitCode {
    let code = run_job(args).unwrap_or_else(|error| {
        if !error.is_closed_output() {
            cli::complain(format!("error: {error}"));
        }
        error.exit_code()
    });
    ExitCode::from(code)
}

/// A job, and what is to be shown when it has finished.
struct Work {
    job: Vec<u8>,
    output: Option<PathBuf>,
}

fn run_job(args: &LocalArgs) -> Result<u8, LocalError> {
    taskmanager::descriptors::raise();
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = WorkFolder::new()?;
    let options = cluster::options(args, folder.path()).map_err(LocalError::from);
    let prepared = options.and_then(|options| Ok((prepare(args, &options, &folder)?, options)));
    let (work, options) = prepared.inspect_err(|_| folder.remove_all_but(&[]))?;
    let code = runtime.block_on(run_on_cluster(args, options, &folder, work));
    // The thread that watches the job may be in the middle of a request to what is gone now.
    runtime.shutdown_background();
    match &code {
        Ok(0) => folder.remove_all_but(&[&folder.path().join("output")]),
        Ok(INTERRUPTED | cli::JOB_CANCELED) => folder.remove_all_but(&[]),
        Err(error) if error.says_it_all() => folder.remove_all_but(&[]),
        Ok(_) | Err(_) => cli::complain(format!("logs are in {}", folder.path().display())),
    }
    code
}

async fn run_on_cluster(
    args: &LocalArgs,
    options: Options,
    folder: &WorkFolder,
    work: Work,
) -> Result<u8, LocalError> {
    let mut cluster = Cluster::start(args, options, folder.path()).await?;
    let code = work_on(&mut cluster, args, work).await;
    cluster.stop().await;
    code
}

async fn work_on(cluster: &mut Cluster, args: &LocalArgs, work: Work) -> Result<u8, LocalError> {
    let address = cluster.rest_address().to_owned();
    cli::print(format!(
        "REST and the dashboard are at {address}; `kill -9` a TaskManager to see it come back"
    ))?;
    let progress = Progress::new();
    let display = progress.clone();
    let job = tokio::task::spawn_blocking(move || run_to_its_end(&address, work, progress));
    let mut code = tokio::select! {
        ended = job => ended.map_err(io::Error::other)?,
        problem = cluster.failed() => Err(LocalError::JobManager(problem)),
        () = interrupted() => Ok(INTERRUPTED),
    };
    display.clear();
    if let (Ok(INTERRUPTED), Some(failure)) = (&code, display.latest_failure()) {
        cli::complain(format!("The latest failure of the job: {failure}"));
    }
    if args.keep && matches!(code, Ok(0..=2)) {
        cli::print("The cluster stays up until Ctrl-C")?;
        tokio::select! {
            problem = cluster.failed() => code = Err(LocalError::JobManager(problem)),
            () = interrupted() => {}
        }
    }
    code
}

/// Ctrl-C, or the signal that asks a process to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn prepare(args: &LocalArgs, options: &Options, folder: &WorkFolder) -> Result<Work, LocalError> {
    if let Some(path) = &args.job {
        let job = cli::read_job(path)?;
        check(&job, options)?;
        return Ok(Work { job, output: None });
    }
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |problem| LocalError::File { path, problem }
    };
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| folder.path().join("output"));
    std::fs::create_dir_all(&output).map_err(file(&output))?;
    let output = std::path::absolute(&output).map_err(file(&output))?;
    if std::fs::read_dir(&output)
        .map_err(file(&output))?
        .next()
        .is_some()
    {
        let problem = io::Error::other("is not empty; name a new or empty folder");
        return Err(file(&output)(problem));
    }
    let slots = args.taskmanagers * args.slots;
    let count = match &args.input {
        Some(input) => WordCount {
            input: input.canonicalize().map_err(file(input))?,
            output: output.clone(),
            parallelism: slots,
            rate: None,
        },
        None => documentation(folder, output.clone(), slots).map_err(file(folder.path()))?,
    };
    let job = count.job().to_string().into_bytes();
    let output = Some(output);
    Ok(Work { job, output })
}

/// Refuses what the JobManager would refuse, before anything is started for it.
fn check(job: &[u8], options: &Options) -> Result<(), ClientError> {
    let parsed = job_json::parse(job, JobId(0), &options.job_defaults);
    let refused = |problems: Vec<Problem>| ClientError::Refused {
        status: 400,
        problems: problems.iter().map(Problem::to_string).collect(),
    };
    parsed.map(drop).map_err(refused)
}

/// The paced word count. It takes half the slots, so that the other half is there when a TaskManager
/// is killed.
fn documentation(folder: &WorkFolder, output: PathBuf, slots: u32) -> io::Result<WordCount> {
    let input = folder.path().join("input");
    words::write_documents(&input)?;
    let parallelism = slots.div_ceil(2);
    Ok(WordCount {
        input,
        output,
        parallelism,
        rate: Some(words::paced_rate(parallelism)),
    })
}

/// Submits the job, watches it, and shows what became of it.
fn run_to_its_end(address: &str, work: Work, mut progress: Progress) -> Result<u8, LocalError> {
    let client = Client::new(address, Access::default())?;
    let id = client.submit(work.job)?;
    cli::print(format!("Job has been submitted with JobID {id}"))?;
    let code = cli::follow_and_report(&client, id, &mut progress)?;
    if let (0, Some(output)) = (code, work.output) {
        let counts = Counts::read(&output);
        let counts = counts.map_err(|problem| LocalError::File {
            path: output.clone(),
            problem,
        })?;
        show(&counts, &output)?;
    }
    Ok(code)
}

fn show(counts: &Counts, output: &Path) -> Result<(), ClientError> {
    if counts.words == 0 {
        return cli::print("\nThere are no words in the input");
    }
    let words = cli::counted(counts.words, "word");
    let different = cli::counted(counts.different, "different one");
    cli::print(format!("\n{words}, {different}. The most frequent:"))?;
    for (count, word) in &counts.top {
        cli::print(format!("{:>12}  {word}", cli::group_digits(*count)))?;
    }
    cli::print(format!("\nAll of them are in {}", output.display()))
}
