//! Clients: each wants one thing, asks for it, and asks again until it is answered, or does not wait.

use crate::marks::Mark;
use crate::plan::crowd::{STORM, Watcher};
use crate::plan::job::{JobPlan, OperatorPlan};
use crate::plan::options::{MS, Micros, SECOND};
use crate::plan::{DemandPlan, Sight, When};
use crate::tape::Stream;
use crate::trace::{Lane, Parcel};
use crate::world::World;
use crate::world::event::Event;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{JobId, RequestId};
use jobmanager_core::jobmanager::{Command, Coordinator, Input, Reply};
use jobmanager_core::savepoint::Savepoint;
use jobmanager_core::state::JobStatus;
use std::collections::BTreeMap;
use std::sync::Arc;

/// In how many of a thousand answers one is lost while there are faults.
const LOST_ANSWERS: u64 = 50;

/// What kind of a client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It wants a job to be there, or to end.
    Ordinary,
    /// It submits another graph under the id of a job that is known by then.
    Conflicting,
    /// It cancels a job that nobody submitted.
    Stranger,
    /// It is many, who all ask once.
    Storm,
    /// It waits until it sees this of a job.
    Watching(Sight),
}

/// What a client wants.
pub(crate) struct Wish {
    pub(crate) command: Command,
    kind: Kind,
    /// It asks once and does not wait.
    hasty: bool,
    asked: bool,
    /// What it was told in the end.
    pub(crate) answer: Option<Reply>,
}

impl Wish {
    /// That it has no answer, in words.
    pub(crate) fn unanswered(&self) -> String {
        match &self.command {
            Command::Submit { graph, .. } => {
                format!("submission of {} is not answered", graph.id())
            }
            Command::Cancel(job) => format!("cancellation of {job} is not answered"),
            Command::Rescale { job, .. } => format!("rescale of {job} is not answered"),
            Command::Checkpoint { job, .. } => format!("checkpoint of {job} is not answered"),
            Command::Savepoint(wanted) => format!("savepoint {wanted:?} is not answered"),
        }
    }

    fn job(&self) -> JobId {
        job_of(&self.command)
    }

    /// Whether it is owed an answer.
    fn waits(&self) -> bool {
        let expects = match self.kind {
            Kind::Ordinary | Kind::Stranger => true,
            // They may never have had a reason to ask.
            Kind::Conflicting | Kind::Watching(_) => self.asked,
            Kind::Storm => false,
        };
        expects && !self.hasty && self.answer.is_none()
    }
}

impl World {
    /// Plans who will want what, and when.
    pub(crate) fn plan_wishes(&mut self) {
        let clients = self.options.clients.clone();
        let safety = self.options.faults.safety;
        for at in 0..self.options.jobs.len() {
            let plan = self.options.jobs[at].clone();
            let Some(graph) = self.graph(&plan) else {
                return;
            };
            let submit = Command::Submit { graph, from: None };
            self.wish(clients.submit[at], submit.clone(), Kind::Ordinary);
            for _ in 0..clients.repeats {
                let when = self.decisions.range(Stream::Clients, 0..=safety);
                self.wish(when, submit.clone(), Kind::Ordinary);
            }
            if let Some(when) = clients.cancel[at] {
                self.wish(when, Command::Cancel(plan.id), Kind::Ordinary);
            }
            self.plan_crowd(&plan, at, submit);
        }
        self.plan_savepoints();
        self.plan_rescales();
        self.plan_demands();
        for number in 0..self.options.crowd.strangers {
            let when = self.decisions.range(Stream::Crowd, 0..=safety);
            let stranger = Command::Cancel(JobId((u128::from(number) << 64) | 0xdead));
            self.wish(when, stranger, Kind::Stranger);
        }
    }

    fn plan_savepoints(&mut self) {
        for plan in self.options.savepoints.clone() {
            let command = Command::Savepoint(plan.request);
            match plan.when {
                When::At(at) => {
                    for time in 0..=plan.repeats {
                        self.wish(at + time * SECOND, command.clone(), Kind::Ordinary);
                    }
                }
                When::Sees(sight) => {
                    let wish = self.new_wish(command, Kind::Watching(sight), false);
                    self.wishes.push(wish);
                }
            }
        }
    }

