// What came of something that was asked for: said at the edge of the page, and to screen readers.

import { useEffect, useState } from "preact/hooks";

export interface Toast {
  id: number;
  text: string;
  tone: "wait" | "done" | "bad";
}

const LASTS_MS = 12_000;
const MOST = 5;

let toasts: Toast[] = [];
let next = 0;
const listeners = new Set<() => void>();

function set(changed: Toast[]) {
  toasts = changed.slice(-MOST);
  for (const listener of listeners) listener();
}

/** Says something; instead of what was said before under the same number, if it is given. */
export function say(tone: Toast["tone"], text: string, id = ++next): number {
  set([...toasts.filter((toast) => toast.id !== id), { id, text, tone }]);
  // What is still under way is said until something else comes of it.
  if (tone !== "wait") setTimeout(() => dismiss(id, text), LASTS_MS);
  return id;
}

function dismiss(id: number, text: string) {
  set(toasts.filter((toast) => toast.id !== id || toast.text !== text));
}

export function Toasts() {
  const [, draw] = useState(0);
  useEffect(() => {
    const listener = () => draw((count) => count + 1);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.map(({ id, text, tone }) => (
        <p key={id} class={tone}>
          <span>{text}</span>
          <button type="button" class="plain" aria-label="Dismiss" onClick={() => dismiss(id, text)}>
            ×
          </button>
        </p>
      ))}
    </div>
  );
}
