/** Markup in JavaScript: `html` makes what Preact draws. */

import htm from "./vendor/htm/htm.module.js";
import { Component, createRef, h, render } from "./vendor/preact/preact.mjs";

export const html = htm.bind(h);
export { Component, createRef, render };
