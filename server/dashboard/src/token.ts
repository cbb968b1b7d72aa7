// The token that shows who looks at this page: asked for when the JobManager wants one, and kept for as long as the tab
// is open, for the page that tries the routes as well.

/** The page that tries the routes reads it, too. */
const KEY = "jobmanager-token";

let token = read();
/** Those who wait for another token; nobody, if nobody is asked for one. */
let waiting: ((given: boolean) => void)[] = [];
/** How often they were asked: a dialog may say that it was closed when the next one is open already. */
let round = 0;
/** Whoever was asked did not give one: they are not asked again before they want to. */
let declined = false;
/** Whether this JobManager has ever asked for one. */
let wanted = false;
const listeners = new Set<() => void>();

function read(): string | undefined {
  try {
    return sessionStorage.getItem(KEY) ?? undefined;
  } catch {
    return undefined;
  }
}

function tell() {
  for (const listener of listeners) listener();
}

/** What the page has to show of it. */
export function tokenState() {
  return { asking: waiting.length > 0 ? round : undefined, missing: wanted && declined };
}

/** Hears when that changes. */
export function onToken(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** What a request says of who asks. */
export function authorization(): string | undefined {
  return token === undefined ? undefined : `Bearer ${token}`;
}

/** The JobManager did not take what a request said: whether there is something else to say by now. */
export async function otherThan(said: string | undefined): Promise<boolean> {
  wanted = true;
  if (said !== authorization()) return true;
  if (declined) return false;
  return new Promise<boolean>(wait);
}

function wait(resolve: (given: boolean) => void) {
  if (waiting.length === 0) round += 1;
  waiting.push(resolve);
  tell();
}

/** Ends this round of the question, with a token or without. */
export function answer(asked: number, given: string | undefined) {
  if (asked !== round || waiting.length === 0) return;
  if (given !== undefined) {
    token = given;
    try {
      sessionStorage.setItem(KEY, given);
    } catch {
      // A browser that keeps nothing for this page asks again when it is loaded again.
    }
  }
  declined = given === undefined;
  const those = waiting;
  waiting = [];
  for (const resolve of those) resolve(given !== undefined);
  tell();
}

/** Asks after all. */
export function askAgain() {
  declined = false;
  wait(() => undefined);
}
