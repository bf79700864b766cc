"""Ids that no gateway can use are refused whichever way they come; what is stored stays usable."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.walking import listed
from tests.conftest import API, Service, StartService, Valkey, password_hash, segment, wait_for
from tests.support.program import run_text
from tests.support.service import environment

JSON = {"Content-Type": "application/json"}
STATION = {"securityProfile": 1, "base64SHA256Password": password_hash("x")}
UNUSABLE = ["a+b", "+", "a#b", "#"]
DOUBTFUL = ["a/b", "a?b", "50%", "cs:1", " cs", "cs ", "a\u00a0b", ".."]


@pytest.mark.parametrize("cs_id", UNUSABLE)
def test_is_refused_with_what_to_do(service: Service, redis: Any, cs_id: str) -> None:
    reply = service.post(f"/cs/{segment(cs_id)}", STATION)

    assert reply.status == 400
    assert reply.error.startswith("csId has a + or #, which no MQTT topic may have")
    assert "any_station_id = true" in reply.error
    assert not redis.exists(f"cs:{cs_id}")


def test_a_plus_need_not_be_escaped(service: Service) -> None:
    assert service.post("/cs/a+b", STATION).status == 400


@pytest.mark.parametrize("cs_id", UNUSABLE)
def test_what_is_stored_stays_usable(service: Service, redis: Any, cs_id: str) -> None:
    """From before, or from other hands: found, listed, shown, blocked, allowed and removed."""
    redis.hset(f"cs:{cs_id}", mapping={name: json.dumps(STATION[name]) for name in STATION})
    path = f"/cs/{segment(cs_id)}"

    def set_status(status: str) -> int:
        body = json.dumps({"registrationStatus": status})
        return service.request("PUT", f"{API}{path}/registrationStatus", body, JSON).status

    # the service is told of it, in its time
    wait_for(lambda: service.get(f"{path}/auth").json == STATION, "it is found")
    assert service.get(path).json["csId"] == cs_id
    assert [one["csId"] for one in listed(service, "/cs", {"csIdPrefix": cs_id})] == [cs_id]
    assert service.post(path, STATION).status == 400
    assert set_status("Rejected") == 204
    assert service.get(f"{path}/auth").status == 404
    assert set_status("Accepted") == 204
    assert service.get(f"{path}/auth").json == STATION
    assert service.delete(path).status == 204
    assert service.get(path).status == 404


@pytest.mark.parametrize("cs_id", DOUBTFUL)
def test_a_doubt_is_told_in_the_log(service: Service, cs_id: str) -> None:
    assert service.post(f"/cs/{segment(cs_id)}", STATION).status == 201

    told = [one for one in service.events("doubtful station") if one["csId"] == cs_id]
    assert [(one["level"], one["doubt"].startswith("id-")) for one in told] == [("warning", True)]
    assert told[0]["reason"]
    assert service.get(f"/cs/{segment(cs_id)}/auth").json == STATION


def test_a_doubt_is_refused_when_strict(start_service: StartService) -> None:
    service = start_service(api__strict="true")
    for cs_id in (*DOUBTFUL, *UNUSABLE):
        reply = service.post(f"/cs/{segment(cs_id)}", STATION)

        assert (reply.status, "(id-" in reply.error) == (400, True)
    assert service.post("/cs/cs001", STATION).status == 201


def test_any_id_is_taken_where_that_is_set(start_service: StartService) -> None:
    """With a warning; also when strict."""
    service = start_service(api__strict="true", api__any_station_id="true")
    for cs_id in (*DOUBTFUL, *UNUSABLE):
        assert service.post(f"/cs/{segment(cs_id)}", STATION).status == 201
        assert service.get(f"/cs/{segment(cs_id)}/auth").json == STATION
    told = [one["csId"] for one in service.events("doubtful station")]
    assert told == [*DOUBTFUL, *UNUSABLE]


def test_the_command_line_does_the_same(valkey: Valkey, tmp_path: Path) -> None:
    def run(*arguments: str, stdin: str = "", **settings: str) -> tuple[int, str]:
        named = {f"CSMS_{name.upper()}": value for name, value in settings.items()}
        env = environment({"CSMS_REDIS__URL": valkey.url} | named)
        done = run_text(*arguments, cwd=tmp_path, env=env, stdin=stdin)
        return done.returncode, done.stdout + done.stderr

    add = ("station", "add", "--generate-password")
    code, said = run(*add, "a+b")
    assert (code, "no MQTT topic may have" in said) == (2, True)
    code, said = run(*add, "a/b")
    assert (code, "warning: id-slash: csId has a /" in said) == (0, True)
    assert run(*add, "c/d", api__strict="true")[0] == 2
    assert run(*add, "a+b", api__any_station_id="true")[0] == 0
    assert run(*add, "a+b", "--replace")[0] == 2
    for word in ("show", "block", "allow", "remove"):
        assert run("station", word, "a+b")[0] == 0

    rows = "csId,securityProfile\ncs1,2\na#b,2\nc:d,2\n"
    for options in ((), ("--only-new",)):
        code, said = run("import", "stations", "-", *options, stdin=rows)
        assert (code, "rejected 1" in said) == (3, True)
        assert "warning: id-colon: 1 rows, at stdin:4: csId has a :" in said
        (rejected,) = (tmp_path / "stdin.rejects").read_text().splitlines()
        assert json.loads(rejected)["line"] == 3
        assert "no MQTT topic may have" in json.loads(rejected)["reason"]
    assert run("import", "stations", "-", stdin=rows, api__any_station_id="true")[0] == 0
