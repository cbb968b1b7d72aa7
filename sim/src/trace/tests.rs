//! What must hold of every record of a run.

use super::{Entry, Kind, Lane, Passage, SpanKind};
use crate::plan::{FaultKind, Tier};
use crate::run::{Report, Run};
use std::collections::BTreeMap;

fn reports() -> impl Iterator<Item = Report> {
    let tiers = [Tier::Dataflow, Tier::ControlPlane];
    let runs = tiers.map(|tier| (0..3).map(move |seed| Run::seed(tier, seed)));
    runs.into_iter().flatten().map(|run| run.logged().run())
}

fn is_node(lane: Lane) -> bool {
    matches!(lane, Lane::JobManager(_) | Lane::TaskManager(_))
}

#[test]
fn a_message_is_linked_with_the_order_that_sent_it_and_the_input_it_became() {
    for report in reports() {
        let mut linked = 0;
        for message in &report.timeline.messages {
            if let Some(entry) = message.sent_by.map(|at| &report.log[at]) {
                assert_eq!((entry.lane, entry.at), (message.from, message.sent));
            }
            if let Some(entry) = message.received_as.map(|at| &report.log[at]) {
                assert_eq!(entry.lane, message.to);
                assert_eq!(message.passage, Passage::Arrived(entry.at));
                linked += 1;
            }
        }
        assert!(linked > 100, "{linked} messages arrived");
    }
}

/// Whether anybody hears something once more that was said once.
fn is_told_again(report: &Report) -> bool {
    let options = &report.options;
    options.twice
        || options.metamorphic.repeats > 0
        || options.leaders.echoes > 0
        || options.faults.kinds.contains(&FaultKind::Repetition)
}

#[test]
fn every_heartbeat_that_a_node_takes_is_a_message_that_another_one_sent() {
    for report in reports() {
        let messages = report.timeline.messages.iter();
        let mut arrived: BTreeMap<usize, Lane> = messages
            .filter_map(|message| Some((message.received_as?, message.from)))
            .collect();
        let is_input = |entry: &Entry| entry.kind == Kind::Heartbeat && entry.verb == "<-";
        // With every message given twice, the second one is not a message of its own.
        let inputs = report.log.iter().enumerate().filter(|(_, e)| is_input(e));
        let unknown = inputs.filter(|(at, entry)| {
            let from = arrived.remove(at);
            from.is_none_or(|from| from == entry.lane || !is_node(from))
        });
        let unknown = unknown.count();
        assert!(
            is_told_again(&report) || unknown == 0,
            "{unknown} of nobody"
        );
    }
}

#[test]
fn what_lasts_ends_after_it_began_and_a_taskmanager_lives_one_life_at_a_time() {
    for report in reports() {
        let mut until: BTreeMap<Lane, u64> = BTreeMap::new();
        for span in &report.timeline.spans {
            let end = span.end.unwrap_or(report.simulated);
            assert!(span.begin <= end && end <= report.simulated);
            if span.kind == SpanKind::Life {
                let before = until.insert(span.lane, end).unwrap_or(0);
                assert!(before <= span.begin, "{} lives twice", span.lane);
            }
        }
    }
    let reports: Vec<Report> = reports().collect();
    for kind in [SpanKind::Leads, SpanKind::Job, SpanKind::Running] {
        let mut spans = reports.iter().flat_map(|report| &report.timeline.spans);
        assert!(
            spans.any(|span| span.kind == kind),
            "no span shows {kind:?}"
        );
    }
}

#[test]
fn the_state_that_is_shown_is_the_one_that_is_digested() {
    for report in reports() {
        let states = report.timeline.states.iter();
        let states: BTreeMap<_, _> = states.map(|state| (state.entry, state.digest)).collect();
        let mut compared = 0;
        for (at, entry) in report.log.iter().enumerate() {
            if entry.verb == "digest" {
                let (_, shown) = states
                    .range(..at)
                    .next_back()
                    .expect("an input came before");
                assert_eq!(entry.what, shown.to_string());
                compared += 1;
            }
        }
        assert!(compared > 0);
    }
}

#[test]
fn a_run_without_a_log_keeps_nothing() {
    let report = Run::seed(Tier::Dataflow, 0).run();
    assert!(report.log.is_empty());
    assert_eq!(report.timeline, super::Timeline::default());
}
