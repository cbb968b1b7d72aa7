// What components share: views that stay up to date, time that passes, and the address.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Failure, ask } from "./api";
import { type LiveEvent, live } from "./live";

/** How often a view is looked at when no event asks for it: `web.refresh-interval`. */
let refreshMs = 3_000;

export function setRefresh(ms: number) {
  if (Number.isFinite(ms) && ms > 0) refreshMs = ms;
}

/** The shortest time between two looks at a view; a view that takes long is looked at less often. */
const SHORTEST_MS = 250;
const SHARE = 10;

export interface View<T> {
  value: T | undefined;
  problem: Failure | undefined;
  refresh: () => void;
}

/** Which events change a view. */
export type Concerns = (event: LiveEvent) => boolean;

/** A view of the JobManager, looked at now, whenever an event concerns it, and every now and then. While nobody answers,
 * or nobody looks at the page, nothing is asked. */
export function useView<T>(path: string | undefined, concerns: Concerns = () => true): View<T> {
  const [seen, setSeen] = useState<{ path: string | undefined; value?: T; problem?: Failure }>({ path });
  const relevant = useRef(concerns);
  relevant.current = concerns;
  const refresh = useRef<() => void>(() => undefined);

  useEffect(() => {
    if (path === undefined) return;
    const leave = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let dueAt = Infinity;
    let earliest = 0;
    let looking = false;
    const plan = (at: number) => {
      if (looking || at >= dueAt) return;
      clearTimeout(timer);
      dueAt = at;
      timer = setTimeout(look, Math.max(0, at - Date.now()));
    };
    const soon = () => {
      wanted = true;
      plan(Math.max(Date.now() + 30, earliest));
    };
    let wanted = false;
    const look = async () => {
      dueAt = Infinity;
      if (document.hidden || live.connection === "lost") return;
      wanted = false;
      looking = true;
      const begun = Date.now();
      try {
        const value = await ask<T>(path, { signal: leave.signal });
        setSeen({ path, value });
      } catch (problem) {
        if (leave.signal.aborted) return;
        const failure = problem instanceof Failure ? problem : new Failure(0, [String(problem)]);
        // What is not there is not shown any more; what could not be asked for stays.
        setSeen((seen) => (failure.status === 404 ? { path, problem: failure } : { ...seen, path, problem: failure }));
      } finally {
        looking = false;
      }
      const took = Date.now() - begun;
      earliest = Date.now() + Math.max(SHORTEST_MS, took * SHARE);
      plan(wanted ? earliest : Math.max(earliest, Date.now() + refreshMs));
    };
    const hear = (event: LiveEvent | undefined) => {
      if (event === undefined || relevant.current(event)) soon();
    };
    const show = () => !document.hidden && soon();
    refresh.current = soon;
    live.listeners.add(hear);
    document.addEventListener("visibilitychange", show);
    void look();
    return () => {
      leave.abort();
      clearTimeout(timer);
      live.listeners.delete(hear);
      document.removeEventListener("visibilitychange", show);
    };
  }, [path]);

  const again = useCallback(() => refresh.current(), []);
  const current = seen.path === path;
  return { value: current ? seen.value : undefined, problem: current ? seen.problem : undefined, refresh: again };
}

/** Draws anew whenever something happens, at most once in a while. */
export function useLive(): typeof live {
  const [, draw] = useState(0);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const hear = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        draw((count) => count + 1);
      }, 100);
    };
    live.listeners.add(hear);
    return () => {
      clearTimeout(timer);
      live.listeners.delete(hear);
    };
  }, []);
  return live;
}

/** Draws anew every second: for ages and durations. */
export function useSeconds() {
  const [, draw] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || draw((count) => count + 1), 1_000);
    return () => clearInterval(timer);
  }, []);
}

/** The parts of the address behind `#/`. */
export function usePlace(): string[] {
  const read = () => location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decode);
  const [place, setPlace] = useState(read);
  useEffect(() => {
    const follow = () => setPlace(read());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return place;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The title of the page, and of its tab. */
export function useTitle(title: string) {
  useEffect(() => {
    document.title = `${title} · JobManager`;
  }, [title]);
}
