// How the service is: rates, jobs by state, what needs attention, what waits and why, disks.

import { html, useRef, useState } from "./vendor/preact.js";
import { get, post, useAnswer } from "./api.js";
import { Age, Facts, JobLink, Meter, Path, Pending, Spark, State, Table, Told, Trouble, askFirst, doNow, jobHref, say } from "./parts.js";
import { STATES, bytes, count, percent, plural, rate, seen, time } from "./words.js";
import { reload } from "./rules.js";

/** What is counted: sums of all series of one name. */
export function readMetrics(text) {
  const found = {};
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) continue;
    const match = /^landfall_([a-z_]+)(?:\{[^}]*\})? ([0-9.eE+-]+)/.exec(line);
    if (match) found[match[1]] = (found[match[1]] || 0) + Number(match[2]);
  }
  return { at: performance.now(), ...found };
}

const SAMPLES_MAX = 100;
const samples = [];
const RATES = [
  ["records", "Records, jobs done", "records_read_total", (value) => `${rate(value)}/s`],
  ["bytes", "Bytes, jobs done", "sources_read_bytes_total", (value) => `${bytes(value)}/s`],
  ["jobs", "Jobs ended", "jobs_ended_total", (value) => `${rate(value * 60)}/min`],
  ["slices", "Slices worked", "slices_worked_total", (value) => `${rate(value)}/s`],
];
const SMOOTH = 5;

function rates(name) {
  return samples.map((sample, at) => {
    const before = samples[Math.max(0, at - SMOOTH)];
    const seconds = (sample.at - before.at) / 1000;
    const more = (sample[name] || 0) - (before[name] || 0);
    return seconds > 0 && more >= 0 ? more / seconds : null;
  });
}

async function sample() {
  const found = readMetrics(await get("/metrics", null, "text"));
  samples.push(found);
  if (samples.length > SAMPLES_MAX) samples.shift();
  return found;
}

function Rates() {
  const { data } = useAnswer("/metrics", null, { every: 2, read: sample });
  return html`<section aria-labelledby="rates"><h2 id="rates">Rates</h2>
    <div class="tiles">
      ${RATES.map(([key, label, name, told]) => {
        const all = rates(name);
        const now = all[all.length - 1];
        return html`<div class="tile" key=${key}><span class="dim">${label}</span><b class="num">${now == null ? "–" : told(now)}</b>
          <${Spark} values=${all} label="${label} in the last minutes" /></div>`;
      })}
      <div class="tile"><span class="dim">Workers busy</span><b class="num">${data ? `${data.workers_busy || 0} of ${data.workers ?? "–"}` : "–"}</b>
        <${Meter} part=${data?.workers_busy || 0} whole=${data?.workers || 1} label="Workers busy" /></div>
    </div>
  </section>`;
}

function pauseAll() {
  askFirst({
    title: "Pause everything?",
    text: ["No file is claimed, and no job goes on, until it is resumed. Jobs that are being published end first."],
    button: "Pause everything",
    danger: true,
    run: async () => {
      await post("/v1/pause", { all: true });
      return "Everything is paused.";
    },
  });
}

export const scopeOf = (pause) =>
  pause.rule || pause.sender
    ? [pause.rule && `rule ${pause.rule}`, pause.sender && `sender ${pause.sender}`].filter(Boolean).join(", ")
    : "everything";

export function Paused({ paused, again }) {
  if (!paused?.length) return null;
  const resume = async (pause) => {
    const scope = pause.rule || pause.sender ? { rule: pause.rule || undefined, sender: pause.sender || undefined } : { all: true };
    await doNow("/v1/resume", scope, `${scopeOf(pause)} goes on.`);
    again();
  };
  return html`<section aria-labelledby="paused"><h2 id="paused">Paused</h2>
    <ul class="plain">${paused.map((pause) => html`<li class="row">
      <span><b>${seen(scopeOf(pause))}</b> by ${seen(pause.by)}, <${Age} at=${pause.at} suffix=" ago" /></span>
      <button onClick=${() => resume(pause)}>Resume ${seen(scopeOf(pause))}</button>
    </li>`)}</ul></section>`;
}

function Attention({ items }) {
  return html`<section aria-labelledby="attention"><h2 id="attention">Needs attention</h2>
    ${items.length === 0
      ? html`<p class="good">Nothing.</p>`
      : html`<ul class="plain attention">${items.map((it) => html`<li key=${it.about + it.message}>
          <span class="about">${it.about.replaceAll("_", " ")}</span>
          <div><p><${Told} text=${it.message} /></p><p class="dim"><${Told} text=${it.hint} /></p></div>
          <div class="links">${it.job ? html`<a href=${jobHref(it.job)}>Open the job</a>` : null}
          ${(it.about === "failed" || it.about === "refused") && it.jobs > 1 ? html`<a href="#/jobs?state=${it.about}">All ${count(it.jobs)}</a>` : null}</div>
        </li>`)}</ul>`}
  </section>`;
}

export function Disks({ disks }) {
  return html`<section aria-labelledby="disks"><h2 id="disks">Disks</h2>
    <ul class="plain disks">${disks.map((disk) => {
      const used = disk.total == null ? null : disk.total - disk.free;
      const isShort = disk.trouble || (disk.free_min != null && disk.free < disk.free_min);
      return html`<li key=${disk.mount}>
        <div class="row"><b>${seen(disk.mount)}</b><span class="num">${disk.trouble ? seen(disk.trouble) : `${bytes(disk.free)} of ${bytes(disk.total)} free`}</span></div>
        <${Meter} part=${used || 0} whole=${disk.total || 1} bad=${isShort} label="${percent(used || 0, disk.total || 1)} of ${seen(disk.mount)} used" />
        <small class="dim">${disk.free_min != null ? `${bytes(disk.free_min)} are kept free (service.free_min)` : ""}${disk.files_free != null ? ` · ${count(disk.files_free)} inodes free` : ""}</small>
      </li>`;
    })}</ul></section>`;
}

