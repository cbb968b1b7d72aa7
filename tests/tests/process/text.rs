//! Generated text with everything that makes counting words difficult, and the right result,
//! computed in the simplest way there is.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;

const WORDS: [&str; 24] = [
    "the",
    "The",
    "of",
    "straße",
    "ÜBER",
    "naïve",
    "日本語",
    "слово",
    "Слово",
    "λόγος",
    "x",
    "42",
    "3rd",
    "don't",
    "e-mail",
    "snake_case",
    "ﬁn",
    "Ⅷ",
    "ÉTÉ",
    "été",
    "mañana",
    "कख",
    "a",
    "ǅ",
];
const GAPS: [&str; 8] = [" ", "  ", ", ", "\t", " — ", "...", "\u{a0}", "; "];

/// Uniform enough for a test, and the same on every machine.
pub(crate) fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    random.next_u64() % bound
}

/// A stream of random numbers of its own.
pub(crate) fn seeded(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn pick<'a>(random: &mut ChaCha8Rng, from: &[&'a str]) -> &'a str {
    let index = below(random, from.len() as u64);
    from[usize::try_from(index).unwrap()]
}

fn line(random: &mut ChaCha8Rng) -> String {
    let words = match below(random, 100) {
        0..10 => 0,
        10 => 4_000, // longer than a frame
        _ => 1 + below(random, 12),
    };
    let mut line = String::new();
    for _ in 0..words {
        line.push_str(pick(random, &WORDS));
        line.push_str(pick(random, &GAPS));
    }
    line
}

/// Writes about this many lines into several files, also in a folder inside, some without a newline
/// at the end, one empty, one with the line ends of other systems. Gives the whole text.
pub(crate) fn write_files(folder: &Path, seed: u64, lines: u64) -> String {
    let mut random = seeded(seed);
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    let mut all = String::new();
    for (name, share) in [("a.txt", 5), ("b.txt", 3), ("inner/c.txt", 2)] {
        let newline = if name == "b.txt" { "\r\n" } else { "\n" };
        let lines: Vec<_> = (0..lines * share / 10).map(|_| line(&mut random)).collect();
        let mut text = lines.join(newline);
        if name == "b.txt" {
            text.push_str(newline);
        }
        std::fs::write(folder.join(name), &text).unwrap();
        all.push_str(&text);
        all.push('\n');
    }
    all
}

/// The words of a text, lower-cased.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// The lines that a word count must write, sorted.
pub(crate) fn counted(text: &str) -> Vec<String> {
    let mut counts = BTreeMap::<String, u64>::new();
    for word in words(text) {
        *counts.entry(word).or_default() += 1;
    }
    let line = |(word, count)| format!("{word}\t{count}");
    let mut lines: Vec<_> = counts.into_iter().map(line).collect();
    lines.sort();
    lines
}

/// Every line that was committed to a folder, sorted. Hidden files are not committed.
pub(crate) fn committed(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().starts_with('.') {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

/// Compares sorted lines, and shows only the first that differ: there are many.
pub(crate) fn assert_same(found: &[String], wanted: &[String]) {
    let first = found.iter().zip(wanted).position(|(a, b)| a != b);
    let at = first.unwrap_or(found.len().min(wanted.len()));
    assert!(
        found == wanted,
        "{} lines instead of {}; the first difference: {:?} instead of {:?}",
        found.len(),
        wanted.len(),
        found.get(at),
        wanted.get(at)
    );
}
