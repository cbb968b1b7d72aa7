//! The options of `serve`: flags, `-D key=value`, a YAML file and defaults, in that order of precedence.
//!
//! The table of what the machines read is the core's; what only this shell reads is in [`SHELL_OPTIONS`].
//! Every problem is reported, not just the first.

use crate::recorder::{LEAST_MEMORY, RecorderOptions};
use crate::store::RECORDINGS_FOLDER;
use jobmanager_core::config::{
    ClusterConfig, OptionProblem, OptionSpec, Scope, cluster_config, parse_duration, parse_memory,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The command `serve`: run a JobManager until SIGTERM or Ctrl-C.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = HELP)]
pub struct ServeArgs {
    /// A YAML file of options, flat (`rest.port: 8081`) or nested.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// An option; overrides the file. Can be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub define: Vec<String>,
    /// Where REST listens [default: 127.0.0.1:8081]; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub rest_addr: Option<String>,
    /// Where TaskManagers connect [default: 127.0.0.1:6123]; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub rpc_addr: Option<String>,
    /// The folder of the durable metadata [default: jobmanager-data in the current folder].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The URL or path of the checkpoint storage, which every TaskManager has to reach
    /// [default: checkpoints in the data folder].
    #[arg(long, value_name = "URL")]
    pub checkpoint_dir: Option<String>,
    /// How log lines look.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: crate::logging::Format,
}

const HELP: &str = "\
When it is ready, two lines appear on standard output: `REST http://HOST:PORT` and `RPC HOST:PORT`.
SIGUSR1 writes a flight recording of what the coordinator was told; `sim replay` runs it again.
Logs go to standard error; RUST_LOG chooses them, as in RUST_LOG=debug.

Exit codes: 0 after SIGTERM or Ctrl-C, 1 when it cannot start or go on, 64 for a wrong command line or configuration.";

const fn shell(key: &'static str, default: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec {
        key,
        default,
        scope: Scope::Cluster,
        doc,
    }
}

const REST_BIND: &str = "rest.bind-address";
const REST_ADDRESS: &str = "rest.address";
const REST_PORT: &str = "rest.port";
const RPC_BIND: &str = "jobmanager.bind-host";
const RPC_ADDRESS: &str = "jobmanager.rpc.address";
const RPC_PORT: &str = "jobmanager.rpc.port";
const DATA_DIR: &str = "jobmanager.data-dir";
const CHECKPOINT_DIR: &str = "execution.checkpointing.dir";
const WEB_TIMEOUT: &str = "web.timeout";
const WEB_REFRESH: &str = "web.refresh-interval";

const RECORDER_MEMORY: &str = "jobmanager.flight-recorder.memory";
const RECORDER_DIR: &str = "jobmanager.flight-recorder.dir";

/// The options that only this shell reads.
pub static SHELL_OPTIONS: [OptionSpec; 11] = [
    shell(REST_BIND, "", "Where REST listens; rest.address if unset."),
    shell(REST_ADDRESS, "127.0.0.1", "Where clients reach REST."),
    shell(REST_PORT, "8081", "The port of REST; 0 takes a free one."),
    shell(
        RPC_BIND,
        "",
        "Where TaskManagers connect; jobmanager.rpc.address if unset.",
    ),
    shell(
        RPC_ADDRESS,
        "127.0.0.1",
        "Where TaskManagers reach the JobManager.",
    ),
    shell(
        RPC_PORT,
        "6123",
        "The port for TaskManagers; 0 takes a free one.",
    ),
    shell(
        DATA_DIR,
        "jobmanager-data",
        "The folder of the durable metadata.",
    ),
    shell(
        RECORDER_MEMORY,
        "64 mb",
        "How much of what the coordinator was told is kept for a flight recording, at least 1 mb; 0 for nothing.",
    ),
    shell(
        RECORDER_DIR,
        "",
        "Where flight recordings are written; flight-recordings in the data folder if unset.",
    ),
    shell(
        WEB_TIMEOUT,
        "10 min",
        "How long a client waits for an answer.",
    ),
    shell(WEB_REFRESH, "3 s", "How often a page should ask again."),
];

