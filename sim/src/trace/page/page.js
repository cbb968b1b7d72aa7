// The page: what is shown from when to when, filters, the mouse and the keys.

const CLOSE = 8, SHORTEST = 20;
const by = id => document.getElementById(id);

let waiting = false;

/** Draws soon, once, however often it is asked. */
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(drawNow);
}

function drawNow() {
  waiting = false;
  drawChart();
  drawOverview();
  by("empty").hidden = run.count > 0;
}

/** Shows the run from one time to another, in microseconds. */
function setView(from, to) {
  const longest = run.end * 1.1;
  const span = Math.min(Math.max(to - from, SHORTEST), longest);
  const middle = (from + to) / 2;
  const begin = Math.min(Math.max(middle - span / 2, -run.end * .05), run.end * 1.05 - span);
  chart.from = begin;
  chart.to = begin + span;
}

const wholeRun = () => setView(-run.end * .01, run.end * 1.03);

/** What a zoom without a place keeps where it is: the selected event if it can be seen, else the middle. */
function focus() {
  const at = selected?.entry === undefined ? NONE : run.entries.at[selected.entry];
  return at >= chart.from && at <= chart.to ? at : (chart.from + chart.to) / 2;
}

function zoom(factor, around = focus()) {
  setView(around - (around - chart.from) * factor, around + (chart.to - around) * factor);
  draw();
}

/** After any filter has changed. */
function filtersChanged() {
  select();
  layOut();
  showHits();
  document.querySelectorAll("#kinds button").forEach(chip =>
    chip.setAttribute("aria-pressed", wanted.kinds.has(chip.dataset.kind)));
  document.querySelectorAll("#lanes input").forEach(box => { box.checked = wanted.lanes.has(box.value); });
  draw();
}

function setFilters(job, checkpoint) {
  wanted.job = job;
  wanted.checkpoint = checkpoint;
  by("job").value = job;
  offerCheckpoints();
  by("checkpoint").value = checkpoint;
  filtersChanged();
}

function setWords(words) {
  wanted.words = by("search").value = words;
  match();
  showHits();
  if (selected) showPanel();
  draw();
}

/** Removes whatever hides an entry. */
function show(entry) {
  if (run.seen[entry]) return;
  wanted.kinds.add(run.kinds[run.entries.kind[entry]]);
  wanted.lanes.add(run.lanes[run.entries.lane[entry]]);
  filtersChanged();
  if (!run.seen[entry]) setFilters(NONE, NONE);
}

function showEverything() {
  run.kinds.forEach(kind => wanted.kinds.add(kind));
  run.lanes.forEach(lane => wanted.lanes.add(lane));
  setFilters(NONE, NONE);
}

function showHits() {
  by("hits").textContent = wanted.words ? run.hits.length + (run.hits.length === 1 ? " hit" : " hits") : "";
}

/** The visible entry before or after the selected one in its lane. */
function neighbour(direction) {
  if (selected?.entry === undefined) return undefined;
  const list = run.inLane[run.entries.lane[selected.entry]];
  const at = first(list.length, at => list[at] >= selected.entry);
  const here = list[at] === selected.entry;
  return list[direction > 0 ? at + (here ? 1 : 0) : at - 1];
}

function step(direction) {
  const next = selected?.entry === undefined ? firstInView() : neighbour(direction);
  if (next !== undefined) choose({ entry: next });
}

function firstInView() {
  for (const row of chart.rows) {
    for (const lane of row.lanes) {
      const list = run.inLane[lane];
      const at = list[first(list.length, at => run.entries.at[list[at]] >= chart.from)];
      if (at !== undefined) return at;
    }
  }
  return undefined;
}

/** The entry of the next row up or down that is nearest in time. */
function stepLane(direction) {
  if (selected?.entry === undefined) return step(1);
  const row = chart.rowOf.get(run.entries.lane[selected.entry]);
  const time = run.entries.at[selected.entry];
  for (let at = chart.rows.indexOf(row) + direction; chart.rows[at]; at += direction) {
    const entries = chart.rows[at].lanes.flatMap(lane => run.inLane[lane]);
    if (!entries.length) continue;
    const away = entry => Math.abs(run.entries.at[entry] - time);
    return choose({ entry: entries.reduce((a, b) => away(b) < away(a) ? b : a) });
  }
  return undefined;
}

