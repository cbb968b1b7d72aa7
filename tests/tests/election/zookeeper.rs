//! Elections by ZooKeeper.

use crate::conformance::{
    ENDLESS, LASTING, LONG, Service, campaign, candidate, conformance, elected, leader,
};
use jobmanager::election::{ClusterId, ElectionPlace, LeaseTiming, ZooKeeperPath};
use jobmanager_tests::services::zookeeper::{ZooKeeper, curator_candidate};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

const LATCH: &str = "/flink/default/leader/latch";

impl Service for ZooKeeper {
    fn port(&self) -> u16 {
        ZooKeeper::port(self)
    }

    fn place(&self, port: u16, cluster: ClusterId, timing: LeaseTiming) -> ElectionPlace {
        let (server, patience) = (self.address(port), Duration::from_secs(15));
        let path = ZooKeeperPath::new(&server, "/flink", &cluster, patience).unwrap();
        ElectionPlace::ZooKeeper(path, timing)
    }

    fn stop(&mut self) {
        ZooKeeper::stop(self);
    }

    fn start_again(&mut self) {
        ZooKeeper::start_again(self);
    }

    async fn depose(&self) {
        for name in self.children(LATCH).await {
            self.delete(&format!("{LATCH}/{name}")).await;
        }
    }
}

conformance!(ZooKeeper::start(), "needs ZooKeeper: run tests/run");

#[tokio::test]
#[ignore = "needs ZooKeeper: run tests/run"]
async fn a_session_that_ends_before_the_lease_is_refused() {
    let server = ZooKeeper::start();
    let timing = LeaseTiming {
        duration: Duration::from_secs(36_001),
        ..ENDLESS
    };
    let (refused, _) = campaign(candidate(&server, timing));
    let (_leads, _) = elected(campaign(candidate(&server, LASTING)).0).await;
    assert!(!refused.is_finished());
}

#[tokio::test]
#[ignore = "needs ZooKeeper: run tests/run"]
async fn a_candidate_of_curator_stands_for_the_same_election() {
    let server = ZooKeeper::start();
    let (mut first, _) = elected(campaign(candidate(&server, ENDLESS)).0).await;
    let (announce, announced) = watch::channel(None);
    announce.send_replace(Some(leader()));
    let mut theirs = Command::from(curator_candidate(
        &server.address(server.port()),
        LATCH,
        "theirs",
    ));
    theirs.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut theirs = theirs.kill_on_drop(true).spawn().unwrap();
    let mut ask = theirs.stdin.take().unwrap();
    let mut lines = BufReader::new(theirs.stdout.take().unwrap()).lines();
    let told = async {
        let ours = serde_json::to_string(&leader()).unwrap();
        let mut line = String::new();
        while line != format!("leader: {ours}") {
            ask.write_all(b"?").await.unwrap();
            line = lines.next_line().await.unwrap().unwrap();
            assert_ne!(line, "leads");
        }
    };
    tokio::select! {
        lost = first.keep(announced) => panic!("{lost}"),
        told = timeout(LONG, told) => told.unwrap(),
    }
    two_are_in_the_queue(&server).await;
    first.resign().await;
    let leads = async { while lines.next_line().await.unwrap().unwrap() != "leads" {} };
    timeout(LONG, leads).await.unwrap();
    let (standby, _) = campaign(candidate(&server, ENDLESS));
    two_are_in_the_queue(&server).await;
    assert!(!standby.is_finished());
    drop(ask);
    elected(standby).await;
}

async fn two_are_in_the_queue(server: &ZooKeeper) {
    let looked = async { while server.children(LATCH).await.len() < 2 {} };
    timeout(LONG, looked).await.unwrap();
}
