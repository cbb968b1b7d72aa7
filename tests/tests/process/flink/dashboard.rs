//! Flink's web dashboard, served by `--web-dir`: every page shows what there is, and none complains in the console.

use super::home;
use crate::cluster::Cluster;
use crate::jobs::endless;
use crate::process::wait_for;
use jobmanager_tests::browser::Browser;
use serde_json::{Value, json};
use std::path::Path;

/// A job that fails for good soon after its start.
fn doomed() -> Value {
    json!({
        "name": "doomed",
        "vertices": [
            { "id": "from", "operator": "datagen-source", "config": { "rate": 500 } },
            { "id": "fails", "operator": "fail-once", "config": { "afterRecords": 100 } },
            { "id": "to", "operator": "blackhole-sink" },
        ],
        "edges": [
            { "source": "from", "target": "fails", "partitioning": "forward" },
            { "source": "fails", "target": "to", "partitioning": "forward" },
        ],
        "configuration": { "restart-strategy.type": "none" },
    })
}

/// The pages, each with texts that have to be on it. `RUNNING` and the like in capitals stand for ids.
const PAGES: [(&str, &[&str]); 22] = [
    ("#/overview", &["Available Task Slots", "lives", "doomed"]),
    ("#/application/running", &["lives"]),
    ("#/application/running/LIVES/overview", &["lives"]),
    ("#/application/completed", &["doomed"]),
    ("#/job/running", &["lives", "RUNNING"]),
    (
        "#/job/running/LIVES/overview",
        &["lives", "numbers", "Parallelism"],
    ),
    ("#/job/running/LIVES/overview/VERTEX/detail", &["numbers"]),
    (
        "#/job/running/LIVES/overview/VERTEX/subtasks",
        &["Records Sent", "RUNNING"],
    ),
    (
        "#/job/running/LIVES/overview/VERTEX/taskmanagers",
        &["Records received", "RUNNING"],
    ),
    (
        "#/job/running/LIVES/overview/VERTEX/backpressure",
        &["numbers"],
    ),
    ("#/job/running/LIVES/exceptions", &["Root Exception"]),
    ("#/job/running/LIVES/timeline", &["Vertex TimeLine"]),
    (
        "#/job/running/LIVES/checkpoints",
        &["Latest Completed Checkpoint", "numbers"],
    ),
    (
        "#/job/running/LIVES/configuration",
        &["execution.checkpointing.interval"],
    ),
    ("#/job/completed", &["doomed", "FAILED"]),
    ("#/job/completed/DOOMED/overview", &["fails", "FAILED"]),
    ("#/job/completed/DOOMED/exceptions", &["suppressed"]),
    ("#/job/completed/DOOMED/checkpoints", &["Checkpoint Counts"]),
    ("#/task-manager", &["tm-0"]),
    ("#/task-manager/tm-0/metrics", &["tm-0"]),
    ("#/job-manager/config", &["web.dir"]),
    ("#/job-manager/metrics", &["Flink Memory Model"]),
];

#[test]
fn flinks_dashboard_shows_everything_and_complains_of_nothing() {
    let (Some(home), Some(browser)) = (home(), Browser::find()) else {
        return;
    };
    let web = home.join("web");
    let cluster = Cluster::start(1, 4, &[("web.dir", web.to_str().unwrap())]);
    let lives = cluster.rest.submit(&endless("lives"));
    let doomed = cluster.rest.submit(&doomed());
    cluster.rest.wait_for_state(&doomed, "FAILED");
    cluster.rest.wait_for_all_running(&lives);
    cluster.rest.wait_for_new_checkpoint(&lives);
    let path = format!("/jobs/{lives}");
    let vertex = wait_for("what the tasks have done", || {
        let job = cluster.rest.get(&path);
        let vertex = &job["vertices"][0];
        let told = vertex["metrics"]["write-records-complete"] == true;
        told.then(|| vertex["id"].as_str().unwrap().to_owned())
    });
    for (page, texts) in PAGES {
        let page = page.replace("LIVES", &lives).replace("DOOMED", &doomed);
        let page = page.replace("VERTEX", &vertex);
        let address = format!("{}/{page}", cluster.rest.address);
        let opened = browser.open(&cluster.path("browser"), &address);
        assert!(opened.console.is_empty(), "{page}: {:#?}", opened.console);
        let missing: Vec<_> = texts
            .iter()
            .filter(|text| !opened.document.contains(**text))
            .collect();
        assert!(missing.is_empty(), "{page} does not show {missing:?}");
    }
}

/// Presses the button that is to give the first vertex one subtask less, once it is there.
const PRESS: &str = r#"<script>
const timer = setInterval(() => {
  const [, less] = document.querySelectorAll("flink-job-overview-list nz-button-group button");
  if (less) { clearInterval(timer); less.click(); }
}, 50);
</script></body>"#;

/// The dashboard, with somebody who presses a button.
fn pressing(web: &Path, folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    for entry in std::fs::read_dir(web).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let page = std::fs::read_to_string(web.join("index.html")).unwrap();
    assert!(page.contains("</body>"));
    std::fs::remove_file(folder.join("index.html")).unwrap();
    std::fs::write(folder.join("index.html"), page.replace("</body>", PRESS)).unwrap();
}

#[test]
fn flinks_dashboard_changes_the_parallelism_of_a_job() {
    let (Some(home), Some(browser)) = (home(), Browser::find()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web");
    pressing(&home.join("web"), &web);
    let cluster = Cluster::start(1, 4, &[("web.dir", web.to_str().unwrap())]);
    let job = cluster.rest.submit(&endless("lives"));
    cluster.rest.wait_for_all_running(&job);
    let address = format!("{}/#/job/running/{job}/overview", cluster.rest.address);
    let opened = browser.open(&cluster.path("browser"), &address);
    assert!(opened.console.is_empty(), "{:#?}", opened.console);
    let path = format!("/jobs/{job}/parallelism");
    wait_for("the parallelism that was clicked together", || {
        let shown = cluster.rest.get(&path);
        let [first, second] = [0, 1].map(|vertex| shown["vertices"][vertex]["parallelism"].clone());
        (first == 1 && second == 2).then_some(())
    });
}
