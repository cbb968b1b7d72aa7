//! With records in a database or in object storage, and elections by services: what only a lease can do.

use super::*;
use jobmanager_tests::services::etcd::Etcd;
use jobmanager_tests::services::kubernetes::Kubernetes;
use jobmanager_tests::services::objects::{Kind, ObjectServer};
use jobmanager_tests::services::postgres::Postgres;
use jobmanager_tests::services::zookeeper::ZooKeeper;

/// What runs for a pair: where its records are, and what elects the leader unless the database or a lock does.
pub(super) struct Services {
    records: Records,
    elects: Option<Box<dyn Elects>>,
}

enum Records {
    Database(Postgres),
    Bucket(ObjectServer),
}

/// A service that can be away.
trait Elects {
    fn stop(&mut self);
    fn start_again(&mut self);
}

impl Elects for Etcd {
    fn stop(&mut self) {
        Etcd::stop(self);
    }

    fn start_again(&mut self) {
        Etcd::start_again(self);
    }
}

impl Elects for Kubernetes {
    fn stop(&mut self) {
        Kubernetes::stop(self);
    }

    fn start_again(&mut self) {
        Kubernetes::start_again(self);
    }
}

impl Elects for ZooKeeper {
    fn stop(&mut self) {
        ZooKeeper::stop(self);
    }

    fn start_again(&mut self) {
        ZooKeeper::start_again(self);
    }
}

fn shared(name: &'static str, options: &[&str], elects: Option<Box<dyn Elects>>) -> Shared {
    let database = Postgres::start();
    let store = format!("-Djobmanager.store={}", database.url(""));
    let kind = format!("-Dhigh-availability.type={name}");
    let options = options.iter().map(|option| format!("-D{option}"));
    Shared {
        name,
        options: [store, kind].into_iter().chain(options).collect(),
        checkpoints: None,
        environment: Vec::new(),
        services: Some(Services {
            records: Records::Database(database),
            elects,
        }),
    }
}

fn by_folder_with_a_bucket(kind: Kind) -> Shared {
    let server = ObjectServer::start(kind);
    let options = [
        format!("jobmanager.store={}/metadata", server.url()),
        "high-availability.type=FILE_LOCK".to_owned(),
        "execution.checkpointing.data-inline-threshold=0 b".to_owned(),
    ];
    Shared {
        name: "FILE_LOCK, with a bucket",
        options: options.map(|option| format!("-D{option}")).to_vec(),
        checkpoints: Some(format!("{}/checkpoints", server.url())),
        environment: server.environment(server.port()),
        services: Some(Services {
            records: Records::Bucket(server),
            elects: None,
        }),
    }
}

fn by_postgres() -> Shared {
    shared("POSTGRES", &[], None)
}

fn by_etcd() -> Shared {
    let etcd = Etcd::start();
    let servers = format!("high-availability.etcd.endpoints={}", etcd.url(etcd.port()));
    shared("ETCD", &[&servers], Some(Box::new(etcd)))
}

fn by_kubernetes() -> Shared {
    let kubernetes = Kubernetes::start();
    let file = kubernetes.config_file(kubernetes.port());
    let access = format!("kubernetes.config.file={}", file.display());
    shared("KUBERNETES", &[&access], Some(Box::new(kubernetes)))
}

fn by_zookeeper() -> Shared {
    let zookeeper = ZooKeeper::start();
    let server = zookeeper.address(zookeeper.port());
    let quorum = format!("high-availability.zookeeper.quorum={server}");
    shared("ZOOKEEPER", &[&quorum], Some(Box::new(zookeeper)))
}

fn services(pair: &mut Pair) -> &mut Services {
    let services = pair.shared.services.as_mut();
    services.expect("it was given some")
}

fn database(pair: &mut Pair) -> &Postgres {
    match &services(pair).records {
        Records::Database(database) => database,
        Records::Bucket(server) => panic!("{} is no database", server.url()),
    }
}

