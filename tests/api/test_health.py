"""Health and what it says of Redis."""

from typing import Any

from tests.conftest import Service, StartService, Valkey, wait_for


def test_health_is_ok(service: Service) -> None:
    reply = service.request("GET", "/health")

    assert (reply.status, reply.json) == (200, {"status": "OK"})


def test_alive(service: Service) -> None:
    assert service.request("GET", "/health/live").status == 200


def test_ready_names_its_components(start_service: StartService) -> None:
    # its own: where other tests remove all records again and again, reading them is put off longer
    service = start_service()

    def said() -> Any:
        return service.request("GET", "/health/ready").json

    wait_for(lambda: said()["components"].get("preload") == "OK", "all records are known")

    found = said()
    del found["details"]
    assert found == {
        "status": "OK",
        "components": {"redis": "OK", "server": "OK", "preload": "OK"},
    }


def test_a_service_that_can_serve_what_it_knows_stays_ready(
    start_service: StartService, valkey: Valkey
) -> None:
    """Losing Redis is told, but takes no traffic away until nothing may be served any more."""
    service = start_service(redis__url=valkey.url, lookup__stale_if_error="3", lookup__timeout="1")

    def ready() -> int:
        return service.request("GET", "/health/ready").status

    wait_for(lambda: ready() == 200, "ready")
    assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
    assert service.get("/cs/cs001/auth").status == 200
    valkey.kill()

    def redis() -> str:
        said = service.request("GET", "/health/ready").json
        return str(said["components"]["redis"])

    before = [ready()]
    while redis() == "OK":
        before.append(ready())
    assert set(before) == {200}
    assert redis().startswith("cannot be reached")
    wait_for(lambda: ready() == 503, "not ready, for what is known has become too old")
    assert service.get("/cs/cs001/auth").status == 503


def test_readiness_may_be_made_to_follow_redis_at_once(
    start_service: StartService, valkey: Valkey
) -> None:
    service = start_service(redis__url=valkey.url, server__ready_without_redis="false")

    def ready() -> int:
        return service.request("GET", "/health/ready").status

    wait_for(lambda: ready() == 200, "ready")
    assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
    assert service.get("/cs/cs001/auth").status == 200
    valkey.kill()
    wait_for(lambda: ready() == 503, "not ready")
    assert service.get("/cs/cs001/auth").status == 200


def test_readiness_follows_redis_and_liveness_does_not(
    start_service: StartService, valkey: Valkey
) -> None:
    """Not ready while Redis is away, ready by itself when it is back; alive all the time."""
    service = start_service(redis__url=valkey.url)

    def ready() -> int:
        return service.request("GET", "/health/ready").status

    wait_for(lambda: ready() == 200, "ready")
    valkey.kill()
    wait_for(lambda: ready() == 503, "not ready")

    said = service.request("GET", "/health/ready").json
    problem = said["components"].pop("redis")
    assert problem.startswith("cannot be reached")
    assert said == {
        "status": "Service Unavailable",
        "error": f"redis: {problem}",
        "components": {
            "server": "OK",
            "preload": f"not all records are known: unix://{valkey.socket} cannot be read",
        },
    }
    assert service.request("GET", "/health").status == 200
    assert service.request("GET", "/health/live").status == 200

    valkey.start()
    wait_for(lambda: ready() == 200, "ready again")


def test_starts_without_redis_and_becomes_ready(
    start_service: StartService, valkey: Valkey
) -> None:
    """A Redis that cannot be reached at the start ends nothing: one line says so."""
    valkey.kill()
    service = start_service(redis__url=valkey.url)
    wait_for(lambda: service.events("Redis cannot be reached"), "a line about it")

    assert service.request("GET", "/health/ready").status == 503

    valkey.start()
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
    assert len(service.events("Redis cannot be reached")) == 1
    assert len(service.events("Redis reached")) == 1
