// Small things that many pages show.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { UNKNOWN, count, words } from "../format";
import type { Failure } from "../api";

/** The color of a state; its word always stands beside it. */
export function tone(state: string): string {
  switch (state) {
    case "RUNNING":
      return "good";
    case "FINISHED":
    case "COMPLETED":
      return "done";
    case "FAILED":
      return "bad";
    case "FAILING":
    case "RESTARTING":
    case "CANCELLING":
    case "CANCELING":
      return "warn";
    case "CANCELED":
      return "off";
    default:
      return "wait";
  }
}

export function State({ state, note }: { state: string; note?: string | undefined }) {
  return (
    <span class={`state ${tone(state)}`}>
      <i aria-hidden="true" />
      {words(state)}
      {note !== undefined && <small class="quiet">{note}</small>}
    </span>
  );
}

/** Whether a job in this state is over. */
export function hasEnded(state: string): boolean {
  return ["FINISHED", "CANCELED", "FAILED"].includes(state);
}

/** A job that is running in name, while some of its tasks are not: it waits for something. */
export function waits(state: string, tasks: Record<string, number>): string | undefined {
  const all = parts(tasks);
  const runs = all.every(([name]) => name === "RUNNING" || name === "FINISHED");
  return state === "RUNNING" && !runs ? "waits" : undefined;
}

/** In which order states stand in a bar. */
const STATES = [
  "RUNNING",
  "FINISHED",
  "INITIALIZING",
  "DEPLOYING",
  "SCHEDULED",
  "CREATED",
  "RECONCILING",
  "RESTARTING",
  "FAILING",
  "CANCELLING",
  "CANCELING",
  "CANCELED",
  "FAILED",
];

/** How many of each state, without those that none is in. */
export function parts(counts: Record<string, number>): [string, number][] {
  return STATES.map((state): [string, number] => [state, counts[state] ?? counts[state.toLowerCase()] ?? 0]).filter(
    ([, number]) => number > 0,
  );
}

/** A bar of parts, by state. */
export function Bar({ counts, label }: { counts: Record<string, number>; label: string }) {
  const all = parts(counts);
  const wide = (number: number) => (part: HTMLElement | null) => {
    if (part !== null) part.style.flexGrow = String(number);
  };
  const text = all.map(([state, number]) => `${count(number)} ${words(state)}`).join(", ");
  return (
    <span class="bar" role="img" aria-label={`${label}: ${text || "none"}`} title={text}>
      {all.map(([state, number]) => (
        <i key={state} class={tone(state)} ref={wide(number)} />
      ))}
    </span>
  );
}

/** A number with its name. */
export function Fact({ name, children, title }: { name: string; children: ComponentChildren; title?: string }) {
  return (
    <div class="fact" title={title}>
      <dt>{name}</dt>
      <dd>{children ?? UNKNOWN}</dd>
    </div>
  );
}

/** Why something cannot be shown. */
export function Problem({ problem }: { problem: Failure | undefined }) {
  if (problem === undefined || problem.status === 0) return null;
  return (
    <div class="note bad" role="alert">
      {problem.problems.map((text) => (
        <p key={text}>{text}</p>
      ))}
    </div>
  );
}

/** Until there is something to show. */
export function Loading({ what }: { what: string }) {
  return <p class="quiet">{`Looking at ${what} …`}</p>;
}

/** An id that can be copied. */
export function Id({ id }: { id: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(id);
      setCopied(true);
      setTimeout(() => setCopied(false), 1_500);
    } catch {
      // Without the right to write there, the text can still be selected.
    }
  };
  return (
    <span class="id">
      <code>{id}</code>
      {navigator.clipboard !== undefined && (
        <button type="button" class="plain" onClick={copy} aria-label={`Copy ${id}`}>
          {copied ? "copied" : "copy"}
        </button>
      )}
    </span>
  );
}
