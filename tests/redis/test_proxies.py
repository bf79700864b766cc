"""Servers and proxies without HELLO, or without more: what works there, and that it does."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from csms_redis.redis.address import Address
from csms_redis.redis.node import Node
from tests.conftest import Service, running_service, short_directory, wait_for
from tests.support.service import HOST, run
from tests.support.topologies.filter_proxy import FilterProxy
from tests.support.topologies.node import free_port
from tests.support.topologies.proxy import Proxies
from tests.support.topologies.standalone import Standalone

ENVOY = ("HELLO", "ROLE", "INFO", "CONFIG", "CLIENT", "SCAN")
TWEMPROXY = ("HELLO", "ROLE", "INFO", "CONFIG", "CLIENT")


@contextmanager
def renamed() -> Iterator[str]:
    """A server that has no HELLO, and all else."""
    with Standalone(options=['rename-command HELLO ""']) as one:
        yield one.url


@contextmanager
def refusing() -> Iterator[str]:
    """As Envoy's Redis filter."""
    with Standalone() as one, Proxies() as proxies:
        yield FilterProxy(proxies, one.node.own, refuses=ENVOY).url


@contextmanager
def hanging_up(*commands: str) -> Iterator[str]:
    """A proxy that closes the connection on some commands."""
    with Standalone() as one, Proxies() as proxies:
        yield FilterProxy(proxies, one.node.own, hangs_up_on=commands).url


@contextmanager
def twemproxy() -> Iterator[str]:
    """The real one."""
    program = shutil.which("nutcracker") or shutil.which("/usr/sbin/nutcracker")
    if program is None:
        pytest.skip("twemproxy is not installed here")
    with ExitStack() as running:
        one = running.enter_context(Standalone())
        home = running.enter_context(short_directory())
        port = free_port()
        (home / "conf.yml").write_text(
            f"all:\n  listen: {HOST}:{port}\n  redis: true\n  servers:\n  - {one.node.own}:1\n"
        )
        words = [program, "-c", "conf.yml", "-o", "log", "-a", HOST, "-s", str(free_port())]
        process = running.enter_context(subprocess.Popen(words, cwd=home))
        running.callback(process.kill)
        wait_for(lambda: _listens(port), "it listens")
        yield f"redis://{HOST}:{port}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


WAYS = {
    "renamed": renamed,
    "refusing": refusing,
    "hanging up on HELLO": lambda: hanging_up("HELLO"),
    "hanging up on HELLO and ROLE": lambda: hanging_up(*TWEMPROXY),
    "twemproxy": twemproxy,
}


@pytest.fixture(params=WAYS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with WAYS[request.param]() as there:
        yield there


def test_the_service_gets_ready_and_works(url: str) -> None:
    """Every lookup is read, and the log says why."""
    with running_service(redis__url=url) as service:
        wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
        for _ in range(2):
            assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
            assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}
        assert service.delete("/cs/cs001").status == 204
        assert service.get("/cs/cs001/auth").status == 404
        (line,) = service.events("every lookup is read from Redis, none is kept")
        assert line["reason"] in {"it does not speak RESP3", "it hangs up on HELLO"}
        assert service.events("Redis cannot be reached") == []


def test_every_command_works(url: str, tmp_path: Path) -> None:
    """Wherever the service does."""
    settings = {"CSMS_REDIS__URL": url}
    for words, said in (
        (["station", "add", "cs001", "--security-profile", "2"], b"cs001 is added"),
        (["station", "show", "cs001"], b"Pending"),
        (["station", "block", "cs001"], b"Rejected"),
        (["station", "remove", "cs001"], b"removed"),
    ):
        result = run(*words, cwd=tmp_path, settings=settings)
        assert (result.returncode, said in result.stdout) == (0, True), result
    rows = b"csId,securityProfile\ncs002,2\ncs003,2\n"
    result = run("import", "stations", "-", cwd=tmp_path, settings=settings, stdin=rows)
    assert b"written 2" in result.stdout
    result = run("check", cwd=tmp_path, settings=settings)
    assert b"answers" in result.stdout
    assert result.returncode == 0, result.stdout.decode()


@pytest.mark.parametrize("settings", [{"hangs_up_on": TWEMPROXY}, {"refuses": ENVOY}])
def test_what_is_imported_is_found_behind_a_proxy_that_shares_keys_out(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """Each record goes by its own key, not by that of another that is written with it."""
    stations = [f"cs{number:03}" for number in range(120)]
    rows = "".join(f"{station},2\n" for station in stations)
    with Standalone() as one, Standalone() as other, Proxies() as proxies:
        url = FilterProxy(proxies, one.node.own, other.node.own, **settings).url
        words = ["import", "stations", "-"]
        stdin = f"csId,securityProfile\n{rows}".encode()
        result = run(*words, cwd=tmp_path, settings={"CSMS_REDIS__URL": url}, stdin=stdin)
        assert b"written 120" in result.stdout, result
        with running_service(redis__url=url) as service:
            wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
            assert [
                each for each in stations if service.get(f"/cs/{each}/auth").status != 200
            ] == []


@pytest.mark.parametrize("settings", [{"hangs_up_on": TWEMPROXY}, {"refuses": ENVOY}])
async def test_a_silent_server_behind_a_proxy_holds_up_no_other(settings: dict[str, Any]) -> None:
    """Writes that come at once go one by one there: a proxy gives the replies in their order."""
    with Standalone() as one, Standalone() as other, Proxies() as proxies:
        host, port = FilterProxy(proxies, one.node.own, other.node.own, **settings).address
        node = Node(Address(host=host, port=port), max_connections=20)
        keys = [f"cs{number:03}" for number in range(20)]
        for key in keys:
            await node.write("SET", key, "before", within=5)
        healthy = {key for key in keys if one.node.call("EXISTS", key)}
        assert 0 < len(healthy) < len(keys)
        other.node.freeze()
        try:
            writes = (node.write("SET", key, "after", within=1) for key in keys)
            said = await asyncio.gather(*writes, return_exceptions=True)
        finally:
            other.node.thaw()
        await node.close()
    assert {key for key, reply in zip(keys, said, strict=True) if reply == b"OK"} == healthy


def test_listings_need_no_hello(tmp_path: Path) -> None:
    with renamed() as url:
        settings = {"CSMS_REDIS__URL": url}
        rows = b"csId,securityProfile\ncs002,2\ncs003,2\n"
        run("import", "stations", "-", cwd=tmp_path, settings=settings, stdin=rows)
        result = run("export", "stations", "-", cwd=tmp_path, settings=settings)
        assert result.returncode == 0
        assert result.stdout.count(b"csId") == 2


def _logged(service: Service, event: str) -> list[dict[str, Any]]:
    wait_for(lambda: service.events(event), event)
    return service.events(event)


def test_a_server_that_ended_at_hello_is_asked_again() -> None:
    """It is no proxy: lookups through it are kept."""
    with Standalone() as one, Proxies() as proxies:
        hangs_up = {"HELLO"}
        proxy = FilterProxy(proxies, one.node.own, hangs_up_on=hangs_up)
        with running_service(redis__url=proxy.url) as service:
            wait_for(lambda: "ROLE" in proxy.met, "it is asked less")
            hangs_up.clear()
            (line,) = _logged(service, "Redis reached")
            assert "HELLO" in proxy.met[proxy.met.index("ROLE") :]
            assert line["near_cache"]
