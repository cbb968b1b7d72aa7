// What is selected, in full: the event, where it came from and went to, and the state after it.

let selected = null;

/** An element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Selects an entry, a message or a span, shows it, and brings it into view. */
function choose(what, follow = true) {
  selected = what;
  if (what?.entry !== undefined) {
    history.replaceState(null, "", "#e=" + what.entry);
    if (follow) reveal(run.entries.at[what.entry], run.entries.lane[what.entry]);
  }
  showPanel();
  draw();
}

/** Moves the chart as little as possible until this time and lane can be seen. */
function reveal(at, lane) {
  const span = chart.to - chart.from;
  if (at < chart.from + span * .04 || at > chart.to - span * .08) {
    setView(at - span / 2, at + span / 2);
  }
  const row = chart.rowOf.get(lane);
  if (!row) return;
  if (row.y < chart.top) chart.top = row.y;
  if (row.y + row.track > chart.top + chart.shown) chart.top = row.y + row.track + 8 - chart.shown;
}

function showPanel() {
  const panel = document.getElementById("panel");
  panel.replaceChildren();
  panel.scrollTop = 0;
  if (!selected) {
    panel.append(make("p", { className: "hint" },
      "Click an event, an arrow or a bar to read it. The wheel zooms, dragging moves; the arrow keys go from event to event."));
  } else if (selected.entry !== undefined) {
    panel.append(...entryPanel(selected.entry));
  } else if (selected.message !== undefined) {
    panel.append(...messagePanel(selected.message));
  } else {
    panel.append(...spanPanel(selected.span));
  }
  panel.querySelector("mark")?.scrollIntoView({ block: "nearest" });
}

const ROLES = { "<-": "input", "->": "order" };

function entryPanel(entry) {
  const { at, lane, verb, kind, what, about } = run.entries;
  const role = ROLES[string(verb[entry])] ?? string(verb[entry]);
  const parts = [
    make("h2", {}, titleOf(entry)),
    make("p", { className: "where" }, clock(at[entry]) + " · " + run.names[lane[entry]] + " · " + role + " · " + run.kinds[kind[entry]]),
    make("div", { className: "row" }, stepButton("← earlier", -1), stepButton("later →", 1), ...links(entry)),
    ...chips(about[entry]),
    make("div", { className: "text" }, ...pretty(string(what[entry]))),
  ];
  return parts.concat(statePanel(entry));
}

function stepButton(label, direction) {
  const button = make("button", { textContent: label, onclick: () => step(direction) });
  button.disabled = neighbour(direction) === undefined;
  return button;
}

/** The other ends of the messages that this entry sent or is. */
function links(entry) {
  return (run.messagesOf.get(entry) ?? []).slice(0, 20).map(message => {
    const { from, to, sent, ends, lost, passage, sentBy, receivedAs, title } = run.messages;
    const leaves = sentBy[message] === entry;
    const other = leaves ? receivedAs[message] : sentBy[message];
    const lane = run.names[leaves ? to[message] : from[message]];
    const time = lasting(ends[message] - sent[message]);
    const fate = lost[message] ? " ✕ lost after " : passage[message] === null ? " … under way since " : " in ";
    const same = string(title[message]) === titleOf(entry);
    const text = (leaves ? "to " : "from ") + lane + fate + time + (same ? "" : ": " + string(title[message]));
    const go = () => {
      if (other === NONE) return choose({ message });
      show(other);
      choose({ entry: other });
    };
    return make("button", { className: "jump", textContent: text, onclick: go });
  });
}

/** Filters for what it is about. */
function chips(about) {
  const subjects = run.abouts[about].slice(0, 12);
  if (!subjects.length) return [];
  const row = make("div", { className: "row" });
  const seen = new Set();
  for (const [job, checkpoint, vertex, subtask, epoch, number] of subjects) {
    if (run.jobs.length > 1) addChip(row, seen, jobName(job), () => setFilters(job, NONE));
    if (checkpoint !== NONE) addChip(row, seen, "checkpoint " + checkpoint, () => setFilters(job, checkpoint));
    if (vertex !== NONE) {
      const name = vertex + "." + subtask + "#" + epoch + "." + number;
      addChip(row, seen, name, () => setWords(name));
    }
  }
  return [row];
}

function addChip(row, seen, label, onclick) {
  if (seen.has(label)) return;
  seen.add(label);
  row.append(make("button", { textContent: label, onclick, title: "show what is about this" }));
}

function statePanel(entry) {
  const { digest, text } = run.states;
  const state = run.stateOf[entry];
  if (state === NONE) return stateThen(entry);
  const before = run.stateBefore[entry] === NONE ? null : new Set(string(text[run.stateBefore[entry]]).split("\n"));
  const same = run.stateBefore[entry] !== NONE && digest[run.stateBefore[entry]] === digest[state];
  const box = make("div", { className: "text" });
  for (const line of string(text[state]).split("\n")) {
    const changed = before && !before.has(line);
    box.append(make("span", { className: changed ? "changed" : "", textContent: line }), "\n");
  }
  const note = same ? "State after it: unchanged" : "State after it, with what changed marked";
  return [make("h3", {}, note), box, make("p", { className: "where" }, "digest " + digest[state])];
}

