// Asks for a token when the JobManager wants one.

import { useEffect, useState } from "preact/hooks";
import { Failure, problemsOf } from "../api";
import { answer, askAgain, onToken, tokenState } from "../token";
import { Dialog } from "./Dialog";

function useToken() {
  const [state, setState] = useState(tokenState);
  useEffect(() => onToken(() => setState(tokenState())), []);
  return state;
}

/** The button for those who gave none at first. */
export function TokenButton() {
  const { missing } = useToken();
  if (!missing) return null;
  return (
    <button type="button" class="plain" onClick={askAgain}>
      Give a token
    </button>
  );
}

export function TokenDialog() {
  const { asking } = useToken();
  const [typed, setTyped] = useState("");
  if (asking === undefined) return null;
  const token = typed.trim();
  const act = async () => {
    const tried = await fetch("config", { headers: { authorization: `Bearer ${token}` } });
    if (tried.status === 401) throw new Failure(401, await problemsOf(tried));
    setTyped("");
    answer(asking, token);
  };
  const close = () => answer(asking, undefined);
  return (
    <Dialog key={asking} title="Who are you?" action="Go on" ready={/^[!-~]+$/.test(token)} act={act} close={close}>
      <p>This JobManager wants a token. It is kept until this tab is closed.</p>
      <label>
        Token{" "}
        <input
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
      </label>
    </Dialog>
  );
}
