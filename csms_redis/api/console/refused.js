/** The stations that are turned away, and one step to let one in. */

import { call, path, query } from "./api.js";
import { ActionDialog } from "./dialog.js";
import { html } from "./html.js";
import { Reread } from "./reread.js";
import { Register } from "./station_one.js";
import { Table } from "./table.js";
import { Mark, Moment, count, several } from "./words.js";

const MOST = 200;

export class Refused extends Reread {
  state = { sort: this.props.parameters.sort ?? "count", refused: null, problem: null, open: null, doing: null };

  read = async () => {
    const { sort } = this.state;
    try {
      const refused = await call("GET", `/refused${query({ sort, limit: MOST })}`);
      if (sort === this.state.sort) this.setState({ refused, problem: null });
    } catch (error) {
      this.setState({ problem: error.message });
    }
  };

  choose = (event) => this.setState({ sort: event.target.value }, this.read);

  close = () => this.setState({ open: null, doing: null });

  allow = async () => {
    await call("PUT", path`/cs/${this.state.open}/registrationStatus`, { body: { registrationStatus: "Accepted" } });
    return `${this.state.open} is Accepted.`;
  };

  allowed = (told) => {
    this.props.tell(told);
    this.close();
    this.read();
  };

  columns = [
    { title: "Station", show: ({ csId }) => html`<span class="code">${csId}</span>` },
    { title: "Why", show: ({ reason }) => html`<${Mark} of=${reason} kind=${{ blocked: "bad", malformed: "warning" }[reason] ?? "plain"} />` },
    { title: "Times", show: (refused) => count(refused.count) },
    { title: "First (UTC)", spared: true, show: ({ firstRefused }) => html`<${Moment} at=${firstRefused} />` },
    { title: "Last (UTC)", spared: true, show: ({ lastRefused }) => html`<${Moment} at=${lastRefused} />` },
    { title: "Asked by", spared: true, show: ({ client }) => client },
    { title: "Step", show: (refused) => this.step(refused) },
  ];

  step({ csId, reason }) {
    const { may } = this.props;
    const open = (doing) => () => this.setState({ open: csId, doing });
    if (reason === "unknown" && may("registerChargeStation")) return html`<button type="button" aria-label="Register ${csId}" onClick=${open("register")}>Register</button>`;
    if (reason === "blocked" && may("setRegistrationStatus")) return html`<button type="button" aria-label="Allow ${csId}" onClick=${open("allow")}>Allow</button>`;
    return null;
  }

  render({ tell }, { sort, refused, problem, open, doing }) {
    const { close } = this;
    const closeAndRead = () => (close(), this.read());
    return html`<p>Ids that were refused in the last 24 hours and would be refused now, at any process.</p>
      <form class="filters" onSubmit=${(event) => event.preventDefault()}>
        <label>First <select value=${sort} onChange=${this.choose}>
          <option value="count">those that came most often</option>
          <option value="lastRefused">those that came last</option>
        </select></label>
      </form>
      ${refused?.length > 0 && html`<${Table} caption="Stations that are turned away" columns=${this.columns} records=${refused} idOf=${({ csId, reason }) => `${reason} ${csId}`} />`}
      <div class="foot">
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <p>${refused === null ? "Reading…" : refused.length ? `${several(refused.length, "id")}.` : "Nobody is turned away."}</p>
      </div>
      ${doing === "register" && html`<${Register} csId=${open} tell=${tell} close=${closeAndRead} refresh=${this.read} />`}
      ${doing === "allow" && html`<${ActionDialog} title="Allow ${open}" action="Allow it" run=${this.allow} done=${this.allowed} close=${close}>
        <p>It was blocked. Its status becomes Accepted, and gateways let it in.</p>
      <//>`}`;
  }
}
