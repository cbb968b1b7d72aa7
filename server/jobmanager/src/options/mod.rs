//! The options of `serve`: flags, `-D key=value`, a YAML file and defaults, in that order of precedence.
//!
//! The table of what the machines read is the core's; what only this shell reads is in [`SHELL_OPTIONS`].
//! Every problem is reported, not just the first.

mod availability;
mod jwt;
mod limits;
mod provider;
mod security;
mod services;
mod table;
mod traces;

use crate::election::ElectionPlace;
use crate::recorder::{LEAST_MEMORY, RecorderOptions};
use crate::savepoints::folder_url;
use crate::store::{RECORDINGS_FOLDER, StorePlace};
use crate::traces::Collector;
use crate::workers::ProviderPlace;
use availability::unreachable;
use jobmanager_core::config::{
    ClusterConfig, OptionProblem, cluster_config, parse_duration, parse_memory,
};
pub use jwt::{JwtOptions, KeyPlace};
pub use limits::{Limits, SubmissionRate};
pub use security::{ClientCertificates, RestTls, Security};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use table::SHELL_OPTIONS;
use table::{
    ALLOW_INSECURE, CHECKPOINT_DIR, DATA_DIR, LOG_MEMORY, RECORDER_DIR, RECORDER_MEMORY,
    REST_ADDRESS, REST_BIND, REST_PORT, RPC_ADDRESS, RPC_BIND, RPC_PORT, SAVEPOINT_DIR, STORE,
    TRACES_HEADERS, WEB_DIR, WEB_REFRESH, WEB_TIMEOUT,
};
use taskmanager::recent_log::MAX_MEMORY;

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
    /// A PostgreSQL database for the durable metadata instead, as postgres://USER@HOST:PORT/NAME, or a prefix in
    /// object storage, as s3://BUCKET/PREFIX, azure://CONTAINER/PREFIX or gs://BUCKET/PREFIX.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The path or URL of the checkpoint storage, such as s3://BUCKET/PREFIX, which every TaskManager has to reach
    /// [default: checkpoints in the data folder].
    #[arg(long, value_name = "URL")]
    pub checkpoint_dir: Option<String>,
    /// The absolute path or URL of the folder for savepoints for which the client names none.
    #[arg(long, value_name = "URL")]
    pub savepoint_dir: Option<String>,
    /// The files of a web dashboard in place of the built-in one, such as Flink's: the folder `web` inside its
    /// flink-dist-2.3.0.jar.
    #[arg(long, value_name = "DIR")]
    pub web_dir: Option<PathBuf>,
    /// Let other machines in without TLS, and clients without a token or certificate.
    #[arg(long)]
    pub allow_insecure: bool,
    /// How log lines look.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: crate::logging::Format,
}

const HELP: &str = "\
When it answers, whether it leads or stands by, two lines appear on standard output:
`REST http://HOST:PORT` and `RPC HOST:PORT`.
SIGUSR1 writes a flight recording of what the coordinator was told; `sim replay` runs it again.
Logs go to standard error; RUST_LOG chooses them, as in RUST_LOG=debug.

Exit codes: 0 after SIGTERM or Ctrl-C, 1 when it cannot start or go on, 64 for a wrong command line or configuration.";

/// What other machines' clients need.
const GUARD_REST: &str = "security.ssl.rest.enabled, and security.rest.tokens, security.jwt.jwks or security.ssl.rest.authentication-enabled";
/// What other machines' TaskManagers need.
const GUARD_RPC: &str = "security.ssl.internal.enabled";

/// Everything a server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where REST listens.
    pub rest: Listen,
    /// Where TaskManagers connect.
    pub rpc: Listen,
    /// Where the durable metadata is.
    pub store: StorePlace,
    /// How one of several JobManagers is elected.
    pub election: ElectionPlace,
    /// Who starts TaskManagers when jobs need them.
    pub provider: ProviderPlace,
    /// Where these find the JobManagers, with commas between several; this one if that is not said.
    pub jobmanagers: Option<String>,
    /// Who is let in.
    pub security: Security,
    /// How much clients may ask for.
    pub limits: Limits,
    /// What is recorded for a look back.
    pub flight_recorder: RecorderOptions,
    /// How much of the log is kept in memory. Bytes.
    pub log_memory: u64,
    /// Where traces are sent.
    pub traces: Option<Collector>,
    /// What the coordinator reads.
    pub cluster: ClusterConfig,
    /// The options of jobs that the cluster sets.
    pub job_defaults: BTreeMap<String, String>,
    /// How long a client waits for an answer.
    pub web_timeout: Duration,
    /// How often a page should ask again.
    pub web_refresh: Duration,
    /// The folder of a web dashboard's files.
    pub web_dir: Option<PathBuf>,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A name or an IP address.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The host by which others reach it, if that was said.
    pub reached_by: Option<String>,
    /// The flag and the key that change it, for the error when it is in use.
    pub changed_by: &'static str,
    /// What would have to be set for other machines to be let in, if that is not.
    pub unguarded: Option<&'static str>,
}

