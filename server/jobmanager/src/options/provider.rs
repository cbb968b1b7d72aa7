//! The options that say who starts TaskManagers when jobs need them, and what these are told.

use super::Shell;
use super::table::{HA_TYPE, JOBMANAGERS, RPC_PORT};
use crate::election::ElectionPlace;
use crate::store::WORKERS_FOLDER;
use crate::workers::{ProcessPlace, ProviderPlace};
use std::path::Path;

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
            _ => {
                let kind = kind.escape_debug();
                problems.push(format!(
                    "{PROVIDER}: `{kind}` is not offered; none or process is expected"
                ));
                return ProviderPlace::None;
            }
        };
        if self.text(JOBMANAGERS).trim().is_empty() {
            problems.extend(self.unreachable(election));
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
        match ProcessPlace::new(data_dir.join(WORKERS_FOLDER)) {
            Ok(place) => Some(ProviderPlace::Process(place)),
            Err(problem) => {
                problems.push(format!("{PROVIDER}: process is not offered: {problem}"));
                None
            }
        }
    }

    /// Why TaskManagers would not find the JobManager that has started them, or the next one, without being told.
    fn unreachable(&self, election: &ElectionPlace) -> Option<String> {
        let others =
            "has to be set, since TaskManagers that one JobManager starts have to find the others";
        if !matches!(election, ElectionPlace::None) {
            Some(format!("{JOBMANAGERS}: {others}"))
        } else if self.text(RPC_PORT).trim() == "0" {
            Some(format!(
                "{RPC_PORT}: 0 is another port after each start, where TaskManagers that were started for jobs do not \
                 find the JobManager again; choose one"
            ))
        } else {
            None
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
