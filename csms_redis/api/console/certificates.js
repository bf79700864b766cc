/** The client certificates: those that run out first, upload, remove. */

import { call, path } from "./api.js";
import { ActionDialog, Dialog } from "./dialog.js";
import { Component, createRef, html } from "./html.js";
import { Pager } from "./pager.js";
import { replaceParameters } from "./router.js";
import { Details, Table } from "./table.js";
import { Mark, Moment, several } from "./words.js";

const MOST = 1000; // certificates that are read
const DAY = 86_400_000; // milliseconds
const WITHIN = { 0: "have run out", 30: "run out within 30 days", 90: "run out within 90 days", 366: "run out within a year", "": "all" };

export class Certificates extends Component {
  pager = new Pager("/certificate", (certificate) => certificate.certificateHash, () => this.forceUpdate());
  state = { within: this.props.parameters.within ?? "90", open: null, doing: null };

  componentDidMount() {
    this.search();
  }

  componentWillUnmount() {
    this.pager.stop();
  }

  search = () => {
    const { within } = this.state;
    replaceParameters({ within });
    const end = within === "" ? "" : new Date(Date.now() + Number(within) * DAY).toISOString();
    this.pager.start({ expiresBefore: end }, MOST);
  };

  choose = (event) => this.setState({ within: event.target.value }, this.search);

  close = () => this.setState({ open: null, doing: null });

  uploaded = () => {
    this.props.tell("The certificate is stored.");
    this.close();
    this.search();
  };

  remove = () => call("DELETE", path`/certificate/${this.state.open.certificateHash}`);

  removed = () => {
    this.props.tell("The certificate is removed.");
    this.pager.drop(this.state.open.certificateHash);
    this.close();
  };

  columns = [
    { title: "Runs out (UTC)", show: ({ notAfter }) => html`<${Moment} at=${notAfter} /> <${Rest} notAfter=${notAfter} />` },
    { title: "Subject", show: (certificate) => html`<button type="button" class="link" onClick=${() => this.setState({ open: certificate })}>${certificate.subject ?? certificate.certificateHash}</button>` },
    { title: "Issuer", spared: true, show: ({ issuer }) => issuer },
    { title: "SHA-256", spared: true, show: ({ certificateHash }) => html`<span class="code">${certificateHash}</span>` },
  ];

  render({ may }, { within, open, doing }) {
    const { pager, close } = this;
    const byEnd = pager.records.sort((one, other) => (one.notAfter ?? "").localeCompare(other.notAfter ?? ""));
    return html`<form class="filters" onSubmit=${(event) => event.preventDefault()}>
        <label>Certificates that <select value=${within} onChange=${this.choose}>
          ${["0", "30", "90", "366", ""].map((days) => html`<option value=${days}>${WITHIN[days]}</option>`)}
        </select></label>
        ${may("uploadCertificate") && html`<button type="button" class="main" onClick=${() => this.setState({ doing: "upload" })}>Upload a certificate</button>`}
      </form>
      ${byEnd.length > 0 && html`<${Table} caption="Certificates, those that run out first" columns=${this.columns} records=${byEnd} idOf=${pager.idOf} />`}
      <div class="foot">
        ${pager.problem && html`<p class="problem" role="alert">${pager.problem}</p>`}
        <p role="status">${pager.loading ? `Reading… ${pager.found.size} found.` : `${several(byEnd.length, "certificate")}.${pager.isMore ? ` There are more: these are the first ${MOST} that were found. Choose a shorter time.` : ""}`}</p>
      </div>
      ${open && !doing && this.shown(open)}
      ${doing === "upload" && html`<${Upload} done=${this.uploaded} close=${close} />`}
      ${doing === "remove" && html`<${ActionDialog} title="Remove the certificate" action="Remove it" danger run=${this.remove} done=${this.removed} close=${close}>
        <p>${open.subject}</p>
        <p>A gateway that looks for it does not find it any more. This cannot be undone; it can be uploaded again.</p>
      <//>`}`;
  }

  shown(certificate) {
    return html`<${Dialog} title="Certificate" close=${this.close}>
      <${Details} of=${[
        ["Subject", certificate.subject],
        ["Issuer", certificate.issuer],
        ["Serial number", certificate.serialNumber && html`<span class="code">${certificate.serialNumber}</span>`],
        ["Valid from (UTC)", certificate.notBefore && html`<${Moment} at=${certificate.notBefore} />`],
        ["Runs out (UTC)", certificate.notAfter ? html`<${Moment} at=${certificate.notAfter} /> <${Rest} notAfter=${certificate.notAfter} />` : "cannot be read"],
        ["SHA-256", html`<span class="code">${certificate.certificateHash}</span>`],
        ["Last change (UTC)", html`<${Moment} at=${certificate.lastUpdated} />`],
      ]} />
      <p class="buttons">
        ${this.props.may("deleteCertificate") && html`<button type="button" class="danger" onClick=${() => this.setState({ doing: "remove" })}>Remove</button>`}
        <button type="button" onClick=${this.close}>Close</button>
      </p>
    <//>`;
  }
}

/** How long a certificate still holds, where that is not long. */
function Rest({ notAfter }) {
  const days = Math.floor((new Date(notAfter) - Date.now()) / DAY);
  if (days < 0) return html`<${Mark} of="has run out" kind="bad" />`;
  if (days <= 30) return html`<${Mark} of=${several(days, "day")} kind="warning" />`;
  return null;
}

/** Takes a certificate as a file or as text. */
class Upload extends Component {
  text = createRef();

  read = async (event) => {
    const [file] = event.target.files;
    if (file) this.text.current.value = await file.text();
  };

  run = ({ certificate }) => call("POST", "/certificate", { body: { certificate } });

  render({ done, close }) {
    return html`<${ActionDialog} title="Upload a certificate" action="Upload it" run=${this.run} done=${done} close=${close}>
      <p><label>A file (PEM) <input type="file" accept=".pem,.crt,.cer,.cert" onChange=${this.read} /></label></p>
      <p><label>or its text <textarea ref=${this.text} name="certificate" class="code" required rows="10" spellcheck="false" placeholder="-----BEGIN CERTIFICATE-----"></textarea></label></p>
      <p class="hint">The station's certificate comes first, then its chain. Never a private key.</p>
    <//>`;
  }
}
