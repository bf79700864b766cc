"""What real balancers do with ids and with repeats: writes the tables of `deploy/balancers.md`.

`python -m tests.deploy.balancer_table` needs all six programs, and says which are missing.
"""

import base64
import contextlib
import datetime as dt
import http.client
import http.server
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from urllib.parse import quote

from tests.conftest import API, Service, password_hash, running_service, short_directory, wait_for
from tests.support import made
from tests.support.balancer_settings import SETTINGS, Setting
from tests.support.balancers import DEPLOY, running
from tests.support.service import free_port, request

PAGE = DEPLOY / "balancers.md"
BEGIN = "<!-- made by python -m tests.deploy.balancer_table -->\n"
END = "<!-- end of what is made -->\n"
FOUND = "✓"
METHODS = ("GET", "POST", "PUT", "DELETE")
PATIENCE = 20.0  # seconds


class Sent(NamedTuple):
    """A row: what the id has, the id, and how a client writes it into the path."""

    has: str
    cs_id: str
    path: str


STATIONS = [
    Sent("`/` as `%2F`", "a/b", "a%2Fb"),
    Sent("`/` as `%2f`", "a/b", "a%2fb"),
    Sent("`/` first", "/a", "%2Fa"),
    Sent("`//`", "a//b", "a%2F%2Fb"),
    Sent("`..`", "..", "%2E%2E"),
    Sent("`/../`", "a/../b", "a%2F..%2Fb"),
    Sent("`%`", "100%", "100%25"),
    Sent("`%2F` itself", "a%2Fb", "a%252Fb"),
    Sent("`?`", "a?b", "a%3Fb"),
    Sent("`#`", "a#b", "a%23b"),
    Sent("`+`", "a+b", "a+b"),
    Sent("`+` as `%2B`", "a+b", "a%2Bb"),
    Sent("`&`", "a&b", "a&b"),
    Sent("`&` as `%26`", "a&b", "a%26b"),
    Sent("`;`", "a;b", "a;b"),
    Sent("`;` as `%3B`", "a;b", "a%3Bb"),
    Sent("`=`", "a=b", "a=b"),
    Sent("`=` as `%3D`", "a=b", "a%3Db"),
    Sent("`:`", "a:b", "a:b"),
    Sent("`:` as `%3A`", "a:b", "a%3Ab"),
    Sent("`@`", "a@b", "a@b"),
    Sent("`@` as `%40`", "a@b", "a%40b"),
    Sent("a space", "a b", "a%20b"),
    Sent('`"`', 'a"b', "a%22b"),
    Sent("`\\`", "a\\b", "a%5Cb"),
    Sent("`{}`", "a{b}", "a%7Bb%7D"),
    Sent("`A` as `%41`", "aAb", "a%41b"),
    Sent("UTF-8", "aé充b", quote("aé充b")),
]


def spellings(digest: bytes) -> dict[str, str]:
    """How clients write a certificate's hash into the path."""
    plain, url = base64.b64encode(digest).decode(), base64.urlsafe_b64encode(digest).decode()
    escaped = quote(plain, safe="")
    lower = re.sub("%..", lambda found: found[0].lower(), escaped)
    return {
        "base64url": url,
        "base64url, `=` as `%3D`": url.replace("=", "%3D"),
        "base64url, unpadded": url.rstrip("="),
        "base64, escaped: `%2F`, `%2B`, `%3D`": escaped,
        "base64, escaped: `%2f`, `%2b`, `%3d`": lower,
        "base64, only `/` escaped": plain.replace("/", "%2F"),
        "hex": digest.hex(),
        "hex, upper case": digest.hex().upper(),
    }


def spellings_of_two_slashes(digest: bytes) -> dict[str, str]:
    """As `spellings`, of a hash that has `//` in base64."""
    return {"base64 with `//`, escaped": quote(base64.b64encode(digest), safe="")}


class Asked(NamedTuple):
    """A lookup, and the body that it must find."""

    has: str
    path: str
    body: bytes


