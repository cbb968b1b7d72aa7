//! A run: of a seed or of a tape, watched or not, and what came of it.

use crate::checks::oracle::Failure;
use crate::marks::Marks;
use crate::plan::{Micros, Options, Tier};
use crate::replay::Recordings;
use crate::tape::{Decisions, Draw};
use crate::trace::{Entry, Timeline, Trace};
use crate::world::World;
use std::cell::Cell;
use std::num::NonZeroU64;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// How many events lie between two digests of a report.
pub const DIGEST_PACE: u64 = 64;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the run was like.
    pub options: Options,
    /// The first thing that was wrong, if anything was.
    pub failure: Option<Failure>,
    /// What the reference model said first, in a run without it.
    pub disagreement: Option<Failure>,
    /// The chained digest of every input and output.
    pub digest: u64,
    /// The digest before every [`DIGEST_PACE`]th event, so that two runs can be compared.
    pub digests: Vec<u64>,
    /// How much time passed in the world, in microseconds.
    pub simulated: Micros,
    /// How many events there were.
    pub events: u64,
    /// What was reached.
    pub marks: Marks,
    /// Every decision, to be repeated by [`Run::tape`].
    pub tape: Vec<Draw>,
    /// What happened; empty unless it was asked for.
    pub log: Vec<Entry>,
    /// The flight recording of every JobManager process, in order; empty unless they were asked for.
    pub recordings: Vec<Vec<u8>>,
    /// What lay between; empty without a log.
    pub timeline: Timeline,
}

/// A run to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    tier: Tier,
    source: Source,
    /// The events that are logged.
    logged: Range<u64>,
    /// The run ends before more events than this.
    events: u64,
    /// How many inputs a segment of the recordings has, if there are any.
    recorded: Option<u64>,
    without_model: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Seed(u64),
    Tape(Vec<Draw>),
}

impl Run {
    fn new(tier: Tier, source: Source) -> Run {
        Run {
            tier,
            source,
            logged: 0..0,
            events: u64::MAX,
            recorded: None,
            without_model: false,
        }
    }

    /// The run of a seed.
    #[must_use]
    pub fn seed(tier: Tier, seed: u64) -> Run {
        Run::new(tier, Source::Seed(seed))
    }

    /// The run of these decisions; after their end, the quiet ones.
    #[must_use]
    pub fn tape(tier: Tier, tape: Vec<Draw>) -> Run {
        Run::new(tier, Source::Tape(tape))
    }

    /// The same run, with a log of what happens.
    #[must_use]
    pub fn logged(self) -> Run {
        self.logged_during(0..u64::MAX)
    }

    /// The same run, with a log of what happens during these events, counted from 1. What happens before
    /// the first one is event 0.
    #[must_use]
    pub fn logged_during(self, events: Range<u64>) -> Run {
        Run {
            logged: events,
            ..self
        }
    }

    /// The same run, but not for ever: after so many events it is over, and nothing is wrong with that.
    #[must_use]
    pub fn at_most(self, events: u64) -> Run {
        Run { events, ..self }
    }

    /// The same run, with a flight recording of every JobManager process; a segment has so many inputs.
    #[must_use]
    pub fn recorded(self, inputs: NonZeroU64) -> Run {
        Run {
            recorded: Some(inputs.get()),
            ..self
        }
    }

    /// The same run, in which nothing is wrong with a coordinator that the reference model contradicts: the
    /// named checks alone judge it.
    #[must_use]
    pub fn without_model(self) -> Run {
        Run {
            without_model: true,
            ..self
        }
    }

    /// Lets it happen.
    #[must_use]
    pub fn run(&self) -> Report {
        let mut decisions = match &self.source {
            Source::Seed(seed) => Decisions::from_seed(*seed),
            Source::Tape(tape) => Decisions::from_tape(tape),
        };
        let options = Options::draw(self.tier, &mut decisions);
        let trace = Trace::new(self.logged.clone());
        let mut world = World::new(options, decisions, trace);
        world.recordings = Recordings::new(self.recorded);
        world.without_model = self.without_model;
        // A coordinator panics with the name of the invariant that it broke: the seed's failure, not ours.
        let ended = caught(|| world.run(self.events));
        if let Err(panic) = &ended {
            world.fail("nothing_panics", panic.clone());
        }
        let recordings = world.take_recordings(ended.err().as_deref());
        let (digest, digests, log, timeline) = world.trace.into_parts();
        Report {
            options: world.options,
            failure: world.failure,
            disagreement: world.disagreement,
            digest,
            digests,
            simulated: world.now,
            events: world.events,
            marks: world.marks,
            tape: world.decisions.into_tape(),
            log,
            recordings,
            timeline,
        }
    }
}

thread_local! {
    /// Whether a panic of this thread is one of the machines under test.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What a panic within says, without a word on the terminal: shrinking sees hundreds of them.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !CATCHING.get() {
                loud(panic);
            }
        }));
    });
    let before = CATCHING.replace(true);
    let ended = catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(before);
    ended.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_may_not_go_on_ends_early_and_well() {
        let whole = Run::seed(Tier::ControlPlane, 0).run();
        let part = Run::seed(Tier::ControlPlane, 0).at_most(100).run();
        assert_eq!((part.events, part.failure), (100, None));
        assert_eq!(part.digests[..], whole.digests[..1]);
    }

    #[test]
    fn the_model_only_looks() {
        let run = Run::seed(Tier::ControlPlane, 0);
        assert_eq!(run.clone().without_model().run(), run.run());
    }

    #[test]
    fn a_panic_of_a_machine_is_told_as_what_is_wrong() {
        let told = caught(|| panic!("the sky falls"));
        assert_eq!(told, Err("the sky falls".to_owned()));
    }

    #[test]
    fn a_log_of_some_events_is_a_part_of_the_log_of_all() {
        let all = Run::seed(Tier::ControlPlane, 0).logged().run();
        let some = Run::seed(Tier::ControlPlane, 0).logged_during(0..50).run();
        assert_eq!(some.log[..], all.log[..some.log.len()]);
        assert_eq!(some.digest, all.digest);
        assert!(some.log.len() < all.log.len());
    }
}