/** Along the message of the selected entry, to its other end. */
function jump() {
  document.querySelector("#panel .jump")?.click();
}

function stepHit(direction) {
  if (!run.hits.length) return;
  const now = selected?.entry ?? NONE;
  const at = first(run.hits.length, at => run.hits[at] > now - (direction < 0 ? 1 : 0));
  const next = direction > 0 ? run.hits[at] ?? run.hits[0] : run.hits[at - 1] ?? run.hits[run.hits.length - 1];
  choose({ entry: next });
}

function toFailure() {
  if (!run.run.verdict) return;
  const span = Math.min(chart.to - chart.from, run.end * .05);
  setView(run.end - span * .85, run.end + span * .15);
  const list = run.inLane.map(lane => lane[lane.length - 1]).filter(entry => entry !== undefined);
  if (list.length) choose({ entry: Math.max(...list) });
  draw();
}

// What is under the mouse.

/** The visible entry, span or message at a place of the chart, the smallest things first. */
function under(x, y) {
  if (x < GUTTER || y < AXIS) return null;
  const inRow = y - AXIS + chart.top;
  const row = chart.rows.find(row => inRow >= row.y && inRow < row.y + row.height);
  const entry = row && entryAt(row, x, y);
  if (entry !== undefined) return { entry };
  const bar = row?.bars.find(bar => inRow - row.y >= bar.y && inRow - row.y <= bar.y + bar.height
    && x >= xOf(run.spans.begin[bar.span]) - 2 && x <= Math.max(xOf(run.spans.end[bar.span]), xOf(run.spans.begin[bar.span]) + 2));
  if (bar) return { span: bar.span };
  const message = messageAt(x, y);
  return message === undefined ? null : { message };
}

function entryAt(row, x, y) {
  let best, nearest = CLOSE;
  const margin = (chart.to - chart.from) / plotWidth() * 120;
  for (const lane of row.lanes) {
    const list = run.inLane[lane];
    const time = timeOf(x);
    for (let at = first(list.length, at => run.entries.at[list[at]] >= time - margin); at < list.length; at++) {
      if (run.entries.at[list[at]] > time + margin) break;
      const [ex, ey] = spot(list[at]);
      const away = Math.hypot(ex - x, ey - y);
      if (away < nearest) [best, nearest] = [list[at], away];
    }
  }
  return best;
}

function messageAt(x, y) {
  const { messages } = run;
  const time = timeOf(x);
  const slack = (chart.to - chart.from) / plotWidth() * CLOSE;
  let best, nearest = CLOSE / 2;
  for (let at = first(messages.count, at => messages.reach[at] >= time - slack); at < messages.count; at++) {
    if (messages.sent[at] > time + slack) break;
    if (!run.seenMessages[at] || messages.ends[at] < time - slack) continue;
    const [[ax, ay], [bx, by]] = endsOf(at);
    const length = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
    const part = Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length));
    const away = Math.hypot(ax + part * (bx - ax) - x, ay + part * (by - ay) - y);
    if (away < nearest) [best, nearest] = [at, away];
  }
  return best;
}

function describe(found) {
  if (found.entry !== undefined) return titleOf(found.entry) + "\n" + clock(run.entries.at[found.entry]);
  if (found.span !== undefined) {
    const { label, outcome, begin, end } = run.spans;
    const how = string(outcome[found.span]);
    return string(label[found.span]) + (how ? ", " + how : "") + "\n" + lasting(end[found.span] - begin[found.span]);
  }
  const { title, from, to, sent, ends, lost } = run.messages;
  const at = found.message;
  return string(title[at]) + "\n" + run.names[from[at]] + " → " + run.names[to[at]] + ", "
    + (lost[at] ? "lost after " : "") + lasting(ends[at] - sent[at]);
}

