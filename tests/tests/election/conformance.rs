//! What holds of every election, whatever service holds it: who leads when connections break, answers stay out
//! and leaders go away.

use jobmanager::election::{
    ClusterId, Election, ElectionPlace, KnownLeader, Leader, Lease, LeaseTiming, Lost,
};
use jobmanager_core::id::Epoch;
use jobmanager_tests::services::proxy::{Fault, Proxy};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far more than anything here takes; only a test that fails waits for so long.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// A lease that ends within a test, and can be renewed before that on a machine that is busy.
pub(crate) const SHORT: LeaseTiming = LeaseTiming {
    duration: Duration::from_millis(2_500),
    renew_deadline: Duration::from_millis(2_000),
    retry_period: Duration::from_millis(100),
};
/// One that is renewed as often, and does not end within a test.
pub(crate) const LASTING: LeaseTiming = LeaseTiming {
    duration: Duration::from_secs(60),
    renew_deadline: Duration::from_secs(50),
    retry_period: Duration::from_millis(100),
};
/// One that does not; nobody looks again within a test who is not told to.
pub(crate) const ENDLESS: LeaseTiming = LeaseTiming {
    duration: Duration::from_secs(3_600),
    renew_deadline: Duration::from_secs(3_000),
    retry_period: Duration::from_secs(1_000),
};

/// A service that holds an election.
pub(crate) trait Service {
    /// The port on which it answers.
    fn port(&self) -> u16;
    /// The election of this cluster there, with the service asked on this port.
    fn place(&self, port: u16, cluster: ClusterId, timing: LeaseTiming) -> ElectionPlace;
    /// Ends the service as a crash would.
    fn stop(&mut self);
    /// Starts it again, on the same port and with what it had.
    fn start_again(&mut self);
    /// Takes the lead away from whoever has it.
    async fn depose(&self);
}

/// Makes the tests of this module for one service.
macro_rules! conformance {
    ($start:expr, $reason:literal, [$($test:ident),* $(,)?]) => {
        $(
            #[tokio::test]
            #[ignore = $reason]
            async fn $test() {
                $crate::conformance::$test(&mut $start).await;
            }
        )*
    };
    ($start:expr, $reason:literal) => {
        $crate::conformance::conformance!($start, $reason, [
            of_many_candidates_one_leads_at_a_time_and_each_in_its_turn,
            whoever_stands_by_knows_at_once_where_the_leader_answers_and_when_it_resigns,
            a_leader_that_stands_still_is_followed_when_its_lease_is_over_and_not_before,
            a_leader_that_gets_no_answers_stops_before_another_one_leads,
            a_leader_that_connects_again_in_time_goes_on,
            a_leader_goes_on_when_its_server_comes_back_in_time,
            a_leader_that_was_deposed_is_told_by_its_next_renewal,
            clusters_of_other_names_elect_leaders_of_their_own,
        ]);
    };
}
pub(crate) use conformance;

/// A candidate that asks the service itself.
pub(crate) fn candidate(service: &impl Service, timing: LeaseTiming) -> Election {
    candidate_through(service, service.port(), timing)
}

fn candidate_through(service: &impl Service, port: u16, timing: LeaseTiming) -> Election {
    let cluster = ClusterId::new("/default").unwrap();
    Election::open(service.place(port, cluster, timing)).unwrap()
}

/// Stands for election in the background, until elected.
pub(crate) fn campaign(
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

pub(crate) async fn elected(campaign: JoinHandle<(Election, Lease)>) -> (Election, Lease) {
    timeout(LONG, campaign).await.unwrap().unwrap()
}

/// Keeps a lease in the background, until it is lost.
pub(crate) fn keep(mut election: Election) -> JoinHandle<Lost> {
    tokio::spawn(async move {
        let (_announce, announced) = watch::channel(None);
        election.keep(announced).await
    })
}

/// Looks until it is so.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let looked = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = timeout(LONG, looked).await;
    assert!(seen.is_ok(), "waited in vain: {what}");
}

