//! Elections by etcd.

use crate::conformance::{
    ENDLESS, LASTING, LONG, Service, campaign, candidate, conformance, elected, leader, until,
};
use jobmanager::election::{ClusterId, Election, ElectionPlace, EtcdServers, EtcdTls, LeaseTiming};
use jobmanager_tests::services::etcd::Etcd;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

impl Service for Etcd {
    fn port(&self) -> u16 {
        Etcd::port(self)
    }

    fn place(&self, port: u16, cluster: ClusterId, timing: LeaseTiming) -> ElectionPlace {
        let servers = EtcdServers::parse(&self.url(port), &EtcdTls::default()).unwrap();
        ElectionPlace::Etcd(servers, cluster, timing)
    }

    fn stop(&mut self) {
        Etcd::stop(self);
    }

    fn start_again(&mut self) {
        Etcd::start_again(self);
    }

    async fn depose(&self) {
        self.delete_all();
    }
}

conformance!(Etcd::start(), "needs etcd: run tests/run");

#[tokio::test]
#[ignore = "needs etcd: run tests/run"]
async fn a_server_that_is_not_there_is_passed_over() {
    let server = Etcd::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = nobody.local_addr().unwrap().port();
    drop(nobody);
    let urls = format!("{},{}", server.url(gone), server.url(server.port()));
    let servers = EtcdServers::parse(&urls, &EtcdTls::default()).unwrap();
    elected(campaign(open(servers)).0).await;
}

#[tokio::test]
#[ignore = "needs etcd: run tests/run"]
async fn the_tool_of_etcd_tells_who_leads_and_can_stand_for_election_itself() {
    let server = Etcd::start();
    let (mut first, _) = elected(campaign(candidate(&server, ENDLESS)).0).await;
    let (announce, announced) = watch::channel(None);
    announce.send_replace(Some(leader()));
    let etcdctl = |arguments: &[&str]| {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &server.url(server.port()), "elect"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        (process, lines)
    };
    let (_listens, mut heard) = etcdctl(&["--listen", "jobmanager/default/leader"]);
    let (_stands, mut stood) = etcdctl(&["jobmanager/default/leader", "theirs"]);
    let told = async {
        let value = serde_json::to_string(&leader()).unwrap();
        while heard.next_line().await.unwrap().unwrap() != value {}
    };
    tokio::select! {
        lost = first.keep(announced) => panic!("{lost}"),
        told = timeout(LONG, told) => told.unwrap(),
    }
    first.resign().await;
    let elected = async { while stood.next_line().await.unwrap().unwrap() != "theirs" {} };
    timeout(LONG, elected).await.unwrap();
    let (standby, _) = campaign(candidate(&server, ENDLESS));
    until("it has entered the queue", || server.count_keys() == 2).await;
    assert!(!standby.is_finished());
}

#[tokio::test]
#[ignore = "needs etcd: run tests/run"]
async fn with_tls_each_side_shows_who_it_is() {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(parameters, key).unwrap();
    let signed = |authority: &CertifiedIssuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let parameters = CertificateParams::new(names).unwrap();
        let certificate = parameters.signed_by(&key, authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (certificate, key) = signed(&authority);
    let server = Etcd::start_with_tls(&authority.pem(), &certificate, &key);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = signed(&authority);
    let identity = (file("our.pem", &certificate), file("our.key", &key));
    let authorities = Some(file("ca.pem", &authority.pem()));
    let url = server.url(server.port());
    let servers = |identity| {
        let tls = EtcdTls {
            authorities: authorities.clone(),
            identity,
        };
        EtcdServers::parse(&url, &tls).unwrap()
    };
    let nobody = campaign(open(servers(None))).0;
    let (_first, lease) = elected(campaign(open(servers(Some(identity)))).0).await;
    assert!(lease.is_valid());
    assert!(!nobody.is_finished());
}

fn open(servers: EtcdServers) -> Election {
    let cluster = ClusterId::new("/default").unwrap();
    Election::open(ElectionPlace::Etcd(servers, cluster, LASTING)).unwrap()
}
