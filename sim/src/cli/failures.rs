//! Failed seeds: shrunk, grouped by what broke and how, and told, each group once.

use super::shrink::{save, told};
use jobmanager_sim::{Budget, Ended, Goal, Run, Shrunk, Tier, promise, shape, shrink};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Failures that are shrunk, of each invariant and of all together: shrinking takes seconds.
const SHRUNK_OF_ONE: usize = 4;
const SHRUNK: usize = 24;
/// Seeds of a group that are named.
const NAMED: usize = 10;

/// A seed that failed.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    seed: u64,
    tier: Tier,
    name: &'static str,
    detail: String,
    without_model: bool,
}

impl Failed {
    /// What failed of a seed, if anything did.
    pub(super) fn of(ended: Ended, without_model: bool) -> Option<Failed> {
        let failure = ended.report.failure?;
        Some(Failed {
            seed: ended.seed,
            tier: ended.tier,
            name: failure.name,
            detail: failure.detail,
            without_model,
        })
    }

    /// What is told at once: whoever stops the run early still knows the seed.
    pub(super) fn short(&self) -> String {
        let Failed {
            seed, tier, name, ..
        } = self;
        let how = how(self.without_model);
        format!("seed {seed} --tier {tier}{how} failed: {name}")
    }

    /// Shrinking listens to the model: what only runs without it come to is told as it is.
    fn shrunk(&self) -> Option<Shrunk> {
        if self.without_model {
            return None;
        }
        let report = Run::seed(self.tier, self.seed).run();
        let failure = report.failure.clone()?;
        let goal = Goal::Breaks(failure);
        shrink(self.tier, &report, goal, Budget::default())
    }
}

/// Failures that are one, as far as can be seen.
struct Group {
    first: Failed,
    shrunk: Option<Shrunk>,
    /// The seeds, with their tiers.
    seeds: Vec<String>,
}

/// Tells failures, and keeps a tape of each group in this folder.
pub(super) fn tell(mut failures: Vec<Failed>, out: &Path) {
    failures.sort_by_key(|failed| (failed.name, failed.tier, failed.seed));
    let commit = commit();
    for group in groups(failures) {
        println!("{}", group.told(&commit, out));
    }
}

/// Groups by what broke and, of those that are shrunk, by what it takes to break it.
fn groups(failures: Vec<Failed>) -> Vec<Group> {
    let mut groups: BTreeMap<(&str, Option<Vec<String>>), Group> = BTreeMap::new();
    let mut shrunk_of: BTreeMap<&str, usize> = BTreeMap::new();
    for failed in failures {
        let all: usize = shrunk_of.values().sum();
        let mine = shrunk_of.entry(failed.name).or_default();
        let shrunk = if *mine < SHRUNK_OF_ONE && all < SHRUNK {
            *mine += 1;
            failed.shrunk()
        } else {
            None
        };
        let shape = shrunk.as_ref().map(|shrunk| shape(&shrunk.report));
        let group = groups.entry((failed.name, shape)).or_insert_with(|| Group {
            first: failed.clone(),
            shrunk: None,
            seeds: Vec::new(),
        });
        group
            .seeds
            .push(format!("{} --tier {}", failed.seed, failed.tier));
        if smaller(shrunk.as_ref(), group.shrunk.as_ref()) {
            group.first = failed;
            group.shrunk = shrunk;
        }
    }
    groups.into_values().collect()
}

fn smaller(one: Option<&Shrunk>, other: Option<&Shrunk>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.decisions < other.decisions,
        (Some(_), None) => true,
        (None, Some(_) | None) => false,
    }
}

impl Group {
    fn told(&self, commit: &str, out: &Path) -> String {
        let Failed {
            seed,
            tier,
            name,
            detail,
            without_model,
        } = &self.first;
        let how = how(*without_model);
        let mut lines = vec![
            format!("{}: {detail}", promise(name)),
            format!("    seed {seed} --tier {tier}{how} at {commit}"),
            format!("    repeat with: sim --seed {seed} --tier {tier}{how} --trace"),
        ];
        if self.seeds.len() > 1 {
            let named: Vec<_> = self.seeds.iter().take(NAMED).map(String::as_str).collect();
            let (count, named) = (self.seeds.len(), named.join(", "));
            let alike = match self.shrunk {
                Some(_) => "in the same way",
                None => "in one way or another, not shrunk",
            };
            lines.push(format!("    {count} seeds break it {alike}: {named}"));
        }
        if let Some(shrunk) = &self.shrunk {
            match save(*tier, shrunk, &seed.to_string(), out) {
                Ok(file) => lines.extend(
                    told(shrunk, &file)
                        .lines()
                        .map(|line| format!("    {line}")),
                ),
                Err(problem) => lines.push(format!("    the tape is not kept: {problem}")),
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// What is said on the command line of a run without the model.
fn how(without_model: bool) -> &'static str {
    if without_model {
        " --without-model"
    } else {
        ""
    }
}

/// Which code this is: the commit of the working directory, or else the version.
fn commit() -> String {
    let git = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    let told = git.ok().filter(|output| output.status.success());
    let told = told.and_then(|output| String::from_utf8(output.stdout).ok());
    told.map_or_else(
        || format!("version {}", env!("CARGO_PKG_VERSION")),
        |told| format!("commit {}", told.trim()),
    )
}
