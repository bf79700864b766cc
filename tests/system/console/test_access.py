"""Who sees and may do what on the page, and that a page of another site can do nothing."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from redis import Redis
from selenium.webdriver import Chrome

from csms_redis.access.secret import hash_of
from tests.support.browser import complaints, needs_chromium, sent
from tests.support.console_page import ConsolePage
from tests.support.service import HOST, Service

API = "/api/v0"
ROLES = {
    "ada": ["operator", "metrics"],
    "olga": ["operator"],
    "gateway": ["gateway"],
    "prometheus": ["metrics"],
}
VIEWS = ["Overview", "Stations", "Tokens", "Certificates", "Turned away", "Audit"]

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has a client for each of some roles; a secret is the name, twice."""
    clients = {
        name: {"roles": roles, "secret_hashes": [hash_of(2 * name.encode()).hex()]}
        for name, roles in ROLES.items()
    }
    settings = {"CSMS_AUTH__CLIENTS": json.dumps(clients)}
    with Service(tmp_path_factory.mktemp("guarded"), settings) as running:
        yield running.ready()


@pytest.fixture
def signed_in(
    guarded: Service, browser: Chrome, request: pytest.FixtureRequest
) -> Iterator[ConsolePage]:
    """The console of a client, on plain HTTP; each has a host, for which the browser keeps it."""
    name = request.param
    with Redis(unix_socket_path=str(guarded.data_dir / "valkey.sock")) as redis:
        redis.hset("cs:there", mapping={"securityProfile": "2", "registrationStatus": '"Pending"'})
    at = f"{name}.test:{guarded.port}"
    browser.get(f"http://{name}:{2 * name}@{at}/console")
    page = ConsolePage(browser, f"http://{at}")
    page.open("overview", "Overview")
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    yield page
    browser.get("about:blank")


def views(page: ConsolePage) -> list[str]:
    shown: list[str] = page.run("return [...document.querySelectorAll('nav a')].map((a) => a.text)")
    return shown


@pytest.mark.parametrize("signed_in", ["ada"], indirect=True)
def test_an_operator_sees_all_and_changes_it(signed_in: ConsolePage, guarded: Service) -> None:
    """The line in the log, and the audit, name the person."""
    page = signed_in
    assert views(page) == VIEWS
    page.until(lambda: page.text(".cards"), "figures")
    page.press("Stations")
    page.press("there")
    page.press("Block")
    page.press("Block it")
    page.until(lambda: "Rejected" in page.dialog, "blocked")
    page.press("New password")
    page.press("Make it")
    assert page.field("Password").get_attribute("value")
    page.press("Copy")
    page.until(lambda: "copy it with Ctrl+C" in page.dialog, "plain HTTP has no clipboard")
    page.press("I have it")
    page.press("Close")
    page.press("Audit")
    rows = page.until(lambda: page.rows("The last writes"), "lines")
    done = ["setChargeStationPassword", "setRegistrationStatus"]
    assert [row[1:3] for row in rows[:2]] == [["ada", each] for each in done]
    lines = [line for line in guarded.log if line["event"] == "write"]
    assert [(line["client"], line["operation"]) for line in lines[-2:]] == [
        ("ada", each) for each in reversed(done)
    ]
    assert page.faults() == []


@pytest.mark.parametrize("signed_in", ["olga"], indirect=True)
def test_an_operator_without_the_role_metrics_sees_no_figures(signed_in: ConsolePage) -> None:
    """The page says why, and asks for none."""
    page = signed_in
    page.until(lambda: "need the role metrics" in page.text("main"), "it says why")
    assert page.text(".cards") == ""
    assert views(page) == VIEWS
    page.press("Stations")
    page.press("there")
    assert page.has("Remove")
    page.press("Close")
    assert f"{page.url}/metrics" not in sent(page.browser)
    assert page.faults() == []


@pytest.mark.parametrize("signed_in", ["gateway", "prometheus"], indirect=True)
def test_others_see_only_what_is_theirs(signed_in: ConsolePage) -> None:
    """Not by the address either."""
    page = signed_in
    has_figures = "prometheus" in page.url
    assert views(page) == ["Overview"]
    page.until(lambda: bool(page.text(".cards")) == has_figures, "figures")
    for view, title in (("stations", "Stations"), ("audit", "Audit")):
        page.open(view, title)
        assert "This needs the role operator" in page.text(".problem")
        assert not page.has("Register a station")
    assert page.faults() == []


