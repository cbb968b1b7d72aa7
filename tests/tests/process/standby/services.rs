//! With records in a database, and elections by services: what only a lease can do.

use super::*;
use jobmanager_tests::services::etcd::Etcd;
use jobmanager_tests::services::kubernetes::Kubernetes;
use jobmanager_tests::services::postgres::Postgres;
use jobmanager_tests::services::zookeeper::ZooKeeper;

/// What runs for a pair: the database of its records, and what elects the leader unless the database does.
pub(super) struct Services {
    database: Postgres,
    elects: Option<Box<dyn Elects>>,
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
        services: Some(Services { database, elects }),
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
        None if there => services(pair).database.start_again(),
        None => services(pair).database.stop(),
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
        let database = &services(&mut pair).database;
        database.sql("UPDATE jobmanager.epochs SET epoch = epoch + 1");
        wait_for("the leader to stand by", || {
            let log = pair.members[first].process.output();
            log.contains("leading no more; standing by").then_some(())
        });
        let next = pair.leader();
        pair.assert_goes_on(next);
        pair.finish(next);
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
