// The attempts of every subtask along the time, as far as this leader has seen them.

import { useMemo, useState } from "preact/hooks";
import { clock, count, duration, moment, words } from "../format";
import { useSeconds, useView } from "../hooks";
import { now } from "../live";
import { type Column, Table } from "../parts/Table";
import { Loading, Problem, tone } from "../parts/small";
import type { Attempt, Attempts, Job } from "../types";

interface Line {
  id: string;
  name: string;
  attempts: Attempt[];
}

/** From when to when is shown. */
interface Span {
  from: number;
  to: number;
}

const WINDOWS: [string, number][] = [
  ["All", Infinity],
  ["1 h", 3_600_000],
  ["10 min", 600_000],
  ["1 min", 60_000],
];

interface Piece {
  state: string;
  from: number;
  to: number;
}

/** How long an attempt was in which state. A state in which it ended lasts for no time. */
function pieces(attempt: Attempt, until: number): Piece[] {
  const end = attempt["end-time"] > 0 ? attempt["end-time"] : until;
  return attempt.states.map(({ state, timestamp }, place) => ({
    state,
    from: timestamp,
    to: Math.max(timestamp, attempt.states[place + 1]?.timestamp ?? end),
  }));
}

function told(attempt: Attempt, until: number): string {
  const end = attempt["end-time"];
  const last = attempt.states[attempt.states.length - 1];
  const begun = attempt.states[0]?.timestamp ?? until;
  const lasted = duration((end > 0 ? end : until) - begun);
  const where = attempt["taskmanager-id"] === null ? "" : ` on ${attempt["taskmanager-id"]}`;
  const older = attempt.older ? ", begun before this leader" : "";
  return `Attempt ${attempt.epoch}-${attempt.attempt}${where}: ${words(last?.state ?? "")}, ${clock(begun)}, ${lasted}${older}`;
}

function Bars({ attempts, span }: { attempts: Attempt[]; span: Span }) {
  const width = span.to - span.from;
  const part = (at: number) => Math.max(0, Math.min(100, ((at - span.from) / width) * 100));
  const place = (from: number, to: number) => (bar: HTMLElement | null) => {
    if (bar === null) return;
    bar.style.left = `${part(from)}%`;
    bar.style.width = `${part(to) - part(from)}%`;
  };
  const shown = attempts.filter((attempt) => attempt["end-time"] < 0 || attempt["end-time"] >= span.from);
  return (
    <span class="timeline" role="list">
      {shown.map((attempt) => {
        const text = told(attempt, span.to);
        return (
          <span key={`${attempt.epoch}-${attempt.attempt}`} role="listitem" aria-label={text} title={text}>
            {pieces(attempt, span.to).map(({ state, from, to }) => (
              <i key={state} class={`${tone(state)} ${to === from ? "end" : ""}`} ref={place(from, to)} />
            ))}
          </span>
        );
      })}
    </span>
  );
}

const last = (line: Line) => line.attempts[line.attempts.length - 1];

export function Timeline({ job }: { job: Job }) {
  useSeconds();
  const { value, problem } = useView<Attempts>(
    `jobs/${job.jid}/attempts`,
    (event) => event.data["jid"] === job.jid && event.kind.startsWith("job-"),
  );
  const [longest, setLongest] = useState(Infinity);
  const lines = useMemo(() => {
    const names = new Map(job.vertices.map(({ id, name }) => [id, name]));
    const all = value?.subtasks ?? [];
    return all.map(({ vertex, subtask, attempts }): Line => {
      const name = `${(vertex && names.get(vertex)) ?? "?"} ${subtask}`;
      return { id: `${vertex}-${subtask}`, name, attempts };
    });
  }, [value, job.vertices]);
  if (value === undefined) return problem ? <Problem problem={problem} /> : <Loading what="its attempts" />;
  if (value["too-many"]) return <p class="note warn">The job has too many subtasks to keep the attempts of each.</p>;
  const to = job["end-time"] > 0 ? job["end-time"] : Math.max(now(), value.now);
  const begun = Math.max(job["start-time"], value.since);
  const span = { from: Math.min(Math.max(begun, to - longest), to - 1), to };
  const columns: Column<Line>[] = [
    { key: "name", title: "Subtask", by: (line) => line.name, cell: (line) => <span title={line.name}>{line.name}</span>, look: "subtask-cell" },
    {
      key: "attempts",
      title: "Attempt",
      by: (line) => last(line)?.attempt ?? 0,
      cell: (line) => `${last(line)?.epoch ?? 0}-${last(line)?.attempt ?? 0}`,
      look: "number narrow wide",
    },
    {
      key: "time",
      title: `${clock(span.from)} to ${clock(span.to)}, ${duration(span.to - span.from)}`,
      cell: (line) => <Bars attempts={line.attempts} span={span} />,
      look: "timeline-cell",
    },
  ];
  return (
    <section class="card" aria-labelledby="timeline-title">
      <div class="head">
        <h2 id="timeline-title">Attempts of its subtasks</h2>
        <span class="quiet">{`${count(lines.length)} subtasks, seen since ${moment(begun)}`}</span>
        <div class="chips" role="group" aria-label="How much time is shown">
          {WINDOWS.map(([name, ms]) => (
            <button key={name} type="button" class="chip" aria-pressed={longest === ms} onClick={() => setLongest(ms)}>
              {name}
            </button>
          ))}
        </div>
      </div>
      <Table label="Attempts of its subtasks" rows={lines} columns={columns} id={(line) => line.id} empty="None of its subtasks has been started." />
      <p class="quiet">
        Green is running, violet on the way to it; a mark at the end is red if the attempt failed, grey if it was canceled, and blue if it finished.
        Of each subtask the leader remembers the last eight attempts that it has seen, to some tens of milliseconds.
      </p>
    </section>
  );
}
