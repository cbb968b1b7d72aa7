//! The store on a PostgreSQL server: one table of records for all clusters, and one row per cluster with its
//! fence.
//!
//! A write is one statement, and so one transaction and one round trip. It changes the row of its cluster
//! first, and only if the epoch in it is its own: so it waits for whoever changes that row, and a new leader,
//! who changes it before it reads the records, waits for it. It also has a number: a write that was given up
//! because no answer came may still be on its way, and must not be carried out after later ones.
//!
//! A lost connection is made again by the next call; nothing is tried twice in here.

use super::facts::{facts, kind};
use super::records::decode;
use super::{Leadership, Store, StoreError};
use crate::election::ClusterId;
use crate::postgres::{Connection, Database, Failure, SchemaProblem, answered, words};
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::{Record, RecordKey, RecordOp};
use jobmanager_proto::{encode_record, key_text};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

/// How long it may take to read all records.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The same, for the server.
const LOAD_SETUP: &str = "SET LOCAL statement_timeout = '60s'";

/// The next epoch, durable once the transaction is.
const MINT: &str = "
    INSERT INTO jobmanager.epochs AS e (cluster, epoch, write) VALUES ($1, 1, 0)
    ON CONFLICT (cluster) DO UPDATE SET epoch = e.epoch + 1, write = 0
    RETURNING epoch";
const READ: &str = "SELECT key, record FROM jobmanager.records WHERE cluster = $1";

/// Everything or nothing. The parts that write take their rows from the fence, so there is nothing to write
/// if the fence does not hold; keys to delete and keys to write are different ones.
const COMMIT: &str = "
    WITH fence AS (
        UPDATE jobmanager.epochs SET write = $3
         WHERE cluster = $1 AND epoch = $2 AND write < $3
        RETURNING cluster),
    deleted AS (
        DELETE FROM jobmanager.records r USING fence
         WHERE r.cluster = fence.cluster AND r.key = ANY ($4::text[])),
    written AS (
        INSERT INTO jobmanager.records (cluster, key, kind, job, record, facts)
        SELECT fence.cluster, p.key, p.kind, p.job, p.record, p.facts::jsonb
          FROM fence,
               unnest($5::text[], $6::text[], $7::text[], $8::bytea[], $9::text[])
                   AS p (key, kind, job, record, facts)
        ON CONFLICT (cluster, key) DO UPDATE
           SET kind = excluded.kind, job = excluded.job, record = excluded.record, facts = excluded.facts)
    SELECT EXISTS (SELECT FROM fence)";
const EPOCH: &str = "SELECT epoch FROM jobmanager.epochs WHERE cluster = $1";

/// A handle of the store; clones use the same connection.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    database: Database,
    cluster: ClusterId,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    link: Option<Link>,
    /// The number of the last write; of this process, so it rises through epochs, too.
    write: i64,
    closed: bool,
}

/// A connection that knows its statement.
#[derive(Debug)]
struct Link {
    connection: Connection,
    commit: Statement,
}

impl PostgresStore {
    /// Opens the part of the database that belongs to a cluster; the schema is made if it is not there.
    ///
    /// # Errors
    /// The database does not answer, or is not one that can be used.
    pub async fn open(database: Database, cluster: ClusterId) -> Result<PostgresStore, StoreError> {
        let store = PostgresStore {
            database,
            cluster,
            state: Arc::default(),
        };
        let link = store.connect().await?;
        store.state.lock().await.link = Some(link);
        Ok(store)
    }

    async fn connect(&self) -> Result<Link, StoreError> {
        let connected = self.database.connect().await;
        let mut connection = connected.map_err(|words| self.unreachable(words))?;
        connection
            .migrate()
            .await
            .map_err(|problem| match problem {
                SchemaProblem::Failed(words) => self.unreachable(words),
                SchemaProblem::Unusable(words) => self.unusable(words),
            })?;
        let commit = answered(connection.client.prepare(COMMIT)).await;
        let commit = commit.map_err(|failure| self.unreachable(failure.words()))?;
        Ok(Link { connection, commit })
    }

