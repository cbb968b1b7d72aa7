// What a job is set to.

import { useMemo, useState } from "preact/hooks";
import { useView } from "../hooks";
import { Fact, Loading, Problem } from "../parts/small";
import type { Job, JobConfig } from "../types";

export function Configuration({ job }: { job: Job }) {
  const { value, problem } = useView<JobConfig>(`jobs/${job.jid}/config`, () => false);
  const [search, setSearch] = useState("");
  const shown = useMemo(() => {
    const all = Object.entries(value?.["execution-config"]["user-config"] ?? {});
    const wanted = search.trim().toLowerCase();
    return all.filter(([key, text]) => key.toLowerCase().includes(wanted) || text.toLowerCase().includes(wanted));
  }, [value, search]);
  if (value === undefined) return problem ? <Problem problem={problem} /> : <Loading what="its configuration" />;
  const strategy = value["execution-config"]["restart-strategy"];
  return (
    <section class="card" aria-labelledby="configuration-title">
      <div class="head">
        <h2 id="configuration-title">Configuration</h2>
        <input type="search" placeholder="Search" aria-label="Search options" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
      </div>
      <dl class="facts">
        <Fact name="Restarts">{strategy || undefined}</Fact>
      </dl>
      <table class="settings">
        <thead>
          <tr>
            <th scope="col">Option</th>
            <th scope="col">Value</th>
          </tr>
        </thead>
        <tbody>
          {shown.map(([key, text]) => (
            <tr key={key}>
              <th scope="row">
                <code>{key}</code>
              </th>
              <td>
                <code>{text}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length === 0 && (
        <p class="quiet">{search ? "No option has that in it." : "The job sets no options, or it has ended and they are not kept."}</p>
      )}
    </section>
  );
}
