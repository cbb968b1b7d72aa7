//! The schema `jobmanager`: made, and brought to this program's version, by whoever finds it older.
//!
//! Every version is one file of SQL, and all that are missing are applied in one transaction. A schema of a
//! later version is refused: what it means is not known here.

use super::{Connection, Failure, answered};
use tokio_postgres::Client;

/// What makes each version out of the one before.
const VERSIONS: [&str; 1] = [include_str!("schema/1.sql")];
/// Held while the schema is changed, so that JobManagers that start at once do not do it twice. Any number
/// that no other program is likely to use. Not a lock of the transaction: one that has begun may not see what
/// was made while it waited.
const LOCK: &str = "SELECT pg_advisory_lock(7236551408)";
const UNLOCK: &str = "SELECT pg_advisory_unlock(7236551408)";
/// What version 0 has. Whoever may not make schemas can be given an empty one.
const START: &str = "
    DO $$ BEGIN
        IF to_regnamespace('jobmanager') IS NULL THEN CREATE SCHEMA jobmanager; END IF;
    END $$;
    CREATE TABLE jobmanager.schema_version (version integer NOT NULL);
    INSERT INTO jobmanager.schema_version VALUES (0)";

/// Why a database cannot be used.
#[derive(Debug)]
pub(crate) enum SchemaProblem {
    /// It did not answer; it may later.
    Failed(String),
    /// It is not what is needed, and will not be without somebody's help.
    Unusable(String),
}

impl From<Failure> for SchemaProblem {
    fn from(failure: Failure) -> SchemaProblem {
        SchemaProblem::Failed(failure.words())
    }
}

impl Connection {
    /// Sees to it that the schema is there, in this program's version.
    ///
    /// # Errors
    /// The database does not answer, or cannot be used.
    pub(crate) async fn migrate(&mut self) -> Result<(), SchemaProblem> {
        let encoding = one_text(&self.client, "SHOW server_encoding").await?;
        if encoding != "UTF8" {
            return Err(SchemaProblem::Unusable(format!(
                "has the encoding {encoding}, which cannot hold every name: make one with ENCODING 'UTF8'"
            )));
        }
        if version(&self.client).await? == VERSIONS.len() {
            return Ok(());
        }
        // After an error, the connection is given up, and with it the lock.
        answered(self.client.batch_execute(LOCK)).await?;
        let transaction = answered(self.client.transaction()).await?;
        let found = version(transaction.client()).await?;
        if found == 0 {
            answered(transaction.batch_execute(START)).await?;
        }
        for (number, script) in VERSIONS.iter().enumerate().skip(found) {
            answered(transaction.batch_execute(script)).await?;
            let number = number + 1;
            let noted = format!("UPDATE jobmanager.schema_version SET version = {number}");
            answered(transaction.batch_execute(&noted)).await?;
            tracing::info!(version = number, "made the database schema");
        }
        answered(transaction.commit()).await?;
        Ok(answered(self.client.batch_execute(UNLOCK)).await?)
    }
}

/// The version that is there; 0 for none.
async fn version(client: &Client) -> Result<usize, SchemaProblem> {
    let exists = "SELECT coalesce(to_regclass('jobmanager.schema_version')::text, '')";
    if one_text(client, exists).await?.is_empty() {
        return Ok(0);
    }
    let text = one_text(
        client,
        "SELECT version::text FROM jobmanager.schema_version",
    )
    .await?;
    match text.parse() {
        Ok(version) if version <= VERSIONS.len() => Ok(version),
        Ok(_) | Err(_) => Err(SchemaProblem::Unusable(format!(
            "has version {text} of the schema, and this JobManager knows none later than {}: start a later \
             JobManager",
            VERSIONS.len()
        ))),
    }
}

async fn one_text(client: &Client, query: &str) -> Result<String, SchemaProblem> {
    let row = answered(client.query_one(query, &[])).await?;
    Ok(row.get(0))
}
