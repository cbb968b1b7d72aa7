//! Elections by Kubernetes.

use crate::conformance::{
    ENDLESS, SHORT, Service, campaign, candidate, conformance, elected, leader, until,
};
use jobmanager::election::{
    ClusterId, ElectionPlace, KubernetesAccess, KubernetesPlace, LeaseTiming,
};
use jobmanager_tests::services::kubernetes::Kubernetes;
use serde_json::Value;
use std::time::Instant;
use tokio::sync::watch;

impl Service for Kubernetes {
    fn port(&self) -> u16 {
        Kubernetes::port(self)
    }

    fn place(&self, port: u16, cluster: ClusterId, timing: LeaseTiming) -> ElectionPlace {
        let access = KubernetesAccess {
            config_file: Some(self.config_file(port)),
            ..KubernetesAccess::default()
        };
        let place = KubernetesPlace::new(access, &cluster).unwrap();
        ElectionPlace::Kubernetes(place, timing)
    }

    fn stop(&mut self) {
        Kubernetes::stop(self);
    }

    fn start_again(&mut self) {
        Kubernetes::start_again(self);
    }

    async fn depose(&self) {
        let patch = r#"{"spec": {"holderIdentity": "another one"}}"#;
        self.kubectl(&[
            "patch",
            "lease",
            "jobmanager.default",
            "--type=merge",
            "-p",
            patch,
        ]);
    }
}

conformance!(Kubernetes::start(), "needs Kubernetes: run tests/run");

/// The Lease as `kubectl` shows it.
fn lease_of(server: &Kubernetes) -> Value {
    let shown = server.kubectl(&["get", "lease", "jobmanager.default", "-o", "json"]);
    serde_json::from_str(&shown).unwrap()
}

#[tokio::test]
#[ignore = "needs Kubernetes: run tests/run"]
async fn kubectl_tells_who_leads_and_since_when() {
    let server = Kubernetes::start();
    let (mut first, _) = elected(campaign(candidate(&server, ENDLESS)).0).await;
    let shown = lease_of(&server);
    let holder = shown["spec"]["holderIdentity"].as_str().unwrap().to_owned();
    assert_eq!(shown["spec"]["leaseDurationSeconds"], 3_600);
    assert_eq!(shown["spec"]["leaseTransitions"], 0);
    assert_eq!(shown["spec"]["acquireTime"], shown["spec"]["renewTime"]);
    let table = server.kubectl(&["get", "lease"]);
    assert!(table.contains(&holder), "{table}");

    let (announce, announced) = watch::channel(Some(leader()));
    let renewed = async {
        let value = serde_json::to_string(&leader()).unwrap();
        until("the address is there", || {
            lease_of(&server)["metadata"]["annotations"]["jobmanager/leader"] == *value
        })
        .await;
    };
    tokio::select! {
        lost = first.keep(announced) => panic!("{lost}"),
        () = renewed => {}
    }
    drop(announce);
    let renewed = lease_of(&server);
    assert_eq!(renewed["spec"]["acquireTime"], shown["spec"]["acquireTime"]);

    first.resign().await;
    let free = lease_of(&server);
    assert_eq!(free["spec"]["holderIdentity"], Value::Null);
    assert_eq!(free["metadata"]["annotations"], Value::Null);
    let _second = elected(campaign(candidate(&server, ENDLESS)).0).await;
    let taken = lease_of(&server);
    assert_eq!(taken["spec"]["leaseTransitions"], 1);
    assert_ne!(taken["spec"]["holderIdentity"], *holder);
}

/// client-go writes no annotation of ours, and its leader's clock may be anything.
#[tokio::test]
#[ignore = "needs Kubernetes: run tests/run"]
async fn a_lease_of_somebody_elses_is_respected_for_as_long_as_it_says() {
    let server = Kubernetes::start();
    let theirs = r#"{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "jobmanager.default"},
        "spec": {"holderIdentity": "theirs", "leaseDurationSeconds": 3, "leaseTransitions": 4,
            "acquireTime": "2001-01-01T00:00:00.000000Z", "renewTime": "2001-01-01T00:00:00.000000Z"}}"#;
    let file = server
        .config_file(server.port())
        .with_file_name("lease.json");
    std::fs::write(&file, theirs).unwrap();
    server.kubectl(&["create", "-f", file.to_str().unwrap()]);
    let seen = Instant::now();
    let _ours = elected(campaign(candidate(&server, SHORT)).0).await;
    assert!(seen.elapsed().as_secs() >= 3, "{:?}", seen.elapsed());
    assert_eq!(lease_of(&server)["spec"]["leaseTransitions"], 5);
}
