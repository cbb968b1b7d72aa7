// The checkpoints of a job: how many, how long, how large, and what became of them.

import { useMemo, useState } from "preact/hooks";
import uPlot from "uplot";
import { problemsIn, send } from "../api";
import { UNKNOWN, ago, bytes, clock, count, duration, moment, plural } from "../format";
import { useSeconds, useView } from "../hooks";
import { type LiveEvent, now } from "../live";
import { Chart } from "../parts/Chart";
import { say } from "../parts/Toasts";
import { Fact, Loading, Problem, State, hasEnded } from "../parts/small";
import type { Checkpoint, CheckpointDetails, CheckpointSubtasks, Checkpoints as Answer, Job, Triggered, Why } from "../types";
import { follow } from "./follow";
import { SlowCheckpoint } from "./Why";

function Latest({ name, at, children }: { name: string; at: number | undefined; children: string }) {
  return (
    <Fact name={name} title={at === undefined ? "" : moment(at)}>
      {at === undefined ? UNKNOWN : children}
    </Fact>
  );
}

function Facts({ answer }: { answer: Answer }) {
  const { counts, latest } = answer;
  const { completed, savepoint, failed, restored } = latest;
  return (
    <dl class="facts card">
      <Fact name="Completed">{count(counts.completed)}</Fact>
      <Fact name="Failed">{count(counts.failed)}</Fact>
      <Fact name="Under way">{count(counts.in_progress)}</Fact>
      <Fact name="Restored">{count(counts.restored)}</Fact>
      <Latest name="Latest completed" at={completed?.trigger_timestamp}>{`${completed?.id}, ${ago(now() - (completed?.trigger_timestamp ?? 0))}`}</Latest>
      <Latest name="Latest savepoint" at={savepoint?.trigger_timestamp}>{`${savepoint?.id}, ${ago(now() - (savepoint?.trigger_timestamp ?? 0))}`}</Latest>
      <Latest name="Latest failed" at={failed?.failure_timestamp}>{`${failed?.id}, ${ago(now() - (failed?.failure_timestamp ?? 0))}`}</Latest>
      <Latest name="Restored from" at={restored?.restore_timestamp}>{`${restored?.id}, ${ago(now() - (restored?.restore_timestamp ?? 0))}`}</Latest>
    </dl>
  );
}

/** Until the first task has acknowledged. */
function untilFirst(checkpoint: Checkpoint): number | null {
  return checkpoint.first_ack_timestamp > 0 ? checkpoint.first_ack_timestamp - checkpoint.trigger_timestamp : null;
}

/** By id: how long those that completed took, how long of that until the first acknowledgement, how long those that
 * failed, and how large they are. */
function columns(history: Checkpoint[]): uPlot.AlignedData {
  const shown = [...history].reverse().filter(({ status }) => status !== "IN_PROGRESS");
  const took = (status: string) => shown.map((one) => (one.status === status ? one.end_to_end_duration : null));
  return [
    shown.map(({ id }) => id),
    took("COMPLETED"),
    shown.map((one) => (one.status === "COMPLETED" ? untilFirst(one) : null)),
    took("FAILED"),
    shown.map(({ status, state_size }) => (status === "COMPLETED" ? state_size : null)),
  ];
}

