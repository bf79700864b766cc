"""`check` on one server, or the embedded one: what it tells, and what it calls an error."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from csms_redis.check.server import hash_tag
from tests.support.check_report import about, check, findings
from tests.support.service import (
    HOST,
    PASSWORD,
    Service,
    free_port,
    redis_cli,
    run,
    until,
    valkey,
)
from tests.support.terminal import Terminal
from tests.support.topologies.standalone import Standalone


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with its embedded store."""
    with Service(tmp_path_factory.mktemp("cli")) as running:
        yield running.ready()


class TestCheck:
    """`check` tells what would lose data, and fails on what would not work."""

    def test_nothing_to_complain_of(self, tmp_path: Path) -> None:
        """An append-only file that is synced always, no eviction: ok throughout."""
        options = ["--appendonly", "yes", "--appendfsync", "always"]
        with valkey(tmp_path / "v", *options) as port:
            version = re.search(r"Valkey \d+\.\d+\.\d+", str(findings(tmp_path, _url(port))))
            assert version is not None
            assert findings(tmp_path, _url(port)) == (
                0,
                {
                    "settings": ("ok", "valid"),
                    "redis": ("ok", f"redis://127.0.0.1:{port}/0 answers"),
                    "version": ("ok", version[0]),
                    "appendonly": ("ok", "yes"),
                    "appendfsync": ("ok", "always: what was acknowledged is on the disk"),
                    "maxmemory-policy": (
                        "ok",
                        "noeviction: when memory is full, writes are refused and nothing is lost",
                    ),
                    "rights": (
                        "ok",
                        f"redis://127.0.0.1:{port}/0 does all that the service asks of it",
                    ),
                    "layout": ("ok", "none yet: csms-redis serve makes it 1"),
                    "preload": (
                        "ok",
                        (
                            "0 stations, 0 certificates, 0 tokens: each process holds them, if "
                            "lookup.cache_bytes allows it"
                        ),
                    ),
                },
            )

    @pytest.mark.parametrize(
        ("options", "about", "says"),
        [
            ("--save", "appendonly", "nothing is kept on disk, a restart of Redis loses all"),
            ("--save 60 1", "appendonly", "snapshots only (save 60 1): a crash loses every write"),
            ("--appendonly yes --appendfsync everysec", "appendfsync", "in the last second or two"),
            ("--appendonly yes --appendfsync no", "appendfsync", "the last 30 seconds"),
            (
                "--appendonly yes --appendfsync always --no-appendfsync-on-rewrite yes",
                "appendfsync",
                "set no-appendfsync-on-rewrite no",
            ),
            (
                "--maxmemory 200mb --maxmemory-policy allkeys-lru",
                "maxmemory-policy",
                "allkeys-lru: evicts records at maxmemory 200.00M, acknowledged or not; set maxm",
            ),
            (
                "--maxmemory-policy allkeys-random",
                "maxmemory-policy",
                "evicts records once maxmemory is set",
            ),
            (
                "--maxmemory-policy volatile-ttl",
                "maxmemory-policy",
                "volatile-ttl: evicts keys that expire when memory is full",
            ),
        ],
    )
    def test_what_would_lose_data(
        self, options: str, about: str, says: str, tmp_path: Path
    ) -> None:
        """A warning that says what is lost and what to set; the exit code stays 0."""
        words = options.split(" ", 3) if options.startswith("--save") else options.split()
        if words[0] == "--save":
            words = ["--save", options.removeprefix("--save").strip()]
        with valkey(tmp_path / "v", *words) as port:
            code, found = findings(tmp_path, _url(port))
        level, text = found[about]
        assert level == "warning"
        assert says in text
        assert "set " in text
        assert code == 0

    def test_the_distinction_of_appendfsync(self, tmp_path: Path) -> None:
        """Each says to set `always`."""
        with valkey(tmp_path / "v", "--appendonly", "yes") as port:
            for value in ("everysec", "no"):
                redis_cli(port, "CONFIG", "SET", "appendfsync", value)
                _, found = findings(tmp_path, _url(port))
                assert found["appendfsync"][1].startswith(f"{value}: ")
                assert "set appendfsync always" in found["appendfsync"][1]

    def test_config_is_not_permitted(self, tmp_path: Path) -> None:
        """A warning; what INFO tells is judged all the same."""
        with valkey(tmp_path / "v", "--save", "") as port:
            redis_cli(port, "ACL", "SETUSER", "joe", "on", f">{PASSWORD}", "~*", "+@all", "-config")
            code, found = findings(tmp_path, _url(port, "joe", _quoted()))
        assert found["config"][0] == "warning"
        assert "CONFIG GET may not be used here" in found["config"][1]
        assert found["appendonly"][0] == "warning"
        assert found["maxmemory-policy"][0] == "ok"
        assert code == 0

    def test_info_is_not_permitted(self, tmp_path: Path) -> None:
        """A warning that names what was not looked at."""
        with valkey(tmp_path / "v") as port:
            redis_cli(port, "ACL", "SETUSER", "joe", "on", f">{PASSWORD}", "~*", "+@all", "-info")
            code, found = findings(tmp_path, _url(port, "joe", _quoted()))
        assert found["info"] == (
            "warning",
            (
                "INFO may not be used here (NOPERM): listings and exports end with an error; look "
                "at version, persistence, eviction policy, memory and replicas yourself"
            ),
        )
        assert code == 0

    def test_a_replica_is_an_error(self, tmp_path: Path) -> None:
        """It would refuse every write."""
        with valkey(tmp_path / "v", "--replicaof", f"{HOST} {free_port()}") as port:
            code, found = findings(tmp_path, _url(port))
        assert found["role"] == (
            "error",
            "this is a replica, which refuses writes: name its primary",
        )
        assert code == 1

    def test_nobody_listens(self, tmp_path: Path) -> None:
        """An error with the address and the reason, without the password."""
        port = free_port()
        code, found = findings(tmp_path, _url(port, "joe", _quoted()))
        assert found["redis"] == (
            "error",
            f"redis://127.0.0.1:{port}/0: cannot be reached: connection refused",
        )
        assert code == 1

    @pytest.mark.parametrize(
        "url", ["redis://:{wrong}@127.0.0.1:{port}", "redis://127.0.0.1:{port}"]
    )
    def test_a_wrong_password(self, url: str, tmp_path: Path) -> None:
        """An error that shows neither the right one nor the wrong one."""
        with valkey(tmp_path / "v", "--requirepass", "the-right-one") as port:
            code, found = findings(tmp_path, url.format(port=port, wrong=_quoted()))
        level, text = found["redis"]
        assert level == "error"
        assert "refuses the user or the password" in text
        assert "the-right-one" not in text
        assert code == 1

    def test_a_database_that_is_not_there(self, tmp_path: Path) -> None:
        """An error that names the likely reason."""
        with valkey(tmp_path / "v") as port:
            code, found = findings(tmp_path, f"{_url(port)}/99")
        assert found["redis"][0] == "error"
        assert "is the database's number right?" in found["redis"][1]
        assert code == 1

    def test_no_answer(self, tmp_path: Path) -> None:
        """What accepts and says nothing is an error after `redis.timeout`."""
        with socket.create_server((HOST, 0)) as silent:
            code, found = findings(
                tmp_path, _url(silent.getsockname()[1]), {"CSMS_REDIS__TIMEOUT": "0.3"}
            )
        assert found["redis"][0] == "error"
        assert "no answer within 0.3 s (redis.timeout)" in found["redis"][1]
        assert code == 1

    def test_what_is_no_redis(self, service: Service, tmp_path: Path) -> None:
        """An HTTP server, for example, is an error."""
        code, found = findings(tmp_path, _url(service.port))
        assert found["redis"][0] == "error"
        assert "closed the connection: is it a Redis, and is TLS" in found["redis"][1]
        assert code == 1

    def test_settings_that_do_not_hold(self, tmp_path: Path) -> None:
        """The error names the setting; the exit code is 1."""
        code, found = findings(tmp_path, f"redis://joe:{_quoted()}@host:x")
        level, text = found["settings"]
        assert (code, level, text.split(":")[0]) == (1, "error", "redis.url")
        (tmp_path / "bad.toml").write_text("[server]\nport = true\n", "utf-8")
        code, found = findings(tmp_path, "embedded", {"CSMS_CONFIG": "bad.toml"})
        assert (code, found["settings"][0]) == (1, "error")
        assert found["settings"][1].startswith("server.port: ")

    def test_the_embedded_store(self, service: Service, tmp_path: Path) -> None:
        """It is asked when it runs, and loses nothing."""
        code, found = findings(service.home, "embedded")
        assert {level for level, _ in found.values()} == {"ok"}
        assert found["redis"][1].endswith("valkey.sock answers")
        assert found["appendfsync"][1].startswith("always")
        assert code == 0
        code, found = findings(tmp_path, "embedded")
        assert found["redis"] == (
            "ok",
            f"embedded, not running: csms-redis serve starts it in {tmp_path / 'data'}",
        )
        assert code == 0
        assert not (tmp_path / "data").exists()

    def test_the_embedded_store_that_was_killed(self, tmp_path: Path) -> None:
        """The socket that it left answers nobody."""
        with Service(tmp_path) as killed:
            killed.ready().kill()
            until(lambda: not killed.kill_valkey(), "Valkey is gone")
            _, found = findings(tmp_path, "embedded")
        assert found["redis"][1].startswith("embedded, not running: ")

    def test_colour_is_for_terminals(self, tmp_path: Path) -> None:
        """On a terminal the level is green, yellow or red; into a pipe nothing is."""
        with Terminal("check", cwd=tmp_path) as terminal:
            assert "\x1b[32mok" in terminal.rest()
        assert b"\x1b" not in run("check", cwd=tmp_path).stdout


