//! One page that shows a run: opened in any browser, without a network. The drawing is done by the
//! scripts beside this file; what is written here is what they draw, as columns with tables of strings.

use crate::Report;
use crate::plan::options::Micros;
use crate::trace::json::{list, string};
use crate::trace::{Entry, Kind, Lane, Passage, SpanKind, Subject, Timeline};
use jobmanager_core::id::JobId;
use std::collections::{BTreeMap, BTreeSet};

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 5] = [
    include_str!("page/model.js"),
    include_str!("page/draw.js"),
    include_str!("page/panel.js"),
    include_str!("page/page.js"),
    include_str!("page/check.js"),
];

/// A page shows the last entries, messages and spans, so many of each: browsers draw them smoothly.
const SHOWN: usize = 200_000;
/// Bytes of one text; only state snapshots are ever longer.
const TEXT_LIMIT: usize = 20_000;
/// Bytes of all texts together: what a browser still loads at once.
const TEXTS_LIMIT: usize = 64 << 20;
/// Stands for "none" in a column.
const NONE: i64 = -1;

/// What a page shows, whatever it comes from.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// What happened.
    pub log: &'a [Entry],
    /// What lay between.
    pub timeline: &'a Timeline,
    /// What lanes are called that have a name beside their number.
    pub names: Option<&'a BTreeMap<Lane, String>>,
    /// What is wrong, in a name and in words, if anything is.
    pub verdict: Option<(&'a str, &'a str)>,
    /// What else there is to say about it in a word.
    pub facts: Vec<(&'static str, String)>,
    /// What it is like.
    pub options: String,
    /// The digest of all of it.
    pub digest: u64,
    /// When it ends, in microseconds.
    pub simulated: Micros,
}

impl<'a> From<&'a Report> for View<'a> {
    fn from(report: &'a Report) -> View<'a> {
        let failure = report.failure.as_ref();
        View {
            log: &report.log,
            timeline: &report.timeline,
            names: None,
            verdict: failure.map(|failure| (failure.name, failure.detail.as_str())),
            facts: vec![
                ("events", report.events.to_string()),
                ("decisions", report.tape.len().to_string()),
            ],
            options: report.options.to_string(),
            digest: report.digest,
            simulated: report.simulated,
        }
    }
}

/// A page about something that was logged.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// What came of it.
    pub view: View<'a>,
    /// What to call it: `seed 42`.
    pub name: &'a str,
    /// What runs it again: `sim --seed 42`.
    pub command: &'a str,
}

impl Page<'_> {
    /// The whole page. The same run gives the same bytes.
    #[must_use]
    pub fn to_html(&self) -> String {
        // A page without a log has no data, and says so.
        let data = if self.view.log.is_empty() {
            String::new()
        } else {
            self.data()
        };
        let parts = [
            ("{{style}}", STYLE.to_owned()),
            ("{{scripts}}", SCRIPTS.join("\n")),
            ("{{data}}", data),
        ];
        fill(TEMPLATE, &parts)
    }

    fn data(&self) -> String {
        let mut tables = Tables::default();
        let entries = Entries::new(self.view.log);
        let columns = [
            ("run", self.run(entries.left_out)),
            ("entries", entries.columns(&mut tables)),
            ("messages", messages(&self.view, &entries, &mut tables)),
            ("spans", spans(&self.view, &mut tables)),
            ("states", states(&self.view, &entries, &mut tables)),
            ("lanes", lanes(&self.view)),
            ("names", names(&self.view)),
            (
                "kinds",
                list(Kind::ALL.map(|kind| quoted(&format!("{kind:?}")))),
            ),
            (
                "spanKinds",
                list(SpanKind::ALL.map(|kind| quoted(&format!("{kind:?}")))),
            ),
            ("jobs", tables.jobs()),
            ("abouts", tables.abouts()),
            // Last, since all others fill it.
            ("strings", tables.strings()),
        ];
        object(columns)
    }

    fn run(&self, left_out: usize) -> String {
        let view = &self.view;
        let messages = view.timeline.messages.len().saturating_sub(SHOWN);
        let spans = view.timeline.spans.len().saturating_sub(SHOWN);
        let kept_out = usize::try_from(view.timeline.left_out).unwrap_or(usize::MAX);
        let wrong = |(name, detail)| object([("name", string(name)), ("detail", string(detail))]);
        let verdict = view.verdict.map_or_else(|| "null".to_owned(), wrong);
        let fact = |(term, value): &(&str, String)| list([string(term), string(value)]);
        object([
            ("name", string(self.name)),
            ("command", string(self.command)),
            ("digest", string(&format!("{:016x}", view.digest))),
            ("simulated", view.simulated.to_string()),
            ("facts", list(view.facts.iter().map(fact))),
            ("options", string(&view.options)),
            ("verdict", verdict),
            ("leftOutEntries", left_out.to_string()),
            (
                "leftOutOthers",
                (messages + spans).saturating_add(kept_out).to_string(),
            ),
        ])
    }
}

