//! Tokens and roles, on every route there is.

use crate::support::{Running, job};
use jobmanager::security::{Role, mint};
use serde_json::Value;
use std::collections::BTreeSet;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

/// A JobManager that asks for tokens, and one of each role.
async fn guarded() -> (Running, TempDir, [String; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let made = ROLES.map(|role| mint(&format!("the-{role}"), role).unwrap());
    let lines = made.clone().map(|(_, line)| line).join("\n");
    let file = folder.path().join("people");
    std::fs::write(&file, lines).unwrap();
    let define = format!("security.rest.tokens={}", file.display());
    let running = Running::start(&folder.path().join("data"), &[&define]).await;
    (running, folder, made.map(|(token, _)| token))
}

/// The head of an answer; some answers have no end.
pub(crate) async fn head(
    running: &Running,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> String {
    let mut stream = TcpStream::connect(running.bound.rest).await.unwrap();
    let token = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{token}content-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

pub(crate) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Every route of the document: method, path and the least role, of which some have none.
pub(crate) async fn routes(running: &Running, admin: &str) -> Vec<(String, String, Option<Role>)> {
    let shown = [("authorization", &*format!("Bearer {admin}"))];
    let (_, document) = running.fetch("GET", "/openapi.json", &shown, "").await;
    let document: Value = serde_json::from_slice(&document).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let role = operation["security"][0]["token"][0].as_str();
            let role = role.map(|role| role.parse().unwrap());
            routes.push((method.to_uppercase(), path.clone(), role));
        }
    }
    routes
}

/// A path in which something is named that is not there.
pub(crate) fn filled(path: &str) -> String {
    let fill = |part| match str::starts_with(part, '{') {
        true => "00000000000000000000000000000000",
        false => part,
    };
    let parts = path.split('/').map(fill);
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_takes_its_role_and_no_lower_one() {
    let (running, _folder, tokens) = guarded().await;
    let routes = routes(&running, &tokens[2]).await;
    assert!(routes.len() > 90, "{}", routes.len());
    let open: Vec<_> = routes
        .iter()
        .filter(|(_, _, role)| role.is_none())
        .collect();
    // A page without anything of the cluster in it.
    assert_eq!(open, [&("GET".to_owned(), "/openapi".to_owned(), None)]);
    for (method, path, least) in routes {
        let Some(least) = least else { continue };
        assert!(
            method == "GET" || least > Role::Viewer,
            "{method} {path} changes something"
        );
        let filled = filled(&path);
        for prefix in ["", "/v1"] {
            let filled = format!("{prefix}{filled}");
            for token in [None, Some("hush")] {
                let head = head(&running, &method, &filled, token).await.to_lowercase();
                assert_eq!(status(&head), 401, "{method} {filled}");
                assert!(
                    head.contains("\r\nwww-authenticate: bearer realm="),
                    "{head}"
                );
            }
            for (role, token) in ROLES.iter().zip(&tokens) {
                let head = head(&running, &method, &filled, Some(token)).await;
                let status = status(&head);
                assert_ne!(status, 401, "{role}: {method} {filled}");
                assert_eq!(
                    status == 403,
                    *role < least,
                    "{role}: {method} {filled}: {status}"
                );
            }
        }
    }
    assert_eq!(
        status(&head(&running, "GET", "/", None).await),
        200,
        "the dashboard asks for a token"
    );
    running.stop().await;
}

#[tokio::test]
async fn who_is_refused_is_told_why_and_changes_nothing() {
    let (running, _folder, [viewer, operator, _]) = guarded().await;
    let bearer = |token: &str| format!("Bearer {token}");
    for (shown, wanted, words) in [
        (String::new(), 401, "the token is not known here"),
        (bearer("hush"), 401, "the token is not known here"),
        (
            format!("Basic {operator}"),
            401,
            "the token is not known here",
        ),
        (
            bearer(&viewer),
            403,
            "`the-viewer` is viewer, and only operator may do that",
        ),
    ] {
        let shown = [("authorization", &*shown)];
        let (head, body) = running.fetch("POST", "/jobs", &shown, job("")).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!(head.status, wanted, "{body}");
        assert!(
            body.starts_with("{\"errors\":[\"") && body.contains(words),
            "{body}"
        );
        assert!(!body.contains("hush"), "{body}");
    }
    let (head, body) = running.fetch("POST", "/jobs", &[], job("")).await;
    assert_eq!(head.status, 401, "{body:?}");
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains("a token is needed")
    );

    let shown = [("authorization", &*bearer(&viewer))];
    let (_, jobs) = running.fetch("GET", "/jobs", &shown, "").await;
    assert_eq!(jobs, b"{\"jobs\":[]}");
    let shown = [("authorization", &*format!("bearer  {operator}"))];
    let (head, _) = running.fetch("POST", "/jobs", &shown, job("")).await;
    assert_eq!(head.status, 202);
    running.stop().await;
}

#[tokio::test]
async fn tokens_are_exchanged_while_it_runs() {
    let (running, folder, [viewer, ..]) = guarded().await;
    let (newer, line) = mint("newer", Role::Viewer).unwrap();
    assert_eq!(
        status(&head(&running, "GET", "/jobs", Some(&newer)).await),
        401
    );
    std::fs::write(folder.path().join("people"), line).unwrap();
    until_answered(&running, &newer, 200).await;
    assert_eq!(
        status(&head(&running, "GET", "/jobs", Some(&viewer)).await),
        401
    );
    running.stop().await;
}

/// Asks with a token until the answer has this status.
async fn until_answered(running: &Running, token: &str, wanted: u16) {
    for _ in 0..2_000 {
        let head = head(running, "GET", "/jobs", Some(token)).await;
        if status(&head) == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the answer does not become {wanted}");
}

#[tokio::test]
async fn a_file_without_tokens_or_no_file_lets_nobody_in() {
    let (running, folder, [_, _, admin]) = guarded().await;
    let file = folder.path().join("people");
    let lines = std::fs::read(&file).unwrap();
    std::fs::write(&file, "# nobody\n").unwrap();
    until_answered(&running, &admin, 401).await;
    std::fs::write(&file, &lines).unwrap();
    until_answered(&running, &admin, 200).await;
    std::fs::remove_file(&file).unwrap();
    until_answered(&running, &admin, 401).await;
    std::fs::write(&file, &lines).unwrap();
    until_answered(&running, &admin, 200).await;
    running.stop().await;
}

#[tokio::test]
async fn a_slip_in_the_file_of_tokens_is_counted_and_ends_nobodys_access_at_once() {
    let (running, folder, [viewer, ..]) = guarded().await;
    let shown = [("authorization", &*format!("Bearer {viewer}"))];
    let metrics = async || {
        let (head, body) = running.fetch("GET", "/metrics", &shown, "").await;
        assert_eq!(head.status, 200);
        String::from_utf8(body).unwrap()
    };
    let counted = |failed: u32, stale: u32| {
        [
            format!("jobmanager_reloads_failed_total{{of=\"file of tokens\"}} {failed}\n"),
            format!("jobmanager_reload_stale{{of=\"file of tokens\"}} {stale}\n"),
        ]
    };
    let holds = |text: &str, lines: [String; 2]| lines.iter().all(|line| text.contains(line));
    assert!(holds(&metrics().await, counted(0, 0)));
    std::fs::write(folder.path().join("people"), "the-viewer viewer x").unwrap();
    for _ in 0..2_000 {
        if holds(&metrics().await, counted(1, 1)) {
            return running.stop().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{}", metrics().await);
}

#[tokio::test]
async fn a_page_of_another_place_gives_no_orders() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let orders = BTreeSet::from(["cross-site", "same-site"]);
    for from in ["cross-site", "same-site", "same-origin", "none"] {
        let from_there = [("sec-fetch-site", from)];
        let (head, body) = running.fetch("POST", "/jobs", &from_there, job("")).await;
        let wanted = if orders.contains(from) { 403 } else { 202 };
        assert_eq!(head.status, wanted, "{from}: {body:?}");
        let (head, _) = running.fetch("GET", "/jobs", &from_there, "").await;
        assert_eq!(head.status, 200, "{from}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_job_is_not_canceled_by_an_image_on_a_page_of_another_place() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let own = format!("http://{}", running.bound.rest);
    let browser = (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
    );
    let page = ("referer", &*format!("{own}/#/job/running"));
    let (image, link) = (
        ("sec-fetch-site", "cross-site"),
        ("referer", "http://elsewhere.example/"),
    );
    let cancel = format!("/jobs/{}/yarn-cancel", "0".repeat(32));
    // Whoever is let in is told that there is no such job.
    for (headers, wanted) in [
        (&[][..], 404),
        (&[("user-agent", "curl/8.5.0")], 404),
        (&[("user-agent", "Java/17"), link], 404),
        (&[browser, ("sec-fetch-site", "same-origin")], 404),
        (&[browser, ("sec-fetch-site", "none")], 404),
        (&[browser, ("origin", &*own)], 404),
        (&[browser, page], 404),
        (&[browser, image], 403),
        (&[browser, image, page], 403),
        (&[image], 403),
        (&[browser, ("sec-fetch-site", "same-site")], 403),
        (&[browser, ("sec-fetch-site", "cross-origin")], 403),
        (&[browser, ("origin", "null")], 403),
        (&[browser, link], 403),
        (&[browser, ("referer", "")], 403),
        (&[browser], 403),
    ] {
        for method in ["GET", "HEAD"] {
            let (head, body) = running.fetch(method, &cancel, headers, "").await;
            assert_eq!(head.status, wanted, "{method} {headers:?}: {body:?}");
        }
    }
    let (_, body) = running.fetch("GET", &cancel, &[browser], "").await;
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("PATCH /jobs/ID"), "{body}");
    // What shows something and changes nothing, every page may load, and then cannot read.
    let (head, _) = running.fetch("GET", "/jobs", &[browser, image], "").await;
    assert_eq!(head.status, 200);
    running.stop().await;
}

/// The status of an answer to a request that is for this host and, if there is one, from this page.
async fn asked_as(running: &Running, request: &str, host: &str, origin: Option<&str>) -> u16 {
    let origin = origin.map_or_else(String::new, |origin| format!("origin: {origin}\r\n"));
    let request =
        format!("{request} HTTP/1.1\r\nhost: {host}\r\n{origin}content-length: 0\r\n\r\n");
    let mut stream = TcpStream::connect(running.bound.rest).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    let mut stream = BufReader::new(stream);
    stream.read_line(&mut line).await.unwrap();
    status(&line)
}

#[tokio::test]
async fn a_name_that_somebody_else_lets_lead_here_shows_nothing_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let define = ["rest.address=flows.example", "rest.allowed-hosts=one, two"];
    let running = Running::start(folder.path(), &define).await;
    let port = running.bound.rest.port();
    for request in [
        "GET /",
        "GET /jobs",
        "GET /events",
        "GET /nosuch",
        "POST /jobs",
        "PUT /",
    ] {
        let host = format!("elsewhere.example:{port}");
        let origin = format!("http://{host}");
        let status = asked_as(&running, request, &host, Some(&origin)).await;
        assert_eq!(status, 421, "{request}");
    }
    for host in [
        "127.0.0.1",
        "[::1]",
        "localhost",
        "flows.example",
        "one",
        "two",
    ] {
        let host = format!("{host}:{port}");
        assert_eq!(
            asked_as(&running, "GET /jobs", &host, None).await,
            200,
            "{host}"
        );
        let own = format!("http://{host}");
        // It was let in: nothing is no job.
        let order = asked_as(&running, "POST /jobs", &host, Some(&own)).await;
        assert_eq!(order, 400, "{host}");
        let order = asked_as(
            &running,
            "POST /jobs",
            &host,
            Some("http://elsewhere.example"),
        )
        .await;
        assert_eq!(order, 403, "{host}");
    }
    running.stop().await;
}

#[tokio::test]
async fn where_tokens_are_asked_for_or_somebody_in_front_looks_every_name_counts() {
    let folder = tempfile::tempdir().unwrap();
    let open = Running::start(folder.path(), &["rest.allowed-hosts=*"]).await;
    let (guarded, _folder, _) = guarded().await;
    for (running, wanted) in [(open, 200), (guarded, 401)] {
        let status = asked_as(&running, "GET /jobs", "elsewhere.example", None).await;
        assert_eq!(status, wanted);
        running.stop().await;
    }
}

#[tokio::test]
async fn where_the_tokens_are_is_all_that_is_shown_of_them_and_not_even_that() {
    let (running, _folder, [viewer, ..]) = guarded().await;
    let shown = [("authorization", &*format!("Bearer {viewer}"))];
    let (_, body) = running.fetch("GET", "/jobmanager/config", &shown, "").await;
    let body = String::from_utf8(body).unwrap();
    assert!(
        body.contains("{\"key\":\"security.rest.tokens\",\"value\":\"******\"}"),
        "{body}"
    );
    for path in ["/jobmanager/config", "/metrics", "/jobmanager/environment"] {
        let (_, body) = running.fetch("GET", path, &shown, "").await;
        let body = String::from_utf8(body).unwrap();
        assert!(
            !body.contains(&viewer) && !body.contains("people"),
            "{path}: {body}"
        );
    }
    running.stop().await;
}
