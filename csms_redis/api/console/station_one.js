/** One station: show it, register it, change it, remove it. */

import { call, path } from "./api.js";
import { ActionDialog, Dialog, PasswordDialog } from "./dialog.js";
import { Component, html } from "./html.js";
import { base64Sha256, newPassword } from "./passwords.js";
import { Details } from "./table.js";
import { Mark, Moment, PROFILES, statusKind } from "./words.js";

const CERTIFICATE_ONLY = "2"; // the securityProfile that needs no password

/** Shows a station, and leads to what can be done with it. */
export class ShowStation extends Component {
  state = { station: null, problem: null, doing: null, password: null };

  componentDidMount() {
    this.read();
  }

  read = async () => {
    try {
      this.setState({ station: await call("GET", path`/cs/${this.props.csId}`), problem: null });
    } catch (error) {
      this.setState({ station: null, problem: error.message });
    }
  };

  done = (said) => {
    this.props.tell(said);
    this.props.refresh(this.props.csId);
    this.setState({ doing: null });
    this.read();
  };

  /** What each button does: a dialog's words, and a function. */
  actions() {
    const { csId } = this.props;
    const setStatus = (registrationStatus) => async () => {
      await call("PUT", path`/cs/${csId}/registrationStatus`, { body: { registrationStatus } });
      return `${csId} is ${registrationStatus}.`;
    };
    return {
      password: {
        operation: "setChargeStationPassword",
        button: "New password",
        title: `New password for ${csId}`,
        action: "Make it",
        said: "A password is made and shown once. The old one stops working for new connections at once: let the station accept the new one first, if it is connected.",
        run: async () => {
          const password = newPassword();
          await call("PUT", path`/cs/${csId}/password`, { body: { base64SHA256Password: base64Sha256(password) } });
          this.setState({ password });
          return `${csId} has a new password.`;
        },
      },
      block: {
        operation: "setRegistrationStatus",
        button: "Block",
        title: `Block ${csId}`,
        action: "Block it",
        danger: true,
        said: "No gateway lets the station in any more, until it is allowed again. A connection that it has stays.",
        run: setStatus("Rejected"),
      },
      allow: {
        operation: "setRegistrationStatus",
        button: "Allow",
        title: `Allow ${csId}`,
        action: "Allow it",
        said: "The station may work: its status becomes Accepted, and a block ends.",
        run: setStatus("Accepted"),
      },
      remove: {
        operation: "deleteChargeStation",
        button: "Remove",
        title: `Remove ${csId}`,
        action: "Remove it",
        danger: true,
        said: "The station and its password are removed. A block ends with it. This cannot be undone.",
        run: async () => {
          await call("DELETE", path`/cs/${csId}`);
          return `${csId} is removed.`;
        },
      },
    };
  }

  render({ csId, may, close }, { station, problem, doing, password }) {
    if (password) return html`<${PasswordDialog} csId=${csId} password=${password} close=${() => this.setState({ password: null })} />`;
    const actions = this.actions();
    if (doing) {
      const { said, ...action } = actions[doing];
      const done = (result) => (doing === "remove" ? (this.done(result), close()) : this.done(result));
      return html`<${ActionDialog} key=${doing} ...${action} done=${done} close=${() => this.setState({ doing: null })}><p>${said}</p><//>`;
    }
    const fits = (name) => name !== (station.registrationStatus === "Rejected" ? "block" : station.registrationStatus === "Accepted" ? "allow" : "");
    return html`<${Dialog} title=${csId} close=${close}>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      ${station && html`<${Details} of=${[
        ["Status", html`<${Mark} of=${station.registrationStatus ?? "none"} kind=${statusKind(station.registrationStatus)} />`],
        ["Security profile", `${station.auth.securityProfile}: ${PROFILES[station.auth.securityProfile]}`],
        ["Other user names", station.auth.invalidUsernameAllowed ? "are let through" : null],
        ["Last change (UTC)", html`<${Moment} at=${station.lastUpdated} />`],
      ]} />`}
      <p class="buttons">
        ${station &&
        Object.entries(actions)
          .filter(([name, { operation }]) => may(operation) && fits(name))
          .map(([name, { button, danger }]) => html`<button type="button" class=${danger ? "danger" : ""} onClick=${() => this.setState({ doing: name })}>${button}</button>`)}
        <button type="button" onClick=${close}>Close</button>
      </p>
    <//>`;
  }
}

/** Registers a station, with a password that is made here. */
export class Register extends Component {
  state = { profile: "1", password: null, csId: null };

  run = async ({ csId, securityProfile, invalidUsernameAllowed }) => {
    if (await isThere(csId)) throw new Error(`${csId} is registered already. Give it a new password, or remove it first.`);
    const body = { securityProfile: Number(securityProfile) };
    if (invalidUsernameAllowed) body.invalidUsernameAllowed = true;
    let password = null;
    if (securityProfile !== CERTIFICATE_ONLY) {
      password = newPassword();
      body.base64SHA256Password = base64Sha256(password);
    }
    await call("POST", path`/cs/${csId}`, { body });
    return { csId, password };
  };

  done = ({ csId, password }) => {
    this.props.tell(`${csId} is registered.`);
    this.props.refresh(csId);
    if (password) this.setState({ csId, password });
    else this.props.close();
  };

  render({ csId, close }, state) {
    if (state.password) return html`<${PasswordDialog} csId=${state.csId} password=${state.password} close=${close} />`;
    return html`<${ActionDialog} title="Register a station" action="Register it" run=${this.run} done=${this.done} close=${close}>
      <p><label>Station's id <input name="csId" class="code" required maxlength="48" autocomplete="off" spellcheck="false" defaultValue=${csId} /></label></p>
      <p><label>Security profile <select name="securityProfile" value=${state.profile} onChange=${(event) => this.setState({ profile: event.target.value })}>
        ${Object.entries(PROFILES).map(([number, said]) => html`<option value=${number}>${number}: ${said} (OCPP's ${Number(number) + 1})</option>`)}
      </select></label></p>
      <p><label class="choice"><input type="checkbox" name="invalidUsernameAllowed" /> Let it in with a user name that is not its id</label></p>
      <p class="hint">${state.profile === CERTIFICATE_ONLY ? "It proves itself with a client certificate: upload that under Certificates." : "A password is made, and shown once."}</p>
    <//>`;
  }
}

async function isThere(csId) {
  try {
    await call("GET", path`/cs/${csId}`);
    return true;
  } catch (error) {
    if (error.status === 404) return false;
    throw error;
  }
}
