/** The tokens: find, show, add, change, remove. */

import { call, path } from "./api.js";
import { ActionDialog, Dialog } from "./dialog.js";
import { html } from "./html.js";
import { Pager } from "./pager.js";
import { replaceParameters } from "./router.js";
import { Searched } from "./searched.js";
import { Details, Foot, Table } from "./table.js";
import { TokenFields, tokenOf } from "./token_fields.js";
import { Mark, Moment } from "./words.js";

export class Tokens extends Searched {
  pager = new Pager("/token", (token) => token.uid.toUpperCase(), () => this.forceUpdate());
  state = { filters: { uidPrefix: "", contractId: "", groupId: "", valid: "", ...this.props.parameters }, open: null, doing: null };

  search = () => {
    clearTimeout(this.waiting);
    replaceParameters(this.state.filters);
    this.pager.start(this.state.filters);
  };

  close = () => this.setState({ open: null, doing: null });

  save = async (fields) => {
    const token = tokenOf(fields);
    await call("POST", "/token", { body: token });
    return token;
  };

  saved = (token) => {
    this.props.tell(`Token ${token.uid} is stored.`);
    // the service may have written the contract id otherwise
    this.pager.put([{ ...token, lastUpdated: new Date().toISOString() }]);
    this.close();
  };

  remove = async () => {
    const { uid } = this.state.open;
    await call("DELETE", path`/token/${uid}`);
    return uid;
  };

  removed = (uid) => {
    this.props.tell(`Token ${uid} is removed.`);
    this.pager.drop(uid.toUpperCase());
    this.close();
  };

  columns = [
    { title: "Token", show: (token) => html`<button type="button" class="link code" onClick=${() => this.setState({ open: token })}>${token.uid}</button>` },
    { title: "Valid", show: ({ valid }) => html`<${Mark} of=${valid ? "valid" : "not valid"} kind=${valid ? "good" : "bad"} />` },
    { title: "Contract", show: ({ contractId }) => html`<span class="code">${contractId}</span>` },
    { title: "Type", spared: true, show: ({ type }) => type },
    { title: "Issuer", spared: true, show: ({ issuer }) => issuer },
    { title: "Group", spared: true, show: ({ groupId }) => groupId },
    { title: "Last change (UTC)", spared: true, show: ({ lastUpdated }) => html`<${Moment} at=${lastUpdated} />` },
  ];

  render({ may }, { filters, open, doing }) {
    const { pager, close } = this;
    return html`<form class="filters" role="search" onSubmit=${(event) => (event.preventDefault(), this.search())}>
        <label>Uid begins with <input type="search" name="uidPrefix" maxlength="36" autocomplete="off" spellcheck="false" value=${filters.uidPrefix} onInput=${this.typed} /></label>
        <label>Contract <input type="search" name="contractId" maxlength="36" autocomplete="off" spellcheck="false" value=${filters.contractId} onInput=${this.typed} /></label>
        <label>Group <input type="search" name="groupId" maxlength="36" autocomplete="off" spellcheck="false" value=${filters.groupId} onInput=${this.typed} /></label>
        <label>Valid <select name="valid" value=${filters.valid} onChange=${this.typed}>
          <option value="">any</option><option value="true">valid</option><option value="false">not valid</option>
        </select></label>
        <button type="submit">Search</button>
        ${may("setToken") && html`<button type="button" class="main" onClick=${() => this.setState({ doing: "add" })}>Add a token</button>`}
      </form>
      ${pager.found.size > 0 && html`<${Table} caption="Tokens" columns=${this.columns} records=${pager.records} idOf=${pager.idOf} />`}
      <${Foot} pager=${pager} thing="token" />
      ${open && !doing && this.shown(open)}
      ${doing === "add" && html`<${ActionDialog} title="Add a token" action="Store it" run=${this.save} done=${this.saved} close=${close}>
        <p class="hint">A token that has this uid already is replaced.</p>
        <${TokenFields} token=${{}} />
      <//>`}
      ${doing === "change" && html`<${ActionDialog} title="Change token ${open.uid}" action="Store it" run=${this.save} done=${this.saved} close=${close}>
        <${TokenFields} token=${open} />
      <//>`}
      ${doing === "remove" && html`<${ActionDialog} title="Remove token ${open.uid}" action="Remove it" danger run=${this.remove} done=${this.removed} close=${close}>
        <p>Nobody can charge with it any more. This cannot be undone.</p>
      <//>`}`;
  }

  shown(token) {
    const { may } = this.props;
    const { lastUpdated, ...others } = token;
    return html`<${Dialog} title="Token ${token.uid}" close=${this.close}>
      <${Details} of=${[...Object.entries(others).map(([name, value]) => [name, String(value)]), ["lastUpdated (UTC)", html`<${Moment} at=${lastUpdated} />`]]} />
      <p class="buttons">
        ${may("setToken") && html`<button type="button" onClick=${() => this.setState({ doing: "change" })}>Change</button>`}
        ${may("deleteToken") && html`<button type="button" class="danger" onClick=${() => this.setState({ doing: "remove" })}>Remove</button>`}
        <button type="button" onClick=${this.close}>Close</button>
      </p>
    <//>`;
  }
}
