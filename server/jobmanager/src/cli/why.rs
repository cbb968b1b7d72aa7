//! `why`: what a job waits for, and what would help.

use super::client::{ClientError, read_id};
use super::output::{print, print_text};
use super::{EXIT_CODES, Target, exit};
use serde::Deserialize;
use std::fmt::Write;
use std::process::ExitCode;

/// `why`: what a job waits for.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct WhyArgs {
    /// The job's id: 32 hex digits
    id: String,
    /// Print the answer of the JobManager as it is, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs `why`.
#[must_use]
pub fn why(args: &WhyArgs) -> ExitCode {
    exit(print_why(args))
}

/// The answer, as far as people read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Why {
    status: String,
    causes: Vec<Cause>,
    next_checkpoint: Option<Cause>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    text: String,
    unblock: String,
    because: Vec<Cause>,
}

fn print_why(args: &WhyArgs) -> Result<u8, ClientError> {
    let (client, id) = (args.target.client()?, read_id(&args.id)?);
    if args.json {
        let answer: serde_json::Value = client.why(id)?;
        print(format!("{answer:#}"))?;
    } else {
        let answer: Why = client.why(id)?;
        print_text(&describe(&args.id, &answer))?;
    }
    Ok(0)
}

fn describe(id: &str, why: &Why) -> String {
    let mut text = format!("Job {id} is {}\n", why.status);
    if why.causes.is_empty() {
        text.push_str("Nothing is waited for.\n");
    }
    for cause in &why.causes {
        tell(&mut text, cause, 0);
    }
    if let Some(next) = &why.next_checkpoint {
        let _ = writeln!(text, "{}", next.text);
    }
    text
}

fn tell(text: &mut String, cause: &Cause, depth: usize) {
    let indent = "  ".repeat(depth);
    // What tasks say may have any number of lines.
    let words = cause
        .text
        .trim_end()
        .replace('\n', &format!("\n{indent}  "));
    let _ = writeln!(text, "{indent}- {words}");
    let _ = writeln!(text, "{indent}  → {}", cause.unblock);
    for below in &cause.because {
        tell(text, below, depth + 1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn described(answer: serde_json::Value) -> String {
        describe("aa", &serde_json::from_value(answer).unwrap())
    }

    #[test]
    fn a_chain_is_indented_and_says_what_would_help() {
        let below = json!({"kind": "k", "text": "b\nc", "unblock": "d", "because": []});
        let cause = json!({"kind": "k", "text": "a", "unblock": "e", "because": [below]});
        let answer = json!({"status": "RUNNING", "causes": [cause], "next-checkpoint": null});
        let wanted = "Job aa is RUNNING\n- a\n  → e\n  - b\n    c\n    → d\n";
        assert_eq!(described(answer), wanted);
    }

    #[test]
    fn a_job_that_waits_for_nothing_says_so() {
        let next = json!({"text": "soon", "unblock": "", "because": []});
        let answer = json!({"status": "RUNNING", "causes": [], "next-checkpoint": next});
        let wanted = "Job aa is RUNNING\nNothing is waited for.\nsoon\n";
        assert_eq!(described(answer), wanted);
    }
}
