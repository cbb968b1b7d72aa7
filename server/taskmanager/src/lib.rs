//! The worker of the stream-processing cluster, and the SDK for operators of your own.
//!
//! A TaskManager registers with a JobManager, offers slots and operators, and runs what it is told to:
//! each subtask on a thread of its own, connected to others by bounded channels. Checkpoints, restarts
//! and exactly-once output are the machinery's affair; an operator only says what its state is.
//!
//! # An operator of your own
//!
//! Implement [`sdk::Operator`] (or [`sdk::Source`], [`sdk::Sink`]), register it under the name that
//! JobGraphs use, and run the TaskManager with it. This one numbers the records that it sees:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use clap::Parser;
//! use taskmanager::sdk::DistributionMode::Split;
//! use taskmanager::sdk::{Operator, OperatorContext, OperatorError, Output, Record, State};
//! use taskmanager::{Args, CheckpointId, main_with, operators};
//!
//! struct Number {
//!     next: u64,
//! }
//!
//! impl Number {
//!     /// Starts behind the highest number that the restored checkpoint has for it, or at the configured place.
//!     fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
//!         let mut next = cx.config["from"].as_u64().unwrap_or(0);
//!         // With another parallelism than before there may be several, or none.
//!         for restored in cx.state.iter().flat_map(|state| state.list("next")) {
//!             let restored = restored.as_slice().try_into();
//!             let problem = |_| OperatorError::about("number", "not 8 bytes of state");
//!             next = next.max(u64::from_le_bytes(restored.map_err(problem)?));
//!         }
//!         Ok(Number { next })
//!     }
//! }
//!
//! impl Operator for Number {
//!     fn process(
//!         &mut self,
//!         record: Record<'_>,
//!         output: &mut dyn Output,
//!     ) -> Result<(), OperatorError> {
//!         let text = String::from_utf8_lossy(record.value);
//!         let value = format!("{}\t{text}", self.next);
//!         self.next += 1;
//!         output.record(Record { value: value.as_bytes(), ..record })
//!     }
//!
//!     /// Whatever is kept between records is in here: after a failure, it comes back to `new`.
//!     fn snapshot(&mut self, _: CheckpointId, state: &mut State) -> Result<(), OperatorError> {
//!         state.append("next", Split, [self.next.to_le_bytes().to_vec()])
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     let registry = operators::builtin().operator("number", Number::new);
//!     main_with(Args::parse(), registry)
//! }
//! ```
//!
//! A JobGraph uses it as `{"id": "numbered", "operator": "number", "parallelism": 1, "config": {"from":
//! 1}}`. Start as many of these TaskManagers as you like; tasks go only to those that offer their operator.
//!
//! # The parts
//!
//! | module | what it is |
//! |---|---|
//! | [`sdk`] | what users implement |
//! | [`operators`] | the built-in operators |
//! | `state` | what a subtask keeps, in parts, and the bytes of a snapshot |
//! | `session`, `link` | the conversation with the JobManager; decisions are the core's [`Worker`] |
//! | `jobmanagers`, `leader` | which of several JobManagers to converse with |
//! | `task`, `tasks` | running subtasks: input gate, partitioners, snapshots |
//! | `channel`, `exchange` | frames between tasks, within and between TaskManagers |
//! | `storage` | where snapshots are kept |
//! | [`folders`] | which folders of the machine jobs may have files in |
//! | [`recent_log`] | what was logged most recently |
//! | [`descriptors`] | how many files and sockets there may be |
//! | [`tls`] | who may be at the other end of a connection |
//!
//! Invariant: a task waits in one place only, its inbox, so canceling ends every wait. Invariant: the
//! session's task never waits for the network, a disk or a task.
//!
//! [`Worker`]: jobmanager_core::taskmanager::Worker

mod args;
mod channel;
pub mod descriptors;
mod exchange;
pub mod folders;
mod jobmanagers;
mod leader;
mod link;
pub mod objects;
pub mod operators;
mod options;
pub mod recent_log;
pub mod sdk;
mod session;
mod state;
mod storage;
mod task;
mod tasks;
pub mod tls;

pub use args::{Args, LogFormat, main, main_with};
pub use jobmanager_core::id::{AttemptId, CheckpointId, JobId};
pub use options::{Options, StartError};

use channel::Hub;
use exchange::{Exchange, Peers};
use jobmanager_core::taskmanager::WorkerConfig;
use sdk::Registry;
use session::{Ends, Session};
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, RwLock};
use storage::Storage;
use task::Shared;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

/// Reports of tasks that wait for the session; tasks wait in turn.
const REPORTS: usize = 1_024;

/// Runs a TaskManager until `shutdown` is ready, then stops its tasks.
///
/// When `leave` is ready before that, it takes no more tasks, and ends as soon as those that it has go on elsewhere, or
/// its [`leave_timeout`](Options::leave_timeout) is over.
///
/// Without a JobManager it keeps trying to reach one.
///
/// # Errors
/// An option is wrong, the data exchange cannot listen where it should, or a task did not stop when it was
/// told to: then the caller must end the process.
pub async fn run(
    options: Options,
    registry: Registry,
    leave: impl Future<Output = ()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let bound = options.bind().await?;
    let config: WorkerConfig = bound.worker_config(&registry);
    let hub = Arc::new(Hub::default());
    let (running, is_running) = watch::channel(());
    let exchange = Exchange::new(Arc::clone(&hub), is_running);
    let exchange = tokio::spawn(exchange::serve(bound.incoming, exchange));
    let exchange_ends = exchange.abort_handle();
    let (reports, reported) = mpsc::channel(REPORTS);
    let shared = Shared {
        registry: Arc::new(registry),
        hub,
        peers: Peers::new(Handle::current(), bound.jobmanagers.dialer().clone()),
        storage: Arc::new(RwLock::new(Storage::Unknown)),
        folders: bound.folders,
        runtime: Handle::current(),
        data_address: config.data_address.as_str().into(),
        reports,
    };
    let peers = Arc::clone(&shared.peers);
    let (id, address, slots) = (&config.taskmanager, &config.data_address, config.slots);
    info!(%id, address, slots, jobmanagers = %bound.jobmanagers, "taskmanager started");
    let stop = async {
        tokio::select! {
            () = shutdown => {}
            ended = exchange => error!(?ended, "the data exchange has ended, so this TaskManager stops"),
        }
    };
    let ends = Ends {
        leave,
        within: bound.leave_timeout,
        stop,
    };
    let stuck = Session::run(bound.jobmanagers, config, shared, reported, ends).await;
    exchange_ends.abort();
    drop(running);
    peers.close();
    info!("taskmanager stopped");
    if stuck {
        Err(StartError::Stuck)
    } else {
        Ok(())
    }
}

/// What a peer or the connection to it says, in words only.
#[must_use]
pub fn status_words(status: &tonic::Status) -> String {
    let mut words = match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    };
    if let Some(cause) = status.source() {
        let cause = self::words(cause);
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

/// An error with all its causes: the outer ones often say nothing but where they come from.
#[must_use]
pub fn words(problem: &dyn Error) -> String {
    let mut words = problem.to_string();
    let mut cause = problem.source();
    while let Some(problem) = cause {
        let text = problem.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = problem.source();
    }
    words
}
