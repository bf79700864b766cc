"""The command line, as a process with a terminal, a pipe or nothing at its ends."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import socket
import subprocess
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from csms_redis import __version__
from csms_redis.cli import main
from tests.system.service import (
    HOST,
    PASSWORD,
    PROGRAM,
    Service,
    environment,
    free_port,
    redis_cli,
    run,
    until,
    valkey,
)

CERTIFICATES = Path(__file__).parent / "data" / "certificates"
HASHES = {  # from the README there
    "HUBOpenProvCert001.pem": "1KOlEbBBpCleKkKEbIDwfq/u+zHhkzzH7mGYdfHz1SU=",
    "HUBOpenProvCert002.pem": "J/fo38lsssc8woIR4XMx2wfwvW5F+Z94JpM84kXpPFw=",
    "root-V2G-cert.pem": "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP+Ak=",
}
COMMANDS = [
    "serve",
    "check",
    "hash-password",
    "hash-certificate",
    "openapi",
    "new-secret",
    "import",
    "export",
    "station",
    "token",
    "certificate",
]
# From: printf PASSWORD | openssl dgst -sha256 -binary | base64
DEADBEEF = "8vjQ1YDt+v2iwsn41bIpzxJXcQQK0uGgAyAeTMOL0SI="


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with its embedded store."""
    with Service(tmp_path_factory.mktemp("cli")) as running:
        yield running.ready()


def invoke(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command in this process: what `run` does, sooner."""
    with contextlib.chdir(cwd):
        result = CliRunner().invoke(main, arguments, input=stdin, prog_name="csms-redis")
    assert isinstance(result.exception, SystemExit | None)
    return subprocess.CompletedProcess(
        arguments, result.exit_code, result.stdout_bytes, result.stderr_bytes
    )


def complaint(result: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on standard error of a command that printed nothing else."""
    assert result.stdout == b""
    (line,) = result.stderr.decode().splitlines()
    return line


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *arguments: str, cwd: Path, stdout: int | None = None) -> None:
        self._ours, theirs = pty.openpty()
        self._unread = b""
        self.shown = ""  # all that was seen so far
        self.process = subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=cwd,
            env=environment({"TERM": "xterm-256color"}),
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 no threads here
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()
        os.close(self._ours)

    def expect(self, text: str) -> None:
        """Read until it shows `text`."""
        while text.encode() not in self._unread:
            assert self._read(), f"{text!r} is not in {self._unread!r}"
        _, _, self._unread = self._unread.partition(text.encode())

    def rest(self) -> str:
        """Read until it ends, and give all that was shown."""
        while self._read():
            pass
        return self.shown

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], 20)
        assert ready, f"nothing more within 20 s after {self.shown!r}"
        try:
            data = os.read(self._ours, 1024)
        except OSError:  # its other end is closed
            return False
        self._unread += data
        self.shown += data.decode()
        return bool(data)


class TestHelp:
    """`--help` says what a command does, and with which options."""

    def test_lists_every_command_whole(self, tmp_path: Path) -> None:
        """Each with one sentence, which is not cut off."""
        result = invoke("--help", cwd=tmp_path)
        listed = dict(
            re.findall(
                r"^  (\S+) {2,}(\S.+)$", result.stdout.decode().split("Commands:")[1], re.MULTILINE
            )
        )
        assert sorted(listed) == sorted(COMMANDS)
        for sentence in listed.values():
            assert sentence.endswith(".")
            assert not sentence.endswith("...")
        assert (result.returncode, result.stderr) == (0, b"")

    @pytest.mark.parametrize(
        ("command", "says"),
        [
            ("serve", ["SIGTERM", "--config", "--host", "--port", "--data-dir", "9410", "CSMS_"]),
            ("check", ["settings", "Redis", "exit code is 1", "--config", "CSMS_CONFIG"]),
            ("hash-password", ["base64SHA256Password", "standard input", "never an argument"]),
            ("hash-certificate", ["FILES...", "without padding", "padded base64", "PEM"]),
            ("openapi", ["/api/openapi.json", "JSON"]),
        ],
    )
    def test_of_a_command(self, command: str, says: list[str], tmp_path: Path) -> None:
        """What it does, what it takes and what comes out."""
        result = invoke(command, "--help", cwd=tmp_path)
        text = " ".join(result.stdout.decode().split())
        assert [word for word in says if word not in text] == []
        assert text.startswith(f"Usage: csms-redis {command} [OPTIONS]")
        assert (result.returncode, result.stderr) == (0, b"")

    def test_version(self, tmp_path: Path) -> None:
        """`--version` names the program and its version."""
        result = invoke("--version", cwd=tmp_path)
        assert result.stdout == f"csms-redis, version {__version__}\n".encode()

    @pytest.mark.parametrize(
        "arguments",
        [
            ["no-such-command"],
            ["serve", "--no-such-option"],
            ["serve", "--port", "65536"],
            ["serve", "--port", "x"],
            ["check", "surplus"],
            ["hash-certificate"],
        ],
    )
    def test_wrong_usage_exits_with_2(self, arguments: list[str], tmp_path: Path) -> None:
        """The usage and one line of error on standard error."""
        result = invoke(*arguments, cwd=tmp_path)
        *_, last = result.stderr.decode().splitlines()
        assert last.startswith("Error: ")
        assert "Traceback" not in result.stderr.decode()
        assert (result.returncode, result.stdout) == (2, b"")


