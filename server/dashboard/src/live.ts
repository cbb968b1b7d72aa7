// What happens, as it happens: one stream of server-sent events for the whole page.
//
// Events say when to look; what is shown comes from the views, which are never behind the events. So nothing is lost
// when a leader changes or some events are forgotten: the page looks at everything anew. The stream is read with
// `fetch`, because an `EventSource` neither tells that it was sent to another leader nor lets go of its connection while
// nobody looks at the page; browsers allow six of them to a host.

import { ask, reach } from "./api";
import type { Leader } from "./types";

/** An event of `GET /events`. */
export interface LiveEvent {
  /** `EPOCH-NUMBER`. */
  id: string;
  kind: string;
  data: Record<string, unknown>;
}

/** Whether the page hears of what happens; has to ask, as too many others follow the events; or gets no answer. */
export type Connection = "connecting" | "live" | "asking" | "lost";

/** A leader that was seen, by this browser or the JobManager. */
export interface Term {
  epoch: number;
  address: string;
  since: number;
  /** Tasks that it has adopted from the leaders before, if anybody looked. */
  adopted?: number | undefined;
}

/** How many events are remembered. */
const REMEMBERED = 200;
/** How many of those that happened before the page was opened are asked for. */
const EARLIER = 60;
/** How many leaders are remembered. */
const TERMS = 20;
const TERMS_KEY = "jobmanager-terms";
const SHORTEST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 5_000;
/** In silence the JobManager says so three times as often: who hears nothing has lost it, without a word. */
const SILENCE_MS = 45_000;

type Listener = (event: LiveEvent | undefined) => void;

/** What the page knows without asking. */
export const live = {
  connection: "connecting" as Connection,
  /** The latest events, the last one first. */
  events: [] as LiveEvent[],
  leader: undefined as Leader | undefined,
  terms: readTerms(),
  /** Hears of every event; and of nothing, if everything is to be looked at anew. */
  listeners: new Set<Listener>(),
};

/** By how much the JobManager's clock is before this one's. */
let ahead = 0;
/** The id of the last event. */
let last: string | undefined;

/** The JobManager's time. */
export function now(): number {
  return Date.now() + ahead;
}

function tell(event: LiveEvent | undefined) {
  for (const listener of [...live.listeners]) listener(event);
}

function readTerms(): Term[] {
  try {
    const terms: unknown = JSON.parse(localStorage.getItem(TERMS_KEY) ?? "[]");
    return Array.isArray(terms) ? (terms as Term[]).filter((term) => typeof term.epoch === "number") : [];
  } catch {
    return [];
  }
}

/** Remembers a leader, or more of one. */
function remember(term: Partial<Term> & { epoch: number }) {
  const known = live.terms.find(({ epoch }) => epoch === term.epoch);
  const more = { address: "", since: 0, ...known, ...term };
  // Tasks that it has adopted are restarted with the time, but were adopted.
  if (known?.adopted !== undefined) more.adopted = Math.max(known.adopted, term.adopted ?? 0);
  const others = live.terms.filter(({ epoch }) => epoch !== term.epoch);
  live.terms = [...others, more].sort((a, b) => b.epoch - a.epoch).slice(0, TERMS);
  try {
    localStorage.setItem(TERMS_KEY, JSON.stringify(live.terms));
  } catch {
    // A browser that keeps nothing for this page does not keep this either.
  }
}

/** Looks who leads, and what time it is there. */
export async function lookAtLeader(): Promise<Leader> {
  const asked = Date.now();
  const leader = await ask<Leader>("leader");
  ahead = leader.now - (asked + Date.now()) / 2;
  live.leader = leader;
  const adopted = leader.adopted.reduce((sum, job) => sum + job.adopted, 0);
  // A store that was emptied counts from the beginning: what was later was another cluster's.
  live.terms = live.terms.filter(({ epoch, since }) => epoch <= leader.epoch && since <= leader.since);
  const unseen = leader.known.filter(({ epoch }) => !live.terms.some((term) => term.epoch === epoch));
  for (const term of unseen) remember(term);
  remember({ epoch: leader.epoch, address: leader.address, since: leader.since, adopted });
  return leader;
}

