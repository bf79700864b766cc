"""Writes that Redis does not take: memory that is full, keys of others, a user without a right."""

import json
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.conftest import API, DATA, Reply, Service, StartService, Valkey, wait_for
from tests.support.made import TOKEN

JSON = {"Content-Type": "application/json"}
PEM = (DATA / "certificates" / "root-V2G-cert.pem").read_text("ascii")
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="
POSTS: dict[str, tuple[str, object]] = {
    "cs:cs001": ("/cs/cs001", {"securityProfile": 2}),
    "token:DEADBEEF": ("/token", TOKEN),
    f"certificate:{HASH}": ("/certificate", {"certificate": PEM}),
}


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket, decode_responses=True) as client:
        yield client


@pytest.fixture
def service(valkey: Valkey, start_service: StartService) -> Service:
    """Over a Redis of the test's own."""
    started = start_service(redis__url=valkey.url)
    wait_for(lambda: started.request("GET", "/health/ready").status == 200, "ready")
    return started


def set_status(service: Service, cs_id: str, status: str) -> Reply:
    body = json.dumps({"registrationStatus": status})
    return service.request("PUT", f"{API}/cs/{cs_id}/registrationStatus", body, JSON)


def test_a_station_is_blocked_when_redis_is_full(service: Service, redis: Redis) -> None:
    """At once for who asks, and for good; nothing new is taken until there is room."""
    station = {"securityProfile": 1, "base64SHA256Password": "x"}
    assert service.post("/cs/cs001", station).status == 201
    assert service.get("/cs/cs001/auth").json == station
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", "1")

    assert set_status(service, "cs001", "Rejected").status == 204

    assert service.get("/cs/cs001/auth").status == 404
    for path in ("/cs/cs001", "/cs/cs002"):
        reply = service.post(path, {"securityProfile": 2})
        assert reply.status == 503
        assert "Nothing was changed" in reply.error
    assert redis.exists("cs:cs002") == 0
    redis.config_set("maxmemory", "0")
    assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
    assert service.get("/cs/cs001/auth").status == 404
    assert set_status(service, "cs001", "Accepted").status == 204
    assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}


@pytest.mark.parametrize("key", POSTS)
def test_a_key_of_others_stays_theirs(service: Service, redis: Redis, key: str) -> None:
    """409, with the key and what to do; once it is gone the record is stored."""
    redis.rpush(key, "theirs")

    reply = service.post(*POSTS[key])

    assert reply.status == 409
    assert reply.json["status"] == "Conflict"
    assert reply.error == (
        f"In Redis, {key} is a list and no record of csms-redis. Nothing was changed: remove that "
        "key, or set redis.key_prefix if it is another program's."
    )
    assert redis.lrange(key, 0, -1) == ["theirs"]
    redis.delete(key)
    assert service.post(*POSTS[key]).status == 201
    assert redis.type(key) == "hash"


def test_a_user_that_may_not_delete_lifts_no_block(
    valkey: Valkey, redis: Redis, start_service: StartService
) -> None:
    """Registered, blocked, registered again: it is stored, or nothing is; blocked it is."""
    redis.execute_command("ACL", "SETUSER", "limited", "on", ">p", "~*", "&*", "+@all", "-del")  # type: ignore[no-untyped-call] # redis-py's
    url = valkey.url.replace("unix://", "unix://limited:p@")
    service = start_service(redis__url=url)
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
    station = {"securityProfile": 1, "base64SHA256Password": "x"}
    assert service.post("/cs/cs001", station).status == 201
    assert set_status(service, "cs001", "Rejected").status == 204

    assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201

    assert service.get("/cs/cs001/auth").status == 404
    assert redis.hget("cs:cs001", "base64SHA256Password") is None
    reply = service.delete("/cs/cs001")
    assert reply.status == 503
    assert "Nothing was changed" in reply.error
    assert service.get("/cs/cs001").status == 200
