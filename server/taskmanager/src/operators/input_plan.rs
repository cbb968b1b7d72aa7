//! Which lines of which files a subtask reads.
//!
//! All files are thought of as one sequence of bytes, in the order of their paths and with the sizes
//! they have at the start, and the sequence is cut into as many ranges as there are subtasks. A line
//! belongs to the subtask in whose range its first byte lies.

use crate::sdk::OperatorError;
use crate::state::compact::{StateReader, StateWriter};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// The most files of one source: the ones still to be read are part of every snapshot.
const MAX_FILES: usize = 100_000;

/// A part of one file: the lines whose first byte lies in `from..to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) path: String,
    /// The file's size when the job started. What is appended later is not read.
    pub(super) size: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = StateWriter::new();
        writer.bytes(self.path.as_bytes());
        for number in [self.size, self.from, self.to] {
            writer.number(number);
        }
        writer.into_bytes()
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, OperatorError> {
        let mut reader = StateReader::new(bytes)?;
        let span = Span {
            path: reader.text()?.to_owned(),
            size: reader.number()?,
            from: reader.number()?,
            to: reader.number()?,
        };
        reader.end()?;
        Ok(span)
    }
}

/// What one subtask of several reads of a file, or of a folder and everything below it. Names that
/// start with a dot are skipped, and so are links to folders, which might lead in a circle.
pub(super) fn plan(
    path: &Path,
    subtask: u32,
    parallelism: u32,
) -> Result<VecDeque<Span>, OperatorError> {
    let mut files = list(path)?;
    files.sort();
    let total: u128 = files.iter().map(|(_, size)| u128::from(*size)).sum();
    let border = |subtask: u32| total * u128::from(subtask) / u128::from(parallelism);
    let (first, last) = (border(subtask), border(subtask + 1));

    let mut begin = 0;
    let mut spans = VecDeque::new();
    for (path, size) in files {
        let within = |border: u128| -> u64 {
            let position = border.saturating_sub(begin).min(u128::from(size));
            u64::try_from(position).expect("it is at most the size")
        };
        let (from, to) = (within(first), within(last));
        begin += u128::from(size);
        if from < to {
            spans.push_back(Span {
                path,
                size,
                from,
                to,
            });
        }
    }
    Ok(spans)
}

/// Every file with its size, in no order.
fn list(path: &Path) -> Result<Vec<(String, u64)>, OperatorError> {
    let about = |error| OperatorError::about(path.display(), error);
    let metadata = fs::metadata(path).map_err(about)?;
    if metadata.is_file() {
        return Ok(vec![(text(path)?, metadata.len())]);
    }
    if !metadata.is_dir() {
        let problem = "neither a file nor a folder";
        return Err(OperatorError::about(path.display(), problem));
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        list_folder(&folder, &mut files, &mut folders)?;
        if files.len() > MAX_FILES {
            let problem = format_args!("more than {MAX_FILES} files; read fewer, or join them");
            return Err(OperatorError::about(path.display(), problem));
        }
    }
    Ok(files)
}

fn list_folder(
    folder: &Path,
    files: &mut Vec<(String, u64)>,
    folders: &mut Vec<PathBuf>,
) -> Result<(), OperatorError> {
    let about = |error| OperatorError::about(folder.display(), error);
    for entry in fs::read_dir(folder).map_err(about)? {
        let entry = entry.map_err(about)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let about = |error| OperatorError::about(path.display(), error);
        let kind = entry.file_type().map_err(about)?;
        if kind.is_dir() {
            folders.push(path);
            continue;
        }
        let metadata = fs::metadata(&path).map_err(about)?;
        if metadata.is_file() {
            files.push((text(&path)?, metadata.len()));
        }
    }
    Ok(())
}

/// Snapshots hold paths as text.
fn text(path: &Path) -> Result<String, OperatorError> {
    let problem = || OperatorError::about(path.display(), "the name is not UTF-8; rename the file");
    path.to_str().map(str::to_owned).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn folders_are_read_recursively_and_sorted_without_hidden_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("b/deep")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        for name in ["c", "b/deep/x", "b/a", ".hidden", ".git/config", "a"] {
            fs::write(root.join(name), name).unwrap();
        }
        let spans = plan(root, 0, 1).unwrap();
        let names: Vec<_> = spans
            .iter()
            .map(|span| {
                Path::new(&span.path)
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
            })
            .collect();
        assert_eq!(names, ["a", "b/a", "b/deep/x", "c"]);
    }

    #[test]
    fn the_ranges_of_all_subtasks_cover_every_byte_once() {
        let folder = tempfile::tempdir().unwrap();
        for (name, size) in [("a", 10), ("b", 0), ("c", 1), ("d", 33)] {
            fs::write(folder.path().join(name), "x".repeat(size)).unwrap();
        }
        for parallelism in 1..60 {
            let mut covered = std::collections::BTreeMap::<String, u64>::new();
            for subtask in 0..parallelism {
                for span in plan(folder.path(), subtask, parallelism).unwrap() {
                    let end = covered.entry(span.path).or_default();
                    assert_eq!(*end, span.from);
                    *end = span.to;
                }
            }
            let sizes: Vec<u64> = covered.into_values().collect();
            assert_eq!(sizes, [10, 1, 33], "parallelism {parallelism}");
        }
    }

    #[test]
    fn a_missing_input_is_an_error_with_the_path_and_the_systems_words() {
        let error = plan(Path::new("/nowhere/at/all"), 0, 1)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/nowhere/at/all: No such file"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_folder_is_skipped_and_one_to_a_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join("file"), "line").unwrap();
        std::os::unix::fs::symlink(root, root.join("circle")).unwrap();
        std::os::unix::fs::symlink(root.join("file"), root.join("link")).unwrap();
        assert_eq!(plan(root, 0, 1).unwrap().len(), 2);
    }

    #[test]
    fn spans_survive_a_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "one\ntwo\n").unwrap();
        let spans = plan(folder.path(), 1, 2).unwrap();
        assert_eq!(Span::read(&spans[0].to_bytes()).unwrap(), spans[0]);
    }
}
