//! `sim --seeds A..B`: runs many seeds on several threads; tells those that fail, and what was reached.

use super::TierArguments;
use super::failures::{self, Failed};
use super::one::Judges;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jobmanager_sim::{Batch, Mark, Marks};
use std::io::IsTerminal;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Without a terminal, a line of progress comes after so many seeds.
const PACE: u64 = 1_000;
/// The seeds that are run if nobody says which.
const SEEDS: Range<u64> = 0..1_000;

#[derive(Debug, Args)]
pub(super) struct Many {
    /// Run these seeds, the last one excluded [default: 0..1000, or as many as --minutes allows]
    #[arg(long, value_parser = super::range)]
    seeds: Option<Range<u64>>,
    /// With --seeds: on how many threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,
    /// Begin no more seeds after this many minutes.
    #[arg(long, conflicts_with = "seed")]
    minutes: Option<u64>,
    /// With --seeds: print how often each mark was hit.
    #[arg(long)]
    marks: bool,
    /// With --seeds: the folder for the tapes of failures.
    #[arg(long, default_value = super::OUT)]
    out: PathBuf,
}

pub(super) fn run(tier: TierArguments, judges: Judges, arguments: &Many) -> bool {
    let started = Instant::now();
    let minutes = arguments.minutes;
    let end = minutes.and_then(|minutes| started.checked_add(Duration::from_secs(60 * minutes)));
    let seeds = match (&arguments.seeds, end) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(_)) => 0..u64::MAX,
        (None, None) => SEEDS,
    };
    let progress = Progress::new(&seeds);
    let batch = Batch {
        seeds,
        tier: tier.tier,
        threads: usize::try_from(arguments.threads).unwrap_or(1),
        without_model: judges.without_model,
    };
    let (mut marks, mut failures) = (Marks::default(), Vec::new());
    let mut ran = 0;
    let go_on = || end.is_none_or(|end| Instant::now() < end);
    batch.run(&go_on, |ended| {
        ran += 1;
        marks.add(&ended.report.marks);
        if let Some(failed) = Failed::of(ended, judges.without_model) {
            progress.say(&failed.short());
            failures.push(failed);
        }
        progress.show(ran, failures.len(), started);
    });
    progress.end();
    let (failed, rate) = (failures.len(), per_second(ran, started));
    failures::tell(failures, &arguments.out);
    if arguments.marks {
        for mark in Mark::ALL {
            println!("{:>8} {mark:?}", marks.count(mark));
        }
    }
    println!("{ran} seeds, {failed} failed, {rate} seeds/s");
    failed == 0
}

fn per_second(count: u64, since: Instant) -> u64 {
    let millis = since.elapsed().as_millis().max(1);
    u64::try_from(u128::from(count) * 1_000 / millis).unwrap_or(u64::MAX)
}

/// A bar on a terminal, and now and then a line elsewhere.
struct Progress {
    total: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new(seeds: &Range<u64>) -> Progress {
        let total = (seeds.end < u64::MAX).then_some(seeds.end - seeds.start);
        let terminal = std::io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let style =
                ProgressStyle::with_template("{wide_bar} {pos} of {human_len} seeds, {msg}");
            let style = style.expect("the template is well-formed");
            match total {
                Some(total) => ProgressBar::new(total).with_style(style),
                None => ProgressBar::new_spinner(),
            }
        });
        Progress { total, bar }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn show(&self, done: u64, failed: usize, started: Instant) {
        let rate = per_second(done, started);
        match (&self.bar, self.total) {
            (Some(bar), Some(_)) => {
                bar.set_position(done);
                bar.set_message(format!("{failed} failed, {rate}/s"));
            }
            (Some(bar), None) => {
                bar.set_message(format!("{done} seeds, {failed} failed, {rate}/s"));
                bar.tick();
            }
            (None, _) if done.is_multiple_of(PACE) => {
                eprintln!("{done} seeds, {failed} failed, {rate} seeds/s");
            }
            (None, _) => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
