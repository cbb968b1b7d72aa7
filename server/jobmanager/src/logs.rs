//! The logs of TaskManagers, read over the network when a client wants them; see `log.proto`. That of this process is in
//! its own memory.
//!
//! Nothing waits for it but that client: neither the coordinator nor a session has to do with it.

use jobmanager_proto::v1::ReadLogRequest;
use jobmanager_proto::v1::task_manager_log_client::TaskManagerLogClient;
use std::sync::Arc;
use std::time::Duration;
use taskmanager::recent_log::{Excerpt, MAX_MESSAGE, Wanted};
use taskmanager::tls::{Credentials, Dialer, FileProblem};
use taskmanager::{status_words, words};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

/// How long a TaskManager may take, with the time for which others are read first.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many are read at a time: each answer is in memory as a whole.
const AT_ONCE: usize = 4;

/// Reads the logs of TaskManagers; clones share how many at a time.
#[derive(Debug, Clone)]
pub struct Logs {
    dialer: Dialer,
    patience: Duration,
    reading: Arc<Semaphore>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLog {
    /// The TaskManager keeps none: its own words.
    #[error("{0}")]
    Off(String),
    /// It does not know the question.
    #[error(
        "this TaskManager is of a version that does not give its log away; look where its standard error goes"
    )]
    Unknown,
    /// It did not answer in time.
    #[error("its TaskManager at {address} did not give its log within {seconds} s")]
    TooSlow { address: String, seconds: f32 },
    /// It cannot be asked, or refuses.
    #[error("its TaskManager at {address} cannot be asked for its log: {problem}")]
    Unreachable { address: String, problem: String },
}

impl Logs {
    /// Calls TaskManagers as a member with these credentials; without any, only on this machine unless every machine
    /// is to be trusted.
    ///
    /// # Errors
    /// A file of the credentials cannot be used.
    pub fn new(
        credentials: Option<&Credentials>,
        allow_insecure: bool,
    ) -> Result<Logs, FileProblem> {
        let only_here = credentials.is_none() && !allow_insecure;
        Ok(Logs {
            dialer: Dialer::new(credentials, only_here)?,
            patience: PATIENCE,
            reading: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// A part of the log of the TaskManager whose data address this is.
    pub(crate) async fn read(&self, address: String, wanted: Wanted) -> Result<Excerpt, NoLog> {
        match timeout(self.patience, self.read_in_turn(&address, wanted)).await {
            Ok(read) => read,
            Err(_) => Err(NoLog::TooSlow {
                address,
                seconds: self.patience.as_secs_f32(),
            }),
        }
    }

    async fn read_in_turn(&self, address: &str, wanted: Wanted) -> Result<Excerpt, NoLog> {
        let _turn = self.reading.acquire().await;
        let away = |problem: tonic::transport::Error| NoLog::Unreachable {
            address: address.to_owned(),
            problem: words(&problem),
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(away)?;
        let endpoint = endpoint.connect_timeout(self.patience);
        let channel = self.dialer.connect(endpoint).await.map_err(away)?;
        let client = TaskManagerLogClient::new(channel);
        let mut client = client.max_decoding_message_size(MAX_MESSAGE);
        let answer = client.read_log(ReadLogRequest::from(wanted)).await;
        let refused = |status: Status| {
            if status.code() == Code::NotFound {
                NoLog::Off(status.message().to_owned())
            } else if status.code() == Code::Unimplemented {
                NoLog::Unknown
            } else {
                NoLog::Unreachable {
                    address: address.to_owned(),
                    problem: status_words(&status),
                }
            }
        };
        answer
            .map(|answer| answer.into_inner().into())
            .map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn who_says_nothing_is_not_waited_for_and_does_not_keep_others_waiting() {
        let logs = Logs::new(None, false).unwrap();
        let patience = Duration::from_millis(50);
        let logs = Logs { patience, ..logs };
        // Connections are accepted by the system, and nobody reads them.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let reads = (0..2 * AT_ONCE).map(|_| logs.read(address.clone(), Wanted::default()));
        for read in futures::future::join_all(reads).await {
            let words = read.unwrap_err().to_string();
            assert!(words.contains("within 0.05 s"), "{words}");
        }
        assert_eq!(logs.reading.available_permits(), AT_ONCE);
    }
}
