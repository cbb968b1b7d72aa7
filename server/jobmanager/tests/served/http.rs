//! What REST does with HTTP itself: files, headers, encodings.

use crate::support::Running;

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