    /// The connection, made again if the last one is lost.
    async fn link<'a>(&self, state: &'a mut State) -> Result<&'a mut Link, StoreError> {
        let link = match state.link.take() {
            Some(link) if !link.connection.client.is_closed() => link,
            Some(_) | None => self.connect().await?,
        };
        Ok(state.link.insert(link))
    }

    async fn read(&self, link: &mut Link) -> Result<Leadership, StoreError> {
        let lost = |error: tokio_postgres::Error| self.unreachable(words(&error));
        let client = &mut link.connection.client;
        let transaction = client.transaction().await.map_err(lost)?;
        transaction.batch_execute(LOAD_SETUP).await.map_err(lost)?;
        let cluster = self.cluster.as_str();
        let minted = transaction.query_one(MINT, &[&cluster]).await;
        let epoch: i64 = minted.map_err(lost)?.get(0);
        let rows = transaction.query(READ, &[&cluster]).await.map_err(lost)?;
        let rows = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        // Not before the epoch is durable: a store that cannot be read is left as it was.
        let records =
            decode(rows).map_err(|problem| self.unusable(format!("is damaged: {problem}")))?;
        transaction.commit().await.map_err(lost)?;
        let epoch = Epoch(u64::try_from(epoch).expect("epochs start at 1 and rise"));
        Ok(Leadership { epoch, records })
    }

    async fn write(
        &self,
        link: &Link,
        write: i64,
        epoch: i64,
        batch: &Batch,
    ) -> Result<StoreOutcome, Failure> {
        let cluster = self.cluster.as_str();
        let client = &link.connection.client;
        let values: [&(dyn ToSql + Sync); 9] = [
            &cluster,
            &epoch,
            &write,
            &batch.deletes,
            &batch.keys,
            &batch.kinds,
            &batch.jobs,
            &batch.records,
            &batch.facts,
        ];
        let written = client.query_one(&link.commit, &values);
        if answered(written).await?.get(0) {
            return Ok(StoreOutcome::Done);
        }
        // The statement saw the fence as it was when it began, or when it had waited for it: look again.
        let found = answered(client.query_opt(EPOCH, &[&cluster])).await;
        let found = found.map_err(|failure| Failure::NotDone(failure.words()))?;
        match found.map(|row| row.get::<_, i64>(0)) {
            Some(found) if found == epoch => Err(Failure::NotDone(
                "a later write of this epoch has been made".to_owned(),
            )),
            Some(_) | None => Ok(StoreOutcome::Fenced),
        }
    }

    fn unreachable(&self, problem: String) -> StoreError {
        StoreError::Unreachable {
            server: self.database.to_string(),
            problem,
        }
    }

    fn unusable(&self, problem: String) -> StoreError {
        StoreError::Unusable {
            server: self.database.to_string(),
            problem,
        }
    }
}

impl Store for PostgresStore {
    async fn load(&self) -> Result<Leadership, StoreError> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(StoreError::Closed);
        }
        let link = self.link(&mut state).await?;
        let found = match timeout(LOAD_TIMEOUT, self.read(link)).await {
            Ok(found) => found,
            Err(_) => Err(self.unreachable(format!(
                "the records were not read within {} s",
                LOAD_TIMEOUT.as_secs()
            ))),
        };
        if found.is_err() {
            state.link = None;
        }
        found
    }

    async fn commit(&self, epoch: Epoch, ops: Vec<RecordOp>) -> StoreOutcome {
        let mut state = self.state.lock().await;
        if state.closed {
            return StoreOutcome::Unavailable(StoreError::Closed.to_string());
        }
        let Ok(epoch) = i64::try_from(epoch.0) else {
            // Larger than any that is ever minted.
            return StoreOutcome::Fenced;
        };
        if let Err(error) = self.link(&mut state).await {
            return StoreOutcome::Unavailable(error.to_string());
        }
        state.write += 1;
        let link = state.link.as_ref().expect("it was just made");
        let batch = Batch::of(&ops);
        let failure = match self.write(link, state.write, epoch, &batch).await {
            Ok(outcome) => return outcome,
            Err(failure) => failure,
        };
        // Whatever it was, the next try begins with a connection that is known to be good.
        state.link = None;
        let server = &self.database;
        match failure {
            Failure::NotDone(words) => StoreOutcome::Unavailable(format!("{server}: {words}")),
            Failure::Unknown(words) => StoreOutcome::Unknown(format!("{server}: {words}")),
        }
    }

    async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        state.link = None;
    }
}

/// Operations as the statement takes them: of several on one key the last, in columns.
#[derive(Debug, Default)]
struct Batch {
    deletes: Vec<String>,
    keys: Vec<String>,
    kinds: Vec<&'static str>,
    jobs: Vec<String>,
    records: Vec<Vec<u8>>,
    facts: Vec<String>,
}

impl Batch {
    fn of(ops: &[RecordOp]) -> Batch {
        let mut last: BTreeMap<RecordKey, Option<&Record>> = BTreeMap::new();
        for op in ops {
            match op {
                RecordOp::Put(record) => last.insert(record.key(), Some(record)),
                RecordOp::Delete(key) => last.insert(*key, None),
            };
        }
        let mut batch = Batch::default();
        for (key, record) in last {
            let Some(record) = record else {
                batch.deletes.push(key_text(&key));
                continue;
            };
            batch.keys.push(key_text(&key));
            batch.kinds.push(kind(record));
            batch.jobs.push(key.job().to_string());
            batch.records.push(encode_record(record));
            batch.facts.push(facts(record).to_string());
        }
        batch
    }
}
