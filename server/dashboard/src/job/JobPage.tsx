// One job: what it is, why it is not further, and its parts below.

import { count, duration, moment } from "../format";
import { useSeconds, useTitle, useView } from "../hooks";
import { type LiveEvent, now } from "../live";
import { Feed } from "../parts/Feed";
import { Bar, Fact, Id, Loading, Problem, State, hasEnded, waits } from "../parts/small";
import type { Job, Why as Answer } from "../types";
import { Actions } from "./Actions";
import { Checkpoints } from "./Checkpoints";
import { Configuration } from "./Configuration";
import { Exceptions } from "./Exceptions";
import { Graph } from "./Graph";
import { Timeline } from "./Timeline";
import { Why } from "./Why";

const TABS = [
  ["graph", "Graph"],
  ["timeline", "Timeline"],
  ["checkpoints", "Checkpoints"],
  ["exceptions", "Exceptions"],
  ["events", "Events"],
  ["configuration", "Configuration"],
] as const;

function sum(counts: Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const one of counts) for (const [state, number] of Object.entries(one)) total[state] = (total[state] ?? 0) + number;
  return total;
}

function Part({ job, why, tab }: { job: Job; why: Answer | undefined; tab: string }) {
  switch (tab) {
    case "graph":
      return <Graph job={job} />;
    case "timeline":
      return <Timeline job={job} />;
    case "checkpoints":
      return <Checkpoints job={job} why={why} />;
    case "exceptions":
      return <Exceptions job={job} />;
    case "events":
      return <Feed job={job.jid} />;
    case "configuration":
      return <Configuration job={job} />;
    default:
      return <p>There is no such part of a job.</p>;
  }
}

function Facts({ job }: { job: Job }) {
  const tasks = sum(job.vertices.map((vertex) => vertex.tasks));
  const total = Object.values(tasks).reduce((sum, number) => sum + number, 0);
  const lasted = job["end-time"] > 0 ? job["end-time"] - job["start-time"] : Math.max(0, now() - job["start-time"]);
  return (
    <dl class="facts card">
      <Fact name="Started">{moment(job["start-time"])}</Fact>
      <Fact name="Duration">{duration(lasted)}</Fact>
      {job["end-time"] > 0 && <Fact name="Ended">{moment(job["end-time"])}</Fact>}
      <Fact name="Tasks">
        <span class="tasks">
          <span>{count(total)}</span>
          <Bar counts={tasks} label="Tasks" />
        </span>
      </Fact>
      <Fact name="Restarts">{count(job.restarts)}</Fact>
      <Fact name="Id">
        <Id id={job.jid} />
      </Fact>
    </dl>
  );
}

export function JobPage({ jid, tab }: { jid: string; tab: string }) {
  useSeconds();
  const concerns = (event: LiveEvent) => event.data["jid"] === jid || event.kind.startsWith("taskmanager-");
  const { value: job, problem } = useView<Job>(`jobs/${encodeURIComponent(jid)}`, concerns);
  const ended = job !== undefined && hasEnded(job.state);
  const why = useView<Answer>(job === undefined || ended ? undefined : `jobs/${jid}/why`, concerns);
  useTitle(job?.name || "Job");
  return (
    <>
      <p class="back">
        <a href="#/">Overview</a>
      </p>
      {job ? (
        <>
          <div class="title">
            <h1>{job.name || jid}</h1>
            <State state={job.state} note={waits(job.state, sum(job.vertices.map((vertex) => vertex.tasks)))} />
            <Actions job={job} />
          </div>
          <Problem problem={problem} />
          <Facts job={job} />
          <Why why={ended ? undefined : why.value} />
          {ended && job["failure-cause"] && tab !== "exceptions" && (
            <section class="card why" aria-labelledby="cause-title">
              <h2 id="cause-title">Why it failed</h2>
              <pre>{job["failure-cause"]}</pre>
            </section>
          )}
          <nav class="tabs" aria-label="Parts of the job">
            {TABS.map(([id, name]) => (
              <a key={id} href={`#/jobs/${jid}/${id}`} aria-current={tab === id ? "page" : undefined}>
                {name}
              </a>
            ))}
          </nav>
          <Part job={job} why={why.value} tab={tab} />
        </>
      ) : (
        <>
          <h1>Job</h1>
          <Problem problem={problem} />
          {problem === undefined && <Loading what="the job" />}
        </>
      )}
    </>
  );
}
