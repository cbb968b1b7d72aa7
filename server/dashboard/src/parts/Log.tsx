// What a process has logged most recently, when somebody wants to see it.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Failure, problemsOf, reach } from "../api";
import { Problem } from "./small";

/** More of it is for `jobmanager logs`. */
const LINES = 500;

/** `path` is that of the route, and `command` what shows more of it. */
export function Log({ path, command }: { path: string; command: string }) {
  const [text, setText] = useState<string>();
  const [problem, setProblem] = useState<Failure>();
  const [looks, setLooks] = useState(false);
  const shown = useRef<HTMLPreElement>(null);
  // The latest lines are the last ones.
  useLayoutEffect(() => shown.current?.scrollTo(0, shown.current.scrollHeight), [text]);
  const load = async () => {
    setLooks(true);
    try {
      const response = await reach(`${path}?lines=${LINES}`);
      if (!response.ok) throw new Failure(response.status, await problemsOf(response));
      setText(await response.text());
      setProblem(undefined);
    } catch (problem) {
      setProblem(problem instanceof Failure ? problem : new Failure(0, [String(problem)]));
    } finally {
      setLooks(false);
    }
  };
  return (
    <section class="card log">
      <h2>Log</h2>
      <Problem problem={problem} />
      {text !== undefined && (
        <pre ref={shown} tabIndex={0} aria-label="Log">
          {text || "Nothing has been logged."}
        </pre>
      )}
      <p class="quiet">
        <button type="button" onClick={load} disabled={looks}>
          {text === undefined ? "Load the latest lines" : "Load again"}
        </button>{" "}
        At most {LINES} lines. <code>{command}</code> shows all that the process keeps, and follows them.
      </p>
    </section>
  );
}