def register(service: Service) -> list[Asked]:
    """Store a record for each row, and find it without a balancer.

    Raises:
        AssertionError: the service itself does not find one.
    """
    for number, station in enumerate(STATIONS):
        record = {"securityProfile": 1, "base64SHA256Password": password_hash(f"{number}")}
        same = [each.cs_id for each in STATIONS[:number]]
        if station.cs_id not in same:
            reply = service.post(f"/cs/{quote(station.cs_id, safe='').replace('.', '%2E')}", record)
            assert reply.status == 201, (station, reply)
    paths = [(f"id with {one.has}", f"{API}/cs/{one.path}/auth") for one in STATIONS]
    for digest, ways in (
        (_stored(service, r"^[^/]+\+[^/]*/[^/]+$"), spellings),
        (_stored(service, r"^[^/]+//[^/]+$"), spellings_of_two_slashes),
    ):
        paths += [
            (f"hash as {how}", f"{API}/certificate/{path}") for how, path in ways(digest).items()
        ]
    asked = []
    for has, path in paths:
        reply = service.request("GET", path)
        assert reply.status == 200, (has, path, reply)
        asked.append(Asked(has, path, reply.body))
    bodies = Counter(one.body for one in asked[: len(STATIONS)])
    assert len(bodies) == len({one.cs_id for one in STATIONS})
    return asked


def _stored(service: Service, form: str) -> bytes:
    """Register a certificate whose hash has this form in base64; gives the hash."""
    while True:
        for hexadecimal, pem in made.certificates(50).items():
            digest = bytes.fromhex(hexadecimal)
            if re.search(form, base64.b64encode(digest).decode()):
                assert service.post("/certificate", {"certificate": pem}).status == 201
                return digest


def found(setting: Setting, port: int, asked: Sequence[Asked]) -> list[str]:
    """What becomes of each lookup behind a balancer: found, or the status that is answered."""
    cells = []
    for one in asked:
        reply = request(port, "GET", setting.prefix + one.path, timeout=PATIENCE)
        same = (reply.status, reply.body) == (200, one.body)
        cells.append(FOUND if same else "another" if reply.status == 200 else str(reply.status))
    return cells


class Replica(http.server.ThreadingHTTPServer):
    """Ends the connection instead of answering what it has not been asked before.

    Attributes:
        keeps: whether connections stay open after an answer.
        versions: of HTTP, of each request but health checks.
        connections: how many such requests came on each connection.
    """

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A balancer ends its connections as it likes."""

    def __init__(self, asked: Counter[str]) -> None:
        """Listen; `asked` counts what all replicas were asked."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = asked
        self.keeps = True
        self.versions: set[str] = set()
        self.connections: Counter[object] = Counter()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Replica
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if "/health/" not in self.path:
            self.server.versions.add(self.request_version)
            self.server.connections[self.client_address] += 1
        if "/broken/" in self.path:
            self.server.asked[f"{self.command} {self.path}"] += 1
            if self.server.asked[f"{self.command} {self.path}"] == 1:
                self.close_connection = True
                return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Cache-Control", "no-store")
        if not self.server.keeps:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def replicas(asked: Counter[str], count: int = 3) -> Iterator[list[Replica]]:
    """Several, which end with the block."""
    with ExitStack() as stack:
        made_ones = [stack.enter_context(Replica(asked)) for _ in range(count)]
        for one in made_ones:
            thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            stack.callback(thread.join)
            stack.callback(one.shutdown)
        yield made_ones


class Repeats(NamedTuple):
    """What a balancer does when a replica breaks off: a cell for each kind of connection."""

    speaks: str
    refused: str
    first: str
    new: str
    used: str


def repeats(setting: Setting) -> Repeats:
    """Ask a balancer before replicas that break off."""
    asked: Counter[str] = Counter()
    versions: set[str] = set()
    reused = False
    first: dict[str, str] = {}
    new: dict[str, str] = {}
    used: dict[str, str] = {}
    kinds = (("first", False, first), ("new", False, new), ("used", True, used))
    for kind, kept, cells in kinds:
        for method in METHODS:  # each before a new balancer, which holds nothing against a replica
            with replicas(asked) as three, short_directory() as home:
                for one in three:
                    one.keeps = kept
                ports = [one.server_port for one in three]
                with running(setting.balancer, home, ports) as port:
                    _settle(port, f"{setting.prefix}/warm")
                    cells[method] = _breaks(setting, port, method, f"/broken/{kind}", asked)
                versions |= {name for one in three for name in one.versions}
                reused |= any(count > 1 for one in three for count in one.connections.values())
    with replicas(asked, 2) as two, short_directory() as home:
        ports = [free_port(), *(one.server_port for one in two)]
        with running(setting.balancer, home, ports) as port:
            refused = {method: _refuses(setting, port, method) for method in METHODS}
    how = "connections kept" if reused else "a connection for each request"
    return Repeats(
        f"{'/'.join(sorted(versions))}, {how}",
        *map(_together, (refused, first, new, used)),
    )


