//! Elections by a database: who leads when connections break, answers stay out and leaders go away. A lease of
//! one leader is over before the next one is elected.
#![cfg(feature = "services")]
#![allow(clippy::unwrap_used)]

use jobmanager::election::{
    ClusterId, Election, ElectionPlace, KnownLeader, Leader, Lease, LeaseTiming, Lost,
};
use jobmanager::postgres::Database;
use jobmanager_core::id::Epoch;
use jobmanager_tests::services::postgres::Postgres;
use jobmanager_tests::services::proxy::{Fault, Proxy};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far more than anything here takes; only a test that fails waits for so long.
const LONG: Duration = Duration::from_secs(20);
/// A lease that ends within a test, and can be renewed before that on a machine that is busy.
const SHORT: LeaseTiming = LeaseTiming {
    duration: Duration::from_millis(2_500),
    renew_deadline: Duration::from_millis(2_000),
    retry_period: Duration::from_millis(100),
};
/// One that is renewed as often, and does not end within a test.
const LASTING: LeaseTiming = LeaseTiming {
    duration: Duration::from_secs(60),
    renew_deadline: Duration::from_secs(50),
    retry_period: Duration::from_millis(100),
};
/// One that does not; nobody looks again within a test who is not told to.
const ENDLESS: LeaseTiming = LeaseTiming {
    duration: Duration::from_secs(3_600),
    renew_deadline: Duration::from_secs(3_000),
    retry_period: Duration::from_secs(1_000),
};

fn candidate(url: &str, timing: LeaseTiming) -> Election {
    let database = Database::parse(url).unwrap();
    let cluster = ClusterId::new("/default").unwrap();
    Election::open(ElectionPlace::Postgres(database, cluster, timing)).unwrap()
}

/// Stands for election in the background, until elected.
fn campaign(
    mut election: Election,
) -> (
    JoinHandle<(Election, Lease)>,
    watch::Receiver<Option<Leader>>,
) {
    let known: KnownLeader = watch::Sender::new(None);
    let seen = known.subscribe();
    let elected = tokio::spawn(async move {
        let lease = election.campaign(&known).await;
        (election, lease)
    });
    (elected, seen)
}

async fn elected(campaign: JoinHandle<(Election, Lease)>) -> (Election, Lease) {
    timeout(LONG, campaign).await.unwrap().unwrap()
}

/// Keeps a lease in the background, until it is lost.
fn keep(mut election: Election) -> JoinHandle<Lost> {
    tokio::spawn(async move {
        let (_announce, announced) = watch::channel(None);
        election.keep(announced).await
    })
}

/// Looks until it is so.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let looked = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = timeout(LONG, looked).await;
    assert!(seen.is_ok(), "waited in vain: {what}");
}

fn leader() -> Leader {
    Leader {
        epoch: Epoch(7),
        rest: "here:1".to_owned(),
        rpc: "here:2".to_owned(),
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn of_many_candidates_one_leads_at_a_time_and_each_in_its_turn() {
    let server = Postgres::start();
    let leading = Arc::new(AtomicUsize::new(0));
    let candidates: Vec<_> = (0..5)
        .map(|_| {
            let mut election = candidate(&server.url(""), ENDLESS);
            let leading = Arc::clone(&leading);
            tokio::spawn(async move {
                let known = watch::Sender::new(None);
                for _ in 0..4 {
                    assert!(election.campaign(&known).await.is_valid());
                    assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two lead");
                    tokio::task::yield_now().await;
                    leading.fetch_sub(1, Ordering::SeqCst);
                    election.resign().await;
                }
            })
        })
        .collect();
    for candidate in candidates {
        timeout(LONG, candidate).await.unwrap().unwrap();
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn whoever_stands_by_knows_at_once_where_the_leader_answers_and_when_it_resigns() {
    let server = Postgres::start();
    let (mut first, _) = elected(campaign(candidate(&server.url(""), ENDLESS)).0).await;
    let (standby, mut seen) = campaign(candidate(&server.url(""), ENDLESS));
    let (announce, announced) = watch::channel(None);
    let told = async {
        announce.send_replace(Some(leader()));
        let known = timeout(LONG, seen.wait_for(Option::is_some)).await;
        assert_eq!(*known.unwrap().unwrap(), Some(leader()));
    };
    tokio::select! {
        lost = first.keep(announced) => panic!("{lost}"),
        () = told => {}
    }
    first.resign().await;
    let (_second, lease) = elected(standby).await;
    assert!(lease.is_valid());
    assert_eq!(*seen.borrow(), None);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_leader_that_stands_still_is_followed_when_its_lease_is_over_and_not_before() {
    let server = Postgres::start();
    let asked = Instant::now();
    let (mut first, lease) = elected(campaign(candidate(&server.url(""), SHORT)).0).await;
    let (_second, _) = elected(campaign(candidate(&server.url(""), SHORT)).0).await;
    assert!(asked.elapsed() >= SHORT.duration, "{:?}", asked.elapsed());
    assert!(!lease.is_valid());
    // It wakes up.
    let (_announce, announced) = watch::channel(None);
    let lost = first.keep(announced).await;
    assert_eq!(lost, Lost::Expired);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_leader_that_gets_no_answers_stops_before_another_one_leads() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port()).await;
    let url = server.url_through(proxy.port(), "");
    let (first, lease) = elected(campaign(candidate(&url, SHORT)).0).await;
    let kept = keep(first);
    let before = lease.end();
    let (standby, _) = campaign(candidate(&server.url(""), SHORT));
    until("the lease is renewed", || lease.end() != before).await;
    proxy.next(Fault::Silence);
    let _second = elected(standby).await;
    assert!(!lease.is_valid());
    assert_eq!(timeout(LONG, kept).await.unwrap().unwrap(), Lost::Expired);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_leader_that_connects_again_in_time_goes_on() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port()).await;
    let url = server.url_through(proxy.port(), "");
    let (first, lease) = elected(campaign(candidate(&url, LASTING)).0).await;
    let kept = keep(first);
    let (standby, _) = campaign(candidate(&server.url(""), LASTING));
    for fault in [Fault::Request, Fault::Answer] {
        proxy.next(fault);
        proxy.done().await;
        let broken = Instant::now();
        // Renewed by a call that was made after the connection had broken.
        let renewed = Some(broken + LASTING.renew_deadline);
        until("it is renewed again", || lease.end() >= renewed).await;
        assert!(!standby.is_finished() && !kept.is_finished());
    }
    kept.abort();
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_leader_whose_row_was_taken_is_told_by_its_next_renewal() {
    let server = Postgres::start();
    let (first, _) = elected(campaign(candidate(&server.url(""), LASTING)).0).await;
    server.sql("UPDATE jobmanager.leaders SET holder = 'another one'");
    assert_eq!(
        timeout(LONG, keep(first)).await.unwrap().unwrap(),
        Lost::Taken
    );
}
