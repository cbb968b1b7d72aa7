//! Election by a row in a PostgreSQL database. Whoever finds it absent or expired takes it; the clock that
//! counts is the server's. The holder renews it, and leads only for as long after its last renewal as nobody
//! else can find it expired, by its own monotonic clock.
//!
//! Who gives the row up, or has something new in it, tells the others at once by a notification. If that is
//! lost, they find out when they look again.

use super::{ClusterId, KnownLeader, Leader, Lease, LeaseTiming, Lost, tell};
use crate::postgres::{Connection, Database, Failure, SchemaProblem, answered};
use jobmanager_core::id::Epoch;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use tracing::{info, warn};

/// How long resigning may take: the process ends, and the lease does so by itself.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest wait before the row is looked at again.
const LEAST_WAIT: Duration = Duration::from_millis(1);

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
pub struct PostgresElection {
    database: Database,
    cluster: ClusterId,
    timing: LeaseTiming,
    /// Who this is: another one for every life of the process.
    holder: String,
    connection: Option<Connection>,
    /// Moves the end of the lease that was won.
    end: watch::Sender<Instant>,
    last_problem: String,
}

/// What a look at the row has shown.
enum Row {
    Ours,
    Theirs {
        left: Duration,
        leader: Option<Leader>,
    },
}

impl PostgresElection {
    /// A candidate in a cluster's election.
    #[must_use]
    pub fn new(database: Database, cluster: ClusterId, timing: LeaseTiming) -> PostgresElection {
        let random = || RandomState::new().hash_one(std::process::id());
        PostgresElection {
            database,
            cluster,
            timing,
            holder: format!("{:016x}{:016x}", random(), random()),
            connection: None,
            end: watch::Sender::new(Instant::now()),
            last_problem: String::new(),
        }
    }

    pub(super) async fn campaign(&mut self, known: &KnownLeader) -> Lease {
        loop {
            let asked = Instant::now();
            let wait = match self.take().await {
                Ok(Row::Ours) => {
                    self.works();
                    tell(known, None);
                    self.end = watch::Sender::new(asked + self.timing.renew_deadline);
                    return Lease::until(self.end.subscribe());
                }
                Ok(Row::Theirs { left, leader }) => {
                    self.works();
                    tell(known, leader);
                    left.clamp(LEAST_WAIT, self.timing.retry_period)
                }
                Err(problem) => {
                    self.connection = None;
                    self.fails(problem);
                    tell(known, None);
                    self.timing.retry_period
                }
            };
            self.told_or(wait).await;
        }
    }

    pub(super) async fn keep(&mut self, mut announced: watch::Receiver<Option<Leader>>) -> Lost {
        let mut told = None;
        loop {
            let leader = announced.borrow_and_update().clone();
            let (asked, end) = (Instant::now(), *self.end.borrow());
            // A connection on which nothing comes back has to be given up in time for another one.
            let patience = end.saturating_duration_since(asked) / 2;
            if patience < LEAST_WAIT {
                return Lost::Expired;
            }
            match timeout(patience, self.renew(leader.as_ref())).await {
                Ok(Ok(true)) => {
                    self.works();
                    self.end.send_replace(asked + self.timing.renew_deadline);
                    if leader != told {
                        self.notify().await;
                        told = leader;
                    }
                }
                Ok(Ok(false)) => return Lost::Taken,
                Ok(Err(problem)) => {
                    self.connection = None;
                    self.fails(problem);
                }
                Err(_) => {
                    self.connection = None;
                    self.fails(format!("no answer within {} ms", patience.as_millis()));
                }
            }
            let pause = sleep(self.timing.retry_period.min(patience));
            tokio::select! {
                Ok(()) = announced.changed() => {}
                () = pause => {}
            }
        }
    }

    pub(super) async fn resign(&mut self) {
        let resigned = timeout(RESIGN_TIMEOUT, async {
            self.connect().await?;
            let names: [&(dyn ToSql + Sync); 2] = [&self.cluster.as_str(), &self.holder];
            let deleted = self.client().query(RESIGN, &names);
            answered(deleted).await.map_err(Failure::words)
        });
        match resigned.await {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => info!(problem, "the lease was not given up; it ends by itself"),
            Err(_) => info!("the lease was not given up in time; it ends by itself"),
        }
    }

    async fn take(&mut self) -> Result<Row, String> {
        let lease = milliseconds(self.timing.duration);
        self.connect().await?;
        let (client, cluster) = (self.client(), self.cluster.as_str());
        let values: [&(dyn ToSql + Sync); 3] = [&cluster, &self.holder, &lease];
        let taken = answered(client.execute(TAKE, &values)).await;
        if taken.map_err(Failure::words)? == 1 {
            return Ok(Row::Ours);
        }
        let row = answered(client.query_opt(LOOK, &[&cluster])).await;
        let Some(row) = row.map_err(Failure::words)? else {
            // Given up since.
            let (left, leader) = (Duration::ZERO, None);
            return Ok(Row::Theirs { left, leader });
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
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        Ok(Row::Theirs { left, leader })
    }

    /// Whether the row is still ours.
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
        Ok(renewed.map_err(Failure::words)? == 1)
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

    /// Waits for a notification, at most this long.
    async fn told_or(&self, wait: Duration) {
        let told = async {
            match &self.connection {
                Some(connection) => connection.notified().await,
                None => std::future::pending().await,
            }
        };
        // Either way it is time to look.
        let _ = timeout(wait, told).await;
    }

    fn works(&mut self) {
        if !self.last_problem.is_empty() {
            info!(database = %self.database, "the election goes on");
            self.last_problem.clear();
        }
    }

    /// Every try fails alike while the server is away: said once.
    fn fails(&mut self, problem: String) {
        if problem != self.last_problem {
            warn!(database = %self.database, problem, "the election is held up");
            self.last_problem = problem;
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
