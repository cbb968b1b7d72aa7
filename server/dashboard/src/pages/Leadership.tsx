// Who leads, what it has adopted, and who led before.

import { UNKNOWN, count, duration, moment, plural, short } from "../format";
import { useLive, useSeconds, useTitle, useView } from "../hooks";
import { type Term, now } from "../live";
import { Log } from "../parts/Log";
import { type Column, Table } from "../parts/Table";
import { Fact, Loading, Problem } from "../parts/small";
import type { JobLine, Leader } from "../types";

type Adopted = Leader["adopted"][number] & { name: string };

const ADOPTED: Column<Adopted>[] = [
  { key: "job", title: "Job", by: (job) => job.name, cell: (job) => <a href={`#/jobs/${job.jid}`}>{job.name}</a>, look: "name" },
  {
    key: "adopted",
    title: "Adopted",
    by: (job) => job.adopted,
    cell: (job) => `${count(job.adopted)} of ${count(job.tasks)}`,
    look: "number duration",
  },
  { key: "restarts", title: "Restarts", by: (job) => job.restarts, cell: (job) => count(job.restarts), look: "number wide" },
];

const TERMS: Column<Term>[] = [
  { key: "epoch", title: "Epoch", by: (term) => term.epoch, cell: (term) => term.epoch, look: "number narrow" },
  { key: "since", title: "Since", by: (term) => term.since, cell: (term) => moment(term.since), look: "time" },
  { key: "adopted", title: "Adopted", by: (term) => term.adopted ?? -1, cell: (term) => (term.adopted === undefined ? UNKNOWN : plural(term.adopted, "task")), look: "number duration" },
  { key: "address", title: "Address", by: (term) => term.address, cell: (term) => <code>{term.address}</code>, look: "wide" },
];

export function Leadership() {
  useTitle("Leadership");
  useSeconds();
  const { terms } = useLive();
  const { value: leader, problem } = useView<Leader>("leader", (event) => event.kind === "leader" || event.kind.startsWith("job-"));
  const jobs = useView<{ jobs: JobLine[] }>("jobs/overview", (event) => event.kind.startsWith("job-"));
  const name = (jid: string) => jobs.value?.jobs.find((job) => job.jid === jid)?.name || short(jid);
  const adopted = leader?.adopted.map((job) => ({ ...job, name: name(job.jid) }));
  return (
    <>
      <h1>Leadership</h1>
      <Problem problem={problem} />
      {leader && adopted ? (
        <>
          <dl class="facts card">
            <Fact name="Leader">
              <code>{leader.address}</code>
            </Fact>
            <Fact name="Epoch" title="One life of a coordinator; higher ones fence lower ones">
              {leader.epoch}
            </Fact>
            <Fact name="Since">{moment(leader.since)}</Fact>
            <Fact name="For">{duration(Math.max(0, now() - leader.since))}</Fact>
            <Fact name="Adopted tasks">{count(adopted.reduce((sum, job) => sum + job.adopted, 0))}</Fact>
          </dl>
          <section class="card">
            <h2>Tasks that run since an earlier leader</h2>
            <p class="quiet">They were not restarted when the leader changed. A task that was restarted since is not counted.</p>
            <Table
              label="Tasks that run since an earlier leader"
              rows={adopted}
              columns={ADOPTED}
              id={(job) => job.jid}
              empty="None: every task that runs was started by this leader."
            />
          </section>
          <section class="card">
            <h2>Leaders that were seen</h2>
            <p class="quiet">By this JobManager since its process was started, or by this browser. Nobody keeps it for longer.</p>
            <Table label="Leaders that were seen" rows={terms} columns={TERMS} id={(term) => String(term.epoch)} empty="None." />
          </section>
          <Log path="jobmanager/log" command="jobmanager logs --follow" />
        </>
      ) : (
        problem === undefined && <Loading what="the leader" />
      )}
    </>
  );
}
