// One job: what it is at, its account as a flow, its outputs, its failed records, its history, and what can be done with it.

import { html, useState } from "./vendor/preact.js";
import { getFirstBytes, post, useAnswer } from "./api.js";
import { Age, Facts, JobLink, Meter, Path, Pending, Spark, State, Table, Told, Trouble, askFirst, doNow, jobHref, useTick } from "./parts.js";
import { STATES, between, bytes, count, duration, hexLines, parted, percent, plural, rate, seen, shortId, time } from "./words.js";
import { Records } from "./records.js";

// What can be done in which state; whether it can be taken back.
const of = (job) => `/v1/jobs/${job.id}`;
const name = (job) => seen(parted(job.source)[1]);
const reason = { name: "reason", label: "Why", required: true, most: 500, hint: "It stands in the job's history." };

const ACTS = [
  {
    label: "Pause", in: ["queued", "running", "held"],
    run: (job) => doNow(`${of(job)}/pause`, {}, `${name(job)} is paused.`),
  },
  {
    label: "Resume", in: ["paused"],
    run: (job) => doNow(`${of(job)}/resume`, {}, `${name(job)} goes on.`),
  },
  {
    label: "Retry", in: ["failed", "refused", "aborted", "publishing"],
    run: (job, again) => askFirst({
      title: `Retry ${name(job)}?`,
      text: ["The job is taken from its source again."],
      fields: [
        { name: "same_rule", kind: "check", label: "Under the rule that it went by before, not the current one" },
        { name: "forgets_decisions", kind: "check", label: "Forget what was decided on its failed records" },
      ],
      button: "Retry",
      run: async (values) => {
        await post(`${of(job)}/retry`, values);
        again();
        return `${name(job)} is queued again.`;
      },
    }),
  },
  {
    label: "Rerun", in: ["completed"],
    run: (job) => askFirst({
      title: `Rerun ${name(job)}?`,
      text: ["A new job takes the source again from where it is kept. What was published stays, and the new outputs come beside it, or as the rule says."],
      button: "Rerun",
      run: async (_, key) => {
        const { id } = await post(`${of(job)}/rerun`, {}, key);
        location.hash = jobHref(id);
        return `Job ${shortId(id)} takes ${name(job)} again.`;
      },
    }),
  },
  {
    label: "Priority", in: ["queued", "running", "held", "paused"],
    run: (job, again) => askFirst({
      title: `Priority of ${name(job)}`,
      text: ["From 1 to 100; the lower goes first."],
      fields: [{ name: "priority", label: "Priority", kind: "number", min: 1, max: 100, required: true, value: job.priority }],
      button: "Set",
      run: async ({ priority }) => {
        await post(`${of(job)}/set`, { priority });
        again();
        return `${name(job)} has priority ${priority}.`;
      },
    }),
  },
  {
    label: "Workers", in: ["queued", "running", "held", "paused"],
    run: (job, again) => askFirst({
      title: `Workers of ${name(job)}`,
      text: ["At most so many work at it at once. 0: no limit of its own."],
      fields: [{ name: "workers_max", label: "Workers", kind: "number", min: 0, max: 4294967295, required: true, value: job.workers_max }],
      button: "Set",
      run: async ({ workers_max }) => {
        await post(`${of(job)}/set-workers`, { workers_max });
        again();
        return workers_max ? `${name(job)} has at most ${plural(workers_max, "worker")}.` : `${name(job)} has no limit of its own.`;
      },
    }),
  },
  {
    label: "Accept missing", in: ["publishing"], when: (job) => job.waiting,
    run: (job, again) => askFirst({
      title: `Go on without the missing outputs of ${name(job)}?`,
      text: ["Hidden outputs that somebody removed count as published. Their records are nowhere else: this cannot be undone."],
      button: "Accept", danger: true,
      run: async () => {
        await post(`${of(job)}/accept-missing`);
        again();
        return `${name(job)} goes on publishing.`;
      },
    }),
  },
  {
    label: "Abort", in: ["queued", "running", "held", "paused"], danger: true,
    run: (job, again) => askFirst({
      title: `Abort ${name(job)}?`,
      text: ["The job ends, and nothing of it is published. Its source goes to quarantine; a retry takes it from there."],
      button: "Abort", danger: true,
      run: async () => {
        await post(`${of(job)}/abort`);
        again();
        return `${name(job)} is aborted.`;
      },
    }),
  },
  {
    label: "Abandon", in: ["failed", "refused", "held", "publishing", "retiring"], danger: true,
    run: (job, again) => askFirst({
      title: `Abandon ${name(job)}?`,
      text: ["The job ends as it stands: what is published stays, and nothing more comes. This cannot be undone."],
      fields: [reason],
      button: "Abandon", danger: true,
      run: async (values) => {
        await post(`${of(job)}/abandon`, values);
        again();
        return `${name(job)} is abandoned.`;
      },
    }),
  },
];