export const ofJob = (event) => event.kind === "anew" || event.kind === "job";
const isMove = (event) => event.kind === "anew" || event.before !== event.state;

function Waiting() {
  const files = useAnswer("/v1/waiting", { count: 10 }, { every: 3 });
  const jobs = useAnswer("/v1/lines", { unfinished: true, waiting: true, count: 10 }, { every: 5, wake: (event) => ofJob(event) && event.waits });
  const found = files.data;
  const hadFiles = useRef(false);
  hadFiles.current ||= Boolean(found?.files.length);
  return html`<section aria-labelledby="waits"><h2 id="waits">What waits, and why</h2>
    <${Pending} answer=${files} />
    ${found && !hadFiles.current && !found.folder_notices.length && !jobs.data?.jobs.length ? html`<p class="dim">Nothing waits.</p>` : null}
    ${found?.folder_notices.length ? html`<${Files} label="Folders" files=${found.folder_notices} /> ` : null}
    ${found && hadFiles.current ? html`<h3>Files</h3><${Files} label="Files that wait" files=${found.files} rules />` : null}
    ${found?.more ? html`<p><a href="#/rules">More, by landing zone</a></p>` : null}
    ${jobs.data?.jobs.length ? html`<h3>Jobs</h3>
      <${Table} label="Jobs that wait" className="files" head=${[{ label: "Job" }, { label: "State" }, { label: "Waits for" }]}>
        ${jobs.data.jobs.map((job) => html`<tr key=${job.id}><td><${Path} path=${job.source} href=${jobHref(job.id)} /></td><td><${State} state=${job.state} /></td><td><${Told} text=${job.waiting?.detail} /></td></tr>`)}
      <//>` : null}
  </section>`;
}

/**
 * Files as they stood when they were first shown, so that none moves under the eye: one that no longer waits is told so in its place, and new
 * ones are shown when they are asked for, or when no other is left. `of`: another page has others.
 */
export function Files({ files, label, rules, of = 0 }) {
  const kept = useRef({ of, rows: files });
  const [, redraw] = useState(0);
  const here = new Map(files.map((file) => [file.path, file]));
  const isOver = files.length && !kept.current.rows.some((file) => here.has(file.path));
  if (isOver || kept.current.of !== of) kept.current = { of, rows: files };
  const rows = kept.current.rows.map((file) => here.get(file.path) || { ...file, isGone: true });
  kept.current.rows = rows;
  const known = new Set(rows.map((file) => file.path));
  const fresh = files.filter((file) => !known.has(file.path)).length;
  const show = () => {
    kept.current.rows = files;
    redraw((n) => n + 1);
  };
  if (!rows.length) return html`<p class="dim">None.</p>`;
  return html`<div class="bar"><button class=${fresh ? "" : "hidden"} disabled=${!fresh} onClick=${show}>${count(fresh)} new: show</button></div>
  <${Table} label=${label} className="files" head=${[{ label: "File" }, rules && { label: "Landing zone", class: "wide" }, { label: "Waits because" }].filter(Boolean)}>
    ${rows.map((file) => html`<tr key=${file.path}>
      <td><${Path} path=${file.path} href="#/explain?path=${encodeURIComponent(file.path)}" /></td>
      ${rules ? html`<td class="wide">${file.rule ? html`<a href="#/rules/${encodeURIComponent(file.rule)}">${file.rule}</a>` : "–"}</td>` : null}
      <td>${file.isGone ? html`<span class="dim">no longer waits</span>` : html`<${Told} text=${file.reason} />`}</td>
    </tr>`)}
  <//>`;
}

export function Overview() {
  const status = useAnswer("/v1/status", null, { every: 3, wake: (event) => ofJob(event) && isMove(event) });
  const found = status.data;
  return html`<div><div class="titled"><h1 tabindex="-1">Overview</h1>
      <div class="buttons"><button onClick=${reload}>Reload the configuration</button><button class="danger" onClick=${pauseAll}>Pause everything</button></div></div>
    ${found ? html`<${Trouble} problem=${status.problem} />` : null}
    <div class="grid">
      <div>
        <section aria-labelledby="states"><h2 id="states">Jobs by state</h2>
          <div class="tiles states">${Object.keys(STATES).map((state) => html`<a class="tile" key=${state} href="#/jobs?state=${state}">
            <${State} state=${state} /><b class="num">${found ? count(found.jobs[state] || 0) : "–"}</b></a>`)}</div>
        </section>
        <${Rates} />
        ${found ? html`<${Paused} paused=${found.paused} again=${status.again} /><${Attention} items=${found.attention} />` : html`<${Pending} answer=${status} />`}
      </div>
      <div>
        ${found ? html`<section aria-labelledby="sums"><h2 id="sums">In all</h2><${Facts} rows=${[
          ["Landing zones", html`<a href="#/rules">${count(found.rules)}</a>`],
          ["Files that wait", `${count(found.files_waiting)}${found.files_first_look ? " (the folders are looked through for the first time)" : ""}`],
          ["Of these late", count(found.files_late)],
          found.files_out_of_view ? ["Files out of view", count(found.files_out_of_view)] : null,
          ["Senders overdue", count(found.senders_overdue)],
          ["Failed records to decide on", `${count(found.failed_records)} of ${plural(found.jobs_with_failed_records, "job")}`],
        ]} /></section>` : null}
        <${Waiting} />
        ${found ? html`<${Disks} disks=${found.disks} />` : null}
      </div>
    </div></div>`;
}
