// The frame: who is logged in, which view is looked at, and the keys.

import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { findSession, isLive, isSlow, link, post, session, setSession, useSignal } from "./api.js";
import { Dialog, Said, Trouble, askFirst, say } from "./parts.js";
import { Overview } from "./overview.js";
import { Rule, Rules } from "./rules.js";
import { Jobs } from "./jobs.js";
import { JobView } from "./job.js";
import { Explain } from "./explain.js";

const VIEWS = [
  ["", "Overview", "o"],
  ["rules", "Landing zones", "l"],
  ["jobs", "Jobs", "j"],
  ["explain", "Explain", "e"],
];

/** `#/jobs/ID?state=failed` in its parts. */
function readRoute() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { parts, query: new URLSearchParams(query), key: path };
}

function View({ route }) {
  const [view, name] = route.parts;
  if (!view) return html`<${Overview} />`;
  if (view === "rules") return name ? html`<${Rule} name=${name} query=${route.query} key=${name} />` : html`<${Rules} />`;
  if (view === "jobs") return name ? html`<${JobView} id=${name} key=${name} />` : html`<${Jobs} query=${route.query} />`;
  if (view === "explain") return html`<${Explain} query=${route.query} />`;
  return html`<div><h1 tabindex="-1">There is no such view</h1><p><a href="#/">Overview</a></p></div>`;
}

function Login() {
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const user = localStorage.getItem("user") || "";
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    setBusy(true);
    try {
      const told = await post("/v1/login", { user: form.get("user").trim(), token: form.get("token").trim() });
      localStorage.setItem("user", told.user);
      setSession(told);
    } catch (caught) {
      setProblem(caught);
      setBusy(false);
    }
  };
  return html`<main id="main" class="login">
    <h1 tabindex="-1">Landfall</h1>
    <form onSubmit=${submit}>
      <div class="field">
        <label for="user">Your name</label>
        <input id="user" name="user" required maxlength="64" autocomplete="username" defaultValue=${user} autofocus=${!user} aria-describedby="user-hint" />
        <small id="user-hint">It stands beside what you do, in the history of jobs and in the audit trail.</small>
      </div>
      <div class="field">
        <label for="token">Token</label>
        <input id="token" name="token" type="password" required autocomplete="current-password" autofocus=${Boolean(user)} aria-describedby="token-hint" />
        <small id="token-hint">It stands in <code>api.token</code> of the data folder.</small>
      </div>
      <${Trouble} problem=${problem && { ...problem, message: problem.message, status: 0 }} />
      <div class="buttons"><button class="main" type="submit" disabled=${isBusy}>Log in</button></div>
    </form>
  </main>`;
}

const KEYS_OFF = "keys_off";
let pending = 0;

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog") || localStorage.getItem(KEYS_OFF)) return;
  const now = Date.now();
  const view = now - pending < 1500 && VIEWS.find(([, , key]) => key === event.key);
  pending = 0;
  if (view) {
    location.hash = `#/${view[0]}`;
  } else if (event.key === "g") {
    pending = now;
  } else if (event.key === "/") {
    const field = document.querySelector("[data-search]");
    if (!field) return;
    event.preventDefault();
    field.focus();
    field.select?.();
  } else if (event.key === "n" || event.key === "p") {
    moveRow(event.key === "n" ? 1 : -1);
  } else if (event.key === "?") {
    showKeys();
  }
}

/** Along the links of a table's rows. */
function moveRow(step) {
  const links = [...document.querySelectorAll("main tbody a.path, main tbody td:first-child a")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  links[at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step))].focus();
}

function showKeys() {
  const row = ([keys, what]) => html`<div><dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${what}</dd></div>`;
  askFirst({
    title: "Keys",
    text: html`<dl class="facts">${[...VIEWS.map(([, label, key]) => [`g ${key}`, label]), ["/", "to the search field"], ["n p", "next and previous row"], ["?", "this list"]].map(row)}</dl>`,
    fields: [{ name: "on", kind: "check", label: "Use these keys", value: !localStorage.getItem(KEYS_OFF) }],
    button: "Keep",
    run: ({ on }) => {
      if (on) localStorage.removeItem(KEYS_OFF);
      else localStorage.setItem(KEYS_OFF, "1");
    },
  });
}

async function logOut() {
  try {
    await post("/v1/logout");
  } catch (problem) {
    if (problem.status !== 401) return say(`You are still logged in: ${problem.message}`, true);
  }
  return setSession(null);
}

function Frame({ who }) {
  const [route, setRoute] = useState(readRoute);
  const isThere = useSignal(link);
  const live = useSignal(isLive);
  const main = useRef(null);
  const isFirst = useRef(true);
  useEffect(() => {
    const change = () => setRoute(readRoute());
    addEventListener("hashchange", change);
    document.addEventListener("keydown", onKey);
    return () => {
      removeEventListener("hashchange", change);
      document.removeEventListener("keydown", onKey);
    };
  }, []);
  // Who goes to another view begins at its top.
  useLayoutEffect(() => {
    const h1 = main.current?.querySelector("h1");
    document.title = `${h1?.textContent || "Landfall"} · Landfall`;
    if (!isFirst.current) {
      h1?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    isFirst.current = false;
  }, [route.key]);
  const here = route.parts[0] || "";
  return html`<div>
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current?.focus(); }}>To the content</a>
    <header class="top">
      <a class="brand" href="#/">Landfall</a>
      <nav aria-label="Views">
        ${VIEWS.map(([path, label]) => html`<a href="#/${path}" aria-current=${here === path ? "page" : undefined}>${label}</a>`)}
      </nav>
      <span class="link ${isThere ? "" : "bad"}" role="status">${!isThere ? "no answer" : live ? "live" : "…"}</span>
      <span class="user">${who.user || "token"}</span>
      <button class="quiet" onClick=${showKeys} aria-label="Keys">?</button>
      ${who.ends_at ? html`<button class="quiet" onClick=${logOut}>Log out</button>` : null}
    </header>
    <main id="main" ref=${main} tabindex="-1"><${View} route=${route} key=${route.key} /></main>
    <footer class="dim">Landfall ${who.program}</footer>
    <${Dialog} />
    <${Said} />
  </div>`;
}

function App() {
  const who = useSignal(session);
  const isLate = useSignal(isSlow);
  useEffect(() => { findSession(); }, []);
  if (who === undefined) return isLate ? html`<p role="status">The service does not answer yet. It is asked again.</p>` : null;
  return who === null ? html`<${Login} />` : html`<${Frame} who=${who} />`;
}

addEventListener("unhandledrejection", (event) => say(String(event.reason?.message || event.reason), true));

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