class TestHashPassword:
    """`hash-password` reads a pipe or asks; an argument is refused."""

    @pytest.mark.parametrize(
        ("stdin", "digest"),
        [
            (b"DEADBEEF", DEADBEEF),
            (b"DEADBEEF\n", DEADBEEF),
            (b"DEADBEEF\r\n", DEADBEEF),
            (b"password\n", "XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="),
            ("Größe €\n".encode(), "fmI5Olp5gBmQ7xMDmfYeeV8ABIdo7ULBziFM9e1i6Gk="),
        ],
    )
    def test_from_a_pipe(self, stdin: bytes, digest: str, tmp_path: Path) -> None:
        """One line end is not part of it."""
        result = invoke("hash-password", cwd=tmp_path, stdin=stdin)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{digest}\n".encode(), b"")

    def test_as_a_process(self, tmp_path: Path) -> None:
        """As in `csms-redis hash-password < file`."""
        result = run("hash-password", cwd=tmp_path, stdin=b"DEADBEEF\n")
        assert (result.returncode, result.stdout, result.stderr) == (
            0,
            f"{DEADBEEF}\n".encode(),
            b"",
        )

    @pytest.mark.parametrize("stdin", [b" DEADBEEF", b"DEADBEEF ", b"DEADBEEF\n\n"])
    def test_all_else_is_part_of_it(self, stdin: bytes, tmp_path: Path) -> None:
        """A gateway compares passwords as exact strings."""
        result = invoke("hash-password", cwd=tmp_path, stdin=stdin)
        assert re.fullmatch(rb"[A-Za-z0-9+/]{43}=\n", result.stdout)
        assert result.stdout != f"{DEADBEEF}\n".encode()

    @pytest.mark.parametrize("stdin", [b"", b"\n", b"\r\n"])
    def test_an_empty_one_is_refused(self, stdin: bytes, tmp_path: Path) -> None:
        """Exit code 1, one line."""
        result = invoke("hash-password", cwd=tmp_path, stdin=stdin)
        assert complaint(result) == "csms-redis: the password is empty"
        assert result.returncode == 1

    def test_an_argument_is_refused(self, tmp_path: Path) -> None:
        """Others could see it: exit code 2, no hash."""
        result = invoke("hash-password", "DEADBEEF", cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, b"")

    def test_from_a_prompt(self, tmp_path: Path) -> None:
        """Asked twice, not shown; only the hash is on standard output."""
        with Terminal("hash-password", cwd=tmp_path, stdout=subprocess.PIPE) as terminal:
            terminal.expect("Password: ")
            terminal.type(b"DEADBEEF\n")
            terminal.expect("Repeat for confirmation: ")
            terminal.type(b"DEADBEEF\n")
            assert terminal.process.stdout is not None
            assert terminal.process.stdout.read() == f"{DEADBEEF}\n".encode()
            assert terminal.process.wait(20) == 0
            assert "DEADBEEF" not in terminal.rest()

    def test_a_slip_at_the_prompt_is_asked_again(self, tmp_path: Path) -> None:
        """What was typed twice must be the same."""
        with Terminal("hash-password", cwd=tmp_path, stdout=subprocess.PIPE) as terminal:
            terminal.expect("Password: ")
            terminal.type(b"DEADBEEF\n")
            terminal.expect("Repeat for confirmation: ")
            terminal.type(b"DEADBEAF\n")
            terminal.expect("do not match")
            terminal.expect("Password: ")
            terminal.type(b"DEADBEEF\n")
            terminal.expect("Repeat for confirmation: ")
            terminal.type(b"DEADBEEF\n")
            assert terminal.process.stdout is not None
            assert terminal.process.stdout.read() == f"{DEADBEEF}\n".encode()

    def test_ctrl_c_at_the_prompt(self, tmp_path: Path) -> None:
        """It ends without a hash and without a traceback."""
        with Terminal("hash-password", cwd=tmp_path) as terminal:
            terminal.expect("Password: ")
            terminal.type(b"\x03")
            assert "Traceback" not in terminal.rest()
            assert terminal.process.wait(20) == 1


