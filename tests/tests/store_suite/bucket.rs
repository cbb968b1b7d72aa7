//! What the store in object storage has to survive beyond the contract, on two servers that know nothing of each
//! other: connections that break between a write and its answer, writes that arrive when they are not expected
//! any more, and writers that are killed.

use crate::contract::{commit, conforms, load, whoever_writes_in_an_old_epoch_writes_nothing};
use crate::kills::{no_kill_loses_a_commit_or_leaves_half_of_one, write_until_killed};
use crate::records::{mark, put};
use jobmanager::election::ClusterId;
use jobmanager::objects::Bucket;
use jobmanager::store::{BucketStore, Store, StoreError};
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_tests::services::objects::{Kind, ObjectServer};
use jobmanager_tests::services::proxy::{Fault, Proxy};
use std::time::Instant;

/// How often each of several rivals leads. One that does asks for every slot of the log, and these servers are slow.
const REIGNS: usize = 2;

async fn open_with(
    url: String,
    options: Vec<(String, String)>,
    cluster: &str,
) -> Result<BucketStore, StoreError> {
    let bucket = Bucket::open(&url, options).unwrap();
    BucketStore::open(&bucket, &ClusterId::new(cluster).unwrap()).await
}

async fn open(server: &ObjectServer) -> BucketStore {
    open_through(server, server.port()).await
}

async fn open_through(server: &ObjectServer, port: u16) -> BucketStore {
    let store = open_with(server.url(), server.options(port), "/default");
    store.await.unwrap()
}

async fn conforms_and_keeps_it_all_when_opened_again(kind: Kind) {
    let server = ObjectServer::start(kind);
    let store = open(&server).await;
    conforms(&store, REIGNS).await;
    let before = load(&store).await;
    store.close().await;
    assert_eq!(store.load().await.unwrap_err(), StoreError::Closed);

    let store = open(&server).await;
    let after = load(&store).await;
    assert!(after.epoch > before.epoch);
    assert!(after.records == before.records);

    let begun = Instant::now();
    for number in 1..=200 {
        commit(&store, after.epoch, vec![put(mark(1, number))]).await;
    }
    let rate = 200.0 / begun.elapsed().as_secs_f64();
    println!("{kind:?}: {rate:.0} commits per second");
}

async fn handles_of_their_own_are_rivals_too(kind: Kind) {
    let server = ObjectServer::start(kind);
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(open(&server).await);
    }
    whoever_writes_in_an_old_epoch_writes_nothing(stores, REIGNS).await;
}

async fn clusters_in_one_bucket_know_nothing_of_each_other(kind: Kind) {
    let server = ObjectServer::start(kind);
    let options = || server.options(server.port());
    let mut stores = Vec::new();
    for cluster in ["/one", "one/deeper", "../other", "o ther"] {
        let store = open_with(server.url(), options(), cluster);
        stores.push(store.await.unwrap());
    }
    for (store, number) in stores.iter().zip(1..) {
        let leader = load(store).await;
        assert_eq!(leader.records, []);
        commit(store, leader.epoch, vec![put(mark(1, number))]).await;
    }
    for (store, number) in stores.iter().zip(1..) {
        assert_eq!(load(store).await.records, [mark(1, number)]);
    }
}

async fn a_lost_answer_is_unknown_and_the_write_can_be_repeated(kind: Kind) {
    let server = ObjectServer::start(kind);
    let proxy = Proxy::before(server.port()).await;
    let store = open_through(&server, proxy.port()).await;
    let leader = load(&store).await;
    for (number, fault) in [(1, Fault::Answer), (2, Fault::Request)] {
        let ops = vec![put(mark(1, number))];
        proxy.next(fault);
        let outcome = store.commit(leader.epoch, ops.clone()).await;
        assert!(matches!(outcome, StoreOutcome::Unknown(_)), "{outcome:?}");
        proxy.done().await;
        commit(&store, leader.epoch, ops).await;
    }
    assert_eq!(load(&store).await.records, [mark(1, 2)]);
}

async fn a_write_that_was_given_up_is_not_made_after_later_ones(kind: Kind) {
    let server = ObjectServer::start(kind);
    let proxy = Proxy::before(server.port()).await;
    let store = open_through(&server, proxy.port()).await;
    let leader = load(&store).await;
    proxy.next(Fault::Late);
    let outcome = store.commit(leader.epoch, vec![put(mark(1, 1))]).await;
    assert!(matches!(outcome, StoreOutcome::Unknown(_)), "{outcome:?}");
    commit(&store, leader.epoch, vec![put(mark(1, 1))]).await;
    commit(&store, leader.epoch, vec![put(mark(1, 2))]).await;
    proxy.release();
    proxy.done().await;
    commit(&store, leader.epoch, vec![put(mark(2, 1))]).await;
    assert_eq!(load(&store).await.records, [mark(1, 2), mark(2, 1)]);
}

