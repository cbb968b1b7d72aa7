//! The options that say who starts TaskManagers when jobs need them, and what these are told.

use super::Shell;
use super::table::{ALLOWED_DIRS, HA_TYPE, JOBMANAGERS, RPC_ADDRESS, RPC_PORT};
#[cfg(feature = "kubernetes")]
use super::table::{KUBERNETES_CPU, KUBERNETES_IMAGE, KUBERNETES_TEMPLATE, PROCESS_MEMORY};
use crate::election::ElectionPlace;
use crate::store::WORKERS_FOLDER;
#[cfg(feature = "kubernetes")]
use crate::workers::{PodPlace, PodSettings};
use crate::workers::{ProcessPlace, ProviderPlace};
#[cfg(feature = "kubernetes")]
use jobmanager_core::config::parse_memory;
use std::path::{Path, PathBuf};
use taskmanager::folders::Folders;

/// The core reads it, too: whether there is somebody to be asked.
const PROVIDER: &str = "resourcemanager.provider";
/// The most addresses of JobManagers.
const MAX_JOBMANAGERS: usize = 16;

impl Shell<'_> {
    /// Who starts TaskManagers; nobody if that is wrong.
    pub(super) fn provider(
        &self,
        data_dir: &Path,
        election: &ElectionPlace,
        problems: &mut Vec<String>,
    ) -> ProviderPlace {
        let kind = self.map.get(PROVIDER).map_or("none", |kind| kind.trim());
        let provider = match kind {
            "none" => return ProviderPlace::None,
            "process" => self.by_processes(data_dir, election, problems),
            "kubernetes" => self.by_pods(problems),
            _ => {
                let kind = kind.escape_debug();
                problems.push(format!(
                    "{PROVIDER}: `{kind}` is not offered; none, process or kubernetes is expected"
                ));
                return ProviderPlace::None;
            }
        };
        if self.text(JOBMANAGERS).trim().is_empty() {
            problems.extend(self.unreachable(kind, election));
        }
        provider.unwrap_or(ProviderPlace::None)
    }

    fn by_processes(
        &self,
        data_dir: &Path,
        election: &ElectionPlace,
        problems: &mut Vec<String>,
    ) -> Option<ProviderPlace> {
        if !matches!(election, ElectionPlace::None | ElectionPlace::Folder(_)) {
            problems.push(format!(
                "{PROVIDER}: process starts TaskManagers on the machine of the JobManager, where one on another \
                 machine does not find them; set {HA_TYPE} to NONE or FILE_LOCK, or choose another provider"
            ));
            return None;
        }
        let allowed_dirs = self.allowed_dirs(problems);
        match ProcessPlace::new(data_dir.join(WORKERS_FOLDER), allowed_dirs) {
            Ok(place) => Some(ProviderPlace::Process(place)),
            Err(problem) => {
                problems.push(format!("{PROVIDER}: process is not offered: {problem}"));
                None
            }
        }
    }

    /// The folders in which jobs may have files, if not any.
    fn allowed_dirs(&self, problems: &mut Vec<String>) -> Vec<PathBuf> {
        let given = self.text(ALLOWED_DIRS).split(',').map(str::trim);
        let given = given.filter(|it| !it.is_empty()).map(PathBuf::from);
        let given: Vec<PathBuf> = given.collect();
        if let Err((folder, problem)) = Folders::new(&given) {
            let folder = folder.display();
            problems.push(format!(
                "{ALLOWED_DIRS}: {folder}: {problem}; make it first"
            ));
        }
        given
    }

    #[cfg(not(feature = "kubernetes"))]
    #[expect(clippy::unused_self, reason = "it reads options if it is built in")]
    fn by_pods(&self, problems: &mut Vec<String>) -> Option<ProviderPlace> {
        problems.push(format!(
            "{PROVIDER}: this JobManager was built without Kubernetes; build it with `--features kubernetes`"
        ));
        None
    }

    #[cfg(feature = "kubernetes")]
    fn by_pods(&self, problems: &mut Vec<String>) -> Option<ProviderPlace> {
        let settings = PodSettings {
            file: self.given(KUBERNETES_TEMPLATE).map(Into::into),
            image: self.given(KUBERNETES_IMAGE).map(Into::into),
            cpu: self.processors(problems),
            memory: self.memory(problems),
        };
        match PodPlace::new(self.kubernetes(), &self.named_cluster()?, &settings) {
            Ok(place) => Some(ProviderPlace::Kubernetes(Box::new(place))),
            Err(wrong) => {
                problems.extend(wrong);
                None
            }
        }
    }

    /// A number of processors, as Kubernetes writes it.
    #[cfg(feature = "kubernetes")]
    fn processors(&self, problems: &mut Vec<String>) -> Option<String> {
        let text = self.given(KUBERNETES_CPU)?;
        let digits = text.strip_suffix('m').unwrap_or(text);
        let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.parse::<f64>().is_ok_and(|number| number > 0.0)
            && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        let is_whole = digits == text || !digits.contains('.');
        if !is_number || !is_whole {
            let text = text.escape_debug();
            problems.push(format!(
                "{KUBERNETES_CPU}: `{text}` is not a number of processors, such as 2, 0.5 or 500m"
            ));
        }
        Some(text.to_owned())
    }

    #[cfg(feature = "kubernetes")]
    fn memory(&self, problems: &mut Vec<String>) -> Option<u64> {
        match parse_memory(self.given(PROCESS_MEMORY)?) {
            Ok(0) => problems.push(format!(
                "{PROCESS_MEMORY}: 0 is too little for any TaskManager"
            )),
            Ok(bytes) => return Some(bytes),
            Err(problem) => problems.push(format!("{PROCESS_MEMORY}: {problem}")),
        }
        None
    }

    /// Why TaskManagers would not find the JobManager that has started them, or the next one, without being told.
    fn unreachable(&self, kind: &str, election: &ElectionPlace) -> Option<String> {
        let others =
            "has to be set, since TaskManagers that one JobManager starts have to find the others";
        let here = "has to be set to what pods reach, or jobmanager.rpc.address";
        if !matches!(election, ElectionPlace::None) {
            Some(format!("{JOBMANAGERS}: {others}"))
        } else if self.text(RPC_PORT).trim() == "0" {
            Some(format!(
                "{RPC_PORT}: 0 is another port after each start, where TaskManagers that were started for jobs do not \
                 find the JobManager again; choose one"
            ))
        } else {
            let is_told = kind == "process" || self.map.contains_key(RPC_ADDRESS);
            (!is_told).then(|| format!("{JOBMANAGERS}: {here}"))
        }
    }

    /// Where TaskManagers find the JobManagers, if that is said.
    pub(super) fn jobmanagers(&self, problems: &mut Vec<String>) -> Option<String> {
        let text = self.text(JOBMANAGERS).trim();
        if text.is_empty() {
            return None;
        }
        let all: Vec<_> = text.split(',').map(str::trim).collect();
        let is_address = |address: &&str| {
            let parts = address.rsplit_once(':');
            parts.is_some_and(|(host, port)| {
                let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
                is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        if let Some(wrong) = all.iter().find(|address| !is_address(address)) {
            let wrong = wrong.escape_debug();
            problems.push(format!(
                "{JOBMANAGERS}: `{wrong}` is not an address; HOST:PORT is expected, such as jobmanager-rpc:6123, or \
                 several with commas between them"
            ));
        }
        if all.len() > MAX_JOBMANAGERS {
            problems.push(format!(
                "{JOBMANAGERS}: more than {MAX_JOBMANAGERS} addresses; name the Service of the JobManagers"
            ));
        }
        Some(all.join(","))
    }
}