class TestHashCertificate:
    """`hash-certificate` prints what finds a certificate."""

    @pytest.mark.parametrize(("name", "padded"), HASHES.items())
    def test_of_one_file(self, name: str, padded: str, tmp_path: Path) -> None:
        """Unpadded base64url, padded base64, the file's name."""
        file = str(CERTIFICATES / name)
        url_safe = padded.translate(str.maketrans("+/", "-_")).rstrip("=")
        result = invoke("hash-certificate", file, cwd=tmp_path)
        assert result.stdout.decode() == f"{url_safe}  {padded}  {file}\n"
        assert (result.returncode, result.stderr) == (0, b"")

    def test_of_several_files(self, tmp_path: Path) -> None:
        """One line each, in the order given."""
        result = invoke(
            "hash-certificate", *(str(CERTIFICATES / name) for name in HASHES), cwd=tmp_path
        )
        assert [line.split()[1] for line in result.stdout.decode().splitlines()] == list(
            HASHES.values()
        )

    def test_a_file_that_fails_does_not_stop_the_others(self, tmp_path: Path) -> None:
        """Its line is on standard error, and the exit code is 1."""
        good = CERTIFICATES / "root-V2G-cert.pem"
        result = run("hash-certificate", "missing.pem", str(good), cwd=tmp_path)
        assert result.stderr == b"csms-redis: missing.pem: No such file or directory\n"
        assert HASHES[good.name] in result.stdout.decode()
        assert result.returncode == 1

    def test_what_is_no_certificate(self, tmp_path: Path) -> None:
        """One line that says so, for text, bytes, a broken one, nothing, a directory."""
        whole = (CERTIFICATES / "HUBOpenProvCert001.pem").read_text("utf-8")
        contents = {
            "text": b"hello",
            "bytes": bytes(range(256)),
            "empty": b"",
            "cut": whole[: whole.index("-----END")].encode(),
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
            result = invoke("hash-certificate", name, cwd=tmp_path)
            assert complaint(result).startswith(f"csms-redis: {name}: ")
            assert result.returncode == 1
        result = invoke("hash-certificate", ".", cwd=tmp_path)
        assert complaint(result) == "csms-redis: .: Is a directory"
        assert result.returncode == 1

    def test_a_private_key(self, tmp_path: Path) -> None:
        """It is named as such, and nothing of it is shown."""
        pem = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        (tmp_path / "key.pem").write_bytes(pem)
        result = invoke("hash-certificate", "key.pem", cwd=tmp_path)
        assert "private key" in complaint(result)
        assert pem.splitlines()[1] not in result.stderr
        assert result.returncode == 1


class TestOpenapi:
    """`openapi` prints the document."""

    def test_is_what_is_served(self, service: Service, tmp_path: Path) -> None:
        """The same JSON as at /api/openapi.json."""
        result = run("openapi", cwd=tmp_path)
        document = json.loads(result.stdout)
        assert document == service.request("GET", "/api/openapi.json").json
        assert document["openapi"] == "3.1.0"
        assert (result.returncode, result.stderr) == (0, b"")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["openapi"],
            ["--help"],
            ["check"],
            ["hash-certificate", str(CERTIFICATES / "root-V2G-cert.pem")],
        ],
    )
    def test_a_reader_that_went_away(self, arguments: list[str], tmp_path: Path) -> None:
        """As in `| head -1`: silence on standard error."""
        reader, writer = os.pipe()
        os.close(reader)
        try:
            result = subprocess.run(
                [PROGRAM, *arguments],
                cwd=tmp_path,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.PIPE,
                timeout=30,
                check=False,
            )
        finally:
            os.close(writer)
        assert result.stderr == b""


def findings(
    cwd: Path, url: str, settings: Mapping[str, str] | None = None
) -> tuple[int, dict[str, tuple[str, str]]]:
    """What `check` exits with and what it says of each thing."""
    result = run("check", cwd=cwd, settings={"CSMS_REDIS__URL": url} | dict(settings or {}))
    assert result.stderr == b""
    assert PASSWORD not in result.stdout.decode()
    found = {}
    for line in result.stdout.decode().splitlines():
        match = re.fullmatch(r"(ok {5}|warning|error {2})  (\S+) +(\S.*)", line)
        assert match is not None, line
        found[match[2]] = match[1].strip(), match[3]
    return result.returncode, found


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
                    "layout": ("ok", "none yet: csms-redis serve makes it 1"),
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
            redis_cli(port, "ACL", "SETUSER", "joe", "on", f">{PASSWORD}", "~*", "+ping", "+hello")
            code, found = findings(tmp_path, _url(port, "joe", _quoted()))
        assert found["info"] == (
            "warning",
            (
                "INFO may not be used here: look at version, persistence, eviction policy and "
                "replicas yourself"
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
