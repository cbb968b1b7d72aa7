//! Where pods are made, of what, and what they are called.

use super::template::{PodSettings, PodTemplate};
use crate::election::ClusterId;
use crate::kubernetes::{KubernetesAccess, is_label};
use crate::workers::Term;
use jobmanager_core::id::{TaskManagerId, WorkerId};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// The longest name of a cluster in the names of pods: that of a label's value.
const MAX_CLUSTER: usize = 63;
/// The labels by which pods are known.
const CLUSTER_LABEL: &str = "jobmanager/cluster-id";
/// See [`CLUSTER_LABEL`].
const COMPONENT_LABEL: (&str, &str) = ("jobmanager/component", "taskmanager");

/// Where pods are made, and of what.
#[derive(Debug, Clone)]
pub struct PodPlace {
    pub(super) access: KubernetesAccess,
    pub(super) names: PodNames,
    template: PodTemplate,
}

impl PodPlace {
    /// Pods of this cluster.
    ///
    /// # Errors
    /// Everything that is wrong with its name, or with the template.
    pub fn new(
        access: KubernetesAccess,
        cluster: &ClusterId,
        settings: &PodSettings,
    ) -> Result<PodPlace, Vec<String>> {
        let template = PodTemplate::new(settings);
        let cluster_name = cluster.in_paths().replace('/', ".");
        if !cluster_name.split('.').all(is_label) || cluster_name.len() > MAX_CLUSTER {
            let mut problems = template.err().unwrap_or_default();
            problems.push(format!(
                "high-availability.cluster-id: `{}`: pods have to have names of at most {MAX_CLUSTER} lower-case letters, \
                 digits and `-` in the middle of words, with `/` or `.` between words",
                cluster.as_str()
            ));
            return Err(problems);
        }
        let names = PodNames {
            cluster: cluster_name,
        };
        Ok(PodPlace {
            access,
            names,
            template: template?,
        })
    }

    /// The pod of a worker.
    pub(super) fn pod(&self, worker: WorkerId, term: &Term, owner: Option<&OwnerReference>) -> Pod {
        let own = [
            format!("--id={worker}"),
            format!("--jobmanager={}", term.jobmanagers),
            format!("--slots={}", term.slots),
        ];
        // Certificates, if there are any, are in volumes of the file.
        let insecure = term.allow_insecure.then(|| "--allow-insecure".to_owned());
        let mut pod = self.template.with(own.into_iter().chain(insecure));
        let metadata = &mut pod.metadata;
        metadata.name = Some(self.names.name(worker));
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(CLUSTER_LABEL.to_owned(), self.names.cluster.clone());
        let (key, value) = COMPONENT_LABEL;
        labels.insert(key.to_owned(), value.to_owned());
        let owners = &mut metadata.owner_references;
        owners
            .get_or_insert_default()
            .extend(owner.into_iter().cloned());
        pod
    }
}

/// The names of pods.
#[derive(Debug, Clone)]
pub(super) struct PodNames {
    pub(super) cluster: String,
}

impl PodNames {
    /// That of a worker's pod.
    pub(super) fn name(&self, worker: WorkerId) -> String {
        format!("{}-{worker}", self.cluster)
    }

    /// Whose pod has this name, if it is a worker's.
    pub(super) fn worker(&self, pod: &str) -> Option<WorkerId> {
        let name = pod.strip_prefix(&self.cluster)?.strip_prefix('-')?;
        WorkerId::named(&TaskManagerId(name.to_owned()))
    }

    /// What tells the pods of the cluster from all others.
    pub(super) fn selector(&self) -> String {
        let (key, value) = COMPONENT_LABEL;
        format!("{CLUSTER_LABEL}={},{key}={value}", self.cluster)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::id::Epoch;

    fn names(cluster: &str) -> Result<PodNames, Vec<String>> {
        let settings = PodSettings {
            image: Some("x".to_owned()),
            ..PodSettings::default()
        };
        let cluster = ClusterId::new(cluster).unwrap();
        let place = PodPlace::new(KubernetesAccess::default(), &cluster, &settings);
        place.map(|place| place.names)
    }

    #[test]
    fn a_pod_is_named_after_its_cluster_and_worker() {
        let longest = "x".repeat(MAX_CLUSTER);
        let (epoch, number) = (Epoch(u64::MAX), u64::MAX);
        let worker = WorkerId { epoch, number };
        for (cluster, begin) in [
            ("/default", "default-taskmanager-"),
            ("team/jobs", "team.jobs-taskmanager-"),
            (&longest, &format!("{longest}-taskmanager-")),
        ] {
            let names = names(cluster).unwrap();
            let name = names.name(worker);
            assert!(name.starts_with(begin) && name.len() <= 253, "{name}");
            assert_eq!(names.worker(&name), Some(worker));
        }
        let names = names("a").unwrap();
        for other in [
            "a-b-taskmanager-1-1",
            "a-taskmanager-1",
            "ab-taskmanager-1-1",
            "taskmanager-1-1",
        ] {
            assert_eq!(names.worker(other), None, "{other}");
        }
    }

    #[test]
    fn a_cluster_whose_name_no_pod_can_have_is_refused() {
        let too_long = "x".repeat(MAX_CLUSTER + 1);
        for cluster in ["Team", "a_b", "a//b", "-a", &too_long] {
            let problems = names(cluster).unwrap_err();
            assert!(
                problems[0].contains("pods have to have names"),
                "{problems:?}"
            );
        }
    }
}
