//! What REST does with HTTP itself: files, headers, encodings.

use crate::support::{Running, job};

#[tokio::test]
async fn a_dashboards_files_are_served_beside_the_routes_and_nothing_above_them() {
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web");
    std::fs::create_dir(&web).unwrap();
    std::fs::write(web.join("index.html"), "<p>here").unwrap();
    std::fs::write(web.join("main.js"), "run()").unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let define = format!("web.dir={}", web.display());
    let running = Running::start(&folder.path().join("data"), &[&define]).await;
    for (path, kind, text) in [
        ("/", "text/html", "<p>here"),
        ("/index.html", "text/html", "<p>here"),
        ("/main.js", "text/javascript", "run()"),
    ] {
        let (head, body) = running.fetch("GET", path, &[], "").await;
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.headers["content-type"], kind, "{path}");
        assert_eq!(body, text.as_bytes(), "{path}");
    }
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "//secret",
        "/nosuch",
        "/v1/",
    ] {
        let (status, body) = running.request("GET", path, "").await;
        assert_eq!(status, 404, "{path}: {body}");
        assert!(body["errors"][0].is_string(), "{path}: {body}");
    }
    running.get("/overview").await;
    running.stop().await;
}

#[tokio::test]
async fn the_own_dashboard_is_served_unless_another_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/dashboard.js", "text/javascript"),
        ("/layout.js", "text/javascript"),
        ("/dashboard.css", "text/css"),
        ("/favicon.svg", "image/svg+xml"),
        ("/licenses.txt", "text/plain"),
    ] {
        let (head, body) = running.fetch("GET", path, &[], "").await;
        assert_eq!(head.status, 200, "{path}");
        let shown = head.headers["content-type"].to_str().unwrap();
        assert!(shown.starts_with(kind), "{path}: {shown}");
        let policy = head.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(!body.is_empty(), "{path}");
        let tag = head.headers["etag"].to_str().unwrap();
        let again = [("if-none-match", tag)];
        let (head, nothing) = running.fetch("GET", path, &again, "").await;
        assert_eq!((head.status.as_u16(), nothing.len()), (304, 0), "{path}");
        let (status, refused) = running.request("POST", path, "").await;
        assert_eq!(status, 405, "{path}: {refused}");
    }
    for path in ["/index.html", "/nosuch", "/v1/"] {
        let (status, body) = running.request("GET", path, "").await;
        assert_eq!(status, 404, "{path}: {body}");
    }
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_the_client_has_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let (head, body) = running.fetch("GET", "/config", &[], "").await;
    let tag = head.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(head.headers["cache-control"], "no-cache");
    let again = [("if-none-match", &*tag)];
    let (head, nothing) = running.fetch("GET", "/v1/config", &again, "").await;
    assert_eq!((head.status.as_u16(), nothing.len()), (304, 0));
    assert_eq!(head.headers["etag"], &*tag);
    let other = [("if-none-match", "\"other\"")];
    let (head, same) = running.fetch("GET", "/config", &other, "").await;
    assert_eq!((head.status.as_u16(), same), (200, body));

    let (head, _) = running.fetch("GET", "/jobs", &[], "").await;
    let before = head.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(running.request("POST", "/jobs", job("")).await.0, 202);
    let again = [("if-none-match", &*before)];
    let (head, _) = running.fetch("GET", "/jobs", &again, "").await;
    assert_eq!(head.status, 200, "the list has changed");
    let (head, _) = running.fetch("GET", "/nosuch", &[], "").await;
    assert!(!head.headers.contains_key("etag"));
    running.stop().await;
}

#[tokio::test]
async fn what_is_long_comes_compressed_to_whoever_wants_that() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let (_, accepted) = running.request("POST", "/jobs", job("")).await;
    let path = format!("/jobs/{}", accepted["jobid"].as_str().unwrap());
    let plain = [("accept-encoding", "identity")];
    let gzip = [("accept-encoding", "gzip")];
    let (head, long) = running.fetch("GET", &path, &plain, "").await;
    assert!(!head.headers.contains_key("content-encoding"));
    let (head, packed) = running.fetch("GET", &path, &gzip, "").await;
    assert_eq!(head.headers["content-encoding"], "gzip");
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() * 2 < long.len());
    let (head, _) = running.fetch("GET", "/config", &gzip, "").await;
    assert!(
        !head.headers.contains_key("content-encoding"),
        "it is short"
    );
    running.stop().await;
}
