/** The stations: find, show, choose. */

import { call, path } from "./api.js";
import { html } from "./html.js";
import { Pager } from "./pager.js";
import { replaceParameters } from "./router.js";
import { Searched } from "./searched.js";
import { ForMany } from "./station_many.js";
import { Register, ShowStation } from "./station_one.js";
import { Foot, Table } from "./table.js";
import { Mark, Moment, PROFILES, STATUSES, statusKind } from "./words.js";

export class Stations extends Searched {
  pager = new Pager("/cs", (station) => station.csId, () => this.forceUpdate());
  state = { filters: { csIdPrefix: "", registrationStatus: "", securityProfile: "", ...this.props.parameters }, chosen: new Set(), open: null };

  search = () => {
    clearTimeout(this.waiting);
    const { filters } = this.state;
    replaceParameters(filters);
    this.setState({ chosen: new Set() });
    this.pager.start(filters);
    this.findExactly(filters);
  };

  /** A station that has just this id is shown at once: a listing may take longer to come to it. */
  async findExactly(filters) {
    const csId = filters.csIdPrefix;
    if (!csId || !this.props.may("getChargeStation")) return;
    let station;
    try {
      station = await call("GET", path`/cs/${csId}`);
    } catch {
      return; // the listing says what is wrong
    }
    const fits =
      (!filters.registrationStatus || station.registrationStatus === filters.registrationStatus) &&
      (filters.securityProfile === "" || String(station.auth.securityProfile) === filters.securityProfile);
    if (fits && filters === this.state.filters) this.pager.put([station]);
  }

  toggle = (ids, on) => {
    const chosen = new Set(this.state.chosen);
    for (const id of ids) on ? chosen.add(id) : chosen.delete(id);
    this.setState({ chosen });
  };

  close = () => this.setState({ open: null });

  /** Show a station as it is now, or leave it out when it is gone. */
  refresh = async (csId) => {
    try {
      this.pager.put([await call("GET", path`/cs/${csId}`)]);
    } catch (error) {
      if (error.status === 404) this.pager.drop(csId);
    }
  };

  columns = [
    { title: "Station", show: ({ csId }) => html`<button type="button" class="link code" onClick=${() => this.setState({ open: { csId } })}>${csId}</button>` },
    { title: "Status", show: (station) => html`<${Mark} of=${station.registrationStatus} kind=${statusKind(station.registrationStatus)} />` },
    { title: "Security profile", spared: true, show: ({ auth }) => `${auth.securityProfile}: ${PROFILES[auth.securityProfile]}` },
    { title: "Last change (UTC)", spared: true, show: ({ lastUpdated }) => html`<${Moment} at=${lastUpdated} />` },
  ];

  render({ may, tell }, { filters, chosen, open }) {
    const { pager, close, refresh } = this;
    const mayChoose = may("setRegistrationStatus") || may("deleteChargeStation");
    return html`<form class="filters" role="search" onSubmit=${(event) => (event.preventDefault(), this.search())}>
        <label>Begins with <input type="search" name="csIdPrefix" maxlength="48" autocomplete="off" spellcheck="false" value=${filters.csIdPrefix} onInput=${this.typed} /></label>
        <label>Status <select name="registrationStatus" value=${filters.registrationStatus} onChange=${this.typed}>
          <option value="">any</option>
          ${STATUSES.map((status) => html`<option value=${status}>${status}</option>`)}
        </select></label>
        <label>Security profile <select name="securityProfile" value=${filters.securityProfile} onChange=${this.typed}>
          <option value="">any</option>
          ${Object.entries(PROFILES).map(([number, said]) => html`<option value=${number}>${number}: ${said}</option>`)}
        </select></label>
        <button type="submit">Search</button>
        ${may("registerChargeStation") && html`<button type="button" class="main" onClick=${() => this.setState({ open: { register: filters.csIdPrefix } })}>Register a station</button>`}
      </form>
      ${chosen.size > 0 && html`<${ForMany} chosen=${chosen} may=${may} tell=${tell} clear=${() => this.setState({ chosen: new Set() })} refresh=${refresh} />`}
      ${pager.found.size > 0 && html`<${Table} caption="Stations" columns=${this.columns} records=${pager.records} idOf=${pager.idOf} selection=${mayChoose && { chosen, toggle: this.toggle }} />`}
      <${Foot} pager=${pager} thing="station" />
      ${open?.csId && html`<${ShowStation} csId=${open.csId} may=${may} tell=${tell} close=${close} refresh=${refresh} />`}
      ${open && "register" in open && html`<${Register} csId=${open.register} tell=${tell} close=${close} refresh=${refresh} />`}`;
  }
}
