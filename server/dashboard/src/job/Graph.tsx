// The graph of a job, laid out from left to right, and the subtasks of the vertex that is chosen.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { amount, bytes, count, rate, words } from "../format";
import { useView } from "../hooks";
import { type Column, Table } from "../parts/Table";
import { Bar, Loading, Problem, State, hasEnded, tone } from "../parts/small";
import type { Job, Subtask, Vertex, VertexDetails } from "../types";
import type { Answer, Question } from "./layout";
import { type Rates, useRates } from "./rates";

/** The size of a vertex. The style sheet has the same. */
const WIDTH = 228;
const HEIGHT = 112;
const ZOOMS = [0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5];

function question(job: Job): Question {
  const here = new Set(job.vertices.map(({ id }) => id));
  const edges = job.plan.nodes.flatMap(({ id, inputs = [] }) => inputs.map((input): [string, string] => [input.id, id]));
  return {
    width: WIDTH,
    height: HEIGHT,
    nodes: job.vertices.map(({ id }) => id),
    edges: edges.filter(([from, to]) => here.has(from) && here.has(to)),
  };
}

/** Asks a worker where everything stands, once for each shape of the graph. */
function useLayout(job: Job): { question: Question; answer: Answer } | undefined {
  const asked = useMemo(() => JSON.stringify(question(job)), [job]);
  const [placed, setPlaced] = useState<{ asked: string; answer: Answer }>();
  useEffect(() => {
    const worker = new Worker(new URL("./layout.ts", import.meta.url), { type: "module" });
    worker.onmessage = (message: MessageEvent<Answer>) => setPlaced({ asked, answer: message.data });
    worker.postMessage(JSON.parse(asked));
    return () => worker.terminate();
  }, [asked]);
  if (placed?.asked !== asked) return undefined;
  return { question: JSON.parse(asked) as Question, answer: placed.answer };
}

function line(points: [number, number][]): string {
  const [first, ...rest] = points;
  if (first === undefined) return "";
  let path = `M${first[0]},${first[1]}`;
  let [x, y] = first;
  for (const [toX, toY] of rest) {
    const middle = (x + toX) / 2;
    path += ` C${middle},${y} ${middle},${toY} ${toX},${toY}`;
    [x, y] = [toX, toY];
  }
  return path;
}

interface CardProps {
  vertex: Vertex;
  rates: Rates | undefined;
  /** Whether anything comes in, and goes out. */
  flows: [boolean, boolean];
  at: [number, number];
  chosen: boolean;
  choose: () => void;
}

function Card({ vertex, rates, flows, at, chosen, choose }: CardProps) {
  const place = (card: HTMLElement | null) => {
    if (card !== null) card.style.transform = `translate(${at[0]}px, ${at[1]}px)`;
  };
  return (
    <button type="button" class={`vertex ${tone(vertex.status)}`} aria-pressed={chosen} onClick={choose} ref={place}>
      <span class="vertex-name" title={vertex.name}>
        {vertex.name}
      </span>
      <span class="vertex-line">
        <State state={vertex.status} />
        <span title={`Parallelism ${vertex.parallelism}, at most ${vertex.maxParallelism}`}>{`× ${count(vertex.parallelism)}`}</span>
      </span>
      <Bar counts={vertex.tasks} label="Tasks" />
      <span class="vertex-line flow">
        <span title="Records read per second">{flows[0] && `in ${rate(rates?.read)}`}</span>
        <span title="Records written per second">{flows[1] && `out ${rate(rates?.written)}`}</span>
      </span>
    </button>
  );
}

/** Moves what is scrolled along with the pointer. */
function useDrag() {
  const frame = useRef<HTMLDivElement>(null);
  const from = useRef<{ x: number; y: number; left: number; top: number } | undefined>(undefined);
  const press = (event: PointerEvent) => {
    const shown = frame.current;
    if (shown === null || event.pointerType !== "mouse" || event.button !== 0 || event.target !== event.currentTarget) return;
    from.current = { x: event.clientX, y: event.clientY, left: shown.scrollLeft, top: shown.scrollTop };
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
  };
  const move = (event: PointerEvent) => {
    if (from.current === undefined || frame.current === null) return;
    frame.current.scrollLeft = from.current.left - (event.clientX - from.current.x);
    frame.current.scrollTop = from.current.top - (event.clientY - from.current.y);
  };
  const release = () => (from.current = undefined);
  return { frame, press, move, release };
}

