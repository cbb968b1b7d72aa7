//! The store as a cause: what must become durable first.

use super::words::{ahead, excerpt};
use super::{Cause, Look, Reason};
use crate::id::CommitId;
use crate::jobmanager::journal::{Fact, Journal};
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// How a write to the store stands. There is one at work at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Write {
    /// The store has not answered.
    WriteUnderWay {
        /// The write.
        commit: CommitId,
        /// Why an earlier try failed, if one did.
        problem: Option<String>,
    },
    /// The last try failed, or nobody knows whether it did.
    WriteToBeRepeated {
        /// What the store said.
        problem: String,
        /// When the next try is.
        retry_at: Timestamp,
    },
    /// Another write goes first.
    BehindAnotherWrite,
}

impl From<Write> for Reason {
    fn from(reason: Write) -> Self {
        Reason::Write(reason)
    }
}

impl Write {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Write::WriteUnderWay { commit, problem } => {
                let before = problem.as_ref();
                let before = before.map(|problem| format!("; a try before failed: {problem}"));
                format!(
                    "The store has not answered write {} yet{}.",
                    commit.0,
                    before.unwrap_or_default()
                )
            }
            Write::WriteToBeRepeated { problem, retry_at } => format!(
                "The store did not take the write ({problem}); it is tried again {}.",
                ahead(now, *retry_at)
            ),
            Write::BehindAnotherWrite => {
                String::from("Writes become durable in order, and another one is at work.")
            }
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        String::from(match self {
            Write::WriteUnderWay { .. } => "The store has to answer.",
            Write::WriteToBeRepeated { .. } => {
                "Make the store take writes again; nothing is lost meanwhile."
            }
            Write::BehindAnotherWrite => "The write at work has to become durable.",
        })
    }
}

impl Look<'_> {
    /// What keeps such a fact from being durable.
    pub(super) fn store(&self, which: impl Fn(&Fact) -> bool) -> Vec<Cause> {
        let journal = &self.coordinator.journal;
        let write = || at_work(journal).map(Cause::leaf).into_iter().collect();
        match journal.is_at_work(which) {
            None => Vec::new(),
            Some(true) => write(),
            Some(false) => Vec::from([Cause::new(Write::BehindAnotherWrite, write())]),
        }
    }
}

fn at_work(journal: &Journal) -> Option<Write> {
    let problem = journal.problem().map(excerpt);
    if let Some(commit) = journal.commit_under_way() {
        return Some(Write::WriteUnderWay { commit, problem });
    }
    Some(Write::WriteToBeRepeated {
        retry_at: journal.deadline()?,
        problem: problem.unwrap_or_default(),
    })
}
