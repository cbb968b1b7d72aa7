// The chart: rows of lanes, with spans, messages and events. Everything is drawn anew each time, and
// things that would fall on the same pixel are drawn once: a long run costs no more than a short one.

const GUTTER = 118, AXIS = 24, STACK = 4, STEP = 9, BAR = 13, THIN = 10, GAP = 6;
const LANE_GROUPS = { jm: "JobManager", tm: "TaskManager" };
const chart = { rows: [], top: 0, height: 0, from: 0, to: 1, collapsed: new Set(), drawn: {} };
const colours = {}, widths = new Map();

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "soft", "line", "ink", "faint", "accent", "bad", "mark", "alive", "hatch", "select",
    "running", "waiting", "failing", "ended", "plain", ...run.kinds]) {
    colours[name] = style.getPropertyValue("--" + name).trim();
  }
}

const groupOf = lane => run.lanes[lane].split("-")[0];

/** Rows from top to bottom: a lane each; lives of JobManagers that never overlap share one. */
function layOut() {
  const rows = [], shared = [];
  run.lanes.forEach((name, lane) => {
    if (!wanted.lanes.has(name)) return;
    const times = groupOf(lane) === "jm" ? livesOf(lane) : null;
    const fits = times && shared.find(row => row.until < times[0]);
    if (fits) {
      fits.lanes.push(lane);
      fits.until = times[1];
      return;
    }
    const row = { lanes: [lane], until: times ? times[1] : 0 };
    if (times) shared.push(row);
    rows.push(row);
  });
  let y = 0;
  chart.rowOf = new Map();
  for (const row of rows) {
    row.name = row.lanes.length > 1 ? "jobmanagers" : run.names[row.lanes[0]];
    row.track = trackOf(row);
    row.entries = row.lanes.length > 1
      ? row.lanes.flatMap(lane => run.inLane[lane]).sort((a, b) => a - b) : run.inLane[row.lanes[0]];
    row.lives = spansOf(row, ["life"]);
    row.bands = spansOf(row, ["pause", "outage"]);
    row.bars = chart.collapsed.has(row.lanes[0]) ? [] : barsOf(row);
    row.y = y;
    row.height = row.bars.reduce((depth, bar) => Math.max(depth, bar.y + bar.height), row.track) + GAP;
    y += row.height;
    row.lanes.forEach(lane => chart.rowOf.set(lane, row));
  }
  chart.rows = rows;
  chart.height = y;
}

function spansOf(row, kinds) {
  const { spans } = run;
  const found = [];
  for (let at = 0; at < spans.count; at++) {
    if (kinds.includes(run.spanKinds[spans.kind[at]]) && row.lanes.includes(spans.lane[at])) found.push(at);
  }
  return found;
}

/** The height of a row's events: as many lines as its fullest instant needs, and room for a name. */
function trackOf(row) {
  let lines = 1;
  for (const lane of row.lanes) {
    for (const entry of run.inLane[lane]) lines = Math.max(lines, Math.min(STACK, run.place[entry] + 1));
  }
  return Math.max(12 + lines * STEP, groupOf(row.lanes[0]).length === 2 ? 44 : 30);
}

function livesOf(lane) {
  const { spans } = run;
  let begin = Infinity, end = 0;
  for (let at = 0; at < spans.count; at++) {
    if (spans.lane[at] !== lane) continue;
    begin = Math.min(begin, spans.begin[at]);
    end = Math.max(end, spans.end[at]);
  }
  return begin === Infinity ? [0, run.end] : [begin, end];
}

