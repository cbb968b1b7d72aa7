// What failed, the latest first, and what was at the root of it.

import { clock, moment } from "../format";
import { useView } from "../hooks";
import { Loading, Problem } from "../parts/small";
import type { Exceptions as Answer, Job } from "../types";

/** The last thing that a message says was behind the others. */
function root(message: string): string {
  const causes = message.split(/\n\s*caused by: |; the failure was: /i);
  const last = causes[causes.length - 1] ?? message;
  return last.split("\n", 1)[0] ?? last;
}

export function Exceptions({ job }: { job: Job }) {
  const path = `jobs/${job.jid}/exceptions?maxExceptions=100`;
  const { value, problem } = useView<Answer>(path, (event) => event.data["jid"] === job.jid && event.kind.startsWith("job-"));
  if (value === undefined) return problem ? <Problem problem={problem} /> : <Loading what="its failures" />;
  const { entries, truncated } = value.exceptionHistory;
  return (
    <>
      {job["failure-cause"] && (
        <section class="card why" aria-labelledby="root-title">
          <h2 id="root-title">Root cause</h2>
          <p class="cause">{root(job["failure-cause"])}</p>
          {root(job["failure-cause"]) !== job["failure-cause"] && <p class="unblock">{job["failure-cause"]}</p>}
        </section>
      )}
      <section class="card" aria-labelledby="exceptions-title">
        <h2 id="exceptions-title">Failures</h2>
        {entries.length === 0 && <p class="quiet">Nothing has failed.</p>}
        <ol class="exceptions">
          {entries.map((entry, number) => (
            <li key={`${entry.timestamp}-${number}`}>
              <p class="head">
                <time dateTime={new Date(entry.timestamp).toISOString()} title={moment(entry.timestamp)}>
                  {clock(entry.timestamp)}
                </time>
                <strong>{root(entry.stacktrace)}</strong>
              </p>
              <p class="quiet">
                {entry.taskName ?? "The job as a whole"}
                {entry.taskManagerId && (
                  <>
                    {" on "}
                    <a href={`#/taskmanagers/${encodeURIComponent(entry.taskManagerId)}`}>{entry.taskManagerId}</a>
                  </>
                )}
              </p>
              {entry.stacktrace !== root(entry.stacktrace) && (
                <details>
                  <summary>All of it</summary>
                  <pre>{entry.stacktrace}</pre>
                </details>
              )}
            </li>
          ))}
        </ol>
        {truncated && <p class="quiet">There were more.</p>}
      </section>
    </>
  );
}
