// A question before something is done. The browser's own dialog keeps the focus inside, and closes with Escape.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { problemsIn } from "../api";

interface Props {
  title: string;
  /** What the button says that does it. */
  action: string;
  dangerous?: boolean;
  /** Whether it may be done now. */
  ready?: boolean;
  children: ComponentChildren;
  act: () => Promise<void>;
  close: () => void;
}

export function Dialog({ title, action, dangerous = false, ready = true, children, act, close }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [problems, setProblems] = useState<string[]>([]);
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblems([]);
    try {
      await act();
      close();
    } catch (problem) {
      setProblems(problemsIn(problem));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={close} onCancel={(event) => busy && event.preventDefault()}>
      <form onSubmit={submit}>
        <h2 id="dialog-title">{title}</h2>
        {children}
        <div role="alert" class="problems">
          {problems.map((problem) => (
            <p key={problem}>{problem}</p>
          ))}
        </div>
        <div class="buttons">
          <button type="button" onClick={close} disabled={busy}>
            Leave it
          </button>
          <button type="submit" class={dangerous ? "danger" : "primary"} disabled={busy || !ready}>
            {action}
          </button>
        </div>
      </form>
    </dialog>
  );
}