/** The spans below a row's events, each at its depth; attempts of one task one after the other. */
function barsOf(row) {
  const { spans } = run;
  const bars = [], groups = new Map();
  for (let at = 0; at < spans.count; at++) {
    if (!run.seenSpans[at] || !row.lanes.includes(spans.lane[at])) continue;
    const kind = run.spanKinds[spans.kind[at]];
    if (kind === "life" || kind === "pause" || kind === "outage") continue;
    const subject = run.abouts[spans.about[at]][0] ?? [];
    const key = { leads: "0", outdated: "0", cut: "1", job: "2:" + subject[0], checkpoint: "3:" + subject[0] }[kind] ?? "4";
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push({ span: at, kind });
  }
  let depth = row.track;
  for (const key of [...groups.keys()].sort()) {
    const ends = [], whose = [], latest = [];
    const attempts = key === "4", height = attempts ? THIN : BAR;
    for (const bar of groups.get(key)) {
      const [begin, end] = [spans.begin[bar.span], spans.end[bar.span]];
      const task = attempts ? String(run.abouts[spans.about[bar.span]][0]) : "";
      let line = attempts ? ends.findIndex((last, at) => last <= begin && whose[at] === task) : NONE;
      if (line < 0) line = ends.findIndex(last => last <= begin);
      if (line < 0) line = ends.push(0) - 1;
      ends[line] = end;
      whose[line] = task;
      const placed = { ...bar, y: depth + line * (height + 2), height, next: Infinity };
      if (latest[line]) latest[line].next = begin;
      latest[line] = placed;
      bars.push(placed);
    }
    depth += ends.length * (height + 2) + 2;
  }
  return bars;
}

const plotWidth = () => chart.width - GUTTER;
const xOf = at => GUTTER + (at - chart.from) / (chart.to - chart.from) * plotWidth();
const timeOf = x => chart.from + (x - GUTTER) / plotWidth() * (chart.to - chart.from);

/** Where an entry stands, in the chart. */
function spot(entry) {
  const row = chart.rowOf.get(run.entries.lane[entry]);
  const place = run.place[entry];
  const y = AXIS + row.y - chart.top + 8 + (place % STACK) * STEP;
  return [xOf(run.entries.at[entry]) + Math.floor(place / STACK) * columnStep(entry), y];
}

/** Events of one instant that do not fit below each other go to the right, as far as the next instant lets them. */
function columnStep(entry) {
  const columns = Math.ceil(run.together[entry] / STACK);
  if (columns < 2) return 0;
  const room = (run.after[entry] - run.entries.at[entry]) / (chart.to - chart.from) * plotWidth() - STEP;
  // Far out, sideways is time: hardly any of it.
  const most = chart.to - chart.from > 3e6 ? STEP : columns * STEP;
  return Math.max(0, Math.min(room, most)) / columns;
}

/** Both ends of a message. */
function endsOf(message) {
  const { messages } = run;
  const end = (entry, lane, at) => {
    if (entry !== NONE && run.seen[entry]) return spot(entry);
    return [xOf(at), AXIS + chart.rowOf.get(lane).y - chart.top + 8];
  };
  const a = end(messages.sentBy[message], messages.from[message], messages.sent[message]);
  const b = end(messages.receivedAs[message], messages.to[message], messages.ends[message]);
  if (!messages.lost[message] && messages.passage[message] !== null) return [a, b];
  // What never arrives ends on its way.
  const part = messages.lost[message] ? 0.7 : 0.9;
  return [a, [xOf(messages.ends[message]), a[1] + (b[1] - a[1]) * part]];
}

function sized(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const cx = canvas.getContext("2d");
  cx.setTransform(ratio, 0, 0, ratio, 0, 0);
  cx.fillStyle = colours.paper;
  cx.fillRect(0, 0, width, height);
  return [cx, width, height];
}

/** How wide a text is; measuring is slow, and most texts come again. */
function widthOf(cx, text) {
  const key = cx.font + text;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 20000) widths.clear();
    width = cx.measureText(text).width;
    widths.set(key, width);
  }
  return width;
}

const font = (size, weight = "") => weight + " " + size + "px " + getComputedStyle(document.body).fontFamily;

