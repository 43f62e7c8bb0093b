// Why a file is not taken, or what became of it.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { post, useAnswer } from "./api.js";
import { Age, Facts, Path, Pending, State, Table, Told, Trouble, askFirst, jobHref } from "./parts.js";
import { bytes, count, seen, time } from "./words.js";

function adopt(path, again) {
  askFirst({
    title: "Adopt this file?",
    text: [seen(path), "It is never taken, as long as it is the same. That can be taken back."],
    button: "Adopt",
    run: async () => {
      await post("/v1/adopt", { path });
      again();
      return "The file is adopted: it stays where it lies, and is not taken.";
    },
  });
}

function giveUp(path, again) {
  askFirst({
    title: "Take the adoption back?",
    text: [seen(path), "The file is taken like any other."],
    button: "Take it back",
    run: async () => {
      await post("/v1/give-up", { path });
      again();
      return "The adoption is taken back.";
    },
  });
}

function ingest(path, rules, rule) {
  askFirst({
    title: "Take this file now?",
    text: [seen(path)],
    fields: [
      { name: "rule", label: "Rule", kind: "choice", value: rule || rules[0], choices: rules.map((name) => [name, name]) },
      { name: "retire", kind: "check", value: true, label: "Claim it, and let it end as the rule says; else it stays as it is" },
    ],
    button: "Take it",
    run: async (values) => {
      const { id } = await post("/v1/ingest", { path, ...values });
      location.hash = jobHref(id);
      return "The file is taken.";
    },
  });
}

const VERDICTS = { takes: "good", takes_by_link: "good" };

function Answer({ path }) {
  const answer = useAnswer("/v1/explain", { path }, { every: 3, wake: (event) => event.kind === "anew" });
  const rules = useAnswer("/v1/rules", null, { every: 30 });
  const found = answer.data;
  const names = (rules.data?.rules || []).map((rule) => rule.name);
  if (!found) return html`<${Pending} answer=${answer} />`;
  const waiting = found.seen;
  return html`<section aria-label="What is known of it"><${Trouble} problem=${answer.problem} />
    <div class="titled"><h2 class="mono">${seen(found.path)}</h2><div class="buttons">
      ${names.length ? html`<button onClick=${() => ingest(found.path, names, found.rule)}>Take it now</button>` : null}
      ${found.kept && !found.kept.job ? html`<button onClick=${() => giveUp(found.path, answer.again)}>Take the adoption back</button>` : html`<button onClick=${() => adopt(found.path, answer.again)}>Adopt</button>`}
    </div></div>
    <${Facts} rows=${[
      ["Lies there", seen(found.there)],
      found.leads_to ? ["Leads to", html`<span class="mono">${seen(found.leads_to)}</span>`] : null,
      ["Landing zone", found.rule ? html`<a href="#/rules/${encodeURIComponent(found.rule)}">${found.rule}</a>` : "none takes it"],
      found.waits ? ["Waits because", html`<b><${Told} text=${found.waits} /></b>${waiting?.is_late ? html` <span class="state s-failed">late</span>` : ""}`] : null,
      waiting ? ["For that since", html`<${Age} at=${waiting.reason_since} suffix=" ago" />`] : null,
      waiting ? ["Seen first", html`<${Age} at=${waiting.first_seen_at} suffix=" ago" />`] : null,
      waiting ? ["Unchanged since", html`<${Age} at=${waiting.still_since} suffix=" ago" />`] : null,
      waiting?.next_look_at ? ["Looked at again", `${time(waiting.next_look_at)} at the latest`] : null,
      waiting?.sizes.length ? ["Sizes seen", waiting.sizes.map((size) => html`<div class="num">${bytes(size.bytes)}, <${Age} at=${size.at} suffix=" ago" /></div>`)] : null,
      found.folder_note ? ["Its folder", `${seen(found.folder_note.path)}: ${seen(found.folder_note.reason)}`] : null,
      found.kept ? ["Kept", `${seen(found.kept.rule)}, ${time(found.kept.at)}: it is not taken again as long as it is the same`] : null,
      found.not_taken ? ["Not taken because", seen(found.not_taken)] : null,
      ...found.companions.map((it) => [`Its ${it.key}`, `${seen(it.path)} ${it.there ? "is there" : "is not there"}`]),
    ]} />
    <h3>Rules</h3>
    ${found.rules.every((rule) => rule.verdict === "no_pattern") ? html`<p>No pattern of any rule fits it.</p>` : html`<ul class="plain attention">${found.rules.filter((rule) => rule.verdict !== "no_pattern").map((rule) => html`<li key=${rule.name}>
      <span class="about ${VERDICTS[rule.verdict] || ""}">${rule.name}</span><div><p><${Told} text=${rule.detail} /></p></div></li>`)}</ul>`}
    ${found.jobs.length ? html`<h3>Jobs that it became</h3>
      <${Table} label="Jobs of this file" head=${[{ label: "Job" }, { label: "State" }, { label: "The file is" }, { label: "Records", class: "num" }, { label: "Claimed", class: "num" }]}>
        ${found.jobs.map((job, at) => html`<tr key=${job.id}><td><${Path} path=${job.source} href=${jobHref(job.id)} /></td><td><${State} state=${job.state} /></td><td>its ${found.found_as[at]}</td><td class="num">${count(job.records_in)}</td><td class="num"><${Age} at=${job.created_at} /></td></tr>`)}
      <//>` : null}</section>`;
}

function Sought({ name }) {
  const answer = useAnswer("/v1/find", { source: name }, {});
  const found = answer.data?.found.slice(-100).reverse();
  if (!found) return html`<${Pending} answer=${answer} />`;
  return html`<section aria-label="What was found"><h2>Sources called ${seen(name)}</h2>
    ${found.length ? html`<${Table} label="Sources that were found" head=${[{ label: "Source" }, { label: "Outcome" }, { label: "Rule" }, { label: "Claimed", class: "num" }]}>
      ${found.map((it) => html`<tr key=${it.job}><td><${Path} path=${it.source} href=${it.is_listed ? jobHref(it.job) : `#/explain?path=${encodeURIComponent(it.source)}`} /></td><td><${State} state=${it.outcome} /></td><td>${it.rule}</td><td class="num"><${Age} at=${it.claimed_at} /></td></tr>`)}
    <//>` : html`<p>No such source was ever claimed. Give its whole path to learn what keeps it.</p>`}</section>`;
}

export function Explain({ query }) {
  const path = query.get("path") || "";
  const field = useRef(null);
  const [typed, setTyped] = useState(path);
  useEffect(() => setTyped(path), [path]);
  const submit = (event) => {
    event.preventDefault();
    location.hash = `#/explain?path=${encodeURIComponent(typed.trim())}`;
  };
  const isPath = /^(\/|[A-Za-z]:[\\/])/.test(path);
  return html`<div><h1 tabindex="-1">Explain</h1>
    <p>Which rule takes a file, what it waits for, and what it became. A name alone finds sources that were claimed; <code>*</code> and <code>?</code> are wildcards.</p>
    <form class="filters" role="search" aria-label="Explain a file" onSubmit=${submit}>
      <label class="fill">Path or name <input data-search ref=${field} value=${typed} onInput=${(event) => setTyped(event.target.value)} required maxlength="4096" autocomplete="off" spellcheck="false" /></label>
      <button class="main" type="submit">Explain</button>
    </form>
    ${path ? (isPath ? html`<${Answer} path=${path} key=${path} />` : html`<${Sought} name=${path} key=${path} />`) : null}</div>`;
}
