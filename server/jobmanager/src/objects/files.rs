//! Files below a path, in a folder or in object storage: each is written whole and read whole, and they are deleted
//! many at a time. The conditions of the metadata store are none of these files' affair.

use super::{is_bucket, within, words};
use crate::objects::{Bucket, REQUEST_TIMEOUT};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How many files are deleted with one request, where the storage can: as many as S3 takes. So many names are in
/// memory at a time.
const BATCH: usize = 1_000;

/// What can be a place.
const EXPECTED: &str = "an absolute path or a file URL is expected, such as file:///shared/folder, or a prefix in \
     object storage, such as s3://BUCKET/PREFIX, azure://CONTAINER/PREFIX or gs://BUCKET/PREFIX";
const NO_STEPS: &str = "a path without steps upwards is expected, such as file:///shared/folder";

/// Where files are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In this folder, which every process has to reach.
    Folder(PathBuf),
    /// Below this prefix.
    Bucket(Bucket),
}

impl Place {
    /// The place that a URL or an absolute path names. Credentials come from the environment; nobody is asked yet.
    ///
    /// # Errors
    /// It names none, or one of a kind that is not built in, or what it takes to reach it is missing: the words for
    /// people.
    pub(crate) fn parse(url: &str) -> Result<Place, String> {
        if is_bucket(url) {
            let options = taskmanager::objects::options();
            return Bucket::open_for_files(url, options).map(Place::Bucket);
        }
        let path = url.strip_prefix("file://").or(url.strip_prefix("file:"));
        let path = PathBuf::from(path.unwrap_or(url));
        let path = Some(path).filter(|path| path.is_absolute());
        path.map(Place::Folder).ok_or_else(|| EXPECTED.to_owned())
    }

    /// To write and read files, durably, whether the folder is there or not.
    ///
    /// # Errors
    /// The path of the folder has a step upwards in it: the words for people.
    pub(crate) fn files(&self) -> Result<Files, String> {
        match self {
            Place::Folder(path) => {
                let root = Path::from_absolute_path(path).map_err(|_| NO_STEPS)?;
                let objects = LocalFileSystem::new().with_fsync(true);
                Ok(Files::new(Arc::new(objects), root, None))
            }
            Place::Bucket(bucket) => Ok(Files::of(bucket)),
        }
    }

    /// To delete files below it: folders in it go with their last file.
    ///
    /// # Errors
    /// The folder is not there: the words for people.
    pub(crate) fn contents(&self) -> Result<Files, String> {
        match self {
            Place::Folder(path) => {
                let objects = LocalFileSystem::new_with_prefix(path);
                let objects = objects.map_err(|error| words(&error))?;
                let objects = objects.with_automatic_cleanup(true);
                Ok(Files::new(Arc::new(objects), Path::default(), None))
            }
            Place::Bucket(bucket) => Ok(Files::of(bucket)),
        }
    }
}

/// Whether it is the bucket or container that is not there.
fn is_of_bucket(missing: &(dyn std::error::Error + 'static)) -> bool {
    let words = taskmanager::words(missing);
    ["NoSuchBucket", "ContainerNotFound"]
        .iter()
        .any(|code| words.contains(code))
}

/// Files below a path.
pub(crate) struct Files {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    /// How long a request may take. A folder has no limit: a thread that hangs in the system cannot be given up,
    /// and the next one would hang beside it.
    patience: Option<Duration>,
}

/// What there is under a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No file.
    Nothing,
    /// A file that is longer than it may be. Bytes.
    TooLong(u64),
    /// A file.
    File(Bytes),
}

