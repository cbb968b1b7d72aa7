//! Election by a Lease of Kubernetes, `coordination.k8s.io/v1`, with the fields and by the rules of client-go, the
//! library of Kubernetes' own components: `kubectl get lease` tells who leads. Where the leader answers is in an
//! annotation.
//!
//! No clock but our own is believed: a lease is over when it was not seen to change for as long as it says that it
//! lasts. The times in it are for people. Every write names the version of what it replaces, so of several
//! candidates one succeeds.

use super::leased::{Seat, Service};
use super::{ClusterId, Leader, LeaseTiming, holder_name, whole_seconds};
use crate::kubernetes::{KubernetesAccess, is_label, machine, said};
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::{Api, Error};
use std::fmt;
use std::time::{Duration, Instant};

const LEADER: &str = "jobmanager/leader";
/// How often a write is tried again that something else was written before.
const TRIES: usize = 3;

/// Where a Lease is.
#[derive(Debug, Clone)]
pub struct KubernetesPlace {
    access: KubernetesAccess,
    name: String,
}

impl KubernetesPlace {
    /// The Lease of this cluster, `jobmanager.NAME`.
    ///
    /// # Errors
    /// Kubernetes allows no such name: the words for people.
    pub fn new(access: KubernetesAccess, cluster: &ClusterId) -> Result<KubernetesPlace, String> {
        let name = format!("jobmanager.{}", cluster.in_paths().replace('/', "."));
        if !name.split('.').all(is_label) {
            return Err(format!(
                "`{}`: a Lease has to have a name of lower-case letters, digits and `-` in the middle of words, \
                 with `/` or `.` between words",
                cluster.as_str()
            ));
        }
        Ok(KubernetesPlace { access, name })
    }
}

/// See the module.
#[derive(Debug)]
pub struct KubernetesLease {
    place: KubernetesPlace,
    timing: LeaseTiming,
    /// Who this is, for people and for us: the machine, and another number for every life of the process.
    holder: String,
    api: Option<Api<Lease>>,
    watched: Option<Watched>,
    /// The Lease as it was seen last, and since when it has been so.
    seen: Option<(Lease, Instant)>,
}

struct Watched(BoxStream<'static, Result<WatchEvent<Lease>, Error>>);

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl KubernetesLease {
    pub(super) fn new(place: KubernetesPlace, timing: LeaseTiming) -> KubernetesLease {
        let machine = machine().unwrap_or_else(|| "jobmanager".to_owned());
        KubernetesLease {
            place,
            timing,
            holder: format!("{machine}_{}", holder_name()),
            api: None,
            watched: None,
            seen: None,
        }
    }

    async fn api(&mut self) -> Result<Api<Lease>, String> {
        if let Some(api) = &self.api {
            return Ok(api.clone());
        }
        let (client, namespace) = self.place.access.client().await?;
        let api = Api::namespaced(client, &namespace);
        self.api = Some(api.clone());
        Ok(api)
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == Some(&self.holder)
    }

    /// Remembers what the Lease is like, and tells how long it lasts if it does not change.
    fn see(&mut self, lease: &Lease) -> Duration {
        let now = Instant::now();
        let since = match &self.seen {
            Some((seen, since)) if seen.spec == lease.spec => *since,
            Some(_) | None => now,
        };
        self.seen = Some((lease.clone(), since));
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = seconds.map_or(self.timing.duration, Duration::from_secs);
        (since + duration).saturating_duration_since(now)
    }

    /// The Lease as it is when we have it, from now on.
    fn held(&self, mut lease: Lease, leader: Option<&Leader>) -> Result<Lease, String> {
        let now = Some(MicroTime(Timestamp::now()));
        let is_new = !self.is_ours(&lease);
        let spec = lease.spec.get_or_insert_default();
        if is_new {
            spec.acquire_time.clone_from(&now);
            let before = spec.lease_transitions;
            spec.lease_transitions = Some(before.map_or(0, |before| before.saturating_add(1)));
        }
        spec.holder_identity = Some(self.holder.clone());
        let seconds = whole_seconds(self.timing.duration);
        spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
        spec.renew_time = now;
        let annotations = lease.metadata.annotations.get_or_insert_default();
        match leader {
            Some(leader) => {
                let leader =
                    serde_json::to_string(leader).map_err(|problem| problem.to_string())?;
                annotations.insert(LEADER.to_owned(), leader);
            }
            None => drop(annotations.remove(LEADER)),
        }
        Ok(lease)
    }

    /// Replaces the Lease for as long as we have it. False if we have not.
    async fn replace(
        &mut self,
        change: impl Fn(&Self, Lease) -> Result<Lease, String>,
    ) -> Result<bool, String> {
        let api = self.api().await?;
        let name = self.place.name.clone();
        for _ in 0..TRIES {
            let known = self.seen.take().map(|(lease, _)| lease);
            let lease = match known {
                Some(lease) => Some(lease),
                None => api.get_opt(&name).await.map_err(said)?,
            };
            let Some(lease) = lease.filter(|lease| self.is_ours(lease)) else {
                return Ok(false);
            };
            let changed = change(self, lease)?;
            match api.replace(&name, &PostParams::default(), &changed).await {
                Ok(lease) => {
                    self.seen = Some((lease, Instant::now()));
                    return Ok(true);
                }
                // By us, if an answer has not arrived, or by another one: it is looked at again.
                Err(Error::Api(status)) if status.is_conflict() => {}
                Err(Error::Api(status)) if status.is_not_found() => return Ok(false),
                Err(problem) => return Err(said(problem)),
            }
        }
        Err("others write into the Lease all the time".to_owned())
    }

    /// Writes that we have the Lease, and sees whether nobody was faster.
    async fn claim(&mut self, api: &Api<Lease>, found: Option<Lease>) -> Result<Seat, String> {
        let name = self.place.name.clone();
        let parameters = PostParams::default();
        let written = match found {
            Some(lease) => {
                let lease = self.held(lease, None)?;
                api.replace(&name, &parameters, &lease).await
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(name),
                    ..ObjectMeta::default()
                };
                let spec = None;
                let lease = self.held(Lease { metadata, spec }, None)?;
                api.create(&parameters, &lease).await
            }
        };
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(Seat::Ours)
            }
            Err(Error::Api(status)) if status.code == 409 || status.is_not_found() => {
                Ok(Seat::Theirs {
                    left: Some(Duration::ZERO),
                    leader: None,
                })
            }
            Err(problem) => Err(said(problem)),
        }
    }
}

