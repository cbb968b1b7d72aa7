// The page tries itself when it is opened with #check: real events of mouse and keys, and what came of
// them in #findings, for a test that reads it.

function check() {
  const findings = {};
  try {
    Object.assign(findings, tried());
  } catch (problem) {
    findings.problem = String(problem?.stack ?? problem);
  }
  by("findings").textContent = JSON.stringify(findings);
}

function tried() {
  const canvas = by("chart");
  const at = (type, x, y, more) => {
    const box = canvas.getBoundingClientRect();
    const place = { clientX: box.left + x, clientY: box.top + y, bubbles: true, cancelable: true, pointerId: 1 };
    canvas.dispatchEvent(new (type === "wheel" ? WheelEvent : PointerEvent)(type, { ...place, ...more }));
    drawNow();
  };
  const press = key => {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    drawNow();
  };
  const panel = () => by("panel").innerText;
  const found = {};
  found.lanes = chart.drawn.lanes;
  found.events = run.count;
  found.drawn = { ...chart.drawn };
  found.options = by("options").textContent.length;
  found.verdict = by("verdict").textContent;
  found.scrolls = document.documentElement.scrollWidth > innerWidth;
  found.asked = performance.getEntriesByType("resource").length;
  showEverything();
  found.allEvents = run.count;
  const begun = performance.now();
  for (let turn = 0; turn < 10; turn++) drawNow();
  found.millisPerDraw = (performance.now() - begun) / 10;
  HIDDEN_AT_FIRST.forEach(kind => wanted.kinds.delete(kind));
  filtersChanged();

  const entry = run.inLane.flat().find(entry => (run.messagesOf.get(entry) ?? []).some(m => run.messages.receivedAs[m] !== NONE
    && run.messages.sentBy[m] === entry && run.seen[run.messages.receivedAs[m]]));
  setView(run.entries.at[entry] - 500, run.entries.at[entry] + 500);
  reveal(run.entries.at[entry], run.entries.lane[entry]);
  drawNow();
  const [x, y] = spot(entry);
  at("pointermove", x, y);
  found.tip = by("tip").textContent;
  found.pixel = [...canvas.getContext("2d").getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data];
  at("pointerdown", x, y);
  at("pointerup", x, y);
  found.text = string(run.entries.what[entry]);
  found.clicked = panel();
  press("m");
  found.jumped = run.lanes[run.entries.lane[selected.entry]];
  found.expected = run.lanes[run.messages.to[run.messagesOf.get(entry)[0]]];
  const before = selected.entry;
  press("ArrowRight");
  found.next = selected.entry > before && run.entries.lane[selected.entry] === run.entries.lane[before];
  const span = chart.to - chart.from;
  at("wheel", x, y, { deltaY: -100 });
  found.zoomed = chart.to - chart.from < span;
  wholeRun();
  Object.assign(found, triedFilters(press));
  return found;
}

function triedFilters(press) {
  const found = {};
  const count = () => run.count;
  const all = count();
  const chip = kind => document.querySelector('#kinds [data-kind="' + kind + '"]');
  chip("heartbeat").click();
  found.withHeartbeats = count() > all;
  chip("heartbeat").click();
  found.withoutAgain = count() === all;
  const box = document.querySelector("#lanes input[value^=tm]");
  box.click();
  drawNow();
  found.lanesWithoutOne = chart.drawn.lanes;
  box.click();
  const offered = by("checkpoint").options;
  if (offered.length > 1) {
    by("checkpoint").value = offered[1].value;
    by("checkpoint").onchange();
    found.ofCheckpoint = count();
    setFilters(NONE, NONE);
  }
  press("/");
  found.searching = document.activeElement === by("search");
  by("search").value = "welcome";
  by("search").dispatchEvent(new Event("input"));
  found.hits = run.hits.length;
  by("search").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  found.hit = by("panel").innerText.slice(0, 80);
  setWords("");
  by("chart").focus();
  press("f");
  found.atFailure = run.run.verdict ? chart.from < run.run.simulated && run.run.simulated < chart.to : null;
  found.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return found;
}