/** The largest step at which all of it can be seen, or that is still to be read. */
function fitting(frame: HTMLElement, answer: Answer): number {
  const tallest = Math.max(320, innerHeight * 0.56);
  const fits = ZOOMS.filter((zoom) => answer.width * zoom <= frame.clientWidth && answer.height * zoom <= tallest);
    // Where letters are large, because the window is, vertices may be so, too.
  const largest = parseFloat(getComputedStyle(document.documentElement).fontSize) / 13;
  return Math.max(...ZOOMS.filter((zoom) => zoom <= largest && zoom <= (fits[fits.length - 1] ?? 0)), ZOOMS[0] ?? 1);
}

interface CanvasProps {
  job: Job;
  rates: Map<string, Rates>;
  chosen: string | undefined;
  choose: (id: string) => void;
  /** What there is to say of the graph. */
  note: string;
}

function Canvas({ job, rates, chosen, choose, note }: CanvasProps) {
  const laid = useLayout(job);
  const [zoom, setZoom] = useState(1);
  const { frame, press, move, release } = useDrag();
  const answer = laid?.answer;
  const fit = () => frame.current && answer && setZoom(fitting(frame.current, answer));
  useEffect(() => {
    if (frame.current && answer) setZoom(Math.max(0.6, fitting(frame.current, answer)));
  }, [answer]);
  const step = (by: number) => setZoom(ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, ZOOMS.indexOf(zoom) + by))] ?? 1);
  if (laid === undefined || answer === undefined) return <Loading what="how the graph is best laid out" />;
  const [from, into] = [0, 1].map((end) => new Set(laid.question.edges.map((edge) => edge[end]))) as [Set<string>, Set<string>];
  const vertices = new Map(job.vertices.map((vertex) => [vertex.id, vertex]));
  const size = (shown: SVGElement | HTMLElement | null, by: number) => {
    if (shown === null) return;
    shown.style.width = `${answer.width * by}px`;
    shown.style.height = `${answer.height * by}px`;
  };
  return (
    <>
      <div class="above">
        <p class="quiet">{note}</p>
        <div class="zoom" role="group" aria-label="Size of the graph">
          <button type="button" onClick={() => step(-1)} aria-label="Smaller" disabled={zoom === ZOOMS[0]}>
            −
          </button>
          <button type="button" onClick={fit}>
            Fit
          </button>
          <button type="button" onClick={() => step(1)} aria-label="Larger" disabled={zoom === ZOOMS[ZOOMS.length - 1]}>
            +
          </button>
        </div>
      </div>
      <div class="frame" ref={frame} tabIndex={0} role="group" aria-label={`Graph of ${laid.question.nodes.length} vertices`}>
        <div class="sheet" ref={(sheet) => size(sheet, zoom)}>
          <div
            class="sheet-inner"
            onPointerDown={press}
            onPointerMove={move}
            onPointerUp={release}
            onPointerCancel={release}
            ref={(inner) => {
              size(inner, 1);
              if (inner !== null) inner.style.transform = `scale(${zoom})`;
            }}
          >
            <svg aria-hidden="true" width={answer.width} height={answer.height}>
              <defs>
                <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="10" markerHeight="10" orient="auto" markerUnits="userSpaceOnUse">
                  <path d="M0,0 L8,4 L0,8 z" />
                </marker>
              </defs>
              {answer.edges.map((points, number) => (
                <path
                  key={number}
                  d={line(points)}
                  class={laid.question.edges[number]?.includes(chosen ?? "") ? "edge chosen" : "edge"}
                  marker-end="url(#arrow)"
                />
              ))}
            </svg>
            {laid.question.nodes.map((id, number) => {
              const vertex = vertices.get(id);
              const at = answer.nodes[number];
              if (vertex === undefined || at === undefined) return null;
              return (
                <Card
                  key={id}
                  vertex={vertex}
                  rates={rates.get(id)}
                  flows={[into.has(id), from.has(id)]}
                  at={at}
                  chosen={id === chosen}
                  choose={() => choose(id)}
                />
              );
            })}
          </div>
        </div>
      </div>
    </>
  );
}

