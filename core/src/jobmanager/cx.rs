//! What a job may use and change beside itself.

use super::claims::Claims;
use super::effect::Effect;
use super::journal::Journal;
use super::taskmanagers::{TaskManagers, TmKey};
use crate::config::ClusterConfig;
use crate::id::{Epoch, TaskManagerId};
use crate::message::{Envelope, ToTaskManager};
use crate::time::Timestamp;
use alloc::vec::Vec;

/// The coordinator without its jobs.
pub(super) struct Cx<'a> {
    pub(super) now: Timestamp,
    pub(super) epoch: Epoch,
    pub(super) config: &'a ClusterConfig,
    pub(super) tms: &'a mut TaskManagers,
    pub(super) journal: &'a mut Journal,
    pub(super) effects: &'a mut Vec<Effect>,
    pub(super) claims: &'a Claims,
}

impl Cx<'_> {
    /// The name of a TaskManager, if it is still registered.
    pub(super) fn name(&self, tm: TmKey) -> Option<TaskManagerId> {
        self.tms.get(tm).map(|tm| tm.hello.taskmanager.clone())
    }

    /// Says something to a TaskManager, if it is still registered.
    pub(super) fn send(&mut self, tm: TmKey, message: ToTaskManager) {
        if let Some(tm) = self.tms.get(tm) {
            let message = Envelope {
                epoch: self.epoch,
                message,
            };
            self.effects.push(Effect::Send {
                session: tm.session,
                message,
            });
        }
    }
}
