//! What files in object storage promise although the server refuses, fails or says nothing, and that no more of
//! them are in memory than a batch.

#![allow(clippy::unwrap_used)]

use super::*;
use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};

/// What a server does with the requests of one kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What it is asked to.
    #[default]
    Obeys,
    /// It fails.
    Fails,
    /// It never answers.
    Hangs,
}

/// A server with ways.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) objects: Arc<InMemory>,
    pub(crate) puts: Way,
    pub(crate) gets: Way,
    pub(crate) lists: Way,
    pub(crate) deletions: Way,
    /// What is not deleted.
    pub(crate) locked: Option<Path>,
    /// How many were to be deleted by each request.
    pub(crate) batches: Arc<Mutex<Vec<usize>>>,
}

impl Server {
    /// The files below a path on it, without patience.
    pub(crate) fn files(self: &Arc<Server>, root: &str) -> Files {
        let objects: Arc<dyn ObjectStore> = self.clone();
        Files::new(objects, Path::from(root), Some(Duration::from_millis(20)))
    }

    /// How many there are.
    pub(crate) async fn count(&self) -> usize {
        self.objects.list(None).count().await
    }
}

/// What becomes of a request that is not to be waited for.
async fn soon<T>(request: impl Future<Output = T>) -> T {
    let ended = timeout(Duration::from_secs(20), request).await;
    ended.expect("a request has an end")
}

async fn go(way: Way) -> Result<()> {
    match way {
        Way::Obeys => Ok(()),
        Way::Fails => Err(Error::Generic {
            store: "test",
            source: "out of order".into(),
        }),
        Way::Hangs => pending().await,
    }
}

#[async_trait]
impl ObjectStore for Server {
    async fn put_opts(&self, path: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        go(self.puts).await?;
        self.objects.put_opts(path, bytes, how).await
    }

    async fn get_opts(&self, path: &Path, how: GetOptions) -> Result<GetResult> {
        go(self.gets).await?;
        self.objects.get_opts(path, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (way, locked) = (self.deletions, self.locked.clone());
        let (objects, batches) = (Arc::clone(&self.objects), Arc::clone(&self.batches));
        let deleted = async move {
            go(way).await?;
            let paths: Vec<Path> = paths.try_collect().await?;
            batches.lock().unwrap().push(paths.len());
            let is_locked = move |path: &Path| locked.as_ref() == Some(path);
            let paths = paths.into_iter().map(move |path| match is_locked(&path) {
                true => Err(Error::PermissionDenied {
                    path: path.to_string(),
                    source: "it is locked".into(),
                }),
                false => Ok(path),
            });
            let (refused, allowed): (Vec<_>, Vec<_>) = paths.partition(Result::is_err);
            let deleted = objects.delete_stream(stream::iter(allowed).boxed());
            Ok::<_, Error>(stream::iter(refused).chain(deleted))
        };
        stream::once(deleted).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (way, listed) = (self.lists, self.objects.list(prefix));
        let listed = async move { go(way).await.map(|()| listed) };
        stream::once(listed).try_flatten().boxed()
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

/// So many files on this server, and the way to them.
async fn files(server: Server, count: usize) -> (Arc<Server>, Files) {
    for number in 0..count {
        let path = Path::from(format!("root/{number:05}"));
        server.objects.put(&path, "file".into()).await.unwrap();
    }
    let server = Arc::new(server);
    let files = server.files("root");
    (server, files)
}

#[tokio::test]
async fn however_many_files_there_are_only_a_batch_of_them_is_deleted_at_a_time() {
    let (server, files) = files(Server::default(), 2_345).await;
    files.delete_all(|name| name != "00007").await.unwrap();
    assert_eq!(*server.batches.lock().unwrap(), [1_000, 1_000, 344]);
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn one_file_that_is_refused_is_told_and_does_not_keep_the_others() {
    let locked = Some(Path::from("root/00003"));
    let server = Server {
        locked,
        ..Server::default()
    };
    let (server, files) = files(server, 2_345).await;
    let words = files.delete_all(|_| true).await.unwrap_err();
    assert!(
        words.contains("root/00003") && words.contains("locked"),
        "{words}"
    );
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn a_server_that_fails_or_hangs_is_told_of_and_not_waited_for() {
    let server = |way, of: fn(&mut Server) -> &mut Way| {
        let mut server = Server::default();
        *of(&mut server) = way;
        files(server, 3)
    };
    for (way, expected) in [
        (Way::Fails, "out of order"),
        (Way::Hangs, "no answer within 0.02 s"),
    ] {
        let (_, files) = server(way, |server| &mut server.puts).await;
        let put = soon(files.put("a", vec![1])).await;
        let (_, files) = server(way, |server| &mut server.gets).await;
        let got = soon(files.get("00000", 10)).await.map(drop);
        let has = soon(files.has("00000")).await.map(drop);
        let (_, files) = server(way, |server| &mut server.lists).await;
        let listed = soon(files.delete_all(|_| true)).await;
        let (server, files) = server(way, |server| &mut server.deletions).await;
        let deleted = soon(files.delete(["00000"])).await;
        for outcome in [put, got, has, listed, deleted] {
            let words = outcome.unwrap_err();
            assert!(words.contains(expected), "{words}");
        }
        assert_eq!(server.count().await, 3);
    }
}

#[tokio::test]
async fn a_file_is_read_as_it_was_written_unless_it_is_too_long() {
    let (_, files) = files(Server::default(), 0).await;
    assert_eq!(files.get("a/b", 4).await, Ok(Found::Nothing));
    assert_eq!(files.has("a/b").await, Ok(false));
    files.put("a/b", b"file".to_vec()).await.unwrap();
    assert_eq!(files.get("a/b", 4).await, Ok(Found::File("file".into())));
    assert_eq!(files.get("a/b", 3).await, Ok(Found::TooLong(4)));
    let inside = files.below("a");
    assert_eq!(inside.has("b").await, Ok(true));
    inside.delete(["b", "nothing"]).await.unwrap();
    assert_eq!(inside.has("b").await, Ok(false));
}

#[test]
fn what_may_be_a_credential_is_not_shown() {
    for (url, expected) in [
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3://key:hush@bucket/a@b", "s3://bucket/a@b"),
        ("s3://bucket?token=hush", "s3://bucket"),
        ("abfss://container@host/a", "abfss://container@host/a"),
        ("file:///a?b", "file:///a?b"),
        ("a\u{1b}b", "a\\u{1b}b"),
    ] {
        assert_eq!(shown(url), expected);
    }
}