function listenToChart() {
  const canvas = by("chart");
  let grip = null;
  canvas.addEventListener("pointerdown", event => {
    grip = { x: event.offsetX, y: event.offsetY, from: chart.from, to: chart.to, top: chart.top, moved: false };
    canvas.setPointerCapture?.(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    if (!grip) return hover(event);
    const [dx, dy] = [event.offsetX - grip.x, event.offsetY - grip.y];
    grip.moved ||= Math.hypot(dx, dy) > 4;
    if (!grip.moved) return undefined;
    canvas.classList.add("drag");
    const shift = dx / plotWidth() * (grip.to - grip.from);
    setView(grip.from - shift, grip.to - shift);
    chart.top = grip.top - dy;
    return draw();
  });
  const release = event => {
    const click = grip && !grip.moved && event.type === "pointerup";
    grip = null;
    canvas.classList.remove("drag");
    if (!click) return;
    canvas.focus({ preventScroll: true });
    if (event.offsetX < GUTTER && event.offsetY > AXIS) toggleRow(event.offsetY);
    else choose(under(event.offsetX, event.offsetY), false);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { by("tip").hidden = true; });
  canvas.addEventListener("wheel", wheel, { passive: false });
}

function hover(event) {
  const found = under(event.offsetX, event.offsetY);
  const tip = by("tip");
  by("chart").classList.toggle("hit", Boolean(found));
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = describe(found);
  const left = Math.min(event.offsetX + 14, chart.width - tip.offsetWidth - 8);
  const under44 = event.offsetY + by("overview").offsetHeight + 16;
  tip.style.left = Math.max(4, left) + "px";
  tip.style.top = Math.min(under44, by("stage").offsetHeight - tip.offsetHeight - 6) + "px";
}

function toggleRow(y) {
  const inRow = y - AXIS + chart.top;
  const row = chart.rows.find(row => inRow >= row.y && inRow < row.y + row.height);
  if (!row) return;
  const lane = row.lanes[0];
  if (!chart.collapsed.delete(lane)) chart.collapsed.add(lane);
  layOut();
  draw();
}

function wheel(event) {
  event.preventDefault();
  const pixels = event.deltaMode === 1 ? 16 : 1;
  if (event.shiftKey || event.offsetX < GUTTER) {
    chart.top += (event.deltaY || event.deltaX) * pixels;
  } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const shift = event.deltaX * pixels / plotWidth() * (chart.to - chart.from);
    setView(chart.from + shift, chart.to + shift);
  } else {
    zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY * pixels)) * .0025), timeOf(event.offsetX));
  }
  draw();
}

/** The overview: inside of the frame dragging moves it, at its edges it stretches, outside a new one begins. */
function listenToOverview() {
  const canvas = by("overview");
  let grip = null;
  const time = x => (x - GUTTER) / (canvas.clientWidth - GUTTER - 2) * run.end;
  const x = at => GUTTER + at / run.end * (canvas.clientWidth - GUTTER - 2);
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture?.(event.pointerId);
    const here = event.offsetX, [a, b] = [x(chart.from), x(chart.to)];
    const part = Math.abs(here - a) < 6 ? "from" : Math.abs(here - b) < 6 ? "to" : here > a && here < b && b - a < canvas.clientWidth - GUTTER - 8 ? "both" : "new";
    grip = { part, start: time(here), from: chart.from, to: chart.to, moved: false };
  });
  canvas.addEventListener("pointermove", event => {
    if (!grip) return;
    const at = time(event.offsetX), shift = at - grip.start;
    grip.moved = true;
    if (grip.part === "both") setView(grip.from + shift, grip.to + shift);
    else if (grip.part === "from") setView(Math.min(at, grip.to - SHORTEST), grip.to);
    else if (grip.part === "to") setView(grip.from, Math.max(at, grip.from + SHORTEST));
    else setView(Math.min(at, grip.start), Math.max(at, grip.start));
    draw();
  });
  canvas.addEventListener("pointerup", event => {
    if (grip && !grip.moved) {
      const span = chart.to - chart.from, at = time(event.offsetX);
      setView(at - span / 2, at + span / 2);
      draw();
    }
    grip = null;
  });
}

const KEYS = {
  ArrowLeft: () => step(-1), ArrowRight: () => step(1),
  ArrowUp: () => stepLane(-1), ArrowDown: () => stepLane(1),
  Enter: jump, m: jump, f: toFailure, n: () => stepHit(1), N: () => stepHit(-1),
  "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1 / .6),
  0: () => { wholeRun(); draw(); },
  "/": () => by("search").focus(),
  Escape: () => choose(null),
  PageUp: () => { chart.top -= chart.shown * .8; draw(); },
  PageDown: () => { chart.top += chart.shown * .8; draw(); },
};