type Line = Subtask & { rates: Rates | undefined };

function known(complete: boolean, text: string): string {
  return complete ? text : "–";
}

const COLUMNS: Column<Line>[] = [
  { key: "subtask", title: "Subtask", by: (line) => line.subtask, cell: (line) => line.subtask, look: "number narrow" },
  { key: "state", title: "State", by: (line) => line.status, cell: (line) => <State state={line.status} />, look: "state-cell" },
  { key: "attempt", title: "Attempt", by: (line) => line.attempt, cell: (line) => line.attempt, look: "number wide narrow" },
  {
    key: "where",
    title: "TaskManager",
    by: (line) => line["taskmanager-id"],
    cell: (line) =>
      line["taskmanager-id"] === "(unassigned)" ? (
        "–"
      ) : (
        <a href={`#/taskmanagers/${encodeURIComponent(line["taskmanager-id"])}`}>{line["taskmanager-id"]}</a>
      ),
    look: "name",
  },
  { key: "in", title: "Read", by: (line) => line.rates?.read ?? -1, cell: (line) => rate(line.rates?.read), look: "number wide" },
  { key: "out", title: "Written", by: (line) => line.rates?.written ?? -1, cell: (line) => rate(line.rates?.written), look: "number wide" },
  {
    key: "records",
    title: "Records in, out",
    by: (line) => line.metrics["read-records"],
    cell: ({ metrics }) =>
      known(metrics["read-records-complete"], `${amount(metrics["read-records"])}, ${amount(metrics["write-records"])}`),
    look: "number widest",
  },
  {
    key: "bytes",
    title: "Bytes in, out",
    by: (line) => line.metrics["read-bytes"],
    cell: ({ metrics }) => known(metrics["read-bytes-complete"], `${bytes(metrics["read-bytes"])}, ${bytes(metrics["write-bytes"])}`),
    look: "number widest",
  },
];

function Subtasks({ job, vertex, close }: { job: string; vertex: Vertex; close: () => void }) {
  const { value, problem } = useView<VertexDetails>(`jobs/${job}/vertices/${vertex.id}`, (event) => event.data["jid"] === job);
  const counted = (value?.subtasks ?? []).map(({ subtask, attempt, metrics }): [string, Subtask["metrics"]] => [
    `${subtask}-${attempt}`,
    metrics,
  ]);
  const rates = useRates(counted, value?.now);
  const lines = value?.subtasks.map((subtask) => ({ ...subtask, rates: rates.get(`${subtask.subtask}-${subtask.attempt}`) }));
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus({ preventScroll: true }), []);
  return (
    <section class="card" aria-labelledby="subtasks-title">
      <div class="head">
        <h2 id="subtasks-title" tabIndex={-1} ref={title}>{`Subtasks of ${vertex.name}`}</h2>
        <span class="quiet">{vertex.operator ?? ""}</span>
        <button type="button" class="plain" onClick={close}>
          Close
        </button>
      </div>
      <Problem problem={problem} />
      {lines ? (
        <Table label={`Subtasks of ${vertex.name}`} rows={lines} columns={COLUMNS} id={(line) => String(line.subtask)} empty="It has none." />
      ) : (
        <Loading what="its subtasks" />
      )}
    </section>
  );
}

export function Graph({ job }: { job: Job }) {
  const [chosen, setChosen] = useState<string>();
  const counted = job.vertices.map(({ id, metrics }): [string, Vertex["metrics"]] => [id, metrics]);
  const rates = useRates(counted, job.now);
  const vertex = job.vertices.find(({ id }) => id === chosen);
  const choose = (id: string) => setChosen((old) => (old === id ? undefined : id));
  const ended = hasEnded(job.state);
  const note = ended
    ? `The job is ${words(job.state).toLowerCase()}: how its vertices were connected is not kept.`
    : "Choose a vertex to see its subtasks. TaskManagers do not report back-pressure and watermarks, so none are shown.";
  return (
    <>
      <section class="card graph" aria-label="Graph">
        <Canvas job={job} rates={rates} chosen={chosen} choose={choose} note={note} />
      </section>
      {vertex && <Subtasks key={vertex.id} job={job.jid} vertex={vertex} close={() => setChosen(undefined)} />}
    </>
  );
}
