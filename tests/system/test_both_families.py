"""`server.host = "::"`: one port for IPv6 and IPv4, and the same names for who calls."""

import http.client
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from csms_redis.access.secret import hash_of, new_secret
from csms_redis.access.throttle import BURST
from tests.conftest import API, PATIENCE, RawConnection, Service, StartService, wait_for
from tests.support.activated import Activated
from tests.support.service import Service as OwnService

JSON = {"Content-Type": "application/json"}
STATION = '{"securityProfile":2}'
WRONG = "Authorization: Bearer wrong"
WITHOUT_IPV6 = Path(__file__).parents[1] / "support/without_ipv6.py"


def has_ipv6() -> bool:
    """Whether this machine can be called over IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="the machine has no IPv6")


def ask(
    host: str, port: int, method: str, path: str, body: str = "", **headers: str
) -> tuple[int, bytes]:
    """Send one request to an address."""
    with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, JSON | named)
        response = connection.getresponse()
        return response.status, response.read()


def remotes(service: Service, event: str) -> list[str]:
    """Where the log says that requests came from."""
    return [line["remote"] for line in service.events(event)]


@needs_ipv6
@pytest.mark.parametrize("host", ["::", "", "[::]", "0:0::0"])
def test_both_families_reach_one_port(start_service: StartService, host: str) -> None:
    """An empty host means the same, and so does the address in each way to write it."""
    service = start_service(server__host=host)
    urls = [line["url"] for line in service.events("listening")]
    assert urls == [f"http://[::]:{service.port}"]

    assert ask("127.0.0.1", service.port, "POST", f"{API}/cs/cs001", STATION)[0] == 201
    for address in ("127.0.0.1", "::1"):
        status, body = ask(address, service.port, "GET", f"{API}/cs/cs001/auth")
        assert (status, json.loads(body)) == (200, {"securityProfile": 2})
        assert ask(address, service.port, "GET", "/health/live")[0] == 200


@needs_ipv6
class TestWhere:
    """The log and the throttle know an IPv4 caller by the address that an operator would write."""

    @pytest.mark.parametrize("trusted", ["", '["192.0.2.0/24"]'])
    def test_audit_lines(self, start_service: StartService, trusted: str) -> None:
        settings = {"server__trusted_proxies": trusted} if trusted else {}
        service = start_service(server__host="::", **settings)
        for address in ("127.0.0.1", "::1"):
            assert ask(address, service.port, "POST", f"{API}/cs/x", STATION)[0] == 201
        assert remotes(service, "write") == ["127.0.0.1", "::1"]

    def test_what_is_no_http(self, start_service: StartService) -> None:
        service = start_service(server__host="::")
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, service.port), timeout=PATIENCE) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
                assert b"400 Bad Request" in connection.recv(1000)
        assert remotes(service, "bad request") == ["127.0.0.1", "::1"]

    @pytest.mark.parametrize("trusted", ["127.0.0.0/8", "::ffff:127.0.0.0/104"])
    def test_a_trusted_proxy(self, start_service: StartService, trusted: str) -> None:
        """Written as IPv4 or as mapped; what it forwards for may be mapped too."""
        service = start_service(
            server__host="::", server__trusted_proxies=json.dumps([trusted, "::1/128"])
        )
        for proxy in ("127.0.0.1", "::1"):
            for told in ("198.51.100.7", "::ffff:198.51.100.7", "2001:db8::7"):
                path = f"{API}/cs/x"
                assert (
                    ask(proxy, service.port, "POST", path, STATION, X_Forwarded_For=told)[0] == 201
                )
        expected = ["198.51.100.7", "198.51.100.7", "2001:db8::7"]
        assert remotes(service, "write") == expected * 2

    def test_one_family_is_not_slowed_by_the_other(self, start_service: StartService) -> None:
        """Nor another IPv4 caller: an address is throttled, not the network of mapped ones."""
        clients = {
            "a": {"roles": ["gateway"], "secret_hashes": [hash_of(new_secret().encode()).hex()]}
        }
        service = start_service(server__host="::", auth__clients=json.dumps(clients))
        name, _, value = WRONG.partition(": ")
        wrong = {name: value}
        path = f"{API}/cs/x/auth"
        with ExitStack() as open_ones:
            many = [
                open_ones.enter_context(RawConnection("127.0.0.1", service.port))
                for _ in range(5 * BURST)
            ]
            for one in many:
                one.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{WRONG}\r\n\r\n".encode())
            assert 429 in [one.reply().status for one in reversed(many[-BURST:])]

            assert ask("::1", service.port, "GET", path, **wrong)[0] == 401
            other = closing(
                http.client.HTTPConnection(
                    "127.0.0.1", service.port, timeout=PATIENCE, source_address=("127.0.0.2", 0)
                )
            )
            with other as connection:
                connection.request("GET", path, headers=wrong)
                assert connection.getresponse().status == 401
        told = {line["remote"] for line in service.events("credentials refused")}
        assert told == {"127.0.0.1", "127.0.0.2", "::1"}


@needs_ipv6
def test_a_socket_of_both_families_from_systemd(tmp_path: Path) -> None:
    """`ListenStream=9410` is one: its IPv4 callers are called so as well."""
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening,
        Activated(tmp_path, listening) as service,
    ):
        port = listening.getsockname()[1]
        wait_for(lambda: ask("127.0.0.1", port, "GET", "/health/ready")[0] == 200, "it is ready")
        for address in ("127.0.0.1", "::1"):
            assert ask(address, port, "POST", f"{API}/cs/x", STATION)[0] == 201
        told = [line["remote"] for line in service.log if line["event"] == "write"]
    assert told == ["127.0.0.1", "::1"]


@contextmanager
def without_ipv6(home: Path, host: str) -> Iterator[OwnService]:
    """A service whose kernel makes no IPv6 socket."""
    launcher = (sys.executable, str(WITHOUT_IPV6))
    with OwnService(home, {"CSMS_SERVER__HOST": host}, launcher=launcher) as service:
        yield service


def test_a_machine_without_ipv6(tmp_path: Path) -> None:
    """It serves who can reach it, and says that nobody else can."""
    with without_ipv6(tmp_path, "::") as service:
        service.ready()
        assert urlsplit(service.url).hostname == "0.0.0.0"
        warned = [line for line in service.log if "no IPv6" in line["event"]]
        assert [line["level"] for line in warned] == ["warning"]
