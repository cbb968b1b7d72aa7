//! The log of a process, on the page of the process.

use super::page::Page;
use super::{LAPTOP, PHONE, keep};
use crate::cluster::Cluster;

#[test]
fn a_log_is_loaded_when_somebody_wants_to_see_it() {
    let Some(mut page) = Page::open() else {
        return;
    };
    let cluster = Cluster::start(1, 2, &[]);
    page.resize(LAPTOP);
    page.go(&format!("{}/#/taskmanagers/tm-0", cluster.rest.address));
    page.wait_for_text("Load the latest lines");
    assert_eq!(
        page.evaluate("document.querySelector('.log pre')"),
        serde_json::Value::Null
    );
    page.press("Load the latest lines");
    page.wait_for_text("taskmanager started id=tm-0");
    page.wait_for_text("jobmanager logs tm-0 --follow");
    keep(&mut page, "log", LAPTOP);
    page.evaluate("location.hash = '#/leadership'");
    page.resize(PHONE);
    page.press("Load the latest lines");
    page.wait_for_text("TaskManager registered taskmanager=tm-0");
    page.wait_for_text("Load again");
    keep(&mut page, "log", PHONE);
    page.wait_for("document.documentElement.scrollWidth <= innerWidth");
    assert_eq!(page.complaints(), Vec::<String>::new());
}