function drawChart() {
  const [cx, width, height] = sized(document.getElementById("chart"));
  Object.assign(chart, { width, shown: height - AXIS });
  chart.top = Math.max(0, Math.min(chart.top, chart.height - chart.shown));
  chart.drawn = { lanes: 0, events: 0, messages: 0, spans: 0, labels: 0 };
  chart.fonts = { tiny: font(8), small: font(10), label: font(11), name: font(12, "600") };
  cx.save();
  cx.beginPath();
  cx.rect(GUTTER, AXIS, width - GUTTER, height - AXIS);
  cx.clip();
  const rows = chart.rows.filter(row => row.y + row.height >= chart.top && row.y <= chart.top + chart.shown);
  rows.forEach(row => drawRow(cx, row, chart.rows.indexOf(row)));
  drawGrid(cx, height);
  rows.forEach(row => drawBars(cx, row));
  rows.forEach(row => drawBands(cx, row));
  drawMessages(cx, height);
  rows.forEach(row => drawEvents(cx, row));
  drawSelected(cx);
  drawFailure(cx, height);
  cx.restore();
  drawGutter(cx, height);
  drawAxis(cx);
  drawScroll(cx, height);
}

function drawRow(cx, row, at) {
  const y = AXIS + row.y - chart.top;
  if (at % 2) {
    cx.fillStyle = colours.soft;
    cx.fillRect(GUTTER, y, plotWidth(), row.height);
  }
  const { spans } = run;
  for (const span of row.lives) {
    const [a, b] = [xOf(spans.begin[span]), xOf(spans.end[span])];
    if (b < GUTTER || a > chart.width) continue;
    cx.fillStyle = colours.alive;
    cx.fillRect(a, y + 1, b - a, row.height - 3);
    cx.strokeStyle = colours.line;
    cx.strokeRect(Math.round(a) + .5, y + 1.5, b - a, row.height - 4);
    if (row.lanes.length > 1 || groupOf(spans.lane[span]) === "tm") nameLife(cx, row, span, a, b, y);
  }
}

function nameLife(cx, row, span, a, b, y) {
  const lane = run.spans.lane[span];
  const name = groupOf(lane) === "jm" ? run.lanes[lane] : string(run.spans.label[span]);
  cx.font = chart.fonts.small;
  const x = Math.max(a, GUTTER) + 4;
  if (x + widthOf(cx, name) + 4 > b) return;
  cx.fillStyle = colours.faint;
  cx.fillText(name, x, y + row.track - 3);
}

const STATUS = {
  RUNNING: "running", FINISHED: "ended", CANCELED: "ended", CANCELLING: "ended", FAILED: "failing", FAILING: "failing",
  RESTARTING: "waiting", RECONCILING: "waiting",
};

function barColour(bar) {
  const outcome = string(run.spans.outcome[bar.span]), label = string(run.spans.label[bar.span]);
  switch (bar.kind) {
    case "leads": return colours.ended;
    case "outdated": return colours.waiting;
    case "cut": return colours.failing;
    case "job": return colours[STATUS[label] ?? "plain"];
    case "checkpoint":
      return outcome === "completed" ? colours.running : outcome ? colours.failing : colours.plain;
    case "restoring": return colours.waiting;
    case "stopping": return colours.failing;
    default: return colours.running;
  }
}

function drawBars(cx, row) {
  const { spans } = run;
  const y = AXIS + row.y - chart.top;
  const last = new Map();
  for (const bar of row.bars) {
    const a = xOf(spans.begin[bar.span]), b = xOf(spans.end[bar.span]);
    if (b < GUTTER - 2 || a > chart.width) continue;
    const width = Math.max(b - a, 2);
    if (width <= 2 && last.get(bar.y) === Math.round(a)) continue;
    last.set(bar.y, Math.round(a));
    chart.drawn.spans++;
    cx.fillStyle = barColour(bar);
    cx.fillRect(a, y + bar.y, width, bar.height);
    cx.fillStyle = bar.kind === "checkpoint" ? colours.checkpoint : colours.faint;
    cx.fillRect(a, y + bar.y, 1, bar.height);
    if (selected?.span === bar.span) {
      cx.strokeStyle = colours.select;
      cx.lineWidth = 2;
      cx.strokeRect(a, y + bar.y, width, bar.height);
      cx.lineWidth = 1;
    }
    labelBar(cx, bar, Math.max(a, GUTTER), b, y + bar.y);
  }
}

