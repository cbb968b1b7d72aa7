//! `sim explore`: every order of events in a tiny world.

use clap::Args;
use jobmanager_sim::explore::{Explored, Scope, Shape, explore};
use std::time::Instant;

/// What is explored. By default both shapes of the job, one after the other.
#[derive(Debug, Args)]
pub(super) struct Explore {
    /// Only this job.
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    #[command(flatten)]
    scope: Scope,
}

/// Explores and prints what came of it; tells whether all was well.
pub(super) fn run(arguments: &Explore) -> bool {
    let both = vec![Shape::Chain, Shape::Pair];
    let shapes = arguments.shape.map_or(both, |shape| vec![shape]);
    shapes.into_iter().all(|shape| {
        let scope = Scope {
            shape,
            ..arguments.scope.clone()
        };
        one(&scope)
    })
}

fn one(scope: &Scope) -> bool {
    println!("{scope:?}");
    let started = Instant::now();
    let seconds = || {
        let millis = started.elapsed().as_millis();
        format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
    };
    let explored = explore(scope, &mut |known, waiting| {
        eprintln!(
            "{known} states, {waiting} of them to be looked at, {}",
            seconds()
        );
    });
    print(&explored);
    println!("time         {}", seconds());
    explored.found.is_none() && explored.complete
}

fn print(explored: &Explored) {
    if let Some(found) = &explored.found {
        for line in &found.transcript {
            println!("{line}");
        }
        println!("{}: {}", found.failure.name, found.failure.detail);
        println!("found after {} states, {} steps", found.after, found.steps);
    }
    println!("states       {}", explored.states);
    println!("transitions  {}", explored.transitions);
    println!("depth        {}", explored.depth);
    println!("reached      {:?}", explored.reached);
    println!("job ended in {}", explored.ends);
    let verdict = match (&explored.found, explored.complete) {
        (Some(_), _) => "a promise is broken",
        (None, true) => "all is well, and this is all there is",
        (None, false) => "all is well so far; raise --limit to see the rest",
    };
    println!("verdict      {verdict}");
}
