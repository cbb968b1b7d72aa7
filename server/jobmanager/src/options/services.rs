//! The options of elections by services that do nothing else.

use super::Shell;
#[cfg(not(feature = "etcd"))]
use super::table::HA_TYPE;
#[cfg(feature = "etcd")]
use super::table::{CLUSTER_ID, ETCD_AUTHORITIES, ETCD_CERTIFICATE, ETCD_ENDPOINTS, ETCD_KEY};
#[cfg(feature = "etcd")]
use crate::election::{ClusterId, EtcdServers, EtcdTls};
use crate::election::{ElectionPlace, LeaseTiming};

impl Shell<'_> {
    #[cfg(not(feature = "etcd"))]
    pub(super) fn by_etcd(&self, _: LeaseTiming, problems: &mut Vec<String>) -> ElectionPlace {
        problems.push(not_built("ETCD", "etcd"));
        ElectionPlace::None
    }

    #[cfg(feature = "etcd")]
    pub(super) fn by_etcd(&self, timing: LeaseTiming, problems: &mut Vec<String>) -> ElectionPlace {
        let file = |key| Some(self.text(key).trim()).filter(|path| !path.is_empty());
        let identity = match (file(ETCD_CERTIFICATE), file(ETCD_KEY)) {
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
            authorities: file(ETCD_AUTHORITIES).map(Into::into),
            identity,
        };
        let servers = EtcdServers::parse(self.text(ETCD_ENDPOINTS), &tls);
        let servers =
            servers.map_err(|problem| problems.push(format!("{ETCD_ENDPOINTS}: {problem}")));
        match (servers, ClusterId::new(self.text(CLUSTER_ID))) {
            (Ok(servers), Some(cluster)) => ElectionPlace::Etcd(servers, cluster, timing),
            // Each has been named.
            (Err(()), _) | (_, None) => ElectionPlace::None,
        }
    }
}

#[cfg(not(feature = "etcd"))]
fn not_built(kind: &str, feature: &str) -> String {
    format!(
        "{HA_TYPE}: this JobManager was built without {kind}; build it with `--features {feature}`"
    )
}
