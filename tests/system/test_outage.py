"""Requests to change something while Redis is away: they take nothing away that is known."""

from http import HTTPStatus

from tests.conftest import Reply, StartService, Valkey, password_hash, wait_for
from tests.support.made import TOKEN

STATIONS = [f"cs{number}" for number in range(100)]
AUTH = {"securityProfile": 1, "base64SHA256Password": password_hash("secret")}


def test_a_fleet_is_registered_again_while_redis_is_away(
    start_service: StartService, valkey: Valkey
) -> None:
    """Each write is answered 503, nothing was changed, and each lookup as before."""
    service = start_service(redis__url=valkey.url)

    def ready() -> bool:
        return service.request("GET", "/health/ready").status == HTTPStatus.OK

    wait_for(ready, "ready")
    for station in STATIONS:
        assert service.post(f"/cs/{station}", AUTH).status == HTTPStatus.CREATED
        assert service.get(f"/cs/{station}/auth").json == AUTH
    assert service.post("/token", TOKEN).status == HTTPStatus.CREATED
    token = service.get("/token/DEADBEEF").json
    valkey.kill()

    refused: list[Reply] = []
    for station in STATIONS:
        refused += [
            service.post(f"/cs/{station}", {"securityProfile": 2}),
            service.request(
                "PUT",
                f"/api/v0/cs/{station}/registrationStatus",
                b'{"registrationStatus": "Rejected"}',
                {"Content-Type": "application/json"},
            ),
            service.delete(f"/cs/{station}"),
        ]
    refused += [service.post("/token", TOKEN | {"valid": False}), service.delete("/token/DEADBEEF")]
    assert {reply.status for reply in refused} == {HTTPStatus.SERVICE_UNAVAILABLE}
    for reply in refused:
        assert "Nothing was changed" in reply.error

    for station in STATIONS:
        assert service.get(f"/cs/{station}/auth").json == AUTH
    assert service.get("/token/DEADBEEF").json == token
    assert ready()
