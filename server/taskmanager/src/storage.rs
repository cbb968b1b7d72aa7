//! Checkpoint storage: where snapshots are kept that are too large to travel inside an acknowledgement. Those of
//! checkpoints are in the folder of their job, those of a savepoint in a folder of its own, at any URL.
//!
//! A snapshot is acknowledged only after it would survive a loss of power. In a file system that takes
//! care of our own: the file and every folder on the way to it are synchronised. Object stores (S3, Azure,
//! GCS, each behind a cargo feature) promise it with their answer. One that gives none is asked a few times more, and
//! then given up.
//!
//! After the bytes of a snapshot, its file has [`CHECKSUM`] bytes more: the xxh3 of its name and its bytes,
//! the lowest byte first. What was changed, or is another snapshot's file, is not restored.

use crate::folders::Folders;
use crate::objects::{self, words};
use jobmanager_core::digest::Digest;
use jobmanager_core::id::JobId;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutPayload};
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long an object store may take for an answer, besides what the bytes take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often one that does not answer is asked. What it refuses for now is asked for again in the library.
const TRIES: u32 = 3;
/// The library's own limit, which does not know of sizes and is not to come before ours.
const LIBRARY_TIMEOUT: (&str, &str) = ("timeout", "24 h");
/// The length of the checksum at the end of a file. Bytes.
const CHECKSUM: usize = 8;

/// What goes wrong with a snapshot: where, and the system's own words.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub(crate) struct StorageError {
    place: String,
    problem: String,
}

impl StorageError {
    fn new(place: impl ToString, problem: impl ToString) -> StorageError {
        let (place, problem) = (place.to_string(), problem.to_string());
        StorageError { place, problem }
    }
}

/// A checkpoint storage.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// Nobody has said yet where it is.
    Unknown,
    /// The JobManager named one that cannot be opened; why.
    Unusable(String),
    /// A folder.
    Folder(PathBuf),
    /// A bucket or container, with the path that everything is under.
    Objects(Arc<dyn ObjectStore>, ObjectPath),
}

impl Storage {
    /// Opens the storage behind a URL. Credentials of object stores come from the environment.
    pub(crate) fn open(url: &str) -> Result<Storage, StorageError> {
        if let Some(folder) = url.strip_prefix("file://") {
            let folder = PathBuf::from(folder);
            if !folder.is_absolute() {
                let problem = "a file URL needs an absolute path: file:///folder";
                return Err(StorageError::new(url, problem));
            }
            return Ok(Storage::Folder(folder));
        }
        if url.starts_with('/') {
            return Ok(Storage::Folder(PathBuf::from(url)));
        }
        let parsed = url.parse();
        let parsed = parsed.map_err(|problem| StorageError::new(url, problem))?;
        let known = ObjectStoreScheme::parse(&parsed).ok();
        if let Some((kind, feature)) = known.and_then(|(scheme, _)| not_built(&scheme)) {
            let problem = format!(
                "this TaskManager was built without {kind}; build it with `--features {feature}`"
            );
            return Err(StorageError::new(url, problem));
        }
        let (key, value) = LIBRARY_TIMEOUT;
        let options = objects::options().chain([(key.to_owned(), value.to_owned())]);
        let (store, root) = object_store::parse_url_opts(&parsed, options)
            .map_err(|problem| StorageError::new(url, words(&problem)))?;
        Ok(Storage::Objects(store.into(), root))
    }

    /// Opens the storage that a job names, if it is where jobs may have files, or in this one.
    pub(crate) fn open_beside(
        &self,
        url: &str,
        folders: &Folders,
    ) -> Result<Storage, StorageError> {
        let storage = Storage::open(url)?;
        let Storage::Folder(folder) = &storage else {
            return Ok(storage);
        };
        let is_within = match self {
            Storage::Folder(root) => Folders::new(std::slice::from_ref(root))
                .is_ok_and(|within| within.admit(folder).is_ok()),
            Storage::Unknown | Storage::Unusable(_) | Storage::Objects(..) => false,
        };
        if !is_within {
            let admitted = folders.admit(folder);
            admitted.map_err(|problem| StorageError::new(url, problem))?;
        }
        Ok(storage)
    }

