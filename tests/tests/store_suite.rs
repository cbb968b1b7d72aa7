//! What every store has to do, run against every implementation; and what the embedded one has to
//! survive: being killed at any moment, and files that are not what they should be.

#![allow(clippy::unwrap_used)]

use jobmanager::store::{EmbeddedStore, Leadership, MemoryStore, Store, StoreError};
use jobmanager_core::id::{Attempt, CheckpointId, Epoch, JobId};
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::message::{StateHandle, StateLocation};
use jobmanager_core::record::{CheckpointRecord, Record, RecordKey, RecordOp, RegionSnapshot};
use jobmanager_core::time::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

fn mark(job: u128, next: u64) -> Record {
    Record::CheckpointMark {
        job: JobId(job),
        next: CheckpointId(next),
    }
}

fn put(record: Record) -> RecordOp {
    RecordOp::Put(record)
}

/// A completed checkpoint whose state of this many bytes is inside.
fn checkpoint(job: u128, id: u64, bytes: usize) -> Record {
    let state = StateHandle {
        location: StateLocation::Inline(vec![0x5a; bytes]),
        size: bytes as u64,
    };
    Record::Checkpoint(Arc::new(CheckpointRecord {
        job: JobId(job),
        id: CheckpointId(id),
        triggered: Timestamp(1),
        completed: Timestamp(2),
        regions: vec![Some(RegionSnapshot {
            checkpoint: CheckpointId(id),
            attempt: Attempt {
                epoch: Epoch(1),
                number: 0,
            },
            end_of_data: false,
        })],
        states: vec![state],
    }))
}

async fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(folder.to_owned()).await
}

async fn load(store: &impl Store) -> Leadership {
    store.load().await.unwrap()
}

async fn commit(store: &impl Store, epoch: Epoch, ops: Vec<RecordOp>) {
    assert_eq!(store.commit(epoch, ops).await, StoreOutcome::Done);
}

/// Every promise of the contract, on a store that is empty.
async fn conforms(store: &(impl Store + Clone)) {
    epochs_rise_and_older_ones_are_fenced(store).await;
    operations_are_idempotent_and_in_order(store).await;
    many_and_large_records_come_back(store).await;
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
    let mut expected: Vec<Record> = (0..10_000).map(|job| mark(1_000 + job, 7)).collect();
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

#[tokio::test]
async fn the_memory_store_conforms() {
    conforms(&MemoryStore::new()).await;
}

#[tokio::test]
async fn the_embedded_store_conforms_and_keeps_it_all_when_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new");
    let store = open(&data).await.unwrap();
    conforms(&store).await;
    let before = load(&store).await;
    store.close().await;
    assert_eq!(store.load().await.unwrap_err(), StoreError::Closed);

    let after = load(&open(&data).await.unwrap()).await;
    assert!(after.epoch > before.epoch);
    assert!(after.records == before.records);
}

#[tokio::test]
async fn a_folder_in_use_is_refused_by_the_name_of_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let second = open(folder.path()).await;
    let path = folder.path().join("lock");
    assert_eq!(second.unwrap_err(), StoreError::Locked { path });
    store.close().await;
    open(folder.path()).await.unwrap();
}

/// A data folder with some records, with its file as a kill leaves it if asked for.
async fn filled(killed: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let leader = load(&store).await;
    for id in 1..=20 {
        let ops = vec![put(checkpoint(1, id, 3_000)), put(mark(1, id + 1))];
        commit(&store, leader.epoch, ops).await;
    }
    let file = folder.path().join("metadata.redb");
    let as_left_by_a_kill = fs::read(&file).unwrap();
    store.close().await;
    if killed {
        fs::write(&file, as_left_by_a_kill).unwrap();
    }
    folder
}