/** The name of a bar, which may stand out of it where the next one leaves room. */
function labelBar(cx, bar, a, b, y) {
  const end = Math.max(b, Math.min(xOf(bar.next), chart.width));
  if (end - a < 24) return;
  const subjects = run.abouts[run.spans.about[bar.span]];
  const job = bar.kind === "job" && run.jobs.length > 1 ? jobName(subjects[0][0]) + " " : "";
  const label = job + string(run.spans.label[bar.span]);
  cx.font = bar.height > 10 ? chart.fonts.small : chart.fonts.tiny;
  const width = widthOf(cx, label);
  if (width + 6 > end - a) return;
  cx.fillStyle = colours.ink;
  cx.fillText(label, a + 4, y + bar.height - (bar.height > 10 ? 3 : 2));
  const outcome = string(run.spans.outcome[bar.span]);
  if (outcome && bar.kind === "checkpoint" && width + widthOf(cx, outcome) + 16 < b - a) {
    cx.fillStyle = colours.faint;
    cx.fillText(outcome, a + width + 10, y + bar.height - 3);
  }
}

/** What stands still or is out lies over everything else of its row. */
function drawBands(cx, row) {
  const { spans } = run;
  const y = AXIS + row.y - chart.top;
  for (const at of row.bands) {
    const a = Math.max(xOf(spans.begin[at]), GUTTER), b = Math.min(xOf(spans.end[at]), chart.width);
    if (b <= a) continue;
    cx.save();
    cx.beginPath();
    cx.rect(a, y + 1, b - a, row.height - 3);
    cx.clip();
    cx.globalAlpha = .55;
    cx.strokeStyle = colours.hatch;
    cx.beginPath();
    for (let x = a - row.height - (a % 7); x < b; x += 7) {
      cx.moveTo(x, y + row.height);
      cx.lineTo(x + row.height, y);
    }
    cx.stroke();
    cx.globalAlpha = 1;
    cx.font = chart.fonts.small;
    cx.fillStyle = colours.ink;
    const label = string(spans.label[at]);
    const width = widthOf(cx, label);
    if (b - a > width + 8) {
      cx.fillStyle = colours.paper;
      cx.fillRect(a + 2, y + row.height - 17, width + 6, 13);
      cx.fillStyle = colours.fault;
      cx.fillText(label, a + 5, y + row.height - 7);
    }
    cx.restore();
  }
}

function drawMessages(cx, height) {
  const { messages } = run;
  const begin = first(messages.count, at => messages.reach[at] >= chart.from);
  const end = first(messages.count, at => messages.sent[at] > chart.to);
  const last = new Map();
  const paths = run.kinds.map(() => new Path2D());
  const heads = [], crosses = [];
  // Far out, lines beside each other are one grey: fewer of them show the same.
  const busy = end - begin > 3000, grain = busy ? 3 : 1;
  for (let at = begin; at < end; at++) {
    if (!run.seenMessages[at] || messages.ends[at] < chart.from) continue;
    const lanes = messages.from[at] * 4096 + messages.to[at];
    const pixel = Math.round(xOf(messages.sent[at]) / grain) * 65536 + Math.round(xOf(messages.ends[at]) / grain) * 2 + messages.lost[at];
    if (last.get(lanes) === pixel) continue;
    last.set(lanes, pixel);
    const [a, b] = endsOf(at);
    if ((a[1] < AXIS && b[1] < AXIS) || (a[1] > height && b[1] > height)) continue;
    chart.drawn.messages++;
    const path = paths[messages.kind[at]];
    path.moveTo(a[0], a[1]);
    path.lineTo(b[0], b[1]);
    if (messages.lost[at]) crosses.push(b);
    else if (!busy) heads.push([a, b, messages.kind[at]]);
  }
  cx.globalAlpha = busy ? .35 : .7;
  paths.forEach((path, kind) => {
    cx.strokeStyle = colours[run.kinds[kind]];
    cx.stroke(path);
  });
  for (const [a, b, kind] of heads) arrowHead(cx, a, b, colours[run.kinds[kind]]);
  cx.globalAlpha = 1;
  crosses.forEach(at => cross(cx, at));
}

