//! Time, memory, and the table in which they are shown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How often a condition is looked at: the error of a measured time.
pub(crate) const POLL: Duration = Duration::from_micros(500);
/// Nothing that is measured takes this long, unless it never happens.
const DEADLINE: Duration = Duration::from_secs(300);

/// Whether somebody wants this process to end.
static TOLD_TO_STOP: AtomicBool = AtomicBool::new(false);

/// Turns SIGTERM and Ctrl-C into a panic of the measuring thread: only unwinding ends the processes that
/// it has started and removes their files.
pub(crate) fn stop_when_told() {
    let told = async {
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let mut interrupt = signal(SignalKind::interrupt()).unwrap();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        TOLD_TO_STOP.store(true, Ordering::Relaxed);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    thread::spawn(move || runtime.block_on(told));
}

/// Waits for something that is being measured, and gives how long ago `start` was when it was seen.
pub(crate) fn time_until(start: Instant, what: &str, mut seen: impl FnMut() -> bool) -> Duration {
    while !seen() {
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        assert!(!TOLD_TO_STOP.load(Ordering::Relaxed), "told to stop");
        thread::sleep(POLL);
    }
    start.elapsed()
}

/// Milliseconds, as they are shown.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// The resident memory of a process in MiB; `None` on systems without `/proc`.
pub(crate) fn resident(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024.0)
}

/// Prints each figure as soon as it is known.
pub(crate) struct Table;

impl Table {
    pub(crate) fn begin() -> Table {
        let cores = thread::available_parallelism().unwrap();
        println!("{cores} cores, {}", load());
        let heads = ["min", "median", "max", "runs"];
        let [min, median, max, runs] = heads;
        println!(
            "\n| {:<53} | {min:>9} | {median:>9} | {max:>9} | {runs:>4} | goal |",
            "figure"
        );
        println!("|---|--:|--:|--:|--:|---|");
        Table
    }

    /// A line of the table; `digits` behind the decimal point.
    pub(crate) fn row(&self, figure: &str, mut values: Vec<f64>, digits: usize, goal: &str) {
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            println!("| {figure:<53} | cannot be measured here |");
            return;
        };
        let (median, runs) = (values[values.len() / 2], values.len());
        println!(
            "| {figure:<53} | {min:>9.digits$} | {median:>9.digits$} | {max:>9.digits$} | {runs:>4} | {goal} |"
        );
    }

    pub(crate) fn end(self) {
        println!("\n{}", load());
    }
}

/// What else the machine has to do: figures mean little without it.
fn load() -> String {
    match std::fs::read_to_string("/proc/loadavg") {
        Ok(load) => {
            let averages: Vec<_> = load.split(' ').take(3).collect();
            format!("load {}", averages.join(" "))
        }
        Err(_) => "load unknown".to_owned(),
    }
}
