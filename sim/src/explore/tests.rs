//! The smallest worlds, all of them, with their exact numbers of states: a change in behaviour shows.

use super::{Explored, Scope, Shape, Situation, explore};

fn scope(shape: Shape, faults: u8) -> Scope {
    Scope {
        shape,
        checkpoints: 1,
        faults,
        hurries: 0,
        cancels: 0,
        slots: 1,
        divided: false,
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
    let thorough = |shape| Scope {
        thorough: true,
        ..scope(shape, 0)
    };
    assert_eq!(states(&thorough(Shape::Chain)), 71);
    assert_eq!(states(&thorough(Shape::Pair)), 75);
}

#[test]
fn no_fault_at_any_instant_breaks_a_promise() {
    assert_eq!(states(&scope(Shape::Chain, 1)), 8_626);
    assert_eq!(states(&scope(Shape::Pair, 1)), 24_961);
}

#[test]
fn no_cancellation_at_any_instant_breaks_a_promise() {
    let canceled = |shape| Scope {
        cancels: 1,
        ..scope(shape, 0)
    };
    assert_eq!(states(&canceled(Shape::Chain)), 684);
    assert_eq!(states(&canceled(Shape::Pair)), 3_309);
}

#[test]
fn time_that_overtakes_everything_else_breaks_no_promise() {
    let hurried = |shape| Scope {
        hurries: 1,
        ..scope(shape, 0)
    };
    assert_eq!(states(&hurried(Shape::Chain)), 1_160);
    assert_eq!(states(&hurried(Shape::Pair)), 6_616);
}

/// Two leaders, the earlier one unknowing: it is met by who has seen the later one, and is left alone by all
/// that it could do harm with.
#[test]
fn an_old_leader_that_lives_on_breaks_no_promise() {
    let divided = |shape| Scope {
        divided: true,
        slots: 2,
        ..scope(shape, 1)
    };
    assert_eq!(states(&divided(Shape::Chain)), 5_396);
    assert_eq!(states(&divided(Shape::Pair)), 30_192);
    let explored = explore(&divided(Shape::Chain), &mut |_, _| {});
    assert!(explored.reached.contains(&Situation::OldLeaderGreeted));
}

#[test]
fn what_is_beyond_the_limit_is_not_said_to_be_well() {
    let limited = Scope {
        limit: 10,
        ..scope(Shape::Pair, 1)
    };
    assert!(!explore(&limited, &mut |_, _| {}).complete);
}
