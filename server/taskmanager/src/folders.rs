//! Which folders of the machine jobs may have files in.
//!
//! A job names paths: of what a source reads, of what a sink writes, of savepoints. Whoever may submit one is not
//! thereby to read and write whatever the user may as whom the TaskManager runs.
//!
//! Invariant: what a path leads to when it is looked at, through `..` and links, is within one of the folders. Whoever
//! can make links in these folders meanwhile is trusted.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The folders in which jobs may have files; any, or some.
#[derive(Debug, Clone, Default)]
pub struct Folders(Option<Arc<[PathBuf]>>);

/// Why a job cannot have a path.
#[derive(Debug, thiserror::Error)]
pub enum NoPath {
    /// It is elsewhere.
    #[error("this TaskManager lets jobs have files in {0} alone (--allowed-dirs)")]
    Outside(String),
    /// The system's own words.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl Folders {
    /// These alone, which have to be there; any if there are none.
    ///
    /// # Errors
    /// One of them is not there, or no folder: the first such one, and what is wrong with it.
    pub fn new(folders: &[PathBuf]) -> Result<Folders, (PathBuf, io::Error)> {
        let real = |folder: &PathBuf| {
            let found = fs::canonicalize(folder).and_then(|found| match found.is_dir() {
                true => Ok(found),
                false => Err(io::ErrorKind::NotADirectory.into()),
            });
            found.map_err(|problem| (folder.clone(), problem))
        };
        let real: Vec<PathBuf> = folders.iter().map(real).collect::<Result<_, _>>()?;
        Ok(Folders((!real.is_empty()).then(|| real.into())))
    }

    /// The path as a job may use it, whether or not there is anything.
    ///
    /// # Errors
    /// It leads elsewhere.
    pub fn admit(&self, path: &Path) -> Result<PathBuf, NoPath> {
        let Some(folders) = &self.0 else {
            return Ok(path.to_owned());
        };
        let real = resolve(&std::path::absolute(path)?)?;
        match folders.iter().any(|folder| real.starts_with(folder)) {
            true => Ok(real),
            false => {
                let folders = folders.iter().map(|it| it.display().to_string());
                Err(NoPath::Outside(folders.collect::<Vec<_>>().join(", ")))
            }
        }
    }
}

/// Where an absolute path leads of which maybe only the beginning is there.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    for known in path.ancestors() {
        match fs::canonicalize(known) {
            Ok(real) => {
                let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
                return extend(real, rest);
            }
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
            Err(problem) => return Err(problem),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Goes on where nothing is yet. A link that leads nowhere would become a way elsewhere.
fn extend(real: PathBuf, rest: &Path) -> io::Result<PathBuf> {
    let mut names = rest.components().peekable();
    let dangles = |name: &Component<'_>| fs::symlink_metadata(real.join(name)).is_ok();
    if names.peek().is_some_and(dangles) {
        return Err(io::Error::other("it has a link that leads nowhere"));
    }
    names.try_fold(real, |path, name| match name {
        Component::Normal(name) => Ok(path.join(name)),
        Component::ParentDir | Component::CurDir | Component::RootDir | Component::Prefix(_) => {
            Err(io::Error::other("it has `..` after what is not there"))
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder with `in`, which is allowed, and `out`, which is not; both have a file.
    fn setting() -> (tempfile::TempDir, PathBuf, Folders) {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for name in ["in", "out"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("file"), name).unwrap();
        }
        let folders = Folders::new(&[root.join("in")]).unwrap();
        (folder, root, folders)
    }

    #[test]
    fn without_folders_every_path_stays_as_it_is() {
        let any = Folders::new(&[]).unwrap();
        let path = Path::new("../etc/./passwd");
        assert_eq!(any.admit(path).unwrap(), path);
    }

    #[test]
    fn what_is_within_is_admitted_whether_or_not_it_is_there() {
        let (_folder, root, folders) = setting();
        for path in [
            "in",
            "in/file",
            "in/new",
            "in/new/deep",
            "out/../in/file",
            "in/./new",
        ] {
            let admitted = folders.admit(&root.join(path)).unwrap();
            assert!(admitted.starts_with(root.join("in")), "{path}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused_with_where_it_may_be() {
        let (_folder, root, folders) = setting();
        symlink(root.join("out"), root.join("in/link")).unwrap();
        symlink(root.join("out/file"), root.join("in/file-link")).unwrap();
        for path in [
            "out",
            "out/new",
            "in/../out/file",
            "in/link",
            "in/link/new",
            "in/file-link",
            "inside",
            ".",
        ] {
            let refused = folders.admit(&root.join(path)).unwrap_err();
            let NoPath::Outside(allowed) = refused else {
                panic!("{path}: {refused}");
            };
            assert_eq!(Path::new(&allowed), root.join("in"), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let (_folder, root, folders) = setting();
        symlink(root.join("out/new"), root.join("in/dangling")).unwrap();
        for path in [
            "in/dangling",
            "in/dangling/x",
            "in/new/../../out/file",
            "in/file/x",
        ] {
            let refused = folders.admit(&root.join(path)).unwrap_err();
            assert!(matches!(refused, NoPath::System(_)), "{path}: {refused}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let (_folder, root, _) = setting();
        for path in ["nowhere", "in/file"] {
            let (wrong, _) = Folders::new(&[root.join("in"), root.join(path)]).unwrap_err();
            assert_eq!(wrong, root.join(path));
        }
    }
}
