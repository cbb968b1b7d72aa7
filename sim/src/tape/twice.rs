//! Twice the same run: whether it is, and if not, what the first thing is that differs.

use crate::run::{DIGEST_PACE, Report, Run};
use crate::trace::Entry;

/// Where two runs part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The events among which the first difference is; counted from 1.
    pub events: std::ops::Range<u64>,
    /// What happened first in one run and not in the other: nothing if one had already ended, or if what
    /// differs no longer differs when it is looked at.
    pub first: Option<Entry>,
    /// The same of the second run.
    pub second: Option<Entry>,
}

/// Runs both; what differs first, if anything does.
#[must_use]
pub fn difference(first: &Run, second: &Run) -> Option<Difference> {
    let (one, other) = (first.run(), second.run());
    if alike(&one, &other) {
        return None;
    }
    // The digests are chained: from the first one that differs on, all of them do.
    let pairs: Vec<_> = one.digests.iter().zip(&other.digests).collect();
    let same = pairs.partition_point(|(a, b)| a == b);
    let begin = DIGEST_PACE * same as u64;
    // The last block may be the rest of a run.
    let end = if same < pairs.len() {
        begin + DIGEST_PACE
    } else {
        one.events.max(other.events) + 1
    };
    let log = |run: &Run| run.clone().logged_during(begin..end).run().log;
    let (one, other) = (log(first), log(second));
    let parts = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at));
    let at = |log: &[Entry]| parts.and_then(|at| log.get(at)).cloned();
    Some(Difference {
        events: begin..end,
        first: at(&one),
        second: at(&other),
    })
}

fn alike(one: &Report, other: &Report) -> bool {
    one.digest == other.digest
        && one.digests == other.digests
        && one.events == other.events
        && one.failure == other.failure
        && one.tape == other.tape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Tier;
    use crate::tape::Stream;

    #[test]
    fn the_same_run_does_not_differ() {
        let run = Run::seed(Tier::ControlPlane, 3);
        assert_eq!(difference(&run, &run), None);
    }

    #[test]
    fn a_planted_difference_is_found_where_it_first_shows() {
        let tape = Run::seed(Tier::ControlPlane, 3).run().tape;
        let draws = tape.iter().enumerate();
        let network = draws.filter(|(_, draw)| draw.stream == Stream::Network && draw.value > 0);
        let network: Vec<usize> = network.map(|(at, _)| at).collect();
        let planted = network[network.len() / 2];
        let mut changed = tape.clone();
        changed[planted].value = 0;
        let (first, second) = (
            Run::tape(Tier::ControlPlane, tape),
            Run::tape(Tier::ControlPlane, changed),
        );
        let found = difference(&first, &second).expect("one message is faster");
        let (one, other) = (first.logged().run().log, second.logged().run().log);
        let at = (0..one.len()).find(|at| one.get(*at) != other.get(*at));
        let at = at.expect("the logs differ");
        assert_eq!(found.first.as_ref(), one.get(at));
        assert_eq!(found.second.as_ref(), other.get(at));
        assert!(
            found.events.start > 0,
            "it is not searched from the beginning"
        );
    }
}
