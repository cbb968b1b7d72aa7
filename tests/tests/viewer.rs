//! The page of a run: written, opened in a real browser, and tried there by its own `#check`, which clicks,
//! types and turns the wheel, and writes what came of it into the document.
//!
//! Without a browser these tests say so and look at the bytes alone; `BROWSER=required`, which `tests/run`
//! sets, makes that a failure.

#![allow(clippy::unwrap_used)]

use jobmanager_sim::{
    Continued, Failure, Joined, Page, Replayed, Report, Run, Then, Tier, duration, replay,
    replay_then,
};
use jobmanager_tests::browser::Browser;
use serde_json::Value;
use std::num::NonZeroU64;

fn report(seed: u64) -> Report {
    Run::seed(Tier::Dataflow, seed).logged().run()
}

/// The same run, had it ended so.
fn failed(seed: u64) -> Report {
    let failure = Failure {
        name: "nothing_ends_a_page_early",
        detail: "</script><b id=\"injected\">\u{2028}<!--".to_owned(),
    };
    Report {
        failure: Some(failure),
        ..report(seed)
    }
}

fn html(report: &Report) -> String {
    let page = Page {
        view: report.into(),
        name: "seed 8",
        command: "sim --seed 8",
    };
    page.to_html()
}

/// A recording that has an end, and how it goes on while a TaskManager crashes.
fn recording() -> (Vec<u8>, Replayed, Continued) {
    let then = Then {
        injections: vec!["crash:tm-0@+2s".parse().unwrap()],
        lasts: duration("1min").unwrap(),
        seed: 0,
    };
    let pace = NonZeroU64::new(1_000).unwrap();
    let runs = (0..).map(|seed| Run::seed(Tier::ControlPlane, seed).at_most(2_000));
    let mut recordings = runs.flat_map(|run| run.recorded(pace).run().recordings);
    let gone_on = recordings.find_map(|file| {
        let (replayed, continued) = replay_then(&file, &then, true).unwrap();
        let continued = continued.ok()?;
        let suits = continued.is_well() && !continued.jobs.is_empty();
        suits.then_some((file, replayed, continued))
    });
    gone_on.unwrap()
}

fn html_of_recording(replayed: &Replayed, continued: Option<&Continued>) -> String {
    let joined = Joined::new(replayed, continued);
    let page = Page {
        view: joined.view(),
        name: "flight.recording",
        command: "sim replay flight.recording",
    };
    page.to_html()
}

/// The document after the page has run in a browser, opened with `#hash`.
fn opened(browser: Browser, html: &str, hash: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    std::fs::write(&file, html).unwrap();
    let address = format!("file://{}#{hash}", file.display());
    browser.open(folder.path(), &address).document
}

/// The text of the element with this id, which has no child elements.
fn text_of(document: &str, id: &str) -> String {
    let (_, rest) = document.split_once(&format!("id=\"{id}\"")).unwrap();
    let (_, rest) = rest.split_once('>').unwrap();
    let (text, _) = rest.split_once("</").unwrap();
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&nbsp;", "\u{a0}"),
        ("&amp;", "&"),
    ];
    let unescaped = |text: String, (entity, plain): (&str, &str)| text.replace(entity, plain);
    entities.into_iter().fold(text.to_owned(), unescaped)
}

fn findings(browser: Browser, html: &str) -> Value {
    let document = opened(browser, html, "check");
    let findings: Value = serde_json::from_str(&text_of(&document, "findings")).unwrap();
    assert_eq!(findings["problem"], Value::Null);
    findings
}

#[test]
fn the_same_seed_gives_the_same_page_byte_for_byte() {
    for seed in 0..3 {
        assert!(html(&report(seed)) == html(&report(seed)), "seed {seed}");
    }
}

#[test]
fn a_page_names_no_other_file_and_no_other_place() {
    let html = html(&report(0));
    for reference in [
        "http:", "https:", "src=", "<link", "@import", "url(", "fetch(",
    ] {
        assert!(!html.contains(reference), "the page says {reference}");
    }
}

