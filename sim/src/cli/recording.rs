//! `sim replay FILE` of a flight recording: tells the same coordinator the same once more, and lets it go on
//! from there if anybody wants to see that.

use super::html;
use super::one::print_log;
use clap::Args;
use jobmanager_proto::recording::{Reader, RecordingError};
use jobmanager_sim::{
    Continued, Injection, Joined, Page, Replayed, Then, duration, replay, replay_then,
};
use std::path::Path;

/// For how long a recording goes on if nobody says.
const LASTS: &str = "5min";

#[derive(Debug, Args)]
pub(super) struct Sequel {
    /// Of a recording: go on after its end, with these faults in a simulated cluster. NAME is a TaskManager
    /// or jobmanager; times count from the end: crash:NAME@+T, restart:NAME@+T, pause:NAME@+T[/DURATION],
    /// cut:NAME@+T[/DURATION], store-down@+T/DURATION.
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    then: Vec<Injection>,
    /// For how long a recording goes on, with or without faults; 5min if it is not said.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: Option<u64>,
    /// With --then or --for: decides how long everything takes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Sequel {
    pub(super) fn is_wanted(&self) -> bool {
        !self.then.is_empty() || self.lasts.is_some()
    }

    fn then(&self) -> Result<Option<Then>, String> {
        let lasts = self.lasts.map_or_else(|| duration(LASTS), Ok)?;
        Ok(self.is_wanted().then(|| Then {
            injections: self.then.clone(),
            lasts,
            seed: self.seed,
        }))
    }
}

/// The bytes of a recording, of whatever version and however damaged; nothing for any other file.
pub(super) fn read(file: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    match Reader::new(&bytes).map(drop) {
        Err(RecordingError::NotARecording) => None,
        Ok(()) | Err(_) => Some(bytes),
    }
}

/// Replays it, and goes on if that is wanted; tells whether all was well.
pub(super) fn run(
    file: &Path,
    bytes: &[u8],
    trace: bool,
    html: Option<&Path>,
    sequel: &Sequel,
) -> bool {
    let name = file.display();
    let then = match sequel.then() {
        Ok(then) => then,
        Err(problem) => {
            eprintln!("{problem}");
            return false;
        }
    };
    let logged = trace || html.is_some();
    let (replayed, continued) = match &then {
        None => (replay(bytes, logged), None),
        Some(then) => match replay_then(bytes, then, logged) {
            Ok((replayed, continued)) => (Ok(replayed), Some(continued)),
            Err(problem) => (Err(problem), None),
        },
    };
    let replayed = match replayed {
        Ok(replayed) => replayed,
        Err(problem) => {
            eprintln!("{name}: {problem}");
            return false;
        }
    };
    show(&replayed, trace);
    let continued = match continued.transpose() {
        Ok(continued) => continued,
        Err(problem) => {
            eprintln!("{problem}");
            return false;
        }
    };
    if let (Some(continued), Some(then)) = (&continued, &then) {
        show_continued(&replayed, continued, then, trace);
    }
    let joined = Joined::new(&replayed, continued.as_ref());
    let arguments = then.map_or_else(String::new, |then| format!(" {then}"));
    let page = Page {
        view: joined.view(),
        name: &name.to_string(),
        command: &format!("sim replay {name}{arguments}"),
    };
    let goes_on_well = continued.is_none_or(|continued| continued.is_well());
    html::write(html, page) && replayed.verdict.is_well() && goes_on_well
}

fn show(replayed: &Replayed, trace: bool) {
    let header = &replayed.header;
    println!("recorded by  {}, epoch {}", header.program, header.epoch.0);
    println!("cluster      {:?}", header.config);
    if trace {
        print_log(&replayed.log);
    }
    println!("digest       {:016x}", replayed.digest);
    println!("recorded     {}", seconds(replayed.simulated));
    println!("inputs       {}", replayed.inputs);
    let (segments, checks) = (replayed.segments, replayed.checks);
    println!("compared     every effect, {checks} states, {segments} segments");
    if let Some(offset) = replayed.cut_off {
        println!("notice       the file is cut off at byte {offset}; all before it was replayed");
    }
    println!("verdict      {}", replayed.verdict);
}

fn show_continued(replayed: &Replayed, continued: &Continued, then: &Then, trace: bool) {
    println!();
    let names = continued.taskmanagers.join(", ");
    println!("goes on      with TaskManagers {names}");
    for injection in &then.injections {
        println!("then         {injection}");
    }
    if trace {
        print_log(&continued.log);
    }
    println!("digest       {:016x}", continued.digest);
    let simulated = continued.until.saturating_sub(replayed.simulated);
    println!("simulated    {}", seconds(simulated));
    println!("events       {}", continued.events);
    for job in &continued.jobs {
        println!("job          {job}");
    }
    match &continued.failure {
        Some(failure) => println!("verdict      {}: {}", failure.name, failure.detail),
        None if continued.is_well() => println!("verdict      all is well"),
        None => println!("verdict      not every job is as it should be"),
    }
}

fn seconds(micros: u64) -> String {
    let millis = micros / 1_000;
    format!("{}.{:03} s", millis / 1_000, millis % 1_000)
}
