//! The options of elections by services that do nothing else.

use super::Shell;
#[cfg(any(feature = "etcd", feature = "kubernetes", feature = "zookeeper"))]
use super::table::CLUSTER_ID;
#[cfg(not(all(feature = "etcd", feature = "kubernetes", feature = "zookeeper")))]
use super::table::HA_TYPE;
#[cfg(feature = "etcd")]
use super::table::{ETCD_AUTHORITIES, ETCD_CERTIFICATE, ETCD_ENDPOINTS, ETCD_KEY};
#[cfg(feature = "kubernetes")]
use super::table::{KUBERNETES_CONTEXT, KUBERNETES_FILE, KUBERNETES_NAMESPACE};
#[cfg(feature = "zookeeper")]
use super::table::{ZOOKEEPER_CONNECTION, ZOOKEEPER_QUORUM, ZOOKEEPER_ROOT};
#[cfg(any(feature = "etcd", feature = "kubernetes", feature = "zookeeper"))]
use crate::election::ClusterId;
#[cfg(feature = "zookeeper")]
use crate::election::ZooKeeperPath;
use crate::election::{ElectionPlace, LeaseTiming};
#[cfg(feature = "etcd")]
use crate::election::{EtcdServers, EtcdTls};
#[cfg(feature = "kubernetes")]
use crate::election::{KubernetesAccess, KubernetesPlace};

impl Shell<'_> {
    #[cfg(not(feature = "etcd"))]
    pub(super) fn by_etcd(&self, _: LeaseTiming, problems: &mut Vec<String>) -> ElectionPlace {
        problems.push(not_built("ETCD", "etcd"));
        ElectionPlace::None
    }

    #[cfg(feature = "etcd")]
    pub(super) fn by_etcd(&self, timing: LeaseTiming, problems: &mut Vec<String>) -> ElectionPlace {
        let identity = match (self.given(ETCD_CERTIFICATE), self.given(ETCD_KEY)) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                problems.push(format!(
                    "{ETCD_CERTIFICATE}, {ETCD_KEY}: set both, or neither"
                ));
                None
            }
        };
        let tls = EtcdTls {
            authorities: self.given(ETCD_AUTHORITIES).map(Into::into),
            identity,
        };
        let servers = EtcdServers::parse(self.text(ETCD_ENDPOINTS), &tls);
        let servers =
            servers.map_err(|problem| problems.push(format!("{ETCD_ENDPOINTS}: {problem}")));
        match (servers, self.named_cluster()) {
            (Ok(servers), Some(cluster)) => ElectionPlace::Etcd(servers, cluster, timing),
            // Each has been named.
            (Err(()), _) | (_, None) => ElectionPlace::None,
        }
    }

    #[cfg(not(feature = "zookeeper"))]
    pub(super) fn by_zookeeper(&self, _: LeaseTiming, problems: &mut Vec<String>) -> ElectionPlace {
        problems.push(not_built("ZOOKEEPER", "zookeeper"));
        ElectionPlace::None
    }

    #[cfg(feature = "zookeeper")]
    pub(super) fn by_zookeeper(
        &self,
        timing: LeaseTiming,
        problems: &mut Vec<String>,
    ) -> ElectionPlace {
        let timeout = self.duration(ZOOKEEPER_CONNECTION, problems);
        let Some(cluster) = self.named_cluster() else {
            return ElectionPlace::None;
        };
        let root = self.text(ZOOKEEPER_ROOT).trim();
        let servers = self.text(ZOOKEEPER_QUORUM).trim();
        match ZooKeeperPath::new(servers, root, &cluster, timeout) {
            Ok(path) => ElectionPlace::ZooKeeper(path, timing),
            Err(problem) => {
                problems.push(format!("{ZOOKEEPER_QUORUM}, {ZOOKEEPER_ROOT}: {problem}"));
                ElectionPlace::None
            }
        }
    }

    #[cfg(not(feature = "kubernetes"))]
    pub(super) fn by_kubernetes(
        &self,
        _: LeaseTiming,
        problems: &mut Vec<String>,
    ) -> ElectionPlace {
        problems.push(not_built("KUBERNETES", "kubernetes"));
        ElectionPlace::None
    }

    #[cfg(feature = "kubernetes")]
    pub(super) fn by_kubernetes(
        &self,
        timing: LeaseTiming,
        problems: &mut Vec<String>,
    ) -> ElectionPlace {
        let Some(cluster) = self.named_cluster() else {
            return ElectionPlace::None;
        };
        match KubernetesPlace::new(self.kubernetes(), &cluster) {
            Ok(place) => ElectionPlace::Kubernetes(place, timing),
            Err(problem) => {
                problems.push(format!("{CLUSTER_ID}: {problem}"));
                ElectionPlace::None
            }
        }
    }

    /// How Kubernetes is reached.
    #[cfg(feature = "kubernetes")]
    pub(super) fn kubernetes(&self) -> KubernetesAccess {
        KubernetesAccess {
            config_file: self.given(KUBERNETES_FILE).map(Into::into),
            context: self.given(KUBERNETES_CONTEXT).map(Into::into),
            namespace: self.given(KUBERNETES_NAMESPACE).map(Into::into),
        }
    }

    #[cfg(any(feature = "etcd", feature = "kubernetes"))]
    pub(super) fn given(&self, key: &'static str) -> Option<&str> {
        Some(self.text(key).trim()).filter(|text| !text.is_empty())
    }

    /// The name of the cluster. One that is wrong has been reported with the store's options.
    #[cfg(any(feature = "etcd", feature = "kubernetes", feature = "zookeeper"))]
    pub(super) fn named_cluster(&self) -> Option<ClusterId> {
        ClusterId::new(self.text(CLUSTER_ID))
    }
}

#[cfg(not(all(feature = "etcd", feature = "kubernetes", feature = "zookeeper")))]
fn not_built(kind: &str, feature: &str) -> String {
    format!(
        "{HA_TYPE}: this JobManager was built without {kind}; build it with `--features {feature}`"
    )
}
