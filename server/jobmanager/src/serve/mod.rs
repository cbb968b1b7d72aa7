//! A running JobManager: what `main`, `local` and the tests all start.
//!
//! [`Server::start`] takes the ports; [`Server::run`] stands by and leads by turns until it is told to stop or
//! cannot go on. To lead is to be elected, to open the store, to mint an epoch and to rebuild the coordinator.
//! Without an election there is one term, which begins with the start and whose end is the server's.

mod http;
mod net;
mod security;
mod term;

use crate::discard::{CheckpointStorage, StorageProblem};
use crate::driver::{DriverEnd, panic_words};
use crate::gate::{Gate, Scheme};
use crate::grpc::SessionService;
use crate::logs::Logs;
use crate::options::Options;
use crate::rest::front;
use crate::security::{Guard, Hosts};
use crate::store::StoreError;
use crate::traces::Exporter;
use axum::middleware::from_fn_with_state;
use jobmanager_core::jobmanager::RecoverError;
use net::{Port, Shares, end_in_time, serve_rest, serve_rpc, stopped_by_itself};
use security::rest_tls;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use taskmanager::descriptors;
use taskmanager::tls::{Called, Credentials, FileProblem, Fresh, Incoming};
use term::{Addresses, Others, Terms};
use tokio::sync::watch;
use tokio::task::JoinError;
use tracing::info;

/// Why a JobManager does not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {problem}; choose another address with {changed_by}")]
    Listen {
        /// The address.
        address: String,
        /// The system's words.
        problem: String,
        /// The flag and the keys that change it.
        changed_by: &'static str,
    },
    /// Other machines could use an address, and nothing would tell who they are.
    #[error(
        "{address} can be reached from other machines, and whoever reaches it would be let in: set {needs}, choose \
         another address with {changed_by}, or say --allow-insecure (security.allow-insecure=true) if the network is \
         to be trusted"
    )]
    Exposed {
        /// The address.
        address: String,
        /// What would have to be set.
        needs: &'static str,
        /// The flag and the keys that change it.
        changed_by: &'static str,
    },
    /// A certificate, a key or authorities.
    #[error("TLS cannot be used: {0}")]
    Tls(FileProblem),
    /// The file of tokens, or of the keys of tokens.
    #[error("the tokens cannot be used: {0}")]
    Tokens(FileProblem),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint storage cannot be used.
    #[error(transparent)]
    Checkpoints(#[from] StorageProblem),
    /// The records contradict each other.
    #[error(
        "{store} is damaged: {problem}; restore it from a copy, or choose another one with --data-dir or --store to start without its jobs"
    )]
    Recover {
        /// Where the records are.
        store: String,
        /// What contradicts.
        problem: RecoverError,
    },
    /// The coordinator ended by itself.
    #[error(transparent)]
    Ended(#[from] DriverEnd),
    /// A server loop ended by itself.
    #[error("the {service} server stopped: {problem}")]
    Stopped {
        /// Which.
        service: &'static str,
        /// Why.
        problem: String,
    },
}

/// Where a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// REST, for clients.
    pub rest: SocketAddr,
    /// How clients speak to it.
    pub rest_scheme: Scheme,
    /// gRPC, for TaskManagers.
    pub rpc: SocketAddr,
}

/// A JobManager that has its ports, and answers as soon as it is [run](Server::run).
pub struct Server {
    bound: Bound,
    rest: Incoming,
    rpc: Incoming,
    guard: Guard,
    terms: Terms,
    /// Sends traces.
    exporter: Option<Exporter>,
}

/// Serves until `shutdown` is ready: [`Server::start`] and [`Server::run`] in one.
///
/// # Errors
/// It cannot start, or cannot go on.
pub async fn serve(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    Server::start(options).await?.run(shutdown).await
}