def test_nobody_sees_anything_without_credentials(guarded: Service) -> None:
    """The page asks for them, so that the browser does; its files say nothing of the fleet."""
    for path in ("/console", f"{API}/client", f"{API}/audit", "/metrics"):
        assert guarded.request("GET", path).status == 401, path
    for path in ("/", "/console/main.js", "/console/vendor/preact/preact.mjs"):
        assert guarded.request("GET", path).status in {200, 404}, path


# Pages of other sites

ATTEMPTS = """
const [api, done] = arguments;
const attempt = (path, options) => fetch(api + path, { credentials: 'include', ...options })
  .then((answer) => `${answer.type} ${answer.status}`, () => 'no answer');
const body = JSON.stringify({ securityProfile: 2 });
const written = JSON.stringify({ registrationStatus: 'Rejected' });
const json = { 'Content-Type': 'application/json' };
const ours = { 'X-Requested-By': 'csms-redis console' };
const form = document.createElement('form');
form.action = api + '/cs/forged';
form.method = 'POST';
form.enctype = 'text/plain';
const field = document.createElement('input');
field.name = '{"securityProfile": 2, "a": "';
field.value = '"}';
form.append(field);
const frame = document.createElement('iframe');
frame.name = form.target = 'frame';
document.body.append(frame, form);
Promise.all([
  attempt('/cs/forged', { method: 'POST', mode: 'no-cors', body }),
  attempt('/cs/forged', { method: 'POST', mode: 'no-cors', body: new Blob([body]) }),
  attempt('/cs/forged', { method: 'POST', body, headers: json }),
  attempt('/cs/forged', { method: 'POST', body, headers: ours }),
  attempt('/cs/there', { method: 'DELETE' }),
  attempt('/cs/there', { method: 'DELETE', headers: ours }),
  attempt('/cs/there/registrationStatus', { method: 'PUT', body: written, headers: ours }),
  attempt('/cs', {}),
  attempt('/audit', { headers: ours }),
  attempt('/client', {}),
]).then((said) => {
  navigator.sendBeacon(api + '/cs/forged', new Blob([body]));
  frame.addEventListener('load', () => done(said));
  form.submit();
});
"""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """Another site's server, with an empty page; gives its port."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<!doctype html><title>another site</title>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    with ThreadingHTTPServer((HOST, 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("attacker", "attacked"),
    [
        (HOST, HOST),  # another port: another origin of the same site
        ("localhost", HOST),  # another site
        ("evil.test", "registry.test"),  # plain HTTP: the browser says nothing but Origin
    ],
)
def test_a_page_of_another_site_does_nothing(
    page: ConsolePage, service: Service, elsewhere: int, attacker: str, attacked: str
) -> None:
    """It neither writes nor reads; what arrives is refused, and told in the audit."""
    assert service.request("POST", f"{API}/cs/there", {"securityProfile": 1}).status == 201
    before = service.request("GET", f"{API}/cs/there").json
    told = len([line for line in service.log if line["event"] == "write"])
    page.browser.get(f"http://{attacker}:{elsewhere}/")
    page.browser.set_script_timeout(20)
    said = page.browser.execute_async_script(ATTEMPTS, f"http://{attacked}:{service.port}{API}")

    assert said == ["opaque 0", "opaque 0", *["no answer"] * 8]
    assert service.request("GET", f"{API}/cs/there").json == before
    assert service.request("GET", f"{API}/cs/forged").status == 404

    def lines() -> list[tuple[Any, ...]]:
        written = [line for line in service.log if line["event"] == "write"][told:]
        return [(line["method"], line["status"]) for line in written if line["method"] == "POST"]

    page.until(lambda: len(lines()) == 4, "what came is told")
    assert lines() == [("POST", 403)] * 4
    page.browser.get_log("browser")  # type: ignore[no-untyped-call]


def test_the_page_is_in_no_frame(page: ConsolePage, service: Service, elsewhere: int) -> None:
    page.browser.get(f"http://localhost:{elsewhere}/")
    page.browser.execute_async_script(
        """const frame = document.createElement('iframe');
        frame.addEventListener('load', arguments[1]);
        frame.src = arguments[0];
        document.body.append(frame);""",
        f"{service.url}/console",
    )
    told = " ".join(entry["message"] for entry in complaints(page.browser))
    assert "frame-ancestors" in told
