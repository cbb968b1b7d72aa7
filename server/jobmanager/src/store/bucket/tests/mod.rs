//! What the store promises whatever its server, its rivals and its own end do to it.

#![allow(clippy::unwrap_used)]

mod faults;
mod probes;
mod server;

use super::*;
use crate::store::bucket::ring::SLOTS;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::record::RecordKey;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use server::{Fault, Server};

/// The latest number of a job.
fn mark(job: u128, next: u64) -> Record {
    Record::CheckpointMark {
        job: JobId(job),
        next: CheckpointId(next),
    }
}

fn put(job: u128, next: u64) -> RecordOp {
    RecordOp::Put(mark(job, next))
}

fn number_of(record: &Record) -> u64 {
    let Record::CheckpointMark { next, .. } = record else {
        panic!("only marks are written here: {record:?}");
    };
    next.0
}

fn prefix(server: &Arc<Server>) -> Prefix {
    let objects: Arc<dyn ObjectStore> = server.clone();
    Prefix::new("test://bucket".to_owned(), objects, Path::from("root"))
}

async fn open(server: &Arc<Server>) -> BucketStore {
    BucketStore::open_prefix(prefix(server), "none")
        .await
        .unwrap()
}

async fn commit(store: &BucketStore, epoch: Epoch, ops: Vec<RecordOp>) {
    assert_eq!(store.commit(epoch, ops).await, StoreOutcome::Done);
}

/// The number of the latest entry.
async fn last_number(server: &Arc<Server>) -> u64 {
    Ring::read(&prefix(server)).await.unwrap().last_number()
}

async fn run_names(server: &Arc<Server>) -> Vec<String> {
    prefix(server).list(runs::FOLDER).await.unwrap()
}

