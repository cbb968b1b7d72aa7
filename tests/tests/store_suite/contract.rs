//! What every store has to do, whatever it is made of.

use crate::records::{checkpoint, mark, number_of, put};
use jobmanager::store::{Leadership, Store};
use jobmanager_core::id::{Epoch, JobId};
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::{Record, RecordKey, RecordOp};

pub(crate) async fn load(store: &impl Store) -> Leadership {
    store.load().await.unwrap()
}

pub(crate) async fn commit(store: &impl Store, epoch: Epoch, ops: Vec<RecordOp>) {
    assert_eq!(store.commit(epoch, ops).await, StoreOutcome::Done);
}

/// How often each of several leads, if nothing else is said.
pub(crate) const REIGNS: usize = 10;

/// Every promise of the contract, on a store that is empty. Each of several rivals leads as many times.
pub(crate) async fn conforms(store: &(impl Store + Clone), reigns: usize) {
    epochs_rise_and_older_ones_are_fenced(store).await;
    operations_are_idempotent_and_in_order(store).await;
    many_and_large_records_come_back(store).await;
    let rivals = vec![store.clone(); 4];
    whoever_writes_in_an_old_epoch_writes_nothing(rivals, reigns).await;
}

async fn epochs_rise_and_older_ones_are_fenced(store: &(impl Store + Clone)) {
    let other = store.clone();
    let first = load(store).await;
    assert!(first.epoch >= Epoch(1));
    assert_eq!(first.records, []);
    commit(store, first.epoch, vec![put(mark(1, 1))]).await;

    let second = load(&other).await;
    assert!(second.epoch > first.epoch);
    assert_eq!(second.records, [mark(1, 1)]);
    let late = store.commit(first.epoch, vec![put(mark(1, 99))]).await;
    assert_eq!(late, StoreOutcome::Fenced);
    let never_minted = Epoch(second.epoch.0 + 1);
    let early = store.commit(never_minted, vec![put(mark(1, 99))]).await;
    assert_eq!(early, StoreOutcome::Fenced);

    let third = load(store).await;
    assert_eq!(third.records, [mark(1, 1)], "a fenced write leaves nothing");
}

async fn operations_are_idempotent_and_in_order(store: &impl Store) {
    let leader = load(store).await;
    let ops = vec![
        RecordOp::Delete(RecordKey::Result(JobId(404))),
        put(mark(2, 1)),
        put(mark(2, 2)),
        RecordOp::Delete(mark(1, 1).key()),
        put(Record::Cancel(JobId(3))),
        RecordOp::Delete(RecordKey::Cancel(JobId(3))),
    ];
    for _ in 0..2 {
        commit(store, leader.epoch, ops.clone()).await;
    }
    commit(store, leader.epoch, Vec::new()).await;
    assert_eq!(load(store).await.records, [mark(2, 2)]);
}

async fn many_and_large_records_come_back(store: &impl Store) {
    let leader = load(store).await;
    let mut expected: Vec<Record> = (0..100_000).map(|job| mark(1_000 + job, 7)).collect();
    expected.push(checkpoint(5, 1, 1 << 20));
    expected.push(mark(2, 2));
    expected.sort_by_key(Record::key);
    let ops = expected.iter().cloned().map(put).collect();
    commit(store, leader.epoch, ops).await;
    let found = load(store).await.records;
    assert_eq!(found.len(), expected.len());
    assert!(
        found == expected,
        "every record comes back as it was, by key"
    );
}

/// What a writer has had acknowledged in one of its epochs.
struct Reign {
    epoch: Epoch,
    /// What it found.
    found: Vec<Record>,
    /// The number of its last write that was done.
    done: u64,
}

/// Leads again and again, and writes until somebody else leads. Every epoch has a record of its own.
async fn reigns(store: impl Store + Clone, times: usize) -> Vec<Reign> {
    let mut reigns = Vec::new();
    for _ in 0..times {
        let Leadership { epoch, records } = load(&store).await;
        let mut done = 0;
        let job = u128::from(epoch.0) << 64;
        while done < 20 {
            match store.commit(epoch, vec![put(mark(job, done + 1))]).await {
                StoreOutcome::Done => done += 1,
                StoreOutcome::Fenced => break,
                StoreOutcome::Unavailable(words) | StoreOutcome::Unknown(words) => {
                    panic!("{words}")
                }
            }
        }
        reigns.push(Reign {
            epoch,
            found: records,
            done,
        });
    }
    reigns
}

/// The stores are handles of one.
pub(crate) async fn whoever_writes_in_an_old_epoch_writes_nothing(
    stores: Vec<impl Store + Clone>,
    times: usize,
) {
    let rivals: Vec<_> = stores
        .iter()
        .map(|store| tokio::spawn(reigns(store.clone(), times)))
        .collect();
    let mut all = Vec::new();
    for rival in rivals {
        all.extend(rival.await.unwrap());
    }
    all.sort_by_key(|reign| reign.epoch);
    let last = load(&stores[0]).await.records;
    let written = |records: &[Record], epoch: Epoch| {
        let job = JobId(u128::from(epoch.0) << 64);
        let of_job = |record: &&Record| record.key() == RecordKey::CheckpointMark(job);
        records.iter().find(of_job).map_or(0, number_of)
    };
    for (number, reign) in all.iter().enumerate() {
        assert_eq!(written(&last, reign.epoch), reign.done, "{:?}", reign.epoch);
        for earlier in &all[..number] {
            assert!(earlier.epoch < reign.epoch, "an epoch was minted twice");
            // What the new leader has read, nobody changes behind its back.
            assert_eq!(written(&reign.found, earlier.epoch), earlier.done);
        }
    }
}