/// Replaces each placeholder once, and looks at no replacement again.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    for (placeholder, text) in parts {
        let (before, after) = rest
            .split_once(placeholder)
            .expect("the template has every placeholder, in this order");
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page + rest
}

fn quoted(text: &str) -> String {
    string(&text.to_lowercase())
}

fn object<const N: usize>(fields: [(&str, String); N]) -> String {
    let fields = fields.map(|(name, value)| format!("{}:{value}", string(name)));
    format!("{{{}}}", fields.join(","))
}

/// What columns refer to by position.
#[derive(Default)]
struct Tables<'a> {
    strings: Table<&'a str>,
    abouts: Table<&'a [Subject]>,
    jobs: Table<JobId>,
}

struct Table<T> {
    positions: BTreeMap<T, usize>,
    values: Vec<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            positions: BTreeMap::new(),
            values: Vec::new(),
        }
    }
}

impl<T: Copy + Ord> Table<T> {
    fn position(&mut self, value: T) -> usize {
        *self.positions.entry(value).or_insert_with(|| {
            self.values.push(value);
            self.values.len() - 1
        })
    }
}

impl<'a> Tables<'a> {
    fn string(&mut self, text: &'a str) -> usize {
        self.strings.position(text)
    }

    fn about(&mut self, about: &'a [Subject]) -> usize {
        self.abouts.position(about)
    }

    /// The jobs that anything is about, by id.
    fn jobs(&mut self) -> String {
        let subjects = self.abouts.values.iter().copied().flatten();
        let jobs: BTreeSet<_> = subjects.map(|subject| subject.job).collect();
        for job in jobs {
            self.jobs.position(job);
        }
        list(self.jobs.values.iter().map(|job| string(&job.to_string())))
    }

    /// Per subject: job, checkpoint, vertex, subtask, epoch, number.
    fn abouts(&self) -> String {
        let number = |number: Option<u64>| {
            number.map_or(NONE, |number| i64::try_from(number).unwrap_or(i64::MAX))
        };
        let subject = |subject: &Subject| {
            let Subject {
                job,
                task,
                attempt,
                checkpoint,
            } = *subject;
            let job = self.jobs.positions.get(&job);
            list([
                number(job.map(|job| *job as u64)),
                number(checkpoint.map(|id| id.0)),
                number(task.map(|task| u64::from(task.vertex.0))),
                number(task.map(|task| u64::from(task.subtask.0))),
                number(attempt.map(|attempt| attempt.epoch.0)),
                number(attempt.map(|attempt| u64::from(attempt.number))),
            ])
        };
        list(
            self.abouts
                .values
                .iter()
                .map(|about| list(about.iter().map(subject))),
        )
    }

    fn strings(&self) -> String {
        let mut left = TEXTS_LIMIT;
        list(self.strings.values.iter().map(|text| {
            let length = boundary(text, TEXT_LIMIT.min(left));
            left -= length;
            let cut = text.len() - length;
            if cut == 0 {
                string(text)
            } else {
                string(&format!("{} … {cut} bytes left out", &text[..length]))
            }
        }))
    }
}

