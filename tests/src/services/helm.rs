//! Helm, as a library for Python has it.

use super::cache;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The program that asks Helm.
const PROGRAM: &str = include_str!("helm.py");

/// A release of a chart: what Helm is asked about.
#[derive(Debug, Clone)]
pub struct Release<'a> {
    /// The folder of the chart.
    pub chart: &'a Path,
    /// Its name.
    pub name: &'a str,
    /// The namespace of what is in it.
    pub namespace: &'a str,
    /// A file that tells how to reach Kubernetes.
    pub config_file: &'a Path,
}

impl Release<'_> {
    /// Puts it into Kubernetes.
    ///
    /// # Errors
    /// Helm refuses: its words.
    pub fn install(&self, values: &Value) -> Result<(), String> {
        self.ask("install", values)
    }

    /// Changes what is in Kubernetes.
    ///
    /// # Errors
    /// Helm refuses: its words.
    pub fn upgrade(&self, values: &Value) -> Result<(), String> {
        self.ask("upgrade", values)
    }

    /// Removes it.
    ///
    /// # Errors
    /// Helm refuses: its words.
    pub fn uninstall(&self) -> Result<(), String> {
        self.ask("uninstall", &Value::Null)
    }

    fn ask(&self, what: &str, values: &Value) -> Result<(), String> {
        let answer = ask(&json!({
            "do": what, "chart": self.chart, "values": values, "name": self.name,
            "config": {"kubeconfig_path": self.config_file, "namespace": self.namespace},
        }));
        answer.map(drop)
    }
}

/// What Helm has to say against a chart with these values, in lines.
#[must_use]
pub fn lint(chart: &Path, values: &Value) -> Vec<String> {
    let report = ask(&json!({"do": "lint", "chart": chart, "values": values}));
    let report = report.expect("a report is made of any chart");
    let messages = report["messages"].as_array().into_iter().flatten();
    messages.map(Value::to_string).collect()
}

/// The templates of a chart as a release makes them: each by its path, as YAML.
///
/// # Errors
/// Helm refuses the values: its words.
pub fn render(
    chart: &Path,
    values: &Value,
    name: &str,
    namespace: &str,
) -> Result<Vec<(String, String)>, String> {
    let rendered = ask(&json!({
        "do": "render", "chart": chart, "values": values, "name": name, "namespace": namespace,
    }))?;
    let templates = rendered.as_object().expect("templates have paths").iter();
    let text = |value: &Value| value.as_str().expect("a template makes text").to_owned();
    Ok(templates
        .map(|(path, value)| (path.clone(), text(value)))
        .collect())
}

/// What Helm answers.
///
/// # Errors
/// It refuses: its words.
///
/// # Panics
/// There is no Helm.
fn ask(request: &Value) -> Result<Value, String> {
    let python = cache().join("helm/bin/python3");
    let mut command = Command::new(&python);
    let child = command
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child
        .unwrap_or_else(|problem| panic!("{}: {problem}; tests/run installs it", python.display()));
    let mut stdin = child.stdin.take().expect("it was asked for");
    let written = stdin.write_all(request.to_string().as_bytes());
    written.expect("it reads what it is asked");
    drop(stdin);
    let output = child.wait_with_output().expect("it is our process");
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    match answer["refused"].as_str() {
        Some(words) => Err(words.to_owned()),
        None => Ok(answer["done"].clone()),
    }
}
