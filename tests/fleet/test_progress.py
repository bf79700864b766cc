"""How far it is, on a terminal and elsewhere."""

import re
from pathlib import Path

import pytest

from csms_redis.fleet import progress
from csms_redis.fleet.progress import Meter
from tests.conftest import Valkey
from tests.support.terminal import Terminal


class TestTerminal:
    """A bar."""

    def test_rate_and_time_left(self, valkey: Valkey, tmp_path: Path) -> None:
        """With what is done, how fast, and how long it will take; gone at the end."""
        (tmp_path / "config.toml").write_text(f'[redis]\nurl = "{valkey.url}"\n')
        with (tmp_path / "fleet.csv").open("w") as file:
            file.write("csId,securityProfile\n")
            file.writelines(f"cs{number},2\n" for number in range(50_000))
        with Terminal("import", "stations", "fleet.csv", "--dry-run", cwd=tmp_path) as terminal:
            shown = terminal.rest()
        frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        assert re.search(
            r"checking +[━╸╺]+ +\d+% +[1-9]\d* records, [1-9]\d*/s +\d:\d\d:\d\d", frames
        ), frames
        assert "read 50000, written 0, existing 0, rejected 0" in frames.splitlines()[-2]


class TestElsewhere:
    """Plain lines."""

    @pytest.mark.parametrize("terminal", [False, True])
    def test_lines(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        terminal: bool,  # noqa: FBT001 a table
    ) -> None:
        """In a file or a pipe, and on a terminal that can do no more."""
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
            monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setattr(progress, "_EVERY", 0.0)
        said: list[tuple[int, float | None]] = [(500, 0.25), (1000, None)]
        with Meter("importing", lambda: said[0]) as meter:
            meter.show()
            said.pop(0)
            meter.show()
        one, other = capsys.readouterr().err.splitlines()
        assert re.fullmatch(r"importing: 500 records, \d+/s, 25%", one)
        assert re.fullmatch(r"importing: 1000 records, \d+/s", other)
