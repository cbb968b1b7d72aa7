//! The project's own dashboard, in a real browser: every page shows what there is, light and dark, on small and large
//! screens, with many jobs and large graphs; what is done is asked first; the page follows the leader; and nothing
//! complains in the console.
//!
//! `PICTURES=FOLDER` keeps a picture of each page.

mod log;
mod page;
mod token;

use crate::cluster::{Cluster, QUICK, free_ports, own_address, serve};
use crate::jobs::{endless, recovering};
use crate::process::{Process, wait_for};
use crate::rest::Rest;
use page::{Page, Window};
use serde_json::{Value, json};
use std::path::Path;

const PHONE: Window = Window {
    width: 360,
    height: 740,
    dark: true,
};
const LAPTOP: Window = Window {
    width: 1280,
    height: 800,
    dark: false,
};
const WALL: Window = Window {
    width: 3840,
    height: 2160,
    dark: true,
};

/// What has no name that could be read out, or the same id as something else, and whether the page is wider than its
/// window.
const FAULTS: &str = r"(() => {
    const name = (one) => one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.[0]?.textContent;
    const all = [...document.querySelectorAll('a, button, input, meter, [role=img], table, nav, dialog')];
    const labelled = (one) => name(one) || document.getElementById(one.getAttribute('aria-labelledby'));
    const faults = all.filter((one) => !labelled(one)).map((one) => 'without a name: ' + one.outerHTML.slice(0, 200));
    const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
    faults.push(...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => 'twice: ' + id));
    if (document.querySelectorAll('h1').length !== 1) faults.push('not one title');
    const { scrollWidth } = document.documentElement;
    if (scrollWidth > innerWidth) faults.push(scrollWidth + ' wide on ' + innerWidth);
    return faults;
})()";

/// Opens the latest checkpoint that has completed; whether it says who was slowest.
const OPENED: &str = r"(() => {
    const all = [...document.querySelectorAll('.checkpoints details')];
    const completed = all.find((one) => one.textContent.includes('Completed'));
    if (completed !== undefined) completed.open = true;
    return /The slowest was subtask [01] of (numbers|out)/.test(document.body.innerText);
})()";

/// A job that fails for good soon after its start.
fn doomed() -> Value {
    json!({
        "name": "doomed",
        "vertices": [
            { "id": "from", "operator": "datagen-source", "config": { "rate": 500 } },
            { "id": "fails", "operator": "fail-once", "config": { "afterRecords": 100 } },
            { "id": "to", "operator": "blackhole-sink" }],
        "edges": [
            { "source": "from", "target": "fails", "partitioning": "forward" },
            { "source": "fails", "target": "to", "partitioning": "forward" }],
        "configuration": { "restart-strategy.type": "none" },
    })
}

/// A job with so many vertices, each of which has two others behind it.
fn wide(vertices: usize) -> Value {
    let vertex = |number: usize| {
        let operator = match number {
            0 => "datagen-source",
            _ if number * 2 + 1 < vertices => "split-words",
            _ => "blackhole-sink",
        };
        json!({ "id": format!("v{number}"), "operator": operator })
    };
    let edge = |number: usize| {
        let (source, target) = (format!("v{}", (number - 1) / 2), format!("v{number}"));
        json!({ "source": source, "target": target, "partitioning": "forward" })
    };
    json!({
        "name": "wide",
        "vertices": (0..vertices).map(vertex).collect::<Vec<_>>(),
        "edges": (1..vertices).map(edge).collect::<Vec<_>>(),
        "configuration": recovering(),
    })
}

fn keep(page: &mut Page, name: &str, window: Window) {
    let Some(folder) = std::env::var_os("PICTURES") else {
        return;
    };
    let scheme = if window.dark { "dark" } else { "light" };
    let file = format!("{name}-{}-{scheme}.png", window.width);
    std::fs::write(Path::new(&folder).join(file), page.picture()).unwrap();
}

