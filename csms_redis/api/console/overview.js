/** The state of the process that answers this page, and of others that have answered it. */

import { readiness } from "./api.js";
import { html } from "./html.js";
import { OUTCOMES, lookups, rates, shares } from "./metrics.js";
import { Plot } from "./plot.js";
import { Reread } from "./reread.js";
import { Table } from "./table.js";
import { Mark, count } from "./words.js";

const KINDS = { cs: "stations", token: "tokens", certificate: "certificates" };

const rate = (value) => (value >= 10 ? count(Math.round(value)) : value.toFixed(1));
const percent = (value) => `${Math.floor(value * 1000) / 10} %`;
const megabytes = (value) => `${count(Math.round(value / 2 ** 20))} MiB`;

const YES = (of) => html`<${Mark} of=${of} kind="good" />`;
const NO = (of) => html`<${Mark} of=${of} kind="bad" />`;

const MASTER_COLUMNS = [
  { title: "Redis", show: ({ redis }) => html`<span class="code">${redis}</span>` },
  { title: "State", show: ({ up }) => (up ? YES("read from") : NO("away")) },
  { title: "It is", show: ({ role }) => role },
  { title: "May be kept", show: ({ leased }) => (leased ? YES("yes") : NO("no")) },
];
const KIND_COLUMNS = [
  { title: "Records", show: ({ kind }) => KINDS[kind] ?? kind },
  { title: "All known", show: ({ whole }) => (whole ? YES("whole") : NO("not whole")) },
  { title: "Read by the last scan", show: ({ records }) => count(records) },
  { title: "Ask Redis", spared: true, show: ({ open }) => count(open) },
  { title: "Redis", spared: true, show: ({ redis }) => html`<span class="code">${redis}</span>` },
];
const PROCESS_COLUMNS = [
  { title: "Started (UTC)", show: ({ latest }) => new Date(latest.process * 1000).toISOString().replace("T", " ").slice(0, 19) },
  { title: "Ready", show: ({ latest }) => (latest.ready ? YES("ready") : NO("not ready")) },
  { title: "Lookups a second", show: ({ samples }) => rate(rates(samples, lookups).at(-1)?.value ?? 0) },
  { title: "Memory", spared: true, show: ({ latest }) => megabytes(latest.memory) },
  { title: "Version", spared: true, show: ({ latest }) => latest.version },
];

export class Overview extends Reread {
  state = { health: null };

  componentDidMount() {
    this.props.history.changed = () => this.forceUpdate();
    super.componentDidMount();
  }

  componentWillUnmount() {
    this.props.history.changed = () => {};
    super.componentWillUnmount();
  }

  read = async () => this.setState({ health: await readiness() });

  render({ me, history }, { health }) {
    const processes = [...history.processes.values()].map((samples) => ({ samples, latest: samples.at(-1) }));
    return html`${health && html`<${Health} health=${health} />`}
      ${!me.roles.includes("metrics") && html`<p class="note">Figures and plots need the role metrics, which this client has not.</p>`}
      ${history.problem && html`<p class="problem" role="alert">${history.problem}</p>`}
      ${processes.length > 0 && html`<${Figures} processes=${processes} />`}`;
  }
}

function Health({ health }) {
  const { status, error, components = {} } = health;
  return html`<p class="health">${status === "OK" ? YES("ready") : NO(status === "away" ? "away" : "not ready")} ${error}</p>
    <ul class="parts">${Object.entries(components).map(([name, said]) => html`<li>${name}: ${said === "OK" ? YES("OK") : NO(said)}</li>`)}</ul>`;
}

function Figures({ processes }) {
  const [{ samples, latest }] = processes;
  const byOutcome = OUTCOMES.map((outcome) => ({ name: outcome, points: rates(samples, (sample) => sample.lookups[outcome]) }));
  const share = shares(samples);
  const whole = latest.kinds.length > 0 && latest.kinds.every((kind) => kind.whole);
  return html`<div class="cards">
      <${Card} title="Lookups a second" value=${rate(rates(samples, lookups).at(-1)?.value ?? 0)} />
      <${Card} title="Answered from memory" value=${share.length ? percent(share.at(-1).value) : "–"} />
      <${Card} title="All records known" value=${latest.kinds.length ? (whole ? "whole" : "not whole") : "–"} />
      <${Card} title="Redis masters read from" value=${`${latest.masters.filter(({ up }) => up).length} of ${latest.masters.length}`} />
      <${Card} title="Replicas that answered" value=${processes.length} />
      <${Card} title="Turned away in 10 minutes" value=${count(latest.refused)} href="#/refused" />
      <${Card} title="Certificates that run out in 30 days" value=${latest.expiring ?? "–"} href="#/certificates?within=30" />
    </div>
    <div class="plots">
      <${Plot} title="Lookups a second, by outcome" lines=${byOutcome} said=${rate} />
      <${Plot} title="Answered from memory" lines=${[{ name: "share", points: share }]} said=${percent} most=${1} />
      <${Plot} title="Writes a second" lines=${[{ name: "writes", points: rates(samples, (sample) => sample.writes) }]} said=${rate} />
      <${Plot} title="Open connections" lines=${[{ name: "connections", points: samples.map(({ at, connections }) => ({ at, value: connections })) }]} said=${(value) => count(Math.round(value))} />
    </div>
    <h2>Redis</h2>
    <${Table} caption="Redis masters" columns=${MASTER_COLUMNS} records=${latest.masters} idOf=${({ redis }) => redis} />
    ${latest.kinds.length > 0 && html`<h2>Records in memory</h2>
    <${Table} caption="Records in memory" columns=${KIND_COLUMNS} records=${latest.kinds} idOf=${({ redis, kind }) => `${redis} ${kind}`} />`}
    <h2>Replicas</h2>
    <p class="hint">Those that have answered this page in the last five minutes: a balancer chooses. Figures and plots are of the first.</p>
    <${Table} caption="Replicas" columns=${PROCESS_COLUMNS} records=${processes} idOf=${({ latest }) => latest.process} />`;
}

function Card({ title, value, href }) {
  const inside = html`<span class="title">${title}</span><span class="value">${value}</span>`;
  return href ? html`<a class="card" href=${href}>${inside}</a>` : html`<div class="card">${inside}</div>`;
}
