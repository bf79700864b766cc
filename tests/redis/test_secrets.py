"""The passwords of Redis and of its sentinels: shown nowhere, whatever URL has them."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import pytest

from tests.conftest import Service, fresh_service, wait_for
from tests.support.service import run
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.standalone import Standalone

# every character that has a meaning in a URL; parts of them that a careless parser would show
PASSWORD = "Str0ng:p@ss/w#rd?x"
SENTINEL_PASSWORD = "S3ntry:p@ss/w#rd?y"
PARTS = ("Str0ng", "S3ntry", "ss/w", "w#rd", "rd?", "%40ss", "ss%2F", "w%23rd")

Settings: TypeAlias = Mapping[str, str]
Start: TypeAlias = Callable[[], AbstractContextManager[Settings]]


@contextmanager
def _tcp() -> Iterator[Settings]:
    with Standalone(password=PASSWORD) as one:
        yield one.settings


@contextmanager
def _user() -> Iterator[Settings]:
    with Standalone(users=[f"joe on >{PASSWORD} ~* &* +@all"]) as one:
        yield {"redis__url": one.url_as("joe", PASSWORD)}


@contextmanager
def _tls() -> Iterator[Settings]:
    with Standalone(password=PASSWORD, tls="server") as one:
        yield one.settings


@contextmanager
def _unix() -> Iterator[Settings]:
    with Standalone(password=PASSWORD, unix=True) as one:
        yield one.settings


@contextmanager
def _sentinel() -> Iterator[Settings]:
    with SentinelGroup(
        replicas=1,
        password=PASSWORD,
        sentinel_user="watcher",
        sentinel_password=SENTINEL_PASSWORD,
        tls="server",
    ) as group:
        yield group.settings


@contextmanager
def _cluster() -> Iterator[Settings]:
    with ClusterGroup(replicas=0, password=PASSWORD) as group:
        yield group.settings


def _secrets_in(text: str) -> list[str]:
    return [part for part in PARTS if part in text]


def _shown(service: Service) -> str:
    """All that anyone gets to see, once Redis was reached, or not for a while."""
    replies = [
        service.request("GET", path)
        for path in ("/health/ready", "/health", "/health/live", "/docs", "/api/openapi.json")
    ]
    replies += [
        service.post("/cs/cs001", {"securityProfile": 2}),
        service.get("/cs/cs001/auth"),
        service.get("/token/x"),
    ]
    arguments = Path(f"/proc/{service.process.pid}/cmdline").read_bytes().decode()
    title = Path(f"/proc/{service.process.pid}/comm").read_text("utf-8")
    told = "".join(f"{reply.headers}{reply.body!r}" for reply in replies)
    return f"{service.log}{told}{arguments}{title}"


def _checked(settings: Settings, home: Path) -> str:
    variables = {f"CSMS_{name.upper()}": value for name, value in settings.items()}
    result = run("check", cwd=home, settings=variables)
    return (result.stdout + result.stderr).decode()


def _wrong(settings: Settings) -> Settings:
    """With another password, which is not to be shown either; no lookup waits long for it."""
    url = settings["redis__url"].replace("Str0ng", "Str0nger")
    return {**settings, "redis__url": url, "lookup__timeout": "0.5"}


@pytest.mark.parametrize("level", ["debug", pytest.param("info", marks=pytest.mark.slow)])
@pytest.mark.parametrize("start", [_tcp, _user, _tls, _unix, _sentinel, _cluster])
def test_no_password_is_shown(start: Start, level: str, tmp_path: Path) -> None:
    """The right one and a wrong one: not in the log, in replies, in `check` or in `ps`."""
    with start() as settings:
        with fresh_service(**settings, telemetry__log_level=level) as service:
            wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
            assert _secrets_in(_shown(service)) == []
        told = _checked(settings, tmp_path)
        assert " answers" in told
        assert _secrets_in(told) == []

        wrong = _wrong(settings)
        with fresh_service(**wrong, telemetry__log_level=level) as service:
            wait_for(
                lambda: re.search("password|refuse", str(service.request("GET", "/health/ready"))),
                "readiness says why",
            )
            assert service.request("GET", "/health/ready").status == 503
            assert _secrets_in(_shown(service)) == []
        told = _checked(wrong, tmp_path)
        assert "error" in told
        assert _secrets_in(told) == []


@pytest.mark.parametrize(
    "url",
    [
        "redis://joe:{raw}@127.0.0.1:1",
        "redis://joe:{quoted}@127.0.0.1:x",
        "redis://{raw}@127.0.0.1:1/0",
        "redis://127.0.0.1:1/{quoted}",
        "redis://127.0.0.1:1?password={quoted}",
        "rediss://{quoted}",
        "unix://joe:{raw}@/run/r.sock",
        "unix:///{quoted}@/run/r.sock",
        "redis+sentinel://:{raw}@h1,h2/mymaster",
        "redis+sentinel://:{quoted}@h1,:{quoted}@h2/mymaster",
        "redis+sentinel://h1/{quoted}",
        "redis+cluster://:{raw}@h1,h2",
        "redis+cluster://h1/{quoted}",
        "{raw}",
        "{quoted}",
        "redis+{quoted}://h",
    ],
)
def test_a_bad_url_shows_no_part_of_itself(url: str, tmp_path: Path) -> None:
    """Neither where the start ends nor in `check`."""
    text = url.format(raw=PASSWORD, quoted=quote(PASSWORD, safe=""))
    settings = {"CSMS_REDIS__URL": text}
    for command in ("serve", "check"):
        result = run(command, cwd=tmp_path, settings=settings)
        told = (result.stdout + result.stderr).decode()
        assert "redis.url: " in told
        assert _secrets_in(told) == []
        assert result.returncode == 1
    assert list(tmp_path.iterdir()) == []
