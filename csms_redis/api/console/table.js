/** Tables of records. */

import { html } from "./html.js";

/**
 * Properties: `caption`; `columns`, each `{title, show(record), spared}`, where a narrow page leaves
 * out what is spared; `stacked`, whether a narrow page has no columns at all; `records`;
 * `idOf(record)`; and `selection`, a `{chosen: Set, toggle(ids, on)}` where rows can be chosen.
 */
export function Table({ caption, columns, records, idOf, selection, stacked }) {
  const ids = records.map(idOf);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
    <table class=${stacked ? "stacked" : ""}>
      <caption class="hidden">${caption}</caption>
      <thead>
        <tr>
          ${selection && html`<th class="choice"><${ChooseAll} ids=${ids} ...${selection} /></th>`}
          ${columns.map(({ title, spared }) => html`<th scope="col" class=${spared ? "spared" : ""}>${title}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${records.map(
          (record, index) => html`<tr key=${ids[index]}>
            ${selection && html`<td class="choice"><${Choose} id=${ids[index]} ...${selection} /></td>`}
            ${columns.map(({ show, spared }) => html`<td class=${spared ? "spared" : ""}>${show(record)}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Choose({ id, chosen, toggle }) {
  const change = (event) => toggle([id], event.target.checked);
  return html`<input type="checkbox" aria-label="Choose ${id}" checked=${chosen.has(id)} onChange=${change} />`;
}

function ChooseAll({ ids, chosen, toggle }) {
  const all = ids.length > 0 && ids.every((id) => chosen.has(id));
  const change = (event) => toggle(ids, event.target.checked);
  return html`<input type="checkbox" aria-label="Choose all that are shown" checked=${all} indeterminate=${!all && chosen.size > 0} onChange=${change} />`;
}

/** Below a listing: what is under way, and the button for more. */
export function Foot({ pager, thing }) {
  const { found, isMore, isOld, loading, problem } = pager;
  const number = found.size;
  let said = `${number} ${thing}${number === 1 ? "" : "s"}${isMore ? " shown, and there may be more" : ""}.`;
  if (loading) said = number && !isOld ? `Reading on… ${number} found.` : "Searching…";
  else if (!number && !isMore) said = `There is no such ${thing}.`;
  return html`<div class="foot">
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <p role="status">${said}</p>
    ${isMore && !loading && html`<button type="button" onClick=${() => pager.more()}>Show more</button>`}
  </div>`;
}

/** Names and values of one record. */
export function Details({ of }) {
  return html`<dl>${of.filter(([, value]) => value != null && value !== "").map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}
