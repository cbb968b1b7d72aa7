//! The options of the metadata store and of the leader election, and what they need of each other.

use super::table::{
    CHECKPOINT_DIR, CLUSTER_ID, DATA_DIR, HA_TYPE, LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD,
    STORE, ZOOKEEPER_SESSION,
};
use super::{Listen, Shell};
use crate::election::{ClusterId, ElectionPlace, LeaseTiming};
use crate::objects::is_bucket;
use crate::store::StorePlace;
use std::net::IpAddr;
use std::path::Path;

impl Shell<'_> {
    /// Where the metadata is; in the data folder if that is wrong.
    pub(super) fn store(&self, data_dir: &Path, problems: &mut Vec<String>) -> StorePlace {
        let cluster = self.cluster(problems);
        let folder = StorePlace::Folder(data_dir.to_owned());
        let url = self.text(STORE).trim();
        if url.is_empty() {
            return folder;
        }
        let is_database = url.starts_with("postgres://") || url.starts_with("postgresql://");
        if !is_database && !is_bucket(url) {
            problems.push(format!(
                "{STORE}: not a URL of a kind that is known; a PostgreSQL database is named \
                 postgres://USER@HOST:PORT/NAME, a prefix in object storage s3://BUCKET/PREFIX, \
                 azure://CONTAINER/PREFIX or gs://BUCKET/PREFIX, and a folder with {DATA_DIR} (--data-dir)"
            ));
            return folder;
        }
        // The default is a folder of this machine, or of this process.
        if self
            .map
            .get(CHECKPOINT_DIR)
            .is_none_or(|url| url.trim().is_empty())
        {
            problems.push(format!(
                "{CHECKPOINT_DIR}: has to be set, since every JobManager that uses the store has to find \
                 the same checkpoints (--checkpoint-dir)"
            ));
        }
        let place = match is_database {
            true => self.database(url, cluster, problems),
            false => bucket(url, cluster, problems),
        };
        place.unwrap_or(folder)
    }

    #[cfg(feature = "postgres")]
    fn database(
        &self,
        url: &str,
        cluster: Option<ClusterId>,
        problems: &mut Vec<String>,
    ) -> Option<StorePlace> {
        match crate::postgres::Database::parse(url) {
            Ok(database) => Some(StorePlace::Postgres(database, cluster?)),
            Err(problem) => {
                problems.push(format!("{STORE}: {problem}"));
                None
            }
        }
    }

    #[cfg(not(feature = "postgres"))]
    fn database(
        &self,
        _url: &str,
        _cluster: Option<ClusterId>,
        problems: &mut Vec<String>,
    ) -> Option<StorePlace> {
        problems.push(format!(
            "{STORE}: this JobManager was built without PostgreSQL; build it with `--features postgres`"
        ));
        None
    }

    fn cluster(&self, problems: &mut Vec<String>) -> Option<ClusterId> {
        let cluster = ClusterId::new(self.text(CLUSTER_ID));
        if cluster.is_none() {
            problems.push(format!(
                "{CLUSTER_ID}: 1 to {} characters are expected, not only slashes, and no control characters",
                ClusterId::MAX
            ));
        }
        cluster
    }

    /// How a leader is elected; not at all if that is wrong.
    pub(super) fn election(
        &self,
        store: &StorePlace,
        data_dir: &Path,
        problems: &mut Vec<String>,
    ) -> ElectionPlace {
        let kind = self
            .text(HA_TYPE)
            .trim()
            .to_ascii_uppercase()
            .replace('-', "_");
        let has_session = kind == "ZOOKEEPER" && !self.text(ZOOKEEPER_SESSION).trim().is_empty();
        let duration = match has_session {
            true => ZOOKEEPER_SESSION,
            false => LEASE_DURATION,
        };
        let timing = self.lease_timing(duration, problems);
        match kind.as_str() {
            "NONE" => ElectionPlace::None,
            "FILE_LOCK" => ElectionPlace::Folder(data_dir.to_owned()),
            "POSTGRES" => self.by_database(store, timing, problems),
            "ETCD" => {
                self.need_shared_store("ETCD", store, problems);
                self.by_etcd(timing, problems)
            }
            "ZOOKEEPER" => {
                self.need_shared_store("ZOOKEEPER", store, problems);
                self.by_zookeeper(timing, problems)
            }
            "KUBERNETES" => {
                self.need_shared_store("KUBERNETES", store, problems);
                self.by_kubernetes(timing, problems)
            }
            _ => {
                let text = self.text(HA_TYPE).escape_debug();
                problems.push(format!(
                    "{HA_TYPE}: `{text}` is not offered; NONE, FILE_LOCK, POSTGRES, ETCD, ZOOKEEPER \
                     or KUBERNETES is expected"
                ));
                ElectionPlace::None
            }
        }
    }

    /// One machine's folder is another one on each machine, and is locked by a leader that stands still.
    fn need_shared_store(&self, kind: &str, store: &StorePlace, problems: &mut Vec<String>) {
        // One that is wrong has been named already.
        if matches!(store, StorePlace::Folder(_)) && self.text(STORE).trim().is_empty() {
            problems.push(format!(
                "{HA_TYPE}: {kind} elects one of several JobManagers that share a database or a bucket; name one \
                 with {STORE} (--store), or use FILE_LOCK on a single machine"
            ));
        }
    }

    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "there is no lease without a database")
    )]
    fn by_database(
        &self,
        store: &StorePlace,
        timing: LeaseTiming,
        problems: &mut Vec<String>,
    ) -> ElectionPlace {
        match store {
            #[cfg(feature = "postgres")]
            StorePlace::Postgres(database, cluster) => {
                ElectionPlace::Postgres(database.clone(), cluster.clone(), timing)
            }
            #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
            StorePlace::Bucket(_, _) => {
                problems.push(format!(
                    "{HA_TYPE}: POSTGRES elects by the database of the store, and {STORE} names a bucket; use \
                     ETCD, ZOOKEEPER or KUBERNETES, or FILE_LOCK on a single machine"
                ));
                ElectionPlace::None
            }
            StorePlace::Folder(_) => {
                // One that is wrong has been named already.
                if self.text(STORE).trim().is_empty() {
                    problems.push(format!(
                        "{HA_TYPE}: POSTGRES elects by the database of the store; name one with {STORE} \
                         (--store)"
                    ));
                }
                ElectionPlace::None
            }
        }
    }

    /// The times of a lease whose duration is the option of this key.
    fn lease_timing(&self, duration: &'static str, problems: &mut Vec<String>) -> LeaseTiming {
        let known = problems.len();
        let timing = LeaseTiming {
            duration: self.duration(duration, problems),
            renew_deadline: self.duration(RENEW_DEADLINE, problems),
            retry_period: self.duration(RETRY_PERIOD, problems),
        };
        let rising = !timing.retry_period.is_zero()
            && timing.retry_period < timing.renew_deadline
            && timing.renew_deadline < timing.duration;
        if problems.len() == known && !rising {
            problems.push(format!(
                "{RENEW_DEADLINE}: has to be longer than {RETRY_PERIOD}, which is not 0, and shorter than \
                 {duration}"
            ));
        }
        timing
    }
}

