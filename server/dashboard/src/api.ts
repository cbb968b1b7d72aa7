// Asking the JobManager: its routes, its errors, and what it answers when it does not lead any more, or does not know
// who asks.

import { authorization, otherThan } from "./token";

/** A request that was not answered as asked. Status 0: nobody answered. */
export class Failure extends Error {
  constructor(
    readonly status: number,
    readonly problems: string[],
  ) {
    super(problems.join("\n"));
  }
}

/** A JobManager that stands by sends everybody to the leader, and this page goes there: as a whole, because only then
 * is what it asks next asked of the leader. The part of the address behind the `#` stays. */
function followLeader(): never {
  location.reload();
  throw new Failure(0, ["Another JobManager leads now; this page goes there."]);
}

/** A response of the leader, whatever its status. */
export async function reach(path: string, init: RequestInit = {}): Promise<Response> {
  const said = authorization();
  const headers = new Headers(init.headers);
  if (said !== undefined) headers.set("authorization", said);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, redirect: "manual" });
  } catch (problem) {
    if (init.signal?.aborted) throw problem;
    throw new Failure(0, ["The JobManager does not answer."]);
  }
  if (response.type === "opaqueredirect") followLeader();
  if (response.status === 401 && (await otherThan(said))) return reach(path, init);
  return response;
}

/** What an answer says is wrong. */
export async function problemsOf(response: Response): Promise<string[]> {
  try {
    const body: unknown = await response.json();
    const { errors } = body as { errors?: unknown };
    if (Array.isArray(errors) && errors.length > 0) return errors.map(String);
  } catch {
    // It is not JSON; then the status has to do.
  }
  return [`The JobManager answers with ${response.status} ${response.statusText}.`];
}

/** What a route answers. */
export async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  const response = await reach(path, init);
  if (!response.ok) throw new Failure(response.status, await problemsOf(response));
  return (await response.json()) as T;
}

/** Sends a body in JSON. */
export function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  if (body === undefined) return ask<T>(path, { method });
  const headers = { "content-type": "application/json" };
  return ask<T>(path, { method, headers, body: JSON.stringify(body) });
}

/** What went wrong, line by line. */
export function problemsIn(problem: unknown): string[] {
  return problem instanceof Failure ? problem.problems : [String(problem)];
}