/// The pages, each with texts that have to be on it. Words in capitals stand for ids.
const PAGES: [(&str, &str, &[&str]); 12] = [
    (
        "overview",
        "",
        &["Slots", "lives", "doomed", "Failed", "live"],
    ),
    ("graph", "jobs/LIVES", &["numbers", "× 2", "/s", "Cancel"]),
    ("timeline", "jobs/LIVES/timeline", &["numbers 0", "out 1"]),
    (
        "checkpoints",
        "jobs/LIVES/checkpoints",
        &["Latest completed", "Durations and sizes", "Completed"],
    ),
    (
        "exceptions",
        "jobs/LIVES/exceptions",
        &["Nothing has failed"],
    ),
    (
        "events",
        "jobs/LIVES/events",
        &["was submitted", "is running"],
    ),
    (
        "configuration",
        "jobs/LIVES/configuration",
        &["execution.checkpointing.interval"],
    ),
    (
        "failed",
        "jobs/DOOMED/exceptions",
        &["Root cause", "thrown at record 100", "doomed"],
    ),
    (
        "waiting",
        "jobs/WAITS",
        &["What it waits for", "more slots"],
    ),
    ("taskmanagers", "taskmanagers", &["tm-0", "Answers", "ago"]),
    (
        "taskmanager",
        "taskmanagers/tm-0",
        &["Incarnation", "lives", "core"],
    ),
    (
        "leadership",
        "leadership",
        &["Epoch", "every task that runs was started by this leader"],
    ),
];

#[test]
fn every_page_shows_what_there_is_on_every_screen() {
    let Some(mut page) = Page::open() else {
        return;
    };
    let cluster = Cluster::start(1, 4, &[]);
    let lives = cluster.rest.submit(&endless("lives"));
    let doomed = cluster.rest.submit(&doomed());
    let mut waits = endless("waits");
    waits["vertices"][0]["parallelism"] = 100.into();
    let waits = cluster.rest.submit(&waits);
    cluster.rest.wait_for_state(&doomed, "FAILED");
    cluster.rest.wait_for_all_running(&lives);
    cluster.rest.wait_for_new_checkpoint(&lives);
    page.resize(LAPTOP);
    page.go(&format!("{}/", cluster.rest.address));
    for (name, place, texts) in PAGES {
        let place = place.replace("LIVES", &lives).replace("DOOMED", &doomed);
        let place = place.replace("WAITS", &waits);
        page.evaluate(&format!("location.hash = '#/{place}'"));
        for text in texts {
            page.wait_for_text(text);
        }
        for window in [PHONE, WALL, LAPTOP] {
            page.resize(window);
            page.wait_for(&format!("innerWidth === {}", window.width));
            assert_eq!(page.evaluate(FAULTS), json!([]), "{name}: {window:?}");
            keep(&mut page, name, window);
        }
    }
    page.evaluate(&format!("location.hash = '#/jobs/{lives}/checkpoints'"));
    page.wait_for(OPENED);
    // What is not there is said to be so, by the page as by the JobManager.
    page.evaluate("location.hash = '#/nosuch'");
    page.wait_for_text("There is no such page");
    assert_eq!(page.complaints(), Vec::<String>::new());
    page.evaluate("location.hash = '#/jobs/00000000000000000000000000000001'");
    page.wait_for_text("Job 00000000000000000000000000000001 not found");
}