pub(crate) fn leader() -> Leader {
    Leader {
        epoch: Epoch(7),
        rest: "here:1".to_owned(),
        rpc: "here:2".to_owned(),
    }
}

pub(crate) async fn of_many_candidates_one_leads_at_a_time_and_each_in_its_turn(
    service: &impl Service,
) {
    let leading = Arc::new(AtomicUsize::new(0));
    let candidates: Vec<_> = (0..5)
        .map(|_| {
            let mut election = candidate(service, ENDLESS);
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

pub(crate) async fn whoever_stands_by_knows_at_once_where_the_leader_answers_and_when_it_resigns(
    service: &impl Service,
) {
    let (mut first, _) = elected(campaign(candidate(service, ENDLESS)).0).await;
    let (standby, mut seen) = campaign(candidate(service, ENDLESS));
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

pub(crate) async fn a_leader_that_stands_still_is_followed_when_its_lease_is_over_and_not_before(
    service: &impl Service,
) {
    let proxy = Proxy::before(service.port()).await;
    let asked = Instant::now();
    let (mut first, lease) =
        elected(campaign(candidate_through(service, proxy.port(), SHORT)).0).await;
    // Nothing of it runs, not even what its connection does by itself.
    proxy.next(Fault::Silence);
    let (_second, _) = elected(campaign(candidate(service, SHORT)).0).await;
    assert!(asked.elapsed() >= SHORT.duration, "{:?}", asked.elapsed());
    assert!(!lease.is_valid());
    // It wakes up.
    let (_announce, announced) = watch::channel(None);
    let lost = first.keep(announced).await;
    assert_eq!(lost, Lost::Expired);
}

pub(crate) async fn a_leader_that_gets_no_answers_stops_before_another_one_leads(
    service: &impl Service,
) {
    let proxy = Proxy::before(service.port()).await;
    let (first, lease) = elected(campaign(candidate_through(service, proxy.port(), SHORT)).0).await;
    let kept = keep(first);
    let before = lease.end();
    let (standby, _) = campaign(candidate(service, SHORT));
    until("the lease is renewed", || lease.end() != before).await;
    proxy.next(Fault::Silence);
    let _second = elected(standby).await;
    assert!(!lease.is_valid());
    assert_eq!(timeout(LONG, kept).await.unwrap().unwrap(), Lost::Expired);
}

pub(crate) async fn a_leader_that_connects_again_in_time_goes_on(service: &impl Service) {
    let proxy = Proxy::before(service.port()).await;
    let (first, lease) =
        elected(campaign(candidate_through(service, proxy.port(), LASTING)).0).await;
    let kept = keep(first);
    let (standby, _) = campaign(candidate(service, LASTING));
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

pub(crate) async fn a_leader_goes_on_when_its_server_comes_back_in_time(
    service: &mut impl Service,
) {
    let (first, lease) = elected(campaign(candidate(service, LASTING)).0).await;
    let (standby, _) = campaign(candidate(service, LASTING));
    let kept = keep(first);
    service.stop();
    service.start_again();
    let renewed = Some(Instant::now() + LASTING.renew_deadline);
    until("it is renewed again", || lease.end() >= renewed).await;
    assert!(!standby.is_finished() && !kept.is_finished());
    kept.abort();
}

pub(crate) async fn a_leader_that_was_deposed_is_told_by_its_next_renewal(service: &impl Service) {
    let (first, _) = elected(campaign(candidate(service, LASTING)).0).await;
    let kept = keep(first);
    service.depose().await;
    assert_eq!(timeout(LONG, kept).await.unwrap().unwrap(), Lost::Taken);
}

pub(crate) async fn clusters_of_other_names_elect_leaders_of_their_own(service: &impl Service) {
    let mut leading = Vec::new();
    for name in ["/default", "default-2", "/default/leader"] {
        let cluster = ClusterId::new(name).unwrap();
        let place = service.place(service.port(), cluster, ENDLESS);
        let election = Election::open(place).unwrap();
        leading.push(elected(campaign(election).0).await);
    }
}
