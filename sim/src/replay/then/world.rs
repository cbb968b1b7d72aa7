//! A world as it is at the end of a recording.

use super::plan::options;
use super::situation::{JobNow, Situation, TaskManagerNow};
use super::steps::Sequel;
use super::tasks::Placed;
use super::{Replayed, TheEnd};
use crate::checks::{Checks, PastJob};
use crate::nodes::clock::Clock;
use crate::nodes::jobmanager::JobManagerNode;
use crate::nodes::taskmanager::TaskManagerNode;
use crate::storage::store::{Fate, Store};
use crate::tape::Decisions;
use crate::trace::Trace;
use crate::world::World;
use crate::world::event::{Event, Instance};
use crate::world::network::Node;
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::TaskManagerDetails;
use jobmanager_core::taskmanager::WorkerConfig;

/// The recorded term of the JobManager.
const RECORDED: Instance = Instance(0);

impl World {
    /// The world in which a recording ends, at the time at which it does.
    pub(super) fn after(
        replayed: &Replayed,
        end: TheEnd,
        situation: &Situation,
        sequel: Sequel,
        decisions: Decisions,
        trace: Trace,
    ) -> World {
        let (epoch, cluster) = (replayed.header.epoch, replayed.header.config.clone());
        let slots = situation.taskmanagers.iter().map(|it| it.shown.slots);
        let slots = slots.collect();
        let options = options(cluster.clone(), situation.plans.clone(), slots);
        let past = past(situation);
        let mut checks = Checks::late(&options.jobs, epoch, &situation.stored.records, &past);
        let sessions = situation.taskmanagers.iter().map(|it| it.shown.session);
        checks.goes_on(RECORDED, epoch, sessions.clone());
        let mut world = World::empty(options, decisions, trace, checks);
        world.now = replayed.simulated;
        world.store = Store::holding(epoch, &situation.stored.records);
        world.next_session = sessions.map(|session| session.0).max().unwrap_or(0);
        world.next_instance = RECORDED.0 + 1;
        world.current = Some(RECORDED);
        let clock = Clock::showing(end.at, world.now);
        let candidate = world.is_led_by(RECORDED, clock);
        let node = JobManagerNode::leading(candidate, epoch, end.coordinator);
        world.jobmanagers.insert(RECORDED, node);
        for (at, step) in sequel.steps() {
            world.queue.push(at, Event::Sequel(step));
        }
        world.sequel = Some(sequel);
        for (index, taskmanager) in situation.taskmanagers.iter().enumerate() {
            world.joins(index, taskmanager, &situation.jobs, &cluster, clock, epoch);
        }
        if let Some((commit, ops)) = situation.stored.under_way.clone() {
            let write = world.store.send(RECORDED, epoch, commit, ops, Fate::Done);
            let at = world.now + world.store_latency();
            world.queue.push(at, Event::StoreApply(write));
        }
        for discard in end.surroundings.discards {
            let at = world.now + world.blob_latency();
            let ends = Event::Discarded {
                instance: RECORDED,
                discard,
                done: true,
            };
            world.queue.push(at, ends);
        }
        for (location, savepoint) in end.surroundings.savepoints {
            let at = world.now + world.blob_latency();
            let ends = Event::SavepointWritten {
                instance: RECORDED,
                location,
                savepoint,
                done: true,
            };
            world.queue.push(at, ends);
        }
        world
    }

    /// A TaskManager is there, registered, with its tasks.
    fn joins(
        &mut self,
        index: usize,
        taskmanager: &TaskManagerNow,
        jobs: &[JobNow],
        cluster: &ClusterConfig,
        clock: Clock,
        epoch: Epoch,
    ) {
        let TaskManagerNow { shown, operators } = taskmanager;
        let config = worker(shown, operators, cluster);
        let placed = Placed::new(index, &shown.id.0, jobs);
        let now = clock.reading(self.now);
        let (worker, starts) = placed.worker(config.clone(), cluster, epoch, now);
        let mut node = TaskManagerNode::living(index, config, worker, clock);
        let here = Node::TaskManager(node.process);
        let connection = self.network.open(here, Node::JobManager(RECORDED));
        node.is_connected(connection);
        let process = node.process;
        self.taskmanagers.push(node);
        let name = shown.id.0.clone();
        let silent = now.since(shown.last_heard).as_micros();
        let heard = u64::try_from(silent).ok();
        let heard = heard.and_then(|silent| self.now.checked_sub(silent));
        if let Some(leader) = self.jobmanagers.get_mut(&RECORDED) {
            leader.keeps(shown.session, connection, name, heard);
        }
        self.tasks_go_on(process, &placed, starts);
    }
}

/// What the observer is told of the jobs.
fn past(situation: &Situation) -> Vec<PastJob> {
    let job = |job: &JobNow| PastJob {
        graph: job.graph.clone(),
        last: job.last,
        deployed: job
            .tasks
            .iter()
            .filter(|task| task.was_deployed())
            .map(|task| {
                let on = task.shown.location.as_ref();
                let on = on.map(|(name, _)| name.0.clone()).unwrap_or_default();
                (task.id, task.shown.attempt, task.restored, on)
            })
            .collect(),
    };
    situation.jobs.iter().map(job).collect()
}

fn worker(
    shown: &TaskManagerDetails,
    operators: &[String],
    cluster: &ClusterConfig,
) -> WorkerConfig {
    WorkerConfig {
        taskmanager: shown.id.clone(),
        incarnation: shown.incarnation,
        slots: shown.slots,
        data_address: shown.data_address.clone(),
        hardware: shown.hardware,
        operators: operators.to_vec(),
        registration_initial: cluster.registration_initial,
        registration_max: cluster.registration_max,
    }
}