/// Everything a server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where REST listens.
    pub rest: Listen,
    /// Where TaskManagers connect.
    pub rpc: Listen,
    /// The folder of the durable metadata; absolute.
    pub data_dir: PathBuf,
    /// What is recorded for a look back.
    pub flight_recorder: RecorderOptions,
    /// What the coordinator reads.
    pub cluster: ClusterConfig,
    /// The options of jobs that the cluster sets.
    pub job_defaults: BTreeMap<String, String>,
    /// How long a client waits for an answer.
    pub web_timeout: Duration,
    /// How often a page should ask again.
    pub web_refresh: Duration,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A name or an IP address.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The flag and the key that change it, for the error when it is in use.
    pub changed_by: &'static str,
}

/// Options that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The file cannot be read, or is not what it should be.
    #[error("configuration file {path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A `-D` without its key or value.
    #[error("-D {0}: expected KEY=VALUE, such as -D rest.port=8081")]
    Define(String),
    /// Wrong keys or values, each in a line.
    #[error("the configuration has {} problem(s):\n  {}", .0.len(), .0.join("\n  "))]
    Problems(Vec<String>),
}

impl Options {
    /// Options from a command line and the file that it names.
    ///
    /// # Errors
    /// The file cannot be read, or a key or value is wrong.
    pub fn from_args(args: &ServeArgs) -> Result<Options, OptionsError> {
        let mut map = match &args.config {
            Some(path) => read_file(path)?,
            None => BTreeMap::new(),
        };
        let mut problems = Vec::new();
        check_ports(&map, &mut problems);
        for define in &args.define {
            let (key, value) = define
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| OptionsError::Define(define.clone()))?;
            map.insert(key.to_owned(), value.to_owned());
        }
        check_ports(&map, &mut problems);
        if let Some(address) = &args.rest_addr {
            put_address(&mut map, address, REST_BIND, REST_PORT);
        }
        if let Some(address) = &args.rpc_addr {
            put_address(&mut map, address, RPC_BIND, RPC_PORT);
        }
        if let Some(folder) = &args.data_dir {
            map.insert(DATA_DIR.to_owned(), folder.to_string_lossy().into_owned());
        }
        if let Some(url) = &args.checkpoint_dir {
            map.insert(CHECKPOINT_DIR.to_owned(), url.clone());
        }
        Options::from_layers(map, problems)
    }

    /// Options from keys and values.
    ///
    /// # Errors
    /// Every key and value that is wrong.
    pub fn from_map(map: BTreeMap<String, String>) -> Result<Options, OptionsError> {
        Options::from_layers(map, Vec::new())
    }

    /// Options from what is left when all layers are laid upon each other, and the problems of values
    /// that a higher layer covers.
    fn from_layers(
        mut map: BTreeMap<String, String>,
        mut problems: Vec<String>,
    ) -> Result<Options, OptionsError> {
        let shell = Shell { map: &map };
        let rest_port = shell.port(REST_PORT, &mut problems);
        let rpc_port = shell.port(RPC_PORT, &mut problems);
        let web_timeout = shell.duration(WEB_TIMEOUT, &mut problems);
        let web_refresh = shell.duration(WEB_REFRESH, &mut problems);
        let data_dir = shell.data_dir(&mut problems);
        let flight_recorder = shell.flight_recorder(&data_dir, &mut problems);
        let rest = Listen {
            host: shell.host(REST_BIND, REST_ADDRESS),
            port: rest_port,
            changed_by: "--rest-addr (rest.bind-address, rest.port)",
        };
        let rpc = Listen {
            host: shell.host(RPC_BIND, RPC_ADDRESS),
            port: rpc_port,
            changed_by: "--rpc-addr (jobmanager.bind-host, jobmanager.rpc.port)",
        };
        let checkpoints = shell.checkpoint_storage(&data_dir);
        map.insert(CHECKPOINT_DIR.to_owned(), checkpoints);
        match cluster_config(&map, &SHELL_OPTIONS) {
            Ok(cluster) if problems.is_empty() => Ok(Options {
                rest,
                rpc,
                data_dir,
                flight_recorder,
                cluster,
                job_defaults: map,
                web_timeout,
                web_refresh,
            }),
            Ok(_) => Err(OptionsError::Problems(problems)),
            Err(more) => {
                problems.extend(more.iter().map(describe));
                Err(OptionsError::Problems(problems))
            }
        }
    }
}

