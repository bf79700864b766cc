"""`csms-redis import` and `export`: run, and the keys of what is stored read."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from redis import Redis

from tests.support.program import run_text
from tests.support.service import environment

TOKEN = (
    '{"countryCode":"DE","partyId":"TNM","type":"RFID","uid":%s,"contractId":"x","issuer":%s,'
    '"valid":true,"cacheMode":"ALWAYS"}\n'
)
MOST_SECONDS = 300  # that a command may take
Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


def transfer(
    home: Path, url: str, *arguments: str, stdin: str = "", code: int = 0, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command against a Redis; it must end with `code`, and without a traceback."""
    named = {f"CSMS_{name.upper()}": value for name, value in settings.items()}
    done = run_text(
        *arguments,
        cwd=home,
        env=environment({"CSMS_REDIS__URL": url} | named),
        stdin=stdin,
        seconds=MOST_SECONDS,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def keys(redis: Redis) -> list[str]:
    """Those of records."""
    return [str(key) for key in redis.scan_iter() if key not in {"layout", "dataset"}]
