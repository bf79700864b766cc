/** The service's operations over HTTP. */

// not relative: the page's own address may have a name and a secret in it, and fetch refuses those
const ORIGIN = location.origin;
const BASE = `${ORIGIN}/api/v0`;
const NEXT = /<([^>]+)>;\s*rel="next"/;

/** An answer that is not a success; its message says what is wrong and what to do. */
export class Refusal extends Error {
  /**
   * @param {number} status the HTTP status; 0 where no answer came
   * @param {string} text
   */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** A path of the API with ids in it: path`/cs/${csId}/password`. */
export function path(texts, ...ids) {
  // an URL would leave out the segments . and ..
  const escaped = ids.map((id) => encodeURIComponent(id).replace(/^\.{1,2}$/, (dots) => dots.replaceAll(".", "%2E")));
  return texts.reduce((joined, text, index) => joined + escaped[index - 1] + text);
}

/**
 * Send one request.
 * @param {string} method
 * @param {string} target below /api/v0
 * @param {{body?: object, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the JSON of the answer; null where there is none
 * @throws {Refusal}
 */
export async function call(method, target, { body, signal } = {}) {
  const response = await send(method, BASE + target, { body, signal });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/**
 * Read one page of a listing.
 * @param {string} target below /api/v0, or what `next` of the page before said
 * @param {AbortSignal} signal
 * @returns {Promise<{records: object[], next: string | null}>}
 * @throws {Refusal}
 */
export async function page(target, signal) {
  const url = target.startsWith("/api/") ? ORIGIN + target : BASE + target;
  const response = await send("GET", url, { signal });
  const next = NEXT.exec(response.headers.get("Link") ?? "");
  return { records: await response.json(), next: next && next[1] };
}

/** The text of /metrics, which is no operation of the API. */
export async function metrics() {
  return (await send("GET", `${ORIGIN}/metrics`, {})).text();
}

/** What /health/ready says: also of a process that is not ready. */
export async function readiness() {
  try {
    return await (await fetch(`${ORIGIN}/health/ready`, { cache: "no-store" })).json();
  } catch {
    return { status: "away", error: "The service cannot be reached." };
  }
}

/** A query string without what is empty. */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value != null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

async function send(method, url, { body, signal }) {
  // a page of another site cannot set this header, and a write of a browser is refused without it
  const headers = { "X-Requested-By": "csms-redis console", Accept: "application/json, text/plain" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, { method, headers, body: JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The service cannot be reached. If this was a change, it may have been made: look before you repeat it.");
  }
  if (!response.ok) throw new Refusal(response.status, await reason(response));
  return response;
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The answer was ${response.status} ${response.statusText}.`;
  }
}
