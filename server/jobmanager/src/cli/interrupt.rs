//! Whoever interrupts a command learns that this does not interrupt the JobManager.

use super::INTERRUPTED;
use super::output::complain;
use super::progress::Progress;
use std::thread;
use tokio::signal::unix::{SignalKind, signal};

/// From now on, Ctrl-C ends the command with these words.
pub(super) fn mind_ctrl_c(words: String, progress: &Progress) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Without it, Ctrl-C ends the command without a word.
    let Ok(runtime) = runtime.enable_all().build() else {
        return;
    };
    let progress = progress.clone();
    let inside = runtime.enter();
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else {
        return;
    };
    drop(inside);
    thread::spawn(move || {
        if runtime.block_on(interrupt.recv()).is_some() {
            progress.clear();
            complain(words);
            std::process::exit(INTERRUPTED.into());
        }
    });
}
