//! `--html FILE`: a page on which to look at a run.

use jobmanager_sim::Page;
use std::path::Path;

/// Writes the page, if one is wanted; tells whether that went well.
pub(super) fn write(file: Option<&Path>, page: Page) -> bool {
    let Some(file) = file else {
        return true;
    };
    let name = file.display();
    match std::fs::write(file, page.to_html()) {
        Ok(()) => {
            println!("page         {name}");
            true
        }
        Err(problem) => {
            eprintln!("{name}: {problem}; name a file in a folder that can be written");
            false
        }
    }
}
