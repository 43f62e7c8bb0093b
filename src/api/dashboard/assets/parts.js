// What views are made of.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { Problem, post } from "./api.js";
import { STATES, age, parted, seen, shortId, time } from "./words.js";

export const jobHref = (id) => `#/jobs/${id}`;

export function State({ state }) {
  return html`<span class="state s-${state}" title=${STATES[state] || ""}>${state}</span>`;
}

/** A path whose name is read first: folders give way where there is no room, and to what is wrong with it. */
export function Path({ path, href, why }) {
  const [folder, name] = parted(path).map(seen);
  const inner = html`${why ? null : html`<span class="folder">${folder}</span>`}<span class="name">${name}</span>`;
  const shown = href ? html`<a class="path" href=${href} title=${seen(path)}>${inner}</a>` : html`<span class="path" title=${seen(path)}>${inner}</span>`;
  return why ? html`<div class="troubled">${shown}<span class="dim why" title=${seen(why)}>${seen(why)}</span></div>` : shown;
}

/** A sentence of the service: what stands between backticks is for a terminal. */
export const Told = ({ text }) =>
  seen(text || "").split(/`([^`]+)`/).map((part, at) => (at % 2 ? html`<code>${part}</code>` : part));

export const JobLink = ({ id }) => html`<a href=${jobHref(id)} title=${id}>${shortId(id)}</a>`;

/** How long ago; it counts on by itself. */
export function Age({ at, suffix = "" }) {
  useTick(1000);
  if (!at) return html`<span>–</span>`;
  return html`<time datetime=${at} title=${time(at)}>${age(at)}${suffix}</time>`;
}

const ticks = new Set();
setInterval(() => {
  if (document.visibilityState !== "hidden") for (const tick of [...ticks]) tick();
}, 1000);
export function useTick() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const tick = () => redraw((n) => n + 1);
    ticks.add(tick);
    return () => ticks.delete(tick);
  }, []);
}

export function Trouble({ problem }) {
  if (!problem || problem.status === 401) return null;
  return html`<div class="trouble" role="alert"><strong><${Told} text=${problem.message} /></strong>${problem.hint ? html`<span>: <${Told} text=${problem.hint} /></span>` : null}</div>`;
}

/** What is not known yet, and why. */
export const Pending = ({ answer }) =>
  answer.data !== undefined ? null : answer.problem ? html`<${Trouble} problem=${answer.problem} />` : html`<p class="dim">…</p>`;

/** A table that may be wider than the screen. */
export function Table({ label, head, children, className = "", hasBodies }) {
  return html`<div class="scroll" role="group" tabindex="0" aria-label=${label}>
    <table class=${className}>
      <thead><tr>${head.map((it) => html`<th scope="col" class=${it.class || ""} aria-sort=${it.sort}>${it.label}</th>`)}</tr></thead>
      ${hasBodies ? children : html`<tbody>${children}</tbody>`}
    </table>
  </div>`;
}

export function Facts({ rows }) {
  return html`<dl class="facts">${rows.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

export function Meter({ part, whole, label, bad }) {
  const share = whole ? Math.min(100, (100 * part) / whole) : 0;
  return html`<svg class="meter ${bad ? "bad" : ""}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=${label}>
    <rect class="all" width="100" height="6" /><rect class="part" width=${share.toFixed(1)} height="6" />
  </svg>`;
}

/** A line of values over time, oldest first; null: nothing is known. */
/** `places`: where each value stands, from 0 to 1; without it they stand at the same distance. */
export function Spark({ values, places, label }) {
  const most = Math.max(1e-9, ...values.filter((value) => value != null));
  const x = (at) => (places ? 100 * places[at] : values.length < 2 ? 0 : (100 * at) / (values.length - 1));
  const points = values.map((value, at) => (value == null ? null : `${x(at).toFixed(1)},${(29 - (27 * value) / most).toFixed(1)}`)).filter(Boolean);
  return html`<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label=${label}>
    ${points.length > 1 ? html`<polyline points=${points.join(" ")} />` : null}
  </svg>`;
}

// What an act came to: told in words, and read out.
let tellAct = () => {};
export const say = (text, isBad = false) => tellAct({ text, isBad });

export function Said() {
  const [said, set] = useState(null);
  useEffect(() => {
    let timer;
    tellAct = (next) => {
      clearTimeout(timer);
      set(next);
      timer = setTimeout(() => set(null), 12000);
    };
    return () => clearTimeout(timer);
  }, []);
  return html`<div class="said ${said?.isBad ? "bad" : ""}" role="status" aria-live="polite">
    ${said ? html`<span>${said.text}</span><button class="quiet" onClick=${() => set(null)} aria-label="Close this message">✕</button>` : null}
  </div>`;
}

/** Of random bytes: `randomUUID` is for pages with TLS alone. */
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// Questions before an act.
let openDialog = () => {};

/**
 * Asks, and then does it. `fields`: {name, label, kind: text | number | area | check | choice, value, min, max, required, choices, hint}.
 * `run` gets the values, and a key that is this question's alone; it says in words what came of it.
 */
export const askFirst = (question) => openDialog(question);

export function Dialog() {
  const [question, setQuestion] = useState(null);
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const isAsking = useRef(false);
  const dialog = useRef(null);
  useEffect(() => {
    openDialog = (next) => {
      setProblem(null);
      setBusy(false);
      setQuestion({ ...next, key: newKey() });
    };
  }, []);
  useLayoutEffect(() => {
    if (question && dialog.current && !dialog.current.open) dialog.current.showModal();
  }, [question]);
  if (!question) return null;
  const close = () => dialog.current?.close();
  const submit = async (event) => {
    event.preventDefault();
    if (isAsking.current) return;
    isAsking.current = true;
    const form = new FormData(event.target);
    const values = {};
    for (const field of question.fields || []) {
      const value = form.get(field.name);
      values[field.name] = field.kind === "check" ? value !== null : field.kind === "number" ? (value === "" ? null : Number(value)) : value;
    }
    setBusy(true);
    setProblem(null);
    try {
      const told = await question.run(values, question.key);
      close();
      if (told) say(told);
    } catch (caught) {
      setProblem(caught instanceof Problem ? caught : new Problem(0, { detail: String(caught?.message || caught) }));
    }
    isAsking.current = false;
    setBusy(false);
  };
  return html`<dialog ref=${dialog} aria-labelledby="question" onClose=${() => setQuestion(null)} class=${question.wide ? "wide" : ""}>
    <form onSubmit=${submit}>
      <h2 id="question">${question.title}</h2>
      ${[question.text].flat().filter(Boolean).map((line) => html`<p>${line}</p>`)}
      ${(question.fields || []).map((field) => html`<${Field} field=${field} key=${field.name} />`)}
      <${Trouble} problem=${problem} />
      <div class="buttons">
        <button type="button" onClick=${close} autofocus=${!question.fields?.length}>${question.run ? "Leave it" : "Close"}</button>
        ${question.run ? html`<button type="submit" class=${question.danger ? "danger" : "main"} disabled=${isBusy}>${question.button}</button>` : null}
      </div>
    </form>
  </dialog>`;
}

function Field({ field }) {
  const id = `field-${field.name}`;
  const about = field.hint ? `${id}-hint` : undefined;
  const hint = field.hint ? html`<small id=${about}>${field.hint}</small>` : null;
  const common = { id, name: field.name, required: field.required, "aria-describedby": about };
  if (field.kind === "check") {
    return html`<div class="field"><label><input type="checkbox" ...${common} defaultChecked=${field.value} /> ${field.label}</label>${hint}</div>`;
  }
  const input =
    field.kind === "area"
      ? html`<textarea ...${common} rows=${field.rows || 4} maxlength=${field.most} spellcheck="false" defaultValue=${field.value || ""}></textarea>`
      : field.kind === "choice"
        ? html`<select ...${common}>${field.choices.map(([value, label]) => html`<option value=${value} selected=${value === field.value}>${label}</option>`)}</select>`
        : html`<input ...${common} type=${field.kind === "number" ? "number" : "text"} min=${field.min} max=${field.max} maxlength=${field.most} defaultValue=${field.value ?? ""} autocomplete="off" spellcheck="false" />`;
  return html`<div class="field"><label for=${id}>${field.label}</label>${input}${hint}</div>`;
}

/** An act that can be taken back, and is done without a question. */
export async function doNow(path, body, told) {
  try {
    const answer = await post(path, body);
    say(typeof told === "function" ? told(answer) : told);
    return answer;
  } catch (problem) {
    say([problem.message, problem.hint].filter(Boolean).join(". "), true);
    return null;
  }
}

export function Pager({ skip, size, shown, more, total, go, what }) {
  const from = shown ? skip + 1 : 0;
  return html`<nav class="pager" aria-label="Pages of ${what}">
    <button disabled=${skip === 0} onClick=${() => go(0)}>First</button>
    <button disabled=${skip === 0} onClick=${() => go(Math.max(0, skip - size))}>Previous</button>
    <span class="num">${from}–${skip + shown}${total != null ? ` of ${total.toLocaleString("en")}` : ""}</span>
    <button disabled=${!more} onClick=${() => go(skip + size)}>Next</button>
  </nav>`;
}
