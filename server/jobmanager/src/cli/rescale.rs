//! `rescale`: how many subtasks the vertices of a job have, and a wish for other numbers.
//!
//! The JobManager fulfils an accepted wish whether or not anybody waits, as soon as it can.

use super::client::{Client, ClientError, read_id};
use super::follow::wait_for;
use super::interrupt::mind_ctrl_c;
use super::output::{print, print_text};
use super::progress::Progress;
use super::text::table;
use super::{EXIT_CODES, Target, exit};
use jobmanager_core::id::JobId;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::str::FromStr;

/// `rescale`: change the parallelism of a job, or show it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct RescaleArgs {
    /// The job's id: 32 hex digits
    id: String,
    /// A vertex, by its id in the job's graph, its name or its 32 hex digits, and how many subtasks it is to have;
    /// VERTEX=L..U for as many as there are slots for, from L to U. Without any, the parallelism is shown
    #[arg(value_name = "VERTEX=N")]
    wishes: Vec<Wish>,
    /// Return when the job has that parallelism, not as soon as the wish is durable
    #[arg(long, requires = "wishes")]
    wait: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs `rescale`.
#[must_use]
pub fn rescale(args: &RescaleArgs) -> ExitCode {
    exit(carry_out(args))
}

/// What one vertex is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    vertex: String,
    lower: u32,
    upper: u32,
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write VERTEX=N or VERTEX=L..U, such as count=4".to_owned();
        // A name may have any sign in it, a number none of these.
        let (vertex, range) = text.rsplit_once('=').ok_or_else(wrong)?;
        let (lower, upper) = range.split_once("..").unwrap_or((range, range));
        let number = |text: &str| text.parse().map_err(|_| wrong());
        Ok(Wish {
            vertex: vertex.to_owned(),
            lower: number(lower)?,
            upper: number(upper)?,
        })
    }
}

/// The answer, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Parallelism {
    changing: bool,
    problem: Option<String>,
    vertices: Vec<Vertex>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vertex {
    id: String,
    #[serde(rename = "graph-id")]
    graph_id: String,
    name: String,
    parallelism: u32,
    max_parallelism: u32,
    lower_bound: u32,
    upper_bound: u32,
}

fn carry_out(args: &RescaleArgs) -> Result<u8, ClientError> {
    let (client, id) = (args.target.client()?, read_id(&args.id)?);
    let now: Parallelism = client.parallelism(id)?;
    if args.wishes.is_empty() {
        print_text(&describe(&now))?;
        return Ok(0);
    }
    client.rescale(id, &body(&args.wishes, &now.vertices)?)?;
    if !args.wait {
        print(format!(
            "Job {id} gets that parallelism as soon as it can; `jobmanager rescale {id}` shows it"
        ))?;
        return Ok(0);
    }
    wait(&client, id)
}

/// Waits until every vertex has what it is to have.
fn wait(client: &Client, id: JobId) -> Result<u8, ClientError> {
    let mut progress = Progress::new();
    let words =
        format!("the wish stays nevertheless; `jobmanager rescale {id}` shows how far it is");
    mind_ctrl_c(words, &progress);
    let ask = || client.parallelism(id);
    let reached = wait_for(client, &mut progress, ask, |now: Parallelism, progress| {
        if now.is_reached() {
            return Ok(Some(now));
        }
        progress.note(&now.state())?;
        Ok(None)
    })?;
    progress.clear();
    print_text(&describe(&reached))?;
    Ok(0)
}

impl Parallelism {
    fn is_reached(&self) -> bool {
        let reached = |it: &Vertex| (it.lower_bound..=it.upper_bound).contains(&it.parallelism);
        !self.changing && self.vertices.iter().all(reached)
    }

    /// How far it is, in a line.
    fn state(&self) -> String {
        match &self.problem {
            _ if self.changing => "The parallelism is changing".to_owned(),
            Some(problem) => format!("The parallelism cannot change now: {problem}"),
            None if self.is_reached() => "The parallelism is as it is to be".to_owned(),
            None => "The parallelism is about to change".to_owned(),
        }
    }
}

/// What is sent: the bounds of the vertices that are meant.
fn body(wishes: &[Wish], vertices: &[Vertex]) -> Result<Value, ClientError> {
    let mut named = BTreeSet::new();
    let mut body = json!({});
    for wish in wishes {
        let vertex = find(&wish.vertex, vertices).map_err(ClientError::Vertex)?;
        if !named.insert(&vertex.id) {
            let problem = format!("vertex `{}` is named twice; name it once", vertex.graph_id);
            return Err(ClientError::Vertex(problem));
        }
        let range = json!({ "lowerBound": wish.lower, "upperBound": wish.upper });
        body[&vertex.id] = json!({ "parallelism": range });
    }
    Ok(body)
}