    /// The folder of a job in it.
    pub(crate) fn of_job(&self, job: JobId) -> Storage {
        let job = job.to_string();
        match self {
            Storage::Unknown => Storage::Unknown,
            Storage::Unusable(problem) => Storage::Unusable(problem.clone()),
            Storage::Folder(root) => Storage::Folder(root.join(job)),
            Storage::Objects(store, root) => {
                Storage::Objects(Arc::clone(store), root.clone().join(job))
            }
        }
    }

    /// Keeps a snapshot under `name`, a path relative to this folder. Durable when it returns.
    pub(crate) async fn write(&self, name: &str, mut bytes: Vec<u8>) -> Result<(), StorageError> {
        bytes.extend(checksum(name, &bytes));
        match self {
            Storage::Unknown => Err(StorageError::new(name, "no checkpoint storage is known")),
            Storage::Unusable(problem) => Err(StorageError::new(name, problem)),
            Storage::Folder(root) => {
                let file = root.join(relative(name)?);
                blocking(file, move |file| write_durably(file, &bytes)).await
            }
            Storage::Objects(store, root) => {
                let path = object(root, name);
                let (size, bytes) = (bytes.len() as u64, PutPayload::from(bytes));
                // No other attempt writes there, so it may be written twice.
                let put = || store.put(&path, bytes.clone());
                answered(&path, PATIENCE, size, put).await.map(drop)
            }
        }
    }

    /// Reads a snapshot of exactly `size` bytes back, as it was written.
    pub(crate) async fn read(&self, name: &str, size: u64) -> Result<Vec<u8>, StorageError> {
        let (place, bytes) = self.read_file(name, size).await?;
        checked(place, bytes, &[name])
    }

    /// Reads a snapshot of exactly `size` bytes back from the folder of a savepoint, or from that of a checkpoint that
    /// has outlived its job: the name of such a one began with its folder.
    pub(crate) async fn read_url(
        &self,
        url: &str,
        size: u64,
        folders: &Folders,
    ) -> Result<Vec<u8>, StorageError> {
        let (folder, name) = url.rsplit_once('/').unwrap_or(("", url));
        let checkpoint = folder.rsplit('/').next().unwrap_or_default();
        let within_job = format!("{checkpoint}/{name}");
        let storage = self.open_beside(folder, folders)?;
        let (place, bytes) = storage.read_file(name, size).await?;
        checked(place, bytes, &[name, &within_job])
    }

    /// The file of a snapshot of `size` bytes, checksum included, and where it is.
    async fn read_file(&self, name: &str, size: u64) -> Result<(String, Vec<u8>), StorageError> {
        let size = size.saturating_add(CHECKSUM as u64);
        match self {
            Storage::Unknown => Err(StorageError::new(name, "no checkpoint storage is known")),
            Storage::Unusable(problem) => Err(StorageError::new(name, problem)),
            Storage::Folder(root) => {
                let file = root.join(relative(name)?);
                let place = file.display().to_string();
                let bytes = blocking(file, move |file| read_exactly(file, size)).await?;
                Ok((place, bytes))
            }
            Storage::Objects(store, root) => {
                let path = object(root, name);
                let get = || async {
                    let found = store.get(&path).await?;
                    match found.meta.size {
                        found if found != size => Ok(Err(wrong_size(found, size))),
                        _ => found.bytes().await.map(Ok),
                    }
                };
                let found = answered(&path, PATIENCE, size, get).await?;
                let bytes = found.map_err(|problem| StorageError::new(&path, problem))?;
                Ok((path.to_string(), bytes.into()))
            }
        }
    }
}

