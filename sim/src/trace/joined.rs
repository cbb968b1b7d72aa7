//! A recording and what came after it, as one.

use super::{Entry, Lane, Timeline, View};
use crate::plan::options::Micros;
use crate::replay::{Continued, Replayed};
use std::collections::BTreeMap;

/// A replayed recording, and perhaps how it went on, to be looked at on one page.
#[derive(Debug, Clone)]
pub struct Joined {
    log: Vec<Entry>,
    timeline: Timeline,
    /// What lanes are called.
    names: BTreeMap<Lane, String>,
    verdict: Option<(String, String)>,
    facts: Vec<(&'static str, String)>,
    options: String,
    digest: u64,
    until: Micros,
}

impl Joined {
    /// Puts what came after the recording behind it.
    #[must_use]
    pub fn new(replayed: &Replayed, continued: Option<&Continued>) -> Joined {
        let names = (0..).map(Lane::TaskManager).zip(&replayed.taskmanagers);
        let header = &replayed.header;
        let mut joined = Joined {
            log: replayed.log.clone(),
            timeline: replayed.timeline.clone(),
            names: names.map(|(lane, name)| (lane, name.clone())).collect(),
            verdict: None,
            facts: vec![("inputs", replayed.inputs.to_string())],
            options: format!(
                "recorded by {}, epoch {}\n{:?}\n",
                header.program, header.epoch.0, header.config
            ),
            digest: replayed.digest,
            until: replayed.simulated,
        };
        if !replayed.verdict.is_well() {
            let name = "the replay".to_owned();
            joined.verdict = Some((name, replayed.verdict.to_string()));
        }
        if let Some(continued) = continued {
            joined.append(replayed, continued);
        }
        joined
    }

    fn append(&mut self, replayed: &Replayed, continued: &Continued) {
        // Whoever is there at the end was seen before.
        let number = |name: &String| {
            let known = replayed.taskmanagers.iter().position(|known| known == name);
            known.unwrap_or(replayed.taskmanagers.len())
        };
        let numbers: Vec<usize> = continued.taskmanagers.iter().map(number).collect();
        let lane = |lane: Lane| match lane {
            Lane::TaskManager(index) => {
                Lane::TaskManager(numbers.get(index).copied().unwrap_or(index))
            }
            Lane::Faults
            | Lane::Store
            | Lane::Election
            | Lane::Outside
            | Lane::JobManager(_)
            | Lane::Clients
            | Lane::Blobs => lane,
        };
        let before = self.log.len();
        self.log.extend(continued.log.iter().map(|entry| Entry {
            lane: lane(entry.lane),
            ..entry.clone()
        }));
        self.timeline
            .append(&continued.timeline, before, replayed.simulated, lane);
        self.verdict = wrong(continued);
        self.facts
            .push(("events after", continued.events.to_string()));
        for job in &continued.jobs {
            self.options += &format!("at the end: {job}\n");
        }
        self.digest = continued.digest;
        self.until = continued.until;
    }

    /// What a page shows of it.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        let verdict = self.verdict.as_ref();
        View {
            log: &self.log,
            timeline: &self.timeline,
            names: Some(&self.names),
            verdict: verdict.map(|(name, detail)| (name.as_str(), detail.as_str())),
            facts: self.facts.clone(),
            options: self.options.clone(),
            digest: self.digest,
            simulated: self.until,
        }
    }
}

/// What is wrong with how it went on.
fn wrong(continued: &Continued) -> Option<(String, String)> {
    if let Some(failure) = &continued.failure {
        return Some((failure.name.to_owned(), failure.detail.clone()));
    }
    let jobs = continued.jobs.iter().filter(|job| job.problem.is_some());
    let jobs: Vec<_> = jobs.map(ToString::to_string).collect();
    let name = "not every job is as it should be".to_owned();
    (!jobs.is_empty()).then(|| (name, jobs.join("; ")))
}