function listenToKeys() {
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT)$/.test(event.target.tagName);
    const pressing = /^(BUTTON|SUMMARY)$/.test(event.target.tagName) && event.key === "Enter";
    if (typing || pressing || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  by("search").addEventListener("input", event => setWords(event.target.value));
  by("search").addEventListener("keydown", event => {
    if (event.key === "Enter") stepHit(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") {
      setWords("");
      by("chart").focus();
    }
  });
}

function listenToButtons() {
  by("in").onclick = () => zoom(.6);
  by("out").onclick = () => zoom(1 / .6);
  by("fit").onclick = () => { wholeRun(); draw(); };
  by("go-failure").onclick = toFailure;
  by("go-failure").hidden = !run.run.verdict;
  by("reset").onclick = showEverything;
  for (const id of ["options", "legend"]) {
    by("show-" + id).onclick = event => {
      by(id).hidden = !by(id).hidden;
      event.currentTarget.setAttribute("aria-expanded", !by(id).hidden);
      draw();
    };
  }
  by("job").onchange = () => setFilters(Number(by("job").value), NONE);
  by("checkpoint").onchange = () => setFilters(wanted.job, Number(by("checkpoint").value));
  document.addEventListener("pointerdown", event => {
    if (!by("nodes").contains(event.target)) by("nodes").open = false;
  });
}

function offerFilters() {
  const choice = (value, textContent) => make("option", { value, textContent });
  by("job").replaceChildren(choice(NONE, "All jobs"), ...run.jobs.map((_, at) => choice(at, "job " + run.shortJobs[at])));
  by("job").hidden = run.jobs.length < 2;
  offerCheckpoints();
  by("kinds").replaceChildren(...run.kinds.map(kind => {
    const chip = make("button", { className: "chip", textContent: kind });
    chip.dataset.kind = kind;
    chip.style.setProperty("--chip", "var(--" + kind + ")");
    chip.title = "Shift: this kind alone";
    chip.onclick = event => {
      if (event.shiftKey) wanted.kinds = new Set([kind]);
      else if (!wanted.kinds.delete(kind)) wanted.kinds.add(kind);
      filtersChanged();
    };
    return chip;
  }));
  by("lanes").replaceChildren(...run.lanes.map(lane => {
    const box = make("input", { type: "checkbox", value: lane });
    box.onchange = () => {
      if (box.checked) wanted.lanes.add(lane); else wanted.lanes.delete(lane);
      filtersChanged();
    };
    return make("label", {}, box, " " + run.names[run.laneAt.get(lane)]);
  }));
}

function offerCheckpoints() {
  const ids = new Set();
  for (const name of run.checkpoints) {
    const [job, id] = name.split(":").map(Number);
    if (wanted.job === NONE || job === wanted.job) ids.add(id);
  }
  const choice = (value, textContent) => make("option", { value, textContent });
  const sorted = [...ids].sort((a, b) => a - b);
  by("checkpoint").replaceChildren(choice(NONE, "All checkpoints"), ...sorted.map(id => choice(id, "checkpoint " + id)));
}

function showHeader() {
  const { name, command, digest, simulated, facts, options, verdict, leftOutEntries, leftOutOthers } = run.run;
  document.title = (verdict ? verdict.name : "all is well") + " · " + name;
  by("name").textContent = name;
  by("verdict").textContent = verdict ? verdict.name : "all is well";
  by("verdict").className = verdict ? "bad" : "good";
  by("failure").hidden = !verdict;
  by("failure").textContent = verdict ? verdict.detail : "";
  const grouped = value => /^\d+$/.test(value) ? Number(value).toLocaleString("en") : value;
  const fact = (term, value) => make("div", {}, make("dt", {}, term), make("dd", {}, value));
  by("facts").append(fact("simulated", (simulated / 1e6).toFixed(3) + " s"), ...facts.map(([term, value]) => fact(term, grouped(value))),
    fact("digest", digest), fact("again", make("code", {}, command)));
  by("options").textContent = options;
  const leftOut = [];
  if (leftOutEntries) leftOut.push("the first " + leftOutEntries.toLocaleString("en") + " entries");
  if (leftOutOthers) leftOut.push(leftOutOthers.toLocaleString("en") + " messages and spans");
  by("left-out").hidden = !leftOut.length;
  by("left-out").textContent = "The run is longer than a page: left out are " + leftOut.join(" and ") + ".";
}

