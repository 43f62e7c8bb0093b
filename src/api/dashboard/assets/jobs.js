// Jobs, a page at a time: sorted and filtered by the service, live by its events.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact.js";
import { known, onEvent, url, useAnswer } from "./api.js";
import { Age, Pager, Path, Pending, State, Table, Trouble, jobHref } from "./parts.js";
import { STATES, between, bytes, count, duration, percent, seen } from "./words.js";

const PAGE = 50;
const COLUMNS = [
  ["state", "State"],
  ["source", "Source"],
  ["rule", "Rule", "wide"],
  ["priority", "Prio.", "num wide"],
  ["size", "Size", "num wide"],
  ["records", "Records", "num wide"],
  ["failed_records", "Failed", "num wide"],
  ["ended", "Took", "num wide"],
  ["claimed", "Claimed", "num"],
];

function go(query, changes) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined || value === false) next.delete(name);
    else next.set(name, value);
  }
  const text = next.toString();
  location.hash = text ? `#/jobs?${text}` : "#/jobs";
}

function Filters({ query }) {
  const rules = useAnswer("/v1/rules", null, { every: 30 });
  const timer = useRef(null);
  const search = useRef(null);
  const text = query.get("text") || "";
  // What was typed since is not taken away.
  useEffect(() => {
    if (search.current && document.activeElement !== search.current) search.current.value = text;
  }, [text]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const typed = (event) => {
    const { value } = event.target;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => go(query, { text: value.trim(), skip: "", upto: "" }), 250);
  };
  const pick = (name) => (event) => go(query, { [name]: event.target.value, skip: "", upto: "" });
  const names = [...new Set([...(rules.data?.rules || []), ...(rules.data?.gone || [])].map((rule) => rule.name).concat(query.get("rule") || []))];
  return html`<form class="filters" role="search" aria-label="Filter jobs" onSubmit=${(event) => event.preventDefault()}>
    <label for="by-state">State</label><select id="by-state" onChange=${pick("state")}>
      <option value="">all</option>${Object.keys(STATES).map((state) => html`<option value=${state} selected=${state === query.get("state")}>${state}</option>`)}</select>
    <label for="by-rule">Rule</label><select id="by-rule" onChange=${pick("rule")}>
      <option value="">all</option>${names.map((name) => html`<option value=${name} selected=${name === query.get("rule")}>${name}</option>`)}</select>
    <label for="by-text">Name or id</label><input id="by-text" type="search" data-search ref=${search} defaultValue=${text} onInput=${typed} maxlength="200" />
    <label><input type="checkbox" checked=${query.get("unfinished") === "true"} onChange=${(event) => go(query, { unfinished: event.target.checked, skip: "", upto: "" })} /> not ended</label>
    <label><input type="checkbox" checked=${query.get("waiting") === "true"} onChange=${(event) => go(query, { waiting: event.target.checked, skip: "", upto: "" })} /> waiting</label>
  </form>`;
}

export function Progress({ job }) {
  if (!["running", "publishing"].includes(job.state) || !job.size) return null;
  return html`<span class="num dim"> ${percent(Math.min(job.bytes_worked, job.size), job.size)}</span>`;
}

function Row({ job }) {
  return html`<tr>
    <td><${State} state=${job.state} /><${Progress} job=${job} /></td>
    <td class="fill"><${Path} path=${job.source} href=${jobHref(job.id)} why=${job.trouble} /></td>
    <td class="wide">${job.rule}</td>
    <td class="num wide">${job.priority}</td>
    <td class="num wide">${bytes(job.size)}</td>
    <td class="num wide">${count(job.records_in)}</td>
    <td class="num wide ${job.records_failed ? "bad" : ""}">${count(job.records_failed)}</td>
    <td class="num wide">${duration(between(job.started_at || job.created_at, job.finished_at))}</td>
    <td class="num"><${Age} at=${job.created_at} /></td>
  </tr>`;
}

