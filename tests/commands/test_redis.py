"""Which Redis a command uses: one that is away, the service's own, or one with foreign records."""

import json
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import Valkey
from tests.support.commands import audited, command
from tests.support.service import Service

HASH = "-" + "A" * 42 + "="


def test_redis_is_away(tmp_path: Path) -> None:
    """Exit code 1 and what to do; a change that did not come about is told of."""
    settings = {"CSMS_REDIS__URL": f"unix://{tmp_path}/none", "CSMS_REDIS__TIMEOUT": "0.2"}
    shown = command(tmp_path, settings, "station", "show", "cs1")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "cannot be reached" in shown.stderr
    added = command(tmp_path, settings, "station", "add", "cs1", "--generate-password")
    assert (added.returncode, added.stdout) == (1, "")
    assert audited(added, "csId", "outcome") == ["cs1", "unavailable"]


def test_beside_the_service(tmp_path: Path) -> None:
    """On its embedded store, without a restart; and on that store when it does not run."""
    settings = {"CSMS_REDIS__DATA_DIR": str(tmp_path / "data")}
    with Service(tmp_path, settings) as service:
        service.ready()
        first = command(tmp_path, settings, "station", "add", "cs1", "--security-profile", "2")
        assert first.returncode == 0, first.stderr
        assert service.request("GET", "/api/v0/cs/cs1/auth").status == 200
        assert command(tmp_path, settings, "station", "block", "cs1").returncode == 0
        assert service.request("GET", "/api/v0/cs/cs1/auth").status == 404
    assert command(tmp_path, settings, "station", "remove", "cs1").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ["station", "list"],
        ["station", "add", "cs1"],
        ["token", "show", "t1"],
        ["certificate", "list"],
        ["refused", "list"],
        ["import", "stations", "fleet.csv"],
        ["export", "stations", "-"],
        ["check"],
    ],
    ids=" ".join,
)
def test_without_a_store(tmp_path: Path, words: list[str]) -> None:
    """Only serve makes one; one line says how to name a service or a Redis."""
    (tmp_path / "fleet.csv").write_text("csId,securityProfile\ncs1,2\n")
    done = command(tmp_path, {}, *words)
    assert done.returncode == 1
    said = (done.stdout if words == ["check"] else done.stderr).splitlines()[-1]
    assert "there is no store in data" in said
    assert "--server URL" in said
    assert "redis.url" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.csv"]


class TestForeign:
    """Records that others stored: no command ends with a traceback."""

    def test_they_are_left_out(self, valkey: Valkey, tmp_path: Path) -> None:
        with Redis(unix_socket_path=valkey.socket) as redis:
            redis.hset("cs:bad", mapping={"securityProfile": "2", "lastUpdated": "yesterday"})
            redis.hset("token:BAD", mapping={"countryCode": '"DE"'})
            redis.hset("token:WORSE", mapping={"countryCode": '"DE"', "uid": "5"})
            redis.hset(f"certificate:{HASH}", mapping={"certificate": "x", "notAfter": "soon"})
        added = command(tmp_path, {"CSMS_REDIS__URL": valkey.url}, "station", "add", "good")
        assert added.returncode == 0
        for kind, wanted in (("station", ["good"]), ("token", []), ("certificate", [])):
            done = command(tmp_path, {"CSMS_REDIS__URL": valkey.url}, kind, "list", "--json")
            assert done.returncode == 0, done.stderr
            assert [json.loads(line)["csId"] for line in done.stdout.splitlines()] == wanted
        for kind, name in (("station", "bad"), ("token", "worse"), ("certificate", HASH)):
            done = command(tmp_path, {"CSMS_REDIS__URL": valkey.url}, kind, "show", name)
            assert done.returncode == 3, done.stderr
