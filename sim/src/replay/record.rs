//! Flight recordings of simulated JobManagers, in the format of real ones: what `replay` can do is
//! tested with thousands of them.

use crate::world::World;
use crate::world::event::Instance;
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::{Coordinator, Effect, Input};
use jobmanager_core::record::Record;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::recording::{
    EffectsDigest, End, Entry, Frame, Header, MAX_SNAPSHOT, append, append_input, snapshot, start,
};
use std::collections::BTreeMap;

impl World {
    /// The recordings, once the run is over. `panic` is what it ended with.
    pub(crate) fn take_recordings(&mut self, panic: Option<&str>) -> Vec<Vec<u8>> {
        let recordings = std::mem::take(&mut self.recordings);
        let alive = self.jobmanagers.iter().filter_map(|(id, node)| {
            let coordinator = node.coordinator.as_ref()?;
            Some((*id, self.jobmanager_time(*id), coordinator))
        });
        recordings.into_files(panic, alive)
    }
}

/// The recordings of a run; nothing is recorded without a pace.
#[derive(Default)]
pub(crate) struct Recordings {
    /// How many inputs a segment has.
    pace: Option<u64>,
    files: BTreeMap<Instance, Recording>,
    /// Who takes an input right now, and when.
    taking: Option<(Instance, Timestamp)>,
}

#[derive(Default)]
struct Recording {
    file: Vec<u8>,
    effects: EffectsDigest,
    inputs: u64,
}

impl Recording {
    fn append(&mut self, at: Timestamp, entry: Entry) {
        let effects = self.effects.value();
        append(&mut self.file, &Frame { at, effects, entry });
    }
}

impl Recordings {
    /// Recordings with so many inputs in a segment.
    pub(crate) fn new(pace: Option<u64>) -> Recordings {
        Recordings {
            pace,
            ..Recordings::default()
        }
    }

    /// A coordinator is about to be rebuilt.
    pub(crate) fn recovers(
        &mut self,
        instance: Instance,
        at: Timestamp,
        config: &ClusterConfig,
        epoch: Epoch,
        records: &[Record],
    ) {
        if self.pace.is_none() {
            return;
        }
        let mut recording = Recording::default();
        start(&mut recording.file);
        let header = Header {
            program: concat!("sim ", env!("CARGO_PKG_VERSION")).to_owned(),
            epoch,
            config: config.clone(),
        };
        recording.append(at, Entry::Header(header));
        recording.append(at, Entry::Recovered(records.to_vec()));
        self.files.insert(instance, recording);
    }

    /// A coordinator is about to take an input.
    pub(crate) fn takes(&mut self, instance: Instance, at: Timestamp, input: &Input) {
        if let Some(recording) = self.files.get_mut(&instance) {
            let effects = recording.effects.value();
            append_input(&mut recording.file, at, effects, input);
            recording.inputs += 1;
            self.taking = Some((instance, at));
        }
    }

    /// It has taken it.
    pub(crate) fn took(
        &mut self,
        instance: Instance,
        coordinator: &mut Coordinator,
        effects: &[Effect],
    ) {
        let (Some(pace), Some((_, at))) = (self.pace, self.taking.take()) else {
            return;
        };
        let Some(recording) = self.files.get_mut(&instance) else {
            return;
        };
        recording.effects.add(effects);
        if recording.inputs.is_multiple_of(pace)
            && let Some(snapshot) = snapshot(coordinator, MAX_SNAPSHOT)
        {
            recording.append(at, Entry::Snapshot(snapshot));
            recording.effects = EffectsDigest::default();
        }
    }

    /// The files, by JobManager process. `panic` is what the one said that took an input when the run
    /// ended; `alive` are those that still run.
    pub(crate) fn into_files<'a>(
        mut self,
        panic: Option<&str>,
        alive: impl Iterator<Item = (Instance, Timestamp, &'a Coordinator)>,
    ) -> Vec<Vec<u8>> {
        let broken = self.taking.map(|(instance, _)| instance);
        for (instance, at, coordinator) in alive {
            let end = match panic {
                Some(words) if broken == Some(instance) => End::Panicked(words.to_owned()),
                Some(_) | None => End::Asked(coordinator.digest()),
            };
            if let Some(recording) = self.files.get_mut(&instance) {
                recording.append(at, Entry::End(end));
            }
        }
        self.files
            .into_values()
            .map(|recording| recording.file)
            .collect()
    }
}
