"use strict";
// What the page shows: the run as it was written, what of it is wanted, and where each thing stands.

const LOST = -1, NONE = -1;
const HIDDEN_AT_FIRST = ["heartbeat", "timer", "exchange"];
const run = {};
const wanted = { kinds: new Set(), lanes: new Set(), job: NONE, checkpoint: NONE, words: "" };

/** Reads the data; throws a text for people if there is none. */
function load(text) {
  if (!text.trim()) throw "This page holds no run: its run was not logged.";
  let data;
  try {
    data = JSON.parse(text);
  } catch (problem) {
    throw "The run in this page cannot be read: the file is damaged. (" + problem.message + ")";
  }
  if (!data || !data.entries || !data.entries.at || !data.lanes) {
    throw "The run in this page has no entries: write the page again with sim --seed N --html FILE.";
  }
  Object.assign(run, data);
  run.names ??= run.lanes;
  run.laneAt = new Map(run.lanes.map((name, at) => [name, at]));
  const lanes = names => Int32Array.from(names, name => run.laneAt.get(name));
  const { entries, messages, spans } = run;
  entries.lane = lanes(entries.lane);
  entries.count = entries.at.length;
  messages.from = lanes(messages.from);
  messages.to = lanes(messages.to);
  messages.count = messages.sent.length;
  spans.lane = lanes(spans.lane);
  spans.count = spans.begin.length;
  run.shortJobs = shortened(run.jobs);
  run.end = Math.max(run.run.simulated, 1);
  run.kinds.forEach(kind => HIDDEN_AT_FIRST.includes(kind) || wanted.kinds.add(kind));
  run.lanes.forEach(lane => wanted.lanes.add(lane));
  link();
}

/** Who is connected with whom. */
function link() {
  const { entries, messages, spans, states } = run;
  run.stateOf = new Int32Array(entries.count).fill(NONE);
  states.entry.forEach((entry, at) => { run.stateOf[entry] = at; });
  run.stateBefore = new Int32Array(entries.count).fill(NONE);
  const latest = new Map();
  for (let at = 0; at < entries.count; at++) {
    run.stateBefore[at] = latest.get(entries.lane[at]) ?? NONE;
    if (run.stateOf[at] !== NONE) latest.set(entries.lane[at], run.stateOf[at]);
  }
  run.messagesOf = new Map();
  const connect = (entry, message) => {
    if (entry === NONE) return;
    if (!run.messagesOf.has(entry)) run.messagesOf.set(entry, []);
    run.messagesOf.get(entry).push(message);
  };
  messages.ends = new Float64Array(messages.count);
  messages.lost = new Uint8Array(messages.count);
  messages.reach = new Float64Array(messages.count);
  for (let at = 0, reach = 0; at < messages.count; at++) {
    const passage = messages.passage[at];
    messages.lost[at] = passage !== null && passage < 0 ? 1 : 0;
    messages.ends[at] = passage === null ? run.end : passage < 0 ? -passage - 1 : passage;
    reach = Math.max(reach, messages.ends[at]);
    messages.reach[at] = reach;
    connect(messages.sentBy[at], at);
    connect(messages.receivedAs[at], at);
  }
  for (let at = 0; at < spans.count; at++) spans.end[at] ??= run.end;
  run.checkpoints = new Set();
  for (const about of run.abouts) {
    for (const [job, checkpoint] of about) {
      if (checkpoint !== NONE) run.checkpoints.add(job + ":" + checkpoint);
    }
  }
}

const string = at => run.strings[at];
const jobName = job => run.jobs.length > 1 ? "job " + run.shortJobs[job] : "job";

/** Job ids without what they have in common at both ends. */
function shortened(ids) {
  let end = 32;
  const same = at => ids.every(id => id[at] === ids[0][at]);
  while (ids.length > 1 && end > 1 && same(end - 1)) end--;
  return ids.map(id => id.slice(0, end).replace(/^0+(?=.)/, ""));
}

/** An entry in a few words. */
function titleOf(entry) {
  const { title, verb, what } = run.entries;
  if (string(title[entry])) return string(title[entry]);
  const text = string(what[entry]);
  const short = text.length > 90 ? text.slice(0, 90) + "…" : text;
  return string(verb[entry]) + " " + short.replace(/^"|"$/g, "");
}

/** A time of the run, exact. */
function clock(at) {
  return Math.floor(at / 1e6) + "." + String(Math.floor(at % 1e6)).padStart(6, "0") + " s";
}

