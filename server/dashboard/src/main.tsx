// The page: its head, which is always there, and what the address names below it.

import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ask } from "./api";
import { setRefresh, useLive, usePlace, useTitle } from "./hooks";
import { start } from "./live";
import { JobPage } from "./job/JobPage";
import { Leadership } from "./pages/Leadership";
import { Overview } from "./pages/Overview";
import { TaskManager, TaskManagers } from "./pages/TaskManagers";
import { Toasts } from "./parts/Toasts";
import { TokenButton, TokenDialog } from "./parts/Token";
import "./style.css";

function NotFound() {
  useTitle("Not found");
  return (
    <>
      <h1>There is no such page</h1>
      <p>
        Go to the <a href="#/">overview</a>.
      </p>
    </>
  );
}

function Page({ place }: { place: string[] }) {
  const [first, second, third] = place;
  if (first === undefined) return <Overview />;
  if (first === "jobs" && second !== undefined) return <JobPage key={second} jid={second} tab={third ?? "graph"} />;
  if (first === "taskmanagers") return second === undefined ? <TaskManagers /> : <TaskManager key={second} id={second} />;
  if (first === "leadership") return <Leadership />;
  return <NotFound />;
}

const CONNECTIONS = { connecting: "connecting …", live: "live", asking: "not live, asking", lost: "no answer, trying again" };

function Head({ at }: { at: string }) {
  const { connection } = useLive();
  const link = (to: string, name: string) => (
    <a href={`#/${to}`} aria-current={at === to ? "page" : undefined}>
      {name}
    </a>
  );
  return (
    <header>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the page
      </a>
      <a class="brand" href="#/">
        <img src="./favicon.svg" alt="" width="24" height="24" />
        JobManager
      </a>
      <nav aria-label="Pages">
        {link("", "Overview")}
        {link("taskmanagers", "TaskManagers")}
        {link("leadership", "Leadership")}
      </nav>
      <TokenButton />
      <span class={`connection ${connection}`} role="status">
        <i aria-hidden="true" />
        <span>{CONNECTIONS[connection]}</span>
      </span>
    </header>
  );
}

/** The part behind the `#` names a page, so a link cannot name a place on it. */
function skip(event: Event) {
  event.preventDefault();
  document.querySelector<HTMLElement>("main")?.focus();
}

function App() {
  const place = usePlace();
  const [first = "", second = ""] = place;
  const isFirst = useRef(true);
  useEffect(() => {
    scrollTo(0, 0);
    // Who does not see that there is another page hears it.
    if (!isFirst.current) document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
    isFirst.current = false;
  }, [first, second]);
  return (
    <>
      <Head at={first === "jobs" ? "" : first} />
      <main id="main" tabIndex={-1}>
        <Page place={place} />
      </main>
      <Toasts />
      <TokenDialog />
    </>
  );
}

async function configure() {
  const config = await ask<{ "refresh-interval": number }>("config");
  setRefresh(config["refresh-interval"]);
}

const page = document.getElementById("page");
if (page !== null) render(<App />, page);
configure().catch(() => undefined);
void start();
