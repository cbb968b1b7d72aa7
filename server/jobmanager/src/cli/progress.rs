//! Shows a running job: a live line on a terminal, otherwise a plain line when the state changes.

use super::answer::{Checkpoints, Exception, Job};
use super::client::ClientError;
use super::output::print;
use super::text::counted;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a terminal, a job that does not change its state is still heard of this often.
const QUIET: Duration = Duration::from_secs(2);
/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Where progress is shown: standard error if it is a terminal, else standard output.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    said: String,
    said_at: Option<Instant>,
    failed_with: String,
    /// The latest failure, for whoever ends the display before the job has ended.
    failure: Arc<Mutex<Option<String>>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}");
            bar.set_style(style.expect("the template is well-formed"));
            bar.enable_steady_tick(TICK);
            bar
        });
        Progress {
            bar,
            said: String::new(),
            said_at: None,
            failed_with: String::new(),
            failure: Arc::default(),
        }
    }

    /// Shows a look at the job.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn show(&mut self, job: &Job, checkpoints: &Checkpoints) -> Result<(), ClientError> {
        let line = line(job, checkpoints);
        let Some(bar) = &self.bar else {
            let state = state(job, checkpoints);
            let quiet = |at: Instant| at.elapsed() >= QUIET;
            if state != self.said || self.said_at.is_some_and(quiet) {
                self.say(&line, state)?;
            }
            return Ok(());
        };
        bar.set_message(line);
        Ok(())
    }

    /// What a job has seen before is of no interest.
    pub(crate) fn ignore(&mut self, failure: &Exception) {
        self.failed_with = failure.first_line().to_owned();
    }

    /// Shows a failure, unless it is the one that was shown last, be it another subtask's.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn failure(&mut self, failure: &Exception) -> Result<(), ClientError> {
        if self.failed_with == failure.first_line() {
            return Ok(());
        }
        self.failed_with = failure.first_line().to_owned();
        let line = failure.in_a_line();
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.clone());
        match &self.bar {
            Some(bar) => bar.println(line),
            None => print(line)?,
        }
        Ok(())
    }

    /// The failure that was shown last, if there was any.
    pub(crate) fn latest_failure(&self) -> Option<String> {
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows a remark once.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn note(&mut self, remark: &str) -> Result<(), ClientError> {
        match &self.bar {
            Some(bar) => bar.set_message(remark.to_owned()),
            None if self.said != remark => self.say(remark, remark.to_owned())?,
            None => {}
        }
        Ok(())
    }

    /// Prints a line that stays, whatever is shown after it.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn print(&self, line: &str) -> Result<(), ClientError> {
        match &self.bar {
            Some(bar) => bar.suspend(|| print(line)),
            None => print(line),
        }
    }

    /// Leaves the last look on the screen.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn done(&self) -> Result<(), ClientError> {
        let Some(bar) = &self.bar else {
            return Ok(());
        };
        let last = bar.message();
        bar.finish_and_clear();
        print(last)
    }

    /// Takes the display away, also from whoever still shows something on it.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&mut self, line: &str, state: String) -> Result<(), ClientError> {
        print(line)?;
        self.said = state;
        self.said_at = Some(Instant::now());
        Ok(())
    }
}

/// What a plain line is printed for when it changes.
fn state(job: &Job, checkpoints: &Checkpoints) -> String {
    let waiting = job.waiting_for.as_deref().unwrap_or_default();
    format!(
        "{} {} {} {waiting}",
        job.state, job.restarts, checkpoints.counts.restored
    )
}

fn line(job: &Job, checkpoints: &Checkpoints) -> String {
    let (running, tasks) = job.tasks();
    let mut line = format!(
        "{:<11} {running}/{}, {}, {}, {}",
        job.state,
        counted(tasks, "task"),
        counted(job.records(), "record"),
        counted(checkpoints.counts.completed, "checkpoint"),
        counted(job.restarts, "restart"),
    );
    if let Some(waiting) = &job.waiting_for {
        line = format!("{line}; waiting: {waiting}");
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_says_what_a_job_does_and_what_it_waits_for() {
        let job = serde_json::json!({"name": "a", "state": "RESTARTING", "restarts": 2,
            "waiting-for": "3 slots are missing",
            "vertices": [
                {"name": "v", "parallelism": 2, "tasks": {"RUNNING": 1, "SCHEDULED": 1},
                 "metrics": {"read-records": 1234, "write-records": 5}},
                {"name": "w", "parallelism": 1, "tasks": {"FINISHED": 1}}]});
        let job: Job = serde_json::from_value(job).unwrap();
        let mut checkpoints = Checkpoints::default();
        checkpoints.counts.completed = 7;
        assert_eq!(
            line(&job, &checkpoints),
            "RESTARTING  2/3 tasks, 1,234 records, 7 checkpoints, 2 restarts; waiting: 3 slots are missing"
        );
    }
}