/// The last place, not beyond this one, at which a text can be cut.
fn boundary(text: &str, most: usize) -> usize {
    let places = (0..=most.min(text.len())).rev();
    let mut places = places.filter(|at| text.is_char_boundary(*at));
    places.next().unwrap_or(0)
}

/// The entries that are shown: the last ones. A coordinator's digest is part of its state.
struct Entries<'a> {
    shown: Vec<&'a Entry>,
    /// By position in the log.
    positions: Vec<i64>,
    left_out: usize,
}

impl<'a> Entries<'a> {
    fn new(log: &'a [Entry]) -> Self {
        let is_event = |entry: &&Entry| entry.verb != "digest";
        let left_out = log.iter().filter(is_event).count().saturating_sub(SHOWN);
        let mut shown = Vec::new();
        let mut positions = Vec::with_capacity(log.len());
        let mut before = 0;
        for entry in log {
            let event = is_event(&entry);
            if event && before >= left_out {
                positions.push(i64::try_from(shown.len()).unwrap_or(NONE));
                shown.push(entry);
            } else {
                positions.push(NONE);
            }
            before += usize::from(event);
        }
        Entries {
            shown,
            positions,
            left_out,
        }
    }

    fn position(&self, in_log: Option<usize>) -> i64 {
        let position = in_log.and_then(|at| self.positions.get(at));
        position.copied().unwrap_or(NONE)
    }

    fn columns(&self, tables: &mut Tables<'a>) -> String {
        let entries = || self.shown.iter();
        object([
            ("at", list(entries().map(|entry| entry.at))),
            ("lane", list(entries().map(|entry| lane_name(entry.lane)))),
            ("kind", list(entries().map(|entry| entry.kind as u8))),
            ("verb", list(entries().map(|e| tables.string(e.verb)))),
            ("title", list(entries().map(|e| tables.string(&e.title)))),
            ("what", list(entries().map(|e| tables.string(&e.what)))),
            ("about", list(entries().map(|e| tables.about(&e.about)))),
        ])
    }
}

/// The last of a list.
fn last<T>(all: &[T]) -> &[T] {
    &all[all.len().saturating_sub(SHOWN)..]
}

fn messages<'a>(view: &View<'a>, entries: &Entries, tables: &mut Tables<'a>) -> String {
    let messages = || last(&view.timeline.messages).iter();
    // Arrived: the time; lost: minus the time, minus one; under way: null.
    let passage = |passage: Passage| match passage {
        Passage::Arrived(at) => at.to_string(),
        Passage::Lost(at) => format!("-{}", at + 1),
        Passage::UnderWay => "null".to_owned(),
    };
    object([
        ("from", list(messages().map(|m| lane_name(m.from)))),
        ("to", list(messages().map(|m| lane_name(m.to)))),
        ("sent", list(messages().map(|m| m.sent))),
        ("passage", list(messages().map(|m| passage(m.passage)))),
        ("kind", list(messages().map(|m| m.kind as u8))),
        ("title", list(messages().map(|m| tables.string(&m.title)))),
        ("what", list(messages().map(|m| tables.string(&m.what)))),
        ("about", list(messages().map(|m| tables.about(&m.about)))),
        (
            "sentBy",
            list(messages().map(|m| entries.position(m.sent_by))),
        ),
        (
            "receivedAs",
            list(messages().map(|m| entries.position(m.received_as))),
        ),
    ])
}

fn spans<'a>(view: &View<'a>, tables: &mut Tables<'a>) -> String {
    let spans = || last(&view.timeline.spans).iter();
    let end = |end: Option<u64>| end.map_or_else(|| "null".to_owned(), |end| end.to_string());
    object([
        ("lane", list(spans().map(|span| lane_name(span.lane)))),
        ("kind", list(spans().map(|span| span.kind as u8))),
        ("begin", list(spans().map(|span| span.begin))),
        ("end", list(spans().map(|span| end(span.end)))),
        ("label", list(spans().map(|s| tables.string(&s.label)))),
        ("outcome", list(spans().map(|s| tables.string(&s.outcome)))),
        (
            "about",
            list(spans().map(|s| tables.about(s.about.as_slice()))),
        ),
    ])
}

