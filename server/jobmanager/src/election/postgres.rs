//! Election by a row in a PostgreSQL database. Whoever finds it absent or expired takes it; the clock that
//! counts is the server's. The holder renews it, and leads only for as long after its last renewal as nobody
//! else can find it expired, by its own monotonic clock.
//!
//! Who gives the row up, or has something new in it, tells the others at once by a notification. If that is
//! lost, they find out when they look again.

use super::leased::{Seat, Service};
use super::{ClusterId, Leader, LeaseTiming, holder_name};
use crate::postgres::{Connection, Database, Failure, SchemaProblem, answered};
use jobmanager_core::id::Epoch;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

const LISTEN: &str = "LISTEN jobmanager_leaders";
/// Takes the row if that can be.
const TAKE: &str = "
    INSERT INTO jobmanager.leaders AS l (cluster, holder, renewed, expires)
    VALUES ($1, $2, clock_timestamp(), clock_timestamp() + $3::bigint * interval '1 millisecond')
    ON CONFLICT (cluster) DO UPDATE
       SET holder = excluded.holder, renewed = excluded.renewed, expires = excluded.expires,
           epoch = NULL, rest = NULL, rpc = NULL
     WHERE l.expires <= clock_timestamp() OR l.holder = excluded.holder";
/// Who has it, and for how many milliseconds if nothing happens.
const LOOK: &str = "
    SELECT (extract(epoch FROM expires - clock_timestamp()) * 1000)::bigint, epoch, rest, rpc
      FROM jobmanager.leaders WHERE cluster = $1";
const RENEW: &str = "
    UPDATE jobmanager.leaders
       SET renewed = clock_timestamp(), expires = clock_timestamp() + $3::bigint * interval '1 millisecond',
           epoch = $4, rest = $5, rpc = $6
     WHERE cluster = $1 AND holder = $2";
const NOTIFY: &str = "SELECT pg_notify('jobmanager_leaders', $1)";
const RESIGN: &str = "
    WITH gone AS (DELETE FROM jobmanager.leaders WHERE cluster = $1 AND holder = $2 RETURNING cluster)
    SELECT pg_notify('jobmanager_leaders', cluster) FROM gone";

/// See the module.
#[derive(Debug)]
pub struct PostgresRow {
    database: Database,
    cluster: ClusterId,
    timing: LeaseTiming,
    /// Who this is: another one for every life of the process.
    holder: String,
    connection: Option<Connection>,
    /// What the others have been told is in the row.
    told: Option<Leader>,
}

impl PostgresRow {
    pub(super) fn new(database: Database, cluster: ClusterId, timing: LeaseTiming) -> PostgresRow {
        PostgresRow {
            database,
            cluster,
            timing,
            holder: holder_name(),
            connection: None,
            told: None,
        }
    }

    /// Tells the others to look. Those that do not hear it look anyway, later.
    async fn notify(&self) {
        if let Some(connection) = &self.connection {
            let cluster = self.cluster.as_str();
            let told = async { connection.client.query(NOTIFY, &[&cluster]).await };
            let _ = timeout(self.timing.retry_period, told).await;
        }
    }

    /// Sees to it that there is a connection, made again if the last one is lost.
    async fn connect(&mut self) -> Result<(), String> {
        let connection = match self.connection.take() {
            Some(connection) if !connection.client.is_closed() => connection,
            Some(_) | None => {
                let mut connection = self.database.connect().await?;
                connection
                    .migrate()
                    .await
                    .map_err(|problem| match problem {
                        SchemaProblem::Failed(words) | SchemaProblem::Unusable(words) => words,
                    })?;
                let listens = connection.client.batch_execute(LISTEN);
                answered(listens).await.map_err(Failure::words)?;
                connection
            }
        };
        self.connection = Some(connection);
        Ok(())
    }

    fn client(&self) -> &Client {
        let connection = self.connection.as_ref();
        &connection.expect("whoever asks has connected").client
    }
}

impl Service for PostgresRow {
    async fn take(&mut self) -> Result<Seat, String> {
        let lease = milliseconds(self.timing.duration);
        self.told = None;
        self.connect().await?;
        let (client, cluster) = (self.client(), self.cluster.as_str());
        let values: [&(dyn ToSql + Sync); 3] = [&cluster, &self.holder, &lease];
        let taken = answered(client.execute(TAKE, &values)).await;
        if taken.map_err(Failure::words)? == 1 {
            return Ok(Seat::Ours);
        }
        let row = answered(client.query_opt(LOOK, &[&cluster])).await;
        let Some(row) = row.map_err(Failure::words)? else {
            // Given up since.
            let (left, leader) = (Some(Duration::ZERO), None);
            return Ok(Seat::Theirs { left, leader });
        };
        let left: i64 = row.get(0);
        let epoch = row.get::<_, Option<i64>>(1);
        let epoch = epoch.and_then(|epoch| u64::try_from(epoch).ok());
        let leader = match (epoch, row.get(2), row.get(3)) {
            (Some(epoch), Some(rest), Some(rpc)) if left > 0 => Some(Leader {
                epoch: Epoch(epoch),
                rest,
                rpc,
            }),
            _ => None,
        };
        let left = Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)));
        Ok(Seat::Theirs { left, leader })
    }

    async fn renew(&mut self, leader: Option<&Leader>) -> Result<bool, String> {
        let lease = milliseconds(self.timing.duration);
        self.connect().await?;
        let epoch = leader.map(|leader| i64::try_from(leader.epoch.0).unwrap_or(i64::MAX));
        let rest = leader.map(|leader| leader.rest.as_str());
        let rpc = leader.map(|leader| leader.rpc.as_str());
        let cluster = self.cluster.as_str();
        let values: [&(dyn ToSql + Sync); 6] =
            [&cluster, &self.holder, &lease, &epoch, &rest, &rpc];
        let renewed = answered(self.client().execute(RENEW, &values)).await;
        let renewed = renewed.map_err(Failure::words)? == 1;
        if renewed && leader != self.told.as_ref() {
            self.notify().await;
            self.told = leader.cloned();
        }
        Ok(renewed)
    }

    async fn resign(&mut self) -> Result<(), String> {
        self.connect().await?;
        let names: [&(dyn ToSql + Sync); 2] = [&self.cluster.as_str(), &self.holder];
        let deleted = answered(self.client().query(RESIGN, &names)).await;
        deleted.map(drop).map_err(Failure::words)
    }

    async fn changed(&mut self) {
        match &self.connection {
            Some(connection) => connection.notified().await,
            None => std::future::pending().await,
        }
    }

    fn disconnect(&mut self) {
        self.connection = None;
    }
}

impl fmt::Display for PostgresRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.database.fmt(f)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