function options(color: (name: string) => string, rem: number): Omit<uPlot.Options, "width" | "height"> {
  const font = `${0.75 * rem}px system-ui, sans-serif`;
  const axis = { stroke: color("quiet"), font, grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1 } };
  const bars = uPlot.paths.bars?.({ size: [0.6, 3 * rem] });
  const paths = bars ? { paths: bars } : {};
  const series = (label: string, name: string, scale: string, text: (value: number) => string): uPlot.Series => ({
    label,
    scale,
    stroke: color(name),
    value: (_, value) => (value === null || value === undefined ? UNKNOWN : text(value)),
  });
  return {
    legend: { live: true },
    cursor: { drag: { x: false, y: false } },
    scales: {
      x: { time: false, range: (_, min, max) => [min - 0.6, max + 0.6] },
      ms: { range: (_, __, max) => [0, Math.max(1, max * 1.15)] },
      size: { range: (_, __, max) => [0, Math.max(1, max * 1.3)] },
    },
    axes: [
      { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 1_000], values: (_, ids) => ids.map((id) => (Number.isInteger(id) ? String(id) : "")) },
      { ...axis, scale: "ms", size: 4.6 * rem, values: (_, all) => all.map((ms) => duration(ms)) },
      { ...axis, scale: "size", side: 1, size: 4.6 * rem, grid: { show: false }, values: (_, all) => all.map((size) => bytes(size)) },
    ],
    series: [
      { label: "checkpoint" },
      { ...series("last acknowledged after", "done", "ms", duration), ...paths, fill: color("done-soft"), points: { show: false } },
      { ...series("first after", "done", "ms", duration), ...paths, fill: color("done"), points: { show: false } },
      { ...series("failed after", "bad", "ms", duration), ...paths, fill: color("bad-soft"), points: { show: false } },
      { ...series("size", "wait", "size", bytes), width: 2, points: { show: true, size: 7 }, spanGaps: true },
    ],
  };
}

/** How long what took, and who was slowest. */
function Phases({ job, checkpoint }: { job: Job; checkpoint: Checkpoint }) {
  const first = untilFirst(checkpoint);
  const { slowest } = checkpoint;
  if (first === null) return null;
  const name = job.vertices.find(({ id }) => id === slowest?.vertex)?.name ?? slowest?.vertex;
  const rest = checkpoint.latest_ack_timestamp - checkpoint.first_ack_timestamp;
  return (
    <p>
      {`The first subtask acknowledged after ${duration(first)}, the last one ${duration(rest)} later.`}
      {slowest && (
        <>
          {" The slowest was "}
          <strong>{`subtask ${slowest.subtask} of ${name}`}</strong>.
        </>
      )}
    </p>
  );
}

/** What each vertex, and its largest subtask, had to keep. Known of retained checkpoints alone. */
function Sizes({ job, checkpoint }: { job: Job; checkpoint: number }) {
  const { value, problem } = useView<CheckpointDetails>(`jobs/${job.jid}/checkpoints/details/${checkpoint}`, () => false);
  const largest = useMemo(() => {
    const sizes = Object.entries(value?.tasks ?? {});
    return sizes.filter(([, part]) => part.state_size >= 0).sort(([, a], [, b]) => b.state_size - a.state_size);
  }, [value]);
  const first = largest[0]?.[0];
  const path = first === undefined ? undefined : `jobs/${job.jid}/checkpoints/details/${checkpoint}/subtasks/${first}`;
  const subtasks = useView<CheckpointSubtasks>(path, () => false);
  if (problem) return <Problem problem={problem} />;
  if (value === undefined) return <Loading what="its parts" />;
  if (largest.length === 0) return <p class="quiet">The sizes of its parts are known only while it is retained.</p>;
  const name = (id: string) => job.vertices.find((vertex) => vertex.id === id)?.name ?? id;
  const known = subtasks.value?.subtasks.filter(({ state_size }) => (state_size ?? -1) >= 0) ?? [];
  const top = known.reduce<(typeof known)[number] | undefined>(
    (top, one) => ((one.state_size ?? 0) > (top?.state_size ?? -1) ? one : top),
    undefined,
  );
  return (
    <>
      <ul class="sizes">
        {largest.slice(0, 12).map(([id, part]) => (
          <li key={id}>
            <span>{name(id)}</span>
            <meter min={0} max={Math.max(1, largest[0]?.[1].state_size ?? 1)} value={part.state_size} aria-label={`Size of ${name(id)}`} />
            <span class="number">{bytes(part.state_size)}</span>
          </li>
        ))}
      </ul>
      {largest.length > 12 && <p class="quiet">{`and ${plural(largest.length - 12, "smaller vertex", "smaller vertices")}`}</p>}
      {top && first !== undefined && (
        <p class="quiet">{`Most is kept by subtask ${top.index} of ${name(first)}: ${bytes(top.state_size ?? 0)}.`}</p>
      )}
    </>
  );
}

