//! A real browser that opens a page, without a window.
//!
//! Whoever has none is told so; `BROWSER=required`, which `tests/run` sets, makes that a failure.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a browser may be called.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Without a window, and without anything that a browser does by itself.
pub const QUIET: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
/// For how much of its own time the browser lets a page run before it is looked at.
const PATIENCE_MS: u32 = 5_000;
/// A browser that has not ended after this long hangs, as it does now and then.
const HANGS: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// How often it may hang.
const TRIES: u32 = 4;

/// A browser that starts.
#[derive(Debug, Clone, Copy)]
pub struct Browser(&'static str);

/// What became of a page.
#[derive(Debug)]
pub struct Opened {
    /// The document after the page has run.
    pub document: String,
    /// What the page, or the browser about it, has written to the console.
    pub console: Vec<String>,
}

impl Browser {
    /// The first one that starts, if any does.
    ///
    /// # Panics
    /// None does, and one is required.
    #[must_use]
    pub fn find() -> Option<Browser> {
        let starts = |name: &&&str| {
            let answer = Command::new(name).arg("--version").output();
            answer.is_ok_and(|answer| answer.status.success())
        };
        let found = BROWSERS.iter().find(starts).copied().map(Browser);
        if found.is_none() {
            assert!(
                std::env::var("BROWSER").as_deref() != Ok("required"),
                "no browser: none of {BROWSERS:?} starts; run tests/run, which installs one"
            );
            // Straight to the terminal: the test passes, but should not pass in silence.
            let warning = "WARNING: no browser is installed, the page was NOT opened; tests/run installs one\n";
            // Whoever closed the terminal does not read it.
            let _ = std::io::stderr().write_all(warning.as_bytes());
        }
        found
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Opens an address, with a profile in `folder`.
    ///
    /// # Panics
    /// The browser fails, or hangs every time.
    #[must_use]
    pub fn open(self, folder: &Path, address: &str) -> Opened {
        let output = (0..TRIES).find_map(|number| {
            let profile = folder.join(format!("profile-{number}"));
            let _ = std::fs::remove_dir_all(&profile);
            self.run(&profile, address)
        });
        let output = output.unwrap_or_else(|| panic!("{address}: the browser hangs every time"));
        assert!(output.status.success(), "{address}: {output:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        let console = errors.lines().filter(|line| line.contains("CONSOLE"));
        Opened {
            document: String::from_utf8_lossy(&output.stdout).into_owned(),
            console: console.map(str::to_owned).collect(),
        }
    }

    /// `None` if it hangs.
    fn run(self, profile: &Path, address: &str) -> Option<Output> {
        std::fs::create_dir_all(profile).expect("the folder can be written");
        let file = |name: &str| File::create(profile.join(name)).expect("so can a file in it");
        let mut browser = Command::new(self.0)
            .args(QUIET)
            .arg("--enable-logging=stderr")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--virtual-time-budget={PATIENCE_MS}"))
            .args(["--window-size=1400,900", "--dump-dom", address])
            .stdin(Stdio::null())
            .stdout(file("document"))
            .stderr(file("errors"))
            .spawn()
            .expect("it has started before");
        let start = Instant::now();
        loop {
            if let Some(status) = browser.try_wait().expect("it is a child") {
                let read = |name: &str| std::fs::read(profile.join(name)).unwrap_or_default();
                return Some(Output {
                    status,
                    stdout: read("document"),
                    stderr: read("errors"),
                });
            }
            if start.elapsed() > HANGS {
                // One that has just ended by itself cannot be killed.
                let _ = browser.kill();
                let _ = browser.wait();
                return None;
            }
            thread::sleep(POLL);
        }
    }
}
