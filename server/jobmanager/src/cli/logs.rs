//! `logs`: what the JobManager that leads, or a TaskManager, has logged most recently, and what it logs from then on.

use super::client::{Client, ClientError, LogText};
use super::output::{complain, print_text};
use super::{EXIT_CODES, Target, exit};
use std::convert::Infallible;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How long after an answer the next one is asked for.
const PAUSE: Duration = Duration::from_secs(1);
/// HTTP status: there is no such TaskManager now.
const NOT_FOUND: u16 = 404;
/// How long nobody may answer before the command gives up: a JobManager may be restarting.
const PATIENCE: Duration = Duration::from_secs(60);

/// `logs`: the latest lines of a log.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct LogsArgs {
    /// Of this TaskManager; of the JobManager that leads without it
    #[arg(value_name = "TASKMANAGER-ID")]
    taskmanager: Option<String>,
    /// Only so many of the last lines [default: all that are kept]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u64>,
    /// Go on with what is logged from now on
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs `logs`.
#[must_use]
pub fn logs(args: &LogsArgs) -> ExitCode {
    exit(print_logs(args).map(|()| 0))
}

fn print_logs(args: &LogsArgs) -> Result<(), ClientError> {
    let client = args.target.client()?;
    let path = match &args.taskmanager {
        Some(id) => format!("/taskmanagers/{}/log", in_a_path(id)),
        None => "/jobmanager/log".to_owned(),
    };
    let first = match args.lines {
        Some(lines) => format!("{path}?lines={lines}"),
        None => path.clone(),
    };
    let shown = client.log(&first)?;
    print_text(&shown.text)?;
    match args.follow {
        true => follow(&client, &path, shown).map(|never| match never {}),
        false => Ok(()),
    }
}

/// Prints what comes after what was shown, until there is nobody to ask.
fn follow(client: &Client, path: &str, mut shown: LogText) -> Result<Infallible, ClientError> {
    let mut last_answer = Instant::now();
    let mut complained = false;
    loop {
        thread::sleep(PAUSE);
        match client.log(&format!("{path}?after={}", shown.position)) {
            Ok(next) => {
                if process_of(&next.position) != process_of(&shown.position) {
                    complain("another process answers now; from its first line that is kept:");
                }
                if next.missed > 0 {
                    complain(format!("{} bytes of the log are left out", next.missed));
                }
                print_text(&next.text)?;
                shown = next;
                last_answer = Instant::now();
                complained = false;
            }
            Err(error) if may_return(&error) && last_answer.elapsed() < PATIENCE => {
                if !std::mem::replace(&mut complained, true) {
                    complain(format!("{error}; trying again"));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether it may be otherwise in a moment, also of a TaskManager that has registered before.
fn may_return(error: &ClientError) -> bool {
    error.may_pass()
        || matches!(
            error,
            ClientError::Refused {
                status: NOT_FOUND,
                ..
            }
        )
}

/// A position begins with what tells the lives of processes apart.
fn process_of(position: &str) -> Option<&str> {
    position.split('-').next()
}

/// A name as a part of a path, whatever characters it has.
fn in_a_path(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                path.push(byte.into());
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(in_a_path("127.0.0.1:7-0a_b~C"), "127.0.0.1:7-0a_b~C");
        assert_eq!(in_a_path("a/b?c#d %é"), "a%2Fb%3Fc%23d%20%25%C3%A9");
    }
}
