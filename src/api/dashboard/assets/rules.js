// Landing zones: each rule with its folders, what waits there and why, and what the configuration says.

import { html, useState } from "./vendor/preact.js";
import { post, useAnswer } from "./api.js";
import { Age, Facts, Pager, Path, Pending, State, Table, Told, Trouble, askFirst, doNow } from "./parts.js";
import { count, plural, seen, time } from "./words.js";
import { Files, Paused } from "./overview.js";

const onAnew = (event) => event.kind === "anew" || (event.kind === "job" && event.before === null);
const useRules = () => useAnswer("/v1/rules", null, { every: 4, wake: onAnew });
const href = (name) => `#/rules/${encodeURIComponent(name)}`;
const FAR = ["failed", "refused", "held", "paused"];

function told(found) {
  if (!found.ok) return `The configuration is wrong and was not taken: ${plural(found.problems.length, "problem")}.`;
  const parts = [
    found.added.length && `${plural(found.added.length, "rule")} added`,
    found.changed.length && `${plural(found.changed.length, "rule")} changed`,
    found.removed.length && `${plural(found.removed.length, "rule")} removed`,
  ].filter(Boolean);
  const restart = found.needs_restart.length ? ` These count after a restart: ${found.needs_restart.join(", ")}.` : "";
  return `The configuration is taken: ${parts.join(", ") || "nothing changed"}.${restart}`;
}

export function reload() {
  askFirst({
    title: "Reload the configuration?",
    text: ["It is read anew from its files. Where it is wrong, the service goes on by the one that it has. Jobs on their way keep their rule."],
    button: "Reload",
    run: async () => told(await post("/v1/reload")),
  });
}

export function Problems({ configuration }) {
  if (!configuration) return null;
  const { problems, needs_restart: restart } = configuration;
  return html`<section aria-labelledby="configuration"><h2 id="configuration">Configuration</h2>
    <${Facts} rows=${[
      ["File", html`<${Path} path=${configuration.file} />`],
      ["Taken", time(configuration.taken_at)],
      configuration.wrong_since ? ["Wrong since", time(configuration.wrong_since)] : null,
      configuration.unsettled ? ["Stands still not yet", seen(configuration.unsettled)] : null,
      restart.length ? ["Counts after a restart", seen(restart.join(", "))] : null,
    ]} />
    ${problems.length ? html`<p><strong>The configuration as it is now is wrong.</strong> The service goes by the one before.</p>
      <ul class="plain attention">${problems.map((it) => html`<li>
        <span class="about">${it.line ? `line ${it.line}` : "whole"}</span>
        <div><p>${it.key ? html`<code>${seen(it.key)}</code>: ` : ""}<${Told} text=${it.message} /></p>
        <p class="dim">${it.file ? `${seen(it.file)}${it.line ? `:${it.line}:${it.column || 1}` : ""}. ` : ""}<${Told} text=${it.hint} /></p></div></li>`)}</ul>`
      : html`<p class="good">No problem.</p>`}
  </section>`;
}

export function Rules() {
  const rules = useRules();
  const status = useAnswer("/v1/status", null, { every: 5 });
  const found = rules.data;
  const overdue = status.data?.attention.filter((it) => it.about === "nothing_came" || it.about === "late" || it.about === "folder") || [];
  return html`<div><div class="titled"><h1 tabindex="-1">Landing zones</h1><div class="buttons"><button onClick=${reload}>Reload the configuration</button></div></div>
    <${Pending} answer=${rules} />
    ${found ? html`<${Trouble} problem=${rules.problem} />
      <${Table} label="Landing zones" head=${[{ label: "Rule" }, { label: "Folders", class: "wide" }, { label: "Files wait", class: "num" }, { label: "Jobs", class: "num" }, { label: "Last arrival", class: "num" }]}>
        ${found.rules.map((rule) => {
          const jobs = Object.values(rule.jobs).reduce((sum, number) => sum + number, 0);
          return html`<tr key=${rule.name}>
            <td><a class="path" href=${href(rule.name)}>${rule.name}</a>${rule.mode === "live" ? null : html` <span class="state">${rule.mode}</span>`}</td>
            <td class="wide">${rule.paths.map((path) => html`<div class="mono">${seen(path)}</div>`)}</td>
            <td class="num">${count(rule.files_waiting)}</td>
            <td class="num"><a href="#/jobs?rule=${encodeURIComponent(rule.name)}">${count(jobs)}</a>${FAR.map((state) => rule.jobs[state] ? html` <a href="#/jobs?rule=${encodeURIComponent(rule.name)}&state=${state}"><${State} state=${state} /> ${count(rule.jobs[state])}</a>` : null)}</td>
            <td class="num"><${Age} at=${rule.last_job_at} /></td></tr>`;
        })}
      <//>
      ${found.gone.length ? html`<h2>Gone, with jobs on their way</h2><p>${found.gone.map((rule) => html`<a href="#/jobs?rule=${encodeURIComponent(rule.name)}">${rule.name}</a> `)}</p>` : null}
      ${overdue.length ? html`<section aria-labelledby="late"><h2 id="late">Late</h2><ul class="plain attention">${overdue.map((it) => html`<li><span class="about">${it.about.replaceAll("_", " ")}</span><div><p><${Told} text=${it.message} /></p><p class="dim"><${Told} text=${it.hint} /></p></div></li>`)}</ul></section>` : null}
      <${Problems} configuration=${found.configuration} />` : null}</div>`;
}

