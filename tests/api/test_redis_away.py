"""What the API answers while Redis is away, hangs or refuses a command."""

import time
from collections.abc import Callable

from tests.conftest import Reply, StartService, Valkey, running_valkey
from tests.support.requests import TOKEN


def test_redis_away_is_503_for_every_operation(start_service: StartService, valkey: Valkey) -> None:
    """Quickly, with `Retry-After`, and over by itself when Redis is back."""
    service = start_service(redis__url=valkey.url, redis__timeout="0.5", lookup__timeout="0.5")
    operations: list[Callable[[], Reply]] = [
        lambda: service.post("/cs/cs001", {"securityProfile": 2}),
        lambda: service.get("/cs/cs002/auth"),
        lambda: service.post("/token", TOKEN),
        lambda: service.get("/token/unheard-of"),
        lambda: service.delete(f"/certificate/{'0' * 64}"),
        lambda: service.get(f"/certificate/{'0' * 64}"),
    ]
    assert [reply().status for reply in operations] == [201, 404, 201, 404, 404, 404]

    valkey.kill()
    time.sleep(0.1)
    for operation in operations:
        started = time.monotonic()
        reply = operation()

        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert reply.error
        assert "valkey" not in reply.error
        assert time.monotonic() - started < 5
    assert service.request("GET", "/health").status == 200

    valkey.start()
    deadline = time.monotonic() + 10
    while service.post("/cs/cs001", {"securityProfile": 2}).status != 201:
        assert time.monotonic() < deadline


def test_a_redis_that_hangs_is_503(start_service: StartService, valkey: Valkey) -> None:
    """The reply says that the write may have been applied, when it was sent."""
    service = start_service(redis__url=valkey.url, redis__timeout="0.3")
    assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201

    valkey.freeze()
    replies = [service.post("/cs/cs001", {"securityProfile": 1}) for _ in range(3)]
    valkey.thaw()

    assert [reply.status for reply in replies] == [503, 503, 503]
    assert replies[0].error == (
        "Redis did not confirm the write. It may have been applied; send it again."
    )


def test_503_for_what_redis_refuses(start_service: StartService) -> None:
    """An error reply of Redis stays inside; its text may quote what was stored."""
    with running_valkey("--maxmemory", "1", "--maxmemory-policy", "noeviction") as full:
        service = start_service(redis__url=full.url)

        reply = service.post("/token", TOKEN)

        assert reply.status == 503
        assert reply.error == (
            "Redis refused the request (OOM: it is out of memory). Nothing was changed; an "
            "operator must look at Redis."
        )
        assert service.get("/token/x").status == 404
        refused = service.events("Redis refused a command")
        assert [event["command"] for event in refused if "request_id" in event] == ["EVAL"]
