// Records per second: the server counts, this page compares.

import { useRef } from "preact/hooks";
import type { Transferred } from "../types";

export interface Rates {
  read: number | undefined;
  written: number | undefined;
}

interface Sample {
  at: number;
  read: number;
  written: number;
}

/** Over how long a rate is taken, at least, as tasks report now and then. */
const WINDOW_MS = 6_000;

/** The rates of several things, from what each has counted by now; none before it was seen twice, and none while some of
 * its tasks have not said anything. */
export function useRates(counted: [string, Transferred][], at: number | undefined): Map<string, Rates> {
  const samples = useRef(new Map<string, Sample[]>());
  const rates = useRef(new Map<string, Rates>());
  const latest = useRef(0);
  if (at === undefined || at <= latest.current) return rates.current;
  latest.current = at;
  const found = new Map<string, Rates>();
  for (const [id, metrics] of counted) {
    if (!metrics["read-records-complete"]) {
      samples.current.delete(id);
      continue;
    }
    const sample = { at, read: metrics["read-records"], written: metrics["write-records"] };
    const known = samples.current.get(id) ?? [];
    const last = known[known.length - 1];
    // Counters begin anew with an attempt.
    const restarted = last !== undefined && (last.read > sample.read || last.written > sample.written);
    const kept = restarted ? [] : known;
    while (kept.length > 1 && (kept[1]?.at ?? at) <= at - WINDOW_MS) kept.shift();
    kept.push(sample);
    samples.current.set(id, kept);
    const first = kept[0];
    if (first === undefined || at - first.at < 900) continue;
    const seconds = (at - first.at) / 1_000;
    found.set(id, { read: (sample.read - first.read) / seconds, written: (sample.written - first.written) / seconds });
  }
  rates.current = found;
  return found;
}