export function setPace(kind, name, set, again) {
  const is = (value) => (value == null ? "" : String(value));
  askFirst({
    title: `Throttle ${kind} ${name}`,
    text: ["Leave a field empty for what the configuration says. 0 means no limit. It counts at once, and after a restart."],
    fields: [
      { name: "workers_max", label: "Workers at once", kind: "number", min: 0, max: 4294967295, value: is(set?.workers_max) },
      { name: "records_per_second", label: "Records a second", kind: "number", min: 0, max: 1000000000000, value: is(set?.records_per_second) },
    ],
    button: "Set",
    run: async (values) => {
      const value = (number) => (number === null ? "default" : number);
      const path = `/v1/${kind}s/${encodeURIComponent(name)}/set`;
      const answer = await post(path, { workers_max: value(values.workers_max), records_per_second: value(values.records_per_second) });
      again();
      return answer.changed ? `The limits of ${kind} ${name} are set.` : `The limits of ${kind} ${name} were so already.`;
    },
  });
}

const limit = (set, own) => {
  const text = (value) => (value === 0 ? "no limit" : value == null ? null : count(value));
  return set != null ? `${text(set)} (set by an operator)` : text(own) || "no limit";
};

const PAGE = 50;

export function Rule({ name }) {
  const rules = useRules();
  const [skip, go] = useState(0);
  const waiting = useAnswer("/v1/waiting", { rule: name, skip, count: PAGE }, { every: 3, wake: onAnew });
  const limits = useAnswer("/v1/limits", null, { every: 5 });
  const status = useAnswer("/v1/status", null, { every: 5 });
  const rule = rules.data?.rules.find((it) => it.name === name) || rules.data?.gone.find((it) => it.name === name);
  const throttle = rule?.throttle;
  const set = (kind, of) => limits.data?.limits.find((it) => it.of[kind] === of)?.limits;
  const paused = status.data?.paused.filter((it) => it.rule === name) || [];
  const again = () => { status.again(); limits.again(); };
  const pause = () =>
    askFirst({
      title: `Pause rule ${name}?`,
      text: ["No file of it is claimed, and no job of it goes on, until it is resumed."],
      button: "Pause",
      run: async () => {
        const answer = await post("/v1/pause", { rule: name });
        again();
        return answer.changed ? `Rule ${name} is paused.` : `Rule ${name} was paused already.`;
      },
    });
  const resume = async () => {
    await doNow("/v1/resume", { rule: name }, (answer) => (answer.changed ? `Rule ${name} goes on.` : `Rule ${name} was not paused by itself.`));
    again();
  };
  const own = set("rule", name);
  const jobs = rule ? Object.entries(rule.jobs) : [];
  return html`<div><p class="crumbs"><a href="#/rules">Landing zones</a></p>
    <div class="titled"><h1 tabindex="-1">${name}</h1>
      <div class="buttons">
        ${paused.length ? html`<button class="main" onClick=${resume}>Resume</button>` : html`<button onClick=${pause}>Pause</button>`}
        <button onClick=${() => setPace("rule", name, own, again)}>Throttle</button>
        ${throttle ? html`<button onClick=${() => setPace("throttle", throttle.name, set("throttle", throttle.name), again)}>Throttle ${throttle.name}</button>` : null}
      </div></div>
    <${Pending} answer=${rules} />
    ${rules.data && !rule ? html`<p>There is no rule of this name.</p>` : null}
    ${rule ? html`<${Paused} paused=${paused} again=${again} />
      <${Facts} rows=${[
        ["Mode", rule.mode || "gone"],
        ["Folders", (rule.paths || []).map((path) => html`<div class="mono">${seen(path)}</div>`)],
        rule.exclude?.length ? ["Excluded", rule.exclude.map((path) => html`<div class="mono">${seen(path)}</div>`)] : null,
        rule.outputs ? ["Outputs", Object.entries(rule.outputs).map(([category, path]) => html`<div><b>${category}</b> <span class="mono">${seen(path)}</span></div>`)] : null,
        ["Last arrival", html`<${Age} at=${rule.last_job_at} suffix=${rule.last_job_at ? " ago" : ""} />`],
        ["Workers", limit(own?.workers_max, rule.limits?.workers_max)],
        ["Records a second", limit(own?.records_per_second, rule.limits?.records_per_second)],
        throttle ? ["Throttle", `${throttle.name}: workers ${limit(set("throttle", throttle.name)?.workers_max, throttle.limits.workers_max)}, records a second ${limit(set("throttle", throttle.name)?.records_per_second, throttle.limits.records_per_second)}`] : null,
        ["Jobs", jobs.length ? jobs.map(([state, number]) => html`<a class="pair" href="#/jobs?rule=${encodeURIComponent(name)}&state=${state}"><${State} state=${state} /> ${count(number)}</a> `) : "none"],
        rule.overrides?.length ? ["Overrides", rule.overrides.map((it) => html`<div>if <code>${seen(JSON.stringify(it.if))}</code>: ${it.keys.join(", ")}</div>`)] : null,
      ]} />
      <section aria-labelledby="files"><h2 id="files">Files that wait</h2>
        <${Pending} answer=${waiting} />
        ${waiting.data ? html`<${Files} label="Files that wait" files=${waiting.data.files} of=${skip} />` : null}
        ${waiting.data && (skip || waiting.data.more) ? html`<${Pager} what="files" skip=${skip} size=${PAGE} shown=${waiting.data.files.length} more=${waiting.data.more} total=${rule.files_waiting} go=${go} />` : null}
      </section>` : null}</div>`;
}
