//! What an answer leaves out: it has a bound, and says where it is cut.

use super::words::{counted, verb};
use super::{Cause, Reason, SHOWN};
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// Further causes like those that stand before it are not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename = "not-shown", rename_all = "kebab-case")]
pub struct NotShown {
    /// How many.
    pub count: u32,
}

impl From<NotShown> for Reason {
    fn from(reason: NotShown) -> Self {
        Reason::NotShown(reason)
    }
}

impl NotShown {
    pub(super) fn text(&self, _: Timestamp) -> String {
        let more = counted(self.count, "more cause");
        format!(
            "{more} like these {} not shown.",
            verb(self.count, "is", "are")
        )
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        String::from("See to those that are shown, and ask again.")
    }
}

/// The first of these as causes, and how many others there are.
pub(super) fn first_of<T>(things: Vec<T>, cause: impl FnMut(T) -> Cause) -> Vec<Cause> {
    let more = things.len().saturating_sub(SHOWN);
    let mut causes: Vec<Cause> = things.into_iter().take(SHOWN).map(cause).collect();
    if more > 0 {
        let count = u32::try_from(more).unwrap_or(u32::MAX);
        causes.push(Cause::leaf(NotShown { count }));
    }
    causes
}
