/** How values are shown to people. */

import { html } from "./html.js";

export const PROFILES = {
  0: "plain text, password",
  1: "TLS, password",
  2: "TLS, certificate",
};

export const STATUSES = ["Accepted", "Pending", "Rejected"];

/** A date-time in UTC, to the second. */
export function Moment({ at }) {
  if (!at) return null;
  const date = new Date(at);
  const text = Number.isNaN(date.valueOf()) ? at : date.toISOString().replace("T", " ").slice(0, 19);
  return html`<time datetime=${at}>${text}</time>`;
}

/** A status as a coloured word. */
export function Mark({ of, kind }) {
  return of ? html`<span class=${`mark ${kind}`}>${of}</span>` : null;
}

/** What kind of mark a registrationStatus is. */
export function statusKind(status) {
  return { Accepted: "good", Rejected: "bad" }[status] ?? "plain";
}

/** A number for people: 1,234,567. */
export function count(number) {
  return number.toLocaleString("en");
}

/** `1 station`, `2 stations`. */
export function several(number, thing) {
  return `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
}
