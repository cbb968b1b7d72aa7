//! `sim mutants`: makes mistakes on purpose and looks whether the simulator sees them.
//!
//! Each mutant is a patch under `sim/mutants`. It is applied to a copy of the sources, built, and hunted
//! with the seeds of the default run. One that nothing catches means that a checker or a fault is missing; one
//! that no longer fits the sources is to be made again. Before all of them the copy is run as it is: if
//! the seeds fail without a mistake, what they say about mistakes is worth nothing.

mod copy;
mod hunt;
mod patch;
mod table;

pub(super) use hunt::{Hunt, run as hunt};

use clap::Args;
use copy::{Copy, End};
use patch::Mutant;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use table::{Row, Score};

/// A hunt that has not ended so long after its time is one of whose runs does not end: longer than the
/// longest run and the shrinking take.
const GRACE: Duration = Duration::from_secs(120);
/// What `--quick` is content with.
const QUICK: Hunt = Hunt {
    windows: 1,
    seeds: 2_000,
    seconds: 30,
    without_model: false,
};

#[derive(Debug, Args)]
pub(super) struct Mutants {
    /// Only these; a part of a name names every mutant that has it.
    names: Vec<String>,
    /// How many at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    #[command(flatten)]
    hunt: Hunt,
    /// One window of 2000 seeds, 30 seconds at the most: whether each is caught, not how soon.
    #[arg(long, conflicts_with_all = ["windows", "seeds", "seconds", "write"])]
    quick: bool,
    /// Write what came of it into sim/MUTANTS.md; what is there of other mutants stays.
    #[arg(long, conflicts_with = "without_model")]
    write: bool,
    /// Where the copies are made; kept, so that the next time they build faster. Without it they are in
    /// the folder for temporary files and removed in the end.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Hunts mutants; tells whether all fit the sources and were caught.
pub(super) fn run(arguments: &Mutants) -> bool {
    match hunted(arguments) {
        Ok(well) => well,
        Err(problem) => {
            eprintln!("{problem}");
            false
        }
    }
}

fn hunted(arguments: &Mutants) -> Result<bool, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mutants = chosen(&root, &arguments.names)?;
    for mutant in &mutants {
        mutant.apply(&root)?;
    }
    let temporary = std::env::temp_dir().join(format!("mutants-{}", std::process::id()));
    let folder = arguments.folder.as_ref().unwrap_or(&temporary);
    let scores = scores(arguments, &root, folder, &mutants);
    if arguments.folder.is_none() {
        // What cannot be removed here, the system removes later.
        let _ = std::fs::remove_dir_all(folder);
    }
    let scores = scores?;
    let survivors = scores.iter().filter(|(_, score)| !score.is_caught());
    println!(
        "{} mutants, {} survived",
        scores.len(),
        survivors.clone().count()
    );
    if arguments.write {
        write(&root, &scores)?;
    }
    Ok(survivors.count() == 0)
}

/// Writes the table: these scores, and of the other mutants what was written before.
fn write(root: &Path, scores: &[(Mutant, Score)]) -> Result<(), String> {
    let file = root.join("sim/MUTANTS.md");
    let without = copy::read(&root.join("sim/mutants/without.md"))?;
    let mut rows = Row::read(&copy::read(&file)?);
    let new = scores.iter();
    rows.extend(new.map(|(mutant, score)| (mutant.name.clone(), Row::of(score))));
    let mutants = Mutant::all(&root.join("sim/mutants"))?;
    copy::write(&file, &table::table(&mutants, &rows, &without))
}

/// The mutants that are asked for.
fn chosen(root: &Path, names: &[String]) -> Result<Vec<Mutant>, String> {
    let mut mutants = Mutant::all(&root.join("sim/mutants"))?;
    for name in names {
        if !mutants.iter().any(|mutant| mutant.name.contains(name)) {
            return Err(format!(
                "no mutant is named `{name}`: look into sim/mutants"
            ));
        }
    }
    let asked = |mutant: &Mutant| names.iter().any(|name| mutant.name.contains(name));
    mutants.retain(|mutant| names.is_empty() || asked(mutant));
    Ok(mutants)
}

/// Hunts in as many copies as are asked for.
fn scores(
    arguments: &Mutants,
    root: &Path,
    folder: &Path,
    mutants: &[Mutant],
) -> Result<Vec<(Mutant, Score)>, String> {
    let quick = Hunt {
        without_model: arguments.hunt.without_model,
        ..QUICK
    };
    let terms = if arguments.quick {
        &quick
    } else {
        &arguments.hunt
    };
    let first = Copy::new(root, &folder.join("0"))?;
    first.build()?;
    let sound = search(&first, &QUICK)?;
    if sound.is_caught() {
        return Err(format!(
            "the sources are wrong without a mutant: {}",
            sound.words()
        ));
    }
    let left = Mutex::new(mutants.iter().collect::<VecDeque<_>>());
    let work = |copy: Copy| {
        let mut scores = Vec::new();
        while let Some(mutant) = take(&left) {
            let score = copy
                .mutate(mutant)
                .and_then(|()| copy.build())
                .and_then(|()| search(&copy, terms));
            // The others are worth knowing also if one is wrong: it counts as not caught.
            let score = score.unwrap_or_else(Score::wrong);
            println!("{}: {}", mutant.name, score.words());
            scores.push((mutant.clone(), score));
        }
        scores
    };
    let mut copies = vec![first];
    for number in 1..arguments.jobs {
        copies.push(Copy::new(root, &folder.join(number.to_string()))?);
    }
    let mut scores = std::thread::scope(|scope| {
        let workers: Vec<_> = copies
            .into_iter()
            .map(|copy| scope.spawn(|| work(copy)))
            .collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended.collect::<Result<Vec<_>, _>>()
    })
    .map_err(|_| "a worker panicked".to_owned())?
    .concat();
    scores.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    Ok(scores)
}

fn take<'a>(left: &Mutex<VecDeque<&'a Mutant>>) -> Option<&'a Mutant> {
    left.lock().ok()?.pop_front()
}

/// Hunts in a copy as it is.
fn search(copy: &Copy, terms: &Hunt) -> Result<Score, String> {
    let numbers = [
        ("--windows", terms.windows),
        ("--seeds", terms.seeds),
        ("--seconds", terms.seconds),
    ];
    let numbers = numbers.map(|(name, number)| [name.to_owned(), number.to_string()]);
    let mut arguments = [vec!["hunt".to_owned()], numbers.concat()].concat();
    if terms.without_model {
        arguments.push("--without-model".to_owned());
    }
    // Once for any judge, and once for the named checks.
    let limit = 2 * Duration::from_secs(terms.seconds) + GRACE;
    let (lines, end) = copy.run(&arguments, limit)?;
    let findings: Vec<_> = lines
        .iter()
        .map(|line| line.parse())
        .collect::<Result<_, _>>()?;
    let score = Score::of(findings);
    Ok(match end {
        End::Itself => score,
        End::Killed if score.is_caught() => score,
        End::Killed => score.endless(),
    })
}
