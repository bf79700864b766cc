/** The last writes of this process. */

import { call, query } from "./api.js";
import { html } from "./html.js";
import { Reread } from "./reread.js";
import { Table } from "./table.js";
import { Mark, Moment, several } from "./words.js";

const MOST = 200;
const KINDS = { done: "good", refused: "warning", unavailable: "bad", unknown: "bad", error: "bad" };

const COLUMNS = [
  { title: "When (UTC)", show: ({ time }) => html`<${Moment} at=${time} />` },
  { title: "Who", show: ({ client, remote }) => client ?? remote },
  { title: "What", show: ({ operation, method }) => operation ?? method },
  { title: "Which", show: (line) => html`<span class="code">${line.csId ?? line.uid ?? line.certificateHash ?? line.path}</span>${line.registrationStatus && ` → ${line.registrationStatus}`}` },
  { title: "Outcome", show: ({ outcome, reason, requestId }) => html`<${Mark} of=${outcome} kind=${KINDS[outcome]} />${reason && html` <span class="hint">${reason} Request ${requestId}.</span>`}` },
  { title: "From", spared: true, show: ({ remote }) => remote },
];

export class Audit extends Reread {
  state = { lines: null, problem: null };

  read = async () => {
    try {
      this.setState({ lines: await call("GET", `/audit${query({ limit: MOST })}`), problem: null });
    } catch (error) {
      this.setState({ problem: error.message });
    }
  };

  render(_, { lines, problem }) {
    return html`<p>The last requests to change something that this process has answered. The log of each process has all of them, those of commands too.</p>
      ${lines?.length > 0 && html`<${Table} caption="The last writes" stacked columns=${COLUMNS} records=${lines} idOf=${({ requestId, time }) => `${time} ${requestId}`} />`}
      <div class="foot">
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <p>${lines === null ? "Reading…" : lines.length ? `${several(lines.length, "line")}.` : "Nothing was changed yet."}</p>
      </div>`;
  }
}
