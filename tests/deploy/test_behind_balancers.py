"""Three replicas behind the balancers that `deploy/` configures, replaced and killed under load."""

import asyncio
import http.server
import json
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from tests.conftest import Valkey, short_directory, wait_for
from tests.support.balancers import (
    CADDY,
    ENVOY,
    HAPROXY,
    NGINX,
    Balancer,
    environment,
    running,
)
from tests.support.load import Load
from tests.support.measure import say
from tests.support.service import Reply, Service, free_port, request

BALANCERS = pytest.mark.parametrize(
    "balancer",
    [
        pytest.param(NGINX, id="nginx"),
        pytest.param(HAPROXY, id="haproxy"),
        pytest.param(ENVOY, id="envoy", marks=pytest.mark.slow),
        pytest.param(CADDY, id="caddy", marks=pytest.mark.slow),
    ],
)
HUNG = 6.0  # seconds; more than a client waits
CALM = 1.5  # seconds before and after: HAProxy's checks come twice a second
DRAIN = {
    # nginx asks no replica how it is: it only sees what becomes of requests
    "nginx": "0",
    "haproxy": "1",
    "envoy": "1",
    "caddy": "1",
}


@BALANCERS
def test_configuration_is_right(balancer: Balancer) -> None:
    """The program itself reads it, and has nothing to say."""
    with short_directory() as home:
        configuration = balancer.render(home, free_port(), [free_port() for _ in range(3)])
        done = subprocess.run(
            balancer.command(home, configuration, check=True),
            capture_output=True,
            timeout=20,
            check=False,
            env=environment(home),
        )
    said = (done.stdout + done.stderr).decode().lower()

    assert done.returncode == 0, said
    assert "warn" not in said
    assert "emerg" not in said


class Replicas:
    """Three services over one Redis, each with a port that it has again after a restart."""

    def __init__(self, stack: ExitStack, valkey: Valkey, drain_delay: str) -> None:
        settings = {"CSMS_REDIS__URL": valkey.url, "CSMS_SERVER__DRAIN_DELAY": drain_delay}
        self._services = [
            stack.enter_context(
                Service(stack.enter_context(short_directory()), settings, port=free_port())
            )
            for _ in range(3)
        ]
        for service in self._services:
            service.ready()

    @property
    def ports(self) -> list[int]:
        """Where they listen."""
        return [service.port for service in self._services]

    def replace(self, number: int) -> int:
        """End one with SIGTERM, start another until it is ready; gives the exit code."""
        code = self._services[number].stop()
        self.revive(number)
        return code

    def kill(self, number: int) -> None:
        """End one with SIGKILL."""
        self._services[number].kill()

    def revive(self, number: int) -> None:
        """Start one that has ended, until it is ready, as a rollout does."""
        self._services[number].start().ready()

    @contextmanager
    def hung(self, number: int) -> Iterator[None]:
        """One that accepts connections and answers nothing, until the block's end."""
        process = self._services[number].process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)


@pytest.fixture
def replicas(balancer: Balancer, valkey: Valkey) -> Iterator[Replicas]:
    balancer.need()
    with ExitStack() as stack:
        yield Replicas(stack, valkey, DRAIN[balancer.name])


@pytest.fixture
def load(balancer: Balancer, replicas: Replicas) -> Iterator[Load]:
    with short_directory() as home, running(balancer, home, replicas.ports) as port:
        yield Load(port)


@BALANCERS
async def test_no_request_fails_while_all_are_replaced(
    balancer: Balancer, replicas: Replicas, load: Load
) -> None:
    codes = []
    await load.seed()
    async with load.running():
        await asyncio.sleep(CALM)
        for number in range(3):
            codes.append(await asyncio.to_thread(replicas.replace, number))
            await asyncio.sleep(CALM)

    say(f"replaced behind {balancer.name}: {load}")
    assert load.failed == []
    assert codes == [0, 0, 0]
    assert await load.check() == []


@BALANCERS
async def test_no_lookup_fails_when_one_is_killed(
    balancer: Balancer, replicas: Replicas, load: Load
) -> None:
    await load.seed()
    async with load.running():
        for number in range(3):
            await asyncio.sleep(CALM)
            await asyncio.to_thread(replicas.kill, number)
            await asyncio.sleep(CALM)
            await asyncio.to_thread(replicas.revive, number)
        await asyncio.sleep(CALM)

    say(f"killed behind {balancer.name}: {load}")
    assert load.failed == []
    assert await load.check() == []


@BALANCERS
async def test_no_lookup_fails_while_one_hangs(
    balancer: Balancer, replicas: Replicas, load: Load
) -> None:
    """It accepts connections, so that only a time-out tells; writes have a longer one."""
    await load.seed()
    async with load.running(writes=False):
        await asyncio.sleep(CALM)
        with replicas.hung(1):
            await asyncio.sleep(HUNG)
        await asyncio.sleep(CALM)

    say(f"hung behind {balancer.name}: {load}")
    assert load.failed == []
    assert await load.check() == []


