"""`csms-redis config`, as somebody who has only the package runs it."""

import tomllib
from pathlib import Path

from csms_redis.settings import Settings, load
from tests.support.commands import invoke


def test_it_prints_every_setting_with_its_default(tmp_path: Path) -> None:
    """What is printed is the file of the project, and the service takes it."""
    result = invoke("config", cwd=tmp_path)

    assert (result.returncode, result.stderr) == (0, b"")
    printed = result.stdout.decode()
    assert printed == (Path(__file__).parents[2] / "config.toml").read_text("utf-8")
    assert tomllib.loads(printed).keys() <= Settings.model_fields.keys()
    (tmp_path / "printed.toml").write_text(printed)
    assert load(tmp_path / "printed.toml").model_dump() == Settings().model_dump()
