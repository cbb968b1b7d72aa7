//! The smallest worlds, all of them, with their exact numbers of states: a change in behaviour shows.

use super::{Explored, Scope, Shape, explore};

fn scope(shape: Shape, faults: u8) -> Scope {
    Scope {
        shape,
        checkpoints: 1,
        faults,
        hurries: 0,
        cancels: 0,
        slots: 1,
        thorough: false,
        limit: 1_000_000,
    }
}

/// The number of states, if nothing is wrong in any of them.
fn states(scope: &Scope) -> usize {
    let Explored {
        states,
        complete,
        found,
        ..
    } = explore(scope, &mut |_, _| {});
    if let Some(found) = found {
        let (failure, transcript) = (found.failure, found.transcript.join("\n"));
        panic!("{transcript}\n{}: {}", failure.name, failure.detail);
    }
    assert!(complete);
    states
}

#[test]
fn no_order_of_events_breaks_a_promise() {
    assert_eq!(states(&scope(Shape::Chain, 0)), 0);
    assert_eq!(states(&scope(Shape::Pair, 0)), 0);
}

#[test]
fn no_fault_at_any_instant_breaks_a_promise() {
    assert_eq!(states(&scope(Shape::Chain, 1)), 0);
    assert_eq!(states(&scope(Shape::Pair, 1)), 0);
}

#[test]
fn a_fault_and_a_cancellation_in_any_order_break_no_promise() {
    let canceled = Scope {
        cancels: 1,
        ..scope(Shape::Pair, 1)
    };
    assert_eq!(states(&canceled), 0);
}

#[test]
fn time_that_overtakes_everything_else_once_breaks_no_promise() {
    let hurried = Scope {
        hurries: 1,
        ..scope(Shape::Chain, 0)
    };
    assert_eq!(states(&hurried), 0);
}

#[test]
fn what_is_beyond_the_limit_is_not_said_to_be_well() {
    let limited = Scope {
        limit: 10,
        ..scope(Shape::Pair, 1)
    };
    assert!(!explore(&limited, &mut |_, _| {}).complete);
}
