//! What README.md says of the code is so.

#![allow(clippy::unwrap_used)]

use jobmanager_core::config::{OptionSpec, Scope, known_options};
use jobmanager_core::id::JobId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap()
}

fn readme() -> String {
    read("README.md")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The cells of the table rows whose first cell begins with a name in code, below a heading.
fn table_below(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = text.split_once(heading).unwrap();
    let section = below.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

#[test]
fn the_options_are_those_of_the_code() {
    let shell = jobmanager::options::SHELL_OPTIONS.iter();
    let row = |option: &OptionSpec| {
        let default = if option.default.is_empty() {
            "—"
        } else {
            option.default
        };
        let scope = match option.scope {
            Scope::Job => "job",
            Scope::Cluster => "cluster",
        };
        let key = format!("`{}`", option.key);
        let doc = option.doc;
        ["", &key, default, scope, doc, ""]
            .map(str::to_owned)
            .to_vec()
    };
    let wanted: BTreeSet<_> = known_options().iter().chain(shell).map(row).collect();
    let page = read("server/jobmanager/OPTIONS.md");
    let rows = [("jobs", "job"), ("clusters", "cluster")].map(|(heading, scope)| {
        let rows = table_below(&page, &format!("\n## Options of {heading}"));
        assert!(rows.iter().all(|row| row[3] == scope), "{heading}");
        rows
    });
    let rows = rows.concat();
    let found: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(found.len(), rows.len(), "an option is there twice");
    let missing: Vec<_> = wanted
        .difference(&found)
        .map(|row| row.join(" | "))
        .collect();
    let wrong: Vec<_> = found
        .difference(&wanted)
        .map(|row| row.join(" | "))
        .collect();
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
    assert!(wrong.is_empty(), "not in the code:\n{}", wrong.join("\n"));
}

#[test]
fn the_operators_are_the_built_in_ones() {
    let rows = table_below(&readme(), "\n## A job");
    let cells = rows.iter().flat_map(|row| row[1].split(", "));
    let found: BTreeSet<_> = cells
        .map(|cell| cell.trim_matches('`').to_owned())
        .collect();
    let registry = taskmanager::operators::builtin();
    let wanted: BTreeSet<_> = registry.names().map(str::to_owned).collect();
    assert_eq!(found, wanted);
}

#[test]
fn the_job_is_valid() {
    let readme = readme();
    let (_, job) = readme.split_once("```json\n").unwrap();
    let (job, _) = job.split_once("```").unwrap();
    let parsed = jobmanager_proto::job_json::parse(job.as_bytes(), JobId(1), &BTreeMap::new());
    assert_eq!(parsed.unwrap().name(), "word-count");
}

/// The names of invariants in code: literals of some words, all in small letters, with this between them.
/// Tests and what they forge do not count.
fn names_in(code: &str, between: char) -> BTreeSet<String> {
    let code = code.split("#[cfg(test)]").next().unwrap();
    let literals = code.split('"').skip(1).step_by(2);
    let is_name = |text: &&str| {
        let words = text.split(between);
        let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
        words.clone().count() > 2 && words.clone().all(word)
    };
    literals.filter(is_name).map(str::to_owned).collect()
}

fn add_names_below(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_names_below(&path, names);
        } else if !path.ends_with("tests.rs") {
            names.append(&mut names_in(&std::fs::read_to_string(&path).unwrap(), '_'));
        }
    }
}

#[test]
fn the_invariants_are_those_that_are_checked() {
    let found: BTreeSet<_> = table_below(&read("sim/README.md"), "\n## Invariants")
        .into_iter()
        .map(|row| row[1].trim_matches('`').to_owned())
        .collect();
    let code = root().join("core/src/jobmanager/invariants.rs");
    let mut wanted = names_in(&std::fs::read_to_string(code).unwrap(), '-');
    for part in ["checks", "model", "nodes", "storage", "world"] {
        add_names_below(&root().join("sim/src").join(part), &mut wanted);
    }
    let missing: Vec<_> = wanted.difference(&found).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    let gone: Vec<_> = found.difference(&wanted).collect();
    assert!(gone.is_empty(), "not in the code: {gone:?}");
}

#[test]
fn every_link_leads_somewhere() {
    for page in [
        "README.md",
        "server/jobmanager/README.md",
        "server/deploy/README.md",
        "sim/README.md",
    ] {
        let text = read(page);
        let links = text.split("](").skip(1);
        let links: Vec<_> = links.map(|rest| rest.split(')').next().unwrap()).collect();
        assert!(!links.is_empty(), "{page}");
        for link in links {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root().join(page),
                path => root().join(page).with_file_name(path),
            };
            assert!(target.exists(), "{page}: {link}");
            let heading = format!("# {}\n", heading.replace('-', " "));
            let has = || std::fs::read_to_string(&target).unwrap().to_lowercase();
            assert!(
                !link.contains('#') || has().contains(&heading),
                "{page}: {link}"
            );
        }
    }
}