function arrowHead(cx, [ax, ay], [bx, by], colour) {
  const angle = Math.atan2(by - ay, bx - ax);
  const at = turn => [bx - 3 * Math.cos(angle) - 7 * Math.cos(angle + turn), by - 3 * Math.sin(angle) - 7 * Math.sin(angle + turn)];
  cx.fillStyle = colour;
  cx.beginPath();
  cx.moveTo(bx - 3 * Math.cos(angle), by - 3 * Math.sin(angle));
  cx.lineTo(...at(.35));
  cx.lineTo(...at(-.35));
  cx.fill();
}

function cross(cx, [x, y]) {
  cx.strokeStyle = colours.fault;
  cx.lineWidth = 2;
  cx.beginPath();
  cx.moveTo(x - 4, y - 4);
  cx.lineTo(x + 4, y + 4);
  cx.moveTo(x + 4, y - 4);
  cx.lineTo(x - 4, y + 4);
  cx.stroke();
  cx.lineWidth = 1;
}

/** An input is a disc, an order a triangle, anything else a diamond: the colour is not all. */
function glyph(cx, verb, x, y, size) {
  cx.beginPath();
  if (verb === "<-") {
    cx.arc(x, y, size, 0, 7);
  } else if (verb === "->") {
    cx.moveTo(x - size, y - size);
    cx.lineTo(x + size + 1, y);
    cx.lineTo(x - size, y + size);
  } else {
    cx.moveTo(x, y - size - 1);
    cx.lineTo(x + size + 1, y);
    cx.lineTo(x, y + size + 1);
    cx.lineTo(x - size - 1, y);
  }
  cx.fill();
}

function drawEvents(cx, row) {
  const { entries } = run;
  const list = row.entries;
  const margin = (chart.to - chart.from) / plotWidth() * 60;
  const begin = first(list.length, at => entries.at[list[at]] >= chart.from - margin);
  const end = first(list.length, at => entries.at[list[at]] > chart.to);
  const taken = new Set();
  cx.font = chart.fonts.label;
  for (let at = begin; at < end; at++) {
    const entry = list[at];
    const [x, y] = spot(entry);
    const pixel = Math.round(x / 2) * 64 + (run.place[entry] % STACK) * 16 + entries.kind[entry];
    const hit = run.isHit?.[entry];
    if (taken.has(pixel) && !hit) continue;
    taken.add(pixel);
    chart.drawn.events++;
    cx.globalAlpha = run.isHit && !hit ? .25 : 1;
    if (hit) {
      cx.fillStyle = colours.mark;
      cx.fillRect(x - 5, y - 5, 10, 10);
    }
    cx.fillStyle = colours[run.kinds[entries.kind[entry]]];
    glyph(cx, string(entries.verb[entry]), x, y, 2.6);
    labelEvent(cx, list, at, x, y);
  }
  cx.globalAlpha = 1;
}

/** Words beside an event, where the next ones leave room. */
function labelEvent(cx, list, at, x, y) {
  const { entries } = run;
  const entry = list[at];
  let next = at + 1;
  while (next < list.length && entries.at[list[next]] === entries.at[entry]) next++;
  const room = (next < list.length ? xOf(entries.at[list[next]]) : chart.width) - x;
  if (room < 46 || (run.place[entry] >= STACK)) return;
  const wide = list[at + STACK] !== undefined && entries.at[list[at + STACK]] === entries.at[entry];
  if (wide) return;
  const title = titleOf(entry);
  if (widthOf(cx, title) + 14 > room) return;
  chart.drawn.labels++;
  cx.font = chart.fonts.small;
  cx.fillStyle = colours.ink;
  cx.fillText(title, x + 7, y + 3);
  cx.font = chart.fonts.label;
}

