// The TaskManagers, and one of them.

import { ago, bytes, count, plural, short } from "../format";
import { useSeconds, useTitle, useView } from "../hooks";
import { type LiveEvent, now } from "../live";
import { Log } from "../parts/Log";
import { type Column, Table } from "../parts/Table";
import { Fact, Loading, Problem } from "../parts/small";
import type { JobLine, TaskManager as Details, TaskManagerLine } from "../types";

const concerns = (event: LiveEvent) => event.kind.startsWith("taskmanager-") || event.kind.startsWith("job-");

function age(tm: TaskManagerLine): number {
  return Math.max(0, now() - tm.timeSinceLastHeartbeat);
}

/** Whether tasks are given to it. */
function trust(tm: TaskManagerLine): { tone: string; words: string; title: string } {
  if (!tm.answering) {
    return { tone: "warn", words: "Owes an answer", title: "It is given no tasks until it answers." };
  }
  if (tm.blocked) {
    return { tone: "wait", words: "Leaves", title: "It is given no tasks, and ends when those that it has have moved." };
  }
  return { tone: "good", words: "Answers", title: "" };
}

function Trust({ tm }: { tm: TaskManagerLine }) {
  const { tone, words, title } = trust(tm);
  return (
    <span class={`state ${tone}`} title={title}>
      <i aria-hidden="true" />
      {words}
    </span>
  );
}

function Slots({ tm }: { tm: TaskManagerLine }) {
  const used = tm.slotsNumber - tm.freeSlots;
  return (
    <span class="tasks">
      <span>{`${count(tm.freeSlots)} of ${count(tm.slotsNumber)}`}</span>
      <meter min={0} max={Math.max(1, tm.slotsNumber)} value={used} aria-label={`${used} of ${tm.slotsNumber} slots used`} />
    </span>
  );
}

const COLUMNS: Column<TaskManagerLine>[] = [
  {
    key: "id",
    title: "TaskManager",
    by: (tm) => tm.id,
    cell: (tm) => <a href={`#/taskmanagers/${encodeURIComponent(tm.id)}`}>{tm.id}</a>,
    look: "name",
  },
  { key: "trust", title: "State", by: (tm) => trust(tm).words, cell: (tm) => <Trust tm={tm} />, look: "state-cell" },
  { key: "heard", title: "Heard", by: age, cell: (tm) => ago(age(tm)), look: "number duration" },
  { key: "slots", title: "Free slots", by: (tm) => tm.freeSlots, cell: (tm) => <Slots tm={tm} />, look: "wide tasks-cell" },
  { key: "tasks", title: "Tasks", by: (tm) => tm.assignedTasks, cell: (tm) => count(tm.assignedTasks), look: "number wide" },
  { key: "address", title: "Address", by: (tm) => tm.path, cell: (tm) => <code>{tm.path}</code>, look: "widest" },
];

export function TaskManagers() {
  useTitle("TaskManagers");
  useSeconds();
  const { value, problem } = useView<{ taskmanagers: TaskManagerLine[] }>("taskmanagers", concerns);
  return (
    <>
      <h1>TaskManagers</h1>
      <Problem problem={problem} />
      {value ? (
        <section class="card">
          <Table
            label="TaskManagers"
            rows={value.taskmanagers}
            columns={COLUMNS}
            id={(tm) => tm.id}
            empty={
              <>
                No TaskManager is registered. Start one with <code>taskmanager --jobmanager HOST:PORT --slots 4</code>.
              </>
            }
          />
        </section>
      ) : (
        <Loading what="the TaskManagers" />
      )}
    </>
  );
}

/** A word of a command line. */
function quoted(text: string): string {
  return /^[\w.:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

type Slot = Details["allocatedSlots"][number] & { name: string };

const SLOTS: Column<Slot>[] = [
  { key: "slot", title: "Slot", by: (slot) => slot.slot, cell: (slot) => slot.slot, look: "number narrow" },
  { key: "job", title: "Job", by: (slot) => slot.name, cell: (slot) => <a href={`#/jobs/${slot.jobId}`}>{slot.name}</a>, look: "name" },
  { key: "tasks", title: "Tasks", by: (slot) => slot.assignedTasks, cell: (slot) => count(slot.assignedTasks), look: "number duration" },
];

export function TaskManager({ id }: { id: string }) {
  useTitle(id);
  useSeconds();
  const { value: tm, problem } = useView<Details>(`taskmanagers/${encodeURIComponent(id)}`, concerns);
  const jobs = useView<{ jobs: JobLine[] }>("jobs/overview", (event) => event.kind.startsWith("job-"));
  const name = (jid: string) => jobs.value?.jobs.find((job) => job.jid === jid)?.name || short(jid);
  return (
    <>
      <p class="back">
        <a href="#/taskmanagers">TaskManagers</a>
      </p>
      <h1>{id}</h1>
      <Problem problem={problem} />
      {problem?.status === 404 && <p>It is gone, or has never been here. One that comes back is shown again.</p>}
      {tm && (
        <>
          <dl class="facts card">
            <Fact name="State">
              <Trust tm={tm} />
            </Fact>
            <Fact name="Heard">{ago(age(tm))}</Fact>
            <Fact name="Slots">{`${count(tm.freeSlots)} of ${count(tm.slotsNumber)} free`}</Fact>
            <Fact name="Tasks">{count(tm.assignedTasks)}</Fact>
            <Fact name="Hardware">
              {`${plural(tm.hardware.cpuCores, "core")}, ${tm.hardware.physicalMemory > 0 ? bytes(tm.hardware.physicalMemory) : "memory not known"}`}
            </Fact>
            <Fact name="Address">
              <code>{tm.path}</code>
            </Fact>
            <Fact name="Incarnation" title="Which life of its process this is">
              <code>{tm.incarnation}</code>
            </Fact>
          </dl>
          <section class="card">
            <h2>Slots that are taken</h2>
            <Table
              label="Slots that are taken"
              rows={tm.allocatedSlots.map((slot) => ({ ...slot, name: name(slot.jobId) }))}
              columns={SLOTS}
              id={(slot) => String(slot.slot)}
              empty="All of its slots are free."
            />
          </section>
          <Log path={`taskmanagers/${encodeURIComponent(id)}/log`} command={`jobmanager logs ${quoted(id)} --follow`} />
        </>
      )}
      {tm === undefined && problem === undefined && <Loading what={id} />}
    </>
  );
}
