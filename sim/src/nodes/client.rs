//! Clients: each wants one thing, asks for it, and asks again until it is answered.

use crate::marks::Mark;
use crate::plan::options::{MS, Micros};
use crate::tape::Stream;
use crate::trace::{Lane, Parcel};
use crate::world::World;
use crate::world::event::Event;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{JobId, RequestId};
use jobmanager_core::jobmanager::{Command, Input, Reply};
use std::collections::BTreeMap;
use std::sync::Arc;

/// In how many of a thousand answers one is lost while there are faults.
const LOST_ANSWERS: u64 = 50;

/// What a client wants.
pub(crate) struct Wish {
    pub(crate) command: Command,
    /// What it was told in the end.
    pub(crate) answer: Option<Reply>,
}

impl World {
    /// Plans who will want what, and when.
    pub(crate) fn plan_wishes(&mut self) {
        let clients = self.options.clients.clone();
        let safety = self.options.faults.safety;
        for at in 0..self.options.jobs.len() {
            let plan = self.options.jobs[at].clone();
            let graph = match JobGraph::validate(plan.spec(), &BTreeMap::new()) {
                Ok(graph) => Arc::new(graph),
                Err(problems) => {
                    self.fail("a_drawn_job_is_valid", format!("{problems:?}"));
                    return;
                }
            };
            self.wish(clients.submit[at], Command::Submit(graph.clone()));
            for _ in 0..clients.repeats {
                let when = self.decisions.range(Stream::Clients, 0..=safety);
                self.wish(when, Command::Submit(graph.clone()));
            }
            if let Some(when) = clients.cancel[at] {
                self.wish(when, Command::Cancel(plan.id));
            }
        }
    }

    fn wish(&mut self, at: Micros, command: Command) {
        self.queue.push(at, Event::Client(self.wishes.len()));
        self.wishes.push(Wish {
            command,
            answer: None,
        });
    }

    /// A client asks, unless it has been answered, and will look again.
    pub(crate) fn client_acts(&mut self, wish: usize) {
        if self.wishes[wish].answer.is_some() {
            return;
        }
        let number = u64::try_from(self.requests.len()).expect("requests are countable");
        let request = RequestId(number);
        self.requests.insert(request, wish);
        self.show_request(request, wish);
        let at = self.now + self.network_latency();
        self.queue.push(at, Event::Request(request));
        let again = self.now + self.options.clients.patience;
        self.queue.push(again, Event::Client(wish));
    }

    pub(crate) fn request_arrives(&mut self, request: RequestId) {
        let asked = self.astray().unwrap_or(self.current);
        // A process that does not lead says so, and the client asks again.
        let Some(instance) = asked else {
            self.gets_lost(|| Parcel::Request(request));
            return;
        };
        self.arrives_at(Lane::JobManager(instance.0), || Parcel::Request(request));
        let wish = self.requests[&request];
        let command = self.wishes[wish].command.clone();
        self.jobmanager_input(instance, Input::Command { request, command });
    }

    /// A coordinator answers.
    pub(crate) fn reply(&mut self, request: RequestId, reply: Reply) {
        if !self.calm && self.decisions.chance(Stream::Clients, LOST_ANSWERS) {
            self.gets_lost(|| Parcel::Answer(request));
            return;
        }
        let at = self.now + self.network_latency() + MS;
        self.queue.push(at, Event::Answer(request, reply));
    }

    pub(crate) fn answer_arrives(&mut self, request: RequestId, reply: Reply) {
        self.show_answer(request, &reply);
        let wish = self.requests[&request];
        match &reply {
            Reply::AlreadySubmitted(_) => self.marks.hit(Mark::DuplicateSubmit),
            Reply::AlreadyEnded(..) => self.marks.hit(Mark::CancelAfterEnd),
            Reply::UnknownJob(_) | Reply::Overloaded(_) => return,
            Reply::Submitted(_) | Reply::CancelAccepted(_) | Reply::Conflict(_) => {}
        }
        self.wishes[wish].answer.get_or_insert(reply);
    }

    /// Whether a client was told that this job will be canceled.
    pub(crate) fn is_canceled(&self, job: JobId) -> bool {
        let accepted = Some(Reply::CancelAccepted(job));
        self.wishes.iter().any(|wish| wish.answer == accepted)
    }

    /// The wishes that were never answered.
    pub(crate) fn unanswered(&self) -> Vec<String> {
        let open = self.wishes.iter().filter(|wish| wish.answer.is_none());
        open.map(|wish| match &wish.command {
            Command::Submit(graph) => format!("submission of {} is not answered", graph.id()),
            Command::Cancel(job) => format!("cancellation of {job} is not answered"),
        })
        .collect()
    }
}
