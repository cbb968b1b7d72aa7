// Why a job is not further, in words.

import type { Cause, Why as Answer } from "../types";

/** A checkpoint that has been under way for less is nothing to speak of beside what a job waits for. */
const SLOW_MS = 5_000;
/** The same where it is all about checkpoints. */
const UNDER_WAY_MS = 1_000;

function isCheckpoint(cause: Cause, now: number, longer: number): boolean {
  return cause.kind === "checkpoint-under-way" && now - (cause.triggered ?? now) > longer;
}

/** A text, in which the ids of jobs are links. */
function Text({ text }: { text: string }) {
  const parts = text.split(/\b([0-9a-f]{32})\b/);
  return <>{parts.map((part, place) => (place % 2 === 1 ? <a href={`#/jobs/${part}`}>{part}</a> : part))}</>;
}

function Causes({ causes }: { causes: Cause[] }) {
  return (
    <ul>
      {causes.map((cause, number) => (
        <li key={number}>
          <p class="cause">
            <Text text={cause.text} />
          </p>
          <p class="unblock">
            <span aria-hidden="true">→ </span>
            <Text text={cause.unblock} />
          </p>
          {cause.because.length > 0 && <Causes causes={cause.because} />}
        </li>
      ))}
    </ul>
  );
}

/** What keeps a job from being further. */
export function Why({ why }: { why: Answer | undefined }) {
  if (why === undefined) return null;
  const causes = why.causes.filter((cause) => cause.kind !== "checkpoint-under-way" || isCheckpoint(cause, why.now, SLOW_MS));
  if (causes.length === 0) return null;
  return (
    <section class="card why" aria-labelledby="why-title">
      <h2 id="why-title">{why.status === "RUNNING" ? "What it waits for" : "Why it is not running"}</h2>
      <Causes causes={causes} />
    </section>
  );
}

/** Which subtasks a checkpoint under way waits for. */
export function SlowCheckpoint({ why }: { why: Answer | undefined }) {
  const causes = why?.causes.filter((cause) => isCheckpoint(cause, why.now, UNDER_WAY_MS)) ?? [];
  if (causes.length === 0) return null;
  return (
    <section class="card why" aria-labelledby="slow-title">
      <h2 id="slow-title">What the checkpoint under way waits for</h2>
      <Causes causes={causes} />
    </section>
  );
}
