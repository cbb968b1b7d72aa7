//! A coordinator that is told what was recorded, frame by frame.

use super::log::Log;
use super::surroundings::Surroundings;
use super::{Divergence, Verdict};
use crate::run::caught;
use jobmanager_core::jobmanager::{Coordinator, Input};
use jobmanager_core::message::FromTaskManager;
use jobmanager_core::record::Record;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::recording::{
    EffectsDigest, End, Entry, Frame, Header, MAX_SNAPSHOT, RecordingError, restore, snapshot,
};

/// After how many inputs the coordinator's invariants are looked at: that costs a look at everything.
const INVARIANTS_PACE: u64 = 256;

/// A replay under way.
pub(super) struct Player {
    header: Header,
    coordinator: Option<Coordinator>,
    effects: EffectsDigest,
    inputs: u64,
    segments: u64,
    checks: u64,
    /// The input up to which the state is known to be the recorded one.
    checked: u64,
    /// Of the state, when it was looked at last.
    digest: u64,
    /// The last input, and when it was taken.
    last: Option<(Timestamp, Input)>,
    /// What the coordinator said when it broke.
    broken: Option<String>,
    /// The last frame was there.
    complete: bool,
    /// When the last frame was recorded.
    at: Timestamp,
    verdict: Option<Verdict>,
    surroundings: Surroundings,
    log: Log,
}

/// What came of it.
pub(super) struct Ended {
    /// As it is then, unless something went wrong.
    pub(super) coordinator: Option<Coordinator>,
    pub(super) inputs: u64,
    pub(super) segments: u64,
    pub(super) checks: u64,
    pub(super) digest: u64,
    pub(super) verdict: Verdict,
    /// When the last frame was recorded.
    pub(super) at: Timestamp,
    pub(super) surroundings: Surroundings,
    pub(super) log: Log,
}

impl Player {
    pub(super) fn new(header: Header, logged: bool) -> Player {
        let log = Log::new(logged, header.epoch);
        Player {
            header,
            coordinator: None,
            effects: EffectsDigest::default(),
            inputs: 0,
            segments: 0,
            checks: 0,
            checked: 0,
            digest: 0,
            last: None,
            broken: None,
            complete: false,
            verdict: None,
            at: Timestamp::default(),
            surroundings: Surroundings::default(),
            log,
        }
    }

    /// Whether it is known how it ends.
    pub(super) fn is_over(&self) -> bool {
        self.verdict.is_some()
    }

    /// Goes on by a frame, which begins at this byte of the file.
    ///
    /// # Errors
    /// It is not in its place.
    pub(super) fn play(&mut self, offset: u64, frame: Frame) -> Result<(), RecordingError> {
        let Frame { at, effects, entry } = frame;
        let misplaced = |expected| Err(RecordingError::Misplaced { offset, expected });
        if self.complete {
            return misplaced("the end of the file");
        }
        self.at = self.at.max(at);
        self.log.at(at);
        if self.broken.is_some() {
            self.break_down(&entry);
            return Ok(());
        }
        let started = self.coordinator.is_some();
        if started && self.effects.value() != effects {
            self.differs(Divergence::Effects);
            return Ok(());
        }
        match entry {
            Entry::Recovered(records) if !started => self.recover(at, records),
            Entry::Snapshot(bytes) => self.snapshot(&bytes),
            Entry::Input(input) if started => self.input(at, input),
            Entry::Check(digest) if started => self.check(digest),
            Entry::End(end) if started => self.recording_ends(end),
            Entry::Header(_) | Entry::Recovered(_) => {
                return misplaced("an input, a check, a snapshot or the end");
            }
            Entry::Input(_) | Entry::Check(_) | Entry::End(_) => {
                return misplaced("records or a snapshot to start from");
            }
        }
        Ok(())
    }

    /// What came of it; nothing if the recording ended before it began.
    pub(super) fn end(mut self) -> Option<Ended> {
        // The recording was cut off before it could say that the coordinator broke.
        if let Some(words) = self.broken.take() {
            self.breaks(words, false);
        }
        let verdict = match self.verdict {
            Some(verdict) => verdict,
            None => {
                self.digest = self.coordinator.as_ref()?.digest();
                Verdict::Same
            }
        };
        let as_recorded = matches!(verdict, Verdict::Same | Verdict::NotBroken(_));
        Some(Ended {
            coordinator: self.coordinator.filter(|_| as_recorded),
            inputs: self.inputs,
            segments: self.segments,
            checks: self.checks,
            digest: self.digest,
            verdict,
            at: self.at,
            surroundings: self.surroundings,
            log: self.log,
        })
    }

