//! `sim explore`: every order of events in a tiny world.

use jobmanager_sim::explore::{Scope, explore};
use std::time::Instant;

/// Explores and prints what came of it; tells whether all was well.
pub(crate) fn run(scope: &Scope) -> bool {
    let started = Instant::now();
    let seconds = || started.elapsed().as_millis() as u64;
    let explored = explore(scope, &mut |known, waiting| {
        let (whole, rest) = (seconds() / 1_000, seconds() % 1_000 / 100);
        eprintln!("{known} states, {waiting} of them to be looked at, {whole}.{rest} s");
    });
    if let Some(found) = &explored.found {
        for line in &found.transcript {
            println!("{line}");
        }
        println!("{}: {}", found.failure.name, found.failure.detail);
        println!("found after {} states, {} steps", found.after, found.steps);
    }
    let (whole, rest) = (seconds() / 1_000, seconds() % 1_000 / 100);
    println!("states       {}", explored.states);
    println!("transitions  {}", explored.transitions);
    println!("depth        {}", explored.depth);
    println!("job ended in {}", explored.ends);
    println!("seconds      {whole}.{rest}");
    match (&explored.found, explored.complete) {
        (Some(_), _) => println!("verdict      a promise is broken"),
        (None, true) => println!("verdict      all is well, and this is all there is"),
        (None, false) => println!("verdict      all is well so far; raise --limit to see the rest"),
    }
    explored.found.is_none() && explored.complete
}