function Acts({ job, again }) {
  const acts = ACTS.filter((act) => act.in.includes(job.state) && (!act.when || act.when(job)));
  return html`<div class="buttons" role="group" aria-label="What can be done">
    ${acts.map((act) => html`<button key=${act.label} class=${act.danger ? "danger" : ""} onClick=${async () => { await act.run(job, again); again(); }}>${act.label}</button>`)}
  </div>`;
}

/** What became of the records, from the greatest on. */
export function endsOf(job) {
  const ends = [];
  for (const [category, number] of Object.entries(job.records_out)) ends.push({ kind: "out", label: category, number });
  const by = Object.entries(job.dropped_by);
  const told = by.reduce((sum, [, number]) => sum + number, 0);
  for (const [step, number] of by) ends.push({ kind: "dropped", label: `dropped by ${step}`, number });
  if (job.records_dropped > told) ends.push({ kind: "dropped", label: "dropped", number: job.records_dropped - told });
  if (job.records_failed) ends.push({ kind: "failed", label: "failed", number: job.records_failed });
  if (job.records_retried) ends.push({ kind: "again", label: "taken by another job", number: job.records_retried });
  return ends.filter((end) => end.number > 0);
}

const FLOW = { height: 34, gap: 8, top: 6 };

/** The account drawn: each end as wide as its share, and never too thin to see. The list beside it says the same. */
function Flow({ job }) {
  const ends = endsOf(job);
  const sum = ends.reduce((all, end) => all + end.number, 0);
  if (!job.records_in && !sum) return html`<p class="dim">No record was read yet.</p>`;
  const rows = ends.length;
  const height = Math.max(80, rows * FLOW.height);
  const whole = height - FLOW.top * 2;
  const least = 2;
  const free = whole - FLOW.gap * Math.max(0, rows - 1);
  const sizes = ends.map((end) => Math.max(least, (free * end.number) / Math.max(1, sum)));
  const over = sizes.reduce((all, size) => all + size, 0) / free;
  let [left, right] = [FLOW.top, FLOW.top];
  const paths = ends.map((end, at) => {
    const size = sizes[at] / Math.max(1, over);
    const on = (whole * size) / Math.max(1, sizes.reduce((all, it) => all + it, 0) / Math.max(1, over));
    const [l1, r1] = [left, right];
    left += on;
    right += size + FLOW.gap;
    const d = `M40 ${l1.toFixed(1)}C170 ${l1.toFixed(1)} 170 ${r1.toFixed(1)} 300 ${r1.toFixed(1)}V${(r1 + size).toFixed(1)}C170 ${(r1 + size).toFixed(1)} 170 ${left.toFixed(1)} 40 ${left.toFixed(1)}Z`;
    return html`<path key=${end.label} class="f-${end.kind} n${Math.min(at, 3)}" d=${d} />`;
  });
  const open = job.records_in - sum;
  return html`<div class="flow">
    <svg viewBox="0 0 300 ${height}" preserveAspectRatio="none" role="img" aria-label="The account: ${count(job.records_in)} records in; ${ends.map((end) => `${count(end.number)} ${end.label}`).join(", ")}">
      <rect class="f-in" x="0" y=${FLOW.top} width="36" height=${whole} />${paths}
    </svg>
    <ul class="plain">
      <li><b class="num">${count(job.records_in)}</b> records in${job.records_skipped ? html`, <span class="num">${count(job.records_skipped)}</span> skipped before` : ""}</li>
      ${ends.map((end, at) => html`<li key=${end.label}><span class="key f-${end.kind} n${Math.min(at, 3)}" aria-hidden="true"></span><b class="num">${count(end.number)}</b> ${seen(end.label)} <span class="dim num">${percent(end.number, job.records_in)}</span></li>`)}
      ${open > 0 ? html`<li><span class="key" aria-hidden="true"></span><b class="num">${count(open)}</b> on their way</li>` : null}
    </ul>
  </div>`;
}

/** The service tells how far a job is every 10 s. */
const STILL_AFTER = 15000;

