//! The options that say who is let in.

use super::table::{
    ALLOW_INSECURE, CLUSTER_ID, INTERNAL_CA, INTERNAL_CERTIFICATE, INTERNAL_CRL, INTERNAL_ENABLED,
    INTERNAL_KEY, INTERNAL_NAME, REST_CA, REST_CERTIFICATE, REST_CLIENTS, REST_CRL, REST_ENABLED,
    REST_HOSTS, REST_KEY, TOKENS,
};
use super::{JwtOptions, SHELL_OPTIONS, Shell};
use crate::security::Hosts;
use std::path::PathBuf;
use taskmanager::tls::{ClusterName, Credentials};

/// Who is let in, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// What is shown to TaskManagers, and asked of them; everything is in the clear without it.
    pub internal: Option<Credentials>,
    /// What is shown to clients; everything is in the clear without it.
    pub rest: Option<RestTls>,
    /// The file of the tokens of which a client has to have one.
    pub tokens: Option<PathBuf>,
    /// The JSON Web Tokens that let in a client, too.
    pub jwt: Option<JwtOptions>,
    /// By which other names than its own REST may be called, where nobody has a token.
    pub hosts: Vec<String>,
    /// Whether other machines are let in without any of it.
    pub allow_insecure: bool,
}

/// TLS of REST: files, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestTls {
    /// The certificate, and those that lead from there to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// What makes a client's certificate count, if it has to have one.
    pub clients: Option<ClientCertificates>,
}

/// Which certificates of clients count: files, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The authorities that sign them.
    pub authorities: PathBuf,
    /// The lists of those that they have revoked.
    pub revoked: Option<PathBuf>,
}

impl Security {
    /// Whether strangers on the network can neither listen to clients nor be taken for them.
    pub(super) fn guards_rest(&self) -> bool {
        let clients = self.rest.as_ref().map(|tls| tls.clients.is_some());
        let has_tokens = self.tokens.is_some() || self.jwt.is_some();
        self.allow_insecure || clients.is_some_and(|clients| clients || has_tokens)
    }

    /// The same of TaskManagers.
    pub(super) fn guards_rpc(&self) -> bool {
        self.allow_insecure || self.internal.is_some()
    }
}

impl Shell<'_> {
    pub(super) fn security(&self, problems: &mut Vec<String>) -> Security {
        let allow_insecure = self.flag(ALLOW_INSECURE, problems);
        Security {
            internal: self.internal(problems),
            rest: self.rest_tls(problems),
            tokens: self.file(TOKENS),
            jwt: self.jwt(allow_insecure, problems),
            hosts: self.hosts(problems),
            allow_insecure,
        }
    }

    fn hosts(&self, problems: &mut Vec<String>) -> Vec<String> {
        let names = self.text(REST_HOSTS).split(',').map(str::trim);
        let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
        let wrong = names.iter().filter(|name| !Hosts::is_name(name));
        problems.extend(wrong.map(|name| {
            let name = name.escape_debug();
            format!("{REST_HOSTS}: `{name}` is not the name of a host; give it without scheme and port, or * for any")
        }));
        names.into_iter().map(str::to_owned).collect()
    }

    fn internal(&self, problems: &mut Vec<String>) -> Option<Credentials> {
        if !self.flag(INTERNAL_ENABLED, problems) {
            return None;
        }
        let named = match self.text(INTERNAL_NAME).trim() {
            "" => self.text(CLUSTER_ID).trim().trim_matches('/'),
            name => name,
        };
        let cluster = ClusterName::new(named);
        if !self.is_said(INTERNAL_NAME) && !self.is_said(CLUSTER_ID) {
            // Two clusters that never said who they are would be one, if one authority signs for both.
            problems.push(format!(
                "{INTERNAL_NAME}: has to be set for {INTERNAL_ENABLED}, or {CLUSTER_ID} has to: by it, members tell \
                 their cluster from others whose certificates the same authority signs"
            ));
        } else if cluster.is_none() {
            let named = named.escape_debug();
            problems.push(format!(
                "{INTERNAL_NAME}: `{named}` is not a DNS name, so no certificate can have it; set one of letters, \
                 digits, hyphens and dots"
            ));
        }
        let keys = [INTERNAL_CERTIFICATE, INTERNAL_KEY, INTERNAL_CA];
        let [certificate, key, authorities] = self.files(INTERNAL_ENABLED, keys, problems)?;
        Some(Credentials {
            certificate,
            key,
            authorities,
            revoked: self.file(INTERNAL_CRL),
            cluster: cluster?,
        })
    }

    fn rest_tls(&self, problems: &mut Vec<String>) -> Option<RestTls> {
        let asks_clients = self.flag(REST_CLIENTS, problems);
        if !self.flag(REST_ENABLED, problems) {
            if asks_clients {
                problems.push(format!("{REST_CLIENTS}: needs {REST_ENABLED}, too"));
            }
            return None;
        }
        let keys = [REST_CERTIFICATE, REST_KEY];
        let files = self.files(REST_ENABLED, keys, problems);
        let clients = match asks_clients {
            true => Some(self.files(REST_CLIENTS, [REST_CA], problems)),
            false => None,
        };
        let [certificate, key] = files?;
        Some(RestTls {
            certificate,
            key,
            clients: clients.flatten().map(|[authorities]| ClientCertificates {
                authorities,
                revoked: self.file(REST_CRL),
            }),
        })
    }

    /// Whether it has another value than the default.
    pub(super) fn is_said(&self, key: &'static str) -> bool {
        let spec = SHELL_OPTIONS.iter().find(|spec| spec.key == key);
        let default = spec.map_or("", |spec| spec.default);
        self.text(key).trim() != default
    }

    /// These options mean nothing without another one.
    pub(super) fn need(
        &self,
        needed: &'static str,
        keys: &[&'static str],
        problems: &mut Vec<String>,
    ) {
        let alone = keys.iter().filter(|key| self.is_said(key));
        problems.extend(alone.map(|key| format!("{key}: needs {needed}, too")));
    }

    /// A file that may be named.
    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        let named = self.text(key).trim();
        (!named.is_empty()).then(|| named.into())
    }

    /// The files that an option needs; nothing if one is not named.
    fn files<const N: usize>(
        &self,
        enabled: &'static str,
        keys: [&'static str; N],
        problems: &mut Vec<String>,
    ) -> Option<[PathBuf; N]> {
        let missing = keys.iter().filter(|key| self.text(key).trim().is_empty());
        let known = problems.len();
        problems.extend(missing.map(|key| format!("{key}: has to name a file for {enabled}")));
        (problems.len() == known).then(|| keys.map(|key| self.text(key).trim().into()))
    }

    fn flag(&self, key: &'static str, problems: &mut Vec<String>) -> bool {
        let text = self.text(key).trim();
        match text.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                let text = text.escape_debug();
                problems.push(format!("{key}: `{text}` is neither true nor false"));
                false
            }
        }
    }
}
