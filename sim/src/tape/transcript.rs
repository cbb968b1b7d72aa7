//! A short run, to be read: the options that are not the quiet ones, then what breaks, what clients do,
//! what the coordinator hears and orders, and what becomes of it; without heartbeats and their like.

use crate::plan::Options;
use crate::run::Report;
use crate::tape::Decisions;
use crate::trace::words::{in_words, kind};
use crate::trace::{Entry, Lane};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Lines of the beginning and of the end that are told; what is between them seldom matters.
const BEGINNING: usize = 60;
const END: usize = 100;

/// What the log of a run says, in at most some 200 lines.
#[must_use]
pub fn transcript(report: &Report) -> String {
    let mut text = String::new();
    for line in unusual(&report.options) {
        let _ = writeln!(text, "{line}");
    }
    let told = events(&report.log);
    for (at, line) in told.iter().enumerate() {
        if at < BEGINNING || at + END >= told.len() {
            let _ = writeln!(text, "{line}");
        } else if at == BEGINNING {
            let _ = writeln!(text, "         … {} lines …", told.len() - END - BEGINNING);
        }
    }
    if let Some(failure) = &report.failure {
        let _ = writeln!(text, "  broken {}", promise(failure.name));
        let _ = writeln!(text, "         {}", failure.detail);
    }
    text
}

/// The name of an invariant, as a sentence.
#[must_use]
pub fn promise(name: &str) -> String {
    name.replace(['_', '-'], " ")
}

/// What the failures of several seeds have in common if they are one: what broke in which order, and
/// nothing of when and where.
#[must_use]
pub fn shape(report: &Report) -> Vec<String> {
    let breaks = |entry: &&Entry| entry.lane == Lane::Faults || entry.verb == "dies";
    let words = |entry: &Entry| {
        let words = format!("{} {}", entry.verb, kind(entry.what.trim_matches('"')));
        words.trim().to_owned()
    };
    report.log.iter().filter(breaks).map(words).collect()
}

/// The options that a calm run does not have.
fn unusual(options: &Options) -> Vec<String> {
    let quiet = Options::draw(options.tier, &mut Decisions::from_tape(&[])).to_string();
    let quiet: BTreeSet<_> = quiet.lines().collect();
    let lines = options.to_string();
    let unusual = lines.lines().filter(|line| !quiet.contains(line));
    unusual.map(str::to_owned).collect()
}

/// One line for each thing that matters, and for things of one kind that follow each other.
fn events(log: &[Entry]) -> Vec<String> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    let mut last = None;
    for entry in log.iter().filter(|entry| matters(entry)) {
        let this = (entry.lane, entry.verb, kind_within(&entry.what));
        match lines.last_mut() {
            Some((_, more)) if last == Some(this) => *more += 1,
            Some(_) | None => lines.push((line(entry), 0)),
        }
        last = Some(this);
    }
    let line = |(line, more): (String, usize)| match more {
        0 => line,
        more => format!("{line} … and {more} more"),
    };
    lines.into_iter().map(line).collect()
}

fn line(entry: &Entry) -> String {
    let told = Entry {
        what: in_words(&entry.what),
        ..entry.clone()
    };
    told.to_string()
}

/// What kind of message is sent or received, or else what kind of thing happens.
fn kind_within(what: &str) -> &str {
    let message = what
        .rsplit_once("message: ")
        .map_or(what, |(_, message)| message);
    kind(message)
}

fn matters(entry: &Entry) -> bool {
    let what = kind_within(&entry.what);
    if entry.verb == "digest" || ["Wake", "Heartbeat"].contains(&what) {
        return false;
    }
    match entry.lane {
        Lane::Faults | Lane::Store | Lane::Outside | Lane::Election | Lane::JobManager(_) => {
            return true;
        }
        Lane::Blobs => return entry.verb == "refuse",
        Lane::Clients => return false,
        Lane::TaskManager(_) => {}
    }
    // What crosses the network is told where the coordinator sends or hears it.
    match entry.verb {
        "<-" => what == "Disconnected",
        "->" => !["Send", "SendHello", "Connect"].contains(&what),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Tier;
    use crate::run::Run;

    #[test]
    fn a_calm_run_has_no_options_to_tell() {
        let calm = Run::tape(Tier::ControlPlane, Vec::new()).run();
        assert_eq!(unusual(&calm.options), Vec::<String>::new());
        assert_eq!(shape(&calm), Vec::<String>::new());
    }

    #[test]
    fn a_transcript_tells_faults_and_no_heartbeats_within_its_bounds() {
        let report = Run::seed(Tier::Dataflow, 12).logged().run();
        let text = transcript(&report);
        assert!(text.contains(" fault "), "{text}");
        assert!(!text.contains("heartbeat sequence"), "{text}");
        let options = report.options.to_string().lines().count();
        assert!(text.lines().count() < BEGINNING + END + options, "{text}");
    }
}
