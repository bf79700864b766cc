"""What is exported is imported elsewhere as it was: each format, and whole fleets."""

import json
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import DATA, Valkey, running_valkey
from tests.support.service import PROGRAM, Service, environment, until
from tests.support.topologies.cluster import ClusterGroup
from tests.support.transfers import MOST_SECONDS, TOKEN, transfer

SECRET = "hunter2-and-more"


@pytest.fixture(
    scope="module", params=["standalone", pytest.param("cluster", marks=pytest.mark.slow)]
)
def two(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Where it is exported, and elsewhere, by their URLs."""
    with ExitStack() as stack:
        elsewhere = stack.enter_context(running_valkey()).url
        if request.param == "cluster":
            yield stack.enter_context(ClusterGroup(replicas=0)).url, elsewhere
        else:
            yield stack.enter_context(running_valkey()).url, elsewhere


class TestRoundTrip:
    """An export imported elsewhere is identical."""

    @pytest.mark.parametrize("suffix", ["csv", "jsonl"])
    @pytest.mark.parametrize("kind", ["stations", "tokens", "certificates"])
    def test_round_trip(self, two: tuple[str, str], tmp_path: Path, kind: str, suffix: str) -> None:
        """Twice, from and to what is there, for all that may be in a record."""
        here, elsewhere = two
        odd = ["=1+1", "'", "", "-2", "a,b", 'q"', "x\r\ny\rz", "\u20ac\U0001f50c", " s ", "@"]
        odd += [
            "NULL",
            "\\N",
            "'t Hof",
            "' x'",
            "4.65E+12",
            '="x"',
            "a;b|c\td",
            "\u00a0x\u200b",
            "\x1a",
        ]
        odd += ["'0"]
        source = tmp_path / f"source.{'pem' if kind == 'certificates' else 'jsonl'}"
        if kind == "stations":
            rows = [
                {
                    "csId": "".join(text.replace("\x1a", "").split()) + str(number),
                    "securityProfile": number % 3,
                    "base64SHA256Password": f"+{text}",
                    "registrationStatus": ("Accepted", "Rejected", "Pending")[number % 3],
                    "lastUpdated": "2024-02-29T23:59:60Z",
                    **({"invalidUsernameAllowed": False} if number % 2 else {}),
                }
                for number, text in enumerate(odd * 15)
            ]
            source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif kind == "tokens":
            rows = [
                json.loads(TOKEN % ('"x"', json.dumps(text)))
                | {"uid": f"{_printable(text)}{number}", "visualNumber": text, "groupId": text}
                for number, text in enumerate(odd * 15)
            ]
            source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            chain = (DATA / "certificates" / "HUBOpenProvCert001.pem").read_bytes()
            source.write_bytes(b"=text \xe2\x82\xac\r\n" + chain)
        flags = ["--with-credentials"] if kind == "stations" else []
        # one of the ids has a +, which is refused by default
        transfer(tmp_path, here, "import", kind, source.name, api__any_station_id="true")
        for url, name in ((here, "one"), (elsewhere, "two")):
            if name == "two":
                transfer(tmp_path, url, "import", kind, f"one.{suffix}", api__any_station_id="true")
            transfer(tmp_path, url, "export", kind, f"{name}.{suffix}", *flags)
        one, other = (sorted(_records(tmp_path / f"{name}.{suffix}")) for name in ("one", "two"))
        assert one == other
        assert len(one) >= (1 if kind == "certificates" else 300)
        assert stat.S_IMODE((tmp_path / f"one.{suffix}").stat().st_mode) == 0o600
        if kind == "stations":
            without = transfer(tmp_path, here, "export", kind, "-").stdout
            assert "base64SHA256Password" not in without
            assert without.count("\n") == 300


def _printable(text: str) -> str:
    """What a uid may have of a text."""
    return "".join(one for one in text if " " <= one <= "~")


def _records(file: Path) -> list[bytes]:
    """The records, and the first line of CSV."""
    data = file.read_bytes()
    if file.suffix == ".csv":
        header, _, rest = data.partition(b"\r\n")
        return [header, *rest.split(b"Z\r\n")]  # a record ends with a date
    return data.splitlines()


# A process's peak memory counts what its parent had when it forked, so the parent is a small one.
MEASURED = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print(used.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
MOST_MIB = 300


class TestFleet:
    """Fleets as large as they get."""

    @pytest.mark.parametrize("count", [30_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
    def test_killed_and_repeated(self, valkey: Valkey, tmp_path: Path, count: int) -> None:
        """Killed in the middle and run again: as if it had not been, and in little memory."""
        fleet = tmp_path / "fleet.csv"
        with fleet.open("w") as file:
            file.write("csId,securityProfile,password,lastUpdated\n")
            for number in range(count):
                file.write(f"cs{number:06},1,{SECRET}{number},2024-01-01T00:00:00Z\n")
        with Service(tmp_path) as service:
            service.ready()
            socket = str(service.data_dir / "valkey.sock")
            with Redis(unix_socket_path=socket) as redis:
                _import_in_part(fleet, redis, count)
                assert 0 < int(redis.dbsize()) < count
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-c", MEASURED, PROGRAM, "import", "stations", "fleet.csv"],
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=MOST_SECONDS,
                check=True,
            )
            seconds = time.monotonic() - began
            mib = int(done.stderr.splitlines()[-1]) / 1024
            print(  # noqa: T201 figures
                f"{done.stdout.strip()}, {count / seconds:.0f}/s with the start, {mib:.0f} MiB"
            )
            assert f"written {count}, existing 0, rejected 0" in done.stdout
            assert mib < MOST_MIB
            again = _exported(tmp_path, "embedded")
            assert SECRET not in service.log_text + done.stderr
        transfer(tmp_path, valkey.url, "import", "stations", "fleet.csv")
        assert again == _exported(tmp_path, valkey.url)
        assert len(again) == count + 1
        # without the service, the import starts the store itself
        done = transfer(tmp_path, "embedded", "import", "stations", "fleet.csv", "--only-new")
        assert f"written 0, existing {count}, rejected 0" in done.stdout


def _import_in_part(fleet: Path, redis: Redis, count: int) -> None:
    """Import it into the embedded store, and kill that while it is fed the first half."""
    with subprocess.Popen(
        [PROGRAM, "import", "stations", "-"],
        cwd=fleet.parent,
        env=environment(),
        stdin=subprocess.PIPE,
    ) as process:

        def feed() -> None:
            assert process.stdin is not None
            with fleet.open("rb") as file, suppress(BrokenPipeError):
                process.stdin.writelines(islice(file, count // 2))
                process.stdin.flush()  # and it waits for the rest

        feeding = threading.Thread(target=feed)
        feeding.start()
        try:
            until(lambda: int(redis.dbsize()) > count // 10, "some are there")
            assert SECRET not in Path(f"/proc/{process.pid}/cmdline").read_text()
        finally:
            process.send_signal(signal.SIGKILL)
            feeding.join()
            with suppress(BrokenPipeError):
                process.communicate()


def _exported(home: Path, url: str) -> list[str]:
    transfer(home, url, "export", "stations", "o.csv", "--with-credentials")
    return sorted((home / "o.csv").read_text().splitlines())