async fn wait_for(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_looked_for_before_it_is_repeated() {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let leader = store.load().await.unwrap();
    for (number, fault, made) in [(1, Fault::Answer, true), (2, Fault::Request, false)] {
        let before = last_number(&server).await;
        server.next(fault);
        let outcome = store.commit(leader.epoch, vec![put(1, number)]).await;
        assert!(matches!(outcome, StoreOutcome::Unknown(_)), "{outcome:?}");
        assert_eq!(last_number(&server).await, before + u64::from(made));
        commit(&store, leader.epoch, vec![put(1, number)]).await;
        assert_eq!(last_number(&server).await, before + 1, "{fault:?}");
    }
    assert_eq!(store.load().await.unwrap().records, [mark(1, 2)]);
}

#[tokio::test]
async fn a_write_that_was_given_up_and_made_does_not_hide_another_one() {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let leader = store.load().await.unwrap();
    server.next(Fault::Answer);
    let outcome = store.commit(leader.epoch, vec![put(1, 1)]).await;
    assert!(matches!(outcome, StoreOutcome::Unknown(_)), "{outcome:?}");
    commit(&store, leader.epoch, vec![put(2, 2)]).await;
    let found = store.load().await.unwrap().records;
    assert_eq!(found, [mark(1, 1), mark(2, 2)]);
}

#[tokio::test]
async fn a_late_write_is_made_before_others_or_never() {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let leader = store.load().await.unwrap();
    server.next(Fault::Late);
    let outcome = store.commit(leader.epoch, vec![put(1, 1)]).await;
    assert!(matches!(outcome, StoreOutcome::Unknown(_)), "{outcome:?}");
    commit(&store, leader.epoch, vec![put(1, 2)]).await;
    assert!(!server.release().await, "the place was taken");

    server.next(Fault::Late);
    let outcome = store.commit(leader.epoch, vec![put(1, 3)]).await;
    assert!(matches!(outcome, StoreOutcome::Unknown(_)), "{outcome:?}");
    // It has been found not to be there, and comes all the same.
    assert_eq!(last_number(&server).await, 3 - 1);
    let look = store.state.lock().await.log.as_mut().unwrap().is_in_doubt();
    assert!(look);
    assert!(server.release().await);
    commit(&store, leader.epoch, vec![put(1, 4)]).await;
    assert_eq!(store.load().await.unwrap().records, [mark(1, 4)]);
}

#[tokio::test]
async fn an_epoch_whose_beginning_was_written_without_an_answer_has_begun() {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let first = store.load().await.unwrap();
    server.next(Fault::Answer);
    let second = store.load().await.unwrap();
    assert_eq!(second.epoch.0, first.epoch.0 + 1);
    commit(&store, second.epoch, vec![put(1, 1)]).await;

    server.next(Fault::Request);
    assert!(store.load().await.unwrap_err().may_pass());
    // Whoever leads was not disturbed.
    commit(&store, second.epoch, vec![put(1, 2)]).await;
}

#[tokio::test]
async fn the_log_goes_round_and_what_leaves_it_is_in_few_runs() {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let leader = store.load().await.unwrap();
    for number in 1..=500u64 {
        let mut ops = vec![put(u128::from(number % 50), number), put(1_000, number)];
        if number % 3 == 0 {
            ops.push(RecordOp::Delete(RecordKey::CheckpointMark(JobId(7))));
        }
        commit(&store, leader.epoch, ops).await;
    }
    wait_for("runs that are not needed to be deleted", async || {
        run_names(&server).await.len() <= 8
    })
    .await;
    let found = store.load().await.unwrap().records;
    assert_eq!(found.len(), 50);
    assert!(found.contains(&mark(1_000, 500)));
    assert!(found.contains(&mark(8, 458)));
    assert!(!found.iter().any(|record| record.key() == mark(7, 0).key()));
    let other = open(&server).await;
    assert_eq!(other.load().await.unwrap().records, found);
}

#[tokio::test]
async fn what_is_deleted_stays_deleted_while_an_old_run_has_it() {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let leader = store.load().await.unwrap();
    let many = (0..1_000).map(|job| put(job, 1)).collect();
    commit(&store, leader.epoch, many).await;
    let last_run = || async { run_names(&server).await.into_iter().max() };
    let merged = async |before: Option<String>| {
        for number in 0..8 {
            commit(&store, leader.epoch, vec![put(5_000, number)]).await;
        }
        wait_for("a merge", async || last_run().await > before).await;
    };
    merged(None).await;
    let large = last_run().await;
    let gone = RecordOp::Delete(mark(7, 1).key());
    commit(&store, leader.epoch, vec![gone]).await;
    merged(large.clone()).await;
    commit(&store, leader.epoch, vec![]).await;
    assert!(run_names(&server).await.contains(&large.unwrap()));
    let found = store.load().await.unwrap().records;
    assert_eq!(found.len(), 1_000);
    assert!(!found.contains(&mark(7, 1)));
}

#[tokio::test]
async fn two_who_write_in_one_epoch_do_each_other_no_harm() {
    let server = Arc::new(Server::default());
    let (one, other) = (open(&server).await, open(&server).await);
    let leader = one.load().await.unwrap();
    for round in 1..=6 {
        for store in [&one, &other] {
            for number in 0..50 {
                commit(store, leader.epoch, vec![put(number, round)]).await;
            }
        }
    }
    let found = one.load().await.unwrap().records;
    let expected: Vec<Record> = (0..50).map(|job| mark(job, 6)).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_leader_that_has_slept_for_many_rounds_writes_nothing() {
    let server = Arc::new(Server::default());
    let (asleep, awake) = (open(&server).await, open(&server).await);
    let first = asleep.load().await.unwrap();
    commit(&asleep, first.epoch, vec![put(1, 1)]).await;
    let second = awake.load().await.unwrap();
    for number in 0..3 * SLOTS {
        commit(&awake, second.epoch, vec![put(2, number)]).await;
    }
    let late = asleep.commit(first.epoch, vec![put(1, 99)]).await;
    assert_eq!(late, StoreOutcome::Fenced);
    let again = asleep.commit(first.epoch, vec![put(1, 99)]).await;
    assert_eq!(again, StoreOutcome::Fenced);
    commit(&awake, second.epoch, vec![put(2, 100)]).await;
    let found = awake.load().await.unwrap().records;
    assert_eq!(found, [mark(1, 1), mark(2, 100)]);
}

#[tokio::test]
async fn without_runs_writes_go_on_until_the_log_is_full_and_then_again_with_them() {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let leader = store.load().await.unwrap();
    server.takes_runs(false);
    let mut done = 0;
    let words = loop {
        assert!(done < 10 * SLOTS, "what is in no run is overwritten");
        match store.commit(leader.epoch, vec![put(1, done + 1)]).await {
            StoreOutcome::Done => done += 1,
            StoreOutcome::Unavailable(words) => break words,
            outcome @ (StoreOutcome::Fenced | StoreOutcome::Unknown(_)) => panic!("{outcome:?}"),
        }
    };
    // One place has the beginning of the epoch.
    assert_eq!(done, SLOTS - 1);
    assert!(words.contains("runs are not welcome"), "{words}");
    // Nobody can lead either, and nothing is lost.
    let other = open(&server).await;
    assert!(other.load().await.unwrap_err().may_pass());

    server.takes_runs(true);
    assert_eq!(other.load().await.unwrap().records, [mark(1, done)]);
    let late = store.commit(leader.epoch, vec![put(1, 99)]).await;
    assert_eq!(late, StoreOutcome::Fenced);
}

#[tokio::test]
async fn a_new_leader_deletes_the_runs_that_nobody_names_but_not_those_of_later_leaders() {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let leader = store.load().await.unwrap();
    for number in 1..=100 {
        commit(&store, leader.epoch, vec![put(1, number)]).await;
    }
    store.close().await;
    let left = format!("{:016x}-{:016x}-{:016x}", leader.epoch.0, 7, 7);
    let later = format!("{:016x}-{:016x}-{:016x}", leader.epoch.0 + 1, 7, 7);
    for name in [&left, &later] {
        let path = Path::from(format!("root/runs/{name}"));
        server.objects.put(&path, "run".into()).await.unwrap();
    }
    let next = open(&server).await;
    let found = next.load().await.unwrap();
    assert_eq!(found.epoch.0, leader.epoch.0 + 1);
    wait_for("what was left to be deleted", async || {
        !run_names(&server).await.contains(&left)
    })
    .await;
    assert!(run_names(&server).await.contains(&later));
    assert_eq!(next.load().await.unwrap().records, [mark(1, 100)]);
}

/// A store of many entries, which is closed.
async fn filled() -> (Arc<Server>, Epoch) {
    let server = Arc::new(Server::default());
    let store = open(&server).await;
    let leader = store.load().await.unwrap();
    for number in 1..=100 {
        commit(&store, leader.epoch, vec![put(number, 1)]).await;
    }
    store.close().await;
    (server, leader.epoch)
}

/// Changes an object, and expects these words; nothing is written then.
async fn is_refused(server: &Arc<Server>, name: &str, bytes: Option<&[u8]>, expected: &str) {
    let path = Path::from(format!("root/{name}"));
    let before = server.objects.get(&path).await.unwrap();
    let before = before.bytes().await.unwrap();
    match bytes {
        Some(bytes) => drop(server.objects.put(&path, bytes.to_vec().into()).await),
        None => server.objects.delete(&path).await.unwrap(),
    }
    let error = open(server).await.load().await.unwrap_err();
    assert!(!error.may_pass(), "{error}");
    let words = error.to_string();
    assert!(words.starts_with("test://bucket "), "{words}");
    assert!(words.contains(expected), "{expected}: {words}");
    server.objects.put(&path, before.into()).await.unwrap();
}

#[tokio::test]
async fn what_is_lost_damaged_or_somebody_elses_is_refused_by_name_and_no_epoch_begins() {
    let (server, epoch) = filled().await;
    let last = last_number(&server).await;
    let run = format!("runs/{}", run_names(&server).await[0]);
    let entry = format!("log/{:02}", last % SLOTS);
    let middle = format!("log/{:02}", (last + 3) % SLOTS);
    is_refused(&server, &run, None, &format!("has lost {run}")).await;
    is_refused(&server, &run, Some(b"x"), &format!("{run} was not written")).await;
    is_refused(&server, &middle, None, "has lost entries of its log").await;
    is_refused(&server, &entry, Some(b""), &format!("{entry} was not")).await;
    let later = b"jobmanager metadata 2\n";
    is_refused(&server, &entry, Some(later), "a later JobManager").await;
    let found = open(&server).await.load().await.unwrap();
    assert_eq!(found.epoch.0, epoch.0 + 1);
    assert_eq!(found.records.len(), 100);
}

#[tokio::test]
async fn a_store_whose_log_is_gone_is_not_taken_for_an_empty_one() {
    let (server, _) = filled().await;
    for index in 0..SLOTS {
        let path = Path::from(format!("root/log/{index:02}"));
        server.objects.delete(&path).await.unwrap();
    }
    let words = open(&server).await.load().await.unwrap_err().to_string();
    assert!(words.contains("has lost its log"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_gets_between_the_writes_of_one_that_never_rests() {
    let server = Arc::new(Server::default());
    let busy = open(&server).await;
    let leader = busy.load().await.unwrap();
    let next = open(&server).await;
    server.take_time(Duration::from_millis(40));
    let writes = tokio::spawn(async move {
        let mut done = 0;
        while busy.commit(leader.epoch, vec![put(1, done + 1)]).await == StoreOutcome::Done {
            done += 1;
            assert!(done <= 4 * SLOTS, "nobody gets between");
        }
        done
    });
    let found = next.load().await.unwrap();
    let done = writes.await.unwrap();

    let expected: Vec<Record> = (done > 0).then(|| mark(1, done)).into_iter().collect();
    assert_eq!(found.records, expected);
}