/// The kind and the feature of a storage that is not built in.
fn not_built(scheme: &ObjectStoreScheme) -> Option<(&'static str, &'static str)> {
    let (is_built, kind, feature) = match scheme {
        ObjectStoreScheme::AmazonS3 => (cfg!(feature = "s3"), "S3", "s3"),
        ObjectStoreScheme::MicrosoftAzure => (cfg!(feature = "azure"), "Azure", "azure"),
        ObjectStoreScheme::GoogleCloudStorage => {
            (cfg!(feature = "gcs"), "Google Cloud Storage", "gcs")
        }
        // Further kinds may be added by the library, which says what it does not know.
        ObjectStoreScheme::Local | ObjectStoreScheme::Memory | ObjectStoreScheme::Http | _ => {
            return None;
        }
    };
    (!is_built).then_some((kind, feature))
}

/// Asks an object store for what sends or gets so many bytes, a few times if it does not answer.
async fn answered<T, R: Future<Output = object_store::Result<T>>>(
    path: &ObjectPath,
    patience: Duration,
    size: u64,
    request: impl Fn() -> R,
) -> Result<T, StorageError> {
    let limit = objects::limit(patience, size);
    for _ in 0..TRIES {
        if let Ok(answer) = timeout(limit, request()).await {
            return answer.map_err(|problem| StorageError::new(path, words(&problem)));
        }
    }
    let seconds = limit.as_secs_f32();
    let problem = format!("no answer within {seconds} s, {TRIES} times");
    Err(StorageError::new(path, problem))
}

/// The snapshot in a file that was written under one of these names.
fn checked(place: String, mut file: Vec<u8>, names: &[&str]) -> Result<Vec<u8>, StorageError> {
    let end = file.len().saturating_sub(CHECKSUM);
    let found = file.split_off(end);
    if names.iter().all(|name| found != checksum(name, &file)) {
        return Err(StorageError::new(place, "the file is damaged"));
    }
    Ok(file)
}

/// What stands at the end of a snapshot's file.
fn checksum(name: &str, bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut digest = Digest::default();
    // The length keeps a byte of the name from being taken for one of the snapshot.
    digest.write_usize(name.len());
    digest.write(name.as_bytes());
    digest.write(bytes);
    digest.finish().to_le_bytes()
}

/// The name came from a peer: it must stay within the folder.
fn relative(name: &str) -> Result<&Path, StorageError> {
    let path = Path::new(name);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside || name.is_empty() {
        return Err(StorageError::new(name, "not a path within its folder"));
    }
    Ok(path)
}

fn object(root: &ObjectPath, name: &str) -> ObjectPath {
    name.split('/')
        .fold(root.clone(), |path, part| path.join(part))
}

async fn blocking<T: Send + 'static>(
    file: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, StorageError> {
    let place = file.display().to_string();
    let done = tokio::task::spawn_blocking(move || work(&file)).await;
    done.map_err(|problem| StorageError::new(&place, problem))?
        .map_err(|problem| StorageError::new(&place, problem))
}

/// Under another name first: a file that has its name is whole.
fn write_durably(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    create_durably(folder)?;
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".inprogress");
    let mut open = File::create(&unfinished)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(folder)?.sync_all()
}

/// Creates a folder and those above it, each entered durably in the one above.
fn create_durably(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    create_durably(above)?;
    match fs::create_dir(folder) {
        // Another task was faster.
        Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {}
        created => created?,
    }
    File::open(above)?.sync_all()
}

fn read_exactly(file: &Path, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more than expected: a file that is too long is noticed.
    File::open(file)?
        .take(size.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        let found = File::open(file)?.metadata()?.len();
        return Err(io::Error::other(wrong_size(found, size)));
    }
    Ok(bytes)
}