impl Listen {
    /// What others may call it.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let reached_by = self.reached_by.iter();
        reached_by.chain([&self.host]).cloned().collect()
    }
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
        if let Some(url) = &args.store {
            map.insert(STORE.to_owned(), url.clone());
        }
        if let Some(url) = &args.checkpoint_dir {
            map.insert(CHECKPOINT_DIR.to_owned(), url.clone());
        }
        if let Some(url) = &args.savepoint_dir {
            map.insert(SAVEPOINT_DIR.to_owned(), url.clone());
        }
        if let Some(folder) = &args.web_dir {
            map.insert(WEB_DIR.to_owned(), folder.to_string_lossy().into_owned());
        }
        if args.allow_insecure {
            map.insert(ALLOW_INSECURE.to_owned(), true.to_string());
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
        let web_dir = shell.web_dir(&mut problems);
        let data_dir = shell.data_dir(&mut problems);
        let security = shell.security(&mut problems);
        let limits = shell.limits(&mut problems);
        let flight_recorder = shell.flight_recorder(&data_dir, &mut problems);
        let traces = shell.traces(security.allow_insecure, &mut problems);
        let log_memory = shell.log_memory(&mut problems);
        let store = shell.store(&data_dir, &mut problems);
        let election = shell.election(&store, &data_dir, &mut problems);
        let jobmanagers = shell.jobmanagers(&mut problems);
        let provider = shell.provider(&data_dir, &election, &mut problems);
        let rest = Listen {
            host: shell.host(REST_BIND, REST_ADDRESS),
            port: rest_port,
            reached_by: map.get(REST_ADDRESS).cloned(),
            changed_by: "--rest-addr (rest.bind-address, rest.port)",
            unguarded: (!security.guards_rest()).then_some(GUARD_REST),
        };
        let rpc = Listen {
            host: shell.host(RPC_BIND, RPC_ADDRESS),
            port: rpc_port,
            reached_by: map.get(RPC_ADDRESS).cloned(),
            changed_by: "--rpc-addr (jobmanager.bind-host, jobmanager.rpc.port)",
            unguarded: (!security.guards_rpc()).then_some(GUARD_RPC),
        };
        if !matches!(election, ElectionPlace::None) {
            let both = [(&rest, REST_ADDRESS), (&rpc, RPC_ADDRESS)];
            problems.extend(both.into_iter().filter_map(unreachable));
        }
        let checkpoints = shell.checkpoint_storage(&data_dir);
        shell.check_savepoint_dir(&mut problems);
        // They may hold a password, and are no default of any job.
        map.retain(|key, _| ![STORE, TRACES_HEADERS].contains(&key.as_str()));
        map.insert(CHECKPOINT_DIR.to_owned(), checkpoints);
        match cluster_config(&map, &SHELL_OPTIONS) {
            Ok(cluster) if problems.is_empty() => Ok(Options {
                rest,
                rpc,
                store,
                election,
                provider,
                jobmanagers,
                security,
                limits,
                flight_recorder,
                log_memory,
                traces,
                cluster,
                job_defaults: map,
                web_timeout,
                web_refresh,
                web_dir,
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

    fn web_dir(&self, problems: &mut Vec<String>) -> Option<PathBuf> {
        let text = self.text(WEB_DIR);
        let folder = (!text.is_empty()).then(|| PathBuf::from(text))?;
        if !folder.join("index.html").is_file() {
            let text = text.escape_debug();
            problems.push(format!(
                "{WEB_DIR}: `{text}` has no index.html; Flink's dashboard is the folder web inside its flink-dist jar: unzip it, and name that folder"
            ));
        }
        Some(folder)
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

    fn log_memory(&self, problems: &mut Vec<String>) -> u64 {
        let problem = match parse_memory(self.text(LOG_MEMORY)) {
            Ok(memory) if memory <= MAX_MEMORY => return memory,
            Ok(_) => "more than 16 mb".to_owned(),
            Err(error) => error.to_string(),
        };
        problems.push(format!("{LOG_MEMORY}: {problem}"));
        0
    }

    /// Jobs may have another one, which is looked at when they need it.
    fn check_savepoint_dir(&self, problems: &mut Vec<String>) {
        let given = self.map.get(SAVEPOINT_DIR).map(|url| url.trim());
        let given = given.filter(|url| !url.is_empty());
        if let Some(Err(problem)) = given.map(folder_url) {
            problems.push(format!("{SAVEPOINT_DIR}: {problem} (--savepoint-dir)"));
        }
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

/// What is wrong with a text in YAML, in one line.
pub(crate) fn yaml_words(error: &serde_saphyr::Error) -> String {
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
mod tests;
