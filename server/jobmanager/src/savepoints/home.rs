//! Where the files of a savepoint are that go with it: in its folder. Those of a checkpoint that outlived its job are in
//! the folders of that job's checkpoints, beside each other.

use super::{MAX_METADATA, METADATA};
use crate::objects::{Files, Found};
use jobmanager_core::id::JobId;
use jobmanager_core::message::StateLocation;
use jobmanager_core::savepoint::Savepoint;
use jobmanager_proto::decode_savepoint;
use std::collections::BTreeSet;

/// Where all files of a savepoint are that are its own.
pub(super) struct Home<'a> {
    /// The URL of the folder.
    pub(super) url: &'a str,
    /// What its metadata is called there.
    pub(super) metadata: String,
    /// Whether the files are in folders of checkpoints within it.
    is_of_job: bool,
}

impl Home<'_> {
    pub(super) fn of(location: &str) -> Home<'_> {
        match location.rsplit_once('/') {
            Some((job, name)) if is_checkpoint(name) => Home {
                url: job,
                metadata: format!("{name}/{METADATA}"),
                is_of_job: true,
            },
            Some(_) | None => Home {
                url: location,
                metadata: METADATA.to_owned(),
                is_of_job: false,
            },
        }
    }

    /// The names of the savepoint's own files.
    pub(super) fn files<'a>(&'a self, savepoint: &'a Savepoint) -> impl Iterator<Item = &'a str> {
        let names = savepoint
            .states()
            .filter_map(|state| match &state.location {
                StateLocation::Url(url) => url.strip_prefix(self.url)?.strip_prefix('/'),
                StateLocation::Inline(_) | StateLocation::File(_) => None,
            });
        names.filter(|name| match name.split_once('/') {
            Some((folder, name)) => self.is_of_job && is_checkpoint(folder) && !name.contains('/'),
            None => !self.is_of_job,
        })
    }
}

/// Whether a folder is called like that of a checkpoint.
fn is_checkpoint(folder: &str) -> bool {
    let number = folder.strip_prefix("chk-");
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// The names of the files in the folder of a job in the checkpoint storage that are to outlive it: those of the
/// checkpoints that have metadata, and that.
///
/// # Errors
/// There is no answer, or metadata that cannot be read: the words for people.
pub(crate) async fn retained(job: JobId, files: &Files) -> Result<BTreeSet<String>, String> {
    let metadata = files.names(|name| {
        let file = name.split_once('/');
        file.is_some_and(|(folder, name)| is_checkpoint(folder) && name == METADATA)
    });
    let mut retained = BTreeSet::new();
    for name in metadata.await? {
        let damaged = |problem| {
            format!("{name} in the folder of job {job} {problem}; if nobody needs it, delete it")
        };
        let bytes = match files.get(&name, MAX_METADATA).await? {
            Found::File(bytes) => bytes,
            Found::Nothing => continue,
            Found::TooLong(_) => return Err(damaged("is no metadata of a checkpoint".to_owned())),
        };
        // Where the storage is does not matter: the files are looked for below the job's folder.
        let folder = format!("/{job}/");
        let location = format!(
            "{folder}{}",
            name.trim_end_matches(METADATA).trim_end_matches('/')
        );
        let savepoint = decode_savepoint(&bytes, &location);
        let savepoint =
            savepoint.map_err(|problem| damaged(format!("cannot be used: {problem}")))?;
        retained.extend(
            savepoint
                .states()
                .filter_map(|state| match &state.location {
                    StateLocation::Url(url) => Some(url.rsplit_once(&folder)?.1.to_owned()),
                    StateLocation::Inline(_) | StateLocation::File(_) => None,
                }),
        );
        retained.insert(name);
    }
    Ok(retained)
}
