// Why a job is not further, in words.

import type { Cause, Why as Answer } from "../types";

function Causes({ causes }: { causes: Cause[] }) {
  return (
    <ul>
      {causes.map((cause, number) => (
        <li key={number}>
          <p class="cause">{cause.text}</p>
          <p class="unblock">
            <span aria-hidden="true">→ </span>
            {cause.unblock}
          </p>
          {cause.because.length > 0 && <Causes causes={cause.because} />}
        </li>
      ))}
    </ul>
  );
}

export function Why({ why }: { why: Answer | undefined }) {
  if (why === undefined || why.causes.length === 0) return null;
  return (
    <section class="card why" aria-labelledby="why-title">
      <h2 id="why-title">{why.status === "RUNNING" ? "What it waits for" : "Why it is not running"}</h2>
      <Causes causes={why.causes} />
    </section>
  );
}
