//! A coordinator is a function of its inputs: another one that is given the same does the same. And
//! messages about different jobs do not mind their order.

use super::{Verdict, ensure};
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::digest::Digest;
use jobmanager_core::id::{Epoch, JobId};
use jobmanager_core::jobmanager::{Coordinator, Effect, Input};
use jobmanager_core::message::{FromTaskManager, TaskReport};
use jobmanager_core::record::Record;
use jobmanager_core::time::Timestamp;

/// Longer lives are not replayed: what is kept must stay small.
const MAX_INPUTS: usize = 20_000;

/// Everything that a coordinator was told, and what it answered.
pub(super) struct Recording {
    config: ClusterConfig,
    epoch: Epoch,
    records: Vec<Record>,
    start: Timestamp,
    inputs: Vec<(Timestamp, Input)>,
    /// Chained over the effects of every step.
    effects: u64,
}

/// What a coordinator came to: what it ordered and what it is.
type End = (u64, u64);

fn chain(before: u64, effects: &[Effect]) -> u64 {
    Digest::of(&(before, effects))
}

impl Recording {
    pub(super) fn new(
        config: ClusterConfig,
        epoch: Epoch,
        records: &[Record],
        start: Timestamp,
    ) -> Self {
        Recording {
            config,
            epoch,
            records: records.to_vec(),
            start,
            inputs: Vec::new(),
            effects: 0,
        }
    }

    pub(super) fn step(&mut self, now: Timestamp, input: &Input, effects: &[Effect]) {
        if self.inputs.len() < MAX_INPUTS {
            self.inputs.push((now, input.clone()));
            self.effects = chain(self.effects, effects);
        }
    }

    /// The coordinator is gone; it was last like this.
    pub(super) fn close(&self, coordinator: &Coordinator) -> Verdict {
        if self.inputs.len() >= MAX_INPUTS {
            return Ok(());
        }
        let was = (self.effects, coordinator.digest());
        let again = self.play(&self.inputs);
        let again = again.map(|(coordinator, effects)| (effects, coordinator.digest()));
        ensure(
            again == Some(was),
            "the_same_inputs_make_the_same_coordinator",
            || differs(self.inputs.len(), was, again),
        )?;
        self.exchange()
    }

    fn play(&self, inputs: &[(Timestamp, Input)]) -> Option<(Coordinator, u64)> {
        let (config, records) = (self.config.clone(), self.records.clone());
        let recovered = Coordinator::recover(config, self.epoch, records, self.start);
        let mut coordinator = recovered.ok()?;
        let mut chained = 0;
        for (now, input) in inputs {
            let mut effects = Vec::new();
            coordinator.step(*now, input.clone(), &mut effects);
            chained = chain(chained, &effects);
        }
        Some((coordinator, chained))
    }

    /// The last two messages in a row about different jobs, in the other order.
    fn exchange(&self) -> Verdict {
        let jobs = |at: usize| concerns(&self.inputs[at].1);
        let independent = |at: &usize| {
            let (first, second) = (jobs(*at), jobs(*at + 1));
            first.is_some() && second.is_some() && first != second
        };
        let pairs = 0..self.inputs.len().saturating_sub(1);
        let Some(at) = pairs.rev().find(independent) else {
            return Ok(());
        };
        let now = self.inputs[at + 1].0;
        let (first, second) = (&self.inputs[at].1, &self.inputs[at + 1].1);
        let view = |order: [&Input; 2]| {
            let (mut coordinator, _) = self.play(&self.inputs[..at])?;
            let mut effects = Vec::new();
            // Whatever is due is done before either of them.
            for input in [&Input::Wake, order[0], order[1]] {
                coordinator.step(now, input.clone(), &mut effects);
            }
            // What both write goes into one write, in the order in which they came.
            effects.retain(|effect| !matches!(effect, Effect::Store { .. }));
            let mut effects: Vec<_> = effects.iter().map(|effect| format!("{effect:?}")).collect();
            effects.sort_unstable();
            let jobs: Vec<_> = coordinator.jobs().collect();
            let details: Vec<_> = jobs
                .iter()
                .map(|job| (coordinator.job(job.id), coordinator.checkpoints(job.id)))
                .collect();
            Some((effects, details))
        };
        ensure(
            view([first, second]) == view([second, first]),
            "messages_of_independent_jobs_commute",
            || format!("{now}: {first:?} and {second:?}"),
        )
    }
}

fn differs(inputs: usize, was: End, again: Option<End>) -> String {
    format!("after {inputs} inputs [effects, state] are {again:?}, were {was:?}")
}

/// The job that a message is about, if it is of the kinds whose order does not matter to other jobs: they
/// neither write nor give slots back.
fn concerns(input: &Input) -> Option<JobId> {
    let Input::Message { message, .. } = input else {
        return None;
    };
    let FromTaskManager::TaskStates(changes) = message else {
        return None;
    };
    let quiet = changes.iter().all(|change| match change.report {
        TaskReport::Initializing | TaskReport::Running => true,
        TaskReport::EndOfData
        | TaskReport::Finished
        | TaskReport::Canceled
        | TaskReport::Failed { .. } => false,
    });
    let job = changes.first()?.attempt.job;
    let one = changes.iter().all(|change| change.attempt.job == job);
    (quiet && one).then_some(job)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use jobmanager_core::config::cluster_config;
    use std::collections::BTreeMap;

    #[test]
    fn a_coordinator_that_did_something_else_is_seen() {
        let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
        let recover = || Coordinator::recover(config.clone(), Epoch(1), Vec::new(), Timestamp(0));
        let mut coordinator = recover().unwrap();
        let mut recording = Recording::new(config.clone(), Epoch(1), &[], Timestamp(0));
        coordinator.step(Timestamp(5), Input::Wake, &mut Vec::new());
        recording.step(Timestamp(5), &Input::Wake, &[]);
        assert_eq!(recording.close(&coordinator), Ok(()));
        coordinator.step(Timestamp(6), Input::Wake, &mut Vec::new());
        let failure = recording.close(&coordinator).unwrap_err();
        assert_eq!(failure.name, "the_same_inputs_make_the_same_coordinator");
    }
}
