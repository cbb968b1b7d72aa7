//! The few requests that a store makes in an object storage. Each has an end, and none is made twice in here: whoever
//! needs an answer decides when to ask once more.

use crate::election::ClusterId;
use crate::objects::{Bucket, in_time, words};
use futures::TryStreamExt;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

/// A part of a bucket: objects by their names in it.
#[derive(Clone)]
pub(super) struct Prefix {
    shown: String,
    objects: Arc<dyn ObjectStore>,
    root: Path,
}

/// What an object has to be for a write to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expected {
    /// It is not there.
    Absent,
    /// It is still as it was.
    Version(UpdateVersion),
    /// Whatever there is: nobody else writes it.
    Anything,
}

/// Why a write was not made, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PutFailure {
    /// The object is not what was expected, or somebody else is writing it.
    Refused,
    /// There are no such conditions here.
    Unsupported(String),
    /// It was not made, and will not be.
    NotDone(String),
    /// It may have been made, or may be yet.
    Unknown(String),
}

impl PutFailure {
    /// What an answer of this kind means.
    fn of(error: &Error) -> PutFailure {
        let words = words(error);
        if matches!(
            error,
            Error::AlreadyExists { .. } | Error::Precondition { .. }
        ) {
            return PutFailure::Refused;
        }
        if matches!(
            error,
            Error::NotImplemented { .. } | Error::NotSupported { .. }
        ) {
            return PutFailure::Unsupported(words);
        }
        let is_definite = matches!(
            error,
            Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
        );
        match is_definite || was_not_sent(error) {
            true => PutFailure::NotDone(words),
            false => PutFailure::Unknown(words),
        }
    }

    /// The words for people.
    pub(super) fn words(self) -> String {
        match self {
            PutFailure::Refused => "somebody else writes there".to_owned(),
            PutFailure::Unsupported(words)
            | PutFailure::NotDone(words)
            | PutFailure::Unknown(words) => words,
        }
    }
}

/// Whether the server cannot have seen it, because there was no connection.
fn was_not_sent(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return error.kind() == HttpErrorKind::Connect;
        }
        cause = error.source();
    }
    false
}

impl Prefix {
    /// The part of a bucket that belongs to a cluster.
    pub(super) fn of(bucket: &Bucket, cluster: &ClusterId) -> Prefix {
        let root = bucket.root().clone().join(cluster.in_paths());
        Prefix::new(bucket.to_string(), bucket.objects(), root)
    }

    /// The objects below this path, which errors show as this.
    pub(super) fn new(shown: String, objects: Arc<dyn ObjectStore>, root: Path) -> Prefix {
        Prefix {
            shown,
            objects,
            root,
        }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/')
            .fold(self.root.clone(), |path, part| path.join(part))
    }

    /// An object, and what it takes to write it next; nothing if it is not there.
    ///
    /// # Errors
    /// There is no answer: the words for people.
    pub(super) async fn get(&self, name: &str) -> Result<Option<(Vec<u8>, UpdateVersion)>, String> {
        let path = self.path(name);
        let found = match in_time(0, self.objects.get(&path)).await? {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(words(&error)),
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let bytes = in_time(found.meta.size, found.bytes()).await?;
        let bytes = bytes.map_err(|error| words(&error))?;
        Ok(Some((bytes.into(), version)))
    }

    /// Writes an object whole, and returns what it takes to write it next.
    ///
    /// # Errors
    /// It was not written, or may not have been.
    pub(super) async fn put(
        &self,
        name: &str,
        expected: Expected,
        bytes: Vec<u8>,
    ) -> Result<UpdateVersion, PutFailure> {
        let size = bytes.len() as u64;
        let mode = match expected {
            Expected::Absent => PutMode::Create,
            Expected::Version(version) => PutMode::Update(version),
            Expected::Anything => PutMode::Overwrite,
        };
        let path = self.path(name);
        let write = self.objects.put_opts(&path, bytes.into(), mode.into());
        match in_time(size, write).await {
            Ok(Ok(put)) => Ok(put.into()),
            Ok(Err(error)) => Err(PutFailure::of(&error)),
            Err(words) => Err(PutFailure::Unknown(words)),
        }
    }

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// The words for people.
    pub(super) async fn delete(&self, name: &str) -> Result<(), String> {
        match in_time(0, self.objects.delete(&self.path(name))).await? {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(words(&error)),
        }
    }

    /// The names of the objects in a folder of the prefix, without that of the folder.
    ///
    /// # Errors
    /// The words for people.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let folder = self.path(folder);
        let found = self.objects.list(Some(&folder));
        let names = found.map_ok(|object| object.location.filename().map(str::to_owned));
        // Names come by the thousand, and there are a few dozen.
        let names = in_time(0, names.try_collect::<Vec<_>>()).await?;
        let names = names.map_err(|error| words(&error))?;
        Ok(names.into_iter().flatten().collect())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Without what the library holds, which has credentials in it.
impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prefix").field(&self.shown).finish()
    }
}