def _url(port: int, user: str = "", password: str = "") -> str:
    who = f"{user}:{password}@" if password else ""
    return f"redis://{who}{HOST}:{port}"


def _quoted() -> str:
    return "".join(f"%{byte:02X}" for byte in PASSWORD.encode())


def test_what_ends_by_itself(tmp_path: Path) -> None:
    """Records should not: how many keys do, in the database of the URL, is told."""
    with Standalone() as running:
        url = running.settings["redis__url"]
        running.node.call("HSET", "cs:always", "securityProfile", 2)
        assert about(check(tmp_path, url)[1], "expires") == []

        for number in range(3):
            running.node.call("SET", f"other:{number}", "", "EX", 1000)
        if running.node.call("COMMAND", "INFO", "hpttl") != [None]:
            running.node.call("HPEXPIRE", "cs:always", 100000, "FIELDS", 1, "securityProfile")
            hashes = 1
        else:
            hashes = 0
        code, told = check(tmp_path, url)
        ((level, text),) = about(told, "expires")
        assert (code, level) == (0, "warning")
        assert f"database 0, 3 keys have a time to live, and fields of {hashes} hashes" in text


@pytest.mark.parametrize(
    ("prefix", "warned"),
    [
        ("{csms}:", True),
        ("a{b}c", True),
        ("{{}", True),
        ("", False),
        ("csms:", False),
        ("{}{csms}", False),
        ("{csms", False),
        ("csms}", False),
    ],
)
def test_a_hash_tag(prefix: str, warned: bool) -> None:  # noqa: FBT001 a table's column
    """What is between the first braces, if there is something, is all that counts for the slot."""
    assert len(list(hash_tag(prefix, "cluster"))) == warned
    assert list(hash_tag(prefix, "sentinel")) == []