    fn recover(&mut self, at: Timestamp, records: Vec<Record>) {
        let Header { config, epoch, .. } = self.header.clone();
        self.log.recovers(epoch, &records);
        match Coordinator::recover(config, epoch, records, at) {
            Ok(coordinator) => self.begin(coordinator),
            Err(problem) => self.verdict = Some(Verdict::NoStart(problem.to_string())),
        }
    }

    fn snapshot(&mut self, bytes: &[u8]) {
        if let Some(mut coordinator) = self.coordinator.take() {
            self.checks += 1;
            // Taking it is part of what was recorded: it changes what comes of later registrations.
            let same = snapshot(&mut coordinator, MAX_SNAPSHOT).is_some_and(|own| own == bytes);
            self.begin(coordinator);
            if same {
                self.checked = self.inputs;
            } else {
                self.state_differs();
            }
            return;
        }
        let writer = &self.header.program;
        match caught(|| restore(bytes)) {
            Ok(Ok(coordinator)) => {
                self.log.restores(&coordinator);
                self.begin(coordinator);
            }
            Ok(Err(problem)) => {
                self.verdict = Some(Verdict::NoStart(format!("{problem} (it was {writer})")));
            }
            Err(panic) => self.verdict = Some(Verdict::NoStart(panic)),
        }
    }

    /// A segment begins in this state.
    fn begin(&mut self, coordinator: Coordinator) {
        self.segments += 1;
        self.effects = EffectsDigest::default();
        self.digest = coordinator.digest();
        self.log.shows(&coordinator);
        self.coordinator = Some(coordinator);
    }

    fn input(&mut self, at: Timestamp, input: Input) {
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        self.inputs += 1;
        self.log.takes(&input);
        self.surroundings.takes(&input);
        let mut effects = Vec::new();
        let look = self.inputs.is_multiple_of(INVARIANTS_PACE);
        let again = input.clone();
        let stepped = caught(|| {
            coordinator.step(at, again, &mut effects);
            if look {
                coordinator.check_invariants()
            } else {
                Ok(())
            }
        });
        self.log.orders(&effects);
        if stepped.is_ok() && (!effects.is_empty() || !is_routine(&input)) {
            self.log.shows(coordinator);
        }
        self.last = Some((at, input));
        self.surroundings.orders(&effects);
        self.effects.add(&effects);
        match stepped {
            Ok(Ok(())) => {}
            Ok(Err(violation)) => self.breaks(violation.to_string(), false),
            Err(panic) => self.broken = Some(panic),
        }
    }

    fn check(&mut self, digest: u64) {
        let Some(coordinator) = &self.coordinator else {
            return;
        };
        self.checks += 1;
        self.digest = coordinator.digest();
        if self.digest == digest {
            self.checked = self.inputs;
        } else {
            self.state_differs();
        }
    }

    fn recording_ends(&mut self, end: End) {
        self.complete = true;
        match end {
            End::Asked(digest) => self.check(digest),
            End::Panicked(words) => self.verdict = Some(Verdict::NotBroken(words)),
        }
    }

    /// The coordinator broke; this is what the recording has instead of its effects.
    fn break_down(&mut self, entry: &Entry) {
        let words = self.broken.take().unwrap_or_default();
        let recorded = matches!(entry, Entry::End(End::Panicked(recorded)) if *recorded == words);
        self.breaks(words, recorded);
    }

    fn breaks(&mut self, words: String, recorded: bool) {
        self.log.breaks(&words);
        let input = self.inputs;
        self.verdict = Some(Verdict::Broken {
            input,
            words,
            recorded,
        });
    }

    fn state_differs(&mut self) {
        let inputs = self.inputs.saturating_sub(self.checked + 1);
        self.differs(Divergence::State { inputs });
    }

    fn differs(&mut self, what: Divergence) {
        let (at, shown) = match &self.last {
            Some((at, input)) => (*at, format!("{input:?}")),
            None => (Timestamp::default(), "the start".to_owned()),
        };
        self.log.breaks("differs from what was recorded");
        self.verdict = Some(Verdict::Differs {
            input: self.inputs,
            at,
            what,
            shown,
        });
    }
}

/// Whether it hardly ever changes what there is to see, if nothing is ordered because of it.
fn is_routine(input: &Input) -> bool {
    match input {
        Input::Message { message, .. } => match message {
            FromTaskManager::Heartbeat { .. } | FromTaskManager::Acknowledge(_) => true,
            FromTaskManager::TaskStates(_)
            | FromTaskManager::Leave { .. }
            | FromTaskManager::Decline { .. } => false,
        },
        Input::Wake => true,
        Input::Connected { .. }
        | Input::Disconnected { .. }
        | Input::Stored { .. }
        | Input::Discarded { .. }
        | Input::SavepointWritten { .. }
        | Input::Workers { .. }
        | Input::Worker { .. }
        | Input::Command { .. } => false,
    }
}
