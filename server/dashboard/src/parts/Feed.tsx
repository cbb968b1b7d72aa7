// The live event line: what happened last, in words.

import { bytes, clock, duration, moment, plural, short, words } from "../format";
import { useLive } from "../hooks";
import type { LiveEvent } from "../live";

function text(event: LiveEvent, field: string): string {
  const value = event.data[field];
  return value === undefined || value === null ? "" : String(value);
}

function number(event: LiveEvent, field: string): number {
  return Number(event.data[field] ?? -1);
}

/** What happened, and how good that is. */
function told(event: LiveEvent): [string, string] {
  const kind = event.data["is_savepoint"] === true ? "savepoint" : "checkpoint";
  switch (event.kind) {
    case "leader":
      return ["note", `The JobManager at ${text(event, "address")} leads in epoch ${text(event, "epoch")}`];
    case "job-appeared":
      return ["wait", `was submitted, with ${plural(number(event, "tasks"), "task")}`];
    case "job-changed": {
      const adopted = event.data["adopted"] === undefined ? "" : `, ${plural(number(event, "adopted"), "task")} adopted`;
      const state = text(event, "state");
      const tone = state === "RUNNING" ? "good" : state === "FAILING" || state === "RESTARTING" ? "warn" : "wait";
      return [tone, `is ${words(state).toLowerCase()}${adopted}`];
    }
    case "job-ended": {
      const state = text(event, "state");
      const cause = text(event, "failure-cause");
      const tone = state === "FAILED" ? "bad" : state === "FINISHED" ? "done" : "off";
      return [tone, `${words(state).toLowerCase()} after ${duration(number(event, "duration"))}${cause && `: ${cause}`}`];
    }
    case "checkpoint-triggered":
      return ["wait", `${kind} ${text(event, "id")} begins`];
    case "checkpoint-completed": {
      const size = bytes(number(event, "state_size"));
      return ["done", `${kind} ${text(event, "id")} completed, ${size} in ${duration(number(event, "end_to_end_duration"))}`];
    }
    case "checkpoint-failed":
      return ["warn", `${kind} ${text(event, "id")} failed: ${text(event, "failure_message")}`];
    case "savepoint-ended":
      return text(event, "status") === "COMPLETED"
        ? ["done", `savepoint in ${text(event, "location")}`]
        : ["bad", `savepoint failed: ${text(event, "failure-cause")}`];
    case "taskmanager-registered":
      return ["good", `TaskManager ${text(event, "id")} registered, with ${plural(number(event, "slotsNumber"), "slot")}`];
    case "taskmanager-suspected":
      return ["warn", `TaskManager ${text(event, "id")} owes an answer`];
    case "taskmanager-heard":
      return ["good", `TaskManager ${text(event, "id")} answers again`];
    case "taskmanager-leaves":
      return ["wait", `TaskManager ${text(event, "id")} leaves; its tasks move`];
    case "taskmanager-lost":
      return ["bad", `TaskManager ${text(event, "id")} is lost`];
    default:
      return ["note", event.kind];
  }
}

function Line({ event, named }: { event: LiveEvent; named: boolean }) {
  const [tone, words] = told(event);
  const job = text(event, "jid");
  const at = number(event, "timestamp");
  return (
    <li class={tone}>
      <time dateTime={new Date(at).toISOString()} title={moment(at)}>
        {clock(at)}
      </time>
      <span title={words}>
        {job !== "" && named && (
          <>
            <a href={`#/jobs/${job}`}>{text(event, "name") || short(job)}</a>{" "}
          </>
        )}
        {words}
      </span>
    </li>
  );
}

/** The latest events, of one job or of all. */
export function Feed({ job }: { job?: string }) {
  const { events } = useLive();
  // Among everything else it says little that a checkpoint begins.
  const shown = events.filter((event) =>
    job === undefined ? event.kind !== "checkpoint-triggered" : text(event, "jid") === job,
  );
  return (
    <section class="feed card" aria-labelledby="feed-title">
      <h2 id="feed-title">What happens</h2>
      <ol tabIndex={0} aria-labelledby="feed-title">
        {shown.map((event) => (
          <Line key={event.id} event={event} named={job === undefined} />
        ))}
        {shown.length === 0 && <li class="quiet">Nothing yet.</li>}
      </ol>
    </section>
  );
}
