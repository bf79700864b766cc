"""`GET /refused`: who knocks and is turned away, merged over all processes."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from csms_redis.registry.refused import MOST_PROCESSES
from tests.conftest import (
    Service,
    Valkey,
    password_hash,
    running_service,
    running_valkey,
    wait_for,
)
from tests.support.commands import command, records
from tests.support.refused import knock, refused, until_reached

KNOWN = {"securityProfile": 1, "base64SHA256Password": password_hash("secret")}
CLIENTS = json.dumps(
    {
        name: {"roles": [role], "secret_hashes": [sha256(secret).hexdigest()]}
        for name, role, secret in (("gateway-1", "gateway", b"one"), ("op", "operator", b"two"))
    }
)
GATEWAY = {"Authorization": "Bearer one"}
OPERATOR = {"Authorization": "Bearer two"}


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


@pytest.fixture(scope="module")
def pair(valkey: Valkey) -> Iterator[list[Service]]:
    """Two processes of one registry."""
    with ExitStack() as stack:
        started = [stack.enter_context(running_service(redis__url=valkey.url)) for _ in range(2)]
        for service in started:
            until_reached(service)
        yield started


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket, decode_responses=True) as client:
        yield client


def test_who_is_refused_and_why(pair: list[Service]) -> None:
    """Unknown, blocked, malformed; by whichever way it was asked; and not who is let in."""
    one, _ = pair
    for cs_id in ("in", "out"):
        assert one.post(f"/cs/{cs_id}", KNOWN).status == 201
    blocked = '{"registrationStatus": "Rejected"}'
    headers = {"Content-Type": "application/json"}
    path = "/api/v0/cs/out/registrationStatus"
    assert one.request("PUT", path, blocked, headers).status == 204
    assert one.get("/cs/in/auth").status == 200
    knock(one, "stranger", 3)
    knock(one, "a%20b%2Fc", 2)
    knock(one, "out")
    knock(one, "x" * 60)
    knock(one, "tab%09")
    odd = one.request("GET", "/api/v0/cs/by-aiohttp/auth", headers={"Expect": "100-continue"})
    assert odd.status == 404
    assert one.get("/token/nobody").status == 404

    found = refused(one)

    assert {cs_id: (each["reason"], each["count"]) for cs_id, each in found.items()} == {
        "stranger": ("unknown", 3),
        "a b/c": ("unknown", 2),
        "out": ("blocked", 1),
        "x" * 60: ("malformed", 1),
        "tab%09": ("malformed", 1),
        "by-aiohttp": ("unknown", 1),
    }
    assert next(iter(found)) == "stranger"  # the most frequent first
    assert {each["client"] for each in found.values()} == {"127.0.0.1"}
    for each in found.values():
        assert each["firstRefused"] <= each["lastRefused"]
        assert each["lastRefused"].endswith("Z")
    assert list(refused(one, "?limit=1")) == ["stranger"]
    assert one.get("/refused?limit=0").status == 400
    assert one.get("/refused?cursor=a").status == 400


def test_processes_are_put_together(pair: list[Service], redis: Redis) -> None:
    """Through one key of Redis without a time to live; who is registered by then is left out."""
    one, other = pair
    knock(one, "both", 2)
    knock(other, "both", 3)
    knock(other, "only-there")

    wait_for(lambda: refused(one).get("both", {}).get("count") == 5, "both are seen")
    wait_for(lambda: "only-there" in refused(one), "the other's is seen")
    assert len(refused(one, "?sort=lastRefused&limit=3")) == 3
    assert redis.ttl("refused") == -1
    assert redis.hlen("refused") == 2

    assert one.post("/cs/only-there", KNOWN).status == 201
    assert "only-there" not in refused(one)
    assert "only-there" not in refused(other)


def test_the_command_line(pair: list[Service], valkey: Valkey, tmp_path: Path) -> None:
    """Lists them, and registers one of them in one step: only one that is there, spelled so."""
    knock(pair[0], "at-the-door", 7)
    settings = {"CSMS_REDIS__URL": valkey.url}

    def listed() -> dict[str, dict[str, Any]]:
        done = command(tmp_path, settings, "refused", "list", "--json")
        return {one["csId"]: one for one in records(done)}

    wait_for(lambda: "at-the-door" in listed(), "it is written")
    table = command(tmp_path, settings, "refused", "list").stdout.splitlines()
    assert table[0].split() == [
        *("csId", "reason", "count", "firstRefused", "lastRefused", "client"),
    ]
    assert any(line.split()[:3] == ["at-the-door", "unknown", "7"] for line in table)
    add = ("station", "add", "--from-refused", "--generate-password")
    wrong = command(tmp_path, settings, *add, "at-the-dor")
    assert wrong.returncode == 3
    assert "no such refused station" in wrong.stderr
    assert command(tmp_path, settings, *add).returncode == 2  # nobody to ask
    added = command(tmp_path, settings, *add, "at-the-door")
    assert added.returncode == 0, added.stderr
    assert "at-the-door" not in listed()
    assert pair[1].get("/cs/at-the-door/auth").status == 200
    assert command(tmp_path, settings, "station", "add").returncode == 2


def test_stale_processes_are_removed(pair: list[Service], valkey: Valkey, redis: Redis) -> None:
    """And the oldest of too many, by the next that writes; what is none of ours is not read."""
    now = int(redis.time()[0])
    stale = f"{now - 200_000}-stale"
    redis.hset("refused", mapping={f"{now - n}-dead": "[]" for n in range(MOST_PROCESSES + 20)})
    redis.hset("refused", stale, '[["ghost",false,1,1,1,"a"]]')
    redis.hset("refused", "nonsense", '{"a": [1]}')
    assert "ghost" not in refused(pair[0])
    with running_service(redis__url=valkey.url) as third:
        until_reached(third)
        knock(third, "a-third")
        wait_for(lambda: redis.hlen("refused") <= MOST_PROCESSES, "they are removed")
        assert not redis.hexists("refused", stale)
        assert "a-third" in refused(third)


def test_the_client_is_named() -> None:
    """By its name in [auth], and only an operator sees it."""
    with running_service(auth__clients=CLIENTS) as service:
        path = "/api/v0/cs/stranger/auth"
        assert service.request("GET", path, headers=GATEWAY).status == 404
        assert service.request("GET", "/api/v0/refused", headers=GATEWAY).status == 403
        assert service.request("GET", "/api/v0/refused").status == 401
        (one,) = service.request("GET", "/api/v0/refused", headers=OPERATOR).json
        assert one["client"] == "gateway-1"


def test_while_redis_is_away() -> None:
    """What this process has seen is there, without reasons."""
    with running_valkey() as own, running_service(redis__url=own.url) as service:
        until_reached(service)
        knock(service, "stranger")
        knock(service, "x" * 60)
        own.kill()
        wait_for(lambda: service.get("/cs").status == 503, "Redis is away")

        found = refused(service)

        assert "reason" not in found["stranger"]
        assert found["x" * 60]["reason"] == "malformed"
        own.start()
        wait_for(lambda: refused(service)["stranger"].get("reason") == "unknown", "it is back")