    fn plan_demands(&mut self) {
        for plan in self.options.demands.clone() {
            let DemandPlan { job, trigger, .. } = plan;
            let command = Command::Checkpoint { job, trigger };
            for time in 0..=u64::from(plan.again) {
                self.wish(plan.at + time * SECOND, command.clone(), Kind::Ordinary);
            }
        }
    }

    fn plan_rescales(&mut self) {
        for plan in self.options.rescales.clone() {
            let command = Command::Rescale {
                job: plan.job,
                bounds: plan.bounds,
            };
            self.wish(plan.at, command, Kind::Ordinary);
        }
    }

    /// A client submits a job that starts from this savepoint.
    pub(crate) fn submit_from(&mut self, at: Micros, plan: &JobPlan, from: Arc<Savepoint>) {
        if let Some(graph) = self.graph(plan) {
            let from = Some(from);
            self.wish(at, Command::Submit { graph, from }, Kind::Ordinary);
        }
    }

    /// The graph of a plan; without one the run has failed.
    fn graph(&mut self, plan: &JobPlan) -> Option<Arc<JobGraph>> {
        match JobGraph::validate(plan.spec(), &BTreeMap::new()) {
            Ok(graph) => Some(Arc::new(graph)),
            Err(problems) => {
                self.fail("a_drawn_job_is_valid", format!("{problems:?}"));
                None
            }
        }
    }

    fn plan_crowd(&mut self, plan: &JobPlan, at: usize, submit: Command) {
        let crowd = self.options.crowd.clone();
        let safety = self.options.faults.safety;
        if let Some(other) = self.graph(&another(plan)) {
            for _ in 0..crowd.conflicts {
                let when = self.decisions.range(Stream::Crowd, 0..=safety);
                let other = Command::Submit {
                    graph: other.clone(),
                    from: None,
                };
                self.wish(when, other, Kind::Conflicting);
            }
        }
        let canceled = self.options.clients.cancel[at].is_some();
        for _ in 0..if canceled { crowd.cancels } else { 0 } {
            let when = self.decisions.range(Stream::Crowd, 0..=safety);
            self.wish(when, Command::Cancel(plan.id), Kind::Ordinary);
        }
        if crowd.storm && at == 0 {
            let when = self.options.clients.submit[at];
            self.wish(when, submit.clone(), Kind::Storm);
        }
        for Watcher {
            job,
            status,
            cancels,
        } in crowd.watchers
        {
            if job == plan.id {
                let command = if cancels {
                    Command::Cancel(job)
                } else {
                    submit.clone()
                };
                self.wishes.push(self.new_wish(
                    command,
                    Kind::Watching(Sight::Status(status)),
                    false,
                ));
            }
        }
    }

    fn new_wish(&self, command: Command, kind: Kind, hasty: bool) -> Wish {
        Wish {
            command,
            kind,
            hasty,
            asked: false,
            answer: None,
        }
    }

    fn wish(&mut self, at: Micros, command: Command, kind: Kind) {
        // The first client of a job does not go before it is answered: the job is to be there.
        let first = self
            .wishes
            .iter()
            .all(|wish| wish.job() != job_of(&command));
        let hasty = self
            .decisions
            .chance(Stream::Crowd, self.options.crowd.hasty);
        self.queue.push(at, Event::Client(self.wishes.len()));
        let wish = self.new_wish(command, kind, hasty && !first);
        self.wishes.push(wish);
    }