/** How long something takes. */
function lasting(micros) {
  if (micros < 1000) return micros + " µs";
  if (micros < 1e6) return (micros / 1000).toFixed(micros < 1e4 ? 2 : 1) + " ms";
  return (micros / 1e6).toFixed(3) + " s";
}

/** What of the run is wanted: the visible entries, messages and spans. */
function select() {
  const { entries, messages, spans } = run;
  const kinds = run.kinds.map(kind => wanted.kinds.has(kind));
  const lanes = run.lanes.map(lane => wanted.lanes.has(lane));
  const about = run.abouts.map(isAbout);
  const filtered = wanted.job !== NONE || wanted.checkpoint !== NONE;
  run.seen = new Uint8Array(entries.count);
  run.seenMessages = new Uint8Array(messages.count);
  run.seenSpans = new Uint8Array(spans.count);
  run.count = 0;
  for (let at = 0; at < entries.count; at++) {
    if (!kinds[entries.kind[at]] || !lanes[entries.lane[at]]) continue;
    const kind = run.kinds[entries.kind[at]];
    if (filtered && kind !== "fault" && !about[entries.about[at]]) continue;
    run.seen[at] = 1;
    run.count++;
  }
  for (let at = 0; at < messages.count; at++) {
    const both = lanes[messages.from[at]] && lanes[messages.to[at]];
    run.seenMessages[at] = kinds[messages.kind[at]] && both && (!filtered || about[messages.about[at]]) ? 1 : 0;
  }
  for (let at = 0; at < spans.count; at++) {
    const jobless = run.abouts[spans.about[at]].length === 0;
    run.seenSpans[at] = lanes[spans.lane[at]] && (jobless || !filtered || spanIsAbout(at)) ? 1 : 0;
  }
  arrange();
  match();
}

function isAbout(subjects) {
  return subjects.some(([job, checkpoint]) =>
    (wanted.job === NONE || job === wanted.job)
    && (wanted.checkpoint === NONE || checkpoint === wanted.checkpoint));
}

/** Of a checkpoint's job everything that lasts stays: it is where the checkpoint happens. */
function spanIsAbout(span) {
  const subjects = run.abouts[run.spans.about[span]];
  return subjects.some(([job, checkpoint]) =>
    (wanted.job === NONE || job === wanted.job)
    && (wanted.checkpoint === NONE || checkpoint === NONE || checkpoint === wanted.checkpoint));
}

/** Per lane the visible entries in their order; entries of one instant stand below each other. */
function arrange() {
  const { entries } = run;
  run.inLane = run.lanes.map(() => []);
  run.place = new Uint16Array(entries.count);
  run.together = new Uint16Array(entries.count);
  run.after = new Float64Array(entries.count);
  for (let at = 0; at < entries.count; at++) {
    if (!run.seen[at]) continue;
    const lane = run.inLane[entries.lane[at]];
    const before = lane[lane.length - 1];
    const together = before !== undefined && entries.at[before] === entries.at[at];
    run.place[at] = together ? Math.min(run.place[before] + 1, 65535) : 0;
    lane.push(at);
  }
  run.inLane.forEach(measure);
}

/** How many entries share an instant, and when the next instant of their lane is. */
function measure(lane) {
  const { at } = run.entries;
  let next = Infinity, count = 0;
  for (let position = lane.length - 1; position >= 0; position--) {
    const entry = lane[position], later = lane[position + 1];
    if (later !== undefined && at[later] !== at[entry]) {
      next = at[later];
      count = 0;
    }
    count = Math.max(count, run.place[entry] + 1);
    run.together[entry] = count;
    run.after[entry] = next;
  }
}

/** Which visible entries and messages have the words that are looked for. */
function match() {
  const words = wanted.words.toLowerCase();
  run.hits = [];
  run.isHit = null;
  if (!words) return;
  const { entries } = run;
  const strings = run.strings.map(text => text.toLowerCase().includes(words));
  run.isHit = new Uint8Array(entries.count);
  for (let at = 0; at < entries.count; at++) {
    const hit = strings[entries.title[at]] || strings[entries.what[at]] || strings[entries.verb[at]];
    if (hit && run.seen[at]) {
      run.isHit[at] = 1;
      run.hits.push(at);
    }
  }
}

/** The first position in a sorted list at which `is` holds. */
function first(length, is) {
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(middle)) high = middle; else low = middle + 1;
  }
  return low;
}
