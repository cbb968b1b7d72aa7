//! What the embedded store has to survive beyond the contract: being killed at any moment, and files that
//! are not what they should be.

use crate::contract::{REIGNS, commit, conforms, load};
use crate::kills::{no_kill_loses_a_commit_or_leaves_half_of_one, write_until_killed};
use crate::records::{checkpoint, mark, put};
use jobmanager::store::{EmbeddedStore, Store, StoreError};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};

async fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(folder.to_owned()).await
}

#[tokio::test]
async fn the_embedded_store_conforms_and_keeps_it_all_when_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new");
    let store = open(&data).await.unwrap();
    conforms(&store, REIGNS).await;
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

/// Does nothing in a normal run. As a child of the test below it commits until it is killed.
#[tokio::test]
async fn a_child_that_writes_until_it_is_killed() {
    if let Some(folder) = std::env::var_os(CHILD_FOLDER) {
        write_until_killed(open(&PathBuf::from(folder)).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_no_acknowledged_commit_and_leaves_no_half_one() {
    let folder = tempfile::tempdir().unwrap();
    let child = "embedded::a_child_that_writes_until_it_is_killed";
    let environment = vec![(CHILD_FOLDER, folder.path().into())];
    let open = async || open(folder.path()).await.unwrap();
    no_kill_loses_a_commit_or_leaves_half_of_one(child, environment, 12, open).await;
}