def _settle(port: int, path: str) -> None:
    """Wait until a balancer knows that its replicas are well."""
    wait_for(lambda: request(port, "GET", path, timeout=PATIENCE).status == 200, "it answers")


def _breaks(setting: Setting, port: int, method: str, path: str, asked: Counter[str]) -> str:
    """What a client gets whose connection was used before, as a pool has it, or was not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        for _ in range(
            0 if path.endswith("first") else 6
        ):  # a connection to each replica, where they are kept
            connection.request("GET", f"{setting.prefix}/warm")
            connection.getresponse().read()
        try:
            connection.request(method, setting.prefix + path, *_body(method))
            status = connection.getresponse().status
        except (http.client.HTTPException, ConnectionError):
            return "closed without an answer"
    if status != 200:
        return str(status)
    assert asked[f"{method} {path}"] == 2
    return "repeated"


def _body(method: str) -> tuple[bytes | None, dict[str, str]]:
    return (b"{}" if method in {"POST", "PUT"} else None), {"Content-Type": "application/json"}


def _refuses(setting: Setting, port: int, method: str) -> str:
    """What becomes of requests while one of three replicas is not there; the first are asked."""
    statuses: Counter[int] = Counter()
    for _ in range(9):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, f"{setting.prefix}/warm", *_body(method))
            statuses[connection.getresponse().status] += 1
    failed = [str(status) for status in sorted(statuses) if status != 200]
    return f"{'/'.join(failed)} at times" if failed else "answered"


def _together(by_method: dict[str, str]) -> str:
    """Methods with the same outcome in one."""
    outcomes: dict[str, list[str]] = {}
    for method, outcome in by_method.items():
        outcomes.setdefault(outcome, []).append(method)
    if len(outcomes) == 1:
        return f"all {next(iter(outcomes))}"
    return "; ".join(f"{', '.join(methods)} {outcome}" for outcome, methods in outcomes.items())


def missing() -> list[str]:
    """How to install what is not there."""
    return sorted({one.balancer.how_to_install for one in SETTINGS if not one.balancer.program})


def header() -> list[str]:
    """The columns of the table of ids."""
    return ["what is sent", *(one.column for one in SETTINGS)]


def row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |\n"


def rule(columns: int) -> str:
    """The line below a table's head."""
    return f"|{'---|' * columns}\n"


def settings_table() -> str:
    """The columns of the table of ids, and what each stands for."""
    versions = {one.balancer.name: one.version() for one in SETTINGS}
    text = row(["balancer", "version", "what is set"]) + rule(3)
    return text + "".join(
        row([one.column, versions[one.balancer.name], one.said]) for one in SETTINGS
    )


def ids_table() -> str:
    """Look every id up behind every balancer."""
    with running_service(api__any_station_id="true") as service:
        asked = register(service)
        columns = []
        for setting in SETTINGS:
            with (
                short_directory() as home,
                running(setting.balancer, home, [service.port] * 3) as port,
            ):
                _settle(port, f"{setting.prefix}/health/ready")
                columns.append(found(setting, port, asked))
    text = row(header()) + rule(len(header()))
    for one, *cells in zip(asked, *columns, strict=True):
        text += row([one.has, *cells])
    return text


def repeats_table() -> str:
    """Break requests off behind every balancer."""
    heads = ["", "speaks", "replica not there", "first request breaks", "later one breaks"]
    heads.append("used connection breaks")
    return (
        row(heads)
        + rule(len(heads))
        + "".join(row([setting.column, *repeats(setting)]) for setting in SETTINGS)
    )


def tables() -> str:
    """Run all, and write what came of it."""
    return (
        f"Tried on {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}.\n\n"
        f"{settings_table()}\n"
        "### Ids\n\n"
        f"`{FOUND}`: the lookup finds its record. A number: the status that is answered instead.\n"
        "`another`: it finds another record.\n\n"
        f"{ids_table()}\n"
        "### Repeats\n\n"
        "What becomes of requests while one of three replicas is not there, and of one that a\n"
        "replica has read and then closes its connection without an answer, once: a client's\n"
        "first request; a later one of its connection; and the same when the replica's\n"
        "connection was used before too. A number: the status that the client gets.\n\n"
        f"{repeats_table()}"
    )


def made_block(page: str) -> str:
    """The tables that the page has now."""
    return page.partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Write the tables anew."""
    if wanted := missing():
        raise SystemExit("Not installed: " + "; ".join(wanted))
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n" + tables() + "\n" + END + after, "utf-8")


if __name__ == "__main__":
    main()
