//! An object storage in memory that does what a test wants it to.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// What becomes of the next entry that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is written, and nobody is told.
    Answer,
    /// It is lost.
    Request,
    /// Nobody is told, and it is written when the test says so.
    Late,
}

/// What a server makes of a condition.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// It keeps it.
    #[default]
    Kept,
    /// It creates what is there.
    CreatesAnyway,
    /// It overwrites what has changed.
    OverwritesAnyway,
    /// It looks first, and writes later.
    NotAtOnce,
    /// It gives nothing by which versions could be told apart.
    NoVersions,
}

#[derive(Debug, Default)]
struct Ways {
    conditions: Conditions,
    fault: Option<Fault>,
    late: Vec<(Path, PutPayload, PutOptions)>,
    refuses_runs: bool,
    pause: Duration,
}

/// The server.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) objects: InMemory,
    ways: Mutex<Ways>,
}

impl Server {
    pub(crate) fn with(conditions: Conditions) -> Server {
        let server = Server::default();
        server.ways().conditions = conditions;
        server
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap()
    }

    /// Chooses what becomes of the next entry.
    pub(crate) fn next(&self, fault: Fault) {
        self.ways().fault = Some(fault);
    }

    /// Nothing becomes of the next entry but that it is written.
    pub(crate) fn heal(&self) {
        self.ways().fault = None;
    }

    /// Writes what was late; returns whether that was possible.
    pub(crate) async fn release(&self) -> bool {
        let late = std::mem::take(&mut self.ways().late);
        let mut written = true;
        for (path, bytes, options) in late {
            written &= self.objects.put_opts(&path, bytes, options).await.is_ok();
        }
        written
    }

    /// Whether runs can be written.
    pub(crate) fn takes_runs(&self, takes: bool) {
        self.ways().refuses_runs = !takes;
    }

    /// Lets each request take this long, half of it before anything is done.
    pub(crate) fn take_time(&self, pause: Duration) {
        self.ways().pause = pause;
    }

    async fn pause(&self) {
        let half = self.ways().pause / 2;
        if !half.is_zero() {
            tokio::time::sleep(half).await;
        }
    }

    async fn write(
        &self,
        path: &Path,
        bytes: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        let conditions = self.ways().conditions;
        match (&options.mode, conditions) {
            (PutMode::Create, Conditions::CreatesAnyway)
            | (PutMode::Update(_), Conditions::OverwritesAnyway) => {
                options.mode = PutMode::Overwrite;
            }
            (PutMode::Update(version), Conditions::NotAtOnce) => {
                let found = self.objects.head(path).await?;
                if found.e_tag != version.e_tag {
                    return self.objects.put_opts(path, bytes, options).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                options.mode = PutMode::Overwrite;
            }
            _ => {}
        }
        let mut written = self.objects.put_opts(path, bytes, options).await?;
        if conditions == Conditions::NoVersions {
            written.e_tag = None;
        }
        Ok(written)
    }
}

fn no_answer() -> Error {
    Error::Generic {
        store: "test",
        source: "no answer".into(),
    }
}

#[async_trait]
impl ObjectStore for Server {
    async fn put_opts(
        &self,
        path: &Path,
        bytes: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.pause().await;
        let name = path.as_ref();
        if name.contains("/runs/") && self.ways().refuses_runs {
            return Err(Error::PermissionDenied {
                path: name.to_owned(),
                source: "runs are not welcome".into(),
            });
        }
        let is_entry = name.contains("/log/");
        let fault = is_entry.then(|| self.ways().fault.take()).flatten();
        match fault {
            None => {
                let written = self.write(path, bytes, options).await;
                self.pause().await;
                written
            }
            Some(Fault::Answer) => {
                let _ = self.write(path, bytes, options).await;
                Err(no_answer())
            }
            Some(Fault::Request) => Err(no_answer()),
            Some(Fault::Late) => {
                self.ways().late.push((path.clone(), bytes, options));
                Err(no_answer())
            }
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.pause().await;
        let found = self.objects.get_opts(path, options).await;
        self.pause().await;
        found
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(path, options).await
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a test's server")
    }
}
