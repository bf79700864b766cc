"""The service and its peers: what each needs, how each is started."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import orjson

from csms_redis.settings import LookupSettings
from tests.support.topologies.authority import Authority, Pair

from . import stations
from .client import Check

AUTH = "/api/v0/cs/%s/auth"
PRELOADS = "preload" in LookupSettings.model_fields
"""Whether this commit's service reads the whole fleet when it starts."""

_PEERS = Path(__file__).parent / "peers"
_SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server runs: its port, its directory, its Redis, and a cluster where there is one."""

    port: int
    redis_port: int
    directory: Path
    cluster_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A kind of server.

    Attributes:
        command: Makes the command line, and writes what the server reads at its start.
        install: How to install what is missing; None when nothing is.
        path: Path of a station's lookup, with a `%s` for its id.
        ready: Path that is answered 200 when it is ready; None where it is as soon as it listens.
        unknown: Status of the answer to an unknown station.
        right: Whether an answer to a known station's lookup is right.
        caches: It answers from its own memory once it was asked.
        tls: It speaks TLS.
    """

    name: str
    command: Callable[[Place], list[str]]
    install: str | None = None
    environment: Callable[[Place], Mapping[str, str]] = field(default=lambda _: {})
    path: str = AUTH
    ready: str | None = None
    unknown: int = 404
    right: Check = stations.is_auth
    caches: bool = False
    tls: bool = False


def csms_redis(*, cluster: bool = False, tls: bool = False, **lookup: int) -> Server:
    """Our service; `lookup` sets keys of the section of that name."""

    def environment(place: Place) -> dict[str, str]:
        url = place.cluster_url if cluster else f"redis://127.0.0.1:{place.redis_port}"
        pair = _certificate(place) if tls else None
        files = pair and {
            "CSMS_SERVER__TLS__CERTIFICATE_FILE": str(pair.certificate),
            "CSMS_SERVER__TLS__KEY_FILE": str(pair.key),
        }
        return (
            (files or {})
            | {
                "CSMS_SERVER__PORT": str(place.port),
                "CSMS_REDIS__URL": url,
                "CSMS_TELEMETRY__LOG_LEVEL": "warning",
            }
            | {f"CSMS_LOOKUP__{key.upper()}": str(value) for key, value in lookup.items()}
        )

    return Server(
        name="csms-redis",
        command=lambda _: [sys.executable, "-m", "csms_redis", "serve"],
        environment=environment,
        ready="/health/ready",
        caches=True,
        tls=tls,
    )


def _certificate(place: Place) -> Pair:
    """A certificate of 127.0.0.1, signed by a CA of its own, both with a key on P-256."""
    return Authority(place.directory / "tls").issue("server", "127.0.0.1")


def _nginx(place: Place, *, tls: bool = False) -> list[str]:
    pair = _certificate(place) if tls else None
    files = pair and f"ssl_certificate {pair.certificate}; ssl_certificate_key {pair.key};"
    unknown = {"status": "Not Found", "error": "no such station"}
    config = (_PEERS / "nginx.conf").read_text(encoding="ascii")
    for mark, value in {
        "@PORT@": f"{place.port}{' ssl' if tls else ''}",
        "@TLS@": files or "",
        "@KNOWN@": stations.auth(0).decode(),
        "@UNKNOWN@": orjson.dumps(unknown).decode(),
    }.items():
        config = config.replace(mark, value)
    (place.directory / "nginx.conf").write_text(config, encoding="ascii")
    nginx = shutil.which("nginx", path=_SYSTEM_PATH) or "nginx"
    return [nginx, "-e", "stderr", "-p", f"{place.directory}/", "-c", "nginx.conf"]


def _webdis(place: Place) -> list[str]:
    config = place.directory / "webdis.json"
    config.write_bytes(
        orjson.dumps(
            {
                "redis_host": "127.0.0.1",
                "redis_port": place.redis_port,
                "http_host": "127.0.0.1",
                "http_port": place.port,
                "threads": 1,
                "daemonize": False,
                "verbosity": 0,
                "logfile": str(place.directory / "webdis.log"),
            }
        )
    )
    return ["webdis", str(config)]


def _plain_aiohttp(place: Place) -> list[str]:
    script = str(_PEERS / "plain_aiohttp.py")
    return [sys.executable, script, str(place.port), f"redis://127.0.0.1:{place.redis_port}"]


def _fastapi(place: Place) -> list[str]:
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", str(_PEERS), "fastapi_redis:app"]
    return [*uvicorn, "--port", str(place.port), "--no-access-log", "--log-level", "warning"]


def _unless_found(program: str, package: str) -> str | None:
    found = shutil.which(program, path=_SYSTEM_PATH)
    return None if found else f"apt-get install {package}"


def wrk_install() -> str | None:
    """How to install the load tool; None when it is installed."""
    return _unless_found("wrk", "wrk")


PEERS = {
    server.name: server
    for server in (
        Server(
            name="nginx",
            command=_nginx,
            install=_unless_found("nginx", "nginx-light"),
            right=stations.is_constant_auth,
        ),
        Server(
            name="webdis",
            command=_webdis,
            install=_unless_found("webdis", "webdis"),
            path="/HGETALL/cs:%s",
            unknown=200,
        ),
        Server(name="aiohttp", command=_plain_aiohttp),
        Server(
            name="fastapi",
            command=_fastapi,
            environment=lambda place: {"REDIS_URL": f"redis://127.0.0.1:{place.redis_port}"},
            install=None
            if find_spec("fastapi") and find_spec("uvicorn")
            else "pip install fastapi uvicorn",
        ),
    )
}
NGINX_WITH_TLS = replace(PEERS["nginx"], command=partial(_nginx, tls=True), tls=True)