impl Service for KubernetesLease {
    async fn take(&mut self) -> Result<Seat, String> {
        self.watched = None;
        let api = self.api().await?;
        let Some(lease) = api.get_opt(&self.place.name).await.map_err(said)? else {
            return self.claim(&api, None).await;
        };
        let left = self.see(&lease);
        if left.is_zero() || holder(&lease).is_none() || self.is_ours(&lease) {
            return self.claim(&api, Some(lease)).await;
        }
        let this_one = format!("metadata.name={}", self.place.name);
        let parameters = WatchParams::default().fields(&this_one);
        let version = lease.metadata.resource_version.as_deref();
        let watched = api.watch(&parameters, version.unwrap_or("0")).await;
        self.watched = Some(Watched(watched.map_err(said)?.boxed()));
        let annotations = lease.metadata.annotations.as_ref();
        let leader = annotations.and_then(|annotations| annotations.get(LEADER));
        Ok(Seat::Theirs {
            left: Some(left),
            leader: leader.and_then(|leader| serde_json::from_str(leader).ok()),
        })
    }

    async fn renew(&mut self, leader: Option<&Leader>) -> Result<bool, String> {
        self.replace(|this, lease| this.held(lease, leader)).await
    }

    /// As client-go does it: the Lease stays, and nobody has it.
    async fn resign(&mut self) -> Result<(), String> {
        self.watched = None;
        // Nobody knows what a call has done that was dropped.
        self.seen = None;
        let given_up = self.replace(|_, mut lease| {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            if let Some(annotations) = &mut lease.metadata.annotations {
                annotations.remove(LEADER);
            }
            Ok(lease)
        });
        given_up.await.map(drop)
    }

    async fn changed(&mut self) {
        while let Some(Watched(events)) = &mut self.watched {
            match events.next().await {
                Some(Ok(
                    WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Deleted(_),
                )) => return,
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                // Whoever waits looks again after a while.
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => self.watched = None,
            }
        }
        std::future::pending().await
    }

    fn disconnect(&mut self) {
        self.api = None;
        self.watched = None;
    }
}

impl fmt::Display for KubernetesLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease {}", self.place.name)
    }
}

/// Who has the Lease, if somebody has.
fn holder(lease: &Lease) -> Option<&String> {
    let holder = lease.spec.as_ref()?.holder_identity.as_ref();
    holder.filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named(cluster: &str) -> Result<String, String> {
        let cluster = ClusterId::new(cluster).unwrap();
        let place = KubernetesPlace::new(KubernetesAccess::default(), &cluster)?;
        Ok(place.name)
    }

    #[test]
    fn the_lease_is_named_after_the_cluster() {
        assert_eq!(named("/default").unwrap(), "jobmanager.default");
        assert_eq!(named("team-1/jobs").unwrap(), "jobmanager.team-1.jobs");
        for cluster in ["Team", "a_b", "a//b", "-a", "a-"] {
            let problem = named(cluster).unwrap_err();
            assert!(problem.contains("lower-case"), "{cluster}: {problem}");
        }
    }

    #[test]
    fn a_lease_lasts_from_when_a_change_of_it_was_seen_whatever_its_times_say() {
        let cluster = ClusterId::new("x").unwrap();
        let timing = LeaseTiming {
            duration: Duration::from_secs(3),
            renew_deadline: Duration::from_secs(2),
            retry_period: Duration::from_secs(1),
        };
        let place = KubernetesPlace::new(KubernetesAccess::default(), &cluster).unwrap();
        let theirs = KubernetesLease::new(place.clone(), timing);
        let mut ours = KubernetesLease::new(place, timing);
        let mut lease = theirs.held(Lease::default(), None).unwrap();
        let spec = lease.spec.as_mut().unwrap();
        assert_eq!(spec.lease_transitions, Some(0));
        spec.lease_duration_seconds = Some(3_600);
        spec.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        assert!(ours.see(&lease) > Duration::from_secs(3_500));
        let (_, since) = ours.seen.as_mut().unwrap();
        *since -= Duration::from_secs(3_600);
        lease.metadata.resource_version = Some("7".to_owned());
        assert_eq!(ours.see(&lease), Duration::ZERO);
        let renewed = theirs.held(lease, None).unwrap();
        assert!(ours.see(&renewed) > Duration::ZERO);
        let taken = ours.held(renewed, None).unwrap();
        assert_eq!(taken.spec.unwrap().lease_transitions, Some(1));
    }
}