/** An order has no state of its own: it is part of the step that its input began. */
function stateThen(entry) {
  const { digest, text } = run.states;
  const state = run.stateBefore[entry];
  if (state === NONE) return [];
  const box = make("div", { className: "text", textContent: string(text[state]) });
  return [make("h3", {}, "State of " + run.names[run.entries.lane[entry]] + " then"), box,
    make("p", { className: "where" }, "digest " + digest[state])];
}

function messagePanel(message) {
  const { from, to, sent, ends, lost, passage, kind, title, what, about, sentBy, receivedAs } = run.messages;
  const lanes = run.names[from[message]] + " → " + run.names[to[message]];
  const fate = lost[message] ? "lost at " : passage[message] === null ? "still under way at " : "arrived at ";
  const text = string(what[message]) || (sentBy[message] !== NONE ? string(run.entries.what[sentBy[message]]) : "");
  const jump = (label, entry) => make("button", {
    textContent: label, disabled: entry === NONE, onclick: () => { show(entry); choose({ entry }); },
  });
  return [
    make("h2", {}, string(title[message]) || "message"),
    make("p", { className: "where" }, lanes + " · " + run.kinds[kind[message]]),
    make("p", { className: "where" }, "sent " + clock(sent[message]) + ", " + fate + clock(ends[message])
      + " (" + lasting(ends[message] - sent[message]) + ")"),
    make("div", { className: "row" }, jump("← its sending", sentBy[message]), jump("its arrival →", receivedAs[message])),
    ...chips(about[message]),
    make("div", { className: "text" }, ...pretty(text)),
  ];
}

function spanPanel(span) {
  const { lane, kind, begin, end, label, outcome, about } = run.spans;
  const parts = [
    make("h2", {}, string(label[span])),
    make("p", { className: "where" }, run.names[lane[span]] + " · " + run.spanKinds[kind[span]]),
    make("p", { className: "where" }, clock(begin[span]) + " to " + clock(end[span]) + " (" + lasting(end[span] - begin[span]) + ")"),
  ];
  if (string(outcome[span])) parts.push(make("p", {}, "It ended: " + string(outcome[span])));
  const zoom = () => {
    const margin = Math.max(1, (end[span] - begin[span]) * .1);
    setView(begin[span] - margin, end[span] + margin);
    draw();
  };
  parts.push(make("div", { className: "row" }, make("button", { textContent: "zoom to it", onclick: zoom })));
  return parts.concat(chips(about[span]));
}

const TOKENS = /"(?:\\.|[^"\\])*"|[A-Za-z_]\w*(?=: )|[A-Z]\w*|\b\d[\w.]*|[^"A-Za-z\d]+|[a-z_]\w*|./g;

/** A value as Rust shows it, broken into lines and coloured. */
function pretty(text) {
  const lines = broken(text, 0);
  const words = wanted.words.toLowerCase();
  return (lines.match(TOKENS) ?? []).map(token => {
    if (words && token.toLowerCase().includes(words)) return make("mark", { textContent: token });
    const name = token[0] === '"' ? "string" : /^\d/.test(token) ? "number"
      : /^[A-Z]/.test(token) ? "type" : /^[a-z_]\w*$/.test(token) ? "field" : "";
    return name ? make("span", { className: name, textContent: token }) : token;
  });
}

const CLOSING = { "{": "}", "[": "]", "(": ")" };
const LINE = 46, DEEPEST = 40;

/** Breaks what does not fit a line: each part on a line of its own; numbers stay together. */
function broken(text, depth) {
  if (text.length + depth * 2 <= LINE || depth > DEEPEST) return text;
  const open = outside(text, 0, character => CLOSING[character]);
  if (open < 0) return text;
  const close = matching(text, open);
  if (close < 0) return text;
  const parts = split(text.slice(open + 1, close));
  const head = text.slice(0, open + 1), tail = text.slice(close);
  const rest = tail.length > 1 ? tail[0] + broken(tail.slice(1), depth) : tail;
  if (parts.length === 0) return head + rest;
  if (parts.every(part => /^\d+$/.test(part))) return head + parts.join(", ") + rest;
  // A name around a single value adds no line.
  if (parts.length === 1 && text[open] === "(") return head + broken(parts[0], depth) + rest;
  const indent = "\n" + "  ".repeat(depth + 1);
  return head + parts.map(part => indent + broken(part, depth + 1)).join(",") + "\n" + "  ".repeat(depth) + rest;
}

/** The first position outside of a string at which `is` holds. */
function outside(text, from, is) {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '"') {
      at = afterString(text, at);
    } else if (is(text[at])) {
      return at;
    }
  }
  return -1;
}

function afterString(text, at) {
  for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === "\\") at++;
  return at;
}

function matching(text, open) {
  let depth = 0;
  return outside(text, open, character => {
    if (CLOSING[character]) depth++;
    else if ("}])".includes(character)) depth--;
    return depth === 0;
  });
}

function split(text) {
  const parts = [];
  let from = 0;
  for (;;) {
    let depth = 0;
    const comma = outside(text, from, character => {
      if (CLOSING[character]) depth++;
      else if ("}])".includes(character)) depth--;
      return character === "," && depth === 0;
    });
    const part = text.slice(from, comma < 0 ? undefined : comma).trim();
    if (part) parts.push(part);
    if (comma < 0) return parts;
    from = comma + 1;
  }
}
