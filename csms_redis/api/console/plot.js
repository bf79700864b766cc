/** Small plots of the last five minutes. */

import { html } from "./html.js";

const WIDTH = 300;
const HEIGHT = 60;
const SPAN = 300_000; // milliseconds

/**
 * Properties: `title`; `lines`, each `{name, points: {at, value}[]}`; `said(value)`, a value as text;
 * `most`, the highest value there can be, where that is known.
 */
export function Plot({ title, lines, said, most }) {
  const points = lines.flatMap(({ points }) => points);
  const end = Math.max(...points.map(({ at }) => at), 0);
  const top = most ?? niceTop(Math.max(...points.map(({ value }) => value), 0));
  const place = ({ at, value }) => `${round(WIDTH * (1 - (end - at) / SPAN))},${round(HEIGHT * (1 - Math.min(1, value / top)))}`;
  const latest = lines.map(({ name, points }) => ({ name, said: points.length ? said(points.at(-1).value) : "–" }));
  const label = `${title}: ${latest.map(({ name, said }) => `${name} ${said}`).join(", ")}`;
  return html`<figure class="plot">
    <figcaption>${title}</figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>
      <line class="grid" x1="0" y1=${HEIGHT / 2} x2=${WIDTH} y2=${HEIGHT / 2} />
      ${lines.map(({ name, points }) => html`<polyline key=${name} class="line ${name}" points=${points.map(place).join(" ")} />`)}
    </svg>
    <div class="scale"><span>5 minutes ago</span><span>${points.length ? `top ${said(top)}` : "no value yet"}</span></div>
    <ul class="legend">${latest.map(({ name, said }) => html`<li class=${name}>${name} <b>${said}</b></li>`)}</ul>
  </figure>`;
}

function niceTop(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

function round(value) {
  return Math.round(value * 10) / 10;
}
