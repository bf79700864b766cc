/** The fields of a token, as the contract has them. */

import { html } from "./html.js";

const TYPES = ["RFID", "APP_USER", "AD_HOC_USER", "OTHER"];
const CACHE_MODES = ["ALWAYS", "ALLOWED", "ALLOWED_OFFLINE", "NEVER"];

/** The fields with what a token has; of a token that is there the uid stays. */
export function TokenFields({ token }) {
  const there = token.uid !== undefined;
  return html`<div class="fields">
    <${Text} name="uid" title="Uid" value=${token.uid} most="36" readonly=${there} code />
    <${Choice} name="type" title="Type" value=${token.type} of=${TYPES} />
    <${Text} name="contractId" title="Contract id (eMAID)" value=${token.contractId} most="36" code />
    <${Text} name="issuer" title="Issuer" value=${token.issuer} most="64" />
    <${Text} name="countryCode" title="Country code" value=${token.countryCode} most="2" pattern="[A-Za-z]{2}" />
    <${Text} name="partyId" title="Party id" value=${token.partyId} most="3" pattern="[A-Za-z0-9]{3}" />
    <${Choice} name="cacheMode" title="Cache mode" value=${token.cacheMode} of=${CACHE_MODES} />
    <${Text} name="visualNumber" title="Number on the card" value=${token.visualNumber} most="64" spared />
    <${Text} name="groupId" title="Group id" value=${token.groupId} most="36" spared />
    <${Text} name="languageCode" title="Language" value=${token.languageCode} most="2" pattern="[A-Za-z]{2}" spared />
    <label class="choice"><input type="checkbox" name="valid" defaultChecked=${token.valid ?? true} /> Valid</label>
  </div>`;
}

/** The token that fields say. */
export function tokenOf({ valid, ...texts }) {
  const given = Object.entries(texts).filter(([, value]) => value !== "");
  return { ...Object.fromEntries(given), valid: valid !== undefined };
}

function Text({ name, title, value, most, pattern, readonly, code, spared }) {
  return html`<label>${title}${spared ? " (optional)" : ""} <input name=${name} class=${code ? "code" : ""} required=${!spared} maxlength=${most} pattern=${pattern} readonly=${readonly} autocomplete="off" spellcheck="false" defaultValue=${value ?? ""} /></label>`;
}

function Choice({ name, title, value, of }) {
  return html`<label>${title} <select name=${name}>${of.map((each) => html`<option value=${each} selected=${each === value}>${each}</option>`)}</select></label>`;
}
