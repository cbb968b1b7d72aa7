//! What one step of a coordinator may do, and how it compares with the reference model.

use super::{Checks, Verdict};
use crate::model::Model;
use crate::world::event::Instance;
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::{Coordinator, Effect, Input};
use jobmanager_core::record::Record;
use jobmanager_core::time::Timestamp;

/// A step that a coordinator took.
pub(crate) struct Step<'a> {
    pub(crate) instance: Instance,
    pub(crate) now: Timestamp,
    pub(crate) input: &'a Input,
    pub(crate) effects: &'a [Effect],
    pub(crate) coordinator: &'a Coordinator,
}

impl Checks {
    /// A coordinator will recover from this.
    pub(crate) fn recovers(
        &mut self,
        instance: Instance,
        config: ClusterConfig,
        epoch: Epoch,
        records: &[Record],
        now: Timestamp,
    ) {
        if let Some(model) = Model::recover(config, epoch, records, now, &self.plans) {
            self.models.insert(instance, model);
        }
    }

    /// A coordinator is gone.
    pub(crate) fn gone(&mut self, instance: Instance) {
        self.models.remove(&instance);
    }

    /// A coordinator took a step.
    pub(crate) fn stepped(&mut self, step: &Step<'_>) -> Verdict {
        let Some(model) = self.models.get_mut(&step.instance) else {
            return Ok(());
        };
        let applies = model.follow(step.now, step.input, step.effects, step.coordinator)?;
        if !applies {
            self.models.remove(&step.instance);
        }
        Ok(())
    }
}