impl Files {
    /// The files below this path. Each request has an end after this time.
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        root: Path,
        patience: Option<Duration>,
    ) -> Files {
        Files {
            objects,
            root,
            patience,
        }
    }

    /// Those of a bucket below its prefix.
    pub(crate) fn of(bucket: &Bucket) -> Files {
        Files::new(
            bucket.objects(),
            bucket.root().clone(),
            Some(REQUEST_TIMEOUT),
        )
    }

    /// Those in a folder of it.
    pub(crate) fn below(self, folder: &str) -> Files {
        let root = self.path(folder);
        Files { root, ..self }
    }

    /// Writes a file whole, over the one that may be there.
    ///
    /// # Errors
    /// It was not written, or may not have been: the words for people.
    pub(crate) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), String> {
        let (size, path) = (bytes.len() as u64, self.path(name));
        let written = self.objects.put(&path, bytes.into());
        let written = self.in_time(size, written).await?;
        written.map(drop).map_err(|error| words(&error))
    }

    /// A file of at most so many bytes.
    ///
    /// # Errors
    /// There is no answer: the words for people.
    pub(crate) async fn get(&self, name: &str, at_most: u64) -> Result<Found, String> {
        let path = self.path(name);
        let found = match self.in_time(0, self.objects.get(&path)).await? {
            Ok(found) => found,
            Err(Error::NotFound { source, .. }) if !is_of_bucket(&*source) => {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(words(&error)),
        };
        let size = found.meta.size;
        if size > at_most {
            return Ok(Found::TooLong(size));
        }
        let bytes = self.in_time(size, found.bytes()).await?;
        bytes.map(Found::File).map_err(|error| words(&error))
    }

    /// Whether there is a file of this name.
    ///
    /// # Errors
    /// There is no answer: the words for people.
    pub(crate) async fn has(&self, name: &str) -> Result<bool, String> {
        let path = self.path(name);
        match self.in_time(0, self.objects.head(&path)).await? {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(words(&error)),
        }
    }

    /// The names below the path that are wanted, of all files.
    ///
    /// # Errors
    /// There is no answer: the words for people.
    pub(crate) async fn names(
        &self,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, String> {
        let mut found = self.objects.list(Some(&self.root)).fuse();
        let mut names = Vec::new();
        while let Some(object) = self.in_time(0, found.next()).await? {
            let object = object.map_err(|error| words(&error))?;
            let name = self.name(&object.location);
            names.extend(name.filter(|name| is_wanted(name)).map(str::to_owned));
        }
        Ok(names)
    }

    /// Deletes the files of these names; what is not there is deleted.
    ///
    /// # Errors
    /// One is not deleted, or may not be: the words for people. What can be deleted of the others is.
    pub(crate) async fn delete<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), String> {
        let paths: Vec<Path> = names.into_iter().map(|name| self.path(name)).collect();
        let paths = stream::iter(paths).map(Ok);
        self.delete_found(paths.boxed(), |_| true).await
    }

    /// Deletes every file whose name is wanted, which is that below the path.
    ///
    /// # Errors
    /// One is not deleted, or may not be: the words for people. What can be deleted of the others is.
    pub(crate) async fn delete_all(&self, is_wanted: impl Fn(&str) -> bool) -> Result<(), String> {
        let found: BoxStream<'_, object_store::Result<ObjectMeta>> =
            self.objects.list(Some(&self.root));
        let found = found.map_ok(|object| object.location);
        self.delete_found(found.boxed(), is_wanted).await
    }

    /// Deletes batch after batch, so that no more than one is in memory, however many there are.
    async fn delete_found(
        &self,
        found: BoxStream<'_, object_store::Result<Path>>,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let mut found = found.fuse();
        let mut all = Ok(());
        loop {
            let mut batch = Vec::new();
            // A page of the list at a time is asked for, and each has its own time.
            while batch.len() < BATCH
                && let Some(path) = self.in_time(0, found.next()).await?
            {
                let path = path.map_err(|error| words(&error))?;
                if self.name(&path).is_some_and(&is_wanted) {
                    batch.push(path);
                }
            }
            if batch.is_empty() {
                return all;
            }
            let deleted = self.delete_batch(batch).await?;
            all = all.and(deleted);
        }
    }

    /// Deletes these, with one request if the storage can; gives the first one that was refused.
    ///
    /// # Errors
    /// There is no answer: the words for people.
    async fn delete_batch(&self, batch: Vec<Path>) -> Result<Result<(), String>, String> {
        let batch = stream::iter(batch).map(Ok).boxed();
        let mut deleted = self.objects.delete_stream(batch);
        let mut all = Ok(());
        while let Some(one) = self.in_time(0, deleted.next()).await? {
            let one = match one {
                Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(words(&error)),
            };
            all = all.and(one);
        }
        Ok(all)
    }

    fn path(&self, name: &str) -> Path {
        let parts = name.split('/');
        parts.fold(self.root.clone(), |path, part| path.join(part))
    }

    /// What a path is called below the root.
    fn name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        match self.root.as_ref() {
            "" => Some(path.as_ref()),
            root => path.as_ref().strip_prefix(root)?.strip_prefix('/'),
        }
    }

    async fn in_time<T>(&self, size: u64, request: impl Future<Output = T>) -> Result<T, String> {
        match self.patience {
            Some(patience) => within(patience, size, request).await,
            None => Ok(request.await),
        }
    }
}
