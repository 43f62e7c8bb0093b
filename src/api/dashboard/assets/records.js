// Failed records of a job: as text and as bytes; edited, dropped, retried.

import { html, useState } from "./vendor/preact.js";
import { post, useAnswer } from "./api.js";
import { Pager, Pending, Table, Told, Trouble, askFirst, jobHref } from "./parts.js";
import { base64Bytes, bytesBase64, count, hexLines, plural, seen, shortId } from "./words.js";

const PAGE = 20;
const encoder = new TextEncoder();
const bytesOf = (record) => (record.data_bytes != null ? base64Bytes(record.data_bytes) : encoder.encode(record.data ?? ""));

/** What was decided is told by the job that takes the records. */
const taken = (answer, job, what) => (answer.id === job.id ? `${what} with this job.` : `${what} by job ${shortId(answer.id)}.`);

function drop(job, records, what, again) {
  askFirst({
    title: `Drop ${what}?`,
    text: ["They are given up: they go to no output. This cannot be undone."],
    fields: [{ name: "reason", label: "Why", required: true, most: 500, hint: "It stands in the job's account." }],
    button: "Drop", danger: true,
    run: async ({ reason }) => {
      await post(`/v1/jobs/${job.id}/drop-records`, { records, reason });
      again();
      return `Dropped: ${what}.`;
    },
  });
}

function retry(job, records, what, again) {
  askFirst({
    title: `Retry ${what}?`,
    text: ["They are taken again under the current rule: by a new job, or with the one that waits for them."],
    button: "Retry",
    run: async () => {
      const answer = await post(`/v1/jobs/${job.id}/retry-records`, { records });
      again();
      if (answer.id !== job.id) location.hash = jobHref(answer.id);
      return taken(answer, job, `Taken again: ${what},`);
    },
  });
}

function readHex(text) {
  const digits = text.replace(/\s+/g, "");
  if (!/^([0-9a-fA-F]{2})*$/.test(digits)) throw new Error("bytes are two digits each, 0-9 and a-f");
  return Uint8Array.from(digits.match(/../g) || [], (pair) => parseInt(pair, 16));
}

/** What is no text is edited as bytes: else something of it would change that nobody saw. */
function edit(job, record, again) {
  const isText = record.data != null && !/[\u0000-\u001f\u007f-\u009f]/.test(record.data.replace(/[\t]/g, ""));
  const bytes = bytesOf(record);
  const now = record.edited != null ? record.edited : record.data;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  askFirst({
    title: `Edit failed record ${record.number}`,
    text: [html`<${Told} text=${record.error} />`, isText ? "Write it as it is to be, without a line end." : "It is no plain text: write its bytes, two digits each."],
    wide: true,
    fields: [{ name: "data", label: isText ? "Record" : "Bytes", kind: "area", rows: 6, value: isText ? now : hex }],
    button: "Take it so",
    run: async ({ data }) => {
      // A form gives line ends of its own.
      const next = isText ? encoder.encode(data.replace(/\r\n/g, "\n")) : readHex(data);
      const answer = await post(`/v1/jobs/${job.id}/edit-record`, { number: record.number, data_bytes: bytesBase64(next) });
      again();
      if (answer.id !== job.id) location.hash = jobHref(answer.id);
      return taken(answer, job, `Record ${record.number} is taken as you wrote it,`);
    },
  });
}

function Record({ job, record, again, asHex }) {
  const bytes = bytesOf(record);
  const isOpen = !record.settled;
  const what = `record ${record.number}`;
  return html`<tr>
      <td class="num">${count(record.number)}</td>
      <td><b>${record.step}</b>: <${Told} text=${record.error} /><div class="dim">${record.entry ? `${seen(record.entry)}, ` : ""}record ${count(record.record)}, line ${count(record.line)}, offset ${count(record.offset)}, ${plural(record.length, "byte")}</div>
        <pre tabindex="0" aria-label="Failed record ${record.number}">${asHex ? hexLines(bytes) : record.data != null ? seen(record.data) : hexLines(bytes)}</pre>
        ${record.settled ? html`<div>${seen(record.settled)}</div>` : null}
        ${record.edited != null ? html`<div>edited to <pre tabindex="0" aria-label="Record ${record.number} as edited">${seen(record.edited)}</pre></div>` : null}</td>
      <td>${isOpen ? html`<div class="buttons decide">
        <button onClick=${() => edit(job, record, again)}>Edit<span class="sr"> ${what}</span></button>
        <button onClick=${() => retry(job, String(record.number), what, again)}>Retry<span class="sr"> ${what}</span></button>
        <button class="danger" onClick=${() => drop(job, String(record.number), what, again)}>Drop<span class="sr"> ${what}</span></button></div>` : null}</td>
    </tr>`;
}

export function Records({ job, again }) {
  const [settled, setSettled] = useState(false);
  const [asHex, setHex] = useState(false);
  const [firsts, setFirsts] = useState([1]);
  const first = firsts[firsts.length - 1];
  const wanted = job.records_failed > 0 || settled || job.records_retried > 0 || job.state === "failed" || job.state === "held";
  const answer = useAnswer(wanted && `/v1/jobs/${job.id}/records`, { settled, first, count: PAGE + 1 }, { wake: (event) => event.job === job.id });
  const all = answer.data?.records;
  if (!wanted || (all && !all.length && !settled && first === 1 && !job.records_retried)) return null;
  const shown = all?.slice(0, PAGE) || [];
  const renew = () => { answer.again(); again(); };
  const open = job.records_failed;
  return html`<section aria-labelledby="records"><h2 id="records">Failed records</h2>
    <div class="buttons">
      <label><input type="checkbox" checked=${asHex} onChange=${(event) => setHex(event.target.checked)} /> hex</label>
      <label><input type="checkbox" checked=${settled} onChange=${(event) => { setSettled(event.target.checked); setFirsts([1]); }} /> with those decided on</label>
      ${open ? html`<button onClick=${() => retry(job, "all", "all that are left", renew)}>Retry all</button>
        <button class="danger" onClick=${() => drop(job, "all", "all that are left", renew)}>Drop all</button>` : null}
    </div>
    <${Pending} answer=${answer} /><${Trouble} problem=${all && answer.problem} />
    ${all ? html`<${Table} label="Failed records" head=${[{ label: "Number", class: "num" }, { label: "Why, where, and what it says" }, { label: "Decide" }]}>
      ${shown.map((record) => html`<${Record} key=${record.number} job=${job} record=${record} again=${renew} asHex=${asHex} />`)}
    <//>` : null}
    ${all && !all.length ? html`<p class="dim">None is left.</p>` : null}
    ${all && (firsts.length > 1 || all.length > PAGE) ? html`<nav class="pager" aria-label="Pages of failed records">
      <button disabled=${firsts.length === 1} onClick=${() => setFirsts(firsts.slice(0, -1))}>Previous</button>
      <span class="num">from ${count(first)}</span>
      <button disabled=${all.length <= PAGE} onClick=${() => setFirsts([...firsts, all[PAGE].number])}>Next</button></nav>` : null}
  </section>`;
}
