// The cluster at a glance, and its jobs.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { count, duration, moment, plural, short, when, words } from "../format";
import { useLive, useSeconds, useTitle, useView } from "../hooks";
import { type LiveEvent, now } from "../live";
import { Feed } from "../parts/Feed";
import { type Column, Table } from "../parts/Table";
import { Bar, Loading, Problem, State, hasEnded, parts, waits } from "../parts/small";
import type { JobLine, Overview as Numbers } from "../types";

const ofJobs = (event: LiveEvent) => event.kind.startsWith("job-") || event.kind === "leader";
const ofSlots = (event: LiveEvent) => ofJobs(event) || event.kind.startsWith("taskmanager-");

function lasted(job: JobLine): number {
  return job["end-time"] > 0 ? job["end-time"] - job["start-time"] : Math.max(0, now() - job["start-time"]);
}

const COLUMNS: Column<JobLine>[] = [
  {
    key: "name",
    title: "Job",
    by: (job) => job.name,
    cell: (job) => (
      <a href={`#/jobs/${job.jid}`} title={job.name}>
        {job.name || short(job.jid)}
      </a>
    ),
    look: "name",
  },
  { key: "state", title: "State", by: (job) => job.state, cell: (job) => <State state={job.state} note={waits(job.state, job.tasks)} />, look: "state-cell" },
  {
    key: "tasks",
    title: "Tasks",
    by: (job) => job.tasks["total"] ?? 0,
    cell: (job) => (
      <span class="tasks">
        <span>{count(job.tasks["total"] ?? 0)}</span>
        <Bar counts={job.tasks} label="Tasks" />
      </span>
    ),
    look: "wide tasks-cell",
  },
  {
    key: "start",
    title: "Started",
    by: (job) => job["start-time"],
    cell: (job) => <span title={moment(job["start-time"])}>{when(job["start-time"])}</span>,
    look: "wide started",
  },
  { key: "duration", title: "Duration", by: lasted, cell: (job) => duration(lasted(job)), look: "number duration roomy" },
  { key: "id", title: "Id", cell: (job) => <code title={job.jid}>{short(job.jid)}</code>, look: "widest id-cell" },
];

function Slots({ numbers }: { numbers: Numbers }) {
  const total = numbers["slots-total"];
  const used = total - numbers["slots-available"];
  return (
    <div class="card tile">
      <h2>Slots</h2>
      <p class="big">
        {count(used)} <small>{`of ${count(total)} used`}</small>
      </p>
      <meter min={0} max={Math.max(1, total)} value={used} aria-label="Slots used" />
      <p class="quiet">
        <a href="#/taskmanagers">{plural(numbers.taskmanagers, "TaskManager")}</a>
      </p>
    </div>
  );
}

interface JobsProps {
  counts: Record<string, number>;
  state: string;
  choose: (state: string) => void;
}

function Jobs({ counts, state, choose }: JobsProps) {
  const all = parts(counts);
  const total = all.reduce((sum, [, number]) => sum + number, 0);
  const live = all.filter(([name]) => !hasEnded(name));
  const alive = live.reduce((sum, [, number]) => sum + number, 0);
  return (
    <div class="card tile">
      <h2>Jobs</h2>
      <p class="big">
        {count(alive)} <small>{`of ${count(total)} not ended`}</small>
      </p>
      <Bar counts={counts} label="Jobs by state" />
      <div class="chips" role="group" aria-label="Show jobs of one state">
        {all.map(([name, number]) => (
          <button key={name} type="button" class="chip" aria-pressed={state === name} onClick={() => choose(state === name ? "" : name)}>
            <State state={name} /> {count(number)}
          </button>
        ))}
      </div>
    </div>
  );
}

/** `/` goes to the search, as in many programs. */
function useSlash() {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLInputElement || document.querySelector("dialog[open]") !== null;
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        field.current?.focus();
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  return field;
}

function found(jobs: JobLine[], search: string, state: string): JobLine[] {
  const wanted = search.trim().toLowerCase();
  const isFound = (job: JobLine) => wanted === "" || job.name.toLowerCase().includes(wanted) || job.jid.startsWith(wanted);
  return jobs.filter((job) => (state === "" || job.state === state) && isFound(job));
}

export function Overview() {
  useTitle("Overview");
  useSeconds();
  const live = useLive();
  const numbers = useView<Numbers>("overview", ofSlots);
  const jobs = useView<{ jobs: JobLine[] }>("jobs/overview", ofJobs);
  const [search, setSearch] = useState("");
  const [state, setState] = useState("");
  const field = useSlash();
  const all = jobs.value?.jobs;
  const counts = useMemo(() => {
    const counts: Record<string, number> = {};
    for (const job of all ?? []) counts[job.state] = (counts[job.state] ?? 0) + 1;
    return counts;
  }, [all]);
  const shown = useMemo(() => {
    const latest = [...(all ?? [])].sort((a, b) => b["start-time"] - a["start-time"]);
    return found(latest, search, state);
  }, [all, search, state]);
  const problem = numbers.value?.["store-problem"];
  return (
    <>
      <h1 class="hidden">Overview</h1>
      <Problem problem={numbers.problem ?? jobs.problem} />
      {problem && (
        <p class="note bad" role="alert">
          {`The store takes no writes: ${problem}. Nothing can be submitted, and no checkpoint completes, until it does.`}
        </p>
      )}
      <div class="overview">
        <div class="tiles">
          {numbers.value ? <Slots numbers={numbers.value} /> : <Loading what="the slots" />}
          {all && <Jobs counts={counts} state={state} choose={setState} />}
          {live.leader && (
            <div class="card tile">
              <h2>Leader</h2>
              <p class="big">
                {`Epoch ${live.leader.epoch}`} <small>{`for ${duration(Math.max(0, now() - live.leader.since))}`}</small>
              </p>
              <p class="quiet">
                <a href="#/leadership">{live.leader.address}</a>
              </p>
            </div>
          )}
        </div>
        <Feed />
        <section class="card jobs" aria-labelledby="jobs-title">
          <div class="head">
            <h2 id="jobs-title">Jobs</h2>
            <input
              ref={field}
              type="search"
              placeholder="Search name or id"
              aria-label="Search jobs by name or id"
              aria-keyshortcuts="/"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
            <span class="quiet" role="status">
              {all && (shown.length === all.length ? plural(all.length, "job") : `${count(shown.length)} of ${plural(all.length, "job")}`)}
            </span>
          </div>
          {all ? (
            <Table
              label="Jobs"
              rows={shown}
              columns={COLUMNS}
              id={(job) => job.jid}
              empty={
                all.length === 0 ? (
                  <>
                    There are no jobs. Submit one with <code>jobmanager run JOB.json</code>.
                  </>
                ) : (
                  `No job ${state && `that is ${words(state).toLowerCase()} `}${search && `has “${search}” in its name or begins with it`}`
                )
              }
            />
          ) : (
            <Loading what="the jobs" />
          )}
        </section>
      </div>
    </>
  );
}