@BALANCERS
def test_an_import_goes_through(balancer: Balancer, replicas: Replicas, load: Load) -> None:
    """As the commands send it: in portions of which each is as long as any body may be."""
    del balancer
    rows = [b'{"csId":"b%d","securityProfile":2}\n' % number for number in range(7000)]
    body = b"".join(rows)
    assert 2**18 * 0.9 < len(body) < 2**18
    for port in (load.port, *replicas.ports):
        reply = request(port, "POST", "/api/v0/bulk/stations", body)
        last = json.loads(reply.body.splitlines()[-1])
        assert last["counts"]["written"] == len(rows)


class Upstream(http.server.ThreadingHTTPServer):
    """Is ready, and answers all else 503."""

    daemon_threads = True

    def __init__(self, asked: Counter[str], callers: set[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = asked  # by method and target
        self.callers = callers  # as X-Forwarded-For names them


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Upstream
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/health/ready":
            status = 200
        else:
            status = 503
            self.server.asked[f"{self.command} {self.path}"] += 1
            self.server.callers.add(",".join(self.headers.get_all("X-Forwarded-For", [])))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def asked() -> Counter[str]:
    """What the upstreams of `away` were asked."""
    return Counter()


@pytest.fixture
def callers() -> set[str]:
    """Where the requests come from that the upstreams of `away` got."""
    return set()


@pytest.fixture
def away(balancer: Balancer, asked: Counter[str], callers: set[str]) -> Iterator[int]:
    """A balancer's port; its upstreams answer 503."""
    balancer.need()
    with ExitStack() as stack:
        upstreams = [stack.enter_context(Upstream(asked, callers)) for _ in range(3)]
        for upstream in upstreams:
            thread = threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            stack.callback(thread.join)
            stack.callback(upstream.shutdown)
        home = stack.enter_context(short_directory())
        ports = [upstream.server_port for upstream in upstreams]
        yield stack.enter_context(running(balancer, home, ports))


@BALANCERS
def test_what_fails_goes_to_another_replica_unless_it_deletes(
    away: int, asked: Counter[str]
) -> None:
    """And each target arrives as it was sent."""
    repeated = [
        "GET /api/v0/cs/DE%2FABC%7B%20~/auth",
        "GET /api/v0/token/DEAD%2fBEEF",
        "GET /api/v0/certificate/TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP%2BAk%3D",
        "GET /api/v0/cs?limit=2&registrationStatus=Pending",
        "POST /api/v0/cs//auth",
        "PUT /api/v0/cs/a%2Fb/registrationStatus",
    ]
    deleted = ["DELETE /api/v0/token/DEAD%2fBEEF", "DELETE /api/v0/cs/a%2Fb"]
    for each in [*repeated, *deleted]:
        method, target = each.split()
        assert request(away, method, target).status == 503

    assert asked.keys() == {*repeated, *deleted}
    assert all(asked[each] >= 3 for each in repeated)
    assert [asked[each] for each in deleted] == [1, 1]


@BALANCERS
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_that_comes_after_its_head_is_repeated_too(
    away: int, asked: Counter[str], method: str
) -> None:
    """Many clients send the two apart."""
    path = "/api/v0/cs/a/registrationStatus"
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
    with socket.create_connection(("127.0.0.1", away), 20) as client:
        client.sendall(head.encode())
        time.sleep(0.1)
        client.sendall(b"{}")
        assert b" 503 " in client.makefile("rb").readline()

    assert asked[f"{method} {path}"] >= 3


@BALANCERS
def test_who_calls_cannot_name_the_last_address_of_x_forwarded_for(
    away: int, callers: set[str]
) -> None:
    """That is the balancer's word, which `server.trusted_proxies` believes.

    In the place of a loopback address Envoy writes its machine's.
    """
    named = "198.51.100.7"
    head = f"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: {named}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", away), 20) as client:
        client.sendall(head.encode())
        assert b" 503 " in client.makefile("rb").readline()

    last = {ip_address(each.rpartition(",")[2].strip()) for each in callers}
    assert len(last) == 1
    assert last != {ip_address(named)}


@BALANCERS
def test_what_balancers_say_themselves_is_a_status(balancer: Balancer) -> None:
    def said(reply: Reply) -> str:
        assert reply.json.keys() == {"status", "error"}
        return str(reply.json["status"])

    with short_directory() as home, running(balancer, home, [free_port()] * 3) as port:
        if balancer is not NGINX:  # the others know of the replicas what their checks have told
            wait_for(lambda: request(port, "GET", "/api/v0/cs/a/auth").status == 503, "all down")
            gone = (503, "Service Unavailable")
        else:
            gone = (502, "Bad Gateway")
        for method in ("GET", "POST", "DELETE"):
            reply = request(port, method, "/api/v0/token/a")
            assert (reply.status, said(reply)) == gone
        if balancer is NGINX:
            reply = request(port, "POST", "/api/v0/token", "x" * 2**18)
            assert (reply.status, said(reply)) == (413, "Request Entity Too Large")
            reply = request(port, "GET", "/api/v0/token/" + "x" * 2**16)
            assert (reply.status, said(reply)) == (414, "Request-URI Too Large")
