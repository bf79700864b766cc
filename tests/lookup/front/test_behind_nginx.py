"""Behind nginx, lookups stay on the hot path, whatever shares their connections."""

import asyncio
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from csms_redis.registry.stations import STATION
from tests.conftest import short_directory
from tests.support.front_site import RECORDS, Site, running_site

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
ROUNDS = 25  # of eight clients with eight requests each
POOLED = 8
PATIENCE = 10.0  # seconds

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt install nginx")

_CONF = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream registry {{ server 127.0.0.1:{upstream}; {keepalive} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://registry; {location} }}
    }}
}}
"""
_KEEPALIVE = f"keepalive {POOLED};"

# What a client asks in turn: a path, the status and the body that it must get.
ASKED: list[tuple[str, str, int, bytes | None]] = [
    ("GET", "/api/v0/cs/cs001/auth", 200, RECORDS[STATION, "cs001"]),
    ("GET", "/api/v0/cs/cs002/auth", 200, RECORDS[STATION, "cs002"]),
    ("POST", "/api/v0/cs/new", 201, b""),
    ("GET", "/api/v0/cs/nobody/auth", 404, None),
    ("GET", "/api/v0/cs/cs001/auth", 200, RECORDS[STATION, "cs001"]),
    ("GET", "/health", 200, b'{"status":"OK"}'),
    ("GET", "/api/v0/token/abc123", 200, None),
    ("GET", "/api/v0/cs/cs002/auth", 200, RECORDS[STATION, "cs002"]),
]
NOT_HOT = 2  # of them


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running_nginx(
    home: Path, upstream: int, keepalive: str, location: str
) -> AsyncIterator[str]:
    """An nginx before a service; gives its URL."""
    port = free_port()
    conf = _CONF.format(upstream=upstream, port=port, keepalive=keepalive, location=location)
    (home / "nginx.conf").write_text(conf)
    assert NGINX is not None
    nginx = await asyncio.create_subprocess_exec(
        NGINX,
        *("-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                assert nginx.returncode is None, await nginx.communicate()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        if nginx.returncode is None:
            nginx.terminate()
        await nginx.communicate()


async def ask_all(session: aiohttp.ClientSession, url: str) -> None:
    """Ask everything, again and again, each time after the answer."""
    for _ in range(ROUNDS):
        for method, path, status, body in ASKED:
            json = {"securityProfile": 2} if method == "POST" else None
            async with session.request(method, url + path, json=json) as response:
                received = await response.read()
                assert response.status == status, (path, received)
                if body is not None:
                    assert received == body


@pytest.mark.parametrize(
    ("keepalive", "location", "pooled"),
    [
        ("", "", False),
        (_KEEPALIVE, 'proxy_http_version 1.1; proxy_set_header Connection "";', True),
        # nginx takes an answer in HTTP/1.0 for the last of its connection, whatever it says
        (_KEEPALIVE, "proxy_set_header Connection keep-alive;", False),
    ],
    ids=["HTTP/1.0 as it comes", "HTTP/1.1, pooled", "HTTP/1.0, kept alive"],
)
async def test_lookups_stay_hot(keepalive: str, location: str, *, pooled: bool) -> None:
    opened: Counter[str] = Counter()

    async with running_site() as site:

        def connected() -> asyncio.Protocol:
            opened["connections"] += 1
            return site.lookup_server.new_protocol()

        loop = asyncio.get_running_loop()
        listener = await loop.create_server(connected, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        with short_directory() as home:
            async with (
                running_nginx(home, port, keepalive, location) as url,
                aiohttp.ClientSession() as session,
            ):
                await asyncio.gather(*(ask_all(session, url) for _ in range(POOLED)))
        listener.close()
        await site.lookup_server.drain(PATIENCE)
        see(site, opened["connections"], pooled=pooled)


def see(site: Site, connections: int, *, pooled: bool) -> None:
    """See that no lookup went through aiohttp, and how many connections there were."""
    requests = POOLED * ROUNDS * len(ASKED)
    assert site.handed_over == POOLED * ROUNDS * NOT_HOT
    assert len(site.stations.registered) == POOLED * ROUNDS
    if pooled:
        assert connections <= 4 * POOLED
    else:
        assert connections == requests