function showLegend() {
  const sample = paint => {
    const canvas = make("canvas", { width: 30, height: 16 });
    const cx = canvas.getContext("2d");
    paint(cx);
    return canvas;
  };
  const bar = colour => cx => { cx.fillStyle = colours[colour]; cx.fillRect(1, 2, 28, 12); };
  const sign = verb => cx => { cx.fillStyle = colours.task; glyph(cx, verb, 15, 8, 4); };
  const line = lost => cx => {
    cx.strokeStyle = colours.task;
    cx.beginPath();
    cx.moveTo(2, 8);
    cx.lineTo(24, 8);
    cx.stroke();
    if (lost) cross(cx, [24, 8]); else arrowHead(cx, [2, 8], [28, 8], colours.task);
  };
  const rows = [
    [sign("<-"), "input of a node"], [sign("->"), "its order"], [sign("!"), "anything else"],
    [line(false), "message, from sending to arrival"], [line(true), "message that was lost"],
    [bar("alive"), "process lives"], [bar("ended"), "leads; job has ended"], [bar("running"), "runs; checkpoint completed"],
    [bar("waiting"), "restarts, restores; outdated leader"], [bar("failing"), "fails, stops; checkpoint aborted; not heard"],
    [cx => hatch(cx), "stands still; store is out"], [bar("bad"), "the promise breaks here"],
  ].map(([paint, text]) => make("li", {}, sample(paint), text));
  const keys = [["← →", "event before, after in the lane"], ["↑ ↓", "event in the lane above, below"], ["m", "along the message"],
    ["/", "search"], ["n N", "next, previous hit"], ["f", "the failure"], ["+ −", "zoom (or wheel)"], ["0", "whole run"], ["Esc", "select nothing"]];
  const help = keys.map(([key, text]) => make("li", {}, ...key.split(" ").flatMap(key => [make("kbd", {}, key), " "]), text));
  const pointer = ["0.2#3.1: vertex 0, subtask 2, epoch 3, attempt 1", "wheel: zoom", "shift + wheel, or wheel over the names: up and down", "drag: move", "click a name: fold its bars"];
  const third = rows.length / 2;
  by("legend").replaceChildren(make("ul", {}, ...rows.slice(0, third)), make("ul", {}, ...rows.slice(third)),
    make("ul", {}, ...help.slice(0, 5)), make("ul", {}, ...help.slice(5)), make("ul", {}, ...pointer.map(text => make("li", {}, text))));
}

function hatch(cx) {
  cx.strokeStyle = colours.hatch;
  cx.beginPath();
  for (let x = -14; x < 30; x += 6) {
    cx.moveTo(x, 15);
    cx.lineTo(x + 14, 1);
  }
  cx.stroke();
}

window.start = function start() {
  try {
    load(by("data").textContent);
  } catch (problem) {
    document.querySelectorAll("header, nav, main").forEach(part => { part.hidden = true; });
    by("wrong").hidden = false;
    by("wrong").textContent = typeof problem === "string" ? problem : "The page cannot show its run: " + problem.message;
    return;
  }
  readColours();
  showHeader();
  offerFilters();
  showLegend();
  listenToChart();
  listenToOverview();
  listenToKeys();
  listenToButtons();
  wholeRun();
  filtersChanged();
  drawNow();
  showPanel();
  // At once, before anything is painted: a chart of the old size would be stretched.
  new ResizeObserver(drawNow).observe(by("stage"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); showLegend(); draw(); });
  const link = new URLSearchParams(location.hash.slice(1));
  const entry = Number(link.get("e") ?? NaN);
  if (link.has("check")) check();
  else if (link.has("from")) setView(Number(link.get("from")), Number(link.get("to")));
  if (entry >= 0 && entry < run.entries.count) {
    show(entry);
    choose({ entry });
  }
  draw();
};
