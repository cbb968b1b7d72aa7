//! Answers as text for people: tables, durations, numbers.

use super::answer::{Checkpoints, Exceptions, Job, JobLine};
use super::client::{Client, ClientError};
use super::output::print_text;
use jobmanager_core::id::JobId;
use std::fmt::Write;

/// How many of the latest failures `status` shows; all of them are in the REST answer.
const FAILURES_SHOWN: usize = 3;

/// Prints one job: its tasks, its checkpoints and its latest failures.
pub(crate) fn print_job(client: &Client, id: JobId) -> Result<(), ClientError> {
    let job = client.job(id)?;
    let checkpoints = client.checkpoints(id)?;
    let exceptions = client.exceptions(id)?;
    print_text(&describe(&id.to_string(), &job, &checkpoints, &exceptions))
}

/// The table of jobs.
pub(crate) fn jobs(jobs: &[JobLine], all: bool) -> String {
    let shown = jobs.iter().filter(|job| all || !job.state.is_terminal());
    let rows: Vec<_> = shown.map(job_row).collect();
    if rows.is_empty() {
        let ended = jobs.len();
        return match ended {
            0 => "No jobs\n".to_owned(),
            _ => format!("No running jobs; {ended} ended (`jobmanager list -a` shows them)\n"),
        };
    }
    table(&["JOB ID", "STATE", "TASKS", "DURATION", "NAME"], &rows)
}

fn job_row(job: &JobLine) -> Vec<String> {
    let count = |state: &str| job.tasks.get(state).copied().unwrap_or(0);
    let active = count("running") + count("finished");
    vec![
        job.jid.clone(),
        job.state.to_string(),
        format!("{active}/{}", count("total")),
        duration(job.duration),
        job.name.clone(),
    ]
}

fn describe(id: &str, job: &Job, checkpoints: &Checkpoints, exceptions: &Exceptions) -> String {
    let mut text = format!(
        "Job {id} ({})\nis {}, for {}, restarted {}\n",
        job.name,
        job.state,
        duration(job.duration),
        counted(job.restarts, "time")
    );
    if let Some(waiting) = &job.waiting_for {
        let _ = writeln!(text, "waiting: {waiting}");
    }
    let _ = writeln!(text, "\n{}", vertices(job));
    text.push_str(&checkpoint_lines(checkpoints));
    let failures = exceptions.exception_history.entries.iter();
    for failure in failures.take(FAILURES_SHOWN) {
        let _ = writeln!(text, "{}", problem_lines("failure:", &failure.in_words()));
    }
    text
}

fn vertices(job: &Job) -> String {
    let row = |vertex: &super::answer::Vertex| {
        let states = vertex.tasks.iter().filter(|(_, count)| **count > 0);
        let states: Vec<_> = states.map(|(state, n)| format!("{n} {state}")).collect();
        vec![
            vertex.name.clone(),
            vertex.parallelism.to_string(),
            states.join(", "),
            group_digits(vertex.metrics.read_records),
            group_digits(vertex.metrics.write_records),
        ]
    };
    let rows: Vec<_> = job.vertices.iter().map(row).collect();
    table(
        &[
            "VERTEX",
            "PARALLELISM",
            "TASKS",
            "RECORDS IN",
            "RECORDS OUT",
        ],
        &rows,
    )
}

fn checkpoint_lines(checkpoints: &Checkpoints) -> String {
    let counts = &checkpoints.counts;
    let mut text = format!(
        "checkpoints: {} completed, {} in progress, {} failed; restored {}\n",
        counts.completed,
        counts.in_progress,
        counts.failed,
        counted(counts.restored, "time")
    );
    if let Some(latest) = &checkpoints.latest.completed {
        let _ = writeln!(
            text,
            "latest: checkpoint {}, {}, took {}",
            latest.id,
            counted(latest.state_size, "byte"),
            duration(latest.end_to_end_duration)
        );
    }
    if let Some(retained) = &checkpoints.retained {
        let _ = writeln!(text, "{}", retained.in_words());
    }
    text
}

/// A heading and text of any number of lines, the later ones indented.
pub(crate) fn problem_lines(heading: &str, text: &str) -> String {
    format!("{heading} {}", text.trim_end().replace('\n', "\n  "))
}

/// Columns as wide as their widest cell; the last one is ragged.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(|text| (*text).to_owned()).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..headings.len()).filter_map(width).collect();
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells.map(|(cell, &w)| format!("{cell:<w$}")).collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

/// Milliseconds for people.
pub(crate) fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match (hours, minutes, seconds) {
        (0, 0, 0) => format!("{ms} ms"),
        (0, 0, _) => format!("{seconds}.{} s", ms % 1000 / 100),
        (0, _, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {} min", minutes % 60),
    }
}

/// So many things of a kind.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", group_digits(number))
}

/// A number with a comma between groups of three digits.
pub(crate) fn group_digits(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut grouped = digits[..first].to_owned();
    for (index, digit) in digits[first..].chars().enumerate() {
        if index % 3 == 0 && !grouped.is_empty() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_and_durations_are_for_people() {
        let numbers = [0, 7, 123, 1234, 123_456, 1_234_567].map(group_digits);
        assert_eq!(numbers, ["0", "7", "123", "1,234", "123,456", "1,234,567"]);
        let things = [0, 1, 2, 1000].map(|number| counted(number, "word"));
        assert_eq!(things, ["0 words", "1 word", "2 words", "1,000 words"]);
        let durations = [-1, 999, 1000, 61_250, 3_723_000].map(duration);
        assert_eq!(
            durations,
            ["0 ms", "999 ms", "1.0 s", "1 min 1 s", "1 h 2 min"]
        );
    }

    #[test]
    fn jobs_that_have_ended_are_listed_on_demand() {
        let line = |jid: &str, state: &str| {
            serde_json::json!({"jid": jid, "name": "n", "state": state,
            "duration": 1500, "tasks": {"running": 2, "finished": 1, "total": 4}})
        };
        let both = serde_json::json!([line("aa", "RUNNING"), line("bb", "FINISHED")]);
        let both: Vec<JobLine> = serde_json::from_value(both).unwrap();
        assert_eq!(
            jobs(&both, false),
            "JOB ID  STATE    TASKS  DURATION  NAME\naa      RUNNING  3/4    1.5 s     n\n"
        );
        assert!(jobs(&both, true).contains("bb      FINISHED"));
        assert!(jobs(&both[1..], false).contains("`jobmanager list -a`"));
    }

    #[test]
    fn a_failed_job_shows_where_and_why() {
        let job = serde_json::json!({"name": "n", "state": "FAILED", "duration": 10});
        let exceptions = serde_json::json!({"exceptionHistory": {"entries": [{
            "stacktrace": "no such file: /x\n", "taskName": "a (1/2) - execution #0",
            "taskManagerId": "tm-1"}]}});
        let text = describe(
            "aa",
            &serde_json::from_value(job).unwrap(),
            &Checkpoints::default(),
            &serde_json::from_value(exceptions).unwrap(),
        );
        let wanted = "failure: a (1/2) - execution #0: no such file: /x (on tm-1)";
        assert!(text.contains(wanted), "{text}");
    }
}