function drawSelected(cx) {
  if (!selected) return;
  const messages = selected.message !== undefined ? [selected.message] : run.messagesOf.get(selected.entry) ?? [];
  cx.lineWidth = 2.5;
  for (const message of messages) {
    const { from, to, kind } = run.messages;
    if (!chart.rowOf.has(from[message]) || !chart.rowOf.has(to[message])) continue;
    const [a, b] = endsOf(message);
    cx.strokeStyle = colours[run.kinds[kind[message]]];
    cx.beginPath();
    cx.moveTo(...a);
    cx.lineTo(...b);
    cx.stroke();
    if (run.messages.lost[message]) cross(cx, b); else arrowHead(cx, a, b, cx.strokeStyle);
    cx.lineWidth = 2.5;
  }
  if (selected.entry !== undefined && chart.rowOf.has(run.entries.lane[selected.entry])) {
    const [x, y] = spot(selected.entry);
    cx.strokeStyle = colours.select;
    cx.lineWidth = 2;
    cx.beginPath();
    cx.arc(x, y, 7, 0, 7);
    cx.stroke();
  }
  cx.lineWidth = 1;
}

function drawFailure(cx, height) {
  if (!run.run.verdict) return;
  const x = xOf(run.run.simulated);
  cx.strokeStyle = colours.bad;
  cx.lineWidth = 2;
  cx.beginPath();
  cx.moveTo(x, AXIS);
  cx.lineTo(x, height);
  cx.stroke();
  cx.lineWidth = 1;
  cx.font = chart.fonts.name;
  const name = run.run.verdict.name, width = widthOf(cx, name) + 12;
  const left = x + width > chart.width ? x - width : x;
  cx.fillStyle = colours.bad;
  cx.fillRect(left, height - 22, width, 18);
  cx.fillStyle = colours.paper;
  cx.fillText(name, left + 6, height - 9);
}

function drawGutter(cx, height) {
  cx.fillStyle = colours.paper;
  cx.fillRect(0, AXIS, GUTTER, height - AXIS);
  cx.save();
  cx.beginPath();
  cx.rect(0, AXIS, GUTTER, height - AXIS);
  cx.clip();
  for (const row of chart.rows) {
    const y = AXIS + row.y - chart.top;
    chart.drawn.lanes += row.lanes.length;
    cx.strokeStyle = colours.line;
    cx.beginPath();
    cx.moveTo(0, Math.round(y + row.height) - .5);
    cx.lineTo(chart.width, Math.round(y + row.height) - .5);
    cx.stroke();
    cx.font = chart.fonts.name;
    cx.fillStyle = colours.ink;
    cx.fillText(row.name, 20, y + 15, GUTTER - 26);
    cx.font = chart.fonts.small;
    cx.fillStyle = colours.faint;
    const group = row.lanes.length > 1 ? row.lanes.length + " lives" : LANE_GROUPS[groupOf(row.lanes[0])] ?? "";
    cx.fillText(group, 20, y + 28);
    if (row.bars.length || chart.collapsed.has(row.lanes[0])) {
      cx.fillText(chart.collapsed.has(row.lanes[0]) ? "▸" : "▾", 7, y + 15);
    }
  }
  cx.restore();
  cx.strokeStyle = colours.line;
  cx.strokeRect(GUTTER - .5, -1, 0, height + 2);
}

function ticks() {
  const about = (chart.to - chart.from) / Math.max(plotWidth() / 110, 1);
  const unit = 10 ** Math.floor(Math.log10(about));
  const step = Math.max(1, [1, 2, 5, 10].map(n => n * unit).find(n => n >= about));
  const all = [];
  for (let at = Math.ceil(Math.max(chart.from, 0) / step) * step; at <= chart.to; at += step) all.push(at);
  return [all, step];
}

