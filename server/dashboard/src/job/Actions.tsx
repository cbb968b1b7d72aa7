// What can be done with a job, each after a question: cancel it, stop it, take a savepoint, change its parallelism.

import { useState } from "preact/hooks";
import { send } from "../api";
import { count, words } from "../format";
import { useView } from "../hooks";
import { Dialog } from "../parts/Dialog";
import { say } from "../parts/Toasts";
import { Loading, Problem, hasEnded } from "../parts/small";
import type { Job, Parallelism, Triggered } from "../types";
import { follow } from "./follow";

type Action = "cancel" | "stop" | "savepoint" | "rescale";

function Cancel({ job, close }: { job: Job; close: () => void }) {
  const act = async () => {
    await send("PATCH", `jobs/${job.jid}?mode=cancel`);
    say("done", `${job.name} is being canceled.`);
  };
  return (
    <Dialog title={`Cancel ${job.name}?`} action="Cancel the job" dangerous act={act} close={close}>
      <p>Its tasks stop at once, and its checkpoints are deleted. It does not start again. To go on later, stop it with a savepoint instead.</p>
    </Dialog>
  );
}

function Folder({ folder, change }: { folder: string; change: (folder: string) => void }) {
  return (
    <label class="field">
      <span>Folder</span>
      <input
        type="text"
        autofocus
        spellcheck={false}
        placeholder="as execution.checkpointing.savepoint-dir says"
        value={folder}
        onInput={(event) => change(event.currentTarget.value)}
      />
      <small>An absolute path or a file URL that every TaskManager reaches.</small>
    </label>
  );
}

function Savepoint({ job, close }: { job: Job; close: () => void }) {
  const [folder, setFolder] = useState("");
  const act = async () => {
    const body = folder.trim() ? { "target-directory": folder.trim() } : {};
    const { "request-id": trigger } = await send<Triggered>("POST", `jobs/${job.jid}/savepoints`, body);
    void follow(job, "savepoint", trigger, `A savepoint of ${job.name} is being taken …`, `The savepoint of ${job.name} is in`);
  };
  return (
    <Dialog title={`Take a savepoint of ${job.name}?`} action="Take a savepoint" act={act} close={close}>
      <p>The job goes on meanwhile. The savepoint is yours: nobody else deletes it.</p>
      <Folder folder={folder} change={setFolder} />
    </Dialog>
  );
}

function Stop({ job, close }: { job: Job; close: () => void }) {
  const [folder, setFolder] = useState("");
  const [drain, setDrain] = useState(false);
  const act = async () => {
    const body = folder.trim() ? { targetDirectory: folder.trim(), drain } : { drain };
    const { "request-id": trigger } = await send<Triggered>("POST", `jobs/${job.jid}/stop`, body);
    void follow(job, "savepoint", trigger, `${job.name} is being stopped …`, `${job.name} has stopped. Its savepoint is in`);
  };
  return (
    <Dialog title={`Stop ${job.name} with a savepoint?`} action="Stop the job" dangerous act={act} close={close}>
      <p>Its sources read no more, what the savepoint has is published, and the job ends. It can be started again from the savepoint.</p>
      <Folder folder={folder} change={setFolder} />
      <label class="check">
        <input type="checkbox" checked={drain} onChange={(event) => setDrain(event.currentTarget.checked)} />
        <span>End the data first, which closes all windows: for a job that is not to go on.</span>
      </label>
    </Dialog>
  );
}

type Wishes = Record<string, { lower: string; upper: string }>;

function isNumber(text: string): boolean {
  return /^[1-9]\d{0,8}$/.test(text.trim());
}

function Rescale({ job, close }: { job: Job; close: () => void }) {
  const { value, problem } = useView<Parallelism>(`jobs/${job.jid}/parallelism`, () => false);
  const [wishes, setWishes] = useState<Wishes>({});
  const vertices = value?.vertices ?? [];
  const changed = vertices.filter(({ id, lowerBound, upperBound }) => {
    const wish = wishes[id];
    return wish !== undefined && (wish.lower.trim() !== String(lowerBound) || wish.upper.trim() !== String(upperBound));
  });
  const sound = changed.every(({ id }) => isNumber(wishes[id]?.lower ?? "") && isNumber(wishes[id]?.upper ?? ""));
  const act = async () => {
    const bounds = changed.map(({ id }) => {
      const parallelism = { lowerBound: Number(wishes[id]?.lower), upperBound: Number(wishes[id]?.upper) };
      return [id, { parallelism }];
    });
    await send("PATCH", `jobs/${job.jid}/resource-requirements`, Object.fromEntries(bounds));
    say("done", `${job.name} gets another parallelism as soon as there are slots and a checkpoint for it.`);
  };
  const field = (vertex: Parallelism["vertices"][number], end: "lower" | "upper") => {
    const wish = wishes[vertex.id] ?? { lower: String(vertex.lowerBound), upper: String(vertex.upperBound) };
    return (
      <input
        type="text"
        inputMode="numeric"
        size={4}
        value={wish[end]}
        aria-label={`${vertex.name}, ${end === "lower" ? "at least" : "at most"}`}
        aria-invalid={!isNumber(wish[end])}
        onInput={(event) => setWishes({ ...wishes, [vertex.id]: { ...wish, [end]: event.currentTarget.value } })}
      />
    );
  };
  return (
    <Dialog title={`Another parallelism for ${job.name}`} action="Rescale" ready={changed.length > 0 && sound} act={act} close={close}>
      <p>What exchanges records with a vertex takes a checkpoint, stops, and goes on with its state shared out anew. The rest is not touched.</p>
      <Problem problem={problem} />
      {value?.problem && <p class="note warn">{value.problem}</p>}
      {value ? (
        <div class="bounds" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">Vertex</th>
                <th scope="col">Now</th>
                <th scope="col">At least</th>
                <th scope="col">At most</th>
              </tr>
            </thead>
            <tbody>
              {vertices.map((vertex) => (
                <tr key={vertex.id}>
                  <th scope="row">{vertex.name}</th>
                  <td title={`Its max parallelism is ${vertex.maxParallelism}`}>{`${count(vertex.parallelism)} of ${count(vertex.maxParallelism)}`}</td>
                  <td>{field(vertex, "lower")}</td>
                  <td>{field(vertex, "upper")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        problem === undefined && <Loading what="its parallelism" />
      )}
    </Dialog>
  );
}

export function Actions({ job }: { job: Job }) {
  const [open, setOpen] = useState<Action>();
  const ended = hasEnded(job.state);
  if (ended) return <p class="quiet">{`It is ${words(job.state).toLowerCase()}; nothing can be done with it any more.`}</p>;
  const close = () => setOpen(undefined);
  return (
    <div class="actions" role="group" aria-label="Actions">
      <button type="button" onClick={() => setOpen("savepoint")}>
        Savepoint
      </button>
      <button type="button" onClick={() => setOpen("rescale")}>
        Rescale
      </button>
      <button type="button" onClick={() => setOpen("stop")}>
        Stop
      </button>
      <button type="button" class="danger" onClick={() => setOpen("cancel")}>
        Cancel
      </button>
      {open === "cancel" && <Cancel job={job} close={close} />}
      {open === "stop" && <Stop job={job} close={close} />}
      {open === "savepoint" && <Savepoint job={job} close={close} />}
      {open === "rescale" && <Rescale job={job} close={close} />}
    </div>
  );
}