#[test]
fn what_is_clicked_is_shown_and_what_is_filtered_is_not() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let report = report(8);
    let findings = findings(browser, &html(&report));
    let mut lanes: Vec<_> = report.log.iter().map(|entry| entry.lane).collect();
    lanes.sort_unstable();
    lanes.dedup();
    assert_eq!(findings["lanes"], lanes.len());
    assert_eq!(findings["lanesWithoutOne"], lanes.len() - 1);
    for drawn in ["events", "messages", "spans"] {
        assert!(
            findings["drawn"][drawn].as_u64().unwrap() > 10,
            "{findings}"
        );
    }
    assert_eq!(findings["verdict"], "all is well");
    for works in [
        "next",
        "zoomed",
        "withHeartbeats",
        "withoutAgain",
        "searching",
    ] {
        assert_eq!(findings[works], true, "{works}: {findings}");
    }
    // The clicked event's own text is in the panel, whatever lines it is broken into.
    let bare = |field: &str| {
        findings[field]
            .as_str()
            .unwrap()
            .replace(char::is_whitespace, "")
    };
    assert!(bare("clicked").contains(&bare("text")), "{findings}");
    assert_eq!(findings["jumped"], findings["expected"]);
    let (all, some) = (&findings["events"], &findings["ofCheckpoint"]);
    assert!(some.as_u64().unwrap() > 0 && some.as_u64() < all.as_u64());
    assert!(findings["hits"].as_u64().unwrap() > 0);
    assert!(findings["hit"].as_str().unwrap().contains("welcome"));
    assert_eq!(findings["asked"], 0, "the page asked the network");
    assert_eq!(
        findings["scrolls"], false,
        "the page is wider than its window"
    );
}

#[test]
fn a_failure_is_named_and_its_text_cannot_break_out() {
    let html = html(&failed(8));
    assert!(!html.contains("id=\"injected\""));
    let Some(browser) = Browser::find() else {
        return;
    };
    let findings = findings(browser, &html);
    assert_eq!(findings["verdict"], "nothing_ends_a_page_early");
    assert_eq!(findings["atFailure"], true);
    let document = opened(browser, &html, "");
    assert_eq!(
        text_of(&document, "failure"),
        "</script><b id=\"injected\">\u{2028}<!--"
    );
}

#[test]
fn a_page_without_a_log_says_so() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let empty = html(&Run::seed(Tier::Dataflow, 0).run());
    let damaged = html(&report(0)).replace("\"entries\":{", "\"entries\":");
    for (html, text) in [(empty, "was not logged"), (damaged, "cannot be read")] {
        let said = text_of(&opened(browser, &html, ""), "wrong");
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn a_recording_is_a_page_of_its_own_and_one_with_what_came_after_it() {
    let (file, replayed, continued) = recording();
    let alone = html_of_recording(&replayed, None);
    let again = replay(&file, true).unwrap();
    assert!(
        alone == html_of_recording(&again, None),
        "other bytes the second time"
    );
    let both = html_of_recording(&replayed, Some(&continued));
    let Some(browser) = Browser::find() else {
        return;
    };
    let alone = findings(browser, &alone);
    let both = findings(browser, &both);
    for findings in [&alone, &both] {
        assert_eq!(findings["verdict"], "all is well");
        for drawn in ["events", "messages", "spans"] {
            assert!(
                findings["drawn"][drawn].as_u64().unwrap() > 10,
                "{findings}"
            );
        }
        assert_eq!(findings["jumped"], findings["expected"]);
        assert_eq!(findings["zoomed"], true);
        assert_eq!(findings["asked"], 0, "the page asked the network");
    }
    let count = |findings: &Value| findings["allEvents"].as_u64().unwrap();
    let is_event = |entry: &&jobmanager_sim::Entry| entry.verb != "digest";
    let after = continued.log.iter().filter(is_event).count() as u64;
    assert_eq!(count(&both), count(&alone) + after);
    // What broke has a lane, and so has what comes after it.
    assert!(both["lanes"].as_u64() > alone["lanes"].as_u64());
}

#[test]
fn the_name_of_a_taskmanager_is_shown_and_cannot_break_out() {
    let (_, mut replayed, _) = recording();
    let name = "</script><b id=\"injected\">";
    replayed.taskmanagers[0] = name.to_owned();
    let html = html_of_recording(&replayed, None);
    assert!(!html.contains("id=\"injected\""));
    let Some(browser) = Browser::find() else {
        return;
    };
    let document = opened(browser, &html, "");
    let (_, lanes) = document.split_once("id=\"lanes\"").unwrap();
    let shown = "&lt;/script&gt;&lt;b id=\"injected\"&gt;";
    assert!(lanes.contains(shown), "its name is not among the lanes");
}