function drawGrid(cx, height) {
  cx.strokeStyle = colours.line;
  cx.globalAlpha = .6;
  cx.beginPath();
  for (const at of ticks()[0]) {
    const x = Math.round(xOf(at)) + .5;
    cx.moveTo(x, AXIS);
    cx.lineTo(x, height);
  }
  cx.stroke();
  cx.globalAlpha = 1;
}

function drawAxis(cx) {
  cx.fillStyle = colours.soft;
  cx.fillRect(0, 0, chart.width, AXIS);
  cx.font = chart.fonts.label;
  cx.fillStyle = colours.faint;
  const [all, step] = ticks();
  const digits = Math.max(0, 6 - Math.floor(Math.log10(step)));
  for (const at of all) {
    if (xOf(at) > GUTTER + 4) cx.fillText((at / 1e6).toFixed(digits) + " s", xOf(at) + 4, 16);
  }
  cx.fillStyle = colours.soft;
  cx.fillRect(0, 0, GUTTER, AXIS);
  cx.fillStyle = colours.faint;
  cx.fillText(lasting(Math.round(chart.to - chart.from)) + " shown", 8, 16);
}

function drawScroll(cx, height) {
  if (chart.height <= chart.shown) return;
  const part = chart.shown / chart.height;
  cx.fillStyle = colours.faint;
  cx.globalAlpha = .5;
  cx.fillRect(chart.width - 6, AXIS + chart.top * part, 4, Math.max(20, chart.shown * part));
  cx.globalAlpha = 1;
}

/** The whole run: how much happens when, what is broken, and what the chart shows of it. */
function drawOverview() {
  const [cx, width, height] = sized(document.getElementById("overview"));
  const x = at => GUTTER + at / run.end * (width - GUTTER - 2);
  const { spans } = run;
  cx.font = chart.fonts.label;
  cx.fillStyle = colours.faint;
  cx.fillText(run.count.toLocaleString("en") + " events", 8, 26);
  const [bins, most] = histogram(Math.max(1, Math.ceil((width - GUTTER) / 2)));
  for (let at = 0; at < spans.count; at++) {
    const kind = run.spanKinds[spans.kind[at]];
    const row = { pause: 0, outage: 4, cut: 8 }[kind];
    if (row === undefined) continue;
    cx.fillStyle = kind === "pause" ? colours.hatch : colours.fault;
    cx.fillRect(x(spans.begin[at]), row, Math.max(1, x(spans.end[at]) - x(spans.begin[at])), 3);
  }
  cx.fillStyle = colours.accent;
  bins.forEach((count, at) => {
    const size = count && Math.max(1, Math.sqrt(count / most) * (height - 16));
    cx.fillRect(GUTTER + at * 2, height - size, 2, size);
  });
  const [a, b] = [x(Math.max(0, chart.from)), x(Math.min(run.end, chart.to))];
  cx.fillStyle = colours.ink;
  cx.globalAlpha = .09;
  cx.fillRect(GUTTER, 0, a - GUTTER, height);
  cx.fillRect(b, 0, width - b, height);
  cx.globalAlpha = 1;
  cx.strokeStyle = colours.ink;
  cx.strokeRect(Math.round(a) + .5, .5, Math.max(3, b - a), height - 1);
  if (run.run.verdict) {
    cx.fillStyle = colours.bad;
    cx.fillRect(x(run.run.simulated) - 1, 0, 2, height);
  }
}

/** How many of the visible entries there are in each of so many parts of the run, and the most of them. */
function histogram(parts) {
  const { entries } = run;
  if (chart.histogram?.seen === run.seen && chart.histogram.bins.length === parts) {
    return [chart.histogram.bins, chart.histogram.most];
  }
  const bins = new Uint32Array(parts);
  let most = 1;
  for (let at = 0; at < entries.count; at++) {
    if (!run.seen[at]) continue;
    const bin = Math.min(parts - 1, Math.floor(entries.at[at] / run.end * parts));
    most = Math.max(most, ++bins[bin]);
  }
  chart.histogram = { seen: run.seen, bins, most };
  return [bins, most];
}
