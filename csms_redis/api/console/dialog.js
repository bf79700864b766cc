/** Dialogs: Escape closes them, and the focus returns to where it was. */

import { Component, createRef, html } from "./html.js";

/** A window in the middle; `close` is called when it has been closed. */
export class Dialog extends Component {
  box = createRef();
  isGone = false;

  componentDidMount() {
    this.box.current.showModal();
  }

  componentWillUnmount() {
    this.isGone = true; // another dialog takes its place: nobody has closed it
    if (this.box.current.open) this.box.current.close();
  }

  render({ title, children, close, busy }) {
    return html`<dialog
      ref=${this.box}
      aria-labelledby="dialog-title"
      onClose=${() => this.isGone || close()}
      onCancel=${(event) => busy && event.preventDefault()}
    >
      <h2 id="dialog-title">${title}</h2>
      ${children}
    </dialog>`;
  }
}

/**
 * A dialog that does one thing when it is confirmed, and stays open with the reason when that fails.
 *
 * Properties: `title`; `action`, the word on its button; `danger`, whether it takes something away;
 * `run`, an async function; `done`, called with what `run` gave; `close`.
 */
export class ActionDialog extends Component {
  state = { busy: false, problem: null };

  submit = async (event) => {
    event.preventDefault();
    if (this.state.busy) return;
    const fields = Object.fromEntries(new FormData(event.currentTarget));
    this.setState({ busy: true, problem: null });
    try {
      const result = await this.props.run(fields);
      this.props.done(result);
    } catch (error) {
      this.setState({ busy: false, problem: error.message });
    }
  };

  render({ title, action, danger, children, close }, { busy, problem }) {
    return html`<${Dialog} title=${title} close=${close} busy=${busy}>
      <form onSubmit=${this.submit}>
        ${children}
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <p class="buttons">
          <button type="submit" class=${danger ? "danger" : "main"} disabled=${busy}>${busy ? "Working…" : action}</button>
          <button type="button" onClick=${close} disabled=${busy}>Cancel</button>
        </p>
      </form>
    <//>`;
  }
}

/** A password that is shown this once, to be copied. */
export class PasswordDialog extends Component {
  field = createRef();
  state = { copied: "" };

  copy = async () => {
    this.field.current.select();
    try {
      await navigator.clipboard.writeText(this.props.password);
      this.setState({ copied: "Copied." });
    } catch {
      // over plain HTTP there is no clipboard
      this.setState({ copied: "It is marked: copy it with Ctrl+C." });
    }
  };

  render({ csId, password, close }, { copied }) {
    return html`<${Dialog} title="Password of ${csId}" close=${close}>
      <p>It is shown only now: nobody can read it again. Give it to the station.</p>
      <p class="copied">
        <label>Password <input ref=${this.field} class="code" readonly value=${password} onFocus=${(event) => event.target.select()} /></label>
        <button type="button" onClick=${this.copy}>Copy</button>
      </p>
      <p role="status">${copied}</p>
      <p class="buttons"><button type="button" class="main" onClick=${close}>I have it</button></p>
    <//>`;
  }
}