impl Server {
    /// Takes the ports, and if there is no election, the leadership.
    ///
    /// # Errors
    /// A port is in use; the store or the checkpoint storage cannot be used.
    pub async fn start(options: Options) -> Result<Server, ServeError> {
        let security = options.security.clone();
        let rest_tls = security.rest.as_ref().map(rest_tls).transpose();
        let rest_tls = rest_tls.map_err(ServeError::Tls)?;
        let internal = security.internal.as_ref();
        let rpc_tls = internal.map(Credentials::server).transpose();
        let rpc_tls = rpc_tls.map_err(ServeError::Tls)?;
        let hosts = Hosts::these([security.hosts, options.rest.names()].concat());
        let guard = Guard::new(security.tokens.as_deref(), security.jwt.as_ref(), hosts);
        let guard = guard.map_err(ServeError::Tokens)?;
        let shown = [&rest_tls, &rpc_tls].into_iter().flatten().cloned();
        let shown: Arc<[Fresh<Called>]> = shown.collect();
        let reloads = shown.iter().map(Fresh::reloads).chain(guard.reloads());
        let reloads = reloads.collect();
        let logs = Logs::new(internal, security.allow_insecure).map_err(ServeError::Tls)?;
        let cluster = security.internal.map(|internal| internal.cluster);
        let rest = Port::take(&options.rest).await?;
        let rpc = Port::take(&options.rpc).await?;
        let bound = Bound {
            rest: rest.address,
            rest_scheme: match rest_tls {
                Some(_) => Scheme::Https,
                None => Scheme::Http,
            },
            rpc: rpc.address,
        };
        let addresses = Addresses {
            rest: rest.reached,
            rest_scheme: bound.rest_scheme,
            rpc: rpc.reached,
        };
        let collector = options.traces.as_ref();
        let exporter = collector.map(|it| Exporter::start(it, addresses.rest.clone()));
        let exporter = exporter.transpose().map_err(ServeError::Tls)?;
        let others = Others {
            reloads,
            shown,
            logs,
            spans: exporter.as_ref().map(Exporter::spans),
        };
        // Before anybody depends on this one: a leader that finds its bucket away later leads nevertheless.
        let storage = CheckpointStorage::open(&options.cluster.checkpoint_storage).await?;
        let mut terms = Terms::new(options, storage, addresses, guard.clone(), others)?;
        if !terms.has_rivals() {
            terms.lead_alone().await?;
        }
        let shares = Shares::of(descriptors::limit());
        Ok(Server {
            bound,
            rest: Incoming::new(rest.listener, rest_tls, None, shares.rest),
            rpc: Incoming::new(rpc.listener, rpc_tls, cluster, shares.rpc),
            guard,
            terms,
            exporter,
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// Who leads.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.terms.gate()
    }

    /// Serves until `shutdown` is ready. Then the lease is given up, sessions end, open requests are answered,
    /// and the store is closed, within a few seconds.
    ///
    /// # Errors
    /// It cannot go on: the store is broken, or an invariant is, or, without an election, another process
    /// leads.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (stop, stopped) = watch::channel(());
        let gate = self.terms.gate();
        let service = SessionService::server(gate.clone());
        let front = from_fn_with_state(self.guard, front::check);
        let router = gate.router().layer(front);
        let mut rest = serve_rest(self.rest, router, stopped.clone());
        let mut rpc = serve_rpc(self.rpc, service, stopped);
        info!(rest = %self.bound.rest, rpc = %self.bound.rpc, "ready");
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            error = self.terms.serve() => Err(error),
            end = &mut rest => Err(stopped_by_itself("REST", end)),
            end = &mut rpc => Err(stopped_by_itself("gRPC", end)),
        };
        info!("shutting down");
        // First of all, so that another one leads while the last requests are answered.
        self.terms.end().await;
        // With it goes what those wait for who are kept waiting for a leader.
        drop(self.terms);
        drop(stop);
        for task in [rest, rpc] {
            end_in_time(task).await;
        }
        if let Some(exporter) = self.exporter {
            exporter.close().await;
        }
        outcome
    }
}

fn join_words(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic_words(panic.as_ref()),
        Err(_) => "its task was canceled".to_owned(),
    }
}

#[cfg(test)]
mod tests;