/// Flags may cover what the file and `-D` say about ports; a wrong value is a mistake nevertheless.
fn check_ports(map: &BTreeMap<String, String>, problems: &mut Vec<String>) {
    let shell = Shell { map };
    for key in [REST_PORT, RPC_PORT] {
        shell.port(key, problems);
    }
}

fn describe(OptionProblem { key, problem }: &OptionProblem) -> String {
    format!("{key}: {problem}")
}

/// Reads the shell's own options.
struct Shell<'a> {
    map: &'a BTreeMap<String, String>,
}

impl Shell<'_> {
    /// The value, or the default of the table.
    fn text(&self, key: &'static str) -> &str {
        let spec = SHELL_OPTIONS.iter().find(|spec| spec.key == key);
        let default = spec.map_or("", |spec| spec.default);
        self.map.get(key).map_or(default, String::as_str)
    }

    fn host(&self, bind: &'static str, address: &'static str) -> String {
        let bind = self.text(bind);
        let host = if bind.is_empty() {
            self.text(address)
        } else {
            bind
        };
        host.to_owned()
    }

    fn port(&self, key: &'static str, problems: &mut Vec<String>) -> u16 {
        let text = self.text(key);
        text.parse().unwrap_or_else(|_| {
            let text = text.escape_debug();
            let problem = format!("{key}: `{text}` is not a port from 0 to 65535");
            if !problems.contains(&problem) {
                problems.push(problem);
            }
            0
        })
    }

    fn duration(&self, key: &'static str, problems: &mut Vec<String>) -> Duration {
        parse_duration(self.text(key)).unwrap_or_else(|error| {
            problems.push(format!("{key}: {error}"));
            Duration::ZERO
        })
    }

    fn data_dir(&self, problems: &mut Vec<String>) -> PathBuf {
        let text = self.text(DATA_DIR);
        std::path::absolute(text).unwrap_or_else(|error| {
            let text = text.escape_debug();
            problems.push(format!("{DATA_DIR}: `{text}`: {error}"));
            PathBuf::new()
        })
    }

    fn flight_recorder(&self, data_dir: &Path, problems: &mut Vec<String>) -> RecorderOptions {
        let memory = match parse_memory(self.text(RECORDER_MEMORY)) {
            Ok(memory) if memory == 0 || memory >= LEAST_MEMORY => memory,
            Ok(_) => {
                problems.push(format!("{RECORDER_MEMORY}: less than 1 mb, and not 0"));
                0
            }
            Err(error) => {
                problems.push(format!("{RECORDER_MEMORY}: {error}"));
                0
            }
        };
        let dir = match self.text(RECORDER_DIR) {
            "" => data_dir.join(RECORDINGS_FOLDER),
            path => std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)),
        };
        RecorderOptions { memory, dir }
    }

    /// The URL; a plain path becomes one.
    fn checkpoint_storage(&self, data_dir: &Path) -> String {
        let given = self.map.get(CHECKPOINT_DIR).map(|url| url.trim());
        match given.filter(|url| !url.is_empty()) {
            Some(url) if url.contains(':') => url.to_owned(),
            Some(path) => {
                let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
                format!("file://{}", absolute.display())
            }
            None => format!("file://{}", data_dir.join("checkpoints").display()),
        }
    }
}

