"""The floors of the package, as `[tool.importlinter]` in pyproject.toml draws them."""

from pathlib import Path

import pytest
from importlinter.cli import lint_imports


def test_each_floor_imports_only_floors_below_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)

    exit_code = lint_imports(config_filename="pyproject.toml", no_cache=True)

    said = capsys.readouterr().out
    assert exit_code == 0, said
    assert "0 broken" in said
    assert "Contracts: 3 kept" in said
