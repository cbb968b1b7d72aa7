//! The real programs of Apache Flink 2.3.0, unmodified, as users of this JobManager: its command line, and its web
//! dashboard in a browser.
//!
//! `tests/flink` fetches Flink, and runs these tests with `FLINK_HOME`. Without it they say that they try nothing.

mod command_line;
mod dashboard;

use std::io::Write;
use std::path::PathBuf;

/// The folder above Flink's `lib` and the unpacked files of its dashboard, `web`.
fn home() -> Option<PathBuf> {
    let home = std::env::var_os("FLINK_HOME").map(PathBuf::from);
    if home.is_none() {
        // Straight to the terminal: the test passes, but should not pass in silence.
        let warning = "WARNING: FLINK_HOME is not set, Flink's programs were NOT tried; tests/flink fetches them\n";
        std::io::stderr().write_all(warning.as_bytes()).unwrap();
    }
    home
}