/// The folder has to be refused by the name of the file, and the file has to stay as it is.
async fn is_refused(folder: &Path, file: &Path) {
    let before = fs::read(file).unwrap();
    let Err(error) = open(folder).await else {
        panic!("{} was taken", file.display());
    };
    let name = file.to_str().unwrap();
    assert!(error.to_string().contains(name), "{error}");
    assert!(fs::read(file).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn a_foreign_folder_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let letter = folder.path().join("letter.txt");
    fs::write(&letter, "dear").unwrap();
    is_refused(folder.path(), &letter).await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let only_the_first_bytes = b"redb\x1A\x0A\xA9\x0D\x0A";
    for bytes in [
        &b""[..],
        b"re",
        only_the_first_bytes,
        b"some text\n",
        &[0; 9_000],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("metadata.redb");
        fs::write(&file, bytes).unwrap();
        is_refused(folder.path(), &file).await;
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metadata.redb");
    let database = redb::Database::create(&file).unwrap();
    let theirs: redb::TableDefinition<&str, &str> = redb::TableDefinition::new("numbers");
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(theirs).unwrap();
    table.insert("answer", "42").unwrap();
    drop(table);
    transaction.commit().unwrap();
    drop(database);
    is_refused(folder.path(), &file).await;
}

#[tokio::test]
async fn damage_is_refused_or_harmless_but_never_repaired_in_silence() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for killed in [false, true] {
        let original = filled(killed).await;
        let whole = fs::read(original.path().join("metadata.redb")).unwrap();
        let expected = load(&open(original.path()).await.unwrap()).await.records;
        assert_eq!(expected.len(), 21);
        let mut refused = 0;
        for round in 0..60 {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("metadata.redb");
            let mut bytes = whole.clone();
            let at = (random.next_u64() % bytes.len() as u64) as usize;
            if round % 3 == 0 {
                bytes.truncate(at);
            } else {
                let end = (at + 1 + (random.next_u64() % 4096) as usize).min(bytes.len());
                bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0x55);
            }
            fs::write(&file, &bytes).unwrap();
            match open(folder.path()).await {
                // A page that holds nothing.
                Ok(store) => assert!(load(&store).await.records == expected, "at {at}"),
                Err(error) => {
                    refused += 1;
                    let name = file.to_str().unwrap();
                    assert!(error.to_string().contains(name), "{error}");
                    assert!(
                        fs::read(&file).unwrap() == bytes,
                        "changed, damaged at {at}"
                    );
                }
            }
        }
        assert!(refused >= 10, "only {refused} of 60 were noticed");
    }
}

/// Names the data folder for the child below.
const CHILD_FOLDER: &str = "STORE_SUITE_CHILD_FOLDER";

/// What one commit of the child writes: all of it has to be there, or none.
fn generation(number: u64) -> Vec<Record> {
    (1..=3).map(|job| mark(job, number)).collect()
}

fn number_of(record: &Record) -> u64 {
    match record {
        Record::CheckpointMark { next, .. } => next.0,
        Record::Job(_) | Record::Cancel(_) | Record::Checkpoint(_) | Record::Result(_) => {
            panic!("only marks are written here")
        }
    }
}

/// Does nothing in a normal run. As a child of the test below it commits without end, says so after each
/// commit, and is killed.
#[tokio::test]
async fn a_child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else {
        return;
    };
    let store = open(&PathBuf::from(folder)).await.unwrap();
    let leader = load(&store).await;
    let last = leader.records.iter().map(number_of).max().unwrap_or(0);
    for number in last + 1.. {
        let ops = generation(number).into_iter().map(put).collect();
        commit(&store, leader.epoch, ops).await;
        println!("\ncommitted {number} in {}", leader.epoch.0);
    }
}

fn spawn_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_that_writes_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a child write, kills it some time after this many acknowledged commits, and returns the number
/// and the epoch of the last one that it acknowledged.
fn last_commit_before_the_kill(folder: &Path, commits: u64, spins: u64) -> (u64, u64) {
    let mut child = spawn_child(folder);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = output.lines().map_while(Result::ok).filter_map(|line| {
        let (number, epoch) = line.strip_prefix("committed ")?.split_once(" in ")?;
        Some((number.parse().unwrap(), epoch.parse().unwrap()))
    });
    let last = acknowledged.nth(commits as usize).unwrap();
    // To somewhere within the commits that follow.
    for _ in 0..spins {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged.last().unwrap_or(last)
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_no_acknowledged_commit_and_leaves_no_half_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(42);
    for _ in 0..12 {
        let (commits, spins) = (random.next_u64() % 20, random.next_u64() % 400_000);
        let path = folder.path().to_owned();
        let killed = move || last_commit_before_the_kill(&path, commits, spins);
        let (acknowledged, epoch) = tokio::task::spawn_blocking(killed).await.unwrap();

        let store = open(folder.path()).await.unwrap();
        let found = load(&store).await;
        store.close().await;
        assert!(found.epoch > Epoch(epoch));
        let number = number_of(&found.records[0]);
        assert!(number >= acknowledged, "commit {acknowledged} was lost");
        assert_eq!(found.records, generation(number), "a half commit");
    }
}
