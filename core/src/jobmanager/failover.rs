//! Failure and restart of regions (SEMANTICS §2.7).
//!
//! A failure asks the restart strategy once, whatever number of tasks it took down. The regions that are
//! concerned stop now; each is scheduled again when every task of its old attempt has ended (or is lost
//! with its TaskManager, whose later words are not heard), its delay is over, and no checkpoint of it is being
//! stored, because only then is it known from which checkpoint to start. Other regions do not notice.

use super::cx::Cx;
use super::execution::Phase;
use super::job::{Ending, Job, JobPhase};
use super::pending::Abort;
use super::restart::Decision;
use crate::id::RegionIndex;
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

impl Job {
    /// Something took these regions down.
    pub(super) fn fail_regions(
        &mut self,
        cx: &mut Cx<'_>,
        regions: &BTreeSet<RegionIndex>,
        cause: String,
    ) {
        self.abort_checkpoints(cx, Abort::TaskFailure, &cause, Some(regions), |_| true);
        for region in regions {
            let attempt = self.execution.region(*region).attempt;
            self.note_failed(*region, attempt, &cause);
        }
        if self.phase != JobPhase::Running {
            return;
        }
        match self.backoff.on_failure(cx.now) {
            Decision::GiveUp { reason } => {
                let cause = format!("{reason}; the failure was: {cause}");
                self.remember(cx, None, None, cause.clone());
                self.stop(cx, Ending::Failing(cause));
            }
            Decision::Restart { delay, new_attempt } => {
                self.restarts += u64::from(new_attempt);
                let at = cx.now + delay;
                for &region in regions {
                    self.restart_region(cx, region, at);
                }
            }
        }
    }

    /// The tasks of a region stop, and it is scheduled again when they have ended, then at the earliest.
    pub(super) fn restart_region(&mut self, cx: &mut Cx<'_>, index: RegionIndex, at: Timestamp) {
        self.stop_region(cx, index);
        self.execution.set_phase(index, Phase::Restarting { at });
    }

    /// Regions whose attempts have ended and whose delay is over wait for slots again.
    pub(super) fn reschedule(&mut self, now: Timestamp) {
        let ready = |index: &RegionIndex| {
            let region = self.execution.region(*index);
            let over = matches!(region.phase, Phase::Restarting { at } if at <= now);
            let known = !self.checkpoints.is_storing(*index) && !self.rescaling.holds(*index);
            over && region.alive == 0 && known
        };
        let ready: BTreeSet<RegionIndex> = self
            .execution
            .restarting()
            .iter()
            .copied()
            .filter(ready)
            .collect();
        for index in ready {
            self.execution
                .reset_region(index, ExecutionState::Scheduled);
            self.execution
                .set_phase(index, Phase::Scheduled { since: now });
        }
    }

    /// When the next restart delay is over.
    pub(super) fn restart_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let at = |index: &RegionIndex| match self.execution.region(*index).phase {
            Phase::Restarting { at } => Some(at),
            Phase::Reconciling
            | Phase::Scheduled { .. }
            | Phase::Active
            | Phase::Stopping
            | Phase::Finished => None,
        };
        self.execution
            .restarting()
            .iter()
            .filter_map(at)
            .filter(|at| *at > now)
            .min()
    }

    /// A wait for slots that is too long is a failure like any other.
    pub(super) fn expire_slot_requests(&mut self, cx: &mut Cx<'_>) {
        let timeout = self.graph.config().slot_request_timeout;
        let expired = |index: &RegionIndex| {
            self.scheduled_since(*index)
                .is_some_and(|since| since + timeout <= cx.now)
        };
        let expired: BTreeSet<RegionIndex> = self
            .execution
            .scheduled()
            .iter()
            .copied()
            .filter(expired)
            .collect();
        if expired.is_empty() {
            return;
        }
        let waiting = self.waiting.clone().unwrap_or_default();
        let cause = format!(
            "no slots within slot.request.timeout ({} ms): {waiting}",
            timeout.as_millis()
        );
        self.remember(cx, None, None, cause.clone());
        self.fail_regions(cx, &expired, cause);
    }

    /// When the first wait for slots is too long.
    pub(super) fn slot_deadline(&self) -> Option<Timestamp> {
        let timeout = self.graph.config().slot_request_timeout;
        Some(self.first_scheduled()? + timeout)
    }

    /// Since when regions of the job wait for slots.
    pub(super) fn first_scheduled(&self) -> Option<Timestamp> {
        let scheduled = self.execution.scheduled().iter();
        let since = scheduled.filter_map(|index| self.scheduled_since(*index));
        since.min()
    }

    fn scheduled_since(&self, index: RegionIndex) -> Option<Timestamp> {
        match self.execution.region(index).phase {
            Phase::Scheduled { since } => Some(since),
            Phase::Reconciling
            | Phase::Active
            | Phase::Restarting { .. }
            | Phase::Stopping
            | Phase::Finished => None,
        }
    }
}