    /// A client asks, unless it has been answered, and will look again.
    pub(crate) fn client_acts(&mut self, wish: usize) {
        let again = self.now + self.options.clients.patience;
        let (kind, job) = (self.wishes[wish].kind, self.wishes[wish].job());
        match kind {
            Kind::Storm => {
                for _ in 0..STORM {
                    let latency = self.decisions.below(Stream::Crowd, 2 * MS);
                    self.ask(wish, latency);
                }
                return;
            }
            // Before the job is known, its graph would be taken for the job's.
            Kind::Conflicting if !self.is_submitted(job) => {
                if !self.calm {
                    self.queue.push(again, Event::Client(wish));
                }
                return;
            }
            Kind::Conflicting | Kind::Ordinary | Kind::Stranger | Kind::Watching(_) => {}
        }
        if self.wishes[wish].answer.is_some() {
            return;
        }
        let latency = self.network_latency();
        if !self.wishes[wish].hasty {
            self.queue.push(again, Event::Client(wish));
            self.ask(wish, latency);
        } else if !self.wishes[wish].asked {
            self.marks.hit(Mark::ClientGaveUp);
            self.ask(wish, latency);
        }
    }

    fn ask(&mut self, wish: usize, latency: Micros) {
        let number = u64::try_from(self.requests.len()).expect("requests are countable");
        let request = RequestId(number);
        self.requests.insert(request, wish);
        self.show_request(request, wish);
        self.wishes[wish].asked = true;
        let at = self.now + latency;
        self.queue.push(at, Event::Request(request));
    }

    /// Whether any client was told that this job is there.
    fn is_submitted(&self, job: JobId) -> bool {
        let told = [
            Some(Reply::Submitted(job)),
            Some(Reply::AlreadySubmitted(job)),
        ];
        self.wishes.iter().any(|wish| told.contains(&wish.answer))
    }

    /// A job shows this: whoever watches for it acts.
    pub(crate) fn clients_see(&mut self, job: JobId, sight: Sight) {
        if self.calm {
            return;
        }
        for at in 0..self.wishes.len() {
            let wish = &self.wishes[at];
            if wish.kind == Kind::Watching(sight) && wish.job() == job && !wish.asked {
                self.wishes[at].asked = true;
                self.queue.push(self.now, Event::Client(at));
            }
        }
    }

    pub(crate) fn request_arrives(&mut self, request: RequestId) {
        let asked = self.astray().unwrap_or(self.current);
        // A process that does not lead says so, one that stands still says nothing: the client asks again.
        let Some(instance) = asked.filter(|asked| !self.stands_still(*asked)) else {
            self.gets_lost(|| Parcel::Request(request));
            return;
        };
        self.arrives_at(Lane::JobManager(instance.0), || Parcel::Request(request));
        let wish = &self.wishes[self.requests[&request]];
        let (command, job) = (wish.command.clone(), wish.job());
        let node = self.jobmanagers.get(&instance);
        let coordinator = node.and_then(|node| node.coordinator.as_ref());
        if let Some(status) = coordinator.and_then(|c| status(c, job)) {
            let mark = match command {
                Command::Submit { .. } => Mark::of_submit(status),
                Command::Cancel(_) => Mark::of_cancel(status),
                Command::Rescale { .. } => Some(Mark::RescaleWanted),
                Command::Checkpoint { .. } => Some(Mark::CheckpointDemanded),
                Command::Savepoint(_) => Mark::of_savepoint(status),
            };
            if let Some(mark) = mark {
                self.marks.hit(mark);
            }
        }
        self.jobmanager_input(instance, &Input::Command { request, command });
    }

    /// A coordinator answers.
    pub(crate) fn reply(&mut self, request: RequestId, reply: Reply) {
        if matches!(reply, Reply::Overloaded(_)) {
            self.marks.hit(Mark::Overloaded);
        }
        let Some(wish) = self.requests.get(&request).copied() else {
            // Somebody asked before a recording ended.
            self.show_answer(request, &reply);
            return;
        };
        if self.wishes[wish].kind == Kind::Storm {
            return;
        }
        if !self.calm && self.decisions.chance(Stream::Clients, LOST_ANSWERS) {
            self.gets_lost(|| Parcel::Answer(request));
            return;
        }
        let at = self.now + self.network_latency() + MS;
        self.queue.push(at, Event::Answer(request, reply));
    }

