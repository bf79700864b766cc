/** Many stations at once. */

import { call, path } from "./api.js";
import { ActionDialog } from "./dialog.js";
import { Component, html } from "./html.js";
import { count, several } from "./words.js";

const AT_ONCE = 4; // requests: a browser has six connections, and the page needs some itself
const NAMED = 10; // ids that a dialog names

const ACTIONS = {
  block: {
    operation: "setRegistrationStatus",
    button: "Block",
    danger: true,
    said: "No gateway lets these stations in any more, until they are allowed again.",
    past: "blocked",
    run: (csId) => call("PUT", path`/cs/${csId}/registrationStatus`, { body: { registrationStatus: "Rejected" } }),
  },
  allow: {
    operation: "setRegistrationStatus",
    button: "Allow",
    said: "These stations may work: their status becomes Accepted, and a block ends.",
    past: "allowed",
    run: (csId) => call("PUT", path`/cs/${csId}/registrationStatus`, { body: { registrationStatus: "Accepted" } }),
  },
  remove: {
    operation: "deleteChargeStation",
    button: "Remove",
    danger: true,
    said: "These stations and their passwords are removed. This cannot be undone.",
    past: "removed",
    run: (csId) => call("DELETE", path`/cs/${csId}`),
  },
};

/** The bar that says how many are chosen, and what can be done with them. */
export class ForMany extends Component {
  state = { doing: null, made: 0 };

  run = async () => {
    const ids = [...this.props.chosen];
    const { run, past } = ACTIONS[this.state.doing];
    const failed = await forEach(ids, run, (made) => this.setState({ made }));
    await forEach(ids.slice(0, 200), this.props.refresh, () => {});
    const told = `${several(ids.length - failed.length, "station")} ${past}.`;
    if (!failed.length) return told;
    throw new Error(`${told} ${count(failed.length)} not: ${failed.slice(0, 3).map(([id, text]) => `${id}: ${text}`).join(" ")}`);
  };

  done = (told) => {
    this.props.tell(told);
    this.setState({ doing: null });
    this.props.clear();
  };

  render({ chosen, may, clear }, { doing, made }) {
    const ids = [...chosen];
    const number = several(ids.length, "station");
    const doings = Object.entries(ACTIONS).filter(([, { operation }]) => may(operation));
    const { button, said, danger } = ACTIONS[doing] ?? {};
    return html`<div class="chosen" role="region" aria-label="Chosen stations">
      <span>${number} chosen</span>
      ${doings.map(([name, { button, danger }]) => html`<button type="button" class=${danger ? "danger" : ""} onClick=${() => this.setState({ doing: name, made: 0 })}>${button}</button>`)}
      <button type="button" onClick=${clear}>Choose none</button>
      ${doing &&
      html`<${ActionDialog} title="${button} ${number}" action="${button} ${number}" danger=${danger} run=${this.run} done=${this.done} close=${() => this.setState({ doing: null })}>
        <p>${said}</p>
        <ul class="code">${ids.slice(0, NAMED).map((id) => html`<li>${id}</li>`)}</ul>
        ${ids.length > NAMED && html`<p>and ${count(ids.length - NAMED)} more.</p>`}
        ${made > 0 && html`<progress max=${ids.length} value=${made} aria-label="Done"></progress>`}
      <//>`}
    </div>`;
  }
}

/** Do something with each id, some at a time; gives those that failed with the reason. */
async function forEach(ids, run, told) {
  const failed = [];
  const left = ids.entries();
  let made = 0;
  const work = async () => {
    for (const [, id] of left) {
      try {
        await run(id);
      } catch (error) {
        failed.push([id, error.message]);
      }
      told(++made);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return failed;
}
