"""Where rejected rows go, and sources that are read twice."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner

from csms_redis.cli import main
from csms_redis.commands.places import RedisPlace
from csms_redis.fleet import (
    KINDS,
    ImportOptions,
    Source,
    TransferFailed,
    UnusableRejects,
    check_rejects,
)
from csms_redis.fleet.formats import STDIN
from csms_redis.fleet.importing import import_records
from csms_redis.fleet.rows import Row, Unreadable
from csms_redis.settings import load
from tests.conftest import Valkey
from tests.support.service import PROGRAM, environment

STATIONS = KINDS["stations"]
FLEET = "csId,securityProfile\ncs1,2\n"


def complaint(home: Path, *arguments: str) -> str:
    """What is said of a command line that is wrong."""
    with chdir(home):
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


class TestRejects:
    """No file that anyone needs is replaced by one of rejects."""

    @pytest.mark.parametrize(
        "arguments",
        [
            ("stations", "a", "--rejects", "a"),
            ("stations", "a", "--rejects", "a", "--dry-run"),
            ("stations", "a", "a.rejects", "--format", "jsonl"),
            ("stations", "a.rejects", "a"),
            ("stations", "a", "--rejects", "sub/../a"),
            ("stations", "a", "--rejects", "hard"),
            ("stations", "soft", "--rejects", "a"),
            ("stations", "a", "--rejects", "soft"),
            ("certificates", "sub", "--rejects", "sub/a.pem"),
            ("certificates", "sub", "--rejects", "sub/new"),
        ],
    )
    def test_a_source_is_refused(self, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        """By whatever name, also in a directory and in a dry run; it stays as it is."""
        (tmp_path / "sub").mkdir()
        for name in ("a", "a.rejects", "sub/a.pem"):
            (tmp_path / name).write_text(FLEET)
        (tmp_path / "hard").hardlink_to(tmp_path / "a")
        (tmp_path / "soft").symlink_to("a")
        said = complaint(tmp_path, "import", *arguments)
        assert "is read, so rejects cannot go there; name another file" in said
        for name in ("a", "a.rejects", "sub/a.pem", "hard", "soft"):
            assert (tmp_path / name).read_text() == FLEET

    @pytest.mark.parametrize("source", ["-", "/dev/stdin"])
    def test_standard_input_is_a_source(self, tmp_path: Path, source: str) -> None:
        (tmp_path / "a").write_text(FLEET)
        with (tmp_path / "a").open() as stdin:
            done = subprocess.run(
                [PROGRAM, "import", "stations", source, "--rejects", "a"],
                cwd=tmp_path,
                env=environment(),
                stdin=stdin,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 2
        assert "a: is read" in done.stderr
        assert (tmp_path / "a").read_text() == FLEET

    def test_what_cannot_be_replaced(self, tmp_path: Path) -> None:
        """A device is not removed, nor are the rejects of one source by those of another."""
        (tmp_path / "a").write_text(FLEET)
        device = ("import", "stations", "a", "--rejects", "/dev/null")
        assert "/dev/null: is no regular file" in complaint(tmp_path, *device)
        (tmp_path / "stdin").write_text(FLEET)
        said = complaint(tmp_path, "import", "stations", "-", "stdin")
        assert "stdin.rejects: the rejects of two sources would go there" in said

    @pytest.mark.parametrize(
        ("source", "path"),
        [
            ("a.csv", "a.csv.rejects"),
            ("sub/a.csv", "sub/a.csv.rejects"),
            ("-", "stdin.rejects"),
            ("/dev/stdin", "stdin.rejects"),
            ("/dev/fd/63", "63.rejects"),
            ("sub", "sub.rejects"),
        ],
    )
    def test_where_they_go(self, source: str, path: str) -> None:
        """Beside the source; here for what has no place of its own."""
        assert Source(Path(source), STATIONS, None).rejects == Path(path)

    def test_beside_this_directory(self, tmp_path: Path) -> None:
        """Not in it, where the next import would read them."""
        (tmp_path / "certs").mkdir()
        with chdir(tmp_path / "certs"):
            source = Source(Path(), KINDS["certificates"], None)
            assert source.rejects == tmp_path / "certs.rejects"
            check_rejects([source], None)
            with pytest.raises(UnusableRejects):
                check_rejects([source], Path("x"))


class _Changing(Source):
    """A source that is another one at the second reading."""

    second: tuple[Row | Unreadable, ...] = ()
    _readings = 0

    def rows(self) -> Iterator[Row | Unreadable]:
        self._readings += 1
        yield from super().rows() if self._readings == 1 else self.second


class TestAllOrNothing:
    """What is checked is what is written."""

    def test_a_pipe_is_refused(self, tmp_path: Path) -> None:
        """It could be read only once; a dry run does."""
        reading, writing = os.pipe()
        os.close(writing)
        with os.fdopen(reading):
            for source, name in ((f"/dev/fd/{reading}", f"/dev/fd/{reading}"), ("-", "stdin")):
                said = complaint(tmp_path, "import", "stations", source, "--all-or-nothing")
                assert f"{name}: can be read only once" in said

    def test_what_can_be_read_again(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text(FLEET)
        os.mkfifo(tmp_path / "pipe")
        for path, again in (
            (tmp_path / "a", True),
            (tmp_path, True),
            (tmp_path / "pipe", False),
            (Path("/dev/null"), False),
            (STDIN, False),
        ):
            assert Source(path, STATIONS, None).can_be_read_again is again

    @pytest.mark.parametrize(
        "second",
        [
            (),
            (Row("a", 2, {"csId": "cs1", "securityProfile": 9}),),
            tuple(Row("a", 2, {"csId": "cs1", "securityProfile": 2}) for _ in range(2)),
        ],
    )
    async def test_a_source_that_changes(
        self, valkey: Valkey, tmp_path: Path, second: tuple[Row, ...]
    ) -> None:
        """It is an error when other rows are read to be written than were checked."""
        (tmp_path / "a").write_text(FLEET)
        source = _Changing(tmp_path / "a", STATIONS, None)
        source.second = second
        place = RedisPlace(load(flags={"redis": {"url": valkey.url}}))
        with pytest.raises(TransferFailed, match="changed after its 1 rows were checked"):
            await import_records(STATIONS, [source], place, ImportOptions(all_or_nothing=True))
