//! The page to try the routes, in a browser.

use crate::cluster::Cluster;
use crate::jobs::endless;
use jobmanager_tests::browser::Browser;

#[test]
fn the_page_lists_every_route_and_shows_what_one_answers() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let cluster = Cluster::start(0, 1, &[]);
    let job = cluster.rest.submit(&endless("tried out"));
    let document = cluster.rest.get("/openapi.json");
    let open = |fragment: &str| {
        let address = format!("{}/v1/openapi#{fragment}", cluster.rest.address);
        let opened = browser.open(&cluster.path("browser"), &address);
        assert!(opened.console.is_empty(), "{:#?}", opened.console);
        opened.document
    };
    let page = open(&format!("get_jobs_job?job={job}"));
    let methods = document["paths"].as_object().unwrap().values();
    let operations = methods.flat_map(|methods| methods.as_object().unwrap().values());
    for operation in operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    let sent = format!("GET /v1/jobs/{job} ");
    for shown in [&sent, "200 OK", "\"tried out\"", "\"waiting-for\": "] {
        assert!(page.contains(shown), "{shown} is not shown");
    }
    let page = open("get_jobs_job?job=nobody");
    assert!(page.contains("400 Bad Request"), "a refusal is shown");
    let page = open("patch_jobs_job?job=nobody");
    assert!(
        !page.contains("PATCH /v1/jobs/nobody"),
        "nothing is changed unasked"
    );
}