fn states<'a>(view: &View<'a>, entries: &Entries, tables: &mut Tables<'a>) -> String {
    let is_shown = |entry| entries.position(Some(entry)) != NONE;
    let states = || {
        let all = view.timeline.states.iter();
        all.filter(|state| is_shown(state.entry))
    };
    object([
        (
            "entry",
            list(states().map(|state| entries.position(Some(state.entry)))),
        ),
        (
            "digest",
            list(states().map(|state| string(&format!("{:016x}", state.digest)))),
        ),
        ("text", list(states().map(|s| tables.string(&s.text)))),
    ])
}

/// Lanes go by names, quoted: they need no escaping.
fn lane_name(lane: Lane) -> String {
    format!("\"{lane}\"")
}

/// From top to bottom: those who ask, what breaks, what is durable, JobManagers, TaskManagers.
fn order(lane: Lane) -> (u8, u64) {
    match lane {
        Lane::Clients => (0, 0),
        Lane::Faults => (1, 0),
        Lane::Election => (1, 1),
        Lane::Store => (2, 0),
        Lane::Blobs => (3, 0),
        Lane::JobManager(instance) => (4, u64::from(instance)),
        Lane::TaskManager(index) => (5, index as u64),
        Lane::Outside => (6, 0),
    }
}

fn lanes(view: &View) -> String {
    list(all_lanes(view).into_iter().map(lane_name))
}

/// What each lane is called.
fn names(view: &View) -> String {
    let name = |lane: Lane| {
        let known = view.names.and_then(|names| names.get(&lane));
        known.map_or_else(|| lane_name(lane), |name| string(name))
    };
    list(all_lanes(view).into_iter().map(name))
}

fn all_lanes(view: &View) -> Vec<Lane> {
    let entries = view.log.iter().map(|entry| entry.lane);
    let spans = view.timeline.spans.iter().map(|span| span.lane);
    let messages = view.timeline.messages.iter();
    let ends = messages.flat_map(|message| [message.from, message.to]);
    let lanes: BTreeSet<_> = entries.chain(spans).chain(ends).collect();
    let mut lanes: Vec<_> = lanes.into_iter().collect();
    // Those of one kind that have names go by these.
    let name = |lane: &Lane| view.names.and_then(|names| names.get(lane));
    lanes.sort_by_key(|lane| (order(*lane).0, name(lane), order(*lane).1));
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(verb: &'static str) -> Entry {
        Entry {
            at: 0,
            lane: Lane::Store,
            verb,
            what: String::new(),
            kind: Kind::Store,
            title: String::new(),
            about: Vec::new(),
        }
    }

    #[test]
    fn of_too_many_entries_the_last_ones_are_shown_and_the_others_counted() {
        let mut log = vec![entry("apply"); SHOWN + 5];
        log.insert(2, entry("digest"));
        let entries = Entries::new(&log);
        assert_eq!((entries.shown.len(), entries.left_out), (SHOWN, 5));
        assert_eq!(entries.position(Some(2)), NONE);
        assert_eq!(entries.position(Some(5)), NONE);
        assert_eq!(entries.position(Some(6)), 0);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_how_much_is_missing() {
        let text = "é".repeat(TEXT_LIMIT);
        let mut tables = Tables::default();
        tables.string(&text);
        let shown = tables.strings();
        assert!(shown.len() < TEXT_LIMIT + 100);
        assert!(
            shown.ends_with(" … 20000 bytes left out\"]"),
            "{}",
            &shown[TEXT_LIMIT..]
        );
    }

    #[test]
    fn what_is_filled_in_is_not_filled_again() {
        let parts = [("{{a}}", "{{b}}".to_owned()), ("{{b}}", "c".to_owned())];
        assert_eq!(fill("{{a}} {{b}}", &parts), "{{b}} c");
    }
}
