"""What `csms-redis export` makes of records, its own and those of others."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

from csms_redis.cli import main
from csms_redis.commands.places import RedisPlace
from csms_redis.fleet import (
    KINDS,
    ExportResult,
    Format,
    ImportOptions,
    ImportResult,
    Source,
    target_format,
)
from csms_redis.fleet.exporting import export_records
from csms_redis.fleet.importing import import_records
from csms_redis.settings import load
from tests.conftest import DATA, Valkey, running_valkey
from tests.support.ocpi import TOKEN
from tests.support.service import run

HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="
PEM = (DATA / "certificates" / "root-V2G-cert.pem").read_text()


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket) as client:
        yield client


async def exported(valkey: Valkey, kind: str, target: Path, format_: Format) -> ExportResult:
    settings = load(flags={"redis": {"url": valkey.url}})
    opened = RedisPlace(settings).opened()
    return await export_records(KINDS[kind], target, format_, opened, with_credentials=True)


async def imported(valkey: Valkey, kind: str, path: Path, format_: Format) -> ImportResult:
    settings = load(flags={"redis": {"url": valkey.url}})
    return await import_records(
        KINDS[kind], [Source(path, KINDS[kind], format_)], RedisPlace(settings), ImportOptions()
    )


class TestOthersRecords:
    """What this program has not stored is left out and counted."""

    @pytest.mark.parametrize("format_", [Format.PEM, Format.JSONL, Format.CSV])
    async def test_certificates(
        self, valkey: Valkey, redis: Redis, tmp_path: Path, format_: Format
    ) -> None:
        """A key is no path, whatever is in it; and a value is no certificate if it is no text."""
        pem = json.dumps(PEM)
        redis.hset(f"certificate:{HASH}", "certificate", pem)
        for name in (b"../../escaped", b"../escaped", b"a/b", b"BBB", HASH[:-1].encode(), b"\xff"):
            redis.hset(b"certificate:" + name, "certificate", pem)
        broken = (b"", b"x", b"[1]", b"{}", b'"\\ud800"', b'"\xff"', b"[" * 2000)
        for number, value in enumerate(broken):
            redis.hset(f"certificate:{number}{'A' * 42}=", "certificate", value)
        wrong = 6 + len(broken)
        if format_ is Format.PEM:
            for number, value in enumerate((b"5", b"null", b"true")):
                redis.hset(f"certificate:B{number}{'A' * 41}=", "certificate", value)
            redis.hset(f"certificate:C{'A' * 42}=", "lastUpdated", '"2024-01-01T00:00:00Z"')
            wrong += 4
        (tmp_path / "below").mkdir()
        target = tmp_path / "below" / "out"
        result = await exported(valkey, "certificates", target, format_)
        assert (result.written, result.left_out) == (1, wrong)
        written = {path.name for path in tmp_path.rglob("*") if path.is_file()}  # noqa: ASYNC240 quick
        assert written == {f"{HASH}.pem" if format_ is Format.PEM else "out"}

    @pytest.mark.parametrize("format_", [Format.CSV, Format.JSONL])
    async def test_stations(
        self, valkey: Valkey, redis: Redis, tmp_path: Path, format_: Format
    ) -> None:
        """A value that is JSON of several lines, or of more than one value, breaks no line."""
        redis.hset("cs:cs1", "securityProfile", "2")
        for number, value in enumerate(["", "x", "[\n1]", "{}", '1,"csId":"x"', "nan", "1\n2"]):
            redis.hset(f"cs:bad{number}", "securityProfile", value)
        redis.hset("cs:", "securityProfile", "2")
        redis.hset("cs:a\nb", "securityProfile", "2")
        result = await exported(valkey, "stations", tmp_path / "out", format_)
        assert (result.written, result.left_out) == (1, 9)
        (line,) = (tmp_path / "out").read_text().splitlines()[format_ is Format.CSV :]
        assert line in {'{"csId":"cs1","securityProfile":2}', "cs1,2,,,,"}

    def test_it_is_told(self, valkey: Valkey, redis: Redis, tmp_path: Path) -> None:
        """By the exit code and a line."""
        redis.hset("certificate:BBB", "certificate", "5")
        settings = {"CSMS_REDIS__URL": valkey.url}
        done = run(
            *("export", "certificates", "out", "--format", "pem"), cwd=tmp_path, settings=settings
        )
        assert done.returncode == 3
        assert b"1 records are not this program's and were left out" in done.stderr
        assert b"Traceback" not in done.stderr


class TestDirectory:
    """Of PEM files."""

    def test_it_must_be_new(self, tmp_path: Path) -> None:
        """Or those of certificates deleted since would come back with an import."""
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old.pem").write_text(PEM)
        with chdir(tmp_path):
            result = CliRunner().invoke(main, ["export", "certificates", "out"])
        assert result.exit_code == 2
        assert "out: has files already; PEM files go into a new directory" in result.stderr
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["old.pem"]

    async def test_an_empty_one_will_do(self, valkey: Valkey, redis: Redis, tmp_path: Path) -> None:
        """As one that is mounted, with what its file system keeps there."""
        (tmp_path / "lost+found").mkdir()
        redis.hset(f"certificate:{HASH}", "certificate", json.dumps(PEM))
        assert target_format(tmp_path, KINDS["certificates"], None) is Format.PEM
        result = await exported(valkey, "certificates", tmp_path, Format.PEM)
        assert result.written == 1

    async def test_a_file_that_cannot_be_read(
        self, valkey: Valkey, redis: Redis, tmp_path: Path
    ) -> None:
        """It is told as what is rejected, and the rest of the directory is imported."""
        directory = tmp_path / "certs"
        directory.mkdir()
        (directory / "a.pem").symlink_to("/proc/self/mem")  # nobody may read its start
        (directory / "b.pem").write_text(PEM)
        result = await imported(valkey, "certificates", directory, Format.PEM)
        assert (result.read, result.written, result.rejected) == (2, 1, 1)
        told = json.loads((tmp_path / "certs.rejects").read_text())
        assert told["source"] == str(directory / "a.pem")
        assert told["reason"] == "cannot be read: Input/output error"
        assert redis.exists(f"certificate:{HASH}")


class TestOcpi:
    """Lists of tokens."""

    async def test_imported_elsewhere_it_is_the_same(
        self, valkey: Valkey, redis: Redis, tmp_path: Path
    ) -> None:
        """All of a token, in the names and the form that OCPI 2.2.1 has."""
        left_out = {"default_profile_type", "energy_contract"}
        tokens = [
            TOKEN | {"last_updated": "2015-06-29T22:39:09Z", "contract_id": "DE8ACC12E46L891"},
            {name: value for name, value in TOKEN.items() if name != "group_id"}
            | {"uid": "a", "type": "OTHER", "issuer": '\u20ac\n"', "valid": False},
        ]
        (tmp_path / "tokens.json").write_text(json.dumps(tokens))
        await imported(valkey, "tokens", tmp_path / "tokens.json", Format.OCPI)
        result = await exported(valkey, "tokens", tmp_path / "one", Format.OCPI)
        assert (result.written, result.left_out) == (2, 0)
        written = json.loads((tmp_path / "one").read_text())
        assert {name: value for name, value in tokens[0].items() if name not in left_out} in written
        with ExitStack() as stack:
            other = stack.enter_context(running_valkey())
            elsewhere = stack.enter_context(Redis(unix_socket_path=other.socket))
            found = await imported(other, "tokens", tmp_path / "one", Format.OCPI)
            assert (found.written, found.rejected) == (2, 0)
            for key in (b"token:012345678", b"token:A"):
                assert redis.hgetall(key)
                assert redis.hgetall(key) == elsewhere.hgetall(key)

    async def test_none(self, valkey: Valkey, tmp_path: Path) -> None:
        """A list without tokens is one too."""
        await exported(valkey, "tokens", tmp_path / "one", Format.OCPI)
        assert json.loads((tmp_path / "one").read_text()) == []
        assert (await imported(valkey, "tokens", tmp_path / "one", Format.OCPI)).read == 0

    def test_tokens_only(self, tmp_path: Path) -> None:
        with chdir(tmp_path):
            result = CliRunner().invoke(main, ["export", "stations", "x", "--format", "ocpi"])
        assert result.exit_code == 2
        assert "ocpi is a format of tokens only" in result.stderr