function Row({ job, checkpoint }: { job: Job; checkpoint: Checkpoint }) {
  const [open, setOpen] = useState(false);
  const acknowledged = `${count(checkpoint.num_acknowledged_subtasks)} of ${count(checkpoint.num_subtasks)}`;
  const kind = checkpoint.is_savepoint ? "savepoint" : "checkpoint";
  return (
    <li>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <span class="number narrow">{checkpoint.id}</span>
          <State state={checkpoint.status} />
          <span>{kind}</span>
          <time dateTime={new Date(checkpoint.trigger_timestamp).toISOString()} title={moment(checkpoint.trigger_timestamp)}>
            {clock(checkpoint.trigger_timestamp)}
          </time>
          <span class="number" title="From the trigger to the last acknowledgement">
            {duration(checkpoint.end_to_end_duration)}
          </span>
          <span class="number">{checkpoint.status === "COMPLETED" ? bytes(checkpoint.state_size) : UNKNOWN}</span>
          <span class="number wide" title="Subtasks that have acknowledged it">
            {acknowledged}
          </span>
        </summary>
        {open && (
          <div class="inside">
            <Phases job={job} checkpoint={checkpoint} />
            {checkpoint.failure_message && <p class="cause">{`It failed: ${checkpoint.failure_message}`}</p>}
            {checkpoint.external_path && (
              <p>
                <code>{checkpoint.external_path}</code> {checkpoint.discarded && <span class="quiet">(discarded since)</span>}
              </p>
            )}
            {checkpoint.status === "COMPLETED" && <Sizes job={job} checkpoint={checkpoint.id} />}
          </div>
        )}
      </details>
    </li>
  );
}

/** A checkpoint does no harm: nobody is asked once more. */
function TakeOne({ job }: { job: Job }) {
  if (hasEnded(job.state)) return null;
  const act = async () => {
    try {
      const { "request-id": trigger } = await send<Triggered>("POST", `jobs/${job.jid}/checkpoints`);
      void follow(job, "checkpoint", trigger, `A checkpoint of ${job.name} is being taken …`, `${job.name} has completed checkpoint`);
    } catch (problem) {
      say("bad", problemsIn(problem).join("\n"));
    }
  };
  return (
    <button type="button" onClick={() => void act()}>
      Take one now
    </button>
  );
}

export function Checkpoints({ job, why }: { job: Job; why: Why | undefined }) {
  useSeconds();
  const concerns = (event: LiveEvent) => event.data["jid"] === job.jid;
  const { value, problem } = useView<Answer>(`jobs/${job.jid}/checkpoints`, concerns);
  const data = useMemo(() => columns(value?.history ?? []), [value]);
  if (value === undefined) return problem ? <Problem problem={problem} /> : <Loading what="its checkpoints" />;
  const next = why?.["next-checkpoint"];
  return (
    <>
      <Facts answer={value} />
      <div class="next">
        {next && <p class="quiet">{next.text}</p>}
        <TakeOne job={job} />
      </div>
      <SlowCheckpoint why={why} />
      {value.history.length > 0 ? (
        <>
          <section class="card" aria-labelledby="chart-title">
            <h2 id="chart-title">Durations and sizes</h2>
            <Chart label="Durations and sizes of the latest checkpoints; the list below has the same" data={data} options={options} height={17} />
          </section>
          <section class="card" aria-labelledby="history-title">
            <h2 id="history-title">{`The latest ${count(value.history.length)}`}</h2>
            <div class="checkpoints columns quiet" aria-hidden="true">
              {["Id", "State", "Kind", "Begun", "Duration", "Size", "Acknowledged"].map((title) => (
                <span key={title}>{title}</span>
              ))}
            </div>
            <ol class="checkpoints">
              {value.history.map((checkpoint) => (
                <Row key={checkpoint.id} job={job} checkpoint={checkpoint} />
              ))}
            </ol>
          </section>
        </>
      ) : (
        <p class="quiet">There was no checkpoint yet. A job takes them if execution.checkpointing.interval is set.</p>
      )}
    </>
  );
}