#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
fn bucket(url: &str, cluster: Option<ClusterId>, problems: &mut Vec<String>) -> Option<StorePlace> {
    match crate::objects::Bucket::open(url, taskmanager::objects::options()) {
        Ok(bucket) => Some(StorePlace::Bucket(bucket, cluster?)),
        Err(problem) => {
            problems.push(format!("{STORE}: {problem}"));
            None
        }
    }
}

#[cfg(not(any(feature = "azure", feature = "gcs", feature = "s3")))]
fn bucket(_: &str, _: Option<ClusterId>, problems: &mut Vec<String>) -> Option<StorePlace> {
    problems.push(format!(
        "{STORE}: this JobManager was built without object storage; build it with `--features s3`, \
         `azure` or `gcs`"
    ));
    None
}

/// What is wrong with an address to which standbys are to send others.
pub(super) fn unreachable((listen, key): (&Listen, &str)) -> Option<String> {
    let ip: Option<IpAddr> = listen.host.parse().ok();
    let is_everywhere = ip.is_some_and(|ip| ip.is_unspecified());
    (is_everywhere && listen.reached_by.is_none()).then(|| {
        format!(
            "{key}: has to be set to the name by which others reach this machine, because {} is every address \
             of it and standbys send others to the leader",
            listen.host
        )
    })
}
