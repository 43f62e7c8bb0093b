// What is asked of the service, kept so that a view is on the screen at once when it is looked at again.

import { useEffect, useState } from "./vendor/preact.js";

/** Why there is no answer: what, and what to do. */
export class Problem extends Error {
  constructor(status, told) {
    super(told.detail || told.title || `the service answers ${status}`);
    this.status = status;
    this.hint = told.hint || "";
  }
}

const GONE = { detail: "the service does not answer", hint: "see whether it runs: `landfall status` on its machine" };

async function ask(method, path, body, as = "json", key = null) {
  let answer;
  const headers = { "X-Landfall": "dashboard" };
  if (key) headers["Idempotency-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
    });
  } catch {
    tellLink(false);
    throw new Problem(0, GONE);
  }
  tellLink(true);
  if (answer.ok) return as === "json" ? answer.json() : as === "text" ? answer.text() : answer;
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/v1/login") setSession(null);
  throw new Problem(answer.status, told);
}

export function url(path, params) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params || {})) {
    if (value !== undefined && value !== null && value !== "" && value !== false) query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export const get = (path, params, as) => ask("GET", url(path, params), undefined, as);
/** `key`: who asks again with the same one is answered what was done the first time. */
export const post = (path, body, key) => ask("POST", path, body || {}, "json", key);

/** The first bytes of an answer that may be long; the rest is left where it is. */
export async function getFirstBytes(path, params, most) {
  const answer = await ask("GET", url(path, params), undefined, "answer");
  const reader = answer.body.getReader();
  const parts = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    if (length >= most) {
      reader.cancel().catch(() => {});
      break;
    }
  }
  const bytes = new Uint8Array(Math.min(length, most));
  let at = 0;
  for (const part of parts) {
    const piece = part.subarray(0, bytes.length - at);
    bytes.set(piece, at);
    at += piece.length;
  }
  return { bytes, cut: length > most };
}

// A value that views listen to.
function signal(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      if (next === value) return;
      value = next;
      for (const tell of [...listeners]) tell(next);
    },
    listen(tell) {
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
  };
}

export function useSignal(of) {
  const [, redraw] = useState(0);
  const shown = of.get();
  useEffect(() => {
    if (of.get() !== shown) redraw((n) => n + 1); // since it was drawn
    return of.listen(() => redraw((n) => n + 1));
  }, [of]);
  return shown;
}

/** undefined: not known yet; null: nobody is logged in. */
export const session = signal(undefined);
/** Whether it is not known for want of an answer. */
export const isSlow = signal(false);
/** Whether the service answered the last time. */
export const link = signal(true);
const tellLink = (isThere) => link.set(isThere);

export function setSession(told) {
  if (told === null) cache.clear();
  session.set(told);
  listen();
}

export async function findSession() {
  try {
    const told = await get("/v1/session");
    setSession(told.is_known ? told : null);
  } catch {
    isSlow.set(true);
    setTimeout(findSession, 2000);
  }
}

// What was answered, by what was asked.
const cache = new Map();
const KEPT_MAX = 200;
const isShown = () => document.visibilityState !== "hidden";

function entry(key) {
  let found = cache.get(key);
  if (!found) {
    if (cache.size >= KEPT_MAX) {
      for (const [old, it] of cache) if (it.listeners.size === 0) { cache.delete(old); break; }
    }
    found = { data: undefined, problem: null, asking: null, again: false, took: 0, listeners: new Set() };
    cache.set(key, found);
  }
  return found;
}

function refresh(key, read, isUrgent) {
  const it = entry(key);
  if (it.asking) {
    it.again = true;
    it.isUrgent ||= isUrgent;
    return it.asking;
  }
  const begun = performance.now();
  it.asking = read()
    .then(
      (data) => { it.data = data; it.problem = null; },
      (problem) => { it.problem = problem; },
    )
    .then(() => {
      it.took = performance.now() - begun;
      it.asking = null;
      for (const tell of [...it.listeners]) tell();
      if (it.again) {
        // Whoever asks again and again leaves the service time for its work; after an act he need not wait.
        const pause = it.isUrgent ? 0 : Math.max(300, it.took * 4);
        it.again = it.isUrgent = false;
        setTimeout(() => it.listeners.size && isShown() && refresh(key, read), pause);
      }
    });
  return it.asking;
}

/**
 * What `path` answers: what is known of it at once, and anew every so many seconds; `wake` says which events mean that it changed.
 * An answer that takes long is asked for less often.
 */
export function useAnswer(path, params, { every, wake, read, off } = {}) {
  const key = path ? url(path, params) : null;
  const [, redraw] = useState(0);
  useEffect(() => {
    if (!key || off) return undefined;
    const it = entry(key);
    const ask = () => refresh(key, read || (() => get(key)));
    const tell = () => redraw((n) => n + 1);
    it.listeners.add(tell);
    let timer;
    let isOver = false;
    const loop = async () => {
      if (isShown()) await ask();
      if (every && !isOver) timer = setTimeout(loop, Math.max(every * 1000, it.took * 20));
    };
    loop();
    const stop = wake ? onEvent((event) => wake(event) && isShown() && ask()) : () => {};
    return () => {
      isOver = true;
      clearTimeout(timer);
      stop();
      it.listeners.delete(tell);
    };
  }, [key, every, off]);
  const it = key ? cache.get(key) : null;
  return {
    data: it?.data,
    problem: it?.problem || null,
    again: () => key && refresh(key, read || (() => get(key)), true),
  };
}

export const known = (path, params) => cache.get(url(path, params))?.data;

// Events: one stream for a page that is looked at. A browser has few connections for all its pages together.
const hearers = new Set();
let stream = null;
let retry = null;

export function onEvent(hear) {
  hearers.add(hear);
  return () => hearers.delete(hear);
}

const tellAll = (event) => { for (const hear of [...hearers]) hear(event); };

export const isLive = signal(false);

function listen() {
  const wanted = Boolean(session.get()) && isShown();
  clearTimeout(retry);
  if (!wanted) {
    if (stream) stream.close();
    stream = null;
    isLive.set(false);
    return;
  }
  if (stream) return;
  stream = new EventSource("/v1/events");
  stream.addEventListener("read_anew", () => {
    isLive.set(true);
    tellAll({ kind: "anew" });
  });
  stream.addEventListener("job", (event) => {
    try {
      tellAll({ kind: "job", ...JSON.parse(event.data) });
    } catch { /* of another version of the service */ }
  });
  stream.onerror = () => {
    if (stream) stream.close();
    stream = null;
    isLive.set(false);
    retry = setTimeout(async () => {
      const told = await get("/v1/session").catch(() => null);
      if (told && !told.is_known) setSession(null);
      else listen();
    }, 2000);
  };
}

document.addEventListener("visibilitychange", () => {
  listen();
  if (isShown()) tellAll({ kind: "anew" });
});