    pub(crate) fn answer_arrives(&mut self, request: RequestId, reply: Reply) {
        self.show_answer(request, &reply);
        let at = self.requests[&request];
        self.check_answer(at, &reply);
        let stranger = self.wishes[at].kind == Kind::Stranger;
        match &reply {
            Reply::AlreadySubmitted(_) => self.marks.hit(Mark::DuplicateSubmit),
            Reply::AlreadyEnded(..) => self.marks.hit(Mark::CancelAfterEnd),
            Reply::UnknownJob(_) if stranger => self.marks.hit(Mark::UnknownJobCanceled),
            Reply::UnknownJob(_) | Reply::Overloaded(_) => return,
            Reply::Conflict(_) => self.marks.hit(Mark::ConflictRefused),
            Reply::IsEnding(_) => self.marks.hit(Mark::SavepointOfAnEndingJob),
            Reply::Submitted(_)
            | Reply::CancelAccepted(_)
            | Reply::RescaleAccepted(_)
            | Reply::CheckpointAccepted(..)
            | Reply::SavepointAccepted(..)
            | Reply::CannotRescale(..)
            | Reply::CannotRestore(..)
            | Reply::TooManySlots(..)
            | Reply::WithoutCheckpoints(_) => {}
        }
        self.wishes[at].answer.get_or_insert(reply);
    }

    /// What a client must never be told.
    fn check_answer(&mut self, wish: usize, reply: &Reply) {
        let (kind, job) = (self.wishes[wish].kind, self.wishes[wish].job());
        let detail = format!("job {job}: {reply:?}");
        let conflict = matches!(reply, Reply::Conflict(_));
        let overloaded = matches!(reply, Reply::Overloaded(_));
        if matches!(reply, Reply::CannotRescale(..)) {
            self.fail("a_valid_parallelism_is_accepted", detail);
            return;
        }
        if matches!(reply, Reply::TooManySlots(..)) {
            self.fail("a_job_gets_the_slots_that_one_job_may_have", detail);
            return;
        }
        if matches!(reply, Reply::CannotRestore(..)) {
            self.fail("a_job_may_start_from_what_it_stopped_with", detail);
            return;
        }
        match kind {
            Kind::Conflicting if !conflict && !overloaded => {
                self.fail("another_graph_never_takes_the_place_of_a_job", detail);
            }
            Kind::Stranger if *reply != Reply::UnknownJob(job) && !overloaded => {
                self.fail("a_job_that_nobody_submitted_is_unknown", detail);
            }
            Kind::Ordinary | Kind::Watching(_) if conflict => {
                self.fail("the_same_graph_is_no_conflict", detail);
            }
            Kind::Conflicting
            | Kind::Stranger
            | Kind::Ordinary
            | Kind::Watching(_)
            | Kind::Storm => {}
        }
    }

    /// Whether a client was told that this job will be canceled.
    pub(crate) fn is_canceled(&self, job: JobId) -> bool {
        let accepted = Some(Reply::CancelAccepted(job));
        self.wishes.iter().any(|wish| wish.answer == accepted)
    }

    /// Whether any client ever asked to cancel this job.
    pub(crate) fn was_asked_to_cancel(&self, job: JobId) -> bool {
        let cancel = Command::Cancel(job);
        let mut wishes = self.wishes.iter();
        wishes.any(|wish| wish.asked && wish.command == cancel)
    }

    /// The wishes that were never answered.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Wish> {
        self.wishes.iter().filter(|wish| wish.waits())
    }
}

fn job_of(command: &Command) -> JobId {
    match command {
        Command::Submit { graph, .. } => graph.id(),
        Command::Cancel(job) => *job,
        Command::Rescale { job, .. } | Command::Checkpoint { job, .. } => *job,
        Command::Savepoint(wanted) => wanted.job,
    }
}

fn status(coordinator: &Coordinator, job: JobId) -> Option<JobStatus> {
    let mut jobs = coordinator.lines();
    Some(jobs.find(|known| known.id == job)?.status)
}

/// A job of the same id that computes something else.
fn another(plan: &JobPlan) -> JobPlan {
    let mut other = plan.clone();
    for vertex in &mut other.vertices {
        if let OperatorPlan::Source { keys, .. } = &mut vertex.operator {
            *keys += 1;
        }
    }
    other
}