export function Jobs({ query }) {
  const sort = query.get("sort") || "claimed";
  const ascending = query.get("ascending") === "true";
  const skip = Number(query.get("skip")) || 0;
  const upto = query.get("upto") || "";
  const filters = Object.fromEntries(["state", "rule", "text", "unfinished", "waiting"].map((name) => [name, query.get(name) || ""]));
  const isByAge = sort === "claimed" && !ascending;
  const asked = { ...filters, sort: sort === "claimed" ? "" : sort, ascending, skip: skip || "", count: PAGE };
  const own = url("/v1/lines", { ...asked, upto });
  // New jobs move nothing under whoever reads: the rows that he sees are asked for, and new ones told as a number until he asks for them.
  const [held, hold] = useState(null);
  const isHeld = held?.own === own;
  const params = { ...asked, upto: upto || (isHeld ? held.top : "") };
  const kept = useRef({});
  if (kept.current.own !== own) kept.current = { own, old: known("/v1/lines", params), rows: null, answer: null };
  const isOfPage = (id) => kept.current.rows?.some((job) => job.id === id);
  const page = useAnswer("/v1/lines", params, {
    every: 5,
    wake: (event) => event.kind === "anew" || event.before === null || event.state === filters.state || isOfPage(event.job),
  });
  const isPinned = isByAge && !upto && !skip;
  const [moved, setMoved] = useState({});
  useEffect(() => {
    const top = page.data?.jobs[0]?.id;
    // What was known before may be old.
    if (isPinned && !isHeld && top && page.data !== kept.current.old) hold({ own, top });
  }, [page.data, own]);
  const rows = useMemo(() => {
    const { rows: before } = kept.current;
    const jobs = page.data?.jobs;
    if (!jobs) return before;
    // One that is not chosen any more stays where it is, as what it became.
    const now = new Map(jobs.map((job) => [job.id, job]));
    const state = (job) => (moved[job.id] ? { ...job, state: moved[job.id] } : job);
    const stays = isHeld && before?.some((job) => !now.has(job.id));
    kept.current.rows = stays ? before.map((job) => now.get(job.id) || state(job)) : jobs;
    return kept.current.rows;
  }, [page.data, own]);
  // States are shown as they change, before the page is read anew.
  useEffect(() => onEvent((event) => {
    if (event.kind === "job" && event.state && isOfPage(event.job)) setMoved((all) => ({ ...all, [event.job]: event.state }));
  }), []);
  useEffect(() => setMoved({}), [own, page.data]);
  const showFresh = () => {
    if (upto) return go(query, { skip: "", upto: "" });
    kept.current = { own, old: known("/v1/lines", { ...asked, upto }), rows: null, answer: null };
    return hold(null);
  };
  const turn = (name) => go(query, { sort: name === "claimed" ? "" : name, ascending: sort === name && !ascending, skip: "", upto: "" });
  const move = (next) => go(query, { skip: next || "", upto: next && isByAge ? upto || rows?.[0]?.id : "" });
  if (page.data) kept.current.answer = page.data;
  const { newer = 0, more, total } = kept.current.answer || {};
  const head = COLUMNS.map(([name, label, kind]) => ({
    class: kind,
    sort: sort === name ? (ascending ? "ascending" : "descending") : undefined,
    label: html`<button class="sort" onClick=${() => turn(name)}>${label}<span aria-hidden="true">${sort === name ? (ascending ? " ▲" : " ▼") : ""}</span></button>`,
  }));
  return html`<div><h1 tabindex="-1">Jobs</h1>
    <${Filters} query=${query} />
    <div class="bar">
      <${Pager} what="jobs" skip=${skip} size=${PAGE} shown=${rows?.length || 0} more=${more} total=${total} go=${move} />
      <button class=${newer ? "" : "hidden"} disabled=${!newer} onClick=${showFresh}>${count(newer)} new: show</button>
    </div>
    ${rows ? html`<${Trouble} problem=${page.problem} />` : html`<${Pending} answer=${page} />`}
    ${rows ? html`<${Table} label="Jobs" head=${head} className="jobs">
      ${rows.map((job) => html`<${Row} key=${job.id} job=${moved[job.id] ? { ...job, state: moved[job.id] } : job} />`)}
    <//>
    ${rows.length ? null : html`<p class="dim">No job is so.</p>`}` : null}</div>`;
}
