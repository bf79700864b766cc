/** A view of records that are searched while somebody types; it has a pager, filters and `search`. */

import { Component } from "./html.js";

const PAUSE = 150; // milliseconds after the last key before it is searched

export class Searched extends Component {
  componentDidMount() {
    this.search();
  }

  componentWillUnmount() {
    clearTimeout(this.waiting);
    this.pager.stop();
  }

  typed = (event) => {
    const { name, value, tagName } = event.target;
    clearTimeout(this.waiting);
    this.setState({ filters: { ...this.state.filters, [name]: value } });
    this.waiting = setTimeout(this.search, tagName === "INPUT" ? PAUSE : 0);
  };
}
