"""Commands with --server: who may use a service, and what is told where none is reached."""

import asyncio
import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from csms_redis.access.secret import hash_of, new_secret
from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.remote.address import ServiceAddress
from csms_redis.remote.session import open_session
from tests.conftest import Service, Valkey, running_service, wait_for
from tests.support.commands import ran
from tests.support.terminal import Terminal
from tests.support.topologies.authority import Authority


class TestWhoMay:
    """A service that has clients."""

    def test_the_right_secret(self, guarded: "Guarded", tmp_path: Path) -> None:
        """By a file, the environment or the terminal; the audit names the person."""
        (tmp_path / "secret").write_text(f"{guarded.operator}\n")
        url = ("--server", guarded.service.url)
        user = ("--user", "ops")
        file = ("--secret-file", "secret")
        assert ran(tmp_path, {}, "station", "add", "p1", *url, *user, *file).returncode == 0
        assert ran(tmp_path, {}, "station", "block", "p1", *url, *file).returncode == 0
        settings = {"CSMS_SERVER_USER": "ops", "CSMS_SERVER_SECRET": guarded.operator}
        (tmp_path / "fleet.csv").write_text("csId,securityProfile\np1,2\np2,2\n")
        done = ran(tmp_path, settings, "import", "stations", "fleet.csv", *url)
        assert done.returncode == 0, done.stderr
        assert '"command"' not in done.stderr  # the line is the service's
        # a streamed answer ends before its line is written
        wait_for(lambda: len(guarded.service.events("write")) == 3, "the audit has its lines")
        lines = guarded.service.events("write")
        assert {line["client"] for line in lines} == {"ops"}
        assert [(line["operation"], line.get("csId"), line["outcome"]) for line in lines] == [
            ("importChargeStations", "p1", "done"),
            ("setRegistrationStatus", "p1", "done"),
            ("importChargeStations", None, "done"),
        ]
        assert (lines[2]["kind"], lines[2]["written"]) == ("stations", 2)
        assert guarded.operator not in guarded.service.log

    def test_no_secret_and_a_wrong_one(self, guarded: "Guarded", tmp_path: Path) -> None:
        url = ("--server", guarded.service.url)
        none = ran(tmp_path, {}, "station", "list", *url)
        assert (none.returncode, none.stdout) == (1, "")
        assert "--user and --secret-file" in none.stderr
        wrong = ran(tmp_path, {"CSMS_SERVER_SECRET": "wrong"}, "station", "list", *url)
        assert wrong.returncode == 1
        assert "wrong." in wrong.stderr
        asked = ran(tmp_path, {}, "station", "list", *url, "--user", "ops")
        assert asked.returncode == 2
        assert "--secret-file" in asked.stderr
        checked = ran(tmp_path, {}, "check", *url)
        assert (checked.returncode, checked.stdout.split()[:2]) == (1, ["error", "server"])

    def test_a_terminal_is_asked(self, guarded: "Guarded", tmp_path: Path) -> None:
        """Until something is typed, which is not shown; what the command prints stands apart."""
        with guarded.asking(tmp_path, stdout=subprocess.PIPE) as terminal:
            for typed in ("\n", f"{guarded.operator}\n"):
                terminal.expect("Secret of ops: ")
                terminal.type(typed.encode())
            assert terminal.rest().split() == ["Secret", "of", "ops:"] * 2
            assert terminal.process.stdout is not None
            assert terminal.process.stdout.read().split()[:1] == [b"csId"]
            assert terminal.process.wait(20) == 0

    @pytest.mark.parametrize(
        ("typed", "told"),
        [
            (b"begun\x03", "Aborted!"),  # Ctrl-C
            (b"\x04", "Aborted!"),  # Ctrl-D
            (b"not the secret\n", "credentials are wrong"),
            (b"\xff\xfe\n", "csms-redis: what was typed is not UTF-8; use --secret-file"),
        ],
        ids=["ctrl-c", "ctrl-d", "wrong", "not-utf-8"],
    )
    def test_what_else_is_typed(
        self, guarded: "Guarded", tmp_path: Path, typed: bytes, told: str
    ) -> None:
        """One line and exit code 1; nothing that was typed is shown."""
        with guarded.asking(tmp_path) as terminal:
            terminal.expect("Secret of ops: ")
            terminal.type(typed)
            _, line = terminal.rest().split("\r\n", 1)
            assert terminal.process.wait(20) == 1
        assert line.count("\r\n") == 1
        assert told in line
        assert "not the secret" not in terminal.shown
        assert "begun" not in terminal.shown

    def test_credentials_need_both_roles(self, guarded: "Guarded", tmp_path: Path) -> None:
        """What stations prove themselves with is the gateway's to read, and many only with both."""
        words = ("export", "stations", "out.jsonl", "--server", guarded.service.url)
        for name, secret, code in (
            ("ops", guarded.operator, 1),
            ("gateway", guarded.gateway, 1),
            ("backup", guarded.both, 0),
        ):
            settings = {"CSMS_SERVER_USER": name, "CSMS_SERVER_SECRET": secret}
            done = ran(tmp_path, settings, *words, "--with-credentials")
            assert done.returncode == code, done.stderr
            assert (tmp_path / "out.jsonl").exists() == (code == 0)
            if code:
                assert "needs the role" in done.stderr
        settings = {"CSMS_SERVER_USER": "ops", "CSMS_SERVER_SECRET": guarded.operator}
        assert ran(tmp_path, settings, *words).returncode == 0

    def test_a_secret_in_the_environment_may_end_with_a_line_end(
        self, guarded: "Guarded", tmp_path: Path
    ) -> None:
        """As one in a file: a Secret of Kubernetes often does."""
        words = ("station", "list", "--server", guarded.service.url)
        settings = {"CSMS_SERVER_SECRET": f"{guarded.operator}\n"}
        for user in ((), ("--user", "ops")):
            assert ran(tmp_path, settings, *words, *user).returncode == 0

    @pytest.mark.parametrize("secret", ["two\nlines", "a\rb", "ä", "\udcff", "\n"])
    def test_what_is_no_secret_is_told_in_a_line(self, secret: str, tmp_path: Path) -> None:
        words = ("station", "list", "--server", "http://127.0.0.1:9")
        for user in ((), ("--user", "ops")):
            done = ran(tmp_path, {"CSMS_SERVER_SECRET": secret}, *words, *user)
            assert done.returncode == 1
            assert "CSMS_SERVER_SECRET: has no secret on one line" in done.stderr

    @pytest.mark.parametrize("user", ["", "a:b", "a\nb", "\udcff"])
    def test_what_is_no_name_is_told_in_a_line(self, user: str, tmp_path: Path) -> None:
        words = ("station", "list", "--server", "http://127.0.0.1:9", "--user", user)
        done = ran(tmp_path, {"CSMS_SERVER_SECRET": "secret"}, *words)
        assert done.returncode == 1
        assert "--user: is no client's name" in done.stderr