/** Records a second between the moments that the service keeps of a job, and when; the last ends now, or with the job. */
function pace(job, line) {
  const moments = (job.throughput || []).map((moment) => ({ at: Date.parse(moment.at), records: moment.records }));
  const last = moments[moments.length - 1];
  if (!last) return null;
  const end = job.finished_at ? Date.parse(job.finished_at) : Date.now();
  const records = Math.max(job.records_in, line?.records_in || 0);
  const isStill = job.state === "running" && end - last.at > STILL_AFTER;
  if (isStill || (end - last.at > 1000 && records > last.records)) moments.push({ at: end, records });
  const from = moments[0].at;
  const whole = moments[moments.length - 1].at - from;
  const values = moments.slice(1).map((moment, at) => (1000 * (moment.records - moments[at].records)) / Math.max(1, moment.at - moments[at].at));
  if (!(whole > 0)) return null;
  return { values: [values[0], ...values], places: moments.map((moment) => (moment.at - from) / whole) };
}

function Progress({ job, line }) {
  useTick();
  const went = pace(job, line);
  const isOn = !["completed", "failed", "aborted", "refused"].includes(job.state);
  const took = between(job.started_at || job.created_at, job.finished_at || new Date().toISOString());
  const worked = Math.min(line?.bytes_worked ?? 0, line?.size ?? 0);
  return html`<section aria-labelledby="progress"><h2 id="progress">Progress</h2>
    ${isOn ? html`<${Meter} part=${worked} whole=${line?.size || 1} label="${percent(worked, line?.size || 1)} of the source worked" />` : null}
    <${Facts} rows=${[
      ["Slices done", html`<span class="num">${count(job.slices.done)} of ${count(job.slices.total)}${job.slices.failed ? `, ${count(job.slices.failed)} failed` : ""}</span>`],
      line ? ["Source worked", html`<span class="num">${bytes(worked)} of ${bytes(line.size)}</span>`] : null,
      ["Read, unpacked", html`<span class="num">${bytes(job.bytes_read)}, ${bytes(job.bytes_decoded)}</span>`],
      line?.workers ? ["Workers now", count(line.workers)] : null,
      ["Took", html`<span class="num">${duration(took)}${took > 0.5 && job.records_in ? `: ${rate(job.records_in / took)} records/s, ${bytes(worked / took)}/s` : ""}</span>`],
      went ? ["Over time", html`<span class="num">${job.state === "running" ? `${rate(went.values[went.values.length - 1])} records/s now, ` : ""}${rate(Math.max(...went.values))} records/s at most</span>
        <${Spark} ...${went} label="Records a second, over time" />`] : null,
    ]} />
  </section>`;
}

const FIRST = 20;
const PREVIEW_BYTES = 32 << 10;

function Output({ job, output }) {
  const [shown, show] = useState(null);
  const [asHex, setHex] = useState(false);
  const read = async () => {
    if (shown) return show(null);
    try {
      const asked = { category: output.category, entry: output.entry, first: output.records ? 1 : "", last: output.records ? FIRST : "" };
      show(await getFirstBytes(`${of(job)}/output`, asked, PREVIEW_BYTES));
    } catch (problem) {
      show({ problem });
    }
    return undefined;
  };
  const text = shown?.bytes && new TextDecoder().decode(shown.bytes);
  return html`<tbody><tr>
      <td><b>${output.category}</b>${output.entry ? html`<div class="dim">${seen(output.entry)}</div>` : null}</td>
      <td class="fill"><${Path} path=${output.path} /></td>
      <td class="num">${count(output.records)}</td><td class="num wide">${bytes(output.bytes)}</td>
      <td><button aria-expanded=${Boolean(shown)} onClick=${read}>First records<span class="sr"> of ${output.category}</span></button></td>
    </tr>
    ${shown ? html`<tr><td colspan="5">
      <${Trouble} problem=${shown.problem} />
      ${shown.bytes ? html`<div class="buttons"><span class="dim">${plural(Math.min(FIRST, output.records), "record")} of ${count(output.records)}${shown.cut ? ", cut" : ""}</span>
        <label><input type="checkbox" checked=${asHex} onChange=${(event) => setHex(event.target.checked)} /> hex</label></div>
      <pre tabindex="0" aria-label="First records of ${output.category}">${asHex ? hexLines(shown.bytes) : seen(text)}</pre>` : null}</td></tr>` : null}</tbody>`;
}

function Timeline({ job }) {
  return html`<section aria-labelledby="timeline"><h2 id="timeline">History</h2>
    <ol class="timeline">${job.timeline.map((moment, at) => {
      const before = job.timeline[at - 1];
      return html`<li key=${at}><time datetime=${moment.at} class="num">${time(moment.at)}</time> <${State} state=${moment.state} />${" "}
        <span><${Told} text=${moment.detail} /></span>${before ? html` <span class="dim num">+${duration(between(before.at, moment.at))}</span>` : null}</li>`;
    })}</ol></section>`;
}

const ofThis = (id) => (event) => event.kind === "anew" || event.job === id;

