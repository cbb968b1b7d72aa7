//! Mutants as files: a few lines that say what the mistake is and what it breaks, then a unified diff.
//!
//! Applied without any tool, so that whether a patch still fits the sources can be told anywhere, and
//! before anything is built.

use std::collections::BTreeMap;
use std::path::Path;

/// A mistake that somebody could make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mutant {
    /// The name of its file, without the extension.
    pub(super) name: String,
    /// What is done wrong, in words.
    pub(super) mistake: String,
    /// The rows and invariants that it stands for.
    pub(super) breaks: String,
    /// What changes in which file.
    changes: BTreeMap<String, Vec<Hunk>>,
}

/// One place in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Hunk {
    /// Counted from 0.
    line: usize,
    before: Vec<String>,
    after: Vec<String>,
}

impl Mutant {
    /// Reads a patch.
    ///
    /// # Errors
    /// It has no header, or is not a unified diff.
    pub(super) fn parse(name: &str, text: &str) -> Result<Mutant, String> {
        let wrong = |problem: &str| format!("{name}: {problem}");
        let (header, diff) = text
            .split_once("\n--- ")
            .ok_or_else(|| wrong("there is no diff in it"))?;
        let said = |label| paragraph(header, label);
        Ok(Mutant {
            name: name.to_owned(),
            mistake: said("Mistake:").ok_or_else(|| wrong("say what the `Mistake:` is"))?,
            breaks: said("Breaks:").ok_or_else(|| wrong("say which promise it `Breaks:`"))?,
            changes: changes(diff).map_err(|problem| wrong(&problem))?,
        })
    }

    /// Reads every patch of a folder, in the order of their names.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(super) fn all(folder: &Path) -> Result<Vec<Mutant>, String> {
        let problem = |problem: std::io::Error| format!("{}: {problem}", folder.display());
        let mut mutants = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(problem)? {
            let path = entry.map_err(problem)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "patch")
            {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                let text = std::fs::read_to_string(&path).map_err(problem)?;
                mutants.push(Mutant::parse(&name, &text)?);
            }
        }
        mutants.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(mutants)
    }

    /// The files that it changes, as they are with the mistake, by their paths relative to `root`.
    ///
    /// # Errors
    /// The sources are not those that it was made for: it is to be made again.
    pub(super) fn apply(&self, root: &Path) -> Result<BTreeMap<String, String>, String> {
        let file = |(path, hunks): (&String, &Vec<Hunk>)| {
            let problem = |problem: String| format!("{}: {path}: {problem}", self.name);
            let text = std::fs::read_to_string(root.join(path));
            let text = text.map_err(|error| problem(error.to_string()))?;
            let mutated = change(&text, hunks).map_err(problem)?;
            Ok((path.clone(), mutated))
        };
        self.changes.iter().map(file).collect()
    }
}

/// What follows a label, up to the next line that does not go on with it.
fn paragraph(header: &str, label: &str) -> Option<String> {
    let mut lines = header.lines().skip_while(|line| !line.starts_with(label));
    let first = lines.next()?.strip_prefix(label)?;
    let more = lines.take_while(|line| line.starts_with("  "));
    let words: Vec<_> = std::iter::once(first)
        .chain(more)
        .flat_map(str::split_whitespace)
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The hunks of a diff, by file. It begins behind the first `--- `.
fn changes(diff: &str) -> Result<BTreeMap<String, Vec<Hunk>>, String> {
    let mut changes: BTreeMap<String, Vec<Hunk>> = BTreeMap::new();
    let mut file = None;
    for line in diff.lines().skip(1) {
        if let Some(path) = line.strip_prefix("+++ b/") {
            file = Some(changes.entry(path.trim_end().to_owned()).or_default());
            continue;
        }
        if line.starts_with("--- a/") {
            file = None;
            continue;
        }
        let hunks = file.as_mut().ok_or_else(|| unexpected(line))?;
        if let Some(place) = line.strip_prefix("@@ -") {
            let line = first_line(place).ok_or_else(|| unexpected(line))?;
            hunks.push(Hunk {
                line,
                ..Hunk::default()
            });
            continue;
        }
        let hunk = hunks.last_mut().ok_or_else(|| unexpected(line))?;
        match line.split_at_checked(1) {
            Some((" ", same)) => {
                hunk.before.push(same.to_owned());
                hunk.after.push(same.to_owned());
            }
            // Editors take the blank of an empty line away.
            None => {
                hunk.before.push(String::new());
                hunk.after.push(String::new());
            }
            Some(("-", old)) => hunk.before.push(old.to_owned()),
            Some(("+", new)) => hunk.after.push(new.to_owned()),
            Some(_) => return Err(unexpected(line)),
        }
    }
    Ok(changes)
}

fn unexpected(line: &str) -> String {
    format!("`{line}` is not a line of a unified diff")
}

/// Where a hunk begins: `12,7 +12,8 @@` is line 11, counted from 0.
fn first_line(place: &str) -> Option<usize> {
    let digits = place.split([',', ' ']).next()?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

/// Applies hunks to a text, each at the matching place that is nearest to where it was made.
fn change(text: &str, hunks: &[Hunk]) -> Result<String, String> {
    let mut lines: Vec<&str> = text.lines().collect();
    // From the end on, so that the places of the others stay what they are.
    for hunk in hunks.iter().rev() {
        let length = hunk.before.len();
        let at = lines
            .windows(length)
            .enumerate()
            .filter(|(_, window)| *window == hunk.before)
            .map(|(at, _)| at)
            .min_by_key(|at| at.abs_diff(hunk.line))
            .ok_or_else(|| format!("what it changes near line {} is gone", hunk.line + 1))?;
        lines.splice(at..at + length, hunk.after.iter().map(String::as_str));
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::path::PathBuf;

    const PATCH: &str = "Mistake: two is\n  three.\nBreaks: B01\n\n--- a/core/x\n+++ b/core/x\n@@ -2,3 +2,3 @@\n one\n-two\n+three\n four\n";

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn a_patch_says_what_it_is_and_changes_the_nearest_matching_place() {
        let mutant = Mutant::parse("x", PATCH).unwrap();
        assert_eq!(mutant.mistake, "two is three.");
        assert_eq!(mutant.breaks, "B01");
        let hunks = &mutant.changes["core/x"];
        let text = "one\ntwo\nfour\n0\none\ntwo\nfour\n";
        let changed = "one\nthree\nfour\n0\none\ntwo\nfour\n";
        assert_eq!(change(text, hunks).unwrap(), changed);
        assert!(change("one\n2\nfour\n", hunks).is_err());
    }

    #[test]
    fn a_patch_without_a_header_is_refused() {
        let headless = PATCH.replace("Breaks:", "Broken:");
        assert!(Mutant::parse("x", &headless).is_err());
        assert!(Mutant::parse("x", "Mistake: x\nBreaks: y\n").is_err());
    }

    #[test]
    fn every_mutant_has_its_header_and_fits_the_sources() {
        let mutants = Mutant::all(&root().join("sim/mutants")).unwrap();
        assert!(mutants.len() >= 60, "only {} mutants", mutants.len());
        for mutant in mutants {
            let number = mutant.name.split('-').next().unwrap();
            assert!(number.parse::<u32>().is_ok(), "{}", mutant.name);
            let core = |path: &String| path.starts_with("core/src/");
            assert!(mutant.changes.keys().all(core), "{}", mutant.name);
            for (path, mutated) in mutant.apply(&root()).unwrap() {
                let original = std::fs::read_to_string(root().join(path)).unwrap();
                assert_ne!(mutated, original, "{}", mutant.name);
            }
        }
    }
}
