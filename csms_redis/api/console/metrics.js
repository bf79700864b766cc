/** What /metrics says, kept while the page is open. */

import { Refusal, metrics } from "./api.js";

const EVERY = 2000; // milliseconds
const KEPT = 300_000; // milliseconds
const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export const OUTCOMES = ["hit", "read", "stale", "unknown", "error"];

/**
 * Read Prometheus' text format.
 * @param {string} text
 * @returns {Map<string, {labels: Record<string, string>, value: number}[]>} the samples by name
 */
export function parse(text) {
  const families = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = LINE.exec(line) ?? [];
    if (name === undefined) continue;
    if (!families.has(name)) families.set(name, []);
    const read = Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, said]) => [key, said.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c))]));
    families.get(name).push({ labels: read, value: Number(value) });
  }
  return families;
}

/** Asks again and again; `changed` is called after each answer. */
export class History {
  /** By process, since a balancer may send each request to another one. */
  processes = new Map();
  problem = null;
  changed = () => {};

  start() {
    this.ask();
    this.timer = setInterval(() => this.ask(), EVERY);
  }

  async ask() {
    try {
      this.add(parse(await metrics()), performance.now());
      this.problem = null;
    } catch (error) {
      this.problem = error.message;
      // without the role there is none later
      if (error instanceof Refusal && [401, 403, 404].includes(error.status)) clearInterval(this.timer);
    }
    this.changed();
  }

  add(families, at) {
    const sample = read(families, at);
    const samples = this.processes.get(sample.process) ?? [];
    samples.push(sample);
    while (samples[0].at < at - KEPT) samples.shift();
    this.processes.set(sample.process, samples);
    for (const [process, others] of this.processes) {
      if (others.at(-1).at < at - KEPT) this.processes.delete(process);
    }
  }
}

/** What the page needs of one answer. */
function read(families, at) {
  const all = (name) => families.get(name) ?? [];
  const one = (name) => all(name)[0]?.value ?? 0;
  const sum = (name, labels = {}) =>
    all(name)
      .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
      .reduce((total, { value }) => total + value, 0);
  return {
    at,
    process: String(one("process_start_time_seconds")),
    version: all("csms_build_info")[0]?.labels.version,
    ready: one("csms_ready") === 1,
    lookups: Object.fromEntries(OUTCOMES.map((outcome) => [outcome, sum("csms_lookups_total", { outcome })])),
    reads: one("csms_redis_read_seconds_count"),
    writes: sum("csms_writes_total"),
    connections: one("csms_connections_open"),
    memory: one("process_resident_memory_bytes"),
    refused: one("csms_refused_stations"),
    expiring: all("csms_certificates_expiring")[0]?.value,
    masters: all("csms_redis_up").map(({ labels: { redis }, value }) => ({
      redis,
      up: value === 1,
      leased: sum("csms_redis_leased", { redis }) === 1,
      role: all("csms_redis_role").find(({ labels, value: is }) => labels.redis === redis && is === 1)?.labels.role ?? "unknown",
    })),
    kinds: all("csms_whole").map(({ labels: { redis, kind }, value }) => ({
      redis,
      kind,
      whole: value === 1,
      open: sum("csms_open_ids", { redis, kind }),
      records: sum("csms_preloaded_records", { redis, kind }),
    })),
  };
}

/**
 * How fast something grew between each two samples.
 * @param {object[]} samples
 * @param {(sample: object) => number} of
 * @returns {{at: number, value: number}[]} a second
 */
export function rates(samples, of) {
  return samples.slice(1).map((sample, index) => {
    const before = samples[index];
    return { at: sample.at, value: Math.max(0, of(sample) - of(before)) / ((sample.at - before.at) / 1000) };
  });
}

/** All lookups of a sample. */
export function lookups(sample) {
  return OUTCOMES.reduce((total, outcome) => total + sample.lookups[outcome], 0);
}

/** Which part of the lookups was answered without asking Redis, between each two samples that have some. */
export function shares(samples) {
  const asked = rates(samples, lookups);
  const reads = rates(samples, (sample) => sample.reads);
  return asked
    .map(({ at, value }, index) => ({ at, value: value ? Math.max(0, 1 - reads[index].value / value) : NaN }))
    .filter(({ value }) => !Number.isNaN(value));
}