class Guarded(NamedTuple):
    """A service with clients, and their secrets."""

    service: Service
    operator: str
    gateway: str
    both: str

    def asking(self, home: Path, stdout: int | None = None) -> Terminal:
        """A command at a terminal that is told who asks, and not the secret."""
        words = ("station", "list", "--server", self.service.url, "--user", "ops")
        return Terminal(*words, cwd=home, stdout=stdout)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    secrets = new_secret(), new_secret(), new_secret()
    roles = {"ops": ["operator"], "gateway": ["gateway"], "backup": ["operator", "gateway"]}
    clients = {
        name: {"roles": given, "secret_hashes": [hash_of(secret.encode()).hex()]}
        for (name, given), secret in zip(roles.items(), secrets, strict=True)
    }
    with running_service(auth__clients=json.dumps(clients)) as service:
        yield Guarded(service, *secrets)


@pytest.mark.parametrize(
    ("words", "told_of"),
    [
        (["--server", "http://user:pass@host"], "--user and --secret-file"),
        (["--server", "ftp://host"], "https://HOST:PORT"),
        (["--server", "host:9410"], "https://HOST:PORT"),
        (["--server", "http://host?x"], "ends with the path"),
        (["--server", "http://host", "--ca-file", "x"], "https URL"),
        (["--server", "http://host", "--config", "config.toml"], "exclude"),
        (["--server", "https://host", "--ca-file", "none"], "none: cannot be read"),
        (["--user", "ops"], "--server URL"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_wrong_command_line(tmp_path: Path, words: list[str], told_of: str) -> None:
    done = ran(tmp_path, {}, "station", "list", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told_of in done.stderr
    assert "pass@" not in done.stderr


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    """The service's is checked, and this client shows its own; else one line says what is wrong."""
    servers, clients = (Authority(tmp_path / name, name) for name in ("servers", "clients"))
    theirs = servers.issue("service", "localhost", "127.0.0.1")
    ours = clients.issue("client")
    with running_service(
        server__tls__certificate_file=str(theirs.certificate),
        server__tls__key_file=str(theirs.key),
        server__tls__client_ca_file=str(clients.ca),
    ) as service:
        listing = ("station", "list", "--server", service.url)
        trusting = (*listing, "--ca-file", str(servers.ca))
        pair = ("--cert-file", str(ours.certificate), "--key-file", str(ours.key))
        done = ran(tmp_path, {}, *trusting, *pair)
        assert done.returncode == 0, done.stderr
        unknown = ran(tmp_path, {}, *listing, *pair)
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "its certificate is not trusted" in unknown.stderr
        nobody = ran(tmp_path, {}, *trusting)
        assert (nobody.returncode, nobody.stdout) == (1, "")
        wrong = ran(tmp_path, {}, *trusting, *pair[:3], str(theirs.key))
        assert wrong.returncode == 2
        assert "another certificate's" in wrong.stderr


def test_a_settings_file_wins_over_the_environment(valkey: Valkey, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(f'[redis]\nurl = "{valkey.url}"\n')
    settings = {"CSMS_SERVER_URL": "http://127.0.0.1:1"}
    assert ran(tmp_path, settings, "station", "list", "--config", "other.toml").returncode == 0
    assert ran(tmp_path, settings, "station", "list").returncode == 1


@pytest.mark.parametrize(
    ("answer", "told_of"),
    [
        (b"", "is it a csms-redis"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n<p>", "no csms-redis"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "is away (502)"),
        (b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", "is away (503)"),
        (b"HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "own address"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "not what it should be"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "is no csms-redis"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>", "is it a csms-redis"),
        (b"SSH-2.0-x\r\n", "is it a csms-redis"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_no_such_service(tmp_path: Path, answer: bytes, told_of: str) -> None:
    """One line says so, whatever it is that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = ran(tmp_path, {}, "station", "list", "--server", url)
        thread.join()
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert told_of in line


def test_a_write_is_sent_once(service: Service, tmp_path: Path) -> None:
    """What became of one without an answer is not known, and it is not tried again."""
    received = []
    behind_it = urlsplit(service.url)

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    request = connection.recv(65536)
                    received.append(request.partition(b" ")[0])
                    if received[-1] == b"GET":
                        with socket.create_connection(
                            (behind_it.hostname, behind_it.port)
                        ) as behind:
                            behind.sendall(
                                request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
                            )
                            while data := behind.recv(65536):
                                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = ran(tmp_path, {}, "station", "remove", "s1", "--server", url)
        server.close()
        thread.join()
    assert received == [b"GET", b"DELETE"]
    assert done.returncode == 1
    assert "The change may have been made" in done.stderr


async def test_a_service_that_goes_away_under_the_first_request() -> None:
    """It was there: who writes waits for it, also with what has found nobody since."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        address = ServiceAddress(url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        async with open_session(address) as session:
            first = asyncio.create_task(session.send("POST", "/cs/p1", body=b"{}"))
            accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
            with accepted:
                assert await asyncio.get_running_loop().sock_recv(accepted, 1)
                listening.close()
                with pytest.raises(Unavailable, match="connection refused"):
                    await session.send("POST", "/cs/p2", body=b"{}")
            with pytest.raises(OutcomeUnknown):
                await first


def test_tls_is_spoken_where_there_is_none(service: Service, tmp_path: Path) -> None:
    url = service.url.replace("http:", "https:")
    done = ran(tmp_path, {}, "station", "list", "--server", url)
    assert done.returncode == 1
    assert "TLS failed (WRONG_VERSION_NUMBER): is it http:// there?" in done.stderr


def test_nobody_is_there(tmp_path: Path) -> None:
    done = ran(tmp_path, {}, "station", "list", "--server", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr == (
        "csms-redis: http://127.0.0.1:1: cannot be reached: connection refused\n"
    )