export function JobView({ id }) {
  const answer = useAnswer(`/v1/jobs/${encodeURIComponent(id)}`, null, { every: 10, wake: ofThis(id) });
  const job = answer.data;
  const lines = useAnswer(job && "/v1/lines", { job: job?.id, count: 1 }, { every: job && job.state === "running" ? 2 : 10, wake: ofThis(id) });
  const line = lines.data?.jobs[0];
  const file = job ? name(job) : id;
  const again = () => { answer.again(); lines.again(); };
  return html`<div><p class="crumbs"><a href="#/jobs">Jobs</a></p>
    <div class="titled"><h1 tabindex="-1">${job ? file : `Job ${id}`}</h1>${job ? html`<${Acts} job=${job} again=${again} />` : null}</div>
    <${Pending} answer=${answer} />
    ${job ? html`<${Trouble} problem=${answer.problem} />
      <p class="lead"><${State} state=${job.state} />: ${STATES[job.state]}${job.waiting ? html`. It waits: <${Told} text=${job.waiting.detail} />` : "."}</p>
      ${job.error ? html`<div class="trouble"><strong><${Told} text=${job.error.message} /></strong> <${Told} text=${job.error.hint} /></div>` : null}
      <div class="grid">
        <div>
          <section aria-labelledby="account"><h2 id="account">Account</h2><${Flow} job=${job} />
            ${Object.keys(job.reasons).length ? html`<h3>Reasons</h3><ul class="plain">${Object.entries(job.reasons).map(([why, number]) => html`<li><b class="num">${count(number)}</b> ${seen(why)}</li>`)}</ul>` : null}
          </section>
          ${job.outputs.length ? html`<section aria-labelledby="outputs"><h2 id="outputs">Outputs</h2>
            <${Table} label="Outputs" className="outputs" hasBodies head=${[{ label: "Category" }, { label: "File" }, { label: "Records", class: "num" }, { label: "Bytes", class: "num wide" }, { label: "Look" }]}>
              ${job.outputs.map((output) => html`<${Output} key=${output.path} job=${job} output=${output} />`)}
            <//></section>` : null}
          <${Records} job=${job} again=${again} />
          ${job.entries.length > 1 || job.entries[0]?.skipped ? html`<section aria-labelledby="entries"><h2 id="entries">Entries</h2>
            <${Table} label="Entries" head=${[{ label: "Entry" }, { label: "Records", class: "num" }]}>
              ${job.entries.slice(0, 200).map((entry) => html`<tr><td class="mono">${seen(entry.name)}${entry.skipped ? ` (skipped: ${seen(entry.skipped)})` : ""}</td><td class="num">${count(entry.records)}</td></tr>`)}
            <//></section>` : null}
        </div>
        <div>
          <${Progress} job=${job} line=${line} />
          <section aria-labelledby="facts"><h2 id="facts">The job</h2><${Facts} rows=${[
            ["Id", html`<span class="mono">${job.id}</span>`],
            ["Rule", html`<a href="#/rules/${encodeURIComponent(job.rule)}">${job.rule}</a>`],
            ["Source", html`<a class="mono" href="#/explain?path=${encodeURIComponent(job.source)}">${seen(job.source)}</a>`],
            job.retired_to ? ["Lies now at", html`<span class="mono">${seen(job.retired_to)}</span>`] : null,
            ["Priority", count(job.priority)],
            job.workers_max ? ["Workers at most", count(job.workers_max)] : null,
            ["Claimed", html`${time(job.created_at)}, <${Age} at=${job.created_at} suffix=" ago" />`],
            job.finished_at ? ["Ended", time(job.finished_at)] : null,
            job.deadline ? ["Deadline", `${time(job.deadline.at)}: ${seen(job.deadline.detail)}`] : null,
            job.parent ? ["Made by job", html`<${JobLink} id=${job.parent} />`] : null,
            job.duplicate_of ? ["Resend of job", html`<${JobLink} id=${job.duplicate_of} />`] : null,
            job.corrects ? ["Corrects job", html`<${JobLink} id=${job.corrects} />`] : null,
            job.delivery_key ? ["Delivery", `${seen(job.delivery_key)}, revision ${job.revision}`] : null,
            job.attempts > 1 ? ["Attempts", count(job.attempts)] : null,
            job.deaths ? ["The service died with it in hand", plural(job.deaths, "time")] : null,
            job.content_hash ? ["Content", html`<span class="mono hash">${job.content_hash}</span>`] : null,
            ...Object.entries(job.vars).map(([key, value]) => [`{${seen(key)}}`, html`<span class="mono">${seen(value)}</span>`]),
          ]} /></section>
          <${Timeline} job=${job} />
        </div>
      </div>` : null}</div>`;
}
