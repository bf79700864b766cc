/** The console: who is here, what they may do, and the view that the address names. */

import { call } from "./api.js";
import { Audit } from "./audit.js";
import { Certificates } from "./certificates.js";
import { Component, createRef, html, render } from "./html.js";
import { History } from "./metrics.js";
import { Overview } from "./overview.js";
import { Refused } from "./refused.js";
import { route } from "./router.js";
import { Stations } from "./stations.js";
import { Tokens } from "./tokens.js";

/** The views: their titles, and the operation that a client needs to see them. */
const VIEWS = {
  overview: { title: "Overview", view: Overview },
  stations: { title: "Stations", view: Stations, needs: "listChargeStations" },
  tokens: { title: "Tokens", view: Tokens, needs: "listTokens" },
  certificates: { title: "Certificates", view: Certificates, needs: "listCertificates" },
  refused: { title: "Turned away", view: Refused, needs: "listRefusedStations" },
  audit: { title: "Audit", view: Audit, needs: "listWrites" },
};

class Console extends Component {
  history = new History();
  heading = createRef();
  state = { me: null, problem: null, told: "", route: route(), moves: 0 };

  async componentDidMount() {
    addEventListener("hashchange", this.moved);
    try {
      const me = await call("GET", "/client");
      if (me.roles.includes("metrics")) this.history.start();
      this.setState({ me });
    } catch (error) {
      this.setState({ problem: error.message });
    }
  }

  moved = () => this.setState({ route: route(), told: "", moves: this.state.moves + 1 }, () => this.heading.current?.focus());

  may = (operation) => this.state.me.operations.includes(operation);

  tell = (told) => this.setState({ told });

  render(_, { me, problem, told, route, moves }) {
    if (problem) return html`<main class="page"><h1>csms-redis</h1><p class="problem" role="alert">${problem}</p><p><button type="button" onClick=${() => location.reload()}>Try again</button></p></main>`;
    if (!me) return html`<main class="page"><p role="status">Loading…</p></main>`;
    const name = route.name in VIEWS ? route.name : "overview";
    const { title, view, needs } = VIEWS[name];
    document.title = `${title} · csms-redis`;
    const allowed = !needs || this.may(needs);
    return html`<header>
        <b class="product">csms-redis</b>
        <nav aria-label="Views">
          ${Object.entries(VIEWS)
            .filter(([, { needs }]) => !needs || this.may(needs))
            .map(([each, { title }]) => html`<a href="#/${each}" aria-current=${each === name ? "page" : undefined}>${title}</a>`)}
        </nav>
        <span class="who">${me.client ? html`<b>${me.client}</b> (${me.roles.join(", ")})` : "everyone may call"} · <a href="/docs">API</a></span>
      </header>
      <main>
        <h1 ref=${this.heading} tabindex="-1">${title}</h1>
        <div class="told" role="status">${told && html`<p>${told}</p>`}</div>
        ${allowed
          ? html`<${view} key=${moves} me=${me} may=${this.may} tell=${this.tell} history=${this.history} parameters=${route.parameters} />`
          : html`<p class="problem" role="alert">This needs the role operator, which this client has not.</p>`}
      </main>`;
  }
}

render(html`<${Console} />`, document.body);