fn wrong_size(found: u64, expected: u64) -> String {
    format!(
        "the file has {found} bytes, not the {expected} of the snapshot that was acknowledged and its checksum"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const JOB: JobId = JobId(0xabc);

    fn folder() -> (tempfile::TempDir, Storage) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let storage = Storage::open(&url).unwrap().of_job(JOB);
        (folder, storage)
    }

    #[tokio::test]
    async fn what_was_written_is_read_back_and_nothing_else_is_left() {
        let (folder, storage) = folder();
        let name = "chk-7/0-1-1.0";
        storage.write(name, b"state".to_vec()).await.unwrap();
        assert_eq!(storage.read(name, 5).await.unwrap(), b"state");
        let chk = folder.path().join(JOB.to_string()).join("chk-7");
        let left: Vec<_> = fs::read_dir(chk).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[tokio::test]
    async fn a_missing_snapshot_is_named_with_the_systems_words() {
        let (folder, storage) = folder();
        let problem = storage.read("chk-7/0-1-1.0", 5).await.unwrap_err();
        let problem = problem.to_string();
        assert!(
            problem.contains(&*folder.path().to_string_lossy()),
            "{problem}"
        );
        assert!(problem.contains("chk-7/0-1-1.0: No such file"), "{problem}");
    }

    #[tokio::test]
    async fn a_snapshot_of_another_size_is_refused() {
        let (_folder, storage) = folder();
        storage.write("a", b"state".to_vec()).await.unwrap();
        for size in [4, 6] {
            let problem = storage.read("a", size).await.unwrap_err();
            assert!(problem.to_string().contains("has 13 bytes"), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_file_in_which_any_byte_was_changed_is_not_read() {
        let (folder, storage) = folder();
        let name = "chk-7/0-1-1.0";
        storage.write(name, b"state".to_vec()).await.unwrap();
        let file = folder.path().join(JOB.to_string()).join(name);
        let whole = fs::read(&file).unwrap();
        // The snapshot's bytes, then those of the checksum.
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                fs::write(&file, damaged).unwrap();
                let problem = storage.read(name, 5).await.unwrap_err();
                let expected = format!("{}: the file is damaged", file.display());
                assert_eq!(problem.to_string(), expected, "byte {at}");
            }
        }
        fs::write(&file, whole).unwrap();
        assert_eq!(storage.read(name, 5).await.unwrap(), b"state");
    }

    #[tokio::test]
    async fn an_object_in_which_any_byte_was_changed_is_not_read() {
        let objects = Arc::new(object_store::memory::InMemory::new());
        let root = ObjectPath::from("root");
        let storage = Storage::Objects(objects.clone(), root.clone());
        storage.write("a", b"state".to_vec()).await.unwrap();
        assert_eq!(storage.read("a", 5).await.unwrap(), b"state");
        let path = object(&root, "a");
        let whole = objects.get(&path).await.unwrap().bytes().await.unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 1;
            objects.put(&path, damaged.into()).await.unwrap();
            let problem = storage.read("a", 5).await.unwrap_err();
            let expected = format!("{path}: the file is damaged");
            assert_eq!(problem.to_string(), expected, "byte {at}");
        }
    }

    #[tokio::test]
    async fn the_file_of_another_snapshot_is_not_read() {
        let (folder, storage) = folder();
        for (name, state) in [("a", b"first"), ("b", b"other")] {
            storage.write(name, state.to_vec()).await.unwrap();
        }
        let job = folder.path().join(JOB.to_string());
        fs::copy(job.join("a"), job.join("b")).unwrap();
        let problem = storage.read("b", 5).await.unwrap_err();
        assert!(problem.to_string().ends_with("b: the file is damaged"));
    }

    #[tokio::test]
    async fn a_file_of_a_savepoint_or_of_a_retained_checkpoint_is_read_by_its_url() {
        let (folder, storage) = folder();
        storage.write("chk-7/a", b"state".to_vec()).await.unwrap();
        storage.write("b", b"other".to_vec()).await.unwrap();
        let job = folder.path().join(JOB.to_string());
        let url = |name: &str| format!("file://{}/{name}", job.display());
        let elsewhere = tempfile::tempdir().unwrap();
        let alone = Folders::new(&[elsewhere.path().to_owned()]).unwrap();
        let read = async |name: &str| storage.read_url(&url(name), 5, &alone).await;
        assert_eq!(read("chk-7/a").await.unwrap(), b"state");
        assert_eq!(read("b").await.unwrap(), b"other");
        fs::create_dir(job.join("chk-8")).unwrap();
        fs::copy(job.join("chk-7/a"), job.join("chk-8/a")).unwrap();
        let problem = read("chk-8/a").await.unwrap_err();
        assert!(
            problem
                .to_string()
                .ends_with("chk-8/a: the file is damaged")
        );
    }

    #[tokio::test]
    async fn what_a_job_names_is_where_jobs_may_have_files_or_in_this_storage() {
        let (_folder, storage) = folder();
        let [allowed, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let folders = Folders::new(&[allowed.path().to_owned()]).unwrap();
        let url =
            |folder: &tempfile::TempDir| format!("file://{}/savepoint", folder.path().display());
        storage.open_beside(&url(&allowed), &folders).unwrap();
        let refused = storage.open_beside(&url(&elsewhere), &folders).unwrap_err();
        assert!(refused.to_string().contains("--allowed-dirs"), "{refused}");
        let any = Folders::default();
        storage.open_beside(&url(&elsewhere), &any).unwrap();
        let refused = storage
            .read_url(&format!("{}/a", url(&elsewhere)), 5, &folders)
            .await;
        assert!(refused.unwrap_err().to_string().contains("--allowed-dirs"));
    }

    #[tokio::test]
    async fn a_file_without_a_checksum_is_refused() {
        let (folder, storage) = folder();
        let job = folder.path().join(JOB.to_string());
        fs::create_dir(&job).unwrap();
        fs::write(job.join("a"), "state").unwrap();
        let problem = storage.read("a", 5).await.unwrap_err();
        assert!(problem.to_string().contains("has 5 bytes"), "{problem}");
        // Nor is one of which the end is taken for the checksum.
        fs::write(job.join("a"), "another state").unwrap();
        let problem = storage.read("a", 5).await.unwrap_err();
        assert!(problem.to_string().ends_with("the file is damaged"));
    }

    #[tokio::test]
    async fn a_name_cannot_leave_the_jobs_folder() {
        let (_folder, storage) = folder();
        for name in ["../other", "/etc/passwd", "chk-1/../../x", ""] {
            assert!(storage.write(name, vec![]).await.is_err(), "{name}");
            assert!(storage.read(name, 0).await.is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named_with_the_systems_words() {
        let (folder, _) = folder();
        let file = folder.path().join("a file");
        fs::write(&file, "").unwrap();
        let storage = Storage::Folder(file);
        let problem = storage.write("a", vec![]).await.unwrap_err();
        assert!(problem.to_string().contains("Not a directory"), "{problem}");
    }

    #[tokio::test]
    async fn an_object_store_that_does_not_answer_is_asked_again_and_given_up() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let (path, soon) = (ObjectPath::from("a"), Duration::from_millis(5));
        let asked = AtomicU32::new(0);
        let hangs_until = async |answering: u32| {
            asked.store(0, Ordering::Relaxed);
            let request = || async {
                match asked.fetch_add(1, Ordering::Relaxed) + 1 {
                    number if number == answering => Ok(number),
                    _ => std::future::pending().await,
                }
            };
            answered(&path, soon, 1_000, request).await
        };
        assert_eq!(hangs_until(TRIES).await.unwrap(), TRIES);
        let problem = hangs_until(TRIES + 1).await.unwrap_err().to_string();
        assert_eq!(problem, "a: no answer within 0.005 s, 3 times");
    }

    #[test]
    fn a_kind_that_is_not_built_in_is_named_with_what_builds_it() {
        for (url, is_built) in [
            ("s3://bucket/a", cfg!(feature = "s3")),
            ("azure://container/a", cfg!(feature = "azure")),
            ("gs://bucket/a", cfg!(feature = "gcs")),
        ] {
            let problem = Storage::open(url).err().map(|problem| problem.to_string());
            let is_named = problem.is_some_and(|problem| problem.contains("was built without"));
            assert_eq!(is_named, !is_built, "{url}");
        }
    }

    #[test]
    fn a_url_that_is_not_understood_is_refused_with_itself() {
        for url in ["file://relative/path", "nonsense", "gopher://host/path"] {
            let problem = Storage::open(url).unwrap_err().to_string();
            assert!(problem.starts_with(url), "{problem}");
        }
    }
}
