/** A view that is read again every few seconds for as long as somebody looks at it. */

import { Component } from "./html.js";

const EVERY = 5000; // milliseconds

export class Reread extends Component {
  componentDidMount() {
    this.read();
    this.timer = setInterval(() => document.hidden || this.read(), EVERY);
  }

  componentWillUnmount() {
    clearInterval(this.timer);
  }
}
