//! `events`: what happens, a line each, from one leader to the next.
//!
//! A stream that breaks is opened again where it was; what was missed meanwhile is told then. If that cannot be, a
//! line says so.

use super::client::{ClientError, Sent, Stream, read_id};
use super::output::{complain, print};
use super::{EXIT_CODES, Target, exit};
use jobmanager_core::id::JobId;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How long after a stream has ended the next one is asked for.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a JobManager may be away before the command gives up: it may be restarting.
const PATIENCE: Duration = Duration::from_secs(60);

/// `events`: what happens.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct EventsArgs {
    /// Only what happens to this job: 32 hex digits; may be given several times, or several with commas
    #[arg(long = "job", value_name = "ID", value_delimiter = ',')]
    jobs: Vec<String>,
    /// Begin after the event of this id, as `--output json` shows it, if that is still remembered
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// How each event is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    target: Target,
}

/// A line of words, or of JSON.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: `{"event": …, "id": …, "data": …}`
    Json,
}

/// Runs `events`.
#[must_use]
pub fn events(args: &EventsArgs) -> ExitCode {
    exit(follow_events(args).map(|never| match never {}))
}

fn follow_events(args: &EventsArgs) -> Result<std::convert::Infallible, ClientError> {
    let client = args.target.client()?;
    let read = |id: &String| read_id(id).map(|id: JobId| id.to_string());
    let jobs: Vec<String> = args.jobs.iter().map(read).collect::<Result<_, _>>()?;
    let path = match jobs.is_empty() {
        true => "/events".to_owned(),
        false => format!("/events?jobs={}", jobs.join(",")),
    };
    let mut after = args.after.clone();
    let mut last_answer = None::<Instant>;
    let mut complained = false;
    loop {
        match client.stream(&path, after.as_deref()) {
            Ok(stream) => {
                print_all(stream, args.output, &mut after)?;
                last_answer = Some(Instant::now());
                complained = false;
            }
            Err(error) => {
                let since = last_answer.map(|at| at.elapsed());
                if !error.may_pass() || since.is_none_or(|since| since > PATIENCE) {
                    return Err(error);
                }
                if !std::mem::replace(&mut complained, true) {
                    let address = client.address();
                    complain(format!(
                        "no answer from the JobManager at {address}; trying again"
                    ));
                }
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Prints what a stream brings until it ends, and notes where that is.
fn print_all(
    mut stream: Stream,
    output: Output,
    after: &mut Option<String>,
) -> Result<(), ClientError> {
    while let Some(sent) = stream.next() {
        if !sent.event.is_empty() {
            print(line(&sent, output))?;
        }
        if sent.id.is_some() {
            *after = sent.id;
        }
    }
    Ok(())
}

fn line(sent: &Sent, output: Output) -> String {
    let data = serde_json::from_str(&sent.data).unwrap_or(Value::Null);
    match output {
        Output::Text => in_words(&sent.event, &data),
        Output::Json => json!({ "event": sent.event, "id": sent.id, "data": data }).to_string(),
    }
}

/// The time, what happened, to whom, and what is worth knowing of it.
fn in_words(event: &str, data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or_default();
    let whom = match event.split('-').next() {
        Some("leader") => format!("epoch {} at {}", data["epoch"], text("address")),
        Some("reset") => format!("{} is too far back", text("asked")),
        Some("taskmanager") => text("id").to_owned(),
        _ => text("jid").to_owned(),
    };
    let number = |name: &str, words: &str| {
        let number = data[name].as_u64();
        number.map(|number| words.replace('#', &number.to_string()))
    };
    let words = |name: &str| data[name].as_str().map(|words| words.replace('\n', " "));
    let details = [
        match event.starts_with("checkpoint") {
            true => number("id", "checkpoint #"),
            false => None,
        },
        match event.starts_with("taskmanager") {
            true => number("slotsNumber", "# slots"),
            false => words("state"),
        },
        number("adopted", "# tasks adopted"),
        number("end_to_end_duration", "# ms"),
        number("state_size", "# bytes"),
        number("jobs-recovered", "# jobs recovered"),
        words("location"),
        words("failure_message"),
        words("failure-cause"),
        words("reason"),
        words("name"),
    ];
    let details: Vec<String> = details.into_iter().flatten().collect();
    let time = data["timestamp"].as_u64().map_or_else(String::new, time);
    format!("{time:<13} {event:<22} {whom}  {}", details.join(", "))
}

/// The time of day in UTC.
fn time(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}.{:03}Z",
        seconds % 60,
        ms % 1_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_with_what_is_worth_knowing() {
        let data = json!({"jid": "aa", "name": "n", "id": 7, "status": "FAILED", "timestamp": 3_723_004,
            "state_size": 0, "end_to_end_duration": 12, "failure_message": "expired:\nlate"});
        assert_eq!(
            in_words("checkpoint-failed", &data),
            "01:02:03.004Z checkpoint-failed      aa  checkpoint 7, 12 ms, 0 bytes, expired: late, n"
        );
        let data = json!({"id": "tm-1", "slotsNumber": 4, "timestamp": 0});
        assert_eq!(
            in_words("taskmanager-registered", &data),
            "00:00:00.000Z taskmanager-registered tm-1  4 slots"
        );
        let data = json!({"asked": "1-3", "epoch": 2, "reason": "why"});
        assert_eq!(
            in_words("reset", &data),
            "              reset                  1-3 is too far back  why"
        );
    }
}
