//! Which servers are refused before anything is written.

use super::server::Conditions;
use super::*;
use object_store::local::LocalFileSystem;

async fn refusal(objects: Arc<dyn ObjectStore>) -> String {
    let prefix = Prefix::new("test://bucket".to_owned(), objects, Path::from("root"));
    let error = BucketStore::open_prefix(prefix, "none").await.unwrap_err();
    error.to_string()
}

#[tokio::test]
async fn a_server_that_does_not_keep_conditions_is_refused_with_what_it_does() {
    for (conditions, expected) in [
        (Conditions::CreatesAnyway, "creates an object that is there"),
        (
            Conditions::OverwritesAnyway,
            "overwrites an object that has changed",
        ),
        (Conditions::NotAtOnce, "lets several writers overwrite"),
        (Conditions::NoVersions, "gives no ETag"),
    ] {
        let server = Arc::new(Server::with(conditions));
        let words = refusal(server.clone()).await;
        assert!(words.starts_with("test://bucket cannot hold"), "{words}");
        assert!(words.contains(expected), "{words}");
        assert!(words.contains("jobmanager.store (--store)"), "{words}");
        let left = prefix(&server).list("").await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn a_folder_is_refused_because_it_has_no_conditions() {
    let folder = tempfile::tempdir().unwrap();
    let files = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let words = refusal(Arc::new(files)).await;
    assert!(words.contains("cannot hold the metadata"), "{words}");
}

#[tokio::test]
async fn a_server_that_keeps_them_has_nothing_left_of_the_probe() {
    let server = Arc::new(Server::default());
    open(&server).await;
    assert!(prefix(&server).list("").await.unwrap().is_empty());
}
