//! Election by a lock on a file, for JobManagers on one machine that share a folder.
//!
//! The system takes the lock away from a process that ends, however it ends, and from no other: a leader that
//! stands still keeps it, so its lease has no end. Folders on a network are not for this: whether the lock
//! is kept there is for each file system to say.

use super::{KnownLeader, Leader, Lease, Lost, tell};
use crate::store::{
    ELECTION_LEADER, ELECTION_LOCK, ELECTION_UNFINISHED, StoreError, check_data_folder, open_lock,
};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// How often the lock is tried. It costs two system calls.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub struct FileElection {
    folder: PathBuf,
    lock: File,
}

impl FileElection {
    /// Prepares to take part in the election in a data folder, which is made if it does not exist.
    ///
    /// # Errors
    /// The folder is foreign, or cannot be used.
    pub fn open(folder: &Path) -> Result<FileElection, StoreError> {
        check_data_folder(folder)?;
        let lock = open_lock(&folder.join(ELECTION_LOCK))?;
        let folder = folder.to_owned();
        Ok(FileElection { folder, lock })
    }

    pub(super) async fn campaign(&mut self, known: &KnownLeader) -> Lease {
        let mut last_problem = String::new();
        loop {
            match self.lock.try_lock() {
                Ok(()) => {
                    // What the last one said is not so any more.
                    self.withdraw();
                    tell(known, None);
                    return Lease::endless();
                }
                Err(TryLockError::WouldBlock) => {
                    tell(known, self.read());
                }
                Err(TryLockError::Error(problem)) => {
                    let problem = problem.to_string();
                    if problem != last_problem {
                        warn!(problem, folder = %self.folder.display(), "the election's lock cannot be tried");
                        last_problem = problem;
                    }
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(super) async fn keep(&mut self, mut announced: watch::Receiver<Option<Leader>>) -> Lost {
        loop {
            let leader = announced.borrow_and_update().clone();
            if let Some(leader) = leader
                && let Err(problem) = self.write(&leader)
            {
                warn!(%problem, folder = %self.folder.display(), "standbys are not told who leads");
            }
            if announced.changed().await.is_err() {
                // Nothing more is announced, and the lock is kept.
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn resign(&mut self) {
        self.withdraw();
        // What is not locked need not be unlocked; what is, the system unlocks with the process.
        let _ = self.lock.unlock();
    }

    /// Who leads, as far as that is written.
    fn read(&self) -> Option<Leader> {
        let text = fs::read(self.folder.join(ELECTION_LEADER)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// In one step, so that nobody reads half of it.
    fn write(&self, leader: &Leader) -> io::Result<()> {
        let unfinished = self.folder.join(ELECTION_UNFINISHED);
        fs::write(&unfinished, serde_json::to_vec(leader)?)?;
        fs::rename(unfinished, self.folder.join(ELECTION_LEADER))
    }

    fn withdraw(&self) {
        // What cannot be removed is written over by the next leader.
        let _ = fs::remove_file(self.folder.join(ELECTION_LEADER));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::id::Epoch;

    #[tokio::test]
    async fn one_leads_the_others_know_where_it_is_and_one_of_them_leads_when_it_resigns() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = FileElection::open(folder.path()).unwrap();
        let mut second = FileElection::open(folder.path()).unwrap();
        let (known, mut seen) = watch::channel(None);
        let lease = first.campaign(&known).await;
        assert!(lease.is_valid() && lease.end().is_none());

        let leader = Leader {
            epoch: Epoch(7),
            rest: "here:1".to_owned(),
            rpc: "here:2".to_owned(),
        };
        let (_announce, announced) = watch::channel(Some(leader.clone()));
        let campaign = tokio::spawn(async move {
            second.campaign(&known).await;
            (second, known)
        });
        tokio::select! {
            lost = first.keep(announced) => panic!("{lost}"),
            told = seen.wait_for(Option::is_some) => assert_eq!(*told.unwrap(), Some(leader)),
        }
        assert!(!campaign.is_finished());
        first.resign();
        let (_second, known) = campaign.await.unwrap();
        assert_eq!(*known.borrow(), None);
    }

    #[tokio::test]
    async fn a_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letter.txt"), "dear").unwrap();
        FileElection::open(folder.path()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
