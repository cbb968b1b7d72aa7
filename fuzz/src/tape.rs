//! Decision tapes.

use jobmanager_sim::{Draw, Run, Stream, Tier};

/// Decisions beyond these are the quiet ones: it keeps runs short and inputs small.
const MOST_DRAWS: usize = 2_000;
/// A run is over after so many events: what a fuzzer can try in a minute matters more than its end.
const MOST_EVENTS: u64 = 20_000;

/// Lets a run happen whose decisions these bytes are.
///
/// The first byte is the tier. Then each decision is a byte for the stream and a number, seven bits a
/// byte, the lowest first. After the end every decision is the quiet one.
///
/// # Panics
/// The run breaks a promise.
pub fn tape(bytes: &[u8]) {
    let Some((&tier, rest)) = bytes.split_first() else {
        return;
    };
    let tier = if tier % 2 == 0 {
        Tier::ControlPlane
    } else {
        Tier::Dataflow
    };
    let report = Run::tape(tier, draws(rest)).at_most(MOST_EVENTS).run();
    if let Some(failure) = report.failure {
        panic!("{}: {}\n{}", failure.name, failure.detail, report.options);
    }
}

fn draws(mut rest: &[u8]) -> Vec<Draw> {
    let mut draws = Vec::new();
    while let Some((&stream, after)) = rest.split_first() {
        if draws.len() == MOST_DRAWS {
            break;
        }
        let stream = Stream::ALL[usize::from(stream) % Stream::ALL.len()];
        let (value, after) = number(after);
        draws.push(Draw { stream, value });
        rest = after;
    }
    draws
}

/// Any bytes are a number: what does not fit into 64 bits is left out.
fn number(mut rest: &[u8]) -> (u64, &[u8]) {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((&byte, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    (value, rest)
}
