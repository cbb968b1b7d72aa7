//! How Kubernetes is reached, and what it allows for names.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use std::path::PathBuf;
use taskmanager::words;

/// How to reach Kubernetes: what is not given is taken from `KUBECONFIG` or `~/.kube/config`, or in a pod from what
/// the pod is given.
#[derive(Debug, Clone, Default)]
pub struct KubernetesAccess {
    /// The file in the manner of `kubectl`.
    pub config_file: Option<PathBuf>,
    /// The context of that file.
    pub context: Option<String>,
    /// The namespace of what is made there.
    pub namespace: Option<String>,
}

impl KubernetesAccess {
    /// A client, and the namespace in which it is to work. Nobody is asked yet.
    ///
    /// # Errors
    /// It is not said how to reach Kubernetes: the words for people.
    pub(crate) async fn client(&self) -> Result<(Client, String), String> {
        let config = self.config().await?;
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        choose_cryptography();
        let client = Client::try_from(config).map_err(said)?;
        Ok((client, namespace))
    }

    async fn config(&self) -> Result<Config, String> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match (&self.config_file, &self.context) {
            (Some(file), _) => {
                let file = Kubeconfig::read_from(file).map_err(|problem| words(&problem))?;
                Config::from_custom_kubeconfig(file, &options).await
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await,
            (None, None) => return Config::infer().await.map_err(|problem| words(&problem)),
        };
        config.map_err(|problem| words(&problem))
    }
}

/// Whether it may be a part of a name between dots.
pub(crate) fn is_label(label: &str) -> bool {
    let mut characters = label.chars();
    let is_outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    label.starts_with(is_outer)
        && label.ends_with(is_outer)
        && characters.all(|c| is_outer(c) || c == '-')
}

/// The name of this machine, if it has one; in a pod, the pod's.
pub(crate) fn machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The client asks rustls for the one implementation that is linked. With the stores of object storage there are two,
/// of which none is chosen.
fn choose_cryptography() {
    // Somebody may have chosen before: then that is the one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What is wrong, in words for people: those of the server, if it has some.
pub(crate) fn said(problem: Error) -> String {
    if let Error::Api(status) = &problem
        && !status.message.is_empty()
    {
        return status.message.clone();
    }
    words(&problem)
}
