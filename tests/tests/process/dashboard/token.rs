//! A dashboard of a JobManager that wants to know who looks.

use super::{FAULTS, LAPTOP, keep};
use crate::cluster::{free_ports, own_address, serve};
use crate::dashboard::page::Page;
use crate::process::{Process, wait_for};
use crate::rest::Rest;
use crate::security::jwt::{Asking, Provider};
use jobmanager::security::{Role, mint};
use serde_json::json;

#[test]
fn a_page_asks_for_a_token_once_and_keeps_it_for_the_tab() {
    let Some(mut page) = Page::open() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (token, line) = mint("the-viewer", Role::Viewer).unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, line).unwrap();
    let [rest, rpc] = free_ports(own_address());
    let mut command = serve(&rest, &rpc, &folder.path().join("data"));
    command.arg(format!("-Dsecurity.rest.tokens={}", file.display()));
    let _jobmanager = Process::start(&mut command, &folder.path().join("log"));
    let address = format!("http://{rest}");
    let asked = Rest::new(&address);
    let (status, _) = wait_for("the JobManager to answer", || {
        asked.ask("GET", "/overview", b"")
    });
    assert_eq!(status, 401);

    page.resize(LAPTOP);
    page.go(&address);
    page.wait_for_text("Who are you?");
    keep(&mut page, "token", LAPTOP);
    page.fill("dialog input", "hush");
    page.press("Go on");
    page.wait_for_text("the token is not known here");
    page.press("Leave it");
    page.wait_for("document.querySelector('dialog') === null");
    page.press("Give a token");
    page.fill("dialog input", &token);
    page.press("Go on");
    page.wait_for("document.querySelector('.connection').classList.contains('live')");
    page.wait_for("document.querySelector('dialog') === null");
    assert_eq!(page.evaluate(FAULTS), json!([]));

    // The page that tries the routes is in the same tab.
    page.go(&format!("{address}/openapi#get_jobs_overview"));
    page.wait_for("document.querySelector('.good') !== null");
    let kept = page.evaluate("Object.keys(localStorage).includes('jobmanager-token')");
    assert_eq!(kept, false, "a token outlives its tab");
}

#[test]
fn a_page_takes_a_token_of_an_identity_provider_and_says_when_it_has_expired() {
    let Some(mut page) = Page::open() else {
        return;
    };
    let provider = Provider::start();
    let asking = Asking::start(&provider);
    page.resize(LAPTOP);
    page.go(&asking.address);
    page.wait_for_text("Who are you?");
    page.fill("dialog input", &provider.token("none", -300));
    page.press("Go on");
    page.wait_for_text("the token has expired");
    page.fill("dialog input", &provider.token("none", 300));
    page.press("Go on");
    page.wait_for("document.querySelector('.connection').classList.contains('live')");
    page.wait_for("document.querySelector('dialog') === null");
    assert_eq!(page.evaluate(FAULTS), json!([]));
}