function take(event: LiveEvent) {
  const { data } = event;
  if (event.kind === "leader") {
    const epoch = Number(data["epoch"]);
    remember({ epoch, address: String(data["address"]), since: Number(data["timestamp"]) });
  }
  if (event.kind === "reset") {
    // What is told after it may be known already, and is told again in full.
    live.events = [];
    tell(undefined);
    return;
  }
  live.events = [event, ...live.events].slice(0, REMEMBERED);
  tell(event);
}

/** Splits a stream into the blocks between empty lines. */
async function* blocks(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const parts = text.split("\n\n");
    text = parts.pop() ?? "";
    yield* parts;
  }
}

interface Block {
  id?: string | undefined;
  kind?: string | undefined;
  data?: string | undefined;
}

function parse(block: string): Block {
  const field = (name: string) => {
    const lines = block.split("\n").filter((line) => line.startsWith(`${name}:`));
    const values = lines.map((line) => line.slice(name.length + 1).replace(/^ /, ""));
    return values.length > 0 ? values.join("\n") : undefined;
  };
  return { id: field("id"), kind: field("event"), data: field("data") };
}

/** The place so many events before this one. */
function before(id: string): string {
  const [epoch, number] = id.split("-");
  return `${epoch}-${Math.max(0, Number(number) - EARLIER)}`;
}

/** Follows the events until the stream ends. */
async function follow(leave: AbortController, opened: () => void) {
  const path = last === undefined ? "events" : `events?after=${encodeURIComponent(last)}`;
  const response = await reach(path, { signal: leave.signal, headers: { accept: "text/event-stream" } });
  if (!response.ok || response.body === null) throw new Refused();
  if (last !== undefined) opened();
  const silence = new Silence(() => leave.abort(new Error("silence")));
  try {
    await listen(response.body, silence);
  } finally {
    silence.end();
  }
}

/** Takes in what is said. */
async function listen(body: ReadableStream<Uint8Array>, silence: Silence) {
  for await (const block of blocks(body)) {
    silence.broken();
    const { id, kind, data } = parse(block);
    if (last === undefined && id !== undefined) {
      // The first thing that is said has the place of the last event: ask again, from a while before it.
      last = before(id);
      return;
    }
    if (id !== undefined) last = id;
    if (kind !== undefined && data !== undefined) {
      take({ id: id ?? "", kind, data: JSON.parse(data) as Record<string, unknown> });
    }
  }
  throw new Error("the stream has ended");
}

/** The JobManager answers, but does not tell its events to one more client. */
class Refused extends Error {}

/** Notices that nothing has been said for long. */
class Silence {
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly noticed: () => void) {
    this.broken();
  }

  broken() {
    this.end();
    this.timer = setTimeout(this.noticed, SILENCE_MS);
  }

  end() {
    clearTimeout(this.timer);
  }
}

function connected(connection: Connection) {
  if (live.connection !== connection) {
    live.connection = connection;
    tell(undefined);
  }
}

function visible(): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", () => resolve(), { once: true });
  });
}

/** Follows the events for as long as the page lives. */
export async function start(): Promise<never> {
  let pause = SHORTEST_PAUSE_MS;
  for (;;) {
    await visible();
    const leave = new AbortController();
    let hidden = false;
    const hide = () => {
      hidden ||= document.hidden;
      if (hidden) leave.abort();
    };
    document.addEventListener("visibilitychange", hide);
    try {
      await lookAtLeader();
      await follow(leave, () => {
        pause = SHORTEST_PAUSE_MS;
        connected("live");
      });
    } catch (problem) {
      if (!hidden) {
        connected(problem instanceof Refused ? "asking" : "lost");
        await new Promise((resolve) => setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
        pause = Math.min(pause * 1.6, LONGEST_PAUSE_MS);
      }
    } finally {
      document.removeEventListener("visibilitychange", hide);
      leave.abort();
    }
  }
}
