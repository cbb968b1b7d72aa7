// What comes of a snapshot that was asked for.

import { ask } from "../api";
import { say } from "../parts/Toasts";
import type { Job, TriggerStatus } from "../types";

/** How often is asked what came of it. */
const ASK_MS = 500;
/** How often no answer is bearable: a leader may change meanwhile. */
const PATIENCE = 60;

/** Waits for what comes of a savepoint or checkpoint, and says it. */
export async function follow(job: Job, kind: "savepoint" | "checkpoint", trigger: string, doing: string, done: string) {
  const toast = say("wait", doing);
  for (let missed = 0; missed < PATIENCE; ) {
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    let status: TriggerStatus;
    try {
      status = await ask<TriggerStatus>(`jobs/${job.jid}/${kind}s/${trigger}`);
    } catch {
      missed += 1;
      continue;
    }
    if (status.status.id !== "COMPLETED") continue;
    const result = status.operation?.location ?? status.operation?.checkpointId;
    const cause = status.operation?.["failure-cause"];
    if (result !== undefined) say("done", `${done} ${result}`, toast);
    else say("bad", `The ${kind} of ${job.name} failed: ${cause?.["stack-trace"] ?? cause?.class ?? "no reason is known"}`, toast);
    return;
  }
  say("bad", `What came of the ${kind} of ${job.name} is not known: the JobManager does not answer. Its trigger is ${trigger}.`, toast);
}