async fn a_server_that_is_away_is_named_and_nothing_is_done(kind: Kind) {
    let mut server = ObjectServer::start(kind);
    let store = open(&server).await;
    let leader = load(&store).await;
    server.stop();
    // A connection may be found as it breaks, and then the first answer is not a definite one.
    let outcome = store.commit(leader.epoch, vec![put(mark(1, 1))]).await;
    let (StoreOutcome::Unavailable(words) | StoreOutcome::Unknown(words)) = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(words.contains(&server.url()), "{words}");
    let error = store.load().await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    let again = open_with(server.url(), server.options(server.port()), "/default");
    let words = again.await.unwrap_err().to_string();
    assert!(words.contains("127.0.0.1"), "{words}");
    assert!(words.contains("--store"), "{words}");
}

async fn a_bucket_that_is_not_there_is_named(kind: Kind) {
    let server = ObjectServer::start(kind);
    let url = server.url().replace("metadata", "elsewhere");
    let missing = open_with(url.clone(), server.options(server.port()), "/default");
    let words = missing.await.unwrap_err().to_string();
    assert!(words.starts_with(&url), "{words}");
    assert!(words.contains("does not exist"), "{words}");
}

/// Names the port of the server for a child.
const CHILD_PORT: &str = "STORE_SUITE_CHILD_PORT";

/// What a child is to do, if this is one.
async fn write_as_a_child(kind: Kind) {
    let Ok(port) = std::env::var(CHILD_PORT) else {
        return;
    };
    let port = port.parse().unwrap();
    let store = open_with(kind.url(), kind.options(port), "/default");
    write_until_killed(store.await.unwrap()).await;
}

async fn a_kill_loses_no_acknowledged_commit(kind: Kind, child: &'static str) {
    let server = ObjectServer::start(kind);
    let environment = vec![(CHILD_PORT, server.port().to_string().into())];
    let open = async || open(&server).await;
    no_kill_loses_a_commit_or_leaves_half_of_one(child, environment, 6, open).await;
}

/// Makes the tests for one server.
macro_rules! tests {
    ($kind:expr, $child:literal, $reason:literal) => {
        use super::*;

        #[tokio::test]
        #[ignore = $reason]
        async fn the_store_conforms_and_keeps_it_all_when_opened_again() {
            conforms_and_keeps_it_all_when_opened_again($kind).await;
        }

        #[tokio::test]
        #[ignore = $reason]
        async fn handles_of_their_own_are_rivals_too() {
            super::handles_of_their_own_are_rivals_too($kind).await;
        }

        #[tokio::test]
        #[ignore = $reason]
        async fn clusters_in_one_bucket_know_nothing_of_each_other() {
            super::clusters_in_one_bucket_know_nothing_of_each_other($kind).await;
        }

        #[tokio::test]
        #[ignore = $reason]
        async fn a_lost_answer_is_unknown_and_the_write_can_be_repeated() {
            super::a_lost_answer_is_unknown_and_the_write_can_be_repeated($kind).await;
        }

        #[tokio::test]
        #[ignore = $reason]
        async fn a_write_that_was_given_up_is_not_made_after_later_ones() {
            super::a_write_that_was_given_up_is_not_made_after_later_ones($kind).await;
        }

        #[tokio::test]
        #[ignore = $reason]
        async fn a_server_that_is_away_is_named_and_nothing_is_done() {
            super::a_server_that_is_away_is_named_and_nothing_is_done($kind).await;
        }

        #[tokio::test]
        #[ignore = $reason]
        async fn a_bucket_that_is_not_there_is_named() {
            super::a_bucket_that_is_not_there_is_named($kind).await;
        }

        /// Does nothing in a normal run. As a child of the test below it commits until it is killed.
        #[tokio::test]
        async fn a_child_that_writes_until_it_is_killed() {
            write_as_a_child($kind).await;
        }

        #[tokio::test]
        #[ignore = $reason]
        async fn a_kill_at_any_moment_loses_no_acknowledged_commit_and_leaves_no_half_one() {
            a_kill_loses_no_acknowledged_commit($kind, $child).await;
        }
    };
}

mod s3 {
    //! On moto, which speaks S3.

    tests!(
        Kind::Moto,
        "bucket::s3::a_child_that_writes_until_it_is_killed",
        "needs moto: run tests/run"
    );
}

mod azure {
    //! On Azurite, which speaks Azure Blob Storage.

    tests!(
        Kind::Azurite,
        "bucket::azure::a_child_that_writes_until_it_is_killed",
        "needs Azurite: run tests/run"
    );
}