#[test]
fn two_thousand_jobs_are_searched_and_scrolled_without_delay() {
    const JOBS: u64 = 2_000;
    let Some(mut page) = Page::open() else {
        return;
    };
    let cluster = Cluster::start(0, 1, &[]);
    let address = cluster.rest.address.as_str();
    std::thread::scope(|threads| {
        for first in 0..8 {
            threads.spawn(move || {
                let rest = Rest::new(address);
                for number in (first..JOBS).step_by(8) {
                    rest.submit(&endless(&format!("job-{number:04}")));
                }
            });
        }
    });
    page.resize(LAPTOP);
    page.go(&format!("{address}/"));
    page.wait_for_text("2,000 jobs");
    keep(&mut page, "many", LAPTOP);
    let rows = "document.querySelectorAll('table.rows tbody tr').length";
    assert!(
        page.evaluate(rows).as_u64().unwrap() < 100,
        "all rows are drawn"
    );
    assert_eq!(
        page.evaluate("document.querySelector('table.rows').ariaRowCount"),
        "2001"
    );
    page.key("/");
    page.key("1");
    page.key("9");
    page.key("9");
    page.wait_for_text("of 2,000 jobs");
    page.wait_for_text("job-1990");
    page.wait_for("!document.body.innerText.includes('job-0000')");
    page.fill("input[type=search]", "");
    page.press("Job");
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)");
    page.wait_for_text("job-1999");
    page.evaluate("scrollTo(0, 0)");
    page.wait_for_text("job-0000");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn a_graph_of_500_vertices_is_laid_out_and_can_be_walked_through() {
    let Some(mut page) = Page::open() else {
        return;
    };
    let cluster = Cluster::start(0, 1, &[]);
    let job = cluster.rest.submit(&wide(500));
    page.resize(LAPTOP);
    page.go(&format!("{}/#/jobs/{job}", cluster.rest.address));
    page.wait_for("document.querySelectorAll('.vertex').length === 500");
    assert_eq!(
        page.evaluate("document.querySelectorAll('path.edge').length"),
        499
    );
    let apart = page.evaluate(
        "new Set([...document.querySelectorAll('.vertex')].map((one) => one.style.transform)).size",
    );
    assert_eq!(apart, 500, "vertices stand on each other");
    page.press("Fit");
    keep(&mut page, "wide", LAPTOP);
    page.evaluate("document.querySelectorAll('.vertex')[499].focus()");
    page.key(" ");
    page.wait_for_text("Subtasks of v499");
    assert_eq!(page.evaluate(FAULTS), json!([]));
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn what_is_done_to_a_job_is_asked_first_and_then_done() {
    let Some(mut page) = Page::open() else {
        return;
    };
    let cluster = Cluster::start(1, 8, &[]);
    let job = cluster.rest.submit(&endless("lives"));
    cluster.rest.wait_for_all_running(&job);
    page.resize(LAPTOP);
    page.go(&format!("{}/#/jobs/{job}", cluster.rest.address));
    page.press("Cancel");
    page.wait_for_text("Cancel lives?");
    keep(&mut page, "question", LAPTOP);
    page.key("Escape");
    page.wait_for("document.querySelector('dialog') === null");
    assert_eq!(cluster.rest.state(&job), "RUNNING");

    page.press("Savepoint");
    page.fill("dialog input[type=text]", "relative");
    page.press("Take a savepoint");
    page.wait_for_text("absolute");
    let folder = cluster.path("savepoints");
    page.fill("dialog input[type=text]", folder.to_str().unwrap());
    page.press("Take a savepoint");
    page.wait_for_text(&format!(
        "The savepoint of lives is in file://{}",
        folder.display()
    ));

    page.evaluate(&format!("location.hash = '#/jobs/{job}/checkpoints'"));
    page.press("Take one now");
    page.wait_for_text("lives has completed checkpoint");
    page.evaluate(&format!("location.hash = '#/jobs/{job}'"));

    page.press("Rescale");
    page.fill("dialog input[aria-label='out, at least']", "0");
    page.wait_for("document.querySelector('dialog [type=submit]').disabled");
    page.fill("dialog input[aria-label='out, at least']", "3");
    page.fill("dialog input[aria-label='out, at most']", "3");
    page.press("Rescale");
    page.wait_for_text("× 3");

    page.press("Stop");
    page.fill("dialog input[type=text]", folder.to_str().unwrap());
    page.press("Stop the job");
    page.wait_for_text("lives has stopped. Its savepoint is in");
    assert_eq!(cluster.rest.state(&job), "FINISHED");
    page.wait_for_text("nothing can be done with it any more");
    // A refusal is in the console, too: the browser puts it there.
    let complaints = page.complaints();
    let refused = |words: &String| words.contains("status of 400");
    assert!(complaints.iter().all(refused), "{complaints:#?}");

    let next = cluster.rest.submit(&endless("next"));
    page.evaluate(&format!("location.hash = '#/jobs/{next}'"));
    page.press("Cancel");
    page.press("Cancel the job");
    cluster.rest.wait_for_state(&next, "CANCELED");
    page.wait_for_text("It is canceled");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn a_page_goes_on_with_the_next_leader_at_the_same_address() {
    let Some(mut page) = Page::open() else {
        return;
    };
    let mut cluster = Cluster::start(1, 4, &[]);
    let job = cluster.rest.submit(&endless("lives"));
    cluster.rest.wait_for_all_running(&job);
    cluster.rest.wait_for_new_checkpoint(&job);
    page.resize(LAPTOP);
    page.go(&format!("{}/#/leadership", cluster.rest.address));
    page.wait_for_text("every task that runs was started by this leader");
    page.wait_for("document.querySelector('.connection').classList.contains('live')");
    assert_eq!(page.complaints(), Vec::<String>::new());
    cluster.kill_jobmanager();
    page.wait_for_text("no answer, trying again");
    cluster.start_jobmanager();
    page.wait_for_text("4 of 4");
    page.wait_for("document.querySelector('.connection').classList.contains('live')");
    page.wait_for("document.querySelectorAll('[aria-label^=Leaders] tbody tr').length === 2");
    keep(&mut page, "followed", LAPTOP);
    page.evaluate(&format!("location.hash = '#/jobs/{job}/timeline'"));
    page.wait_for(
        "document.querySelector('.timeline [aria-label*=\"begun before this leader\"]') !== null",
    );
    page.evaluate(&format!("location.hash = '#/jobs/{job}/events'"));
    page.wait_for_text("4 tasks adopted");
    assert_eq!(page.complaints_while_nobody_leads(), Vec::<String>::new());
}

/// One of two JobManagers that share a folder.
struct Member {
    rest: Rest,
    rpc: String,
    process: Process,
}

fn member(folder: &Path, rest: &str, rpc: &str) -> Member {
    let mut command = serve(rest, rpc, &folder.join("data"));
    command.arg("-Dhigh-availability.type=FILE_LOCK");
    for (key, value) in QUICK {
        command.arg(format!("-D{key}={value}"));
    }
    Member {
        rest: Rest::new(&format!("http://{rest}")),
        rpc: rpc.to_owned(),
        process: Process::start(&mut command, &folder.join(format!("{rpc}.log"))),
    }
}

fn wait_for_status(member: &Member, wanted: u16) {
    wait_for("a JobManager to lead or to stand by", || {
        let (status, _) = member.rest.ask("GET", "/overview", b"")?;
        (status == wanted).then_some(())
    });
}

#[test]
fn a_page_goes_to_the_leader_at_another_address() {
    let Some(mut page) = Page::open() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [rest, rpc, other_rest, other_rpc] = free_ports(own_address());
    let mut first = member(folder.path(), &rest, &rpc);
    wait_for_status(&first, 200);
    let second = member(folder.path(), &other_rest, &other_rpc);
    wait_for_status(&second, 307);
    page.resize(LAPTOP);
    // Whoever asks the one that stands by is sent to the leader.
    page.go(&format!("{}/#/leadership", second.rest.address));
    page.wait_for_text("Leader");
    page.wait_for(&format!(
        "location.host === '{rest}' && location.hash === '#/leadership'"
    ));
    page.wait_for("document.querySelector('.connection').classList.contains('live')");
    assert_eq!(page.complaints(), Vec::<String>::new());
    first.process.kill();
    wait_for_status(&second, 200);
    page.wait_for_text("no answer, trying again");
    // The one that led comes back, stands by, and sends the page on.
    let (rest, rpc) = (rest, first.rpc.clone());
    drop(first);
    let _back = member(folder.path(), &rest, &rpc);
    page.wait_for(&format!(
        "location.host === '{other_rest}' && location.hash === '#/leadership'"
    ));
    page.wait_for_text(&other_rest);
    // Who has led before is known, as this one has stood by then.
    page.wait_for_text(&rest);
    assert_eq!(page.complaints_while_nobody_leads(), Vec::<String>::new());
}