/// The vertex that is meant: its id comes before names, as it is unambiguous.
fn find<'a>(text: &str, vertices: &'a [Vertex]) -> Result<&'a Vertex, String> {
    let by_id = vertices.iter().find(|vertex| vertex.graph_id == text);
    let by_hex = || vertices.iter().find(|it| it.id.eq_ignore_ascii_case(text));
    if let Some(vertex) = by_id.or_else(by_hex) {
        return Ok(vertex);
    }
    let ids = |vertices: &[&Vertex]| {
        let ids = vertices
            .iter()
            .map(|vertex| format!("`{}`", vertex.graph_id));
        ids.collect::<Vec<_>>().join(", ")
    };
    let by_name: Vec<&Vertex> = vertices.iter().filter(|it| it.name == text).collect();
    match by_name[..] {
        [vertex] => Ok(vertex),
        [] => {
            let all: Vec<&Vertex> = vertices.iter().collect();
            Err(format!(
                "the job has no vertex `{text}`; it has {}",
                ids(&all)
            ))
        }
        [..] => {
            let ids = ids(&by_name);
            Err(format!(
                "several vertices are named `{text}`; use one of the ids {ids}"
            ))
        }
    }
}

fn describe(now: &Parallelism) -> String {
    let row = |vertex: &Vertex| {
        let numbers = [
            vertex.parallelism,
            vertex.lower_bound,
            vertex.upper_bound,
            vertex.max_parallelism,
        ];
        let mut row = numbers.map(|number| number.to_string()).to_vec();
        row.insert(0, vertex.graph_id.clone());
        row.push(vertex.name.clone());
        row
    };
    let rows: Vec<_> = now.vertices.iter().map(row).collect();
    let headings = ["VERTEX", "NOW", "LOWER", "UPPER", "MAX", "NAME"];
    format!("{}{}\n", table(&headings, &rows), now.state())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn vertex(id: &str, graph_id: &str, name: &str, parallelism: u32) -> Value {
        json!({
            "id": id.repeat(32), "graph-id": graph_id, "name": name, "parallelism": parallelism,
            "maxParallelism": 128, "lowerBound": 2, "upperBound": 4,
        })
    }

    fn parallelism(changing: bool, problem: Option<&str>, now: u32) -> Parallelism {
        let vertices = [
            vertex("a", "1", "count", now),
            vertex("b", "2", "count", 3),
            vertex("c", "3", "a=b", 3),
        ];
        let answer = json!({ "changing": changing, "problem": problem, "vertices": vertices });
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn a_wish_is_a_vertex_and_a_number_or_two() {
        let wish = |text: &str| {
            text.parse::<Wish>()
                .map(|it| (it.vertex, it.lower, it.upper))
        };
        assert_eq!(wish("a=3").unwrap(), ("a".to_owned(), 3, 3));
        assert_eq!(wish("a=b=1..4").unwrap(), ("a=b".to_owned(), 1, 4));
        for wrong in ["a", "a=", "a=x", "a=1..", "a=-1", "a=1..2..3", "a=1.5"] {
            assert!(wish(wrong).unwrap_err().contains("count=4"), "{wrong}");
        }
    }

    #[test]
    fn a_vertex_is_found_by_id_hex_digits_or_a_name_that_only_one_has() {
        let vertices = parallelism(false, None, 3).vertices;
        for (text, found) in [("1", "1"), ("a=b", "3"), (&"B".repeat(32), "2")] {
            assert_eq!(find(text, &vertices).unwrap().graph_id, found);
        }
        let problem = find("count", &vertices).unwrap_err();
        assert!(problem.ends_with("one of the ids `1`, `2`"), "{problem}");
        let problem = find("x", &vertices).unwrap_err();
        assert!(problem.ends_with("it has `1`, `2`, `3`"), "{problem}");
        let wish = |vertex: &str| format!("{vertex}=1").parse().unwrap();
        let twice = body(&[wish("3"), wish("a=b")], &vertices).unwrap_err();
        assert!(twice.to_string().contains("named twice"), "{twice}");
    }

    #[test]
    fn the_table_ends_with_how_far_the_change_is() {
        let state = |changing, problem, now| parallelism(changing, problem, now).state();
        assert!(state(true, None, 3).ends_with("is changing"));
        assert!(state(false, Some("no slots"), 5).ends_with("cannot change now: no slots"));
        assert!(state(false, None, 5).ends_with("is about to change"));
        let text = describe(&parallelism(false, None, 3));
        let mut lines = text.lines();
        let row = lines.nth(1).unwrap();
        assert_eq!(row, "1       3    2      4      128  count");
        assert_eq!(lines.last(), Some("The parallelism is as it is to be"));
    }
}