fn a_leader_that_sleeps_beyond_its_lease_stands_by(shared: Shared) {
    let pair = hand_over(
        shared,
        "SIGSTOP",
        |pair, leader| pair.members[leader].process.signal(Signal::Stop),
        |pair, asleep| pair.members[asleep].process.signal(Signal::Continue),
    );
    let logs = pair.members.iter().map(|one| one.process.output());
    let stood_by = logs.map(|log| log.matches("leading no more; standing by").count() as u64);
    assert_eq!(stood_by.sum::<u64>(), hand_overs());
}

fn nobody_leads_without_the_election_and_one_does_when_it_is_back(shared: Shared) {
    let mut pair = Pair::start(shared);
    let election = |pair: &mut Pair, there: bool| match &mut services(pair).elects {
        Some(service) if there => service.start_again(),
        Some(service) => service.stop(),
        None if there => database(pair).start_again(),
        None => database(pair).stop(),
    };
    election(&mut pair, false);
    wait_for("nobody to lead", || {
        (0..2).all(|number| !pair.leads(number)).then_some(())
    });
    election(&mut pair, true);
    let leader = pair.leader();
    pair.assert_goes_on(leader);
    pair.finish(leader);
}

/// Makes the tests of this module for one kind of election.
macro_rules! tests {
    ($shared:expr, $reason:literal) => {
        #[test]
        #[ignore = $reason]
        fn a_killed_leader_is_followed_by_the_standby_and_no_task_restarts() {
            a_killed_leader_is_followed_by_the_standby($shared);
        }

        #[test]
        #[ignore = $reason]
        fn a_leader_that_is_asked_to_end_hands_over_and_no_task_restarts() {
            a_leader_that_is_asked_to_end_hands_over($shared);
        }

        #[test]
        #[ignore = $reason]
        fn a_leader_that_sleeps_beyond_its_lease_stands_by_when_it_wakes_up_and_does_no_harm() {
            a_leader_that_sleeps_beyond_its_lease_stands_by($shared);
        }

        #[test]
        #[ignore = $reason]
        fn nobody_leads_without_the_election_and_one_does_when_it_is_back() {
            super::nobody_leads_without_the_election_and_one_does_when_it_is_back($shared);
        }
    };
}

mod postgres {
    //! Elections by the database of the records.

    use super::*;

    tests!(by_postgres(), "needs PostgreSQL: run tests/run");

    #[test]
    #[ignore = "needs PostgreSQL: run tests/run"]
    fn a_leader_that_finds_a_later_epoch_stands_by_and_one_of_the_two_leads_again() {
        let mut pair = Pair::start(by_postgres());
        let first = pair.leader();
        database(&mut pair).sql("UPDATE jobmanager.epochs SET epoch = epoch + 1");
        wait_for("the leader to stand by", || {
            let log = pair.members[first].process.output();
            log.contains("leading no more; standing by").then_some(())
        });
        let next = pair.leader();
        pair.assert_goes_on(next);
        pair.finish(next);
    }
}

mod bucket {
    //! With the records in object storage, and the election by a lock.

    use super::*;

    #[test]
    #[ignore = "needs moto: run tests/run"]
    fn a_killed_leader_is_followed_by_the_standby_that_finds_it_all_in_s3() {
        a_killed_leader_is_followed_by_the_standby(by_folder_with_a_bucket(Kind::Moto));
    }

    #[test]
    #[ignore = "needs Azurite: run tests/run"]
    fn a_killed_leader_is_followed_by_the_standby_that_finds_it_all_in_azure() {
        a_killed_leader_is_followed_by_the_standby(by_folder_with_a_bucket(Kind::Azurite));
    }
}

mod etcd {
    //! Elections by etcd.

    use super::*;

    tests!(by_etcd(), "needs PostgreSQL and etcd: run tests/run");
}

mod kubernetes {
    //! Elections by Kubernetes.

    use super::*;

    tests!(
        by_kubernetes(),
        "needs PostgreSQL and Kubernetes: run tests/run"
    );
}

mod zookeeper {
    //! Elections by ZooKeeper.

    use super::*;

    tests!(
        by_zookeeper(),
        "needs PostgreSQL and ZooKeeper: run tests/run"
    );
}
