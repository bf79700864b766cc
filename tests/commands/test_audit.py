"""The line that a command leaves in the log for a write, however the command ends."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import PATIENCE, Valkey, wait_for
from tests.support.commands import TOKEN, Run, audited, command
from tests.support.program import Program
from tests.support.service import environment


def settings(valkey: Valkey, **more: str) -> dict[str, str]:
    return {"CSMS_REDIS__URL": valkey.url} | more


def test_no_level_leaves_a_write_out(valkey: Valkey, tmp_path: Path) -> None:
    """Neither one that was made nor one that was refused."""
    given = settings(valkey, CSMS_TELEMETRY__LOG_LEVEL="error")
    for code, outcome in ((0, "done"), (4, "refused")):
        done = command(tmp_path, given, "station", "add", "cs1", "--security-profile", "2")
        assert done.returncode == code
        assert json.loads(done.stderr.splitlines()[0])["outcome"] == outcome


class TestWhich:
    """The record that a line is about."""

    def test_a_token_has_one_spelling(self, valkey: Valkey, tmp_path: Path) -> None:
        """That of its key, as the service tells it, of a refused one too."""
        for arguments in (
            ("token", "add", "abCDef12", *TOKEN),
            ("token", "add", "abCDef12", *TOKEN, "--type", "none"),
            ("token", "remove", "Abcdef12"),
        ):
            done = command(tmp_path, settings(valkey), *arguments)
            assert json.loads(done.stderr.splitlines()[0])["uid"] == "ABCDEF12"

    def test_what_is_no_id_is_told_as_it_was_given(self, valkey: Valkey, tmp_path: Path) -> None:
        """Escaped, of bounded length; but not what is no hash, which may be a key."""
        for arguments, given in (
            (("station", "block", "a\nb"), "a\nb"),
            (("station", "add", "x" * 1000), "x" * 200),
            (("station", "remove", os.fsdecode(b"\xff")), "\udcff"),
            (("token", "remove", "\u20ac"), "\u20ac"),
            (("certificate", "remove", "hunter2"), None),
        ):
            done = command(tmp_path, settings(valkey), *arguments)
            assert done.returncode in {2, 3}
            line = json.loads(done.stderr.splitlines()[0])
            assert (line["outcome"], line.get("given")) == ("refused", given)
            assert line.keys().isdisjoint({"csId", "uid", "certificateHash"})

    def test_a_source_whose_name_is_no_text(self, valkey: Valkey, tmp_path: Path) -> None:
        """Its line is written as well."""
        (tmp_path / os.fsdecode(b"\xff.csv")).write_text("csId,securityProfile\ncs1,2\n")
        done = command(tmp_path, settings(valkey), "import", "stations", os.fsdecode(b"\xff.csv"))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stderr.splitlines()[0])["sources"] == ["\udcff.csv"]


@contextmanager
def under_way(home: Path, valkey: Valkey, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A command whose standard input stays open."""
    process = Program(
        *arguments,
        cwd=home,
        env=environment(settings(valkey, CSMS_REDIS__TIMEOUT="60")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
class TestInterrupted:
    """SIGTERM and Ctrl-C."""

    def test_an_import(
        self, valkey: Valkey, tmp_path: Path, signum: signal.Signals, code: int
    ) -> None:
        """That waits for more of its source: one line, that says how it ended."""
        with (
            under_way(tmp_path, valkey, "import", "stations", "-", "--format", "csv") as process,
            Redis(unix_socket_path=valkey.socket) as redis,
        ):
            assert process.stdin is not None
            process.stdin.write(
                b"csId,securityProfile\n" + b"".join(b"c%d,2\n" % n for n in range(2000))
            )
            process.stdin.flush()
            wait_for(lambda: redis.exists("cs:c1499") or process.poll(), "three batches are stored")
            process.send_signal(signum)
            assert process.wait(PATIENCE) == code
            assert process.stderr is not None
            said = process.stderr.read().decode()

        assert "Traceback" not in said
        assert "Fatal" not in said
        (line,) = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert (line["operation"], line["outcome"]) == ("import", "unknown")
        told = re.match(r"interrupted; (\d+) were written", line["reason"])
        assert told
        assert 500 <= int(told[1]) <= 2000

    def test_one_record(
        self, valkey: Valkey, tmp_path: Path, signum: signal.Signals, code: int
    ) -> None:
        """That Redis has not confirmed: it may have been applied."""
        added = command(tmp_path, settings(valkey), "station", "add", "cs1")
        assert added.returncode == 0
        with Redis(unix_socket_path=valkey.socket) as redis:
            redis.client_pause(60_000, all=False)  # only of writes
            with under_way(tmp_path, valkey, "station", "remove", "cs1") as process:
                wait_for(lambda: "del" in {one["cmd"] for one in redis.client_list()}, "it is sent")
                process.send_signal(signum)
                assert process.wait(PATIENCE) == code
                assert process.stderr is not None
                said = process.stderr.read().decode()

        (line,) = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert (line["csId"], line["outcome"], line["reason"]) == ("cs1", "unknown", "interrupted")


def test_an_import_that_fails_while_its_source_stays_open(valkey: Valkey, tmp_path: Path) -> None:
    """It ends all the same, with its own code."""
    with under_way(tmp_path, valkey, "import", "stations", "-", "--format", "ocpi") as process:
        assert process.wait(PATIENCE) == 2  # stations have no such format
    valkey.kill()
    with under_way(tmp_path, valkey, "import", "stations", "-", "--format", "csv") as process:
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert "cannot be reached" in said
    assert "Fatal" not in said


def test_an_import_is_one_line(run: Run) -> None:
    """With its counts; a dry run writes nothing, and so none."""
    rows = '{"csId":"cs1","securityProfile":2}\n{"csId":"cs2"}\n'
    done = run("import", "stations", "-", stdin=rows, code=3)
    names = ("operation", "kind", "sources", "written", "rejected", "outcome")
    assert audited(done, *names) == ["import", "stations", ["-"], 1, 1, "done"]
    dry = run("import", "stations", "-", "--dry-run", stdin=rows, code=3)
    assert '"event"' not in dry.stderr
