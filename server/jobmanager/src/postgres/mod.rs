//! A PostgreSQL server, as the store and the leader election use it: where it is, how to connect, what a
//! failed statement means, and the schema that both share.
//!
//! Nothing in here tries again: whoever needs an answer decides when to ask once more. Every wait has an end.

mod schema;
mod tls;
mod url;

pub(crate) use schema::SchemaProblem;
pub use url::Database;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Error};

/// How long it may take to connect, log in, and set up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement may take. One that has no answer by then may still be carried out.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection says first. A server may be set up to call a commit done before it is on the disk,
/// to take no locks, or to leave the locks of somebody who has gone away alone for ever.
const SETUP: &str = "
    SELECT set_config('synchronous_commit', 'on', false)
     WHERE current_setting('synchronous_commit') = 'off';
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET statement_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s';
    SET client_min_messages = 'error'";

/// An open connection. Dropping it closes it, whatever is under way.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    served: AbortHandle,
    notified: Arc<Notify>,
}

impl Connection {
    /// Ready when the server has sent a notification since this was last ready.
    pub(crate) async fn notified(&self) {
        self.notified.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server has not done it, and will not.
    NotDone(String),
    /// The server may have done it, or may do it yet.
    Unknown(String),
}

impl Failure {
    /// What a statement that was sent has come to.
    pub(crate) fn of(error: &Error) -> Failure {
        let words = words(error);
        let Some(answer) = error.as_db_error() else {
            return Failure::Unknown(words);
        };
        // A connection that the server ends may have been in the middle of a commit.
        let ends = match answer.code().code() {
            "40003" => true,
            code => code.starts_with("08") || code.starts_with("57P"),
        };
        match answer.parsed_severity() {
            Some(Severity::Error) if !ends => Failure::NotDone(words),
            _ => Failure::Unknown(words),
        }
    }

    /// The text for people.
    pub(crate) fn words(self) -> String {
        match self {
            Failure::NotDone(words) | Failure::Unknown(words) => words,
        }
    }
}

/// An answer to a statement, or what has become of it if none comes in time.
pub(crate) async fn answered<T>(
    statement: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match timeout(STATEMENT_TIMEOUT, statement).await {
        Ok(answer) => answer.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::Unknown(format!(
            "no answer within {} s",
            STATEMENT_TIMEOUT.as_secs()
        ))),
    }
}

/// The server's words, which the library keeps below its own.
pub(crate) fn words(error: &Error) -> String {
    if let Some(answer) = error.as_db_error() {
        let words = answer.message();
        return match answer.detail() {
            Some(detail) => format!("{words} ({detail})"),
            None => words.to_owned(),
        };
    }
    taskmanager::words(error)
}

impl Database {
    /// Connects, and sets the session up.
    ///
    /// # Errors
    /// Nobody answers in time, or refuses: the words for people.
    pub(crate) async fn connect(&self) -> Result<Connection, String> {
        let connected = async {
            let (client, mut stream) = self.config.connect(self.tls.clone()).await?;
            let notified = Arc::new(Notify::new());
            let heard = Arc::clone(&notified);
            let served = tokio::spawn(async move {
                // An error ends the stream, too, and whoever waits for an answer is told of it.
                while let Some(Ok(message)) = poll_fn(|cx| stream.poll_message(cx)).await {
                    if matches!(message, AsyncMessage::Notification(_)) {
                        heard.notify_one();
                    }
                }
            });
            let connection = Connection {
                client,
                served: served.abort_handle(),
                notified,
            };
            connection.client.batch_execute(SETUP).await?;
            Ok(connection)
        };
        match timeout(CONNECT_TIMEOUT, connected).await {
            Ok(connected) => connected.map_err(|error: Error| words(&error)),
            Err(_) => Err(format!("not within {} s", CONNECT_TIMEOUT.as_secs())),
        }
    }
}
