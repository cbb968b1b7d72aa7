//! Which pods of TaskManagers there are: all of them in a list, and from then on each change, until changes are missed
//! and there is another list.

use super::calls::in_time;
use super::place::PodNames;
use super::status::{Stage, stage};
use crate::kubernetes::said;
use crate::workers::{SHORTEST_PAUSE, longer};
use futures::stream::StreamExt;
use jobmanager_core::id::WorkerId;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, warn};

/// How many pods are asked for at once.
const PAGE: u32 = 500;
/// After how many seconds a watch is begun anew, so that a connection that is lost in silence is noticed.
const WATCH_SECONDS: u32 = 60;
/// The pause between two watches.
const BETWEEN: Duration = Duration::from_millis(100);

/// What is seen of pods.
#[derive(Debug)]
pub(super) enum Seen {
    /// These there are, and no others.
    All(Vec<(WorkerId, Stage)>),
    /// There is this one.
    One(WorkerId, Stage),
    /// It is not there any more.
    Gone(WorkerId),
}

/// Tells what is seen, for as long as somebody wants to know.
pub(super) async fn watch(api: Api<Pod>, names: PodNames, seen: mpsc::Sender<Seen>) {
    let mut pause = SHORTEST_PAUSE;
    while !seen.is_closed() {
        let problem = match list(&api, &names).await {
            Ok((all, version)) => {
                pause = SHORTEST_PAUSE;
                if seen.send(Seen::All(all)).await.is_err() {
                    return;
                }
                follow(&api, &names, version, &seen).await
            }
            Err(problem) => problem,
        };
        warn!(%problem, "the pods of TaskManagers cannot be watched");
        sleep(pause).await;
        pause = longer(pause);
    }
}

/// All pods, and the version from which on there may be others.
async fn list(
    api: &Api<Pod>,
    names: &PodNames,
) -> Result<(Vec<(WorkerId, Stage)>, String), String> {
    let mut all = Vec::new();
    let mut parameters = ListParams::default().labels(&names.selector()).limit(PAGE);
    loop {
        let page = in_time(api.list(&parameters)).await?.map_err(said)?;
        all.extend(page.items.iter().filter_map(|pod| view(pod, names)));
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => parameters = parameters.continue_token(&next),
            None => return Ok((all, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}

/// Tells each change after this version, until one may have been missed: why.
async fn follow(
    api: &Api<Pod>,
    names: &PodNames,
    mut version: String,
    seen: &mpsc::Sender<Seen>,
) -> String {
    let parameters = WatchParams::default()
        .labels(&names.selector())
        .timeout(WATCH_SECONDS);
    loop {
        let watched = in_time(api.watch(&parameters, &version)).await;
        let mut events = match watched {
            Ok(Ok(events)) => events.boxed(),
            Ok(Err(problem)) => return said(problem),
            Err(problem) => return problem,
        };
        while let Some(event) = events.next().await {
            let (pod, is_gone) = match event {
                Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => (pod, false),
                Ok(WatchEvent::Deleted(pod)) => (pod, true),
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                Ok(WatchEvent::Error(status)) => return status.message,
                Err(problem) => return said(problem),
            };
            version = pod.metadata.resource_version.clone().unwrap_or(version);
            let Some((worker, stage)) = view(&pod, names) else {
                continue;
            };
            debug!(%worker, ?stage, is_gone, "pod");
            let told = match is_gone {
                true => Seen::Gone(worker),
                false => Seen::One(worker, stage),
            };
            if seen.send(told).await.is_err() {
                return "nobody wants to know".to_owned();
            }
        }
        sleep(BETWEEN).await;
    }
}

/// What is seen of a pod, if it is that of a worker.
fn view(pod: &Pod, names: &PodNames) -> Option<(WorkerId, Stage)> {
    let worker = names.worker(pod.metadata.name.as_deref()?)?;
    Some((worker, stage(pod)))
}