/// `HOST:PORT`, `HOST`, `:PORT` or `PORT`. What is not a port is left for [`Shell::port`] to name.
fn put_address(map: &mut BTreeMap<String, String>, address: &str, host_key: &str, port_key: &str) {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match address.rsplit_once(':') {
        _ if is_port(address) => ("", address),
        Some((host, port)) if !port.ends_with(']') => (host, port),
        Some(_) | None => (address, ""),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    for (key, text) in [(host_key, host), (port_key, port)] {
        if !text.is_empty() {
            map.insert(key.to_owned(), text.to_owned());
        }
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, OptionsError> {
    let problem = |problem: String| OptionsError::File {
        path: path.to_owned(),
        problem,
    };
    let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    if text
        .lines()
        .all(|line| line.trim_start().starts_with('#') || line.trim().is_empty())
    {
        return Ok(BTreeMap::new());
    }
    let value: Value =
        serde_saphyr::from_str(&text).map_err(|error| problem(yaml_words(&error)))?;
    let mut map = BTreeMap::new();
    flatten(String::new(), &value, &mut map).map_err(problem)?;
    Ok(map)
}

fn yaml_words(error: &serde_saphyr::Error) -> String {
    let line = error.location().map(|location| location.line());
    match (error.without_snippet(), line) {
        (serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. }, Some(line)) => {
            format!("line {line}: {key} is set twice; keep one of the two")
        }
        // Without the picture of the line that the library draws over several ones.
        (plain, _) => plain.to_string(),
    }
}

const NO_MAP: &str = "lines of the form `key: value` are expected, such as `rest.port: 8081`";

/// Joins the keys of nested maps with dots.
fn flatten(path: String, value: &Value, map: &mut BTreeMap<String, String>) -> Result<(), String> {
    let text = match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(format!("{path}{dot}{key}"), value, map)?;
            }
            return Ok(());
        }
        // A file of nothing but comments.
        Value::Null if path.is_empty() => return Ok(()),
        Value::Null => return Err(format!("{path} has no value; give it one, or leave it out")),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(_) if path.is_empty() => return Err(NO_MAP.to_owned()),
        Value::Array(_) => return Err(format!("{path} is a list; a single value is expected")),
    };
    if path.is_empty() {
        return Err(NO_MAP.to_owned());
    }
    if map.insert(path.clone(), text).is_some() {
        return Err(format!("{path} is set twice; keep one of the two"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with_file(text: &str, args: ServeArgs) -> Result<Options, OptionsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        let config = Some(path);
        Options::from_args(&ServeArgs { config, ..args })
    }

    #[test]
    fn flags_beat_definitions_beat_the_file_beats_the_defaults() {
        let args = ServeArgs {
            define: vec!["rest.port=2".into(), "jobmanager.rpc.port=22".into()],
            rpc_addr: Some("0.0.0.0:33".into()),
            ..ServeArgs::default()
        };
        let file = "rest.port: 1\njobmanager:\n  rpc:\n    port: 11\nweb:\n  timeout: 5 s\n";
        let options = with_file(file, args).unwrap();
        assert_eq!(
            (options.rest.host.as_str(), options.rest.port),
            ("127.0.0.1", 2)
        );
        assert_eq!(
            (options.rpc.host.as_str(), options.rpc.port),
            ("0.0.0.0", 33)
        );
        assert_eq!(options.web_timeout, Duration::from_secs(5));
        assert_eq!(options.web_refresh, Duration::from_secs(3));
    }

    #[test]
    fn checkpoints_are_in_the_data_folder_unless_said_otherwise() {
        let storage = |args: ServeArgs| {
            let options = Options::from_args(&args).unwrap();
            options.cluster.checkpoint_storage
        };
        let data_dir = Some(PathBuf::from("/d"));
        let args = ServeArgs {
            data_dir,
            ..ServeArgs::default()
        };
        assert_eq!(storage(args.clone()), "file:///d/checkpoints");
        for (given, expected) in [("/c/x", "file:///c/x"), ("s3://b", "s3://b")] {
            let checkpoint_dir = Some(given.to_owned());
            let args = ServeArgs {
                checkpoint_dir,
                ..args.clone()
            };
            assert_eq!(storage(args), expected);
        }
    }

    #[test]
    fn every_wrong_option_is_named() {
        let args = ServeArgs {
            define: vec![
                "rest.prot=1".into(),
                "jobmanager.rpc.port=x".into(),
                "heartbeat.interval=soon".into(),
                "web.timeout=later".into(),
            ],
            ..ServeArgs::default()
        };
        let words = Options::from_args(&args).unwrap_err().to_string();
        for key in [
            "rest.prot:",
            "rest.port",
            "jobmanager.rpc.port: `x`",
            "heartbeat.interval:",
            "web.timeout:",
        ] {
            assert!(words.contains(key), "{key} in {words}");
        }
    }

    #[test]
    fn a_file_that_is_no_map_of_options_is_refused_with_its_name() {
        for text in ["just words", "a: [1, 2]", "a: b: c", "a.b: 1\na:\n  b: 2\n"] {
            let error = with_file(text, ServeArgs::default()).unwrap_err();
            assert!(error.to_string().contains("config.yaml"), "{text}: {error}");
        }
        assert!(with_file("# nothing\n", ServeArgs::default()).is_ok());
    }

    #[test]
    fn a_wrong_port_is_named_even_if_a_flag_covers_it() {
        for port in ["70000", "", "x"] {
            let args = ServeArgs {
                define: vec![format!("rest.port={port}")],
                rest_addr: Some("127.0.0.1:0".into()),
                ..ServeArgs::default()
            };
            let file = "jobmanager.rpc.port: -1\n";
            let error = with_file(file, args).unwrap_err();
            let expected = vec![
                "jobmanager.rpc.port: `-1` is not a port from 0 to 65535".to_owned(),
                format!("rest.port: `{port}` is not a port from 0 to 65535"),
            ];
            assert_eq!(error, OptionsError::Problems(expected));
        }
    }

    #[test]
    fn a_definition_without_its_key_or_value_is_refused() {
        for define in ["=1", " = 1", "rest.port"] {
            let args = ServeArgs {
                define: vec![define.to_owned()],
                ..ServeArgs::default()
            };
            let error = Options::from_args(&args).unwrap_err();
            assert_eq!(error, OptionsError::Define(define.to_owned()));
        }
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_in_words() {
        for (text, words) in [
            ("- a\n", "lines of the form `key: value` are expected"),
            ("a: [1, 2]\n", "a is a list; a single value is expected"),
            ("rest:\n  port:\n", "rest.port has no value"),
            ("rest.port: ~\n", "rest.port has no value"),
            ("b: 1\na: 1\na: 2\n", "line 3: a is set twice"),
            ("a.b: 1\na:\n  b: 2\n", "a.b is set twice"),
            ("a: 1\nb: c: d\n", "line 2"),
            ("a: \"open\n", "line 2"),
            ("a: *nowhere\n", "line 1"),
        ] {
            let error = with_file(text, ServeArgs::default()).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn an_address_may_leave_out_either_part() {
        let parse = |address: &str| {
            let mut map = BTreeMap::new();
            put_address(&mut map, address, "h", "p");
            (map.remove("h"), map.remove("p"))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parse("localhost:1"), (some("localhost"), some("1")));
        assert_eq!(parse("localhost"), (some("localhost"), None));
        assert_eq!(parse(":1"), (None, some("1")));
        assert_eq!(parse("1"), (None, some("1")));
        assert_eq!(parse("[::1]:1"), (some("::1"), some("1")));
        assert_eq!(parse("[::1]"), (some("::1"), None));
    }
}
